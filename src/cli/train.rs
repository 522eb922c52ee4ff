//! `dawn21 train`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::interrupt::{INTERRUPTED, stop_flag};
use super::model_argument::{self, Weights};
use super::progress::TrainingProgress;
use super::{CommandError, Threads};
use crate::data::dataset::Dataset;
use crate::data::slices::Slicing;
use crate::data::split::{Part, Split};
use crate::figures::loss_curves;
use crate::model::architecture::Architecture;
use crate::model::parameters::Parameters;
use crate::model::summary::Summary;
use crate::run_directory::{RunDirectory, RunLock};
use crate::training::checkpoint::Checkpoint;
use crate::training::config::{Config, ConfigSources, DEFAULT_PRESET};
use crate::training::run_record::RunRecord;
use crate::training::trainer::{self, Outcome, Trainer};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Data directory: dataset.toml, parameters.csv, cubes/
    data: PathBuf,
    /// Run directory to create; absent: the next free runs/<DATA>-<number>
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Settings to start from: gillet2019 (the paper's, the default) or few_light_cones; DATA may suggest one
    #[arg(long, value_name = "NAME", conflicts_with = "resume")]
    preset: Option<String>,
    /// TOML file whose fields replace those of the preset
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// Replace one field, e.g. training.epochs=20 or layer.0.filters=16; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Continue a run where it stopped; only training.epochs may be --set
    #[arg(long, value_name = "RUN")]
    resume: Option<PathBuf>,
    /// Start from the weights of another run or model file
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    init_from: Option<PathBuf>,
    /// Seed of weights, order and dropout
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    seed: Option<u64>,
    #[command(flatten)]
    threads: Threads,
    /// Print the result only
    #[arg(long)]
    quiet: bool,
}

/// A run directory ready to be trained in.
struct Prepared {
    run: RunDirectory,
    config: Config,
    split: Split,
    state: Checkpoint,
    /// Held until the training ends.
    _lock: RunLock,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CommandError> {
    arguments.threads.apply()?;
    let dataset = Dataset::open(&arguments.data)?;
    let prepared = match &arguments.resume {
        Some(path) => resume(arguments, path, &dataset)?,
        None => start(arguments, &dataset)?,
    };
    let Prepared {
        run,
        config,
        split,
        state,
        ..
    } = prepared;
    let slicing = Slicing::new(dataset.manifest(), &config.slices)?;
    let mut trainer = Trainer::new(&dataset, &slicing, &split, &config, &run, state)?;
    if !arguments.quiet {
        let [training, validation] = trainer.image_counts();
        eprintln!("{}\n", Summary(trainer.network().architecture()));
        eprintln!(
            "{} light-cones of {}: {training} training and {validation} validation images; run {}",
            dataset.light_cones().len(),
            arguments.data.display(),
            run.path().display()
        );
    }
    let stop = stop_flag()?;
    let parameters = &dataset.manifest().parameters;
    let mut progress = TrainingProgress::new(config.training.epochs, parameters, arguments.quiet);
    let outcome = trainer.run(&mut progress, &stop)?;
    let position = trainer.position();
    if !position.history.is_empty() {
        loss_curves::write(&run, &position.history)?;
    }
    report(&arguments.data, &run, &trainer, outcome);
    Ok(match outcome {
        Outcome::Interrupted => ExitCode::from(INTERRUPTED),
        Outcome::Finished | Outcome::StoppedEarly => ExitCode::SUCCESS,
    })
}

/// Creates a run directory. `run.toml` is written last: a directory without it is no run.
fn start(arguments: &Arguments, dataset: &Dataset) -> Result<Prepared, CommandError> {
    let config = configure(arguments, dataset)?;
    let slicing = Slicing::new(dataset.manifest(), &config.slices)?;
    config.input.check()?;
    let split = Split::new(dataset.light_cones().len(), &config.split)?;
    let (architecture, _) = trainer::build(dataset, &slicing, &config)?;
    let training_light_cones = split.light_cones(Part::Train).len();
    trainer::check_batches(&config, training_light_cones * slicing.images().len())?;
    let initial = match &arguments.init_from {
        Some(path) => Some(initial_weights(path, dataset, &slicing, &architecture)?),
        None => None,
    };
    let state = Trainer::fresh_state(&architecture, &config, initial);
    let path = arguments.out.clone().unwrap_or_else(|| {
        let name = std::path::absolute(&arguments.data).ok();
        let name = name.as_deref().and_then(Path::file_name);
        let name = name.map_or("run".into(), |name| name.to_string_lossy().into_owned());
        RunDirectory::next_free(Path::new("runs"), &name)
    });
    let (run, lock) = RunDirectory::create(&path)?;
    split.write(&run.split(), dataset)?;
    RunRecord::new(dataset, config.clone(), arguments.init_from.clone()).write(&run.record())?;
    Ok(Prepared {
        run,
        config,
        split,
        state,
        _lock: lock,
    })
}

/// Preset, file and overrides; a preset suggested by the data counts when the user names none.
fn configure(arguments: &Arguments, dataset: &Dataset) -> Result<Config, CommandError> {
    let mut preset = arguments.preset.as_deref();
    if preset.is_none() && arguments.config.is_none() {
        preset = dataset.manifest().suggested_preset.as_deref();
        if let Some(name) = preset.filter(|_| !arguments.quiet) {
            eprintln!(
                "preset {name}, as {} suggests; the paper's is --preset {DEFAULT_PRESET}",
                dataset.directory().display()
            );
        }
    }
    Ok(Config::load(&ConfigSources {
        preset,
        file: arguments.config.as_deref(),
        overrides: &arguments.overrides,
        seed: arguments.seed,
    })?)
}

/// Weights of another model, if it is the same network for the same kind of data.
fn initial_weights(
    path: &Path,
    dataset: &Dataset,
    slicing: &Slicing,
    architecture: &Architecture,
) -> Result<Parameters<f32>, CommandError> {
    let weights = if path.is_file() || path.join("model.safetensors").exists() {
        Weights::Best
    } else {
        Weights::Last
    };
    let (file, model) = model_argument::open(path, weights)?;
    model.description.check_data(dataset.manifest(), slicing)?;
    let shapes = |parameters: &Parameters<f32>| -> Vec<(String, Vec<usize>)> {
        let tensors = parameters.tensors();
        tensors.map(|t| (t.name.clone(), t.shape.clone())).collect()
    };
    let (found, expected) = (
        shapes(&model.parameters),
        shapes(&Parameters::zeros(architecture)),
    );
    if found != expected {
        let differing = found.iter().zip(&expected).find(|(a, b)| a != b);
        let detail = differing.map_or_else(
            || format!("{} tensors instead of {}", found.len(), expected.len()),
            |((name, shape), (other, wanted))| {
                format!("tensor `{name}` {shape:?} where this network has `{other}` {wanted:?}")
            },
        );
        return Err(CommandError::Usage(format!(
            "--init-from {}: another architecture: {detail}",
            file.display()
        )));
    }
    Ok(model.parameters)
}

/// Opens a run where it stopped.
fn resume(arguments: &Arguments, path: &Path, dataset: &Dataset) -> Result<Prepared, CommandError> {
    let run = RunDirectory::open(path)?;
    let lock = run.lock()?;
    let mut record = RunRecord::read(&run.record())?;
    record.check_data(path, dataset)?;
    for argument in &arguments.overrides {
        let epochs = argument
            .strip_prefix("training.epochs=")
            .and_then(|value| value.trim().parse().ok())
            .ok_or_else(|| {
                CommandError::Usage(format!(
                    "--set {argument}: a resumed run keeps its settings, only training.epochs=N may change; \
                     for others start a new run with --init-from {}",
                    path.display()
                ))
            })?;
        record.config.training.epochs = epochs;
        record.write(&run.record())?;
    }
    let config = record.config;
    let split = Split::read(&run.split(), dataset)?;
    let slicing = Slicing::new(dataset.manifest(), &config.slices)?;
    let (architecture, _) = trainer::build(dataset, &slicing, &config)?;
    // A run killed before its first checkpoint starts again; weights of --init-from may be gone by
    // then, which is an error and not a reason to start from others.
    let state = if run.checkpoint().exists() {
        Checkpoint::read(&run.checkpoint(), &architecture)?
    } else {
        let initial = match &record.init_from {
            Some(path) => Some(initial_weights(path, dataset, &slicing, &architecture)?),
            None => None,
        };
        Trainer::fresh_state(&architecture, &config, initial)
    };
    Ok(Prepared {
        run,
        config,
        split,
        state,
        _lock: lock,
    })
}

/// The result, on stdout, and what to do next.
fn report(data: &Path, run: &RunDirectory, trainer: &Trainer<'_>, outcome: Outcome) {
    let position = trainer.position();
    let run = run.path().display();
    let data = data.display();
    let done = position.epochs_done;
    match outcome {
        Outcome::Finished => println!("finished {done} epochs"),
        Outcome::StoppedEarly => println!("stopped early after {done} epochs"),
        Outcome::Interrupted => {
            println!(
                "interrupted and saved in epoch {}, after {} images; continue with\n  \
                 dawn21 train {data} --resume {run}",
                done + 1,
                position.images_done,
            );
            return;
        }
    }
    if let Some(best) = position.best {
        let record = position.history.iter().find(|r| r.epoch == best.epoch);
        println!(
            "best validation loss {:.6} (training {:.6}) in epoch {}: {run}/model.safetensors",
            best.validation_loss,
            record.map_or(f64::NAN, |record| record.train_loss),
            best.epoch,
        );
    }
    println!("next: dawn21 evaluate {run} {data}");
}
