//! A trained network given on the command line: a run directory, a model file or a checkpoint.

use std::path::{Path, PathBuf};

use super::CommandError;
use crate::model::model_file::{self, Model};
use crate::run_directory::RunDirectory;
use crate::training::checkpoint;

/// Which weights of a run are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Weights {
    /// Those with the lowest validation loss.
    Best,
    /// Those of the last checkpoint: the averaged ones, if the training averages weights.
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
            "{}: there are no last weights: the run was imported, is an ensemble, or has not begun yet",
            run.path().display()
        ))),
        Weights::Last => Ok((run.checkpoint(), checkpoint::read_model(&run.checkpoint())?)),
    }
}
