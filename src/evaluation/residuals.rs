//! Residuals, prediction minus truth, as functions of the truth and of the prediction (figure 5 of Gillet et
//! al. 2019).
//!
//! At a fixed truth their mean and spread are the error of the network; at a fixed prediction they say how
//! well the truth is recovered, which is what an observer needs to know.

use super::gaussian;
use super::metrics::Pair;

/// What residuals are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Along {
    /// The true value: network error.
    Truth,
    /// The predicted value: recovery uncertainty.
    Prediction,
}

/// Residuals in an interval of truths or predictions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResidualBin {
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Number of images.
    pub count: usize,
    /// Mean residual; none without images.
    pub mean: Option<f64>,
    /// Standard deviation of the Gaussian fitted to the residuals; none of fewer than two.
    pub sigma: Option<f64>,
}

/// Bins that the paper has for 1000 images.
const MOST_BINS: usize = 25;
/// Fewest bins of a figure.
const FEWEST_BINS: usize = 5;
/// Images wanted in a bin.
const IMAGES_PER_BIN: usize = 20;

/// Bins for a number of images: the paper's 25 where there are enough images to fill them.
#[must_use]
pub fn bin_count(images: usize) -> usize {
    (images / IMAGES_PER_BIN).clamp(FEWEST_BINS, MOST_BINS)
}

/// The bin of a value; values beyond the range belong to the bins at its ends.
fn bin_of(value: f64, [low, high]: [f64; 2], bins: usize) -> usize {
    let share = (value - low) / (high - low) * bins as f64;
    (share.max(0.0) as usize).min(bins.saturating_sub(1))
}

/// Mean and fitted spread of the residuals in `bins` equal intervals of `range`.
#[must_use]
pub fn binned(pairs: &[Pair], along: Along, range: [f64; 2], bins: usize) -> Vec<ResidualBin> {
    let mut residuals = vec![Vec::new(); bins];
    for pair in pairs {
        let value = match along {
            Along::Truth => pair.truth,
            Along::Prediction => pair.prediction,
        };
        residuals[bin_of(value, range, bins)].push(pair.prediction - pair.truth);
    }
    let width = (range[1] - range[0]) / bins as f64;
    residuals
        .iter()
        .enumerate()
        .map(|(index, residuals)| {
            let count = residuals.len();
            ResidualBin {
                low: range[0] + width * index as f64,
                high: range[0] + width * (index + 1) as f64,
                count,
                mean: (count > 0).then(|| residuals.iter().sum::<f64>() / count as f64),
                sigma: gaussian::fit(residuals).map(|fit| fit.sigma),
            }
        })
        .collect()
}

/// Number of images by truth and prediction: `bins` rows by prediction, each of `bins` columns by truth.
#[must_use]
pub fn histogram(pairs: &[Pair], range: [f64; 2], bins: usize) -> Vec<usize> {
    let mut counts = vec![0; bins * bins];
    for pair in pairs {
        let row = bin_of(pair.prediction, range, bins);
        counts[row * bins + bin_of(pair.truth, range, bins)] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(truth: f64, prediction: f64) -> Pair {
        Pair { truth, prediction }
    }

    #[test]
    fn histogram_counts_every_pair_once() {
        let pairs = [
            pair(0.1, 0.1),
            pair(0.1, 0.9),
            pair(1.0, 1.0),
            pair(0.5, 0.49),
            // Beyond the range: counted at its ends.
            pair(0.6, -3.0),
            pair(0.6, 7.0),
        ];
        let counts = histogram(&pairs, [0.0, 1.0], 2);
        // Rows by prediction, columns by truth.
        assert_eq!(counts, [1, 2, 1, 2]);
    }

    #[test]
    fn bins_have_mean_and_spread_of_their_residuals() {
        let pairs = [
            pair(0.1, 0.2),
            pair(0.2, 0.5),
            pair(0.9, 0.6),
            pair(0.3, 0.3),
        ];
        let by_truth = binned(&pairs, Along::Truth, [0.0, 1.0], 4);
        let [first, second, third, last] = by_truth[..] else {
            panic!("four bins")
        };
        assert_eq!(
            [first.count, second.count, third.count, last.count],
            [2, 1, 0, 1]
        );
        assert!((first.mean.expect("two images") - 0.2).abs() < 1e-12);
        assert!((first.sigma.expect("two images") - 0.02_f64.sqrt()).abs() < 1e-12);
        assert_eq!((second.sigma, third.mean, third.sigma), (None, None, None));
        assert!((last.low - 0.75).abs() < 1e-12 && (last.high - 1.0).abs() < 1e-12);
        let by_prediction = binned(&pairs, Along::Prediction, [0.0, 1.0], 2);
        assert_eq!((by_prediction[0].count, by_prediction[1].count), (2, 2));
        assert!((by_prediction[1].mean.expect("two images") - 0.0).abs() < 1e-12);
    }

    #[test]
    fn bins_are_as_many_as_the_images_fill() {
        assert_eq!([0, 100, 300, 1000].map(bin_count), [5, 5, 15, 25]);
    }
}
