//! Forward pass: a few pixels times a few vectors of output channels stay in registers.
//!
//! For one pixel `p` and one vector of output channels, `y[p] += x[c, p + r, p + s] w[c,r,s]` over all `c,r,s`:
//! the number `x` is broadcast, `w` is a vector. With `P` pixels side by side times `V` vectors there are
//! `P V` products for `P` broadcasts and `V` loads, and as many independent sums, which hides the latency
//! of the multipliers. Channels stand side by side in the map, so nothing is copied or shuffled: pixel `p`
//! reads at a constant distance from pixel 0.
//!
//! Two vectors are taken where there are as many output channels: 12 x 2 sums need 14 loads for 24
//! products where 24 x 1 need 25. Rows of windows are pooled as soon as they are made.

use super::Direct;
use crate::ShapeError;
use crate::buffer::Buffer;
use crate::conv2d::map::Map;
use crate::conv2d::pooling::{Epilogue, PoolWindows};
use crate::simd::{Kernel, Simd, UNIT};

/// The arguments of one forward pass.
pub(crate) struct Forward<'a> {
    pub(crate) direct: &'a Direct,
    /// Weights as [`pack`] lays them out.
    pub(crate) weights: &'a [f32],
    pub(crate) input: Map<'a>,
    pub(crate) epilogue: Epilogue<'a>,
    /// Outputs of a segment of a row of windows.
    pub(crate) line: &'a mut Buffer,
}

/// Vectors of output channels that are made together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    /// First block of 8 channels.
    pub(super) block: usize,
    pub(super) blocks: usize,
    /// Of 8 lanes, although the level has 16.
    pub(super) half: bool,
}

/// Cuts `blocks` blocks of 8 output channels into groups of two vectors, then one, then half of one.
pub(super) fn groups<S: Simd>(blocks: usize) -> impl Iterator<Item = Group> {
    // With 6 running sums, two vectors would leave 3 pixels.
    let most = if S::ACCUMULATORS >= 12 { 2 } else { 1 };
    let mut block = 0;
    std::iter::from_fn(move || {
        let left = blocks - block;
        if left == 0 {
            return None;
        }
        let group = Group {
            block,
            blocks: (left / S::UNITS).clamp(1, most) * S::UNITS.min(left),
            half: left < S::UNITS,
        };
        block += group.blocks;
        Some(group)
    })
}

/// Brings weights (O,C,R,S) into the order in which they are read: for every group of output channels
/// `[c / N][r][s][c % N]` times the channels of the group, where `N` is the number of channels that stand
/// side by side in the input. Channels that fill up a block have weights 0.
pub(crate) struct Pack<'a> {
    pub(crate) direct: &'a Direct,
    pub(crate) weight: &'a [f32],
    /// Overwritten.
    pub(crate) packed: &'a mut [f32],
}

/// Values of packed weights.
pub(crate) fn packed_len(direct: &Direct) -> usize {
    direct.out_blocks() * UNIT * direct.conv.patch_len()
}

impl<S: Simd> Kernel<S> for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: S) {
        let conv = &self.direct.conv;
        let side_by_side = self.direct.channels_per_cell();
        for group in groups::<S>(self.direct.out_blocks()) {
            let lanes = group.blocks * UNIT;
            let first = group.block * UNIT;
            let mut entries = self.packed[first * conv.patch_len()..].chunks_exact_mut(lanes);
            for block in (0..conv.in_channels).step_by(side_by_side) {
                let channels = block..(block + side_by_side).min(conv.in_channels);
                for tap in 0..conv.kernel_height * conv.kernel_width {
                    for (c, entry) in channels.clone().zip(&mut entries) {
                        let column = c * conv.kernel_height * conv.kernel_width + tap;
                        for (o, value) in (first..).zip(entry) {
                            let row = o * conv.patch_len();
                            *value = match o < conv.out_channels {
                                true => self.weight[row + column],
                                false => 0.0,
                            };
                        }
                    }
                }
            }
        }
    }
}

impl<S: Simd> Kernel<S> for Forward<'_> {
    type Output = Result<(), ShapeError>;

    #[inline(always)]
    fn run(self, simd: S) -> Result<(), ShapeError> {
        match self.input {
            Map::Planes(planes) => self.windows(simd, planes.as_chunks::<1>().0),
            Map::Pixels(pixels) => self.windows(simd, pixels),
        }
    }
}

impl Forward<'_> {
    #[inline(always)]
    fn windows<S: Simd, const N: usize>(
        mut self,
        simd: S,
        cells: &[[f32; N]],
    ) -> Result<(), ShapeError> {
        let (conv, pool) = (&self.direct.conv, &self.direct.pool);
        let columns = segment_columns::<S>(pool.window_width);
        let len = 2 * pool.window_height * columns;
        self.line.reserve::<S::V>(len)?;
        for group in groups::<S>(self.direct.out_blocks()) {
            let lanes = group.blocks * UNIT;
            let start = group.block * UNIT * conv.patch_len();
            let weights = &self.weights[start..start + lanes * conv.patch_len()];
            for row in 0..pool.out_height() {
                simd.vectorize(WindowRow {
                    direct: self.direct,
                    group,
                    weights,
                    cells,
                    row,
                    columns,
                    line: self.line.slice(len * S::LANES),
                    epilogue: &mut self.epilogue,
                });
            }
        }
        Ok(())
    }
}

/// Columns that are made before they are pooled: two of the widest tiles, in whole windows. The outputs
/// of two rows of them, 12 KiB, stay in the first-level cache.
fn segment_columns<S: Simd>(window_columns: usize) -> usize {
    (2 * S::ACCUMULATORS / window_columns).max(1) * window_columns
}

/// One row of windows of one group of output channels.
struct WindowRow<'a, 'b, const N: usize> {
    direct: &'a Direct,
    group: Group,
    weights: &'a [f32],
    cells: &'a [[f32; N]],
    row: usize,
    columns: usize,
    line: &'a mut [f32],
    epilogue: &'a mut Epilogue<'b>,
}

impl<S: Simd, const N: usize> Kernel<S> for WindowRow<'_, '_, N> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        match (self.group.half, self.group.blocks / S::UNITS) {
            (true, _) => self.segments::<S, S::Half, 1>(simd.half()),
            (false, 1) => self.segments::<S, S, 1>(simd),
            (false, _) => self.segments::<S, S, 2>(simd),
        }
    }
}

impl<const N: usize> WindowRow<'_, '_, N> {
    #[inline(always)]
    fn segments<S: Simd, T: Simd, const V: usize>(mut self, simd: T) {
        let pool = self.direct.pool;
        let width = pool.out_width();
        let per_segment = self.columns / pool.window_width;
        for first in (0..width).step_by(per_segment) {
            let windows = per_segment.min(width - first);
            let columns = windows * pool.window_width;
            for r in 0..pool.window_height {
                self.columns::<S, T, V>(simd, r, first * pool.window_width, columns);
            }
            let vector_len = pool.window_height * self.columns;
            let line: &[T::V] = bytemuck::cast_slice(self.line);
            for v in 0..V {
                let mut bias = [[0.0; UNIT]; 2];
                let mut targets = [(0, 0); 2];
                for u in 0..T::UNITS {
                    let block = self.group.block + v * T::UNITS + u;
                    bias[u] = self.epilogue.bias[block];
                    let start = (block * pool.out_height() + self.row) * width + first;
                    targets[u] = (start, windows);
                }
                PoolWindows {
                    line: &line[v * vector_len..][..vector_len],
                    pitch: self.columns,
                    window: [pool.window_height, pool.window_width],
                    bias: &bias,
                    relu: self.epilogue.relu,
                    targets,
                    values: &mut *self.epilogue.values,
                    codes: &mut *self.epilogue.codes,
                }
                .run(simd);
            }
        }
    }

    /// Row `r` of the windows, `count` columns from `first` on.
    #[inline(always)]
    fn columns<S: Simd, T: Simd, const V: usize>(
        &mut self,
        simd: T,
        r: usize,
        first: usize,
        count: usize,
    ) {
        let largest = S::ACCUMULATORS / V;
        let mut column = 0;
        while column < count {
            let size = tile_columns(largest, count, count - column);
            // The last tile may overlap the one before it.
            let start = column.min(count - size);
            let at = [r, first + start, start];
            match size {
                24 if largest >= 24 => self.tile::<T, V, 24>(simd, at),
                12 if largest >= 12 => self.tile::<T, V, 12>(simd, at),
                6 => self.tile::<T, V, 6>(simd, at),
                3 => self.tile::<T, V, 3>(simd, at),
                _ => self.tile::<T, V, 1>(simd, at),
            }
            column += size;
        }
    }

    /// `P` pixels from column `column` of row `r` of the windows on, written from `slot` on.
    #[inline(always)]
    fn tile<T: Simd, const V: usize, const P: usize>(
        &mut self,
        simd: T,
        [r, column, slot]: [usize; 3],
    ) {
        let conv = &self.direct.conv;
        let window_height = self.direct.pool.window_height;
        let row = self.row * window_height + r;
        let (mut weights, _) = bytemuck::cast_slice::<_, T::V>(self.weights).as_chunks::<V>();
        let mut sums = [[simd.splat(0.0); V]; P];
        for block in 0..conv.in_channels.div_ceil(N) {
            let channels = N.min(conv.in_channels - block * N);
            for kernel_row in 0..conv.kernel_height {
                let start = (block * conv.height + row + kernel_row) * conv.width + column;
                let cells = &self.cells[start..start + conv.kernel_width + P - 1];
                let (taps, later) = weights.split_at(conv.kernel_width * channels);
                weights = later;
                if channels == N {
                    // A known count lets the compiler unroll.
                    let (taps, _) = taps.as_chunks::<N>();
                    for (cells, taps) in cells.array_windows::<P>().zip(taps) {
                        multiply_add(simd, cells, taps, &mut sums);
                    }
                } else {
                    for (cells, taps) in cells.array_windows::<P>().zip(taps.chunks_exact(channels))
                    {
                        multiply_add(simd, cells, taps, &mut sums);
                    }
                }
            }
        }
        let vector_len = window_height * self.columns;
        let line: &mut [T::V] = bytemuck::cast_slice_mut(self.line);
        for v in 0..V {
            let line = &mut line[v * vector_len + r * self.columns + slot..][..P];
            for (value, sums) in line.iter_mut().zip(&sums) {
                *value = sums[v];
            }
        }
    }
}

/// `sums[p][v] += sum_k cells[p][k] taps[k][v]`
#[inline(always)]
fn multiply_add<T: Simd, const N: usize, const V: usize, const P: usize>(
    simd: T,
    cells: &[[f32; N]; P],
    taps: &[[T::V; V]],
    sums: &mut [[T::V; V]; P],
) {
    for (k, taps) in taps.iter().enumerate() {
        for p in 0..P {
            let cell = simd.splat(cells[p][k]);
            for v in 0..V {
                sums[p][v] = simd.fma(cell, taps[v], sums[p][v]);
            }
        }
    }
}

/// Columns of the next tile: the most that do not make more than a third of what is `left` twice, and
/// that fit into the `count` columns of the segment.
pub(super) fn tile_columns(largest: usize, count: usize, left: usize) -> usize {
    [24, 12, 6, 3]
        .into_iter()
        .find(|&size| size <= largest && size <= count && 3 * size <= 4 * left)
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Level;

    #[test]
    fn tiles_cover_a_segment_with_little_to_spare() {
        assert_eq!(tile_columns(24, 48, 48), 24);
        assert_eq!(tile_columns(24, 48, 18), 24);
        assert_eq!(tile_columns(24, 48, 17), 12);
        assert_eq!(tile_columns(12, 5, 5), 3);
        assert_eq!(tile_columns(12, 5, 2), 1);
        assert_eq!(tile_columns(6, 48, 30), 6);
    }

    struct Groups;
    impl<S: Simd> Kernel<S> for Groups {
        type Output = ();
        #[inline(always)]
        fn run(self, _: S) {
            for blocks in 1..12 {
                let mut next = 0;
                for group in groups::<S>(blocks) {
                    assert_eq!(group.block, next);
                    assert_eq!(group.half, group.blocks < S::UNITS);
                    assert!(group.half || group.blocks.is_multiple_of(S::UNITS));
                    next += group.blocks;
                }
                assert_eq!(next, blocks);
            }
        }
    }

    #[test]
    fn groups_cover_all_output_channels_at_every_level() {
        for level in Level::available() {
            println!("ran level {level}");
            level.run(Groups);
        }
    }
}
