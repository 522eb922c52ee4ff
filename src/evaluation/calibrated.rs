//! What a calibration makes of predictions whose truth is known.

use super::calibration::{Answer, Calibration};
use super::metrics::Pair;
use super::prediction::{ImagePrediction, pairs_of};
use super::results::Coverage;

/// Predictions less the bias of such predictions; none where a parameter has no curve for them.
#[must_use]
pub fn less_bias(
    calibration: &Calibration,
    of: Answer,
    predictions: &[ImagePrediction],
) -> Option<Vec<ImagePrediction>> {
    let corrected = predictions.iter().map(|prediction| {
        let pairs = prediction.parameters.iter().zip(calibration.curves(of));
        let parameters = pairs.map(|(pair, curve)| {
            Some(Pair {
                truth: pair.truth,
                prediction: pair.prediction - curve?.at(pair.prediction)?.bias,
            })
        });
        Some(ImagePrediction {
            index: prediction.index,
            parameters: parameters.collect::<Option<_>>()?,
        })
    });
    corrected.collect()
}

/// How often the truth lies within the uncertainties; none where a parameter has no curve for such predictions.
#[must_use]
pub fn coverage(
    calibration: &Calibration,
    of: Answer,
    predictions: &[ImagePrediction],
) -> Option<Vec<Coverage>> {
    let parameters = calibration.parameters.iter().zip(calibration.curves(of));
    parameters
        .enumerate()
        .map(|(index, (parameter, curve))| {
            let [within_one, within_two] = curve?.coverage(&pairs_of(predictions, index))?;
            Some(Coverage {
                name: parameter.name.clone(),
                within_one,
                within_two,
            })
        })
        .collect()
}
