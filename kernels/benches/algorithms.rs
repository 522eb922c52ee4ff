//! Every algorithm of a convolution over a spread of shapes, and whether the plan picks the fastest.
//!
//! `cargo bench -p dawn21-kernels --bench algorithms`. One thread; times are processor time, the least of
//! three rounds, in milliseconds per image. Environment: `DAWN21_SIMD` (level), `DAWN21_BENCH_SHAPES` (only shapes whose name
//! contains this), `DAWN21_BENCH_ALGORITHM` (only this one), `DAWN21_BENCH_SECONDS` (for each algorithm and shape, 0.3).

#[path = "kernels/numbers.rs"]
mod numbers;

use std::time::Instant;

use dawn21_kernels::conv2d::plan::Algorithm;
use dawn21_kernels::simd::Level;
use dawn21_kernels::stage::{
    ConvStack, StackActivations, StageGradients, StageShape, StageWeights,
};
use dawn21_kernels::{Conv2dShape, ShapeError};
use numbers::uniform;

/// Channels, rows and columns of the image, filters, kernel, window.
const SHAPES: [([usize; 3], usize, usize, usize); 44] = [
    // Table 1 and the same network at other cell sizes.
    ([1, 100, 2200], 8, 10, 2),
    ([8, 45, 1095], 16, 10, 2),
    ([1, 50, 1042], 8, 5, 2),
    ([8, 23, 519], 16, 5, 2),
    ([1, 200, 2200], 8, 7, 2),
    // Images of one channel.
    ([1, 8, 8], 8, 3, 2),
    ([1, 28, 28], 16, 3, 2),
    ([1, 28, 28], 32, 5, 2),
    ([1, 64, 64], 4, 3, 2),
    ([1, 128, 128], 1, 7, 1),
    ([1, 128, 128], 8, 16, 2),
    ([1, 128, 128], 16, 32, 2),
    ([1, 160, 512], 8, 64, 2),
    ([1, 100, 2200], 8, 3, 2),
    ([1, 100, 2200], 32, 3, 1),
    // Few channels.
    ([2, 64, 64], 3, 3, 1),
    ([3, 32, 32], 16, 3, 2),
    ([3, 64, 64], 64, 7, 2),
    ([3, 224, 224], 32, 3, 2),
    ([4, 100, 300], 4, 10, 2),
    // Kernels of one cell.
    ([8, 45, 1095], 8, 1, 1),
    ([64, 28, 28], 64, 1, 1),
    ([256, 14, 14], 256, 1, 1),
    // Small kernels, growing channels, shrinking images.
    ([8, 64, 64], 8, 3, 1),
    ([8, 45, 1095], 16, 3, 2),
    ([16, 32, 32], 32, 3, 2),
    ([32, 32, 32], 32, 3, 1),
    ([64, 28, 28], 64, 3, 1),
    ([64, 56, 56], 64, 3, 2),
    ([128, 14, 14], 128, 3, 1),
    ([128, 28, 28], 128, 3, 2),
    ([256, 8, 8], 256, 3, 1),
    ([256, 14, 14], 256, 3, 2),
    // Kernels of 5 to 7.
    ([16, 32, 32], 16, 5, 2),
    ([32, 14, 14], 64, 5, 2),
    ([8, 45, 1095], 16, 5, 2),
    ([8, 45, 1095], 16, 7, 2),
    ([64, 28, 28], 64, 7, 1),
    // Large kernels.
    ([8, 20, 20], 16, 10, 1),
    ([16, 64, 64], 16, 10, 2),
    ([8, 64, 64], 8, 16, 2),
    ([8, 80, 300], 16, 32, 2),
    ([4, 100, 200], 8, 64, 2),
    ([64, 40, 40], 64, 16, 2),
];

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// Processor time of the calling thread in seconds on Linux, else the time on the clock.
///
/// The kernel brings it up to date every few milliseconds only.
fn thread_seconds(start: Instant) -> f64 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|stat| stat.split(' ').next()?.parse::<u64>().ok())
        .map_or_else(|| start.elapsed().as_secs_f64(), |ns| ns as f64 * 1e-9)
}

/// Milliseconds of one call: the least of three rounds of calls, in processor time, which other programs
/// on the machine disturb less than the clock.
fn least(seconds: f64, mut work: impl FnMut()) -> f64 {
    work();
    let clock = Instant::now();
    let round = || {
        let (start, before) = (Instant::now(), thread_seconds(clock));
        let mut calls = 0;
        while start.elapsed().as_secs_f64() < seconds / 3.0 {
            work();
            calls += 1;
        }
        (thread_seconds(clock) - before) / f64::from(calls)
    };
    std::iter::repeat_with(round)
        .take(3)
        .fold(f64::INFINITY, f64::min)
        * 1e3
}

/// One stage, with the gradient of its input unless it has one channel, as the first of a network.
fn stack(
    shape: StageShape,
    level: Level,
    algorithm: Option<Algorithm>,
) -> Result<ConvStack, ShapeError> {
    if shape.input().shape()[0] == 1 {
        ConvStack::new(&[shape], level, algorithm)
    } else {
        ConvStack::with_input_gradient(&[shape], level, algorithm)
    }
}

/// Milliseconds per image of the forward and of the backward pass.
fn measure(
    shape: StageShape,
    level: Level,
    algorithm: Algorithm,
    seconds: f64,
) -> Option<[f64; 2]> {
    let conv = *shape.conv();
    let stack = stack(shape, level, Some(algorithm)).ok()?;
    let wants_input_gradient = shape.input().shape()[0] > 1;
    // Enough images that small ones do not come from the first-level cache.
    let images = ((1 << 20) / conv.input_len()).clamp(1, 16);
    let scale = 2.0 / (conv.patch_len() as f32).sqrt();
    let weight = uniform(conv.weight_len(), scale, 1);
    let bias = uniform(conv.bias_len(), 0.1, 2);
    let x = uniform(images * conv.input_len(), 1.0, 3);
    let weights = [StageWeights {
        weight: &weight,
        bias: &bias,
    }];
    let prepared = stack.prepare(&weights, true).expect("prepare");
    let mut kept = StackActivations::default();
    let forward = least(seconds / 2.0, || {
        stack.forward(&prepared, &x, &mut kept).expect("forward");
    });
    let gradient = uniform(kept.features().len(), 1.0, 4);
    let (mut dw, mut db) = (weight.clone(), bias.clone());
    let mut dx = wants_input_gradient.then(|| x.clone());
    let backward = least(seconds / 2.0, || {
        let mut gradients = [StageGradients {
            weight: &mut dw,
            bias: &mut db,
        }];
        let dx = dx.as_deref_mut();
        stack
            .backward(&prepared, &x, &kept, &gradient, &mut gradients, dx)
            .expect("backward");
    });
    Some([forward, backward].map(|ms| ms / images as f64))
}

fn run(level: Level, seconds: f64, only: &str, only_algorithm: Option<Algorithm>) {
    println!("level {level}; milliseconds per image: forward + backward = both (estimate / both)");
    let mut ratios = Vec::new();
    for (image, filters, kernel, window) in SHAPES {
        let [channels, height, width] = image;
        let name =
            format!("{channels}->{filters} @ {kernel}x{kernel} on {height}x{width} / {window}");
        if !name.contains(only) {
            continue;
        }
        let conv = Conv2dShape::new(image, filters, [kernel; 2]).expect("shape");
        let shape = StageShape::new(conv, [window; 2]).expect("window");
        let planned = stack(shape, level, None).expect("plan");
        let plan = planned.plans().next().expect("plan");
        print!("{name:<36}");
        let (mut best, mut chosen) = (f64::INFINITY, f64::NAN);
        for algorithm in Algorithm::ALL {
            if only_algorithm.is_some_and(|only| only != algorithm) {
                continue;
            }
            let Some([forward, backward]) = measure(shape, level, algorithm, seconds) else {
                print!("| {algorithm:<6} impossible                  ");
                continue;
            };
            let both = forward + backward;
            let estimate = plan.estimate_ns(algorithm).unwrap_or(f64::NAN) * 1e-6 / both;
            print!(
                "| {algorithm:<6} {forward:>7.3} + {backward:>8.3} = {both:>8.3} ({estimate:.2}) "
            );
            best = best.min(both);
            if algorithm == plan.algorithm() {
                chosen = both;
            }
        }
        let ratio = chosen / best;
        println!("| plan {:<6} {ratio:.2} x best", plan.algorithm());
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    let near = ratios.iter().filter(|ratio| **ratio <= 1.3).count();
    println!(
        "plan within 1.3 x of the best: {near} of {}; worst {:.2}",
        ratios.len(),
        ratios.last().copied().unwrap_or(f64::NAN)
    );
}

fn main() {
    let level = Level::from_environment().expect("DAWN21_SIMD");
    let seconds = setting("DAWN21_BENCH_SECONDS", 0.3);
    let only: String = setting("DAWN21_BENCH_SHAPES", String::new());
    let algorithm = std::env::var("DAWN21_BENCH_ALGORITHM")
        .ok()
        .map(|name| name.parse().expect("DAWN21_BENCH_ALGORITHM"));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    pool.expect("thread")
        .install(|| run(level, seconds, &only, algorithm));
}
