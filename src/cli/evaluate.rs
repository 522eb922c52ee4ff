//! `dawn21 evaluate`.

mod summary;

use std::path::{Path, PathBuf};

use super::model_argument::{self, Weights};
use super::output::note;
use super::progress::Items;
use super::{CommandError, Threads, calibrate};
use crate::atomic_file::FileError;
use crate::data::batches::{ImageReader, all_images, first_images};
use crate::data::dataset::Dataset;
use crate::data::scaling::TargetScaling;
use crate::data::slices::{ImageSet, Slicing};
use crate::data::split::{Part, Split};
use crate::evaluation::calibrated::{coverage, less_bias};
use crate::evaluation::calibration::{Answer, Calibration};
use crate::evaluation::metrics::Pair;
use crate::evaluation::prediction::{ImagePrediction, in_physical_units, predict};
use crate::evaluation::results::{
    Coverage, Metrics, read_metrics, write_metrics, write_predictions,
};
use crate::evaluation::scores::{
    Scores, mean_by_light_cone, of_first_images, of_images_before, score,
};
use crate::figures::run_figures::recovery_figures;
use crate::model::model_file::{Model, ModelDescription};
use crate::run_directory::RunDirectory;
use crate::shell::quoted;
use crate::training::preparation;
use crate::training::run_record::RunRecord;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Run directory
    run: PathBuf,
    /// Data directory with true parameters; other than that of the training, light-cones that the network has not
    /// seen
    data: PathBuf,
    /// Light-cones to score; absent: `test` for the data that the run was trained on, else `all`
    #[arg(long)]
    part: Option<PartArgument>,
    /// Images of each light-cone that are predicted. The printed scores are those of its first image, as in the
    /// paper; `all` adds those of each image on its own, of the mean of the predictions over a light-cone's images,
    /// and of that mean less the bias that such means have among the light-cones of the calibration
    #[arg(long, value_enum, default_value = "all")]
    images: Images,
    /// Predict images of constant x as well, and score the mean over both directions; of whole cubes with a square
    /// sky
    #[arg(long)]
    both_directions: bool,
    /// Which weights
    #[arg(long, value_enum, default_value = "best")]
    weights: Weights,
    /// Where metrics.json, predictions.csv and figures go; absent: RUN for the best weights on the test set, else
    /// RUN/evaluation, followed by -<PART> or, for other data, -<name of DATA>, by -last for the last weights, and by
    /// the fingerprint of DATA where that holds an evaluation of other data
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    /// Print the result only
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Images {
    /// Every image
    All,
    /// The first image only: as many times faster as a light-cone has images
    First,
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
    if arguments.both_directions && arguments.images == Images::First {
        return Err(CommandError::Usage(
            "--images first leaves out what --both-directions asks for; give one of them"
                .to_string(),
        ));
    }
    let run = RunDirectory::open(&arguments.run)?;
    let record = RunRecord::read_unless_imported(&run.record())?;
    let seed = record.as_ref().map_or(0, |record| record.config.seed);
    let (file, model) = model_argument::open(&arguments.run, arguments.weights)?;
    let description = &model.description;
    let dataset = Dataset::open(&arguments.data)?;
    let slicing = Slicing::new(dataset.manifest(), &description.slices)?;
    description.check_data(dataset.manifest(), &slicing)?;

    // Only the data that the run was trained on are divided.
    let split = match &record {
        Some(record) if record.check_data(run.path(), &dataset).is_ok() => {
            Some(own_split(&run, record, &dataset, arguments.quiet)?)
        }
        Some(record)
            if is_same_directory(&record.data.directory, &arguments.data) && !arguments.quiet =>
        {
            note(format_args!(
                "warning: {} was trained on {}, which has changed since (light-cones, parameters, geometry, physics or \
                 cosmology): it counts as data that the network has not seen, though it may have",
                run.path().display(),
                arguments.data.display()
            ));
            None
        }
        _ => None,
    };
    let own_data = split.is_some();
    let (part, light_cones) = choose_light_cones(arguments, &run, &dataset, split.as_ref())?;
    if !arguments.quiet {
        warn_about_ranges(description, &dataset);
    }
    let predicted = match arguments.both_directions {
        true => slicing.both_directions(dataset.manifest())?,
        false => slicing.clone(),
    };
    let images = match arguments.images {
        Images::First => first_images(&light_cones),
        Images::All => all_images(&light_cones, &predicted),
    };
    let scaling = TargetScaling::new(&description.parameters);
    let reader = ImageReader::new(&dataset, &predicted, description.input, scaling.clone())?;
    let mut progress = Items::new("images", images.len(), arguments.quiet);
    let predictions = predict(&mut model.engine()?, &reader, &images, BATCH_SIZE, |done| {
        progress.update(done)
    })?;
    let physical = in_physical_units(&predictions, &images, &dataset, &scaling);
    let parameters = &description.parameters;
    let first = of_first_images(&physical);
    let scored = |predictions: &[ImagePrediction]| score(predictions, parameters, seed);
    let scores = scored(&first);
    let upright = of_images_before(slicing.images().len(), &physical);
    let calibration = choose_calibration(
        arguments,
        &run,
        &model,
        (&dataset, &slicing),
        (split.as_ref(), part),
    )?;
    let calibration = calibration.as_ref();
    let several = upright.len() > first.len();
    let mean = several.then(|| mean_scores(&upright, slicing.image_set(), calibration, &scored));
    let mean = mean.unwrap_or_default();
    let both = arguments
        .both_directions
        .then(|| mean_scores(&physical, predicted.image_set(), calibration, &scored));
    let both = both.unwrap_or_default();
    let metrics = Metrics {
        program: concat!("dawn21 ", env!("CARGO_PKG_VERSION")).to_string(),
        model: file.display().to_string(),
        epoch: description.epoch,
        weights: Some(model.parameters.digest()),
        training_images_per_light_cone: record.as_ref().map(|record| {
            let training = &record.config.training;
            training
                .images_per_light_cone
                .unwrap_or(slicing.images().len())
        }),
        data: arguments.data.display().to_string(),
        fingerprint: dataset.fingerprint(),
        part: part.name().to_string(),
        light_cones: light_cones.len(),
        images: scores.predictions,
        loss: predictions.of_first_images(&images).loss(),
        bootstrap_seed: seed,
        parameters: scores.parameters,
        calibration: calibration.map(Calibration::source),
        each_image: several.then(|| scored(&upright)),
        mean_of_images: mean.scores,
        calibrated_mean: mean.calibrated,
        mean_of_both_directions: both.scores,
        calibrated_mean_of_both_directions: both.calibrated,
        coverage: calibration.and_then(|c| coverage(c, Answer::Image, &first)),
        coverage_of_mean: mean.coverage,
        coverage_of_mean_of_both_directions: both.coverage,
    };

    let directory = output_directory(arguments, &run, part, own_data, &metrics.fingerprint);
    std::fs::create_dir_all(&directory)
        .map_err(FileError::at(&directory, "creating the directory"))?;
    let out = RunDirectory::at(&directory);
    write_predictions(
        &out.predictions(),
        &physical,
        &dataset,
        &predicted,
        parameters,
    )?;
    let pairs: Vec<Vec<Pair>> = first.iter().map(|image| image.parameters.clone()).collect();
    for figure in recovery_figures(parameters, &pairs) {
        figure.write(&out.figures())?;
    }
    write_metrics(&out.metrics(), &metrics)?;
    summary::print(&metrics)?;
    if !arguments.quiet {
        note(format_args!("stored in {}", directory.display()));
        if directory == run.path() {
            note(format_args!("next: dawn21 report {}", quoted(run.path())));
        }
    }
    Ok(())
}

fn own_split(
    run: &RunDirectory,
    record: &RunRecord,
    dataset: &Dataset,
    quiet: bool,
) -> Result<Split, CommandError> {
    if !run.split().exists() && !quiet {
        note(format_args!(
            "{} is missing; the light-cones are divided as the settings of the run say",
            run.split().display()
        ));
    }
    Ok(preparation::split(run, dataset, &record.config)?)
}

fn is_same_directory(a: &Path, b: &Path) -> bool {
    let canonical = |path: &Path| std::fs::canonicalize(path).ok();
    canonical(a).is_some() && canonical(a) == canonical(b)
}

/// The calibration of the best weights, measured if the data are at hand; none of the light-cones that it was made with,
/// of which it knows the truth.
fn choose_calibration(
    arguments: &Arguments,
    run: &RunDirectory,
    model: &Model,
    (dataset, slicing): (&Dataset, &Slicing),
    (split, part): (Option<&Split>, PartArgument),
) -> Result<Option<Calibration>, CommandError> {
    if arguments.weights == Weights::Last {
        return Ok(None);
    }
    if let Some(split) = split {
        let made =
            calibrate::before_evaluation(run, model, dataset, slicing, split, arguments.quiet)?;
        // Those calibrated on, or the validation light-cones of the run's own data.
        let known = made.fingerprint == dataset.fingerprint() && part != PartArgument::Test;
        return Ok(Some(made).filter(|_| !known));
    }
    let why_not = match Calibration::read(&run.calibration(), model) {
        Ok(Some(made)) if made.fingerprint == dataset.fingerprint() => {
            "it was made with these light-cones".to_string()
        }
        Ok(made) => return Ok(made),
        Err(error) => error.to_string(),
    };
    if !arguments.quiet {
        note(format_args!("scores without calibration: {why_not}"));
    }
    Ok(None)
}

/// Scores of the mean over a light-cone's images.
#[derive(Default)]
struct MeanScores {
    scores: Option<Scores>,
    calibrated: Option<Scores>,
    coverage: Option<Vec<Coverage>>,
}

/// Of the mean over these images of each light-cone, as it is and less its bias.
fn mean_scores(
    predictions: &[ImagePrediction],
    images: ImageSet,
    calibration: Option<&Calibration>,
    scored: &impl Fn(&[ImagePrediction]) -> Scores,
) -> MeanScores {
    let means = mean_by_light_cone(predictions);
    let of = Answer::Mean(images);
    let less_bias = calibration.and_then(|c| less_bias(c, of, &means));
    MeanScores {
        scores: Some(scored(&means)),
        calibrated: less_bias.map(|means| scored(&means)),
        coverage: calibration.and_then(|c| coverage(c, of, &means)),
    }
}

fn choose_light_cones(
    arguments: &Arguments,
    run: &RunDirectory,
    dataset: &Dataset,
    split: Option<&Split>,
) -> Result<(PartArgument, Vec<usize>), CommandError> {
    let default = match split {
        Some(_) => PartArgument::Test,
        None => PartArgument::All,
    };
    let argument = arguments.part.unwrap_or(default);
    let Some(part) = argument.part() else {
        return Ok((argument, (0..dataset.light_cones().len()).collect()));
    };
    let Some(split) = split else {
        return Err(CommandError::Usage(format!(
            "--part {}: {} is not what {} was trained on, so it has no such part; use --part all",
            argument.name(),
            dataset.directory().display(),
            run.path().display()
        )));
    };
    let light_cones = split.light_cones(part);
    if light_cones.is_empty() {
        return Err(CommandError::Usage(format!(
            "{} has no light-cones for --part {}; choose another part",
            run.split().display(),
            argument.name()
        )));
    }
    Ok((argument, light_cones))
}

/// The run itself holds the scores that count: those of the best weights on its test set. Others go beside them.
fn output_directory(
    arguments: &Arguments,
    run: &RunDirectory,
    part: PartArgument,
    own_data: bool,
    fingerprint: &str,
) -> PathBuf {
    if let Some(out) = &arguments.out {
        return out.clone();
    }
    let mut name = vec!["evaluation".to_string()];
    if !own_data {
        let data = std::path::absolute(&arguments.data).unwrap_or_else(|_| arguments.data.clone());
        name.push(
            data.file_name()
                .map_or("data".into(), |name| name.to_string_lossy().into_owned()),
        );
    } else if part != PartArgument::Test {
        name.push(part.name().to_string());
    }
    if arguments.weights == Weights::Last {
        name.push("last".to_string());
    }
    if name.len() == 1 {
        return run.path().to_path_buf();
    }
    let directory = run.path().join(name.join("-"));
    // Data directories of the same name, or one called `validation`. A damaged file may be written over.
    match read_metrics(&RunDirectory::at(&directory).metrics()) {
        Ok(Some(others)) if others.fingerprint != fingerprint => {
            name.push(fingerprint.chars().take(8).collect());
            run.path().join(name.join("-"))
        }
        _ => directory,
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
