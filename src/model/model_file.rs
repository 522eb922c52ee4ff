//! `model.safetensors`: weights with the names and layouts of `torch.nn.Sequential`, and, as metadata,
//! all that is needed to use them: architecture, geometry, scalings.

use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::architecture::{Architecture, ArchitectureError};
use super::engine::Engine;
use super::execution::{Execution, ExecutionConfig, ExecutionError};
use super::layer::Layer;
use super::layer_spec::LayerSpec;
use super::network::Network;
use super::parameters::Parameters;
use crate::data::manifest::{self, Manifest, ManifestError, ParameterDescription};
use crate::data::scaling::InputScaling;
use crate::data::slices::{SliceConfig, Slicing};
use crate::tensor_file::{self, TensorData, TensorFile, TensorFileError};

/// What a model was trained on and how its input and output are scaled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelDescription {
    /// Always `dawn21-model`.
    pub format: String,
    /// Version of this description.
    pub version: u32,
    /// Layers with kernels in cells.
    pub layers: Vec<LayerSpec>,
    /// Rows (x) and columns (line of sight) of an image.
    pub image: [usize; 2],
    /// Side of a cell in comoving Mpc.
    pub cell_mpc: f64,
    /// Redshift of the first and last column.
    pub redshift_range: [f64; 2],
    /// Physical quantity of the cells.
    pub quantity: String,
    /// Unit of the cells.
    pub unit: String,
    /// Clipping and scaling of the input.
    pub input: InputScaling,
    /// How images are cut from cubes.
    pub slices: SliceConfig,
    /// Outputs in order, with the ranges that scale them.
    pub parameters: Vec<ParameterDescription>,
    /// Epoch (from 1) after which the weights were kept; 0 before training, and of an ensemble.
    pub epoch: u64,
    /// Training steps taken.
    pub step: u64,
    /// Loss on the validation set at that epoch.
    pub validation_loss: Option<f64>,
}

/// The `format` of every description.
const FORMAT: &str = "dawn21-model";
/// The version of the description that this program reads and writes.
const VERSION: u32 = 1;

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

impl ModelDescription {
    /// The description of an untrained network for a data set.
    #[must_use]
    pub fn new(
        architecture: &Architecture,
        manifest: &Manifest,
        input: InputScaling,
        slices: SliceConfig,
    ) -> Self {
        Self {
            format: FORMAT.to_string(),
            version: VERSION,
            layers: architecture.specs().to_vec(),
            image: architecture.image(),
            cell_mpc: manifest.cell_mpc,
            redshift_range: manifest.redshift_range,
            quantity: manifest.quantity.clone(),
            unit: manifest.unit.clone(),
            input,
            slices,
            parameters: manifest.parameters.clone(),
            epoch: 0,
            step: 0,
            validation_loss: None,
        }
    }

    /// The manifest of cubes of `shape` that hold what this model was trained on.
    #[must_use]
    pub fn manifest(&self, shape: [usize; 3]) -> Manifest {
        Manifest {
            format: manifest::FORMAT.to_string(),
            version: manifest::VERSION,
            shape,
            cell_mpc: self.cell_mpc,
            y_planes: None,
            quantity: self.quantity.clone(),
            unit: self.unit.clone(),
            redshift_range: self.redshift_range,
            source: String::new(),
            suggested_preset: None,
            parameters: self.parameters.clone(),
            cosmology: None,
            simulation: None,
        }
    }

    /// Checks that images cut from `manifest`'s cubes are what the model was trained on: size, cell,
    /// redshifts, quantity, and that the parameters are the same in the same order.
    ///
    /// The ranges of the parameters may differ: they only bound the sample. The model's are used.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] lists every difference.
    pub fn check_data(&self, manifest: &Manifest, slicing: &Slicing) -> Result<(), ModelError> {
        let mut differences = self.geometry_differences(manifest, slicing);
        let names = |parameters: &[ParameterDescription]| {
            parameters
                .iter()
                .map(|p| format!("{} [{}]", p.name, p.unit))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let (model, data) = (names(&self.parameters), names(&manifest.parameters));
        if model != data {
            differences.push(difference("parameters", &model, &data));
        }
        mismatch(differences)
    }

    /// Checks what does not need the parameters: for cubes whose truth is unknown.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] lists every difference.
    pub fn check_geometry(&self, manifest: &Manifest, slicing: &Slicing) -> Result<(), ModelError> {
        mismatch(self.geometry_differences(manifest, slicing))
    }

    /// Checks that weights of this model mean the same for another one: that both see the same quantity,
    /// scaled alike, in cells of the same size. Image sizes are compared through the tensors.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] lists every difference.
    pub fn check_same_scaling(&self, other: &Self) -> Result<(), ModelError> {
        let mut differences = Vec::new();
        let mut compare = |field: &str, a: String, b: String, same: bool| {
            if !same {
                differences.push(format!(
                    "  {field}: these weights had {a}, this run has {b}"
                ));
            }
        };
        let clip = |d: &Self| format!("{:?}", d.input.clip_mk);
        compare(
            "input.clip_mk",
            clip(self),
            clip(other),
            self.input == other.input,
        );
        let cell = |d: &Self| d.cell_mpc.to_string();
        let same_cell = close(self.cell_mpc, other.cell_mpc);
        compare("cell_mpc", cell(self), cell(other), same_cell);
        let quantity = |d: &Self| format!("{} in {}", d.quantity, d.unit);
        let same_quantity = quantity(self) == quantity(other);
        compare("quantity", quantity(self), quantity(other), same_quantity);
        mismatch(differences)
    }

    fn geometry_differences(&self, manifest: &Manifest, slicing: &Slicing) -> Vec<String> {
        let mut differences = Vec::new();
        let mut compare = |field: &str, model: String, data: String, same: bool| {
            if !same {
                differences.push(difference(field, &model, &data));
            }
        };
        let image = [slicing.rows(), slicing.columns()];
        let cells = |[rows, columns]: [usize; 2]| format!("{rows} x {columns} cells");
        compare(
            "image",
            cells(self.image),
            cells(image),
            self.image == image,
        );
        compare(
            "cell_mpc",
            self.cell_mpc.to_string(),
            manifest.cell_mpc.to_string(),
            close(self.cell_mpc, manifest.cell_mpc),
        );
        let [nearest, farthest] = self.redshift_range;
        compare(
            "redshift_range",
            format!("{:?}", self.redshift_range),
            format!("{:?}", manifest.redshift_range),
            close(nearest, manifest.redshift_range[0])
                && close(farthest, manifest.redshift_range[1]),
        );
        let quantity = |quantity: &str, unit: &str| format!("{quantity} in {unit}");
        let model = quantity(&self.quantity, &self.unit);
        let data = quantity(&manifest.quantity, &manifest.unit);
        compare("quantity", model.clone(), data.clone(), model == data);
        differences
    }
}

/// Equal but for rounding in a manifest written by hand.
fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-3 * a.abs().max(b.abs())
}

fn difference(field: &str, model: &str, data: &str) -> String {
    format!("  {field}: the model has {model}, the data have {data}")
}

fn mismatch(differences: Vec<String>) -> Result<(), ModelError> {
    if differences.is_empty() {
        Ok(())
    } else {
        Err(ModelError::Mismatch { differences })
    }
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
    /// The model ready to predict, with the vector instructions of the environment.
    ///
    /// # Errors
    /// [`ExecutionError`] when `DAWN21_SIMD` asks for instructions that there are not.
    pub fn engine(&self) -> Result<Engine, ExecutionError> {
        let execution = Execution::new(ExecutionConfig::default())?;
        let mut engine = Engine::new(self.network.architecture().clone(), execution)?;
        engine.load(&self.parameters, None)?;
        Ok(engine)
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
    let description = TensorFile::read(path)?.metadata()?;
    check_description(path, &description)?;
    Ok(description)
}

/// Checks what a damaged or hostile file could make of a description; the layers are checked when the
/// network is built.
fn check_description(path: &Path, description: &ModelDescription) -> Result<(), ModelError> {
    let version = description.version.to_string();
    for (field, found, expected) in [
        ("format", description.format.clone(), FORMAT.to_string()),
        ("version", version, VERSION.to_string()),
    ] {
        if found != expected {
            return Err(ModelError::Description {
                path: path.display().to_string(),
                field,
                expected,
                found,
            });
        }
    }
    if description.input.check().is_err() {
        return Err(ModelError::Description {
            path: path.display().to_string(),
            field: "input.clip_mk",
            expected: "two finite numbers in increasing order".to_string(),
            found: format!("{:?}", description.input.clip_mk),
        });
    }
    let [rows, columns] = description.image;
    let name = path.display().to_string();
    Ok(description.manifest([rows, 1, columns]).check(&name)?)
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
    check_description(path, &description)?;
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
