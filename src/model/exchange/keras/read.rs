//! From Keras' files to parameters.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::hdf5::{Hdf5, Node, TensorHandle};
use super::layout::{self, KerasLayer, Layout};
use super::{DataFormat, KerasError};
use crate::model::architecture::Architecture;
use crate::model::exchange::Imported;
use crate::model::parameters::Parameters;

/// A layer with weights, as the file has it.
struct StoredLayer<'a> {
    /// Its name in the file.
    name: String,
    group: Node<'a>,
    /// Paths of its tensors below the group, in Keras' order.
    tensors: Vec<String>,
}

/// Reads the weights of `architecture` from any HDF5 file of Keras 2 or 3.
///
/// `data_format`: where the channels were when the file was saved; absent: what the file says, else
/// `channels_first` for Theano's files and `channels_last` for others.
///
/// # Errors
/// [`KerasError`] names the layer or tensor that does not fit. All shapes are compared with the
/// architecture's before memory is taken.
pub fn read(
    path: &Path,
    architecture: &Architecture,
    data_format: Option<DataFormat>,
) -> Result<Imported, KerasError> {
    let file = Hdf5::open(path)?;
    let root = file.root();
    let groups = root.groups()?;
    let (kind, tree) = if groups.iter().any(|name| name == "model_weights") {
        ("legacy model", root.group("model_weights")?)
    } else {
        ("weights", file.root())
    };
    let theano = tree.string("backend")?.as_deref() == Some("theano");
    let data_format = choose_data_format(&root, data_format, theano)?;
    let expected = layout::layers(architecture, data_format, theano);
    let (kind, stored) = match tree.strings("layer_names")? {
        Some(names) => {
            let kind = if kind == "weights" {
                "legacy weights"
            } else {
                kind
            };
            (kind, legacy_layers(&tree, names)?)
        }
        None if groups.iter().any(|name| name == "layers") => {
            let layers = root.group("layers")?;
            ("weights", numbered_layers(path, &layers, &expected)?)
        }
        None => {
            return Err(KerasError::NotKeras {
                path: path.to_path_buf(),
            });
        }
    };
    check_count(path, &expected, &stored)?;

    let mut handles: HashMap<&str, (Layout, TensorHandle)> = HashMap::new();
    let mut matches = Vec::new();
    for (layer, stored) in expected.iter().zip(&stored) {
        if layer.tensors.len() != stored.tensors.len() {
            let names: Vec<&str> = layer.tensors.iter().map(|t| t.name).collect();
            return Err(KerasError::Kind {
                path: path.to_path_buf(),
                layer: stored.name.clone(),
                expected: format!(
                    "{} needs {}: {}",
                    layer.label,
                    names.len(),
                    names.join(", ")
                ),
                found: stored.tensors.len(),
            });
        }
        for (tensor, name) in layer.tensors.iter().zip(&stored.tensors) {
            let shape = tensor.layout.keras_shape();
            let handle = stored.group.tensor(name, &shape, &layer.label)?;
            handles.insert(&tensor.tensor, (tensor.layout, handle));
        }
        let turned = theano && layer.class == "conv2d";
        matches.push(format!(
            "layer {} is `{}`{}",
            layer.label,
            stored.name,
            if turned {
                ", kernels turned by 180 degrees"
            } else {
                ""
            }
        ));
    }

    let mut parameters = Parameters::zeros(architecture);
    for tensor in parameters.tensors_mut() {
        if let Some((layout, handle)) = handles.get(tensor.name.as_str()) {
            layout.import(&handle.read()?, &mut tensor.values);
        }
    }
    let backend = if theano { " on Theano" } else { "" };
    let version = tree.string("keras_version")?;
    let version = version.map_or(String::new(), |v| format!(" {v}"));
    Ok(Imported {
        parameters,
        format: format!("Keras{version} {kind}{backend}, {data_format}"),
        matches,
    })
}

/// What the user says, else what a whole model says, else the backend's habit.
fn choose_data_format(
    root: &Node<'_>,
    given: Option<DataFormat>,
    theano: bool,
) -> Result<DataFormat, KerasError> {
    let recorded = recorded_data_format(root)?;
    match (given, recorded) {
        (Some(given), Some(recorded)) if given != recorded => Err(KerasError::DataFormat {
            path: root.path().to_path_buf(),
            given,
            recorded,
        }),
        (Some(format), _) | (None, Some(format)) => Ok(format),
        (None, None) if theano => Ok(DataFormat::ChannelsFirst),
        (None, None) => Ok(DataFormat::ChannelsLast),
    }
}

/// The `data_format` of the first layer that has one, in the description of a whole model.
fn recorded_data_format(root: &Node<'_>) -> Result<Option<DataFormat>, KerasError> {
    let Some(text) = root.string("model_config")? else {
        return Ok(None);
    };
    let model: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| root.attribute_error("model_config", "JSON", &error.to_string()))?;
    // Keras 2.1 has the list itself where later versions have an object with `layers`.
    let config = &model["config"];
    let layers = config["layers"].as_array().or_else(|| config.as_array());
    let format = layers.into_iter().flatten().find_map(|layer| {
        let value = &layer["config"]["data_format"];
        // `Flatten` always says channels_last, whatever the images are.
        let flatten = layer["class_name"] == "Flatten";
        (!flatten && value.is_string()).then(|| value.clone())
    });
    match format.map(serde_json::from_value) {
        None => Ok(None),
        Some(Ok(format)) => Ok(Some(format)),
        Some(Err(error)) => Err(root.attribute_error(
            "model_config",
            "a data_format of channels_first or channels_last",
            &error.to_string(),
        )),
    }
}

/// The layers with weights of a legacy file, in its own order.
fn legacy_layers<'a>(
    tree: &Node<'a>,
    names: Vec<String>,
) -> Result<Vec<StoredLayer<'a>>, KerasError> {
    let mut layers = Vec::new();
    for name in names {
        let group = tree.group(&name)?;
        let tensors = group
            .strings("weight_names")?
            .ok_or_else(|| group.attribute_error("weight_names", "a list of strings", "missing"))?;
        if !tensors.is_empty() {
            layers.push(StoredLayer {
                name,
                group,
                tensors,
            });
        }
    }
    Ok(layers)
}

/// The layers with weights of a new file, which has no order but counts the layers of each class.
fn numbered_layers<'a>(
    path: &Path,
    layers: &Node<'a>,
    expected: &[KerasLayer],
) -> Result<Vec<StoredLayer<'a>>, KerasError> {
    // Those with weights.
    let mut present = BTreeSet::new();
    for name in layers.groups()? {
        let group = layers.group(&name)?;
        let has_vars = group.groups()?.iter().any(|name| name == "vars");
        if has_vars && group.group("vars")?.dataset_count()? > 0 {
            present.insert(name);
        }
    }
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut wanted = Vec::new();
    for layer in expected {
        let count = counts.entry(layer.class).or_insert(0);
        wanted.push(numbered(layer.class, *count));
        *count += 1;
    }
    if present != wanted.iter().cloned().collect() {
        return Err(KerasError::Layers {
            path: path.to_path_buf(),
            expected: wanted,
            found: present.into_iter().collect(),
        });
    }
    wanted
        .into_iter()
        .map(|name| {
            let group = layers.group(&name)?.group("vars")?;
            let count = group.dataset_count()?;
            Ok(StoredLayer {
                name,
                group,
                tensors: (0..count).map(|i| i.to_string()).collect(),
            })
        })
        .collect()
}

/// Keras' name of the layer of a class that has `before` others before it.
pub(super) fn numbered(class: &str, before: usize) -> String {
    if before == 0 {
        class.to_string()
    } else {
        format!("{class}_{before}")
    }
}

fn check_count(
    path: &Path,
    expected: &[KerasLayer],
    stored: &[StoredLayer<'_>],
) -> Result<(), KerasError> {
    if expected.len() == stored.len() {
        return Ok(());
    }
    Err(KerasError::Layers {
        path: path.to_path_buf(),
        expected: expected.iter().map(|layer| layer.label.clone()).collect(),
        found: stored.iter().map(|layer| layer.name.clone()).collect(),
    })
}
