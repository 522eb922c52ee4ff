//! Convolution as a matrix product with patches that are packed where the product reads them.
//!
//! With `X(CRS,P)` the matrix whose column `p` holds the cells under the kernel at output pixel `p`
//! (Chellapilla, Puri & Simard 2006): `Y = W X + b`, `dW = dY X^T`, and `dX` is `W^T dY` added back to the cells
//! that the columns came from. The matrix `X` is R S times as large as the image and is never written: the
//! patches of a block of outputs go from the planes of the image straight into a *panel*, a row of pixels for
//! each of some `c,r,s`, that stays in the first two levels of cache while it is multiplied. `dY` is expanded
//! from the pooled gradient into rows of the same kind, and `W^T dY` is added to the image panel by panel.
//!
//! The lanes of all vectors are pixels, whatever the numbers of channels; a row of a panel is made of
//! pieces of rows of the image, copied as a whole. Pixels of narrow images run on from row to row.
//!
//! [`blocks`] cuts the output into blocks of whole pooling windows, [`panel`] packs and adds back,
//! [`dot`] is the product of the weight gradient, [`crate::product`] that of the others.

pub(crate) mod backward;
pub(crate) mod blocks;
pub(crate) mod dot;
pub(crate) mod forward;
pub(crate) mod panel;

use crate::ShapeError;
use crate::buffer::Buffer;
use crate::conv2d::map::{Map, ToPlanes};
use crate::conv2d::rates::Rates;
use crate::shape::{Conv2dShape, MaxPool2dShape};
use crate::simd::{Level, Simd, UNIT};
use blocks::Grid;

/// Everything that a convolution by panels needs to know, except the weights.
#[derive(Debug, Clone)]
pub(crate) struct Panels {
    pub(crate) conv: Conv2dShape,
    pub(crate) pool: MaxPool2dShape,
}

impl Panels {
    /// Nanoseconds of a training step on one image.
    pub(crate) fn estimate(
        conv: &Conv2dShape,
        pool: &MaxPool2dShape,
        level: Level,
        input_gradient: bool,
    ) -> f64 {
        let rates = Rates::of(level);
        let filters = conv.out_channels as f64;
        // Numbers of all panels, filled up to whole vectors, in units of 8.
        let numbers = |pixels: usize| {
            let slots: usize = Grid::new(pool, pixels)
                .blocks()
                .map(|block| block.pitch(level.lanes()))
                .sum();
            (slots * conv.patch_len()) as f64 / UNIT as f64
        };
        let forward = numbers(forward::PIXELS) * (filters * rates.panel + rates.pack);
        let mut per_number = filters * rates.dot + rates.pack;
        if input_gradient {
            per_number += filters * rates.panel + rates.add;
        }
        let backward = numbers(backward::PIXELS) * per_number;
        let outputs = conv.out_pixels() * conv.out_channels.div_ceil(UNIT);
        let inputs = conv.height * conv.width * conv.in_channels.div_ceil(UNIT);
        // Out of panels and into them; more where every cell is a window of its own.
        let cells = (1.9 + 4.0 / pool.window_len() as f64) * outputs as f64;
        let inputs = if input_gradient { inputs as f64 } else { 0.0 };
        forward + backward + (cells + inputs) * rates.cell + rates.call
    }
}

/// Memory of one thread.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The input as planes.
    pub(crate) planes: Buffer,
    /// The gradient of the input as planes.
    pub(crate) gradient_planes: Buffer,
    /// Patches, or products on their way back to the image.
    pub(crate) panel: Buffer,
    /// Outputs, or their gradient.
    pub(crate) outputs: Buffer,
    /// Pixels of 8 channels of a block.
    pub(crate) line: Buffer,
    /// Sums of the weight gradient over the images of a chunk, (O,C,R,S).
    pub(crate) sums: Vec<f32>,
    /// Sums of the bias gradient of an image.
    pub(crate) bias: Vec<[f64; UNIT]>,
}

impl Scratch {
    /// Fills everything with NaN, for tests.
    pub(crate) fn poison(&mut self) {
        for buffer in [
            &mut self.planes,
            &mut self.gradient_planes,
            &mut self.panel,
            &mut self.outputs,
            &mut self.line,
        ] {
            buffer.poison();
        }
        self.sums.fill(f32::NAN);
        self.bias.fill([f64::NAN; UNIT]);
    }
}

/// The input as planes, in `memory` if it is not already.
#[inline(always)]
fn planes<'a, S: Simd>(
    simd: S,
    conv: &Conv2dShape,
    input: Map<'a>,
    memory: &'a mut Buffer,
) -> Result<&'a [f32], ShapeError> {
    let pixels = match input {
        Map::Planes(planes) => return Ok(planes),
        Map::Pixels(pixels) => pixels,
    };
    memory.reserve::<f32>(conv.input_len())?;
    let planes = memory.slice(conv.input_len());
    simd.vectorize(ToPlanes {
        pixels,
        plane: conv.height * conv.width,
        planes: &mut *planes,
    });
    Ok(planes)
}
