//! A trained network given on the command line: a run directory, a model file or a checkpoint.

use std::path::{Path, PathBuf};

use super::CommandError;
use super::output::note;
use crate::data::dataset::Dataset;
use crate::data::split::Part;
use crate::data::split_table::SplitTable;
use crate::model::model_file::{self, Model};
use crate::run_directory::RunDirectory;
use crate::training::checkpoint;

/// Which weights of a run are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Weights {
    /// Those with the lowest validation loss.
    Best,
    /// Those of the last checkpoint: the averaged ones, if the training averages.
    Last,
}

/// The file of the weights and what is in it.
pub(super) fn open(path: &Path, weights: Weights) -> Result<(PathBuf, Model), CommandError> {
    if path.is_file() {
        return Ok((path.to_path_buf(), checkpoint::read_model(path)?));
    }
    let run = RunDirectory::open(path)?;
    match weights {
        Weights::Best if !run.model().exists() => {
            let advice = match run.checkpoint().exists() {
                true => "no epoch has finished yet, or it was removed. Use --weights last",
                false => "it was removed; make the run anew",
            };
            Err(CommandError::Usage(format!(
                "{}: missing; {advice}",
                run.model().display()
            )))
        }
        Weights::Best => Ok((run.model(), model_file::read(&run.model())?)),
        Weights::Last if !run.checkpoint().exists() => Err(CommandError::Usage(format!(
            "{}: there are no last weights, the run is imported, an ensemble, or not yet begun",
            run.path().display()
        ))),
        Weights::Last => Ok((run.checkpoint(), checkpoint::read_model(&run.checkpoint())?)),
    }
}

/// Light-cones of a training are known again by their parameters: other planes of them are other data.
pub(super) fn warn_of_known_light_cones(
    run: &RunDirectory,
    dataset: &Dataset,
    parts: &[Part],
) -> Result<(), CommandError> {
    let table = SplitTable::read(&run.split())?;
    let all = 0..dataset.light_cones().len();
    let known = table.and_then(|table| table.count_known(dataset, all, parts));
    let (data, run) = (dataset.directory().display(), run.path().display());
    match known {
        Some(0) => {}
        Some(known) => note(format_args!(
            "warning: {known} of {} light-cones in {data} have the parameters of light-cones that {run} was trained or \
             validated on; if their initial conditions are the same too, scores and uncertainties look better than they \
             are",
            dataset.light_cones().len(),
        )),
        None => note(format_args!(
            "note: the parameters of the light-cones that {run} was trained on are not recorded in its split.csv; whether \
             some of them are in {data} is not known"
        )),
    }
    Ok(())
}
