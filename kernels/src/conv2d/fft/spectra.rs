//! Spectra of the convolution kernels, made once per mini-batch.
//!
//! `W[f] = sum_rs w[r,s] exp(-2 pi i (f_h r / T_h + f_w s / T_w)) / (T_h T_w)`: the factor makes the inverse
//! transforms right. The kernel is real, so `W[-f] = conj W[f]` and only the columns
//! `f_w = 0 ..= T_w / 2` are kept. Laid out [f_w][f_h][k][lanes], where `k` is the channel that products
//! sum over and the lanes are the channels that they make: one layout for the forward pass (`k` input,
//! lanes output channels), one for the input gradient (the other way round).

use super::Fft;
use crate::fft::{Complex, MAX_LENGTH, Sink, Source, Transform};
use crate::shape::Conv2dShape;
use crate::simd::{Pixel, Simd, UNIT};

/// Which channels are summed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Sums over input channels.
    Forward,
    /// Sums over output channels.
    InputGradient,
}

/// Geometry of one layout of kernel spectra.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpectraLayout {
    /// Channels summed over.
    pub(crate) terms: usize,
    /// Lanes in one entry: a whole number of vectors of `vector` lanes.
    pub(crate) lanes: usize,
    /// Lanes per vector of the product that reads it.
    pub(crate) vector: usize,
    /// Rows of a tile.
    pub(crate) height: usize,
    /// Stored columns.
    pub(crate) columns: usize,
}

impl SpectraLayout {
    /// Values of one column of frequencies.
    pub(crate) fn column_len(&self) -> usize {
        self.height * self.terms * self.lanes * 2
    }

    /// Values of all.
    pub(crate) fn len(&self) -> usize {
        self.columns * self.column_len()
    }

    /// Position of the real part of 8 lanes from `lane` on; imaginary parts follow `vector` later.
    pub(crate) fn index(&self, [row, column]: [usize; 2], term: usize, lane: usize) -> usize {
        let entry = (column * self.height + row) * self.terms + term;
        (entry * self.lanes + lane / self.vector * self.vector) * 2 + lane % self.vector
    }
}

/// Overwrites `spectra` with the spectra of `weight` (O,C,R,S), 8 lanes at a time.
pub(crate) fn transform_kernels<S: Simd>(
    simd: S,
    fft: &Fft,
    direction: Direction,
    layout: SpectraLayout,
    weight: &[f32],
    spectra: &mut [f32],
) {
    let shape = &fft.conv;
    let [height, width] = fft.tiling.tile;
    let simd = simd.half();
    let zero = simd.splat(0.0);
    let mut work = vec![[zero; 2]; MAX_LENGTH];
    // Transforms of the kernel's rows, [f_w][r].
    let mut rows = vec![[zero; 2]; layout.columns * shape.kernel_height];
    for lane in (0..layout.lanes).step_by(UNIT) {
        for term in 0..layout.terms {
            for r in 0..shape.kernel_height {
                simd.vectorize(Transform {
                    length: width,
                    twiddles: &fft.twiddles[1],
                    source: Taps {
                        shape,
                        direction,
                        weight,
                        scale: 1.0 / (height * width) as f32,
                        lane,
                        term,
                        r,
                    },
                    sink: RowSpectrum {
                        rows: &mut rows,
                        columns: layout.columns,
                        kernel_height: shape.kernel_height,
                        r,
                    },
                    work: &mut work,
                });
            }
            for column in 0..layout.columns {
                simd.vectorize(Transform {
                    length: height,
                    twiddles: &fft.twiddles[0],
                    source: Column(&rows[column * shape.kernel_height..][..shape.kernel_height]),
                    sink: Entries {
                        layout,
                        spectra: &mut *spectra,
                        column,
                        term,
                        lane,
                    },
                    work: &mut work,
                });
            }
        }
    }
}

/// Row `r` of the kernels of 8 lanes.
struct Taps<'a> {
    shape: &'a Conv2dShape,
    direction: Direction,
    weight: &'a [f32],
    scale: f32,
    lane: usize,
    term: usize,
    r: usize,
}

impl<S: Simd> Source<S> for Taps<'_> {
    #[inline(always)]
    fn load(&self, simd: S, index: usize) -> Complex<S::V> {
        let zero = simd.splat(0.0);
        let shape = self.shape;
        if index >= shape.kernel_width {
            return [zero, zero];
        }
        let mut taps: Pixel = [0.0; UNIT];
        for (i, tap) in taps.iter_mut().enumerate() {
            let lane = self.lane + i;
            let (o, c) = match self.direction {
                Direction::Forward => (lane, self.term),
                Direction::InputGradient => (self.term, lane),
            };
            if o < shape.out_channels && c < shape.in_channels {
                let row = (o * shape.in_channels + c) * shape.kernel_height + self.r;
                *tap = self.weight[row * shape.kernel_width + index] * self.scale;
            }
        }
        [simd.load_units([&taps, &taps]), zero]
    }
}

struct RowSpectrum<'a, V> {
    rows: &'a mut [Complex<V>],
    columns: usize,
    kernel_height: usize,
    r: usize,
}

impl<S: Simd> Sink<S> for RowSpectrum<'_, S::V> {
    #[inline(always)]
    fn store(&mut self, _: S, index: usize, value: Complex<S::V>) {
        if index < self.columns {
            self.rows[index * self.kernel_height + self.r] = value;
        }
    }
}

/// A column of a few values, zero below.
struct Column<'a, V>(&'a [Complex<V>]);

impl<S: Simd> Source<S> for Column<'_, S::V> {
    #[inline(always)]
    fn load(&self, simd: S, index: usize) -> Complex<S::V> {
        match self.0.get(index) {
            Some(value) => *value,
            None => [simd.splat(0.0); 2],
        }
    }
}

struct Entries<'a> {
    layout: SpectraLayout,
    spectra: &'a mut [f32],
    column: usize,
    term: usize,
    lane: usize,
}

impl<S: Simd> Sink<S> for Entries<'_> {
    #[inline(always)]
    fn store(&mut self, simd: S, index: usize, value: Complex<S::V>) {
        let start = self
            .layout
            .index([index, self.column], self.term, self.lane);
        for (part, v) in value.into_iter().enumerate() {
            let mut pixel = [0.0; UNIT];
            simd.store_unit(v, 0, &mut pixel);
            self.spectra[start + part * self.layout.vector..][..UNIT].copy_from_slice(&pixel);
        }
    }
}
