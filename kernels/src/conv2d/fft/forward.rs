//! Forward pass of one image: convolution, bias, ReLU, pooling.

use super::analysis::{self, Group};
use super::product::{Columns, Product};
use super::scratch::{Scratch, Sizes, both_columns};
use super::single::{self, InputSpectra, Pointwise};
use super::spectra::Direction;
use super::synthesis::{self, FirstRows, column_pitch};
use super::{Engine, Fft};
use crate::ShapeError;
use crate::conv2d::map::Map;
use crate::conv2d::pooling::Epilogue;
use crate::fft::{Complex, MAX_LENGTH};
use crate::simd::{Kernel, Pixel, Simd};

/// The arguments of one forward pass.
pub(crate) struct Forward<'a> {
    pub(crate) fft: &'a Fft,
    /// Spectra of the kernels in the forward layout.
    pub(crate) spectra: &'a [f32],
    pub(crate) input: Map<'a>,
    pub(crate) epilogue: Epilogue<'a>,
    pub(crate) scratch: &'a mut Scratch,
}

impl<S: Simd> Kernel<S> for Forward<'_> {
    type Output = Result<(), ShapeError>;

    #[inline(always)]
    fn run(self, simd: S) -> Result<(), ShapeError> {
        self.scratch.reserve_forward::<S>(self.fft)?;
        match self.input {
            Map::Planes(image) => self.single(simd, image),
            Map::Pixels(map) => self.channels(simd, map),
        }
        Ok(())
    }
}

impl Forward<'_> {
    /// Several input channels.
    fn channels<S: Simd>(mut self, simd: S, map: &[Pixel]) {
        let Self {
            fft,
            spectra,
            scratch,
            ..
        } = self;
        let [input, useful] = [fft.tiling.input[0], fft.tiling.useful[0]];
        let sizes = Sizes::forward(fft, S::LANES);
        let layout = fft.spectra_layout(Direction::Forward, S::LANES);
        let units = [fft.input_units(S::LANES), fft.output_units(S::LANES)];
        let rows = scratch.input_rows.slice(sizes.input_rows);
        let mut columns = both_columns(&mut scratch.input_columns, sizes.input_column);
        let mut out_columns = both_columns(&mut scratch.output_columns, sizes.output_column);
        let out_rows = scratch.output_rows.slice(sizes.output_rows);
        let engine = &mut Engine {
            simd,
            fft,
            work: scratch.work.slice::<Complex<S::V>>(MAX_LENGTH),
        };
        let line = scratch
            .line
            .slice(2 * fft.pool.window_height * fft.tiling.tile[1]);
        let staging = scratch.staging.slice(5 * fft.tiling.tile[1]);
        for first_pair in (0..fft.tiling.pairs()).step_by(sizes.pairs) {
            let pairs = sizes.pairs.min(fft.tiling.pairs() - first_pair);
            let [x, y] = units.map(|units| Group {
                first_pair,
                pairs,
                units,
            });
            analysis::map_rows(engine, x, map, rows, staging);
            for stored in 0..fft.spectra_columns() {
                let weights = &spectra[stored * layout.column_len()..][..layout.column_len()];
                let column_pair = fft.column_pair(stored);
                for (column, out) in column_pair.into_iter().zip(&mut columns) {
                    if let Some(column) = column {
                        analysis::column(engine, x.vectors(), input, column, rows, out);
                    }
                }
                let [column, mirrored_column] = &mut out_columns;
                simd.vectorize(Product {
                    pairs,
                    x: columns.each_ref().map(|values| Columns {
                        values,
                        units: units[0],
                    }),
                    layout,
                    weights,
                    mirrored: column_pair[1].is_some(),
                    conjugate: true,
                    out: [column, mirrored_column],
                    out_units: units[1],
                });
                for (column, from) in column_pair.into_iter().zip(&out_columns) {
                    if let Some(column) = column {
                        synthesis::column(engine, y.vectors(), useful, column, from, out_rows);
                    }
                }
            }
            let vectors = 0..y.vectors();
            synthesis::pooled_rows(engine, y, vectors, out_rows, &mut self.epilogue, line);
        }
    }

    /// One input channel.
    fn single<S: Simd>(mut self, simd: S, image: &[f32]) {
        let Self {
            fft,
            spectra,
            scratch,
            ..
        } = self;
        let width = fft.tiling.tile[1];
        let useful = fft.tiling.useful[0];
        let sizes = Sizes::forward(fft, S::LANES);
        let layout = fft.spectra_layout(Direction::Forward, S::LANES);
        let units = fft.output_units(S::LANES);
        let rows = scratch.input_rows.slice(sizes.input_rows);
        let out_rows: &mut [Complex<S::V>] = scratch.output_rows.slice(sizes.output_rows);
        let x = scratch
            .single_spectra
            .slice(single::spectra_len(fft, S::LANES));
        let engine = &mut Engine {
            simd,
            fft,
            work: scratch.work.slice::<Complex<S::V>>(MAX_LENGTH),
        };
        let line = scratch.line.slice(2 * fft.pool.window_height * width);
        for first_pair in (0..fft.tiling.pairs()).step_by(sizes.pairs) {
            let pairs = sizes.pairs.min(fft.tiling.pairs() - first_pair);
            let range = first_pair..first_pair + pairs;
            single::analyse(engine, range, image, rows, x, line);
            for vector in 0..units.vectors(pairs) {
                let in_use = [0, 1].map(|u| units.unit(vector, u, pairs));
                // A unit that is not in use computes what the first one does.
                let a = in_use[0].unwrap_or((0, 0));
                let b = in_use[1].unwrap_or(a);
                for column in 0..width {
                    let mirrored = column >= fft.spectra_columns();
                    let stored = if mirrored { width - column } else { column };
                    let start = column * column_pitch(useful);
                    let x = InputSpectra::new::<S>(fft, x, [a.0, b.0], column);
                    let weights = &spectra[stored * layout.column_len()..][..layout.column_len()];
                    let blocks = [a.1, b.1];
                    let sink = FirstRows(&mut out_rows[start..start + useful]);
                    if mirrored {
                        let source = Pointwise::<true>::new(x, layout, weights, blocks);
                        engine.transform_column(source, sink);
                    } else {
                        let source = Pointwise::<false>::new(x, layout, weights, blocks);
                        engine.transform_column(source, sink);
                    }
                }
                let group = Group {
                    first_pair,
                    pairs,
                    units,
                };
                synthesis::pooled_rows(
                    engine,
                    group,
                    vector..vector + 1,
                    out_rows,
                    &mut self.epilogue,
                    line,
                );
            }
        }
    }
}
