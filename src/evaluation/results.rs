//! `metrics.json` and `predictions.csv`: what an evaluation leaves behind.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::metrics::Pair;
use super::prediction::ImagePrediction;
use super::scores::{ParameterScores, Scores};
use crate::atomic_file::{FileError, write_bytes_atomically};
use crate::data::dataset::Dataset;
use crate::data::manifest::ParameterDescription;
use crate::data::slices::Slicing;
use crate::data::symmetry::Symmetries;

/// The content of `metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Program and version.
    pub program: String,
    /// The model file.
    pub model: String,
    /// Epoch of its weights.
    pub epoch: u64,
    /// Digest of its weights; evaluations of before it was kept have none.
    #[serde(default)]
    pub weights: Option<String>,
    /// Views of an image that its predictions are the mean over.
    #[serde(default, skip_serializing_if = "Symmetries::is_none")]
    pub symmetries: Symmetries,
    /// Images of each light-cone that it was trained on; none when that is not known.
    #[serde(default)]
    pub training_images_per_light_cone: Option<usize>,
    /// The data directory.
    pub data: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// `test`, `validation`, `train` or `all`.
    pub part: String,
    /// Number of light-cones.
    pub light_cones: usize,
    /// How many of these are of the training or the validation, of its initial weights too, or have the parameters of
    /// such; none when that is not known.
    #[serde(default)]
    pub known_light_cones: Option<usize>,
    /// Number of images that the scores below count: the first one of each light-cone, as in the paper.
    pub images: usize,
    /// Mean squared error of the scaled outputs, as in training.
    pub loss: f64,
    /// Seed of the bootstrap.
    pub bootstrap_seed: u64,
    /// Scores per parameter, in the order of the network's outputs.
    pub parameters: Vec<ParameterScores>,
    /// The calibration that the calibrated means and the coverages below come from; none where there are none of
    /// these.
    #[serde(default)]
    pub calibration: Option<CalibrationSource>,
    /// Every image of a light-cone on its own; none when only the first ones were predicted.
    #[serde(default)]
    pub each_image: Option<Scores>,
    /// The mean of the predictions of all images of a light-cone.
    #[serde(default)]
    pub mean_of_images: Option<Scores>,
    /// The same less the bias that the calibration knows of such means; none without a calibration of means
    /// over so many images, or for the light-cones that it was made with.
    #[serde(default)]
    pub calibrated_mean: Option<Scores>,
    /// As `mean_of_images`, with the images of constant x as well; none where these were not asked for.
    #[serde(default)]
    pub mean_of_both_directions: Option<Scores>,
    /// As `calibrated_mean`, of these.
    #[serde(default)]
    pub calibrated_mean_of_both_directions: Option<Scores>,
    /// How often the truth lies within the uncertainties of the first images' predictions; none without a
    /// calibration, or for the images that it was made with.
    #[serde(default)]
    pub coverage: Option<Vec<Coverage>>,
    /// The same of the calibrated means.
    #[serde(default)]
    pub coverage_of_mean: Option<Vec<Coverage>>,
    /// The same of the calibrated means over both directions.
    #[serde(default)]
    pub coverage_of_mean_of_both_directions: Option<Vec<Coverage>>,
}

impl Metrics {
    /// What to say of scores of light-cones that the network knows; none where it knows none, or where that is not
    /// known.
    #[must_use]
    pub fn caution(&self) -> Option<String> {
        let known = self.known_light_cones.filter(|&known| known > 0)?;
        Some(format!(
            "{known} of these {} light-cones are from the training or validation set, or have the parameters of one \
             that is: the scores are not a test",
            self.light_cones
        ))
    }
}

/// The light-cones that a calibration was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalibrationSource {
    /// Fingerprint of their data directory.
    pub fingerprint: String,
    /// Number of light-cones.
    pub light_cones: usize,
    /// Number of their images.
    pub images: usize,
}

impl CalibrationSource {
    /// Whether another calibration was made with the same light-cones, of which it may have taken other images.
    #[must_use]
    pub fn is_of_same_light_cones(&self, other: &Self) -> bool {
        (&self.fingerprint, self.light_cones) == (&other.fingerprint, other.light_cones)
    }
}

impl fmt::Display for CalibrationSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.fingerprint.get(..8).unwrap_or(&self.fingerprint);
        write!(f, "{} of data {start}", self.light_cones)
    }
}

/// Shares of truths within one and two recovery uncertainties of the predictions; 0.683 and 0.954 are
/// expected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// Name of the parameter.
    pub name: String,
    /// Within one.
    pub within_one: f64,
    /// Within two.
    pub within_two: f64,
}

/// Why results of an evaluation cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is damaged, or belongs to another model.
    #[error("{}: {detail}; `dawn21 evaluate RUN DATA` writes it again (for an imported model, with `--out RUN`)", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
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

/// Reads `metrics.json`; none when nothing was evaluated yet.
///
/// # Errors
/// [`ResultsError`] when the file cannot be read or is damaged.
pub fn read_metrics(path: &Path) -> Result<Option<Metrics>, ResultsError> {
    let Some(text) = read_if_there(path)? else {
        return Ok(None);
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| ResultsError::Content {
            path: path.to_path_buf(),
            detail: error.to_string(),
        })
}

fn read_if_there(path: &Path) -> Result<Option<String>, FileError> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some).map_err(FileError::at(path, "reading")),
    }
}

/// The columns of `predictions.csv`.
fn header(names: &[&str]) -> String {
    let mut header = String::from("id,axis,plane,first_cell");
    for name in names {
        header.push_str(&format!(",{name}_true,{name}_predicted"));
    }
    header
}

/// Writes `predictions.csv` atomically: one line an image, with truth and prediction of each parameter. The
/// images of a light-cone follow one another, the first one first.
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
    let names: Vec<&str> = parameters.iter().map(|p| &p.name[..]).collect();
    let mut text = header(&names);
    text.push('\n');
    for prediction in predictions {
        let id = &dataset.light_cones()[prediction.index.light_cone].id;
        let slice = slicing.images()[prediction.index.image];
        let [axis, _] = slice.axes();
        text.push_str(&format!(
            "{id},{axis},{},{}",
            slice.box_plane, slice.first_row
        ));
        for pair in &prediction.parameters {
            text.push_str(&format!(",{},{:.6}", pair.truth, pair.prediction));
        }
        text.push('\n');
    }
    write_bytes_atomically(path, text.as_bytes())
}

/// A line of `predictions.csv`.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPrediction {
    /// The light-cone.
    pub id: String,
    /// The axis across the image, `x` or `y`.
    pub axis: String,
    /// Where in the light-cone the image is: `plane,first_cell`.
    pub place: String,
    /// Truth and prediction of each parameter.
    pub pairs: Vec<Pair>,
}

/// All lines of `predictions.csv`, the parameters being those of `names`; none when nothing was evaluated yet.
///
/// # Errors
/// [`ResultsError`] when the file cannot be read, is damaged, or has other parameters.
pub fn read_predictions(
    path: &Path,
    names: &[&str],
) -> Result<Option<Vec<StoredPrediction>>, ResultsError> {
    let Some(text) = read_if_there(path)? else {
        return Ok(None);
    };
    let content = |detail: String| ResultsError::Content {
        path: path.to_path_buf(),
        detail,
    };
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let found = reader
        .headers()
        .map_err(|error| content(error.to_string()))?;
    let found = found.iter().collect::<Vec<_>>().join(",");
    let expected = header(names);
    if found != expected {
        return Err(content(format!(
            "expected columns {expected}, found {found}"
        )));
    }
    let lines = reader.records().enumerate().map(|(index, row)| {
        let row = row.map_err(|error| content(error.to_string()))?;
        let numbers: Vec<f64> = row
            .iter()
            .skip(4)
            .map(|field| field.parse::<f64>().ok().filter(|v| v.is_finite()))
            .collect::<Option<_>>()
            .ok_or_else(|| content(format!("line {}: a value is not a number", index + 2)))?;
        let pairs = numbers.chunks_exact(2).map(|values| Pair {
            truth: values[0],
            prediction: values[1],
        });
        // As many as the columns, which the reader has counted.
        let field = |number: usize| row.get(number).unwrap_or_default();
        Ok(StoredPrediction {
            id: field(0).to_string(),
            axis: field(1).to_string(),
            place: format!("{},{}", field(2), field(3)),
            pairs: pairs.collect(),
        })
    });
    lines.collect::<Result<_, _>>().map(Some)
}

/// Truths and predictions of the first image of each light-cone in `predictions.csv`, one row of pairs an
/// image; none when nothing was evaluated yet.
///
/// # Errors
/// As [`read_predictions`].
pub fn read_first_predictions(
    path: &Path,
    names: &[&str],
) -> Result<Option<Vec<Vec<Pair>>>, ResultsError> {
    let Some(mut stored) = read_predictions(path, names)? else {
        return Ok(None);
    };
    stored.dedup_by(|next, first| next.id == first.id);
    Ok(Some(stored.into_iter().map(|image| image.pairs).collect()))
}
