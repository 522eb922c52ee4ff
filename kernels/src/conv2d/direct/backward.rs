//! Backward pass: the windows that are alive, one by one, against tiles of taps in registers.
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
use super::{Direct, Scratch};
use crate::ShapeError;
use crate::conv2d::map::Map;
use crate::conv2d::pooling::{AddAlive, DEAD, PooledGradient};
use crate::shape::MaxPool2dShape;
use crate::simd::{Kernel, Pixel, Simd, UNIT};

/// Windows of a block, about: under 64 windows of 2 x 2 lie 4 KiB of each row of the map (tried: 32 and 128,
/// slower by a few per cent).
const BLOCK_WINDOWS: usize = 64;
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

/// The arguments of one backward pass.
pub(crate) struct Backward<'a> {
    pub(crate) direct: &'a Direct,
    pub(crate) input: Map<'a>,
    pub(crate) gradient: PooledGradient<'a>,
    /// Where the input gradient goes (overwritten), and the weights in tiles of taps.
    pub(crate) input_gradient: Option<(&'a mut [Pixel], &'a [Pixel])>,
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
            direct,
            gradient,
            scratch,
            ..
        } = self;
        let filters = direct.conv.out_channels;
        let pool = &direct.pool;
        let tiles = TapTiles::new::<S>(direct);
        let len = tiles.count() * filters * tiles.units();
        scratch.sums.reserve::<Pixel>(len)?;
        let sums = scratch.sums.slice::<Pixel>(len);
        if self.first {
            sums.fill([0.0; UNIT]);
        }
        let input = match self.input {
            Map::Planes(planes) => planes,
            Map::Pixels(pixels) => pixels.as_flattened(),
        };
        let mut input_gradient = self.input_gradient;
        if let Some((map, _)) = &mut input_gradient {
            map.fill([0.0; UNIT]);
        }
        simd.vectorize(AddAlive {
            gradient,
            pixels: pool.out_height() * pool.out_width(),
            bias: self.bias,
        });

        let columns = BLOCK_WINDOWS.min(pool.out_width());
        let rows = (BLOCK_WINDOWS / columns).min(pool.out_height());
        // A window that is dead is written beyond the list's end and overwritten.
        let capacity = rows * columns + 1;
        scratch.entries.resize(filters * capacity, Entry::ZERO);
        let mut lists = Lists {
            entries: &mut scratch.entries,
            capacity,
            counts: vec![0; filters],
            offsets: code_offsets(direct),
        };
        for row in (0..pool.out_height()).step_by(rows) {
            for column in (0..pool.out_width()).step_by(columns) {
                lists.fill(
                    direct,
                    gradient,
                    [row, column],
                    [
                        rows.min(pool.out_height() - row),
                        columns.min(pool.out_width() - column),
                    ],
                );
                simd.vectorize(WeightGradient {
                    tiles: &tiles,
                    lists: &lists,
                    input,
                    sums: &mut *sums,
                });
                if let Some((map, weights)) = &mut input_gradient {
                    simd.vectorize(InputGradient {
                        tiles: &tiles,
                        lists: &lists,
                        weights,
                        map: map.as_flattened_mut(),
                    });
                }
            }
        }
        Ok(())
    }
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
struct Lists<'a> {
    entries: &'a mut [Entry],
    /// Entries for which each list has room.
    capacity: usize,
    counts: Vec<usize>,
    offsets: [usize; 256],
}

impl Lists<'_> {
    fn of(&self, filter: usize) -> &[Entry] {
        &self.entries[filter * self.capacity..][..self.counts[filter]]
    }

    /// Lists of the windows `rows x columns` from (`row`, `column`) on.
    fn fill(
        &mut self,
        direct: &Direct,
        gradient: PooledGradient<'_>,
        [row, column]: [usize; 2],
        [rows, columns]: [usize; 2],
    ) {
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
struct WeightGradient<'a> {
    tiles: &'a TapTiles,
    lists: &'a Lists<'a>,
    input: &'a [f32],
    sums: &'a mut [Pixel],
}

impl<S: Simd> Kernel<S> for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let half = simd.half();
        macro_rules! call {
            ($rows:literal, $units:literal) => {
                if $rows * $units <= const { most_units(S::ACCUMULATORS) } {
                    self.all::<S::Half, $rows, $units>(half)
                }
            };
        }
        with_tile!(self.tiles.shape, call);
    }
}

impl WeightGradient<'_> {
    #[inline(always)]
    fn all<T: Simd, const R: usize, const Q: usize>(self, simd: T) {
        let filters = self.lists.counts.len();
        for (i, sums) in self.sums.chunks_exact_mut(R * Q).enumerate() {
            let (tile, filter) = (i / filters, i % filters);
            let mut offsets = [0; R];
            for (row, offset) in offsets.iter_mut().enumerate() {
                *offset = self.tiles.offset(tile, row);
            }
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
struct InputGradient<'a> {
    tiles: &'a TapTiles,
    lists: &'a Lists<'a>,
    weights: &'a [Pixel],
    map: &'a mut [f32],
}

impl<S: Simd> Kernel<S> for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let half = simd.half();
        macro_rules! call {
            ($rows:literal, $units:literal) => {
                if $rows * $units <= const { most_units(S::ACCUMULATORS) } {
                    self.all::<S::Half, $rows, $units>(half)
                }
            };
        }
        with_tile!(self.tiles.shape, call);
    }
}

impl InputGradient<'_> {
    #[inline(always)]
    fn all<T: Simd, const R: usize, const Q: usize>(self, simd: T) {
        let filters = self.lists.counts.len();
        for (i, weights) in self.weights.chunks_exact(R * Q).enumerate() {
            let (tile, filter) = (i / filters, i % filters);
            let mut offsets = [0; R];
            for (row, offset) in offsets.iter_mut().enumerate() {
                *offset = self.tiles.offset(tile, row);
            }
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

/// The weight gradient of a chunk of images.
pub(crate) struct Finish<'a> {
    pub(crate) direct: &'a Direct,
    /// (O,C,R,S), overwritten.
    pub(crate) weight: &'a mut [f32],
    pub(crate) scratch: &'a mut Scratch,
}

impl<S: Simd> Kernel<S> for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: S) {
        let tiles = TapTiles::new::<S>(self.direct);
        let len = tiles.count() * self.direct.conv.out_channels * tiles.units();
        tiles.unpack(self.scratch.sums.slice(len), self.weight);
    }
}

/// Weights in tiles of taps, for the input gradient.
pub(crate) struct Pack<'a> {
    pub(crate) direct: &'a Direct,
    pub(crate) weight: &'a [f32],
}

impl<S: Simd> Kernel<S> for Pack<'_> {
    type Output = Vec<Pixel>;

    #[inline(always)]
    fn run(self, _: S) -> Vec<Pixel> {
        let tiles = TapTiles::new::<S>(self.direct);
        let len = tiles.count() * self.direct.conv.out_channels * tiles.units();
        let mut packed = vec![[0.0; UNIT]; len];
        tiles.pack(self.weight, &mut packed);
        packed
    }
}
