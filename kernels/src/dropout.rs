//! Inverted dropout (Srivastava et al. 2014): zero with probability `rate`, else divide by `1 - rate`.
//!
//! The mask is a pure function of (seed, layer, step, image, feature) and is never stored: the backward pass
//! computes it again. Forward and backward are the same multiplication.
//!
//! Whether a feature is dropped is decided by a hash of its number, so that a layout may compute the mask
//! in any order: eight channels of a pixel are far apart in (C,H,W).

use rand_xoshiro::rand_core::Rng;
use rayon::prelude::*;

use crate::rng::{Stream, generator};
use crate::shape::whole_items;
use crate::{Float, ShapeError};

/// What a mask depends on besides image and feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskKey {
    /// Seed of the run.
    pub seed: u64,
    /// Index of the layer in the network: two dropout layers have different masks.
    pub layer: u64,
    /// Number of the training step.
    pub step: u64,
}

/// The mask of one image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ImageMask {
    keys: [u32; 2],
    /// Probability in units of 2^-32.
    threshold: u32,
    scale: f32,
}

impl ImageMask {
    /// The mask of image `image` of the mini-batch.
    ///
    /// # Errors
    /// [`ShapeError::Dimension`] when `rate` is not in [0, 1).
    pub(crate) fn new(key: MaskKey, rate: f64, image: usize) -> Result<Self, ShapeError> {
        check_rate(rate)?;
        let index = [key.layer, key.step, image as u64];
        let bits = generator(key.seed, Stream::Dropout, &index).next_u64();
        Ok(Self {
            keys: [bits as u32, (bits >> 32) as u32],
            threshold: (rate * 2_f64.powi(32)) as u32,
            scale: (1.0 / (1.0 - rate)) as f32,
        })
    }

    /// 0 or `1 / (1 - rate)`.
    #[inline(always)]
    pub(crate) fn factor(&self, feature: u32) -> f32 {
        let bits = scramble(scramble(feature ^ self.keys[0]) ^ self.keys[1]);
        if bits < self.threshold {
            0.0
        } else {
            self.scale
        }
    }
}

/// A bijection in which every input bit flips about half of the output bits: two rounds of multiplying
/// and folding (constants of C. Wellons' search, bias 0.17).
#[inline(always)]
fn scramble(value: u32) -> u32 {
    let mut x = value;
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

fn check_rate(rate: f64) -> Result<(), ShapeError> {
    if (0.0..1.0).contains(&rate) {
        return Ok(());
    }
    Err(ShapeError::Dimension {
        operation: "dropout",
        detail: format!("rate {rate} is not in [0, 1)"),
    })
}

/// The number of features, which a mask counts in 32 bits.
pub(crate) fn check_features(features: usize) -> Result<u32, ShapeError> {
    match u32::try_from(features) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(ShapeError::Dimension {
            operation: "dropout",
            detail: format!("{features} features of an image, expected 1 to 2^32 - 1"),
        }),
    }
}

/// Multiplies `values` by the mask: 0 with probability `rate`, else `1 / (1 - rate)`.
///
/// `values` is the whole mini-batch (N, `features`), row-major. Applied to the activations in the forward
/// pass and to their gradients in the backward pass.
///
/// # Errors
/// [`ShapeError::Dimension`] when `rate` is not in [0, 1) or the number of features not in [1, 2^32);
/// [`ShapeError::Length`] when `values` is no whole number of images.
pub fn apply_mask<T: Float>(
    key: MaskKey,
    rate: f64,
    features: usize,
    values: &mut [T],
) -> Result<(), ShapeError> {
    check_rate(rate)?;
    let count = check_features(features)?;
    whole_items("dropout", "values", features, values.len())?;
    values
        .par_chunks_exact_mut(features)
        .enumerate()
        .try_for_each(|(image, values)| {
            let mask = ImageMask::new(key, rate, image)?;
            // In f64 the factor is that of f32 in all but its last bits.
            let scale = T::from_f64(1.0 / (1.0 - rate));
            for (value, feature) in values.iter_mut().zip(0..count) {
                // Multiplying, not selecting: a NaN stays one and shows in the loss.
                let kept = mask.factor(feature) > 0.0;
                *value = *value * if kept { scale } else { T::ZERO };
            }
            Ok(())
        })
}
