//! Many light-cones into one data directory, resumable and divisible among machines.
//!
//! Everything is decided by the plan: the parameters and the seed of light-cone `id` depend on the plan's
//! seed and on `id` alone. Machines that share the work write the same `dataset.toml` and
//! `parameters.csv` and different cubes, so their directories merge by copying.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

mod physics_table;
mod store;

use store::Store;

use super::execution::Execution;
use super::light_cone::{LightConeShape, TooLongError, check_depth, snapshot_redshifts};
use super::parameters::{Astrophysics, ParameterError, Simulation};
use super::run::{InitialDensity, SimulationError, Universe, simulate};
use super::sampling::{ParameterPoint, ParameterRange};
use crate::atomic_file::FileError;
use crate::data::manifest::{FORMAT, Manifest, ManifestError, VERSION};

/// From this many cells per side on all threads work on one light-cone, to save memory.
const LARGE_BOX: usize = 160;

/// The table of parameters in a data directory.
pub const PARAMETERS_FILE: &str = "parameters.csv";

/// One of several machines that share a data base, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Number of this machine.
    pub index: usize,
    /// Number of machines.
    pub count: usize,
}

impl Shard {
    /// All of the work.
    pub const WHOLE: Self = Self { index: 0, count: 1 };
}

/// A data base to be simulated.
#[derive(Debug, Clone)]
pub struct DatabasePlan {
    /// What all light-cones have in common; `astrophysics` gives what `points` leave open.
    pub simulation: Simulation,
    /// Cells along the line of sight.
    pub slices: usize,
    /// Stored planes of constant y; `None` for full cubes.
    pub y_planes: Option<Vec<usize>>,
    /// Ranges of the four parameters, in the order of [`ParameterRange::PAPER`].
    pub ranges: [ParameterRange; 4],
    /// Parameters and seed of every light-cone.
    pub points: Vec<ParameterPoint>,
    /// The part of the light-cones that is simulated now.
    pub shard: Shard,
    /// Initial density shared by all light-cones; `None`: each has its own.
    pub initial_density: Option<Vec<f32>>,
    /// Number of threads.
    pub threads: usize,
}

/// Why a data base cannot be simulated.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The manifest cannot be read or written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A parameter is out of range.
    #[error("light-cone {id}: {source}")]
    Parameter {
        /// The light-cone.
        id: String,
        /// Name, range and value.
        source: ParameterError,
    },
    /// A parameter lies outside the range that the data directory declares.
    #[error(
        "light-cone {id}: {name} = {value} lies outside [{min}, {max}]; widen the range of {name} or change the value"
    )]
    OutsideRange {
        /// The light-cone.
        id: String,
        /// Name of the parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// Lower end of the declared range.
        min: f64,
        /// Upper end of the declared range.
        max: f64,
    },
    /// The light-cones reach too far.
    #[error(transparent)]
    TooLong(#[from] TooLongError),
    /// A light-cone cannot be simulated.
    #[error("light-cone {id}: {source}")]
    Simulation {
        /// The light-cone.
        id: String,
        /// Reason.
        source: SimulationError,
    },
    /// The directory holds something else.
    #[error(
        "{path} belongs to another database ({difference}); simulate into a new directory, or repeat the options of the first run"
    )]
    OtherDatabase {
        /// The file that differs.
        path: PathBuf,
        /// In what.
        difference: String,
    },
    /// The shard does not exist.
    #[error("shard: expected a number from 1 to {count}, found {index}")]
    Shard {
        /// The number given, from 1.
        index: usize,
        /// Number of shards.
        count: usize,
    },
    /// There is nothing to simulate.
    #[error("count: expected at least 1 light-cone, found 0")]
    Empty,
    /// The caller asked to stop.
    #[error("stopped after {done} light-cones; the same command goes on from there")]
    Interrupted {
        /// Light-cones of this run that are complete.
        done: usize,
    },
    /// The threads could not be started.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// The reason.
        reason: String,
    },
}

/// Told about the progress of a data base; called from several threads.
pub trait Progress: Sync {
    /// `total` light-cones are asked of this machine, `complete` of them exist already.
    fn begin(&self, total: usize, complete: usize);
    /// Another snapshot out of `count` was computed.
    fn snapshot(&self, count: usize);
    /// A light-cone was stored after `seconds`.
    fn finished(&self, id: &str, seconds: f64);
}

/// Reports nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: usize, _: usize) {}
    fn snapshot(&self, _: usize) {}
    fn finished(&self, _: &str, _: f64) {}
}

/// How many light-cones of this machine's part were made and found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Simulated now.
    pub simulated: usize,
    /// Complete before.
    pub found: usize,
}

impl DatabasePlan {
    /// The manifest of the data directory.
    #[must_use]
    pub fn manifest(&self, universe: &Universe) -> Manifest {
        let simulation = &self.simulation;
        let n = simulation.grid.cells;
        let distances = universe.distances();
        let farthest = distances.comoving_mpc(simulation.lowest_redshift)
            + (self.slices.max(1) - 1) as f64 * simulation.grid.cell_mpc;
        let farthest = (distances.redshift(farthest) * 1e4).round() / 1e4;
        Manifest {
            format: FORMAT.to_string(),
            version: VERSION,
            shape: [n, self.y_planes.as_ref().map_or(n, Vec::len), self.slices],
            cell_mpc: simulation.grid.cell_mpc,
            y_planes: self.y_planes.clone(),
            quantity: "brightness_temperature".to_string(),
            unit: "mK".to_string(),
            redshift_range: [simulation.lowest_redshift, farthest],
            source: format!("dawn21 {} simulate", env!("CARGO_PKG_VERSION")),
            suggested_preset: None,
            parameters: self.ranges.iter().map(ParameterRange::describe).collect(),
            cosmology: Some(simulation.cosmology.clone()),
            simulation: Some(self.physics_table()),
        }
    }

    /// The text of `parameters.csv`.
    #[must_use]
    pub fn parameters_csv(&self) -> String {
        let names: Vec<&str> = self.ranges.iter().map(|range| range.name).collect();
        let mut text = format!("id,{},seed\n", names.join(","));
        for point in &self.points {
            let values: Vec<String> = point.values.iter().map(ToString::to_string).collect();
            text.push_str(&format!(
                "{},{},{}\n",
                point.id,
                values.join(","),
                point.seed
            ));
        }
        text
    }

    fn astrophysics(&self, point: &ParameterPoint) -> Astrophysics {
        let [log10_tvir, zeta, log10_lx_sfr, e0_kev] = point.values;
        Astrophysics {
            log10_tvir,
            zeta,
            log10_lx_sfr,
            e0_kev,
            ..self.simulation.astrophysics.clone()
        }
    }

    /// Checks the plan as a whole, before anything of it is on disk: a directory that was begun is one that the
    /// corrected plan does not fit.
    fn validate(&self, universe: &Universe) -> Result<(), DatabaseError> {
        if self.points.is_empty() {
            return Err(DatabaseError::Empty);
        }
        check_depth(
            universe.distances(),
            self.simulation.grid.cell_mpc,
            self.simulation.lowest_redshift,
            self.slices,
        )?;
        if self.shard.index >= self.shard.count {
            return Err(DatabaseError::Shard {
                index: self.shard.index + 1,
                count: self.shard.count,
            });
        }
        for point in &self.points {
            let simulation = Simulation {
                astrophysics: self.astrophysics(point),
                ..self.simulation.clone()
            };
            simulation
                .validate()
                .map_err(|source| DatabaseError::Parameter {
                    id: point.id.clone(),
                    source,
                })?;
            for (range, value) in self.ranges.iter().zip(point.values) {
                if !(range.min..=range.max).contains(&value) {
                    return Err(DatabaseError::OutsideRange {
                        id: point.id.clone(),
                        name: range.name,
                        value,
                        min: range.min,
                        max: range.max,
                    });
                }
            }
        }
        Ok(())
    }

    /// Simulates this machine's part of the light-cones into `directory`, leaving out those that are
    /// there. `stop` ends the work at the next snapshot.
    ///
    /// # Errors
    /// [`DatabaseError`] names the file, the light-cone or the parameter.
    pub fn simulate_into(
        &self,
        directory: &Path,
        progress: &dyn Progress,
        stop: &AtomicBool,
    ) -> Result<Summary, DatabaseError> {
        let universe = Universe::new(&self.simulation.cosmology);
        self.validate(&universe)?;
        let store = Store::open(self, &universe, directory)?;
        let mine: Vec<&ParameterPoint> = self
            .points
            .iter()
            .enumerate()
            .filter(|(i, _)| i % self.shard.count == self.shard.index)
            .map(|(_, point)| point)
            .collect();
        let mut missing = Vec::new();
        for point in &mine {
            if !store.is_complete(&point.id)? {
                missing.push(*point);
            }
        }
        let found = mine.len() - missing.len();
        progress.begin(mine.len(), found);

        let threads = self.threads.max(1);
        let workers = if self.simulation.grid.cells >= LARGE_BOX {
            1
        } else {
            threads.min(missing.len())
        };
        let job = Job {
            plan: self,
            universe: &universe,
            store: &store,
            progress,
            stop,
            next: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            failure: Mutex::new(None),
        };
        if workers == 1 && threads > 1 {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .map_err(|error| DatabaseError::Threads {
                    threads,
                    reason: error.to_string(),
                })?;
            pool.install(|| job.work(&missing, Execution::Parallel));
        } else {
            std::thread::scope(|scope| {
                for _ in 0..workers {
                    scope.spawn(|| job.work(&missing, Execution::Serial));
                }
            });
        }
        let failure = job
            .failure
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let simulated = job.done.into_inner();
        match failure {
            Some(DatabaseError::Interrupted { .. }) => {
                Err(DatabaseError::Interrupted { done: simulated })
            }
            Some(error) => Err(error),
            None => Ok(Summary { simulated, found }),
        }
    }
}

/// The work of one call, shared by its threads.
struct Job<'a> {
    plan: &'a DatabasePlan,
    universe: &'a Universe,
    store: &'a Store,
    progress: &'a dyn Progress,
    stop: &'a AtomicBool,
    next: AtomicUsize,
    done: AtomicUsize,
    failure: Mutex<Option<DatabaseError>>,
}

impl Job<'_> {
    /// Takes light-cones until none is left or something failed.
    fn work(&self, missing: &[&ParameterPoint], execution: Execution) {
        while let Some(point) = missing.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let failed = |error| {
                // The others stop at their next snapshot; the first failure is the one reported.
                let mut failure = self
                    .failure
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                failure.get_or_insert(error);
                self.next.store(missing.len(), Ordering::Relaxed);
            };
            match self.one(point, execution) {
                Ok(()) => {
                    self.done.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => return failed(error),
            }
        }
    }

    fn one(&self, point: &ParameterPoint, execution: Execution) -> Result<(), DatabaseError> {
        let start = Instant::now();
        let plan = self.plan;
        let simulation = Simulation {
            astrophysics: plan.astrophysics(point),
            ..plan.simulation.clone()
        };
        let n = simulation.grid.cells;
        let shape = LightConeShape {
            slices: plan.slices,
            y_planes: plan.y_planes.clone().unwrap_or_else(|| (0..n).collect()),
        };
        let initial = match &plan.initial_density {
            Some(density) => InitialDensity::Given(density.clone()),
            None => InitialDensity::Drawn,
        };
        let count = snapshot_redshifts(simulation.lowest_redshift).len();
        let cone = simulate(
            self.universe,
            &simulation,
            initial,
            point.seed,
            &shape,
            execution,
            &mut |_| {
                self.progress.snapshot(count);
                let failed = self
                    .failure
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .is_some();
                !failed && !self.stop.load(Ordering::Relaxed)
            },
        )
        .map_err(|source| match source {
            SimulationError::Interrupted => DatabaseError::Interrupted { done: 0 },
            source => DatabaseError::Simulation {
                id: point.id.clone(),
                source,
            },
        })?;
        self.store.write(&point.id, &cone)?;
        self.progress
            .finished(&point.id, start.elapsed().as_secs_f64());
        Ok(())
    }
}
