//! Photons between Lyman alpha and the Lyman limit from stars.

use super::constants::LYMAN_BAND_PHOTONS_PER_BARYON;
use super::tables;

/// Share of the photons absorbed in a Lyman line that end as Lyman-alpha photons
/// (Hirata 2006; Pritchard & Furlanetto 2006), for upper levels 2 to 23.
const RECYCLED: [f64; 22] = [
    1.0, 0.0, 0.2609, 0.3078, 0.3259, 0.3353, 0.3410, 0.3448, 0.3476, 0.3496, 0.3512, 0.3524,
    0.3535, 0.3543, 0.3550, 0.3556, 0.3561, 0.3565, 0.3569, 0.3572, 0.3575, 0.3578,
];

/// Frequency of the line from level `n` to the ground, in units of Lyman alpha.
fn line(n: usize) -> f64 {
    (1.0 - (n as f64).powi(-2)) / 0.75
}

/// Spectrum of population II stars (Barkana & Loeb 2005).
#[derive(Debug, Clone)]
pub struct StellarSpectrum {
    /// `(lower frequency, upper frequency, factor, index)`, frequencies in units of Lyman alpha.
    intervals: Vec<(f64, f64, f64, f64)>,
}

impl StellarSpectrum {
    /// Normalises the shipped spectrum.
    #[must_use]
    pub fn new() -> Self {
        Self {
            intervals: tables::stellar_spectrum()
                .iter()
                .map(|interval| {
                    let (low, high) = (line(interval.n), line(interval.n + 1));
                    let power = interval.index + 1.0;
                    let factor = LYMAN_BAND_PHOTONS_PER_BARYON * interval.share * power
                        / (high.powf(power) - low.powf(power));
                    (low, high, factor, interval.index)
                })
                .collect(),
        }
    }

    /// Photons emitted per stellar baryon and Hz at a frequency in units of Lyman alpha.
    #[must_use]
    pub fn photons_per_baryon_hz(&self, frequency: f64) -> f64 {
        self.intervals
            .iter()
            .find(|(low, high, ..)| (*low..*high).contains(&frequency))
            .map_or(0.0, |(_, _, factor, index)| {
                factor * frequency.powf(*index) / super::constants::LYMAN_ALPHA_FREQUENCY
            })
    }

    /// For each emission redshift the photons per baryon and Hz that arrive as Lyman alpha at
    /// `redshift`: `[from the continuum, by cascades]`.
    #[must_use]
    pub fn received(&self, redshift: f64, emission: &[f64]) -> Vec<[f64; 2]> {
        let horizon = |n: usize| {
            (1.0 + redshift) * (1.0 - ((n + 1) as f64).powi(-2)) / (1.0 - (n as f64).powi(-2)) - 1.0
        };
        let mut received: Vec<[f64; 2]> = emission
            .iter()
            .map(|&z| {
                let mut sums = [0.0; 2];
                for (i, share) in RECYCLED.iter().enumerate() {
                    let n = i + 2;
                    if z <= horizon(n) {
                        let emitted = line(n) * (1.0 + z) / (1.0 + redshift);
                        sums[usize::from(n > 2)] += share * self.photons_per_baryon_hz(emitted);
                    }
                }
                sums
            })
            .collect();
        // The horizon of Lyman beta falls within a shell: only that part of the shell is seen.
        for r in 2..received.len() {
            let seen = received[r][0] + received[r][1];
            let before = received[r - 1];
            if seen <= 0.0 && before[0] + before[1] > 0.0 {
                let part = (horizon(2) - emission[r - 1]) / (emission[r] - emission[r - 1]);
                received[r] = before.map(|value| part * value);
                break;
            }
        }
        received
    }
}

impl Default for StellarSpectrum {
    fn default() -> Self {
        Self::new()
    }
}
