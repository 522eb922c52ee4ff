//! HDF5 with this program's errors, and with every size checked before it is believed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use hdf5_pure::{AttrValue, DType, Dataset, File, Group};

use super::KerasError;

/// The most that deflate can compress, with room for its block headers.
const DEFLATE_RATIO: u64 = 1040;

/// An open file.
pub(super) struct Hdf5 {
    path: PathBuf,
    file: File,
}

impl Hdf5 {
    /// Opens a file; tensors are read when asked for.
    pub(super) fn open(path: &Path) -> Result<Self, KerasError> {
        let file = File::open_streaming(path).map_err(|source| KerasError::Hdf5 {
            path: path.to_path_buf(),
            object: "/".to_string(),
            source,
        })?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
        })
    }

    pub(super) fn root(&self) -> Node<'_> {
        Node {
            hdf5: self,
            name: String::new(),
            group: self.file.root(),
        }
    }
}

/// A group and its place in the file.
pub(super) struct Node<'a> {
    hdf5: &'a Hdf5,
    name: String,
    group: Group,
}

impl<'a> Node<'a> {
    /// Full path, for messages.
    pub(super) fn name(&self) -> &str {
        if self.name.is_empty() {
            "/"
        } else {
            &self.name
        }
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.hdf5.path
    }

    fn join(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }

    fn error(&self, object: String) -> impl FnOnce(hdf5_pure::Error) -> KerasError {
        let path = self.hdf5.path.clone();
        move |source| KerasError::Hdf5 {
            path,
            object,
            source,
        }
    }

    /// A group below this one.
    pub(super) fn group(&self, name: &str) -> Result<Node<'a>, KerasError> {
        let full = self.join(name);
        let group = self.group.group(name).map_err(self.error(full.clone()))?;
        Ok(Node {
            hdf5: self.hdf5,
            name: full,
            group,
        })
    }

    /// Names of the groups in this one.
    pub(super) fn groups(&self) -> Result<Vec<String>, KerasError> {
        self.group
            .groups()
            .map_err(self.error(self.name().to_string()))
    }

    /// Number of datasets in this group.
    pub(super) fn dataset_count(&self) -> Result<usize, KerasError> {
        let names = self.group.datasets();
        Ok(names.map_err(self.error(self.name().to_string()))?.len())
    }

    fn attributes(&self) -> Result<HashMap<String, AttrValue>, KerasError> {
        self.group
            .attrs()
            .map_err(self.error(self.name().to_string()))
    }

    /// An attribute that holds one string; none when it is missing.
    pub(super) fn string(&self, attribute: &'static str) -> Result<Option<String>, KerasError> {
        match self.attributes()?.remove(attribute) {
            None => Ok(None),
            Some(
                AttrValue::String(value)
                | AttrValue::AsciiString(value)
                | AttrValue::VarLenString(value)
                | AttrValue::VarLenAsciiString(value)
                | AttrValue::StringSized { value, .. }
                | AttrValue::AsciiStringSized { value, .. },
            ) => Ok(Some(value)),
            Some(_) => Err(self.attribute_error(attribute, "a string", "of another type")),
        }
    }

    /// An attribute that holds strings; none when it is missing.
    pub(super) fn strings(
        &self,
        attribute: &'static str,
    ) -> Result<Option<Vec<String>>, KerasError> {
        match self.attributes()?.remove(attribute) {
            None => Ok(None),
            Some(
                AttrValue::StringArray(values)
                | AttrValue::AsciiStringArray(values)
                | AttrValue::VarLenStringArray(values)
                | AttrValue::VarLenAsciiStringArray(values)
                | AttrValue::StringArraySized { values, .. }
                | AttrValue::AsciiStringArraySized { values, .. },
            ) => Ok(Some(values)),
            // What Keras writes for a layer without weights.
            Some(AttrValue::F64Array(values)) if values.is_empty() => Ok(Some(Vec::new())),
            Some(_) => Err(self.attribute_error(attribute, "a list of strings", "of another type")),
        }
    }

    pub(super) fn attribute_error(
        &self,
        attribute: &'static str,
        expected: &'static str,
        found: &str,
    ) -> KerasError {
        KerasError::Attribute {
            path: self.hdf5.path.clone(),
            object: self.name().to_string(),
            attribute,
            expected,
            found: found.to_string(),
        }
    }

    /// A tensor below this group that is f32, of shape `expected`, and not larger than what the file can
    /// hold.
    pub(super) fn tensor(
        &self,
        name: &str,
        expected: &[u64],
        layer: &str,
    ) -> Result<TensorHandle, KerasError> {
        let tensor = self.join(name);
        let path = self.hdf5.path.clone();
        let dataset = self.group.dataset(name);
        let dataset = dataset.map_err(self.error(tensor.clone()))?;
        let found = dataset.shape().map_err(self.error(tensor.clone()))?;
        if found != expected {
            return Err(KerasError::Shape {
                path,
                tensor,
                layer: layer.to_string(),
                expected: expected.to_vec(),
                found,
            });
        }
        let dtype = dataset.dtype().map_err(self.error(tensor.clone()))?;
        if dtype != DType::F32 {
            return Err(KerasError::Type {
                path,
                tensor,
                found: dtype.to_string(),
            });
        }
        let bytes = |shape: &[u64]| {
            let product = shape.iter().try_fold(4_u64, |n, &len| n.checked_mul(len));
            product.unwrap_or(u64::MAX)
        };
        let chunk = dataset
            .chunk_shape()
            .map_err(self.error(tensor.clone()))?
            .map_or(0, |shape| bytes(&shape));
        let available = self.hdf5.file.file_size();
        let ratio = if dataset.filters().is_empty() {
            1
        } else {
            DEFLATE_RATIO
        };
        // A chunk is written whole, even where the tensor ends within it.
        let declared = bytes(expected).max(chunk);
        if declared > available.saturating_mul(ratio) {
            return Err(KerasError::Size {
                path,
                tensor,
                declared,
                available,
            });
        }
        Ok(TensorHandle {
            path,
            name: tensor,
            dataset,
            len: bytes(expected) as usize / 4,
        })
    }
}

/// A tensor that has been checked but not read.
pub(super) struct TensorHandle {
    path: PathBuf,
    name: String,
    dataset: Dataset,
    len: usize,
}

impl TensorHandle {
    /// Its values, as many as its shape says.
    pub(super) fn read(&self) -> Result<Vec<f32>, KerasError> {
        let values = self.dataset.read_f32().map_err(|source| KerasError::Hdf5 {
            path: self.path.clone(),
            object: self.name.clone(),
            source,
        })?;
        if values.len() != self.len {
            return Err(KerasError::Size {
                path: self.path.clone(),
                tensor: self.name.clone(),
                declared: 4 * self.len as u64,
                available: 4 * values.len() as u64,
            });
        }
        Ok(values)
    }
}
