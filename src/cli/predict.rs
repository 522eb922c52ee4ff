//! `dawn21 predict`.

use std::io::Write;
use std::path::PathBuf;

use super::images::{locate, parse_shape};
use super::model_argument::{self, Weights};
use super::output::note;
use super::predictor::{Predictor, csv_field};
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
    /// Cells of cubes that are in no data directory: x,y,z
    #[arg(long, value_name = "X,Y,Z", value_parser = parse_shape)]
    shape: Option<[usize; 3]>,
    /// Which weights
    #[arg(long, value_enum, default_value = "best")]
    weights: Weights,
    #[command(flatten)]
    threads: Threads,
    /// No progress and no warnings on stderr; the csv has them
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
    writeln!(output, "file,y_plane,first_x,{}", predictor.csv_header())?;
    let mut progress = Items::new("files", arguments.files.len(), arguments.quiet);
    let mut engine = predictor.model.engine()?;
    for (done, file) in arguments.files.iter().enumerate() {
        let located = locate(file, arguments.shape, &predictor.model.description)?;
        let name = csv_field(&file.display().to_string());
        let predictions = predictor.predict(&located, &mut engine)?;
        for (slice, prediction) in located.slices.iter().zip(&predictions) {
            let place = slice.map_or(",".to_string(), |s| {
                format!("{},{}", s.box_plane, s.first_row)
            });
            if !prediction.departures.is_empty() && !arguments.quiet {
                let plane = slice.map_or(String::new(), |s| {
                    format!(" (y = {}, x from {})", s.box_plane, s.first_row)
                });
                note(format_args!(
                    "warning: {}{plane}: {}; do not trust the values",
                    file.display(),
                    prediction.warning()
                ));
            }
            writeln!(output, "{name},{place},{}", prediction.csv_fields())?;
        }
        progress.update(done + 1);
    }
    output.flush()?;
    Ok(())
}
