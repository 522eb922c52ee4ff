//! `metrics.json` and `predictions.csv`: what an evaluation leaves behind.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::bootstrap;
use super::metrics::{self, Pair};
use super::prediction::ImagePrediction;
use crate::atomic_file::{FileError, write_bytes_atomically};
use crate::data::dataset::Dataset;
use crate::data::manifest::ParameterDescription;
use crate::data::slices::Slicing;

/// Scores of one parameter in physical units, with central 68 % bootstrap intervals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParameterScores {
    /// Name of the parameter.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Equation 3 of the paper; none when undefined.
    pub r2: Option<f64>,
    /// Its interval.
    pub r2_interval: Option<[f64; 2]>,
    /// With the variance of the predictions, as the authors' script has it.
    pub r2_over_predicted: Option<f64>,
    /// Root mean squared error.
    pub rmse: f64,
    /// Its interval.
    pub rmse_interval: Option<[f64; 2]>,
    /// Mean of prediction minus truth.
    pub bias: f64,
    /// Its interval.
    pub bias_interval: Option<[f64; 2]>,
}

/// The content of `metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Program and version.
    pub program: String,
    /// The model file.
    pub model: String,
    /// Epoch of its weights.
    pub epoch: u64,
    /// The data directory.
    pub data: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// `test`, `validation`, `train` or `all`.
    pub part: String,
    /// Number of light-cones.
    pub light_cones: usize,
    /// Number of images.
    pub images: usize,
    /// Mean squared error of the scaled outputs.
    pub loss: f64,
    /// Seed of the bootstrap.
    pub bootstrap_seed: u64,
    /// Scores per parameter, in the order of the network's outputs.
    pub parameters: Vec<ParameterScores>,
}

/// Scores every parameter; intervals resample light-cones.
#[must_use]
pub fn score(
    predictions: &[ImagePrediction],
    parameters: &[ParameterDescription],
    seed: u64,
) -> Vec<ParameterScores> {
    parameters
        .iter()
        .enumerate()
        .map(|(index, parameter)| {
            let mut by_light_cone: BTreeMap<usize, Vec<Pair>> = BTreeMap::new();
            for prediction in predictions {
                let pairs = by_light_cone.entry(prediction.index.light_cone);
                pairs.or_default().push(prediction.parameters[index]);
            }
            let light_cones: Vec<Vec<Pair>> = by_light_cone.into_values().collect();
            let pairs = light_cones.concat();
            let rmse = |pairs: &[Pair]| Some(metrics::rmse(pairs));
            let bias = |pairs: &[Pair]| Some(metrics::bias(pairs));
            ParameterScores {
                name: parameter.name.clone(),
                unit: parameter.unit.clone(),
                r2: metrics::r2(&pairs),
                r2_interval: bootstrap::interval_68(&light_cones, seed, metrics::r2),
                r2_over_predicted: metrics::r2_over_predicted(&pairs),
                rmse: metrics::rmse(&pairs),
                rmse_interval: bootstrap::interval_68(&light_cones, seed, rmse),
                bias: metrics::bias(&pairs),
                bias_interval: bootstrap::interval_68(&light_cones, seed, bias),
            }
        })
        .collect()
}

/// Writes `metrics.json` atomically.
///
/// # Errors
/// [`FileError`] when the file cannot be written.
pub fn write_metrics(path: &Path, metrics: &Metrics) -> Result<(), FileError> {
    let mut text = serde_json::to_string_pretty(metrics)
        .map_err(|error| FileError::at(path, "serialising")(error.into()))?;
    text.push('\n');
    write_bytes_atomically(path, text.as_bytes())
}

/// Writes `predictions.csv` atomically: one line an image, with truth and prediction of each parameter.
///
/// # Errors
/// [`FileError`] when the file cannot be written.
pub fn write_predictions(
    path: &Path,
    predictions: &[ImagePrediction],
    dataset: &Dataset,
    slicing: &Slicing,
    parameters: &[ParameterDescription],
) -> Result<(), FileError> {
    let mut text = String::from("id,y_plane,first_x");
    for ParameterDescription { name, .. } in parameters {
        text.push_str(&format!(",{name}_true,{name}_predicted"));
    }
    text.push('\n');
    for prediction in predictions {
        let id = &dataset.light_cones()[prediction.index.light_cone].id;
        let slice = slicing.images()[prediction.index.image];
        text.push_str(&format!("{id},{},{}", slice.box_plane, slice.first_row));
        for pair in &prediction.parameters {
            text.push_str(&format!(",{},{:.6}", pair.truth, pair.prediction));
        }
        text.push('\n');
    }
    write_bytes_atomically(path, text.as_bytes())
}
