//! Linear matter power spectrum and the variance of the mass in spheres.

use std::f64::consts::PI;

use super::constants as c;
use super::cosmology::Background;
use super::spline::Spline;

/// Transfer function without baryon wiggles of Eisenstein & Hu (1999), ApJ 511, 5, in the form for a
/// vanishing mass of the neutrinos.
#[derive(Debug, Clone)]
pub struct TransferFunction {
    /// `(T_CMB / 2.7 K)^2 / (Omega_m h^2)`: turns a wavenumber in 1/Mpc into the paper's `q`.
    q_per_wavenumber: f64,
    sound_horizon_mpc: f64,
    sqrt_alpha: f64,
    beta: f64,
}

impl TransferFunction {
    /// The transfer function of a cosmology.
    #[must_use]
    pub fn new(background: &Background) -> Self {
        // Neutrinos of negligible mass keep the published form of the equations.
        const NEUTRINO_FRACTION: f64 = 1e-10;
        let cosmology = background.cosmology();
        let theta = c::CMB_TEMPERATURE / 2.7;
        let matter = cosmology.omega_m * cosmology.h.powi(2);
        let baryons = cosmology.omega_b * cosmology.h.powi(2);
        let baryon_fraction = cosmology.omega_b / cosmology.omega_m;

        let z_equality = 25_000.0 * matter * theta.powi(-4) - 1.0;
        let k_equality = 0.0746 * matter / theta.powi(2);
        let b1 = 0.313 * matter.powf(-0.419) * (1.0 + 0.607 * matter.powf(0.674));
        let b2 = 0.238 * matter.powf(0.223);
        let z_drag = 1291.0 * matter.powf(0.251) / (1.0 + 0.659 * matter.powf(0.828))
            * (1.0 + b1 * baryons.powf(b2));
        let y_drag = (1.0 + z_equality) / (1.0 + z_drag);
        let momentum_ratio = |z: f64| 31.5 * baryons * theta.powi(-4) * 1000.0 / (1.0 + z);
        let (r_drag, r_equality) = (momentum_ratio(z_drag), momentum_ratio(z_equality));
        let sound_horizon_mpc = 2.0 / (3.0 * k_equality)
            * (6.0 / r_equality).sqrt()
            * (((1.0 + r_drag).sqrt() + (r_drag + r_equality).sqrt()) / (1.0 + r_equality.sqrt()))
                .ln();

        let cold = 1.0 - NEUTRINO_FRACTION - baryon_fraction;
        let cold_and_baryons = 1.0 - NEUTRINO_FRACTION;
        let neutrinos_and_baryons = NEUTRINO_FRACTION + baryon_fraction;
        let p_cold = -(5.0 - (1.0 + 24.0 * cold).sqrt()) / 4.0;
        let p_cold_baryons = -(5.0 - (1.0 + 24.0 * cold_and_baryons).sqrt()) / 4.0;
        let alpha = cold / cold_and_baryons * (2.0 * (p_cold + p_cold_baryons) + 5.0)
            / (4.0 * p_cold_baryons + 5.0)
            * (1.0 - 0.553 * neutrinos_and_baryons + 0.126 * neutrinos_and_baryons.powi(3))
            / (1.0 - 0.193 * NEUTRINO_FRACTION.sqrt() + 0.169 * NEUTRINO_FRACTION)
            * (1.0 + y_drag).powf(p_cold - p_cold_baryons)
            * (1.0
                + (p_cold_baryons - p_cold) / 2.0
                    * (1.0 + 1.0 / ((4.0 * p_cold + 3.0) * (4.0 * p_cold_baryons + 7.0)))
                    / (1.0 + y_drag));
        Self {
            q_per_wavenumber: theta.powi(2) / matter,
            sound_horizon_mpc,
            sqrt_alpha: alpha.sqrt(),
            beta: 1.0 / (1.0 - 0.949 * neutrinos_and_baryons),
        }
    }

    /// `T(k)`, 1 on large scales; wavenumber in 1/Mpc.
    #[must_use]
    pub fn at(&self, wavenumber: f64) -> f64 {
        let q = wavenumber * self.q_per_wavenumber;
        let horizon = 0.43 * wavenumber * self.sound_horizon_mpc;
        let shape = self.sqrt_alpha + (1.0 - self.sqrt_alpha) / (1.0 + horizon.powi(4));
        let q_effective = q / shape;
        let logarithm =
            (std::f64::consts::E + 1.84 * self.beta * self.sqrt_alpha * q_effective).ln();
        let curvature = 14.4 + 325.0 / (1.0 + 60.5 * q_effective.powf(1.11));
        logarithm / (logarithm + q_effective.powi(2) * curvature)
    }
}

/// Linear power spectrum at redshift 0, normalised to `sigma_8`, and `sigma(M)`.
#[derive(Debug, Clone)]
pub struct LinearPower {
    transfer: TransferFunction,
    n_s: f64,
    normalisation: f64,
    background: Background,
    /// `ln sigma` by `ln M`.
    ln_sigma: Spline,
    /// `ln(-d sigma^2/dM)` by `ln M`.
    ln_slope: Spline,
}

/// Lightest mass of the tables, in solar masses.
const LIGHTEST_MSUN: f64 = 1e3;
/// Heaviest mass of the tables, in solar masses.
const HEAVIEST_MSUN: f64 = 1e18;
/// Nodes of the tables: a fifth of an e-folding apart cubic interpolation is good to 1e-7.
const MASS_NODES: usize = 180;
/// Upper limit of the integral over wavenumbers, in units of the inverse radius.
const LARGEST_K_RADIUS: f64 = 350.0;

impl LinearPower {
    /// Normalises the spectrum of a cosmology and tabulates `sigma(M)`.
    #[must_use]
    pub fn new(background: &Background) -> Self {
        let transfer = TransferFunction::new(background);
        let n_s = background.cosmology().n_s;
        let quadrature = WindowQuadrature::new();
        // ln(k^3 P / N^2) is smooth: a spline replaces most evaluations of the transfer function.
        let spectrum = Spline::tabulate(-21.0, 17.0, 1521, |ln_k| {
            (3.0 + n_s) * ln_k + 2.0 * transfer.at(ln_k.exp()).ln()
        });
        let radius_8 = 8.0 / background.cosmology().h;
        let (variance, _) = quadrature.integrate(radius_8, &spectrum);
        let normalisation = background.cosmology().sigma_8 / variance.sqrt();

        let (start, end) = (LIGHTEST_MSUN.ln(), HEAVIEST_MSUN.ln());
        let step = (end - start) / (MASS_NODES - 1) as f64;
        let (mut ln_sigma, mut ln_slope) = (Vec::new(), Vec::new());
        for i in 0..MASS_NODES {
            let mass = (start + i as f64 * step).exp();
            let radius = background.radius_mpc(mass);
            let (variance, derivative) = quadrature.integrate(radius, &spectrum);
            // dR/dM = R / (3 M); `derivative` is R d(sigma^2)/dR.
            ln_sigma.push(normalisation.ln() + 0.5 * variance.ln());
            ln_slope.push(2.0 * normalisation.ln() + (-derivative / (3.0 * mass)).ln());
        }
        Self {
            transfer,
            n_s,
            normalisation,
            background: background.clone(),
            ln_sigma: Spline::new(start, step, ln_sigma),
            ln_slope: Spline::new(start, step, ln_slope),
        }
    }

    /// Transfer function; wavenumber in 1/Mpc.
    #[must_use]
    pub fn transfer(&self, wavenumber: f64) -> f64 {
        self.transfer.at(wavenumber)
    }

    /// Power spectrum at redshift 0 in Mpc^3; wavenumber in 1/Mpc.
    #[must_use]
    pub fn power_mpc3(&self, wavenumber: f64) -> f64 {
        2.0 * PI.powi(2)
            * self.normalisation.powi(2)
            * wavenumber.powf(self.n_s)
            * self.transfer.at(wavenumber).powi(2)
    }

    /// Factor `N` of `sigma^2 = N^2 int k^(2 + n_s) T^2 W^2 dk`.
    #[must_use]
    pub fn normalisation(&self) -> f64 {
        self.normalisation
    }

    /// Linear rms contrast at redshift 0 of spheres holding `mass_msun` on average (1e3 to 1e18).
    #[must_use]
    pub fn sigma(&self, mass_msun: f64) -> f64 {
        self.ln_sigma.at(mass_msun.ln()).exp()
    }

    /// Linear rms contrast at redshift 0 in spheres of comoving radius `radius_mpc`.
    #[must_use]
    pub fn sigma_radius(&self, radius_mpc: f64) -> f64 {
        self.sigma(self.background.mass_msun(radius_mpc))
    }

    /// `d(sigma^2)/dM` at redshift 0 per solar mass, negative.
    #[must_use]
    pub fn variance_slope(&self, mass_msun: f64) -> f64 {
        -self.ln_slope.at(mass_msun.ln()).exp()
    }
}

/// Nodes and weights in `x = k R` for integrals over the square of the top-hat window.
struct WindowQuadrature {
    /// `(ln x, weight * W^2, weight * 2 x W W')`, weights of an integral over `ln x`.
    nodes: Vec<(f64, f64, f64)>,
}

impl WindowQuadrature {
    fn new() -> Self {
        let mut nodes = Vec::new();
        let mut add = |x: f64, weight: f64| {
            let (window, slope) = top_hat(x);
            nodes.push((
                x.ln(),
                weight * window * window,
                weight * 2.0 * x * window * slope,
            ));
        };
        // Simpson's rule, in ln x where the window is flat and in x where it oscillates.
        let simpson = |i: usize, n: usize| {
            if i == 0 || i == n {
                1.0 / 3.0
            } else if i % 2 == 1 {
                4.0 / 3.0
            } else {
                2.0 / 3.0
            }
        };
        let (low, intervals) = (1e-7_f64, 240);
        let step = -low.ln() / intervals as f64;
        for i in 0..=intervals {
            add(
                (low.ln() + i as f64 * step).exp(),
                step * simpson(i, intervals),
            );
        }
        let intervals = 2400;
        let step = (LARGEST_K_RADIUS - 1.0) / intervals as f64;
        for i in 0..=intervals {
            let x = 1.0 + i as f64 * step;
            add(x, step * simpson(i, intervals) / x);
        }
        Self { nodes }
    }

    /// `(sigma^2, R d(sigma^2)/dR)` for a spectrum given as `ln(k^3 P)` by `ln k`.
    fn integrate(&self, radius: f64, spectrum: &Spline) -> (f64, f64) {
        let ln_radius = radius.ln();
        let (mut variance, mut derivative) = (0.0, 0.0);
        for &(ln_x, square, slope) in &self.nodes {
            let power = spectrum.at(ln_x - ln_radius).exp();
            variance += power * square;
            derivative += power * slope;
        }
        (variance, derivative)
    }
}

/// Fourier transform of a sphere, `W(x) = 3 (sin x - x cos x) / x^3`, and its derivative.
pub(crate) fn top_hat(x: f64) -> (f64, f64) {
    if x < 1e-2 {
        // Series, where the closed form cancels.
        let square = x * x;
        (
            1.0 - square / 10.0 + square * square / 280.0,
            -x / 5.0 + x * square / 70.0,
        )
    } else {
        let (sin, cos) = x.sin_cos();
        let window = 3.0 * (sin - x * cos) / x.powi(3);
        (window, 3.0 * sin / x.powi(2) - 3.0 * window / x)
    }
}
