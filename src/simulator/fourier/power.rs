//! Power spectra.

use super::{Fourier, Spectrum, signed_mode};

impl Fourier {
    /// Dimensionless power spectrum `k^3 P / (2 pi^2)` in `bins` intervals of equal width in ln k from the
    /// fundamental mode to the smallest sphere's: `(mean k in 1/Mpc, power, number of modes)`, empty
    /// intervals left out.
    #[must_use]
    pub fn binned_power(
        &self,
        spectrum: &Spectrum,
        box_mpc: f64,
        bins: usize,
    ) -> Vec<(f64, f64, usize)> {
        let n = self.n;
        let fundamental = 2.0 * std::f64::consts::PI / box_mpc;
        let width = (n as f64 / 2.0).ln() / bins as f64;
        let mut sums = vec![(0.0, 0.0, 0_usize); bins];
        for y in 0..n {
            for x in 0..n {
                for z in 0..self.half {
                    let modes = [signed_mode(x, n), signed_mode(y, n), z as i32];
                    let square: i32 = modes.iter().map(|mode| mode * mode).sum();
                    let length = f64::from(square).sqrt();
                    if square == 0 {
                        continue;
                    }
                    let bin = (length.ln() / width) as usize;
                    if bin >= bins {
                        continue;
                    }
                    // Modes with 0 < n_z < n/2 stand for their conjugates as well.
                    let weight = if z == 0 || 2 * z == n { 1 } else { 2 };
                    let at = (y * n + x) * self.stride + z;
                    let power =
                        f64::from(spectrum.re[at]).powi(2) + f64::from(spectrum.im[at]).powi(2);
                    sums[bin].0 += weight as f64 * length * fundamental;
                    sums[bin].1 += weight as f64 * power;
                    sums[bin].2 += weight;
                }
            }
        }
        sums.into_iter()
            .filter(|sum| sum.2 > 0)
            .map(|(k, power, modes)| {
                let k = k / modes as f64;
                let volume = box_mpc.powi(3);
                let factor = volume * k.powi(3) / (2.0 * std::f64::consts::PI.powi(2));
                (k, factor * power / modes as f64, modes)
            })
            .collect()
    }
}
