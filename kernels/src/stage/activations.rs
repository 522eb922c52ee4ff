//! What the forward pass of a stack keeps.

use super::fused::FusedConvStage;
use crate::ShapeError;
use crate::buffer::Buffer;
use crate::conv2d::pooling::Codes;
use crate::shape::check_len;
use crate::simd::{Pixel, UNIT};

/// What the forward pass keeps for the backward pass: the pooled map and the codes of every stage.
///
/// Reused from step to step; it grows to the largest mini-batch seen.
#[derive(Debug, Default)]
pub struct StackActivations {
    images: usize,
    stages: Vec<StageActivations>,
}

/// What one stage keeps.
#[derive(Debug, Default)]
struct StageActivations {
    values: Buffer,
    codes: Buffer,
    /// Pixels of one image.
    pixels: usize,
}

impl StackActivations {
    /// Output of the last stage, (N, internal layout): see [`ConvStack::output`](super::ConvStack::output).
    #[must_use]
    pub fn features(&self) -> &[f32] {
        self.stages.last().map_or(&[], |stage| {
            stage.values.as_slice(self.images * stage.pixels * UNIT)
        })
    }

    /// Makes room for what `stages` keep of `images` images.
    pub(super) fn reserve(
        &mut self,
        images: usize,
        stages: &[FusedConvStage],
    ) -> Result<(), ShapeError> {
        self.images = images;
        self.stages
            .resize_with(stages.len(), StageActivations::default);
        for (kept, stage) in self.stages.iter_mut().zip(stages) {
            kept.pixels = stage.shape.output().pixels();
            let len = images * kept.pixels;
            kept.values.reserve::<Pixel>(len)?;
            kept.codes.reserve::<Codes>(len)?;
        }
        Ok(())
    }

    /// Fails unless the last forward pass was that of `stages`.
    pub(super) fn check_stages(
        &self,
        operation: &'static str,
        stages: &[FusedConvStage],
    ) -> Result<(), ShapeError> {
        check_len(operation, "activations", stages.len(), self.stages.len())?;
        for (kept, stage) in self.stages.iter().zip(stages) {
            let pixels = stage.shape.output().pixels();
            check_len(operation, "activations of a stage", pixels, kept.pixels)?;
        }
        Ok(())
    }

    /// Images of the last forward pass.
    pub(super) fn images(&self) -> usize {
        self.images
    }

    /// Where each stage writes the pixels and codes of each image: a list of stages per image.
    pub(super) fn by_image(&mut self) -> Vec<Vec<(&mut [Pixel], &mut [Codes])>> {
        let mut images: Vec<_> = (0..self.images).map(|_| Vec::new()).collect();
        for stage in &mut self.stages {
            let len = self.images * stage.pixels;
            let values = stage.values.slice::<Pixel>(len);
            let codes = stage.codes.slice::<Codes>(len);
            let kept = values
                .chunks_exact_mut(stage.pixels)
                .zip(codes.chunks_exact_mut(stage.pixels));
            for (image, kept) in images.iter_mut().zip(kept) {
                image.push(kept);
            }
        }
        images
    }

    /// Pixels and codes that stage `stage` keeps of image `image`.
    pub(super) fn image(&self, stage: usize, image: usize) -> (&[Pixel], &[Codes]) {
        let kept = &self.stages[stage];
        let range = image * kept.pixels..(image + 1) * kept.pixels;
        let len = self.images * kept.pixels;
        (
            &kept.values.as_slice::<Pixel>(len)[range.clone()],
            &kept.codes.as_slice::<Codes>(len)[range],
        )
    }

    /// Pixels and codes of the last stage, of all images.
    pub(super) fn last_mut(&mut self) -> (&mut [Pixel], &mut [Codes]) {
        let Some(stage) = self.stages.last_mut() else {
            return (&mut [], &mut []);
        };
        let len = self.images * stage.pixels;
        (stage.values.slice(len), stage.codes.slice(len))
    }

    /// What stage `stage` keeps: its pooled map (N, internal layout) and, alike, one code a window: the
    /// position of the maximum (row-major), or [`DEAD`](super::DEAD).
    ///
    /// # Panics
    /// When there is no such stage.
    #[must_use]
    pub fn stage(&self, stage: usize) -> (&[f32], &[u8]) {
        let stage = &self.stages[stage];
        let len = self.images * stage.pixels * UNIT;
        (stage.values.as_slice(len), stage.codes.as_slice(len))
    }

    /// Fills the memory with NaN and codes of no meaning, for tests.
    #[doc(hidden)]
    pub fn poison(&mut self) {
        for stage in &mut self.stages {
            stage.values.poison();
            stage.codes.poison();
        }
    }
}
