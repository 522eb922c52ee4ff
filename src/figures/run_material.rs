//! What is known about a run, as far as it is there.

use std::path::{Path, PathBuf};

use super::FigureError;
use crate::data::dataset::Dataset;
use crate::data::slices::Slicing;
use crate::evaluation::calibration::Calibration;
use crate::evaluation::metrics::Pair;
use crate::evaluation::results::{Metrics, read_first_predictions, read_metrics};
use crate::model::model_file::{self, Model};
use crate::run_directory::RunDirectory;
use crate::training::evaluated_run::{EvaluatedRun, evaluate_command};
use crate::training::history::{self, EpochRecord};
use crate::training::run_record::RunRecord;

/// A run and what it left behind.
#[derive(Debug)]
pub struct RunMaterial {
    /// The directory.
    pub run: RunDirectory,
    /// The best weights.
    pub model: Model,
    /// How it was trained; none of an imported model.
    pub record: Option<RunRecord>,
    /// Epochs; none of an imported model or an ensemble.
    pub history: Vec<EpochRecord>,
    /// Scores; none before an evaluation.
    pub metrics: Option<Metrics>,
    /// Truths and predictions of the first image of each light-cone; none before an evaluation.
    pub predictions: Option<Vec<Vec<Pair>>>,
    /// Scores of other runs of the same parameters, with their names.
    pub beside: Vec<(String, Metrics)>,
    /// Uncertainties; none where there is no calibration of these weights.
    pub calibration: Option<Calibration>,
    /// The light-cones, if they are at hand.
    pub light_cones: Option<LightCones>,
    /// What is not there and what to do, one sentence each.
    pub notes: Vec<String>,
}

/// Light-cones that fit the model.
#[derive(Debug)]
pub struct LightCones {
    /// The data directory.
    pub dataset: Dataset,
    /// Its images.
    pub slicing: Slicing,
}

impl RunMaterial {
    /// Collects what a run directory holds, and opens its light-cones: those in `data`, or, when they are
    /// still there, those that it was trained on.
    ///
    /// # Errors
    /// [`FigureError`] when the run has no model, a file is damaged, or `data` cannot be used.
    pub fn load(path: &Path, data: Option<&Path>) -> Result<Self, FigureError> {
        let run = RunDirectory::open(path)?;
        let record = RunRecord::read_unless_imported(&run.record())?;
        if !run.model().exists() {
            return Err(FigureError::NoModel { path: run.model() });
        }
        let model = model_file::read(&run.model())?;
        let parameters = &model.description.parameters;
        let metrics = read_metrics(&run.metrics())?;
        let names: Vec<&str> = parameters.iter().map(|p| &p.name[..]).collect();
        let predictions = read_first_predictions(&run.predictions(), &names)?;
        let history = history::read(&run.history())?;
        let mut notes = Vec::new();
        let calibration = match Calibration::read(&run.calibration(), &model) {
            Ok(calibration) => calibration,
            Err(error) => {
                notes.push(error.to_string());
                None
            }
        };
        if let Some(metrics) = &metrics {
            let epochs = (metrics.epoch, model.description.epoch);
            let command = evaluate_command(path, Path::new("DATA"), record.is_none());
            let anew = format!("`{command}` computes them again");
            if epochs.0 != epochs.1 {
                notes.push(format!(
                    "the scores are those of epoch {}, but the weights are now those of epoch {}; {anew}",
                    epochs.0, epochs.1
                ));
            } else if metrics
                .weights
                .as_ref()
                .is_some_and(|w| *w != model.parameters.digest())
                || metrics.symmetries != model.description.symmetries
            {
                notes.push(format!(
                    "the scores are those of other weights, or of other views of an image; {anew}"
                ));
            }
        }
        let trained_on = record.as_ref().map(|record| &record.data.directory);
        let light_cones = match (data, trained_on) {
            (Some(data), _) => Some(open(data, &model)?),
            (None, Some(data)) => open(data, &model)
                .inspect_err(|error| {
                    notes.push(format!("{error}; --data DATA says where they are"))
                })
                .ok(),
            (None, None) => None,
        };
        let light_cones = light_cones.filter(|found| {
            let empty = found.dataset.light_cones().is_empty();
            if empty {
                let directory = found.dataset.directory().display();
                notes.push(format!("{directory} holds no light-cones"));
            }
            !empty
        });
        Ok(Self {
            run,
            record,
            history,
            metrics,
            predictions,
            beside: Vec::new(),
            calibration,
            light_cones,
            notes,
            model,
        })
    }

    /// Adds the scores of another run.
    ///
    /// # Errors
    /// [`FigureError`] when it is no run, was not evaluated, or is one of other parameters.
    pub fn put_beside(&mut self, path: &Path) -> Result<(), FigureError> {
        let other = EvaluatedRun::open(path)?;
        let parameters = self.model.description.parameters.iter();
        let own: Vec<&str> = parameters.map(|p| &p.name[..]).collect();
        other.check_parameters(self.run.path(), &own)?;
        if let Some(metrics) = &self.metrics {
            let differences = other.differences(&self.run, self.record.as_ref(), metrics);
            self.notes
                .extend(differences.into_iter().map(|d| format!("warning: {d}")));
        }
        self.beside.push((other.run.name(), other.metrics));
        Ok(())
    }

    /// The command that gives the run its scores.
    pub(super) fn evaluate_command(&self) -> String {
        evaluate_command(
            self.run.path(),
            &self.data_argument(),
            self.record.is_none(),
        )
    }

    /// The data directory to name in commands.
    pub(super) fn data_argument(&self) -> PathBuf {
        let trained_on = self.record.as_ref().map(|r| r.data.directory.clone());
        let at_hand = self.light_cones.as_ref();
        at_hand
            .map(|light_cones| light_cones.dataset.directory().to_path_buf())
            .or(trained_on)
            .unwrap_or_else(|| PathBuf::from("DATA"))
    }
}

fn open(data: &Path, model: &Model) -> Result<LightCones, FigureError> {
    let dataset = Dataset::open(data)?;
    let slicing = Slicing::new(dataset.manifest(), &model.description.slices)?;
    model.description.check_data(dataset.manifest(), &slicing)?;
    Ok(LightCones { dataset, slicing })
}
