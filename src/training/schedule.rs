//! Learning rate and end of the training, with the semantics of Keras 2's callbacks.

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

/// `ReduceLROnPlateau`: after `patience` epochs without a loss lower by `min_delta` than the best, the
/// learning rate is multiplied by `factor`.
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

/// `EarlyStopping`: ends the training after `patience` epochs without a loss lower by `min_delta`.
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
    /// Takes in the loss of an epoch; true when patience has run out.
    fn exhausted(&mut self, loss: f64, min_delta: f64, patience: u64) -> bool {
        if self.best.is_none_or(|best| loss < best - min_delta) {
            self.best = Some(loss);
            self.wait = 0;
            return false;
        }
        self.wait += 1;
        self.wait >= patience
    }
}

impl ReduceOnPlateau {
    /// The learning rate of the next epoch.
    #[must_use]
    pub fn after_epoch(&self, state: &mut Patience, loss: f64, learning_rate: f64) -> f64 {
        if !self.enabled || !state.exhausted(loss, self.min_delta, self.patience) {
            return learning_rate;
        }
        state.wait = 0;
        (learning_rate * self.factor)
            .max(self.min_learning_rate)
            .min(learning_rate)
    }
}

impl EarlyStopping {
    /// Whether the training ends after this epoch.
    #[must_use]
    pub fn after_epoch(&self, state: &mut Patience, loss: f64) -> bool {
        self.enabled && state.exhausted(loss, self.min_delta, self.patience)
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
        let losses = [1.0, 0.95, 0.85, 0.8, 0.75, 0.74, 0.74, 0.74];
        // 0.95: no improvement by 0.1 (wait 1). 0.85: improvement. 0.8, 0.75: wait 1, 2 -> halved;
        // 0.74 is 0.11 below 0.85: improvement. Then wait 1, 2 -> the minimum.
        let expected = [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.3];
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
