//! Warnings of light-cones that a network knows, in data that it is judged by.
//!
//! They are known again by their parameters: other planes of them are other data, and another division of them has
//! another test.

use std::path::Path;

use super::CommandError;
use super::output::note;
use crate::data::dataset::Dataset;
use crate::data::split::{Part, Split};
use crate::data::split_table::SplitTable;
use crate::run_directory::RunDirectory;

/// How many of other data than those of the training were part of it, for scores; none when that is not known.
pub(super) fn before_evaluation(
    run: &RunDirectory,
    dataset: &Dataset,
    quiet: bool,
) -> Result<Option<usize>, CommandError> {
    let known = count(run, dataset, &[Part::Train, Part::Validation])?;
    if !quiet {
        warn_of_other_data(run, dataset, known, "trained or validated on");
    }
    Ok(known)
}

/// Of other data than those of the training, for uncertainties: light-cones of the validation are what these are made
/// of.
pub(super) fn warn_before_calibration(
    run: &RunDirectory,
    dataset: &Dataset,
) -> Result<(), CommandError> {
    let known = count(run, dataset, &[Part::Train])?;
    warn_of_other_data(run, dataset, known, "trained on");
    Ok(())
}

fn count(
    run: &RunDirectory,
    dataset: &Dataset,
    parts: &[Part],
) -> Result<Option<usize>, CommandError> {
    let table = SplitTable::read(&run.split())?;
    let all = 0..dataset.light_cones().len();
    Ok(table.and_then(|table| table.count_known(dataset, all, parts)))
}

fn warn_of_other_data(run: &RunDirectory, dataset: &Dataset, known: Option<usize>, seen: &str) {
    let (data, run) = (dataset.directory().display(), run.path().display());
    match known {
        Some(0) => {}
        Some(known) => note(format_args!(
            "warning: {known} of {} light-cones in {data} have the parameters of light-cones that {run} was {seen}; if \
             their initial conditions are the same too, scores and uncertainties look better than they are",
            dataset.light_cones().len(),
        )),
        None => note(format_args!(
            "note: {run} has no record (split.csv) of the parameters that it was trained on; whether light-cones in {data} \
             are among them is not known"
        )),
    }
}

/// What the initial weights, a run or a file, were trained on is no test of the new ones.
pub(super) fn warn_before_training(
    initial: &Path,
    dataset: &Dataset,
    split: &Split,
) -> Result<(), CommandError> {
    // A file alone says nothing about it.
    if !initial.is_dir() {
        return Ok(());
    }
    let Some(table) = SplitTable::read(&RunDirectory::at(initial).split())? else {
        return Ok(());
    };
    let held_out = [Part::Validation, Part::Test].map(|part| split.light_cones(part));
    let held_out = held_out.concat();
    let count = held_out.len();
    let known = table.count_known(dataset, held_out, &[Part::Train]);
    if let Some(known) = known.filter(|&known| known > 0) {
        note(format_args!(
            "warning: {known} of the {count} light-cones for validation and test have the parameters of light-cones that {} \
             was trained on: scores will look better than they are; give both runs the same data and `split`, or new \
             light-cones to this one",
            initial.display()
        ));
    }
    Ok(())
}
