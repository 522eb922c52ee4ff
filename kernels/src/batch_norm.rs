//! Batch normalisation (Ioffe & Szegedy 2015): per channel, over the images and pixels of a mini-batch.
//!
//! `y = gamma (x - mean) / sqrt(variance + epsilon) + beta`. Training uses mean and (biased) variance
//! of the mini-batch itself, inference their running averages. Sums are accumulated in f64.

use rayon::prelude::*;

use crate::shape::{BatchNormShape, check_len, whole_items};
use crate::{Float, ShapeError};

/// Mean and biased variance of each channel of one mini-batch.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchStatistics<T> {
    /// Mean per channel.
    pub mean: Vec<T>,
    /// Mean squared deviation per channel (divided by the number of values).
    pub variance: Vec<T>,
}

impl<T: Float> BatchStatistics<T> {
    /// Statistics of `x` (N,C,P).
    ///
    /// # Errors
    /// [`ShapeError`] when `x` is not a whole number of images or holds none.
    pub fn of(shape: &BatchNormShape, x: &[T]) -> Result<Self, ShapeError> {
        let images = whole_items("batch_norm", "x", shape.image_len(), x.len())?;
        if images == 0 {
            return Err(ShapeError::Dimension {
                operation: "batch_norm",
                detail: "an empty mini-batch has no statistics".to_string(),
            });
        }
        let count = (images * shape.pixels) as f64;
        let (mean, variance) = (0..shape.channels)
            .into_par_iter()
            .map(|channel| {
                let values = || {
                    x.chunks_exact(shape.image_len())
                        .flat_map(move |image| channel_of(shape, image, channel))
                        .map(|x| x.to_f64())
                };
                let mean = values().sum::<f64>() / count;
                // A second pass: E[x^2] - mean^2 cancels when the mean is large.
                let variance = values().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
                (T::from_f64(mean), T::from_f64(variance))
            })
            .unzip();
        Ok(Self { mean, variance })
    }

    /// Moves running averages towards this mini-batch of `count` values per channel:
    /// `running = momentum running + (1 - momentum) batch`.
    ///
    /// The running variance takes the *unbiased* estimate, `count / (count - 1)` times the biased one, as
    /// PyTorch does (whose `momentum` is one minus this one) and Keras 2's fused kernel for images. Keras 3
    /// averages the biased one, and Keras 2.1.3 on Theano, with which the paper was made, the biased one
    /// plus epsilon: for the 200 values of a batch 0.5 % less and 0.001 more. A single value has no
    /// unbiased variance: the running variance then stays as it is.
    ///
    /// # Errors
    /// [`ShapeError`] when the lengths differ.
    pub fn update_running(
        &self,
        count: usize,
        momentum: f64,
        running_mean: &mut [T],
        running_variance: &mut [T],
    ) -> Result<(), ShapeError> {
        const NAME: &str = "batch_norm running averages";
        check_len(NAME, "running_mean", self.mean.len(), running_mean.len())?;
        check_len(
            NAME,
            "running_variance",
            self.mean.len(),
            running_variance.len(),
        )?;
        let blend = |running: &mut T, batch: f64| {
            *running = T::from_f64(momentum * running.to_f64() + (1.0 - momentum) * batch);
        };
        for (running, mean) in running_mean.iter_mut().zip(&self.mean) {
            blend(running, mean.to_f64());
        }
        if count > 1 {
            let unbiased = count as f64 / (count - 1) as f64;
            for (running, variance) in running_variance.iter_mut().zip(&self.variance) {
                blend(running, unbiased * variance.to_f64());
            }
        }
        Ok(())
    }
}

/// The values of one channel of one image (C,P).
fn channel_of<'a, T>(
    shape: &BatchNormShape,
    image: &'a [T],
    channel: usize,
) -> impl Iterator<Item = &'a T> {
    image[channel * shape.pixels..][..shape.pixels].iter()
}

/// Scale and shift of a normalisation and its epsilon.
#[derive(Debug, Clone, Copy)]
pub struct Affine<'a, T> {
    /// Scale per channel.
    pub gamma: &'a [T],
    /// Shift per channel.
    pub beta: &'a [T],
    /// Added to the variance before the root.
    pub epsilon: f64,
}

/// `y = gamma (x - mean) / sqrt(variance + epsilon) + beta` with the given statistics: those of the
/// mini-batch in training, the running ones in inference.
///
/// Shapes: `x` (N,C,P); statistics and affine (C); `y` (N,C,P), overwritten.
///
/// # Errors
/// [`ShapeError`] names the argument, the expected and the actual length.
pub fn forward<T: Float>(
    shape: &BatchNormShape,
    x: &[T],
    mean: &[T],
    variance: &[T],
    affine: Affine<'_, T>,
    y: &mut [T],
) -> Result<(), ShapeError> {
    const NAME: &str = "batch_norm forward";
    whole_items(NAME, "x", shape.image_len(), x.len())?;
    check_len(NAME, "y", x.len(), y.len())?;
    check_len(NAME, "mean", shape.channels, mean.len())?;
    check_len(NAME, "gamma", shape.channels, affine.gamma.len())?;
    check_len(NAME, "beta", shape.channels, affine.beta.len())?;
    let inverse = inverse_deviation(NAME, shape, variance, affine.epsilon)?;
    y.par_chunks_exact_mut(shape.image_len())
        .zip(x.par_chunks_exact(shape.image_len()))
        .for_each(|(y, x)| {
            let channels = y
                .chunks_exact_mut(shape.pixels)
                .zip(x.chunks_exact(shape.pixels));
            for (c, (y, x)) in channels.enumerate() {
                let scale = affine.gamma[c] * inverse[c];
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = (x - mean[c]) * scale + affine.beta[c];
                }
            }
        });
    Ok(())
}

/// `1 / sqrt(variance + epsilon)` per channel.
fn inverse_deviation<T: Float>(
    operation: &'static str,
    shape: &BatchNormShape,
    variance: &[T],
    epsilon: f64,
) -> Result<Vec<T>, ShapeError> {
    check_len(operation, "variance", shape.channels, variance.len())?;
    Ok(variance
        .iter()
        .map(|v| T::from_f64(1.0 / (v.to_f64() + epsilon).sqrt()))
        .collect())
}

/// Where the gradients of a normalisation go; all are overwritten.
#[derive(Debug)]
pub struct BatchNormGradients<'a, T> {
    /// Gradient of the input, (N,C,P).
    pub input: &'a mut [T],
    /// Gradient of the scale, (C).
    pub gamma: &'a mut [T],
    /// Gradient of the shift, (C).
    pub beta: &'a mut [T],
}

/// Gradients of a training-mode [`forward`], whose statistics depend on `x` themselves:
/// `dx = gamma/sqrt(v + eps) (dy - mean(dy) - xhat mean(dy xhat))`, with `xhat` the normalised input.
///
/// Shapes: `x` and `dy` (N,C,P); `statistics` those of `x`.
///
/// # Errors
/// [`ShapeError`] names the argument, the expected and the actual length.
pub fn backward_training<T: Float>(
    shape: &BatchNormShape,
    x: &[T],
    statistics: &BatchStatistics<T>,
    affine: Affine<'_, T>,
    dy: &[T],
    gradients: BatchNormGradients<'_, T>,
) -> Result<(), ShapeError> {
    let [mean, variance] = [&statistics.mean[..], &statistics.variance];
    backward(shape, x, [mean, variance], affine, dy, gradients, true)
}

/// Gradients of an inference-mode [`forward`], whose statistics are constants: `dx = gamma/sqrt(v + eps) dy`.
///
/// Shapes: `x` and `dy` (N,C,P); `running_mean` and `running_variance` (C).
///
/// # Errors
/// [`ShapeError`] names the argument, the expected and the actual length.
pub fn backward_inference<T: Float>(
    shape: &BatchNormShape,
    x: &[T],
    [running_mean, running_variance]: [&[T]; 2],
    affine: Affine<'_, T>,
    dy: &[T],
    gradients: BatchNormGradients<'_, T>,
) -> Result<(), ShapeError> {
    let statistics = [running_mean, running_variance];
    backward(shape, x, statistics, affine, dy, gradients, false)
}

fn backward<T: Float>(
    shape: &BatchNormShape,
    x: &[T],
    [mean, variance]: [&[T]; 2],
    affine: Affine<'_, T>,
    dy: &[T],
    gradients: BatchNormGradients<'_, T>,
    statistics_depend_on_x: bool,
) -> Result<(), ShapeError> {
    const NAME: &str = "batch_norm backward";
    let images = whole_items(NAME, "x", shape.image_len(), x.len())?;
    check_len(NAME, "dy", x.len(), dy.len())?;
    check_len(NAME, "mean", shape.channels, mean.len())?;
    check_len(NAME, "gamma", shape.channels, affine.gamma.len())?;
    check_len(NAME, "input gradient", x.len(), gradients.input.len())?;
    check_len(
        NAME,
        "gamma gradient",
        shape.channels,
        gradients.gamma.len(),
    )?;
    check_len(NAME, "beta gradient", shape.channels, gradients.beta.len())?;
    let inverse = inverse_deviation(NAME, shape, variance, affine.epsilon)?;

    // (sum dy, sum dy xhat) per channel, in f64 and in the order of the images.
    let sums: Vec<(f64, f64)> = (0..shape.channels)
        .into_par_iter()
        .map(|c| {
            let (mean, inverse) = (mean[c].to_f64(), inverse[c].to_f64());
            let images = x
                .chunks_exact(shape.image_len())
                .zip(dy.chunks_exact(shape.image_len()));
            let mut sums = (0.0, 0.0);
            for (x, dy) in images {
                for (x, dy) in channel_of(shape, x, c).zip(channel_of(shape, dy, c)) {
                    sums.0 += dy.to_f64();
                    sums.1 += dy.to_f64() * (x.to_f64() - mean) * inverse;
                }
            }
            sums
        })
        .collect();
    for (c, &(sum, product)) in sums.iter().enumerate() {
        gradients.beta[c] = T::from_f64(sum);
        gradients.gamma[c] = T::from_f64(product);
    }

    let count = (images * shape.pixels) as f64;
    gradients
        .input
        .par_chunks_exact_mut(shape.image_len())
        .zip(x.par_chunks_exact(shape.image_len()))
        .zip(dy.par_chunks_exact(shape.image_len()))
        .for_each(|((dx, x), dy)| {
            for c in 0..shape.channels {
                let range = c * shape.pixels..(c + 1) * shape.pixels;
                let scale = affine.gamma[c] * inverse[c];
                let (mut mean_dy, mut mean_dy_xhat) = (T::ZERO, T::ZERO);
                if statistics_depend_on_x {
                    mean_dy = T::from_f64(sums[c].0 / count);
                    mean_dy_xhat = T::from_f64(sums[c].1 / count);
                }
                let values = x[range.clone()].iter().zip(&dy[range.clone()]);
                for (dx, (&x, &dy)) in dx[range].iter_mut().zip(values) {
                    let normalized = (x - mean[c]) * inverse[c];
                    *dx = scale * (dy - mean_dy - normalized * mean_dy_xhat);
                }
            }
        });
    Ok(())
}
