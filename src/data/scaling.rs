//! From physical units to the numbers that a network sees, and back.

use serde::{Deserialize, Serialize};

use super::DataError;
use super::manifest::ParameterDescription;

/// Input cells are clipped to a range in mK and mapped to [0, 1], as the authors' script does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputScaling {
    /// Lowest and highest brightness temperature, in mK; values beyond are clipped.
    pub clip_mk: [f64; 2],
}

impl Default for InputScaling {
    fn default() -> Self {
        Self {
            clip_mk: [-250.0, 50.0],
        }
    }
}

impl InputScaling {
    /// # Errors
    /// [`DataError::Range`] when the range is empty or not finite.
    pub fn check(&self) -> Result<(), DataError> {
        let [low, high] = self.clip_mk;
        // Cells are scaled in f32.
        let [low_cell, high_cell] = [low as f32, high as f32];
        if (1.0 / (high_cell - low_cell)).is_finite() && low_cell < high_cell {
            Ok(())
        } else {
            Err(DataError::Range {
                field: "input.clip_mk",
                low,
                high,
            })
        }
    }

    /// Maps one line of cells in mK to [0, 1]. Non-finite cells must have been refused before: a NaN
    /// would stay one, an infinity would be clipped.
    pub fn apply(&self, cells_mk: &[f32], scaled: &mut [f32]) {
        let [low, high] = self.clip_mk.map(|v| v as f32);
        let factor = 1.0 / (high - low);
        for (scaled, &cell) in scaled.iter_mut().zip(cells_mk) {
            *scaled = (cell.clamp(low, high) - low) * factor;
        }
    }
}

/// Targets are mapped from the parameter ranges of the data set to [0, 1].
#[derive(Debug, Clone, PartialEq)]
pub struct TargetScaling {
    ranges: Vec<[f64; 2]>,
}

impl TargetScaling {
    /// The scaling by `min` and `max` of each parameter.
    #[must_use]
    pub fn new(parameters: &[ParameterDescription]) -> Self {
        Self {
            ranges: parameters.iter().map(|p| [p.min, p.max]).collect(),
        }
    }

    /// Number of parameters.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there are no parameters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Physical units to [0, 1].
    pub fn scale<'a>(&'a self, physical: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        physical
            .iter()
            .zip(&self.ranges)
            .map(|(value, [min, max])| (value - min) / (max - min))
    }

    /// [0, 1] to physical units.
    pub fn unscale<'a>(&'a self, scaled: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        scaled
            .iter()
            .zip(&self.ranges)
            .map(|(value, [min, max])| min + value * (max - min))
    }
}
