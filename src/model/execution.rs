//! How a network is computed: nothing here changes what it computes, but for rounding.

use std::fmt;

use dawn21_kernels::ShapeError;
use dawn21_kernels::conv2d::plan::Algorithm;
use dawn21_kernels::simd::{Level, LevelError};
use serde::{Deserialize, Serialize};

/// Algorithm of the convolutions, as a user names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Convolution {
    /// Whatever is estimated to be fastest for each shape.
    #[default]
    Auto,
    /// Every product of the definition, blocked for registers, in fused stages.
    Direct,
    /// Patches times weights, in fused stages.
    Im2col,
    /// Fourier transforms of tiles, in fused stages.
    Fft,
    /// Layer by layer with the audited reference kernels: slow, and easiest to follow.
    Plain,
}

/// The `[execution]` table of a configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExecutionConfig {
    /// Algorithm of the convolutions.
    pub convolution: Convolution,
}

/// How an [`Engine`](super::engine::Engine) runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execution {
    /// Vector instructions.
    pub level: Level,
    /// Algorithm of the convolutions.
    pub convolution: Convolution,
}

/// Why a network cannot be run as asked for.
#[derive(Debug, thiserror::Error)]
pub enum ExecutionError {
    /// `DAWN21_SIMD` asks for what there is not.
    #[error("DAWN21_SIMD: {0}")]
    Level(#[from] LevelError),
    /// An algorithm that cannot compute a layer.
    #[error("execution.convolution = {convolution}: {source}; choose \"auto\"")]
    Algorithm {
        /// The algorithm asked for.
        convolution: Convolution,
        /// Why not.
        source: ShapeError,
    },
    /// Weights that are another network's; a fault of the program.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

impl Execution {
    /// The vector instructions of the environment (`DAWN21_SIMD`, else the processor's best) with the
    /// algorithm of a configuration.
    ///
    /// # Errors
    /// [`ExecutionError::Level`] when the environment asks for instructions that there are not.
    pub fn new(config: ExecutionConfig) -> Result<Self, ExecutionError> {
        Ok(Self {
            level: Level::from_environment()?,
            convolution: config.convolution,
        })
    }
}

impl Convolution {
    /// The algorithm that fused stages are forced to use.
    pub(super) fn algorithm(self) -> Option<Algorithm> {
        match self {
            Self::Auto | Self::Plain => None,
            Self::Direct => Some(Algorithm::Direct),
            Self::Im2col => Some(Algorithm::Im2col),
            Self::Fft => Some(Algorithm::Fft),
        }
    }
}

impl fmt::Display for Convolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Direct => "direct",
            Self::Im2col => "im2col",
            Self::Fft => "fft",
            Self::Plain => "plain",
        })
    }
}
