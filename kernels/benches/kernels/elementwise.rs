//! Kernels that memory limits: pooling, ReLU, dropout, batch normalisation, loss, sums.

use dawn21_kernels::batch_norm::{self, Affine, BatchNormGradients, BatchStatistics};
use dawn21_kernels::dropout::{self, MaskKey};
use dawn21_kernels::reduce::{pairwise_sum, sum_in_order};
use dawn21_kernels::rng::{Stream, generator, unit_interval};
use dawn21_kernels::{BatchNormShape, loss, max_pool2d, relu};
use rand_xoshiro::rand_core::Rng;

use crate::numbers::uniform;
use crate::session::{Session, Work};
use crate::table_1::{DENSE1_OUTPUTS, PARAMETERS, convolutions, dense1};

/// Work of so many operations an image, which read or write `moved` values of 4 bytes.
fn work(images: usize, operations: usize, moved: usize) -> Work {
    Work {
        images: Some(images),
        operations: (operations * images) as f64,
        values: (moved * images) as f64,
    }
}

/// All of them.
pub(crate) fn run(session: &mut Session<'_>) {
    feature_maps(session);
    dropout_mask(session);
    normalisation(session);
    losses_and_sums(session);
}

fn feature_maps(session: &mut Session<'_>) {
    let images = session.images;
    for layer in convolutions() {
        let len = layer.shape.output_len();
        let maps = move || (uniform(images * len, 1.0, 1), uniform(images * len, 1.0, 2));
        let forward = work(images, len, 2 * len);
        session.bench(
            "relu::forward_in_place",
            layer.name,
            forward,
            maps,
            |(x, _)| {
                relu::forward_in_place(x);
            },
        );
        let backward = work(images, len, 3 * len);
        session.bench(
            "relu::backward_in_place",
            layer.name,
            backward,
            maps,
            |(y, dy)| {
                relu::backward_in_place(y, dy).expect("relu");
            },
        );

        let pool = layer.pool();
        let pooled = pool.output_len();
        let maps = move || {
            (
                uniform(images * len, 1.0, 1),
                uniform(images * pooled, 1.0, 2),
                vec![0_u8; images * pooled],
            )
        };
        // The position of a maximum is a byte.
        let both = work(images, len, len + pooled * 5 / 4);
        session.bench(
            "max_pool2d::forward",
            layer.name,
            both,
            maps,
            move |(x, y, argmax)| {
                max_pool2d::forward(&pool, x, y, argmax).expect("pool");
            },
        );
        session.bench(
            "max_pool2d::backward",
            layer.name,
            both,
            maps,
            move |(dx, dy, argmax)| {
                max_pool2d::backward(&pool, dy, argmax, dx).expect("pool");
            },
        );
    }
}

fn dropout_mask(session: &mut Session<'_>) {
    let images = session.images;
    let len = dense1().inputs();
    let key = MaskKey {
        seed: 21,
        layer: 7,
        step: 1,
    };
    let features = move || uniform(images * len, 1.0, 1);
    let mask = work(images, len, 2 * len);
    session.bench("dropout::apply_mask", "flatten", mask, features, move |x| {
        dropout::apply_mask(key, 0.2, len, x).expect("dropout");
    });
}

/// What a normalisation reads and writes.
struct Normalisation {
    x: Vec<f32>,
    y: Vec<f32>,
    statistics: BatchStatistics<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    dgamma: Vec<f32>,
    dbeta: Vec<f32>,
}

impl Normalisation {
    fn new(shape: &BatchNormShape, images: usize) -> Self {
        let x = uniform(images * shape.image_len(), 1.0, 1);
        Self {
            statistics: BatchStatistics::of(shape, &x).expect("statistics"),
            y: x.clone(),
            x,
            gamma: vec![1.0; shape.channels()],
            beta: vec![0.0; shape.channels()],
            dgamma: vec![0.0; shape.channels()],
            dbeta: vec![0.0; shape.channels()],
        }
    }

    fn backward(&mut self, shape: &BatchNormShape, dy: &[f32], training: bool) {
        let affine = Affine {
            gamma: &self.gamma,
            beta: &self.beta,
            epsilon: 1e-3,
        };
        let gradients = BatchNormGradients {
            input: &mut self.y,
            gamma: &mut self.dgamma,
            beta: &mut self.dbeta,
        };
        let statistics = &self.statistics;
        let result = if training {
            batch_norm::backward_training(shape, &self.x, statistics, affine, dy, gradients)
        } else {
            let constants = [&statistics.mean[..], &statistics.variance];
            batch_norm::backward_inference(shape, &self.x, constants, affine, dy, gradients)
        };
        result.expect("batch norm");
    }
}

fn normalisation(session: &mut Session<'_>) {
    const NAME: &str = "dense1 outputs";
    let images = session.images;
    let len = DENSE1_OUTPUTS;
    let shape = BatchNormShape::new(len, 1).expect("batch norm");
    let state = move || {
        let dy = uniform(images * len, 1.0, 2);
        (Normalisation::new(&shape, images), dy)
    };
    let statistics = work(images, 4 * len, 2 * len);
    session.bench(
        "batch_norm::BatchStatistics",
        NAME,
        statistics,
        state,
        move |(s, _)| {
            s.statistics = BatchStatistics::of(&shape, &s.x).expect("statistics");
        },
    );
    let forward = work(images, 3 * len, 2 * len);
    session.bench(
        "batch_norm::forward",
        NAME,
        forward,
        state,
        move |(s, _)| {
            let affine = Affine {
                gamma: &s.gamma,
                beta: &s.beta,
                epsilon: 1e-3,
            };
            let BatchStatistics { mean, variance } = &s.statistics;
            batch_norm::forward(&shape, &s.x, mean, variance, affine, &mut s.y)
                .expect("batch norm");
        },
    );
    let backward = work(images, 11 * len, 5 * len);
    session.bench(
        "batch_norm::backward_training",
        NAME,
        backward,
        state,
        move |(s, dy)| {
            s.backward(&shape, dy, true);
        },
    );
    session.bench(
        "batch_norm::backward_inference",
        NAME,
        backward,
        state,
        move |(s, dy)| {
            s.backward(&shape, dy, false);
        },
    );
}

fn losses_and_sums(session: &mut Session<'_>) {
    let images = session.images;
    let len = images * PARAMETERS;
    let outputs = move || [1, 2, 3].map(|seed| uniform(len, 1.0, seed));
    let loss = work(images, 5 * PARAMETERS, 3 * PARAMETERS);
    session.bench(
        "loss::mean_squared_error",
        "outputs",
        loss,
        outputs,
        |[p, t, g]| {
            std::hint::black_box(loss::mean_squared_error(p, t, g).expect("loss"));
        },
    );

    let [conv1, _] = convolutions();
    let plane = conv1.shape.out_pixels();
    let bias = work(1, plane, plane);
    session.bench(
        "reduce::pairwise_sum",
        "conv1 plane",
        bias,
        move || uniform(plane, 1.0, 1),
        |plane| {
            std::hint::black_box(pairwise_sum(plane));
        },
    );

    // Partial gradients of the convolutions, at most 64.
    let weights = convolutions().map(|layer| layer.shape.weight_len());
    let len = weights.iter().sum::<usize>();
    let partials = 64;
    let gradients = Work {
        images: None,
        ..work(1, partials * len, (partials + 1) * len)
    };
    session.bench(
        "reduce::sum_in_order",
        "64 conv gradients",
        gradients,
        move || (uniform(partials * len, 1.0, 1), vec![0.0; len]),
        move |(partials, total)| sum_in_order(total, partials.chunks_exact(len)),
    );

    let draws = 4096;
    let random = Work {
        images: None,
        ..work(1, 0, draws)
    };
    session.bench(
        "rng::generator",
        "4096 numbers",
        random,
        || (),
        move |()| {
            let mut generator = generator(21, Stream::Audit, &[1]);
            let sum: f64 = (0..draws)
                .map(|_| unit_interval(generator.next_u64()))
                .sum();
            std::hint::black_box(sum);
        },
    );
}
