//! How far an image lies from those that a model was trained on: a Mahalanobis distance.

use serde::{Deserialize, Serialize};

use super::cholesky;

/// Spread of a feature that never varied, as a share of the typical one.
const LEAST_SPREAD: f64 = 1e-3;
/// With so many validation images the limit is theirs alone.
const ENOUGH_IMAGES: usize = 100;
/// The limit lies this much above the farthest image seen: rounding differs between batches.
const MARGIN: f64 = 1.01;

/// Mean and covariance of the features of training images, and the largest distance that is usual.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSpace {
    /// Mean of every feature.
    mean: Vec<f64>,
    /// Standard deviation of every feature.
    spread: Vec<f64>,
    /// Lower triangle, row by row, of the Cholesky factor of the shrunk correlation matrix.
    factor: Vec<f64>,
    /// Images farther away than this are not like those seen.
    pub limit: f64,
    /// Number of training images.
    pub training_images: usize,
    /// Number of validation images behind the limit.
    pub validation_images: usize,
}

impl FeatureSpace {
    /// The space of training images, with the farthest of the validation images as the limit: another image
    /// of the same kind goes beyond it with a probability of 1 in (validation images + 1). With few validation
    /// images that would be often, and the training images count for the limit, too.
    ///
    /// The correlation matrix is shrunk towards the identity (Ledoit & Wolf 2004), so that there may be fewer
    /// images than features. None when there is no feature, or no image in one of the two sets.
    #[must_use]
    pub fn fit(training: &[Vec<f64>], validation: &[Vec<f64>]) -> Option<Self> {
        let features = training.first()?.len();
        if features == 0 || validation.is_empty() {
            return None;
        }
        let count = training.len() as f64;
        let mean: Vec<f64> = (0..features)
            .map(|f| training.iter().map(|row| row[f]).sum::<f64>() / count)
            .collect();
        let mut spread: Vec<f64> = (0..features)
            .map(|f| {
                let squares = training.iter().map(|row| (row[f] - mean[f]).powi(2));
                (squares.sum::<f64>() / count).sqrt()
            })
            .collect();
        let typical = (spread.iter().map(|s| s * s).sum::<f64>() / features as f64).sqrt();
        // Without any variance there is nothing to compare with.
        let least = if typical > 0.0 {
            LEAST_SPREAD * typical
        } else {
            1.0
        };
        spread.iter_mut().for_each(|s| *s = s.max(least));
        let mut space = Self {
            mean,
            spread,
            factor: Vec::new(),
            limit: f64::INFINITY,
            training_images: training.len(),
            validation_images: validation.len(),
        };
        let standardised: Vec<Vec<f64>> =
            training.iter().map(|row| space.standardise(row)).collect();
        space.factor = cholesky::factor(&shrunk_correlations(&standardised), features);
        let also = if validation.len() < ENOUGH_IMAGES {
            training
        } else {
            &[]
        };
        let known = validation.iter().chain(also);
        let farthest = known.map(|row| space.distance(row));
        space.limit = MARGIN * farthest.fold(0.0, f64::max);
        Some(space)
    }

    /// Number of features.
    #[must_use]
    pub fn features(&self) -> usize {
        self.mean.len()
    }

    /// Whether the lengths of a space read from a file fit together.
    #[must_use]
    pub fn is_consistent(&self, features: usize) -> bool {
        self.mean.len() == features
            && self.spread.len() == features
            && self.factor.len() == features * (features + 1) / 2
    }

    /// Distance from the mean in standard deviations, per root of the number of features: about 1 for images
    /// like those seen.
    #[must_use]
    pub fn distance(&self, features: &[f64]) -> f64 {
        let mut solved = self.standardise(features);
        cholesky::solve_forward(&self.factor, &mut solved);
        let squares: f64 = solved.iter().map(|v| v * v).sum();
        (squares / solved.len() as f64).sqrt()
    }

    fn standardise(&self, features: &[f64]) -> Vec<f64> {
        let moments = self.mean.iter().zip(&self.spread);
        let rows = features.iter().zip(moments);
        rows.map(|(value, (mean, spread))| (value - mean) / spread)
            .collect()
    }
}

/// The correlation matrix of standardised rows, shrunk towards the identity by the amount that minimises
/// the expected error (Ledoit & Wolf 2004, section 3). Features without variance are independent of others.
fn shrunk_correlations(rows: &[Vec<f64>]) -> Vec<f64> {
    let features = rows[0].len();
    let count = rows.len() as f64;
    let mut matrix = vec![0.0; features * features];
    for row in rows {
        for (a, value) in row.iter().enumerate() {
            for (b, other) in row.iter().enumerate() {
                matrix[a * features + b] += value * other / count;
            }
        }
    }
    for feature in 0..features {
        let variance = &mut matrix[feature * (features + 1)];
        if *variance <= 0.0 {
            // It never varied: its spread was given to it.
            *variance = 1.0;
        }
    }
    // |x x^T - S|^2 averaged over the rows: how uncertain the matrix is.
    let square = |matrix: &[f64]| matrix.iter().map(|v| v * v).sum::<f64>();
    let total: f64 = rows
        .iter()
        .map(|row| {
            let length: f64 = row.iter().map(|v| v * v).sum();
            let mut product = 0.0;
            for (a, value) in row.iter().enumerate() {
                for (b, other) in row.iter().enumerate() {
                    product += value * other * matrix[a * features + b];
                }
            }
            length * length - 2.0 * product
        })
        .sum();
    let uncertainty = (total / count + square(&matrix)) / count;
    let mut distance = 0.0;
    for a in 0..features {
        for b in 0..features {
            let identity = if a == b { 1.0 } else { 0.0 };
            distance += (matrix[a * features + b] - identity).powi(2);
        }
    }
    let share = if distance > 0.0 {
        (uncertainty / distance).clamp(0.0, 1.0)
    } else {
        1.0
    };
    for a in 0..features {
        for b in 0..features {
            let entry = &mut matrix[a * features + b];
            *entry *= 1.0 - share;
            if a == b {
                *entry += share;
            }
        }
    }
    matrix
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn21_kernels::rng::{Stream, generator, unit_interval};
    use rand::Rng;

    /// Rows whose second feature follows the first, whose third is independent, whose fourth is constant.
    fn rows(count: usize, seed: u64) -> Vec<Vec<f64>> {
        let mut generator = generator(seed, Stream::Audit, &[]);
        let mut uniform = || 2.0 * unit_interval(generator.next_u64()) - 1.0;
        (0..count)
            .map(|_| {
                let (a, b, c) = (uniform(), uniform(), uniform());
                vec![10.0 + a, 100.0 * (a + 0.3 * b), c, 3.0]
            })
            .collect()
    }

    #[test]
    fn distances_see_what_single_features_do_not() {
        let space = FeatureSpace::fit(&rows(500, 1), &rows(100, 2)).expect("images");
        assert!(space.is_consistent(4));
        for row in rows(100, 2) {
            assert!(space.distance(&row) <= space.limit);
        }
        // Each feature within its range, but the second one against the first.
        let odd = [10.7, -70.0, 0.0, 3.0];
        assert!(space.distance(&odd) > 2.0 * space.limit);
        // A constant that is another one.
        assert!(space.distance(&[10.0, 0.0, 0.0, 4.0]) > 2.0 * space.limit);
        assert!(space.distance(&[10.0, 0.0, 0.0, 3.0]) < 0.2);
    }

    #[test]
    fn few_validation_images_leave_the_limit_to_the_training_images_too() {
        // Validation images in the very middle of the training images.
        let (training, validation) = (rows(500, 1), vec![vec![10.0, 0.0, 0.0, 3.0]; 100]);
        let limit = |validation: &[Vec<f64>]| {
            let space = FeatureSpace::fit(&training, validation).expect("images");
            let distances = training.iter().map(|row| space.distance(row));
            space.limit / distances.fold(0.0, f64::max)
        };
        assert!(limit(&validation) < 0.1);
        assert!((limit(&validation[..99]) - MARGIN).abs() < 1e-12);
    }

    #[test]
    fn usual_images_are_about_one_away() {
        let space = FeatureSpace::fit(&rows(2000, 1), &rows(10, 2)).expect("images");
        let others = rows(2000, 3);
        let squares: f64 = others.iter().map(|row| space.distance(row).powi(2)).sum();
        // Three of the four features vary.
        let mean = squares / others.len() as f64;
        assert!((mean - 0.75).abs() < 0.05, "{mean}");
    }

    #[test]
    fn new_images_of_the_same_kind_rarely_go_beyond_the_limit() {
        let mut beyond = 0;
        for seed in 0..200 {
            let space = FeatureSpace::fit(&rows(60, 3 * seed), &rows(19, 3 * seed + 1));
            let space = space.expect("images");
            let image = &rows(1, 3 * seed + 2)[0];
            beyond += usize::from(space.distance(image) > space.limit);
        }
        // 1 in 20 is expected: 10 of 200, with a standard deviation of 3.1.
        assert!(beyond <= 22, "{beyond} of 200");
    }

    #[test]
    fn fewer_images_than_features_are_enough() {
        let wide = |seed| -> Vec<Vec<f64>> {
            let rows = rows(24, seed);
            rows.chunks(4).map(<[Vec<f64>]>::concat).collect()
        };
        let (wide, others) = (wide(1), wide(2));
        let space = FeatureSpace::fit(&wide, &others).expect("images");
        assert_eq!(space.features(), 16);
        // Six images span few of the directions: those without variance must not count as certain.
        assert!(space.limit > 0.3 && space.limit < 3.0, "{}", space.limit);
        let far: Vec<f64> = wide[0].iter().map(|v| v + 50.0).collect();
        assert!(space.distance(&far) > 3.0 * space.limit);
        assert_eq!(FeatureSpace::fit(&wide, &[]), None);
        assert_eq!(FeatureSpace::fit(&[], &wide), None);
    }
}
