//! Products of the rows of two panels: the weight gradient.
//!
//! `c[m][n] += sum_p a[m][p] b[n][p]`: both rows run along the lanes, so every running sum is a vector of
//! partial sums, four rows of `a` times six of `b` in registers. At the end the lanes of 8 vectors at a time
//! are added up.

use crate::simd::{Kernel, Simd, UNIT, lanes_of};

/// One product over all groups of a block.
pub(crate) struct Dot<'a> {
    /// Rows of `a`.
    pub(crate) rows: usize,
    /// Rows of `b`.
    pub(crate) columns: usize,
    pub(crate) groups: &'a [DotGroup<'a>],
    /// `c[m row + n]`, added to.
    pub(crate) c: &'a mut [f32],
    pub(crate) c_row: usize,
}

/// The panels of one group: rows of `pitch` pixels.
#[derive(Clone, Copy)]
pub(crate) struct DotGroup<'a> {
    pub(crate) a: &'a [f32],
    pub(crate) b: &'a [f32],
    pub(crate) pitch: usize,
}

impl<S: Simd> Kernel<S> for Dot<'_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self, simd: S) {
        match S::ACCUMULATORS {
            24 => self.tiles::<S, 4, 6>(simd),
            12 => self.tiles::<S, 4, 3>(simd),
            _ => self.tiles::<S, 2, 3>(simd),
        }
    }
}

/// The next tile of what is `left`, all tiles nearly the same size.
#[inline(always)]
fn share(left: usize, most: usize) -> usize {
    left.div_ceil(left.div_ceil(most))
}

impl Dot<'_> {
    #[inline(always)]
    fn tiles<S: Simd, const M: usize, const N: usize>(&mut self, simd: S) {
        let mut n = 0;
        while n < self.columns {
            let count = share(self.columns - n, N);
            match count {
                1 => self.rows::<S, M, 1>(simd, n),
                2 => self.rows::<S, M, 2>(simd, n),
                3 => self.rows::<S, M, 3>(simd, n),
                4 if N > 3 => self.rows::<S, M, 4>(simd, n),
                5 if N > 3 => self.rows::<S, M, 5>(simd, n),
                _ => self.rows::<S, M, N>(simd, n),
            }
            n += count;
        }
    }

    #[inline(always)]
    fn rows<S: Simd, const M: usize, const N: usize>(&mut self, simd: S, n: usize) {
        let mut m = 0;
        while m < self.rows {
            let count = share(self.rows - m, M);
            match count {
                1 => self.tile::<S, 1, N>(simd, m, n),
                2 => self.tile::<S, 2, N>(simd, m, n),
                3 if M > 3 => self.tile::<S, 3, N>(simd, m, n),
                _ => self.tile::<S, M, N>(simd, m, n),
            }
            m += count;
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const M: usize, const N: usize>(&mut self, simd: S, m: usize, n: usize) {
        let zero = simd.splat(0.0);
        let mut sums = [[zero; N]; M];
        for group in self.groups {
            let pitch = group.pitch;
            let mut a: [&[S::V]; M] = [&[]; M];
            for (i, a) in a.iter_mut().enumerate() {
                *a = bytemuck::cast_slice(&group.a[(m + i) * pitch..][..pitch]);
            }
            let mut b: [&[S::V]; N] = [&[]; N];
            for (j, b) in b.iter_mut().enumerate() {
                *b = bytemuck::cast_slice(&group.b[(n + j) * pitch..][..pitch]);
            }
            for p in 0..pitch / S::LANES {
                for i in 0..M {
                    for j in 0..N {
                        sums[i][j] = simd.fma(a[i][p], b[j][p], sums[i][j]);
                    }
                }
            }
        }
        let mut rows = [zero; UNIT];
        for (i, sum) in sums.as_flattened().iter().enumerate() {
            rows[i % UNIT] = *sum;
            if i % UNIT == UNIT - 1 || i == M * N - 1 {
                let first = i - i % UNIT;
                for unit in lanes_of(&[simd.sum_units(rows)]).chunks_exact(UNIT) {
                    for (i, sum) in (first..=i).zip(unit) {
                        self.c[(m + i / N) * self.c_row + n + i % N] += sum;
                    }
                }
            }
        }
    }
}
