//! `dawn21 calibrate`, and calibration at the end of a training and before an evaluation that finds none.

use std::path::PathBuf;

use super::known_light_cones;
use super::output::{line, note};
use super::progress::Items;
use super::{CommandError, Threads};
use crate::data::dataset::Dataset;
use crate::data::slices::Slicing;
use crate::data::split::{Part, Split};
use crate::evaluation::calibration::{Calibration, CalibrationData, CalibrationError};
use crate::model::model_file::{self, Model};
use crate::run_directory::RunDirectory;
use crate::training::run_record::RunRecord;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Run directory
    run: PathBuf,
    /// Data directory of light-cones that the network was not trained on; whole cubes with a square sky give the
    /// uncertainty of the mean over both directions as well. For an imported model they also say which images are
    /// usual
    data: PathBuf,
    #[command(flatten)]
    threads: Threads,
    /// Print the result only
    #[arg(long)]
    quiet: bool,
}

/// Measures the uncertainties of the best weights of a run anew. Which images are like those trained on stays as
/// it was: these data say nothing about that. Of an imported model they are all that there is to say it.
pub(super) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    arguments.threads.apply()?;
    let run = RunDirectory::open(&arguments.run)?;
    let model = model_file::read(&run.model())?;
    let dataset = Dataset::open(&arguments.data)?;
    let slicing = Slicing::new(dataset.manifest(), &model.description.slices)?;
    model.description.check_data(dataset.manifest(), &slicing)?;
    let record = RunRecord::read_unless_imported(&run.record())?;
    if let Some(record) = &record
        && record.check_data(run.path(), &dataset).is_ok()
    {
        return Err(CommandError::Usage(format!(
            "{}: the network was trained on these light-cones; give others, or remove {} so that `dawn21 evaluate` \
             makes it again from the validation light-cones",
            dataset.directory().display(),
            run.calibration().display()
        )));
    }
    if record.is_some() && !arguments.quiet {
        known_light_cones::warn_before_calibration(&run, &dataset)?;
    }
    let mut bar = None;
    let progress = |done, count| {
        bar.get_or_insert_with(|| Items::new("calibration", count, arguments.quiet))
            .update(done);
    };
    let calibration = match &record {
        None => Calibration::measure_imported(&model, &dataset, &slicing, progress)?,
        Some(record) => {
            let known = of_usual_images(&run, record, &model)?;
            known.measured_on(&model, &dataset, &slicing, progress)?
        }
    };
    calibration.write(&run.calibration())?;
    let means: Vec<String> = calibration.means_known().map(|m| m.to_string()).collect();
    line(format_args!(
        "{}: uncertainties from {} images of {} light-cones, also for means over {}",
        run.calibration().display(),
        calibration.images,
        calibration.light_cones,
        means.join(" and ")
    ))
}

/// A calibration that says which images are like those trained on: of the run, or else of the run over whose views it
/// is the mean. Both are the same network, so that an image has the same features in them.
fn of_usual_images(
    run: &RunDirectory,
    record: &RunRecord,
    model: &Model,
) -> Result<Calibration, CommandError> {
    let own = run.calibration();
    if let Some(calibration) = Calibration::read(&own, model)? {
        return Ok(calibration);
    }
    let mut or_of_viewed = String::new();
    if let [viewed] = &record.members[..] {
        if let Ok(viewed) = RunDirectory::open(viewed)
            && let Ok(network) = model_file::read(&viewed.model())
            && network.parameters == model.parameters
            && let Some(calibration) = Calibration::read(&viewed.calibration(), &network)?
        {
            return Ok(calibration);
        }
        or_of_viewed = format!(
            ", and that of {}, which it was made from, serves as well",
            viewed.display()
        );
    }
    Err(CommandError::Usage(format!(
        "{}: missing, but needed to tell which images are like those trained on; `dawn21 evaluate RUN DATA` with the \
         training data makes it{or_of_viewed}",
        own.display()
    )))
}

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
