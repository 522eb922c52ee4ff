//! The uncertainty of a prediction, read off the residuals of the validation images (figure 5 of Gillet et
//! al. 2019).

use serde::{Deserialize, Serialize};

use super::gaussian;
use super::metrics::Pair;

/// Residuals of images with neighbouring predictions: the standard deviation is known to 10 %.
const IMAGES_PER_BIN: usize = 50;
/// As many as the paper's figure has.
const MOST_BINS: usize = 25;

/// Bias and uncertainty of predictions near one value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecoveryBin {
    /// Mean of the predictions.
    pub prediction: f64,
    /// Mean residual, prediction minus truth.
    pub bias: f64,
    /// Standard deviation of the Gaussian fitted to the residuals.
    pub uncertainty: f64,
    /// Number of images.
    pub images: usize,
}

/// Bias and uncertainty as functions of the prediction, in the parameter's unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecoveryCurve {
    /// By increasing prediction; empty when there were fewer than two images.
    pub bins: Vec<RecoveryBin>,
}

/// What is known about the truth behind a prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recovery {
    /// Mean of prediction minus truth among such predictions.
    pub bias: f64,
    /// Standard deviation of the truth around the prediction less the bias.
    pub uncertainty: f64,
}

impl RecoveryCurve {
    /// The curve of truths and predictions: bins of equal numbers of images, so that none is empty.
    #[must_use]
    pub fn fit(pairs: &[Pair]) -> Self {
        let mut sorted = pairs.to_vec();
        sorted.sort_by(|a, b| a.prediction.total_cmp(&b.prediction));
        let count = (sorted.len() / IMAGES_PER_BIN).clamp(1, MOST_BINS);
        let bins = (0..count)
            .map(|bin| &sorted[bin * sorted.len() / count..(bin + 1) * sorted.len() / count])
            .filter_map(|pairs| {
                let residuals: Vec<f64> = pairs.iter().map(|p| p.prediction - p.truth).collect();
                let images = pairs.len();
                let mean = |values: f64| values / images as f64;
                Some(RecoveryBin {
                    uncertainty: gaussian::fit(&residuals)?.sigma,
                    prediction: mean(pairs.iter().map(|p| p.prediction).sum()),
                    bias: mean(residuals.iter().sum()),
                    images,
                })
            })
            .collect();
        Self { bins }
    }

    /// Bias and uncertainty of a prediction: linear between the bins, constant beyond them. None of an empty
    /// curve, or of a prediction that is no number.
    #[must_use]
    pub fn at(&self, prediction: f64) -> Option<Recovery> {
        let (first, last) = (self.bins.first()?, self.bins.last()?);
        if prediction.is_nan() {
            return None;
        }
        let above = self.bins.partition_point(|b| b.prediction <= prediction);
        let (low, high) = match above {
            0 => (first, first),
            n if n == self.bins.len() => (last, last),
            n => (&self.bins[n - 1], &self.bins[n]),
        };
        let width = high.prediction - low.prediction;
        let share = if width > 0.0 {
            (prediction - low.prediction) / width
        } else {
            0.0
        };
        let between = |a: f64, b: f64| a + share * (b - a);
        Some(Recovery {
            bias: between(low.bias, high.bias),
            uncertainty: between(low.uncertainty, high.uncertainty),
        })
    }
}

/// Shares of truths within one and two uncertainties of the prediction less its bias; of a Gaussian they are 0.683 and
/// 0.954. Predictions of which nothing is known count as wrong; none of no predictions.
#[must_use]
pub fn coverage(known: &[(Pair, Option<Recovery>)]) -> Option<[f64; 2]> {
    if known.is_empty() {
        return None;
    }
    let mut within = [0_usize; 2];
    for (pair, recovery) in known {
        let Some(recovery) = recovery else {
            continue;
        };
        let distance = (pair.prediction - recovery.bias - pair.truth).abs();
        for (count, sigmas) in within.iter_mut().zip([1.0, 2.0]) {
            *count += usize::from(distance <= sigmas * recovery.uncertainty);
        }
    }
    Some(within.map(|count| count as f64 / known.len() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Residuals of +-(0.1 + prediction) around a bias of 0.5.
    fn pairs(count: usize) -> Vec<Pair> {
        (0..count)
            .map(|i| {
                let prediction = i as f64 / count as f64;
                let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
                Pair {
                    truth: prediction - 0.5 - sign * (0.1 + prediction),
                    prediction,
                }
            })
            .collect()
    }

    #[test]
    fn uncertainty_grows_with_the_prediction_as_the_residuals_do() {
        let curve = RecoveryCurve::fit(&pairs(1000));
        assert_eq!(curve.bins.len(), 20);
        assert!(curve.bins.iter().all(|bin| bin.images == 50));
        let asked: Vec<f64> = (0..=100).map(|i| f64::from(i) / 100.0).collect();
        let uncertainties: Vec<f64> = asked
            .iter()
            .map(|&p| curve.at(p).expect("a curve").uncertainty)
            .collect();
        assert!(uncertainties.is_sorted(), "{uncertainties:?}");
        for (prediction, uncertainty) in asked.iter().zip(&uncertainties) {
            // Residuals of either sign with equal magnitude r have a standard deviation of r, of 50 of them
            // sqrt(50 / 49) r; the fit takes them for a Gaussian whose tails it does not see, another 1.014.
            // Bins blur it by half their width at the ends.
            let expected = 1.024 * (0.1 + prediction.clamp(0.025, 0.975));
            assert!(
                (uncertainty - expected).abs() < 0.02 * expected,
                "{prediction}: {uncertainty}, expected {expected}"
            );
            let bias = curve.at(*prediction).expect("a curve").bias;
            assert!((bias - 0.5).abs() < 0.05, "{prediction}: {bias}");
        }
        let far = curve.at(1e6).expect("a curve");
        assert_eq!(Some(far), curve.at(f64::INFINITY));
        assert_eq!(curve.at(f64::NAN), None);
    }

    #[test]
    fn few_images_make_one_bin_and_fewer_none() {
        assert_eq!(RecoveryCurve::fit(&pairs(99)).bins.len(), 1);
        assert_eq!(RecoveryCurve::fit(&pairs(2)).bins.len(), 1);
        for count in [0, 1] {
            let curve = RecoveryCurve::fit(&pairs(count));
            assert_eq!(curve.at(0.5), None);
        }
    }

    #[test]
    fn equal_predictions_are_no_obstacle() {
        let equal: Vec<Pair> = (0..200)
            .map(|i| Pair {
                truth: f64::from(i % 5),
                prediction: 2.0,
            })
            .collect();
        let recovery = RecoveryCurve::fit(&equal).at(2.0).expect("a curve");
        assert!(recovery.bias.abs() < 1e-12 && (recovery.uncertainty - 1.43).abs() < 0.02);
    }

    #[test]
    fn coverage_counts_truths_within_the_uncertainty() {
        let recovery = Recovery {
            bias: 1.0,
            uncertainty: 2.0,
        };
        let truths = [-1.0, 0.9, -3.1, 3.0, -5.5];
        let known = truths.map(|truth| {
            let prediction = 0.0;
            (Pair { truth, prediction }, Some(recovery))
        });
        // Around -1: within 2 are the first two, within 4 the next two.
        assert_eq!(coverage(&known), Some([0.4, 0.8]));
        assert_eq!(
            coverage(&known.map(|(pair, _)| (pair, None))),
            Some([0.0; 2])
        );
        assert_eq!(coverage(&[]), None);
    }
}
