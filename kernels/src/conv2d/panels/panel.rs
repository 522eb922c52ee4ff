//! Packing patches into a panel, and adding a panel back to the image.

use std::ops::Range;

use super::blocks::{Block, COLUMNS};
use crate::shape::Conv2dShape;
use crate::simd::{Kernel, Simd, UNIT};

/// Taps (numbers `c,r,s`) and pixels of a panel.
#[derive(Clone)]
pub(crate) struct Patches<'a> {
    pub(crate) conv: &'a Conv2dShape,
    pub(crate) block: Block,
    pub(crate) taps: Range<usize>,
}

impl Patches<'_> {
    /// First cells under the taps of the block's first pixel.
    #[inline(always)]
    fn cells(&self) -> TapCells {
        let conv = self.conv;
        let (row, s) = (
            self.taps.start / conv.kernel_width,
            self.taps.start % conv.kernel_width,
        );
        let (c, r) = (row / conv.kernel_height, row % conv.kernel_height);
        let [first_row, first_column] = self.block.origin;
        TapCells {
            position: [r, s],
            kernel: [conv.kernel_height, conv.kernel_width],
            cell: (c * conv.height + first_row + r) * conv.width + first_column + s,
            steps: [
                (conv.height - conv.kernel_height) * conv.width,
                conv.width - conv.kernel_width,
            ],
        }
    }
}

/// Cells under one tap after the other, without divisions.
struct TapCells {
    position: [usize; 2],
    kernel: [usize; 2],
    cell: usize,
    /// From the end of one channel to the next, and from the end of one row to the next.
    steps: [usize; 2],
}

impl TapCells {
    /// The cell under the current tap; goes on to the next.
    #[inline(always)]
    fn step(&mut self) -> usize {
        let cell = self.cell;
        let [r, s] = &mut self.position;
        self.cell += 1;
        *s += 1;
        if *s == self.kernel[1] {
            self.cell += self.steps[1];
            (*r, *s) = (*r + 1, 0);
            if *r == self.kernel[0] {
                self.cell += self.steps[0];
                *r = 0;
            }
        }
        cell
    }
}

/// `panel[tap][pixel] = x[cell under the tap at the pixel]`; 0 where a row is filled up to whole vectors.
pub(crate) struct Pack<'a> {
    pub(crate) patches: Patches<'a>,
    /// (C,H,W).
    pub(crate) planes: &'a [f32],
    /// Overwritten.
    pub(crate) panel: &'a mut [f32],
}

impl<S: Simd> Kernel<S> for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let Patches { conv, block, taps } = self.patches.clone();
        let mut cells = self.patches.cells();
        let rows = self.panel.chunks_exact_mut(block.pitch(S::LANES));
        for (_, row) in taps.zip(rows) {
            let mut cell = cells.step();
            if block.columns == COLUMNS {
                let (pieces, _) = row.as_chunks_mut::<COLUMNS>();
                for to in &mut pieces[..block.rows] {
                    let from = &self.planes[cell..cell + COLUMNS];
                    for start in (0..COLUMNS).step_by(S::LANES) {
                        simd.store(simd.load(&from[start..]), &mut to[start..]);
                    }
                    cell += conv.width;
                }
                continue;
            }
            let (pixels, rest) = row.split_at_mut(block.rows * block.columns);
            for to in pixels.chunks_exact_mut(block.columns) {
                copy(simd, &self.planes[cell..cell + block.columns], to);
                cell += conv.width;
            }
            rest.fill(0.0);
        }
    }
}

/// `x[cell under the tap at the pixel] += panel[tap][pixel]`
pub(crate) struct AddBack<'a> {
    pub(crate) patches: Patches<'a>,
    pub(crate) panel: &'a [f32],
    /// (C,H,W).
    pub(crate) planes: &'a mut [f32],
}

impl<S: Simd> Kernel<S> for AddBack<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let Patches { conv, block, taps } = self.patches.clone();
        let mut cells = self.patches.cells();
        let rows = self.panel.chunks_exact(block.pitch(S::LANES));
        for (_, row) in taps.zip(rows) {
            let mut cell = cells.step();
            for from in row.chunks_exact(block.columns).take(block.rows) {
                add(simd, from, &mut self.planes[cell..cell + block.columns]);
                cell += conv.width;
            }
        }
    }
}

/// Copies in vectors; the last one overlaps the one before, so that short ends cost one, too.
#[inline(always)]
fn copy<S: Simd>(simd: S, from: &[f32], to: &mut [f32]) {
    let len = from.len();
    if len >= S::LANES {
        for start in (0..len - S::LANES).step_by(S::LANES) {
            simd.store(simd.load(&from[start..]), &mut to[start..]);
        }
        let last = len - S::LANES;
        simd.store(simd.load(&from[last..]), &mut to[last..]);
    } else if len >= UNIT {
        let half = simd.half();
        half.store(half.load(from), to);
        half.store(half.load(&from[len - UNIT..]), &mut to[len - UNIT..]);
    } else {
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
        }
    }
}

/// `to += from` in vectors.
#[inline(always)]
fn add<S: Simd>(simd: S, from: &[f32], to: &mut [f32]) {
    let whole = from.len() / S::LANES * S::LANES;
    for start in (0..whole).step_by(S::LANES) {
        let sum = simd.add(simd.load(&to[start..]), simd.load(&from[start..]));
        simd.store(sum, &mut to[start..]);
    }
    for (to, from) in to[whole..].iter_mut().zip(&from[whole..]) {
        *to += from;
    }
}
