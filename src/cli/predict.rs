//! `dawn21 predict`.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::images::{Located, locate, parse_shape};
use super::model_argument::{self, Weights};
use super::output::note;
use super::predictor::{Prediction, Predictor, csv_field};
use super::progress::Items;
use super::{CommandError, Threads};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Run directory or model file
    run: PathBuf,
    /// Cubes or single images of raw little-endian f32; a cube in a data directory is described by its
    /// dataset.toml
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Cells of cubes that are not in a data directory: x,y,z
    #[arg(long, value_name = "X,Y,Z", value_parser = parse_shape)]
    shape: Option<[usize; 3]>,
    /// Print one line per file: the mean over its images, with the bias and uncertainty of such means
    #[arg(long)]
    mean: bool,
    /// Predict images of constant x as well; needs whole cubes with a square sky
    #[arg(long)]
    both_directions: bool,
    /// Which weights
    #[arg(long, value_enum, default_value = "best")]
    weights: Weights,
    #[command(flatten)]
    threads: Threads,
    /// No progress and no warnings on stderr; the csv still has the warnings
    #[arg(long)]
    quiet: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    arguments.threads.apply()?;
    let (file, model) = model_argument::open(&arguments.run, arguments.weights)?;
    let (predictor, missing) = Predictor::new(&file, model);
    if let Some(missing) = missing.filter(|_| !arguments.quiet) {
        note(format_args!("note: {missing}"));
    }
    let mut output = std::io::stdout().lock();
    let place = match arguments.mean {
        true => "images",
        false => "axis,plane,first_cell",
    };
    writeln!(output, "file,{place},{}", predictor.csv_header())?;
    let mut progress = Items::new("files", arguments.files.len(), arguments.quiet);
    let mut engine = predictor.model.inference()?;
    let mut noted = arguments.quiet;
    for (done, file) in arguments.files.iter().enumerate() {
        let located = locate(file, arguments.shape, &predictor.model.description)?;
        noted = noted || located.note_on_width(&predictor.model.description);
        let located = match arguments.both_directions {
            true => located.in_both_directions()?,
            false => located,
        };
        let predictions = predictor.predict(&located, &mut engine)?;
        if arguments.mean {
            let mean = predictor.mean(&located, &predictions);
            if !arguments.quiet && mean.recoveries.iter().any(Option::is_none) {
                note_on_mean(&predictor, file, &located);
            }
            let place = predictions.len().to_string();
            write_row(&mut output, arguments, file, [&place, ""], &mean)?;
        } else {
            for (slice, prediction) in located.slices.iter().zip(&predictions) {
                let (place, words) = slice.map_or((",,".to_string(), String::new()), |s| {
                    let [axis, _] = s.axes();
                    let place = format!("{axis},{},{}", s.box_plane, s.first_row);
                    (place, format!(" ({s})"))
                });
                write_row(&mut output, arguments, file, [&place, &words], prediction)?;
            }
        }
        progress.update(done + 1);
    }
    output.flush()?;
    Ok(())
}

/// One line of the csv, and a warning of an image unlike those trained on. Which image of the file it is: as fields
/// and in words.
fn write_row(
    output: &mut impl Write,
    arguments: &Arguments,
    file: &Path,
    [fields, words]: [&str; 2],
    prediction: &Prediction,
) -> Result<(), CommandError> {
    if !prediction.warning.is_empty() && !arguments.quiet {
        note(format_args!(
            "warning: {}{words}: {}; do not trust the values",
            file.display(),
            prediction.warning
        ));
    }
    let name = csv_field(&file.display().to_string());
    writeln!(output, "{name},{fields},{}", prediction.csv_fields())?;
    Ok(())
}

/// Says why the mean over the images of a file has no uncertainty, where others have one.
fn note_on_mean(predictor: &Predictor, file: &Path, located: &Located) {
    let Some(calibration) = &predictor.calibration else {
        return;
    };
    let known: Vec<String> = calibration.means_known().map(|m| m.to_string()).collect();
    let known = match known.is_empty() {
        true => "as this calibration has none".to_string(),
        false => format!("only over {}", known.join(" or ")),
    };
    note(format_args!(
        "note: {}: no uncertainty is known for the mean over {}, {known}; `dawn21 calibrate` measures others",
        file.display(),
        located.slicing.image_set()
    ));
}
