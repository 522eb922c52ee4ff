//! The layers as a user writes them.
//!
//! ```toml
//! [[layer]]
//! kind = "conv2d"
//! filters = 8
//! kernel_mpc = 15.0
//! ```

use serde::{Deserialize, Serialize};

/// One `[[layer]]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum LayerSpec {
    /// Valid convolution of stride 1. Exactly one of `kernel` and `kernel_mpc` is given.
    Conv2d {
        /// Number of output channels.
        filters: usize,
        /// Kernel size in cells, one number or `[rows, columns]`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kernel: Option<WindowSize>,
        /// Kernel size in comoving Mpc, rounded to whole cells: fits any cell size.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kernel_mpc: Option<f64>,
    },
    /// `max(x, 0)`.
    Relu {},
    /// Maximum over windows that do not overlap.
    MaxPool2d {
        /// Window in cells, one number or `[rows, columns]`.
        #[serde(default)]
        window: WindowSize,
    },
    /// From (channels, rows, columns) to one row of features.
    Flatten {},
    /// Inverted dropout, active in training.
    Dropout {
        /// Probability that a value is dropped.
        rate: f64,
    },
    /// Fully connected layer.
    Dense {
        /// Number of output features; absent: as many as the data set has parameters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        units: Option<usize>,
    },
    /// Batch normalisation, per channel after convolutions, per feature after dense layers.
    BatchNorm {
        /// Weight of the old running average (Keras' convention; PyTorch's is one minus this).
        #[serde(default = "default_momentum")]
        momentum: f64,
        /// Added to the variance.
        #[serde(default = "default_epsilon")]
        epsilon: f64,
    },
}

fn default_momentum() -> f64 {
    0.99
}

fn default_epsilon() -> f64 {
    1e-3
}

/// Rows and columns of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum WindowSize {
    /// As many rows as columns.
    Square(usize),
    /// `[rows, columns]`.
    Rectangle([usize; 2]),
}

impl Default for WindowSize {
    fn default() -> Self {
        Self::Square(2)
    }
}

impl WindowSize {
    /// `[rows, columns]`.
    #[must_use]
    pub fn cells(self) -> [usize; 2] {
        match self {
            Self::Square(n) => [n, n],
            Self::Rectangle(size) => size,
        }
    }
}

impl LayerSpec {
    /// The name of the layer's kind in TOML.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Conv2d { .. } => "conv2d",
            Self::Relu {} => "relu",
            Self::MaxPool2d { .. } => "max_pool2d",
            Self::Flatten {} => "flatten",
            Self::Dropout { .. } => "dropout",
            Self::Dense { .. } => "dense",
            Self::BatchNorm { .. } => "batch_norm",
        }
    }
}
