//! Adjointness: for a linear map `A` and its backward pass, `<A x, y> = <x, A^T y>` for all `x` and `y`.
//!
//! Independent of finite differences: exact up to rounding, and for every entry at once.

use dawn21_kernels::conv2d::{self, Conv2dGradients};
use dawn21_kernels::dense::{self, DenseGradients};
use dawn21_kernels::im2col::{col2im_add, im2col};
use dawn21_kernels::{Conv2dShape, DenseShape, MaxPool2dShape, ShapeError, max_pool2d};

use super::gradients::random;
use super::report::{Check, Comparison, summarize};
use crate::model::architecture::Architecture;
use crate::model::layer::Layer;

/// How errors of [`check_adjoints`] are measured.
pub const ADJOINT_MEASURE: &str = "|<A x, y> - <x, A^T y>| / (|A x| |y|), random x and y, in f64";

/// Rounding of sums over up to millions of terms.
const BOUND: f64 = 1e-12;

/// Checks convolutions, dense layers and poolings of an architecture at their own shapes.
///
/// # Errors
/// [`ShapeError`] when a kernel refuses its arguments, a fault of the program.
pub fn check_adjoints(architecture: &Architecture, seed: u64) -> Result<Vec<Check>, ShapeError> {
    let mut checks = Vec::new();
    for (index, layer) in architecture.layers().iter().enumerate() {
        match layer {
            Layer::Conv2d(shape) => {
                let name = format!("{index} conv2d");
                checks.extend(convolution(&name, shape, seed)?);
            }
            Layer::Dense(shape) => {
                checks.extend(dense_layer(&format!("{index} dense"), shape, seed)?)
            }
            Layer::MaxPool2d(shape) => {
                checks.push(max_pool(&format!("{index} max_pool2d"), shape, seed)?);
            }
            _ => {}
        }
    }
    Ok(checks)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `<A x, y>` against `<x, A^T y>`.
fn row(name: &str, tensor: &str, [ax, y]: [&[f64]; 2], [x, aty]: [&[f64]; 2]) -> Check {
    let (analytic, numeric) = (dot(x, aty), dot(ax, y));
    let scale = (dot(ax, ax) * dot(y, y)).sqrt();
    let comparison = Comparison {
        index: 0,
        analytic,
        numeric,
        error: (analytic - numeric).abs() / scale,
    };
    summarize(name, tensor, x.len(), 0, &[comparison], BOUND)
}

/// Linear in the input at a fixed weight, and in the weight at a fixed input.
fn convolution(name: &str, shape: &Conv2dShape, seed: u64) -> Result<Vec<Check>, ShapeError> {
    let x = random(shape.input_len(), seed, 8000);
    let weight = random(shape.weight_len(), seed, 8001);
    let dy = random(shape.output_len(), seed, 8002);
    let bias = vec![0.0; shape.bias_len()];
    let mut y = vec![0.0; shape.output_len()];
    conv2d::forward(shape, &x, &weight, &bias, &mut y)?;
    let (mut dx, mut dweight) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
    let gradients = Conv2dGradients {
        input: Some(&mut dx),
        weight: &mut dweight,
        bias: &mut vec![0.0; bias.len()],
    };
    conv2d::backward(shape, &x, &weight, &dy, gradients)?;

    // A block of output pixels in the middle, for the two halves of the algorithm alone.
    let block = shape.out_pixels() / 3..shape.out_pixels() / 3 + shape.out_pixels().min(100);
    let block = block.start..block.end.min(shape.out_pixels());
    let columns = random(shape.patch_len() * block.len(), seed, 8003);
    let mut patches = vec![0.0; columns.len()];
    im2col(shape, &x, block.clone(), &mut patches);
    let mut image = vec![0.0; x.len()];
    col2im_add(shape, &columns, block, &mut image);
    Ok(vec![
        row(name, "input", [&y, &dy], [&x, &dx]),
        row(name, "weight", [&y, &dy], [&weight, &dweight]),
        row(name, "im2col, col2im", [&patches, &columns], [&x, &image]),
    ])
}

fn dense_layer(name: &str, shape: &DenseShape, seed: u64) -> Result<Vec<Check>, ShapeError> {
    let x = random(2 * shape.inputs(), seed, 8000);
    let weight = random(shape.weight_len(), seed, 8001);
    let dy = random(2 * shape.outputs(), seed, 8002);
    let bias = vec![0.0; shape.outputs()];
    let mut y = vec![0.0; dy.len()];
    dense::forward(shape, &x, &weight, &bias, &mut y)?;
    let (mut dx, mut dweight) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
    let gradients = DenseGradients {
        input: Some(&mut dx),
        weight: &mut dweight,
        bias: &mut vec![0.0; bias.len()],
    };
    dense::backward(shape, &x, &weight, &dy, gradients)?;
    Ok(vec![
        row(name, "input", [&y, &dy], [&x, &dx]),
        row(name, "weight", [&y, &dy], [&weight, &dweight]),
    ])
}

/// Linear for fixed positions of the maxima.
fn max_pool(name: &str, shape: &MaxPool2dShape, seed: u64) -> Result<Check, ShapeError> {
    let x = random(shape.input_len(), seed, 8000);
    let dy = random(shape.output_len(), seed, 8002);
    let (mut y, mut argmax) = (vec![0.0; dy.len()], vec![0; dy.len()]);
    max_pool2d::forward(shape, &x, &mut y, &mut argmax)?;
    let mut dx = vec![0.0; x.len()];
    max_pool2d::backward(shape, &dy, &argmax, &mut dx)?;
    Ok(row(name, "input", [&y, &dy], [&x, &dx]))
}
