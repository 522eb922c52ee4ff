//! Convolution + bias + ReLU + max-pooling as one stage.
//!
//! The map between convolution and pooling, four times as large as what is kept, is never written: the
//! forward pass keeps the pooled map and one byte a window (the position of the maximum, or [`DEAD`] where
//! the ReLU is 0), and the backward pass expands the pooled gradient while it loads it.
//!
//! `FusedConvStage` is one stage on one image, [`ConvStack`] runs several on a mini-batch, image after
//! image, so that what one stage writes is still in the cache when the next one reads it.

mod activations;
mod dropout;
mod fused;
mod layout;
mod stack;

pub use crate::conv2d::pooling::DEAD;
pub use activations::StackActivations;
pub use layout::FeatureMap;
pub use stack::{ConvStack, Prepared, StageGradients, StageWeights};

use crate::ShapeError;
use crate::conv2d::plan::Algorithm;
use crate::shape::{Conv2dShape, MaxPool2dShape};
use crate::simd::Level;

/// What a stage computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StageShape {
    pub(crate) conv: Conv2dShape,
    pub(crate) pool: MaxPool2dShape,
    pub(crate) relu: bool,
}

impl StageShape {
    /// Convolution, bias, ReLU, pooling with windows (rows, columns) that do not overlap; a window of
    /// 1 x 1 is no pooling.
    ///
    /// # Errors
    /// [`ShapeError`] when the window does not fit into the convolution's output or has more than 254
    /// cells.
    pub fn new(conv: Conv2dShape, window: [usize; 2]) -> Result<Self, ShapeError> {
        let pool = MaxPool2dShape::new(conv.output(), window)?;
        if window[0] * window[1] > 254 {
            return Err(ShapeError::Dimension {
                operation: "fused stage",
                detail: format!(
                    "a window of {} x {} has more than 254 cells",
                    window[0], window[1]
                ),
            });
        }
        Ok(Self {
            conv,
            pool,
            relu: true,
        })
    }

    /// The same without ReLU.
    #[must_use]
    pub fn without_relu(self) -> Self {
        Self {
            relu: false,
            ..self
        }
    }

    /// The map that the stage reads.
    #[must_use]
    pub fn input(&self) -> FeatureMap {
        FeatureMap::new([self.conv.in_channels, self.conv.height, self.conv.width])
    }

    /// The map that the stage makes.
    #[must_use]
    pub fn output(&self) -> FeatureMap {
        FeatureMap::new(self.pool.output())
    }

    /// The convolution.
    #[must_use]
    pub fn conv(&self) -> &Conv2dShape {
        &self.conv
    }
}

/// How a stage is to be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StageOptions {
    /// Vector instructions to use.
    pub(crate) level: Level,
    /// Algorithm to use instead of the planned one.
    pub(crate) algorithm: Option<Algorithm>,
    /// The gradient of the stage's input will be wanted: always, except in the first stage.
    pub(crate) input_gradient: bool,
}
