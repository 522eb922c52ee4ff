//! Division of the light-cones into training, validation and test sets.
//!
//! By light-cone, never by image: two images of one light-cone share their parameters, and a network
//! tested on one after seeing the other would look better than it is.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use dawn21_kernels::rng::{Stream, generator};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::DataError;
use super::dataset::Dataset;
use crate::atomic_file::write_bytes_atomically;

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

#[derive(PartialEq, Deserialize)]
struct Row {
    id: String,
    part: Part,
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

    /// Writes `path` with columns `id,part` and `<name>_true` for each parameter, by which [`count_trained_on`] knows a
    /// light-cone again.
    ///
    /// # Errors
    /// [`DataError`] when the file cannot be written.
    pub fn write(&self, path: &Path, dataset: &Dataset) -> Result<(), DataError> {
        let csv_error = |source| DataError::Csv {
            path: path.to_path_buf(),
            source,
        };
        let mut writer = csv::Writer::from_writer(Vec::new());
        let header = ["id", "part"].map(str::to_string).into_iter();
        writer
            .write_record(header.chain(truth_columns(dataset)))
            .map_err(csv_error)?;
        for (light_cone, part) in dataset.light_cones().iter().zip(&self.parts) {
            let values: Vec<String> = light_cone.parameters.iter().map(f64::to_string).collect();
            writer
                .serialize((&light_cone.id, part, values))
                .map_err(csv_error)?;
        }
        let bytes = writer
            .into_inner()
            .map_err(|error| csv_error(error.into_error().into()))?;
        Ok(write_bytes_atomically(path, &bytes)?)
    }

    /// Reads what [`Split::write`] wrote, for the same light-cones.
    ///
    /// # Errors
    /// [`DataError::Split`] when a light-cone is missing; [`DataError::Csv`] when the file is broken.
    pub fn read(path: &Path, dataset: &Dataset) -> Result<Self, DataError> {
        let csv_error = |source| DataError::Csv {
            path: path.to_path_buf(),
            source,
        };
        let mut reader = csv::Reader::from_path(path).map_err(csv_error)?;
        let mut by_id = HashMap::new();
        for row in reader.deserialize() {
            let Row { id, part } = row.map_err(csv_error)?;
            by_id.insert(id, part);
        }
        let parts = dataset
            .light_cones()
            .iter()
            .map(|light_cone| {
                by_id
                    .get(&light_cone.id)
                    .copied()
                    .ok_or_else(|| DataError::Split {
                        detail: format!(
                            "light-cone `{}` of {} is not in {}; restore that file, or remove it to have it made again from \
                             the settings of the run",
                            light_cone.id,
                            dataset.directory().display(),
                            path.display()
                        ),
                    })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { parts })
    }
}

/// How many light-cones of `dataset` have the very parameters of light-cones that the file of [`Split::write`] has in
/// its training part: the same ones most likely, though other planes of them make other data. 0 where the file is
/// missing or has not these parameters.
///
/// # Errors
/// [`DataError`] when the file is broken.
pub fn count_trained_on(path: &Path, dataset: &Dataset) -> Result<usize, DataError> {
    if !path.exists() {
        return Ok(0);
    }
    let csv_error = |source| DataError::Csv {
        path: path.to_path_buf(),
        source,
    };
    let mut reader = csv::Reader::from_path(path).map_err(csv_error)?;
    let mut trained_on = HashSet::new();
    for row in reader.deserialize() {
        let row: HashMap<String, String> = row.map_err(csv_error)?;
        if row.get("part").map(String::as_str) != Some("train") {
            continue;
        }
        let values = truth_columns(dataset);
        let values = values.map(|column| row.get(&column)?.parse().ok().map(f64::to_bits));
        let Some(values) = values.collect::<Option<Vec<u64>>>() else {
            return Ok(0);
        };
        trained_on.insert(values);
    }
    let light_cones = dataset.light_cones().iter();
    let again = light_cones.filter(|light_cone| {
        let values = light_cone.parameters.iter().map(|value| value.to_bits());
        trained_on.contains(&values.collect::<Vec<_>>())
    });
    Ok(again.count())
}

/// Whether two texts that [`Split::write`] wrote divide the same light-cones alike; what else they hold does not matter.
///
/// # Errors
/// [`csv::Error`] when one is broken.
pub fn divide_alike(a: &str, b: &str) -> Result<bool, csv::Error> {
    let rows = |text: &str| -> Result<Vec<Row>, csv::Error> {
        csv::Reader::from_reader(text.as_bytes())
            .deserialize()
            .collect()
    };
    Ok(rows(a)? == rows(b)?)
}

fn truth_columns(dataset: &Dataset) -> impl Iterator<Item = String> {
    let parameters = dataset.manifest().parameters.iter();
    parameters.map(|parameter| format!("{}_true", parameter.name))
}
