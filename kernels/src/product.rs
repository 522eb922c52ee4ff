//! Product of small matrices in vectors, the inner loop of the fused dense kernels and of convolutions by
//! patches.
//!
//! `c[m][n] (+)= sum_d a[m,d] b[d][n]`: up to six rows of `c` times four vectors (two with 16 registers, one
//! where a vector takes two of them) stay in registers while `d` runs; the numbers of `a` are broadcast from
//! memory. With AVX-512 that is 24 running sums, 4 vectors of `b` and one broadcast in 32 registers, and 24
//! products for 10 loads. Rows are shared out evenly: 8 are 4 + 4, not 6 + 2.

use crate::simd::{Kernel, Simd};

/// Rows of one block, at most.
const ROWS: usize = 6;

/// The left matrix: entry (m, d) is `data[m row + d depth]`, where one of the two is 1.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) row: usize,
    pub(crate) depth: usize,
}

/// One product. `c` is overwritten unless `accumulate`.
pub(crate) struct SmallProduct<'a, V> {
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    /// Vectors in a row of `b` and of `c`.
    pub(crate) vectors: usize,
    pub(crate) a: Strided<'a>,
    pub(crate) b: &'a [V],
    pub(crate) c: &'a mut [V],
    pub(crate) accumulate: bool,
}

impl<S: Simd> Kernel<S> for SmallProduct<'_, S::V> {
    type Output = ();

    #[inline(always)]
    fn run(mut self, simd: S) {
        match S::ACCUMULATORS / ROWS {
            4 => self.columns::<S, 4>(simd),
            2 => self.columns::<S, 2>(simd),
            _ => self.columns::<S, 1>(simd),
        }
    }
}

impl<V: bytemuck::Pod> SmallProduct<'_, V> {
    #[inline(always)]
    fn columns<S: Simd<V = V>, const W: usize>(&mut self, simd: S) {
        let mut first = 0;
        while first + W <= self.vectors {
            self.rows::<S, W>(simd, first);
            first += W;
        }
        match self.vectors - first {
            3 if W > 3 => self.rows::<S, 3>(simd, first),
            2 if W > 2 => self.rows::<S, 2>(simd, first),
            1 => self.rows::<S, 1>(simd, first),
            _ => {}
        }
    }

    #[inline(always)]
    fn rows<S: Simd<V = V>, const W: usize>(&mut self, simd: S, first: usize) {
        let mut row = 0;
        while row < self.rows {
            let left = self.rows - row;
            let count = left.div_ceil(left.div_ceil(ROWS));
            match count {
                1 => self.block::<S, 1, W>(simd, row, first),
                2 => self.block::<S, 2, W>(simd, row, first),
                3 => self.block::<S, 3, W>(simd, row, first),
                4 => self.block::<S, 4, W>(simd, row, first),
                5 => self.block::<S, 5, W>(simd, row, first),
                _ => self.block::<S, ROWS, W>(simd, row, first),
            }
            row += count;
        }
    }

    #[inline(always)]
    fn block<S: Simd<V = V>, const R: usize, const W: usize>(
        &mut self,
        simd: S,
        row: usize,
        first: usize,
    ) {
        let mut sums = [[simd.splat(0.0); W]; R];
        if self.accumulate {
            for (r, sums) in sums.iter_mut().enumerate() {
                sums.copy_from_slice(&self.c[(row + r) * self.vectors + first..][..W]);
            }
        }
        let b = self.b.chunks_exact(self.vectors).take(self.depth);
        if self.a.depth == 1 {
            let mut a: [&[f32]; R] = [&[]; R];
            for (r, a) in a.iter_mut().enumerate() {
                *a = &self.a.data[(row + r) * self.a.row..][..self.depth];
            }
            for (d, b) in b.enumerate() {
                let b = &b[first..first + W];
                for r in 0..R {
                    let factor = simd.splat(a[r][d]);
                    for w in 0..W {
                        sums[r][w] = simd.fma(factor, b[w], sums[r][w]);
                    }
                }
            }
        } else {
            debug_assert_eq!(self.a.row, 1);
            for (a, b) in self.a.data.chunks(self.a.depth).zip(b) {
                let (a, b) = (&a[row..row + R], &b[first..first + W]);
                for r in 0..R {
                    let factor = simd.splat(a[r]);
                    for w in 0..W {
                        sums[r][w] = simd.fma(factor, b[w], sums[r][w]);
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            self.c[(row + r) * self.vectors + first..][..W].copy_from_slice(sums);
        }
    }
}
