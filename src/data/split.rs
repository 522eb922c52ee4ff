//! Division of the light-cones into training, validation and test sets.
//!
//! By light-cone, never by image: two images of one light-cone share their parameters, and a network
//! tested on one after seeing the other would look better than it is.

use std::path::Path;

use dawn21_kernels::rng::{Stream, generator};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::DataError;
use super::dataset::Dataset;
use super::split_table::SplitTable;

/// What the configuration says about the division.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplitConfig {
    /// Fraction of the light-cones kept for validation.
    pub validation: f64,
    /// Fraction of the light-cones kept for the test.
    pub test: f64,
    /// Seed of the division: separate from the training's, so that runs can be compared on one test set.
    pub seed: u64,
}

impl Default for SplitConfig {
    fn default() -> Self {
        Self {
            validation: 0.1,
            test: 0.1,
            seed: 21,
        }
    }
}

/// A part of the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Fits the weights.
    Train,
    /// Chooses the best epoch.
    Validation,
    /// Judges the result, never seen before.
    Test,
}

/// Numbers of the light-cones in each part, in the order of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    parts: Vec<Part>,
}

impl Split {
    /// Divides `count` light-cones at random; a function of the configuration alone.
    ///
    /// # Errors
    /// [`DataError::Split`] when a fraction is not in [0, 1) or a part would be empty.
    pub fn new(count: usize, config: &SplitConfig) -> Result<Self, DataError> {
        for (name, fraction) in [("validation", config.validation), ("test", config.test)] {
            if !(0.0..1.0).contains(&fraction) {
                return Err(DataError::Split {
                    detail: format!("{name} = {fraction}: expected a fraction in [0, 1)"),
                });
            }
        }
        let share = |fraction: f64| (fraction * count as f64).round() as usize;
        let (validation, test) = (share(config.validation), share(config.test));
        if validation == 0 || (test == 0 && config.test > 0.0) || validation + test >= count {
            return Err(DataError::Split {
                detail: format!(
                    "{count} light-cones with fractions {} and {} leave {} for training, {validation} for \
                     validation and {test} for the test; add light-cones or change `split.validation` and `split.test`",
                    config.validation,
                    config.test,
                    count.saturating_sub(validation + test),
                ),
            });
        }
        let mut order: Vec<usize> = (0..count).collect();
        order.shuffle(&mut generator(config.seed, Stream::Split, &[]));
        let mut parts = vec![Part::Train; count];
        for &light_cone in &order[..validation] {
            parts[light_cone] = Part::Validation;
        }
        for &light_cone in &order[validation..validation + test] {
            parts[light_cone] = Part::Test;
        }
        Ok(Self { parts })
    }

    /// Numbers of the light-cones of one part, increasing.
    #[must_use]
    pub fn light_cones(&self, part: Part) -> Vec<usize> {
        (0..self.parts.len())
            .filter(|&i| self.parts[i] == part)
            .collect()
    }

    /// Those of some light-cones that are not of the test.
    #[must_use]
    pub fn seen(&self, light_cones: &[usize]) -> Vec<usize> {
        let seen = |number: &usize| self.parts[*number] != Part::Test;
        light_cones.iter().copied().filter(seen).collect()
    }

    /// Writes it as the [`SplitTable`] of the same light-cones.
    ///
    /// # Errors
    /// [`DataError`] when the file cannot be written.
    pub fn write(&self, path: &Path, dataset: &Dataset) -> Result<(), DataError> {
        SplitTable::new(path, dataset, &self.parts).write(path)
    }

    /// Reads what [`Split::write`] wrote, for the same light-cones; none when there is no such file.
    ///
    /// # Errors
    /// [`DataError`] when a light-cone is missing or the file is broken.
    pub fn read(path: &Path, dataset: &Dataset) -> Result<Option<Self>, DataError> {
        let table = SplitTable::read(path)?;
        let parts = table.map(|table| table.parts_of(dataset)).transpose()?;
        Ok(parts.map(|parts| Self { parts }))
    }
}
