//! What a calibration makes of predictions whose truth is known.

use super::calibration::{Answer, Calibration};
use super::metrics::Pair;
use super::prediction::ImagePrediction;
use super::recovery::{self, Recovery};
use super::results::Coverage;

/// Predictions less the bias of such predictions; none where nothing is known of a parameter.
#[must_use]
pub fn less_bias(
    calibration: &Calibration,
    of: Answer,
    predictions: &[ImagePrediction],
) -> Option<Vec<ImagePrediction>> {
    let corrected = predictions.iter().map(|prediction| {
        let known = with_recoveries(calibration, of, prediction);
        let parameters = known.map(|(pair, recovery)| {
            Some(Pair {
                truth: pair.truth,
                prediction: pair.prediction - recovery?.bias,
            })
        });
        Some(ImagePrediction {
            index: prediction.index,
            parameters: parameters.collect::<Option<_>>()?,
        })
    });
    corrected.collect()
}

/// How often the truth lies within the uncertainties; none where the calibration has none for such predictions.
#[must_use]
pub fn coverage(
    calibration: &Calibration,
    of: Answer,
    predictions: &[ImagePrediction],
) -> Option<Vec<Coverage>> {
    let known: Vec<Vec<(Pair, Option<Recovery>)>> = predictions
        .iter()
        .map(|prediction| with_recoveries(calibration, of, prediction).collect())
        .collect();
    let parameters = calibration.parameters.iter().enumerate();
    parameters
        .map(|(index, parameter)| {
            let known: Vec<(Pair, Option<Recovery>)> = known.iter().map(|all| all[index]).collect();
            if known.iter().all(|(_, recovery)| recovery.is_none()) {
                return None;
            }
            let [within_one, within_two] = recovery::coverage(&known)?;
            Some(Coverage {
                name: parameter.name.clone(),
                within_one,
                within_two,
            })
        })
        .collect()
}

fn with_recoveries(
    calibration: &Calibration,
    of: Answer,
    prediction: &ImagePrediction,
) -> impl Iterator<Item = (Pair, Option<Recovery>)> {
    let pairs = prediction.parameters.clone();
    let values: Vec<f64> = pairs.iter().map(|pair| pair.prediction).collect();
    pairs.into_iter().zip(calibration.recoveries(of, &values))
}
