//! `dawn21 train --init-from`: a training that starts from the weights of another.

use std::path::Path;

use crate::cli::CommandError;
use crate::cli::model_argument::{self, Weights};
use crate::cli::output::note;
use crate::data::dataset::Dataset;
use crate::data::split::{Part, Split};
use crate::data::split_table::SplitTable;
use crate::model::architecture::Architecture;
use crate::model::model_file::ModelDescription;
use crate::model::parameters::Parameters;
use crate::run_directory::RunDirectory;

/// Weights of another model, if it is the same network for the same kind of data.
pub(super) fn read(
    path: &Path,
    description: &ModelDescription,
    architecture: &Architecture,
    quiet: bool,
) -> Result<Parameters<f32>, CommandError> {
    let has_best = path.join("model.safetensors").exists();
    let weights = if has_best {
        Weights::Best
    } else {
        Weights::Last
    };
    let (file, model) = model_argument::open(path, weights)?;
    model.description.check_same_scaling(description)?;
    if model.description.parameters != description.parameters && !quiet {
        note(format_args!(
            "warning: {} was trained for other parameters or ranges; its outputs start from there",
            file.display()
        ));
    }
    let shapes = |parameters: &Parameters<f32>| -> Vec<(String, Vec<usize>)> {
        let tensors = parameters.tensors();
        tensors.map(|t| (t.name.clone(), t.shape.clone())).collect()
    };
    let (found, expected) = (
        shapes(&model.parameters),
        shapes(&Parameters::zeros(architecture)),
    );
    if found != expected {
        let differing = found.iter().zip(&expected).find(|(a, b)| a != b);
        let detail = differing.map_or_else(
            || format!("{} tensors instead of {}", found.len(), expected.len()),
            |((name, shape), (other, wanted))| {
                format!("tensor `{name}` {shape:?} where this network has `{other}` {wanted:?}")
            },
        );
        return Err(CommandError::Usage(format!(
            "--init-from {}: another architecture: {detail}",
            file.display()
        )));
    }
    Ok(model.parameters)
}

/// What the initial weights were trained on is no test of the new ones.
pub(super) fn warn_of_known_light_cones(
    path: &Path,
    dataset: &Dataset,
    split: &Split,
) -> Result<(), CommandError> {
    // A file alone says nothing about it.
    let Some(table) = SplitTable::read(&RunDirectory::at(path).split())? else {
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
            path.display()
        ));
    }
    Ok(())
}
