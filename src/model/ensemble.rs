//! Several networks as one: its outputs are the mean of theirs.
//!
//! Networks of the same layers that were trained with other seeds make other errors, and their mean makes smaller ones
//! (Hansen & Salamon 1990). The members stand side by side in one network of the same kind: each layer has the outputs
//! of all of them, connected to the own member's inputs alone (weights between members are zero), and the last layer
//! takes the mean. So an ensemble is a model file like any other. It costs more than its members do one by one, since
//! the zeros are multiplied too: for n members n^2 of one, in the layers between the first and the last.

use super::architecture::{Architecture, ArchitectureError};
use super::layer_spec::LayerSpec;
use super::model_file::{Model, ModelDescription};
use super::parameters::{Parameters, Tensor};

/// Why networks cannot be made one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EnsembleError {
    /// A mean needs two.
    #[error("an ensemble needs two or more models, found {found}")]
    TooFew {
        /// Number of models given.
        found: usize,
    },
    /// Two models differ in more than their weights.
    #[error(
        "model {number} has other {field} than the first; an ensemble is made of models that differ in their weights \
         alone"
    )]
    Differ {
        /// Number of the model, from 1.
        number: usize,
        /// What differs.
        field: &'static str,
    },
    /// The last layer has no weights that could take a mean.
    #[error("the last layer is {found}; the mean of several models needs a dense layer there")]
    LastLayer {
        /// Its kind.
        found: &'static str,
    },
    /// A normalisation of the image itself, of which the merged network has only one.
    #[error(
        "layer {layer} (batch_norm) comes before any conv2d or dense layer: the members share their input, but not its \
         normalisation, so they cannot be made one network"
    )]
    NormalizedInput {
        /// Position in the list, from 0.
        layer: usize,
    },
    /// The merged network is too large.
    #[error("the merged network: {0}")]
    Architecture(#[from] ArchitectureError),
}

/// A model whose outputs are the mean of those of the members, but for rounding.
///
/// # Errors
/// [`EnsembleError`] when there are fewer than two, they differ in more than their weights, or their layers do not allow
/// it.
pub fn merge(
    members: &[Model],
) -> Result<(ModelDescription, Architecture, Parameters<f32>), EnsembleError> {
    let [first, others @ ..] = members else {
        return Err(EnsembleError::TooFew { found: 0 });
    };
    if others.is_empty() {
        return Err(EnsembleError::TooFew { found: 1 });
    }
    for (number, other) in (2..).zip(others) {
        let differing = difference(&first.description, &other.description);
        if let Some(field) = differing {
            return Err(EnsembleError::Differ { number, field });
        }
    }
    let specs = first.network.architecture().specs();
    let Some((last @ LayerSpec::Dense { .. }, body)) = specs.split_last() else {
        let found = specs.last().map_or("none", LayerSpec::kind);
        return Err(EnsembleError::LastLayer { found });
    };
    let mut wider: Vec<LayerSpec> = body
        .iter()
        .map(|spec| side_by_side(spec, members.len()))
        .collect();
    wider.push(last.clone());
    let description = &first.description;
    let architecture = Architecture::resolve(
        &wider,
        description.image,
        description.cell_mpc,
        description.parameters.len(),
    )?;

    let mut parameters = Parameters::zeros(&architecture);
    let mut of_member: Vec<_> = members.iter().map(|m| m.parameters.tensors()).collect();
    let last_layer = format!("{}.", body.len());
    // Every member sees the same image; what its first layer makes of it is its own.
    let mut shared_input = true;
    for tensor in parameters.tensors_mut() {
        let parts: Vec<&Tensor<f32>> = of_member.iter_mut().filter_map(Iterator::next).collect();
        let is_matrix = tensor.shape.len() > 1;
        if tensor.name.starts_with(&last_layer) {
            average(tensor, &parts, is_matrix && !shared_input);
        } else if !is_matrix {
            if shared_input {
                // Biases follow their weights: this is a normalisation.
                let layer = tensor.name.split('.').next().and_then(|n| n.parse().ok());
                return Err(EnsembleError::NormalizedInput {
                    layer: layer.unwrap_or(0),
                });
            }
            stack(tensor, &parts);
        } else if shared_input {
            stack(tensor, &parts);
            shared_input = false;
        } else {
            block_diagonal(tensor, &parts);
        }
    }
    let description = ModelDescription {
        layers: architecture.specs().to_vec(),
        epoch: 0,
        step: members.iter().map(|m| m.description.step).sum(),
        validation_loss: None,
        ..description.clone()
    };
    Ok((description, architecture, parameters))
}

/// The first thing but the weights in which two models differ.
fn difference(a: &ModelDescription, b: &ModelDescription) -> Option<&'static str> {
    let bits = |values: &[f64]| -> Vec<u64> { values.iter().map(|v| v.to_bits()).collect() };
    let same = [
        ("layers", a.layers == b.layers),
        ("images", a.image == b.image && a.slices == b.slices),
        ("cells", bits(&[a.cell_mpc]) == bits(&[b.cell_mpc])),
        (
            "redshifts",
            bits(&a.redshift_range) == bits(&b.redshift_range),
        ),
        (
            "quantities",
            (&a.quantity, &a.unit) == (&b.quantity, &b.unit),
        ),
        ("scalings of the input", a.input == b.input),
        ("parameters or ranges of them", a.parameters == b.parameters),
    ];
    same.iter().find(|(_, same)| !same).map(|(field, _)| *field)
}

/// A layer with the outputs of `members` of its kind.
fn side_by_side(spec: &LayerSpec, members: usize) -> LayerSpec {
    let mut spec = spec.clone();
    match &mut spec {
        LayerSpec::Conv2d { filters, .. } => *filters *= members,
        LayerSpec::Dense { units: Some(units) } => *units *= members,
        _ => {}
    }
    spec
}

/// The outputs of all members, one member after the other.
fn stack(tensor: &mut Tensor<f32>, parts: &[&Tensor<f32>]) {
    tensor.values = parts
        .iter()
        .flat_map(|part| part.values.iter().copied())
        .collect();
}

/// The same, where each output sees the inputs of its own member. Shapes: (O, I, ...) to (n O, n I, ...).
fn block_diagonal(tensor: &mut Tensor<f32>, parts: &[&Tensor<f32>]) {
    let wide: usize = tensor.shape[1..].iter().product();
    let narrow = wide / parts.len();
    let rows = parts.iter().enumerate().flat_map(|(member, part)| {
        let rows = part.values.chunks_exact(narrow);
        rows.map(move |row| (member, row))
    });
    for ((member, row), merged) in rows.zip(tensor.values.chunks_exact_mut(wide)) {
        merged[member * narrow..][..narrow].copy_from_slice(row);
    }
}

/// The mean over the members: of values, or where each has `own_inputs`, of sums over these. Shapes: those of a member,
/// or (O, I) to (O, n I).
fn average(tensor: &mut Tensor<f32>, parts: &[&Tensor<f32>], own_inputs: bool) {
    let share = 1.0 / parts.len() as f64;
    if own_inputs {
        let wide: usize = tensor.shape[1..].iter().product();
        let narrow = wide / parts.len();
        for (output, merged) in tensor.values.chunks_exact_mut(wide).enumerate() {
            for (part, merged) in parts.iter().zip(merged.chunks_exact_mut(narrow)) {
                let row = &part.values[output * narrow..][..narrow];
                for (merged, &value) in merged.iter_mut().zip(row) {
                    *merged = (share * f64::from(value)) as f32;
                }
            }
        }
    } else {
        for (index, merged) in tensor.values.iter_mut().enumerate() {
            let sum: f64 = parts.iter().map(|part| f64::from(part.values[index])).sum();
            *merged = (share * sum) as f32;
        }
    }
}
