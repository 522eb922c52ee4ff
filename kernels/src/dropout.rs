//! Inverted dropout (Srivastava et al. 2014): zero with probability `rate`, else divide by `1 - rate`.
//!
//! The mask is a pure function of (seed, layer, step, index) and is never stored: the backward pass
//! computes it again. Forward and backward are the same multiplication.

use rand_xoshiro::rand_core::Rng;
use rayon::prelude::*;

use crate::rng::{Stream, generator};
use crate::{Float, ShapeError};

/// Values that share one generator. Fixed: changing it changes every mask.
const BLOCK_LEN: usize = 4096;

/// What a mask depends on besides the index of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskKey {
    /// Seed of the run.
    pub seed: u64,
    /// Index of the layer in the network: two dropout layers have different masks.
    pub layer: u64,
    /// Number of the training step.
    pub step: u64,
}

/// Multiplies `values` by the mask: 0 with probability `rate`, else `1 / (1 - rate)`.
///
/// `values` is the whole mini-batch (N,...), whose flat index selects the random number. Applied to the
/// activations in the forward pass and to their gradients in the backward pass.
///
/// # Errors
/// [`ShapeError::Dimension`] when `rate` is not in [0, 1).
pub fn apply_mask<T: Float>(key: MaskKey, rate: f64, values: &mut [T]) -> Result<(), ShapeError> {
    if !(0.0..1.0).contains(&rate) {
        return Err(ShapeError::Dimension {
            operation: "dropout",
            detail: format!("rate {rate} is not in [0, 1)"),
        });
    }
    // Probability in units of 2^-32; `rate` 0 keeps everything exactly.
    let threshold = (rate * 2_f64.powi(32)) as u64;
    if threshold == 0 {
        return Ok(());
    }
    let scale = T::from_f64(1.0 / (1.0 - rate));
    values
        .par_chunks_mut(BLOCK_LEN)
        .enumerate()
        .for_each(|(block, values)| {
            let index = [key.layer, key.step, block as u64];
            let mut generator = generator(key.seed, Stream::Dropout, &index);
            for pair in values.chunks_mut(2) {
                let bits = generator.next_u64();
                for (value, bits) in pair.iter_mut().zip([bits >> 32, bits & 0xffff_ffff]) {
                    // Multiplying, not selecting: a NaN stays one and shows in the loss.
                    *value = *value * if bits < threshold { T::ZERO } else { scale };
                }
            }
        });
    Ok(())
}
