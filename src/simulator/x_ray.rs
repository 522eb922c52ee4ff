//! X-rays: emission, absorption on the way, and what they do to the gas.
//!
//! Pritchard & Furlanetto (2007); Mesinger, Furlanetto & Cen (2011), section 3; parameters as in
//! Greig & Mesinger (2017).

use std::f64::consts::PI;

use super::collapsed_fraction::CollapsedFraction;
use super::constants as c;
use super::cosmology::Background;
use super::parameters::Astrophysics;
use super::tables;

/// Photo-ionisation cross section of neutral hydrogen in cm^2 (Osterbrock 1989, equation 2.4).
#[must_use]
pub fn hydrogen_cross_section(energy_ev: f64) -> f64 {
    hydrogenic_cross_section(energy_ev, c::HYDROGEN_THRESHOLD_EV, 1.0)
}

/// Photo-ionisation cross section of singly ionised helium in cm^2.
#[must_use]
pub fn helium_ii_cross_section(energy_ev: f64) -> f64 {
    hydrogenic_cross_section(energy_ev, c::HELIUM_II_THRESHOLD_EV, 2.0)
}

fn hydrogenic_cross_section(energy_ev: f64, threshold_ev: f64, charge: f64) -> f64 {
    if energy_ev < threshold_ev {
        return 0.0;
    }
    // At the threshold the expression has the limit 0/0; a relative distance of 1e-10 reaches it.
    let epsilon = (energy_ev / threshold_ev - 1.0).max(1e-10).sqrt();
    6.3e-18 / charge.powi(2)
        * (threshold_ev / energy_ev).powi(4)
        * (4.0 - 4.0 * epsilon.atan() / epsilon).exp()
        / (1.0 - (-2.0 * PI / epsilon).exp())
}

/// Photo-ionisation cross section of neutral helium in cm^2 (Verner et al. 1996).
#[must_use]
pub fn helium_cross_section(energy_ev: f64) -> f64 {
    if energy_ev < c::HELIUM_THRESHOLD_EV {
        return 0.0;
    }
    let x = energy_ev / 13.61 - 0.4434;
    let y = (x * x + 2.136_f64.powi(2)).sqrt();
    9.492e-16
        * ((x - 1.0).powi(2) + 2.039_f64.powi(2))
        * y.powf(0.5 * 3.188 - 5.5)
        * (1.0 + (y / 1.469).sqrt()).powf(-3.188)
}

/// Integrals over the frequencies of an X-ray spectrum above a lower limit.
#[derive(Debug, Clone)]
pub struct FrequencyIntegrals {
    /// Electron fractions of the rows, increasing.
    electron_fractions: Vec<f64>,
    ln_energy: Vec<f64>,
    /// `[electron fraction][energy][heating, ionisation, Lyman alpha]`.
    values: Vec<Vec<[f64; 3]>>,
}

impl FrequencyIntegrals {
    /// The integrals of `(nu / nu_0)^(-alpha_x - 1)` times the yields of Furlanetto & Stoever (2010).
    ///
    /// The table holds them for `alpha_x` = 1; for another index each of its intervals is weighted by the
    /// mean of the remaining power within it, the integrand between nodes being a power law.
    #[must_use]
    pub fn new(alpha_x: f64, e0_kev: f64) -> Self {
        let groups = tables::x_ray_integrals();
        let energies: Vec<f64> = groups[0].1.iter().map(|row| row[0]).collect();
        let scale = e0_kev.powf(alpha_x + 1.0);
        let values = groups
            .iter()
            .map(|(_, rows)| {
                let mut reweighted = vec![[0.0; 3]; rows.len()];
                for i in (0..rows.len() - 1).rev() {
                    for q in 0..3 {
                        let interval = rows[i][q + 1] - rows[i + 1][q + 1];
                        let weight = interval_weight(rows, i, q, alpha_x);
                        reweighted[i][q] = reweighted[i + 1][q] + scale * interval * weight;
                    }
                }
                reweighted
            })
            .collect();
        Self {
            electron_fractions: groups.iter().map(|group| group.0).collect(),
            ln_energy: energies.iter().map(|energy| energy.ln()).collect(),
            values,
        }
    }

    /// Electron fractions at which the integrals are known.
    #[must_use]
    pub fn electron_fractions(&self) -> &[f64] {
        &self.electron_fractions
    }

    /// `[heating in erg cm^2 Hz, ionisation in cm^2 Hz, Lyman alpha in cm^2 Hz]` from `low_ev` to 10 keV at
    /// electron fraction number `node`; Lyman alpha lacks the factor `c / (4 pi nu_alpha H)`.
    #[must_use]
    pub fn at(&self, node: usize, low_ev: f64) -> [f64; 3] {
        let values = &self.values[node];
        let last = self.ln_energy.len() - 1;
        let x = low_ev.ln();
        if x >= self.ln_energy[last] {
            return [0.0; 3];
        }
        let i = self
            .ln_energy
            .partition_point(|&node| node <= x)
            .clamp(1, last)
            - 1;
        let fraction =
            ((x - self.ln_energy[i]) / (self.ln_energy[i + 1] - self.ln_energy[i])).max(0.0);
        std::array::from_fn(|q| {
            let (a, b) = (values[i][q], values[i + 1][q]);
            if b > 0.0 {
                // Power laws between nodes; parabolic in the logarithms where the neighbours allow.
                let (ln_a, ln_b) = (a.ln(), b.ln());
                let bend = if i > 0 && i + 2 <= last && values[i + 2][q] > 0.0 {
                    0.25 * (values[i + 2][q].ln() - ln_b - ln_a + values[i - 1][q].ln())
                } else {
                    0.0
                };
                (ln_a + fraction * (ln_b - ln_a) - fraction * (1.0 - fraction) * bend).exp()
            } else {
                a * (1.0 - fraction)
            }
        })
    }
}

/// Mean of `(E / keV)^(1 - alpha)` over interval `i`, weighted by the integrand, which follows a power law
/// whose slope is taken from the neighbouring intervals.
fn interval_weight(rows: &[[f64; 4]], i: usize, q: usize, alpha_x: f64) -> f64 {
    let power = 1.0 - alpha_x;
    if power.abs() < 1e-12 {
        return 1.0;
    }
    let density = |j: usize| {
        let width = rows[j + 1][0] - rows[j][0];
        ((rows[j][q + 1] - rows[j + 1][q + 1]) / width).max(1e-300)
    };
    let middle = |j: usize| (rows[j + 1][0] * rows[j][0]).sqrt();
    let (before, after) = (i.saturating_sub(1), (i + 1).min(rows.len() - 2));
    let slope = (density(after) / density(before)).ln() / (middle(after) / middle(before)).ln();
    let (low, high) = (rows[i][0] / 1000.0, rows[i + 1][0] / 1000.0);
    let integral = |exponent: f64| {
        if (exponent + 1.0).abs() < 1e-9 {
            (high / low).ln()
        } else {
            (high.powf(exponent + 1.0) - low.powf(exponent + 1.0)) / (exponent + 1.0)
        }
    };
    integral(slope + power) / integral(slope)
}

/// X-ray photons per frequency emitted at the threshold per solar mass of stars,
/// `K = (L_X / SFR) / (h nu_0) / (nu_0 ln(2 keV / E_0))` for `alpha_x` = 1.
#[must_use]
pub fn photons_per_stellar_mass(astrophysics: &Astrophysics) -> f64 {
    let threshold = astrophysics.e0_kev * 1000.0 * c::EV_FREQUENCY;
    let top = 2000.0 * c::EV_FREQUENCY;
    let alpha = astrophysics.alpha_x;
    let per_frequency = if (alpha - 1.0).abs() < 1e-6 {
        1.0 / (threshold * (top / threshold).ln())
    } else {
        (1.0 - alpha) * threshold.powf(-alpha)
            / (top.powf(1.0 - alpha) - threshold.powf(1.0 - alpha))
    };
    10_f64.powf(astrophysics.log10_lx_sfr) / (c::PLANCK_CONSTANT * threshold)
        * c::SECONDS_PER_YEAR
        * per_frequency
}

/// Absorption of X-rays between their source and the receiving gas.
#[derive(Debug, Clone)]
pub struct XRayAbsorption {
    /// Cross sections times abundances per ln E: `[hydrogen, neutral helium, ionised helium]`.
    cross_sections: Vec<[f64; 3]>,
    hydrogen_fraction: f64,
    /// Ratio of ionised mass to Press-Schechter collapsed mass; kept while everything is ionised.
    efficiency: f64,
}

/// Lowest energy for which the optical depth is computed.
const LOWEST_ENERGY_EV: f64 = c::HELIUM_THRESHOLD_EV;
/// Nodes of the table of cross sections per unit of ln E.
const NODES_PER_UNIT: f64 = 200.0;
/// Range of the table in ln E: 24.59 eV times e^13 is above 10 MeV.
const LN_ENERGY_RANGE: f64 = 13.0;

/// Mean state of the gas at the receiving snapshot.
#[derive(Debug, Clone, Copy)]
pub struct MeanGas {
    /// Redshift of the snapshot.
    pub redshift: f64,
    /// Mean electron fraction outside ionised bubbles at the previous snapshot.
    pub electron_fraction: f64,
}

impl XRayAbsorption {
    /// Tabulates the cross sections.
    #[must_use]
    pub fn new(background: &Background) -> Self {
        let nodes = (NODES_PER_UNIT * LN_ENERGY_RANGE) as usize + 2;
        Self {
            cross_sections: (0..nodes)
                .map(|i| {
                    let energy = LOWEST_ENERGY_EV * (i as f64 / NODES_PER_UNIT).exp();
                    [
                        hydrogen_cross_section(energy),
                        helium_cross_section(energy),
                        helium_ii_cross_section(energy),
                    ]
                })
                .collect(),
            hydrogen_fraction: background.hydrogen_fraction(),
            efficiency: 0.0,
        }
    }

    /// Energies in eV at which the optical depth from emission redshifts `emission` to the gas is one; the
    /// gas receives only harder photons. `zeta` is the ionising efficiency.
    pub fn unit_depth_energies_ev(
        &mut self,
        background: &Background,
        collapse: &CollapsedFraction,
        zeta: f64,
        gas: MeanGas,
        emission: &[f64],
    ) -> Vec<f64> {
        let neutral_gas = 1.0 - gas.electron_fraction;
        let neutral_now = 1.0 - zeta * collapse.sheth_tormen(gas.redshift) / neutral_gas;
        if neutral_now > 0.0 {
            self.efficiency =
                (1.0 - neutral_now) * neutral_gas / collapse.press_schechter(gas.redshift);
        }
        let mut guess = 500.0;
        emission
            .iter()
            .map(|&z| {
                let path = self.path(background, collapse, gas, z);
                guess = self.unit_depth_energy_ev(&path, gas.electron_fraction, guess);
                guess
            })
            .collect()
    }

    /// Quadrature along the path: `(ln of the energy ratio to the receiver, column per quadrature node)`.
    fn path(
        &self,
        background: &Background,
        collapse: &CollapsedFraction,
        gas: MeanGas,
        emission: f64,
    ) -> Vec<(f64, f64)> {
        // Gauss-Legendre nodes and weights of order 8 on [-1, 1].
        const NODES: [(f64, f64); 4] = [
            (0.183_434_642_495_649_8, 0.362_683_783_378_362),
            (0.525_532_409_916_329, 0.313_706_645_877_887_3),
            (0.796_666_477_413_626_7, 0.222_381_034_453_374_5),
            (0.960_289_856_497_536_3, 0.101_228_536_290_376_3),
        ];
        let half = 0.5 * (emission - gas.redshift);
        let middle = gas.redshift + half;
        let density = background.baryon_density();
        let neutral_gas = 1.0 - gas.electron_fraction;
        NODES
            .iter()
            .flat_map(|&(x, weight)| [(x, weight), (-x, weight)])
            .map(|(x, weight)| {
                let z = middle + x * half;
                let collapsed = collapse.press_schechter(z);
                let neutral = if collapsed < 1e-20 {
                    1.0
                } else {
                    (1.0 - self.efficiency * collapsed / neutral_gas).max(1e-4)
                };
                let column = half
                    * weight
                    * c::SPEED_OF_LIGHT
                    * -background.dt_dz(z)
                    * density
                    * (1.0 + z).powi(3)
                    * neutral;
                (((1.0 + z) / (1.0 + gas.redshift)).ln(), column)
            })
            .collect()
    }

    fn optical_depth(&self, path: &[(f64, f64)], electron_fraction: f64, ln_energy: f64) -> f64 {
        let helium_fraction = 1.0 - self.hydrogen_fraction;
        let abundances = [
            self.hydrogen_fraction * (1.0 - electron_fraction),
            helium_fraction * (1.0 - electron_fraction),
            helium_fraction * electron_fraction,
        ];
        path.iter()
            .map(|&(ln_ratio, column)| {
                let position = (ln_energy + ln_ratio) * NODES_PER_UNIT;
                let i = (position as usize).min(self.cross_sections.len() - 2);
                let fraction = position - i as f64;
                let (a, b) = (&self.cross_sections[i], &self.cross_sections[i + 1]);
                let section: f64 = (0..3)
                    .map(|s| abundances[s] * (a[s] + fraction * (b[s] - a[s])))
                    .sum();
                column * section
            })
            .sum()
    }

    /// Root of `tau(E) = 1`, by secants in the logarithms guarded by bisection.
    fn unit_depth_energy_ev(&self, path: &[(f64, f64)], electron_fraction: f64, guess: f64) -> f64 {
        let depth = |x: f64| {
            self.optical_depth(path, electron_fraction, x)
                .max(1e-300)
                .ln()
        };
        let (mut low, mut high) = (0.0, LN_ENERGY_RANGE - 2.5);
        if depth(low) <= 0.0 {
            return LOWEST_ENERGY_EV;
        }
        let mut x = (guess / LOWEST_ENERGY_EV).ln().clamp(low, high);
        let mut slope = -3.0;
        let mut previous: Option<(f64, f64)> = None;
        for _ in 0..60 {
            let value = depth(x);
            if value > 0.0 {
                low = x;
            } else {
                high = x;
            }
            if value.abs() < 1e-4 || high - low < 1e-5 {
                break;
            }
            if let Some((other, other_value)) = previous
                && (x - other).abs() > 1e-9
            {
                slope = ((value - other_value) / (x - other)).clamp(-20.0, -0.2);
            }
            previous = Some((x, value));
            let next = x - value / slope;
            x = if next > low && next < high {
                next
            } else {
                0.5 * (low + high)
            };
        }
        LOWEST_ENERGY_EV * x.exp()
    }
}
