//! What a model is for: its layers, what an image is, how input and output are scaled.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::architecture::Architecture;
use super::layer_spec::LayerSpec;
use super::model_file::ModelError;
use crate::data::manifest::{self, Manifest, ParameterDescription};
use crate::data::scaling::InputScaling;
use crate::data::slices::{SliceConfig, Slicing};
use crate::data::symmetry::Symmetries;

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
    /// Views of an image of which predictions are the mean.
    #[serde(default, skip_serializing_if = "Symmetries::is_none")]
    pub symmetries: Symmetries,
    /// Epoch (from 1) after which the weights were kept; 0 before training, and of an ensemble.
    pub epoch: u64,
    /// Training steps taken.
    pub step: u64,
    /// Loss on the validation set at that epoch.
    pub validation_loss: Option<f64>,
}

/// The `format` of every description.
const FORMAT: &str = "dawn21-model";
/// The version of the description that this program writes.
const VERSION: u32 = 1;
/// That of a model with symmetries, which older programs would not heed.
const VERSION_WITH_SYMMETRIES: u32 = 2;

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
            symmetries: Symmetries::default(),
            epoch: 0,
            step: 0,
            validation_loss: None,
        }
    }

    /// The description of the same network whose predictions are means over views.
    #[must_use]
    pub fn with_symmetries(self, symmetries: Symmetries) -> Self {
        Self {
            version: version_with(symmetries),
            symmetries,
            ..self
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
        compare(
            "images",
            format!(
                "means over {}, for images as wide as the periodic box",
                self.symmetries
            ),
            format!("images of {} of {} rows", slicing.rows(), manifest.shape[0]),
            self.symmetries.shifts == 1 || slicing.is_as_wide_as_box(manifest),
        );
        let quantity = |quantity: &str, unit: &str| format!("{quantity} in {unit}");
        let model = quantity(&self.quantity, &self.unit);
        let data = quantity(&manifest.quantity, &manifest.unit);
        compare("quantity", model.clone(), data.clone(), model == data);
        differences
    }

    /// Checks what a damaged or hostile file could make of a description; the layers are checked when the
    /// network is built.
    pub(super) fn check(&self, path: &Path) -> Result<(), ModelError> {
        let version = version_with(self.symmetries);
        for (field, found, expected) in [
            ("format", self.format.clone(), FORMAT.to_string()),
            ("version", self.version.to_string(), version.to_string()),
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
        if self.input.check().is_err() {
            return Err(ModelError::Description {
                path: path.display().to_string(),
                field: "input.clip_mk",
                expected: "two finite numbers in increasing order".to_string(),
                found: format!("{:?}", self.input.clip_mk),
            });
        }
        let [rows, columns] = self.image;
        let name = path.display().to_string();
        self.manifest([rows, 1, columns]).check(&name)?;
        if !self.symmetries.fit(rows) {
            return Err(ModelError::Description {
                path: path.display().to_string(),
                field: "symmetries.shifts",
                expected: format!("1 to {rows}, the rows of an image"),
                found: self.symmetries.shifts.to_string(),
            });
        }
        Ok(())
    }
}

/// The version of the description of a model with such symmetries.
fn version_with(symmetries: Symmetries) -> u32 {
    match symmetries.is_none() {
        true => VERSION,
        false => VERSION_WITH_SYMMETRIES,
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
