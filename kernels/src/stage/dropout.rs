//! Dropout of the features of a stack, in the layout that the stages write.

use rayon::prelude::*;

use super::layout::FeatureMap;
use super::{ConvStack, DEAD, StackActivations};
use crate::ShapeError;
use crate::conv2d::pooling::Codes;
use crate::dropout::{ImageMask, MaskKey, check_features};
use crate::simd::{Kernel, Level, Pixel, Simd};

impl ConvStack {
    /// Inverted dropout of the features, after [`ConvStack::forward`]: the mask of
    /// [`dropout::apply_mask`](crate::dropout::apply_mask) on (N, C H W).
    ///
    /// A dropped feature becomes a dead window, so [`ConvStack::backward`] lets no gradient through it; the
    /// caller multiplies the gradient of the features by `1 / (1 - rate)`.
    ///
    /// # Errors
    /// [`ShapeError`] when `rate` is not in [0, 1) or an image has 2^32 features or more.
    pub fn drop_out(
        &self,
        activations: &mut StackActivations,
        level: Level,
        key: MaskKey,
        rate: f64,
    ) -> Result<(), ShapeError> {
        let map = self.output();
        check_features(map.planar_len())?;
        let (values, codes) = activations.last_mut();
        values
            .par_chunks_exact_mut(map.pixels())
            .zip(codes.par_chunks_exact_mut(map.pixels()))
            .enumerate()
            .try_for_each(|(image, (values, codes))| {
                let mask = ImageMask::new(key, rate, image)?;
                level.run(DropOut {
                    map,
                    mask,
                    values,
                    codes,
                });
                Ok(())
            })
    }
}

/// Dropout of one image.
struct DropOut<'a> {
    map: FeatureMap,
    mask: ImageMask,
    values: &'a mut [Pixel],
    codes: &'a mut [Codes],
}

impl<S: Simd> Kernel<S> for DropOut<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: S) {
        // The compiler vectorises over the eight channels of a pixel.
        let plane = self.map.plane();
        let blocks = self
            .values
            .chunks_exact_mut(plane)
            .zip(self.codes.chunks_exact_mut(plane));
        let mut first = 0_u32;
        let stride = plane as u32;
        for (values, codes) in blocks {
            for (i, (values, codes)) in values.iter_mut().zip(codes).enumerate() {
                let mut feature = first.wrapping_add(i as u32);
                for (value, code) in values.iter_mut().zip(codes) {
                    let factor = self.mask.factor(feature);
                    *value *= factor;
                    *code = if factor > 0.0 { *code } else { DEAD };
                    feature = feature.wrapping_add(stride);
                }
            }
            first = first.wrapping_add(stride.wrapping_mul(crate::simd::UNIT as u32));
        }
    }
}
