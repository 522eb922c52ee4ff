//! Running a network over images.

use dawn21_kernels::ShapeError;

use super::metrics::Pair;
use crate::data::DataError;
use crate::data::batches::{ImageIndex, ImageReader, batch_ranges};
use crate::data::dataset::Dataset;
use crate::data::scaling::TargetScaling;
use crate::model::inference::Predict;

/// Why a prediction failed.
#[derive(Debug, thiserror::Error)]
pub enum PredictionError {
    /// The images.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network; only parameters of another network can cause this.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

/// Outputs of a network in inference mode, and the targets, both scaled to [0, 1].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Predictions {
    /// (images, parameters), row-major.
    pub outputs: Vec<f32>,
    /// (images, parameters), row-major.
    pub targets: Vec<f32>,
}

impl Predictions {
    /// Mean squared error over all values.
    #[must_use]
    pub fn loss(&self) -> f64 {
        let differences = self.outputs.iter().zip(&self.targets);
        let sum: f64 = differences
            .map(|(&output, &target)| (f64::from(output) - f64::from(target)).powi(2))
            .sum();
        sum / self.outputs.len() as f64
    }

    /// Those of the first image of each light-cone, `images` being all that were predicted.
    #[must_use]
    pub fn of_first_images(&self, images: &[ImageIndex]) -> Self {
        let count = self.outputs.len() / images.len().max(1);
        let select = |values: &[f32]| {
            let rows = values.chunks(count.max(1)).zip(images);
            let first = rows.filter(|(_, index)| index.image == 0);
            first.flat_map(|(row, _)| row).copied().collect()
        };
        Self {
            outputs: select(&self.outputs),
            targets: select(&self.targets),
        }
    }

    /// Truth and prediction of parameter `index` of `count`, for every image.
    #[must_use]
    pub fn scaled_pairs(&self, index: usize, count: usize) -> Vec<Pair> {
        let rows = self.outputs.chunks(count).zip(self.targets.chunks(count));
        rows.map(|(output, target)| Pair {
            truth: f64::from(target[index]),
            prediction: f64::from(output[index]),
        })
        .collect()
    }
}

/// Predicts `images` in batches of `batch_size`; `progress` is called with the images done so far.
///
/// # Errors
/// [`PredictionError`] when an image cannot be read.
pub fn predict(
    engine: &mut impl Predict,
    reader: &ImageReader<'_>,
    images: &[ImageIndex],
    batch_size: usize,
    mut progress: impl FnMut(usize),
) -> Result<Predictions, PredictionError> {
    let mut predictions = Predictions::default();
    let mut targets = Vec::new();
    for range in batch_ranges(images.len(), batch_size) {
        reader.read_batch(&images[range.clone()], engine.input_mut(), &mut targets)?;
        predictions.outputs.extend_from_slice(engine.predict()?);
        predictions.targets.extend_from_slice(&targets);
        progress(range.end);
    }
    Ok(predictions)
}

/// Truth and prediction of every parameter of one image, in physical units.
#[derive(Debug, Clone, PartialEq)]
pub struct ImagePrediction {
    /// Which image.
    pub index: ImageIndex,
    /// One pair per parameter.
    pub parameters: Vec<Pair>,
}

/// Truth and prediction of parameter `index`.
#[must_use]
pub fn pairs_of(predictions: &[ImagePrediction], index: usize) -> Vec<Pair> {
    predictions.iter().map(|p| p.parameters[index]).collect()
}

/// Turns scaled outputs into physical units, beside the exact truths of the table.
#[must_use]
pub fn in_physical_units(
    predictions: &Predictions,
    images: &[ImageIndex],
    dataset: &Dataset,
    scaling: &TargetScaling,
) -> Vec<ImagePrediction> {
    images
        .iter()
        .zip(predictions.outputs.chunks(scaling.len()))
        .map(|(&index, outputs)| {
            let outputs: Vec<f64> = outputs.iter().map(|&v| f64::from(v)).collect();
            let truths = &dataset.light_cones()[index.light_cone].parameters;
            let parameters = truths
                .iter()
                .zip(scaling.unscale(&outputs))
                .map(|(&truth, prediction)| Pair { truth, prediction })
                .collect();
            ImagePrediction { index, parameters }
        })
        .collect()
}
