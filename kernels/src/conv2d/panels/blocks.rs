//! Blocks of output pixels that hold whole pooling windows, cut into groups of up to 64 pixels.

use crate::shape::{Conv2dShape, MaxPool2dShape};

/// Pixels of a group: four vectors of 16, eight of 8.
pub(crate) const GROUP: usize = 64;

/// Output pixels `rows` x `columns`, numbered row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    /// First row and column.
    pub(crate) origin: [usize; 2],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

/// Pixels of a group that lie side by side in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// First pixel, counted from the first of the group.
    pub(crate) slot: usize,
    /// First cell under tap (0, 0), counted from the first of a plane.
    pub(crate) cell: usize,
    pub(crate) len: usize,
}

impl Run {
    /// What must never be read.
    pub(super) const POISON: Self = Self {
        slot: usize::MAX,
        cell: usize::MAX,
        len: usize::MAX,
    };
}

impl Block {
    /// Pixels of the block.
    pub(crate) fn pixels(&self) -> usize {
        self.rows * self.columns
    }

    /// Groups of the block.
    pub(crate) fn groups(&self) -> usize {
        self.pixels().div_ceil(GROUP)
    }

    /// Pixels of one group.
    pub(crate) fn group_pixels(&self, group: usize) -> usize {
        GROUP.min(self.pixels() - group * GROUP)
    }

    /// Values of a row of the group's panel: whole vectors of `lanes`.
    pub(crate) fn pitch(&self, group: usize, lanes: usize) -> usize {
        self.group_pixels(group).next_multiple_of(lanes)
    }

    /// Overwrites `runs` with those of a group.
    pub(crate) fn runs(&self, conv: &Conv2dShape, group: usize, runs: &mut Vec<Run>) {
        runs.clear();
        let end = group * GROUP + self.group_pixels(group);
        let mut pixel = group * GROUP;
        while pixel < end {
            let (row, column) = (pixel / self.columns, pixel % self.columns);
            let len = (self.columns - column).min(end - pixel);
            runs.push(Run {
                slot: pixel - group * GROUP,
                cell: (self.origin[0] + row) * conv.width + self.origin[1] + column,
                len,
            });
            pixel += len;
        }
    }
}

/// Cuts what is pooled into blocks of about `pixels` pixels, at least one window each.
pub(crate) fn blocks(pool: &MaxPool2dShape, pixels: usize) -> impl Iterator<Item = Block> {
    let window = [pool.window_height, pool.window_width];
    let area = [pool.out_height() * window[0], pool.out_width() * window[1]];
    let whole = |len: usize, side: usize| (len / window[side]).max(1) * window[side];
    let columns = whole(GROUP, 1).min(area[1]);
    let rows = whole(pixels / columns, 0).min(area[0]);
    (0..area[0]).step_by(rows).flat_map(move |row| {
        (0..area[1]).step_by(columns).map(move |column| Block {
            origin: [row, column],
            rows: rows.min(area[0] - row),
            columns: columns.min(area[1] - column),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_pooled_pixel_once_and_runs_every_pixel_of_a_block() {
        for (image, kernel, window) in [
            ([1, 20, 300], [3, 5], [2, 2]),
            ([2, 40, 9], [2, 3], [3, 2]),
            ([1, 1, 200], [1, 1], [1, 100]),
            ([1, 9, 9], [9, 9], [1, 1]),
        ] {
            let conv = Conv2dShape::new(image, 3, kernel).expect("shape");
            let pool = MaxPool2dShape::new(conv.output(), window).expect("pool");
            for pixels in [1, 128, 768] {
                let mut seen = vec![0; conv.height * conv.width];
                for block in blocks(&pool, pixels) {
                    assert!(block.rows.is_multiple_of(window[0]), "{block:?}");
                    assert!(block.columns.is_multiple_of(window[1]), "{block:?}");
                    let mut runs = Vec::new();
                    for group in 0..block.groups() {
                        block.runs(&conv, group, &mut runs);
                        let mut slot = 0;
                        for run in &runs {
                            assert_eq!(run.slot, slot);
                            slot += run.len;
                            for cell in run.cell..run.cell + run.len {
                                seen[cell] += 1;
                            }
                        }
                        assert_eq!(slot, block.group_pixels(group));
                    }
                }
                let area = [pool.out_height() * window[0], pool.out_width() * window[1]];
                for (cell, &count) in seen.iter().enumerate() {
                    let inside = cell / conv.width < area[0] && cell % conv.width < area[1];
                    assert_eq!(
                        count,
                        usize::from(inside),
                        "cell {cell}, blocks of {pixels}"
                    );
                }
            }
        }
    }
}
