//! Heating that 21cmFAST 3 added: by resonant Lyman-alpha photons and by the CMB through the 21-cm line.

use std::f64::consts::PI;

use super::constants as c;
use super::cosmology::Background;
use super::parameters::Physics;
use super::tables::{self, HEATING_NODES};

/// Energies given to the gas by Lyman-alpha photons (Reis, Fialkov & Barkana 2021).
#[derive(Debug, Clone)]
pub struct LymanAlphaEnergies {
    /// `[T_K][T_S][tau][continuum, injected]` in erg.
    energies: Vec<[f32; 2]>,
}

impl LymanAlphaEnergies {
    /// Reads the shipped table.
    #[must_use]
    pub fn new() -> Self {
        Self {
            energies: tables::lyman_alpha_heating(),
        }
    }

    /// Energy in erg per photon `[from the continuum, injected by cascades]`; linear in the decimal
    /// logarithms of gas temperature (0.1 to 1000 K), spin temperature (same) and Gunn-Peterson depth
    /// (10 to 10^7), constant beyond.
    #[must_use]
    pub fn at(&self, log10_gas_k: f32, log10_spin_k: f32, log10_depth: f32) -> [f32; 2] {
        let last = (HEATING_NODES - 1) as f32;
        let node = |value: f32, low: f32, high: f32| {
            let position = ((value - low) / (high - low) * last).clamp(0.0, last - 1e-3);
            (position as usize, position.fract())
        };
        let (i, u) = node(log10_gas_k, -1.0, 3.0);
        let (j, v) = node(log10_spin_k, -1.0, 3.0);
        let (k, w) = node(log10_depth, 1.0, 7.0);
        let mut energies = [0.0; 2];
        for corner in 0..8_usize {
            let bits = [corner & 1, corner >> 1 & 1, corner >> 2 & 1];
            let share =
                |bit: usize, fraction: f32| if bit == 1 { fraction } else { 1.0 - fraction };
            let weight = share(bits[0], u) * share(bits[1], v) * share(bits[2], w);
            let at = ((i + bits[0]) * HEATING_NODES + j + bits[1]) * HEATING_NODES + k + bits[2];
            for (sum, energy) in energies.iter_mut().zip(self.energies[at]) {
                *sum += weight * energy;
            }
        }
        energies
    }
}

impl Default for LymanAlphaEnergies {
    fn default() -> Self {
        Self::new()
    }
}

/// The two heating terms at one snapshot.
#[derive(Debug, Clone)]
pub(crate) struct ExtraHeating<'a> {
    energies: Option<&'a LymanAlphaEnergies>,
    /// Kelvin per redshift for each erg and photon flux, times `(1 + delta)(1 + x_e)`.
    lyman_alpha: f32,
    log10_depth: f32,
    /// Heating by the CMB in Kelvin per redshift times `(1 + x_e)`, for cold gas: 1e-9 K, kept for the record.
    cmb: f32,
}

impl<'a> ExtraHeating<'a> {
    pub(crate) fn new(
        background: &Background,
        physics: &Physics,
        energies: Option<&'a LymanAlphaEnergies>,
        z: f64,
    ) -> Self {
        let per_energy = -2.0 / (3.0 * c::BOLTZMANN_CONSTANT);
        let hubble = background.hubble(z);
        let depth = 1.342_881e-7 / hubble * background.hydrogen_density() * (1.0 + z).powi(3);
        let photons = 4.0 * PI * c::LYMAN_ALPHA_FREQUENCY
            / (background.baryon_density() * (1.0 + z).powi(4) * c::SPEED_OF_LIGHT);
        let cmb = 0.75 * c::CMB_TEMPERATURE * (1.0 + z) / c::T_21CM
            * c::A_10
            * background.hydrogen_fraction()
            * c::PLANCK_CONSTANT.powi(2)
            / (c::WAVELENGTH_21CM.powi(2) * c::PROTON_MASS);
        Self {
            energies,
            lyman_alpha: (per_energy * photons) as f32,
            log10_depth: depth.log10() as f32,
            cmb: if physics.lyman_alpha_heating {
                (per_energy * cmb / (hubble * (1.0 + z))) as f32
            } else {
                0.0
            },
        }
    }

    /// Is there anything to add?
    pub(crate) fn is_on(&self) -> bool {
        self.energies.is_some() || self.cmb < 0.0
    }

    /// Adds the change of the gas temperature per redshift (K, negative for heating) of each cell.
    #[expect(
        clippy::too_many_arguments,
        reason = "one slice of each field of the cells"
    )]
    pub(crate) fn add(
        &self,
        temperature: &[f32],
        electrons: &[f32],
        spin: &[f32],
        density: &[f32],
        continuum: &[f32],
        injected: &[f32],
        unit: f32,
        rate: &mut [f32],
    ) {
        for i in 0..rate.len() {
            let per_particle = 1.0 / (1.0 + electrons[i]);
            rate[i] += self.cmb * (1.0 + 2.0 * temperature[i] / c::T_21CM as f32) * per_particle;
            if let Some(energies) = self.energies {
                let one = 1.0 + density[i];
                let neutral = (one * (1.0 - electrons[i])).max(1e-12);
                let [from_continuum, from_injected] = energies.at(
                    temperature[i].log10(),
                    spin[i].log10(),
                    self.log10_depth + neutral.log10(),
                );
                let power = continuum[i] * from_continuum + injected[i] * from_injected;
                rate[i] += self.lyman_alpha * unit * power / one * per_particle;
            }
        }
    }
}
