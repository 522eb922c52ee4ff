//! `history.csv`: one line an epoch.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::atomic_file::{FileError, write_bytes_atomically};
use crate::data::manifest::ParameterDescription;

/// One epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Number, from 1.
    pub epoch: u64,
    /// Mean loss of its mini-batches.
    pub train_loss: f64,
    /// Loss on the validation set after it.
    pub validation_loss: f64,
    /// R2 of each parameter on the validation set; none where all truths are equal.
    pub validation_r2: Vec<Option<f64>>,
    /// Learning rate of its steps.
    pub learning_rate: f64,
    /// Wall-clock time of training and validation.
    pub seconds: f64,
    /// Training images over training time.
    pub images_per_second: f64,
}

/// Writes all epochs to `path`, atomically.
///
/// # Errors
/// [`FileError`] when the file cannot be written.
pub fn write(
    path: &Path,
    parameters: &[ParameterDescription],
    epochs: &[EpochRecord],
) -> Result<(), FileError> {
    let mut text = String::from("epoch,train_loss,validation_loss");
    for parameter in parameters {
        text.push_str(&format!(",r2_{}", parameter.name));
    }
    text.push_str(",learning_rate,seconds,images_per_second\n");
    for epoch in epochs {
        let EpochRecord {
            epoch: number,
            train_loss,
            validation_loss,
            ..
        } = epoch;
        text.push_str(&format!("{number},{train_loss},{validation_loss}"));
        for r2 in &epoch.validation_r2 {
            text.push_str(&r2.map_or(",".to_string(), |r2| format!(",{r2:.6}")));
        }
        text.push_str(&format!(
            ",{},{:.3},{:.2}\n",
            epoch.learning_rate, epoch.seconds, epoch.images_per_second
        ));
    }
    write_bytes_atomically(path, text.as_bytes())
}
