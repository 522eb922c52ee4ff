//! Product of the rows of two panels: the weight gradient.
//!
//! `c[m][n] += sum_p a[m][p] b[n][p]`: both rows run along the lanes, so every running sum is a vector of
//! partial sums; with AVX-512 three rows of `a` times eight of `b` are in registers, and 11 loads make 24
//! products, with AVX2 four times three. At the end the lanes of eight sums at a time are added up.

use crate::simd::{Kernel, Simd, UNIT, lanes_of};

/// One product.
pub(crate) struct Dot<'a> {
    /// Rows of `a`.
    pub(crate) rows: usize,
    /// Rows of `b`.
    pub(crate) columns: usize,
    pub(crate) a: &'a [f32],
    pub(crate) b: &'a [f32],
    /// Values of a row of `a` and of `b`: whole vectors.
    pub(crate) pitch: usize,
    /// `c[m c_row + n]`, added to.
    pub(crate) c: &'a mut [f32],
    pub(crate) c_row: usize,
}

impl<S: Simd> Kernel<S> for Dot<'_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self, simd: S) {
        match S::ACCUMULATORS {
            24 => self.tiles::<S, 3, 8>(simd),
            12 => self.tiles::<S, 4, 3>(simd),
            _ => self.tiles::<S, 2, 2>(simd),
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
                3 if N > 2 => self.rows::<S, M, 3>(simd, n),
                4 if N > 3 => self.rows::<S, M, 4>(simd, n),
                5 if N > 4 => self.rows::<S, M, 5>(simd, n),
                6 if N > 4 => self.rows::<S, M, 6>(simd, n),
                7 if N > 4 => self.rows::<S, M, 7>(simd, n),
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
                3 if M > 2 => self.tile::<S, 3, N>(simd, m, n),
                _ => self.tile::<S, M, N>(simd, m, n),
            }
            m += count;
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const M: usize, const N: usize>(&mut self, simd: S, m: usize, n: usize) {
        let zero = simd.splat(0.0);
        let pitch = self.pitch;
        // One length that all slices are cut to: the loop below then needs no checks.
        let len = pitch / S::LANES;
        let mut a: [&[S::V]; M] = [&[]; M];
        for (i, a) in a.iter_mut().enumerate() {
            *a = &bytemuck::cast_slice(&self.a[(m + i) * pitch..][..pitch])[..len];
        }
        let mut b: [&[S::V]; N] = [&[]; N];
        for (j, b) in b.iter_mut().enumerate() {
            *b = &bytemuck::cast_slice(&self.b[(n + j) * pitch..][..pitch])[..len];
        }
        let mut sums = [[zero; N]; M];
        for p in 0..len {
            for i in 0..M {
                for j in 0..N {
                    sums[i][j] = simd.fma(a[i][p], b[j][p], sums[i][j]);
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            let mut rows = [zero; UNIT];
            rows[..N].copy_from_slice(sums);
            let total = [simd.sum_units(rows)];
            let (units, _) = lanes_of(&total).as_chunks::<UNIT>();
            let c = &mut self.c[(m + i) * self.c_row + n..][..N];
            for (j, c) in c.iter_mut().enumerate() {
                *c += match units {
                    [one, two] => one[j] + two[j],
                    _ => units[0][j],
                };
            }
        }
    }
}
