//! Rectified linear unit, `y = max(x, 0)`, in place.

use rayon::prelude::*;

use crate::shape::check_len;
use crate::{Float, ShapeError};

/// Values handled by one task: long enough to hide its overhead, short enough to share the work.
const TASK_LEN: usize = 1 << 16;

/// Replaces negative values by 0; NaN stays NaN, so that a broken input is noticed in the loss.
///
/// Any shape. Exact: no rounding.
pub fn forward_in_place<T: Float>(x: &mut [T]) {
    x.par_chunks_mut(TASK_LEN).for_each(forward_chunk);
}

/// [`forward_in_place`] on the calling thread.
pub fn forward_chunk<T: Float>(x: &mut [T]) {
    for x in x {
        *x = if *x <= T::ZERO { T::ZERO } else { *x };
    }
}

/// Turns the gradient of the output into that of the input, using the output `y` itself: `y > 0`
/// exactly where `x > 0`. The derivative at 0 is taken as 0.
///
/// Shapes: `y` and `dy` alike. Exact: no rounding.
///
/// # Errors
/// [`ShapeError`] when the lengths differ.
pub fn backward_in_place<T: Float>(y: &[T], dy: &mut [T]) -> Result<(), ShapeError> {
    check_len("relu backward", "dy", y.len(), dy.len())?;
    dy.par_chunks_mut(TASK_LEN)
        .zip(y.par_chunks(TASK_LEN))
        .for_each(|(dy, y)| backward_chunk(y, dy));
    Ok(())
}

/// [`backward_in_place`] on the calling thread; the shorter slice counts.
pub fn backward_chunk<T: Float>(y: &[T], dy: &mut [T]) {
    for (dy, &y) in dy.iter_mut().zip(y) {
        *dy = if y > T::ZERO { *dy } else { T::ZERO };
    }
}
