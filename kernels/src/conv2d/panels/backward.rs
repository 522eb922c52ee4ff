//! Backward pass: the gradient of a block of outputs, expanded into panels, is used for both gradients.

use super::blocks::{Block, GROUP, blocks};
use super::dot::{Dot, DotGroup};
use super::panel::{AddBack, Pack, Patches};
use super::{Panels, Scratch};
use crate::ShapeError;
use crate::conv2d::map::{Map, ToPixels, ToPlanes};
use crate::conv2d::pooling::{AddAlive, ExpandWindows, PooledGradient};
use crate::product::{SmallProduct, Strided};
use crate::simd::{Kernel, Pixel, Simd, UNIT};

/// Pixels of a block, about: the four rows of outputs and six of patches that [`Dot`] multiplies at once are
/// 20 KiB, most of a first-level cache.
const BLOCK: usize = 8 * GROUP;
/// Taps of the panels of a block, at most: 128 KiB.
const TAPS: usize = 64;
/// Values of the panel of one group of patches. The same rows of all groups are in use at once: with a power
/// of two between them they would crowd into a few sets of the cache.
const PANEL: usize = (TAPS + 6) * GROUP;

/// The same of outputs.
fn outputs_len(filters: usize) -> usize {
    (filters.next_multiple_of(8) + 4) * GROUP
}

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
            scratch,
            ..
        } = self;
        let filters = conv.out_channels;
        let patch_len = conv.patch_len();
        let plane = conv.height * conv.width;
        let most = blocks(pool, BLOCK).map(|block| block.groups()).max();
        let most = most.unwrap_or(0);
        scratch
            .outputs
            .reserve::<f32>(most * outputs_len(filters))?;
        scratch.line.reserve::<Pixel>(most * GROUP)?;
        scratch.panel.reserve::<f32>(most * PANEL)?;
        scratch.products.reserve::<f32>(TAPS * GROUP)?;
        scratch.gradient_planes.reserve::<f32>(conv.input_len())?;
        if self.first {
            scratch.sums.clear();
            scratch.sums.resize(conv.weight_len(), 0.0);
        }
        let outputs = scratch.outputs.slice::<f32>(most * outputs_len(filters));
        let line = scratch.line.slice::<Pixel>(most * GROUP);
        let planes = super::planes(simd, conv, self.input, &mut scratch.planes)?;
        let wanted = self.input_gradient.is_some();
        let gradient_planes = scratch.gradient_planes.slice::<f32>(conv.input_len());
        if wanted {
            gradient_planes.fill(0.0);
        }
        simd.vectorize(AddAlive {
            gradient: self.gradient,
            pixels: pool.out_height() * pool.out_width(),
            bias: self.bias,
        });
        for block in blocks(pool, BLOCK) {
            expand(simd, self.panels, &block, self.gradient, line, outputs);
            for first in (0..patch_len).step_by(TAPS) {
                let taps = first..(first + TAPS).min(patch_len);
                let panels = scratch.panel.slice::<f32>(most * PANEL);
                for (group, panel) in panels
                    .chunks_exact_mut(PANEL)
                    .enumerate()
                    .take(block.groups())
                {
                    block.runs(conv, group, &mut scratch.runs);
                    let pitch = block.pitch(group, S::LANES);
                    simd.vectorize(Pack {
                        patches: Patches {
                            conv,
                            runs: &scratch.runs,
                            pitch,
                        },
                        taps: taps.clone(),
                        planes,
                        panel: &mut panel[..taps.len() * pitch],
                    });
                }
                let groups: Vec<_> = (0..block.groups())
                    .map(|group| DotGroup {
                        a: &outputs[group * outputs_len(filters)..],
                        b: &panels[group * PANEL..],
                        pitch: block.pitch(group, S::LANES),
                    })
                    .collect();
                simd.vectorize(Dot {
                    rows: filters,
                    columns: taps.len(),
                    groups: &groups,
                    c: &mut scratch.sums[first..],
                    c_row: patch_len,
                });
            }
            if !wanted {
                continue;
            }
            for group in 0..block.groups() {
                block.runs(conv, group, &mut scratch.runs);
                let pitch = block.pitch(group, S::LANES);
                for first in (0..patch_len).step_by(TAPS) {
                    let taps = first..(first + TAPS).min(patch_len);
                    let products = scratch.products.slice::<f32>(taps.len() * pitch);
                    simd.vectorize(SmallProduct {
                        rows: taps.len(),
                        depth: filters,
                        vectors: pitch / S::LANES,
                        a: Strided {
                            data: &weight[first..],
                            row: 1,
                            depth: patch_len,
                        },
                        b: bytemuck::cast_slice::<_, S::V>(
                            &outputs[group * outputs_len(filters)..][..filters * pitch],
                        ),
                        c: bytemuck::cast_slice_mut(products),
                        accumulate: false,
                    });
                    simd.vectorize(AddBack {
                        patches: Patches {
                            conv,
                            runs: &scratch.runs,
                            pitch,
                        },
                        taps,
                        panel: products,
                        planes: &mut *gradient_planes,
                    });
                }
            }
        }
        if let Some(pixels) = self.input_gradient {
            simd.vectorize(ToPixels {
                planes: gradient_planes,
                plane,
                pixels,
            });
        }
        Ok(())
    }
}

/// Gradient of the outputs of a block, [group][o][slot], 0 in slots without pixel.
#[inline(always)]
fn expand<S: Simd>(
    simd: S,
    panels: &Panels,
    block: &Block,
    gradient: PooledGradient<'_>,
    line: &mut [Pixel],
    outputs: &mut [f32],
) {
    let (conv, pool) = (&panels.conv, &panels.pool);
    let filters = conv.out_channels;
    let [row, column] = block.origin;
    let windows = block.columns / pool.window_width;
    for channels in 0..filters.div_ceil(UNIT) {
        for (i, line) in line
            .chunks_exact_mut(block.columns)
            .take(block.rows)
            .enumerate()
        {
            let window_row = (row + i) / pool.window_height;
            let first = (channels * pool.out_height() + window_row) * pool.out_width()
                + column / pool.window_width;
            simd.vectorize(ExpandPixels {
                values: &gradient.values[first..first + windows],
                codes: &gradient.codes[first..first + windows],
                first_code: (i % pool.window_height * pool.window_width) as u8,
                window_columns: pool.window_width,
                line,
            });
        }
        for group in 0..block.groups() {
            let pitch = block.pitch(group, S::LANES);
            let pixels = &mut line[group * GROUP..][..pitch];
            pixels[block.group_pixels(group)..].fill([0.0; UNIT]);
            let first = channels * UNIT;
            let last = filters.min(first + UNIT);
            simd.vectorize(ToPlanes {
                pixels,
                plane: pitch,
                planes: &mut outputs[group * outputs_len(filters)..][first * pitch..last * pitch],
            });
        }
    }
}

/// [`ExpandWindows`] of one block of 8 channels.
struct ExpandPixels<'a> {
    values: &'a [Pixel],
    codes: &'a [crate::conv2d::pooling::Codes],
    first_code: u8,
    window_columns: usize,
    line: &'a mut [Pixel],
}

impl<S: Simd> Kernel<S> for ExpandPixels<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let line: &mut [<S::Half as Simd>::V] = bytemuck::cast_slice_mut(self.line);
        ExpandWindows {
            values: [self.values; 2],
            codes: [self.codes; 2],
            first_code: self.first_code,
            window_columns: self.window_columns,
            line,
        }
        .run(simd.half());
    }
}
