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

/// Fewer light-cones say nothing about so many terms.
const FEWEST_LIGHT_CONES: usize = 50;
/// Precision of the prior around 1, in light-cones: it keeps few of them from being taken at their word.
const PRIOR: f64 = 5.0;
/// A squared residual counts for this many variances at most, so that single outliers widen no region.
const LARGEST_SQUARE: f64 = 9.0;
/// The coefficients settle after some ten rounds.
const MOST_ROUNDS: usize = 100;
/// Steps of the logarithm of the variance that no longer matter.
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
    /// The factor of parameter number `index` whose curve is `curve`, from predictions whose truth is known: the mode
    /// of the posterior of the coefficients given the squared residuals, with a normal prior on all but the constant
    /// one. 1 everywhere when there are fewer than 50 light-cones.
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
        if images.len() < FEWEST_LIGHT_CONES {
            return Self::default();
        }
        let samples = predictions.iter().map(|prediction| {
            let values: Vec<f64> = prediction.parameters.iter().map(|p| p.prediction).collect();
            let pair = prediction.parameters[index];
            let recovery = curve.at(pair.prediction)?;
            let residual = pair.prediction - recovery.bias - pair.truth;
            Some(Sample {
                terms: terms(&values, ranges),
                square: (residual / recovery.uncertainty).powi(2),
                weight: 1.0 / images[&prediction.index.light_cone] as f64,
            })
        });
        let samples: Option<Vec<Sample>> = samples.collect();
        // A curve without uncertainty leaves nothing to divide by.
        let usable = |sample: &Sample| sample.square.is_finite();
        match samples {
            Some(samples) if samples.iter().all(usable) => Self {
                coefficients: most_probable(&samples),
            },
            _ => Self::default(),
        }
    }

    /// The factor for predictions of all parameters, in their units; beyond a range it is that at its end.
    #[must_use]
    pub fn at(&self, predictions: &[f64], ranges: &[[f64; 2]]) -> f64 {
        let terms = terms(predictions, ranges);
        (0.5 * dot(&self.coefficients, &terms)).exp()
    }

    /// Whether a factor read from a file fits the number of parameters.
    #[must_use]
    pub fn is_consistent(&self, parameters: usize) -> bool {
        let terms = (parameters + 1) * (parameters + 2) / 2;
        [0, terms].contains(&self.coefficients.len())
            && self.coefficients.iter().all(|c| c.is_finite())
    }
}

/// 1, every scaled prediction, and every product of two of them.
fn terms(predictions: &[f64], ranges: &[[f64; 2]]) -> Vec<f64> {
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

/// Fisher scoring of a Gaussian whose log-variance is linear in the terms.
fn most_probable(samples: &[Sample]) -> Vec<f64> {
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
    for _ in 0..MOST_ROUNDS {
        let mut step: Vec<f64> = coefficients.iter().map(|c| -PRIOR * c).collect();
        step[0] = 0.0;
        for sample in samples {
            let relative = sample.square * (-dot(&coefficients, &sample.terms)).exp();
            let excess = 0.5 * sample.weight * (relative.min(LARGEST_SQUARE) - 1.0);
            for (step, term) in step.iter_mut().zip(&sample.terms) {
                *step += excess * term;
            }
        }
        cholesky::solve(&factor, &mut step);
        for (coefficient, step) in coefficients.iter_mut().zip(&step) {
            *coefficient += step;
        }
        if step.iter().all(|step| step.abs() < SETTLED) {
            break;
        }
    }
    coefficients
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

    /// At this place of the first parameter in its range; the mean over the bins of the second one.
    fn uncertainty(curve: &RecoveryCurve, factor: &SpreadFactor, first: f64) -> f64 {
        let bins = curve.bins.iter();
        let uncertainties = bins
            .map(|bin| bin.uncertainty * factor.at(&[4.0 + 2.0 * first, bin.prediction], &RANGES));
        uncertainties.sum::<f64>() / curve.bins.len() as f64
    }

    #[test]
    fn the_factor_finds_how_the_spread_follows_another_parameter() {
        let spread = |first: f64| 3.0 * (2.0 * first * first).exp();
        let known = predictions(3000, 2, spread);
        let curve = RecoveryCurve::fit(&pairs_of(&known, 1));
        let factor = SpreadFactor::fit(&curve, &known, 1, &RANGES);
        for first in [0.0, 0.25, 0.5, 0.75, 1.0] {
            let ratio = uncertainty(&curve, &factor, first) / spread(first);
            assert!((ratio - 1.0).abs() < 0.08, "{first}: {ratio}");
            // The curve alone knows one spread for all.
            let alone = uncertainty(&curve, &SpreadFactor::default(), first);
            assert!(first > 0.0 || alone > 1.3 * spread(first), "{alone}");
        }
        assert!(factor.is_consistent(2) && !factor.is_consistent(3));
    }

    #[test]
    fn where_nothing_depends_on_the_others_the_factor_is_one() {
        let known = predictions(500, 1, |_| 5.0);
        let curve = RecoveryCurve::fit(&pairs_of(&known, 1));
        let factor = SpreadFactor::fit(&curve, &known, 1, &RANGES);
        for asked in [[4.0, 10.0], [5.0, 130.0], [6.0, 250.0], [6.0, 10.0]] {
            let found = factor.at(&asked, &RANGES);
            assert!((0.8..1.25).contains(&found), "{asked:?}: {found}");
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
        let curve = RecoveryCurve::fit(&pairs_of(&one, 1));
        let fit = |known: &[ImagePrediction]| {
            SpreadFactor::fit(&curve, known, 1, &RANGES).at(&[6.0, 130.0], &RANGES)
        };
        assert!((fit(&one) - fit(&ten)).abs() < 1e-9);
    }

    #[test]
    fn one_outlier_widens_no_region() {
        let mut known = predictions(400, 1, |_| 5.0);
        let curve = RecoveryCurve::fit(&pairs_of(&known, 1));
        known[0].parameters[1].truth += 1e4;
        let factor = SpreadFactor::fit(&curve, &known, 1, &RANGES);
        let place: Vec<f64> = known[0].parameters.iter().map(|p| p.prediction).collect();
        assert!(factor.at(&place, &RANGES) < 1.3);
    }

    #[test]
    fn few_light_cones_or_no_uncertainty_leave_the_curve_alone() {
        let few = predictions(49, 10, |first| 1.0 + 9.0 * first);
        let curve = RecoveryCurve::fit(&pairs_of(&few, 1));
        assert_eq!(
            SpreadFactor::fit(&curve, &few, 1, &RANGES),
            SpreadFactor::default()
        );
        let exact = predictions(60, 1, |_| 0.0);
        let curve = RecoveryCurve::fit(&pairs_of(&exact, 1));
        let factor = SpreadFactor::fit(&curve, &exact, 1, &RANGES);
        assert_eq!(factor, SpreadFactor::default());
        assert!((factor.at(&[5.0, 100.0], &RANGES) - 1.0).abs() < f64::EPSILON);
        assert!(factor.is_consistent(2));
    }

    #[test]
    fn beyond_the_range_the_factor_stays_as_it_is_at_its_end() {
        let known = predictions(400, 1, |first| 1.0 + 9.0 * first);
        let curve = RecoveryCurve::fit(&pairs_of(&known, 1));
        let factor = SpreadFactor::fit(&curve, &known, 1, &RANGES);
        let at = |first: f64| factor.at(&[first, 130.0], &RANGES);
        assert!(at(6.0) > 1.2 * at(5.0));
        assert!((at(6.0) - at(9.0)).abs() < f64::EPSILON);
    }
}
