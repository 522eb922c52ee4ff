//! Times of the kernels at the shapes of Table 1.

use dawn21_kernels::Conv2dShape;
use dawn21_kernels::simd::Level;
use dawn21_kernels::stage::*;

/// Processor time of all threads of this process.
fn cpu_seconds() -> f64 {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir("/proc/self/task")
        .expect("tasks")
        .flatten()
    {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        nanoseconds += stat
            .split(' ')
            .next()
            .and_then(|n| n.parse::<u64>().ok())
            .unwrap_or(0);
    }
    nanoseconds as f64 * 1e-9
}

fn best(mut f: impl FnMut(), n: usize) -> (f64, f64) {
    let mut t: Vec<f64> = (0..n)
        .map(|_| {
            let s = cpu_seconds();
            f();
            cpu_seconds() - s
        })
        .collect();
    t.sort_by(f64::total_cmp);
    (t[0], t[n / 2])
}

fn main() {
    let level = Level::from_environment().expect("level");
    let threads: usize = std::env::var("THREADS")
        .ok()
        .and_then(|t| t.parse().ok())
        .unwrap_or(1);
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .expect("pool");
    let batch: usize = std::env::var("BATCH")
        .ok()
        .and_then(|t| t.parse().ok())
        .unwrap_or(20);
    let c1 = StageShape::new(
        Conv2dShape::new([1, 100, 2200], 8, [10, 10]).expect("s"),
        [2, 2],
    )
    .expect("s");
    let c2 = StageShape::new(
        Conv2dShape::new([8, 45, 1095], 16, [10, 10]).expect("s"),
        [2, 2],
    )
    .expect("s");
    let mut seed = 1_u32;
    let mut random = |n: usize, s: f32| -> Vec<f32> {
        (0..n)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((seed >> 8) as f32 / 8_388_608.0 - 1.0) * s
            })
            .collect()
    };
    let (w1, b1, w2, b2) = (
        random(800, 0.1),
        random(8, 0.1),
        random(12800, 0.05),
        random(16, 0.1),
    );
    let x = random(batch * 220_000, 1.0);
    let weights = [
        StageWeights {
            weight: &w1,
            bias: &b1,
        },
        StageWeights {
            weight: &w2,
            bias: &b2,
        },
    ];
    let report = |name: &str, shapes: &[StageShape], x: &[f32], weights: &[StageWeights<'_>]| {
        let stack = ConvStack::new(shapes, level, None).expect("stack");
        for plan in stack.plans() {
            println!("{plan}");
        }
        let n = x.len() / stack.input().planar_len();
        let mut prepared = stack.prepare(weights, true).expect("p");
        let (b, m) = best(|| prepared = stack.prepare(weights, true).expect("p"), 5);
        println!(
            "{name} prepare: best {:.3} median {:.3} ms",
            b * 1e3,
            m * 1e3
        );
        let mut act = StackActivations::default();
        let (b, m) = best(|| stack.forward(&prepared, x, &mut act).expect("f"), 15);
        println!(
            "{name} forward: best {:.3} median {:.3} ms/image",
            b * 1e3 / n as f64,
            m * 1e3 / n as f64
        );
        let mut feat = vec![0.0; act.features().len()];
        let (b, m) = best(|| stack.infer(&prepared, x, &mut feat).expect("f"), 15);
        println!(
            "{name} infer: best {:.3} median {:.3} ms/image",
            b * 1e3 / n as f64,
            m * 1e3 / n as f64
        );
        let mut dw: Vec<Vec<f32>> = weights.iter().map(|w| vec![0.0; w.weight.len()]).collect();
        let mut db: Vec<Vec<f32>> = weights.iter().map(|w| vec![0.0; w.bias.len()]).collect();
        let df = feat.clone();
        let (b, m) = best(
            || {
                let mut g: Vec<_> = dw
                    .iter_mut()
                    .zip(db.iter_mut())
                    .map(|(w, b)| StageGradients { weight: w, bias: b })
                    .collect();
                stack
                    .backward(&prepared, x, &act, &df, &mut g, None)
                    .expect("b");
            },
            15,
        );
        println!(
            "{name} backward: best {:.3} median {:.3} ms/image",
            b * 1e3 / n as f64,
            m * 1e3 / n as f64
        );
    };
    println!("{level} threads {threads} batch {batch}");
    report("conv1", &[c1], &x, &weights[..1]);
    report("both", &[c1, c2], &x, &weights);
}
