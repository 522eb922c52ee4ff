//! Direct convolution, blocked for registers: every product of the definition, nothing copied.
//!
//! Forward, `y[o,i,j] = b[o] + sum_crs w[o,c,r,s] x[c,i+r,j+s]`: the lanes of a vector are output channels, see
//! [`forward`]. Backward, the gradient of `y` is 0 except at the maximum of each pooling window that is
//! alive, at most one cell of four for windows of 2 x 2, so the gradients go over these cells one by one:
//! with `g` the gradient at (o,i,j), `dw[o,c,r,s] += g x[c,i+r,j+s]` and `dx[c,i+r,j+s] += g w[o,c,r,s]`. The
//! lanes are taps of the kernel, see [`backward`].
//!
//! Maps are read as *cells*: `N` channels that stand side by side, `N = 8` for pixels and `N = 1` for
//! planes. One row of a kernel then covers `S N` contiguous numbers of the map.
//!
//! Rounding: that of a sum in order, `gamma(terms)` times the sum of the magnitudes of all terms.

pub(crate) mod backward;
pub(crate) mod forward;
pub(crate) mod tap_tiles;

use crate::buffer::Buffer;
use crate::shape::{Conv2dShape, MaxPool2dShape};
use crate::simd::UNIT;
use backward::Entry;

/// Everything that a direct convolution needs to know, except the weights.
#[derive(Debug, Clone)]
pub(crate) struct Direct {
    pub(crate) conv: Conv2dShape,
    pub(crate) pool: MaxPool2dShape,
    planes: bool,
}

impl Direct {
    /// `input_gradient`: it will be wanted; it is made in the layout of pixels only.
    pub(crate) fn new(conv: Conv2dShape, pool: MaxPool2dShape, input_gradient: bool) -> Self {
        let taps = |channels_per_cell: usize| {
            let rows = conv.in_channels.div_ceil(channels_per_cell) * conv.kernel_height;
            rows * (conv.kernel_width * channels_per_cell).div_ceil(UNIT)
        };
        Self {
            conv,
            pool,
            planes: !input_gradient && taps(1) < taps(UNIT),
        }
    }

    /// The input is read as planes: few channels would leave most lanes of a pixel empty.
    pub(crate) fn reads_planes(&self) -> bool {
        self.planes
    }

    /// Channels that stand side by side in the input.
    pub(crate) fn channels_per_cell(&self) -> usize {
        if self.planes { 1 } else { UNIT }
    }

    /// Blocks of 8 output channels.
    pub(crate) fn out_blocks(&self) -> usize {
        self.conv.out_channels.div_ceil(UNIT)
    }
}

/// Memory of one thread.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) line: Buffer,
    /// Sums of the weight gradient over the images of a chunk, in tiles of taps.
    pub(crate) sums: Buffer,
    pub(crate) entries: Vec<Entry>,
}

impl Scratch {
    /// Fills everything with NaN, for tests.
    pub(crate) fn poison(&mut self) {
        self.line.poison();
        self.sums.poison();
        self.entries.fill(Entry::POISON);
    }
}
