//! Convolution as blocked patches times weights (`im2col` + GEMM).
//!
//! Forward: `Y(O,P) = W(O,CRS) X(CRS,P) + b`. Backward, with `dY(O,P)`:
//! `dW = dY X^T`, `db = row sums of dY`, `dX = W^T dY` scattered back by `col2im`.
//! `P` runs over blocks of output pixels that stay in cache, see [`crate::im2col`].

pub(crate) mod direct;
pub(crate) mod fft;
pub(crate) mod map;
pub(crate) mod panels;
pub mod plan;
pub(crate) mod pooling;
mod rates;

use rayon::prelude::*;

use crate::gemm::{Matrix, MatrixMut};
use crate::im2col::{block_pixels, col2im_add, im2col};
use crate::reduce::{images_per_chunk, pairwise_sum, sum_in_order};
use crate::shape::{Conv2dShape, check_len, whole_items};
use crate::{Float, ShapeError};

/// Values of `scratch` that the functions on one image need.
#[must_use]
pub fn scratch_len<T: Float>(shape: &Conv2dShape) -> usize {
    shape.patch_len() * block_pixels::<T>(shape)
}

/// Where the gradients of a convolution go.
#[derive(Debug)]
pub struct Conv2dGradients<'a, T> {
    /// Gradient of the input, (N,C,H,W); `None` skips its computation (the first layer).
    pub input: Option<&'a mut [T]>,
    /// Gradient of the weight, (O,C,R,S).
    pub weight: &'a mut [T],
    /// Gradient of the bias, (O).
    pub bias: &'a mut [T],
}

/// Valid 2-D cross-correlation plus bias of one image: `y[o,i,j] = b[o] + sum_crs w[o,c,r,s] x[c,i+r,j+s]`.
///
/// # Shapes
/// `x` (C,H,W); `weight` (O,C,R,S); `bias` (O); `y` (O,H-R+1,W-S+1), overwritten; `scratch`:
/// [`scratch_len`] values, content irrelevant.
///
/// # Errors
/// [`ShapeError`] names the argument, the expected and the actual length.
///
/// Rounding: `|y - exact| <= gamma(C R S + 1) (|b| + sum |w x|)` (Higham 2002, section 3.1).
pub fn forward_image<T: Float>(
    shape: &Conv2dShape,
    x: &[T],
    weight: &[T],
    bias: &[T],
    y: &mut [T],
    scratch: &mut [T],
) -> Result<(), ShapeError> {
    const NAME: &str = "conv2d forward";
    check_len(NAME, "x", shape.input_len(), x.len())?;
    check_len(NAME, "weight", shape.weight_len(), weight.len())?;
    check_len(NAME, "bias", shape.bias_len(), bias.len())?;
    check_len(NAME, "y", shape.output_len(), y.len())?;
    check_len(NAME, "scratch", scratch_len::<T>(shape), scratch.len())?;
    let pixels = shape.out_pixels();
    for (plane, &bias) in y.chunks_exact_mut(pixels).zip(bias) {
        plane.fill(bias);
    }
    let weight = Matrix::new(
        weight,
        shape.out_channels,
        shape.patch_len(),
        shape.patch_len(),
    )?;
    for start in (0..pixels).step_by(block_pixels::<T>(shape)) {
        let block = start..(start + block_pixels::<T>(shape)).min(pixels);
        let len = block.len();
        im2col(shape, x, block, scratch);
        let columns = Matrix::new(scratch, shape.patch_len(), len, len)?;
        let output = MatrixMut::new(&mut y[start..], shape.out_channels, len, pixels)?;
        T::gemm(T::ONE, weight, columns, T::ONE, output)?;
    }
    Ok(())
}

/// Gradients of [`forward_image`]: `weight` and `bias` are added to, `input` is overwritten.
///
/// Shapes: `x` (C,H,W), `weight` (O,C,R,S), `dy` (O,H-R+1,W-S+1), `gradients` for one image,
/// `scratch`: [`scratch_len`] values.
///
/// # Errors
/// [`ShapeError`] names the argument, the expected and the actual length.
pub fn backward_image<T: Float>(
    shape: &Conv2dShape,
    x: &[T],
    weight: &[T],
    dy: &[T],
    gradients: Conv2dGradients<'_, T>,
    scratch: &mut [T],
) -> Result<(), ShapeError> {
    const NAME: &str = "conv2d backward";
    let Conv2dGradients {
        input: mut dx,
        weight: dweight,
        bias: dbias,
    } = gradients;
    check_len(NAME, "x", shape.input_len(), x.len())?;
    check_len(NAME, "weight", shape.weight_len(), weight.len())?;
    check_len(NAME, "dy", shape.output_len(), dy.len())?;
    check_len(NAME, "weight gradient", shape.weight_len(), dweight.len())?;
    check_len(NAME, "bias gradient", shape.bias_len(), dbias.len())?;
    check_len(NAME, "scratch", scratch_len::<T>(shape), scratch.len())?;
    if let Some(dx) = dx.as_deref_mut() {
        check_len(NAME, "input gradient", shape.input_len(), dx.len())?;
        dx.fill(T::ZERO);
    }
    let pixels = shape.out_pixels();
    let patch_len = shape.patch_len();
    for (plane, dbias) in dy.chunks_exact(pixels).zip(dbias) {
        *dbias += pairwise_sum(plane);
    }
    let weight = Matrix::new(weight, shape.out_channels, patch_len, patch_len)?;
    for start in (0..pixels).step_by(block_pixels::<T>(shape)) {
        let block = start..(start + block_pixels::<T>(shape)).min(pixels);
        let len = block.len();
        let dy = Matrix::new(&dy[start..], shape.out_channels, len, pixels)?;

        im2col(shape, x, block.clone(), scratch);
        let columns = Matrix::new(scratch, patch_len, len, len)?;
        let output = MatrixMut::new(dweight, shape.out_channels, patch_len, patch_len)?;
        T::gemm(T::ONE, dy, columns.transposed(), T::ONE, output)?;

        if let Some(dx) = dx.as_deref_mut() {
            let dcolumns = MatrixMut::new(scratch, patch_len, len, len)?;
            T::gemm(T::ONE, weight.transposed(), dy, T::ZERO, dcolumns)?;
            col2im_add(shape, scratch, block, dx);
        }
    }
    Ok(())
}

/// [`forward_image`] for every image of a mini-batch, in parallel.
///
/// Shapes: `x` (N,C,H,W), `y` (N,O,H-R+1,W-S+1), overwritten.
///
/// # Errors
/// [`ShapeError`] names the argument, the expected and the actual length.
pub fn forward<T: Float>(
    shape: &Conv2dShape,
    x: &[T],
    weight: &[T],
    bias: &[T],
    y: &mut [T],
) -> Result<(), ShapeError> {
    let images = whole_items("conv2d forward", "x", shape.input_len(), x.len())?;
    check_len("conv2d forward", "y", images * shape.output_len(), y.len())?;
    y.par_chunks_exact_mut(shape.output_len())
        .zip(x.par_chunks_exact(shape.input_len()))
        .try_for_each_init(
            || vec![T::ZERO; scratch_len::<T>(shape)],
            |scratch, (y, x)| forward_image(shape, x, weight, bias, y, scratch),
        )
}

/// Gradients of [`forward`], all overwritten; bit-identical for any number of threads.
///
/// Shapes: `x` (N,C,H,W), `dy` (N,O,H-R+1,W-S+1).
///
/// # Errors
/// [`ShapeError`] names the argument, the expected and the actual length.
pub fn backward<T: Float>(
    shape: &Conv2dShape,
    x: &[T],
    weight: &[T],
    dy: &[T],
    gradients: Conv2dGradients<'_, T>,
) -> Result<(), ShapeError> {
    const NAME: &str = "conv2d backward";
    let images = whole_items(NAME, "x", shape.input_len(), x.len())?;
    check_len(NAME, "dy", images * shape.output_len(), dy.len())?;
    check_len(
        NAME,
        "weight gradient",
        shape.weight_len(),
        gradients.weight.len(),
    )?;
    check_len(
        NAME,
        "bias gradient",
        shape.bias_len(),
        gradients.bias.len(),
    )?;
    if let Some(dx) = &gradients.input {
        check_len(NAME, "input gradient", images * shape.input_len(), dx.len())?;
    }
    let scratch = || vec![T::ZERO; scratch_len::<T>(shape)];
    backward_by_chunks(
        shape,
        images,
        gradients,
        scratch,
        |image, gradients, scratch| {
            let x = &x[image * shape.input_len()..][..shape.input_len()];
            let dy = &dy[image * shape.output_len()..][..shape.output_len()];
            backward_image(shape, x, weight, dy, gradients, scratch)
        },
    )
}

/// Runs `backward_one(image, gradients of that image, scratch)` for all images in parallel and adds
/// up the weight and bias gradients in an order that does not depend on the number of threads.
///
/// `scratch` is made once per task and reused between images. For fused stages, which expand the
/// gradient of each image themselves before calling [`backward_image`].
///
/// # Errors
/// The first error of `backward_one`.
pub fn backward_by_chunks<T: Float, S>(
    shape: &Conv2dShape,
    images: usize,
    gradients: Conv2dGradients<'_, T>,
    scratch: impl Fn() -> S + Sync,
    backward_one: impl Fn(usize, Conv2dGradients<'_, T>, &mut S) -> Result<(), ShapeError> + Sync,
) -> Result<(), ShapeError> {
    let chunk_len = images_per_chunk(images, shape.weight_len() + shape.bias_len());
    let input_gradients: Vec<Option<&mut [T]>> = match gradients.input {
        Some(dx) => dx
            .chunks_mut(chunk_len * shape.input_len())
            .map(Some)
            .collect(),
        None => (0..images.div_ceil(chunk_len)).map(|_| None).collect(),
    };
    let partials = input_gradients
        .into_par_iter()
        .enumerate()
        .map_init(&scratch, |scratch, (chunk, mut dx)| {
            let mut partial = vec![T::ZERO; shape.weight_len() + shape.bias_len()];
            let (dweight, dbias) = partial.split_at_mut(shape.weight_len());
            let first = chunk * chunk_len;
            for image in first..(first + chunk_len).min(images) {
                let input = dx
                    .as_deref_mut()
                    .map(|dx| &mut dx[(image - first) * shape.input_len()..][..shape.input_len()]);
                let gradients = Conv2dGradients {
                    input,
                    weight: &mut *dweight,
                    bias: &mut *dbias,
                };
                backward_one(image, gradients, scratch)?;
            }
            Ok(partial)
        })
        .collect::<Result<Vec<_>, ShapeError>>()?;
    let weight_len = shape.weight_len();
    sum_in_order(gradients.weight, partials.iter().map(|p| &p[..weight_len]));
    sum_in_order(gradients.bias, partials.iter().map(|p| &p[weight_len..]));
    Ok(())
}
