//! Light-cones on disk: the data directory, its validation, images cut from memory-mapped cubes.

pub mod augmentation;
pub mod batches;
pub mod cube;
pub mod dataset;
pub mod fault;
pub mod inspection;
pub mod manifest;
pub mod parameter_table;
pub mod scaling;
pub mod slices;
pub mod split;
pub mod split_table;
pub mod symmetry;

use std::path::PathBuf;

use crate::atomic_file::FileError;
use fault::{Fault, FaultList};
use manifest::ManifestError;

/// Why data cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// `dataset.toml` is missing or wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The data directory has faults; all are listed.
    #[error("{} is not sound; `dawn21 info` lists every fault:\n{faults}", directory.display())]
    Unsound {
        /// The data directory.
        directory: PathBuf,
        /// What is wrong.
        faults: FaultList,
    },
    /// One fault, found while reading.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A csv file cannot be parsed.
    #[error("{}: {source}", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// Line and reason.
        source: csv::Error,
    },
    /// Images of both directions were asked for.
    #[error(
        "there are no images of constant x: they need whole cubes with as many cells along y as along x, found {found}; \
         leave out --both-directions"
    )]
    OneDirection {
        /// The cells on the sky.
        found: String,
    },
    /// The slices asked for do not fit the box.
    #[error("slices.{field} = {found}: expected {expected}")]
    Slices {
        /// Configuration field.
        field: &'static str,
        /// Value asked for.
        found: String,
        /// What this box allows.
        expected: String,
    },
    /// Images do not have a symmetry that is asked for.
    #[error("training.augmentation.{field} = true: needs {expected}")]
    Augmentation {
        /// Configuration field.
        field: &'static str,
        /// What it needs, and what there is.
        expected: String,
    },
    /// More images of each light-cone are asked for than it has.
    #[error(
        "training.images_per_light_cone = {asked}: expected at most {available}, the images of each light-cone; \
          `slices` may cut more"
    )]
    ImagesPerLightCone {
        /// Images asked for.
        asked: usize,
        /// Images that there are.
        available: usize,
    },
    /// The division into training, validation and test sets is impossible.
    #[error("split: {detail}")]
    Split {
        /// What is wrong and what to do.
        detail: String,
    },
    /// A scaling has an empty or non-finite range.
    #[error(
        "{field} = [{low}, {high}]: expected two finite numbers in increasing order that differ in single precision"
    )]
    Range {
        /// Configuration field.
        field: &'static str,
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
}
