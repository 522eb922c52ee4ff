//! Packing patches into a panel, and adding a panel back to the image.

use std::ops::Range;

use super::blocks::{GROUP, Run};
use crate::shape::Conv2dShape;
use crate::simd::{Kernel, Simd, UNIT};

/// Taps (numbers `c,r,s`) of a panel and where its pixels lie.
#[derive(Clone, Copy)]
pub(crate) struct Patches<'a> {
    pub(crate) conv: &'a Conv2dShape,
    pub(crate) runs: &'a [Run],
    /// Values of a row.
    pub(crate) pitch: usize,
}

impl Patches<'_> {
    /// First cells under taps of the pixel at the origin, from tap `first` on.
    #[inline(always)]
    fn cells(&self, first: usize) -> TapCells {
        let conv = self.conv;
        let (row, s) = (first / conv.kernel_width, first % conv.kernel_width);
        let (c, r) = (row / conv.kernel_height, row % conv.kernel_height);
        TapCells {
            position: [r, s],
            kernel: [conv.kernel_height, conv.kernel_width],
            cell: (c * conv.height + r) * conv.width + s,
            // From the last tap of a row to the first of the next, and of the next channel.
            steps: [
                (conv.height - conv.kernel_height) * conv.width,
                conv.width - conv.kernel_width,
            ],
        }
    }

    /// There are slots without pixel at the end of each row.
    fn has_gap(&self) -> bool {
        self.runs.iter().map(|run| run.len).sum::<usize>() < self.pitch
    }
}

/// Cells under one tap after the other, without divisions.
struct TapCells {
    position: [usize; 2],
    kernel: [usize; 2],
    cell: usize,
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

/// `panel[tap][slot] = x[cell under the tap at the slot's pixel]`, 0 in slots without pixel.
pub(crate) struct Pack<'a> {
    pub(crate) patches: Patches<'a>,
    pub(crate) taps: Range<usize>,
    /// (C,H,W).
    pub(crate) planes: &'a [f32],
    /// Overwritten.
    pub(crate) panel: &'a mut [f32],
}

impl<S: Simd> Kernel<S> for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let Self {
            patches,
            taps,
            planes,
            panel,
        } = self;
        if patches.has_gap() {
            panel.fill(0.0);
        }
        let mut cells = patches.cells(taps.start);
        let rows = panel.chunks_exact_mut(patches.pitch).take(taps.len());
        if let [run] = patches.runs
            && run.len == GROUP
        {
            // The usual case, without a loop.
            for row in rows {
                let from = &planes[cells.step() + run.cell..][..GROUP];
                let row = &mut row[..GROUP];
                for start in (0..GROUP).step_by(S::LANES) {
                    simd.store(simd.load(&from[start..]), &mut row[start..]);
                }
            }
            return;
        }
        for row in rows {
            let cell = cells.step();
            for run in patches.runs {
                let from = &planes[cell + run.cell..][..run.len];
                copy(simd, from, &mut row[run.slot..][..run.len]);
            }
        }
    }
}

/// `x[cell under the tap at the slot's pixel] += panel[tap][slot]`
pub(crate) struct AddBack<'a> {
    pub(crate) patches: Patches<'a>,
    pub(crate) taps: Range<usize>,
    pub(crate) panel: &'a [f32],
    /// (C,H,W).
    pub(crate) planes: &'a mut [f32],
}

impl<S: Simd> Kernel<S> for AddBack<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let patches = self.patches;
        let mut cells = patches.cells(self.taps.start);
        let rows = self.panel.chunks_exact(patches.pitch).take(self.taps.len());
        for row in rows {
            let cell = cells.step();
            for run in patches.runs {
                let to = &mut self.planes[cell + run.cell..][..run.len];
                add(simd, &row[run.slot..][..run.len], to);
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
