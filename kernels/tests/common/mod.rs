//! What the kernel tests share: random arrays, rounding bounds, finite differences, thread pools.

#![allow(
    dead_code,
    reason = "every test file is a crate of its own and uses some of these"
)]

pub(crate) mod stage;

use dawn21_kernels::Float;
use dawn21_kernels::rng::{Stream, generator, unit_interval};
use rand_xoshiro::rand_core::Rng;

/// `len` numbers uniform in [-1, 1), the same in f32 and f64 (multiples of 2^-20).
pub(crate) fn random<T: Float>(len: usize, seed: u64) -> Vec<T> {
    let mut generator = generator(seed, Stream::Audit, &[len as u64]);
    (0..len)
        .map(|_| unit_interval(generator.next_u64()) * 2.0 - 1.0)
        .map(|value| T::from_f64((value * f64::from(1 << 20)).round() / f64::from(1 << 20)))
        .collect()
}

/// The same numbers in f64.
pub(crate) fn widen<T: Float>(values: &[T]) -> Vec<f64> {
    values.iter().map(|v| v.to_f64()).collect()
}

/// Magnitudes, in f64.
pub(crate) fn magnitudes<T: Float>(values: &[T]) -> Vec<f64> {
    values.iter().map(|v| v.to_f64().abs()).collect()
}

/// A buffer of NaN: an output that is not wholly written shows.
pub(crate) fn nans<T: Float>(len: usize) -> Vec<T> {
    vec![T::from_f64(f64::NAN); len]
}

/// `gamma(n) = n u / (1 - n u)` with the unit roundoff `u` of `T` (Higham 2002, section 3.1).
pub(crate) fn gamma<T: Float>(n: usize) -> f64 {
    let nu = n as f64 * T::EPSILON.to_f64() / 2.0;
    nu / (1.0 - nu)
}

/// Asserts `|actual - exact| <= gamma(operations) magnitude`, entry by entry.
///
/// `magnitude` is the sum of the magnitudes of all terms of the entry.
pub(crate) fn assert_within_rounding<T: Float>(
    what: &str,
    actual: &[T],
    exact: &[f64],
    magnitude: &[f64],
    operations: usize,
) {
    assert_eq!(actual.len(), exact.len(), "{what}: length");
    assert_eq!(actual.len(), magnitude.len(), "{what}: length of the bound");
    for (i, (actual, exact)) in actual.iter().zip(exact).enumerate() {
        let error = (actual.to_f64() - exact).abs();
        let bound = gamma::<T>(operations) * magnitude[i];
        // Written so that a NaN fails.
        assert!(
            error <= bound,
            "{what}[{i}]: {actual} instead of {exact}, error {error:e} > bound {bound:e}"
        );
    }
}

/// Asserts that `gradient` agrees with central differences of `function` at `x`.
///
/// Two step sizes are combined (Richardson) so that the error is of fourth order; `function` should be
/// of order one. `tolerance` is relative to the largest gradient.
pub(crate) fn assert_gradient(
    what: &str,
    x: &[f64],
    gradient: &[f64],
    tolerance: f64,
    mut function: impl FnMut(&[f64]) -> f64,
) {
    assert_eq!(x.len(), gradient.len(), "{what}: length");
    let scale = gradient.iter().fold(1e-3_f64, |m, g| m.max(g.abs()));
    let mut point = x.to_vec();
    let mut central = |i: usize, h: f64| {
        point[i] = x[i] + h;
        let up = function(&point);
        point[i] = x[i] - h;
        let down = function(&point);
        point[i] = x[i];
        (up - down) / (2.0 * h)
    };
    for (i, &analytic) in gradient.iter().enumerate() {
        let h = 1e-4;
        let numeric = (4.0 * central(i, h) - central(i, 2.0 * h)) / 3.0;
        assert!(
            (analytic - numeric).abs() <= tolerance * scale,
            "{what}[{i}]: analytic {analytic} against numeric {numeric}"
        );
    }
}

/// A fixed weighting of outputs, so that a scalar depends on all of them differently.
pub(crate) fn weighted_sum(values: &[f64], weights: &[f64]) -> f64 {
    assert_eq!(values.len(), weights.len());
    values.iter().zip(weights).map(|(v, w)| v * w).sum()
}

/// Runs `work` in pools of 1, 2 and 5 threads and asserts that the results are the same bits.
pub(crate) fn assert_same_for_any_thread_count<R: PartialEq + std::fmt::Debug + Send>(
    work: impl Fn() -> R + Sync,
) {
    let results: Vec<R> = [1, 2, 5]
        .iter()
        .map(|&threads| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("thread pool")
                .install(&work)
        })
        .collect();
    assert!(results[0] == results[1], "2 threads differ from 1");
    assert!(results[0] == results[2], "5 threads differ from 1");
}

/// Bits of floats, for comparisons that must be exact.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}
