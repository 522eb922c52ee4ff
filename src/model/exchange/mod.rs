//! Models in the formats of other programs: PyTorch's `state_dict` (safetensors), Keras' HDF5 files and
//! ONNX.
//!
//! `docs/models.md` describes the formats and their layouts for users.

pub mod architecture_file;
pub mod keras;
pub mod onnx;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::architecture::Architecture;
use super::model_file::read_parameters;
use super::parameters::Parameters;
use crate::atomic_file::FileError;
use crate::tensor_file::{TensorFile, TensorFileError};
use keras::{DataFormat, KerasError};

/// Why weights cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A safetensors file that is damaged or of another network.
    #[error(transparent)]
    Tensors(#[from] TensorFileError),
    /// A Keras file that is damaged or of another network.
    #[error(transparent)]
    Keras(#[from] KerasError),
    /// A file of no known format.
    #[error("{}: {found}; expected safetensors (PyTorch) or HDF5 (Keras). {advice}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        found: &'static str,
        /// How to come to a format that is read.
        advice: &'static str,
    },
    /// The order of channels was given for a format that has only one.
    #[error(
        "{}: --data-format is for Keras files; a PyTorch state_dict is always channels_first. Leave it out",
        path.display()
    )]
    NoDataFormat {
        /// The file.
        path: PathBuf,
    },
    /// A number that no network can have.
    #[error("{}: tensor `{tensor}` holds {found}, expected {expected}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What would be right.
        expected: &'static str,
        /// What is there.
        found: f32,
    },
}

/// Weights from another program's file.
#[derive(Debug)]
pub struct Imported {
    /// The weights, as dawn21 lays them out.
    pub parameters: Parameters<f32>,
    /// What kind of file it was, for people.
    pub format: String,
    /// For each layer with weights, what it was matched with, and what was done to it.
    pub matches: Vec<String>,
}

/// Reads the weights of `architecture` from a file of any known format, told apart by its content.
///
/// `data_format` is for Keras files; absent: what the file says, else `channels_first` for Theano's and
/// `channels_last` for others.
///
/// # Errors
/// [`ImportError`] names the file and the tensor or layer that is wrong. Everything is checked against
/// `architecture` before memory is taken.
pub fn import(
    path: &Path,
    architecture: &Architecture,
    data_format: Option<DataFormat>,
) -> Result<Imported, ImportError> {
    let imported = match detect(path)? {
        Format::SafeTensors if data_format.is_some() => {
            return Err(ImportError::NoDataFormat {
                path: path.to_path_buf(),
            });
        }
        Format::SafeTensors => {
            let file = TensorFile::read(path)?;
            Imported {
                parameters: read_parameters(path, &file, architecture, &[])?,
                format: "safetensors with the names of torch.nn.Sequential".to_string(),
                matches: Vec::new(),
            }
        }
        Format::Hdf5 => keras::read(path, architecture, data_format)?,
    };
    check_values(path, &imported.parameters)?;
    Ok(imported)
}

/// The formats that weights are read from.
enum Format {
    SafeTensors,
    Hdf5,
}

/// Tells formats apart by their first bytes.
fn detect(path: &Path) -> Result<Format, ImportError> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(FileError::at(path, "opening"))?;
    file.take(16)
        .read_to_end(&mut start)
        .map_err(FileError::at(path, "reading"))?;
    let unknown = |found, advice| ImportError::Format {
        path: path.to_path_buf(),
        found,
        advice,
    };
    if start.starts_with(b"\x89HDF\r\n\x1a\n") {
        Ok(Format::Hdf5)
    } else if start.get(8) == Some(&b'{') {
        // The length of the header, then the header, which is JSON.
        Ok(Format::SafeTensors)
    } else if start.starts_with(b"PK\x03\x04") {
        Err(unknown(
            "a zip archive, such as Keras' .keras or PyTorch's .pt",
            "Take the weights out of a .keras with `unzip FILE.keras model.weights.h5`, or save a PyTorch model \
             with `safetensors.torch.save_file(model.state_dict(), \"FILE.safetensors\")`",
        ))
    } else if start.is_empty() {
        Err(unknown("an empty file", "Save it again"))
    } else {
        Err(unknown(
            "neither safetensors nor HDF5",
            "Save PyTorch models with `safetensors.torch.save_file(model.state_dict(), ...)`, Keras models with \
             `model.save_weights(...)`",
        ))
    }
}

/// Infinities, NaNs and negative variances would make every prediction NaN.
fn check_values(path: &Path, parameters: &Parameters<f32>) -> Result<(), ImportError> {
    for tensor in parameters.tensors() {
        let variance = tensor.name.ends_with(".running_var");
        let wrong = |value: &&f32| !value.is_finite() || (variance && **value < 0.0);
        if let Some(&found) = tensor.values.iter().find(wrong) {
            return Err(ImportError::Value {
                path: path.to_path_buf(),
                tensor: tensor.name.clone(),
                expected: if variance {
                    "finite variances that are not negative"
                } else {
                    "finite numbers"
                },
                found,
            });
        }
    }
    Ok(())
}
