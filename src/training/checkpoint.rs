//! `last/checkpoint.safetensors`: weights, optimiser and position of a training, in one atomic file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::history::EpochRecord;
use super::schedule::Patience;
use crate::atomic_file::FileError;
use crate::model::architecture::Architecture;
use crate::model::description::ModelDescription;
use crate::model::model_file::{self, Model, ModelError, file_tensors, read_parameters};
use crate::model::parameters::Parameters;
use crate::tensor_file::{self, TensorData, TensorFile, TensorFileError};

/// Prefix of the optimiser's tensors: the mean squared gradients.
const OPTIMIZER_PREFIX: &str = "rmsprop.mean_square.";
/// Prefix of the averaged weights.
const AVERAGE_PREFIX: &str = "average.";
/// What a checkpoint holds besides a model.
const OTHER_PREFIXES: [&str; 2] = [OPTIMIZER_PREFIX, AVERAGE_PREFIX];

/// The epoch with the lowest validation loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BestEpoch {
    /// Its number, from 1.
    pub epoch: u64,
    /// Its validation loss.
    pub validation_loss: f64,
}

/// Where a training stands, besides its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Epochs that are complete.
    pub epochs_done: u64,
    /// Batches of the current epoch that are done.
    pub batches_done: usize,
    /// Steps since the beginning: selects the dropout masks.
    pub step: u64,
    /// Sum over the images of the current epoch of their loss.
    pub loss_sum: f64,
    /// Images of the current epoch that are done.
    pub images_done: usize,
    /// Training time of the current epoch in seconds.
    pub seconds: f64,
    /// Learning rate of the current epoch.
    pub learning_rate: f64,
    /// State of the learning-rate schedule.
    pub plateau: Patience,
    /// State of the early stopping.
    pub early_stopping: Patience,
    /// Whether the training has stopped early.
    pub stopped_early: bool,
    /// The best epoch so far.
    pub best: Option<BestEpoch>,
    /// All complete epochs.
    pub history: Vec<EpochRecord>,
}

impl Position {
    /// Before the first step.
    #[must_use]
    pub fn start(learning_rate: f64) -> Self {
        Self {
            epochs_done: 0,
            batches_done: 0,
            step: 0,
            loss_sum: 0.0,
            images_done: 0,
            seconds: 0.0,
            learning_rate,
            plateau: Patience::default(),
            early_stopping: Patience::default(),
            stopped_early: false,
            best: None,
            history: Vec::new(),
        }
    }
}

/// The metadata of a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
struct Metadata {
    model: ModelDescription,
    position: Position,
}

/// A training that can go on.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Weights and running averages.
    pub parameters: Parameters<f32>,
    /// Mean squared gradients, in the order of the trainable tensors.
    pub mean_squares: Vec<Vec<f32>>,
    /// Moving average of weights and running averages, if the training keeps one.
    pub average: Option<Parameters<f32>>,
    /// Where it stands.
    pub position: Position,
}

impl Checkpoint {
    /// Writes the checkpoint atomically. The weights keep their PyTorch names, so that the file can be
    /// used as a model, too.
    ///
    /// # Errors
    /// [`TensorFileError`] when the file cannot be written.
    pub fn write(
        &self,
        path: &Path,
        description: &ModelDescription,
        architecture: &Architecture,
    ) -> Result<(), TensorFileError> {
        // Runs have a directory for checkpoints when they have one.
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .map_err(FileError::at(directory, "creating the directory"))?;
        }
        let position = &self.position;
        let metadata = Metadata {
            model: ModelDescription {
                epoch: position.epochs_done,
                step: position.step,
                validation_loss: position.history.last().map(|epoch| epoch.validation_loss),
                ..description.clone()
            },
            position: position.clone(),
        };
        let json = serde_json::to_string(&metadata).map_err(|error| TensorFileError::Metadata {
            path: path.to_path_buf(),
            detail: error.to_string(),
        })?;
        let optimizer = self
            .parameters
            .trainable
            .iter()
            .zip(&self.mean_squares)
            .map(|(tensor, mean_square)| {
                let name = format!("{OPTIMIZER_PREFIX}{}", tensor.name);
                (name, &tensor.shape[..], TensorData::F32(mean_square))
            });
        let average = self.average.iter().flat_map(|average| {
            average.tensors().map(|tensor| {
                let name = format!("{AVERAGE_PREFIX}{}", tensor.name);
                (name, &tensor.shape[..], TensorData::F32(&tensor.values))
            })
        });
        let model = file_tensors(architecture, &self.parameters, position.step);
        tensor_file::write(path, json, model.chain(optimizer).chain(average))
    }

    /// Reads what [`Checkpoint::write`] wrote.
    ///
    /// # Errors
    /// [`TensorFileError`] names the tensor or field that does not fit `architecture`.
    pub fn read(path: &Path, architecture: &Architecture) -> Result<Self, TensorFileError> {
        let file = TensorFile::read(path)?;
        let metadata: Metadata = file.metadata()?;
        let parameters = read_parameters(path, &file, architecture, &OTHER_PREFIXES)?;
        let mut mean_squares = Vec::with_capacity(parameters.trainable.len());
        for tensor in &parameters.trainable {
            let name = format!("{OPTIMIZER_PREFIX}{}", tensor.name);
            let mut values = vec![0.0; tensor.values.len()];
            file.copy_f32(&name, &tensor.shape, &mut values)?;
            mean_squares.push(values);
        }
        Ok(Self {
            parameters,
            mean_squares,
            average: read_average(&file, architecture)?,
            position: metadata.position,
        })
    }
}

/// The averaged weights in a checkpoint, if the training keeps an average.
fn read_average(
    file: &TensorFile,
    architecture: &Architecture,
) -> Result<Option<Parameters<f32>>, TensorFileError> {
    if !file.names()?.iter().any(|n| n.starts_with(AVERAGE_PREFIX)) {
        return Ok(None);
    }
    let mut average = Parameters::zeros(architecture);
    for tensor in average.tensors_mut() {
        let name = format!("{AVERAGE_PREFIX}{}", tensor.name);
        file.copy_f32(&name, &tensor.shape, &mut tensor.values)?;
    }
    Ok(Some(average))
}

/// Reads the weights of a checkpoint or of a model file as a model: of a checkpoint those that are validated, the
/// averaged ones where the training keeps an average.
///
/// # Errors
/// [`ModelError`] names the file and the tensor or field that is wrong.
pub fn read_model(path: &Path) -> Result<Model, ModelError> {
    let file = TensorFile::read(path)?;
    match file.metadata::<Metadata>() {
        Ok(checkpoint) => {
            let mut model = model_file::from_file(path, &file, checkpoint.model, &OTHER_PREFIXES)?;
            if let Some(average) = read_average(&file, model.network.architecture())? {
                model.parameters = average;
            }
            if checkpoint.position.batches_done > 0 {
                // The loss is that of the weights at the end of the epoch before.
                model.description.validation_loss = None;
            }
            Ok(model)
        }
        Err(_) => model_file::from_file(path, &file, file.metadata()?, &[]),
    }
}
