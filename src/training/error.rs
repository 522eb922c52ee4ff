//! What can end a training before its time.

use dawn21_kernels::ShapeError;

use crate::atomic_file::FileError;
use crate::data::DataError;
use crate::evaluation::prediction::PredictionError;
use crate::model::architecture::ArchitectureError;
use crate::model::execution::ExecutionError;
use crate::model::model_file::ModelError;
use crate::tensor_file::TensorFileError;

/// Why a training ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The architecture does not fit the images.
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
    /// A file of the run.
    #[error(transparent)]
    File(#[from] FileError),
    /// A checkpoint.
    #[error(transparent)]
    Tensors(#[from] TensorFileError),
    /// A model file.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The network cannot be run as asked for.
    #[error(transparent)]
    Execution(#[from] ExecutionError),
    /// A kernel; a fault of the program.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The loss overflowed.
    #[error(
        "epoch {epoch}, batch {batch} of {batches}: the loss is {loss}; the last good weights are kept in {kept}. \
         Lower training.rmsprop.learning_rate (now {learning_rate}) and start again from these, with --init-from"
    )]
    NonFiniteLoss {
        /// Epoch, from 1.
        epoch: u64,
        /// Batch, from 1.
        batch: usize,
        /// Batches of the epoch.
        batches: usize,
        /// The loss.
        loss: f64,
        /// Learning rate of the epoch.
        learning_rate: f64,
        /// Where the last good weights are.
        kept: String,
    },
    /// The loss overflowed on the validation set only.
    #[error(
        "epoch {epoch}: the validation loss is {loss}; the last good weights are kept in {kept}. \
         Lower training.rmsprop.learning_rate (now {learning_rate}) and start again from these, with --init-from"
    )]
    NonFiniteValidation {
        /// Epoch, from 1.
        epoch: u64,
        /// The loss.
        loss: f64,
        /// Learning rate of the epoch.
        learning_rate: f64,
        /// Where the last good weights are.
        kept: String,
    },
    /// A weight overflowed although the loss did not.
    #[error(
        "epoch {epoch}: tensor `{tensor}` holds values that are not finite; the last good weights are kept in {kept}. \
         Lower training.rmsprop.learning_rate and start again from these, with --init-from"
    )]
    NonFiniteWeights {
        /// Epoch, from 1.
        epoch: u64,
        /// Name of the tensor.
        tensor: String,
        /// Where the last good weights are.
        kept: String,
    },
    /// Batch normalisation of single images.
    #[error(
        "training.batch_size = {batch_size} with {images} training images gives batches of a single image, which \
         have no variance to normalise by; use larger batches or more images"
    )]
    SingleImageBatches {
        /// Batch size asked for.
        batch_size: usize,
        /// Training images.
        images: usize,
    },
}

impl From<PredictionError> for TrainingError {
    fn from(error: PredictionError) -> Self {
        match error {
            PredictionError::Data(error) => error.into(),
            PredictionError::Shape(error) => error.into(),
        }
    }
}
