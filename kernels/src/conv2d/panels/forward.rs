//! Forward pass, block by block: pack the patches, multiply them with all weights, pool.

use super::blocks::Grid;
use super::panel::{Pack, Patches};
use super::{Panels, Scratch};
use crate::ShapeError;
use crate::conv2d::map::{Map, ToPixels};
use crate::conv2d::pooling::{Epilogue, PoolWindows};
use crate::product::{SmallProduct, Strided};
use crate::simd::{Kernel, Pixel, Simd, UNIT};

/// Pixels of a block, about: one row of windows of 2 x 2.
pub(super) const PIXELS: usize = 128;
/// Taps of a panel, at most: 64 KiB.
const TAPS: usize = 128;

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
        let grid = Grid::new(pool, PIXELS);
        let largest = grid.largest_pitch(S::LANES);
        scratch.panel.reserve::<f32>(TAPS * largest)?;
        scratch.outputs.reserve::<f32>(filters * largest)?;
        scratch.line.reserve::<Pixel>(largest)?;
        let planes = super::planes(simd, conv, input, &mut scratch.planes)?;
        for block in grid.blocks() {
            let pitch = block.pitch(S::LANES);
            let outputs = scratch.outputs.slice::<f32>(filters * pitch);
            for first in (0..patch_len).step_by(TAPS) {
                let taps = first..(first + TAPS).min(patch_len);
                let depth = taps.len();
                let panel = scratch.panel.slice(depth * pitch);
                simd.vectorize(Pack {
                    patches: Patches { conv, block, taps },
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
            let line = scratch.line.slice::<Pixel>(pitch);
            for (channels, outputs) in outputs.chunks(UNIT * pitch).enumerate() {
                simd.vectorize(ToPixels {
                    planes: outputs,
                    plane: pitch,
                    pixels: &mut *line,
                });
                let row = block.origin[0] / pool.window_height;
                let column = block.origin[1] / pool.window_width;
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
