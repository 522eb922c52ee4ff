//! Memory that one thread needs for one image.

use bytemuck::Pod;

use super::Fft;
use super::product::CHANNELS;
use super::synthesis::column_pitch;
use crate::ShapeError;
use crate::buffer::Buffer;
use crate::conv2d::pooling::Codes;
use crate::fft::{Complex, MAX_LENGTH};
use crate::simd::{Pixel, Simd, UNIT};

/// Bytes of row spectra of a group of pairs in the forward pass: they should stay in a second-level
/// cache of 1 MiB between the width and the height transforms (tried: half and four times as much, no
/// faster).
const FORWARD_BYTES: usize = 1 << 20;
/// The same in the backward pass, where a pair needs more. Every group also reads and writes the sums of the
/// weight gradient's spectrum, yet few pairs win: of Table 1's second convolution two to four (tried: all pairs
/// of an image, 40 % slower; 0.6 or 1.1 MB, no difference).
const BACKWARD_BYTES: usize = 3 << 19;

/// Buffers of one thread; they grow to what an image needs and are kept.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Row spectra of the input, [vector][h][f_w].
    pub(crate) input_rows: Buffer,
    /// Row spectra of the output gradient.
    pub(crate) gradient_rows: Buffer,
    /// Row spectra on the way back, [vector][f_w][h].
    pub(crate) output_rows: Buffer,
    /// Columns of input, of gradient and of output, [side][vector][f_h].
    pub(crate) input_columns: Buffer,
    pub(crate) gradient_columns: Buffer,
    pub(crate) output_columns: Buffer,
    /// Spectra of the input when it has one channel.
    pub(crate) single_spectra: Buffer,
    /// Sums of the weight gradient's spectrum over the images of a chunk.
    pub(crate) sums: Buffer,
    /// Transform workspace.
    pub(crate) work: Buffer,
    /// Rows on the way into or out of a transform.
    pub(crate) line: Buffer,
    pub(crate) staging: Buffer,
    pub(crate) dead: Buffer,
}

/// Two columns of `len` vectors: one of frequencies and its mirror image.
pub(crate) fn both_columns<V: Pod>(buffer: &mut Buffer, len: usize) -> [&mut [V]; 2] {
    let (column, mirrored) = buffer.slice(2 * len).split_at_mut(len);
    [column, mirrored]
}

/// How many pairs are in flight at once, and the lengths of all buffers that follow from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Pairs of a group.
    pub(crate) pairs: usize,
    pub(crate) input_rows: usize,
    pub(crate) gradient_rows: usize,
    pub(crate) output_rows: usize,
    pub(crate) input_column: usize,
    pub(crate) gradient_column: usize,
    pub(crate) output_column: usize,
}

impl Sizes {
    /// Sizes of the forward pass at a level of `lanes`.
    pub(crate) fn forward(fft: &Fft, lanes: usize) -> Self {
        Self::new(fft, lanes, false)
    }

    /// Sizes of the backward pass.
    pub(crate) fn backward(fft: &Fft, lanes: usize) -> Self {
        Self::new(fft, lanes, true)
    }

    fn new(fft: &Fft, lanes: usize, backward: bool) -> Self {
        let [height, width] = fft.tiling.tile;
        let single = fft.is_single();
        let (x, y) = (fft.input_units(lanes), fft.output_units(lanes));
        let x_rows = fft.tiling.input[0] * (width + 1);
        let d_rows = fft.tiling.useful[0] * (width + 1);
        let out_rows = if backward {
            width * column_pitch(fft.tiling.input[0])
        } else {
            width * column_pitch(fft.tiling.useful[0])
        };
        let out = if backward { x } else { y };
        let pairs = if single {
            lanes
        } else {
            let complex = 2 * UNIT * size_of::<f32>();
            let mut bytes = (x_rows * x.per_pair + out_rows * out.per_pair) * complex;
            if backward {
                bytes += d_rows * y.per_pair * complex;
            }
            let limit = if backward {
                BACKWARD_BYTES
            } else {
                FORWARD_BYTES
            };
            let units = lanes / UNIT;
            (limit / bytes).max(1).next_multiple_of(units)
        };
        let pairs = pairs.min(fft.tiling.pairs().next_multiple_of(lanes / UNIT));
        // With one input channel outputs are made vector by vector.
        let y_vectors = if single { 1 } else { y.vectors(pairs) };
        let x_vectors = if single { 1 } else { x.vectors(pairs) };
        let out_vectors = if single { 1 } else { out.vectors(pairs) };
        Self {
            pairs,
            input_rows: x_vectors * x_rows,
            gradient_rows: y_vectors * d_rows,
            output_rows: out_vectors * out_rows,
            input_column: x_vectors * (height + 1),
            gradient_column: y_vectors * (height + 1),
            output_column: out_vectors * (height + 1),
        }
    }
}

/// Values of the sums of the weight gradient's spectrum.
pub(crate) fn sums_len(fft: &Fft, lanes: usize) -> usize {
    let units = fft.output_units(lanes);
    let frequencies = fft.spectra_columns() * fft.tiling.tile[0];
    if fft.is_single() {
        frequencies * units.per_pair.next_multiple_of(units.per_vector) * UNIT * 2
    } else {
        let channels = fft.conv.in_channels.next_multiple_of(CHANNELS);
        frequencies * channels * units.per_pair * UNIT * 2
    }
}

impl Scratch {
    /// Makes room for the forward pass.
    pub(crate) fn reserve_forward<S: Simd>(&mut self, fft: &Fft) -> Result<(), ShapeError> {
        let sizes = Sizes::forward(fft, S::LANES);
        self.reserve::<S>(fft, sizes)
    }

    /// Makes room for the backward pass.
    pub(crate) fn reserve_backward<S: Simd>(&mut self, fft: &Fft) -> Result<(), ShapeError> {
        let sizes = Sizes::backward(fft, S::LANES);
        self.reserve::<S>(fft, sizes)?;
        self.gradient_rows
            .reserve::<Complex<S::V>>(sizes.gradient_rows)?;
        self.gradient_columns
            .reserve::<Complex<S::V>>(2 * sizes.gradient_column)?;
        self.dead.reserve::<Codes>(4 * fft.segment_windows())?;
        self.sums.reserve::<f32>(sums_len(fft, S::LANES))
    }

    fn reserve<S: Simd>(&mut self, fft: &Fft, sizes: Sizes) -> Result<(), ShapeError> {
        let columns = fft.tiling.tile[1];
        self.input_rows.reserve::<Complex<S::V>>(sizes.input_rows)?;
        self.output_rows
            .reserve::<Complex<S::V>>(sizes.output_rows)?;
        self.input_columns
            .reserve::<Complex<S::V>>(2 * sizes.input_column)?;
        self.output_columns
            .reserve::<Complex<S::V>>(2 * sizes.output_column)?;
        if fft.is_single() {
            self.single_spectra
                .reserve::<f32>(super::single::spectra_len(fft, S::LANES))?;
        }
        self.work.reserve::<Complex<S::V>>(MAX_LENGTH)?;
        let lines = 2 * fft.pool.window_height.max(1);
        self.line.reserve::<S::V>(lines * columns)?;
        self.staging
            .reserve::<Pixel>((5 * columns).max(4 * fft.segment_windows()))
    }

    /// Fills everything with NaN, for tests.
    pub(crate) fn poison(&mut self) {
        for buffer in [
            &mut self.input_rows,
            &mut self.gradient_rows,
            &mut self.output_rows,
            &mut self.input_columns,
            &mut self.gradient_columns,
            &mut self.output_columns,
            &mut self.single_spectra,
            &mut self.sums,
            &mut self.work,
            &mut self.line,
            &mut self.staging,
            &mut self.dead,
        ] {
            buffer.poison();
        }
    }
}
