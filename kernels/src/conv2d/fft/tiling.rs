//! How an image is cut into tiles, and tiles are paired.
//!
//! Overlap-save: a circular correlation of length `T` with a kernel of `S` taps is right at its first
//! `T - S + 1` outputs. The kernel is real, so two real tiles A and B can share one complex transform,
//! `A + i B`: after the product with the kernel's spectrum and the inverse transform, the outputs of A
//! are the real part and those of B the imaginary part.
//!
//! B is the tile below A or the tile to its right. Pooling windows must not straddle pairs: the useful
//! rows of a tile are a multiple of the window's rows, and the useful columns of a *pair* of neighbours
//! (or of a tile, when B is below) a multiple of the window's columns.

use crate::shape::{Conv2dShape, MaxPool2dShape};

/// Where tile B of a pair lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pairing {
    /// Below A.
    Down,
    /// To the right of A.
    Across,
}

/// The tiles of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tiling {
    /// Rows and columns of a tile: the lengths of the transforms.
    pub(crate) tile: [usize; 2],
    /// Rows and columns of outputs that a tile contributes.
    pub(crate) useful: [usize; 2],
    /// Rows and columns of input that a tile reads, at most `tile`.
    pub(crate) input: [usize; 2],
    pub(crate) pairing: Pairing,
    /// Pairs down and across the image.
    pub(crate) grid: [usize; 2],
}

impl Tiling {
    /// The tiling with tiles of the given size, or `None` when no output fits into a tile.
    pub(crate) fn new(
        conv: &Conv2dShape,
        pool: &MaxPool2dShape,
        tile: [usize; 2],
        pairing: Pairing,
    ) -> Option<Self> {
        let kernel = [conv.kernel_height, conv.kernel_width];
        let window = [pool.window_height, pool.window_width];
        let pooled = [pool.out_height(), pool.out_width()];
        let mut useful = [0; 2];
        let mut grid = [0; 2];
        for side in 0..2 {
            let valid = (tile[side] + 1).checked_sub(kernel[side])?;
            let paired = (side == 0) == (pairing == Pairing::Down);
            // Columns of a pair of neighbours may share a window, rows may not: they are pooled apart.
            let step = if side == 1 && paired && window[1].is_multiple_of(2) {
                window[1] / 2
            } else {
                window[side]
            };
            let needed = pooled[side] * window[side];
            let share = if paired { needed.div_ceil(2) } else { needed };
            useful[side] = (valid / step * step).min(share.next_multiple_of(step));
            if useful[side] == 0 {
                return None;
            }
            let per_pair = if paired {
                2 * useful[side]
            } else {
                useful[side]
            };
            grid[side] = needed.div_ceil(per_pair);
        }
        Some(Self {
            tile,
            useful,
            input: [0, 1].map(|side| useful[side] + kernel[side] - 1),
            pairing,
            grid,
        })
    }

    /// Number of pairs in an image.
    pub(crate) fn pairs(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// First output row and column of the tiles A and B; that of B may lie outside the image.
    pub(crate) fn origins(&self, pair: usize) -> [[usize; 2]; 2] {
        let [i, j] = [pair / self.grid[1], pair % self.grid[1]];
        let [rows, columns] = self.useful;
        match self.pairing {
            Pairing::Down => [
                [2 * i * rows, j * columns],
                [(2 * i + 1) * rows, j * columns],
            ],
            Pairing::Across => [
                [i * rows, 2 * j * columns],
                [i * rows, (2 * j + 1) * columns],
            ],
        }
    }
}

/// How the lanes of vectors are filled: a unit is 8 channels of one pair.
///
/// Either a pair has one unit and a vector holds as many pairs as it has units, or a pair has a whole
/// number of vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Units {
    /// Units of one pair, rounded up to whole vectors unless it is 1.
    pub(crate) per_pair: usize,
    /// Units of one pair that hold channels.
    pub(crate) blocks: usize,
    /// Units of a vector.
    pub(crate) per_vector: usize,
}

impl Units {
    /// Units for `channels` channels in vectors of `per_vector` units.
    pub(crate) fn new(channels: usize, per_vector: usize) -> Self {
        let blocks = channels.div_ceil(crate::simd::UNIT);
        Self {
            per_pair: if blocks == 1 {
                1
            } else {
                blocks.next_multiple_of(per_vector)
            },
            blocks,
            per_vector,
        }
    }

    /// Vectors that hold `pairs` pairs.
    pub(crate) fn vectors(&self, pairs: usize) -> usize {
        (pairs * self.per_pair).div_ceil(self.per_vector)
    }

    /// Pair (counted from the first of its group) and block of a unit of a vector, if it is in use.
    pub(crate) fn unit(&self, vector: usize, unit: usize, pairs: usize) -> Option<(usize, usize)> {
        let index = vector * self.per_vector + unit;
        let (pair, block) = (index / self.per_pair, index % self.per_pair);
        (unit < self.per_vector && pair < pairs && block < self.blocks).then_some((pair, block))
    }

    /// A pair fills whole vectors.
    pub(crate) fn is_wide(&self) -> bool {
        self.per_pair.is_multiple_of(self.per_vector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiling(
        image: [usize; 3],
        kernel: [usize; 2],
        window: [usize; 2],
        t: [usize; 2],
        p: Pairing,
    ) -> Option<Tiling> {
        let conv = Conv2dShape::new(image, 3, kernel).expect("shape");
        let pool = MaxPool2dShape::new(conv.output(), window).expect("pool");
        Tiling::new(&conv, &pool, t, p)
    }

    #[test]
    fn table_1_is_tiled_as_planned() {
        let first =
            tiling([1, 100, 2200], [10, 10], [2, 2], [56, 64], Pairing::Down).expect("fits");
        assert_eq!((first.useful, first.grid), ([46, 54], [1, 41]));
        let second =
            tiling([8, 45, 1095], [10, 10], [2, 2], [48, 64], Pairing::Across).expect("fits");
        assert_eq!((second.useful, second.grid), ([36, 55], [1, 10]));
        assert_eq!(second.origins(3), [[0, 330], [0, 385]]);
    }

    #[test]
    fn tiles_cover_every_pooled_output_once() {
        for (window, pairing) in [
            ([2, 2], Pairing::Down),
            ([2, 2], Pairing::Across),
            ([3, 5], Pairing::Across),
            ([1, 1], Pairing::Down),
        ] {
            let t = tiling([1, 70, 151], [3, 7], window, [16, 32], pairing).expect("fits");
            let [rows, columns] = [68 / window[0] * window[0], 145 / window[1] * window[1]];
            let mut seen = vec![0; rows * columns];
            for pair in 0..t.pairs() {
                for [row, column] in t.origins(pair) {
                    for i in row..(row + t.useful[0]).min(rows) {
                        for j in column..(column + t.useful[1]).min(columns) {
                            seen[i * columns + j] += 1;
                        }
                    }
                }
            }
            assert!(seen.iter().all(|&n| n == 1));
        }
    }

    #[test]
    fn kernels_larger_than_the_tile_have_no_tiling() {
        assert_eq!(
            tiling([1, 70, 70], [17, 3], [2, 2], [16, 32], Pairing::Down),
            None
        );
        assert_eq!(
            tiling([1, 70, 70], [16, 3], [2, 2], [16, 32], Pairing::Down),
            None
        );
        assert!(tiling([1, 70, 70], [15, 3], [2, 2], [16, 32], Pairing::Down).is_some());
    }

    #[test]
    fn units_fill_vectors() {
        assert_eq!(Units::new(8, 2).vectors(5), 3);
        assert_eq!(Units::new(16, 2).vectors(5), 5);
        assert_eq!(Units::new(17, 2).per_pair, 4);
        assert_eq!(Units::new(17, 2).unit(1, 1, 1), None);
        assert_eq!(Units::new(17, 2).unit(3, 0, 2), Some((1, 2)));
        assert_eq!(Units::new(3, 2).unit(2, 1, 5), None);
        assert!(Units::new(3, 1).is_wide() && !Units::new(3, 2).is_wide());
    }
}
