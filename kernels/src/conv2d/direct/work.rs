//! What a direct convolution costs, and which of its two ways backward is cheaper.

use super::forward::tile_columns;
use super::tap_tiles::tile_shape;
use crate::conv2d::rates::Rates;
use crate::shape::{Conv2dShape, MaxPool2dShape};
use crate::simd::{Level, UNIT};

/// Sums of 8 lanes that must be on their way to keep the multipliers busy: two at a time, each for four
/// cycles.
const BUSY: usize = 8;

/// Costs of one image in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work<'a> {
    conv: &'a Conv2dShape,
    pool: &'a MaxPool2dShape,
    accumulators: usize,
    lanes: usize,
    rates: Rates,
}

impl<'a> Work<'a> {
    pub(super) fn new(conv: &'a Conv2dShape, pool: &'a MaxPool2dShape, level: Level) -> Self {
        Self {
            conv,
            pool,
            accumulators: level.accumulators(),
            lanes: level.lanes(),
            rates: Rates::of(level),
        }
    }

    /// Rows of taps of one output channel, and units of 8 in each.
    pub(super) fn taps(&self, channels_per_cell: usize) -> [usize; 2] {
        let conv = self.conv;
        [
            conv.in_channels.div_ceil(channels_per_cell) * conv.kernel_height,
            (conv.kernel_width * channels_per_cell).div_ceil(UNIT),
        ]
    }

    /// Products of 8 lanes of tiles over `count` pixels (or numbers) and all of `channels` channels, those
    /// counted twice that leave the multipliers waiting.
    fn products(&self, count: usize, channels: usize) -> f64 {
        let blocks = channels.div_ceil(UNIT);
        let units = self.lanes / UNIT;
        let vectors = if blocks >= 2 * units && self.accumulators >= 12 {
            2
        } else {
            1
        };
        let per_group = (vectors * units).min(blocks);
        let largest = self.accumulators / vectors;
        let (mut position, mut products) = (0, 0);
        while position < count {
            let size = tile_columns(largest, count, count - position);
            products += (size * per_group).max(BUSY);
            position += size;
        }
        (products * blocks.div_ceil(per_group)) as f64
    }

    pub(super) fn forward(&self) -> f64 {
        let (conv, pool) = (self.conv, self.pool);
        let rows = (pool.out_height() * pool.window_height) as f64;
        let columns = pool.out_width() * pool.window_width;
        let products = rows * self.products(columns, conv.out_channels) * conv.patch_len() as f64;
        products * self.rates.product + self.cells() * self.rates.cell
    }

    /// Cells of the output in 8 channels; those of a window of one are pooled more slowly.
    fn cells(&self) -> f64 {
        let conv = self.conv;
        let cells = conv.out_pixels() * conv.out_channels.div_ceil(UNIT);
        cells as f64 * (1.0 + 0.75 / self.pool.window_len() as f64)
    }

    /// Windows of all channels, and how many of them are alive when nothing is known.
    fn windows(&self) -> [f64; 2] {
        let windows = self.pool.output_len() as f64;
        let alive = if self.pool.window_len() == 1 {
            0.5
        } else {
            0.85
        };
        [windows, alive * windows]
    }

    /// Tiles of the taps of one output channel, and units in all of them.
    fn tiles(&self, channels_per_cell: usize) -> [f64; 2] {
        let taps = self.taps(channels_per_cell);
        let shape = tile_shape(taps, self.accumulators);
        let tiles = taps[0].div_ceil(shape[0]) * taps[1].div_ceil(shape[1]);
        [tiles as f64, (tiles * shape[0] * shape[1]) as f64]
    }

    pub(super) fn sparse_weight_gradient(&self, channels_per_cell: usize) -> f64 {
        let [windows, alive] = self.windows();
        let [tiles, units] = self.tiles(channels_per_cell);
        let rates = &self.rates;
        windows * rates.window + alive * (tiles * rates.tile + units * rates.product)
    }

    pub(super) fn dense_weight_gradient(&self, channels_per_cell: usize) -> f64 {
        let conv = self.conv;
        let [rows, _] = self.taps(channels_per_cell);
        let numbers = conv.kernel_width * channels_per_cell;
        let products = self.products(numbers, conv.out_channels) * rows as f64;
        conv.out_pixels() as f64 * products * self.rates.product + self.cells() * self.rates.cell
    }

    pub(super) fn sparse_input_gradient(&self) -> f64 {
        let [_, alive] = self.windows();
        let [tiles, units] = self.tiles(UNIT);
        alive * (tiles * self.rates.tile + units * self.rates.update)
    }

    pub(super) fn dense_input_gradient(&self) -> f64 {
        let conv = self.conv;
        let taps = conv.out_channels * conv.kernel_height * conv.kernel_width;
        let products = self.products(conv.width, conv.in_channels) * (conv.height * taps) as f64;
        let cells = conv.height * conv.width * conv.in_channels.div_ceil(UNIT);
        products * self.rates.product + (cells as f64 + self.cells()) * self.rates.cell
    }
}
