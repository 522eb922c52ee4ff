//! `dawn21 simulate`: light-cones into a data directory.

use std::fs;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

mod arguments;
mod progress;

pub(in crate::cli) use arguments::SimulateArguments;
use arguments::{BoxPreset, PhysicsPreset, Planes, SamplingChoice, Toggle};
use progress::{Bar, Lines};

use super::CommandError;
use super::interrupt::{INTERRUPTED, stop_flag};
use super::output::note;
use crate::atomic_file::FileError;
use crate::simulator::cosmology::Distances;
use crate::simulator::database::{DatabaseError, DatabasePlan, Progress, Silent};
use crate::simulator::light_cone::{LightCone, snapshot_redshifts};
use crate::simulator::parameters::{
    Astrophysics, Grid, ParameterError, Physics, ShellDensity, Simulation, validate_cosmology,
};
use crate::simulator::sampling::{ParameterRange, ParameterTableError, Sampling, draw, read_table};

/// Side of a cell of `--preset paper`.
const PAPER_CELL_MPC: f64 = 1.5;

/// Why `dawn21 simulate` failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SimulateCommandError {
    /// The data base cannot be made.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The table of parameters is wrong.
    #[error(transparent)]
    Table(#[from] ParameterTableError),
    /// A parameter is out of range.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// The initial density cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The initial density has the wrong size.
    #[error(
        "--initial-density {path}: expected {expected} bytes (float32, {side}^3 cells), found {found}"
    )]
    InitialDensitySize {
        /// The file.
        path: PathBuf,
        /// Bytes expected.
        expected: u64,
        /// Cells per side.
        side: usize,
        /// Bytes found.
        found: u64,
    },
    /// The initial density holds something that is not a number.
    #[error("--initial-density {path}: cell {cell} is not finite")]
    InitialDensityNotFinite {
        /// The file.
        path: PathBuf,
        /// Number of the cell.
        cell: usize,
    },
    /// Options contradict each other or make no sense.
    #[error("{option}: expected {expected}, found {found}")]
    Option {
        /// The option.
        option: &'static str,
        /// What would be right.
        expected: String,
        /// What was given.
        found: String,
    },
}

fn option(
    option: &'static str,
    expected: impl Into<String>,
    found: impl ToString,
) -> SimulateCommandError {
    SimulateCommandError::Option {
        option,
        expected: expected.into(),
        found: found.to_string(),
    }
}

impl SimulateArguments {
    fn grid(&self) -> Result<Grid, SimulateCommandError> {
        let (preset_cells, preset_cell) = match self.preset {
            BoxPreset::Paper => (200, PAPER_CELL_MPC),
            BoxPreset::Half => (50, 3.0),
        };
        let whole = |box_mpc: f64, cell_mpc: f64| {
            let cells = box_mpc / cell_mpc;
            if cells.is_finite() && cells > 0.5 && (cells - cells.round()).abs() < 1e-6 * cells {
                Ok(cells.round() as usize)
            } else {
                Err(option(
                    "--box-mpc",
                    format!("a whole number of cells of {cell_mpc} Mpc"),
                    box_mpc,
                ))
            }
        };
        let (cells, cell_mpc) = match (self.box_mpc, self.cells, self.cell_mpc) {
            (None, None, None) => (preset_cells, preset_cell),
            (None, Some(cells), cell) => (cells, cell.unwrap_or(preset_cell)),
            (Some(side), None, cell) => {
                let cell = cell.unwrap_or(preset_cell);
                (whole(side, cell)?, cell)
            }
            (None, None, Some(cell)) => (whole(preset_cells as f64 * preset_cell, cell)?, cell),
            (Some(side), Some(cells), None) => (cells, side / cells.max(1) as f64),
            (Some(side), Some(cells), Some(cell)) => {
                if whole(side, cell)? != cells {
                    return Err(option(
                        "--box-mpc",
                        format!("{cells} cells of {cell} Mpc, {} Mpc", cells as f64 * cell),
                        side,
                    ));
                }
                (cells, cell)
            }
        };
        let grid = Grid {
            cells,
            cell_mpc,
            fine_factor: self.fine_factor,
        };
        grid.validate()?;
        Ok(grid)
    }

    fn physics(&self) -> Physics {
        let preset = match self.physics {
            PhysicsPreset::Gillet2019 => Physics::gillet_2019(),
            PhysicsPreset::Version34 => Physics::version_3_4(),
            PhysicsPreset::Version41 => Physics::version_4_1(),
        };
        let toggle = |toggle: Option<Toggle>, preset| toggle.map_or(preset, |t| t == Toggle::On);
        Physics {
            lyman_alpha_heating: toggle(self.lyman_alpha_heating, preset.lyman_alpha_heating),
            second_order_displacements: !self.zeldovich,
            cloud_in_cell: !self.nearest_grid_point,
            adiabatic_start: !self.uniform_start,
            line_optical_depth: !self.thin_line,
            weak_coupling: self.weak_coupling,
            shell_density: if self.final_density {
                ShellDensity::Final
            } else {
                ShellDensity::Evolved
            },
            critical_density_contrast: self
                .critical_contrast
                .unwrap_or(preset.critical_density_contrast),
            poisson_haloes: preset.poisson_haloes && !self.mean_haloes,
            largest_bubble_radius: preset.largest_bubble_radius && !self.radii_from_cell,
            growing_contrast: preset.growing_contrast && !self.static_contrast,
            thin_signal: preset.thin_signal && !self.full_optical_depth,
        }
    }

    fn ranges(&self) -> Result<[ParameterRange; 4], SimulateCommandError> {
        let mut ranges = ParameterRange::PAPER;
        let given = [
            ("--log10-tvir", &self.log10_tvir),
            ("--zeta", &self.zeta),
            ("--log10-lx-sfr", &self.log10_lx_sfr),
            ("--e0-kev", &self.e0_kev),
        ];
        for (range, (name, given)) in ranges.iter_mut().zip(given) {
            if let Some(values) = given {
                let (min, max) = (values[0], values[1]);
                if !(min.is_finite() && max.is_finite() && min < max) {
                    return Err(option(name, "MIN below MAX", format!("{min} {max}")));
                }
                (range.min, range.max) = (min, max);
            }
        }
        // Both ends must be physical; drawing a bad value later would be too late to say so.
        for pick in [|r: &ParameterRange| r.min, |r: &ParameterRange| r.max] {
            let [log10_tvir, zeta, log10_lx_sfr, e0_kev] = ranges.each_ref().map(pick);
            Astrophysics {
                log10_tvir,
                zeta,
                log10_lx_sfr,
                e0_kev,
                alpha_x: self.alpha_x,
                r_mfp_mpc: self.r_mfp_mpc,
            }
            .validate()?;
        }
        Ok(ranges)
    }

    fn initial_density(&self, grid: &Grid) -> Result<Option<Vec<f32>>, SimulateCommandError> {
        let Some(path) = &self.initial_density else {
            return Ok(None);
        };
        let side = grid.fine_cells();
        let expected = 4 * (side as u64).pow(3);
        let found = fs::metadata(path)
            .map_err(FileError::at(path, "reading"))?
            .len();
        if found != expected {
            return Err(SimulateCommandError::InitialDensitySize {
                path: path.clone(),
                expected,
                side,
                found,
            });
        }
        let bytes = fs::read(path).map_err(FileError::at(path, "reading"))?;
        let density: Vec<f32> = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        if let Some(cell) = density.iter().position(|value| !value.is_finite()) {
            return Err(SimulateCommandError::InitialDensityNotFinite {
                path: path.clone(),
                cell,
            });
        }
        Ok(Some(density))
    }

    /// The data base that these arguments describe.
    ///
    /// # Errors
    /// [`SimulateCommandError`] names the option, the file or the parameter.
    fn plan(&self) -> Result<DatabasePlan, SimulateCommandError> {
        let grid = self.grid()?;
        let ranges = self.ranges()?;
        let mut simulation = Simulation::new(
            Astrophysics {
                alpha_x: self.alpha_x,
                r_mfp_mpc: self.r_mfp_mpc,
                ..Astrophysics::default()
            },
            grid.clone(),
        );
        simulation.physics = self.physics();
        simulation.cosmology.omega_m = self.omega_m;
        // Rounded, so that 1 - 0.31 is stored as 0.69.
        simulation.cosmology.omega_l = ((1.0 - self.omega_m) * 1e9).round() / 1e9;
        simulation.cosmology.omega_b = self.omega_b;
        simulation.cosmology.h = self.hubble;
        simulation.cosmology.sigma_8 = self.sigma_8;
        simulation.cosmology.n_s = self.n_s;
        validate_cosmology(&simulation.cosmology)?;
        let (near, far) = match &self.redshift {
            Some(values) => (values[0], Some(values[1])),
            None => (6.0, None),
        };
        simulation.lowest_redshift = near;
        simulation.validate()?;
        let first = snapshot_redshifts(near)[0];
        let slices = match (self.los_cells, far, self.preset) {
            (Some(cells), None, _) if cells > 0 => cells,
            (Some(cells), None, _) => {
                return Err(option("--los-cells", "at least 1", cells));
            }
            (Some(_), Some(far), _) => {
                return Err(option(
                    "--los-cells",
                    "either --los-cells or --redshift",
                    format!("both (--redshift {near} {far})"),
                ));
            }
            // In cells of another size the same depth has another number of them.
            (None, None, BoxPreset::Paper) if grid.cell_mpc == PAPER_CELL_MPC => 2200,
            (None, far, _) => {
                let far = far.unwrap_or(30.0);
                if !(far > near && far <= first) {
                    return Err(option(
                        "--redshift",
                        format!("a farthest redshift above {near} and up to {first:.2}"),
                        far,
                    ));
                }
                let distances = Distances::new(&simulation.cosmology);
                LightCone::slices_between(&distances, grid.cell_mpc, near, far)
            }
        };
        let y_planes = match self.planes {
            Planes::All => None,
            Planes::Some(count) if count <= grid.cells => {
                Some((0..count).map(|i| i * grid.cells / count).collect())
            }
            Planes::Some(count) => {
                return Err(option(
                    "--planes",
                    format!("at most {}, the cells per side", grid.cells),
                    count,
                ));
            }
        };
        let points = match &self.parameters {
            None => {
                let sampling = match self.sampling {
                    SamplingChoice::Uniform => Sampling::Uniform,
                    SamplingChoice::LatinHypercube => Sampling::LatinHypercube,
                };
                draw(sampling, &ranges, self.count.unwrap_or(0), self.seed)
            }
            Some(path) => {
                let mut points = read_table(path, &ranges, self.seed)?;
                if let Some(count) = self.count {
                    if count > points.len() {
                        return Err(option(
                            "--count",
                            format!("at most {}, the rows of {}", points.len(), path.display()),
                            count,
                        ));
                    }
                    points.truncate(count);
                }
                points
            }
        };
        let threads = match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        Ok(DatabasePlan {
            initial_density: self.initial_density(&grid)?,
            simulation,
            slices,
            y_planes,
            ranges,
            points,
            shard: self.shard.0,
            threads,
        })
    }
}

/// Runs `dawn21 simulate`.
///
/// # Errors
/// [`SimulateCommandError`] names the option, the file, the parameter or the light-cone.
pub(super) fn run(arguments: &SimulateArguments) -> Result<ExitCode, CommandError> {
    let plan = arguments.plan()?;
    let stop = stop_flag("stopping: light-cones that are not complete are left out")?;
    let progress: Box<dyn Progress> = if arguments.quiet {
        Box::new(Silent)
    } else if std::io::stderr().is_terminal() {
        Box::new(Bar::new())
    } else {
        Box::new(Lines::new())
    };
    let summary = match plan.simulate_into(&arguments.data, progress.as_ref(), &stop) {
        Ok(summary) => summary,
        Err(interrupted @ DatabaseError::Interrupted { .. }) => {
            note(interrupted);
            return Ok(ExitCode::from(INTERRUPTED));
        }
        Err(error) => return Err(SimulateCommandError::from(error).into()),
    };
    if !arguments.quiet {
        note(format_args!(
            "{}: {} light-cones simulated, {} found complete",
            arguments.data.display(),
            summary.simulated,
            summary.found
        ));
    }
    Ok(ExitCode::SUCCESS)
}
