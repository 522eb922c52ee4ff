//! From a list of layers to the segments of an engine.

use dawn21_kernels::ShapeError;
use dawn21_kernels::stage::StageShape;

use super::Purpose;
use super::convolutions::Convolutions;
use super::dense_head::DenseHead;
use super::learned::Learned;
use super::plain::Plain;
use crate::model::activations::Mode;
use crate::model::architecture::Architecture;
use crate::model::execution::{Convolution, Execution};
use crate::model::layer::Layer;
use crate::model::parameters::Tensor;

/// Consecutive layers that are computed together.
#[derive(Debug)]
pub(super) enum Segment {
    /// Fused convolution stages, and the dense layer that reads their features, if one does.
    Convolutions(Convolutions),
    /// Layer by layer.
    Plain(Plain),
}

/// Cuts the layers into segments. `input_gradient`: that of the first segment's input is wanted, too.
///
/// # Errors
/// [`ShapeError`] when the algorithm of `execution` cannot compute a convolution.
pub(super) fn compile(
    architecture: &Architecture,
    execution: Execution,
    input_gradient: bool,
) -> Result<Vec<Segment>, ShapeError> {
    let layers = architecture.layers();
    let fused = |layer: &Layer| {
        matches!(layer, Layer::Conv2d(_)) && execution.convolution != Convolution::Plain
    };
    let mut segments = Vec::new();
    let mut index = 0;
    while index < layers.len() {
        let wanted = index > 0 || input_gradient;
        if fused(&layers[index]) {
            let (stages, used) = stages(&layers[index..])?;
            index += used;
            let (head, used) = dense_head(architecture, index, &stages);
            index += used;
            segments.push(Segment::Convolutions(Convolutions::new(
                stages, head, execution, wanted,
            )?));
        } else {
            let start = index;
            while index < layers.len() && !fused(&layers[index]) {
                index += 1;
            }
            segments.push(Segment::Plain(Plain::new(architecture.part(start..index))));
        }
    }
    Ok(segments)
}

/// The stages at the beginning of `layers`, and how many layers they are.
fn stages(layers: &[Layer]) -> Result<(Vec<StageShape>, usize), ShapeError> {
    let mut stages = Vec::new();
    let mut index = 0;
    while let Some(Layer::Conv2d(conv)) = layers.get(index) {
        index += 1;
        let relu = matches!(layers.get(index), Some(Layer::Relu));
        index += usize::from(relu);
        let pooled = match layers.get(index) {
            Some(Layer::MaxPool2d(pool)) => StageShape::new(*conv, pool.window()).ok(),
            _ => None,
        };
        index += usize::from(pooled.is_some());
        let stage = match pooled {
            Some(stage) => stage,
            None => StageShape::new(*conv, [1, 1])?,
        };
        stages.push(if relu { stage } else { stage.without_relu() });
    }
    Ok((stages, index))
}

/// The dense layer that reads the features of `stages` from layer `index` on, and how many layers it is
/// with the flattening and dropout before it.
fn dense_head(
    architecture: &Architecture,
    index: usize,
    stages: &[StageShape],
) -> (Option<DenseHead>, usize) {
    let Some(last) = stages.last() else {
        return (None, 0);
    };
    let (mut dropout, mut flat) = (None, false);
    for (used, layer) in architecture.layers()[index..].iter().enumerate() {
        match layer {
            Layer::Flatten => flat = true,
            Layer::Dropout { rate } if dropout.is_none() => {
                dropout = Some((*rate, (architecture.first_layer() + index + used) as u64));
            }
            Layer::Dense(shape) if flat => {
                let head = DenseHead::new(*shape, last.output(), dropout);
                return head.map_or((None, 0), |head| (Some(head), used + 1));
            }
            _ => break,
        }
    }
    (None, 0)
}

impl Segment {
    /// Numbers of trainable tensors and of running averages.
    pub(super) fn tensor_counts(&self) -> [usize; 2] {
        match self {
            Self::Convolutions(segment) => [segment.tensor_count(), 0],
            Self::Plain(segment) => segment.tensor_counts(),
        }
    }

    pub(super) fn load(
        &mut self,
        trainable: &[Tensor<f32>],
        buffers: &[Tensor<f32>],
        mean_squares: Option<&[Vec<f32>]>,
    ) -> Result<(), ShapeError> {
        match self {
            Self::Convolutions(segment) => segment.load(trainable, mean_squares),
            Self::Plain(segment) => {
                segment.load(trainable, buffers, mean_squares);
                Ok(())
            }
        }
    }

    pub(super) fn store(
        &self,
        trainable: &mut [Tensor<f32>],
        buffers: &mut [Tensor<f32>],
    ) -> Result<(), ShapeError> {
        match self {
            Self::Convolutions(segment) => segment.store(trainable),
            Self::Plain(segment) => {
                segment.store(trainable, buffers);
                Ok(())
            }
        }
    }

    pub(super) fn mean_squares(&self) -> Result<Vec<Vec<f32>>, ShapeError> {
        match self {
            Self::Convolutions(segment) => segment.mean_squares(),
            Self::Plain(segment) => Ok(segment.mean_squares().to_vec()),
        }
    }

    /// Number of dense layers.
    pub(super) fn dense_count(&self) -> usize {
        match self {
            Self::Convolutions(segment) => usize::from(segment.has_head()),
            Self::Plain(segment) => segment.dense_count(),
        }
    }

    /// Inputs (N,F) of its dense layers but the first `skipped` ones, after a pass; those of the layer that is
    /// computed with the convolutions, which are maps, never.
    pub(super) fn dense_inputs(&self, skipped: usize) -> Vec<&[f32]> {
        match self {
            Self::Convolutions(_) => Vec::new(),
            Self::Plain(segment) => segment.dense_inputs(skipped),
        }
    }

    pub(super) fn has_mean_squares(&self) -> bool {
        match self {
            Self::Convolutions(segment) => segment.has_mean_squares(),
            Self::Plain(segment) => segment.has_mean_squares(),
        }
    }

    pub(super) fn has_average(&self) -> bool {
        match self {
            Self::Convolutions(segment) => segment.has_average(),
            Self::Plain(segment) => segment.has_average(),
        }
    }

    /// Makes the average what the weights are.
    pub(super) fn copy_to_average(&mut self) {
        match self {
            Self::Convolutions(segment) => {
                segment.for_each_learned(|learned| learned.average.clone_from(&learned.values));
            }
            Self::Plain(segment) => segment.copy_to_average(),
        }
    }

    pub(super) fn clear_average(&mut self) {
        match self {
            Self::Convolutions(segment) => {
                segment.for_each_learned(|learned| learned.average = Vec::new());
            }
            Self::Plain(segment) => segment.clear_average(),
        }
    }

    pub(super) fn update_average(&mut self, decay: f32) {
        match self {
            Self::Convolutions(segment) => {
                segment.for_each_learned(|learned| learned.average(decay));
            }
            Self::Plain(segment) => segment.update_average(decay),
        }
    }

    pub(super) fn swap_average(&mut self) {
        match self {
            Self::Convolutions(segment) => {
                segment.for_each_learned(Learned::swap_average);
                segment.forget_prepared();
            }
            Self::Plain(segment) => segment.swap_average(),
        }
    }

    /// Where the segment before writes.
    pub(super) fn input_mut(&mut self) -> &mut Vec<f32> {
        match self {
            Self::Convolutions(segment) => &mut segment.input,
            Self::Plain(segment) => segment.input_mut(),
        }
    }

    /// Training pass from `input`, or from what the segment before wrote.
    pub(super) fn forward(
        &mut self,
        input: Option<&[f32]>,
        output: &mut Vec<f32>,
        mode: Mode,
    ) -> Result<(), ShapeError> {
        match self {
            Self::Convolutions(segment) => segment.forward(input, output, mode),
            Self::Plain(segment) => segment.forward(output, mode),
        }
    }

    /// Inference, keeping nothing.
    pub(super) fn infer(
        &mut self,
        input: Option<&[f32]>,
        output: &mut Vec<f32>,
    ) -> Result<(), ShapeError> {
        match self {
            Self::Convolutions(segment) => segment.infer(input, output),
            Self::Plain(segment) => segment.forward(output, Mode::Inference),
        }
    }

    /// Backward pass; `dx` is overwritten. The segment's tensors are those from `first_tensor` on.
    pub(super) fn backward(
        &mut self,
        input: Option<&[f32]>,
        dy: &[f32],
        dx: Option<&mut Vec<f32>>,
        purpose: &mut Purpose<'_>,
        first_tensor: usize,
    ) -> Result<(), ShapeError> {
        match self {
            Self::Convolutions(segment) => segment.backward(input, dy, dx, purpose, first_tensor),
            Self::Plain(segment) => segment.backward(dy, dx, purpose, first_tensor),
        }
    }

    /// Whether all weights and running averages are finite.
    pub(super) fn is_finite(&self) -> bool {
        match self {
            Self::Convolutions(segment) => segment.is_finite(),
            Self::Plain(segment) => segment.is_finite(),
        }
    }
}

/// Whether all values are finite, without a branch a value.
pub(super) fn all_finite(learned: &Learned) -> bool {
    // Times zero, an infinity is NaN.
    let probe: f32 = learned.values.iter().map(|value| value * 0.0).sum();
    probe.is_finite()
}
