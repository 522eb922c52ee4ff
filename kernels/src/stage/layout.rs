//! The layout of maps between fused stages, and conversions from and to (C,H,W).
//!
//! Channels come in blocks of 8; a map is `[block][H][W]` of pixels, 8 channels of a block side by side.
//! Channels that only fill up the last block are 0. Consecutive stages hand each other this layout; a
//! dense layer that follows reads it as it is, with its weights permuted once by [`FeatureMap::permute_inputs`].

use crate::ShapeError;
use crate::shape::check_len;
use crate::simd::{Pixel, UNIT};

/// Shape of a map of one image and its internal layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FeatureMap {
    channels: usize,
    height: usize,
    width: usize,
}

impl FeatureMap {
    /// A map (C,H,W).
    pub(crate) fn new([channels, height, width]: [usize; 3]) -> Self {
        Self {
            channels,
            height,
            width,
        }
    }

    /// (C,H,W).
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    /// Values of the map as (C,H,W).
    #[must_use]
    pub fn planar_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Values of the map in the internal layout, including channels that fill up a block.
    #[must_use]
    pub fn internal_len(&self) -> usize {
        self.pixels() * UNIT
    }

    /// Pixels of one channel.
    pub(crate) fn plane(&self) -> usize {
        self.height * self.width
    }

    /// Pixels of 8 channels.
    pub(crate) fn pixels(&self) -> usize {
        self.channels.div_ceil(UNIT) * self.plane()
    }

    /// Where value `i` of the internal layout stands in (C,H,W); `None` for what fills up a block.
    #[must_use]
    pub fn planar_index(&self, i: usize) -> Option<usize> {
        let plane = self.plane();
        let (pixel, lane) = (i / UNIT, i % UNIT);
        let channel = pixel / plane * UNIT + lane;
        (channel < self.channels).then(|| channel * plane + pixel % plane)
    }

    /// From (N,C,H,W) to the internal layout, any number of images.
    ///
    /// # Errors
    /// [`ShapeError`] when the lengths do not fit together.
    pub fn to_internal(&self, planar: &[f32], internal: &mut [f32]) -> Result<(), ShapeError> {
        self.check_lengths(planar.len(), internal.len())?;
        for (from, to) in planar
            .chunks_exact(self.planar_len())
            .zip(internal.chunks_exact_mut(self.internal_len()))
        {
            let (pixels, _) = to.as_chunks_mut::<UNIT>();
            self.read_planar(from, pixels);
        }
        Ok(())
    }

    /// From the internal layout to (N,C,H,W).
    ///
    /// # Errors
    /// [`ShapeError`] when the lengths do not fit together.
    pub fn to_planar(&self, internal: &[f32], planar: &mut [f32]) -> Result<(), ShapeError> {
        self.check_lengths(planar.len(), internal.len())?;
        for (to, from) in planar
            .chunks_exact_mut(self.planar_len())
            .zip(internal.chunks_exact(self.internal_len()))
        {
            let (pixels, _) = from.as_chunks::<UNIT>();
            self.write_planar(pixels, to);
        }
        Ok(())
    }

    /// Weights (out, in) of a dense layer whose inputs are (C,H,W), as `[in][out]` in the internal order;
    /// inputs that fill up a block have weights 0.
    ///
    /// # Errors
    /// [`ShapeError`] when the lengths do not fit together.
    pub fn permute_inputs(
        &self,
        outputs: usize,
        weight: &[f32],
        permuted: &mut [f32],
    ) -> Result<(), ShapeError> {
        self.check_dense(outputs, weight.len(), permuted.len())?;
        for (i, row) in permuted.chunks_exact_mut(outputs).enumerate() {
            match self.planar_index(i) {
                Some(k) => {
                    for (o, value) in row.iter_mut().enumerate() {
                        *value = weight[o * self.planar_len() + k];
                    }
                }
                None => row.fill(0.0),
            }
        }
        Ok(())
    }

    /// The inverse of [`Self::permute_inputs`].
    ///
    /// # Errors
    /// [`ShapeError`] when the lengths do not fit together.
    pub fn restore_inputs(
        &self,
        outputs: usize,
        permuted: &[f32],
        weight: &mut [f32],
    ) -> Result<(), ShapeError> {
        self.check_dense(outputs, weight.len(), permuted.len())?;
        for (i, row) in permuted.chunks_exact(outputs).enumerate() {
            if let Some(k) = self.planar_index(i) {
                for (o, value) in row.iter().enumerate() {
                    weight[o * self.planar_len() + k] = *value;
                }
            }
        }
        Ok(())
    }

    fn check_dense(
        &self,
        outputs: usize,
        weight: usize,
        permuted: usize,
    ) -> Result<(), ShapeError> {
        check_len(
            "permute weights",
            "weight",
            outputs * self.planar_len(),
            weight,
        )?;
        check_len(
            "permute weights",
            "permuted",
            outputs * self.internal_len(),
            permuted,
        )
    }

    fn check_lengths(&self, planar: usize, internal: usize) -> Result<(), ShapeError> {
        let images = planar / self.planar_len();
        check_len("layout", "planar", images * self.planar_len(), planar)?;
        check_len("layout", "internal", images * self.internal_len(), internal)
    }

    pub(crate) fn read_planar(&self, from: &[f32], to: &mut [Pixel]) {
        let plane = self.plane();
        let last = self.channels % UNIT;
        if last != 0 {
            to[self.channels / UNIT * plane..].fill([0.0; UNIT]);
        }
        for (channel, from) in from.chunks_exact(plane).enumerate() {
            let to = &mut to[channel / UNIT * plane..][..plane];
            for (to, &from) in to.iter_mut().zip(from) {
                to[channel % UNIT] = from;
            }
        }
    }

    pub(crate) fn write_planar(&self, from: &[Pixel], to: &mut [f32]) {
        let plane = self.plane();
        for (channel, to) in to.chunks_exact_mut(plane).enumerate() {
            let from = &from[channel / UNIT * plane..][..plane];
            for (to, from) in to.iter_mut().zip(from) {
                *to = from[channel % UNIT];
            }
        }
    }
}
