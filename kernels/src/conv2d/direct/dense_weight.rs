//! Weight gradient from all outputs of a block, for stages that leave few of them without gradient.
//!
//! `dw[o,c,r,s] += dy[o,i,j] x[c,i+r,j+s]` with output channels in the lanes: under one row of taps lie `S N`
//! numbers `x` side by side, of which `P` are broadcast to `P` running sums, for `V` vectors of `dy`. This is
//! the forward pass with the roles of weights and outputs exchanged, and reads as little: `P + V` loads for
//! `P V` products. The gradient `dy` is expanded from the pooled one for a block of windows at a time.

use super::forward::{Group, groups, tile_columns};
use super::{Direct, Windows};
use crate::conv2d::pooling::{ExpandWindows, PooledGradient};
use crate::simd::{Kernel, Simd, UNIT};

/// Values of the sums: for every group of output channels [c / N][r][s N + c % N] times its channels.
pub(crate) fn sums_len(direct: &Direct) -> usize {
    direct.out_blocks() * UNIT * numbers(direct)
}

/// Numbers under the taps of one output channel.
fn numbers(direct: &Direct) -> usize {
    let [rows, columns] = tap_numbers(direct);
    rows * columns
}

/// Rows of taps, and numbers under each.
fn tap_numbers(direct: &Direct) -> [usize; 2] {
    let conv = &direct.conv;
    let side_by_side = direct.channels_per_cell();
    [
        conv.in_channels.div_ceil(side_by_side) * conv.kernel_height,
        conv.kernel_width * side_by_side,
    ]
}

/// Values of the gradient of the outputs of a block, at most.
pub(crate) fn line_len<S: Simd>(direct: &Direct, windows: usize) -> usize {
    windows * direct.pool.window_len() * 2 * S::LANES
}

/// A block of windows.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    pub(crate) direct: &'a Direct,
    pub(crate) input: &'a [f32],
    pub(crate) gradient: PooledGradient<'a>,
    pub(crate) windows: Windows,
}

/// `sums += dy x` over a block of windows.
pub(crate) struct WeightGradient<'a> {
    pub(crate) block: Block<'a>,
    /// At least [`line_len`] values.
    pub(crate) line: &'a mut [f32],
    pub(crate) sums: &'a mut [f32],
}

impl<S: Simd> Kernel<S> for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self, simd: S) {
        for group in groups::<S>(self.block.direct.out_blocks()) {
            match (group.half, group.blocks / S::UNITS) {
                (true, _) => self.group::<S, S::Half, 1>(simd.half(), group),
                (false, 1) => self.group::<S, S, 1>(simd, group),
                (false, _) => self.group::<S, S, 2>(simd, group),
            }
        }
    }
}

impl WeightGradient<'_> {
    #[inline(always)]
    fn group<S: Simd, T: Simd, const V: usize>(&mut self, simd: T, group: Group) {
        let block = self.block;
        let direct = block.direct;
        let numbers = numbers(direct);
        let line: &mut [T::V] = bytemuck::cast_slice_mut(self.line);
        for (v, line) in line.chunks_exact_mut(block.outputs()).take(V).enumerate() {
            block.expand(simd, group.block + v * T::UNITS, line);
        }
        let start = group.block * UNIT * numbers;
        let sums = &mut self.sums[start..][..numbers * V * T::LANES];
        let (sums, _) = bytemuck::cast_slice_mut::<_, T::V>(sums).as_chunks_mut::<V>();
        let [_, columns] = tap_numbers(direct);
        let largest = S::ACCUMULATORS / V;
        for (row, sums) in sums.chunks_exact_mut(columns).enumerate() {
            let mut number = 0;
            while number < columns {
                let size = tile_columns(largest, columns, columns - number);
                // The last tile may overlap the one before it, whose sums are then left alone.
                let start = number.min(columns - size);
                let skip = number - start;
                let sums = &mut sums[start..start + size];
                match size {
                    24 if largest >= 24 => {
                        block.tile::<T, V, 24>(simd, [row, start], line, skip, sums)
                    }
                    12 if largest >= 12 => {
                        block.tile::<T, V, 12>(simd, [row, start], line, skip, sums)
                    }
                    6 => block.tile::<T, V, 6>(simd, [row, start], line, skip, sums),
                    3 => block.tile::<T, V, 3>(simd, [row, start], line, skip, sums),
                    _ => block.tile::<T, V, 1>(simd, [row, start], line, skip, sums),
                }
                number += size;
            }
        }
    }
}

impl Block<'_> {
    /// Outputs of the block, of one channel.
    #[inline(always)]
    fn outputs(&self) -> usize {
        self.windows.rows * self.windows.columns * self.direct.pool.window_len()
    }

    /// Columns of outputs of the block.
    #[inline(always)]
    fn columns(&self) -> usize {
        self.windows.columns * self.direct.pool.window_width
    }

    /// Overwrites `line` with the gradient of the outputs of a vector of channels from block `block` on.
    #[inline(always)]
    fn expand<T: Simd>(&self, simd: T, block: usize, line: &mut [T::V]) {
        let pool = self.direct.pool;
        let columns = self.columns();
        for (i, line) in line.chunks_exact_mut(columns).enumerate() {
            let row = self.windows.row + i / pool.window_height;
            let mut values = [&self.gradient.values[..0]; 2];
            let mut codes = [&self.gradient.codes[..0]; 2];
            for u in 0..2 {
                // An 8-lane vector ignores its second unit.
                let block = block + u.min(T::UNITS - 1);
                let first = (block * pool.out_height() + row) * pool.out_width();
                let range = first + self.windows.column..;
                values[u] = &self.gradient.values[range.clone()][..self.windows.columns];
                codes[u] = &self.gradient.codes[range][..self.windows.columns];
            }
            let row = i % pool.window_height;
            ExpandWindows {
                values,
                codes,
                window: [pool.window_height, pool.window_width],
                rows: row..row + 1,
                line,
                pitch: 0,
            }
            .run(simd);
        }
    }

    /// `P` numbers from `number` on under row `row` of the taps; the first `skip` sums stay as they are.
    #[inline(always)]
    fn tile<T: Simd, const V: usize, const P: usize>(
        &self,
        simd: T,
        [row, number]: [usize; 2],
        line: &[T::V],
        skip: usize,
        sums: &mut [[T::V; V]],
    ) {
        let (conv, pool) = (&self.direct.conv, &self.direct.pool);
        let side_by_side = self.direct.channels_per_cell();
        let (block, r) = (row / conv.kernel_height, row % conv.kernel_height);
        let first_row = block * conv.height + self.windows.row * pool.window_height + r;
        let first_column = self.windows.column * pool.window_width;
        let columns = self.columns();
        let rows = self.windows.rows * pool.window_height;
        let mut registers = [[simd.splat(0.0); V]; P];
        for i in 0..rows {
            let start = ((first_row + i) * conv.width + first_column) * side_by_side + number;
            let numbers = &self.input[start..][..(columns - 1) * side_by_side + P];
            let mut dy: [&[T::V]; V] = [&[]; V];
            for (v, dy) in dy.iter_mut().enumerate() {
                *dy = &line[(v * rows + i) * columns..][..columns];
            }
            if side_by_side == 1 {
                for j in 0..columns {
                    let numbers = &numbers[j..j + P];
                    multiply_add(simd, numbers, &dy, j, &mut registers);
                }
            } else {
                for j in 0..columns {
                    let numbers = &numbers[j * UNIT..j * UNIT + P];
                    multiply_add(simd, numbers, &dy, j, &mut registers);
                }
            }
        }
        for (sums, registers) in sums.iter_mut().zip(registers).skip(skip) {
            for (sum, register) in sums.iter_mut().zip(registers) {
                *sum = simd.add(*sum, register);
            }
        }
    }
}

/// `registers[p][v] += numbers[p] dy[v][j]`
#[inline(always)]
fn multiply_add<T: Simd, const V: usize, const P: usize>(
    simd: T,
    numbers: &[f32],
    dy: &[&[T::V]; V],
    j: usize,
    registers: &mut [[T::V; V]; P],
) {
    for (registers, &number) in registers.iter_mut().zip(numbers) {
        let number = simd.splat(number);
        for v in 0..V {
            registers[v] = simd.fma(number, dy[v][j], registers[v]);
        }
    }
}

/// Brings the sums into the order (O,C,R,S).
pub(crate) struct Unpack<'a> {
    pub(crate) direct: &'a Direct,
    pub(crate) sums: &'a [f32],
    /// Overwritten.
    pub(crate) weight: &'a mut [f32],
}

impl<S: Simd> Kernel<S> for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: S) {
        let conv = &self.direct.conv;
        let side_by_side = self.direct.channels_per_cell();
        let numbers = numbers(self.direct);
        let [_, columns] = tap_numbers(self.direct);
        for group in groups::<S>(self.direct.out_blocks()) {
            let lanes = group.blocks * UNIT;
            let first = group.block * UNIT;
            let filters = first..conv.out_channels.min(first + lanes);
            let sums = &self.sums[first * numbers..][..lanes * numbers];
            for (i, sums) in sums.chunks_exact(lanes).enumerate() {
                let (row, number) = (i / columns, i % columns);
                let (block, r) = (row / conv.kernel_height, row % conv.kernel_height);
                let c = block * side_by_side + number % side_by_side;
                if c >= conv.in_channels {
                    continue;
                }
                let tap = (c * conv.kernel_height + r) * conv.kernel_width + number / side_by_side;
                for (o, &sum) in filters.clone().zip(sums) {
                    self.weight[o * conv.patch_len() + tap] = sum;
                }
            }
        }
    }
}
