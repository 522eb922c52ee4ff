//! `dawn21 train`.

mod initial_weights;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::calibrate;
use super::interrupt::{INTERRUPTED, stop_flag};
use super::known_light_cones;
use super::output::{line, note};
use super::progress::TrainingProgress;
use super::{CommandError, Threads};
use crate::data::batches::training_images;
use crate::data::dataset::Dataset;
use crate::data::slices::Slicing;
use crate::data::split::{Part, Split};
use crate::figures::run_figures::loss_figure;
use crate::model::model_file;
use crate::model::summary::Summary;
use crate::run_directory::{RunDirectory, RunLock};
use crate::shell::quoted;
use crate::training::checkpoint::{Checkpoint, Position};
use crate::training::config::{Config, ConfigSources, DEFAULT_PRESET};
use crate::training::preparation;
use crate::training::run_record::RunRecord;
use crate::training::trainer::{Outcome, Trainer};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Data directory: dataset.toml, parameters.csv, cubes/
    data: PathBuf,
    /// Run directory to create; default: the next free runs/<DATA>-<number>
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Settings to start from: gillet2019 (the paper's, the default), few_light_cones, or deep; DATA may suggest one
    #[arg(long, value_name = "NAME", conflicts_with = "resume")]
    preset: Option<String>,
    /// TOML file whose fields replace those of the preset; or the run.toml of a run, to take all its settings
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// Replace one field, e.g. training.epochs=20 or layer.0.filters=16; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Continue a run where it stopped; only training.epochs may be changed, with --set
    #[arg(long, value_name = "RUN")]
    resume: Option<PathBuf>,
    /// Start from the weights of another run or model file
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    init_from: Option<PathBuf>,
    /// Seed of the initial weights, the order of the images, and dropout
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
        note(format_args!(
            "{}\n",
            Summary(trainer.engine().architecture())
        ));
        note(format_args!(
            "{} light-cones of {}: {training} training and {validation} validation images; run {}",
            dataset.light_cones().len(),
            arguments.data.display(),
            run.path().display()
        ));
        let position = trainer.position();
        if position.step > 0 {
            note(format_args!(
                "continuing in epoch {}, after {} steps",
                position.epochs_done + 1,
                position.step
            ));
        }
    }
    let stop = stop_flag("stopping after this step and saving")?;
    let parameters = &dataset.manifest().parameters;
    let mut progress = TrainingProgress::new(config.training.epochs, parameters, arguments.quiet);
    let outcome = trainer.run(&mut progress, &stop)?;
    let position = trainer.position().clone();
    if !position.history.is_empty() {
        loss_figure(&position.history).write(&run.figures())?;
    }
    // Its mini-batches need memory that the calibration can use.
    drop(trainer);
    if outcome != Outcome::Interrupted && run.model().exists() {
        calibrate::after_training(&run, &dataset, &slicing, &split, arguments.quiet)?;
    }
    report(&arguments.data, &run, &position, outcome)?;
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
    let (architecture, description) = preparation::network(dataset, &slicing, &config)?;
    let images = training_images(
        &split.light_cones(Part::Train),
        &slicing,
        config.training.images_per_light_cone,
    )?;
    // Found out before there is a run directory.
    preparation::engine(dataset, &slicing, &config, &architecture, images.len())?;
    let initial = match &arguments.init_from {
        Some(path) => {
            let (description, quiet) = (&description, arguments.quiet);
            let weights = initial_weights::read(path, description, &architecture, quiet)?;
            if !quiet {
                known_light_cones::warn_before_training(path, dataset, &split)?;
            }
            Some(weights)
        }
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
    // So that a resume never has to begin again, from initial weights that may be gone by then.
    state.write(&run.checkpoint(), &description, &architecture)?;
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
            note(format_args!(
                "preset {name}, as {} suggests; the paper's is --preset {DEFAULT_PRESET}",
                dataset.directory().display()
            ));
        }
    }
    if let Some(path) = &arguments.config {
        check_repeatable(path, arguments.init_from.is_some())?;
    }
    Ok(Config::load(&ConfigSources {
        preset,
        file: arguments.config.as_deref(),
        overrides: &arguments.overrides,
        seed: arguments.seed,
    })?)
}

/// A run record repeats its training, but for what a configuration does not hold.
fn check_repeatable(path: &Path, has_start: bool) -> Result<(), CommandError> {
    // What is no record is read as a configuration, with the errors of that.
    let Ok(record) = RunRecord::read(path) else {
        return Ok(());
    };
    let file = path.display();
    if !record.members.is_empty() {
        return Err(CommandError::Usage(format!(
            "--config {file}: the record of an ensemble, which was not trained; give the run.toml of one of its members"
        )));
    }
    match record.init_from {
        Some(from) if !has_start => Err(CommandError::Usage(format!(
            "--config {file}: that run started from the weights of {}; add --init-from {} to repeat it, or give a copy \
             of the file without its `init_from` line to start from random weights",
            from.display(),
            quoted(&from)
        ))),
        _ => Ok(()),
    }
}

/// Opens a run where it stopped.
fn resume(arguments: &Arguments, path: &Path, dataset: &Dataset) -> Result<Prepared, CommandError> {
    let run = RunDirectory::open(path)?;
    let lock = run.lock()?;
    let mut record = RunRecord::read(&run.record())?;
    record.check_training(path)?;
    record.check_data(path, dataset)?;
    let epochs = new_epochs(arguments, path)?;
    if let Some(epochs) = epochs {
        record.config.training.epochs = epochs;
        record.config.check()?;
    }
    let config = &record.config;
    let split = read_split(&run, dataset, config)?;
    let slicing = Slicing::new(dataset.manifest(), &config.slices)?;
    let (architecture, _) = preparation::network(dataset, &slicing, config)?;
    let mut state = Checkpoint::read(&run.checkpoint(), &architecture).map_err(|error| {
        CommandError::Usage(format!(
            "{error}\n{} cannot be resumed; start a new run, from its best weights if there are any, with --init-from",
            path.display()
        ))
    })?;
    let position = &mut state.position;
    if let Some(epochs) = epochs {
        let done = position.epochs_done;
        if epochs < done {
            return Err(CommandError::Usage(format!(
                "--set training.epochs={epochs}: {done} epochs are done already; give at least that many"
            )));
        }
    }
    if position.best.is_some() && !run.model().exists() {
        note(format_args!(
            "warning: {} is missing; the best weights will be chosen among the epochs to come",
            run.model().display()
        ));
        position.best = None;
    } else if run.model().exists() {
        // Found out now and not at the end of the next epoch.
        model_file::read_description(&run.model())?;
    }
    if epochs.is_some() {
        // Only now: a run that cannot go on stays as it is.
        record.write(&run.record())?;
    }
    Ok(Prepared {
        run,
        config: record.config,
        split,
        state,
        _lock: lock,
    })
}

/// The one setting that a resumed run may change.
fn new_epochs(arguments: &Arguments, run: &Path) -> Result<Option<u64>, CommandError> {
    let mut epochs = None;
    for argument in &arguments.overrides {
        let value = argument
            .split_once('=')
            .filter(|(key, _)| key.trim() == "training.epochs")
            .and_then(|(_, value)| value.trim().parse().ok());
        if value.is_none() {
            return Err(CommandError::Usage(format!(
                "--set {argument}: a resumed run keeps its settings; only training.epochs=N may change. \
                 To change others, start a new run with --init-from {}",
                quoted(run)
            )));
        }
        epochs = value;
    }
    Ok(epochs)
}

/// The division of the light-cones, for a training that goes on.
fn read_split(
    run: &RunDirectory,
    dataset: &Dataset,
    config: &Config,
) -> Result<Split, CommandError> {
    let path = run.split();
    let split = preparation::split(run, dataset, config)?;
    if !path.exists() {
        split.write(&path, dataset)?;
    }
    for part in [Part::Train, Part::Validation] {
        if split.light_cones(part).is_empty() {
            return Err(CommandError::Usage(format!(
                "{}: no light-cone is marked {part:?}; remove the file to have it made again",
                path.display()
            )));
        }
    }
    Ok(split)
}

/// The result, on stdout, and what to do next.
fn report(
    data: &Path,
    run: &RunDirectory,
    position: &Position,
    outcome: Outcome,
) -> Result<(), CommandError> {
    let (data, run_argument) = (quoted(data), quoted(run.path()));
    let done = position.epochs_done;
    match outcome {
        Outcome::Finished => line(format_args!("finished {done} epochs"))?,
        Outcome::StoppedEarly => line(format_args!("stopped early after {done} epochs"))?,
        Outcome::Interrupted => {
            return line(format_args!(
                "interrupted and saved in epoch {}, after {} images; continue with\n  \
                 dawn21 train {data} --resume {run_argument}",
                done + 1,
                position.images_done,
            ));
        }
    }
    if let Some(best) = position.best {
        let record = position.history.iter().find(|r| r.epoch == best.epoch);
        line(format_args!(
            "best validation loss {:.6} (training {:.6}) in epoch {}: {}",
            best.validation_loss,
            record.map_or(f64::NAN, |record| record.train_loss),
            best.epoch,
            run.model().display()
        ))?;
    }
    line(format_args!("next: dawn21 evaluate {run_argument} {data}"))
}
