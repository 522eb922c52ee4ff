//! Scores of several trainings of the same kind, which differ in their seeds.

use super::results::{Coverage, Metrics};
use super::scores::ParameterScores;

/// Which predictions of a light-cone are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Images {
    /// Its first image, as in the paper.
    First,
    /// Every image on its own.
    Each,
    /// The mean of the predictions of all its images.
    Mean,
    /// That mean less its bias among the light-cones of the calibration.
    CalibratedMean,
    /// The mean over its images of constant y and those of constant x.
    MeanOfBothDirections,
    /// That mean less its bias among the light-cones of the calibration.
    CalibratedMeanOfBothDirections,
}

/// All of them.
pub const IMAGES: [Images; 6] = [
    Images::First,
    Images::Each,
    Images::Mean,
    Images::CalibratedMean,
    Images::MeanOfBothDirections,
    Images::CalibratedMeanOfBothDirections,
];

impl Images {
    /// For tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first image",
            Self::Each => "each image",
            Self::Mean => "mean of images",
            Self::CalibratedMean => "calibrated mean",
            Self::MeanOfBothDirections => "mean of both directions",
            Self::CalibratedMeanOfBothDirections => "calibrated mean of both directions",
        }
    }

    /// How often the truth lies within their uncertainties; none where these are not known.
    #[must_use]
    pub fn coverage(self, metrics: &Metrics) -> Option<&[Coverage]> {
        let coverage = match self {
            Self::First => &metrics.coverage,
            Self::CalibratedMean => &metrics.coverage_of_mean,
            Self::CalibratedMeanOfBothDirections => &metrics.coverage_of_mean_of_both_directions,
            Self::Each | Self::Mean | Self::MeanOfBothDirections => return None,
        };
        coverage.as_deref()
    }

    /// Whether only whole cubes have them.
    #[must_use]
    pub fn need_whole_cubes(self) -> bool {
        matches!(
            self,
            Self::MeanOfBothDirections | Self::CalibratedMeanOfBothDirections
        )
    }

    /// Their scores in an evaluation; it may have predicted first images alone, or had no calibration.
    #[must_use]
    pub fn scores(self, metrics: &Metrics) -> Option<&[ParameterScores]> {
        let scores = match self {
            Self::First => return Some(&metrics.parameters),
            Self::Each => &metrics.each_image,
            Self::Mean => &metrics.mean_of_images,
            Self::CalibratedMean => &metrics.calibrated_mean,
            Self::MeanOfBothDirections => &metrics.mean_of_both_directions,
            Self::CalibratedMeanOfBothDirections => &metrics.calibrated_mean_of_both_directions,
        };
        scores.as_ref().map(|scores| &scores.parameters[..])
    }
}

/// A score over several seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OverSeeds {
    /// Mean.
    pub mean: f64,
    /// Lowest.
    pub lowest: f64,
    /// Highest.
    pub highest: f64,
    /// Mean of the central 68 % bootstrap intervals over light-cones, when every seed has one.
    pub interval_68: Option<[f64; 2]>,
}

impl OverSeeds {
    /// Of a score, with its interval, of each seed; none when there is no seed, or one without a score.
    fn new(scores: &[(Option<f64>, Option<[f64; 2]>)]) -> Option<Self> {
        if scores.is_empty() {
            return None;
        }
        let count = scores.len() as f64;
        let values: Vec<f64> = scores.iter().map(|s| s.0).collect::<Option<_>>()?;
        let intervals: Option<Vec<[f64; 2]>> = scores.iter().map(|s| s.1).collect();
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / count;
        Some(Self {
            mean: mean(&mut values.iter().copied()),
            lowest: values.iter().copied().fold(f64::INFINITY, f64::min),
            highest: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            interval_68: intervals.map(|intervals| {
                [0, 1].map(|bound| mean(&mut intervals.iter().map(|interval| interval[bound])))
            }),
        })
    }
}

/// R2 of each parameter over the scores of several seeds.
#[must_use]
pub fn r2(seeds: &[&[ParameterScores]]) -> Vec<Option<OverSeeds>> {
    over_seeds(seeds, |s| (s.r2, s.r2_interval))
}

/// The same with the variance of the predictions, as the authors' script has it.
#[must_use]
pub fn r2_over_predicted(seeds: &[&[ParameterScores]]) -> Vec<Option<OverSeeds>> {
    over_seeds(seeds, |s| {
        (s.r2_over_predicted, s.r2_over_predicted_interval)
    })
}

fn over_seeds(
    seeds: &[&[ParameterScores]],
    score: impl Fn(&ParameterScores) -> (Option<f64>, Option<[f64; 2]>),
) -> Vec<Option<OverSeeds>> {
    let parameters = seeds.first().into_iter().flat_map(|scores| scores.iter());
    let over_seeds = parameters.map(|ParameterScores { name, .. }| {
        let of_seed = |scores: &&[ParameterScores]| {
            let found = scores.iter().find(|scores| scores.name == *name);
            found.map_or((None, None), &score)
        };
        OverSeeds::new(&seeds.iter().map(of_seed).collect::<Vec<_>>())
    });
    over_seeds.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_over_seeds_has_mean_range_and_mean_interval() {
        let found = OverSeeds::new(&[
            (Some(0.5), Some([0.4, 0.6])),
            (Some(0.75), Some([0.5, 0.8])),
            (Some(0.25), Some([0.0, 0.4])),
        ])
        .expect("scores");
        approx::assert_relative_eq!(found.mean, 0.5);
        approx::assert_relative_eq!(found.lowest, 0.25);
        approx::assert_relative_eq!(found.highest, 0.75);
        let [low, high] = found.interval_68.expect("interval");
        approx::assert_relative_eq!(low, 0.3);
        approx::assert_relative_eq!(high, 0.6);
    }

    #[test]
    fn a_seed_without_a_score_is_not_passed_over() {
        assert_eq!(OverSeeds::new(&[(Some(0.5), None), (None, None)]), None);
        assert_eq!(OverSeeds::new(&[]), None);
        let one = OverSeeds::new(&[(Some(0.5), None)]).expect("a score");
        assert_eq!(one.interval_68, None);
    }
}
