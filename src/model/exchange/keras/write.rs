//! From parameters to files that Keras loads, with channels last.

use std::collections::HashMap;
use std::path::Path;

use hdf5_pure::{AttrValue, FileBuilder};

use super::layout::{self, KerasLayer};
use super::read::numbered;
use super::{DataFormat, KerasError};
use crate::atomic_file::{FileError, write_bytes_atomically};
use crate::model::architecture::Architecture;
use crate::model::parameters::Parameters;

/// The two kinds of weights files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Keras 3, and Keras 2 from 2.12: `<name>.weights.h5`.
    Weights,
    /// Keras 2 of any version, and Keras 3: `<name>.h5`.
    Legacy,
}

impl Flavour {
    /// The kind that Keras takes a file for, by its name; none: Keras would refuse it.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        if name.ends_with(".weights.h5") {
            Some(Self::Weights)
        } else if name.ends_with(".h5") {
            Some(Self::Legacy)
        } else {
            None
        }
    }
}

/// Why a Keras file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum KerasWriteError {
    /// The file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The content could not be put into HDF5.
    #[error(transparent)]
    Content(#[from] KerasError),
}

/// Writes weights atomically, for a model with channels last. `parameters` are those of `architecture`.
///
/// # Errors
/// [`KerasWriteError`] when the file cannot be written.
pub fn write(
    path: &Path,
    flavour: Flavour,
    architecture: &Architecture,
    parameters: &Parameters<f32>,
) -> Result<(), KerasWriteError> {
    let values: HashMap<&str, &[f32]> = parameters
        .tensors()
        .map(|tensor| (tensor.name.as_str(), tensor.values.as_slice()))
        .collect();
    let layers = layout::layers(architecture, DataFormat::ChannelsLast, false);
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let named: Vec<(String, &KerasLayer)> = layers
        .iter()
        .map(|layer| {
            let count = counts.entry(layer.class).or_insert(0);
            let name = numbered(layer.class, *count);
            *count += 1;
            (name, layer)
        })
        .collect();
    let file = match flavour {
        Flavour::Legacy => legacy(&named, &values),
        Flavour::Weights => weights(&named, &values),
    };
    let bytes = file.finish().map_err(|source| KerasError::Hdf5 {
        path: path.to_path_buf(),
        object: "/".to_string(),
        source,
    })?;
    Ok(write_bytes_atomically(path, &bytes)?)
}

/// `/<layer>/<layer>/kernel:0`, with the order in attributes.
fn legacy(layers: &[(String, &KerasLayer)], values: &HashMap<&str, &[f32]>) -> FileBuilder {
    let mut file = FileBuilder::new();
    let names = layers.iter().map(|(name, _)| name.clone()).collect();
    file.set_attr("layer_names", AttrValue::StringArray(names));
    // What kernels are those of: a cross-correlation's.
    file.set_attr("backend", AttrValue::String("tensorflow".to_string()));
    file.set_attr("keras_version", AttrValue::String("2.15.0".to_string()));
    for (name, layer) in layers {
        let mut group = file.create_group(name);
        let tensors = layer.tensors.iter();
        let paths = tensors.map(|tensor| format!("{name}/{}:0", tensor.name));
        group.set_attr("weight_names", AttrValue::StringArray(paths.collect()));
        let mut inner = group.create_group(name);
        for tensor in &layer.tensors {
            let data = tensor.layout.export(values[tensor.tensor.as_str()]);
            inner
                .create_dataset(&format!("{}:0", tensor.name))
                .with_f32_data(&data)
                .with_shape(&tensor.layout.keras_shape());
        }
        group.add_group(inner.finish());
        file.add_group(group.finish());
    }
    file
}

/// `/layers/<class>[_<k>]/vars/<n>`.
fn weights(layers: &[(String, &KerasLayer)], values: &HashMap<&str, &[f32]>) -> FileBuilder {
    let mut file = FileBuilder::new();
    let mut all = file.create_group("layers");
    for (name, layer) in layers {
        let mut group = all.create_group(name);
        let mut vars = group.create_group("vars");
        vars.set_attr("name", AttrValue::String(name.clone()));
        for (number, tensor) in layer.tensors.iter().enumerate() {
            let data = tensor.layout.export(values[tensor.tensor.as_str()]);
            vars.create_dataset(&number.to_string())
                .with_f32_data(&data)
                .with_shape(&tensor.layout.keras_shape());
        }
        group.add_group(vars.finish());
        all.add_group(group.finish());
    }
    file.add_group(all.finish());
    file
}
