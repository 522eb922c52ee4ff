//! Light-cones that a network knows, in data that it is judged by: their number, and warnings of them.
//!
//! They are known again by their parameters: other planes of them are other data, and another division of them has
//! another test.

use std::collections::BTreeSet;
use std::path::Path;

use super::CommandError;
use super::output::note;
use crate::data::dataset::Dataset;
use crate::data::split::{Part, Split};
use crate::data::split_table::SplitTable;
use crate::run_directory::RunDirectory;
use crate::training::run_record::RunRecord;

/// What a network has seen when it is scored.
const SEEN: [Part; 2] = [Part::Train, Part::Validation];

/// How many of some `light_cones` were part of the training of a run, which divided its own data as `split`, or of that of
/// its initial weights; none when that is not known. Of other data a warning says so.
pub(super) fn count_scored(
    run: &RunDirectory,
    record: &RunRecord,
    dataset: &Dataset,
    split: Option<&Split>,
    light_cones: &[usize],
    quiet: bool,
) -> Result<Option<usize>, CommandError> {
    let own = match split {
        Some(split) => Some(split.seen(light_cones)),
        None => known(run.path(), dataset, light_cones, &SEEN)?,
    };
    if split.is_none() && !quiet {
        warn_of_other_data(run, dataset, own.as_deref(), "trained or validated on");
    }
    let initial = match &record.init_from {
        Some(initial) => known(initial, dataset, light_cones, &SEEN)?,
        None => Some(Vec::new()),
    };
    let all = own.zip(initial).map(|(own, initial)| {
        let all: BTreeSet<usize> = own.into_iter().chain(initial).collect();
        all.len()
    });
    Ok(all)
}

/// Warns of other data than those of the training, for uncertainties: light-cones of the validation are what these are
/// made of.
pub(super) fn warn_before_calibration(
    run: &RunDirectory,
    dataset: &Dataset,
) -> Result<(), CommandError> {
    let all: Vec<usize> = (0..dataset.light_cones().len()).collect();
    let known = known(run.path(), dataset, &all, &[Part::Train])?;
    warn_of_other_data(run, dataset, known.as_deref(), "trained on");
    Ok(())
}

/// Those of some light-cones that were in some `parts` of a training; none when that is not known, as of a model file
/// alone.
fn known(
    run: &Path,
    dataset: &Dataset,
    light_cones: &[usize],
    parts: &[Part],
) -> Result<Option<Vec<usize>>, CommandError> {
    if !run.is_dir() {
        return Ok(None);
    }
    let table = SplitTable::read(&RunDirectory::at(run).split())?;
    Ok(table.and_then(|table| table.known(dataset, light_cones, parts)))
}

fn warn_of_other_data(run: &RunDirectory, dataset: &Dataset, known: Option<&[usize]>, seen: &str) {
    let (data, run) = (dataset.directory().display(), run.path().display());
    match known.map(<[usize]>::len) {
        Some(0) => {}
        Some(known) => note(format_args!(
            "warning: {known} of {} light-cones in {data} have the parameters of light-cones that {run} was {seen}; if \
             their initial conditions are the same too, scores and uncertainties look better than they are",
            dataset.light_cones().len(),
        )),
        None => note(format_args!(
            "note: {run} has no record (split.csv) of the parameters that it was trained on, so it is not known \
             whether light-cones in {data} are among them"
        )),
    }
}

/// What the initial weights, a run or a file, were trained on is no test of the new ones.
pub(super) fn warn_before_training(
    initial: &Path,
    dataset: &Dataset,
    split: &Split,
) -> Result<(), CommandError> {
    let held_out = [Part::Validation, Part::Test].map(|part| split.light_cones(part));
    let held_out = held_out.concat();
    let count = held_out.len();
    // A file alone says nothing about it.
    let known = known(initial, dataset, &held_out, &[Part::Train])?;
    if let Some(known) = known.map(|known| known.len()).filter(|&known| known > 0) {
        note(format_args!(
            "warning: {known} of the {count} light-cones for validation and test have the parameters of light-cones that {} \
             was trained on: scores will look better than they are; give both runs the same data and `split`, or give \
             this run new light-cones",
            initial.display()
        ));
    }
    Ok(())
}
