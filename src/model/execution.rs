//! How a network is computed: nothing here changes what it computes, but for rounding.

use std::fmt;

use dawn21_kernels::ShapeError;
use dawn21_kernels::conv2d::plan::{Algorithm, UnknownAlgorithm};
use dawn21_kernels::simd::{Level, LevelError};
use serde::{Deserialize, Serialize};

/// Algorithm of the convolutions, as a user names it: `auto`, `plain`, or one of [`Algorithm`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Convolution {
    /// Whatever is estimated to be fastest for each shape.
    #[default]
    Auto,
    /// Fused stages by this algorithm.
    By(Algorithm),
    /// Layer by layer with the plain kernels, each audited on its own: slow, and easiest to follow.
    Plain,
}

impl TryFrom<String> for Convolution {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "auto" => Ok(Self::Auto),
            "plain" => Ok(Self::Plain),
            other => other
                .parse()
                .map(Self::By)
                .map_err(|error: UnknownAlgorithm| format!("{error}, auto or plain")),
        }
    }
}

impl From<Convolution> for String {
    fn from(convolution: Convolution) -> Self {
        convolution.to_string()
    }
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
            Self::By(algorithm) => Some(algorithm),
            Self::Auto | Self::Plain => None,
        }
    }
}

impl fmt::Display for Convolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::By(algorithm) => algorithm.fmt(f),
            Self::Plain => f.write_str("plain"),
        }
    }
}
