//! One light-cone from its initial conditions to the 21-cm signal.

use std::time::{Duration, Instant};

use super::brightness_temperature::{BrightnessInput, brightness_temperature, velocity_gradient};
use super::collapsed_fraction::CollapsedFraction;
use super::constants::SHELLS;
use super::cosmology::{Background, Cosmology, Distances};
use super::execution::Execution;
use super::fourier::Fourier;
use super::heating::{ExtraHeating, LymanAlphaEnergies};
use super::history::HistoryRow;
use super::initial_conditions::{InitialConditions, InitialDensityError};
use super::ionization::{Ionization, IonizationInput};
use super::light_cone::{LightCone, LightConeShape, TooLongError, snapshot_redshifts};
use super::parameters::{ParameterError, ShellDensity, Simulation};
use super::perturbation::Perturbation;
use super::power_spectrum::LinearPower;
use super::shells::{ShellDensities, shell_radii_mpc};
use super::sources::Sources;
use super::spin_temperature::Rates;
use super::thermal::{Gas, GasMeans, Step};
use super::x_ray::MeanGas;

/// Why a light-cone cannot be simulated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SimulationError {
    /// A parameter is out of range.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// The given initial density has the wrong size.
    #[error(transparent)]
    InitialDensity(#[from] InitialDensityError),
    /// The light-cone is too long.
    #[error(transparent)]
    TooLong(#[from] TooLongError),
    /// A plane is not in the box.
    #[error("planes: expected numbers below {cells}, found {found}")]
    Plane {
        /// Cells per side of the box.
        cells: usize,
        /// The plane asked for.
        found: usize,
    },
    /// The signal is not a number somewhere.
    #[error(
        "the simulation with seed {seed} gave a signal that is not finite at redshift {redshift:.2}; please report its parameters"
    )]
    NotFinite {
        /// Seed of the light-cone.
        seed: u64,
        /// Redshift of the snapshot.
        redshift: f64,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Where the initial density comes from.
#[derive(Debug, Clone)]
pub enum InitialDensity {
    /// Drawn from the power spectrum with the light-cone's seed.
    Drawn,
    /// Given: contrast extrapolated linearly to redshift 0, layout `[x][y][z]`, `fine_cells` per side.
    Given(Vec<f32>),
}

/// What all light-cones of one cosmology share.
#[derive(Debug)]
pub struct Universe {
    background: Background,
    power: LinearPower,
    distances: Distances,
    rates: Rates,
    energies: LymanAlphaEnergies,
}

impl Universe {
    /// Tabulates the power spectrum, distances and atomic rates.
    #[must_use]
    pub fn new(cosmology: &Cosmology) -> Self {
        let background = Background::new(cosmology);
        Self {
            power: LinearPower::new(&background),
            distances: Distances::new(cosmology),
            rates: Rates::new(),
            energies: LymanAlphaEnergies::new(),
            background,
        }
    }

    /// The expansion.
    #[must_use]
    pub fn background(&self) -> &Background {
        &self.background
    }

    /// Distances along the line of sight.
    #[must_use]
    pub fn distances(&self) -> &Distances {
        &self.distances
    }
}

/// The fields of one snapshot, layout `[x][y][z]`.
#[derive(Debug)]
pub struct Snapshot<'a> {
    /// Number of the snapshot, from 0.
    pub number: usize,
    /// Number of snapshots of the simulation.
    pub count: usize,
    /// Box averages.
    pub means: HistoryRow,
    /// Evolved density contrast.
    pub density: &'a [f32],
    /// Gas outside ionised bubbles.
    pub gas: &'a Gas,
    /// Fraction of neutral hydrogen.
    pub neutral_fraction: &'a [f32],
    /// Brightness temperature in mK.
    pub brightness_temperature_mk: &'a [f32],
}

/// Elapsed time of the stages of a simulation.
#[derive(Debug, Clone, Copy, Default)]
pub struct StageTimes {
    /// Tables that depend on the astrophysical parameters.
    pub tables: Duration,
    /// Random field, displacements.
    pub initial_conditions: Duration,
    /// Evolved density and its spectrum.
    pub density: Duration,
    /// Densities on light-travel shells.
    pub shells: Duration,
    /// Sums over sources, gas and spin temperatures.
    pub temperatures: Duration,
    /// Ionised bubbles.
    pub ionization: Duration,
    /// Velocity gradient, brightness temperature, light-cone.
    pub signal: Duration,
}

impl StageTimes {
    /// Name and time of every stage.
    #[must_use]
    pub fn stages(&self) -> [(&'static str, Duration); 7] {
        [
            ("tables", self.tables),
            ("initial conditions", self.initial_conditions),
            ("density", self.density),
            ("shells", self.shells),
            ("temperatures", self.temperatures),
            ("ionization", self.ionization),
            ("signal", self.signal),
        ]
    }
}

/// A finished light-cone.
#[derive(Debug)]
pub struct SimulatedLightCone {
    /// Brightness temperature in mK, layout `[x][stored y][slice]`, nearest slice first.
    pub brightness_temperature_mk: Vec<f32>,
    /// Box averages, highest redshift first.
    pub history: Vec<HistoryRow>,
    /// Where the time went.
    pub times: StageTimes,
}

/// Runs a stage and adds its duration to `total`.
fn timed<Output>(total: &mut Duration, stage: impl FnOnce() -> Output) -> Output {
    let start = Instant::now();
    let output = stage();
    *total += start.elapsed();
    output
}

/// How often the densities on shells are recomputed, in snapshots: `(first shell, period)`. Small spheres
/// become non-linear, large ones only grow.
const REFRESH_PERIODS: [(usize, usize); 2] = [(0, 2), (10, 4)];

/// Simulates one light-cone.
///
/// `observe` sees every snapshot and returns whether to go on. The result depends on `simulation`,
/// `initial`, `seed` and `shape` only, never on `execution`.
///
/// # Errors
/// [`SimulationError`] when a parameter, the initial density or the shape is wrong, or when `observe`
/// stops the simulation.
pub fn simulate(
    universe: &Universe,
    simulation: &Simulation,
    initial: InitialDensity,
    seed: u64,
    shape: &LightConeShape,
    execution: Execution,
    observe: &mut dyn FnMut(&Snapshot<'_>) -> bool,
) -> Result<SimulatedLightCone, SimulationError> {
    simulation.validate()?;
    let grid = &simulation.grid;
    let n = grid.cells;
    if let Some(&found) = shape.y_planes.iter().find(|&&y| y >= n) {
        return Err(SimulationError::Plane { cells: n, found });
    }
    let physics = &simulation.physics;
    let background = &universe.background;
    let distances = &universe.distances;
    let redshifts = snapshot_redshifts(simulation.lowest_redshift);
    let mut cone = LightCone::new(
        distances,
        n,
        grid.cell_mpc,
        simulation.lowest_redshift,
        shape,
    )?;
    let mut times = StageTimes::default();

    let radii_mpc = shell_radii_mpc(grid);
    let (collapse, mut sources, mut ionization) = timed(&mut times.tables, || {
        let virial_temperature = 10_f64.powf(simulation.astrophysics.log10_tvir);
        (
            CollapsedFraction::new(
                background,
                &universe.power,
                virial_temperature,
                physics.critical_density_contrast,
            ),
            Sources::new(simulation, background, &universe.power, radii_mpc.clone()),
            Ionization::new(simulation, background, &universe.power, seed),
        )
    });
    let conditions = timed(&mut times.initial_conditions, || match initial {
        InitialDensity::Drawn => Ok(InitialConditions::draw(
            grid,
            &universe.power,
            seed,
            physics.second_order_displacements,
            execution,
        )),
        InitialDensity::Given(density) => InitialConditions::from_density(
            grid,
            density,
            physics.second_order_displacements,
            execution,
        ),
    })?;

    let perturbation = Perturbation::new(&conditions, grid, background, physics, execution);
    let fourier = Fourier::new(n, execution);
    let (mut spectrum, mut scratch) = (fourier.zeros(), fourier.zeros());
    let mut shells = ShellDensities::new(grid, &radii_mpc, &fourier, execution);
    let cells = n.pow(3);
    let mut density = vec![0.0_f32; cells];
    let mut neutral = vec![0.0_f32; cells];
    let (mut signal, mut previous_signal) = (vec![0.0_f32; cells], vec![0.0_f32; cells]);
    let mut half_sums = Vec::new();
    let mut state: Option<(Gas, GasMeans)> = None;
    let mut history = Vec::with_capacity(redshifts.len());

    if physics.shell_density == ShellDensity::Final {
        timed(&mut times.shells, || {
            let growth = background.growth(simulation.lowest_redshift);
            perturbation.density(growth, &mut density);
            fourier.forward(&density, &mut scratch, &mut spectrum);
            shells.refresh(0..SHELLS, &spectrum, &mut scratch, growth);
        });
    }

    for (number, &z) in redshifts.iter().enumerate() {
        let growth = background.growth(z);
        timed(&mut times.density, || {
            perturbation.density(growth, &mut density);
            fourier.forward(&density, &mut scratch, &mut spectrum);
        });
        let (gas, means) = match state.take() {
            None => timed(&mut times.temperatures, || {
                Gas::after_recombination(background, physics, &universe.rates, z, &density)
            }),
            Some((mut gas, means)) => {
                if physics.shell_density == ShellDensity::Evolved {
                    timed(&mut times.shells, || {
                        for which in shells_to_refresh(number) {
                            shells.refresh(which, &spectrum, &mut scratch, growth);
                        }
                    });
                }
                let mean_gas = MeanGas {
                    redshift: z,
                    electron_fraction: means.electron_fraction,
                };
                let terms = timed(&mut times.tables, || {
                    sources.terms(
                        background,
                        &collapse,
                        mean_gas,
                        means.electron_range,
                        &shells,
                    )
                });
                let step = Step {
                    background,
                    physics,
                    rates: &universe.rates,
                    heating: ExtraHeating::new(
                        background,
                        physics,
                        physics.lyman_alpha_heating.then_some(&universe.energies),
                        z,
                    ),
                    from: redshifts[number - 1],
                    to: z,
                    execution,
                };
                let means = timed(&mut times.temperatures, || {
                    gas.advance(&step, n, &density, terms.as_ref(), &shells, &mut half_sums)
                });
                (gas, means)
            }
        };
        let neutral_fraction = timed(&mut times.ionization, || {
            let input = IonizationInput {
                redshift: z,
                snapshot: number as u64,
                density: &density,
                spectrum: &spectrum,
                electron_fraction: &gas.electron_fraction,
                means,
            };
            ionization.neutral_fraction(
                background,
                &collapse,
                &fourier,
                &input,
                &mut scratch,
                &mut neutral,
            )
        });
        let brightness = timed(&mut times.signal, || {
            std::mem::swap(&mut signal, &mut previous_signal);
            velocity_gradient(
                background,
                &fourier,
                &spectrum,
                z,
                physics,
                &mut scratch,
                &mut signal,
            );
            let input = BrightnessInput {
                density: &density,
                neutral: &neutral,
                spin_temperature_k: &gas.spin_temperature_k,
            };
            let mean =
                brightness_temperature(background, z, physics, &input, &mut signal, execution);
            if number > 0 {
                let far = distances.comoving_mpc(redshifts[number - 1]);
                cone.fill(
                    (far, &previous_signal),
                    (distances.comoving_mpc(z), &signal),
                );
            }
            mean
        });
        if !(brightness.is_finite() && neutral_fraction.is_finite()) {
            return Err(SimulationError::NotFinite { seed, redshift: z });
        }
        let row = HistoryRow {
            redshift: z,
            brightness_temperature_mk: brightness,
            neutral_fraction,
            spin_temperature_k: means.spin_temperature_k,
            gas_temperature_k: means.temperature_k,
            electron_fraction: means.electron_fraction,
        };
        history.push(row);
        let go_on = observe(&Snapshot {
            number,
            count: redshifts.len(),
            means: row,
            density: &density,
            gas: &gas,
            neutral_fraction: &neutral,
            brightness_temperature_mk: &signal,
        });
        if !go_on {
            return Err(SimulationError::Interrupted);
        }
        state = Some((gas, means));
    }
    Ok(SimulatedLightCone {
        brightness_temperature_mk: cone.into_values(),
        history,
        times,
    })
}

/// The ranges of shells whose densities are recomputed at snapshot `number` (from 1).
fn shells_to_refresh(number: usize) -> Vec<std::ops::Range<usize>> {
    REFRESH_PERIODS
        .iter()
        .enumerate()
        .filter(|(_, (_, period))| (number - 1).is_multiple_of(*period))
        .map(|(i, &(first, _))| {
            let end = REFRESH_PERIODS.get(i + 1).map_or(SHELLS, |next| next.0);
            first..end
        })
        .collect()
}
