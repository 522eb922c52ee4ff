//! Input gradient as a convolution of its own, for stages that leave few outputs without gradient.
//!
//! `dx[c,i,j] = sum_ors w[o,c,r,s] dy[o,i-r,j-s]`, with `dy` 0 outside its map: with `R - 1` rows and `S - 1` columns of
//! zeros around `dy` this is the forward pass with in and out channels exchanged and the kernel turned
//! around, `dx[c,i,j] = sum_ors w[o,c,R-1-r,S-1-s] dy'[o,i+r,j+s]`.

use super::Direct;
use super::forward::{Forward, packed_len};
use crate::ShapeError;
use crate::buffer::Buffer;
use crate::conv2d::map::Map;
use crate::conv2d::pooling::{Codes, Epilogue, ExpandWindows, PooledGradient};
use crate::shape::{Conv2dShape, MaxPool2dShape};
use crate::simd::{Kernel, Pixel, Simd, UNIT};

/// The convolution that makes the input gradient.
pub(crate) fn transposed(conv: &Conv2dShape) -> Result<Direct, ShapeError> {
    let [rows, columns] = [conv.kernel_height - 1, conv.kernel_width - 1];
    let conv = Conv2dShape::new(
        [conv.out_channels, conv.height + rows, conv.width + columns],
        conv.in_channels,
        [conv.kernel_height, conv.kernel_width],
    )?;
    let pool = MaxPool2dShape::new(conv.output(), [1, 1])?;
    Ok(Direct::forward_only(conv, pool))
}

/// Weights (O,C,R,S) of a convolution as those (C,O,R,S) of the one that makes its input gradient.
pub(crate) fn transposed_weight(conv: &Conv2dShape, weight: &[f32]) -> Vec<f32> {
    let taps = conv.kernel_height * conv.kernel_width;
    let mut result = Vec::with_capacity(weight.len());
    for c in 0..conv.in_channels {
        for o in 0..conv.out_channels {
            let kernel = &weight[(o * conv.in_channels + c) * taps..][..taps];
            result.extend(kernel.iter().rev());
        }
    }
    result
}

/// The arguments for one image.
pub(crate) struct InputGradient<'a> {
    pub(crate) conv: &'a Conv2dShape,
    pub(crate) pool: &'a MaxPool2dShape,
    pub(crate) transposed: &'a Direct,
    /// Packed for `transposed`.
    pub(crate) weights: &'a [f32],
    pub(crate) gradient: PooledGradient<'a>,
    /// Overwritten.
    pub(crate) map: &'a mut [Pixel],
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) line: &'a mut Buffer,
}

/// Memory of one thread.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Gradient of the outputs with zeros around it.
    padded: Buffer,
    /// Positions of the maxima in windows of one cell, which nobody asks for.
    codes: Vec<Codes>,
}

impl Scratch {
    /// Fills everything with NaN, for tests.
    pub(super) fn poison(&mut self) {
        self.padded.poison();
        self.codes.fill([77; UNIT]);
    }
}

impl<S: Simd> Kernel<S> for InputGradient<'_> {
    type Output = Result<(), ShapeError>;

    #[inline(always)]
    fn run(self, simd: S) -> Result<(), ShapeError> {
        let padded = &self.transposed.conv;
        let len = padded.in_channels.div_ceil(UNIT) * padded.height * padded.width;
        self.scratch.padded.reserve::<Pixel>(len)?;
        let cells = self.scratch.padded.slice::<Pixel>(len);
        simd.vectorize(Pad {
            conv: self.conv,
            pool: self.pool,
            gradient: self.gradient,
            cells: &mut *cells,
        });
        self.scratch.codes.resize(self.map.len(), [0; UNIT]);
        let weights = &self.weights[..packed_len(self.transposed)];
        let blocks = self.conv.in_channels.div_ceil(UNIT);
        simd.vectorize(Forward {
            direct: self.transposed,
            weights,
            input: Map::Pixels(cells),
            epilogue: Epilogue {
                bias: &vec![[0.0; UNIT]; blocks],
                relu: false,
                values: self.map,
                codes: &mut self.scratch.codes,
            },
            line: self.line,
        })
    }
}

/// Gradient of the outputs from the pooled one, with zeros around it.
struct Pad<'a> {
    conv: &'a Conv2dShape,
    pool: &'a MaxPool2dShape,
    gradient: PooledGradient<'a>,
    /// Overwritten.
    cells: &'a mut [Pixel],
}

impl<S: Simd> Kernel<S> for Pad<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let (conv, pool) = (self.conv, self.pool);
        let margins = [conv.kernel_height - 1, conv.kernel_width - 1];
        let [height, width] = [conv.height + margins[0], conv.width + margins[1]];
        let cells: &mut [<S::Half as Simd>::V] = bytemuck::cast_slice_mut(self.cells);
        cells.fill(simd.half().splat(0.0));
        for (block, cells) in cells.chunks_exact_mut(height * width).enumerate() {
            for i in 0..pool.out_height() * pool.window_height {
                let row = block * pool.out_height() + i / pool.window_height;
                let windows = row * pool.out_width()..(row + 1) * pool.out_width();
                let start = (margins[0] + i) * width + margins[1];
                let columns = pool.out_width() * pool.window_width;
                let row = i % pool.window_height;
                ExpandWindows {
                    values: [&self.gradient.values[windows.clone()]; 2],
                    codes: [&self.gradient.codes[windows]; 2],
                    window: [pool.window_height, pool.window_width],
                    rows: row..row + 1,
                    line: &mut cells[start..start + columns],
                    pitch: 0,
                }
                .run(simd.half());
            }
        }
    }
}
