//! Every kernel by name at the shapes of Table 1: time, rate, and share of what the processor can do.
//!
//! `cargo bench -p dawn21-kernels [-- FILTER]`, with Criterion's options. Environment: `DAWN21_SIMD` (level),
//! `DAWN21_BENCH_BATCH` (images, 40), `DAWN21_BENCH_THREADS` (comma-separated, "1,2").
//!
//! Operations are those of the *direct* computation, two per product: a rate above the processor's peak
//! means that an algorithm needs fewer. Bytes are those that cannot be avoided: every argument read or
//! written once. Peak and memory bandwidth are measured in the same run, with as many threads.

mod composite;
mod convolutions;
mod dense_layers;
mod elementwise;
mod limits;
mod numbers;
mod products;
mod session;
mod stages;
mod table_1;

use std::time::Duration;

use criterion::Criterion;
use dawn21_kernels::simd::Level;

use limits::Limits;
use session::Session;

/// The value of an environment variable, or a default where it is not set.
fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn main() {
    let level = Level::from_environment().expect("DAWN21_SIMD");
    let images = setting("DAWN21_BENCH_BATCH", "40")
        .parse()
        .expect("DAWN21_BENCH_BATCH: a number of images");
    let threads: Vec<usize> = setting("DAWN21_BENCH_THREADS", "1,2")
        .split(',')
        .map(|n| n.trim().parse().expect("DAWN21_BENCH_THREADS: numbers"))
        .collect();
    let mut criterion = Criterion::default()
        .sample_size(session::SAMPLES)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .nresamples(1000)
        .without_plots()
        .configure_from_args();
    let mut tables = Vec::new();
    for threads in threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.expect("threads");
        let mut session = Session::new(&mut criterion, &pool, level, images);
        stages::run(&mut session);
        convolutions::run(&mut session);
        dense_layers::run(&mut session);
        elementwise::run(&mut session);
        products::run(&mut session);
        composite::run(&mut session);
        if session.is_empty() {
            continue;
        }
        let limits = Limits::measure(&pool, level);
        tables.push(session.summary(&limits));
    }
    for table in tables {
        println!("\n{table}");
    }
}
