//! Max-pooling with windows that do not overlap.
//!
//! The position of each maximum is kept in one byte (row-major in its window, first of equals), which
//! is all that the backward pass needs: the input may be forgotten.

use rayon::prelude::*;

use crate::shape::{MaxPool2dShape, check_len, whole_items};
use crate::{Float, ShapeError};

/// Largest value of every window and its position; a NaN in a window is its maximum.
///
/// Shapes: `x` (N,C,H,W); `y` and `argmax` (N,C,H/r,W/s), overwritten. Exact: no rounding.
///
/// # Errors
/// [`ShapeError`] names the argument, the expected and the actual length.
pub fn forward<T: Float>(
    shape: &MaxPool2dShape,
    x: &[T],
    y: &mut [T],
    argmax: &mut [u8],
) -> Result<(), ShapeError> {
    const NAME: &str = "max_pool2d forward";
    let images = whole_items(NAME, "x", shape.input_len(), x.len())?;
    check_len(NAME, "y", images * shape.output_len(), y.len())?;
    check_len(NAME, "argmax", images * shape.output_len(), argmax.len())?;
    y.par_chunks_exact_mut(shape.output_len())
        .zip(argmax.par_chunks_exact_mut(shape.output_len()))
        .zip(x.par_chunks_exact(shape.input_len()))
        .for_each(|((y, argmax), x)| forward_image_unchecked(shape, x, y, argmax));
    Ok(())
}

/// [`forward`] for one image, on the calling thread.
///
/// Shapes: `x` (C,H,W); `y` and `argmax` (C,H/r,W/s), overwritten.
///
/// # Errors
/// [`ShapeError`] names the argument, the expected and the actual length.
pub fn forward_image<T: Float>(
    shape: &MaxPool2dShape,
    x: &[T],
    y: &mut [T],
    argmax: &mut [u8],
) -> Result<(), ShapeError> {
    const NAME: &str = "max_pool2d forward";
    check_len(NAME, "x", shape.input_len(), x.len())?;
    check_len(NAME, "y", shape.output_len(), y.len())?;
    check_len(NAME, "argmax", shape.output_len(), argmax.len())?;
    forward_image_unchecked(shape, x, y, argmax);
    Ok(())
}

fn forward_image_unchecked<T: Float>(
    shape: &MaxPool2dShape,
    x: &[T],
    y: &mut [T],
    argmax: &mut [u8],
) {
    let planes = x.chunks_exact(shape.height * shape.width);
    let out_plane = shape.out_height() * shape.out_width();
    for ((x, y), argmax) in planes
        .zip(y.chunks_exact_mut(out_plane))
        .zip(argmax.chunks_exact_mut(out_plane))
    {
        let rows = x.chunks_exact(shape.window_height * shape.width);
        for ((rows, y), argmax) in rows
            .zip(y.chunks_exact_mut(shape.out_width()))
            .zip(argmax.chunks_exact_mut(shape.out_width()))
        {
            for (j, (y, argmax)) in y.iter_mut().zip(argmax).enumerate() {
                (*y, *argmax) = window_maximum(shape, rows, j * shape.window_width);
            }
        }
    }
}

/// Maximum of the window whose first column is `column`, in the rows of one row of windows.
#[inline]
fn window_maximum<T: Float>(shape: &MaxPool2dShape, rows: &[T], column: usize) -> (T, u8) {
    let mut best = rows[column];
    let mut position = 0;
    let mut k = 0_u8;
    for row in rows.chunks_exact(shape.width) {
        for &value in &row[column..column + shape.window_width] {
            // `best` may be NaN only if it is kept for good.
            if value > best || (value.is_nan() && !best.is_nan()) {
                best = value;
                position = k;
            }
            k = k.wrapping_add(1);
        }
    }
    (best, position)
}

/// Gradient of [`forward`]: every `dy` goes to the position of its maximum, all other cells get 0.
///
/// Shapes: `dy` and `argmax` (N,C,H/r,W/s); `dx` (N,C,H,W), overwritten. Exact: no rounding.
///
/// # Errors
/// [`ShapeError`] names the argument, the expected and the actual length, or a position outside its
/// window.
pub fn backward<T: Float>(
    shape: &MaxPool2dShape,
    dy: &[T],
    argmax: &[u8],
    dx: &mut [T],
) -> Result<(), ShapeError> {
    const NAME: &str = "max_pool2d backward";
    let images = whole_items(NAME, "dy", shape.output_len(), dy.len())?;
    check_len(NAME, "argmax", images * shape.output_len(), argmax.len())?;
    check_len(NAME, "dx", images * shape.input_len(), dx.len())?;
    dx.par_chunks_exact_mut(shape.input_len())
        .zip(dy.par_chunks_exact(shape.output_len()))
        .zip(argmax.par_chunks_exact(shape.output_len()))
        .try_for_each(|((dx, dy), argmax)| backward_image(shape, dy, argmax, dx))
}

/// [`backward`] for one image, on the calling thread.
///
/// # Errors
/// As [`backward`].
pub fn backward_image<T: Float>(
    shape: &MaxPool2dShape,
    dy: &[T],
    argmax: &[u8],
    dx: &mut [T],
) -> Result<(), ShapeError> {
    const NAME: &str = "max_pool2d backward";
    check_len(NAME, "dy", shape.output_len(), dy.len())?;
    check_len(NAME, "argmax", shape.output_len(), argmax.len())?;
    check_len(NAME, "dx", shape.input_len(), dx.len())?;
    let cells = shape.window_height * shape.window_width;
    if let Some(&position) = argmax.iter().find(|&&k| usize::from(k) >= cells) {
        return Err(ShapeError::Dimension {
            operation: NAME,
            detail: format!("`argmax` holds {position}, but a window has {cells} cells"),
        });
    }
    dx.fill(T::ZERO);
    let out_plane = shape.out_height() * shape.out_width();
    for ((dx, dy), argmax) in dx
        .chunks_exact_mut(shape.height * shape.width)
        .zip(dy.chunks_exact(out_plane))
        .zip(argmax.chunks_exact(out_plane))
    {
        for ((dx, dy), argmax) in dx
            .chunks_exact_mut(shape.window_height * shape.width)
            .zip(dy.chunks_exact(shape.out_width()))
            .zip(argmax.chunks_exact(shape.out_width()))
        {
            for (j, (&dy, &position)) in dy.iter().zip(argmax).enumerate() {
                let row = usize::from(position) / shape.window_width;
                let column = usize::from(position) % shape.window_width;
                dx[row * shape.width + j * shape.window_width + column] = dy;
            }
        }
    }
    Ok(())
}
