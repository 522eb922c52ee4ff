//! `dawn21 inspect`: what a network makes of one image.

use std::path::{Path, PathBuf};

use super::images::{locate, parse_shape};
use super::model_argument::{self, Weights};
use super::output::{line, note};
use super::predictor::Predictor;
use super::{CommandError, Threads, table};
use crate::data::batches::read_cells;
use crate::figures::figures_of_image;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Run directory or model file
    run: PathBuf,
    /// Cube or single image of raw little-endian f32, as for `predict`
    file: PathBuf,
    /// Which image of a cube, from 0: `predict` lists them in this order
    #[arg(long, value_name = "N", default_value_t = 0)]
    image: usize,
    /// Cells of a cube that is not in a data directory: x,y,z
    #[arg(long, value_name = "X,Y,Z", value_parser = parse_shape)]
    shape: Option<[usize; 3]>,
    /// Which weights
    #[arg(long, value_enum, default_value = "best")]
    weights: Weights,
    /// Directory for the figures; default: inspect_<FILE>, with _<N> for an image other than the first, in RUN or, for
    /// a model file, in the current directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    /// Print the result only
    #[arg(long)]
    quiet: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    arguments.threads.apply()?;
    let (weights, model) = model_argument::open(&arguments.run, arguments.weights)?;
    let (predictor, missing) = Predictor::new(&weights, model);
    if let Some(missing) = missing.filter(|_| !arguments.quiet) {
        note(format_args!("note: {missing}"));
    }
    let located = locate(
        &arguments.file,
        arguments.shape,
        &predictor.model.description,
    )?;
    if !arguments.quiet {
        located.note_on_width(&predictor.model.description);
    }
    let images = located.slicing.images();
    let Some(&slice) = images.get(arguments.image) else {
        return Err(CommandError::Usage(format!(
            "--image {}: {} has {} images, numbered from 0",
            arguments.image,
            arguments.file.display(),
            images.len()
        )));
    };
    let predictions = predictor.predict(&located, &mut predictor.model.inference()?)?;
    let prediction = &predictions[arguments.image];

    let mut rows = vec![["parameter", "value", "uncertainty", "bias", "unit"].map(String::from)];
    let parameters = &predictor.model.description.parameters;
    for (parameter, (value, recovery)) in parameters
        .iter()
        .zip(prediction.values.iter().zip(&prediction.recoveries))
    {
        let known = |value: Option<f64>| value.map_or("-".to_string(), |v| format!("{v:.4}"));
        rows.push([
            parameter.name.clone(),
            format!("{value:.4}"),
            known(recovery.map(|r| r.uncertainty)),
            known(recovery.map(|r| r.bias)),
            parameter.unit.clone(),
        ]);
    }
    let rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
    line(table::format(&rows).trim_end())?;
    if !prediction.warning.is_empty() {
        line(format_args!(
            "warning: {}; do not trust the values",
            prediction.warning
        ))?;
    }

    let cells_mk = read_cells(&located.cube, slice, &located.slicing)?;
    let name = match located.slices[arguments.image] {
        Some(slice) => format!("{}, {slice}", arguments.file.display()),
        None => arguments.file.display().to_string(),
    };
    let directory = output_directory(arguments);
    for figure in figures_of_image(&predictor.model, cells_mk, located.cosmology(), &name)? {
        line(figure.write(&directory)?.display())?;
    }
    Ok(())
}

fn output_directory(arguments: &Arguments) -> PathBuf {
    if let Some(out) = &arguments.out {
        return out.clone();
    }
    let stem = arguments.file.file_stem().unwrap_or_default();
    let image = match arguments.image {
        0 => String::new(),
        number => format!("_{number}"),
    };
    let name = format!("inspect_{}{image}", stem.to_string_lossy());
    match arguments.run.is_dir() {
        true => arguments.run.join(name),
        false => Path::new(&name).to_path_buf(),
    }
}
