//! `calibration.json`: what images that a model was not trained on say about its answers.
//!
//! Uncertainties of the parameters as functions of the prediction, and the domain of images for which they
//! hold. It belongs to one set of weights and lies beside the model file.

mod measure;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::domain::{Departure, Domain, ImageFeatures};
use super::prediction::PredictionError;
use super::recovery::{Recovery, RecoveryCurve};
use super::results::CalibrationSource;
use super::spread::{self, SpreadFactor};
use crate::atomic_file::{FileError, write_bytes_atomically};
use crate::data::slices::ImageSet;
use crate::data::symmetry::Symmetries;
use crate::model::description::ModelDescription;
use crate::model::execution::ExecutionError;
use crate::model::model_file::Model;

pub use measure::CalibrationData;

/// The uncertainty of one parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterCalibration {
    /// Name of the parameter.
    pub name: String,
    /// Bias and uncertainty by prediction of one image, in the parameter's unit.
    pub recovery: RecoveryCurve,
    /// How the other parameters widen or narrow that uncertainty; of before it was measured, not at all.
    #[serde(default)]
    pub spread: SpreadFactor,
    /// The same of means over a light-cone's images. They have curves of their own: less of them is noise, and
    /// where estimates shrink towards the middle of the range, their mean still does.
    pub mean_recoveries: Vec<MeanRecovery>,
}

/// The uncertainty of the mean over a light-cone's images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeanRecovery {
    /// Which images.
    pub of: ImageSet,
    /// Bias and uncertainty by that mean, in the parameter's unit.
    pub recovery: RecoveryCurve,
    /// How the other parameters widen or narrow that uncertainty; of before it was measured, not at all.
    #[serde(default)]
    pub spread: SpreadFactor,
}

/// The content of `calibration.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Always `dawn21-calibration`.
    pub format: String,
    /// Version of this file.
    pub version: u32,
    /// Program and version that wrote it.
    pub program: String,
    /// Epoch of the weights.
    pub epoch: u64,
    /// Training steps of the weights.
    pub step: u64,
    /// Validation loss of the weights.
    pub validation_loss: Option<f64>,
    /// Digest of the weights; calibrations of before it was kept have none.
    #[serde(default)]
    pub weights: Option<String>,
    /// Views of an image that its predictions are the mean over.
    #[serde(default, skip_serializing_if = "Symmetries::is_none")]
    pub symmetries: Symmetries,
    /// Fingerprint of the data that it was measured with.
    pub fingerprint: String,
    /// Number of light-cones that it was measured with.
    pub light_cones: usize,
    /// Number of their images.
    pub images: usize,
    /// In the order of the network's outputs.
    pub parameters: Vec<ParameterCalibration>,
    /// The images for which all this holds.
    pub domain: Domain,
    /// The model's range of each parameter, in its unit.
    #[serde(skip)]
    ranges: Vec<[f64; 2]>,
}

/// What says how to read the rest.
#[derive(Deserialize)]
struct Kind {
    format: String,
    version: u32,
}

const FORMAT: &str = "dawn21-calibration";
/// Version 1 had no curves of means.
const VERSION: u32 = 2;

/// Why there is no calibration.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is damaged, or of another program.
    #[error("{}: {detail}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// It was made for other weights than those of the model.
    #[error(
        "{}: made for other weights, or other views of an image, than those of the model; `dawn21 evaluate RUN DATA` \
         with the training data makes it again, or `dawn21 calibrate RUN DATA` for an imported model",
        path.display()
    )]
    OtherWeights {
        /// The file.
        path: PathBuf,
    },
    /// The images could not be read or predicted.
    #[error(transparent)]
    Prediction(#[from] PredictionError),
    /// The network cannot be run.
    #[error(transparent)]
    Execution(#[from] ExecutionError),
    /// There is no training or no validation image.
    #[error("there are no training and validation images to calibrate with")]
    NoImages,
    /// There are too few light-cones for a model whose training is not known.
    #[error(
        "{}: a calibration of an imported model needs {expected} light-cones or more, found {found}",
        data.display()
    )]
    TooFewLightCones {
        /// The data directory.
        data: PathBuf,
        /// Light-cones needed.
        expected: usize,
        /// Light-cones there.
        found: usize,
    },
}

/// What a prediction answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// One image.
    Image,
    /// A light-cone: the mean over the predictions of these images of it.
    Mean(ImageSet),
}

impl ParameterCalibration {
    /// What was measured of such predictions.
    fn measured(&self, of: Answer) -> Option<(&RecoveryCurve, &SpreadFactor)> {
        match of {
            // The mean over one image is that image.
            Answer::Image | Answer::Mean(ImageSet { images: 1, .. }) => {
                Some((&self.recovery, &self.spread))
            }
            Answer::Mean(set) => {
                let mut means = self.mean_recoveries.iter();
                let found = means.find(|mean| mean.of == set)?;
                Some((&found.recovery, &found.spread))
            }
        }
    }
}

impl Calibration {
    /// Whether it was made for the weights of a model, and the views of an image that it is asked about.
    #[must_use]
    pub fn is_of(&self, model: &Model) -> bool {
        let description = &model.description;
        let place = (
            description.epoch,
            description.step,
            description.validation_loss,
        );
        (self.epoch, self.step, self.validation_loss) == place
            && self.symmetries == description.symmetries
            && self
                .weights
                .as_ref()
                .is_none_or(|digest| *digest == model.parameters.digest())
    }

    /// Writes `calibration.json` atomically.
    ///
    /// # Errors
    /// [`CalibrationError::File`] when it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), CalibrationError> {
        let mut text = serde_json::to_string(self)
            .map_err(|error| FileError::at(path, "serialising")(error.into()))?;
        text.push('\n');
        Ok(write_bytes_atomically(path, text.as_bytes())?)
    }

    /// Reads `calibration.json` for a model; none when there is no such file.
    ///
    /// # Errors
    /// [`CalibrationError`] when it is damaged or belongs to other weights.
    pub fn read(path: &Path, model: &Model) -> Result<Option<Self>, CalibrationError> {
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(FileError::at(path, "reading"))?,
        };
        let content = |detail: String| CalibrationError::Content {
            path: path.to_path_buf(),
            detail,
        };
        // Other versions have other fields.
        let Kind { format, version } =
            serde_json::from_str(&text).map_err(|error| content(error.to_string()))?;
        if format != FORMAT || version != VERSION {
            return Err(content(format!(
                "expected {FORMAT} version {VERSION}, found {format} version {version}; `dawn21 evaluate RUN DATA` with \
                 the training data makes it again, or `dawn21 calibrate RUN DATA` for an imported model"
            )));
        }
        let mut calibration: Self =
            serde_json::from_str(&text).map_err(|error| content(error.to_string()))?;
        calibration.ranges = ranges(model);
        if !calibration.is_of(model) {
            return Err(CalibrationError::OtherWeights {
                path: path.to_path_buf(),
            });
        }
        match calibration.misfit(model) {
            Some(what) => Err(content(what)),
            None => Ok(Some(calibration)),
        }
    }

    /// What of it does not fit a model whose weights it was made with.
    fn misfit(&self, model: &Model) -> Option<String> {
        let ModelDescription {
            parameters, image, ..
        } = &model.description;
        let names = self.parameters.iter().map(|p| &p.name);
        if !names.eq(parameters.iter().map(|p| &p.name)) {
            return Some("its parameters are not the model's".to_string());
        }
        for parameter in &self.parameters {
            let of_means = parameter.mean_recoveries.iter().map(|mean| &mean.spread);
            if !of_means
                .chain([&parameter.spread])
                .all(|spread| spread.is_consistent(parameters.len()))
            {
                let (name, expected) = (&parameter.name, spread::count_terms(parameters.len()));
                return Some(format!(
                    "`spread` of {name}: expected none or {expected} finite coefficients"
                ));
            }
        }
        let features = model.network.feature_count();
        if !self.domain.is_consistent(image[1], features) {
            return Some("its features are not the model's".to_string());
        }
        None
    }

    /// The light-cones that it was made with.
    #[must_use]
    pub fn source(&self) -> CalibrationSource {
        CalibrationSource {
            fingerprint: self.fingerprint.clone(),
            light_cones: self.light_cones,
            images: self.images,
        }
    }

    /// The images whose mean has a curve.
    pub fn means_known(&self) -> impl Iterator<Item = ImageSet> {
        let first = self.parameters.iter().take(1);
        first.flat_map(|parameter| parameter.mean_recoveries.iter().map(|mean| mean.of))
    }

    /// Bias and uncertainty of each parameter given the predictions of all, in physical units; none for a mean over
    /// other images than it was measured with.
    #[must_use]
    pub fn recoveries(&self, of: Answer, predictions: &[f64]) -> Vec<Option<Recovery>> {
        let terms = spread::terms(predictions, &self.ranges);
        let parameters = self.parameters.iter().zip(predictions);
        parameters
            .map(|(parameter, &prediction)| {
                let (curve, spread) = parameter.measured(of)?;
                let Recovery { bias, uncertainty } = curve.at(prediction)?;
                let uncertainty = uncertainty * spread.at(&terms);
                uncertainty
                    .is_finite()
                    .then_some(Recovery { bias, uncertainty })
            })
            .collect()
    }

    /// In which ways an image is unlike those seen.
    #[must_use]
    pub fn departures(&self, features: &ImageFeatures) -> Vec<Departure> {
        self.domain.departures(features)
    }
}

fn ranges(model: &Model) -> Vec<[f64; 2]> {
    let parameters = model.description.parameters.iter();
    parameters
        .map(|parameter| [parameter.min, parameter.max])
        .collect()
}
