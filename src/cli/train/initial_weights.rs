//! `dawn21 train --init-from`: a training that starts from the weights of another.

use std::path::Path;

use crate::cli::CommandError;
use crate::cli::model_argument::{self, Weights};
use crate::cli::output::note;
use crate::model::architecture::Architecture;
use crate::model::description::ModelDescription;
use crate::model::parameters::Parameters;

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
            "warning: {} was trained for different parameters or ranges; the training starts from outputs for those",
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
