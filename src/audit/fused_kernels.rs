//! The fused kernels at every vector level and with every algorithm against f64, within a rounding bound.
//!
//! A stage is checked without its ReLU and pooling: then it takes no decisions, and its output and
//! gradients are those of the convolution alone. (Its decisions are checked by the kernels' own tests.)

use dawn21_kernels::conv2d::plan::Algorithm;
use dawn21_kernels::dense::fused::{self, InputGradient, WeightGradients};
use dawn21_kernels::simd::Level;
use dawn21_kernels::stage::{
    ConvStack, StackActivations, StageGradients, StageShape, StageWeights,
};
use dawn21_kernels::{Conv2dShape, DenseShape, ShapeError};

use super::precision::{BATCH, Results, TENSORS, Values, compare, ratio_check, rounding_bounds};
use super::report::Check;

/// A convolution by every algorithm at every level; `all` holds the exact results and the sums of
/// magnitudes, of which each value has `terms`.
pub(super) fn check_convolution(
    index: usize,
    shape: &Conv2dShape,
    values: &Values<f32>,
    all: &[Results<f64>; 2],
    terms: [usize; 4],
    checks: &mut Vec<Check>,
) -> Result<(), ShapeError> {
    let transforms = transform_bounds(shape, values);
    for level in Level::available() {
        for algorithm in Algorithm::ALL {
            let stage = StageShape::new(*shape, [1, 1])?.without_relu();
            // Transforms cannot hold kernels of more than a hundred cells.
            let Ok(stack) = ConvStack::with_input_gradient(&[stage], level, Some(algorithm)) else {
                continue;
            };
            let name = format!("{index} conv2d ({algorithm}, {level})");
            let actual = convolve(&stack, shape, values)?;
            if algorithm != Algorithm::Fft {
                compare(&name, &actual, all, terms, checks);
                continue;
            }
            let [exact, magnitude] = all;
            for (i, tensor) in TENSORS.iter().enumerate() {
                let bounds: Vec<f64> = match transforms.get(i) {
                    Some(bounds) => {
                        let repeat = exact.tensors[i].len() / bounds.len();
                        bounds.iter().flat_map(|&b| vec![b; repeat]).collect()
                    }
                    // The gradient of the bias is a plain sum whatever the algorithm.
                    None => rounding_bounds(magnitude, terms, i),
                };
                let (actual, exact) = (&actual.tensors[i], &exact.tensors[i]);
                checks.push(ratio_check(&name, tensor, actual, exact, &bounds));
            }
        }
    }
    Ok(())
}

fn convolve(
    stack: &ConvStack,
    shape: &Conv2dShape,
    values: &Values<f32>,
) -> Result<Results<f32>, ShapeError> {
    let Values {
        x,
        dy,
        weight,
        bias,
    } = values;
    let prepared = stack.prepare(&[StageWeights { weight, bias }], true)?;
    let mut kept = StackActivations::default();
    stack.forward(&prepared, x, &mut kept)?;
    let map = stack.output();
    let (mut y, mut gradient) = (vec![0.0; dy.len()], vec![0.0; kept.features().len()]);
    map.to_planar(kept.features(), &mut y)?;
    map.to_internal(dy, &mut gradient)?;
    let mut dx = vec![0.0; x.len()];
    let (mut dweight, mut dbias) = (vec![0.0; shape.weight_len()], vec![0.0; shape.bias_len()]);
    let mut gradients = [StageGradients {
        weight: &mut dweight,
        bias: &mut dbias,
    }];
    let wanted = Some(&mut dx[..]);
    stack.backward(&prepared, x, &kept, &gradient, &mut gradients, wanted)?;
    Ok(Results {
        tensors: [y, dx, dweight, dbias],
    })
}

/// Bounds on the errors of output (one an image and output channel), input gradient (one an image and input
/// channel) and weight gradient (one an output and input channel) by Fourier transforms.
///
/// A transform of T points has a relative error of `c u log2(T)` in the norm, c about 2 (Higham 2002,
/// theorem 24.2), a product of spectra one of `gamma(2)`, and an inverse transform turns a norm of the
/// spectrum into a bound on every element (Cauchy-Schwarz): errors are bounded by the product of the norms
/// of the two operands. Tiles have at most 128 x 128 points, three transforms of two directions.
fn transform_bounds(shape: &Conv2dShape, values: &Values<f32>) -> [Vec<f64>; 3] {
    let unit = f64::from(f32::EPSILON) / 2.0;
    let [outputs, inputs, ..] = shape.weight_shape();
    let factor = |sums: usize| (3.0 * 2.0 * 7.0 + 2.0 + (sums as f64).sqrt()) * unit;
    let x = norms(&values.x, BATCH * inputs);
    let dy = norms(&values.dy, BATCH * outputs);
    let weight = norms(&values.weight, outputs * inputs);
    let mut y_bound = vec![0.0; BATCH * outputs];
    let mut dx_bound = vec![0.0; BATCH * inputs];
    let mut weight_bound = vec![0.0; outputs * inputs];
    for image in 0..BATCH {
        for o in 0..outputs {
            for c in 0..inputs {
                let (x, dy) = (x[image * inputs + c], dy[image * outputs + o]);
                let weight = weight[o * inputs + c];
                y_bound[image * outputs + o] += factor(inputs) * x * weight;
                dx_bound[image * inputs + c] += factor(outputs) * dy * weight;
                weight_bound[o * inputs + c] += factor(BATCH) * x * dy;
            }
        }
    }
    for image in 0..BATCH {
        for (o, bias) in values.bias.iter().enumerate() {
            y_bound[image * outputs + o] += unit * f64::from(bias.abs());
        }
    }
    [y_bound, dx_bound, weight_bound]
}

/// Euclidean norm of each of `count` equal parts.
fn norms(values: &[f32], count: usize) -> Vec<f64> {
    let parts = values.chunks(values.len() / count);
    parts
        .map(|part| {
            let squares = part.iter().map(|v| f64::from(*v).powi(2));
            squares.sum::<f64>().sqrt()
        })
        .collect()
}

/// A dense layer by the fused kernels at every level.
pub(super) fn check_dense(
    index: usize,
    shape: &DenseShape,
    values: &Values<f32>,
    all: &[Results<f64>; 2],
    terms: [usize; 4],
    checks: &mut Vec<Check>,
) -> Result<(), ShapeError> {
    for level in Level::available() {
        let name = format!("{index} dense (fused, {level})");
        let actual = connect(level, shape, values)?;
        compare(&name, &actual, all, terms, checks);
    }
    Ok(())
}

fn connect(
    level: Level,
    shape: &DenseShape,
    values: &Values<f32>,
) -> Result<Results<f32>, ShapeError> {
    let Values {
        x,
        dy,
        weight,
        bias,
    } = values;
    let weight = transposed(weight, shape.inputs());
    let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
    let (mut dweight, mut dbias) = (vec![0.0; weight.len()], vec![0.0; bias.len()]);
    fused::forward(level, shape, x, &weight, bias, &mut y)?;
    let gradients = WeightGradients {
        weight: &mut dweight,
        bias: &mut dbias,
    };
    let wanted = Some(InputGradient {
        values: &mut dx,
        scale: 1.0,
    });
    fused::backward(level, shape, x, &weight, dy, gradients, wanted)?;
    Ok(Results {
        tensors: [y, dx, transposed(&dweight, shape.outputs()), dbias],
    })
}

/// The transpose of a row-major matrix with `columns` columns.
fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    (0..matrix.len())
        .map(|i| matrix[i % rows * columns + i / rows])
        .collect()
}
