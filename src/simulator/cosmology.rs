//! Expansion, growth and distances in a flat Lambda-CDM universe.

use super::constants as c;
use super::spline::Spline;
pub use crate::data::manifest::{Cosmology, GILLET_2019};

/// Background quantities of one cosmology.
#[derive(Debug, Clone)]
pub struct Background {
    cosmology: Cosmology,
    /// Hubble constant in 1/s.
    hubble_constant: f64,
    growth_today: f64,
}

impl Background {
    /// Prepares the background of `cosmology`.
    #[must_use]
    pub fn new(cosmology: &Cosmology) -> Self {
        Self {
            hubble_constant: cosmology.h * c::HUNDRED_KM_S_MPC,
            growth_today: growth_suppression(cosmology.omega_m),
            cosmology: cosmology.clone(),
        }
    }

    /// The parameters this background was made from.
    #[must_use]
    pub fn cosmology(&self) -> &Cosmology {
        &self.cosmology
    }

    /// Hubble constant in 1/s.
    #[must_use]
    pub fn hubble_constant(&self) -> f64 {
        self.hubble_constant
    }

    /// Expansion rate at redshift `z` in 1/s.
    #[must_use]
    pub fn hubble(&self, z: f64) -> f64 {
        let a = 1.0 + z;
        let density = self.cosmology.omega_m * a.powi(3)
            + c::OMEGA_RADIATION * a.powi(4)
            + self.cosmology.omega_l;
        self.hubble_constant * density.sqrt()
    }

    /// Cosmic time per redshift, `dt/dz` in s, negative; matter and Lambda only.
    #[must_use]
    pub fn dt_dz(&self, z: f64) -> f64 {
        let a = 1.0 + z;
        let density = self.cosmology.omega_m * a.powi(3) + self.cosmology.omega_l;
        -1.0 / (a * self.hubble_constant * density.sqrt())
    }

    /// Comoving distance per redshift, `dr/dz` in Mpc, positive.
    #[must_use]
    pub fn dr_dz_mpc(&self, z: f64) -> f64 {
        -(1.0 + z) * c::SPEED_OF_LIGHT * self.dt_dz(z) / c::CM_PER_MPC
    }

    /// Matter density over the critical density at redshift `z`.
    #[must_use]
    pub fn omega_m(&self, z: f64) -> f64 {
        let a = 1.0 + z;
        let matter = self.cosmology.omega_m * a.powi(3);
        matter / (matter + self.cosmology.omega_l + c::OMEGA_RADIATION * a.powi(4))
    }

    /// Linear growth factor, 1 today (Carroll, Press & Turner 1992; Liddle et al. 1996).
    #[must_use]
    pub fn growth(&self, z: f64) -> f64 {
        growth_suppression(self.omega_m(z)) / (self.growth_today * (1.0 + z))
    }

    /// Derivative of the growth factor by redshift, negative.
    #[must_use]
    pub fn growth_dz(&self, z: f64) -> f64 {
        const STEP: f64 = 1e-3;
        (self.growth(z + STEP) - self.growth(z - STEP)) / (2.0 * STEP)
    }

    /// Critical density today in g/cm^3.
    #[must_use]
    pub fn critical_density(&self) -> f64 {
        3.0 * self.hubble_constant.powi(2)
            / (8.0 * std::f64::consts::PI * c::GRAVITATIONAL_CONSTANT)
    }

    /// Critical density today in solar masses per Mpc^3.
    #[must_use]
    pub fn critical_density_msun_mpc3(&self) -> f64 {
        self.critical_density() * c::CM_PER_MPC.powi(3) / c::GRAMS_PER_SOLAR_MASS
    }

    /// Hydrogen nuclei per cm^3 today.
    #[must_use]
    pub fn hydrogen_density(&self) -> f64 {
        self.critical_density() * self.cosmology.omega_b * (1.0 - c::HELIUM_MASS_FRACTION)
            / c::PROTON_MASS
    }

    /// Helium nuclei per cm^3 today.
    #[must_use]
    pub fn helium_density(&self) -> f64 {
        self.critical_density() * self.cosmology.omega_b * c::HELIUM_MASS_FRACTION
            / (4.0 * c::PROTON_MASS)
    }

    /// Hydrogen and helium nuclei per cm^3 today.
    #[must_use]
    pub fn baryon_density(&self) -> f64 {
        self.hydrogen_density() + self.helium_density()
    }

    /// Share of hydrogen in the nuclei.
    #[must_use]
    pub fn hydrogen_fraction(&self) -> f64 {
        self.hydrogen_density() / self.baryon_density()
    }

    /// Mass in solar masses within a comoving sphere of radius `radius_mpc` at the mean density.
    #[must_use]
    pub fn mass_msun(&self, radius_mpc: f64) -> f64 {
        4.0 / 3.0
            * std::f64::consts::PI
            * radius_mpc.powi(3)
            * self.cosmology.omega_m
            * self.critical_density_msun_mpc3()
    }

    /// Comoving radius in Mpc of a sphere holding `mass_msun` at the mean density.
    #[must_use]
    pub fn radius_mpc(&self, mass_msun: f64) -> f64 {
        (mass_msun / self.mass_msun(1.0)).cbrt()
    }

    /// Mass in solar masses of a halo of virial temperature `temperature_k` at redshift `z`
    /// (Barkana & Loeb 2001, equation 26; virial overdensity of Bryan & Norman 1998).
    ///
    /// The mean molecular weight is that of ionised gas from 10^4 K up, of neutral gas below.
    #[must_use]
    pub fn virial_mass_msun(&self, temperature_k: f64, z: f64) -> f64 {
        let mean_molecular_weight = if temperature_k >= 9999.99 { 0.6 } else { 1.22 };
        let omega = self.omega_m(z);
        let d = omega - 1.0;
        let overdensity = 18.0 * std::f64::consts::PI.powi(2) + 82.0 * d - 39.0 * d * d;
        7030.97 / self.cosmology.h
            * (omega / (self.cosmology.omega_m * overdensity)).sqrt()
            * (temperature_k / (mean_molecular_weight * (1.0 + z))).powf(1.5)
    }
}

/// Growth relative to an Einstein-de Sitter universe.
fn growth_suppression(omega: f64) -> f64 {
    2.5 * omega / (1.0 / 70.0 + omega * (209.0 - omega) / 140.0 + omega.powf(4.0 / 7.0))
}

/// Comoving distances along the line of sight.
///
/// They include photons and neutrinos as the Planck 2015 cosmology of astropy does (2.7255 K, three
/// species of which one has 0.06 eV), because 21cmFAST places the cells of its light-cones with it.
#[derive(Debug, Clone)]
pub struct Distances {
    distance_mpc: Spline,
    step: f64,
}

impl Distances {
    const FARTHEST_REDSHIFT: f64 = 60.0;

    /// Tabulates the distances of `cosmology`.
    #[must_use]
    pub fn new(cosmology: &Cosmology) -> Self {
        const NODES: usize = 2401;
        // CODATA 2014 values, as in astropy: c in km/s; photon density today times h^2 for 2.7255 K.
        let hubble_distance = 299_792.458 / (100.0 * cosmology.h);
        let photons = 2.472_8e-5 / cosmology.h.powi(2);
        let relativistic = |z: f64| photons * (1.0 + neutrinos_per_photon(z));
        let dark_energy = 1.0 - cosmology.omega_m - relativistic(0.0);
        let integrand = |z: f64| {
            let a = 1.0 + z;
            hubble_distance
                / (relativistic(z) * a.powi(4) + cosmology.omega_m * a.powi(3) + dark_energy).sqrt()
        };
        let step = Self::FARTHEST_REDSHIFT / (NODES - 1) as f64;
        let mut distance = 0.0;
        let mut values = vec![0.0];
        for i in 1..NODES {
            let (low, high) = ((i - 1) as f64 * step, i as f64 * step);
            distance += step / 6.0
                * (integrand(low) + 4.0 * integrand(0.5 * (low + high)) + integrand(high));
            values.push(distance);
        }
        Self {
            distance_mpc: Spline::new(0.0, step, values),
            step,
        }
    }

    /// Comoving distance in Mpc to redshift `z` (0 to 60).
    #[must_use]
    pub fn comoving_mpc(&self, z: f64) -> f64 {
        self.distance_mpc.at(z)
    }

    /// Redshift at a comoving distance in Mpc, by bisection; at most 60.
    #[must_use]
    pub fn redshift(&self, comoving_mpc: f64) -> f64 {
        let (mut low, mut high) = (0.0, Self::FARTHEST_REDSHIFT);
        while high - low > 1e-10 * self.step.max(1.0) {
            let middle = 0.5 * (low + high);
            if self.comoving_mpc(middle) < comoving_mpc {
                low = middle;
            } else {
                high = middle;
            }
        }
        0.5 * (low + high)
    }
}

/// Energy density of neutrinos over that of photons at redshift `z`
/// (fit of Komatsu et al. 2011, equation 26; one species of 0.06 eV, effective number 3.046).
fn neutrinos_per_photon(z: f64) -> f64 {
    const PER_SPECIES: f64 = 0.227_107_317_66 * 3.046 / 3.0;
    const MASS_EV: f64 = 0.06;
    const TEMPERATURE_K: f64 = 0.713_765_855_503_608_2 * 2.7255;
    const BOLTZMANN_EV_PER_K: f64 = 8.617_330_3e-5;
    let mass_over_temperature = MASS_EV / (BOLTZMANN_EV_PER_K * TEMPERATURE_K * (1.0 + z));
    let massive = (1.0 + (0.3173 * mass_over_temperature).powf(1.83)).powf(1.0 / 1.83);
    PER_SPECIES * (2.0 + massive)
}
