//! Direct convolution, blocked for registers: every product of the definition, nothing copied.
//!
//! Forward, `y[o,i,j] = b[o] + sum_crs w[o,c,r,s] x[c,i+r,j+s]`: the lanes of a vector are output channels, see
//! [`forward`]. Backward, there are two ways. After pooling, the gradient of `y` is 0 except at the maximum
//! of each window that is alive, at most one cell of four for windows of 2 x 2, and [`sparse`] goes over these
//! cells one by one. Without pooling most cells have a gradient: [`dense_weight`] and [`dense_input`] are
//! then faster, as a glance at the number of products tells [`Direct::new`].
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

use crate::ShapeError;
use crate::buffer::Buffer;
use crate::shape::{Conv2dShape, MaxPool2dShape};
use crate::simd::UNIT;
use sparse::Entry;

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
        input_gradient: bool,
    ) -> Result<Self, ShapeError> {
        let work = Work::new(&conv, &pool);
        let planes = !input_gradient && work.taps(1) < work.taps(UNIT);
        let side_by_side = if planes { 1 } else { UNIT };
        let transposed = match input_gradient && work.input_gradient_is_dense() {
            true => Some(Box::new(dense_input::transposed(&conv)?)),
            false => None,
        };
        Ok(Self {
            planes,
            dense_weight_gradient: work.weight_gradient_is_dense(side_by_side),
            transposed,
            conv,
            pool,
        })
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

/// Products of 8 lanes that the two ways of each gradient need.
struct Work<'a> {
    conv: &'a Conv2dShape,
    pool: &'a MaxPool2dShape,
}

/// Windows that are alive, of all, when nothing is known.
const ALIVE: f64 = 0.7;
/// What finding a window costs, in products.
const ENTRY: f64 = 16.0;

impl<'a> Work<'a> {
    fn new(conv: &'a Conv2dShape, pool: &'a MaxPool2dShape) -> Self {
        Self { conv, pool }
    }

    /// Units of 8 taps of one output channel.
    fn taps(&self, channels_per_cell: usize) -> usize {
        let conv = self.conv;
        let rows = conv.in_channels.div_ceil(channels_per_cell) * conv.kernel_height;
        rows * (conv.kernel_width * channels_per_cell).div_ceil(UNIT)
    }

    /// Windows of all output channels.
    fn windows(&self) -> f64 {
        self.pool.output_len() as f64
    }

    fn weight_gradient_is_dense(&self, channels_per_cell: usize) -> bool {
        let conv = self.conv;
        let sparse = self.windows() * (ALIVE * self.taps(channels_per_cell) as f64 + ENTRY);
        let cells = conv.in_channels.div_ceil(channels_per_cell) * channels_per_cell;
        let taps = cells * conv.kernel_height * conv.kernel_width;
        let blocks = conv.out_channels.div_ceil(UNIT);
        let dense = (conv.out_pixels() * taps * blocks) as f64;
        dense < sparse
    }

    fn input_gradient_is_dense(&self) -> bool {
        let conv = self.conv;
        // A load and a store for every product cost about twice as much.
        let sparse = self.windows() * (2.0 * ALIVE * self.taps(UNIT) as f64 + ENTRY);
        let taps = conv.out_channels * conv.kernel_height * conv.kernel_width;
        let blocks = conv.in_channels.div_ceil(UNIT);
        let dense = (conv.height * conv.width * taps * blocks) as f64;
        dense < sparse
    }
}
