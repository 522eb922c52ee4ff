//! Blocks of output pixels that hold whole pooling windows.

use crate::shape::MaxPool2dShape;

/// Columns of a block: four vectors of 16, eight of 8. With windows of 2 x 2 a row of windows then fills
/// eight vectors.
pub(crate) const COLUMNS: usize = 64;

/// Output pixels `rows` x `columns`, numbered row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    /// First row and column.
    pub(crate) origin: [usize; 2],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Block {
    /// Values of a row of a panel: the pixels of the block, in whole vectors of `lanes`.
    pub(crate) fn pitch(&self, lanes: usize) -> usize {
        (self.rows * self.columns).next_multiple_of(lanes)
    }
}

/// How the pooled part of an output is cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    /// Rows and columns that are pooled.
    area: [usize; 2],
    /// Rows and columns of a block; the last ones may have fewer.
    block: [usize; 2],
}

impl Grid {
    /// Blocks of about `pixels` pixels, at least one window each.
    pub(crate) fn new(pool: &MaxPool2dShape, pixels: usize) -> Self {
        let window = [pool.window_height, pool.window_width];
        let area = [pool.out_height() * window[0], pool.out_width() * window[1]];
        let whole = |len: usize, side: usize| (len / window[side]).max(1) * window[side];
        let columns = whole(COLUMNS, 1).min(area[1]);
        let rows = whole(pixels / columns, 0).min(area[0]);
        Self {
            area,
            block: [rows, columns],
        }
    }

    /// Largest [`Block::pitch`].
    pub(crate) fn largest_pitch(&self, lanes: usize) -> usize {
        (self.block[0] * self.block[1]).next_multiple_of(lanes)
    }

    /// The blocks, row by row.
    pub(crate) fn blocks(self) -> impl Iterator<Item = Block> {
        let Self { area, block } = self;
        (0..area[0]).step_by(block[0]).flat_map(move |row| {
            (0..area[1]).step_by(block[1]).map(move |column| Block {
                origin: [row, column],
                rows: block[0].min(area[0] - row),
                columns: block[1].min(area[1] - column),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_pooled_pixel_once() {
        for (map, window) in [
            ([1, 18, 296], [2, 2]),
            ([2, 39, 7], [3, 2]),
            ([1, 1, 200], [1, 100]),
            ([1, 1, 1], [1, 1]),
        ] {
            let pool = MaxPool2dShape::new(map, window).expect("pool");
            for pixels in [1, 128, 768] {
                let grid = Grid::new(&pool, pixels);
                let mut seen = vec![0; map[1] * map[2]];
                for block in grid.blocks() {
                    assert!(block.rows.is_multiple_of(window[0]), "{block:?}");
                    assert!(block.columns.is_multiple_of(window[1]), "{block:?}");
                    assert!(block.pitch(16) <= grid.largest_pitch(16), "{block:?}");
                    for i in 0..block.rows {
                        for j in 0..block.columns {
                            seen[(block.origin[0] + i) * map[2] + block.origin[1] + j] += 1;
                        }
                    }
                }
                let area = [pool.out_height() * window[0], pool.out_width() * window[1]];
                for (pixel, &count) in seen.iter().enumerate() {
                    let inside = pixel / map[2] < area[0] && pixel % map[2] < area[1];
                    assert_eq!(
                        count,
                        usize::from(inside),
                        "pixel {pixel}, blocks of {pixels}"
                    );
                }
            }
        }
    }
}
