//! Temperature and ionisation of the gas outside the ionised bubbles, step by step in redshift.
//!
//! Mesinger, Furlanetto & Cen (2011), equations 7 and 8, with explicit Euler steps: the step is part of
//! the model, see `docs/simulator.md`.

mod cells;

use cells::Work;

use super::cosmology::Background;
use super::execution::{Execution, vectorised};
use super::heating::ExtraHeating;
use super::parameters::Physics;
use super::shells::ShellDensities;
use super::sources::{BLOCK, SourceTerms, half_resolution_sums};
use super::spin_temperature::{Rates, SpinSnapshot};
use super::tables;

/// The gas outside ionised bubbles, one number per cell, layout `[x][y][z]`.
#[derive(Debug, Clone)]
pub struct Gas {
    /// Kinetic temperature in K.
    pub temperature_k: Vec<f32>,
    /// Free electrons per nucleus of hydrogen and helium.
    pub electron_fraction: Vec<f32>,
    /// Spin temperature of the 21-cm line in K.
    pub spin_temperature_k: Vec<f32>,
}

/// Box averages of [`Gas`].
#[derive(Debug, Clone, Copy)]
pub struct GasMeans {
    /// Mean kinetic temperature in K.
    pub temperature_k: f64,
    /// Mean electron fraction.
    pub electron_fraction: f64,
    /// Mean spin temperature in K.
    pub spin_temperature_k: f64,
    /// Smallest and largest electron fraction.
    pub electron_range: [f64; 2],
}

/// Sums over some cells from which [`GasMeans`] are made.
#[derive(Debug, Clone, Copy)]
struct Partial {
    sums: [f64; 3],
    electron_range: [f32; 2],
}

impl Partial {
    const EMPTY: Self = Self {
        sums: [0.0; 3],
        electron_range: [f32::INFINITY, f32::NEG_INFINITY],
    };

    fn of(temperature: &[f32], electrons: &[f32], spin: &[f32]) -> Self {
        let mut partial = Self::EMPTY;
        for ((t, x), s) in temperature.iter().zip(electrons).zip(spin) {
            partial.sums[0] += f64::from(*t);
            partial.sums[1] += f64::from(*x);
            partial.sums[2] += f64::from(*s);
            partial.electron_range[0] = partial.electron_range[0].min(*x);
            partial.electron_range[1] = partial.electron_range[1].max(*x);
        }
        partial
    }

    fn means(partials: &[Self], cells: usize) -> GasMeans {
        let mut total = Self::EMPTY;
        for partial in partials {
            for (sum, value) in total.sums.iter_mut().zip(partial.sums) {
                *sum += value;
            }
            total.electron_range[0] = total.electron_range[0].min(partial.electron_range[0]);
            total.electron_range[1] = total.electron_range[1].max(partial.electron_range[1]);
        }
        let [temperature_k, electron_fraction, spin_temperature_k] =
            total.sums.map(|sum| sum / cells as f64);
        GasMeans {
            temperature_k,
            electron_fraction,
            spin_temperature_k,
            electron_range: total.electron_range.map(f64::from),
        }
    }
}

/// One step in redshift, the same for all cells.
pub(crate) struct Step<'a> {
    pub(crate) background: &'a Background,
    pub(crate) physics: &'a Physics,
    pub(crate) rates: &'a Rates,
    pub(crate) heating: ExtraHeating<'a>,
    /// Redshift of the snapshot before.
    pub(crate) from: f64,
    /// Redshift of this snapshot.
    pub(crate) to: f64,
    pub(crate) execution: Execution,
}

impl Gas {
    /// The gas after recombination, at the first snapshot (redshift `z`, above 35).
    ///
    /// # Panics
    /// When `density` does not hold `cells` numbers.
    #[must_use]
    pub fn after_recombination(
        background: &Background,
        physics: &Physics,
        rates: &Rates,
        z: f64,
        density: &[f32],
    ) -> (Self, GasMeans) {
        let (temperature, electrons) = tables::recfast(z);
        // Adiabatic compression since recombination (Munoz 2023).
        let compression = if physics.adiabatic_start {
            (0.58 - 0.006 * (z - 10.0)) as f32
        } else {
            0.0
        };
        let (temperature, electrons) = (temperature as f32, electrons as f32);
        let without_depth = Physics {
            line_optical_depth: false,
            ..physics.clone()
        };
        let snapshot = SpinSnapshot::new(background, &without_depth, z);
        let ln_t = temperature.ln();
        let [hh, eh, ph, _] = rates.at(ln_t);
        let gas = Self {
            temperature_k: density
                .iter()
                .map(|delta| temperature * (1.0 + compression * delta))
                .collect(),
            electron_fraction: vec![electrons; density.len()],
            spin_temperature_k: density
                .iter()
                .map(|&delta| {
                    snapshot.spin_temperature(
                        temperature,
                        ln_t,
                        delta,
                        electrons,
                        0.0,
                        [hh, eh, ph],
                        temperature,
                        electrons,
                    )
                })
                .collect(),
        };
        let partial = Partial::of(
            &gas.temperature_k,
            &gas.electron_fraction,
            &gas.spin_temperature_k,
        );
        let means = Partial::means(&[partial], density.len());
        (gas, means)
    }

    /// Advances the gas by one snapshot with the evolved density contrast `density` of the new snapshot.
    pub(crate) fn advance(
        &mut self,
        step: &Step<'_>,
        n: usize,
        density: &[f32],
        terms: Option<&SourceTerms>,
        shells: &ShellDensities,
        half_sums: &mut Vec<f32>,
    ) -> GasMeans {
        let half = shells.shells.iter().any(|shell| shell.half_resolution);
        if let Some(terms) = terms
            && half
        {
            half_resolution_sums(terms, shells, n / 2, step.execution, half_sums);
        }
        let half_sums = half.then_some(&half_sums[..]);
        let coefficients = step.coefficients(terms);
        let snapshot = SpinSnapshot::new(step.background, step.physics, step.to);
        let plane = n * n;
        let pieces: Vec<_> = self
            .temperature_k
            .chunks_exact_mut(plane)
            .zip(self.electron_fraction.chunks_exact_mut(plane))
            .zip(self.spin_temperature_k.chunks_exact_mut(plane))
            .enumerate()
            .collect();
        let partials = step.execution.run(
            pieces,
            || Work::new(n),
            |work, (x, ((temperature, electrons), spin))| {
                let rows = (BLOCK / n).max(1);
                let mut partials = Vec::new();
                for y in (0..n).step_by(rows) {
                    let cells = rows.min(n - y) * n;
                    let block = y * n..y * n + cells;
                    let density = &density[x * plane..][block.clone()];
                    let (temperature, electrons, spin) = (
                        &mut temperature[block.clone()],
                        &mut electrons[block.clone()],
                        &mut spin[block.clone()],
                    );
                    vectorised(
                        #[inline(always)]
                        || {
                            if let Some(terms) = terms {
                                work.sum_sources(terms, shells, half_sums, n, [x, y], cells);
                            }
                            work.rates(
                                step,
                                &coefficients,
                                terms,
                                density,
                                temperature,
                                electrons,
                                spin,
                            );
                            work.update(
                                step,
                                &coefficients,
                                &snapshot,
                                density,
                                temperature,
                                electrons,
                                spin,
                            );
                        },
                    );
                    partials.push(Partial::of(temperature, electrons, spin));
                }
                partials
            },
        );
        let partials: Vec<Partial> = partials.into_iter().flatten().collect();
        Partial::means(&partials, density.len())
    }
}
