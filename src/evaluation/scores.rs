//! Scores of many images: by the first image of each light-cone, by every image, by the mean over the images
//! of a light-cone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bootstrap;
use super::metrics::{self, Pair};
use super::prediction::ImagePrediction;
use crate::data::batches::ImageIndex;
use crate::data::manifest::ParameterDescription;

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
    /// Its interval.
    pub r2_over_predicted_interval: Option<[f64; 2]>,
    /// Root mean squared error.
    pub rmse: f64,
    /// Its interval.
    pub rmse_interval: Option<[f64; 2]>,
    /// Mean of prediction minus truth.
    pub bias: f64,
    /// Its interval.
    pub bias_interval: Option<[f64; 2]>,
}

/// Scores of a set of predictions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Number of predictions.
    pub predictions: usize,
    /// Mean squared error, every parameter scaled to [0, 1].
    pub loss: f64,
    /// In the order of the network's outputs.
    pub parameters: Vec<ParameterScores>,
}

/// Scores predictions; intervals resample light-cones with all their predictions.
#[must_use]
pub fn score(
    predictions: &[ImagePrediction],
    parameters: &[ParameterDescription],
    seed: u64,
) -> Scores {
    let scores = parameters.iter().enumerate().map(|(index, parameter)| {
        parameter_scores(predictions, index, &parameter.name, &parameter.unit, seed)
    });
    let scores: Vec<ParameterScores> = scores.collect();
    let squares = scores.iter().zip(parameters).map(|(scores, parameter)| {
        let range = parameter.max - parameter.min;
        (scores.rmse / range).powi(2)
    });
    Scores {
        predictions: predictions.len(),
        loss: squares.sum::<f64>() / parameters.len() as f64,
        parameters: scores,
    }
}

/// The scores of parameter number `index`.
#[must_use]
pub fn parameter_scores(
    predictions: &[ImagePrediction],
    index: usize,
    name: &str,
    unit: &str,
    seed: u64,
) -> ParameterScores {
    let mut by_light_cone: BTreeMap<usize, Vec<Pair>> = BTreeMap::new();
    for prediction in predictions {
        let pairs = by_light_cone.entry(prediction.index.light_cone);
        pairs.or_default().push(prediction.parameters[index]);
    }
    let light_cones: Vec<Vec<Pair>> = by_light_cone.into_values().collect();
    let pairs = light_cones.concat();
    let interval =
        |score: fn(&[Pair]) -> Option<f64>| bootstrap::interval_68(&light_cones, seed, score);
    ParameterScores {
        name: name.to_string(),
        unit: unit.to_string(),
        r2: metrics::r2(&pairs),
        r2_interval: interval(metrics::r2),
        r2_over_predicted: metrics::r2_over_predicted(&pairs),
        r2_over_predicted_interval: interval(metrics::r2_over_predicted),
        rmse: metrics::rmse(&pairs),
        rmse_interval: interval(|pairs| Some(metrics::rmse(pairs))),
        bias: metrics::bias(&pairs),
        bias_interval: interval(|pairs| Some(metrics::bias(pairs))),
    }
}

/// Predictions of the first image of each light-cone.
#[must_use]
pub fn of_first_images(predictions: &[ImagePrediction]) -> Vec<ImagePrediction> {
    of_images_before(1, predictions)
}

/// Predictions of the first `images` images of each light-cone.
#[must_use]
pub fn of_images_before(images: usize, predictions: &[ImagePrediction]) -> Vec<ImagePrediction> {
    let before = predictions.iter().filter(|p| p.index.image < images);
    before.cloned().collect()
}

/// One prediction a light-cone: the mean over its images, as number 0 of it.
#[must_use]
pub fn mean_by_light_cone(predictions: &[ImagePrediction]) -> Vec<ImagePrediction> {
    let mut by_light_cone: BTreeMap<usize, Vec<&ImagePrediction>> = BTreeMap::new();
    for prediction in predictions {
        let images = by_light_cone.entry(prediction.index.light_cone);
        images.or_default().push(prediction);
    }
    let means = by_light_cone.into_iter().map(|(light_cone, images)| {
        let parameters = (0..images[0].parameters.len())
            .map(|index| {
                let pairs = images.iter().map(|image| image.parameters[index]);
                let sum: f64 = pairs.map(|pair| pair.prediction).sum();
                Pair {
                    truth: images[0].parameters[index].truth,
                    prediction: sum / images.len() as f64,
                }
            })
            .collect();
        let index = ImageIndex {
            light_cone,
            image: 0,
        };
        ImagePrediction { index, parameters }
    });
    means.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(light_cone: usize, image: usize, truth: f64, value: f64) -> ImagePrediction {
        ImagePrediction {
            index: ImageIndex { light_cone, image },
            parameters: vec![Pair {
                truth,
                prediction: value,
            }],
        }
    }

    #[test]
    fn first_images_and_means_are_told_apart() {
        let predictions = [
            prediction(3, 0, 1.0, 1.5),
            prediction(3, 1, 1.0, 0.7),
            prediction(8, 0, 4.0, 3.0),
            prediction(8, 1, 4.0, 5.0),
        ];
        let first = of_first_images(&predictions);
        assert_eq!(first, [predictions[0].clone(), predictions[2].clone()]);
        let means = mean_by_light_cone(&predictions);
        let values: Vec<f64> = means.iter().map(|p| p.parameters[0].prediction).collect();
        assert!((values[0] - 1.1).abs() < 1e-12 && (values[1] - 4.0).abs() < 1e-12);

        let parameter = ParameterDescription {
            name: "level".to_string(),
            unit: String::new(),
            min: 0.0,
            max: 10.0,
            latex: None,
        };
        let scores = |predictions: &[ImagePrediction]| {
            let scores = score(predictions, std::slice::from_ref(&parameter), 1);
            (
                scores.predictions,
                scores.parameters[0].r2.expect("two truths"),
            )
        };
        // Truths 1 and 4: the sum of squares around their mean is 4.5 for one image each, 9 for two.
        let (count, r2) = scores(&first);
        assert!(
            count == 2 && (r2 - (1.0 - 1.25 / 4.5)).abs() < 1e-12,
            "{r2}"
        );
        let (count, r2) = scores(&predictions);
        assert!(
            count == 4 && (r2 - (1.0 - 2.34 / 9.0)).abs() < 1e-12,
            "{r2}"
        );
        let (count, r2) = scores(&means);
        assert!(
            count == 2 && (r2 - (1.0 - 0.01 / 4.5)).abs() < 1e-12,
            "{r2}"
        );
        let loss = score(&first, &[parameter], 1).loss;
        assert!((loss - 1.25 / 2.0 / 100.0).abs() < 1e-12, "{loss}");
    }
}
