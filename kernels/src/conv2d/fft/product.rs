//! Products of spectra, frequency by frequency: small complex matrix products.
//!
//! At every frequency, `Y[pair, o] = sum_c X[pair, c] conj(W[c, o])` (forward) or the same with the roles
//! of the channels exchanged and `W` unconjugated (input gradient). The channels that are made lie in
//! the lanes, those summed over are broadcast.
//!
//! Only the columns `f_w <= T_w / 2` of `W` exist. A column beyond reads its mirror image:
//! `W[f_h, f_w] = conj W[-f_h, -f_w]`. Both columns are done at once, up to four pairs each: every vector of
//! `W`, which comes from the second- or third-level cache, is used up to eight times, and the many
//! accumulators hide the latency of the multipliers.

use super::spectra::SpectraLayout;
use super::tiling::Units;
use crate::fft::Complex;
use crate::simd::{Kernel, Pixel, Simd, UNIT, lanes_of};

/// What pixels are before they are looked up.
static ZERO: Pixel = [0.0; UNIT];

/// A column of frequencies of all tiles of a group: [vector][f_h], pitch `height + 1`.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a, V> {
    pub(crate) values: &'a [Complex<V>],
    pub(crate) units: Units,
}

impl<V: bytemuck::Pod> Columns<'_, V> {
    /// The 8 channels of a block of a pair at row `row`: real and imaginary parts.
    #[inline(always)]
    fn pixel<S: Simd<V = V>>(
        &self,
        height: usize,
        pair: usize,
        block: usize,
        row: usize,
    ) -> [&Pixel; 2] {
        let unit = pair * self.units.per_pair + block;
        let (vector, unit) = (unit / S::UNITS, unit % S::UNITS);
        let lanes = lanes_of(&self.values[vector * (height + 1) + row]);
        let (pixels, _) = lanes.as_chunks::<UNIT>();
        [&pixels[unit], &pixels[S::UNITS + unit]]
    }
}

/// Position of a vector of `T` in columns seen as vectors of `T`; the imaginary part is
/// `S::LANES / T::LANES` further on.
#[inline(always)]
fn vector_index<S: Simd, T: Simd>(height: usize, unit: usize, row: usize) -> usize {
    let (vector, unit) = (unit / S::UNITS, unit % S::UNITS);
    (vector * (height + 1) + row) * 2 * (S::LANES / T::LANES) + unit / T::UNITS
}

/// `out = x W` or `x conj(W)` for a column of frequencies of a group and for its mirror image.
pub(crate) struct Product<'a, V> {
    pub(crate) pairs: usize,
    /// Spectra at the column and at its mirror image.
    pub(crate) x: [Columns<'a, V>; 2],
    pub(crate) layout: SpectraLayout,
    /// The column of kernel spectra.
    pub(crate) weights: &'a [f32],
    /// There is a mirror image (the first and the middle column are their own).
    pub(crate) mirrored: bool,
    /// Multiply with the conjugate of the kernels' spectra.
    pub(crate) conjugate: bool,
    pub(crate) out: [&'a mut [Complex<V>]; 2],
    pub(crate) out_units: Units,
}

impl<S: Simd> Kernel<S> for Product<'_, S::V> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        match (self.out_units.is_wide(), self.conjugate) {
            (true, true) => self.rows::<S, S, true, false>(simd),
            (true, false) => self.rows::<S, S, false, true>(simd),
            (false, true) => self.rows::<S, S::Half, true, false>(simd.half()),
            (false, false) => self.rows::<S, S::Half, false, true>(simd.half()),
        }
    }
}

impl<V: bytemuck::Pod> Product<'_, V> {
    /// `CONJUGATE` of the column, `MIRRORED` of its mirror image, where the kernels' spectra are conjugate.
    #[inline(always)]
    fn rows<S: Simd<V = V>, T: Simd, const CONJUGATE: bool, const MIRRORED: bool>(
        mut self,
        simd: T,
    ) {
        // Each pair needs four accumulators, two for either column.
        let most = (T::ACCUMULATORS / 6).min(4);
        for row in 0..self.layout.height {
            let mut pair = 0;
            while pair < self.pairs {
                let count = (self.pairs - pair).min(most);
                match count {
                    1 => self.block::<S, T, CONJUGATE, MIRRORED, 1>(simd, row, pair),
                    2 => self.block::<S, T, CONJUGATE, MIRRORED, 2>(simd, row, pair),
                    3 => self.block::<S, T, CONJUGATE, MIRRORED, 3>(simd, row, pair),
                    _ => self.block::<S, T, CONJUGATE, MIRRORED, 4>(simd, row, pair),
                }
                pair += count;
            }
        }
    }

    #[inline(always)]
    fn block<
        S: Simd<V = V>,
        T: Simd,
        const CONJUGATE: bool,
        const MIRRORED: bool,
        const P: usize,
    >(
        &mut self,
        simd: T,
        row: usize,
        first: usize,
    ) {
        let layout = &self.layout;
        let height = layout.height;
        let opposite = if row == 0 { 0 } else { height - row };
        let vectors = layout.lanes / T::LANES;
        let row_len = layout.terms * layout.lanes * 2;
        let weights: &[T::V] = bytemuck::cast_slice(&self.weights[row * row_len..][..row_len]);
        let [out, mirrored_out] = &mut self.out;
        let out: &mut [T::V] = bytemuck::cast_slice_mut(out);
        let mirrored_out: &mut [T::V] = bytemuck::cast_slice_mut(mirrored_out);
        for j in 0..vectors {
            let mut sum = [[simd.splat(0.0); 2]; P];
            let mut mirrored_sum = [[simd.splat(0.0); 2]; P];
            for block in 0..layout.terms.div_ceil(UNIT) {
                let mut x = [[&ZERO; 2]; P];
                let mut mirrored_x = [[&ZERO; 2]; P];
                for p in 0..P {
                    x[p] = self.x[0].pixel::<S>(height, first + p, block, row);
                    if self.mirrored {
                        mirrored_x[p] = self.x[1].pixel::<S>(height, first + p, block, opposite);
                    }
                }
                let terms = (layout.terms - block * UNIT).min(UNIT);
                let entry = (block * UNIT * vectors + j) * 2;
                if terms == UNIT && self.mirrored {
                    // A known count lets the compiler unroll and keep the addresses in registers.
                    for k in 0..UNIT {
                        let entry = entry + 2 * k * vectors;
                        let w = [weights[entry], weights[entry + 1]];
                        multiply_add::<T, CONJUGATE, P>(simd, &x, k, w, &mut sum);
                        multiply_add::<T, MIRRORED, P>(simd, &mirrored_x, k, w, &mut mirrored_sum);
                    }
                } else {
                    for k in 0..terms {
                        let entry = entry + 2 * k * vectors;
                        let w = [weights[entry], weights[entry + 1]];
                        multiply_add::<T, CONJUGATE, P>(simd, &x, k, w, &mut sum);
                        multiply_add::<T, MIRRORED, P>(simd, &mirrored_x, k, w, &mut mirrored_sum);
                    }
                }
            }
            for p in 0..P {
                let unit = (first + p) * self.out_units.per_pair + j * T::UNITS;
                let index = vector_index::<S, T>(height, unit, row);
                let imaginary = S::LANES / T::LANES;
                [out[index], out[index + imaginary]] = sum[p];
                if self.mirrored {
                    let index = vector_index::<S, T>(height, unit, opposite);
                    [mirrored_out[index], mirrored_out[index + imaginary]] = mirrored_sum[p];
                }
            }
        }
    }
}

/// `sum[p] += x[p][k] w` or `x[p][k] conj(w)`.
#[inline(always)]
fn multiply_add<T: Simd, const CONJUGATE: bool, const P: usize>(
    simd: T,
    x: &[[&Pixel; 2]; P],
    k: usize,
    [wr, wi]: Complex<T::V>,
    sum: &mut [Complex<T::V>; P],
) {
    for p in 0..P {
        let (xr, xi) = (simd.splat(x[p][0][k]), simd.splat(x[p][1][k]));
        let [re, im] = sum[p];
        sum[p] = if CONJUGATE {
            [
                simd.fma(xi, wi, simd.fma(xr, wr, re)),
                simd.fnma(xr, wi, simd.fma(xi, wr, im)),
            ]
        } else {
            [
                simd.fnma(xi, wi, simd.fma(xr, wr, re)),
                simd.fma(xr, wi, simd.fma(xi, wr, im)),
            ]
        };
    }
}

/// Adds to the spectrum of the weight gradient, `G[c, o] += sum_pairs X[pair, c] conj(D[pair, o])`, for a
/// column of frequencies and for its mirror image at once.
///
/// Only the real part of the inverse transform of `G` is wanted, and that is what `G[f]` and `conj G[-f]`
/// share: both are added up in the columns `f_w <= T_w / 2`.
pub(crate) struct Accumulate<'a, V> {
    pub(crate) pairs: usize,
    pub(crate) height: usize,
    /// Input channels, rounded up to a multiple of 4.
    pub(crate) channels: usize,
    /// Spectra of the input at the column and at its mirror image.
    pub(crate) x: [Columns<'a, V>; 2],
    /// Spectra of the output gradient, likewise.
    pub(crate) gradient: [Columns<'a, V>; 2],
    /// There is a mirror image (the first and the middle column are their own).
    pub(crate) mirrored: bool,
    /// [f_h][c][lanes], real and imaginary vectors in turn.
    pub(crate) sum: &'a mut [f32],
}

/// Input channels of one block of accumulators: with four, 16 products per two loads of the gradient.
pub(crate) const CHANNELS: usize = 4;

impl<S: Simd> Kernel<S> for Accumulate<'_, S::V> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        if self.gradient[0].units.is_wide() {
            self.rows::<S, S>(simd);
        } else {
            self.rows::<S, S::Half>(simd.half());
        }
    }
}

impl<V: bytemuck::Pod> Accumulate<'_, V> {
    #[inline(always)]
    fn rows<S: Simd<V = V>, T: Simd>(self, simd: T) {
        let units = self.gradient[0].units;
        let vectors = units.per_pair / T::UNITS;
        let sums: &mut [Complex<T::V>] = bytemuck::cast_slice_mut(self.sum);
        let gradient: [&[T::V]; 2] = [
            bytemuck::cast_slice(self.gradient[0].values),
            bytemuck::cast_slice(self.gradient[1].values),
        ];
        for row in 0..self.height {
            let opposite = (self.height - row) % self.height;
            for first in (0..self.channels).step_by(CHANNELS) {
                for j in 0..vectors {
                    let entry = (row * self.channels + first) * vectors + j;
                    let mut sum = [[simd.splat(0.0); 2]; CHANNELS];
                    for (c, sum) in sum.iter_mut().enumerate() {
                        *sum = sums[entry + c * vectors];
                    }
                    for pair in 0..self.pairs {
                        let unit = pair * units.per_pair + j * T::UNITS;
                        let index = vector_index::<S, T>(self.height, unit, row);
                        let dr = gradient[0][index];
                        let di = gradient[0][index + S::LANES / T::LANES];
                        let x = self.x[0].pixel::<S>(self.height, pair, first / UNIT, row);
                        for (c, [re, im]) in sum.iter_mut().enumerate() {
                            let xr = simd.splat(x[0][first % UNIT + c]);
                            let xi = simd.splat(x[1][first % UNIT + c]);
                            *re = simd.fma(xi, di, simd.fma(xr, dr, *re));
                            *im = simd.fnma(xr, di, simd.fma(xi, dr, *im));
                        }
                    }
                    if self.mirrored {
                        for pair in 0..self.pairs {
                            let unit = pair * units.per_pair + j * T::UNITS;
                            let index = vector_index::<S, T>(self.height, unit, opposite);
                            let dr = gradient[1][index];
                            let di = gradient[1][index + S::LANES / T::LANES];
                            let x = self.x[1].pixel::<S>(self.height, pair, first / UNIT, opposite);
                            for (c, [re, im]) in sum.iter_mut().enumerate() {
                                let xr = simd.splat(x[0][first % UNIT + c]);
                                let xi = simd.splat(x[1][first % UNIT + c]);
                                *re = simd.fma(xi, di, simd.fma(xr, dr, *re));
                                *im = simd.fnma(xi, dr, simd.fma(xr, di, *im));
                            }
                        }
                    }
                    for (c, sum) in sum.into_iter().enumerate() {
                        sums[entry + c * vectors] = sum;
                    }
                }
            }
        }
    }
}
