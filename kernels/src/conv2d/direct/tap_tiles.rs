//! The taps of the kernels in tiles that fit into registers.
//!
//! A row of taps `w[o, c.., r, ..]` lies over `S N` contiguous numbers of the map, that is over
//! `ceil(S N / 8)` units of 8 lanes. A tile is `rows x units` of them; all output channels have the same
//! tiles. Rows are those of all kernel rows of all channel blocks. The last tile down is filled up with
//! copies of the last row, the last one across overlaps its neighbour: taps that a tile has only for this
//! reason have weight 0 and their gradients are dropped.

use super::Direct;
use crate::simd::{Pixel, Simd, UNIT};

/// Rows and units of a tile that have code of their own.
pub(crate) const SHAPES: [[usize; 2]; 17] = [
    [4, 1],
    [12, 1],
    [2, 2],
    [5, 2],
    [10, 2],
    [3, 3],
    [6, 3],
    [3, 4],
    [6, 4],
    [2, 5],
    [5, 5],
    [2, 6],
    [4, 6],
    [2, 7],
    [4, 7],
    [1, 8],
    [3, 8],
];

/// Calls `task.all(simd)` with rows and units of a tile as constants, among the tiles for which level `S` has
/// registers.
macro_rules! with_tile {
    ($task:ident, $S:ident, $simd:expr) => {{
        macro_rules! call {
            ($rows:literal, $units:literal) => {
                if $rows * $units <= const { most_units($S::ACCUMULATORS) } {
                    $task.all::<$S::Half, $rows, $units>($simd)
                }
            };
        }
        match $task.tiles.shape {
            [4, 1] => call!(4, 1),
            [12, 1] => call!(12, 1),
            [2, 2] => call!(2, 2),
            [5, 2] => call!(5, 2),
            [10, 2] => call!(10, 2),
            [3, 3] => call!(3, 3),
            [6, 3] => call!(6, 3),
            [3, 4] => call!(3, 4),
            [6, 4] => call!(6, 4),
            [2, 5] => call!(2, 5),
            [5, 5] => call!(5, 5),
            [2, 6] => call!(2, 6),
            [4, 6] => call!(4, 6),
            [2, 7] => call!(2, 7),
            [4, 7] => call!(4, 7),
            [1, 8] => call!(1, 8),
            [3, 8] => call!(3, 8),
            other => unreachable!("no code for a tile of {other:?}: tiles are taken from `SHAPES`"),
        }
    }};
}
pub(crate) use with_tile;

/// Units of a tile for which a level has registers, beside the broadcast gradient. (A tile larger than
/// that is right, but its sums would go through memory.)
pub(crate) const fn most_units(accumulators: usize) -> usize {
    // 28 of 32 registers, 14 of 16, or 6 pairs of 16.
    accumulators + accumulators / 6
}

/// What a tile costs with each gradient besides one product per unit, in products.
const OVERHEAD: usize = 20;

/// The tile with the least work for `taps` rows and units, at a level with so many accumulators.
pub(super) fn tile_shape(taps: [usize; 2], accumulators: usize) -> [usize; 2] {
    let mut best = (usize::MAX, SHAPES[0]);
    for shape in SHAPES {
        let [rows, units] = shape;
        if units <= taps[1] && rows * units <= most_units(accumulators) {
            let tiles = taps[0].div_ceil(rows) * taps[1].div_ceil(units);
            best = best.min((tiles * (rows * units + OVERHEAD), shape));
        }
    }
    best.1
}

/// How the taps of a convolution are cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TapTiles {
    /// Rows and units of a tile.
    pub(crate) shape: [usize; 2],
    /// Rows of taps of one output channel, and units in a row.
    taps: [usize; 2],
    /// Tiles down and across.
    grid: [usize; 2],
    /// Numbers of the map from one row of it to the next, and from one channel block to the next.
    strides: [usize; 2],
    kernel: [usize; 2],
    channels: usize,
    channels_per_cell: usize,
}

impl TapTiles {
    /// The tiles with the least work.
    pub(crate) fn new<S: Simd>(direct: &Direct) -> Self {
        let conv = &direct.conv;
        let side_by_side = direct.channels_per_cell();
        let taps = [
            conv.in_channels.div_ceil(side_by_side) * conv.kernel_height,
            (conv.kernel_width * side_by_side).div_ceil(UNIT),
        ];
        let shape = tile_shape(taps, S::ACCUMULATORS);
        let row = conv.width * side_by_side;
        Self {
            shape,
            taps,
            grid: [0, 1].map(|side| taps[side].div_ceil(shape[side])),
            strides: [row, row * conv.height],
            kernel: [conv.kernel_height, conv.kernel_width],
            channels: conv.in_channels,
            channels_per_cell: side_by_side,
        }
    }

    /// Units of all tiles of `filters` output channels.
    pub(crate) fn len(&self, filters: usize) -> usize {
        self.grid[0] * self.grid[1] * filters * self.units()
    }

    /// Units of one tile.
    pub(crate) fn units(&self) -> usize {
        self.shape[0] * self.shape[1]
    }

    /// Where row `row` of tile `tile` starts in the map, counted from the cell under tap (0, 0).
    #[inline(always)]
    pub(crate) fn offset(&self, tile: usize, row: usize) -> usize {
        let row = (tile / self.grid[1] * self.shape[0] + row).min(self.taps[0] - 1);
        let (block, r) = (row / self.kernel[0], row % self.kernel[0]);
        block * self.strides[1] + r * self.strides[0] + self.first_unit(tile) * UNIT
    }

    /// First unit of a row of taps in a tile.
    #[inline(always)]
    fn first_unit(&self, tile: usize) -> usize {
        (tile % self.grid[1] * self.shape[1]).min(self.taps[1] - self.shape[1])
    }

    /// Taps of the lanes of unit (`row`, `unit`) of a tile: as many as it has to answer for.
    fn lanes(&self, tile: usize, [row, unit]: [usize; 2]) -> Lanes {
        let row = tile / self.grid[1] * self.shape[0] + row;
        let unit = self.first_unit(tile) + unit;
        let filled_up = row >= self.taps[0] || unit < tile % self.grid[1] * self.shape[1];
        let [kernel_rows, kernel_columns] = self.kernel;
        let (block, r) = (row / kernel_rows, row % kernel_rows);
        let tap = |c: usize, s: usize| (c * kernel_rows + r) * kernel_columns + s;
        let (first, step, left) = if self.channels_per_cell == 1 {
            let s = unit * UNIT;
            (tap(block, s), 1, kernel_columns - s)
        } else {
            let c = block * self.channels_per_cell;
            let step = kernel_rows * kernel_columns;
            (tap(c, unit), step, self.channels.saturating_sub(c))
        };
        Lanes {
            first,
            step,
            count: if filled_up { 0 } else { left.min(UNIT) },
        }
    }

    /// Brings weights (O,C,R,S) into tiles, [tile][o][row][unit].
    pub(crate) fn pack(&self, weight: &[f32], tiles: &mut [Pixel]) {
        let patch_len = self.patch_len();
        let filters = weight.len() / patch_len;
        let units = self.units();
        for (tile, pixels) in tiles.chunks_exact_mut(filters * units).enumerate() {
            for unit in 0..units {
                let lanes = self.lanes(tile, [unit / self.shape[1], unit % self.shape[1]]);
                let pixels = pixels.iter_mut().skip(unit).step_by(units);
                for (pixel, weight) in pixels.zip(weight.chunks_exact(patch_len)) {
                    *pixel = [0.0; UNIT];
                    for (i, value) in pixel[..lanes.count].iter_mut().enumerate() {
                        *value = weight[lanes.first + i * lanes.step];
                    }
                }
            }
        }
    }

    /// The inverse of [`Self::pack`].
    pub(crate) fn unpack(&self, tiles: &[Pixel], weight: &mut [f32]) {
        let patch_len = self.patch_len();
        let filters = weight.len() / patch_len;
        let units = self.units();
        for (tile, pixels) in tiles.chunks_exact(filters * units).enumerate() {
            for unit in 0..units {
                let lanes = self.lanes(tile, [unit / self.shape[1], unit % self.shape[1]]);
                let pixels = pixels.iter().skip(unit).step_by(units);
                for (pixel, weight) in pixels.zip(weight.chunks_exact_mut(patch_len)) {
                    for (i, &value) in pixel[..lanes.count].iter().enumerate() {
                        weight[lanes.first + i * lanes.step] = value;
                    }
                }
            }
        }
    }

    /// Taps of one output channel.
    fn patch_len(&self) -> usize {
        self.channels * self.kernel[0] * self.kernel[1]
    }
}

/// Indices in (C,R,S) of the first lanes of a unit.
struct Lanes {
    first: usize,
    step: usize,
    count: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Conv2dShape, MaxPool2dShape};
    use crate::simd::{Kernel, Level};

    /// Packing and unpacking of taps that are all different.
    struct RoundTrip(Direct);
    impl<S: Simd> Kernel<S> for RoundTrip {
        type Output = ();
        #[inline(always)]
        fn run(self, _: S) {
            let conv = &self.0.conv;
            let tiles = TapTiles::new::<S>(&self.0);
            assert!(tiles.units() <= most_units(S::ACCUMULATORS), "{tiles:?}");
            let weight: Vec<f32> = (1..=conv.weight_len()).map(|i| i as f32).collect();
            let len = tiles.len(conv.out_channels);
            let mut packed = vec![[f32::NAN; UNIT]; len];
            tiles.pack(&weight, &mut packed);
            let sum: f64 = packed.as_flattened().iter().map(|w| f64::from(*w)).sum();
            let expected: f64 = weight.iter().map(|w| f64::from(*w)).sum();
            assert!((sum - expected).abs() < 0.5, "a tap twice or never");
            let mut back = vec![f32::NAN; weight.len()];
            tiles.unpack(&packed, &mut back);
            assert_eq!(back, weight);
        }
    }

    #[test]
    fn every_tap_is_in_one_tile_at_every_level() {
        for level in Level::available() {
            println!("ran level {level}");
            for (channels, kernel) in [
                (1, [10, 10]),
                (1, [1, 1]),
                (3, [3, 3]),
                (8, [7, 7]),
                (9, [5, 11]),
                (17, [2, 64]),
                (64, [1, 4]),
            ] {
                for input_gradient in [false, true] {
                    let conv = Conv2dShape::new([channels, 70, 70], 3, kernel).expect("shape");
                    let pool = MaxPool2dShape::new(conv.output(), [2, 2]).expect("pool");
                    let direct = Direct::new(conv, pool, level, input_gradient);
                    level.run(RoundTrip(direct.expect("shape")));
                }
            }
        }
    }
}
