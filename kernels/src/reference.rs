//! Plain loops that define every kernel.
//!
//! Nothing here is fast and nothing is clever: a reader can compare each function with the formula
//! above it. The fast kernels are tested against these, and these against finite differences in
//! `f64`. Slices must have the lengths of their shapes (checked by slice indexing).

use crate::shape::{BatchNormShape, Conv2dShape, DenseShape, MaxPool2dShape};
use crate::{Float, rmsprop::RmsProp};

/// `y[n,o,i,j] = b[o] + sum_crs w[o,c,r,s] x[n,c,i+r,j+s]`.
///
/// Shapes: `x` (N,C,H,W), `weight` (O,C,R,S), `bias` (O); returns (N,O,H-R+1,W-S+1).
pub fn conv2d_forward<T: Float>(shape: &Conv2dShape, x: &[T], weight: &[T], bias: &[T]) -> Vec<T> {
    let mut y = Vec::with_capacity(x.len() / shape.input_len() * shape.output_len());
    for image in x.chunks(shape.input_len()) {
        for (filter, &bias) in weight.chunks(shape.patch_len()).zip(bias) {
            for i in 0..shape.out_height() {
                for j in 0..shape.out_width() {
                    let mut sum = bias;
                    for_each_tap(shape, i, j, |tap, cell| sum += filter[tap] * image[cell]);
                    y.push(sum);
                }
            }
        }
    }
    y
}

/// Gradients of [`conv2d_forward`]: `(dx, dweight, dbias)` given `dy` of the shape of `y`.
///
/// `dw[o,c,r,s] = sum_nij dy[n,o,i,j] x[n,c,i+r,j+s]`, `db[o] = sum_nij dy[n,o,i,j]`,
/// `dx[n,c,i+r,j+s] += w[o,c,r,s] dy[n,o,i,j]`.
pub fn conv2d_backward<T: Float>(
    shape: &Conv2dShape,
    x: &[T],
    weight: &[T],
    dy: &[T],
) -> (Vec<T>, Vec<T>, Vec<T>) {
    let mut dx = vec![T::ZERO; x.len()];
    let mut dweight = vec![T::ZERO; shape.weight_len()];
    let mut dbias = vec![T::ZERO; shape.bias_len()];
    let images = x
        .chunks(shape.input_len())
        .zip(dx.chunks_mut(shape.input_len()));
    for ((image, dimage), dy) in images.zip(dy.chunks(shape.output_len())) {
        for o in 0..shape.out_channels {
            let filter = o * shape.patch_len();
            for i in 0..shape.out_height() {
                for j in 0..shape.out_width() {
                    let dy = dy[(o * shape.out_height() + i) * shape.out_width() + j];
                    dbias[o] += dy;
                    for_each_tap(shape, i, j, |tap, cell| {
                        dweight[filter + tap] += dy * image[cell];
                        dimage[cell] += dy * weight[filter + tap];
                    });
                }
            }
        }
    }
    (dx, dweight, dbias)
}

/// Calls `visit(crs, index of x[c,i+r,j+s])` for every cell under the kernel at (i,j).
fn for_each_tap(shape: &Conv2dShape, i: usize, j: usize, mut visit: impl FnMut(usize, usize)) {
    for c in 0..shape.in_channels {
        for r in 0..shape.kernel_height {
            for s in 0..shape.kernel_width {
                let tap = (c * shape.kernel_height + r) * shape.kernel_width + s;
                visit(tap, (c * shape.height + i + r) * shape.width + j + s);
            }
        }
    }
}

/// Largest value of every window, and its position in the window (row-major, first of equals; the
/// first NaN where there is one).
///
/// Shapes: `x` (N,C,H,W); both results (N,C,H/r,W/s).
pub fn max_pool2d_forward<T: Float>(shape: &MaxPool2dShape, x: &[T]) -> (Vec<T>, Vec<u8>) {
    let mut y = Vec::new();
    let mut argmax = Vec::new();
    for plane in x.chunks(shape.height * shape.width) {
        for i in 0..shape.out_height() {
            for j in 0..shape.out_width() {
                let mut best = (T::ZERO, None);
                for k in 0..shape.window_height * shape.window_width {
                    let value = plane[pooled_cell(shape, i, j, k)];
                    let first_nan = value.is_nan() && !best.0.is_nan();
                    if best.1.is_none() || value > best.0 || first_nan {
                        best = (value, Some(k));
                    }
                }
                y.push(best.0);
                argmax.push(best.1.unwrap_or(0) as u8);
            }
        }
    }
    (y, argmax)
}

/// Gradient of [`max_pool2d_forward`]: `dy` goes to the position of the maximum.
pub fn max_pool2d_backward<T: Float>(shape: &MaxPool2dShape, dy: &[T], argmax: &[u8]) -> Vec<T> {
    let images = dy.len() / shape.output_len();
    let mut dx = vec![T::ZERO; images * shape.input_len()];
    let pooled = shape.out_height() * shape.out_width();
    let planes = dx.chunks_mut(shape.height * shape.width);
    for ((plane, dy), argmax) in planes.zip(dy.chunks(pooled)).zip(argmax.chunks(pooled)) {
        for i in 0..shape.out_height() {
            for j in 0..shape.out_width() {
                let window = i * shape.out_width() + j;
                let cell = pooled_cell(shape, i, j, usize::from(argmax[window]));
                plane[cell] += dy[window];
            }
        }
    }
    dx
}

/// Index in its plane of cell `k` of window (i,j).
fn pooled_cell(shape: &MaxPool2dShape, i: usize, j: usize, k: usize) -> usize {
    let row = i * shape.window_height + k / shape.window_width;
    let column = j * shape.window_width + k % shape.window_width;
    row * shape.width + column
}

/// `y = 0` where `x <= 0`, else `x` (so that NaN stays NaN).
pub fn relu_forward<T: Float>(x: &[T]) -> Vec<T> {
    x.iter()
        .map(|&x| if x <= T::ZERO { T::ZERO } else { x })
        .collect()
}

/// `dx = dy` where `x > 0`, else 0 (the derivative at 0 is taken as 0).
pub fn relu_backward<T: Float>(x: &[T], dy: &[T]) -> Vec<T> {
    x.iter()
        .zip(dy)
        .map(|(&x, &dy)| if x > T::ZERO { dy } else { T::ZERO })
        .collect()
}

/// `y[n,o] = b[o] + sum_k w[o,k] x[n,k]`. Shapes: `x` (N,K), `weight` (O,K), `bias` (O).
pub fn dense_forward<T: Float>(shape: &DenseShape, x: &[T], weight: &[T], bias: &[T]) -> Vec<T> {
    let mut y = Vec::new();
    for row in x.chunks(shape.inputs) {
        for (weights, &bias) in weight.chunks(shape.inputs).zip(bias) {
            let mut sum = bias;
            for (&w, &x) in weights.iter().zip(row) {
                sum += w * x;
            }
            y.push(sum);
        }
    }
    y
}

/// Gradients `(dx, dweight, dbias)` of [`dense_forward`].
pub fn dense_backward<T: Float>(
    shape: &DenseShape,
    x: &[T],
    weight: &[T],
    dy: &[T],
) -> (Vec<T>, Vec<T>, Vec<T>) {
    let mut dx = vec![T::ZERO; x.len()];
    let mut dweight = vec![T::ZERO; shape.weight_len()];
    let mut dbias = vec![T::ZERO; shape.outputs];
    let rows = x.chunks(shape.inputs).zip(dx.chunks_mut(shape.inputs));
    for ((x, dx), dy) in rows.zip(dy.chunks(shape.outputs)) {
        for (o, &dy) in dy.iter().enumerate() {
            dbias[o] += dy;
            for k in 0..shape.inputs {
                dx[k] += dy * weight[o * shape.inputs + k];
                dweight[o * shape.inputs + k] += dy * x[k];
            }
        }
    }
    (dx, dweight, dbias)
}

/// Mean and biased variance of every channel over images and pixels of `x` (N,C,P).
pub fn batch_norm_statistics<T: Float>(shape: &BatchNormShape, x: &[T]) -> (Vec<T>, Vec<T>) {
    let count = T::from_f64((x.len() / shape.channels) as f64);
    let mut mean = vec![T::ZERO; shape.channels];
    for_each_channel_value(shape, x.len(), |c, i| mean[c] += x[i]);
    for mean in &mut mean {
        *mean = *mean / count;
    }
    let mut variance = vec![T::ZERO; shape.channels];
    for_each_channel_value(shape, x.len(), |c, i| {
        variance[c] += (x[i] - mean[c]) * (x[i] - mean[c]);
    });
    for variance in &mut variance {
        *variance = *variance / count;
    }
    (mean, variance)
}

/// `y = gamma (x - mean) / sqrt(variance + epsilon) + beta`, per channel.
pub fn batch_norm_apply<T: Float>(
    shape: &BatchNormShape,
    x: &[T],
    [mean, variance]: [&[T]; 2],
    [gamma, beta]: [&[T]; 2],
    epsilon: T,
) -> Vec<T> {
    let mut y = vec![T::ZERO; x.len()];
    for_each_channel_value(shape, x.len(), |c, i| {
        y[i] = gamma[c] * (x[i] - mean[c]) / (variance[c] + epsilon).sqrt() + beta[c];
    });
    y
}

/// Gradients `(dx, dgamma, dbeta)` of a training-mode normalisation, in which mean and variance are
/// those of `x` itself (Ioffe & Szegedy 2015, section 3).
pub fn batch_norm_backward<T: Float>(
    shape: &BatchNormShape,
    x: &[T],
    gamma: &[T],
    epsilon: T,
    dy: &[T],
) -> (Vec<T>, Vec<T>, Vec<T>) {
    let (mean, variance) = batch_norm_statistics(shape, x);
    let count = T::from_f64((x.len() / shape.channels) as f64);
    let normalized = |c: usize, i: usize| (x[i] - mean[c]) / (variance[c] + epsilon).sqrt();
    let mut dgamma = vec![T::ZERO; shape.channels];
    let mut dbeta = vec![T::ZERO; shape.channels];
    for_each_channel_value(shape, x.len(), |c, i| {
        dgamma[c] += dy[i] * normalized(c, i);
        dbeta[c] += dy[i];
    });
    let mut dx = vec![T::ZERO; x.len()];
    for_each_channel_value(shape, x.len(), |c, i| {
        let centred = dy[i] - dbeta[c] / count - normalized(c, i) * dgamma[c] / count;
        dx[i] = gamma[c] / (variance[c] + epsilon).sqrt() * centred;
    });
    (dx, dgamma, dbeta)
}

/// Calls `visit(channel, index)` for every value of a (N,C,P) array.
fn for_each_channel_value(shape: &BatchNormShape, len: usize, mut visit: impl FnMut(usize, usize)) {
    for i in 0..len {
        visit(i / shape.pixels % shape.channels, i);
    }
}

/// Mean of `(prediction - target)^2` over all values, and its gradient `2 (prediction - target) / len`.
pub fn mean_squared_error<T: Float>(prediction: &[T], target: &[T]) -> (f64, Vec<T>) {
    let count = prediction.len() as f64;
    let loss = prediction
        .iter()
        .zip(target)
        .map(|(p, t)| (p.to_f64() - t.to_f64()).powi(2))
        .sum::<f64>()
        / count;
    let gradient = prediction
        .iter()
        .zip(target)
        .map(|(&p, &t)| T::from_f64(2.0 / count) * (p - t))
        .collect();
    (loss, gradient)
}

/// One step `v = rho v + (1 - rho) g^2; w -= lr g / (sqrt(v) + epsilon)`.
pub fn rmsprop_step<T: Float>(
    optimizer: &RmsProp,
    weight: &mut [T],
    gradient: &[T],
    mean_square: &mut [T],
) {
    let rho = T::from_f64(optimizer.rho);
    for i in 0..weight.len() {
        let g = gradient[i];
        mean_square[i] = rho * mean_square[i] + (T::ONE - rho) * g * g;
        let step = T::from_f64(optimizer.learning_rate) * g
            / (mean_square[i].sqrt() + T::from_f64(optimizer.epsilon));
        weight[i] -= step;
    }
}
