//! The engine that trains against the network in f64, whole: every gradient at every vector level.

use dawn21_kernels::ShapeError;
use dawn21_kernels::conv2d::plan::Algorithm;
use dawn21_kernels::simd::Level;

use super::gradients::Subject;
use super::report::{Check, Comparison, summarize};
use crate::model::engine::Engine;
use crate::model::execution::{Convolution, Execution};
use crate::model::parameters::Parameters;

/// How errors of [`check_engine`] are measured.
pub const ENGINE_MEASURE: &str = "|f32 - f64| / largest |f64| of the tensor; a gradient that cancels to 0 is measured by the network's largest";

/// Rounding of some 10^-7 passes through a dozen layers; a batch normalisation multiplies it by the
/// inverse deviation of a feature over the few images of an audit, and a ReLU or maximum that goes the other
/// way moves one window's gradient.
pub const ENGINE_BOUND: f64 = 1e-3;

/// Checks the engine by every algorithm at every level; one row a tensor.
///
/// # Errors
/// [`ShapeError`] when a kernel refuses its arguments, a fault of the program.
pub fn check_engine(subject: &Subject) -> Result<Vec<Check>, ShapeError> {
    let architecture = subject.network.architecture();
    let parameters: Parameters<f32> = subject.parameters.convert();
    let narrow = |values: &[f64]| -> Vec<f32> { values.iter().map(|&v| v as f32).collect() };
    let (input, target) = (narrow(&subject.input), narrow(&subject.target));
    // At the very numbers that the engine has.
    let rounded = Subject {
        parameters: parameters.convert(),
        input: input.iter().map(|&v| v.into()).collect(),
        target: target.iter().map(|&v| v.into()).collect(),
        ..subject.clone()
    };
    let exact = rounded.gradients(&mut rounded.network.activations())?;
    let tensors = &exact.parameters.trainable;
    let largest = |values: &[f64]| values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let sizes = tensors.iter().map(|t| largest(&t.values));
    let of_all = sizes.fold(0.0, f64::max);
    let mut checks = Vec::new();
    for level in Level::available() {
        for convolution in Algorithm::ALL.map(Convolution::By) {
            let execution = Execution { level, convolution };
            // Transforms cannot hold kernels of more than a hundred cells.
            let Ok(mut engine) = Engine::new(architecture.clone(), execution) else {
                continue;
            };
            engine.load(&parameters, None)?;
            engine.input_mut().clone_from(&input);
            let actual = engine.gradients(&target, subject.mode, false)?;
            let subject = format!("network ({convolution}, {level})");
            for (actual, exact) in actual.parameters.trainable.iter().zip(tensors) {
                // A gradient that cancels, as that of a bias before a normalisation, has only rounding.
                let scale = match largest(&exact.values) {
                    own if own > 1e-9 * of_all => own,
                    _ => of_all,
                };
                let comparisons: Vec<Comparison> = actual
                    .values
                    .iter()
                    .zip(&exact.values)
                    .enumerate()
                    .map(|(index, (&actual, &exact))| Comparison {
                        index,
                        analytic: actual.into(),
                        numeric: exact,
                        error: (f64::from(actual) - exact).abs() / scale,
                    })
                    .collect();
                let count = actual.values.len();
                let name = &actual.name;
                checks.push(summarize(
                    &subject,
                    name,
                    count,
                    0,
                    &comparisons,
                    ENGINE_BOUND,
                ));
            }
        }
    }
    Ok(checks)
}
