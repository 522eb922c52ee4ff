//! How well one parameter is known depends on the others.
//!
//! A [`RecoveryCurve`] gives the uncertainty of all light-cones with such a prediction of one parameter, whatever the
//! others are, as figure 5 of Gillet et al. (2019) does. Its residuals are wider where the others hide the parameter:
//! of galaxies so rare that hardly a bubble forms before the nearest redshift, an image says little about the ionising
//! efficiency. [`SpreadFactor`] is how much wider or narrower, by the predictions of all parameters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cholesky;
use super::prediction::ImagePrediction;
use super::recovery::RecoveryCurve;

/// Fewer light-cones than so many for each term would be taken too much at their word.
const LIGHT_CONES_PER_TERM: usize = 10;
/// Precision of the normal prior around 0 of every coefficient but the constant one, a standard deviation of 0.3. A
/// light-cone gives at most 1/2 of it.
const PRIOR: f64 = 10.0;
/// A squared residual counts for this many fitted variances at most, so that single outliers widen no region.
const LARGEST_SQUARE: f64 = 9.0;
/// Some ten rounds settle the coefficients of hundreds of light-cones.
const MOST_ROUNDS: usize = 200;
/// Steps of a coefficient that no longer matter.
const SETTLED: f64 = 1e-9;

/// A factor on the uncertainty of one parameter by the predictions of all: `exp(q / 2)` with `q`, the logarithm of the
/// relative variance, a polynomial of second degree in all predictions, each scaled from its range to [-1, 1].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpreadFactor {
    /// Of 1, of every prediction and of every product of two, as [`terms`] lists them; empty where the factor is 1.
    coefficients: Vec<f64>,
}

/// One residual.
struct Sample {
    terms: Vec<f64>,
    /// Its square over the variance of the curve.
    square: f64,
    /// Images of one light-cone are not independent: together they count as one.
    weight: f64,
}

impl SpreadFactor {
    /// The factor of parameter number `index` whose curve is `curve`, from predictions whose truth is known, with the
    /// `ranges` of all parameters in the order of the predictions: the most probable coefficients given the squared
    /// residuals. 1 everywhere when there are fewer than ten light-cones for each coefficient.
    #[must_use]
    pub fn fit(
        curve: &RecoveryCurve,
        predictions: &[ImagePrediction],
        index: usize,
        ranges: &[[f64; 2]],
    ) -> Self {
        let mut images: BTreeMap<usize, usize> = BTreeMap::new();
        for prediction in predictions {
            *images.entry(prediction.index.light_cone).or_default() += 1;
        }
        if images.len() < LIGHT_CONES_PER_TERM * count_terms(ranges.len()) {
            return Self::default();
        }
        let samples = predictions.iter().map(|prediction| {
            let values: Vec<f64> = prediction.parameters.iter().map(|p| p.prediction).collect();
            let pair = prediction.parameters[index];
            let recovery = curve.at(pair.prediction)?;
            let residual = pair.prediction - recovery.bias - pair.truth;
            let sample = Sample {
                terms: terms(&values, ranges),
                square: (residual / recovery.uncertainty).powi(2),
                weight: 1.0 / images[&prediction.index.light_cone] as f64,
            };
            // A curve without uncertainty leaves nothing to divide by.
            let finite = sample.square.is_finite() && sample.terms.iter().all(|t| t.is_finite());
            finite.then_some(sample)
        });
        let samples: Option<Vec<Sample>> = samples.collect();
        let coefficients = samples.and_then(|samples| most_probable(&samples));
        Self {
            coefficients: coefficients.unwrap_or_default(),
        }
    }

    /// The factor at some [`terms`].
    #[must_use]
    pub fn at(&self, terms: &[f64]) -> f64 {
        (0.5 * dot(&self.coefficients, terms)).exp()
    }

    /// Whether a factor read from a file fits the number of parameters.
    #[must_use]
    pub fn is_consistent(&self, parameters: usize) -> bool {
        [0, count_terms(parameters)].contains(&self.coefficients.len())
            && self.coefficients.iter().all(|c| c.is_finite())
    }
}

/// Number of [`terms`] of so many parameters.
#[must_use]
pub fn count_terms(parameters: usize) -> usize {
    (parameters + 1) * (parameters + 2) / 2
}

/// 1, every prediction scaled from its range to [-1, 1], beyond it as at its end, and every product of two of them.
#[must_use]
pub fn terms(predictions: &[f64], ranges: &[[f64; 2]]) -> Vec<f64> {
    let scaled = predictions.iter().zip(ranges).map(|(value, [min, max])| {
        let share = (value - min) / (max - min);
        2.0 * share.clamp(0.0, 1.0) - 1.0
    });
    let factors: Vec<f64> = std::iter::once(1.0).chain(scaled).collect();
    let pairs = factors.iter().enumerate();
    pairs
        .flat_map(|(first, a)| factors[first..].iter().map(move |b| a * b))
        .collect()
}

/// Fisher scoring of a Gaussian whose logarithm of the variance is linear in the terms; none when it does not settle.
fn most_probable(samples: &[Sample]) -> Option<Vec<f64>> {
    let count = samples[0].terms.len();
    // The information that the samples hold about the coefficients does not depend on these.
    let mut information = vec![0.0; count * count];
    for Sample { terms, weight, .. } in samples {
        for (row, a) in information.chunks_exact_mut(count).zip(terms) {
            for (entry, b) in row.iter_mut().zip(terms) {
                *entry += 0.5 * weight * a * b;
            }
        }
    }
    for term in 1..count {
        information[term * (count + 1)] += PRIOR;
    }
    let factor = cholesky::factor(&information, count);
    let mut coefficients = vec![0.0; count];
    let mut probability = log_probability(samples, &coefficients);
    for _ in 0..MOST_ROUNDS {
        let mut step = slope(samples, &coefficients);
        cholesky::solve(&factor, &mut step);
        if !step.iter().all(|step| step.is_finite()) {
            return None;
        }
        // A residual just below the cap holds more information than expected: whole steps may go too far.
        loop {
            let moved = coefficients.iter().zip(&step).map(|(c, s)| c + s);
            let moved: Vec<f64> = moved.collect();
            if step.iter().all(|step| step.abs() < SETTLED) {
                return Some(moved);
            }
            let found = log_probability(samples, &moved);
            if found > probability {
                (coefficients, probability) = (moved, found);
                break;
            }
            step.iter_mut().for_each(|step| *step *= 0.5);
        }
    }
    None
}

/// Logarithm of the posterior probability of the coefficients, up to a constant.
fn log_probability(samples: &[Sample], coefficients: &[f64]) -> f64 {
    let likelihood = samples.iter().map(|sample| {
        let log_variance = dot(coefficients, &sample.terms);
        let relative = sample.square * (-log_variance).exp();
        // Of a larger one the slope stays as it is at the cap.
        let square = if relative > LARGEST_SQUARE {
            LARGEST_SQUARE * (1.0 + (relative / LARGEST_SQUARE).ln())
        } else {
            relative
        };
        -0.5 * sample.weight * (log_variance + square)
    });
    let prior: f64 = coefficients[1..].iter().map(|c| c * c).sum();
    likelihood.sum::<f64>() - 0.5 * PRIOR * prior
}

/// The derivative of [`log_probability`] by each coefficient.
fn slope(samples: &[Sample], coefficients: &[f64]) -> Vec<f64> {
    let mut slope: Vec<f64> = coefficients.iter().map(|c| -PRIOR * c).collect();
    slope[0] = 0.0;
    for sample in samples {
        let relative = sample.square * (-dot(coefficients, &sample.terms)).exp();
        let excess = 0.5 * sample.weight * (relative.min(LARGEST_SQUARE) - 1.0);
        for (slope, term) in slope.iter_mut().zip(&sample.terms) {
            *slope += excess * term;
        }
    }
    slope
}

/// Of the empty polynomial 0.
fn dot(coefficients: &[f64], terms: &[f64]) -> f64 {
    coefficients.iter().zip(terms).map(|(c, t)| c * t).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::batches::ImageIndex;
    use crate::evaluation::metrics::Pair;
    use crate::evaluation::prediction::pairs_of;
    use dawn21_kernels::rng::{Stream, generator, unit_interval};
    use rand::Rng;

    const RANGES: [[f64; 2]; 2] = [[4.0, 6.0], [10.0, 250.0]];

    /// The second parameter is known to `spread` of the first one's place in its range.
    fn predictions(
        light_cones: usize,
        images: usize,
        spread: impl Fn(f64) -> f64,
    ) -> Vec<ImagePrediction> {
        let mut generator = generator(7, Stream::Audit, &[]);
        let mut uniform = || unit_interval(generator.next_u64());
        let mut predictions = Vec::new();
        for light_cone in 0..light_cones {
            let (first, second) = (uniform(), uniform());
            for image in 0..images {
                // A sum of twelve uniform numbers is nearly a Gaussian of variance 1.
                let noise = (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
                let prediction = 10.0 + 240.0 * second;
                predictions.push(ImagePrediction {
                    index: ImageIndex { light_cone, image },
                    parameters: vec![
                        Pair {
                            truth: 4.0 + 2.0 * first,
                            prediction: 4.0 + 2.0 * first,
                        },
                        Pair {
                            truth: prediction - spread(first) * noise,
                            prediction,
                        },
                    ],
                });
            }
        }
        predictions
    }

    fn fit(known: &[ImagePrediction]) -> (RecoveryCurve, SpreadFactor) {
        let curve = RecoveryCurve::fit(&pairs_of(known, 1));
        let factor = SpreadFactor::fit(&curve, known, 1, &RANGES);
        (curve, factor)
    }

    fn at(factor: &SpreadFactor, asked: [f64; 2]) -> f64 {
        factor.at(&terms(&asked, &RANGES))
    }

    #[test]
    fn the_factor_finds_how_the_spread_follows_another_parameter() {
        let spread = |first: f64| 3.0 * (2.0 * first * first).exp();
        let (curve, factor) = fit(&predictions(3000, 2, spread));
        // The mean over the bins of the second parameter.
        let mean = |factor: &SpreadFactor, first: f64| {
            let uncertainties = curve.bins.iter().map(|bin| {
                let asked = [4.0 + 2.0 * first, bin.prediction];
                bin.uncertainty * at(factor, asked)
            });
            uncertainties.sum::<f64>() / curve.bins.len() as f64
        };
        for first in [0.0, 0.25, 0.5, 0.75, 1.0] {
            let ratio = mean(&factor, first) / spread(first);
            assert!((ratio - 1.0).abs() < 0.08, "{first}: {ratio}");
        }
        // The curve alone knows one spread for all.
        assert!(mean(&SpreadFactor::default(), 0.0) > 1.3 * spread(0.0));
        assert!(factor.is_consistent(2) && !factor.is_consistent(3));
    }

    #[test]
    fn few_light_cones_are_not_taken_at_their_word() {
        // Nothing depends on the others.
        let ranges = [RANGES[0], RANGES[1], [0.0, 1.0], [0.0, 1.0]];
        let count = LIGHT_CONES_PER_TERM * count_terms(4);
        let mut known = predictions(count, 1, |_| 5.0);
        let mut generator = generator(8, Stream::Audit, &[]);
        for prediction in &mut known {
            for _ in 0..2 {
                let truth = unit_interval(generator.next_u64());
                let prediction_is_exact = Pair {
                    truth,
                    prediction: truth,
                };
                prediction.parameters.push(prediction_is_exact);
            }
        }
        let curve = RecoveryCurve::fit(&pairs_of(&known, 1));
        let factor = SpreadFactor::fit(&curve, &known, 1, &ranges);
        assert_ne!(factor, SpreadFactor::default());
        let logarithms = known.iter().map(|prediction| {
            let values: Vec<f64> = prediction.parameters.iter().map(|p| p.prediction).collect();
            factor.at(&terms(&values, &ranges)).ln()
        });
        let squares: f64 = logarithms.map(|logarithm| logarithm * logarithm).sum();
        let typical = (squares / count as f64).sqrt();
        assert!(typical < 0.15, "{typical}");
        assert_eq!(
            SpreadFactor::fit(&curve, &known[1..], 1, &ranges),
            SpreadFactor::default()
        );
    }

    #[test]
    fn heavy_tails_settle_too() {
        for seed in 0..20 {
            let mut generator = generator(seed, Stream::Audit, &[]);
            let mut uniform = || unit_interval(generator.next_u64());
            let samples: Vec<Sample> = (0..60)
                .map(|_| Sample {
                    terms: terms(&[4.0 + 2.0 * uniform(), 10.0 + 240.0 * uniform()], &RANGES),
                    // Of a Cauchy distribution, whose variance is infinite.
                    square: (std::f64::consts::PI * (uniform() - 0.5)).tan().powi(2),
                    weight: 1.0,
                })
                .collect();
            let coefficients = most_probable(&samples).expect("settled");
            let slope = slope(&samples, &coefficients);
            assert!(slope.iter().all(|s| s.abs() < 1e-4), "{seed}: {slope:?}");
            // And the slope is the derivative of the probability.
            for term in 0..6 {
                let probability = |step: f64| {
                    let mut moved = coefficients.clone();
                    moved[term] += 0.1 + step;
                    log_probability(&samples, &moved)
                };
                let difference = (probability(1e-6) - probability(-1e-6)) / 2e-6;
                let mut moved = coefficients.clone();
                moved[term] += 0.1;
                let expected = super::slope(&samples, &moved)[term];
                assert!((difference - expected).abs() < 1e-4 * expected.abs());
            }
        }
    }

    #[test]
    fn images_of_one_light_cone_count_once() {
        let one = predictions(60, 1, |first| 3.0 + 3.0 * first);
        // Every image ten times: no more is known than before.
        let ten: Vec<ImagePrediction> = one
            .iter()
            .flat_map(|prediction| vec![prediction.clone(); 10])
            .collect();
        let (curve, of_one) = fit(&one);
        let of_ten = SpreadFactor::fit(&curve, &ten, 1, &RANGES);
        let [one, ten] = [of_one, of_ten].map(|factor| at(&factor, [6.0, 130.0]));
        assert!((one - ten).abs() < 1e-6 && one > 1.05, "{one}, {ten}");
    }

    #[test]
    fn one_outlier_widens_no_region() {
        let mut known = predictions(400, 1, |_| 5.0);
        let curve = RecoveryCurve::fit(&pairs_of(&known, 1));
        known[0].parameters[1].truth += 1e4;
        let factor = SpreadFactor::fit(&curve, &known, 1, &RANGES);
        let place = [0, 1].map(|index| known[0].parameters[index].prediction);
        assert!(at(&factor, place) < 1.3);
    }

    #[test]
    fn without_uncertainty_or_with_a_number_missing_the_curve_stays_alone() {
        let (_, factor) = fit(&predictions(60, 1, |_| 0.0));
        assert_eq!(factor, SpreadFactor::default());
        assert!((at(&factor, [5.0, 100.0]) - 1.0).abs() < f64::EPSILON);
        assert!(factor.is_consistent(2));
        let mut known = predictions(60, 1, |_| 5.0);
        known[7].parameters[0].prediction = f64::NAN;
        assert_eq!(fit(&known).1, SpreadFactor::default());
    }

    #[test]
    fn beyond_the_range_the_factor_stays_as_it_is_at_its_end() {
        let (_, factor) = fit(&predictions(400, 1, |first| 1.0 + 9.0 * first));
        let [middle, end, beyond] = [5.0, 6.0, 9.0].map(|first| at(&factor, [first, 130.0]));
        assert!(end > 1.2 * middle && (end - beyond).abs() < f64::EPSILON);
    }
}
