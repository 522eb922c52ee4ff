//! Named tensors in a safetensors file, with one JSON document as metadata.
//!
//! A single metadata entry, because several would be written in random order: equal content must give
//! equal bytes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors, serialize};

use crate::atomic_file::{FileError, write_bytes_atomically};

/// The metadata entry that holds the JSON document.
const METADATA_KEY: &str = "dawn21";

/// Why a tensor file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TensorFileError {
    /// It could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is no safetensors file, or a damaged one.
    #[error("{}: not a sound safetensors file: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Reason.
        source: SafeTensorError,
    },
    /// A tensor is missing.
    #[error("{}: tensor `{name}` is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        name: String,
    },
    /// A tensor has another shape than the network.
    #[error("{}: tensor `{name}` has shape {found:?}, expected {expected:?}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        name: String,
        /// Shape that the network asks for.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// A tensor holds other numbers than f32.
    #[error("{}: tensor `{name}` is of type {found}, expected F32", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        name: String,
        /// Type in the file.
        found: String,
    },
    /// A tensor that does not belong there.
    #[error("{}: tensor `{name}` belongs to no layer of this network", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        name: String,
    },
    /// The JSON document is missing or does not say what is needed.
    #[error("{}: metadata `{METADATA_KEY}`: {detail}", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
}

/// A tensor to be written.
#[derive(Debug, Clone)]
pub enum TensorData<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// A single 64-bit integer of shape (), as PyTorch's counters are.
    I64(i64),
}

/// Writes tensors and metadata atomically; equal content gives equal bytes.
///
/// # Errors
/// [`TensorFileError`] when a tensor's length is not that of its shape or the file cannot be written.
pub fn write<'a>(
    path: &Path,
    metadata_json: String,
    tensors: impl IntoIterator<Item = (String, &'a [usize], TensorData<'a>)>,
) -> Result<(), TensorFileError> {
    let format_error = |source| TensorFileError::Format {
        path: path.to_path_buf(),
        source,
    };
    let tensors: Vec<_> = tensors.into_iter().collect();
    let counters: Vec<[u8; 8]> = tensors
        .iter()
        .map(|(_, _, data)| match data {
            TensorData::I64(value) => value.to_le_bytes(),
            TensorData::F32(_) => [0; 8],
        })
        .collect();
    let views = tensors
        .iter()
        .zip(&counters)
        .map(|((name, shape, data), counter)| {
            let view = match data {
                TensorData::F32(values) => {
                    TensorView::new(Dtype::F32, shape.to_vec(), bytemuck::cast_slice(values))
                }
                TensorData::I64(_) => TensorView::new(Dtype::I64, Vec::new(), counter),
            };
            view.map(|view| (name.as_str(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(format_error)?;
    let metadata = HashMap::from([(METADATA_KEY.to_string(), metadata_json)]);
    let bytes = serialize(views, Some(metadata)).map_err(format_error)?;
    Ok(write_bytes_atomically(path, &bytes)?)
}

/// A tensor file in memory.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl TensorFile {
    /// Reads a file and checks that it is sound: offsets, sizes and shapes agree with each other.
    ///
    /// # Errors
    /// [`TensorFileError`] when it cannot be read or is damaged.
    pub fn read(path: &Path) -> Result<Self, TensorFileError> {
        let bytes = std::fs::read(path).map_err(FileError::at(path, "reading"))?;
        let file = Self {
            path: path.to_path_buf(),
            bytes,
        };
        file.tensors()?;
        Ok(file)
    }

    fn tensors(&self) -> Result<SafeTensors<'_>, TensorFileError> {
        SafeTensors::deserialize(&self.bytes).map_err(|source| TensorFileError::Format {
            path: self.path.clone(),
            source,
        })
    }

    /// The JSON document, parsed.
    ///
    /// # Errors
    /// [`TensorFileError::Metadata`] when it is missing or does not have the fields of `D`.
    pub fn metadata<D: serde::de::DeserializeOwned>(&self) -> Result<D, TensorFileError> {
        let error = |detail: String| TensorFileError::Metadata {
            path: self.path.clone(),
            detail,
        };
        let (_, header) =
            SafeTensors::read_metadata(&self.bytes).map_err(|source| TensorFileError::Format {
                path: self.path.clone(),
                source,
            })?;
        let json = header
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get(METADATA_KEY))
            .ok_or_else(|| error("missing: this file was not written by dawn21".to_string()))?;
        serde_json::from_str(json).map_err(|reason| error(reason.to_string()))
    }

    /// Names of all tensors.
    ///
    /// # Errors
    /// [`TensorFileError::Format`] when the file is damaged.
    pub fn names(&self) -> Result<Vec<String>, TensorFileError> {
        let tensors = self.tensors()?;
        Ok(tensors.names().into_iter().map(str::to_string).collect())
    }

    /// Checks that tensor `name` is there, f32 and of the given shape.
    ///
    /// # Errors
    /// [`TensorFileError`] when it is missing, of another shape or not f32.
    pub fn check_f32(&self, name: &str, shape: &[usize]) -> Result<(), TensorFileError> {
        self.view_f32(&self.tensors()?, name, shape).map(|_| ())
    }

    /// Copies tensor `name` into `values`, which has `shape`.
    ///
    /// # Errors
    /// [`TensorFileError`] when it is missing, of another shape or not f32.
    pub fn copy_f32(
        &self,
        name: &str,
        shape: &[usize],
        values: &mut [f32],
    ) -> Result<(), TensorFileError> {
        let tensors = self.tensors()?;
        let view = self.view_f32(&tensors, name, shape)?;
        // The file's bytes may not be aligned for f32.
        for (value, bytes) in values.iter_mut().zip(view.data().as_chunks::<4>().0) {
            *value = f32::from_le_bytes(*bytes);
        }
        Ok(())
    }

    fn view_f32<'a>(
        &self,
        tensors: &SafeTensors<'a>,
        name: &str,
        shape: &[usize],
    ) -> Result<TensorView<'a>, TensorFileError> {
        let path = self.path.clone();
        let name_owned = name.to_string();
        let Ok(view) = tensors.tensor(name) else {
            return Err(TensorFileError::Missing {
                path,
                name: name_owned,
            });
        };
        if view.dtype() != Dtype::F32 {
            return Err(TensorFileError::Type {
                path,
                name: name_owned,
                found: format!("{:?}", view.dtype()),
            });
        }
        if view.shape() != shape {
            return Err(TensorFileError::Shape {
                path,
                name: name_owned,
                expected: shape.to_vec(),
                found: view.shape().to_vec(),
            });
        }
        Ok(view)
    }
}
