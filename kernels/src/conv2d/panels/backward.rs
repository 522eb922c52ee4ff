//! Backward pass, block by block: the gradient of the outputs is expanded once and used for both gradients.

use super::blocks::{Block, Grid};
use super::dot::Dot;
use super::panel::{AddBack, Pack, Patches};
use super::{Panels, Scratch};
use crate::ShapeError;
use crate::conv2d::map::{Map, ToPixels, ToPlanes};
use crate::conv2d::pooling::{AddAlive, Codes, ExpandWindows, PooledGradient};
use crate::product::{SmallProduct, Strided};
use crate::simd::{Kernel, Pixel, Simd, UNIT};

/// Pixels of a block, about: the three rows of outputs and eight of patches that [`Dot`] multiplies at once
/// are 22 KiB, most of a first-level cache.
pub(super) const PIXELS: usize = 512;
/// Taps of a panel, at most: 64 KiB.
const TAPS: usize = 32;

/// The arguments of one backward pass.
pub(crate) struct Backward<'a> {
    pub(crate) panels: &'a Panels,
    /// (O,C,R,S).
    pub(crate) weight: &'a [f32],
    pub(crate) input: Map<'a>,
    pub(crate) gradient: PooledGradient<'a>,
    /// Overwritten.
    pub(crate) input_gradient: Option<&'a mut [Pixel]>,
    /// Added to; whole units of 8 channels.
    pub(crate) bias: &'a mut [Pixel],
    /// Holds the sums of the weight gradient between the images of a chunk.
    pub(crate) scratch: &'a mut Scratch,
    /// This is the first image of its chunk.
    pub(crate) first: bool,
}

impl<S: Simd> Kernel<S> for Backward<'_> {
    type Output = Result<(), ShapeError>;

    #[inline(always)]
    fn run(self, simd: S) -> Result<(), ShapeError> {
        let Self {
            panels: Panels { conv, pool },
            weight,
            gradient,
            scratch,
            ..
        } = self;
        let filters = conv.out_channels;
        let patch_len = conv.patch_len();
        let grid = Grid::new(pool, PIXELS);
        let largest = grid.largest_pitch(S::LANES);
        scratch.outputs.reserve::<f32>(filters * largest)?;
        scratch.line.reserve::<Pixel>(largest)?;
        scratch.panel.reserve::<f32>(TAPS * largest)?;
        if self.first {
            scratch.sums.clear();
            scratch.sums.resize(conv.weight_len(), 0.0);
        }
        scratch.bias.clear();
        scratch.bias.resize(filters.div_ceil(UNIT), [0.0; UNIT]);
        let planes = super::planes(simd, conv, self.input, &mut scratch.planes)?;
        let mut gradient_planes = None;
        if self.input_gradient.is_some() {
            scratch.gradient_planes.reserve::<f32>(conv.input_len())?;
            let planes = scratch.gradient_planes.slice::<f32>(conv.input_len());
            planes.fill(0.0);
            gradient_planes = Some(planes);
        }
        for block in grid.blocks() {
            let pitch = block.pitch(S::LANES);
            let outputs = scratch.outputs.slice::<f32>(filters * pitch);
            let line = scratch.line.slice::<Pixel>(pitch);
            simd.vectorize(AddAlive {
                gradient,
                map: [pool.out_height(), pool.out_width()],
                origin: [
                    block.origin[0] / pool.window_height,
                    block.origin[1] / pool.window_width,
                ],
                windows: [
                    block.rows / pool.window_height,
                    block.columns / pool.window_width,
                ],
                sums: &mut scratch.bias,
            });
            for (channels, outputs) in outputs.chunks_mut(UNIT * pitch).enumerate() {
                simd.vectorize(ExpandBlock {
                    panels: self.panels,
                    block,
                    gradient,
                    channels,
                    line: &mut *line,
                });
                simd.vectorize(ToPlanes {
                    pixels: line,
                    plane: pitch,
                    planes: outputs,
                });
            }
            for first in (0..patch_len).step_by(TAPS) {
                let taps = first..(first + TAPS).min(patch_len);
                let count = taps.len();
                let panel = scratch.panel.slice::<f32>(count * pitch);
                let patches = Patches { conv, block, taps };
                simd.vectorize(Pack {
                    patches: patches.clone(),
                    planes,
                    panel: &mut *panel,
                });
                simd.vectorize(Dot {
                    rows: filters,
                    columns: count,
                    a: outputs,
                    b: panel,
                    pitch,
                    c: &mut scratch.sums[first..],
                    c_row: patch_len,
                });
                let Some(planes) = &mut gradient_planes else {
                    continue;
                };
                simd.vectorize(SmallProduct {
                    rows: count,
                    depth: filters,
                    vectors: pitch / S::LANES,
                    a: Strided {
                        data: &weight[first..],
                        row: 1,
                        depth: patch_len,
                    },
                    b: bytemuck::cast_slice::<_, S::V>(outputs),
                    c: bytemuck::cast_slice_mut(panel),
                    accumulate: false,
                });
                simd.vectorize(AddBack {
                    patches,
                    panel,
                    planes,
                });
            }
        }
        for (bias, sums) in self.bias.iter_mut().zip(&scratch.bias) {
            for (bias, sum) in bias.iter_mut().zip(sums) {
                *bias += *sum as f32;
            }
        }
        if let (Some(pixels), Some(planes)) = (self.input_gradient, gradient_planes) {
            simd.vectorize(ToPixels {
                planes,
                plane: conv.height * conv.width,
                pixels,
            });
        }
        Ok(())
    }
}

/// Gradient of the outputs of a block in 8 channels, 0 where it is filled up to whole vectors.
struct ExpandBlock<'a> {
    panels: &'a Panels,
    block: Block,
    gradient: PooledGradient<'a>,
    /// Block of channels.
    channels: usize,
    /// Overwritten.
    line: &'a mut [Pixel],
}

impl<S: Simd> Kernel<S> for ExpandBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let pool = &self.panels.pool;
        let [row, column] = self.block.origin;
        let columns = self.block.columns;
        let windows = columns / pool.window_width;
        let (pixels, rest) = self.line.split_at_mut(self.block.rows * columns);
        rest.fill([0.0; UNIT]);
        let pixels: &mut [<S::Half as Simd>::V] = bytemuck::cast_slice_mut(pixels);
        for (i, line) in pixels.chunks_exact_mut(columns).enumerate() {
            let window_row = (row + i) / pool.window_height;
            let first = (self.channels * pool.out_height() + window_row) * pool.out_width()
                + column / pool.window_width;
            let values: &[Pixel] = &self.gradient.values[first..first + windows];
            let codes: &[Codes] = &self.gradient.codes[first..first + windows];
            let row = i % pool.window_height;
            ExpandWindows {
                values: [values; 2],
                codes: [codes; 2],
                window: [pool.window_height, pool.window_width],
                rows: row..row + 1,
                line,
                pitch: 0,
            }
            .run(simd.half());
        }
    }
}
