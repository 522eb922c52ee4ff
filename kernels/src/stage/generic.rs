//! A stage for any shape: im2col and GEMM, then bias, ReLU and pooling by plain loops.

use super::StageShape;
use super::layout::FeatureMap;
use crate::ShapeError;
use crate::conv2d::fft::analysis::{Codes, DEAD};
use crate::conv2d::{self, Conv2dGradients};
use crate::simd::{Pixel, UNIT};

/// Planar copies of the maps of one image, kept between calls.
#[derive(Debug, Default)]
pub(crate) struct GenericScratch {
    input: Vec<f32>,
    output: Vec<f32>,
    input_gradient: Vec<f32>,
    columns: Vec<f32>,
}

impl GenericScratch {
    fn reserve(&mut self, shape: &StageShape) {
        let conv = &shape.conv;
        self.input.resize(conv.input_len(), 0.0);
        self.output.resize(conv.output_len(), 0.0);
        self.columns.resize(conv2d::scratch_len::<f32>(conv), 0.0);
    }

    pub(crate) fn poison(&mut self) {
        for buffer in [
            &mut self.input,
            &mut self.output,
            &mut self.input_gradient,
            &mut self.columns,
        ] {
            buffer.fill(f32::NAN);
        }
    }
}

/// Convolution, bias, ReLU and pooling of one image.
pub(crate) fn forward(
    shape: &StageShape,
    input: &[Pixel],
    weight: &[f32],
    bias: &[f32],
    values: &mut [Pixel],
    codes: &mut [Codes],
    scratch: &mut GenericScratch,
) -> Result<(), ShapeError> {
    scratch.reserve(shape);
    let conv = &shape.conv;
    shape.input().write_planar(input, &mut scratch.input);
    conv2d::forward_image(
        conv,
        &scratch.input,
        weight,
        bias,
        &mut scratch.output,
        &mut scratch.columns,
    )?;
    let pool = &shape.pool;
    let [height, width] = [pool.out_height(), pool.out_width()];
    values.fill([0.0; UNIT]);
    codes.fill([DEAD; UNIT]);
    for (channel, plane) in scratch.output.chunks_exact(conv.out_pixels()).enumerate() {
        let first = channel / UNIT * height * width;
        for i in 0..height {
            for j in 0..width {
                let (mut best, mut code) = (f32::NEG_INFINITY, 0);
                let mut position = 0;
                for r in 0..pool.window_height {
                    let row = (i * pool.window_height + r) * conv.out_width();
                    let cells = &plane[row + j * pool.window_width..][..pool.window_width];
                    for &cell in cells {
                        if cell > best || (cell.is_nan() && !best.is_nan()) {
                            (best, code) = (cell, position);
                        }
                        position += 1;
                    }
                }
                if shape.relu && best <= 0.0 {
                    (best, code) = (0.0, DEAD);
                }
                values[first + i * width + j][channel % UNIT] = best;
                codes[first + i * width + j][channel % UNIT] = code;
            }
        }
    }
    Ok(())
}

/// The arguments of a backward pass besides the scratch.
pub(crate) struct GenericBackward<'a> {
    pub(crate) shape: &'a StageShape,
    pub(crate) input: &'a [Pixel],
    pub(crate) weight: &'a [f32],
    pub(crate) gradient: &'a [Pixel],
    pub(crate) codes: &'a [Codes],
    /// Overwritten.
    pub(crate) input_gradient: Option<&'a mut [Pixel]>,
    /// Added to.
    pub(crate) weight_gradient: &'a mut [f32],
    /// Added to.
    pub(crate) bias_gradient: &'a mut [f32],
}

/// Gradients of one image.
pub(crate) fn backward(
    arguments: GenericBackward<'_>,
    scratch: &mut GenericScratch,
) -> Result<(), ShapeError> {
    let shape = arguments.shape;
    scratch.reserve(shape);
    let (conv, pool) = (&shape.conv, &shape.pool);
    shape
        .input()
        .write_planar(arguments.input, &mut scratch.input);
    let [height, width] = [pool.out_height(), pool.out_width()];
    scratch.output.fill(0.0);
    for (channel, plane) in scratch
        .output
        .chunks_exact_mut(conv.out_pixels())
        .enumerate()
    {
        let first = channel / UNIT * height * width;
        for i in 0..height {
            for j in 0..width {
                let window = first + i * width + j;
                let code = arguments.codes[window][channel % UNIT];
                if code != DEAD {
                    let row = i * pool.window_height + usize::from(code) / pool.window_width;
                    let column = j * pool.window_width + usize::from(code) % pool.window_width;
                    plane[row * conv.out_width() + column] =
                        arguments.gradient[window][channel % UNIT];
                }
            }
        }
    }
    if arguments.input_gradient.is_some() {
        scratch.input_gradient.resize(conv.input_len(), 0.0);
    }
    let wanted = arguments.input_gradient.is_some();
    let gradients = Conv2dGradients {
        input: wanted.then_some(&mut scratch.input_gradient[..]),
        weight: arguments.weight_gradient,
        bias: arguments.bias_gradient,
    };
    conv2d::backward_image(
        conv,
        &scratch.input,
        arguments.weight,
        &scratch.output,
        gradients,
        &mut scratch.columns,
    )?;
    if let Some(to) = arguments.input_gradient {
        FeatureMap::new([conv.in_channels, conv.height, conv.width])
            .read_planar(&scratch.input_gradient, to);
    }
    Ok(())
}
