//! Patches of an image as the columns of a matrix, and back.
//!
//! A convolution is the product of the weights (O, C R S) with the matrix whose column `p` holds the
//! cells under the kernel at output pixel `p` (Chellapilla, Puri & Simard 2006). The matrix is
//! `R S` times larger than the image, so it is made for a range of output pixels at a time.

use std::ops::Range;

use crate::Float;
use crate::shape::Conv2dShape;

/// Bytes of one block of columns: half of a 1 MiB second-level cache, so that block and packed
/// weights stay there between being written here and being read by the product.
const BLOCK_BYTES: usize = 512 << 10;

/// Output pixels per block of columns.
#[must_use]
pub fn block_pixels<T: Float>(shape: &Conv2dShape) -> usize {
    let pixels = BLOCK_BYTES / (size_of::<T>() * shape.patch_len());
    pixels.clamp(32, 4096).min(shape.out_pixels())
}

/// Writes the patches of output pixels `pixels` (flattened, row-major) of one image (C,H,W).
///
/// `columns` is (C R S, P) with `P = pixels.len()`, overwritten:
/// `columns[crs, p] = x[c, i + r, j + s]` for pixel `p = (i, j)`.
///
/// # Panics
/// When a slice is shorter than the shape says, or a pixel is not one of the output's.
pub fn im2col<T: Float>(shape: &Conv2dShape, x: &[T], pixels: Range<usize>, columns: &mut [T]) {
    for_each_run(shape, pixels.clone(), |tap, cell, column, len| {
        let start = tap * pixels.len() + column;
        columns[start..start + len].copy_from_slice(&x[cell..cell + len]);
    });
}

/// Adds the columns back to the cells that they came from: the adjoint of [`im2col`].
///
/// # Panics
/// As [`im2col`].
pub fn col2im_add<T: Float>(
    shape: &Conv2dShape,
    columns: &[T],
    pixels: Range<usize>,
    dx: &mut [T],
) {
    for_each_run(shape, pixels.clone(), |tap, cell, column, len| {
        let start = tap * pixels.len() + column;
        for (dx, &value) in dx[cell..cell + len]
            .iter_mut()
            .zip(&columns[start..start + len])
        {
            *dx += value;
        }
    });
}

/// Calls `visit(crs, first cell, first column, length)` for every run of consecutive output pixels of
/// one output row: their cells are consecutive in the image too.
fn for_each_run(
    shape: &Conv2dShape,
    pixels: Range<usize>,
    mut visit: impl FnMut(usize, usize, usize, usize),
) {
    let out_width = shape.out_width();
    let mut tap = 0;
    for c in 0..shape.in_channels {
        for r in 0..shape.kernel_height {
            for s in 0..shape.kernel_width {
                let mut pixel = pixels.start;
                while pixel < pixels.end {
                    let (i, j) = (pixel / out_width, pixel % out_width);
                    let len = (out_width - j).min(pixels.end - pixel);
                    let cell = (c * shape.height + i + r) * shape.width + j + s;
                    visit(tap, cell, pixel - pixels.start, len);
                    pixel += len;
                }
                tap += 1;
            }
        }
    }
}
