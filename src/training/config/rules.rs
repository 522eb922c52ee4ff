//! What the values of a configuration must be.

use super::{Config, ConfigError};

impl Config {
    /// Checks every value.
    ///
    /// # Errors
    /// [`ConfigError::Value`] names the field and what was expected.
    pub fn check(&self) -> Result<(), ConfigError> {
        let training = &self.training;
        let rmsprop = &training.rmsprop;
        let plateau = &training.reduce_on_plateau;
        let positive = |value: f64| value.is_finite() && value > 0.0;
        // What the optimiser makes of it.
        let positive_in_f32 = |value: f64| positive(f64::from(value as f32));
        let fraction = |value: f64| (0.0..1.0).contains(&value);
        let not_negative = |value: f64| value.is_finite() && value >= 0.0;
        let cosine = &training.cosine_decay;
        let averaging = &training.weight_averaging;
        let rules: [(&'static str, bool, String, &'static str); 18] = [
            (
                "training.epochs",
                training.epochs > 0,
                training.epochs.to_string(),
                "at least 1",
            ),
            (
                "training.batch_size",
                training.batch_size > 0,
                training.batch_size.to_string(),
                "at least 1",
            ),
            (
                "training.images_per_light_cone",
                training.images_per_light_cone != Some(0),
                "0".to_string(),
                "at least 1",
            ),
            (
                "training.dropout",
                training.dropout.is_none_or(fraction),
                format!("{:?}", training.dropout),
                "a probability in [0, 1)",
            ),
            (
                "training.checkpoint_minutes",
                positive(training.checkpoint_minutes) && training.checkpoint_minutes <= 1e6,
                training.checkpoint_minutes.to_string(),
                "a positive time of at most 10^6 minutes",
            ),
            (
                "training.rmsprop.learning_rate",
                positive_in_f32(rmsprop.learning_rate),
                rmsprop.learning_rate.to_string(),
                "a number between 1e-45 and 3e38",
            ),
            (
                "training.rmsprop.rho",
                fraction(rmsprop.rho),
                rmsprop.rho.to_string(),
                "a number in [0, 1)",
            ),
            (
                "training.rmsprop.epsilon",
                positive_in_f32(rmsprop.epsilon),
                rmsprop.epsilon.to_string(),
                "a number between 1e-45 and 3e38",
            ),
            (
                "training.reduce_on_plateau.factor",
                positive(plateau.factor) && plateau.factor < 1.0,
                plateau.factor.to_string(),
                "a number in (0, 1)",
            ),
            (
                "training.reduce_on_plateau.patience",
                plateau.patience > 0,
                plateau.patience.to_string(),
                "at least 1 epoch",
            ),
            (
                "training.reduce_on_plateau.min_delta",
                not_negative(plateau.min_delta) && not_negative(plateau.min_learning_rate),
                format!(
                    "{}, min_learning_rate = {}",
                    plateau.min_delta, plateau.min_learning_rate
                ),
                "numbers that are not negative",
            ),
            (
                "training.cosine_decay.final_fraction",
                fraction(cosine.final_fraction),
                cosine.final_fraction.to_string(),
                "a number in [0, 1)",
            ),
            (
                "training.cosine_decay.warmup_epochs",
                // A single epoch is all warm-up.
                !cosine.enabled || training.epochs == 1 || cosine.warmup_epochs < training.epochs,
                cosine.warmup_epochs.to_string(),
                "fewer than training.epochs",
            ),
            (
                "training.cosine_decay.enabled",
                !(cosine.enabled && plateau.enabled),
                "true, and training.reduce_on_plateau.enabled too".to_string(),
                "one schedule of the learning rate",
            ),
            (
                "training.normalization_recalibration.images",
                training.normalization_recalibration.images > 1,
                training.normalization_recalibration.images.to_string(),
                "at least 2",
            ),
            (
                "training.weight_averaging.decay",
                fraction(averaging.decay),
                averaging.decay.to_string(),
                "a number in [0, 1)",
            ),
            (
                "training.early_stopping.patience",
                training.early_stopping.patience > 0,
                training.early_stopping.patience.to_string(),
                "at least 1 epoch",
            ),
            (
                "training.early_stopping.min_delta",
                not_negative(training.early_stopping.min_delta),
                training.early_stopping.min_delta.to_string(),
                "a number that is not negative",
            ),
        ];
        for (field, holds, found, expected) in rules {
            if !holds {
                return Err(ConfigError::Value {
                    field,
                    found,
                    expected,
                });
            }
        }
        Ok(())
    }
}
