//! Filters and derivatives in Fourier space.

use super::fourier::{Fourier, ModeFilter, Spectrum, signed_mode};
use super::power_spectrum::top_hat;

/// A filter that depends on `n^2 = n_x^2 + n_y^2 + n_z^2` alone.
#[derive(Debug, Clone)]
pub(crate) struct Isotropic {
    factors: Vec<f32>,
}

impl Isotropic {
    /// Tabulates `factor(|k|)`, wavenumbers in 1/Mpc, for a grid of `n`^3 cells in a box of `box_mpc`.
    pub(crate) fn new(n: usize, box_mpc: f64, factor: impl Fn(f64) -> f64) -> Self {
        let fundamental = 2.0 * std::f64::consts::PI / box_mpc;
        Self {
            factors: (0..=3 * (n / 2) * (n / 2))
                .map(|square| factor(fundamental * (square as f64).sqrt()) as f32)
                .collect(),
        }
    }

    /// The factor at `n^2 = square`.
    #[inline]
    pub(crate) fn factor(&self, square: usize) -> f32 {
        self.factors[square]
    }

    /// The mean over spheres of radius `radius_mpc`.
    pub(crate) fn top_hat(n: usize, box_mpc: f64, radius_mpc: f64) -> Self {
        Self::new(n, box_mpc, |k| top_hat(k * radius_mpc).0)
    }
}

impl ModeFilter for Isotropic {
    fn row(
        &self,
        [mode_x, mode_y]: [i32; 2],
        source: (&[f32], &[f32]),
        target: (&mut [f32], &mut [f32]),
    ) {
        let square = (mode_x * mode_x + mode_y * mode_y) as usize;
        for (z, (to_re, to_im)) in target.0.iter_mut().zip(target.1).enumerate() {
            // Padding lies beyond the table.
            let factor = self.factors.get(square + z * z).copied().unwrap_or(0.0);
            *to_re = factor * source.0[z];
            *to_im = factor * source.1[z];
        }
    }
}

/// Keeps the wavenumbers with `k R <= 2.418`: a sphere in Fourier space with the volume of the top hat.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SharpK {
    largest_square: f64,
}

impl SharpK {
    /// Smallest `1 / (k R)` that is kept.
    const SHARPNESS: f64 = 0.413_566_994;

    pub(crate) fn new(box_mpc: f64, radius_mpc: f64) -> Self {
        let largest = box_mpc / (2.0 * std::f64::consts::PI * radius_mpc * Self::SHARPNESS);
        Self {
            largest_square: largest * largest,
        }
    }
}

impl ModeFilter for SharpK {
    fn largest_mode(&self, n: usize) -> usize {
        (self.largest_square.sqrt() as usize).min(n / 2)
    }

    fn row(
        &self,
        [mode_x, mode_y]: [i32; 2],
        source: (&[f32], &[f32]),
        target: (&mut [f32], &mut [f32]),
    ) {
        let rest = self.largest_square - f64::from(mode_x * mode_x + mode_y * mode_y);
        let kept = if rest < 0.0 {
            0
        } else {
            (rest.sqrt() as usize + 1).min(target.0.len())
        };
        for (to, from) in [(target.0, source.0), (target.1, source.1)] {
            to[..kept].copy_from_slice(&from[..kept]);
            to[kept..].fill(0.0);
        }
    }
}

/// Multiplies by `factor * k_z d_z / k^2` with the derivative `d_z`: from a density to the gradient of its velocity
/// along z.
#[derive(Debug, Clone)]
pub(crate) struct LineOfSightGradient {
    factor: f32,
    /// `k_z d_z` of each mode, in squares of the smallest wavenumber.
    along: Vec<f32>,
}

impl LineOfSightGradient {
    /// The exact derivative.
    pub(crate) fn spectral(fourier: &Fourier, factor: f32) -> Self {
        let along = (0..fourier.stride()).map(|z| (z * z) as f32).collect();
        Self { factor, along }
    }

    /// Half the difference between the next and the previous cell.
    pub(crate) fn central_difference(fourier: &Fourier, factor: f32) -> Self {
        let per_cell = std::f64::consts::TAU / fourier.cells() as f64;
        let along = (0..fourier.stride())
            .map(|z| (z as f64 * (z as f64 * per_cell).sin() / per_cell) as f32)
            .collect();
        Self { factor, along }
    }
}

impl ModeFilter for LineOfSightGradient {
    fn row(
        &self,
        [mode_x, mode_y]: [i32; 2],
        source: (&[f32], &[f32]),
        target: (&mut [f32], &mut [f32]),
    ) {
        let square = (mode_x * mode_x + mode_y * mode_y) as f32;
        for (z, (to_re, to_im)) in target.0.iter_mut().zip(target.1).enumerate() {
            let k_squared = square + (z * z) as f32;
            // The mean has no gradient.
            let factor = if k_squared > 0.0 {
                self.factor * self.along[z] / k_squared
            } else {
                0.0
            };
            *to_re = factor * source.0[z];
            *to_im = factor * source.1[z];
        }
    }
}

/// The second derivative `-k_a k_b / k^2` of the potential of a density.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PotentialHessian {
    pub(crate) axes: [usize; 2],
}

impl ModeFilter for PotentialHessian {
    fn row(
        &self,
        [mode_x, mode_y]: [i32; 2],
        source: (&[f32], &[f32]),
        target: (&mut [f32], &mut [f32]),
    ) {
        let square = (mode_x * mode_x + mode_y * mode_y) as f32;
        for (z, (to_re, to_im)) in target.0.iter_mut().zip(target.1).enumerate() {
            let along = (z * z) as f32;
            let modes = [mode_x as f32, mode_y as f32, z as f32];
            let factor = if square + along > 0.0 {
                -modes[self.axes[0]] * modes[self.axes[1]] / (square + along)
            } else {
                0.0
            };
            *to_re = factor * source.0[z];
            *to_im = factor * source.1[z];
        }
    }
}

/// The spectrum of every `f`-th cell of a fine grid, times `factor([n_x, n_y])(n_z)` (complex), on the
/// coarse grid: sampling in space is folding in Fourier space, so no transform of the fine grid is needed.
pub(crate) fn fold<Row: Fn(i32) -> (f32, f32)>(
    fine: &Fourier,
    spectrum: &Spectrum,
    coarse: &Fourier,
    factor: impl Fn([i32; 2]) -> Row + Sync,
    output: &mut Spectrum,
) {
    let (m, n) = (fine.cells(), coarse.cells());
    let plane = n * coarse.stride();
    let half = coarse.half();
    let pieces: Vec<_> = output
        .re
        .chunks_exact_mut(plane)
        .zip(output.im.chunks_exact_mut(plane))
        .enumerate()
        .collect();
    coarse.execution().run(
        pieces,
        || (),
        |(), (y, (re, im))| {
            re.fill(0.0);
            im.fill(0.0);
            for fine_y in (y..m).step_by(n) {
                let mode_y = signed_mode(fine_y, m);
                for fine_x in 0..m {
                    let mode_x = signed_mode(fine_x, m);
                    let row = fine_x % n * coarse.stride();
                    // Modes with negative n_z are conjugates of the stored mode at the opposite position.
                    let stored = (fine_y * m + fine_x) * fine.stride();
                    let opposite = ((m - fine_y) % m * m + (m - fine_x) % m) * fine.stride();
                    let factor = factor([mode_x, mode_y]);
                    for z in 0..half {
                        for fine_z in (z..m).step_by(n) {
                            let mode_z = signed_mode(fine_z, m);
                            let (a, b) = if mode_z >= 0 {
                                let at = stored + mode_z as usize;
                                (spectrum.re[at], spectrum.im[at])
                            } else {
                                let at = opposite + mode_z.unsigned_abs() as usize;
                                (spectrum.re[at], -spectrum.im[at])
                            };
                            let (c, d) = factor(mode_z);
                            re[row + z] += a * c - b * d;
                            im[row + z] += a * d + b * c;
                        }
                    }
                }
            }
        },
    );
}
