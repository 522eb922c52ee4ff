//! Forward pass: pack 64 patches, multiply them with all weights, pool when a block is complete.

use super::Panels;
use super::Scratch;
use super::blocks::{GROUP, blocks};
use super::panel::{Pack, Patches};
use crate::ShapeError;
use crate::conv2d::map::{Map, ToPixels};
use crate::conv2d::pooling::{Epilogue, PoolWindows};
use crate::product::{SmallProduct, Strided};
use crate::simd::{Kernel, Pixel, Simd, UNIT};

/// Pixels of a block, about: two groups, so that the two rows of windows of 2 x 2 fill one each.
const BLOCK: usize = 2 * GROUP;
/// Taps of a panel, at most: 256 rows of 64 pixels are 64 KiB (tried: 128 and 512, the same).
const TAPS: usize = 256;

/// The arguments of one forward pass.
pub(crate) struct Forward<'a> {
    pub(crate) panels: &'a Panels,
    /// (O,C,R,S).
    pub(crate) weight: &'a [f32],
    pub(crate) input: Map<'a>,
    pub(crate) epilogue: Epilogue<'a>,
    pub(crate) scratch: &'a mut Scratch,
}

impl<S: Simd> Kernel<S> for Forward<'_> {
    type Output = Result<(), ShapeError>;

    #[inline(always)]
    fn run(mut self, simd: S) -> Result<(), ShapeError> {
        let Self {
            panels: Panels { conv, pool },
            weight,
            input,
            scratch,
            ..
        } = self;
        let filters = conv.out_channels;
        let patch_len = conv.patch_len();
        let most = blocks(pool, BLOCK).map(|block| block.groups()).max();
        let most = most.unwrap_or(0);
        scratch.panel.reserve::<f32>(TAPS * GROUP)?;
        scratch.outputs.reserve::<f32>(most * filters * GROUP)?;
        scratch.line.reserve::<Pixel>(most * GROUP)?;
        let planes = super::planes(simd, conv, input, &mut scratch.planes)?;
        let outputs = scratch.outputs.slice::<f32>(most * filters * GROUP);
        let line = scratch.line.slice::<Pixel>(most * GROUP);
        for block in blocks(pool, BLOCK) {
            for group in 0..block.groups() {
                block.runs(conv, group, &mut scratch.runs);
                let pitch = block.pitch(group, S::LANES);
                let outputs = &mut outputs[group * filters * GROUP..][..filters * pitch];
                for first in (0..patch_len).step_by(TAPS) {
                    let taps = first..(first + TAPS).min(patch_len);
                    let depth = taps.len();
                    let panel = scratch.panel.slice(depth * pitch);
                    simd.vectorize(Pack {
                        patches: Patches {
                            conv,
                            runs: &scratch.runs,
                            pitch,
                        },
                        taps,
                        planes,
                        panel: &mut *panel,
                    });
                    simd.vectorize(SmallProduct {
                        rows: filters,
                        depth,
                        vectors: pitch / S::LANES,
                        a: Strided {
                            data: &weight[first..],
                            row: patch_len,
                            depth: 1,
                        },
                        b: bytemuck::cast_slice::<_, S::V>(panel),
                        c: bytemuck::cast_slice_mut(outputs),
                        accumulate: first > 0,
                    });
                }
            }
            for channels in 0..filters.div_ceil(UNIT) {
                for group in 0..block.groups() {
                    let pitch = block.pitch(group, S::LANES);
                    let outputs = &outputs[group * filters * GROUP..][..filters * pitch];
                    let first = channels * UNIT;
                    let last = filters.min(first + UNIT);
                    simd.vectorize(ToPixels {
                        planes: &outputs[first * pitch..last * pitch],
                        plane: pitch,
                        pixels: &mut line[group * GROUP..][..pitch],
                    });
                }
                let [row, column] = block.origin;
                let row = row / pool.window_height;
                let column = column / pool.window_width;
                for i in 0..block.rows / pool.window_height {
                    let first = (channels * pool.out_height() + row + i) * pool.out_width();
                    simd.vectorize(PoolPixels {
                        line: &line[i * pool.window_height * block.columns..],
                        pitch: block.columns,
                        window: [pool.window_height, pool.window_width],
                        channels,
                        target: (first + column, block.columns / pool.window_width),
                        epilogue: &mut self.epilogue,
                    });
                }
            }
        }
        Ok(())
    }
}

/// [`PoolWindows`] of one block of 8 channels.
struct PoolPixels<'a, 'b> {
    line: &'a [Pixel],
    pitch: usize,
    window: [usize; 2],
    channels: usize,
    target: (usize, usize),
    epilogue: &'a mut Epilogue<'b>,
}

impl<S: Simd> Kernel<S> for PoolPixels<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let line: &[<S::Half as Simd>::V] = bytemuck::cast_slice(self.line);
        PoolWindows {
            line,
            pitch: self.pitch,
            window: self.window,
            bias: &[self.epilogue.bias[self.channels]; 2],
            relu: self.epilogue.relu,
            targets: [self.target, (0, 0)],
            values: &mut *self.epilogue.values,
            codes: &mut *self.epilogue.codes,
        }
        .run(simd.half());
    }
}
