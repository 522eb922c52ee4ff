//! What an evaluation is about: a run, data, and those of its light-cones that are scored.

use std::path::{Path, PathBuf};

use super::{Arguments, PartArgument};
use crate::cli::model_argument::{self, Weights};
use crate::cli::output::note;
use crate::cli::{CommandError, calibrate, known_light_cones};
use crate::data::dataset::Dataset;
use crate::data::slices::Slicing;
use crate::data::split::Split;
use crate::evaluation::calibration::Calibration;
use crate::evaluation::results::read_metrics;
use crate::model::model_file::Model;
use crate::run_directory::RunDirectory;
use crate::training::preparation;
use crate::training::run_record::RunRecord;

pub(super) struct Subject {
    pub(super) run: RunDirectory,
    /// None of an imported model.
    record: Option<RunRecord>,
    pub(super) model_file: PathBuf,
    pub(super) model: Model,
    pub(super) dataset: Dataset,
    /// The images that the network was made for.
    pub(super) slicing: Slicing,
    /// Only the data that the run was trained on are divided.
    split: Option<Split>,
    pub(super) part: PartArgument,
    /// Their numbers in the data.
    pub(super) light_cones: Vec<usize>,
    /// How many of these the network knows from its training or validation, or from those of its initial weights; none
    /// when that is not known.
    pub(super) known_light_cones: Option<usize>,
}

impl Subject {
    /// Everything that an evaluation needs is there and fits together, or an error says what does not.
    pub(super) fn open(arguments: &Arguments) -> Result<Self, CommandError> {
        let run = RunDirectory::open(&arguments.run)?;
        let record = RunRecord::read_unless_imported(&run.record())?;
        let (model_file, model) = model_argument::open(&arguments.run, arguments.weights)?;
        let dataset = Dataset::open(&arguments.data)?;
        let slicing = Slicing::new(dataset.manifest(), &model.description.slices)?;
        model.description.check_data(dataset.manifest(), &slicing)?;
        let split = match &record {
            Some(record) => own_split(&run, record, &dataset, arguments)?,
            None => None,
        };
        let (part, light_cones) = choose_light_cones(arguments, &run, &dataset, split.as_ref())?;
        let known_light_cones = match &record {
            Some(record) => known_light_cones::count_scored(
                &run,
                record,
                &dataset,
                split.as_ref(),
                &light_cones,
                arguments.quiet,
            )?,
            None => None,
        };
        Ok(Self {
            run,
            record,
            model_file,
            model,
            dataset,
            slicing,
            split,
            part,
            light_cones,
            known_light_cones,
        })
    }

    /// Of the training, and so of the bootstrap.
    pub(super) fn seed(&self) -> u64 {
        self.record.as_ref().map_or(0, |record| record.config.seed)
    }

    pub(super) fn training_images_per_light_cone(&self) -> Option<usize> {
        let record = self.record.as_ref()?;
        let images = record.config.training.images_per_light_cone;
        Some(images.unwrap_or(self.slicing.images().len()))
    }

    /// The calibration of the best weights, measured if the data are at hand; none of the light-cones that it was made
    /// with, of which it knows the truth.
    pub(super) fn calibration(
        &self,
        arguments: &Arguments,
    ) -> Result<Option<Calibration>, CommandError> {
        if arguments.weights == Weights::Last {
            return Ok(None);
        }
        let (run, model, dataset) = (&self.run, &self.model, &self.dataset);
        if let Some(split) = &self.split {
            let made = calibrate::before_evaluation(
                run,
                model,
                dataset,
                &self.slicing,
                split,
                arguments.quiet,
            )?;
            // Those calibrated on, or the validation light-cones of the run's own data.
            let known =
                made.fingerprint == dataset.fingerprint() && self.part != PartArgument::Test;
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

    /// The run itself holds the scores that count: those of the best weights on its test set. Others go beside them.
    pub(super) fn output_directory(&self, arguments: &Arguments, fingerprint: &str) -> PathBuf {
        if let Some(out) = &arguments.out {
            return out.clone();
        }
        let mut name = vec!["evaluation".to_string()];
        if self.split.is_none() {
            let data =
                std::path::absolute(&arguments.data).unwrap_or_else(|_| arguments.data.clone());
            name.push(
                data.file_name()
                    .map_or("data".into(), |name| name.to_string_lossy().into_owned()),
            );
        } else if self.part != PartArgument::Test {
            name.push(self.part.name().to_string());
        }
        if arguments.weights == Weights::Last {
            name.push("last".to_string());
        }
        if name.len() == 1 {
            return self.run.path().to_path_buf();
        }
        let directory = self.run.path().join(name.join("-"));
        // Data directories of the same name, or one called `validation`. A damaged file may be written over.
        match read_metrics(&RunDirectory::at(&directory).metrics()) {
            Ok(Some(others)) if others.fingerprint != fingerprint => {
                name.push(fingerprint.chars().take(8).collect());
                self.run.path().join(name.join("-"))
            }
            _ => directory,
        }
    }

    /// Truths beyond the ranges that the network was trained on: it was never asked for such values.
    pub(super) fn warn_about_ranges(&self) {
        for (index, parameter) in self.model.description.parameters.iter().enumerate() {
            let range = parameter.min..=parameter.max;
            let light_cones = self.dataset.light_cones().iter();
            let outside = light_cones
                .filter(|light_cone| !range.contains(&light_cone.parameters[index]))
                .count();
            if outside > 0 {
                note(format_args!(
                    "warning: {outside} light-cones have `{}` outside [{}, {}], the range that the model was trained on",
                    parameter.name, parameter.min, parameter.max
                ));
            }
        }
    }
}

/// How the data were divided for the training, if it is these that the run was trained on.
fn own_split(
    run: &RunDirectory,
    record: &RunRecord,
    dataset: &Dataset,
    arguments: &Arguments,
) -> Result<Option<Split>, CommandError> {
    let quiet = arguments.quiet;
    if record.check_data(run.path(), dataset).is_err() {
        if is_same_directory(&record.data.directory, &arguments.data) && !quiet {
            note(format_args!(
                "warning: {} was trained on {}, which has changed since (light-cones, parameters, geometry, physics or \
                 cosmology): it is treated as data that the network has not seen, although the network may have",
                run.path().display(),
                arguments.data.display()
            ));
        }
        return Ok(None);
    }
    if !run.split().exists() && !quiet {
        note(format_args!(
            "{} is missing; the light-cones are divided as the settings of the run say",
            run.split().display()
        ));
    }
    Ok(Some(preparation::split(run, dataset, &record.config)?))
}

fn is_same_directory(a: &Path, b: &Path) -> bool {
    let canonical = |path: &Path| std::fs::canonicalize(path).ok();
    canonical(a).is_some() && canonical(a) == canonical(b)
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
