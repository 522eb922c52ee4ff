//! Forward transforms of tiles: along the width, from a map or from a pooled gradient, then along the
//! height, column of frequencies by column of frequencies.
//!
//! The width transforms write each row of frequencies contiguously and the height transforms read with
//! a stride: loads may overtake each other, stores may not, so the strided side is the loading one.
//! Rows are an odd number of cache lines apart, since strides of powers of two would crowd into a few
//! sets of the cache.

use std::ops::Range;

use super::Engine;
use super::tiling::Units;
use crate::conv2d::pooling::{Codes, DEAD, ExpandWindows, PooledGradient};
use crate::fft::{Complex, Sink, Source};
use crate::simd::{Pixel, Simd, UNIT};

/// Pairs of a group and how their channels fill vectors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    pub(crate) first_pair: usize,
    pub(crate) pairs: usize,
    pub(crate) units: Units,
}

impl Group {
    /// Vectors of the group.
    pub(crate) fn vectors(&self) -> usize {
        self.units.vectors(self.pairs)
    }

    /// Pair of the image and block of channels of a unit.
    pub(crate) fn unit(&self, vector: usize, unit: usize) -> Option<(usize, usize)> {
        let (pair, block) = self.units.unit(vector, unit, self.pairs)?;
        Some((self.first_pair + pair, block))
    }
}

/// Row `row` of frequencies of vector `vector`: where it starts in a buffer of width spectra.
pub(crate) fn row_start(rows: usize, width: usize, vector: usize, row: usize) -> usize {
    (vector * rows + row) * (width + 1)
}

/// Width transforms of the tiles of a map [block][H][W] of pixels.
pub(crate) fn map_rows<S: Simd>(
    engine: &mut Engine<'_, S>,
    group: Group,
    map: &[Pixel],
    spectra: &mut [Complex<S::V>],
    staging: &mut [Pixel],
) {
    let (simd, fft) = (engine.simd, engine.fft);
    let [height, width] = [fft.conv.height, fft.conv.width];
    let [rows, _] = fft.tiling.input;
    let columns = fft.tiling.tile[1];
    let (zeros, staging) = staging.split_at_mut(columns);
    zeros.fill([0.0; UNIT]);
    for vector in 0..group.vectors() {
        for h in 0..rows {
            // Which pixels of the map each half of a complex unit reads: [unit][tile].
            let mut wanted = [[None; 2]; 2];
            for (u, wanted) in wanted.iter_mut().enumerate() {
                let Some((pair, block)) = group.unit(vector, u) else {
                    continue;
                };
                for (wanted, [row, column]) in wanted.iter_mut().zip(fft.tiling.origins(pair)) {
                    if row + h < height && column < width {
                        let start = (block * height + row + h) * width + column;
                        *wanted = Some((start, (width - column).min(columns)));
                    }
                }
            }
            for (start, present) in wanted.as_flattened().iter().flatten() {
                if h + 1 < rows {
                    simd.prefetch(map, start + width, *present);
                }
            }
            // Tiles that stick out of the map are copied and padded.
            for (slot, wanted) in wanted.as_flattened().iter().enumerate() {
                if let Some((start, present)) = *wanted
                    && present < columns
                {
                    let copy = &mut staging[slot * columns..][..columns];
                    copy[..present].copy_from_slice(&map[start..start + present]);
                    copy[present..].fill([0.0; UNIT]);
                }
            }
            let slice = |u: usize, t: usize| match wanted[u][t] {
                None => &*zeros,
                Some((start, present)) if present == columns => &map[start..start + columns],
                Some(_) => &staging[(2 * u + t) * columns..][..columns],
            };
            let start = row_start(rows, columns, vector, h);
            engine.transform_row(
                PixelRows {
                    tiles: [[slice(0, 0), slice(1, 0)], [slice(0, 1), slice(1, 1)]],
                },
                Contiguous(&mut spectra[start..start + columns]),
            );
        }
    }
}

/// Rows of pixels of tiles A (real part) and B (imaginary part), [tile][unit].
struct PixelRows<'a> {
    tiles: [[&'a [Pixel]; 2]; 2],
}

impl<S: Simd> Source<S> for PixelRows<'_> {
    #[inline(always)]
    fn load(&self, simd: S, index: usize) -> Complex<S::V> {
        let [a, b] = self.tiles;
        [
            simd.load_units([&a[0][index], &a[1][index]]),
            simd.load_units([&b[0][index], &b[1][index]]),
        ]
    }
}

/// Writes element after element.
pub(crate) struct Contiguous<'a, V>(pub(crate) &'a mut [Complex<V>]);

impl<S: Simd> Sink<S> for Contiguous<'_, S::V> {
    #[inline(always)]
    fn store(&mut self, _: S, index: usize, value: Complex<S::V>) {
        self.0[index] = value;
    }
}

/// Width transforms of the tiles of the gradient of the convolution's output: `values` at the position
/// `codes` of each window, else 0. It is expanded a row of windows at a time into `line`, where the columns of
/// tile A are followed by those of tile B, and never written as a whole.
pub(crate) fn gradient_rows<S: Simd>(
    engine: &mut Engine<'_, S>,
    group: Group,
    vectors: Range<usize>,
    gradient: PooledGradient<'_>,
    spectra: &mut [Complex<S::V>],
    line: &mut [S::V],
    edges: (&mut [Pixel], &mut [Codes]),
) {
    let (simd, fft) = (engine.simd, engine.fft);
    let [window_rows, window_columns] = [fft.pool.window_height, fft.pool.window_width];
    let [height, width] = [fft.pool.out_height(), fft.pool.out_width()];
    let [rows, useful] = fft.tiling.useful;
    let columns = fft.tiling.tile[1];
    let windows = fft.segment_windows();
    let (edge_values, edge_codes) = edges;
    for (slot, vector) in vectors.enumerate() {
        for i in 0..rows / window_rows {
            for segment in 0..fft.segments() {
                // The windows of each unit: whole segments in place, others copied and padded.
                let mut starts = [None; 2];
                for (u, start) in starts.iter_mut().enumerate() {
                    let edge = u * windows..(u + 1) * windows;
                    let unit = group.unit(vector, u).and_then(|(pair, block)| {
                        let [row, column] = fft.segment_origins(pair)[segment];
                        let (row, column) = (row / window_rows + i, column / window_columns);
                        (row < height && column < width)
                            .then(|| ((block * height + row) * width + column, width - column))
                    });
                    match unit {
                        Some((first, present)) if present >= windows => {
                            *start = Some(first);
                            simd.prefetch(gradient.values, first + width, windows);
                            simd.prefetch(gradient.codes, first + width, windows);
                        }
                        Some((first, present)) => {
                            let source = first..first + present;
                            edge_values[edge.clone()][..present]
                                .copy_from_slice(&gradient.values[source.clone()]);
                            edge_codes[edge.clone()][..present]
                                .copy_from_slice(&gradient.codes[source]);
                            edge_codes[edge][present..].fill([DEAD; UNIT]);
                        }
                        None => edge_codes[edge].fill([DEAD; UNIT]),
                    }
                }
                let slice = |u: usize| match starts[u] {
                    Some(first) => (
                        &gradient.values[first..first + windows],
                        &gradient.codes[first..first + windows],
                    ),
                    None => (
                        &edge_values[u * windows..(u + 1) * windows],
                        &edge_codes[u * windows..(u + 1) * windows],
                    ),
                };
                let ((values_0, codes_0), (values_1, codes_1)) = (slice(0), slice(1));
                simd.vectorize(ExpandWindows {
                    values: [values_0, values_1],
                    codes: [codes_0, codes_1],
                    window: [window_rows, window_columns],
                    rows: 0..window_rows,
                    line: &mut line[segment * useful..],
                    pitch: 2 * useful,
                });
            }
            for r in 0..window_rows {
                let start = row_start(rows, columns, slot, i * window_rows + r);
                let (a, b) = line[2 * r * useful..][..2 * useful].split_at(useful);
                engine.transform_row(
                    TilePair(a, b),
                    Contiguous(&mut spectra[start..start + columns]),
                );
            }
        }
    }
}

/// The useful columns of tiles A and B, zero beyond.
struct TilePair<'a, V>(&'a [V], &'a [V]);

impl<S: Simd> Source<S> for TilePair<'_, S::V> {
    #[inline(always)]
    fn load(&self, simd: S, index: usize) -> Complex<S::V> {
        if index < self.0.len() && index < self.1.len() {
            [self.0[index], self.1[index]]
        } else {
            [simd.splat(0.0); 2]
        }
    }
}

/// One column of frequencies of a buffer of width spectra; zero below its last row.
pub(crate) struct StridedColumn<'a, V> {
    pub(crate) values: &'a [Complex<V>],
    pub(crate) pitch: usize,
    pub(crate) rows: usize,
}

impl<S: Simd> Source<S> for StridedColumn<'_, S::V> {
    #[inline(always)]
    fn load(&self, simd: S, index: usize) -> Complex<S::V> {
        if index < self.rows {
            self.values[index * self.pitch]
        } else {
            [simd.splat(0.0); 2]
        }
    }
}

/// Height transforms of column `column` of frequencies of all vectors of a group.
///
/// `columns`: [vector][f_h] with a pitch of `height + 1`.
pub(crate) fn column<S: Simd>(
    engine: &mut Engine<'_, S>,
    vectors: usize,
    rows: usize,
    column: usize,
    spectra: &[Complex<S::V>],
    columns: &mut [Complex<S::V>],
) {
    let fft = engine.fft;
    let [height, width] = fft.tiling.tile;
    for vector in 0..vectors {
        let start = vector * (height + 1);
        engine.transform_column(
            StridedColumn {
                values: &spectra[row_start(rows, width, vector, 0) + column..],
                pitch: width + 1,
                rows,
            },
            Contiguous(&mut columns[start..start + height]),
        );
    }
}
