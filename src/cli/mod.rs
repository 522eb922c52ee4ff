//! The command line: one file a command.

// These macros panic when nobody reads the stream any more; `output` does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod calibrate;
mod compare;
mod ensemble;
mod evaluate;
mod export;
mod figures;
mod gradcheck;
mod images;
mod import_model;
mod info;
mod inspect;
mod interrupt;
mod known_light_cones;
mod model_argument;
mod output;
mod predict;
mod predictor;
mod progress;
mod report;
mod simulate;
mod table;
mod train;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::atomic_file::FileError;
use crate::audit::layers::AuditError;
use crate::data::DataError;
use crate::data::fault::Fault;
use crate::data::manifest::ManifestError;
use crate::evaluation::calibration::CalibrationError;
use crate::evaluation::prediction::PredictionError;
use crate::figures::FigureError;
use crate::figures::light_cone::LightConeFigureError;
use crate::model::ensemble::EnsembleError;
use crate::model::exchange::ImportError;
use crate::model::exchange::architecture_file::ArchitectureFileError;
use crate::model::exchange::keras::KerasWriteError;
use crate::model::exchange::onnx::OnnxError;
use crate::model::execution::ExecutionError;
use crate::model::model_file::ModelError;
use crate::run_directory::RunDirectoryError;
use crate::tensor_file::TensorFileError;
use crate::training::config::{Config, ConfigError, ConfigSources};
use crate::training::error::TrainingError;
use crate::training::evaluated_run::EvaluatedRunError;
use crate::training::run_record::RunRecordError;

/// Reads the first billion years of the Universe out of 21-cm images.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Simulate light-cones into a data directory
    Simulate(Box<simulate::SimulateArguments>),
    /// Train a network on the light-cones of a data directory
    Train(train::Arguments),
    /// Score a trained network against the true parameters of a data directory
    Evaluate(evaluate::Arguments),
    /// Measure the uncertainties of a network anew, on light-cones that it was not trained on
    Calibrate(calibrate::Arguments),
    /// Combine runs into one: the mean over networks that differ only in their weights, and over views of an image
    Ensemble(ensemble::Arguments),
    /// Print R2 of several evaluated runs, summarised over their seeds, beside published values
    Compare(compare::Arguments),
    /// Print the parameters that a trained network reads out of cubes or images, as csv
    Predict(predict::Arguments),
    /// Make a run out of the weights of a PyTorch or Keras model
    ImportModel(import_model::Arguments),
    /// Write a trained network for PyTorch, Keras or onnxruntime
    Export(export::Arguments),
    /// Say what a data directory holds and whether it is sound
    Info(info::Arguments),
    /// Measure how fast a network trains or predicts here
    Bench(bench::Arguments),
    /// Audit every gradient against finite differences, and every f32 kernel against f64
    Gradcheck(gradcheck::Arguments),
    /// Draw the figures of a run into RUN/figures, or a figure of one light-cone with `light-cone CUBE`
    Figures(figures::Arguments),
    /// Write RUN/report.html: figures, tables and settings of a run in one page
    Report(report::Arguments),
    /// Show what a trained network makes of one image: values, response of the first layer, saliency
    Inspect(inspect::Arguments),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Training(#[from] TrainingError),
    #[error(transparent)]
    Prediction(#[from] PredictionError),
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Ensemble(#[from] EnsembleError),
    #[error(transparent)]
    Execution(#[from] ExecutionError),
    #[error(transparent)]
    Tensors(#[from] TensorFileError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    ArchitectureFile(#[from] ArchitectureFileError),
    #[error(transparent)]
    Keras(#[from] KerasWriteError),
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    #[error(transparent)]
    Run(#[from] RunDirectoryError),
    #[error(transparent)]
    Record(#[from] RunRecordError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Evaluated(#[from] EvaluatedRunError),
    #[error(transparent)]
    Figure(Box<FigureError>),
    #[error(transparent)]
    LightConeFigure(#[from] LightConeFigureError),
    #[error(transparent)]
    Simulate(#[from] simulate::SimulateCommandError),
    /// Options that do not go together, or an input that no other error describes.
    #[error("{0}")]
    Usage(String),
    #[error("standard output: {0}")]
    Output(#[from] std::io::Error),
    #[error("{failed} checks failed")]
    AuditFailed { failed: usize },
    #[error("{}: {faults} faults", directory.display())]
    Unsound { directory: PathBuf, faults: usize },
}

// Boxed, since it holds most of the others: every result would be as large.
impl From<FigureError> for CommandError {
    fn from(error: FigureError) -> Self {
        Self::Figure(Box::new(error))
    }
}

/// Runs the command of the process's arguments.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Figures(arguments) => figures::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Report(arguments) => report::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Inspect(arguments) => inspect::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Train(arguments) => train::run(&arguments),
        Command::Evaluate(arguments) => evaluate::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Calibrate(arguments) => calibrate::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Ensemble(arguments) => ensemble::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Compare(arguments) => compare::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Predict(arguments) => predict::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::ImportModel(arguments) => {
            import_model::run(&arguments).map(|()| ExitCode::SUCCESS)
        }
        Command::Export(arguments) => export::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Info(arguments) => info::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Bench(arguments) => bench::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Gradcheck(arguments) => gradcheck::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        // A reader that has seen enough (`dawn21 predict ... | head`) is no failure.
        Err(CommandError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            output::note(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Which settings, for every command that needs a network but no run.
#[derive(Debug, clap::Args)]
struct NetworkArguments {
    /// Network of a preset; default: gillet2019, the paper's
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Network of a TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Replace one field, e.g. layer.0.filters=16; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

impl NetworkArguments {
    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&ConfigSources {
            preset: self.preset.as_deref(),
            file: self.config.as_deref(),
            overrides: &self.overrides,
            seed: None,
        })
    }
}

/// Rows and columns of an image, from `ROWS,COLUMNS`.
fn parse_image(text: &str) -> Result<[usize; 2], String> {
    let (rows, columns) = text
        .split_once(',')
        .ok_or("expected two numbers, ROWS,COLUMNS")?;
    let number = |text: &str| match text.trim().parse::<usize>() {
        Ok(n) if (1..1 << 20).contains(&n) => Ok(n),
        _ => Err(format!("`{text}`: expected a number of cells")),
    };
    Ok([number(rows)?, number(columns)?])
}

/// Number of threads, for every command that computes.
#[derive(Debug, clap::Args)]
struct Threads {
    /// Number of threads; default: all cores. Results do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

impl Threads {
    fn apply(&self) -> Result<(), CommandError> {
        let Some(threads) = self.threads else {
            return Ok(());
        };
        rayon::ThreadPoolBuilder::new()
            .num_threads(usize::from(threads))
            .build_global()
            .map_err(|error| CommandError::Usage(format!("--threads {threads}: {error}")))
    }
}
