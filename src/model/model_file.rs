//! `model.safetensors`: weights with the names and layouts of `torch.nn.Sequential`, and, as metadata,
//! all that is needed to use them: architecture, geometry, scalings.

use std::collections::HashSet;
use std::path::Path;

use super::architecture::{Architecture, ArchitectureError};
use super::description::ModelDescription;
use super::engine::Engine;
use super::execution::{Execution, ExecutionConfig, ExecutionError};
use super::inference::Inference;
use super::layer::Layer;
use super::network::Network;
use super::parameters::Parameters;
use super::side_by_side;
use crate::data::manifest::ManifestError;
use crate::tensor_file::{self, TensorData, TensorFile, TensorFileError};

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file.
    #[error(transparent)]
    File(#[from] TensorFileError),
    /// The architecture in it.
    #[error("{path}: {source}")]
    Architecture {
        /// The model file.
        path: String,
        /// Reason.
        source: ArchitectureError,
    },
    /// The description is of another kind or version.
    #[error("{path}: {field} is {found}, expected {expected}")]
    Description {
        /// The model file.
        path: String,
        /// Field of the description.
        field: &'static str,
        /// What this program reads.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A field of the description has a value that makes no sense.
    #[error(transparent)]
    Field(#[from] ManifestError),
    /// Data that the model was not trained for.
    #[error("this does not fit the model:\n{}", differences.join("\n"))]
    Mismatch {
        /// One line for every field that differs.
        differences: Vec<String>,
    },
}

/// A model read from its file.
#[derive(Debug)]
pub struct Model {
    /// What it is for.
    pub description: ModelDescription,
    /// The network.
    pub network: Network,
    /// Its numbers.
    pub parameters: Parameters<f32>,
}

impl Model {
    /// The model ready to predict, with the vector instructions of the environment. Members of an ensemble are computed
    /// one by one.
    ///
    /// # Errors
    /// [`ExecutionError`] when `DAWN21_SIMD` asks for instructions that there are not.
    pub fn inference(&self) -> Result<Inference, ExecutionError> {
        let execution = Execution::new(ExecutionConfig::default())?;
        let architecture = self.network.architecture();
        let engine = |architecture: &Architecture, parameters| {
            let mut engine = Engine::new(architecture.clone(), execution)?;
            engine.load(parameters, None)?;
            Ok(engine)
        };
        let engines = match side_by_side::take_apart(architecture, &self.parameters) {
            Some((narrow, members)) => {
                let engines = members.iter().map(|parameters| engine(&narrow, parameters));
                engines.collect::<Result<_, ExecutionError>>()?
            }
            None => vec![engine(architecture, &self.parameters)?],
        };
        Ok(Inference::new(engines, self.description.symmetries))
    }
}

/// The tensors of a model as they go into a file: with PyTorch's counter of normalised batches, so
/// that `load_state_dict` finds every key that it knows.
pub fn file_tensors<'a>(
    architecture: &'a Architecture,
    parameters: &'a Parameters<f32>,
    step: u64,
) -> impl Iterator<Item = (String, &'a [usize], TensorData<'a>)> {
    let counters = architecture
        .layers()
        .iter()
        .enumerate()
        .filter(|(_, layer)| matches!(layer, Layer::BatchNorm { .. }))
        .map(move |(index, _)| {
            let counter = TensorData::I64(step as i64);
            (counter_name(index), &[][..], counter)
        });
    parameters
        .tensors()
        .map(|tensor| {
            let data = TensorData::F32(&tensor.values);
            (tensor.name.clone(), &tensor.shape[..], data)
        })
        .chain(counters)
}

/// Writes a model atomically.
///
/// # Errors
/// [`ModelError::File`] when the file cannot be written.
pub fn write(
    path: &Path,
    description: &ModelDescription,
    architecture: &Architecture,
    parameters: &Parameters<f32>,
) -> Result<(), ModelError> {
    let json = serde_json::to_string(description).map_err(|error| TensorFileError::Metadata {
        path: path.to_path_buf(),
        detail: error.to_string(),
    })?;
    let tensors = file_tensors(architecture, parameters, description.step);
    Ok(tensor_file::write(path, json, tensors)?)
}

/// Reads the description of a model file.
///
/// # Errors
/// [`ModelError`] names the file and the field that is wrong.
pub fn read_description(path: &Path) -> Result<ModelDescription, ModelError> {
    let description: ModelDescription = TensorFile::read(path)?.metadata()?;
    description.check(path)?;
    Ok(description)
}

/// Reads a model and checks it against its own architecture.
///
/// # Errors
/// [`ModelError`] names the file and the tensor or field that is wrong.
pub fn read(path: &Path) -> Result<Model, ModelError> {
    let file = TensorFile::read(path)?;
    let description = file.metadata()?;
    from_file(path, &file, description, &[])
}

/// Puts a model together from an open file. Tensors whose name starts with one of `ignored_prefixes` are not
/// its own.
///
/// # Errors
/// As [`read`].
pub fn from_file(
    path: &Path,
    file: &TensorFile,
    description: ModelDescription,
    ignored_prefixes: &[&str],
) -> Result<Model, ModelError> {
    description.check(path)?;
    let architecture = Architecture::resolve(
        &description.layers,
        description.image,
        description.cell_mpc,
        description.parameters.len(),
    )
    .map_err(|source| ModelError::Architecture {
        path: path.display().to_string(),
        source,
    })?;
    let parameters = read_parameters(path, file, &architecture, ignored_prefixes)?;
    Ok(Model {
        description,
        network: Network::new(architecture),
        parameters,
    })
}

/// Reads the parameters of an architecture. Other tensors are refused, but for those whose name starts
/// with one of `ignored_prefixes`.
///
/// Everything is checked before memory is taken: a hostile architecture could ask for any amount of it,
/// but what the file holds is in memory already.
///
/// # Errors
/// [`TensorFileError`] names the tensor that is missing, unknown, of another type or shape.
pub fn read_parameters(
    path: &Path,
    file: &TensorFile,
    architecture: &Architecture,
    ignored_prefixes: &[&str],
) -> Result<Parameters<f32>, TensorFileError> {
    let mut known = HashSet::new();
    for (index, layer) in architecture.layers().iter().enumerate() {
        for spec in layer.trainable().into_iter().chain(layer.buffers()) {
            let name = format!("{index}.{}", spec.name);
            file.check_f32(&name, &spec.shape)?;
            known.insert(name);
        }
        if let Layer::BatchNorm { .. } = layer {
            known.insert(counter_name(index));
        }
    }
    let ignored = |name: &str| ignored_prefixes.iter().any(|p| name.starts_with(p));
    let unknown = |name: &String| !known.contains(name) && !ignored(name);
    if let Some(name) = file.names()?.into_iter().find(unknown) {
        return Err(TensorFileError::Unknown {
            path: path.to_path_buf(),
            name,
        });
    }
    let mut parameters = Parameters::zeros(architecture);
    for tensor in parameters.tensors_mut() {
        file.copy_f32(&tensor.name, &tensor.shape, &mut tensor.values)?;
    }
    Ok(parameters)
}

/// PyTorch's counter of the batches that layer `index` has normalised.
fn counter_name(index: usize) -> String {
    format!("{index}.num_batches_tracked")
}
