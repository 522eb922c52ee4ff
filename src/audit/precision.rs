//! The f32 kernels that train against the same sums in f64, within a rounding bound.
//!
//! A sum of `n` products computed in f32 in any order differs from the exact one by at most
//! `gamma(n) = n u / (1 - n u)`, `u = 2^-24`, times the sum of the magnitudes of its terms (Higham 2002,
//! section 3.1). The magnitudes are computed by the same kernel on absolute values. Every error is divided
//! by its bound, so that 1 is the limit whatever the layer.

use dawn21_kernels::batch_norm::{self, Affine, BatchNormGradients, BatchStatistics};
use dawn21_kernels::conv2d::{self, Conv2dGradients};
use dawn21_kernels::dense::{self, DenseGradients};
use dawn21_kernels::{
    BatchNormShape, Conv2dShape, DenseShape, Float, MaxPool2dShape, ShapeError, max_pool2d, relu,
};

use super::fused_kernels::{check_convolution, check_dense};
use super::gradients::random;
use super::report::{Check, Comparison, summarize};
use crate::model::architecture::Architecture;
use crate::model::layer::Layer;

/// How errors of [`check_precision`] are measured.
pub const PRECISION_MEASURE: &str = "|f32 - f64| / (gamma(n) sum of magnitudes), for transforms / (u log2(n) product of norms); \
     ReLU and pooling do not round and must be equal";

/// Images of a mini-batch.
pub(super) const BATCH: usize = 2;

/// Inputs of a layer.
pub(super) struct Values<T> {
    pub(super) x: Vec<T>,
    pub(super) dy: Vec<T>,
    pub(super) weight: Vec<T>,
    pub(super) bias: Vec<T>,
}

impl Values<f32> {
    fn new(input: usize, output: usize, weight: usize, bias: usize, seed: u64) -> Self {
        let single = |len, key| random(len, seed, key).iter().map(|&v| v as f32).collect();
        Self {
            x: single(BATCH * input, 6000),
            dy: single(BATCH * output, 6001),
            weight: single(weight, 6002),
            bias: single(bias, 6003),
        }
    }

    fn map(&self, convert: impl Fn(f32) -> f64 + Copy) -> Values<f64> {
        let map = |values: &[f32]| values.iter().map(|&v| convert(v)).collect();
        Values {
            x: map(&self.x),
            dy: map(&self.dy),
            weight: map(&self.weight),
            bias: map(&self.bias),
        }
    }
}

/// Outputs of a layer: forward, then the gradients of input, weight and bias.
pub(super) struct Results<T> {
    pub(super) tensors: [Vec<T>; 4],
}

pub(super) const TENSORS: [&str; 4] = [
    "output",
    "input gradient",
    "weight gradient",
    "bias gradient",
];

/// Checks every layer of an architecture at its own shape; one row a tensor.
///
/// # Errors
/// [`ShapeError`] when a kernel refuses its arguments, a fault of the program.
pub fn check_precision(architecture: &Architecture, seed: u64) -> Result<Vec<Check>, ShapeError> {
    let mut checks = Vec::new();
    for (index, (layer, output)) in architecture
        .layers()
        .iter()
        .zip(architecture.output_shapes())
        .enumerate()
    {
        match layer {
            Layer::Conv2d(shape) => {
                let name = format!("{index} conv2d (plain)");
                let values = Values::new(
                    shape.input_len(),
                    shape.output_len(),
                    shape.weight_len(),
                    shape.bias_len(),
                    seed,
                );
                let terms = [
                    shape.patch_len() + 1,
                    shape.weight_len(),
                    BATCH * shape.out_pixels() + 1,
                    BATCH * shape.out_pixels() + 1,
                ];
                let all = [
                    convolve(shape, &values.map(f64::from))?,
                    convolve(shape, &values.map(|v| f64::from(v.abs())))?,
                ];
                compare(&name, &convolve(shape, &values)?, &all, terms, &mut checks);
                check_convolution(index, shape, &values, &all, terms, &mut checks)?;
            }
            Layer::Dense(shape) => {
                let name = format!("{index} dense (plain)");
                let values = Values::new(
                    shape.inputs(),
                    shape.outputs(),
                    shape.weight_len(),
                    shape.outputs(),
                    seed,
                );
                let terms = [shape.inputs() + 1, shape.outputs(), BATCH, BATCH];
                let all = [
                    connect(shape, &values.map(f64::from))?,
                    connect(shape, &values.map(|v| f64::from(v.abs())))?,
                ];
                compare(&name, &connect(shape, &values)?, &all, terms, &mut checks);
                check_dense(index, shape, &values, &all, terms, &mut checks)?;
            }
            Layer::BatchNorm { shape, epsilon, .. } => {
                checks.extend(check_batch_norm(
                    &format!("{index} batch_norm"),
                    shape,
                    *epsilon,
                    seed,
                )?);
            }
            Layer::MaxPool2d(shape) => {
                checks.push(check_max_pool(&format!("{index} max_pool2d"), shape, seed)?);
            }
            Layer::Relu => checks.push(check_relu(&format!("{index} relu"), output.len(), seed)?),
            Layer::Flatten | Layer::Dropout { .. } => {}
        }
    }
    Ok(checks)
}

fn convolve<T: Float>(shape: &Conv2dShape, values: &Values<T>) -> Result<Results<T>, ShapeError> {
    let Values {
        x,
        dy,
        weight,
        bias,
    } = values;
    let [mut y, mut dx] = [vec![T::ZERO; dy.len()], vec![T::ZERO; x.len()]];
    let [mut dweight, mut dbias] = [vec![T::ZERO; weight.len()], vec![T::ZERO; bias.len()]];
    conv2d::forward(shape, x, weight, bias, &mut y)?;
    let gradients = Conv2dGradients {
        input: Some(&mut dx),
        weight: &mut dweight,
        bias: &mut dbias,
    };
    conv2d::backward(shape, x, weight, dy, gradients)?;
    Ok(Results {
        tensors: [y, dx, dweight, dbias],
    })
}

fn connect<T: Float>(shape: &DenseShape, values: &Values<T>) -> Result<Results<T>, ShapeError> {
    let Values {
        x,
        dy,
        weight,
        bias,
    } = values;
    let [mut y, mut dx] = [vec![T::ZERO; dy.len()], vec![T::ZERO; x.len()]];
    let [mut dweight, mut dbias] = [vec![T::ZERO; weight.len()], vec![T::ZERO; bias.len()]];
    dense::forward(shape, x, weight, bias, &mut y)?;
    let gradients = DenseGradients {
        input: Some(&mut dx),
        weight: &mut dweight,
        bias: &mut dbias,
    };
    dense::backward(shape, x, weight, dy, gradients)?;
    Ok(Results {
        tensors: [y, dx, dweight, dbias],
    })
}

/// `gamma(n)` for f32.
fn gamma(terms: usize) -> f64 {
    let nu = terms as f64 * f64::from(f32::EPSILON) / 2.0;
    nu / (1.0 - nu)
}

/// A row for each tensor; `all` holds the exact results and the sums of magnitudes.
pub(super) fn compare(
    name: &str,
    actual: &Results<f32>,
    all: &[Results<f64>; 2],
    terms: [usize; 4],
    checks: &mut Vec<Check>,
) {
    let [exact, magnitude] = all;
    for (i, tensor) in TENSORS.iter().enumerate() {
        let bounds = rounding_bounds(magnitude, terms, i);
        let row = ratio_check(name, tensor, &actual.tensors[i], &exact.tensors[i], &bounds);
        checks.push(row);
    }
}

/// `gamma(terms)` times the sum of magnitudes, for every value of tensor `i`.
pub(super) fn rounding_bounds(magnitude: &Results<f64>, terms: [usize; 4], i: usize) -> Vec<f64> {
    let values = magnitude.tensors[i].iter();
    values.map(|m| gamma(terms[i]) * m).collect()
}

pub(super) fn ratio_check(
    name: &str,
    tensor: &str,
    actual: &[f32],
    exact: &[f64],
    bounds: &[f64],
) -> Check {
    let comparisons: Vec<Comparison> = actual
        .iter()
        .zip(exact)
        .zip(bounds)
        .enumerate()
        .map(|(index, ((&actual, &exact), &bound))| {
            let difference = (f64::from(actual) - exact).abs();
            Comparison {
                index,
                analytic: actual.into(),
                numeric: exact,
                // Without magnitude there is nothing to round.
                error: if difference > 0.0 || difference.is_nan() {
                    difference / bound
                } else {
                    0.0
                },
            }
        })
        .collect();
    summarize(name, tensor, actual.len(), 0, &comparisons, 1.0)
}

/// Statistics are accumulated in f64, so that only a few operations round on each value: those of
/// `gamma (x - mean) / sqrt(v + eps) + beta`, whose mean and deviation are rounded to f32.
fn check_batch_norm(
    name: &str,
    shape: &BatchNormShape,
    epsilon: f64,
    seed: u64,
) -> Result<Vec<Check>, ShapeError> {
    let len = shape.image_len();
    // More images than elsewhere: two have a variance that may be tiny.
    let single =
        |len, key| -> Vec<f32> { random(len, seed, key).iter().map(|&v| v as f32).collect() };
    let (x, dy) = (single(16 * len, 7000), single(16 * len, 7001));
    let (gamma_, beta) = (
        single(shape.channels(), 7002),
        single(shape.channels(), 7003),
    );
    fn normalize<T: Float>(
        shape: &BatchNormShape,
        [x, dy, gamma, beta]: [&[T]; 4],
        epsilon: f64,
    ) -> Result<[Vec<T>; 4], ShapeError> {
        let statistics = BatchStatistics::of(shape, x)?;
        let affine = Affine {
            gamma,
            beta,
            epsilon,
        };
        let (mut y, mut dx) = (vec![T::ZERO; x.len()], vec![T::ZERO; x.len()]);
        let (mut dgamma, mut dbeta) = (vec![T::ZERO; gamma.len()], vec![T::ZERO; gamma.len()]);
        let BatchStatistics { mean, variance } = &statistics;
        batch_norm::forward(shape, x, mean, variance, affine, &mut y)?;
        let gradients = BatchNormGradients {
            input: &mut dx,
            gamma: &mut dgamma,
            beta: &mut dbeta,
        };
        batch_norm::backward_training(shape, x, &statistics, affine, dy, gradients)?;
        Ok([y, dx, dgamma, dbeta])
    }
    let widen = |values: &[f32]| -> Vec<f64> { values.iter().map(|&v| v.into()).collect() };
    let [wide_x, wide_dy, wide_gamma, wide_beta] = [&x, &dy, &gamma_, &beta].map(|v| widen(v));
    let actual = normalize(shape, [&x, &dy, &gamma_, &beta], epsilon)?;
    let exact = normalize(shape, [&wide_x, &wide_dy, &wide_gamma, &wide_beta], epsilon)?;
    let variance = BatchStatistics::of(shape, &wide_x)?.variance;
    let inverse = variance
        .iter()
        .fold(0.0_f64, |m, v| m.max(1.0 / (v + epsilon).sqrt()));
    // |x|, |dy|, |gamma|, |beta| <= 1: magnitudes of one value, of its gradient, of a sum over the batch.
    let value = 2.0 * inverse + 1.0;
    let terms = (x.len() / shape.channels()) as f64;
    let magnitudes = [value, inverse * (2.0 + value * value), terms * value, terms];
    let names = [
        "output",
        "input gradient",
        "weight gradient",
        "bias gradient",
    ];
    Ok((0..4)
        .map(|i| {
            let bounds = vec![gamma(8) * magnitudes[i]; actual[i].len()];
            ratio_check(name, names[i], &actual[i], &exact[i], &bounds)
        })
        .collect())
}

fn check_max_pool(name: &str, shape: &MaxPool2dShape, seed: u64) -> Result<Check, ShapeError> {
    let x: Vec<f32> = random(BATCH * shape.input_len(), seed, 6000)
        .iter()
        .map(|&v| v as f32)
        .collect();
    let wide: Vec<f64> = x.iter().map(|&v| v.into()).collect();
    let len = BATCH * shape.output_len();
    let (mut y, mut exact) = (vec![0.0; len], vec![0.0; len]);
    let (mut argmax, mut exact_argmax) = (vec![0; len], vec![0; len]);
    max_pool2d::forward(shape, &x, &mut y, &mut argmax)?;
    max_pool2d::forward(shape, &wide, &mut exact, &mut exact_argmax)?;
    // A wrong position fails as a wrong value does.
    for (exact, same) in exact.iter_mut().zip(argmax.iter().zip(&exact_argmax)) {
        *exact = if same.0 == same.1 { *exact } else { f64::NAN };
    }
    Ok(ratio_check(
        name,
        "output, argmax",
        &y,
        &exact,
        &vec![0.0; len],
    ))
}

fn check_relu(name: &str, len: usize, seed: u64) -> Result<Check, ShapeError> {
    let mut y: Vec<f32> = random(BATCH * len, seed, 6000)
        .iter()
        .map(|&v| v as f32)
        .collect();
    let exact: Vec<f64> = y.iter().map(|&v| f64::from(v).max(0.0)).collect();
    relu::forward_in_place(&mut y);
    Ok(ratio_check(name, "output", &y, &exact, &vec![0.0; y.len()]))
}
