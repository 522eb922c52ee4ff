//! Runs benchmarks with one pool of threads and puts their medians into a table.

use std::cell::RefCell;
use std::fmt::Write;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use dawn21_kernels::simd::Level;
use rayon::ThreadPool;

use crate::limits::Limits;

/// Samples of each benchmark.
pub(crate) const SAMPLES: usize = 10;

/// What one call of a kernel has to do.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    /// Images of the call, where it is about images.
    pub(crate) images: Option<usize>,
    /// Operations of the direct computation; 0 where values are only moved.
    pub(crate) operations: f64,
    /// Values of 4 bytes that are read or written at least.
    pub(crate) values: f64,
}

/// Median time of a benchmark.
struct Measured {
    kernel: String,
    shape: String,
    work: Work,
    seconds: f64,
}

/// Benchmarks with a number of threads.
pub(crate) struct Session<'a> {
    criterion: &'a mut Criterion,
    pool: &'a ThreadPool,
    /// Vector instructions to use.
    pub(crate) level: Level,
    /// Images of a mini-batch.
    pub(crate) images: usize,
    measured: Vec<Measured>,
}

impl<'a> Session<'a> {
    /// Nothing has been measured yet.
    pub(crate) fn new(
        criterion: &'a mut Criterion,
        pool: &'a ThreadPool,
        level: Level,
        images: usize,
    ) -> Self {
        Self {
            criterion,
            pool,
            level,
            images,
            measured: Vec::new(),
        }
    }

    /// No benchmark was run: all were filtered out, or only listed.
    pub(crate) fn is_empty(&self) -> bool {
        self.measured.is_empty()
    }

    /// Times `call` on what `setup` makes; `setup` does not run when a filter leaves the benchmark out.
    pub(crate) fn bench<S: Send>(
        &mut self,
        kernel: &str,
        shape: &str,
        work: Work,
        setup: impl FnOnce() -> S + Send,
        mut call: impl FnMut(&mut S) + Send,
    ) {
        let pool = self.pool;
        let mut setup = Some(setup);
        let mut state = None;
        // Criterion calls once per sample, last those that it reports.
        let samples = RefCell::new(Vec::new());
        let mut group = self.criterion.benchmark_group(kernel);
        group.sampling_mode(SamplingMode::Flat);
        group.throughput(if work.operations > 0.0 {
            Throughput::Elements(work.operations as u64)
        } else {
            Throughput::Bytes(4 * work.values as u64)
        });
        let threads = pool.current_num_threads();
        let id = BenchmarkId::new(shape, format!("{threads} threads"));
        group.bench_function(id, |bencher| {
            if let Some(setup) = setup.take() {
                state = Some(pool.install(setup));
            }
            let Some(state) = &mut state else { return };
            bencher.iter_custom(|calls| {
                let elapsed = pool.install(|| {
                    let start = Instant::now();
                    for _ in 0..calls {
                        call(state);
                    }
                    start.elapsed()
                });
                let seconds = elapsed.as_secs_f64() / calls as f64;
                samples.borrow_mut().push(seconds);
                elapsed
            });
        });
        group.finish();
        let samples = samples.into_inner();
        let mut last = samples[samples.len().saturating_sub(SAMPLES)..].to_vec();
        last.sort_by(f64::total_cmp);
        if let Some(&seconds) = last.get(last.len() / 2) {
            self.measured.push(Measured {
                kernel: kernel.to_owned(),
                shape: shape.to_owned(),
                work,
                seconds,
            });
        }
    }

    /// A table of all benchmarks.
    pub(crate) fn summary(&self, limits: &Limits) -> String {
        let threads = self.pool.current_num_threads();
        let mut text = format!(
            "Level {}, {threads} threads, batch {}: multiply-add peak {:.0} GFLOP/s, memory bandwidth {:.1} GB/s.\n\n\
             | kernel | shape | ms | ms/image | GFLOP/s | x peak | GB/s | x bandwidth |\n\
             | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
            self.level,
            self.images,
            limits.operations_per_second * 1e-9,
            limits.bytes_per_second * 1e-9,
        );
        for measured in &self.measured {
            let (work, seconds) = (&measured.work, measured.seconds);
            let milliseconds = seconds * 1e3;
            let per_image = work.images.map(|images| milliseconds / images as f64);
            let rate = (work.operations > 0.0).then_some(work.operations / seconds);
            let bytes = 4.0 * work.values / seconds;
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} |",
                measured.kernel,
                measured.shape,
                digits(Some(milliseconds)),
                digits(per_image),
                digits(rate.map(|rate| rate * 1e-9)),
                digits(rate.map(|rate| rate / limits.operations_per_second)),
                digits(Some(bytes * 1e-9)),
                digits(Some(bytes / limits.bytes_per_second)),
            );
        }
        text
    }
}

/// Three significant digits, or a dash.
fn digits(value: Option<f64>) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    let decimals = (2.0 - value.abs().max(1e-9).log10().floor()).clamp(0.0, 9.0);
    format!("{value:.*}", decimals as usize)
}
