//! `dawn21 bench`: how fast a network trains or predicts on this machine.
//!
//! A step is everything that training does with a mini-batch: reading the images from memory-mapped cubes,
//! scaling, forward pass, loss, backward pass, dropout, batch normalisation, and the optimiser.

use std::path::{Path, PathBuf};
use std::time::Instant;

use dawn21_kernels::rng::{Stream, generator, unit_interval};
use rand::Rng;
use serde::Serialize;

use super::output::{line, note};
use super::{CommandError, NetworkArguments, Threads, parse_image};
use crate::atomic_file::FileError;
use crate::data::batches::{ImageIndex, ImageReader, all_images};
use crate::data::dataset::Dataset;
use crate::data::manifest::MANIFEST_FILE;
use crate::data::scaling::TargetScaling;
use crate::data::slices::Slicing;
use crate::model::activations::Mode;
use crate::model::engine::Engine;
use crate::model::execution::Execution;
use crate::training::config::Config;
use crate::training::error::TrainingError;
use crate::training::preparation;
use crate::training::trainer::Trainer;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Work {
    /// Steps of training
    Training,
    /// Predictions
    Inference,
}

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    network: NetworkArguments,
    /// Measure on the images of a data directory instead of random ones
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    /// Rows and columns of random images
    #[arg(long, value_name = "ROWS,COLUMNS", value_parser = parse_image, default_value = "100,2200", conflicts_with = "data")]
    image: [usize; 2],
    /// Side of a cell of random images in Mpc
    #[arg(
        long,
        value_name = "MPC",
        default_value_t = 1.5,
        conflicts_with = "data"
    )]
    cell_mpc: f64,
    /// What to measure
    #[arg(long, value_enum, default_value_t = Work::Training)]
    mode: Work,
    /// Images of a mini-batch; default: training.batch_size
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    batch: Option<u16>,
    /// Steps that are timed
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Warm-up steps before the timed ones
    #[arg(long, value_name = "N", default_value_t = 1)]
    warmup: u32,
    #[command(flatten)]
    threads: Threads,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the result only
    #[arg(long)]
    quiet: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measurement {
    mode: Work,
    /// At the median time of a step.
    images_per_second: f64,
    seconds_per_step: Vec<f64>,
    batch: usize,
    image: [usize; 2],
    threads: usize,
    level: &'static str,
    plans: Vec<String>,
    /// `None` where the system does not tell.
    peak_memory_bytes: Option<u64>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    arguments.threads.apply()?;
    let mut config = arguments.network.load()?;
    if let Some(batch) = arguments.batch {
        config.training.batch_size = usize::from(batch);
    }
    let batch = config.training.batch_size;
    let made = match arguments.data {
        Some(_) => None,
        None => {
            config.slices.count = Some(1);
            config.slices.halves = Some(1);
            if !arguments.quiet {
                note(format_args!("making {batch} random images"))
            }
            Some(random_data(arguments.image, arguments.cell_mpc, batch)?)
        }
    };
    let path = match (&arguments.data, &made) {
        (Some(path), _) => path,
        (None, Some(made)) => made.path(),
        (None, None) => unreachable!("random images were made"),
    };
    let measurement = measure(arguments, &config, path)?;
    if arguments.json {
        let json = serde_json::to_string(&measurement)
            .map_err(|error| CommandError::Usage(error.to_string()))?;
        return line(json);
    }
    for plan in &measurement.plans {
        line(plan)?;
    }
    line(format_args!(
        "{:.1} images/s {}, batch {batch} of {} x {}, {} threads, {}",
        measurement.images_per_second,
        match measurement.mode {
            Work::Training => "training",
            Work::Inference => "inference",
        },
        measurement.image[0],
        measurement.image[1],
        measurement.threads,
        measurement.level,
    ))?;
    match measurement.peak_memory_bytes {
        Some(bytes) => line(format_args!(
            "{:.2} GiB of memory at most",
            bytes as f64 / f64::from(1 << 30)
        )),
        None => Ok(()),
    }
}

fn measure(
    arguments: &Arguments,
    config: &Config,
    data: &Path,
) -> Result<Measurement, CommandError> {
    let dataset = Dataset::open(data)?;
    let slicing = Slicing::new(dataset.manifest(), &config.slices)?;
    let (architecture, description) = preparation::network(&dataset, &slicing, config)?;
    let light_cones: Vec<usize> = (0..dataset.light_cones().len()).collect();
    let images = all_images(&light_cones, &slicing);
    let batch = config.training.batch_size;
    let state = Trainer::fresh_state(&architecture, config, None);
    let (mut engine, moments) = match arguments.mode {
        Work::Training => {
            let count = images.len();
            let engine = preparation::engine(&dataset, &slicing, config, &architecture, count)?;
            (engine, Some(&state.mean_squares[..]))
        }
        Work::Inference => {
            let execution = Execution::new(config.execution)?;
            (Engine::new(architecture, execution)?, None)
        }
    };
    engine
        .load(&state.parameters, moments)
        .map_err(TrainingError::from)?;
    drop(state);
    let targets = TargetScaling::new(&description.parameters);
    let reader = ImageReader::new(&dataset, &slicing, config.input, targets)?;
    let optimizer = config.training.rmsprop.optimizer();
    let mut times = Vec::new();
    let mut scaled = Vec::new();
    for step in 0..arguments.warmup + arguments.steps {
        // Goes round the images when there are fewer than a batch.
        let first = step as usize * batch;
        let chosen: Vec<ImageIndex> = (first..first + batch)
            .map(|i| images[i % images.len()])
            .collect();
        let started = Instant::now();
        reader.read_batch(&chosen, engine.input_mut(), &mut scaled)?;
        let result = match arguments.mode {
            Work::Training => {
                let mode = Mode::Training {
                    seed: config.seed,
                    step: step.into(),
                };
                engine.train_step(&scaled, mode, &optimizer).map(drop)
            }
            Work::Inference => engine.predict().map(drop),
        };
        result.map_err(TrainingError::from)?;
        if step >= arguments.warmup {
            times.push(started.elapsed().as_secs_f64());
        }
    }
    let mut sorted = times.clone();
    sorted.sort_by(f64::total_cmp);
    Ok(Measurement {
        mode: arguments.mode,
        images_per_second: batch as f64 / sorted[sorted.len() / 2],
        seconds_per_step: times,
        batch,
        image: [slicing.rows(), slicing.columns()],
        threads: rayon::current_num_threads(),
        level: engine.execution().level.name(),
        plans: engine.plans(),
        peak_memory_bytes: peak_memory_bytes(),
    })
}

/// A temporary data directory of `count` cubes that are one image each.
fn random_data(
    [rows, columns]: [usize; 2],
    cell_mpc: f64,
    count: usize,
) -> Result<tempfile::TempDir, CommandError> {
    let directory = tempfile::tempdir().map_err(FileError::at(
        &std::env::temp_dir(),
        "making a temporary directory",
    ))?;
    let path = directory.path();
    let cubes = path.join("cubes");
    std::fs::create_dir(&cubes).map_err(FileError::at(&cubes, "creating the directory"))?;
    let mut manifest = format!(
        "format = \"dawn21-light-cones\"\nversion = 1\nshape = [{rows}, 1, {columns}]\n\
         cell_mpc = {cell_mpc:?}\ny_planes = [0]\nquantity = \"brightness_temperature\"\nunit = \"mK\"\n\
         redshift_range = [6.0, 30.0]\nsource = \"dawn21 bench: random numbers\"\n"
    );
    let ranges = [
        ("log10_tvir", 4.0, 6.0),
        ("zeta", 10.0, 250.0),
        ("log10_lx_sfr", 38.0, 42.0),
        ("e0_kev", 0.1, 1.5),
    ];
    let mut table = "id".to_string();
    for (name, min, max) in ranges {
        manifest += &format!(
            "[[parameters]]\nname = \"{name}\"\nunit = \"\"\nmin = {min:?}\nmax = {max:?}\n"
        );
        table += &format!(",{name}");
    }
    table.push('\n');
    let mut cells = vec![0.0_f32; rows * columns];
    for id in 0..count {
        let mut generator = generator(0, Stream::Audit, &[8000, id as u64]);
        let mut uniform = || unit_interval(generator.next_u64());
        table += &format!("{id:05}");
        for (_, min, max) in ranges {
            table += &format!(",{:?}", min + (max - min) * uniform());
        }
        table.push('\n');
        for cell in &mut cells {
            *cell = (300.0 * uniform() - 250.0) as f32;
        }
        let file = cubes.join(format!("{id:05}.f32"));
        write(&file, bytemuck::cast_slice(&cells))?;
    }
    write(&path.join(MANIFEST_FILE), manifest.as_bytes())?;
    write(&path.join("parameters.csv"), table.as_bytes())?;
    Ok(directory)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    Ok(std::fs::write(path, bytes).map_err(FileError::at(path, "writing"))?)
}

/// Largest resident memory of this process so far.
fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(1024 * kib)
}
