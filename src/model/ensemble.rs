//! Several networks as one: its outputs are the mean of theirs, and of those to other views of an image where that is
//! asked for.
//!
//! Networks of the same layers that were trained with other seeds make other errors, and their mean makes smaller ones
//! (Hansen & Salamon 1990). The members stand side by side in one network of the same kind: each layer has the outputs
//! of all of them, connected to the own member's inputs alone (weights between members are zero), and the last layer
//! takes the mean. So an ensemble is a model file like any other; to predict, its members are
//! taken apart again (`side_by_side.rs`).

use super::architecture::{Architecture, ArchitectureError};
use super::description::ModelDescription;
use super::layer_spec::LayerSpec;
use super::model_file::Model;
use super::parameters::Parameters;
use super::side_by_side::{join, widen};
use crate::data::symmetry::Symmetries;

/// Why networks cannot be made one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EnsembleError {
    /// A mean needs two.
    #[error("a mean needs two predictions or more")]
    OneAnswer,
    /// There are not so many views of an image.
    #[error(
        "{shifts} shifts along the sky: expected at least 1 and at most one per row; an image has {rows} rows"
    )]
    Shifts {
        /// Shifts asked for.
        shifts: usize,
        /// Rows of an image.
        rows: usize,
    },
    /// Models that answer with means over views already.
    #[error(
        "the models already average over {symmetries}; give the runs that they were made from, with other views, or \
         these runs without any"
    )]
    SymmetricMembers {
        /// Their views.
        symmetries: Symmetries,
    },
    /// Two models differ in more than their weights.
    #[error(
        "model {number} has different {field} from the first; an ensemble is made of models that differ only in their \
         weights"
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

/// A model whose outputs are the mean of those of the members, but for rounding, and over `symmetries` of an image.
/// Without these it has those of its members.
///
/// # Errors
/// [`EnsembleError`] when there is one answer that it could be the mean of, the members differ in more than their
/// weights, their layers do not allow it, or their images have no such symmetries.
pub fn merge(
    members: &[Model],
    symmetries: Symmetries,
) -> Result<(ModelDescription, Architecture, Parameters<f32>), EnsembleError> {
    let [first, others @ ..] = members else {
        return Err(EnsembleError::OneAnswer);
    };
    let [rows, _] = first.description.image;
    if !symmetries.fit(rows) {
        let shifts = symmetries.shifts;
        return Err(EnsembleError::Shifts { shifts, rows });
    }
    let own = first.description.symmetries;
    let symmetries = match (symmetries.is_none(), own.is_none()) {
        (false, false) => return Err(EnsembleError::SymmetricMembers { symmetries: own }),
        (true, _) => own,
        (false, true) => symmetries,
    };
    if others.is_empty() {
        if symmetries == own {
            return Err(EnsembleError::OneAnswer);
        }
        let description = ModelDescription {
            // That of one view.
            validation_loss: None,
            ..first.description.clone().with_symmetries(symmetries)
        };
        let architecture = first.network.architecture().clone();
        return Ok((description, architecture, first.parameters.clone()));
    }
    for (number, other) in (2..).zip(others) {
        if let Some(field) = difference(&first.description, &other.description) {
            return Err(EnsembleError::Differ { number, field });
        }
    }
    let layers = widen(first.network.architecture().specs(), members.len())?;
    let description = &first.description;
    let outputs = description.parameters.len();
    let architecture =
        Architecture::resolve(&layers, description.image, description.cell_mpc, outputs)?;
    let description = ModelDescription {
        layers: architecture.specs().to_vec(),
        epoch: 0,
        step: members.iter().map(|m| m.description.step).sum(),
        validation_loss: None,
        ..description.clone().with_symmetries(symmetries)
    };
    let members: Vec<&Parameters<f32>> = members.iter().map(|m| &m.parameters).collect();
    let parameters = join(&architecture, &members);
    Ok((description, architecture, parameters))
}

/// The first thing but the weights in which two models differ. Dropout acts in training alone.
fn difference(a: &ModelDescription, b: &ModelDescription) -> Option<&'static str> {
    let bits = |values: &[f64]| -> Vec<u64> { values.iter().map(|v| v.to_bits()).collect() };
    let layers = |model: &ModelDescription| -> Vec<LayerSpec> {
        let layers = model.layers.iter().cloned();
        let without_rate = layers.map(|layer| match layer {
            LayerSpec::Dropout { .. } => LayerSpec::Dropout { rate: 0.0 },
            layer => layer,
        });
        without_rate.collect()
    };
    let same = [
        ("layers", layers(a) == layers(b)),
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
        ("views of an image", a.symmetries == b.symmetries),
    ];
    same.iter().find(|(_, same)| !same).map(|(field, _)| *field)
}
