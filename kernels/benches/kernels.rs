//! Times of the fused kernels at the shapes of Table 1 and of a whole training step.
//!
//! `cargo bench -p dawn21-kernels`. Environment: `DAWN21_SIMD` (level), `DAWN21_BENCH_BATCH` (images, 40),
//! `DAWN21_BENCH_THREADS` (comma-separated, "1,2"), `DAWN21_BENCH_REPEATS` (15).
//!
//! Operations are those of the direct computation, two per product; rates above the processor's peak
//! mean that an algorithm needs fewer. Beside the time on the clock stands the processor time of all
//! threads, which other programs on the machine disturb less.

use std::time::Instant;

use dawn21_kernels::dense::fused::{self, DenseParameters, InputGradient};
use dawn21_kernels::rmsprop::RmsProp;
use dawn21_kernels::simd::{Level, peak};
use dawn21_kernels::stage::{
    ConvStack, StackActivations, StageGradients, StageShape, StageWeights,
};
use dawn21_kernels::{Conv2dShape, DenseShape};

/// Products of one image: (forward, backward) of the two convolutions and of the dense layer.
const CONV_1: f64 = 8.0 * 100.0 * 91.0 * 2191.0;
const CONV_2: f64 = 16.0 * 800.0 * 36.0 * 1086.0;
const DENSE: f64 = 156_384.0 * 64.0;

/// Processor time of all threads of this process, on Linux; elsewhere 0.
fn processor_seconds() -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return 0.0;
    };
    let nanoseconds: u64 = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|stat| stat.split(' ').next()?.parse::<u64>().ok())
        .sum();
    nanoseconds as f64 * 1e-9
}

/// Seconds of one call: best and median on the clock, median of processor time.
struct Times {
    best: f64,
    median: f64,
    processor: f64,
}

fn time(repeats: usize, mut work: impl FnMut()) -> Times {
    work();
    let (mut clock, mut processor): (Vec<f64>, Vec<f64>) = (0..repeats)
        .map(|_| {
            let (before, start) = (processor_seconds(), Instant::now());
            work();
            (start.elapsed().as_secs_f64(), processor_seconds() - before)
        })
        .unzip();
    clock.sort_by(f64::total_cmp);
    processor.sort_by(f64::total_cmp);
    Times {
        best: clock[0],
        median: clock[repeats / 2],
        processor: processor[repeats / 2],
    }
}

struct Report {
    images: f64,
    /// Multiply-adds count twice.
    peak: f64,
}

impl Report {
    fn line(&self, name: &str, products: f64, times: &Times) {
        let flops = 2.0 * products * self.images;
        println!(
            "{name:<34} {:>8.3} {:>8.3} {:>8.3} ms/image {:>8.0} img/s {:>7.0} GFLOP/s {:>5.2} x peak",
            times.best * 1e3 / self.images,
            times.median * 1e3 / self.images,
            times.processor * 1e3 / self.images,
            self.images / times.median,
            flops / times.best * 1e-9,
            flops / times.best / self.peak,
        );
    }
}

fn numbers(len: usize, scale: f32, seed: u32) -> Vec<f32> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) as f32 / 8_388_608.0 - 1.0) * scale
        })
        .collect()
}

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

fn table_1() -> [StageShape; 2] {
    let first = Conv2dShape::new([1, 100, 2200], 8, [10, 10]).expect("conv1");
    let second = Conv2dShape::new([8, 45, 1095], 16, [10, 10]).expect("conv2");
    [first, second].map(|conv| StageShape::new(conv, [2, 2]).expect("window"))
}

/// A network of the given stages and, after both, the dense layer.
struct Network {
    stack: ConvStack,
    parameters: Vec<(Vec<f32>, Vec<f32>)>,
    gradients: Vec<(Vec<f32>, Vec<f32>)>,
    kept: StackActivations,
    x: Vec<f32>,
}

impl Network {
    fn new(shapes: &[StageShape], level: Level, images: usize) -> Self {
        let stack = ConvStack::new(shapes, level, None).expect("stack");
        let parameters: Vec<_> = shapes
            .iter()
            .map(|shape| {
                let conv = shape.conv();
                let scale = 2.0 / (conv.patch_len() as f32).sqrt();
                (
                    numbers(conv.weight_len(), scale, 1),
                    numbers(conv.bias_len(), 0.1, 2),
                )
            })
            .collect();
        Self {
            x: numbers(images * stack.input().planar_len(), 1.0, 3),
            gradients: parameters.clone(),
            parameters,
            stack,
            kept: StackActivations::default(),
        }
    }

    fn prepare(&self) -> dawn21_kernels::stage::Prepared {
        let weights: Vec<_> = self
            .parameters
            .iter()
            .map(|(weight, bias)| StageWeights { weight, bias })
            .collect();
        self.stack.prepare(&weights, true).expect("prepare")
    }

    fn forward(&mut self, prepared: &dawn21_kernels::stage::Prepared) {
        let result = self.stack.forward(prepared, &self.x, &mut self.kept);
        result.expect("forward");
    }

    fn backward(&mut self, prepared: &dawn21_kernels::stage::Prepared, gradient: &[f32]) {
        let mut targets: Vec<_> = self
            .gradients
            .iter_mut()
            .map(|(weight, bias)| StageGradients { weight, bias })
            .collect();
        let result =
            self.stack
                .backward(prepared, &self.x, &self.kept, gradient, &mut targets, None);
        result.expect("backward");
    }
}

fn run(level: Level, images: usize, repeats: usize, report: &Report) {
    let optimizer = RmsProp {
        learning_rate: 1e-3,
        rho: 0.9,
        epsilon: 1e-7,
    };
    let shapes = table_1();
    let mut first = Network::new(&shapes[..1], level, images);
    let prepared = first.prepare();
    report.line(
        "conv1 forward",
        CONV_1,
        &time(repeats, || first.forward(&prepared)),
    );
    let gradient = numbers(first.kept.features().len(), 1.0, 4);
    report.line(
        "conv1 weight gradient",
        CONV_1,
        &time(repeats, || first.backward(&prepared, &gradient)),
    );
    drop((first, gradient));

    let mut both = Network::new(&shapes, level, images);
    for plan in both.stack.plans() {
        println!("  {plan}");
    }
    let times = time(repeats, || drop(both.prepare()));
    report.line("kernel spectra", 0.0, &times);
    let prepared = both.prepare();
    report.line(
        "conv1 + conv2 forward",
        CONV_1 + CONV_2,
        &time(repeats, || both.forward(&prepared)),
    );
    let mut features = vec![0.0; both.kept.features().len()];
    let times = time(repeats, || {
        let result = both.stack.infer(&prepared, &both.x, &mut features);
        result.expect("infer");
    });
    report.line("conv1 + conv2 inference", CONV_1 + CONV_2, &times);
    let mut dx = numbers(features.len(), 1.0, 5);
    report.line(
        "conv1 + conv2 backward",
        CONV_1 + 2.0 * CONV_2,
        &time(repeats, || both.backward(&prepared, &dx)),
    );

    let inputs = both.stack.output().internal_len();
    let dense = DenseShape::new(inputs, 64).expect("dense");
    let mut weight = numbers(dense.weight_len(), 0.005, 6);
    let mut weight_mean_square = vec![1.0; weight.len()];
    let (mut bias, mut bias_mean_square) = (vec![0.0; 64], vec![1.0; 64]);
    let dy = numbers(images * 64, 1e-3, 7);
    let mut y = vec![0.0; images * 64];
    let times = time(repeats, || {
        fused::forward(level, &dense, &features, &weight, &bias, &mut y).expect("dense");
    });
    report.line("dense forward", DENSE, &times);
    let mut step = |x: &[f32], dx: &mut [f32]| {
        let parameters = DenseParameters {
            weight: &mut weight,
            weight_mean_square: &mut weight_mean_square,
            bias: &mut bias,
            bias_mean_square: &mut bias_mean_square,
        };
        let wanted = Some(InputGradient {
            values: dx,
            scale: 1.0,
        });
        fused::backward_and_update(level, &dense, &optimizer, x, &dy, parameters, wanted)
            .expect("dense");
    };
    let times = time(repeats, || step(&features, &mut dx));
    report.line("dense backward + RMSprop", 2.0 * DENSE, &times);

    let mut weight = numbers(dense.weight_len(), 0.005, 6);
    let mut weight_mean_square = vec![1.0; weight.len()];
    let (mut bias, mut bias_mean_square) = (vec![0.0; 64], vec![1.0; 64]);
    let times = time(repeats, || {
        let prepared = both.prepare();
        both.forward(&prepared);
        let features = both.kept.features();
        fused::forward(level, &dense, features, &weight, &bias, &mut y).expect("dense");
        let parameters = DenseParameters {
            weight: &mut weight,
            weight_mean_square: &mut weight_mean_square,
            bias: &mut bias,
            bias_mean_square: &mut bias_mean_square,
        };
        let wanted = Some(InputGradient {
            values: &mut dx,
            scale: 1.0,
        });
        fused::backward_and_update(level, &dense, &optimizer, features, &dy, parameters, wanted)
            .expect("dense");
        both.backward(&prepared, &dx);
    });
    let all = 2.0 * CONV_1 + 3.0 * CONV_2 + 3.0 * DENSE;
    report.line("training step", all, &times);
    let times = time(repeats, || {
        let result = both.stack.infer(&prepared, &both.x, &mut features);
        result.expect("infer");
        fused::forward(level, &dense, &features, &weight, &bias, &mut y).expect("dense");
    });
    report.line("inference", CONV_1 + CONV_2 + DENSE, &times);
}

fn main() {
    let level = Level::from_environment().expect("DAWN21_SIMD");
    let images = setting("DAWN21_BENCH_BATCH", 40);
    let repeats = setting("DAWN21_BENCH_REPEATS", 15);
    let threads = setting("DAWN21_BENCH_THREADS", "1,2".to_owned());
    let mut operations = 0.0;
    let peak = time(9, || operations = peak::multiply_add_operations(level));
    let peak = operations / peak.best;
    println!(
        "level {level}, multiply-add peak of one core {:.0} GFLOP/s; batch {images}",
        peak * 1e-9
    );
    for threads in threads.split(',').filter_map(|n| n.parse::<usize>().ok()) {
        println!("{threads} threads: best, median, processor time (median), rate (median), (best)");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let report = Report {
            images: images as f64,
            peak: peak * threads as f64,
        };
        pool.expect("threads")
            .install(|| run(level, images, repeats, &report));
    }
}
