//! `dawn21 evaluate`.

mod subject;
mod summary;

use std::path::{Path, PathBuf};

use self::subject::Subject;
use super::model_argument::Weights;
use super::output::note;
use super::progress::Items;
use super::{CommandError, Threads};
use crate::atomic_file::FileError;
use crate::data::batches::{ImageReader, all_images, first_images};
use crate::data::scaling::TargetScaling;
use crate::data::slices::{ImageSet, Slicing};
use crate::data::split::Part;
use crate::evaluation::calibrated::{coverage, less_bias};
use crate::evaluation::calibration::{Answer, Calibration};
use crate::evaluation::metrics::Pair;
use crate::evaluation::prediction::{ImagePrediction, in_physical_units, predict};
use crate::evaluation::results::{Coverage, Metrics, write_metrics, write_predictions};
use crate::evaluation::scores::{
    Scores, mean_by_light_cone, of_first_images, of_images_before, score,
};
use crate::figures::run_figures::recovery_figures;
use crate::run_directory::RunDirectory;
use crate::shell::quoted;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Run directory
    run: PathBuf,
    /// Data directory with true parameters: the one that the run was trained on, or one with light-cones that the
    /// network has not seen
    data: PathBuf,
    /// Light-cones to score; default: `test` for the data that the run was trained on, else `all`
    #[arg(long)]
    part: Option<PartArgument>,
    /// Images of each light-cone to predict. The printed scores are those of its first image, as in the paper; `all`
    /// adds the scores of each image on its own, of the mean of the predictions over a light-cone's images, and of
    /// that mean minus the bias that such means have on the calibration light-cones
    #[arg(long, value_enum, default_value = "all")]
    images: Images,
    /// Predict images of constant x as well, and score the mean over both directions; needs whole cubes with a square
    /// sky
    #[arg(long)]
    both_directions: bool,
    /// Which weights
    #[arg(long, value_enum, default_value = "best")]
    weights: Weights,
    /// Directory for metrics.json, predictions.csv and figures; default: RUN for the best weights on the test set, else
    /// RUN/evaluation followed by -<PART> or, for other data, -<name of DATA>, by -last for the last weights, and by
    /// the fingerprint of DATA if that directory already holds an evaluation of other data
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
    /// The first image only: faster by a factor of the number of images in a light-cone
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
            "--images first leaves out the images that --both-directions asks for; give only one of the two"
                .to_string(),
        ));
    }
    let subject = Subject::open(arguments)?;
    if !arguments.quiet {
        subject.warn_about_ranges();
    }
    let answers = Answers::predict(&subject, arguments)?;
    let calibration = subject.calibration(arguments)?;
    let metrics = metrics(&subject, &answers, calibration.as_ref(), arguments);
    let directory = subject.output_directory(arguments, &metrics.fingerprint);
    write(&directory, &subject, &answers, &metrics)?;
    summary::print(&metrics)?;
    if !arguments.quiet {
        note(format_args!("stored in {}", directory.display()));
        if directory == subject.run.path() {
            note(format_args!(
                "next: dawn21 report {}",
                quoted(subject.run.path())
            ));
        }
    }
    Ok(())
}

/// What the network says about the images of the light-cones that are scored.
struct Answers {
    /// All images that were predicted, of both directions where that was asked for.
    slicing: Slicing,
    images: Vec<ImagePrediction>,
    /// Of the first image of each light-cone, in units of the network.
    loss_of_first_images: f64,
}

impl Answers {
    fn predict(subject: &Subject, arguments: &Arguments) -> Result<Self, CommandError> {
        let Subject { model, dataset, .. } = subject;
        let slicing = match arguments.both_directions {
            true => subject.slicing.both_directions(dataset.manifest())?,
            false => subject.slicing.clone(),
        };
        let images = match arguments.images {
            Images::First => first_images(&subject.light_cones),
            Images::All => all_images(&subject.light_cones, &slicing),
        };
        let scaling = TargetScaling::new(&model.description.parameters);
        let input = model.description.input;
        let reader = ImageReader::new(dataset, &slicing, input, scaling.clone())?;
        let mut progress = Items::new("images", images.len(), arguments.quiet);
        let predictions = predict(
            &mut model.inference()?,
            &reader,
            &images,
            BATCH_SIZE,
            |done| progress.update(done),
        )?;
        Ok(Self {
            images: in_physical_units(&predictions, &images, dataset, &scaling),
            loss_of_first_images: predictions.of_first_images(&images).loss(),
            slicing,
        })
    }
}

fn metrics(
    subject: &Subject,
    answers: &Answers,
    calibration: Option<&Calibration>,
    arguments: &Arguments,
) -> Metrics {
    let seed = subject.seed();
    let scored = |predictions: &[ImagePrediction]| {
        score(predictions, &subject.model.description.parameters, seed)
    };
    let first = of_first_images(&answers.images);
    let upright = of_images_before(subject.slicing.images().len(), &answers.images);
    let several = upright.len() > first.len();
    let of_means = |predictions: &[ImagePrediction], images: ImageSet| {
        mean_scores(predictions, images, calibration, &scored)
    };
    let mean = several.then(|| of_means(&upright, subject.slicing.image_set()));
    let mean = mean.unwrap_or_default();
    let both = arguments.both_directions;
    let both = both.then(|| of_means(&answers.images, answers.slicing.image_set()));
    let both = both.unwrap_or_default();
    let scores = scored(&first);
    Metrics {
        program: concat!("dawn21 ", env!("CARGO_PKG_VERSION")).to_string(),
        model: subject.model_file.display().to_string(),
        epoch: subject.model.description.epoch,
        weights: Some(subject.model.parameters.digest()),
        symmetries: subject.model.description.symmetries,
        training_images_per_light_cone: subject.training_images_per_light_cone(),
        data: arguments.data.display().to_string(),
        fingerprint: subject.dataset.fingerprint(),
        part: subject.part.name().to_string(),
        light_cones: subject.light_cones.len(),
        known_light_cones: subject.known_light_cones,
        images: scores.predictions,
        loss: answers.loss_of_first_images,
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
    }
}

/// Predictions and figures first: where `metrics.json` is, the rest is there too.
fn write(
    directory: &Path,
    subject: &Subject,
    answers: &Answers,
    metrics: &Metrics,
) -> Result<(), CommandError> {
    std::fs::create_dir_all(directory)
        .map_err(FileError::at(directory, "creating the directory"))?;
    let out = RunDirectory::at(directory);
    let parameters = &subject.model.description.parameters;
    write_predictions(
        &out.predictions(),
        &answers.images,
        &subject.dataset,
        &answers.slicing,
        parameters,
    )?;
    let first = of_first_images(&answers.images);
    let pairs: Vec<Vec<Pair>> = first.into_iter().map(|image| image.parameters).collect();
    for figure in recovery_figures(parameters, &pairs) {
        figure.write(&out.figures())?;
    }
    write_metrics(&out.metrics(), metrics)?;
    Ok(())
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
