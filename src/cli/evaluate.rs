//! `dawn21 evaluate`.

use std::path::PathBuf;

use super::model_argument::{self, Weights};
use super::output::{line, note};
use super::progress::Items;
use super::{CommandError, Threads, table};
use crate::atomic_file::FileError;
use crate::data::batches::{ImageReader, all_images, first_images};
use crate::data::dataset::Dataset;
use crate::data::scaling::TargetScaling;
use crate::data::slices::Slicing;
use crate::data::split::{Part, Split};
use crate::evaluation::prediction::{in_physical_units, predict};
use crate::evaluation::results::{
    Metrics, ParameterScores, score, write_metrics, write_predictions,
};
use crate::figures::recovery;
use crate::model::model_file::ModelDescription;
use crate::run_directory::RunDirectory;
use crate::training::run_record::{RunRecord, RunRecordError};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Run directory
    run: PathBuf,
    /// Data directory with true parameters
    data: PathBuf,
    /// Light-cones to score; absent: `test` for the data that the run was trained on, else `all`
    #[arg(long)]
    part: Option<PartArgument>,
    /// Score every image of a light-cone, not only the first as the paper does
    #[arg(long)]
    all_images: bool,
    /// Which weights
    #[arg(long, value_enum, default_value = "best")]
    weights: Weights,
    /// Where metrics.json, predictions.csv and figures go; absent: RUN for the test set, else
    /// RUN/evaluation-<PART> or, for other data, RUN/evaluation-<DATA>
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    /// Print the result only
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum PartArgument {
    Test,
    Validation,
    Train,
    All,
}

impl PartArgument {
    fn part(self) -> Option<Part> {
        match self {
            Self::Test => Some(Part::Test),
            Self::Validation => Some(Part::Validation),
            Self::Train => Some(Part::Train),
            Self::All => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Validation => "validation",
            Self::Train => "train",
            Self::All => "all",
        }
    }
}

/// Images per forward pass: enough to keep the cores busy, little enough for any memory.
pub(super) const BATCH_SIZE: usize = 64;

pub(super) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    arguments.threads.apply()?;
    let run = RunDirectory::open(&arguments.run)?;
    let record = match RunRecord::read(&run.record()) {
        // An imported model knows neither its training data nor a seed.
        Err(RunRecordError::Imported { .. }) => None,
        record => Some(record?),
    };
    let seed = record.as_ref().map_or(0, |record| record.config.seed);
    let (file, model) = model_argument::open(&arguments.run, arguments.weights)?;
    let description = &model.description;
    let dataset = Dataset::open(&arguments.data)?;
    let slicing = Slicing::new(dataset.manifest(), &description.slices)?;
    description.check_data(dataset.manifest(), &slicing)?;

    let own_data = record.is_some_and(|record| record.check_data(run.path(), &dataset).is_ok());
    let (part, light_cones) = choose_light_cones(arguments, &run, &dataset, own_data)?;
    if !arguments.quiet {
        warn_about_ranges(description, &dataset);
    }
    let images = if arguments.all_images {
        all_images(&light_cones, &slicing)
    } else {
        first_images(&light_cones)
    };
    let scaling = TargetScaling::new(&description.parameters);
    let reader = ImageReader::new(&dataset, &slicing, description.input, scaling.clone())?;
    let mut progress = Items::new("images", images.len(), arguments.quiet);
    let predictions = predict(&mut model.engine()?, &reader, &images, BATCH_SIZE, |done| {
        progress.update(done)
    })?;
    let physical = in_physical_units(&predictions, &images, &dataset, &scaling);
    let metrics = Metrics {
        program: concat!("dawn21 ", env!("CARGO_PKG_VERSION")).to_string(),
        model: file.display().to_string(),
        epoch: description.epoch,
        data: arguments.data.display().to_string(),
        fingerprint: dataset.fingerprint(),
        part: part.name().to_string(),
        light_cones: light_cones.len(),
        images: images.len(),
        loss: predictions.loss(),
        bootstrap_seed: seed,
        parameters: score(&physical, &description.parameters, seed),
    };

    let directory = output_directory(arguments, &run, part, own_data);
    std::fs::create_dir_all(&directory)
        .map_err(FileError::at(&directory, "creating the directory"))?;
    let out = RunDirectory::at(&directory);
    let parameters = &description.parameters;
    write_predictions(
        &out.predictions(),
        &physical,
        &dataset,
        &slicing,
        parameters,
    )?;
    recovery::write(&out, &physical, parameters)?;
    write_metrics(&out.metrics(), &metrics)?;
    print(&metrics)?;
    if !arguments.quiet {
        note(format_args!("stored in {}", directory.display()));
    }
    Ok(())
}

fn choose_light_cones(
    arguments: &Arguments,
    run: &RunDirectory,
    dataset: &Dataset,
    own_data: bool,
) -> Result<(PartArgument, Vec<usize>), CommandError> {
    let default = if own_data {
        PartArgument::Test
    } else {
        PartArgument::All
    };
    let argument = arguments.part.unwrap_or(default);
    let Some(part) = argument.part() else {
        return Ok((argument, (0..dataset.light_cones().len()).collect()));
    };
    if !own_data {
        return Err(CommandError::Usage(format!(
            "--part {}: {} is not what {} was trained on, so it has no such part; use --part all",
            argument.name(),
            dataset.directory().display(),
            run.path().display()
        )));
    }
    let light_cones = Split::read(&run.split(), dataset)?.light_cones(part);
    if light_cones.is_empty() {
        return Err(CommandError::Usage(format!(
            "{} has no light-cones for --part {}; choose another part",
            run.split().display(),
            argument.name()
        )));
    }
    Ok((argument, light_cones))
}

/// The run itself holds the scores that count: those of its test set. Others go beside them.
fn output_directory(
    arguments: &Arguments,
    run: &RunDirectory,
    part: PartArgument,
    own_data: bool,
) -> PathBuf {
    if let Some(out) = &arguments.out {
        return out.clone();
    }
    if !own_data {
        let data = std::path::absolute(&arguments.data).unwrap_or_else(|_| arguments.data.clone());
        let name = data
            .file_name()
            .map_or("data".into(), |name| name.to_string_lossy());
        return run.path().join(format!("evaluation-{name}"));
    }
    match part {
        PartArgument::Test => run.path().to_path_buf(),
        other => run.path().join(format!("evaluation-{}", other.name())),
    }
}

/// Truths beyond the ranges that the network was trained on: it was never asked for such values.
fn warn_about_ranges(description: &ModelDescription, dataset: &Dataset) {
    for (index, parameter) in description.parameters.iter().enumerate() {
        let outside = dataset
            .light_cones()
            .iter()
            .filter(|l| !(parameter.min..=parameter.max).contains(&l.parameters[index]))
            .count();
        if outside > 0 {
            note(format_args!(
                "warning: {outside} light-cones have `{}` outside [{}, {}], the range that the model was trained on",
                parameter.name, parameter.min, parameter.max
            ));
        }
    }
}

fn print(metrics: &Metrics) -> Result<(), CommandError> {
    let header = [
        "parameter",
        "R2",
        "68 %",
        "RMSE",
        "68 %",
        "bias",
        "68 %",
        "unit",
    ];
    let mut rows = vec![header.map(str::to_string).to_vec()];
    let number = |value: f64| format!("{value:.4}");
    let interval = |interval: Option<[f64; 2]>| {
        interval.map_or("-".to_string(), |[low, high]| {
            format!("[{low:.4}, {high:.4}]")
        })
    };
    for ParameterScores {
        name,
        unit,
        r2,
        r2_interval,
        rmse,
        rmse_interval,
        bias,
        bias_interval,
        ..
    } in &metrics.parameters
    {
        rows.push(vec![
            name.clone(),
            r2.map_or("-".to_string(), number),
            interval(*r2_interval),
            number(*rmse),
            interval(*rmse_interval),
            number(*bias),
            interval(*bias_interval),
            unit.clone(),
        ]);
    }
    let table = table::format(&rows);
    line(table.trim_end())?;
    line(format_args!(
        "{} images of {} light-cones ({}), epoch {}, loss {:.6}",
        metrics.images, metrics.light_cones, metrics.part, metrics.epoch, metrics.loss
    ))?;
    if metrics.light_cones < 30 {
        line("so few light-cones that the scores say little")?;
    }
    Ok(())
}
