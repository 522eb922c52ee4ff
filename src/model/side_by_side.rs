//! Networks of the same layers side by side in one, and such a network taken apart again.
//!
//! Each layer has the outputs of all members, one member after the other, connected to the own member's inputs alone:
//! weights between members are zero. The last layer takes the mean. Computed as one network, the zeros are multiplied
//! like any weight, so that n members cost n^2 of one in the layers between the first and the last; taken apart they
//! cost n.

use super::architecture::Architecture;
use super::ensemble::EnsembleError;
use super::layer::Layer;
use super::layer_spec::LayerSpec;
use super::parameters::{Parameters, Tensor};

/// Networks that one is taken apart into at most. A larger ensemble comes apart into networks of several members; a file
/// with more zeros than any ensemble has would become thousands.
const MOST_PARTS: usize = 32;

/// How a trainable tensor is made of those of the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placement {
    /// One member after the other: what each output has, or what sees the image that all share.
    Stacked,
    /// Blocks on the diagonal, zeros elsewhere. Shapes: (O, I, ...) to (n O, n I, ...).
    Diagonal,
    /// The mean over the members, of values, or where each has its own inputs, of sums over these. Shapes: those of a
    /// member, or (O, I) to (O, n I).
    Averaged {
        /// Whether each member has its own inputs.
        own_inputs: bool,
    },
}

/// The placements of the trainable tensors, in their order.
fn placements(architecture: &Architecture) -> Vec<Placement> {
    // Every member sees the same image; what its first layer makes of it is its own.
    let mut shared_input = true;
    let last = architecture.layers().len() - 1;
    let mut placements = Vec::new();
    for (index, layer) in architecture.layers().iter().enumerate() {
        let tensors = layer.trainable().into_iter();
        placements.extend(tensors.map(|tensor| {
            let own_inputs = tensor.shape.len() > 1 && !shared_input;
            match (index == last, own_inputs) {
                (true, own_inputs) => Placement::Averaged { own_inputs },
                (false, true) => Placement::Diagonal,
                (false, false) => Placement::Stacked,
            }
        }));
        shared_input &= !matches!(layer, Layer::Conv2d(_) | Layer::Dense(_));
    }
    placements
}

/// The layers before the last one, and that.
///
/// # Errors
/// [`EnsembleError`] when networks of these layers cannot stand side by side.
fn body_and_last(layers: &[LayerSpec]) -> Result<(&[LayerSpec], &LayerSpec), EnsembleError> {
    let Some((last @ LayerSpec::Dense { .. }, body)) = layers.split_last() else {
        let found = layers.last().map_or("none", LayerSpec::kind);
        return Err(EnsembleError::LastLayer { found });
    };
    let first_of = |kinds: &[&str]| {
        let mut layers = layers.iter();
        layers.position(|layer| kinds.contains(&layer.kind()))
    };
    if let (Some(layer), Some(first)) = (first_of(&["batch_norm"]), first_of(&["conv2d", "dense"]))
        && layer < first
    {
        return Err(EnsembleError::NormalizedInput { layer });
    }
    Ok((body, last))
}

/// Layers for `members` networks side by side; the last one has the outputs of one.
///
/// # Errors
/// [`EnsembleError`] when networks of these layers cannot stand side by side.
pub(super) fn widen(layers: &[LayerSpec], members: usize) -> Result<Vec<LayerSpec>, EnsembleError> {
    let (body, last) = body_and_last(layers)?;
    let mut wide = body.to_vec();
    for outputs in wide.iter_mut().filter_map(outputs_mut) {
        *outputs *= members;
    }
    wide.push(last.clone());
    Ok(wide)
}

/// The number of outputs of a layer that has one of its own.
fn outputs_mut(spec: &mut LayerSpec) -> Option<&mut usize> {
    match spec {
        LayerSpec::Conv2d { filters, .. } => Some(filters),
        LayerSpec::Dense { units: Some(units) } => Some(units),
        _ => None,
    }
}

/// The members' parameters in the places that `architecture`, of the [`widen`]ed layers, has for them.
pub(super) fn join(architecture: &Architecture, members: &[&Parameters<f32>]) -> Parameters<f32> {
    let mut parameters = Parameters::zeros(architecture);
    let placements = placements(architecture);
    for (number, tensor) in parameters.trainable.iter_mut().enumerate() {
        let parts = members.iter().map(|member| &member.trainable[number]);
        let parts: Vec<&Tensor<f32>> = parts.collect();
        match placements[number] {
            Placement::Stacked => stack(tensor, &parts),
            Placement::Diagonal => block_diagonal(tensor, &parts),
            Placement::Averaged { own_inputs } => average(tensor, &parts, own_inputs),
        }
    }
    for (number, tensor) in parameters.buffers.iter_mut().enumerate() {
        let parts = members.iter().map(|member| &member.buffers[number]);
        stack(tensor, &parts.collect::<Vec<_>>());
    }
    parameters
}

/// Networks whose outputs add up to those of this one, as those of n members that stand side by side do with 1/n of
/// each last layer; none where it is a single one, or has no zeros to leave out.
pub(super) fn take_apart(
    architecture: &Architecture,
    parameters: &Parameters<f32>,
) -> Option<(Architecture, Vec<Parameters<f32>>)> {
    let (body, last) = body_and_last(architecture.specs()).ok()?;
    let placements = placements(architecture);
    let tensors = || parameters.trainable.iter().zip(&placements);
    let diagonal = || {
        let diagonal = tensors().filter(|(_, placement)| **placement == Placement::Diagonal);
        diagonal.map(|(tensor, _)| tensor)
    };
    let most = diagonal()
        .map(|tensor| tensor.shape[0])
        .min()?
        .min(MOST_PARTS);
    let (count, mut layers) = (2..=most).rev().find_map(|count| {
        let layers = narrow(body, count)?;
        diagonal()
            .all(|tensor| is_block_diagonal(tensor, count))
            .then_some((count, layers))
    })?;
    layers.push(last.clone());
    // The kernels are in cells by now.
    let cell_mpc = 1.0;
    let outputs = architecture.outputs();
    let narrow = Architecture::resolve(&layers, architecture.image(), cell_mpc, outputs).ok()?;
    let parameters_of = |member: usize| {
        let mut parts = Parameters::zeros(&narrow);
        for (part, (whole, placement)) in parts.trainable.iter_mut().zip(tensors()) {
            match placement {
                Placement::Stacked => take_chunk(part, whole, member),
                Placement::Diagonal => take_block(part, whole, member, member),
                Placement::Averaged { own_inputs: true } => take_block(part, whole, 0, member),
                // The outputs are added up: one of them brings the bias.
                Placement::Averaged { own_inputs: false } if member == 0 => {
                    part.values.clone_from(&whole.values);
                }
                Placement::Averaged { own_inputs: false } => {}
            }
        }
        for (part, whole) in parts.buffers.iter_mut().zip(&parameters.buffers) {
            take_chunk(part, whole, member);
        }
        parts
    };
    let members = (0..count).map(parameters_of).collect();
    Some((narrow, members))
}

/// The layers of one of `count` members; none where they cannot be shared out.
fn narrow(layers: &[LayerSpec], count: usize) -> Option<Vec<LayerSpec>> {
    let mut layers = layers.to_vec();
    for outputs in layers.iter_mut().filter_map(outputs_mut) {
        if !outputs.is_multiple_of(count) {
            return None;
        }
        *outputs /= count;
    }
    Some(layers)
}

/// The outputs of all members, one member after the other.
fn stack(tensor: &mut Tensor<f32>, parts: &[&Tensor<f32>]) {
    tensor.values = parts
        .iter()
        .flat_map(|part| part.values.iter().copied())
        .collect();
}

/// What a member has of a stack.
fn take_chunk(part: &mut Tensor<f32>, whole: &Tensor<f32>, member: usize) {
    let count = part.values.len();
    part.values
        .copy_from_slice(&whole.values[member * count..][..count]);
}

/// See [`Placement::Diagonal`].
fn block_diagonal(tensor: &mut Tensor<f32>, parts: &[&Tensor<f32>]) {
    let wide = row_length(tensor);
    let narrow = wide / parts.len();
    let rows = parts.iter().enumerate().flat_map(|(member, part)| {
        let rows = part.values.chunks_exact(narrow);
        rows.map(move |row| (member, row))
    });
    for ((member, row), merged) in rows.zip(tensor.values.chunks_exact_mut(wide)) {
        merged[member * narrow..][..narrow].copy_from_slice(row);
    }
}

/// Whether everything outside `count` blocks on the diagonal is zero.
fn is_block_diagonal(tensor: &Tensor<f32>, count: usize) -> bool {
    let wide = row_length(tensor);
    let (narrow, rows) = (wide / count, tensor.shape[0] / count);
    let mut all = tensor.values.chunks_exact(wide).enumerate();
    all.all(|(row, values)| {
        let start = row / rows * narrow;
        let mut outside = values[..start].iter().chain(&values[start + narrow..]);
        outside.all(|&value| value == 0.0)
    })
}

/// The block of `whole` that is the `row`-th down and the `column`-th across.
fn take_block(part: &mut Tensor<f32>, whole: &Tensor<f32>, row: usize, column: usize) {
    let (wide, narrow) = (row_length(whole), row_length(part));
    let rows = whole.values.chunks_exact(wide).skip(row * part.shape[0]);
    for (part, whole) in part.values.chunks_exact_mut(narrow).zip(rows) {
        part.copy_from_slice(&whole[column * narrow..][..narrow]);
    }
}

/// See [`Placement::Averaged`].
fn average(tensor: &mut Tensor<f32>, parts: &[&Tensor<f32>], own_inputs: bool) {
    let share = 1.0 / parts.len() as f64;
    if own_inputs {
        let wide = row_length(tensor);
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

/// Weights of one output.
fn row_length(tensor: &Tensor<f32>) -> usize {
    tensor.shape[1..].iter().product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::layer_spec::WindowSize;

    const IMAGE: [usize; 2] = [6, 8];

    fn conv(filters: usize) -> LayerSpec {
        LayerSpec::Conv2d {
            filters,
            kernel: Some(WindowSize::Square(2)),
            kernel_mpc: None,
        }
    }

    fn dense(units: Option<usize>) -> LayerSpec {
        LayerSpec::Dense { units }
    }

    fn batch_norm() -> LayerSpec {
        LayerSpec::BatchNorm {
            momentum: 0.9,
            epsilon: 1e-3,
        }
    }

    fn architecture(layers: &[LayerSpec]) -> Architecture {
        Architecture::resolve(layers, IMAGE, 1.0, 2).expect("it fits")
    }

    /// Numbers without a zero, other ones for each seed.
    fn numbers(architecture: &Architecture, seed: usize) -> Parameters<f32> {
        let mut parameters = Parameters::zeros(architecture);
        for (number, tensor) in parameters.tensors_mut().enumerate() {
            for (index, value) in tensor.values.iter_mut().enumerate() {
                *value = 1.0 + (1000 * seed + 100 * number + index) as f32;
            }
        }
        parameters
    }

    fn side_by_side(
        layers: &[LayerSpec],
        members: &[&Parameters<f32>],
    ) -> (Architecture, Parameters<f32>) {
        let wide = architecture(&widen(layers, members.len()).expect("layers"));
        let parameters = join(&wide, members);
        (wide, parameters)
    }

    #[test]
    fn members_are_found_again() {
        let layers = [
            conv(2),
            batch_norm(),
            conv(3),
            LayerSpec::Flatten {},
            dense(Some(2)),
            dense(None),
        ];
        let narrow = architecture(&layers);
        for count in [2, 3, 4] {
            let members: Vec<_> = (1..=count).map(|seed| numbers(&narrow, seed)).collect();
            let (wide, parameters) = side_by_side(&layers, &members.iter().collect::<Vec<_>>());
            let (found, parts) = take_apart(&wide, &parameters).expect("zeros between members");
            assert_eq!(found, narrow);
            assert_eq!(parts.len(), count);
            let last = narrow.tensor_lengths()[0].len() - 2;
            let mut bias = vec![0.0; 2];
            for (part, member) in parts.iter().zip(&members) {
                assert_eq!(part.trainable[..last], member.trainable[..last]);
                assert_eq!(part.buffers, member.buffers);
                let weights = part.trainable[last].values.iter();
                for (part, member) in weights.zip(&member.trainable[last].values) {
                    assert!((part * count as f32 - member).abs() < 1e-3);
                }
                let of_part = bias.iter_mut().zip(&part.trainable[last + 1].values);
                of_part.for_each(|(sum, part)| *sum += part);
            }
            assert_eq!(bias, parameters.trainable[last + 1].values);
        }
        // Ensembles of ensembles as well.
        let members: Vec<_> = (1..=4).map(|seed| numbers(&narrow, seed)).collect();
        let (wide, first) = side_by_side(&layers, &[&members[0], &members[1]]);
        let (_, second) = side_by_side(&layers, &[&members[2], &members[3]]);
        let (widest, parameters) = side_by_side(wide.specs(), &[&first, &second]);
        assert_eq!(
            take_apart(&widest, &parameters).map(|(_, parts)| parts.len()),
            Some(4)
        );
    }

    #[test]
    fn other_networks_stay_whole() {
        let whole = |layers: &[LayerSpec], change: fn(&mut Parameters<f32>)| {
            let narrow = architecture(layers);
            let [first, second] = [1, 2].map(|seed| numbers(&narrow, seed));
            let (wide, mut parameters) = side_by_side(layers, &[&first, &second]);
            change(&mut parameters);
            take_apart(&wide, &parameters).is_none()
        };
        let layers = [
            LayerSpec::Flatten {},
            dense(Some(3)),
            dense(Some(2)),
            dense(None),
        ];
        assert!(!whole(&layers, |_| ()));
        // One weight between members.
        assert!(whole(&layers, |parameters| {
            parameters.trainable[2].values[3] = 1e-9;
        }));
        // No zeros between members of one hidden layer.
        assert!(whole(
            &[LayerSpec::Flatten {}, dense(Some(3)), dense(None)],
            |_| ()
        ));

        let narrow = architecture(&layers);
        assert!(
            take_apart(&narrow, &numbers(&narrow, 1)).is_none(),
            "as it is trained"
        );
        // Layers that no ensemble has: zeros alone do not make one.
        for layers in [
            vec![
                LayerSpec::Flatten {},
                dense(Some(2)),
                dense(Some(2)),
                dense(None),
                LayerSpec::Relu {},
            ],
            vec![
                batch_norm(),
                LayerSpec::Flatten {},
                dense(Some(2)),
                dense(Some(2)),
                dense(None),
            ],
        ] {
            let architecture = architecture(&layers);
            assert!(take_apart(&architecture, &Parameters::zeros(&architecture)).is_none());
        }
    }
}
