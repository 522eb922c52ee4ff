//! Gradients from the windows that are alive, one by one, against tiles of taps in registers.
//!
//! For a tile of taps of output channel `o` and the list of gradients `g` of `o` in a block of windows:
//!
//! - weight gradient: `sums += g x[under the tile]`, the sums in registers, one load per product;
//! - input gradient: `dx[under the tile] += g w`, the weights in registers, one load and one store.
//!
//! Products with the zeros that pooling and ReLU leave are skipped, three of four and more for windows of
//! 2 x 2. A block of windows is so small that the rows of the map under a tile stay in the first-level cache
//! while all output channels go over them.

use super::tap_tiles::{TapTiles, most_units, with_tile};
use super::{Direct, Windows};
use crate::conv2d::pooling::{DEAD, PooledGradient};
use crate::shape::MaxPool2dShape;
use crate::simd::{Kernel, Pixel, Simd, UNIT};

/// Numbers of the longest row of a tile.
const LONGEST_ROW: usize = 8 * UNIT;

/// A gradient that is not 0, and the first number of the map under the kernel there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    start: usize,
    value: f32,
}

impl Entry {
    const ZERO: Self = Self {
        start: 0,
        value: 0.0,
    };
    /// What must never be read.
    pub(super) const POISON: Self = Self {
        start: usize::MAX,
        value: f32::NAN,
    };
}

/// Distance in the map from the first cell of a window to the cell of each code.
fn code_offsets(direct: &Direct) -> [usize; 256] {
    let (conv, pool) = (&direct.conv, &direct.pool);
    let mut offsets = [0; 256];
    for (code, offset) in offsets[..pool.window_len()].iter_mut().enumerate() {
        let (row, column) = (code / pool.window_width, code % pool.window_width);
        *offset = (row * conv.width + column) * direct.channels_per_cell();
    }
    offsets
}

/// The gradients of a block of windows that are not 0, one list per output channel.
pub(crate) struct Lists<'a> {
    entries: &'a mut [Entry],
    /// Entries for which each list has room.
    capacity: usize,
    counts: Vec<usize>,
    offsets: [usize; 256],
}

impl<'a> Lists<'a> {
    /// Lists for blocks of up to `windows` windows, in `entries`.
    pub(crate) fn new(direct: &Direct, windows: usize, entries: &'a mut Vec<Entry>) -> Self {
        let filters = direct.conv.out_channels;
        // A window that is dead is written beyond the list's end and overwritten.
        let capacity = windows + 1;
        entries.resize(filters * capacity, Entry::ZERO);
        Self {
            entries,
            capacity,
            counts: vec![0; filters],
            offsets: code_offsets(direct),
        }
    }

    fn of(&self, filter: usize) -> &[Entry] {
        &self.entries[filter * self.capacity..][..self.counts[filter]]
    }

    /// Lists of a block of windows.
    pub(crate) fn fill(&mut self, direct: &Direct, gradient: PooledGradient<'_>, windows: Windows) {
        let Windows {
            row,
            column,
            rows,
            columns,
        } = windows;
        let MaxPool2dShape {
            window_height,
            window_width,
            ..
        } = direct.pool;
        let [height, width] = [direct.pool.out_height(), direct.pool.out_width()];
        let cell = direct.channels_per_cell();
        for block in 0..direct.out_blocks() {
            let filters = block * UNIT..direct.conv.out_channels.min((block + 1) * UNIT);
            let counts = &mut self.counts[filters.clone()];
            counts.fill(0);
            let entries = &mut self.entries[filters.start * self.capacity..];
            for i in row..row + rows {
                let first = (block * height + i) * width + column;
                let windows = gradient.values[first..first + columns]
                    .iter()
                    .zip(&gradient.codes[first..first + columns]);
                let mut start =
                    (i * window_height * direct.conv.width + column * window_width) * cell;
                for (values, codes) in windows {
                    let lists = counts.iter_mut().zip(entries.chunks_mut(self.capacity));
                    for ((count, list), (&value, &code)) in lists.zip(values.iter().zip(codes)) {
                        list[*count] = Entry {
                            start: start + self.offsets[usize::from(code)],
                            value,
                        };
                        *count += usize::from(code != DEAD);
                    }
                    start += window_width * cell;
                }
            }
        }
    }
}

/// `sums[tile][o] += sum over the list of o of g x[under the tile]`.
pub(crate) struct WeightGradient<'a> {
    pub(crate) tiles: &'a TapTiles,
    pub(crate) lists: &'a Lists<'a>,
    pub(crate) input: &'a [f32],
    pub(crate) sums: &'a mut [Pixel],
}

impl<S: Simd> Kernel<S> for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        with_tile!(self, S, simd.half());
    }
}

impl WeightGradient<'_> {
    #[inline(always)]
    fn all<T: Simd, const R: usize, const Q: usize>(self, simd: T) {
        let filters = self.lists.counts.len();
        for (i, sums) in self.sums.chunks_exact_mut(R * Q).enumerate() {
            let (tile, filter) = (i / filters, i % filters);
            let offsets: [usize; R] = std::array::from_fn(|row| self.tiles.offset(tile, row));
            let mut registers = [[simd.splat(0.0); Q]; R];
            for entry in self.lists.of(filter) {
                let value = simd.splat(entry.value);
                for r in 0..R {
                    let start = entry.start + offsets[r];
                    let padded;
                    let row = match self.input.get(start..start + Q * UNIT) {
                        Some(row) => row,
                        None => {
                            padded = pad(self.input, start);
                            &padded[..Q * UNIT]
                        }
                    };
                    let (units, _) = row.as_chunks::<UNIT>();
                    for q in 0..Q {
                        let x = simd.load_units([&units[q]; 2]);
                        registers[r][q] = simd.fma(value, x, registers[r][q]);
                    }
                }
            }
            // Blocks are added up apart from the windows within them: the error grows more slowly.
            for (sums, registers) in sums.chunks_exact_mut(Q).zip(registers) {
                for (sum, register) in sums.iter_mut().zip(registers) {
                    let total = simd.add(simd.load_units([&*sum; 2]), register);
                    simd.store_unit(total, 0, sum);
                }
            }
        }
    }
}

/// Numbers from `start` on, 0 beyond the end: lanes without a tap reach beyond the last row of a plane.
#[cold]
fn pad(input: &[f32], start: usize) -> [f32; LONGEST_ROW] {
    let mut padded = [0.0; LONGEST_ROW];
    for (to, from) in padded.iter_mut().zip(&input[start..]) {
        *to = *from;
    }
    padded
}

/// `map[under the tile] += g w[tile][o]` for all of the lists.
pub(crate) struct InputGradient<'a> {
    pub(crate) tiles: &'a TapTiles,
    pub(crate) lists: &'a Lists<'a>,
    pub(crate) weights: &'a [Pixel],
    pub(crate) map: &'a mut [f32],
}

impl<S: Simd> Kernel<S> for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        with_tile!(self, S, simd.half());
    }
}

impl InputGradient<'_> {
    #[inline(always)]
    fn all<T: Simd, const R: usize, const Q: usize>(self, simd: T) {
        let filters = self.lists.counts.len();
        for (i, weights) in self.weights.chunks_exact(R * Q).enumerate() {
            let (tile, filter) = (i / filters, i % filters);
            let offsets: [usize; R] = std::array::from_fn(|row| self.tiles.offset(tile, row));
            let mut registers = [[simd.splat(0.0); Q]; R];
            for (weights, registers) in weights.chunks_exact(Q).zip(&mut registers) {
                for (weight, register) in weights.iter().zip(registers) {
                    *register = simd.load_units([weight; 2]);
                }
            }
            for entry in self.lists.of(filter) {
                let value = simd.splat(entry.value);
                for r in 0..R {
                    let row = &mut self.map[entry.start + offsets[r]..][..Q * UNIT];
                    let (units, _) = row.as_chunks_mut::<UNIT>();
                    for q in 0..Q {
                        let sum = simd.load_units([&units[q]; 2]);
                        let sum = simd.fma(value, registers[r][q], sum);
                        simd.store_unit(sum, 0, &mut units[q]);
                    }
                }
            }
        }
    }
}
