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
    ensure(run, &model, dataset, slicing, split, quiet)?;
    Ok(())
}

/// The calibration of the best weights of a run, measured and stored if there is none of them yet.
pub(super) fn ensure(
    run: &RunDirectory,
    model: &Model,
    dataset: &Dataset,
    slicing: &Slicing,
    split: &Split,
    quiet: bool,
) -> Result<Calibration, CommandError> {
    let path = run.calibration();
    match Calibration::read(&path, model) {
        Ok(Some(calibration)) => return Ok(calibration),
        Ok(None) | Err(CalibrationError::OtherWeights { .. }) => {}
        Err(error) if !quiet => note(format_args!("{error}; calibrating anew")),
        Err(_) => {}
    }
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
    let calibration = Calibration::measure(model, &data, |done, count| {
        progress
            .get_or_insert_with(|| Items::new("calibration", count, quiet))
            .update(done);
    })?;
    calibration.write(&path)?;
    Ok(calibration)
}
