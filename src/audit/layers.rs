//! The gradients of each layer type alone, and of a fused stage.

use dawn21_kernels::ShapeError;

use super::gradients::{Subject, check_gradients, random};
use super::report::Check;
use crate::model::architecture::{Architecture, ArchitectureError};
use crate::model::layer_spec::{LayerSpec, WindowSize};
use crate::model::network::Network;

/// Bound for layers that are linear or, between decisions, linear in each argument.
pub const LINEAR_BOUND: f64 = 1e-8;
/// Bound for everything else.
pub const NETWORK_BOUND: f64 = 1e-7;

/// Why an audit could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The network cannot be built.
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
    /// A kernel refused its arguments; a fault of the program.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

/// Images of odd size, so that pooling leaves a rest on both sides.
const IMAGE: [usize; 2] = [9, 13];
/// Images of a mini-batch.
const BATCH: usize = 4;

/// One row for every tensor of every layer type.
///
/// # Errors
/// [`AuditError`] when a layer cannot be built.
pub fn check_layers(probes: usize, seed: u64) -> Result<Vec<Check>, AuditError> {
    let conv = |filters, kernel| LayerSpec::Conv2d {
        filters,
        kernel: Some(WindowSize::Rectangle(kernel)),
        kernel_mpc: None,
    };
    let pool = |window| LayerSpec::MaxPool2d {
        window: WindowSize::Rectangle(window),
    };
    let norm = || LayerSpec::BatchNorm {
        momentum: 0.9,
        epsilon: 1e-3,
    };
    let (relu, flatten) = (LayerSpec::Relu {}, LayerSpec::Flatten {});
    let dense = |units| LayerSpec::Dense { units: Some(units) };
    // Name, layers, bound, fused. What follows a convolution or normalisation has a weight before it, so
    // that more than one channel is seen.
    let cases: Vec<(&str, Vec<LayerSpec>, f64, bool)> = vec![
        (
            "conv2d",
            vec![conv(2, [2, 3]), conv(3, [3, 2]), flatten.clone()],
            LINEAR_BOUND,
            false,
        ),
        (
            "max_pool2d",
            vec![conv(2, [1, 1]), pool([2, 3]), flatten.clone()],
            LINEAR_BOUND,
            false,
        ),
        (
            "relu",
            vec![conv(2, [1, 1]), relu.clone(), flatten.clone()],
            LINEAR_BOUND,
            false,
        ),
        (
            "dense",
            vec![flatten.clone(), dense(5), dense(4)],
            LINEAR_BOUND,
            false,
        ),
        (
            "dropout",
            vec![flatten.clone(), LayerSpec::Dropout { rate: 0.3 }, dense(4)],
            LINEAR_BOUND,
            false,
        ),
        (
            "batch_norm images",
            vec![conv(3, [2, 2]), norm(), conv(1, [4, 4]), flatten.clone()],
            NETWORK_BOUND,
            false,
        ),
        (
            "batch_norm features",
            vec![flatten.clone(), dense(6), norm(), dense(3)],
            NETWORK_BOUND,
            false,
        ),
        (
            "conv2d+relu+max_pool2d",
            vec![
                conv(2, [2, 3]),
                relu.clone(),
                pool([2, 2]),
                conv(3, [2, 2]),
                relu,
                pool([1, 2]),
                flatten,
            ],
            LINEAR_BOUND,
            true,
        ),
    ];
    let mut checks = Vec::new();
    for (name, layers, bound, fused) in cases {
        let outputs = output_len(&layers)?;
        let architecture = Architecture::resolve(&layers, IMAGE, 1.0, outputs)?;
        let network = match fused {
            true => Network::new(architecture),
            false => Network::unfused(architecture),
        };
        let input = random(BATCH * IMAGE[0] * IMAGE[1], seed, 5000);
        let subject = Subject::new(network, input, seed);
        checks.extend(check_gradients(&subject, name, probes, bound, seed)?);
    }
    Ok(checks)
}

/// Number of values that `layers` give: what [`Architecture::resolve`] asks for.
fn output_len(layers: &[LayerSpec]) -> Result<usize, ArchitectureError> {
    match Architecture::resolve(layers, IMAGE, 1.0, 0) {
        Err(ArchitectureError::Outputs {
            features: Some(features),
            ..
        }) => Ok(features),
        Err(error) => Err(error),
        Ok(architecture) => Ok(architecture.outputs()),
    }
}
