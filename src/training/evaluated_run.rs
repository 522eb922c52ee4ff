//! A run with the scores of its evaluation, to stand beside others.

use std::path::{Path, PathBuf};

use super::history::{self, HistoryFileError};
use super::run_record::{RunRecord, RunRecordError};
use crate::evaluation::comparison::Images;
use crate::evaluation::results::{Metrics, ResultsError, read_metrics};
use crate::run_directory::{RunDirectory, RunDirectoryError};
use crate::shell::quoted;

/// A run that was evaluated.
#[derive(Debug, Clone)]
pub struct EvaluatedRun {
    /// Its directory.
    pub run: RunDirectory,
    /// What it was started with; none of an imported model.
    pub record: Option<RunRecord>,
    /// Its scores.
    pub metrics: Metrics,
}

/// Why runs cannot stand beside each other.
#[derive(Debug, thiserror::Error)]
pub enum EvaluatedRunError {
    /// It is no run.
    #[error(transparent)]
    Run(#[from] RunDirectoryError),
    /// Its record.
    #[error(transparent)]
    Record(#[from] RunRecordError),
    /// Its scores.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// Its history.
    #[error(transparent)]
    History(#[from] HistoryFileError),
    /// It has no scores yet.
    #[error("{} has not been evaluated yet; run `{}`", run.display(), evaluate_command(run, Path::new("DATA"), *imported))]
    NotEvaluated {
        /// The run.
        run: PathBuf,
        /// Whether it is an imported model.
        imported: bool,
    },
    /// Two runs recover different parameters.
    #[error(
        "{}: recovers {found}, but {} recovers {expected}; compare runs of the same parameters in the same order",
        run.display(), reference.display()
    )]
    OtherParameters {
        /// The run.
        run: PathBuf,
        /// Its parameters.
        found: String,
        /// The run that it stands beside.
        reference: PathBuf,
        /// The parameters of that.
        expected: String,
    },
    /// Two runs of one kind have one seed.
    #[error(
        "{} and {} are the same training (seed {seed}); give one of them",
        first.display(), second.display()
    )]
    SameSeed {
        /// One run.
        first: PathBuf,
        /// Another run.
        second: PathBuf,
        /// The seed of both.
        seed: u64,
    },
}

/// The command that gives a run its scores. Nothing says what an imported model was trained on, so that no evaluation is
/// stored as the run's own unasked.
#[must_use]
pub fn evaluate_command(run: &Path, data: &Path, imported: bool) -> String {
    let (run, data) = (quoted(run), quoted(data));
    match imported {
        false => format!("dawn21 evaluate {run} {data}"),
        true => format!("dawn21 evaluate {run} {data} --out {run}"),
    }
}

impl EvaluatedRun {
    /// Reads record and scores of a run.
    ///
    /// # Errors
    /// [`EvaluatedRunError`] when it is no run, was not evaluated, or a file is damaged.
    pub fn open(path: &Path) -> Result<Self, EvaluatedRunError> {
        let run = RunDirectory::open(path)?;
        let record = RunRecord::read_unless_imported(&run.record())?;
        let metrics =
            read_metrics(&run.metrics())?.ok_or_else(|| EvaluatedRunError::NotEvaluated {
                run: path.to_path_buf(),
                imported: record.is_none(),
            })?;
        Ok(Self {
            run,
            record,
            metrics,
        })
    }

    /// Names of the parameters, in the order of the network's outputs.
    #[must_use]
    pub fn parameters(&self) -> Vec<&str> {
        let scores = self.metrics.parameters.iter();
        scores.map(|scores| &scores.name[..]).collect()
    }

    /// Checks that the parameters are those of `reference`.
    ///
    /// # Errors
    /// [`EvaluatedRunError::OtherParameters`] otherwise.
    pub fn check_parameters(
        &self,
        reference: &Path,
        expected: &[&str],
    ) -> Result<(), EvaluatedRunError> {
        let found = self.parameters();
        if found == expected {
            return Ok(());
        }
        Err(EvaluatedRunError::OtherParameters {
            run: self.run.path().to_path_buf(),
            found: found.join(", "),
            reference: reference.to_path_buf(),
            expected: expected.join(", "),
        })
    }

    /// Whether the training came to its last epoch or ended early by its own rule; imported models and ensembles have
    /// none.
    ///
    /// # Errors
    /// [`EvaluatedRunError::History`] when the history cannot be read.
    pub fn is_finished(&self) -> Result<bool, EvaluatedRunError> {
        match &self.record {
            Some(record) if record.members.is_empty() => {
                Ok(record.has_ended(&history::read(&self.run.history())?))
            }
            _ => Ok(true),
        }
    }

    /// Why scores of this run say little beside `metrics`, those of `reference` with its `record`: one sentence each.
    #[must_use]
    pub fn differences(
        &self,
        reference: &RunDirectory,
        record: Option<&RunRecord>,
        metrics: &Metrics,
    ) -> Vec<String> {
        let (run, reference) = (self.run.path().display(), reference.path().display());
        let split = |record: Option<&RunRecord>| record.map(|r| r.config.split.clone());
        let scored = |metrics: &Metrics| (metrics.fingerprint.clone(), metrics.part.clone());
        let mut differences = Vec::new();
        if scored(&self.metrics) != scored(metrics)
            || (metrics.part != "all" && split(self.record.as_ref()) != split(record))
        {
            differences.push(format!(
                "{run} was evaluated on other light-cones than {reference}"
            ));
        }
        // Older evaluations do not say.
        if let (Some(found), Some(expected)) = (&self.metrics.calibration, &metrics.calibration)
            && !found.is_of_same_light_cones(expected)
            && [
                Images::CalibratedMean,
                Images::CalibratedMeanOfBothDirections,
            ]
            .into_iter()
            .any(|mean| mean.scores(&self.metrics).is_some() && mean.scores(metrics).is_some())
        {
            differences.push(format!(
                "the calibrated means of {run} come from other light-cones ({found}) than those of {reference} \
                 ({expected})"
            ));
        }
        differences
    }

    /// Whether another run differs in its seed alone: same settings, start, training and test data. Means of several networks
    /// have no seed: each is a kind of its own.
    #[must_use]
    pub fn differs_in_seed_alone(&self, other: &Self) -> bool {
        let (Some(own), Some(others)) = (&self.record, &other.record) else {
            return false;
        };
        let evaluation = |run: &Self| {
            let metrics = &run.metrics;
            (metrics.fingerprint.clone(), metrics.part.clone())
        };
        own.is_of_one_seed()
            && others.is_of_one_seed()
            && own.symmetries == others.symmetries
            && own.config.without_seed() == others.config.without_seed()
            && own.data.fingerprint == others.data.fingerprint
            && own.init_from == others.init_from
            && evaluation(self) == evaluation(other)
    }
}
