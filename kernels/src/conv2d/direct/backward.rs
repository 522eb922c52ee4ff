//! Backward pass of one image, block of windows by block of windows.

use super::dense_input::{self, transposed_weight};
use super::sparse::{self, Lists};
use super::tap_tiles::TapTiles;
use super::{Direct, Scratch, Windows, dense_weight, forward};
use crate::ShapeError;
use crate::buffer::Buffer;
use crate::conv2d::map::Map;
use crate::conv2d::pooling::{AddAlive, PooledGradient};
use crate::simd::{Kernel, Pixel, Simd, UNIT};

/// Windows of a block, about: under 64 windows of 2 x 2 lie 4 KiB of each row of the map.
const BLOCK_WINDOWS: usize = 64;

/// The arguments of one backward pass.
pub(crate) struct Backward<'a> {
    pub(crate) direct: &'a Direct,
    pub(crate) input: Map<'a>,
    pub(crate) gradient: PooledGradient<'a>,
    /// Where the input gradient goes (overwritten), and the weights as [`Pack`] makes them.
    pub(crate) input_gradient: Option<(&'a mut [Pixel], &'a [f32])>,
    /// Added to; whole units of 8 channels.
    pub(crate) bias: &'a mut [Pixel],
    /// Holds the sums of the weight gradient between the images of a chunk.
    pub(crate) scratch: &'a mut Scratch,
    /// This is the first image of its chunk.
    pub(crate) first: bool,
}

impl<S: Simd> Kernel<S> for Backward<'_> {
    type Output = Result<(), ShapeError>;

    #[inline(always)]
    fn run(self, simd: S) -> Result<(), ShapeError> {
        let Self {
            direct,
            gradient,
            scratch,
            ..
        } = self;
        let pool = &direct.pool;
        let [height, width] = [pool.out_height(), pool.out_width()];
        let tiles = TapTiles::new::<S>(direct);
        let len = sums_len::<S>(direct);
        scratch.sums.reserve::<f32>(len)?;
        let sums = scratch.sums.slice::<f32>(len);
        if self.first {
            sums.fill(0.0);
        }
        let input = match self.input {
            Map::Planes(planes) => planes,
            Map::Pixels(pixels) => pixels.as_flattened(),
        };
        let columns = BLOCK_WINDOWS.min(width);
        let rows = (BLOCK_WINDOWS / columns).min(height);
        let line_len = dense_weight::line_len::<S>(direct, rows * columns);
        scratch.line.reserve::<f32>(line_len)?;
        let mut lists = Lists::new(direct, rows * columns, &mut scratch.entries);
        scratch.bias.clear();
        scratch.bias.resize(direct.out_blocks(), [0.0; UNIT]);
        let mut input_gradient = self.input_gradient;
        let scatter = direct.transposed.is_none();
        if let (Some((map, _)), true) = (&mut input_gradient, scatter) {
            map.fill([0.0; UNIT]);
        }
        for row in (0..height).step_by(rows) {
            for column in (0..width).step_by(columns) {
                let windows = Windows {
                    row,
                    column,
                    rows: rows.min(height - row),
                    columns: columns.min(width - column),
                };
                simd.vectorize(AddAlive {
                    gradient,
                    map: [height, width],
                    origin: [row, column],
                    windows: [windows.rows, windows.columns],
                    sums: &mut scratch.bias,
                });
                if !direct.dense_weight_gradient || scatter && input_gradient.is_some() {
                    lists.fill(direct, gradient, windows);
                }
                if direct.dense_weight_gradient {
                    simd.vectorize(dense_weight::WeightGradient {
                        block: dense_weight::Block {
                            direct,
                            input,
                            gradient,
                            windows,
                        },
                        line: scratch.line.slice(line_len),
                        sums: &mut *sums,
                    });
                } else {
                    simd.vectorize(sparse::WeightGradient {
                        tiles: &tiles,
                        lists: &lists,
                        input,
                        sums: sums.as_chunks_mut().0,
                    });
                }
                if let (Some((map, weights)), true) = (&mut input_gradient, scatter) {
                    simd.vectorize(sparse::InputGradient {
                        tiles: &tiles,
                        lists: &lists,
                        weights: weights.as_chunks().0,
                        map: map.as_flattened_mut(),
                    });
                }
            }
        }
        for (bias, sums) in self.bias.iter_mut().zip(&scratch.bias) {
            for (bias, sum) in bias.iter_mut().zip(sums) {
                *bias += *sum as f32;
            }
        }
        match (input_gradient, &direct.transposed) {
            (Some((map, weights)), Some(transposed)) => {
                simd.vectorize(dense_input::InputGradient {
                    conv: &direct.conv,
                    pool,
                    transposed,
                    weights,
                    gradient,
                    map,
                    scratch: &mut scratch.input_gradient,
                    line: &mut scratch.line,
                })
            }
            _ => Ok(()),
        }
    }
}

/// Values of the sums of the weight gradient.
fn sums_len<S: Simd>(direct: &Direct) -> usize {
    match direct.dense_weight_gradient {
        true => dense_weight::sums_len(direct),
        false => TapTiles::new::<S>(direct).len(direct.conv.out_channels) * UNIT,
    }
}

/// The weight gradient of a chunk of images.
pub(crate) struct Finish<'a> {
    pub(crate) direct: &'a Direct,
    /// (O,C,R,S), overwritten.
    pub(crate) weight: &'a mut [f32],
    pub(crate) scratch: &'a mut Scratch,
}

impl<S: Simd> Kernel<S> for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let direct = self.direct;
        let sums = self.scratch.sums.slice::<f32>(sums_len::<S>(direct));
        if direct.dense_weight_gradient {
            simd.vectorize(dense_weight::Unpack {
                direct,
                sums,
                weight: self.weight,
            });
        } else {
            TapTiles::new::<S>(direct).unpack(sums.as_chunks().0, self.weight);
        }
    }
}

/// Values of the weights for the input gradient.
pub(crate) struct PackedLen<'a>(pub(crate) &'a Direct);

impl<S: Simd> Kernel<S> for PackedLen<'_> {
    type Output = usize;

    #[inline(always)]
    fn run(self, _: S) -> usize {
        match &self.0.transposed {
            Some(transposed) => forward::packed_len(transposed),
            None => TapTiles::new::<S>(self.0).len(self.0.conv.out_channels) * UNIT,
        }
    }
}

/// Weights for the input gradient: in tiles of taps, or packed for the convolution that makes it.
pub(crate) struct Pack<'a> {
    pub(crate) direct: &'a Direct,
    /// (O,C,R,S).
    pub(crate) weight: &'a [f32],
}

impl<S: Simd> Kernel<S> for Pack<'_> {
    type Output = Result<Buffer, ShapeError>;

    #[inline(always)]
    fn run(self, simd: S) -> Result<Buffer, ShapeError> {
        let mut buffer = Buffer::default();
        let len = PackedLen(self.direct).run(simd);
        buffer.reserve::<f32>(len)?;
        let packed = buffer.slice::<f32>(len);
        match &self.direct.transposed {
            Some(transposed) => simd.vectorize(forward::Pack {
                direct: transposed,
                weight: &transposed_weight(&self.direct.conv, self.weight),
                packed,
            }),
            None => {
                let tiles = TapTiles::new::<S>(self.direct);
                tiles.pack(self.weight, packed.as_chunks_mut().0);
            }
        }
        Ok(buffer)
    }
}
