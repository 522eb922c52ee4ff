//! The first dense layer: products one by one, and fused with the optimiser's update.

use dawn21_kernels::dense::fused::{self, DenseParameters, InputGradient, WeightGradients};
use dawn21_kernels::dense::{self, DenseGradients};
use dawn21_kernels::rmsprop;
use dawn21_kernels::simd::Level;

use crate::numbers::uniform;
use crate::session::{Session, Work};
use crate::table_1::{DENSE1_OUTPUTS, OPTIMIZER, dense1};

/// Operations of one update of one weight: six products and sums, a root, a quotient, a difference.
const UPDATE_OPERATIONS: usize = 9;

/// What the layer reads and writes.
pub(crate) struct Dense {
    weight: Vec<f32>,
    weight_mean_square: Vec<f32>,
    bias: Vec<f32>,
    bias_mean_square: Vec<f32>,
    pub(crate) y: Vec<f32>,
    dy: Vec<f32>,
}

impl Dense {
    pub(crate) fn new(images: usize) -> Self {
        let weight = uniform(dense1().weight_len(), 0.005, 1);
        Self {
            weight_mean_square: vec![1.0; weight.len()],
            weight,
            bias: vec![0.0; DENSE1_OUTPUTS],
            bias_mean_square: vec![1.0; DENSE1_OUTPUTS],
            y: vec![0.0; images * DENSE1_OUTPUTS],
            dy: uniform(images * DENSE1_OUTPUTS, 1e-3, 2),
        }
    }

    /// Fused forward pass.
    pub(crate) fn forward(&mut self, level: Level, x: &[f32]) {
        let shape = dense1();
        let result = fused::forward(level, &shape, x, &self.weight, &self.bias, &mut self.y);
        result.expect("dense");
    }

    /// Fused backward pass and update.
    pub(crate) fn backward(&mut self, level: Level, x: &[f32], dx: &mut [f32]) {
        let parameters = DenseParameters {
            weight: &mut self.weight,
            weight_mean_square: &mut self.weight_mean_square,
            bias: &mut self.bias,
            bias_mean_square: &mut self.bias_mean_square,
        };
        let shape = dense1();
        let dx = Some(unscaled(dx));
        fused::backward_and_update(level, &shape, &OPTIMIZER, x, &self.dy, parameters, dx)
            .expect("dense");
    }
}

/// Without a dropout in front of the layer.
fn unscaled(values: &mut [f32]) -> InputGradient<'_> {
    InputGradient { values, scale: 1.0 }
}

/// All passes.
pub(crate) fn run(session: &mut Session<'_>) {
    let (level, images) = (session.level, session.images);
    let shape = dense1();
    let weights = shape.weight_len() as f64;
    let input = (images * shape.inputs()) as f64;
    let state = move || {
        let x = uniform(images * shape.inputs(), 1.0, 3);
        let dx = vec![0.0; x.len()];
        (Dense::new(images), x, dx, vec![0.0; shape.weight_len()])
    };
    let forward = Work {
        images: Some(images),
        operations: 2.0 * weights * images as f64,
        values: input + weights,
    };
    session.bench(
        "dense::forward",
        "dense1",
        forward,
        state,
        move |(s, x, _, _)| {
            dense::forward(&shape, x, &s.weight, &s.bias, &mut s.y).expect("dense");
        },
    );
    session.bench(
        "dense::fused::forward",
        "dense1",
        forward,
        state,
        move |(s, x, _, _)| {
            s.forward(level, x);
        },
    );
    let backward = Work {
        operations: 2.0 * forward.operations,
        values: 2.0 * input + 2.0 * weights,
        ..forward
    };
    session.bench(
        "dense::backward",
        "dense1",
        backward,
        state,
        move |(s, x, dx, dweight)| {
            let gradients = DenseGradients {
                input: Some(dx),
                weight: dweight,
                bias: &mut s.bias_mean_square,
            };
            dense::backward(&shape, x, &s.weight, &s.dy, gradients).expect("dense");
        },
    );
    session.bench(
        "dense::fused::backward",
        "dense1",
        backward,
        state,
        move |(s, x, dx, dweight)| {
            let gradients = WeightGradients {
                weight: dweight,
                bias: &mut s.bias_mean_square,
            };
            let dx = Some(unscaled(dx));
            fused::backward(level, &shape, x, &s.weight, &s.dy, gradients, dx).expect("dense");
        },
    );
    let update = Work {
        images: None,
        operations: UPDATE_OPERATIONS as f64 * weights,
        values: 5.0 * weights,
    };
    session.bench(
        "rmsprop::step",
        "dense1",
        update,
        state,
        move |(s, _, _, dweight)| {
            rmsprop::step(
                &OPTIMIZER,
                &mut s.weight,
                dweight,
                &mut s.weight_mean_square,
            )
            .expect("rmsprop");
        },
    );
    let fused = Work {
        operations: backward.operations + update.operations,
        values: 2.0 * input + 4.0 * weights,
        ..backward
    };
    session.bench(
        "dense::fused::backward_and_update",
        "dense1",
        fused,
        state,
        move |(s, x, dx, _)| s.backward(level, x, dx),
    );
}
