//! Uncertainty of a score by resampling light-cones (Efron 1979).
//!
//! Light-cones are drawn with replacement, each with all its images: images of one light-cone share
//! their truth and are not independent.

use dawn21_kernels::rng::{Stream, generator};
use rand::RngExt;

use super::metrics::Pair;

/// Number of resamples: the ends of a 68 % interval are then known to about 3 % of its width.
pub const RESAMPLES: u64 = 1000;

/// Central 68 % interval of `score` over resampled light-cones; none when it is rarely defined.
///
/// `light_cones` holds the pairs of each light-cone. A function of the data and `seed` alone.
#[must_use]
pub fn interval_68(
    light_cones: &[Vec<Pair>],
    seed: u64,
    score: impl Fn(&[Pair]) -> Option<f64>,
) -> Option<[f64; 2]> {
    if light_cones.len() < 2 {
        return None;
    }
    let mut scores = Vec::new();
    let mut sample = Vec::new();
    for resample in 0..RESAMPLES {
        let mut generator = generator(seed, Stream::Bootstrap, &[resample]);
        sample.clear();
        for _ in light_cones {
            let drawn = generator.random_range(0..light_cones.len());
            sample.extend_from_slice(&light_cones[drawn]);
        }
        scores.extend(score(&sample));
    }
    // Few light-cones: a resample may repeat a single one, for which R2 does not exist.
    if (scores.len() as u64) < RESAMPLES / 2 {
        return None;
    }
    scores.sort_by(f64::total_cmp);
    let quantile = |q: f64| scores[((scores.len() - 1) as f64 * q).round() as usize];
    Some([quantile(0.16), quantile(0.84)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::metrics;

    #[test]
    fn interval_of_a_mean_matches_its_standard_error() {
        // Residuals 0..99: the mean has a standard error of sqrt((100^2 - 1) / 12 / 100) = 2.887.
        let light_cones: Vec<Vec<Pair>> = (0..100)
            .map(|i| {
                vec![Pair {
                    truth: 0.0,
                    prediction: f64::from(i),
                }]
            })
            .collect();
        let bias = |pairs: &[Pair]| Some(metrics::bias(pairs));
        let [low, high] = interval_68(&light_cones, 3, bias).expect("defined");
        assert!(
            (high - low) / 2.0 > 2.5 && (high - low) / 2.0 < 3.3,
            "{low} {high}"
        );
        assert!(low < 49.5 && 49.5 < high);
        assert_eq!(
            interval_68(&light_cones, 3, bias),
            Some([low, high]),
            "seeded"
        );
        assert_ne!(interval_68(&light_cones, 4, bias), Some([low, high]));
    }

    #[test]
    fn one_light_cone_has_no_interval() {
        let light_cone = vec![
            Pair {
                truth: 0.0,
                prediction: 1.0
            };
            9
        ];
        assert_eq!(
            interval_68(&[light_cone], 0, |p| Some(metrics::rmse(p))),
            None
        );
    }
}
