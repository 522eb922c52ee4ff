//! Scores of predicted against true values of one parameter.

/// Truth and prediction of one parameter for one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// True value.
    pub truth: f64,
    /// Predicted value.
    pub prediction: f64,
}

/// Coefficient of determination, `1 - sum (t - p)^2 / sum (t - mean t)^2` (Gillet et al. 2019,
/// equation 3): 1 is perfect, 0 no better than the mean. None when all truths are equal.
#[must_use]
pub fn r2(pairs: &[Pair]) -> Option<f64> {
    one_minus_ratio(pairs, |pair| pair.truth)
}

/// As [`r2`], but with the variance of the *predictions* in the denominator: what the authors' script
/// computes, reported so that numbers can be compared. None when all predictions are equal.
#[must_use]
pub fn r2_over_predicted(pairs: &[Pair]) -> Option<f64> {
    one_minus_ratio(pairs, |pair| pair.prediction)
}

fn one_minus_ratio(pairs: &[Pair], reference: impl Fn(&Pair) -> f64) -> Option<f64> {
    let first = reference(pairs.first()?);
    if pairs
        .iter()
        .all(|pair| reference(pair).to_bits() == first.to_bits())
    {
        // The rounded mean of equal numbers differs from them, so that their variance would not be 0.
        return None;
    }
    let mean = pairs.iter().map(&reference).sum::<f64>() / pairs.len() as f64;
    let residual: f64 = pairs.iter().map(|p| (p.truth - p.prediction).powi(2)).sum();
    let total: f64 = pairs.iter().map(|p| (reference(p) - mean).powi(2)).sum();
    (total > 0.0).then(|| 1.0 - residual / total)
}

/// Root of the mean squared error, in the parameter's unit.
#[must_use]
pub fn rmse(pairs: &[Pair]) -> f64 {
    let sum: f64 = pairs.iter().map(|p| (p.prediction - p.truth).powi(2)).sum();
    (sum / pairs.len() as f64).sqrt()
}

/// Mean of prediction minus truth, in the parameter's unit.
#[must_use]
pub fn bias(pairs: &[Pair]) -> f64 {
    pairs.iter().map(|p| p.prediction - p.truth).sum::<f64>() / pairs.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    fn pairs(values: &[(f64, f64)]) -> Vec<Pair> {
        values
            .iter()
            .map(|&(truth, prediction)| Pair { truth, prediction })
            .collect()
    }

    #[test]
    fn equal_truths_have_no_r2_however_their_mean_is_rounded() {
        let pairs = pairs(&[(0.1, 0.3); 10]);
        assert_eq!(r2(&pairs), None);
        assert_eq!(r2_over_predicted(&pairs), None);
    }

    #[test]
    fn scores_of_a_known_sample() {
        let pairs = pairs(&[(1.0, 2.0), (2.0, 2.0), (3.0, 5.0)]);
        // Residuals 1, 0, 4; truths vary by 2, predictions (mean 3) by 1 + 1 + 4.
        assert_relative_eq!(r2(&pairs).expect("truths vary"), 1.0 - 5.0 / 2.0);
        assert_relative_eq!(r2_over_predicted(&pairs).expect("vary"), 1.0 - 5.0 / 6.0);
        assert_relative_eq!(rmse(&pairs), (5.0_f64 / 3.0).sqrt());
        assert_relative_eq!(bias(&pairs), 1.0);
    }

    #[test]
    fn r2_is_undefined_without_variance() {
        assert_eq!(r2(&pairs(&[(1.0, 2.0), (1.0, 3.0)])), None);
        assert_eq!(r2_over_predicted(&pairs(&[(1.0, 2.0), (3.0, 2.0)])), None);
        assert_eq!(r2(&[]), None);
    }
}
