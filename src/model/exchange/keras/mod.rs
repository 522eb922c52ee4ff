//! Weights of Keras models in HDF5.
//!
//! Read: Keras 2's legacy weights and models (`.h5`), and the weights of Keras 2.12 and later
//! (`.weights.h5`). Written: both, with channels last.
//!
//! Layers are matched in order, not by name: names are free, and an activation may be part of a layer
//! or a layer of its own. Kernels saved on Theano are turned by 180 degrees, because Theano computes a
//! true convolution and dawn21, as everything else, a cross-correlation.

mod hdf5;
mod layout;
mod read;
mod write;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use read::read;
pub use write::{Flavour, KerasWriteError, write};

/// Where the channels of a Keras model's images are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataFormat {
    /// (channels, rows, columns), as in PyTorch and dawn21; usual on Theano.
    ChannelsFirst,
    /// (rows, columns, channels), Keras' default.
    ChannelsLast,
}

impl std::fmt::Display for DataFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::ChannelsFirst => "channels_first",
            Self::ChannelsLast => "channels_last",
        })
    }
}

/// Why a Keras file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KerasError {
    /// It is damaged, or uses what this program does not read.
    #[error("{}: `{object}`: {source}", path.display())]
    Hdf5 {
        /// The file.
        path: PathBuf,
        /// The group, dataset or attribute.
        object: String,
        /// Reason.
        source: hdf5_pure::Error,
    },
    /// It is sound HDF5 but holds no weights of Keras.
    #[error(
        "{}: has neither `layer_names` (legacy weights), `model_weights` (legacy model) nor `layers` (new weights); \
         expected a file written by Keras' `save_weights` or `save`",
        path.display()
    )]
    NotKeras {
        /// The file.
        path: PathBuf,
    },
    /// An attribute is missing or of another type.
    #[error("{}: attribute `{attribute}` of `{object}` is {found}, expected {expected}", path.display())]
    Attribute {
        /// The file.
        path: PathBuf,
        /// The group.
        object: String,
        /// The attribute.
        attribute: &'static str,
        /// What Keras writes.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// More or fewer layers with weights than the network has.
    #[error(
        "{}: {} layers with weights ({}), but the architecture has {} ({})",
        path.display(), found.len(), found.join(", "), expected.len(), expected.join(", ")
    )]
    Layers {
        /// The file.
        path: PathBuf,
        /// Layers of the architecture.
        expected: Vec<String>,
        /// Layers in the file.
        found: Vec<String>,
    },
    /// A layer of another kind than its place asks for.
    #[error("{}: layer `{layer}` has {found} tensors, but layer {expected}", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// Layer in the file.
        layer: String,
        /// Layer of the architecture and the tensors it needs.
        expected: String,
        /// Number of tensors in the file.
        found: usize,
    },
    /// A tensor of another shape than the network's.
    #[error("{}: tensor `{tensor}` has shape {found:?}, but layer {layer} needs {expected:?}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// Path of the dataset.
        tensor: String,
        /// Layer of the architecture.
        layer: String,
        /// Shape in Keras' layout.
        expected: Vec<u64>,
        /// Shape in the file.
        found: Vec<u64>,
    },
    /// A tensor of other numbers than f32.
    #[error("{}: tensor `{tensor}` is of type {found}, expected f32", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// Path of the dataset.
        tensor: String,
        /// Type in the file.
        found: String,
    },
    /// A tensor declares more values than can be in the file.
    #[error("{}: tensor `{tensor}` declares {declared} bytes, but the whole file has {available}", path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// Path of the dataset.
        tensor: String,
        /// Bytes by its shape or its chunks.
        declared: u64,
        /// Bytes of the file.
        available: u64,
    },
    /// The file says that its channels are elsewhere than the user says.
    #[error("{}: was saved with {recorded}, but --data-format says {given}; leave --data-format out", path.display())]
    DataFormat {
        /// The file.
        path: PathBuf,
        /// What the user says.
        given: DataFormat,
        /// What the file says.
        recorded: DataFormat,
    },
}
