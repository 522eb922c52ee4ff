//! The case of one input channel, as in the first layer of a network of images.
//!
//! Products over one channel are single multiplications: they are done while the inverse transforms load
//! (forward pass) and while the transforms of the output gradient store (weight gradient). The lanes of
//! the input's transforms are pairs of tiles, not channels; their spectra are then laid out
//! [vector][f_w][f_h][re of each unit, im of each unit], so that what a vector of outputs needs is small
//! and contiguous.

use super::analysis::{StridedColumn, row_start};
use super::spectra::SpectraLayout;
use super::{Engine, Fft};
use crate::fft::{Complex, MAX_LENGTH, Sink, Source};
use crate::simd::{Kernel, Simd, UNIT};

/// A row of a tile that lies outside the image.
static ZEROS: [f32; MAX_LENGTH] = [0.0; MAX_LENGTH];

/// Values from the spectra of one vector of outputs to those of the next. One cache line more than they
/// need: tiles have sides of many factors 2, and vectors whole pages apart crowd into one set of the cache.
fn spectra_pitch(fft: &Fft, units: usize) -> usize {
    fft.tiling.tile[0] * fft.tiling.tile[1] * 2 * units + 16
}

/// Values of the spectra of as many pairs as a vector has lanes.
pub(crate) fn spectra_len(fft: &Fft, lanes: usize) -> usize {
    UNIT * spectra_pitch(fft, lanes / UNIT)
}

/// Transforms of the tiles of up to `LANES` pairs of an image [H][W].
pub(crate) fn analyse<S: Simd>(
    engine: &mut Engine<'_, S>,
    pairs: std::ops::Range<usize>,
    image: &[f32],
    rows: &mut [Complex<S::V>],
    spectra: &mut [f32],
    staging: &mut [S::V],
) {
    let (simd, fft) = (engine.simd, engine.fft);
    let [height, width] = [fft.conv.height, fft.conv.width];
    let [count, _] = fft.tiling.input;
    let [tile_rows, columns] = fft.tiling.tile;
    let (re, im) = staging[..2 * columns].split_at_mut(columns);
    // Rows of tiles that stick out to the right, padded with 0.
    let mut edges = [[0.0; MAX_LENGTH]; 2 * 16];
    for h in 0..count {
        for (lane, pair) in pairs.clone().enumerate() {
            for (tile, [row, column]) in fft.tiling.origins(pair).into_iter().enumerate() {
                if row + h < height && column < width && column + columns > width {
                    let start = (row + h) * width;
                    edges[2 * lane + tile][..width - column]
                        .copy_from_slice(&image[start + column..start + width]);
                }
            }
        }
        let mut tiles: [[&[f32]; 16]; 2] = [[&ZEROS; 16]; 2];
        for (lane, pair) in pairs.clone().enumerate() {
            for (tile, [row, column]) in fft.tiling.origins(pair).into_iter().enumerate() {
                if row + h < height && column < width {
                    let start = (row + h) * width + column;
                    simd.prefetch(image, start + width, fft.tiling.useful[1]);
                    tiles[tile][lane] = if column + columns <= width {
                        &image[start..start + columns]
                    } else {
                        &edges[2 * lane + tile][..columns]
                    };
                }
            }
        }
        simd.vectorize(Transpose {
            rows: &tiles[0],
            columns: &mut *re,
        });
        simd.vectorize(Transpose {
            rows: &tiles[1],
            columns: &mut *im,
        });
        let start = row_start(count, columns, 0, h);
        engine.transform_row(
            Parts(&*re, &*im),
            super::analysis::Contiguous(&mut rows[start..start + columns]),
        );
    }
    for column in 0..columns {
        engine.transform_column(
            StridedColumn {
                values: &rows[column..],
                pitch: columns + 1,
                rows: count,
            },
            Scatter {
                spectra: &mut spectra[column * tile_rows * 2 * S::UNITS..],
                stride: spectra_pitch(fft, S::UNITS),
            },
        );
    }
}

struct Transpose<'a, V> {
    rows: &'a [&'a [f32]; 16],
    columns: &'a mut [V],
}

impl<S: Simd> Kernel<S> for Transpose<'_, S::V> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        simd.transpose_rows(self.rows, self.columns.len(), self.columns);
    }
}

struct Parts<'a, V>(&'a [V], &'a [V]);

impl<S: Simd> Source<S> for Parts<'_, S::V> {
    #[inline(always)]
    fn load(&self, _: S, index: usize) -> Complex<S::V> {
        [self.0[index], self.1[index]]
    }
}

/// Hands the lanes of a column out to the vectors of outputs that they belong to.
struct Scatter<'a> {
    spectra: &'a mut [f32],
    stride: usize,
}

impl<S: Simd> Sink<S> for Scatter<'_> {
    #[inline(always)]
    fn store(&mut self, simd: S, index: usize, value: Complex<S::V>) {
        let spectra = &mut self.spectra[index * 2 * S::UNITS..];
        simd.scatter_units(value, spectra, self.stride);
    }
}

/// Spectra of the input under the units of one vector of outputs: a column of frequencies.
#[derive(Clone, Copy)]
pub(crate) struct InputSpectra<'a> {
    /// [f_h][re of each unit, im of each unit].
    points: &'a [f32],
    /// Which of a point's units each unit of the outputs reads.
    units: [usize; 2],
}

impl<'a> InputSpectra<'a> {
    /// Column `column` of the pairs `pairs` (counted from the first of the group) of the units, which lie in
    /// one vector.
    pub(crate) fn new<S: Simd>(
        fft: &Fft,
        spectra: &'a [f32],
        pairs: [usize; 2],
        column: usize,
    ) -> Self {
        debug_assert_eq!(pairs[0] / S::UNITS, pairs[S::UNITS - 1] / S::UNITS);
        let len = fft.tiling.tile[0] * 2 * S::UNITS;
        let start = pairs[0] / S::UNITS * spectra_pitch(fft, S::UNITS) + column * len;
        Self {
            points: &spectra[start..start + len],
            units: pairs.map(|pair| pair % S::UNITS),
        }
    }

    #[inline(always)]
    fn load<S: Simd>(&self, simd: S, index: usize) -> Complex<S::V> {
        let point = &self.points[index * 2 * S::UNITS..][..2 * S::UNITS];
        // The remainder tells the compiler that they lie within the point.
        let [a, b] = [self.units[0] % S::UNITS, self.units[1] % S::UNITS];
        [
            simd.splat_units([&point[a], &point[b]]),
            simd.splat_units([&point[S::UNITS + a], &point[S::UNITS + b]]),
        ]
    }
}

/// The row of a column's mirror image that stands for row `index`.
#[inline(always)]
fn mirrored_row(height: usize, index: usize) -> usize {
    if index == 0 { 0 } else { height - index }
}

/// `X conj(W)` at one column of frequencies, parts exchanged for the inverse transform. The kernels' spectra
/// are those of the column or (`MIRRORED`) of its mirror image.
pub(crate) struct Pointwise<'a, const MIRRORED: bool> {
    x: InputSpectra<'a>,
    layout: SpectraLayout,
    weights: &'a [f32],
    blocks: [usize; 2],
}

impl<'a, const MIRRORED: bool> Pointwise<'a, MIRRORED> {
    /// `weights`: the stored column of the kernels' spectra; `blocks`: the block of output channels of each
    /// unit.
    pub(crate) fn new(
        x: InputSpectra<'a>,
        layout: SpectraLayout,
        weights: &'a [f32],
        blocks: [usize; 2],
    ) -> Self {
        Self {
            x,
            layout,
            weights,
            blocks,
        }
    }
}

impl<S: Simd, const MIRRORED: bool> Source<S> for Pointwise<'_, MIRRORED> {
    #[inline(always)]
    fn load(&self, simd: S, index: usize) -> Complex<S::V> {
        let row = if MIRRORED {
            mirrored_row(self.layout.height, index)
        } else {
            index
        };
        let (pixels, _) = self.weights.as_chunks::<{ 2 * UNIT }>();
        let entry = row * (self.layout.lanes / UNIT);
        let (a, _) = pixels[entry + self.blocks[0]].as_chunks::<UNIT>();
        let (b, _) = pixels[entry + self.blocks[1]].as_chunks::<UNIT>();
        let wr = simd.load_units([&a[0], &b[0]]);
        let wi = simd.load_units([&a[1], &b[1]]);
        let [xr, xi] = self.x.load(simd, index);
        if MIRRORED {
            let re = simd.fnma(xi, wi, simd.mul(xr, wr));
            [simd.fma(xr, wi, simd.mul(xi, wr)), re]
        } else {
            let re = simd.fma(xi, wi, simd.mul(xr, wr));
            [simd.fnma(xr, wi, simd.mul(xi, wr)), re]
        }
    }
}

/// Adds `X conj(D)`, or for a mirrored column its conjugate at the opposite row, to the spectrum of the
/// weight gradient; keeps `D` at row 0.
pub(crate) struct AddProduct<'a, V, const MIRRORED: bool> {
    x: InputSpectra<'a>,
    sum: &'a mut [Complex<V>],
    first: &'a mut Complex<V>,
}

impl<'a, V, const MIRRORED: bool> AddProduct<'a, V, MIRRORED> {
    /// Adds to the stored column `sum`, keeps row 0 of `D` in `first`.
    pub(crate) fn new(
        x: InputSpectra<'a>,
        sum: &'a mut [Complex<V>],
        first: &'a mut Complex<V>,
    ) -> Self {
        Self { x, sum, first }
    }
}

impl<S: Simd, const MIRRORED: bool> Sink<S> for AddProduct<'_, S::V, MIRRORED> {
    #[inline(always)]
    fn store(&mut self, simd: S, index: usize, [dr, di]: Complex<S::V>) {
        if index == 0 {
            *self.first = [dr, di];
        }
        let [xr, xi] = self.x.load(simd, index);
        let row = if MIRRORED {
            mirrored_row(self.sum.len(), index)
        } else {
            index
        };
        let [re, im] = &mut self.sum[row];
        *re = simd.fma(xi, di, simd.fma(xr, dr, *re));
        *im = if MIRRORED {
            simd.fnma(xi, dr, simd.fma(xr, di, *im))
        } else {
            simd.fnma(xr, di, simd.fma(xi, dr, *im))
        };
    }
}
