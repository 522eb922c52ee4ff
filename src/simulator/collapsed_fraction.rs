//! Share of the matter that is in haloes massive enough to form stars.

use super::cosmology::Background;
use super::power_spectrum::LinearPower;
use super::spline::Spline;

/// Collapsed fractions for one minimum virial temperature, tabulated by redshift.
#[derive(Debug, Clone)]
pub struct CollapsedFraction {
    /// `ln F` of Sheth-Tormen haloes by `ln(1+z)`.
    ln_sheth_tormen: Spline,
    /// `sigma(M_min(z))` at redshift 0 by `ln(1+z)`.
    sigma_minimum: Spline,
    background: Background,
    virial_temperature_k: f64,
    critical_contrast: f64,
}

/// Highest redshift of the tables: sources 500 Mpc beyond the first snapshot lie below it.
const HIGHEST_REDSHIFT: f64 = 65.0;

impl CollapsedFraction {
    /// Tabulates the collapsed fractions between redshifts 4.5 and 65 for spheres that collapse at the linear
    /// contrast `critical_contrast`.
    #[must_use]
    pub fn new(
        background: &Background,
        power: &LinearPower,
        virial_temperature_k: f64,
        critical_contrast: f64,
    ) -> Self {
        const NODES: usize = 220;
        let (start, end) = (5.5_f64.ln(), (1.0 + HIGHEST_REDSHIFT).ln());
        let minimum = |ln_a: f64| {
            let z = ln_a.exp() - 1.0;
            (z, background.virial_mass_msun(virial_temperature_k, z))
        };
        let ln_sheth_tormen = Spline::tabulate(start, end, NODES, |ln_a| {
            let (z, minimum_mass) = minimum(ln_a);
            sheth_tormen(power, background.growth(z), minimum_mass, critical_contrast).ln()
        });
        let sigma_minimum =
            Spline::tabulate(start, end, NODES, |ln_a| power.sigma(minimum(ln_a).1));
        Self {
            ln_sheth_tormen,
            sigma_minimum,
            background: background.clone(),
            virial_temperature_k,
            critical_contrast,
        }
    }

    /// Linear density contrast at which a sphere collapses.
    #[must_use]
    pub fn critical_contrast(&self) -> f64 {
        self.critical_contrast
    }

    /// Collapsed fractions at growth factor `growth` of regions with linear rms contrast `sigma_region`, in haloes
    /// above the scale with `sigma_minimum` (both at redshift 0).
    ///
    /// `None` when the region is no larger than the smallest halo.
    #[must_use]
    pub fn conditional(
        &self,
        growth: f64,
        sigma_minimum: f64,
        sigma_region: f64,
    ) -> Option<ConditionalCollapse> {
        let variance = sigma_minimum * sigma_minimum - sigma_region * sigma_region;
        (variance > 0.0).then(|| {
            let b = 1.0 / (2.0 * variance).sqrt();
            ConditionalCollapse {
                a: self.critical_contrast / growth * b,
                b,
            }
        })
    }

    /// Smallest mass of a star-forming halo at redshift `z`, in solar masses.
    #[must_use]
    pub fn minimum_mass_msun(&self, z: f64) -> f64 {
        self.background
            .virial_mass_msun(self.virial_temperature_k, z)
    }

    /// Linear rms contrast at redshift 0 on the scale of the smallest star-forming halo of redshift `z`.
    #[must_use]
    pub fn sigma_minimum(&self, z: f64) -> f64 {
        self.sigma_minimum.at((1.0 + z).ln())
    }

    /// Mean collapsed fraction for the mass function of Sheth & Tormen (1999) with the values of
    /// Jenkins et al. (2001).
    #[must_use]
    pub fn sheth_tormen(&self, z: f64) -> f64 {
        self.ln_sheth_tormen.at((1.0 + z).ln()).exp()
    }

    /// Mean collapsed fraction for the mass function of Press & Schechter (1974).
    #[must_use]
    pub fn press_schechter(&self, z: f64) -> f64 {
        let spread = std::f64::consts::SQRT_2 * self.background.growth(z) * self.sigma_minimum(z);
        complementary_error_function(self.critical_contrast / spread)
    }
}

/// `int M dn/dM dM / rho` above `minimum_mass` at growth factor `growth`.
fn sheth_tormen(
    power: &LinearPower,
    growth: f64,
    minimum_mass: f64,
    critical_contrast: f64,
) -> f64 {
    const A: f64 = 0.73;
    const P: f64 = 0.175;
    const AMPLITUDE: f64 = 0.353;
    // Gauss-Legendre nodes and weights of order 5 on [-1, 1].
    const NODES: [(f64, f64); 5] = [
        (0.0, 0.568_888_888_888_888_9),
        (0.538_469_310_105_683_1, 0.478_628_670_499_366_5),
        (-0.538_469_310_105_683_1, 0.478_628_670_499_366_5),
        (0.906_179_845_938_664, 0.236_926_885_056_189_1),
        (-0.906_179_845_938_664, 0.236_926_885_056_189_1),
    ];
    const PANEL: f64 = 0.5;
    let integrand = |ln_mass: f64| {
        let mass = ln_mass.exp();
        let sigma = power.sigma(mass);
        let dsigma_dm = -power.variance_slope(mass) / (2.0 * sigma);
        let nu = A.sqrt() * critical_contrast / (sigma * growth);
        mass * dsigma_dm / sigma
            * (2.0 / std::f64::consts::PI).sqrt()
            * AMPLITUDE
            * (1.0 + nu.powf(-2.0 * P))
            * nu
            * (-0.5 * nu * nu).exp()
    };
    let (mut low, end) = (minimum_mass.ln(), (100.0 * minimum_mass).max(1e16).ln());
    let mut total = 0.0;
    while low < end {
        let width = PANEL.min(end - low);
        let panel: f64 = NODES
            .iter()
            .map(|&(x, weight)| 0.5 * width * weight * integrand(low + 0.5 * width * (1.0 + x)))
            .sum();
        total += panel;
        // The integrand falls ever faster with the mass: the rest is smaller than this panel.
        if panel < 1e-9 * total {
            break;
        }
        low += width;
    }
    total
}

/// The mean collapsed fraction of a region as a function of its linear contrast: extended Press-Schechter
/// (Bond et al. 1991), `F = erfc(a - b delta)`, 1 where the region itself has collapsed.
#[derive(Debug, Clone, Copy)]
pub struct ConditionalCollapse {
    /// Argument of the error function at mean density; infinite when the region is no larger than a halo.
    pub a: f64,
    /// Decrease of the argument per unit of contrast.
    pub b: f64,
}

/// The collapsed fraction assigned to regions that are no larger than the smallest halo.
pub const SMALLEST_COLLAPSED_FRACTION: f64 = 1e-6;

impl ConditionalCollapse {
    /// Collapsed fraction at a contrast extrapolated to redshift 0.
    #[must_use]
    pub fn fraction(&self, contrast: f64) -> f64 {
        complementary_error_function((self.a - self.b * contrast).max(0.0))
    }
}

/// `erfc(x)` for any `x`, relative error below 1.2e-7 (rational Chebyshev fit, Press et al. 1992).
#[must_use]
pub fn complementary_error_function(x: f64) -> f64 {
    let magnitude = x.abs();
    let t = 1.0 / (1.0 + 0.5 * magnitude);
    let polynomial = ERFC_COEFFICIENTS
        .iter()
        .rev()
        .fold(0.0, |sum, coefficient| sum * t + coefficient);
    let value = t * (-magnitude * magnitude + polynomial).exp();
    if x >= 0.0 { value } else { 2.0 - value }
}

/// Coefficients of the fit in [`complementary_error_function`], lowest order first.
pub(crate) const ERFC_COEFFICIENTS: [f64; 10] = [
    -1.265_512_23,
    1.000_023_68,
    0.374_091_96,
    0.096_784_18,
    -0.186_288_06,
    0.278_868_07,
    -1.135_203_98,
    1.488_515_87,
    -0.822_152_23,
    0.170_872_77,
];
