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
use crate::fft::{Complex, Sink, Source, Transform};
use crate::simd::{Pixel, Simd, UNIT};

/// Code of a pooling window through which no gradient flows.
pub const DEAD: u8 = u8::MAX;
/// Position of the cells beyond a tile's useful columns: no window has it as its code.
pub(crate) const OUTSIDE: u8 = u8::MAX - 1;

/// Codes of one pooled pixel.
pub(crate) type Codes = [u8; UNIT];

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
            simd.vectorize(Transform {
                length: columns,
                twiddles: &fft.twiddles[1],
                source: PixelRows {
                    tiles: [[slice(0, 0), slice(1, 0)], [slice(0, 1), slice(1, 1)]],
                },
                sink: Contiguous(&mut spectra[start..start + columns]),
                work: &mut *engine.work,
            });
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

/// The gradient of a pooled map [block][H'][W'] and its codes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PooledGradient<'a> {
    pub(crate) values: &'a [Pixel],
    pub(crate) codes: &'a [Codes],
}

/// Width transforms of the tiles of the gradient of the convolution's output, which is expanded from
/// the pooled one while it is loaded: it is `values` at the position `codes` of each window, else 0.
pub(crate) fn gradient_rows<S: Simd>(
    engine: &mut Engine<'_, S>,
    group: Group,
    vectors: Range<usize>,
    gradient: PooledGradient<'_>,
    spectra: &mut [Complex<S::V>],
    staging: &mut [Pixel],
    dead: &mut [Codes],
) {
    let (simd, fft) = (engine.simd, engine.fft);
    let [window_rows, window_columns] = [fft.pool.window_height, fft.pool.window_width];
    let [height, width] = [fft.pool.out_height(), fft.pool.out_width()];
    let [rows, _] = fft.tiling.useful;
    let columns = fft.tiling.tile[1];
    let windows = fft.segment_windows();
    for (slot_of_vector, vector) in vectors.enumerate() {
        for h in 0..rows {
            let mut wanted = [[None; 2]; 2];
            for (u, wanted) in wanted.iter_mut().enumerate() {
                let Some((pair, block)) = group.unit(vector, u) else {
                    continue;
                };
                let segments = fft.segment_origins(pair);
                for (wanted, [row, column]) in wanted.iter_mut().zip(segments) {
                    let (row, column) = ((row + h) / window_rows, column / window_columns);
                    if row < height && column < width {
                        let start = (block * height + row) * width + column;
                        *wanted = Some((start, (width - column).min(windows)));
                    }
                }
            }
            for (slot, wanted) in wanted.as_flattened().iter().enumerate() {
                let copy = slot * windows..(slot + 1) * windows;
                match *wanted {
                    Some((_, present)) if present == windows => {}
                    Some((start, present)) => {
                        let (values, dead) = (&mut staging[copy.clone()], &mut dead[copy]);
                        values[..present].copy_from_slice(&gradient.values[start..start + present]);
                        dead[..present].copy_from_slice(&gradient.codes[start..start + present]);
                        dead[present..].fill([DEAD; UNIT]);
                    }
                    None => dead[copy].fill([DEAD; UNIT]),
                }
            }
            let slice = |u: usize, t: usize| match wanted[u][t] {
                Some((start, present)) if present == windows => (
                    &gradient.values[start..start + windows],
                    &gradient.codes[start..start + windows],
                ),
                _ => {
                    let copy = (2 * u + t) * windows..(2 * u + t + 1) * windows;
                    (&staging[copy.clone()], &dead[copy])
                }
            };
            let start = row_start(rows, columns, slot_of_vector, h);
            let tiles = [[slice(0, 0), slice(1, 0)], [slice(0, 1), slice(1, 1)]];
            let positions = &fft.positions[h % window_rows];
            simd.vectorize(Transform {
                length: columns,
                twiddles: &fft.twiddles[1],
                source: Expand {
                    values: tiles.map(|tile| tile.map(|(values, _)| values)),
                    codes: tiles.map(|tile| tile.map(|(_, codes)| codes)),
                    cells: [&positions[0][..columns], &positions[1][..columns]],
                },
                sink: Contiguous(&mut spectra[start..start + columns]),
                work: &mut *engine.work,
            });
        }
    }
}

/// For a column of a tile: the window that it lies in and its position there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) window: u8,
    pub(crate) position: u8,
}

/// Expands rows of pooled gradients, [tile][unit].
struct Expand<'a> {
    values: [[&'a [Pixel]; 2]; 2],
    codes: [[&'a [Codes]; 2]; 2],
    cells: [&'a [Cell]; 2],
}

impl<S: Simd> Source<S> for Expand<'_> {
    #[inline(always)]
    fn load(&self, simd: S, index: usize) -> Complex<S::V> {
        [self.tile(simd, 0, index), self.tile(simd, 1, index)]
    }
}

impl Expand<'_> {
    #[inline(always)]
    fn tile<S: Simd>(&self, simd: S, tile: usize, index: usize) -> S::V {
        let Cell { window, position } = self.cells[tile][index];
        let window = usize::from(window);
        let (values, codes) = (&self.values[tile], &self.codes[tile]);
        simd.select_code(
            simd.load_units([&values[0][window], &values[1][window]]),
            [&codes[0][window], &codes[1][window]],
            position,
        )
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
    let (simd, fft) = (engine.simd, engine.fft);
    let [height, width] = fft.tiling.tile;
    for vector in 0..vectors {
        let start = vector * (height + 1);
        simd.vectorize(Transform {
            length: height,
            twiddles: &fft.twiddles[0],
            source: StridedColumn {
                values: &spectra[row_start(rows, width, vector, 0) + column..],
                pitch: width + 1,
                rows,
            },
            sink: Contiguous(&mut columns[start..start + height]),
            work: &mut *engine.work,
        });
    }
}
