//! Learning rate and end of the training, with the semantics of the callbacks of Keras 2.1.3, which the
//! paper used.

use serde::{Deserialize, Serialize};

/// The loss that a schedule watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Monitor {
    /// Mean loss of the epoch's mini-batches, as the weights changed.
    TrainLoss,
    /// Loss on the validation set after the epoch.
    ValidationLoss,
}

impl Monitor {
    /// The loss that is watched.
    #[must_use]
    pub fn select(self, train_loss: f64, validation_loss: f64) -> f64 {
        match self {
            Self::TrainLoss => train_loss,
            Self::ValidationLoss => validation_loss,
        }
    }
}

/// `ReduceLROnPlateau`: when *more than* `patience` epochs had no loss lower by `min_delta` than the best,
/// the learning rate is multiplied by `factor`; again after every `patience` more.
///
/// This is the rule up to Keras 2.1.5: with `patience = 5` the rate of the authors' run fell after six bad
/// epochs. PyTorch always waits for one more than `patience`, Keras from 2.1.6 on never
/// (`fixtures/README.md` has all their sequences).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReduceOnPlateau {
    /// Whether it acts at all.
    pub enabled: bool,
    /// The loss that is watched; the paper's is the training loss.
    pub monitor: Monitor,
    /// Multiplies the learning rate.
    pub factor: f64,
    /// Epochs without improvement before it does.
    pub patience: u64,
    /// Smaller decreases are no improvement.
    pub min_delta: f64,
    /// The learning rate does not fall below this.
    pub min_learning_rate: f64,
}

/// `EarlyStopping`: ends the training after `patience` epochs without a loss lower by `min_delta` than the
/// best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// Whether it acts at all.
    pub enabled: bool,
    /// The loss that is watched.
    pub monitor: Monitor,
    /// Epochs without improvement before it does.
    pub patience: u64,
    /// Smaller decreases are no improvement.
    pub min_delta: f64,
}

/// Learning rate that rises over the first epochs and falls along half a cosine to the last one (Loshchilov
/// & Hutter 2017), instead of waiting for plateaus.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CosineDecay {
    /// Whether it replaces `reduce_on_plateau`.
    pub enabled: bool,
    /// Epochs over which the rate rises in equal steps.
    pub warmup_epochs: u64,
    /// Rate of the last epoch over the largest one.
    pub final_fraction: f64,
}

impl Default for CosineDecay {
    fn default() -> Self {
        Self {
            enabled: false,
            warmup_epochs: 1,
            final_fraction: 0.01,
        }
    }
}

impl CosineDecay {
    /// Learning rate of epoch `epoch` (from 0) of `epochs`.
    #[must_use]
    pub fn learning_rate(&self, largest: f64, epoch: u64, epochs: u64) -> f64 {
        if epoch < self.warmup_epochs {
            return largest * (epoch + 1) as f64 / (self.warmup_epochs + 1) as f64;
        }
        let last = epochs.saturating_sub(1).max(self.warmup_epochs + 1);
        let done = (epoch - self.warmup_epochs) as f64 / (last - self.warmup_epochs) as f64;
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos());
        largest * (self.final_fraction + (1.0 - self.final_fraction) * cosine)
    }
}

/// Moving average of the weights, with which validation and the best model are made (Polyak & Juditsky
/// 1992): it lags a few hundred steps behind and does not jump with them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightAveraging {
    /// Whether it is kept.
    pub enabled: bool,
    /// Weight of the old average in every step, once there were enough of them.
    pub decay: f64,
}

impl Default for WeightAveraging {
    fn default() -> Self {
        Self {
            enabled: false,
            decay: 0.999,
        }
    }
}

impl WeightAveraging {
    /// Decay of step `step` (from 0): the first steps are forgotten faster, since they are far off.
    #[must_use]
    pub fn decay_of_step(&self, step: u64) -> f64 {
        let step = step as f64;
        self.decay.min((1.0 + step) / (10.0 + step))
    }
}

/// Running averages of batch normalisations made anew at the end of each epoch, from training images with the
/// weights of that moment and without dropout (Wu & Johnson 2021; Li et al. 2019): those that training leaves
/// belong to earlier weights and to features with dropout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormalizationRecalibration {
    /// Whether it is done.
    pub enabled: bool,
    /// Training images used, the first ones of the epoch's order.
    pub images: usize,
}

impl Default for NormalizationRecalibration {
    fn default() -> Self {
        Self {
            enabled: false,
            images: 2000,
        }
    }
}

/// What both schedules remember: the best loss and how long ago it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patience {
    /// Best loss so far; none before the first epoch.
    pub best: Option<f64>,
    /// Epochs since.
    pub wait: u64,
}

impl Patience {
    /// Takes in a loss that is lower than the best by more than `min_delta`; false when it is not.
    fn improved(&mut self, loss: f64, min_delta: f64) -> bool {
        let improved = self.best.is_none_or(|best| loss < best - min_delta);
        if improved {
            self.best = Some(loss);
            self.wait = 0;
        }
        improved
    }
}

impl ReduceOnPlateau {
    /// The learning rate of the next epoch.
    #[must_use]
    pub fn after_epoch(&self, state: &mut Patience, loss: f64, learning_rate: f64) -> f64 {
        if !self.enabled || state.improved(loss, self.min_delta) {
            return learning_rate;
        }
        let exhausted = state.wait >= self.patience;
        if exhausted {
            state.wait = 0;
        }
        // Counted after the comparison, and after the reset: Keras 2.1.3's order.
        state.wait += 1;
        if !exhausted {
            return learning_rate;
        }
        (learning_rate * self.factor)
            .max(self.min_learning_rate)
            .min(learning_rate)
    }
}

impl EarlyStopping {
    /// Whether the training ends after this epoch.
    #[must_use]
    pub fn after_epoch(&self, state: &mut Patience, loss: f64) -> bool {
        if !self.enabled || state.improved(loss, self.min_delta) {
            return false;
        }
        state.wait += 1;
        state.wait >= self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLATEAU: ReduceOnPlateau = ReduceOnPlateau {
        enabled: true,
        monitor: Monitor::TrainLoss,
        factor: 0.5,
        patience: 2,
        min_delta: 0.1,
        min_learning_rate: 0.3,
    };

    #[test]
    fn learning_rate_falls_after_patience_and_not_below_its_minimum() {
        let mut state = Patience::default();
        let losses = [1.0, 0.95, 0.85, 0.8, 0.78, 0.76, 0.75, 0.76, 0.76];
        // 0.95 is no improvement by 0.1; 0.85 is one. Then three bad epochs, more than the patience of
        // 2, halve the rate; two more take it to its minimum.
        let expected = [1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.3, 0.3];
        let mut learning_rate = 1.0;
        for (loss, expected) in losses.into_iter().zip(expected) {
            learning_rate = PLATEAU.after_epoch(&mut state, loss, learning_rate);
            assert!(
                (learning_rate - expected).abs() < 1e-15,
                "after loss {loss}"
            );
        }
    }

    #[test]
    fn disabled_schedules_do_nothing() {
        let plateau = ReduceOnPlateau {
            enabled: false,
            ..PLATEAU
        };
        let stopping = EarlyStopping {
            enabled: false,
            monitor: Monitor::TrainLoss,
            patience: 1,
            min_delta: 0.0,
        };
        let mut state = Patience::default();
        for _ in 0..9 {
            assert!((plateau.after_epoch(&mut state, 1.0, 1.0) - 1.0).abs() < 1e-15);
            assert!(!stopping.after_epoch(&mut state, 1.0));
        }
    }

    #[test]
    fn early_stopping_waits_for_its_patience() {
        let stopping = EarlyStopping {
            enabled: true,
            monitor: Monitor::ValidationLoss,
            patience: 3,
            min_delta: 0.0,
        };
        let mut state = Patience::default();
        let losses = [1.0, 1.0, 0.9, 0.9, 0.95, 0.9];
        let stops: Vec<bool> = losses
            .iter()
            .map(|&loss| stopping.after_epoch(&mut state, loss))
            .collect();
        assert_eq!(stops, [false, false, false, false, false, true]);
    }
}
