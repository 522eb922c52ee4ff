//! `run.toml`: all that a run was started with.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::config::{Config, ConfigError, TrainingConfig};
use super::history::EpochRecord;
use super::schedule::Patience;
use crate::atomic_file::{FileError, write_bytes_atomically};
use crate::data::dataset::Dataset;
use crate::data::symmetry::Symmetries;
use crate::digest::hex;
use crate::model::layer_spec::LayerSpec;

/// The content of `run.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// Version of this file.
    pub version: u32,
    /// Program and version that started the run.
    pub program: String,
    /// The data.
    pub data: DataRecord,
    /// The model whose weights it started from, when not from random ones; of an ensemble, its first member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_from: Option<PathBuf>,
    /// The runs that an ensemble is the mean of; its `config` is that of the first of them, with wider layers. Empty of a
    /// training.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<PathBuf>,
    /// The views of an image that it is the mean over, beyond those that its members are.
    #[serde(default, skip_serializing_if = "Symmetries::is_none")]
    pub symmetries: Symmetries,
    /// The whole configuration, as resolved.
    pub config: Config,
}

/// Which data a run was trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecord {
    /// The data directory.
    pub directory: PathBuf,
    /// Digest of geometry, quantity, physics, cosmology and parameter table, see [`Dataset::fingerprint`].
    pub fingerprint: String,
    /// Number of light-cones.
    pub light_cones: usize,
    /// Where the cubes came from.
    pub source: String,
}

/// The content of `run.toml` of a run that was not trained but imported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRecord {
    /// Version of this file.
    pub version: u32,
    /// Program and version that imported the model.
    pub program: String,
    /// Where the weights came from.
    pub imported: ImportOrigin,
}

/// The file that a model was imported from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportOrigin {
    /// The file.
    pub file: PathBuf,
    /// SHA-256 of its content.
    pub sha256: String,
    /// What kind of file it was.
    pub format: String,
}

impl ImportRecord {
    /// The record of weights imported from `file`.
    ///
    /// # Errors
    /// [`RunRecordError::File`] when the file cannot be read.
    pub fn new(file: &Path, format: String) -> Result<Self, RunRecordError> {
        let mut digest = Sha256::new();
        let mut reader = File::open(file).map_err(FileError::at(file, "opening"))?;
        let mut buffer = [0; 1 << 16];
        loop {
            let count = reader
                .read(&mut buffer)
                .map_err(FileError::at(file, "reading"))?;
            if count == 0 {
                break;
            }
            digest.update(&buffer[..count]);
        }
        Ok(Self {
            version: VERSION,
            program: PROGRAM.to_string(),
            imported: ImportOrigin {
                file: file.to_path_buf(),
                sha256: hex(&digest.finalize()),
                format,
            },
        })
    }

    /// Writes `run.toml` atomically.
    ///
    /// # Errors
    /// [`RunRecordError`] when it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), RunRecordError> {
        write_toml(self, path)
    }
}

/// Program and version, for records.
const PROGRAM: &str = concat!("dawn21 ", env!("CARGO_PKG_VERSION"));

/// The version of `run.toml` that this program reads and writes.
const VERSION: u32 = 1;

/// Why a run record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunRecordError {
    /// It could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is damaged.
    #[error("{}: {detail}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The run was not trained here.
    #[error(
        "{}: was imported from {}, not trained here, so there is no training to continue; start a new run from its \
         weights with --init-from {}",
        run.display(), file.display(), run.display()
    )]
    Imported {
        /// The run directory.
        run: PathBuf,
        /// Where its weights came from.
        file: PathBuf,
    },
    /// The run is the mean of others.
    #[error(
        "{}: is the mean of {}, so there is no training to continue; resume those and make the ensemble again",
        run.display(), if *members == 1 { "the answers of one run".to_string() } else { format!("{members} runs") }
    )]
    Ensemble {
        /// The run directory.
        run: PathBuf,
        /// Number of its members.
        members: usize,
    },
    /// Its configuration is impossible.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It belongs to other data.
    #[error(
        "{} was trained on {} (fingerprint {expected}), but {} has fingerprint {found}: its light-cones, parameters, \
         geometry, physics or cosmology differ; resume with the original data, or start a new run with --init-from",
        run.display(), original.display(), given.display()
    )]
    OtherData {
        /// The run directory.
        run: PathBuf,
        /// Data directory of the run.
        original: PathBuf,
        /// Data directory given now.
        given: PathBuf,
        /// Fingerprint in the record.
        expected: String,
        /// Fingerprint of the data given now.
        found: String,
    },
}

impl RunRecord {
    /// The record of a new run.
    #[must_use]
    pub fn new(dataset: &Dataset, config: Config, init_from: Option<PathBuf>) -> Self {
        Self {
            version: VERSION,
            program: PROGRAM.to_string(),
            data: DataRecord {
                directory: dataset.directory().to_path_buf(),
                fingerprint: dataset.fingerprint(),
                light_cones: dataset.light_cones().len(),
                source: dataset.manifest().source.clone(),
            },
            init_from,
            members: Vec::new(),
            symmetries: Symmetries::default(),
            config,
        }
    }

    /// The record of the mean of several runs with the data and settings of `first`, as one network of `layers`.
    #[must_use]
    pub fn ensemble(
        first: &Self,
        members: Vec<PathBuf>,
        layers: &[LayerSpec],
        symmetries: Symmetries,
    ) -> Self {
        let mut config = first.config.clone();
        config.layers = layers.to_vec();
        // It is in the layers.
        config.training.dropout = None;
        Self {
            version: VERSION,
            program: PROGRAM.to_string(),
            data: first.data.clone(),
            init_from: first.init_from.clone(),
            members,
            symmetries,
            config,
        }
    }

    /// Whether it is one network, as it was trained or with other views of an image, and not the mean of several.
    #[must_use]
    pub fn is_of_one_seed(&self) -> bool {
        self.members.len() <= 1
    }

    /// Whether the training came to its last epoch or ended early by its own rule.
    #[must_use]
    pub fn has_ended(&self, history: &[EpochRecord]) -> bool {
        let TrainingConfig {
            epochs,
            early_stopping,
            ..
        } = &self.config.training;
        let mut patience = Patience::default();
        let mut stops = history.iter().map(|epoch| {
            let monitor = early_stopping.monitor;
            let loss = monitor.select(epoch.train_loss, epoch.validation_loss);
            early_stopping.after_epoch(&mut patience, loss)
        });
        stops.any(|stop| stop) || history.len() as u64 >= *epochs
    }

    /// Reads `run.toml`.
    ///
    /// # Errors
    /// [`RunRecordError`] names the file and what is wrong with it; [`RunRecordError::Imported`] when the
    /// run has no training.
    pub fn read(path: &Path) -> Result<Self, RunRecordError> {
        let text = std::fs::read_to_string(path).map_err(FileError::at(path, "reading"))?;
        if let Ok(ImportRecord { imported, .. }) = toml::from_str(&text) {
            return Err(RunRecordError::Imported {
                run: path.parent().unwrap_or(path).to_path_buf(),
                file: imported.file,
            });
        }
        let record: Self = toml::from_str(&text).map_err(|error| RunRecordError::Content {
            path: path.to_path_buf(),
            detail: error.to_string(),
        })?;
        if record.version != VERSION {
            return Err(RunRecordError::Content {
                path: path.to_path_buf(),
                detail: format!("version {}, expected {VERSION}", record.version),
            });
        }
        record.config.check()?;
        Ok(record)
    }

    /// Reads `run.toml`; none of an imported model, which knows neither its training data nor a seed.
    ///
    /// # Errors
    /// [`RunRecordError`] names the file and what is wrong with it.
    pub fn read_unless_imported(path: &Path) -> Result<Option<Self>, RunRecordError> {
        match Self::read(path) {
            Err(RunRecordError::Imported { .. }) => Ok(None),
            record => record.map(Some),
        }
    }

    /// Writes `run.toml` atomically.
    ///
    /// # Errors
    /// [`RunRecordError`] when it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), RunRecordError> {
        write_toml(self, path)
    }

    /// Checks that there is a training that could go on.
    ///
    /// # Errors
    /// [`RunRecordError::Ensemble`] otherwise.
    pub fn check_training(&self, run: &Path) -> Result<(), RunRecordError> {
        match self.members.len() {
            0 => Ok(()),
            members => Err(RunRecordError::Ensemble {
                run: run.to_path_buf(),
                members,
            }),
        }
    }

    /// Checks that `dataset` is what the run was trained on, wherever it lies now.
    ///
    /// # Errors
    /// [`RunRecordError::OtherData`] otherwise.
    pub fn check_data(&self, run: &Path, dataset: &Dataset) -> Result<(), RunRecordError> {
        let found = dataset.fingerprint();
        if found == self.data.fingerprint {
            return Ok(());
        }
        Err(RunRecordError::OtherData {
            run: run.to_path_buf(),
            original: self.data.directory.clone(),
            given: dataset.directory().to_path_buf(),
            expected: self.data.fingerprint.clone(),
            found,
        })
    }
}

fn write_toml(record: &impl Serialize, path: &Path) -> Result<(), RunRecordError> {
    let text = toml::to_string(record).map_err(|error| RunRecordError::Content {
        path: path.to_path_buf(),
        detail: error.to_string(),
    })?;
    Ok(write_bytes_atomically(path, text.as_bytes())?)
}
