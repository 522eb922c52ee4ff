//! Calibration at the end of a training, and before an evaluation that finds none.

use super::CommandError;
use super::output::note;
use super::progress::Items;
use crate::data::dataset::Dataset;
use crate::data::slices::Slicing;
use crate::data::split::{Part, Split};
use crate::evaluation::calibration::{Calibration, CalibrationData, CalibrationError};
use crate::model::model_file::{self, Model};
use crate::run_directory::RunDirectory;

/// Calibrates the best weights of a run that has ended, unless that was done.
pub(super) fn after_training(
    run: &RunDirectory,
    dataset: &Dataset,
    slicing: &Slicing,
    split: &Split,
    quiet: bool,
) -> Result<(), CommandError> {
    let model = model_file::read(&run.model())?;
    if stored(run, &model, quiet).is_none() {
        let calibration = measure(&model, dataset, slicing, split, quiet)?;
        calibration.write(&run.calibration())?;
    }
    Ok(())
}

/// The calibration of the best weights of a run, measured if there is none of them yet. It is stored where the
/// run can be written to.
pub(super) fn before_evaluation(
    run: &RunDirectory,
    model: &Model,
    dataset: &Dataset,
    slicing: &Slicing,
    split: &Split,
    quiet: bool,
) -> Result<Calibration, CommandError> {
    if let Some(calibration) = stored(run, model, quiet) {
        return Ok(calibration);
    }
    let calibration = measure(model, dataset, slicing, split, quiet)?;
    if let Err(error) = calibration.write(&run.calibration()) {
        note(format_args!(
            "warning: the calibration is not stored: {error}"
        ));
    }
    Ok(calibration)
}

/// What is stored for these very weights; a damaged file is made anew.
fn stored(run: &RunDirectory, model: &Model, quiet: bool) -> Option<Calibration> {
    match Calibration::read(&run.calibration(), model) {
        Ok(calibration) => calibration,
        Err(CalibrationError::OtherWeights { .. }) => None,
        Err(error) => {
            if !quiet {
                note(format_args!("{error}; calibrating anew"));
            }
            None
        }
    }
}

fn measure(
    model: &Model,
    dataset: &Dataset,
    slicing: &Slicing,
    split: &Split,
    quiet: bool,
) -> Result<Calibration, CommandError> {
    let (training, validation) = (
        split.light_cones(Part::Train),
        split.light_cones(Part::Validation),
    );
    let data = CalibrationData {
        dataset,
        slicing,
        training: &training,
        validation: &validation,
    };
    let mut progress = None;
    Ok(Calibration::measure(model, &data, |done, count| {
        progress
            .get_or_insert_with(|| Items::new("calibration", count, quiet))
            .update(done);
    })?)
}
