//! The convolution that is generic over f32 and f64 (im2col and a matrix product), and its patches.

use dawn21_kernels::conv2d::{self, Conv2dGradients};
use dawn21_kernels::im2col::{block_pixels, col2im_add, im2col};

use crate::numbers::uniform;
use crate::session::{Session, Work};
use crate::table_1::{Convolution, convolutions};

/// What a convolution reads and writes.
struct State {
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    y: Vec<f32>,
    dx: Vec<f32>,
    dweight: Vec<f32>,
    dbias: Vec<f32>,
}

impl State {
    fn new(layer: &Convolution, images: usize) -> Self {
        let shape = &layer.shape;
        Self {
            x: uniform(images * shape.input_len(), 1.0, 1),
            weight: uniform(shape.weight_len(), 0.1, 2),
            bias: uniform(shape.bias_len(), 0.1, 3),
            y: uniform(images * shape.output_len(), 1.0, 4),
            dx: vec![0.0; images * shape.input_len()],
            dweight: vec![0.0; shape.weight_len()],
            dbias: vec![0.0; shape.bias_len()],
        }
    }
}

/// Both layers, forward and backward.
pub(crate) fn run(session: &mut Session<'_>) {
    let images = session.images;
    for layer in convolutions() {
        let Convolution { name, shape } = layer;
        let state = move || State::new(&layer, images);
        let [input, output] = [shape.input_len(), shape.output_len()].map(|n| (n * images) as f64);
        let operations = layer.operations() * images as f64;
        let forward = Work {
            images: Some(images),
            operations,
            values: input + output,
        };
        session.bench("conv2d::forward", name, forward, state, move |s| {
            conv2d::forward(&shape, &s.x, &s.weight, &s.bias, &mut s.y).expect("forward");
        });
        let wanted = name != "conv1";
        let passes = if wanted { 2.0 } else { 1.0 };
        let backward = Work {
            operations: passes * operations,
            values: passes * input + output,
            ..forward
        };
        session.bench("conv2d::backward", name, backward, state, move |s| {
            let gradients = Conv2dGradients {
                input: wanted.then_some(&mut s.dx[..]),
                weight: &mut s.dweight,
                bias: &mut s.dbias,
            };
            conv2d::backward(&shape, &s.x, &s.weight, &s.y, gradients).expect("backward");
        });
        patches(session, layer);
    }
}

/// Patches of one image to columns and back, block by block.
fn patches(session: &mut Session<'_>, layer: Convolution) {
    let Convolution { name, shape } = layer;
    let block = block_pixels::<f32>(&shape);
    let columns = (shape.patch_len() * shape.out_pixels()) as f64;
    let input = shape.input_len() as f64;
    let buffers = move || {
        (
            uniform(shape.input_len(), 1.0, 1),
            uniform(shape.patch_len() * block, 1.0, 2),
        )
    };
    let blocks = move || {
        (0..shape.out_pixels())
            .step_by(block)
            .map(move |start| start..(start + block).min(shape.out_pixels()))
    };
    let work = Work {
        images: Some(1),
        operations: 0.0,
        values: input + columns,
    };
    session.bench(
        "im2col::im2col",
        name,
        work,
        buffers,
        move |(x, columns)| {
            for pixels in blocks() {
                im2col(&shape, x, pixels, columns);
            }
        },
    );
    let work = Work {
        operations: columns,
        ..work
    };
    session.bench(
        "im2col::col2im_add",
        name,
        work,
        buffers,
        move |(x, columns)| {
            for pixels in blocks() {
                col2im_add(&shape, columns, pixels, x);
            }
        },
    );
}
