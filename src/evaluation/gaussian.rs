//! A Gaussian fitted to residuals.

/// The fit sees what lies within this many standard deviations.
const TRUNCATION: f64 = 3.0;
/// Variance of a standard normal distribution truncated there, `1 - 2 k phi(k) / (2 Phi(k) - 1)`.
const TRUNCATED_VARIANCE: f64 = 0.973_336_924_662_5;
/// Standard deviation of a Gaussian over its median absolute deviation.
const SIGMA_OVER_MAD: f64 = 1.482_602_218_505_6;
/// Fewer numbers have no tails to speak of: their standard deviation is taken as it is.
const FEWEST_TO_TRUNCATE: usize = 10;
/// The set of numbers within the truncation settles after a few rounds.
const MOST_ROUNDS: usize = 100;

/// A normal distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gaussian {
    /// Its mean.
    pub mean: f64,
    /// Its standard deviation.
    pub sigma: f64,
}

/// The maximum-likelihood Gaussian of the numbers within 3 standard deviations of its mean: outliers widen
/// it no further. None of fewer than two numbers.
///
/// The truncation is accounted for: of a large Gaussian sample the fit finds the standard deviation itself,
/// with a relative error of about `1 / sqrt(2 n)`.
#[must_use]
pub fn fit(sample: &[f64]) -> Option<Gaussian> {
    if sample.len() < 2 {
        return None;
    }
    let all = moments(sample.iter().copied(), 1.0);
    if sample.len() < FEWEST_TO_TRUNCATE {
        return Some(all);
    }
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    let centre = median(&sorted);
    let mut deviations: Vec<f64> = sample.iter().map(|value| (value - centre).abs()).collect();
    deviations.sort_by(f64::total_cmp);
    let mut fit = Gaussian {
        mean: centre,
        sigma: SIGMA_OVER_MAD * median(&deviations),
    };
    let mut within = 0..0;
    for _ in 0..MOST_ROUNDS {
        let reach = TRUNCATION * fit.sigma;
        let low = sorted.partition_point(|value| *value < fit.mean - reach);
        let high = sorted.partition_point(|value| *value <= fit.mean + reach);
        // Most numbers are equal: there is no core to fit.
        if high - low < 2 || fit.sigma <= 0.0 {
            return Some(all);
        }
        if within == (low..high) {
            break;
        }
        within = low..high;
        fit = moments(sorted[within.clone()].iter().copied(), TRUNCATED_VARIANCE);
    }
    Some(fit)
}

/// Mean and standard deviation, the variance being `share` of the whole.
fn moments(values: impl ExactSizeIterator<Item = f64> + Clone, share: f64) -> Gaussian {
    let count = values.len() as f64;
    let mean = values.clone().sum::<f64>() / count;
    let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
    Gaussian {
        mean,
        sigma: (squares / (count - 1.0) / share).sqrt(),
    }
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        0.5 * (sorted[middle - 1] + sorted[middle])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn21_kernels::rng::{Stream, generator, unit_interval};
    use rand::Rng;

    /// Box-Muller.
    fn sample(count: usize, mean: f64, sigma: f64) -> Vec<f64> {
        let mut generator = generator(7, Stream::Audit, &[count as u64]);
        (0..count)
            .map(|_| {
                let radius = (-2.0 * (1.0 - unit_interval(generator.next_u64())).ln()).sqrt();
                let angle = std::f64::consts::TAU * unit_interval(generator.next_u64());
                mean + sigma * radius * angle.cos()
            })
            .collect()
    }

    #[test]
    fn fit_finds_a_known_gaussian_within_its_standard_error() {
        for count in [100, 1000, 100_000] {
            let fit = fit(&sample(count, -2.0, 0.3)).expect("a sample");
            // Four standard errors of each.
            let error = 0.3 / (count as f64).sqrt();
            assert!((fit.mean + 2.0).abs() < 4.0 * error, "{count}: {fit:?}");
            let error = 0.3 / (2.0 * count as f64).sqrt();
            assert!((fit.sigma - 0.3).abs() < 4.0 * error, "{count}: {fit:?}");
        }
    }

    #[test]
    fn outliers_widen_the_fit_little() {
        let mut values = sample(2000, 1.0, 0.5);
        values.extend((0..100).map(|i| 20.0 + f64::from(i)));
        let plain = moments(values.iter().copied(), 1.0);
        let fit = fit(&values).expect("a sample");
        assert!(plain.sigma > 10.0, "{plain:?}");
        assert!((fit.sigma - 0.5).abs() < 0.04, "{fit:?}");
        assert!((fit.mean - 1.0).abs() < 0.05, "{fit:?}");
    }

    #[test]
    fn few_and_equal_numbers_have_plain_moments() {
        assert_eq!(fit(&[]), None);
        assert_eq!(fit(&[1.0]), None);
        let pair = fit(&[1.0, 3.0]).expect("two numbers");
        assert!((pair.mean - 2.0).abs() < 1e-12 && (pair.sigma - 2.0_f64.sqrt()).abs() < 1e-12);
        let mut equal = vec![5.0; 30];
        assert_eq!(fit(&equal).expect("numbers").sigma.to_bits(), 0);
        equal.push(36.0);
        let fit = fit(&equal).expect("numbers");
        assert!((fit.mean - 6.0).abs() < 1e-12 && fit.sigma > 5.0, "{fit:?}");
    }
}
