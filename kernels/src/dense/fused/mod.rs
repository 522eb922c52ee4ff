//! A large dense layer whose gradient never exists as a whole.
//!
//! Weights are stored input-major, `[in][out]`, so that a block of inputs is contiguous. The backward pass
//! goes once through the weights: for a block of inputs it makes the input gradient `dx = dy w^T`, the
//! weight gradient `dw = x^T dy`, and the RMSprop update while block, moments and gradient are in the
//! second-level cache. The 10 million weights and moments of Table 1's first dense layer are read and
//! written once a step (160 MB instead of 280 with a gradient array).
//!
//! All sums have a fixed order: results are the same bits for any number of threads.
mod backward;
mod forward;

pub use backward::{
    DenseParameters, InputGradient, WeightGradients, backward, backward_and_update,
};
pub use forward::forward;

use crate::simd::Simd;

/// Number of vectors of `lanes` that hold `count` values.
fn vectors(count: usize, lanes: usize) -> usize {
    count.div_ceil(lanes)
}

/// Copies rows of `columns` values into rows of `per_row` vectors, padded with 0.
fn pack<S: Simd>(from: &[f32], columns: usize, to: &mut [S::V], per_row: usize) {
    let lanes: &mut [f32] = bytemuck::cast_slice_mut(to);
    for (from, to) in from
        .chunks_exact(columns)
        .zip(lanes.chunks_exact_mut(per_row * S::LANES))
    {
        to[..columns].copy_from_slice(from);
        to[columns..].fill(0.0);
    }
}
