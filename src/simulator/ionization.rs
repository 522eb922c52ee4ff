//! Ionised bubbles: an excursion set over spheres of decreasing size.
//!
//! Furlanetto, Zaldarriaga & Hernquist (2004); Zahn et al. (2011), variant FFRT: the collapsed fraction of
//! a sphere follows from its evolved density, normalised to the Sheth-Tormen mean.

use dawn21_kernels::rng::{Generator, Stream, generator, unit_interval};
use rand_xoshiro::rand_core::Rng;

use super::collapsed_fraction::CollapsedFraction;
use super::constants::EQUAL_VOLUME_RADIUS;
use super::cosmology::Background;
use super::execution::{Execution, vectorised};
use super::filter::SharpK;
use super::fourier::{Fourier, Spectrum};
use super::parameters::Simulation;
use super::perturbation::LOWEST_CONTRAST;
use super::power_spectrum::LinearPower;
use super::shells::extremes;
use super::thermal::GasMeans;
use super::vector_math;

/// Ratio of successive radii.
const RADIUS_RATIO: f64 = 1.1;
/// While the sources could ionise less than this share of the gas, none is ionised.
const TOO_FEW_SOURCES: f64 = 1e-5;
/// Electron fractions that differ by less than this are averaged over the box, not over each sphere.
const UNIFORM_ELECTRONS: f64 = 0.01;
/// Box averages of the collapsed fraction are at least this.
const SMALLEST_MEAN: f64 = 1e-7;
/// Cells with fewer haloes than this of the smallest mass are given a random number of them.
const FEW_HALOES: f64 = 5.0;
/// Radii of the spheres in Mpc, from large to small; the last is that of a cell.
#[must_use]
pub fn bubble_radii_mpc(simulation: &Simulation) -> Vec<f64> {
    let cell = EQUAL_VOLUME_RADIUS * simulation.grid.cell_mpc;
    let largest = simulation
        .astrophysics
        .r_mfp_mpc
        .min(EQUAL_VOLUME_RADIUS * simulation.grid.box_mpc());
    if !simulation.physics.largest_bubble_radius {
        let steps = ((largest / cell).ln() / RADIUS_RATIO.ln()).max(0.0) as i32;
        return (0..=steps)
            .rev()
            .map(|step| cell * RADIUS_RATIO.powi(step))
            .collect();
    }
    let mut radii = vec![largest];
    let steps = ((largest / cell).ln() / RADIUS_RATIO.ln()).ceil() as i32;
    // The step just above a cell is replaced by the cell.
    radii.extend(
        (2..=steps)
            .rev()
            .map(|step| cell * RADIUS_RATIO.powi(step))
            .filter(|radius| *radius < largest * (1.0 - 1e-9)),
    );
    if largest > cell {
        radii.push(cell);
    } else {
        radii[0] = cell;
    }
    radii
}

/// The search for ionised cells in one simulation.
#[derive(Debug)]
pub(crate) struct Ionization {
    radii_mpc: Vec<f64>,
    sigma: Vec<f64>,
    filters: Vec<SharpK>,
    fraction: Vec<f32>,
    electrons: Vec<f32>,
    electron_spectrum: Option<Spectrum>,
    zeta: f64,
    cell_mass_msun: f64,
    poisson_haloes: bool,
    seed: u64,
}

/// The fields of one snapshot that decide what is ionised.
pub(crate) struct IonizationInput<'a> {
    pub(crate) redshift: f64,
    /// Number of the snapshot, a key of the random numbers.
    pub(crate) snapshot: u64,
    pub(crate) density: &'a [f32],
    pub(crate) spectrum: &'a Spectrum,
    pub(crate) electron_fraction: &'a [f32],
    pub(crate) means: GasMeans,
}

impl Ionization {
    pub(crate) fn new(
        simulation: &Simulation,
        background: &Background,
        power: &LinearPower,
        seed: u64,
    ) -> Self {
        let radii_mpc = bubble_radii_mpc(simulation);
        let box_mpc = simulation.grid.box_mpc();
        Self {
            sigma: radii_mpc
                .iter()
                .map(|&radius| power.sigma_radius(radius))
                .collect(),
            filters: radii_mpc
                .iter()
                .map(|&radius| SharpK::new(box_mpc, radius))
                .collect(),
            cell_mass_msun: background.mass_msun(EQUAL_VOLUME_RADIUS * simulation.grid.cell_mpc),
            radii_mpc,
            fraction: Vec::new(),
            electrons: Vec::new(),
            electron_spectrum: None,
            zeta: simulation.astrophysics.zeta,
            poisson_haloes: simulation.physics.poisson_haloes,
            seed,
        }
    }

    /// Fraction of neutral hydrogen in each cell into `neutral`; returns its mean.
    pub(crate) fn neutral_fraction(
        &mut self,
        background: &Background,
        collapse: &CollapsedFraction,
        fourier: &Fourier,
        input: &IonizationInput<'_>,
        scratch: &mut Spectrum,
        neutral: &mut [f32],
    ) -> f64 {
        let z = input.redshift;
        let sheth_tormen = collapse.sheth_tormen(z);
        if self.zeta * sheth_tormen < TOO_FEW_SOURCES {
            for (to, electrons) in neutral.iter_mut().zip(input.electron_fraction) {
                *to = 1.0 - electrons;
            }
            return mean(neutral);
        }
        neutral.fill(1.0);
        self.fraction.resize(neutral.len(), 0.0);
        let [fewest, most] = input.means.electron_range;
        let uniform = most - fewest < UNIFORM_ELECTRONS;
        if !uniform {
            self.electrons.resize(neutral.len(), 0.0);
            let spectrum = self
                .electron_spectrum
                .get_or_insert_with(|| fourier.zeros());
            fourier.forward(input.electron_fraction, scratch, spectrum);
        }
        let growth = background.growth(z);
        let sigma_minimum = collapse.sigma_minimum(z);
        let last = self.radii_mpc.len() - 1;
        for number in 0..=last {
            // Spheres no larger than a halo: no smaller ones are looked at.
            if background.mass_msun(self.radii_mpc[number]) <= collapse.minimum_mass_msun(z) {
                break;
            }
            let Some(conditional) = collapse.conditional(growth, sigma_minimum, self.sigma[number])
            else {
                break;
            };
            let is_cell = number == last;
            if !is_cell {
                fourier.inverse(
                    input.spectrum,
                    &self.filters[number],
                    scratch,
                    &mut self.fraction,
                );
                // The collapsed fraction is a convex function of the contrast, so that its mean is at least
                // its value at the mean contrast, 0: a bound on the fraction of the densest sphere.
                let densest = largest(&self.fraction, fourier.execution());
                let bound = sheth_tormen * conditional.fraction(densest / growth)
                    / conditional.fraction(0.0);
                if densest < collapse.critical_contrast() && self.zeta * bound < 0.99 * (1.0 - most)
                {
                    continue;
                }
                if let (false, Some(spectrum)) = (uniform, &self.electron_spectrum) {
                    fourier.inverse(
                        spectrum,
                        &self.filters[number],
                        scratch,
                        &mut self.electrons,
                    );
                }
            } else {
                self.fraction.copy_from_slice(input.density);
            }
            let average = collapse_in_place(
                &mut self.fraction,
                collapse.critical_contrast(),
                conditional.b / growth,
                fourier.execution(),
            );
            let normalisation = sheth_tormen / average.max(SMALLEST_MEAN);
            let per_fraction = (self.zeta * normalisation) as f32;
            if is_cell {
                self.resolve_cells(input, collapse, per_fraction, fourier, neutral);
            } else {
                let electrons = (!uniform).then_some(&self.electrons[..]);
                let mean_electrons = input.means.electron_fraction as f32;
                mark_ionised(
                    &self.fraction,
                    per_fraction,
                    electrons,
                    mean_electrons,
                    neutral,
                );
            }
        }
        if neutral.iter().all(|value| value.is_finite()) {
            mean(neutral)
        } else {
            f64::NAN
        }
    }

    /// The last step: cells that are ionised as a whole, and partly ionised ones.
    fn resolve_cells(
        &self,
        input: &IonizationInput<'_>,
        collapse: &CollapsedFraction,
        per_fraction: f32,
        fourier: &Fourier,
        neutral: &mut [f32],
    ) {
        let n = fourier.cells();
        let zeta = self.zeta as f32;
        // Haloes of the smallest mass in a cell of mean density that has collapsed entirely.
        let haloes = (self.cell_mass_msun / collapse.minimum_mass_msun(input.redshift)) as f32;
        let few = FEW_HALOES as f32;
        let chances = poisson_chances(FEW_HALOES);
        let pieces: Vec<_> = neutral.chunks_exact_mut(n).enumerate().collect();
        let _: Vec<()> = fourier.execution().run(
            pieces,
            || (),
            |(), (row, neutral)| {
                let start = row * n;
                let key = [input.snapshot, row as u64];
                let mut draws: Option<Generator> = None;
                for (z, neutral) in neutral.iter_mut().enumerate() {
                    if *neutral <= 0.0 {
                        continue;
                    }
                    let electrons = input.electron_fraction[start + z];
                    let ionised = per_fraction * self.fraction[start + z];
                    if ionised > 1.0 - electrons.clamp(0.0, 0.999) {
                        *neutral = 0.0;
                        continue;
                    }
                    let mut fraction = (ionised / zeta).min(1.0);
                    let number = fraction * haloes * (1.0 + input.density[start + z]);
                    if self.poisson_haloes && number < 1.0 / few {
                        fraction = 0.0;
                    } else if self.poisson_haloes && number < few {
                        let draws = draws.get_or_insert_with(|| {
                            generator(self.seed, Stream::UnresolvedSources, &key)
                        });
                        let u = unit_interval(draws.next_u64());
                        fraction *= chances.partition_point(|chance| *chance <= u) as f32 / few;
                    }
                    *neutral = (1.0 - zeta * fraction.min(1.0) - electrons).clamp(0.0, 1.0);
                }
            },
        );
    }
}

/// Chances that a Poisson number of the given mean is at most 0, 1, 2 ...
fn poisson_chances(mean: f64) -> Vec<f64> {
    let mut term = (-mean).exp();
    let mut sum = term;
    (1..40)
        .map(|k| {
            let chance = sum;
            term *= mean / f64::from(k);
            sum += term;
            chance
        })
        .collect()
}

/// The largest value of a field.
fn largest(field: &[f32], execution: Execution) -> f64 {
    const CHUNK: usize = 1 << 16;
    let pieces: Vec<_> = field.chunks(CHUNK).collect();
    execution
        .run(
            pieces,
            || (),
            |(), chunk| {
                vectorised(
                    #[inline(always)]
                    || extremes(chunk).1,
                )
            },
        )
        .into_iter()
        .fold(f64::NEG_INFINITY, |a, b| a.max(f64::from(b)))
}

/// Turns contrasts into collapsed fractions (before normalisation), `erfc(slope (critical - contrast))`; returns
/// their mean.
fn collapse_in_place(
    field: &mut [f32],
    critical_contrast: f64,
    slope: f64,
    execution: Execution,
) -> f64 {
    const CHUNK: usize = 4096;
    let cells = field.len();
    let (critical, slope) = (critical_contrast as f32, slope as f32);
    let pieces: Vec<_> = field.chunks_mut(CHUNK).collect();
    let partials = execution.run(
        pieces,
        || (),
        |(), chunk| {
            vectorised(
                #[inline(always)]
                || {
                    for value in chunk.iter_mut() {
                        let contrast = value.max(LOWEST_CONTRAST);
                        *value = vector_math::erfc(((critical - contrast) * slope).max(0.0));
                    }
                    let mut sums = [0.0_f64; 8];
                    let (eights, rest) = chunk.as_chunks::<8>();
                    for eight in eights {
                        for (sum, value) in sums.iter_mut().zip(eight) {
                            *sum += f64::from(*value);
                        }
                    }
                    let rest: f64 = rest.iter().map(|&value| f64::from(value)).sum();
                    sums.iter().sum::<f64>() + rest
                },
            )
        },
    );
    partials.iter().sum::<f64>() / cells as f64
}

/// Ionises the cells in the middle of spheres with enough sources.
fn mark_ionised(
    fraction: &[f32],
    per_fraction: f32,
    electrons: Option<&[f32]>,
    mean_electrons: f32,
    neutral: &mut [f32],
) {
    vectorised(
        #[inline(always)]
        || match electrons {
            None => {
                let needed = (1.0 - mean_electrons.clamp(0.0, 0.999)) / per_fraction;
                for (neutral, &fraction) in neutral.iter_mut().zip(fraction) {
                    *neutral = if fraction > needed { 0.0 } else { *neutral };
                }
            }
            Some(electrons) => {
                for ((neutral, &fraction), &electrons) in
                    neutral.iter_mut().zip(fraction).zip(electrons)
                {
                    let gas = 1.0 - electrons.clamp(0.0, 0.999);
                    *neutral = if per_fraction * fraction > gas {
                        0.0
                    } else {
                        *neutral
                    };
                }
            }
        },
    );
}

/// Mean of a field, summed in double precision.
pub(crate) fn mean(field: &[f32]) -> f64 {
    let mut sums = [0.0_f64; 8];
    let (eights, rest) = field.as_chunks::<8>();
    for eight in eights {
        for (sum, value) in sums.iter_mut().zip(eight) {
            *sum += f64::from(*value);
        }
    }
    let rest: f64 = rest.iter().map(|&value| f64::from(value)).sum();
    (sums.iter().sum::<f64>() + rest) / field.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::parameters::{Astrophysics, Grid, Physics};

    fn simulation(cells: usize, cell_mpc: f64) -> Simulation {
        Simulation::new(
            Astrophysics::default(),
            Grid {
                cells,
                cell_mpc,
                fine_factor: 3,
            },
        )
    }

    #[test]
    fn radii_are_those_of_the_specification() {
        let radii = bubble_radii_mpc(&simulation(50, 3.0));
        assert_eq!(radii.len(), 22);
        assert!((radii[0] - 15.0).abs() < 1e-12);
        assert!((radii[21] - 3.0 * EQUAL_VOLUME_RADIUS).abs() < 1e-9);
        assert!((radii[20] / radii[21] - 1.21).abs() < 1e-9);
        assert_eq!(bubble_radii_mpc(&simulation(200, 1.5)).len(), 30);
        assert_eq!(bubble_radii_mpc(&simulation(20, 30.0)).len(), 1);
    }

    #[test]
    fn radii_of_version_4_are_powers_of_the_ratio() {
        let mut simulation = simulation(50, 3.0);
        simulation.physics = Physics::version_4_1();
        let radii = bubble_radii_mpc(&simulation);
        let cell = 3.0 * EQUAL_VOLUME_RADIUS;
        assert_eq!(radii.len(), 22);
        assert!((radii[0] - cell * 1.1_f64.powi(21)).abs() < 1e-9 && radii[0] < 15.0);
        assert!((radii[20] / radii[21] - 1.1).abs() < 1e-9);
        assert!((radii[21] - cell).abs() < 1e-12);
    }

    #[test]
    fn poisson_chances_have_the_right_mean() {
        let chances = poisson_chances(5.0);
        let mut generator = generator(1, Stream::Audit, &[]);
        let draws = 100_000;
        let total: usize = (0..draws)
            .map(|_| {
                let u = unit_interval(generator.next_u64());
                chances.partition_point(|chance| *chance <= u)
            })
            .sum();
        let mean = total as f64 / f64::from(draws);
        assert!(
            (mean - 5.0).abs() < 5.0 * (5.0 / f64::from(draws)).sqrt(),
            "{mean}"
        );
    }
}
