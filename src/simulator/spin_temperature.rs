//! The 21-cm spin temperature: coupling by collisions and by scattered Lyman-alpha photons.

use std::f64::consts::PI;

use super::constants as c;
use super::cosmology::Background;
use super::parameters::Physics;
use super::tables;
use super::vector_math;

/// Prefactor of the coupling in 21cmFAST 1 over that of version 3.
const WEAK_COUPLING: f64 = 1.66e11 / 1.80e11;
/// Steps of the fixed-point iteration for the spin temperature; it converges by a factor of 30 in each.
const ITERATIONS: usize = 4;

/// Rates that depend on the gas temperature alone, on equidistant nodes in its logarithm.
#[derive(Debug, Clone)]
pub struct Rates {
    /// `[kappa_HH, kappa_eH, kappa_pH, alpha_A]` in cm^3/s.
    rows: Vec<[f32; 4]>,
}

/// Lowest ln T of the rates: colder gas has the rates of 0.05 K.
const LN_COLDEST: f32 = -3.0;
/// Nodes per unit of ln T.
const NODES_PER_UNIT: f32 = 128.0;
/// Nodes: up to ln T = 13.
const NODES: usize = 2048;

impl Rates {
    /// Tabulates the rates.
    #[must_use]
    pub fn new() -> Self {
        let tables = ["HH", "eH", "pH"].map(tables::collision_rate);
        Self {
            rows: (0..=NODES)
                .map(|i| {
                    let ln_t = f64::from(LN_COLDEST) + i as f64 / f64::from(NODES_PER_UNIT);
                    [
                        collision_rate(&tables[0], ln_t, Some(0.381)),
                        collision_rate(&tables[1], ln_t, None),
                        collision_rate(&tables[2], ln_t, None),
                        recombination_rate(ln_t),
                    ]
                    .map(|rate| rate as f32)
                })
                .collect(),
        }
    }

    /// `[kappa_HH, kappa_eH, kappa_pH, alpha_A]` in cm^3/s at the temperature with logarithm `ln_t`.
    #[inline(always)]
    #[must_use]
    pub fn at(&self, ln_t: f32) -> [f32; 4] {
        let position = ((ln_t - LN_COLDEST) * NODES_PER_UNIT).clamp(0.0, NODES as f32 - 0.5);
        let i = position as usize;
        let fraction = position - i as f32;
        let (a, b) = (&self.rows[i], &self.rows[i + 1]);
        let mut rates = [0.0; 4];
        for k in 0..4 {
            rates[k] = a[k] + fraction * (b[k] - a[k]);
        }
        rates
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self::new()
    }
}

/// Spin-exchange rate (Zygelman 2005; Furlanetto & Furlanetto 2007), linear in the logarithms; constant
/// below the table, continued above it with the given or the last slope.
fn collision_rate(table: &[(f64, f64)], ln_t: f64, slope_above: Option<f64>) -> f64 {
    let last = table.len() - 1;
    if ln_t <= table[0].0 {
        return table[0].1.exp();
    }
    if ln_t >= table[last].0
        && let Some(slope) = slope_above
    {
        return (table[last].1 + slope * (ln_t - table[last].0)).exp();
    }
    let i = table.partition_point(|node| node.0 <= ln_t).clamp(1, last) - 1;
    let (a, b) = (table[i], table[i + 1]);
    (a.1 + (ln_t - a.0) / (b.0 - a.0) * (b.1 - a.1)).exp()
}

/// Case-A recombination rate of hydrogen in cm^3/s (Abel et al. 1997).
fn recombination_rate(ln_t: f64) -> f64 {
    const COEFFICIENTS: [f64; 10] = [
        -28.613_033_8,
        -0.724_112_56,
        -2.026_044_73e-2,
        -2.380_861_88e-3,
        -3.212_605_21e-4,
        -1.421_502_91e-5,
        4.989_108_92e-6,
        5.755_614_14e-7,
        -1.856_767_04e-8,
        -3.071_135_24e-9,
    ];
    let x = ln_t - 11_604.505_f64.ln();
    COEFFICIENTS
        .iter()
        .rev()
        .fold(0.0, |sum, coefficient| sum * x + coefficient)
        .exp()
}

/// What the spin temperature of all cells at one snapshot has in common.
#[derive(Debug, Clone, Copy)]
pub struct SpinSnapshot {
    cmb_k: f32,
    /// Collisional coupling per `(1 + delta)` and rate times density.
    collisions: f32,
    hydrogen: f32,
    baryons: f32,
    /// ln of the Gunn-Peterson depth per `(1 + delta)(1 - x_e)`, times 1e-7.
    ln_depth: f32,
    /// Lyman-alpha coupling per photon flux.
    lyman_alpha: f32,
    /// Optical depth of the 21-cm line per `(1 - x_e) / T_S`; 0 where it is neglected.
    line_depth: f32,
}

impl SpinSnapshot {
    /// Prepares redshift `z`.
    #[must_use]
    pub fn new(background: &Background, physics: &Physics, z: f64) -> Self {
        let cmb = c::CMB_TEMPERATURE * (1.0 + z);
        let volume = (1.0 + z).powi(3);
        let hubble = background.hubble(z);
        let depth = 1e-7 * 1.342_881e-7 / hubble * background.hydrogen_density() * volume;
        // gamma = f_alpha (nu e)^2 / (6 m_e c^3 epsilon_0) in SI units: the width of the transition.
        let charge = c::ELECTRON_CHARGE / (c::SPEED_OF_LIGHT / 10.0);
        let width = c::LYMAN_ALPHA_OSCILLATOR_STRENGTH
            * (c::LYMAN_ALPHA_FREQUENCY * charge).powi(2)
            / (6.0
                * (c::ELECTRON_MASS / 1000.0)
                * (c::SPEED_OF_LIGHT / 100.0).powi(3)
                * c::VACUUM_PERMITTIVITY);
        let coupling = 8.0 * PI * c::LYMAN_ALPHA_WAVELENGTH.powi(2) * width * c::T_21CM
            / (9.0 * c::A_10 * cmb);
        let line_depth =
            3.0 * c::PLANCK_CONSTANT * c::A_10 * c::SPEED_OF_LIGHT * c::WAVELENGTH_21CM.powi(2)
                / (32.0 * PI * c::BOLTZMANN_CONSTANT)
                * background.hydrogen_density()
                * volume
                / hubble;
        Self {
            cmb_k: cmb as f32,
            collisions: (volume * c::T_21CM / (cmb * c::A_10)) as f32,
            hydrogen: background.hydrogen_density() as f32,
            baryons: background.baryon_density() as f32,
            ln_depth: depth.ln() as f32,
            lyman_alpha: (coupling
                * if physics.weak_coupling {
                    WEAK_COUPLING
                } else {
                    1.0
                }) as f32,
            line_depth: if physics.line_optical_depth {
                line_depth as f32
            } else {
                0.0
            },
        }
    }

    /// Prefactor of the Lyman-alpha coupling times `1 + z`: 1.80e11 in cgs units.
    #[must_use]
    pub fn coupling_prefactor(&self) -> f64 {
        f64::from(self.lyman_alpha) * f64::from(self.cmb_k) / c::CMB_TEMPERATURE
    }

    /// Spin temperature in K of gas at temperature `t` with logarithm `ln_t` in a flux `photons` of
    /// Lyman alpha (cm^-2 s^-1 Hz^-1 sr^-1): Hirata (2006) with the fits of its equations 40-43.
    ///
    /// `old_spin` and `old_electrons` are those of the previous snapshot.
    #[inline(always)]
    #[must_use]
    #[expect(
        clippy::too_many_arguments,
        reason = "one number of each field of a cell"
    )]
    pub fn spin_temperature(
        &self,
        t: f32,
        ln_t: f32,
        delta: f32,
        electrons: f32,
        photons: f32,
        rates: [f32; 3],
        old_spin: f32,
        old_electrons: f32,
    ) -> f32 {
        let neutral = 1.0 - electrons;
        let one = 1.0 + delta;
        let collisions = one
            * self.collisions
            * (neutral * self.hydrogen * rates[0]
                + electrons * self.baryons * rates[1]
                + electrons * self.hydrogen * rates[2]);
        let per_t = 1.0 / t;
        let xi = vector_math::exp(
            (self.ln_depth + vector_math::ln(one * neutral + 1e-12) - 2.0 * ln_t) * (1.0 / 3.0),
        );
        let suppression = 1.0 + xi * (2.983_94 + xi * (1.535_83 + xi * 3.852_89));
        let photons = if photons < 1e-20 { 0.0 } else { photons };
        let strength = self.lyman_alpha * photons / suppression;
        // Mean of exp(-tau) over the line; the series where tau is small avoids a cancellation.
        let depth = self.line_depth * (1.0 - old_electrons) / old_spin;
        let cmb = 1.0 - depth * (0.5 - depth * (1.0 / 6.0 - depth * (1.0 / 24.0)));
        let cmb_rate = cmb / self.cmb_k;
        let constant = 1.0 - 0.063_178_9 * per_t + 0.115_995 * per_t * per_t;
        let by_spin = (-0.401_403 + 0.336_463 * per_t) * per_t;
        let colour = per_t - 0.405_535 * per_t * per_t;
        let colour_by_spin = 0.405_535 * per_t;
        let mut per_spin = 1.0 / self.cmb_k;
        for _ in 0..ITERATIONS {
            let coupling = strength * (constant + by_spin * per_spin);
            per_spin =
                (cmb_rate + coupling * (colour + colour_by_spin * per_spin) + collisions * per_t)
                    / (cmb + coupling + collisions);
        }
        (1.0 / per_spin).abs()
    }
}
