//! The fused stage: convolution, ReLU and max-pooling without the full map between them.
//!
//! `max(relu(x)) = relu(max(x))`, so the ReLU is applied after pooling, and its mask is the sign of the
//! pooled value.

use dawn21_kernels::conv2d::{self, Conv2dGradients};
use dawn21_kernels::{Conv2dShape, Float, MaxPool2dShape, ShapeError, max_pool2d, relu};
use rayon::prelude::*;

/// Convolution, max-pooling and ReLU, image by image: the full map lives in per-thread scratch.
pub(super) fn forward<T: Float>(
    conv: &Conv2dShape,
    pool: &MaxPool2dShape,
    x: &[T],
    weight: &[T],
    bias: &[T],
    y: &mut [T],
    argmax: &mut [u8],
) -> Result<(), ShapeError> {
    y.par_chunks_exact_mut(pool.output_len())
        .zip(argmax.par_chunks_exact_mut(pool.output_len()))
        .zip(x.par_chunks_exact(conv.input_len()))
        .try_for_each_init(
            || {
                let map = vec![T::ZERO; conv.output_len()];
                (map, vec![T::ZERO; conv2d::scratch_len::<T>(conv)])
            },
            |(map, scratch), ((y, argmax), x)| {
                conv2d::forward_image(conv, x, weight, bias, map, scratch)?;
                max_pool2d::forward_image(pool, map, y, argmax)?;
                relu::forward_chunk(y);
                Ok(())
            },
        )
}

/// Backward pass of convolution and max-pooling, image by image; `dy` is the gradient of the pooled
/// map before its ReLU.
pub(super) fn backward<T: Float>(
    conv: &Conv2dShape,
    pool: &MaxPool2dShape,
    x: &[T],
    weight: &[T],
    dy: &[T],
    argmax: &[u8],
    gradients: Conv2dGradients<'_, T>,
) -> Result<(), ShapeError> {
    let pooled = pool.output_len();
    conv2d::backward_by_chunks(
        conv,
        dy.len() / pooled,
        gradients,
        || {
            let dmap = vec![T::ZERO; conv.output_len()];
            (dmap, vec![T::ZERO; conv2d::scratch_len::<T>(conv)])
        },
        |image, gradients, (dmap, scratch)| {
            let x = &x[image * conv.input_len()..][..conv.input_len()];
            let window = image * pooled..(image + 1) * pooled;
            max_pool2d::backward_image(pool, &dy[window.clone()], &argmax[window], dmap)?;
            conv2d::backward_image(conv, x, weight, dmap, gradients, scratch)
        },
    )
}
