//! RMSprop (Tieleman & Hinton 2012) in the form of Keras 2, which the paper used.

use rayon::prelude::*;

use crate::shape::check_len;
use crate::{Float, ShapeError};

/// Values handled by one task.
const TASK_LEN: usize = 1 << 16;

/// Step size and averaging of the optimiser.
///
/// Epsilon is added *outside* the root, as in Keras 2 and PyTorch; Keras 3 has it inside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RmsProp {
    /// Learning rate.
    pub learning_rate: f64,
    /// Decay of the running mean of squared gradients.
    pub rho: f64,
    /// Added to the root of the mean square.
    pub epsilon: f64,
}

/// `v = rho v + (1 - rho) g^2; w -= learning_rate g / (sqrt(v) + epsilon)`.
///
/// Shapes: all alike; `weight` and `mean_square` are updated in place.
///
/// # Errors
/// [`ShapeError`] when lengths differ.
pub fn step<T: Float>(
    optimizer: &RmsProp,
    weight: &mut [T],
    gradient: &[T],
    mean_square: &mut [T],
) -> Result<(), ShapeError> {
    check_len("rmsprop", "gradient", weight.len(), gradient.len())?;
    check_len("rmsprop", "mean_square", weight.len(), mean_square.len())?;
    let learning_rate = T::from_f64(optimizer.learning_rate);
    let rho = T::from_f64(optimizer.rho);
    let one_minus_rho = T::from_f64(1.0 - optimizer.rho);
    let epsilon = T::from_f64(optimizer.epsilon);
    weight
        .par_chunks_mut(TASK_LEN)
        .zip(gradient.par_chunks(TASK_LEN))
        .zip(mean_square.par_chunks_mut(TASK_LEN))
        .for_each(|((weight, gradient), mean_square)| {
            for ((w, &g), v) in weight.iter_mut().zip(gradient).zip(mean_square) {
                *v = rho * *v + one_minus_rho * (g * g);
                *w -= learning_rate * g / (v.sqrt() + epsilon);
            }
        });
    Ok(())
}
