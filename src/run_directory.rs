//! A run directory: names of its files, and the lock that keeps two trainings apart.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::atomic_file::{FileError, remove_leftovers};
use crate::shell::quoted;

/// A run directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDirectory {
    path: PathBuf,
}

/// Held while a training writes to a run directory; the operating system releases it when the process
/// ends, however it ends.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

/// Why a run directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunDirectoryError {
    /// An operation on it failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A new run would write into a directory that holds something.
    #[error("{}: not empty; {advice}", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// What to do.
        advice: String,
    },
    /// Another process trains there.
    #[error("{}: in use by another training; wait for it to end", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It is no run directory.
    #[error("{}: not a run directory, `{missing}` is missing; give one that `dawn21 train`, `ensemble` or `import-model` made", path.display())]
    NoRun {
        /// The directory.
        path: PathBuf,
        /// The file that every run has.
        missing: &'static str,
    },
}

const LOCK_FILE: &str = "lock";
const RECORD_FILE: &str = "run.toml";
/// The calibration lies beside the model file.
pub const CALIBRATION_FILE: &str = "calibration.json";

impl RunDirectory {
    /// Creates a new run directory, or takes an empty one, and locks it.
    ///
    /// # Errors
    /// [`RunDirectoryError`] when it is not empty, in use, or cannot be created.
    pub fn create(path: &Path) -> Result<(Self, RunLock), RunDirectoryError> {
        fs::create_dir_all(path).map_err(FileError::at(path, "creating the directory"))?;
        let run = Self {
            path: path.to_path_buf(),
        };
        // Locked before looking, so that of two new runs one sees the other.
        let occupied = |run: &Self| -> Result<bool, FileError> {
            let entries = fs::read_dir(&run.path).map_err(FileError::at(&run.path, "listing"))?;
            Ok(entries
                .filter_map(Result::ok)
                .any(|entry| entry.file_name() != LOCK_FILE))
        };
        if occupied(&run)? && !run.path.join(LOCK_FILE).exists() {
            return Err(run.not_empty());
        }
        let lock = run.lock()?;
        if occupied(&run)? {
            return Err(run.not_empty());
        }
        Ok((run, lock))
    }

    fn not_empty(self) -> RunDirectoryError {
        let advice = if self.record().exists() && self.checkpoint().exists() {
            format!(
                "continue that run with `dawn21 train DATA --resume {}`, or choose another directory with --out",
                quoted(&self.path)
            )
        } else if self.record().exists() {
            "it holds another model; choose another directory with --out".to_string()
        } else {
            "it holds no run that can be resumed; remove it or choose another directory with --out"
                .to_string()
        };
        RunDirectoryError::NotEmpty {
            path: self.path,
            advice,
        }
    }

    /// The first of `parent/name-001`, `parent/name-002`, ... that does not exist.
    #[must_use]
    pub fn next_free(parent: &Path, name: &str) -> PathBuf {
        (1_u32..)
            .map(|number| parent.join(format!("{name}-{number:03}")))
            .find(|path| !path.exists())
            .unwrap_or_else(|| parent.join(name))
    }

    /// The same file names in any directory, which need not be a run: for evaluations stored elsewhere.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
        }
    }

    /// Opens an existing run for reading.
    ///
    /// # Errors
    /// [`RunDirectoryError::NoRun`] when it is none.
    pub fn open(path: &Path) -> Result<Self, RunDirectoryError> {
        let run = Self {
            path: path.to_path_buf(),
        };
        if !run.record().is_file() {
            return Err(RunDirectoryError::NoRun {
                path: run.path,
                missing: RECORD_FILE,
            });
        }
        Ok(run)
    }

    /// Takes the lock, and clears away what a killed process had half written.
    ///
    /// # Errors
    /// [`RunDirectoryError::InUse`] when another process has it.
    pub fn lock(&self) -> Result<RunLock, RunDirectoryError> {
        let path = self.path.join(LOCK_FILE);
        let file = File::create(&path).map_err(FileError::at(&path, "creating the lock"))?;
        match file.try_lock() {
            Ok(()) => {
                for directory in [&self.path, &self.last()] {
                    if directory.is_dir() {
                        remove_leftovers(directory)?;
                    }
                }
                Ok(RunLock { _file: file })
            }
            Err(TryLockError::WouldBlock) => Err(RunDirectoryError::InUse {
                path: self.path.clone(),
            }),
            Err(TryLockError::Error(error)) => Err(FileError::at(&path, "locking")(error).into()),
        }
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its own name, without the directories that it lies in.
    #[must_use]
    pub fn name(&self) -> String {
        let canonical = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let name = canonical.file_name().unwrap_or(canonical.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// `run.toml`: configuration, data fingerprint, versions.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.path.join(RECORD_FILE)
    }

    /// `split.csv`: which light-cone is in which part.
    #[must_use]
    pub fn split(&self) -> PathBuf {
        self.path.join("split.csv")
    }

    /// `history.csv`: one line an epoch.
    #[must_use]
    pub fn history(&self) -> PathBuf {
        self.path.join("history.csv")
    }

    /// `model.safetensors`: the best weights by validation loss.
    #[must_use]
    pub fn model(&self) -> PathBuf {
        self.path.join("model.safetensors")
    }

    /// `last/`: what a resume needs.
    #[must_use]
    pub fn last(&self) -> PathBuf {
        self.path.join("last")
    }

    /// `last/checkpoint.safetensors`: last weights, optimiser and position in one file, so that a crash
    /// cannot leave parts of two.
    #[must_use]
    pub fn checkpoint(&self) -> PathBuf {
        self.last().join("checkpoint.safetensors")
    }

    /// `metrics.json`: result of an evaluation.
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.json")
    }

    /// `predictions.csv`: truth and prediction of every image of an evaluation.
    #[must_use]
    pub fn predictions(&self) -> PathBuf {
        self.path.join("predictions.csv")
    }

    /// `calibration.json`: uncertainties and domain of the best weights, from the validation images.
    #[must_use]
    pub fn calibration(&self) -> PathBuf {
        self.path.join(CALIBRATION_FILE)
    }

    /// `report.html`: figures and tables in one page.
    #[must_use]
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// `figures/`.
    #[must_use]
    pub fn figures(&self) -> PathBuf {
        self.path.join("figures")
    }
}
