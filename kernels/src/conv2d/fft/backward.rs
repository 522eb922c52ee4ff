//! Backward pass of one image, and the weight gradient of a chunk of images.
//!
//! The spectra of input and output gradient are made once and used twice: their product is added to the
//! spectrum of the weight gradient, and the gradient's times the kernels' is the spectrum of the input
//! gradient. Sums over pairs and over the images of a chunk stay in frequency space; one inverse transform
//! at the end of the chunk makes the R x S taps. The bias gradient is the gradient's spectrum at frequency 0.

use super::analysis::{self, Group, StridedColumn, row_start};
use super::product::{Accumulate, CHANNELS, Columns, Product};
use super::scratch::{Scratch, Sizes, both_columns, sums_len};
use super::single::{self, AddProduct, InputSpectra};
use super::spectra::Direction;
use super::{Engine, Fft, synthesis};
use crate::ShapeError;
use crate::conv2d::map::Map;
use crate::conv2d::pooling::PooledGradient;
use crate::fft::{Complex, MAX_LENGTH, Sink, Source, Transform};
use crate::simd::{Kernel, Pixel, Simd, UNIT, lanes_of};

/// The arguments of one backward pass.
pub(crate) struct Backward<'a> {
    pub(crate) fft: &'a Fft,
    pub(crate) input: Map<'a>,
    pub(crate) gradient: PooledGradient<'a>,
    /// Where the input gradient goes (overwritten), and the kernels' spectra in its layout.
    pub(crate) input_gradient: Option<(&'a mut [Pixel], &'a [f32])>,
    /// Added to; whole units of 8 channels.
    pub(crate) bias: &'a mut [Pixel],
    /// Holds the spectrum of the weight gradient between the images of a chunk.
    pub(crate) scratch: &'a mut Scratch,
    /// This is the first image of its chunk.
    pub(crate) first: bool,
}

impl<S: Simd> Kernel<S> for Backward<'_> {
    type Output = Result<(), ShapeError>;

    #[inline(always)]
    fn run(self, simd: S) -> Result<(), ShapeError> {
        self.scratch.reserve_backward::<S>(self.fft)?;
        if self.first {
            let len = sums_len(self.fft, S::LANES);
            self.scratch.sums.slice::<f32>(len).fill(0.0);
        }
        match self.input {
            Map::Planes(image) => self.single(simd, image),
            Map::Pixels(map) => self.channels(simd, map),
        }
        Ok(())
    }
}

/// Adds frequency 0 of both tiles of a vector's pairs to the bias gradient.
fn add_bias<S: Simd>(group: Group, vector: usize, value: Complex<S::V>, bias: &mut [Pixel]) {
    let (parts, _) = lanes_of(&value).as_chunks::<UNIT>();
    for unit in 0..S::UNITS {
        if let Some((_, block)) = group.unit(vector, unit) {
            for (i, bias) in bias[block].iter_mut().enumerate() {
                *bias += parts[unit][i] + parts[S::UNITS + unit][i];
            }
        }
    }
}

impl Backward<'_> {
    /// Several input channels.
    fn channels<S: Simd>(mut self, simd: S, map: &[Pixel]) {
        let (fft, scratch) = (self.fft, self.scratch);
        let [input, useful] = [fft.tiling.input[0], fft.tiling.useful[0]];
        let sizes = Sizes::backward(fft, S::LANES);
        let layout = fft.spectra_layout(Direction::InputGradient, S::LANES);
        let units = [fft.input_units(S::LANES), fft.output_units(S::LANES)];
        let rows: &mut [Complex<S::V>] = scratch.input_rows.slice(sizes.input_rows);
        let gradient_rows = scratch.gradient_rows.slice(sizes.gradient_rows);
        let out_rows = scratch.output_rows.slice(sizes.output_rows);
        let mut columns = both_columns(&mut scratch.input_columns, sizes.input_column);
        let mut gradient_columns =
            both_columns(&mut scratch.gradient_columns, sizes.gradient_column);
        let mut out_columns = both_columns(&mut scratch.output_columns, sizes.output_column);
        let sums = scratch.sums.slice::<f32>(sums_len(fft, S::LANES));
        let column_sums = sums.len() / fft.spectra_columns();
        let engine = &mut Engine {
            simd,
            fft,
            work: scratch.work.slice::<Complex<S::V>>(MAX_LENGTH),
        };
        let line = scratch
            .line
            .slice(2 * fft.pool.window_height * fft.tiling.tile[1]);
        let staging = scratch
            .staging
            .slice((5 * fft.tiling.tile[1]).max(4 * fft.segment_windows()));
        let dead = scratch.dead.slice(4 * fft.segment_windows());
        if let Some((map, _)) = &mut self.input_gradient {
            map.fill([0.0; UNIT]);
        }
        for first_pair in (0..fft.tiling.pairs()).step_by(sizes.pairs) {
            let pairs = sizes.pairs.min(fft.tiling.pairs() - first_pair);
            let [x, d] = units.map(|units| Group {
                first_pair,
                pairs,
                units,
            });
            analysis::map_rows(engine, x, map, rows, staging);
            analysis::gradient_rows(
                engine,
                d,
                0..d.vectors(),
                self.gradient,
                gradient_rows,
                line,
                (&mut *staging, &mut *dead),
            );
            for stored in 0..fft.spectra_columns() {
                let column_pair = fft.column_pair(stored);
                let sides = columns.iter_mut().zip(&mut gradient_columns);
                for (column, (x_out, d_out)) in column_pair.into_iter().zip(sides) {
                    let Some(column) = column else { continue };
                    analysis::column(engine, x.vectors(), input, column, rows, x_out);
                    let vectors = d.vectors();
                    analysis::column(engine, vectors, useful, column, gradient_rows, d_out);
                    if column == 0 {
                        for vector in 0..vectors {
                            let value = d_out[vector * (fft.tiling.tile[0] + 1)];
                            add_bias::<S>(d, vector, value, self.bias);
                        }
                    }
                }
                let [x_sides, d_sides] = [(&columns, units[0]), (&gradient_columns, units[1])]
                    .map(|(sides, units)| sides.each_ref().map(|values| Columns { values, units }));
                if let Some((_, spectra)) = &self.input_gradient {
                    let [column, mirrored_column] = &mut out_columns;
                    simd.vectorize(Product {
                        pairs,
                        x: d_sides,
                        layout,
                        weights: &spectra[stored * layout.column_len()..][..layout.column_len()],
                        mirrored: column_pair[1].is_some(),
                        conjugate: false,
                        out: [column, mirrored_column],
                        out_units: units[0],
                    });
                    for (column, from) in column_pair.into_iter().zip(&out_columns) {
                        if let Some(column) = column {
                            synthesis::column(engine, x.vectors(), input, column, from, out_rows);
                        }
                    }
                }
                simd.vectorize(Accumulate {
                    pairs,
                    height: fft.tiling.tile[0],
                    channels: fft.conv.in_channels.next_multiple_of(CHANNELS),
                    x: x_sides,
                    gradient: d_sides,
                    mirrored: column_pair[1].is_some(),
                    sum: &mut sums[stored * column_sums..][..column_sums],
                });
            }
            if let Some((map, _)) = &mut self.input_gradient {
                synthesis::added_rows(engine, x, out_rows, map, line);
            }
        }
    }

    /// One input channel: weight and bias gradient only.
    fn single<S: Simd>(self, simd: S, image: &[f32]) {
        let (fft, scratch) = (self.fft, self.scratch);
        let [height, width] = fft.tiling.tile;
        let useful = fft.tiling.useful[0];
        let sizes = Sizes::backward(fft, S::LANES);
        let units = fft.output_units(S::LANES);
        let rows: &mut [Complex<S::V>] = scratch.input_rows.slice(sizes.input_rows);
        let gradient_rows: &mut [Complex<S::V>] = scratch.gradient_rows.slice(sizes.gradient_rows);
        let x = scratch
            .single_spectra
            .slice(single::spectra_len(fft, S::LANES));
        let vectors = units.per_pair.div_ceil(units.per_vector);
        let sums: &mut [Complex<S::V>] =
            bytemuck::cast_slice_mut(scratch.sums.slice::<f32>(sums_len(fft, S::LANES)));
        let engine = &mut Engine {
            simd,
            fft,
            work: scratch.work.slice::<Complex<S::V>>(MAX_LENGTH),
        };
        let line = scratch.line.slice(2 * fft.pool.window_height * width);
        let staging = scratch.staging.slice(4 * fft.segment_windows());
        let dead = scratch.dead.slice(4 * fft.segment_windows());
        for first_pair in (0..fft.tiling.pairs()).step_by(sizes.pairs) {
            let pairs = sizes.pairs.min(fft.tiling.pairs() - first_pair);
            let group = Group {
                first_pair,
                pairs,
                units,
            };
            let range = first_pair..first_pair + pairs;
            single::analyse(engine, range, image, rows, x, line);
            for vector in 0..group.vectors() {
                analysis::gradient_rows(
                    engine,
                    group,
                    vector..vector + 1,
                    self.gradient,
                    gradient_rows,
                    line,
                    (&mut *staging, &mut *dead),
                );
                let in_use = [0, 1].map(|u| units.unit(vector, u, pairs));
                let a = in_use[0].map_or(0, |(pair, _)| pair);
                let b = in_use[1].map_or(a, |(pair, _)| pair);
                for column in 0..width {
                    let mirrored = column >= fft.spectra_columns();
                    let stored = if mirrored { width - column } else { column };
                    let entry = (stored * vectors + vector % vectors) * height;
                    let mut first = [simd.splat(0.0); 2];
                    let source = StridedColumn {
                        values: &gradient_rows[row_start(useful, width, 0, 0) + column..],
                        pitch: width + 1,
                        rows: useful,
                    };
                    let x = InputSpectra::new::<S>(fft, x, [a, b], column);
                    let sum = &mut sums[entry..entry + height];
                    if mirrored {
                        let sink = AddProduct::<_, true>::new(x, sum, &mut first);
                        engine.transform_column(source, sink);
                    } else {
                        let sink = AddProduct::<_, false>::new(x, sum, &mut first);
                        engine.transform_column(source, sink);
                    }
                    if column == 0 {
                        add_bias::<S>(group, vector, first, self.bias);
                    }
                }
            }
        }
    }
}

/// Turns the spectrum of the weight gradient, summed up in `scratch`, into taps.
pub(crate) struct Finish<'a> {
    pub(crate) fft: &'a Fft,
    /// Gradient (O,C,R,S), overwritten.
    pub(crate) weight: &'a mut [f32],
    pub(crate) scratch: &'a mut Scratch,
}

impl<S: Simd> Kernel<S> for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let units = self.fft.output_units(S::LANES);
        if units.is_wide() || self.fft.is_single() {
            self.taps::<S, S>(simd);
        } else {
            self.taps::<S, S::Half>(simd.half());
        }
    }
}

impl Finish<'_> {
    fn taps<S: Simd, T: Simd>(self, simd: T) {
        let (fft, scratch) = (self.fft, self.scratch);
        let conv = &fft.conv;
        let [height, width] = fft.tiling.tile;
        let [kernel_rows, kernel_columns] = [conv.kernel_height, conv.kernel_width];
        let units = fft.output_units(S::LANES);
        let columns = fft.spectra_columns();
        let sums: &[Complex<T::V>] =
            bytemuck::cast_slice(scratch.sums.slice::<f32>(sums_len(fft, S::LANES)));
        let vectors = units.per_pair.div_ceil(T::UNITS);
        let channels = conv.in_channels.next_multiple_of(CHANNELS);
        let mut work = vec![[simd.splat(0.0); 2]; MAX_LENGTH];
        let mut rows = vec![[simd.splat(0.0); 2]; columns * kernel_rows];
        let mut taps = vec![simd.splat(0.0); kernel_columns];
        let scale = 1.0 / (height * width) as f32;
        for c in 0..conv.in_channels {
            for j in 0..vectors {
                for column in 0..columns {
                    let (start, pitch) = if fft.is_single() {
                        ((column * vectors + j) * height, 1)
                    } else {
                        let start = (column * height * channels + c) * vectors + j;
                        (start, channels * vectors)
                    };
                    simd.vectorize(Transform {
                        length: height,
                        twiddles: &fft.twiddles[0],
                        source: ExchangedColumn {
                            values: &sums[start..],
                            pitch,
                        },
                        sink: Interleave {
                            rows: &mut rows[column..],
                            pitch: columns,
                            count: kernel_rows,
                        },
                        work: &mut work,
                    });
                }
                for r in 0..kernel_rows {
                    simd.vectorize(Transform {
                        length: width,
                        twiddles: &fft.twiddles[1],
                        source: HalfRow(&rows[r * columns..][..columns]),
                        sink: RealParts(&mut taps),
                        work: &mut work,
                    });
                    for (s, lanes) in lanes_of(&taps).chunks_exact(T::LANES).enumerate() {
                        for o in j * T::LANES..conv.out_channels.min((j + 1) * T::LANES) {
                            let mut tap = lanes[o % T::LANES];
                            if units.per_pair < T::UNITS {
                                // Two units of a vector were different pairs of the same channels.
                                tap += lanes[o % T::LANES + UNIT];
                            }
                            let row = (o * conv.in_channels + c) * kernel_rows + r;
                            self.weight[row * kernel_columns + s] = tap * scale;
                        }
                    }
                }
            }
        }
    }
}

/// A column of a spectrum, parts exchanged.
struct ExchangedColumn<'a, V> {
    values: &'a [Complex<V>],
    pitch: usize,
}

impl<S: Simd> Source<S> for ExchangedColumn<'_, S::V> {
    #[inline(always)]
    fn load(&self, _: S, index: usize) -> Complex<S::V> {
        let [re, im] = self.values[index * self.pitch];
        [im, re]
    }
}

/// The first `count` rows of a column (parts still exchanged), written with a stride.
struct Interleave<'a, V> {
    rows: &'a mut [Complex<V>],
    pitch: usize,
    count: usize,
}

impl<S: Simd> Sink<S> for Interleave<'_, S::V> {
    #[inline(always)]
    fn store(&mut self, _: S, index: usize, value: Complex<S::V>) {
        if index < self.count {
            self.rows[index * self.pitch] = value;
        }
    }
}

/// The columns of a row that are stored; the mirrored ones are in them already.
struct HalfRow<'a, V>(&'a [Complex<V>]);

impl<S: Simd> Source<S> for HalfRow<'_, S::V> {
    #[inline(always)]
    fn load(&self, simd: S, index: usize) -> Complex<S::V> {
        match self.0.get(index) {
            Some(value) => *value,
            None => [simd.splat(0.0); 2],
        }
    }
}

/// Real parts of the first columns.
struct RealParts<'a, V>(&'a mut [V]);

impl<S: Simd> Sink<S> for RealParts<'_, S::V> {
    #[inline(always)]
    fn store(&mut self, _: S, index: usize, [_, re]: Complex<S::V>) {
        if let Some(tap) = self.0.get_mut(index) {
            *tap = re;
        }
    }
}
