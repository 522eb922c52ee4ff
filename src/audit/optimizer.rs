//! The optimiser against its closed form.
//!
//! For a constant gradient `g` from rest, `v_n = g^2 (1 - rho^n)`, so that the weight after `n` steps is
//! `w_0 - lr sum_k g / (|g| sqrt(1 - rho^k) + epsilon)`.

use dawn21_kernels::rmsprop::{self, RmsProp};
use dawn21_kernels::{Float, ShapeError};

use super::gradients::random;
use super::report::{Check, Comparison, summarize};

/// How errors of [`check_optimizer`] are measured.
pub const OPTIMIZER_MEASURE: &str =
    "|steps - closed form| / |closed form| of the way travelled in 50 steps of a constant gradient";

/// Steps taken.
const STEPS: u32 = 50;
/// Values that are stepped.
const VALUES: usize = 1000;

/// RMSprop in f64 and f32.
///
/// # Errors
/// [`ShapeError`] when the kernel refuses its arguments, a fault of the program.
pub fn check_optimizer(optimizer: &RmsProp, seed: u64) -> Result<Vec<Check>, ShapeError> {
    Ok(vec![
        check::<f64>("f64", optimizer, 1e-13, seed)?,
        // 50 steps with some 5 roundings each, and as many again in the mean square.
        check::<f32>(
            "f32",
            optimizer,
            500.0 * f64::from(f32::EPSILON) / 2.0,
            seed,
        )?,
    ])
}

fn check<T: Float>(
    name: &str,
    optimizer: &RmsProp,
    bound: f64,
    seed: u64,
) -> Result<Check, ShapeError> {
    // Gradients over six orders of magnitude, so that epsilon matters for some.
    let gradient: Vec<T> = random(VALUES, seed, 9000)
        .iter()
        .enumerate()
        .map(|(i, v)| T::from_f64(v * 10_f64.powi(-(i as i32 % 7))))
        .collect();
    let mut weight = vec![T::ZERO; VALUES];
    let mut mean_square = vec![T::ZERO; VALUES];
    for _ in 0..STEPS {
        rmsprop::step(optimizer, &mut weight, &gradient, &mut mean_square)?;
    }
    let comparisons: Vec<Comparison> = weight
        .iter()
        .zip(&gradient)
        .enumerate()
        .map(|(index, (weight, gradient))| {
            let g = gradient.to_f64();
            let way: f64 = (1..=STEPS)
                .map(|n| 1.0 - optimizer.rho.powf(f64::from(n)))
                .map(|growth| g / (g.abs() * growth.sqrt() + optimizer.epsilon))
                .sum();
            let numeric = -optimizer.learning_rate * way;
            let analytic = weight.to_f64();
            Comparison {
                index,
                analytic,
                numeric,
                error: (analytic - numeric).abs() / numeric.abs(),
            }
        })
        .collect();
    Ok(summarize("rmsprop", name, VALUES, 0, &comparisons, bound))
}
