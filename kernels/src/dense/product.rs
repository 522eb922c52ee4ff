//! Product of small matrices in vectors, the inner loop of the fused dense kernels.
//!
//! `c[m][n] (+)= sum_d a[m,d] b[d][n]`: five rows of `c` times four vectors (two where there are only 16
//! registers) stay in registers while `d` runs; the numbers of `a` are broadcast from memory. With
//! AVX-512 that is 20 accumulators, 4 vectors of `b` and one broadcast in 32 registers, and 20 products
//! for 9 loads.

use crate::simd::{Kernel, Simd};

/// Rows of one block.
const ROWS: usize = 5;

/// The left matrix: entry (m, d) is `data[m row + d depth]`.
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
        if S::LANES == 16 {
            self.columns::<S, 4>(simd);
        } else {
            self.columns::<S, 2>(simd);
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
        for first in first..self.vectors {
            self.rows::<S, 1>(simd, first);
        }
    }

    #[inline(always)]
    fn rows<S: Simd<V = V>, const W: usize>(&mut self, simd: S, first: usize) {
        let mut row = 0;
        while row + ROWS <= self.rows {
            self.block::<S, ROWS, W>(simd, row, first);
            row += ROWS;
        }
        for row in row..self.rows {
            self.block::<S, 1, W>(simd, row, first);
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
        let depth_stride = self.a.depth;
        let mut a: [&[f32]; R] = [&[]; R];
        for (r, a) in a.iter_mut().enumerate() {
            *a = &self.a.data[(row + r) * self.a.row..][..(self.depth - 1) * depth_stride + 1];
        }
        for (d, b) in self
            .b
            .chunks_exact(self.vectors)
            .take(self.depth)
            .enumerate()
        {
            let b = &b[first..first + W];
            for r in 0..R {
                let factor = simd.splat(a[r][d * depth_stride]);
                for w in 0..W {
                    sums[r][w] = simd.fma(factor, b[w], sums[r][w]);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            self.c[(row + r) * self.vectors + first..][..W].copy_from_slice(sums);
        }
    }
}
