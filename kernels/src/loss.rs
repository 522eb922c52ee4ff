//! Mean squared error over all outputs of a mini-batch.

use crate::shape::check_len;
use crate::{Float, ShapeError};

/// `loss = mean (prediction - target)^2`; `gradient = 2 (prediction - target) / len`.
///
/// Shapes: all (N,P) alike; `gradient` is overwritten. The loss is accumulated in f64.
///
/// # Errors
/// [`ShapeError`] when lengths differ or the batch is empty.
pub fn mean_squared_error<T: Float>(
    prediction: &[T],
    target: &[T],
    gradient: &mut [T],
) -> Result<f64, ShapeError> {
    const NAME: &str = "mean squared error";
    check_len(NAME, "target", prediction.len(), target.len())?;
    check_len(NAME, "gradient", prediction.len(), gradient.len())?;
    if prediction.is_empty() {
        return Err(ShapeError::Dimension {
            operation: NAME,
            detail: "an empty mini-batch has no loss".to_string(),
        });
    }
    let count = prediction.len() as f64;
    let mut sum = 0.0;
    for ((gradient, &prediction), &target) in gradient.iter_mut().zip(prediction).zip(target) {
        let difference = prediction.to_f64() - target.to_f64();
        sum += difference * difference;
        *gradient = T::from_f64(2.0 * difference / count);
    }
    Ok(sum / count)
}
