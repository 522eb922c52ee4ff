//! Convolutions, first dense layer and its update one after the other, as a training step and as inference.
//!
//! Reading data, batch normalisation, dropout, the small dense layers and the update of the convolutions
//! are not in it: together they are small, and `dawn21 bench` measures everything.

use crate::dense_layers::Dense;
use crate::session::{Session, Work};
use crate::stages::Stack;
use crate::table_1::{convolutions, dense1};

/// Both.
pub(crate) fn run(session: &mut Session<'_>) {
    let (level, images) = (session.level, session.images);
    let both = convolutions();
    let [conv1, conv2] = both.map(|layer| layer.operations());
    let dense = 2.0 * dense1().weight_len() as f64;
    let weights = dense1().weight_len() as f64;
    let input = both[0].shape.input_len() as f64;
    let [pool1, pool2] = both.map(|layer| layer.pool().output_len() as f64);
    let state = move || {
        let stack = Stack::new(&both, level, images, None);
        (stack, Dense::new(images))
    };

    let step = Work {
        images: Some(images),
        operations: images as f64 * (2.0 * conv1 + 3.0 * (conv2 + dense)),
        // A pooled map is written, read by the next layer and by the backward pass; its gradient is written
        // and read, its codes (a byte each) too. Weights are read forwards; backwards they and their
        // moments are read and written.
        values: images as f64 * (2.0 * input + 5.5 * (pool1 + pool2)) + 5.0 * weights,
    };
    session.bench(
        "training step",
        "table 1",
        step,
        state,
        move |(stack, dense)| {
            stack.prepare();
            stack.forward();
            dense.forward(level, stack.kept.features());
            dense.backward(level, stack.kept.features(), &mut stack.features);
            stack.backward();
        },
    );

    let inference = Work {
        operations: images as f64 * (conv1 + conv2 + dense),
        values: images as f64 * (input + 2.0 * pool2) + weights,
        ..step
    };
    session.bench(
        "inference",
        "table 1",
        inference,
        state,
        move |(stack, dense)| {
            stack.infer();
            dense.forward(level, &stack.features);
        },
    );
}
