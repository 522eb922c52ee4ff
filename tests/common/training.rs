//! Small trainings and what they leave behind.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{small_manifest, succeed, text, train_arguments, write_small_data};

/// A small data directory of 20 light-cones.
pub(crate) fn small_data() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let data = directory.path().join("data");
    write_small_data(&data, &small_manifest(), 20);
    (directory, data)
}

/// Trains on `data` into `run`, which must succeed.
pub(crate) fn train(data: &Path, run: &Path, more: &[&str]) {
    succeed(&train_arguments(data, run, more));
}

/// Goes on with `run`; returns what it printed.
pub(crate) fn resume(data: &Path, run: &Path, more: &[&str]) -> String {
    let mut arguments = vec!["train", text(data), "--resume", text(run), "--quiet"];
    arguments.extend(more);
    succeed(&arguments)
}

/// Everything that must not depend on threads or interruptions: best weights with their metadata, and
/// every tensor of the checkpoint (its metadata hold wall-clock times).
pub(crate) fn result_of(run: &Path) -> (Vec<u8>, Vec<(String, Vec<u8>)>) {
    let model = fs::read(run.join("model.safetensors")).expect("model");
    let bytes = fs::read(run.join("last/checkpoint.safetensors")).expect("checkpoint");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let mut tensors: Vec<_> = tensors
        .iter()
        .map(|(name, view)| (name.to_string(), view.data().to_vec()))
        .collect();
    tensors.sort();
    (model, tensors)
}

/// Columns of `history.csv` that are not times.
pub(crate) fn losses(run: &Path) -> Vec<String> {
    let text = fs::read_to_string(run.join("history.csv")).expect("history");
    text.lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            fields[..fields.len() - 2].join(",")
        })
        .collect()
}
