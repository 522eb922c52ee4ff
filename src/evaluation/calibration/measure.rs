//! Measuring a calibration.

use rayon::prelude::*;

use super::{
    Calibration, CalibrationError, FORMAT, MeanRecovery, ParameterCalibration, VERSION, ranges,
};
use crate::data::batches::{ImageIndex, ImageReader, all_images, batch_ranges};
use crate::data::dataset::Dataset;
use crate::data::scaling::TargetScaling;
use crate::data::slices::Slicing;
use crate::evaluation::domain::{Domain, ImageFeatures};
use crate::evaluation::image_statistics::{structure, temperatures};
use crate::evaluation::prediction::{
    ImagePrediction, PredictionError, Predictions, in_physical_units, pairs_of, predict,
};
use crate::evaluation::recovery::RecoveryCurve;
use crate::evaluation::scores::mean_by_light_cone;
use crate::evaluation::spread::SpreadFactor;
use crate::model::inference::{Inference, Predict};
use crate::model::model_file::Model;

/// Training images that define the domain; more would not change it.
const MOST_TRAINING_IMAGES: usize = 2000;
/// Light-cones that say what is usual for a model whose training is not known; fewer would say it of themselves alone.
const FEWEST_LIGHT_CONES: usize = 10;
/// Images per forward pass.
const BATCH_SIZE: usize = 64;

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
    /// training images; of whole cubes also with their images of constant x, for the mean over both directions.
    /// `progress` is called with the images done and their number.
    ///
    /// # Errors
    /// [`CalibrationError`] when an image cannot be read or there is none.
    pub fn measure(
        model: &Model,
        data: &CalibrationData<'_>,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Self, CalibrationError> {
        let mut engine = model.inference()?;
        let unseen = Unseen::new(data.dataset, data.slicing, data.validation)?;
        let training = evenly_chosen(
            &all_images(data.training, data.slicing),
            MOST_TRAINING_IMAGES,
        );
        let count = unseen.images() + training.len();
        let (parameters, seen) =
            unseen.recoveries(model, &mut engine, |done| progress(done, count))?;
        let reader = reader(model, data.dataset, data.slicing)?;
        let known = examine(&mut engine, &reader, &training, |done| {
            progress(unseen.images() + done, count);
        })?;
        let domain = Domain::fit(&known.features, &seen).ok_or(CalibrationError::NoImages)?;
        Ok(Self::new(
            model,
            &unseen,
            data.validation.len(),
            parameters,
            domain,
        ))
    }

    /// The same domain with the uncertainties measured anew, on all light-cones of a data set that the model was not
    /// trained on.
    ///
    /// # Errors
    /// As [`Calibration::measure`].
    pub fn measured_on(
        &self,
        model: &Model,
        dataset: &Dataset,
        slicing: &Slicing,
        progress: impl FnMut(usize, usize),
    ) -> Result<Self, CalibrationError> {
        let domain = |_: Vec<ImageFeatures>| Ok(self.domain.clone());
        Self::of_whole_data(model, dataset, slicing, domain, progress)
    }

    /// Calibrates a model whose training light-cones are not known, with all light-cones of a data set that it was
    /// not trained on. Its domain are images like these: every other light-cone is compared with the rest of them,
    /// as validation light-cones are with those of the training.
    ///
    /// # Errors
    /// As [`Calibration::measure`]; [`CalibrationError::TooFewLightCones`] when there are fewer than ten.
    pub fn measure_imported(
        model: &Model,
        dataset: &Dataset,
        slicing: &Slicing,
        progress: impl FnMut(usize, usize),
    ) -> Result<Self, CalibrationError> {
        let found = dataset.light_cones().len();
        if found < FEWEST_LIGHT_CONES {
            return Err(CalibrationError::TooFewLightCones {
                data: dataset.directory().to_path_buf(),
                expected: FEWEST_LIGHT_CONES,
                found,
            });
        }
        let domain = |features: Vec<ImageFeatures>| {
            let images = slicing.images().len();
            let (mut known, mut compared) = (Vec::new(), Vec::new());
            for (number, light_cone) in features.chunks(images).enumerate() {
                let part = if number % 2 == 0 {
                    &mut known
                } else {
                    &mut compared
                };
                part.extend_from_slice(light_cone);
            }
            Domain::fit(&known, &compared).ok_or(CalibrationError::NoImages)
        };
        Self::of_whole_data(model, dataset, slicing, domain, progress)
    }

    /// The uncertainties from all light-cones of a data set; `domain` makes the domain of the features of their
    /// images.
    fn of_whole_data(
        model: &Model,
        dataset: &Dataset,
        slicing: &Slicing,
        domain: impl FnOnce(Vec<ImageFeatures>) -> Result<Domain, CalibrationError>,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Self, CalibrationError> {
        let light_cones: Vec<usize> = (0..dataset.light_cones().len()).collect();
        let unseen = Unseen::new(dataset, slicing, &light_cones)?;
        let count = unseen.images();
        let (parameters, features) =
            unseen.recoveries(model, &mut model.inference()?, |done| progress(done, count))?;
        Ok(Self::new(
            model,
            &unseen,
            light_cones.len(),
            parameters,
            domain(features)?,
        ))
    }

    fn new(
        model: &Model,
        unseen: &Unseen<'_>,
        light_cones: usize,
        parameters: Vec<ParameterCalibration>,
        domain: Domain,
    ) -> Self {
        let description = &model.description;
        Self {
            format: FORMAT.to_string(),
            version: VERSION,
            program: PROGRAM.to_string(),
            epoch: description.epoch,
            step: description.step,
            validation_loss: description.validation_loss,
            weights: Some(model.parameters.digest()),
            symmetries: description.symmetries,
            fingerprint: unseen.dataset.fingerprint(),
            light_cones,
            images: unseen.upright.len(),
            parameters,
            domain,
            ranges: ranges(model),
        }
    }
}

const PROGRAM: &str = concat!("dawn21 ", env!("CARGO_PKG_VERSION"));

/// Light-cones that a model was not trained on.
struct Unseen<'a> {
    dataset: &'a Dataset,
    slicing: &'a Slicing,
    /// Images of constant y, and where there are such those of constant x with their slicing.
    upright: Vec<ImageIndex>,
    across: Option<(Slicing, Vec<ImageIndex>)>,
}

impl<'a> Unseen<'a> {
    fn new(
        dataset: &'a Dataset,
        slicing: &'a Slicing,
        light_cones: &[usize],
    ) -> Result<Self, CalibrationError> {
        let manifest = dataset.manifest();
        let across = if manifest.has_square_sky() {
            let both = slicing.both_directions(manifest);
            let both = both.map_err(PredictionError::from)?;
            let mut images = all_images(light_cones, &both);
            images.retain(|index| both.images()[index.image].transposed);
            Some((both, images))
        } else {
            None
        };
        Ok(Self {
            dataset,
            slicing,
            upright: all_images(light_cones, slicing),
            across,
        })
    }

    fn images(&self) -> usize {
        let across = self.across.as_ref().map_or(0, |(_, images)| images.len());
        self.upright.len() + across
    }

    /// The uncertainties of each parameter, and the features of the images of constant y.
    fn recoveries(
        &self,
        model: &Model,
        engine: &mut Inference,
        mut progress: impl FnMut(usize),
    ) -> Result<(Vec<ParameterCalibration>, Vec<ImageFeatures>), CalibrationError> {
        let description = &model.description;
        let scaling = TargetScaling::new(&description.parameters);
        let physical = |predictions: &Predictions, images: &[ImageIndex]| {
            in_physical_units(predictions, images, self.dataset, &scaling)
        };
        let upright_reader = reader(model, self.dataset, self.slicing)?;
        let seen = examine(engine, &upright_reader, &self.upright, &mut progress)?;
        let upright = physical(&seen.predictions, &self.upright);
        let mut means = vec![(self.slicing.image_set(), mean_by_light_cone(&upright))];
        if let Some((both, images)) = &self.across {
            // Only for their mean: one image is asked for as it was trained on.
            let reader = reader(model, self.dataset, both)?;
            let predictions = predict(engine, &reader, images, BATCH_SIZE, |done| {
                progress(self.upright.len() + done);
            })?;
            let all: Vec<ImagePrediction> =
                [upright.clone(), physical(&predictions, images)].concat();
            means.push((both.image_set(), mean_by_light_cone(&all)));
        }
        let ranges = ranges(model);
        let measured = |predictions: &[ImagePrediction], index: usize| {
            let curve = RecoveryCurve::fit(&pairs_of(predictions, index));
            let spread = SpreadFactor::fit(&curve, predictions, index, &ranges);
            (curve, spread)
        };
        let parameters = description.parameters.iter().enumerate();
        let parameters = parameters.map(|(index, parameter)| {
            let (recovery, spread) = measured(&upright, index);
            let means = means.iter().map(|(of, means)| {
                let (recovery, spread) = measured(means, index);
                MeanRecovery {
                    of: *of,
                    recovery,
                    spread,
                }
            });
            ParameterCalibration {
                name: parameter.name.clone(),
                recovery,
                spread,
                mean_recoveries: means.collect(),
            }
        });
        Ok((parameters.collect(), seen.features))
    }
}

fn reader<'a>(
    model: &Model,
    dataset: &'a Dataset,
    slicing: &'a Slicing,
) -> Result<ImageReader<'a>, PredictionError> {
    let description = &model.description;
    let scaling = TargetScaling::new(&description.parameters);
    Ok(ImageReader::new(
        dataset,
        slicing,
        description.input,
        scaling,
    )?)
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
    engine: &mut Inference,
    reader: &ImageReader<'_>,
    images: &[ImageIndex],
    mut progress: impl FnMut(usize),
) -> Result<Examined, CalibrationError> {
    let [rows, columns] = engine.image();
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
