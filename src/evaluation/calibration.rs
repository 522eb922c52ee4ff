//! `calibration.json`: what the validation images say about a model's answers.
//!
//! Uncertainties of the parameters as functions of the prediction, and the domain of images for which they
//! hold. It belongs to one set of weights and lies beside the model file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::domain::{Departure, Domain, ImageFeatures};
use super::image_statistics::{structure, temperatures};
use super::prediction::{PredictionError, Predictions, in_physical_units, pairs_of};
use super::recovery::{Recovery, RecoveryCurve};
use super::scores::{mean_by_light_cone, of_images_before};
use crate::atomic_file::{FileError, write_bytes_atomically};
use crate::data::batches::{ImageIndex, ImageReader, all_images, batch_ranges};
use crate::data::dataset::Dataset;
use crate::data::scaling::TargetScaling;
use crate::data::slices::Slicing;
use crate::model::engine::Engine;
use crate::model::execution::ExecutionError;
use crate::model::model_file::{Model, ModelDescription};

/// The uncertainty of one parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterCalibration {
    /// Name of the parameter.
    pub name: String,
    /// Bias and uncertainty by prediction of one image, in the parameter's unit.
    pub recovery: RecoveryCurve,
    /// The same of the mean over a light-cone's images, by their number. It has a curve of its own: less of it is
    /// noise, and where estimates shrink towards the middle of the range, their mean still does.
    pub mean_recoveries: BTreeMap<usize, RecoveryCurve>,
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
    /// Fingerprint of the data.
    pub fingerprint: String,
    /// Number of validation light-cones.
    pub light_cones: usize,
    /// Number of their images.
    pub images: usize,
    /// In the order of the network's outputs.
    pub parameters: Vec<ParameterCalibration>,
    /// The images for which all this holds.
    pub domain: Domain,
}

/// What says how to read the rest.
#[derive(Deserialize)]
struct Kind {
    format: String,
    version: u32,
}

const FORMAT: &str = "dawn21-calibration";
const VERSION: u32 = 2;
/// Training images that define the domain; more would not change it.
const MOST_TRAINING_IMAGES: usize = 2000;
/// Images per forward pass.
const BATCH_SIZE: usize = 64;

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
        "{}: made for the weights of epoch {found}, the model has those of epoch {expected}; `dawn21 evaluate RUN DATA` \
         with the data of the training makes it anew",
        path.display()
    )]
    OtherWeights {
        /// The file.
        path: PathBuf,
        /// Epoch of the model.
        expected: u64,
        /// Epoch of the calibration.
        found: u64,
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
}

/// What a prediction answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// One image.
    Image,
    /// A light-cone: the mean over the predictions of that many images, all that are cut from it in one or in
    /// both directions.
    MeanOf(usize),
}

/// Which light-cones of a data set a model was trained and validated on.
#[derive(Debug, Clone, Copy)]
pub struct CalibrationData<'a> {
    /// The data set of the training.
    pub dataset: &'a Dataset,
    /// Its images.
    pub slicing: &'a Slicing,
    /// Training light-cones.
    pub training: &'a [usize],
    /// Validation light-cones.
    pub validation: &'a [usize],
}

impl Calibration {
    /// Calibrates a model with all images of its validation light-cones, and images of at most 2000 of its
    /// training images; `progress` is called with the images done and their number.
    ///
    /// # Errors
    /// [`CalibrationError`] when an image cannot be read or there is none.
    pub fn measure(
        model: &Model,
        data: &CalibrationData<'_>,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Self, CalibrationError> {
        let description = &model.description;
        let scaling = TargetScaling::new(&description.parameters);
        // Those of constant x only for their mean: one image is asked for as it was trained on.
        let own = data.slicing.images().len();
        let both = data.slicing.both_directions(data.dataset.manifest());
        let slicing = both.unwrap_or_else(|_| data.slicing.clone());
        let reader = ImageReader::new(data.dataset, &slicing, description.input, scaling.clone())
            .map_err(PredictionError::from)?;
        let validation = all_images(data.validation, &slicing);
        let training = evenly_chosen(
            &all_images(data.training, data.slicing),
            MOST_TRAINING_IMAGES,
        );
        let count = validation.len() + training.len();
        let mut engine = model.engine()?;
        let seen = examine(&mut engine, &reader, &validation, |done| {
            progress(done, count);
        })?;
        let known = examine(&mut engine, &reader, &training, |done| {
            progress(validation.len() + done, count);
        })?;
        let physical = in_physical_units(&seen.predictions, &validation, data.dataset, &scaling);
        let one_direction = of_images_before(own, &physical);
        let means = [
            (own, mean_by_light_cone(&one_direction)),
            (slicing.images().len(), mean_by_light_cone(&physical)),
        ];
        let usual = seen.features.into_iter().zip(&validation);
        let usual = usual.filter(|(_, index)| index.image < own);
        let usual: Vec<ImageFeatures> = usual.map(|(features, _)| features).collect();
        let parameters = description.parameters.iter().enumerate();
        let parameters = parameters.map(|(index, parameter)| ParameterCalibration {
            name: parameter.name.clone(),
            recovery: RecoveryCurve::fit(&pairs_of(&one_direction, index)),
            mean_recoveries: means
                .iter()
                .map(|(images, means)| (*images, RecoveryCurve::fit(&pairs_of(means, index))))
                .collect(),
        });
        let parameters = parameters.collect();
        Ok(Self {
            format: FORMAT.to_string(),
            version: VERSION,
            program: concat!("dawn21 ", env!("CARGO_PKG_VERSION")).to_string(),
            epoch: description.epoch,
            step: description.step,
            validation_loss: description.validation_loss,
            fingerprint: data.dataset.fingerprint(),
            light_cones: data.validation.len(),
            images: one_direction.len(),
            parameters,
            domain: Domain::fit(&known.features, &usual).ok_or(CalibrationError::NoImages)?,
        })
    }

    /// Whether it was made for the weights of a model.
    #[must_use]
    pub fn is_of(&self, description: &ModelDescription) -> bool {
        (self.epoch, self.step, self.validation_loss)
            == (
                description.epoch,
                description.step,
                description.validation_loss,
            )
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
                "expected {FORMAT} version {VERSION}, found {format} version {version}; `dawn21 evaluate RUN DATA` \
                 with the data of the training makes it anew"
            )));
        }
        let calibration: Self =
            serde_json::from_str(&text).map_err(|error| content(error.to_string()))?;
        let description = &model.description;
        if !calibration.is_of(description) {
            return Err(CalibrationError::OtherWeights {
                path: path.to_path_buf(),
                expected: description.epoch,
                found: calibration.epoch,
            });
        }
        let names = calibration.parameters.iter().map(|p| &p.name);
        if !names.eq(description.parameters.iter().map(|p| &p.name)) {
            return Err(content("its parameters are not the model's".to_string()));
        }
        let features = model.network.feature_count();
        if !calibration
            .domain
            .is_consistent(description.image[1], features)
        {
            return Err(content("its features are not the model's".to_string()));
        }
        Ok(Some(calibration))
    }

    /// Over how many images of a light-cone a mean has a curve.
    pub fn means_known(&self) -> impl Iterator<Item = usize> {
        let first = self.parameters.iter().take(1);
        first.flat_map(|parameter| parameter.mean_recoveries.keys().copied())
    }

    /// Bias and uncertainty of each prediction, in physical units.
    #[must_use]
    pub fn recoveries(&self, of: Answer, predictions: &[f64]) -> Vec<Option<Recovery>> {
        self.curves(of)
            .zip(predictions)
            .map(|(curve, &prediction)| curve?.at(prediction))
            .collect()
    }

    /// The curve of each parameter; none for a mean over another number of images than it was measured with.
    pub fn curves(&self, of: Answer) -> impl Iterator<Item = Option<&RecoveryCurve>> {
        self.parameters.iter().map(move |parameter| match of {
            Answer::Image => Some(&parameter.recovery),
            Answer::MeanOf(images) => parameter.mean_recoveries.get(&images),
        })
    }

    /// In which ways an image is unlike those seen.
    #[must_use]
    pub fn departures(&self, features: &ImageFeatures) -> Vec<Departure> {
        self.domain.departures(features)
    }
}

/// At most `most` of the images, evenly spaced.
fn evenly_chosen(images: &[ImageIndex], most: usize) -> Vec<ImageIndex> {
    let count = images.len().min(most);
    (0..count)
        .map(|i| images[i * images.len() / count])
        .collect()
}

/// Predictions and features of some images.
struct Examined {
    predictions: Predictions,
    features: Vec<ImageFeatures>,
}

fn examine(
    engine: &mut Engine,
    reader: &ImageReader<'_>,
    images: &[ImageIndex],
    mut progress: impl FnMut(usize),
) -> Result<Examined, CalibrationError> {
    let [rows, columns] = engine.architecture().image();
    let mut predictions = Predictions::default();
    let mut features = Vec::with_capacity(images.len());
    let mut targets = Vec::new();
    for range in batch_ranges(images.len(), BATCH_SIZE) {
        let batch = &images[range.clone()];
        reader
            .read_batch(batch, engine.input_mut(), &mut targets)
            .map_err(PredictionError::from)?;
        let statistics: Vec<_> = engine
            .input_mut()
            .par_chunks_exact(rows * columns)
            .zip(batch)
            .map(|(pixels, &index)| {
                let cells_mk = reader.read_cells(index)?;
                Ok((temperatures(&cells_mk), structure(pixels, columns)))
            })
            .collect::<Result<_, PredictionError>>()?;
        engine.predict().map_err(PredictionError::from)?;
        let network = engine.features();
        features.extend(statistics.into_iter().zip(network).map(
            |((temperatures, structure), network)| ImageFeatures {
                temperatures,
                structure,
                network,
            },
        ));
        predictions.outputs.extend_from_slice(engine.output());
        predictions.targets.extend_from_slice(&targets);
        progress(range.end);
    }
    Ok(Examined {
        predictions,
        features,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_images_are_evenly_spaced() {
        let images: Vec<ImageIndex> = (0..10)
            .map(|light_cone| ImageIndex {
                light_cone,
                image: 0,
            })
            .collect();
        let chosen = |most| -> Vec<usize> {
            let chosen = evenly_chosen(&images, most);
            chosen.iter().map(|index| index.light_cone).collect()
        };
        assert_eq!(chosen(4), [0, 2, 5, 7]);
        assert_eq!(chosen(20), (0..10).collect::<Vec<_>>());
        assert!(evenly_chosen(&[], 3).is_empty());
    }
}
