//! A layer whose shapes are known.

use dawn21_kernels::{BatchNormShape, Conv2dShape, DenseShape, MaxPool2dShape};

use super::architecture::DataShape;

/// A layer with its shapes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Layer {
    /// Valid convolution plus bias.
    Conv2d(Conv2dShape),
    /// `max(x, 0)`.
    Relu,
    /// Maximum over windows.
    MaxPool2d(MaxPool2dShape),
    /// A change of name only: images are stored row by row.
    Flatten,
    /// Inverted dropout.
    Dropout {
        /// Probability that a value is dropped.
        rate: f64,
    },
    /// Fully connected.
    Dense(DenseShape),
    /// Batch normalisation.
    BatchNorm {
        /// Channels and pixels.
        shape: BatchNormShape,
        /// Weight of the old running average.
        momentum: f64,
        /// Added to the variance.
        epsilon: f64,
    },
}

/// A tensor that a layer owns: last part of its name, and shape as in `torch.nn`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// `weight`, `bias`, `running_mean` or `running_var`.
    pub name: &'static str,
    /// Shape, row-major.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    fn new(name: &'static str, shape: &[usize]) -> Self {
        Self {
            name,
            shape: shape.to_vec(),
        }
    }
}

impl Layer {
    /// Shape of the output for an input that the layer was resolved for.
    #[must_use]
    pub fn output(&self, input: DataShape) -> DataShape {
        match self {
            Self::Conv2d(shape) => DataShape::Image(shape.output()),
            Self::MaxPool2d(shape) => DataShape::Image(shape.output()),
            Self::Flatten => DataShape::Features(input.len()),
            Self::Dense(shape) => DataShape::Features(shape.outputs()),
            Self::Relu | Self::Dropout { .. } | Self::BatchNorm { .. } => input,
        }
    }

    /// Tensors that training fits: scale (or weight) first, shift (or bias) second.
    #[must_use]
    pub fn trainable(&self) -> Vec<TensorSpec> {
        match self {
            Self::Conv2d(shape) => vec![
                TensorSpec::new("weight", &shape.weight_shape()),
                TensorSpec::new("bias", &[shape.bias_len()]),
            ],
            Self::Dense(shape) => vec![
                TensorSpec::new("weight", &[shape.outputs(), shape.inputs()]),
                TensorSpec::new("bias", &[shape.outputs()]),
            ],
            Self::BatchNorm { shape, .. } => vec![
                TensorSpec::new("weight", &[shape.channels()]),
                TensorSpec::new("bias", &[shape.channels()]),
            ],
            Self::Relu | Self::MaxPool2d(_) | Self::Flatten | Self::Dropout { .. } => Vec::new(),
        }
    }

    /// Running averages that inference uses.
    #[must_use]
    pub fn buffers(&self) -> Vec<TensorSpec> {
        match self {
            Self::BatchNorm { shape, .. } => vec![
                TensorSpec::new("running_mean", &[shape.channels()]),
                TensorSpec::new("running_var", &[shape.channels()]),
            ],
            _ => Vec::new(),
        }
    }
}
