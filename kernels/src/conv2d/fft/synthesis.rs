//! Inverse transforms: along the height back to rows, then along the width, with what follows the
//! convolution (bias, ReLU, pooling) done while a row of windows is still in the first-level cache.
//!
//! An inverse transform is a forward one of numbers with real and imaginary part exchanged; sources and
//! sinks here exchange them.

use std::ops::Range;

use super::Engine;
use super::analysis::Group;
use crate::conv2d::pooling::{Epilogue, PoolWindows};
use crate::fft::{Complex, Sink, Source};
use crate::simd::{Kernel, Pixel, Simd, UNIT};

/// Values between two columns of row spectra, odd so that strides are no powers of two.
pub(crate) fn column_pitch(rows: usize) -> usize {
    rows | 1
}

/// Complex numbers with their parts exchanged.
pub(crate) struct Exchanged<'a, V>(pub(crate) &'a [Complex<V>]);

impl<S: Simd> Source<S> for Exchanged<'_, S::V> {
    #[inline(always)]
    fn load(&self, _: S, index: usize) -> Complex<S::V> {
        let [re, im] = self.0[index];
        [im, re]
    }
}

/// The first rows of an inverse transform; the others are dropped.
pub(crate) struct FirstRows<'a, V>(pub(crate) &'a mut [Complex<V>]);

impl<S: Simd> Sink<S> for FirstRows<'_, S::V> {
    #[inline(always)]
    fn store(&mut self, _: S, index: usize, [im, re]: Complex<S::V>) {
        if let Some(value) = self.0.get_mut(index) {
            *value = [re, im];
        }
    }
}

/// Inverse height transforms of column `column` of frequencies of all vectors.
///
/// `columns`: [vector][f_h], pitch `height + 1`; `rows`: [vector][f_w][h], of which the first `count`
/// rows are kept.
pub(crate) fn column<S: Simd>(
    engine: &mut Engine<'_, S>,
    vectors: usize,
    count: usize,
    column: usize,
    columns: &[Complex<S::V>],
    rows: &mut [Complex<S::V>],
) {
    let fft = engine.fft;
    let [height, width] = fft.tiling.tile;
    for vector in 0..vectors {
        let start = (vector * width + column) * column_pitch(count);
        engine.transform_column(
            Exchanged(&columns[vector * (height + 1)..][..height]),
            FirstRows(&mut rows[start..start + count]),
        );
    }
}

/// Row `h` of all columns of frequencies, parts exchanged.
struct StridedRow<'a, V> {
    values: &'a [Complex<V>],
    pitch: usize,
}

impl<S: Simd> Source<S> for StridedRow<'_, S::V> {
    #[inline(always)]
    fn load(&self, _: S, index: usize) -> Complex<S::V> {
        let [re, im] = self.values[index * self.pitch];
        [im, re]
    }
}

/// A row of tile A followed by one of tile B.
struct Line<'a, V>([&'a mut [V]; 2]);

impl<S: Simd> Sink<S> for Line<'_, S::V> {
    #[inline(always)]
    fn store(&mut self, _: S, index: usize, [b, a]: Complex<S::V>) {
        let [line_a, line_b] = &mut self.0;
        if index < line_a.len() {
            line_a[index] = a;
            line_b[index] = b;
        }
    }
}

/// Inverse width transforms of a group, with bias, ReLU and pooling.
///
/// `rows` starts with the spectra of the first of `vectors`; `line` holds two tile rows for every row of a
/// window.
pub(crate) fn pooled_rows<S: Simd>(
    engine: &mut Engine<'_, S>,
    group: Group,
    vectors: Range<usize>,
    rows: &[Complex<S::V>],
    epilogue: &mut Epilogue<'_>,
    line: &mut [S::V],
) {
    let (simd, fft) = (engine.simd, engine.fft);
    let [window_rows, window_columns] = [fft.pool.window_height, fft.pool.window_width];
    let [height, width] = [fft.pool.out_height(), fft.pool.out_width()];
    let [useful_rows, useful_columns] = fft.tiling.useful;
    let columns = fft.tiling.tile[1];
    let pitch = column_pitch(useful_rows);
    let windows = fft.segment_windows();
    for (slot, vector) in vectors.enumerate() {
        let mut bias = [[0.0; UNIT]; 2];
        for (u, bias) in bias.iter_mut().enumerate() {
            if let Some((_, block)) = group.unit(vector, u) {
                *bias = epilogue.bias[block];
            }
        }
        for i in 0..useful_rows / window_rows {
            // Windows of each segment that lie in the map: first pooled pixel and how many.
            let mut targets = [[(0, 0); 2]; 2];
            for u in 0..2 {
                let Some((pair, block)) = group.unit(vector, u) else {
                    continue;
                };
                let segments = &fft.segment_origins(pair)[..fft.segments()];
                for (target, [row, column]) in targets.iter_mut().zip(segments) {
                    let (row, column) = (row / window_rows + i, column / window_columns);
                    if row < height && column < width {
                        let start = (block * height + row) * width + column;
                        target[u] = (start, windows.min(width - column));
                    }
                }
            }
            if targets.as_flattened().iter().all(|(_, count)| *count == 0) {
                continue;
            }
            for r in 0..window_rows {
                let (a, b) = line[2 * r * useful_columns..][..2 * useful_columns]
                    .split_at_mut(useful_columns);
                let first = slot * columns * pitch + i * window_rows + r;
                engine.transform_row(
                    StridedRow {
                        values: &rows[first..],
                        pitch,
                    },
                    Line([a, b]),
                );
            }
            for (segment, targets) in targets[..fft.segments()].iter().enumerate() {
                simd.vectorize(PoolWindows {
                    line: &line[segment * useful_columns..],
                    pitch: 2 * useful_columns,
                    window: [window_rows, window_columns],
                    bias: &bias,
                    relu: epilogue.relu,
                    targets: *targets,
                    values: &mut *epilogue.values,
                    codes: &mut *epilogue.codes,
                });
            }
        }
    }
}

/// Inverse width transforms of a group, added to the map [block][H][W] where tiles overlap.
///
/// `line` holds two tile rows.
pub(crate) fn added_rows<S: Simd>(
    engine: &mut Engine<'_, S>,
    group: Group,
    rows: &[Complex<S::V>],
    map: &mut [Pixel],
    line: &mut [S::V],
) {
    let (simd, fft) = (engine.simd, engine.fft);
    let [height, width] = [fft.conv.height, fft.conv.width];
    let [count, reach] = fft.tiling.input;
    let columns = fft.tiling.tile[1];
    let pitch = column_pitch(count);
    for vector in 0..group.vectors() {
        for h in 0..count {
            let (a, b) = line[..2 * reach].split_at_mut(reach);
            engine.transform_row(
                StridedRow {
                    values: &rows[vector * columns * pitch + h..],
                    pitch,
                },
                Line([a, b]),
            );
            for unit in 0..S::UNITS {
                let Some((pair, block)) = group.unit(vector, unit) else {
                    continue;
                };
                for (tile, [row, column]) in fft.tiling.origins(pair).into_iter().enumerate() {
                    if row + h < height && column < width {
                        let start = (block * height + row + h) * width + column;
                        let present = reach.min(width - column);
                        simd.vectorize(AddUnit {
                            line: &line[tile * reach..][..present],
                            unit,
                            target: &mut map[start..start + present],
                        });
                    }
                }
            }
        }
    }
}

/// Adds one unit of every vector to a row of pixels.
struct AddUnit<'a, V> {
    line: &'a [V],
    unit: usize,
    target: &'a mut [Pixel],
}

impl<S: Simd> Kernel<S> for AddUnit<'_, S::V> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let half = simd.half();
        let (units, _) = crate::simd::lanes_of(self.line).as_chunks::<UNIT>();
        for (i, target) in self.target.iter_mut().enumerate() {
            let value = &units[i * S::UNITS + self.unit];
            let sum = half.add(
                half.load_units([target, target]),
                half.load_units([value, value]),
            );
            half.store_unit(sum, 0, target);
        }
    }
}
