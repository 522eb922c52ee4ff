//! What a model says about images: values, their uncertainties, and warnings.

use std::path::Path;

use super::CommandError;
use super::images::Located;
use crate::data::batches::{read_cells, read_slice};
use crate::data::scaling::TargetScaling;
use crate::evaluation::calibration::{Answer, Calibration};
use crate::evaluation::domain::ImageFeatures;
use crate::evaluation::image_statistics::{structure, temperatures};
use crate::evaluation::prediction::PredictionError;
use crate::evaluation::recovery::Recovery;
use crate::model::inference::{Inference, Predict};
use crate::model::model_file::Model;
use crate::run_directory::CALIBRATION_FILE;

/// A model with what is known about its predictions.
pub(super) struct Predictor {
    pub(super) model: Model,
    /// None where no calibration of these weights is there.
    pub(super) calibration: Option<Calibration>,
}

/// The prediction for one image, or for a light-cone.
pub(super) struct Prediction {
    /// Parameters in physical units.
    pub(super) values: Vec<f64>,
    /// Bias and uncertainty of each value; none without a calibration.
    pub(super) recoveries: Vec<Option<Recovery>>,
    /// In which ways the image is unlike those seen; empty when it is like them, or without a calibration.
    pub(super) warning: String,
}

impl Predictor {
    /// A model from `file`, with the calibration beside it; a note says why there is none.
    pub(super) fn new(file: &Path, model: Model) -> (Self, Option<String>) {
        let path = file.with_file_name(CALIBRATION_FILE);
        let (calibration, note) = match Calibration::read(&path, &model) {
            Ok(Some(calibration)) => (Some(calibration), None),
            Ok(None) => (
                None,
                Some(format!(
                    "no {CALIBRATION_FILE} beside {}: values without uncertainties, and no warnings about images \
                     unlike those trained on; `dawn21 evaluate RUN DATA` with the training data makes one for \
                     the best weights, `dawn21 calibrate RUN DATA` one for an imported model",
                    file.display()
                )),
            ),
            Err(error) => (None, Some(format!("values without uncertainties: {error}"))),
        };
        (Self { model, calibration }, note)
    }

    /// Columns of a csv for the predictions, after those that say which image it is.
    pub(super) fn csv_header(&self) -> String {
        let names = self.model.description.parameters.iter().map(|p| &p.name);
        let values: Vec<&str> = names.clone().map(String::as_str).collect();
        let known: Vec<String> = names
            .map(|name| format!("{name}_bias,{name}_uncertainty"))
            .collect();
        format!("{},{},warning", values.join(","), known.join(","))
    }

    /// The predictions for all images of a file.
    pub(super) fn predict(
        &self,
        located: &Located,
        engine: &mut Inference,
    ) -> Result<Vec<Prediction>, CommandError> {
        let slicing = &located.slicing;
        let images = slicing.images();
        let description = &self.model.description;
        let input = engine.input_mut();
        input.resize(images.len() * slicing.image_len(), 0.0);
        let mut statistics = Vec::with_capacity(images.len());
        for (&slice, pixels) in images
            .iter()
            .zip(input.chunks_exact_mut(slicing.image_len()))
        {
            read_slice(&located.cube, slice, slicing, &description.input, pixels)?;
            let cells_mk = read_cells(&located.cube, slice, slicing)?;
            statistics.push((
                temperatures(&cells_mk),
                structure(pixels, slicing.columns()),
            ));
        }
        engine.predict().map_err(PredictionError::from)?;
        let network = engine.features();
        let scaling = TargetScaling::new(&description.parameters);
        let outputs = engine.output().chunks(scaling.len());
        let rows = outputs.zip(statistics).zip(network);
        Ok(rows
            .map(|((outputs, (temperatures, structure)), network)| {
                let outputs: Vec<f64> = outputs.iter().map(|&v| f64::from(v)).collect();
                let values: Vec<f64> = scaling.unscale(&outputs).collect();
                let features = ImageFeatures {
                    temperatures,
                    structure,
                    network,
                };
                let departures = self
                    .calibration
                    .iter()
                    .flat_map(|c| c.departures(&features));
                let departures: Vec<String> = departures.map(|d| d.to_string()).collect();
                Prediction {
                    recoveries: self.recoveries(Answer::Image, &values),
                    warning: departures.join("; "),
                    values,
                }
            })
            .collect())
    }

    /// The prediction for a light-cone: the mean over those for all its images.
    pub(super) fn mean(&self, located: &Located, images: &[Prediction]) -> Prediction {
        let parameters = self.model.description.parameters.len();
        let of = |index| images.iter().map(move |image| image.values[index]);
        let values: Vec<f64> = (0..parameters)
            .map(|index| of(index).sum::<f64>() / images.len() as f64)
            .collect();
        let places = located.slices.iter().zip(images);
        let mut unlike = places.filter(|(_, image)| !image.warning.is_empty());
        let count = unlike.clone().count();
        let warning = unlike.next().map_or(String::new(), |(place, image)| {
            let place = place.map_or(String::new(), |place| format!(", the first {place}"));
            format!(
                "{count} of {} images{place}: {}",
                images.len(),
                image.warning
            )
        });
        Prediction {
            recoveries: self.recoveries(Answer::Mean(located.slicing.image_set()), &values),
            warning,
            values,
        }
    }

    fn recoveries(&self, of: Answer, values: &[f64]) -> Vec<Option<Recovery>> {
        match &self.calibration {
            Some(calibration) => calibration.recoveries(of, values),
            None => vec![None; values.len()],
        }
    }
}

impl Prediction {
    /// The fields of [`Predictor::csv_header`].
    pub(super) fn csv_fields(&self) -> String {
        let values: Vec<String> = self.values.iter().map(|v| format!("{v:.6}")).collect();
        let known: Vec<String> = self
            .recoveries
            .iter()
            .map(|recovery| {
                recovery.map_or(",".to_string(), |r| {
                    format!("{:.6},{:.6}", r.bias, r.uncertainty)
                })
            })
            .collect();
        let warning = csv_field(&self.warning);
        format!("{},{},{warning}", values.join(","), known.join(","))
    }
}

/// A text as a csv field.
pub(super) fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_string()
    }
}
