//! Convolution by Fourier transforms of tiles (overlap-save), with pooling fused in.
//!
//! Correlation theorem: the valid correlation `y[i] = sum_r w[r] x[i+r]` of a tile is the inverse transform
//! of `X conj(W)`; the weight gradient `g[r] = sum_i d[i] x[i+r]` that of `X conj(D)`; the input gradient
//! `e[i] = sum_r w[r] d[i-r]` that of `D W`. A kernel of 10 x 10 costs 100 products a pixel directly and
//! some 30 additions and products this way.
//!
//! [`tiling`] cuts the image, [`spectra`] transforms kernels, [`analysis`] tiles, [`product`] multiplies,
//! [`synthesis`] transforms back and pools, [`single`] is the case of one input channel, [`forward`] and
//! [`backward`] put the steps in order for one image.
//!
//! Rounding: an error of a few units of `epsilon log2(T)` times the root mean square of *all* outputs of a
//! pair of tiles, not of each output; a NaN or infinity reaches the whole pair.

pub(crate) mod analysis;
pub(crate) mod backward;
pub(crate) mod forward;
pub(crate) mod product;
pub(crate) mod scratch;
pub(crate) mod single;
pub(crate) mod spectra;
pub(crate) mod synthesis;
pub(crate) mod tiling;
pub(crate) mod work;

use spectra::{Direction, SpectraLayout};
use tiling::{Pairing, Tiling, Units};

use crate::fft::{Complex, Sink, Source, Transform, Twiddles};
use crate::shape::{Conv2dShape, MaxPool2dShape};
use crate::simd::{Simd, UNIT};

/// What every step of the work on one image needs.
pub(crate) struct Engine<'a, S: Simd> {
    pub(crate) simd: S,
    pub(crate) fft: &'a Fft,
    /// Workspace of a transform.
    pub(crate) work: &'a mut [Complex<S::V>],
}

impl<S: Simd> Engine<'_, S> {
    /// One transform of the height in every lane.
    #[inline(always)]
    pub(crate) fn transform_column(&mut self, source: impl Source<S>, sink: impl Sink<S>) {
        self.transform(0, source, sink);
    }

    /// One transform of the width in every lane.
    #[inline(always)]
    pub(crate) fn transform_row(&mut self, source: impl Source<S>, sink: impl Sink<S>) {
        self.transform(1, source, sink);
    }

    #[inline(always)]
    fn transform(&mut self, side: usize, source: impl Source<S>, sink: impl Sink<S>) {
        self.simd.vectorize(Transform {
            length: self.fft.tiling.tile[side],
            twiddles: &self.fft.twiddles[side],
            source,
            sink,
            work: &mut *self.work,
        });
    }
}

/// Everything that a convolution by transforms needs to know, except the weights.
#[derive(Debug, Clone)]
pub(crate) struct Fft {
    pub(crate) conv: Conv2dShape,
    pub(crate) pool: MaxPool2dShape,
    pub(crate) tiling: Tiling,
    /// Of the height, of the width.
    pub(crate) twiddles: [Twiddles; 2],
    single: bool,
}

impl Fft {
    pub(crate) fn new(
        conv: Conv2dShape,
        pool: MaxPool2dShape,
        tiling: Tiling,
        single: bool,
    ) -> Self {
        Self {
            conv,
            pool,
            tiling,
            twiddles: tiling.tile.map(Twiddles::new),
            single,
        }
    }

    /// Runs of columns that are pooled together: both tiles of neighbours, each tile otherwise.
    pub(crate) fn segments(&self) -> usize {
        match self.tiling.pairing {
            Pairing::Across => 1,
            Pairing::Down => 2,
        }
    }

    /// Windows of one segment.
    pub(crate) fn segment_windows(&self) -> usize {
        let tiles = 2 / self.segments();
        tiles * self.tiling.useful[1] / self.pool.window_width
    }

    /// First output row and column of the segment that each tile belongs to.
    pub(crate) fn segment_origins(&self, pair: usize) -> [[usize; 2]; 2] {
        let [a, b] = self.tiling.origins(pair);
        match self.tiling.pairing {
            Pairing::Across => [a, a],
            Pairing::Down => [a, b],
        }
    }

    /// There is one input channel, whose gradient is not wanted: products need no pass of their own.
    pub(crate) fn is_single(&self) -> bool {
        self.single
    }

    /// Units of the input channels, in vectors of `lanes`.
    pub(crate) fn input_units(&self, lanes: usize) -> Units {
        Units::new(self.conv.in_channels, lanes / UNIT)
    }

    /// Units of the output channels.
    pub(crate) fn output_units(&self, lanes: usize) -> Units {
        Units::new(self.conv.out_channels, lanes / UNIT)
    }

    /// Layout of the kernel spectra at a level of `lanes`.
    pub(crate) fn spectra_layout(&self, direction: Direction, lanes: usize) -> SpectraLayout {
        let (terms, units) = match direction {
            Direction::Forward => (self.conv.in_channels, self.output_units(lanes)),
            Direction::InputGradient => (self.conv.out_channels, self.input_units(lanes)),
        };
        let single = self.is_single() && direction == Direction::Forward;
        SpectraLayout {
            terms,
            lanes: units.per_pair * UNIT,
            vector: if units.is_wide() && !single {
                lanes
            } else {
                UNIT
            },
            height: self.tiling.tile[0],
            columns: self.spectra_columns(),
        }
    }

    /// Columns of frequencies of which spectra of real kernels are kept.
    pub(crate) fn spectra_columns(&self) -> usize {
        self.tiling.tile[1] / 2 + 1
    }

    /// A stored column and its mirror image, if it has one.
    pub(crate) fn column_pair(&self, column: usize) -> [Option<usize>; 2] {
        let width = self.tiling.tile[1];
        let mirror = (width - column) % width;
        [Some(column), (mirror != column).then_some(mirror)]
    }
}
