//! What the processor can do at most, measured with the threads that the kernels use.

use std::time::Instant;

use dawn21_kernels::simd::{Level, peak};
use rayon::ThreadPool;
use rayon::prelude::*;

/// Attempts of each measurement; the fastest counts.
const ATTEMPTS: usize = 5;
/// Calls of the multiply-add loop in one attempt: some 40 ms.
const CALLS: usize = 200;
/// Values of each array of the bandwidth measurement, 128 MiB: several times a last-level cache.
const VALUES: usize = 1 << 25;
/// Values handled by one task.
const TASK_LEN: usize = 1 << 18;

/// Peak rates of all threads together.
pub(crate) struct Limits {
    /// Floating-point operations a second, a multiply-add counting twice.
    pub(crate) operations_per_second: f64,
    /// Bytes a second between memory and processor.
    pub(crate) bytes_per_second: f64,
}

impl Limits {
    /// Measures both with the threads of `pool`.
    pub(crate) fn measure(pool: &ThreadPool, level: Level) -> Self {
        Self {
            operations_per_second: multiply_adds(pool, level),
            bytes_per_second: bandwidth(pool),
        }
    }
}

/// Multiply-adds in registers, on all threads at once.
fn multiply_adds(pool: &ThreadPool, level: Level) -> f64 {
    let attempt = || -> f64 {
        let rates = pool.broadcast(|_| {
            let start = Instant::now();
            let operations: f64 = (0..CALLS)
                .map(|_| peak::multiply_add_operations(level))
                .sum();
            operations / start.elapsed().as_secs_f64()
        });
        rates.iter().sum()
    };
    (0..ATTEMPTS).map(|_| attempt()).fold(0.0, f64::max)
}

/// The fastest of three patterns: reading, updating in place, and the triad of STREAM (McCalpin 1995).
///
/// Bytes are counted as STREAM does: what the program reads and writes, not what the caches add to it.
fn bandwidth(pool: &ThreadPool) -> f64 {
    pool.install(|| {
        let [a, b] = [1.0_f32, 2.0].map(|value| vec![value; VALUES]);
        let mut c = vec![0.0_f32; VALUES];
        let read = best(1, || {
            let sum: f32 = a.par_chunks(TASK_LEN).map(sum_of).sum();
            std::hint::black_box(sum);
        });
        let triad = best(3, || {
            c.par_chunks_mut(TASK_LEN)
                .zip(a.par_chunks(TASK_LEN))
                .zip(b.par_chunks(TASK_LEN))
                .for_each(|((c, a), b)| {
                    for ((c, a), b) in c.iter_mut().zip(a).zip(b) {
                        *c = a + 0.5 * b;
                    }
                });
        });
        let update = best(2, || {
            c.par_chunks_mut(TASK_LEN).for_each(|c| {
                for c in c {
                    *c = 0.5 * *c + 1.0;
                }
            });
        });
        std::hint::black_box(&c);
        read.max(triad).max(update)
    })
}

/// Bytes a second of `work`, which touches `arrays` arrays.
fn best(arrays: usize, mut work: impl FnMut()) -> f64 {
    let bytes = (arrays * VALUES * size_of::<f32>()) as f64;
    (0..ATTEMPTS)
        .map(|_| {
            let start = Instant::now();
            work();
            bytes / start.elapsed().as_secs_f64()
        })
        .fold(0.0, f64::max)
}

/// A sum in 64 lanes, so that additions do not wait for each other.
fn sum_of(values: &[f32]) -> f32 {
    let mut lanes = [0.0; 64];
    for values in values.as_chunks::<64>().0 {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane += value;
        }
    }
    lanes.iter().sum()
}
