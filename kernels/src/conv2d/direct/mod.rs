//! Direct convolution, blocked for registers: every product of the definition, nothing copied.
//!
//! Forward, `y[o,i,j] = b[o] + sum_crs w[o,c,r,s] x[c,i+r,j+s]`: the lanes of a vector are output channels, see
//! [`forward`]. Backward, there are two ways. After pooling, the gradient of `y` is 0 except at the maximum
//! of each window that is alive, at most one cell of four for windows of 2 x 2, and [`sparse`] goes over these
//! cells one by one. Without pooling most cells have a gradient: [`dense_weight`] and [`dense_input`] are
//! then faster; [`work`] estimates which.
//!
//! Maps are read as *cells*: `N` channels that stand side by side, `N = 8` for pixels and `N = 1` for
//! planes. One row of a kernel then covers `S N` contiguous numbers of the map.
//!
//! Rounding: `gamma(terms)` times the sum of the magnitudes of all terms; the weight gradient is added up
//! in blocks of 64 windows.

pub(crate) mod backward;
pub(crate) mod dense_input;
pub(crate) mod dense_weight;
pub(crate) mod forward;
pub(crate) mod sparse;
pub(crate) mod tap_tiles;
mod work;

use crate::ShapeError;
use crate::buffer::Buffer;
use crate::conv2d::rates::Rates;
use crate::shape::{Conv2dShape, MaxPool2dShape};
use crate::simd::{Level, UNIT};
use sparse::Entry;
use work::Work;

/// Everything that a direct convolution needs to know, except the weights.
#[derive(Debug, Clone)]
pub(crate) struct Direct {
    pub(crate) conv: Conv2dShape,
    pub(crate) pool: MaxPool2dShape,
    planes: bool,
    dense_weight_gradient: bool,
    /// The convolution that makes the input gradient; `None`: window by window.
    transposed: Option<Box<Direct>>,
}

/// Some rows and columns of the pooled map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    pub(crate) row: usize,
    pub(crate) column: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Direct {
    /// `input_gradient`: it will be wanted; it is made in the layout of pixels only.
    ///
    /// # Errors
    /// [`ShapeError`] when the map with zeros around it would not be addressable.
    pub(crate) fn new(
        conv: Conv2dShape,
        pool: MaxPool2dShape,
        level: Level,
        input_gradient: bool,
    ) -> Result<Self, ShapeError> {
        let ways = Ways::new(&conv, &pool, level, input_gradient);
        let transposed = match ways.dense_input_gradient {
            true => Some(Box::new(dense_input::transposed(&conv)?)),
            false => None,
        };
        Ok(Self {
            planes: ways.planes,
            dense_weight_gradient: ways.dense_weight_gradient,
            transposed,
            conv,
            pool,
        })
    }

    /// Nanoseconds of a training step on one image.
    pub(crate) fn estimate(
        conv: &Conv2dShape,
        pool: &MaxPool2dShape,
        level: Level,
        input_gradient: bool,
    ) -> f64 {
        Ways::new(conv, pool, level, input_gradient).nanoseconds
    }

    /// A convolution of pixels whose backward pass is never asked for.
    fn forward_only(conv: Conv2dShape, pool: MaxPool2dShape) -> Self {
        Self {
            conv,
            pool,
            planes: false,
            dense_weight_gradient: true,
            transposed: None,
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

/// The cheapest way to make each gradient.
struct Ways {
    planes: bool,
    dense_weight_gradient: bool,
    dense_input_gradient: bool,
    nanoseconds: f64,
}

impl Ways {
    fn new(conv: &Conv2dShape, pool: &MaxPool2dShape, level: Level, input_gradient: bool) -> Self {
        let work = Work::new(conv, pool, level);
        let [planes, pixels] = [1, UNIT].map(|n| work.taps(n).into_iter().product::<usize>());
        let planes = !input_gradient && planes < pixels;
        let side_by_side = if planes { 1 } else { UNIT };
        let sparse = work.sparse_weight_gradient(side_by_side);
        let dense = work.dense_weight_gradient(side_by_side);
        let [sparse_input, dense_input] = match input_gradient {
            true => [work.sparse_input_gradient(), work.dense_input_gradient()],
            false => [0.0; 2],
        };
        Self {
            planes,
            dense_weight_gradient: dense < sparse,
            dense_input_gradient: dense_input < sparse_input,
            nanoseconds: work.forward()
                + sparse.min(dense)
                + sparse_input.min(dense_input)
                + Rates::of(level).call,
        }
    }
}

/// Memory of one thread.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) line: Buffer,
    /// Sums of the weight gradient over the images of a chunk.
    pub(crate) sums: Buffer,
    pub(crate) entries: Vec<Entry>,
    pub(crate) bias: Vec<[f64; UNIT]>,
    pub(crate) input_gradient: dense_input::Scratch,
}

impl Scratch {
    /// Fills everything with NaN, for tests.
    pub(crate) fn poison(&mut self) {
        self.line.poison();
        self.sums.poison();
        self.entries.fill(Entry::POISON);
        self.bias.fill([f64::NAN; UNIT]);
        self.input_gradient.poison();
    }
}
