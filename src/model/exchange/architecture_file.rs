//! The TOML file that says what imported weights are the weights of.
//!
//! `[[layer]]` tables, and what the weights' own file does not know: how images are scaled and, unless a
//! data directory or another model tells, what they are images of.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::atomic_file::FileError;
use crate::data::manifest::{FORMAT, Manifest, ManifestError, ParameterDescription, VERSION};
use crate::data::scaling::InputScaling;
use crate::data::slices::SliceConfig;
use crate::model::layer_spec::LayerSpec;

/// The content of an architecture file. A complete configuration of `dawn21 train` is one, too: what it
/// says about the training is skipped.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchitectureFile {
    /// The network.
    #[serde(rename = "layer")]
    pub layers: Vec<LayerSpec>,
    /// Clipping and scaling of the input.
    pub input: Option<InputScaling>,
    /// How images are cut from cubes.
    pub slices: Option<SliceConfig>,
    /// What the images are.
    pub geometry: Option<Geometry>,
    /// The outputs, in order, when there is a `geometry`.
    pub parameters: Option<Vec<ParameterDescription>>,
    #[serde(rename = "seed")]
    _seed: Option<IgnoredAny>,
    #[serde(rename = "split")]
    _split: Option<IgnoredAny>,
    #[serde(rename = "execution")]
    _execution: Option<IgnoredAny>,
    #[serde(rename = "training")]
    _training: Option<IgnoredAny>,
}

/// The images of a model that no data directory describes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Geometry {
    /// Rows (x) and columns (line of sight) of an image.
    pub image: [usize; 2],
    /// Side of a cell in comoving Mpc.
    pub cell_mpc: f64,
    /// Redshift of the first and last column.
    pub redshift_range: [f64; 2],
    /// Physical quantity of the cells.
    #[serde(default = "default_quantity")]
    pub quantity: String,
    /// Unit of the cells.
    #[serde(default = "default_unit")]
    pub unit: String,
}

fn default_quantity() -> String {
    "brightness_temperature".to_string()
}

fn default_unit() -> String {
    "mK".to_string()
}

/// Why an architecture file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchitectureFileError {
    /// It could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not TOML, lacks a field or has an unknown one.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, field and reason.
        source: Box<toml::de::Error>,
    },
    /// A field has a value that makes no sense.
    #[error(transparent)]
    Value(#[from] ManifestError),
    /// One of `[geometry]` and `[[parameters]]` without the other.
    #[error("{}: `{present}` without `{missing}`; give both, or take both from --data or --like", path.display())]
    Half {
        /// The file.
        path: PathBuf,
        /// The part that is there.
        present: &'static str,
        /// The part that is not.
        missing: &'static str,
    },
}

impl ArchitectureFile {
    /// Reads an architecture file.
    ///
    /// # Errors
    /// [`ArchitectureFileError`] names the file, the line and the field.
    pub fn read(path: &Path) -> Result<Self, ArchitectureFileError> {
        let text = std::fs::read_to_string(path).map_err(FileError::at(path, "reading"))?;
        toml::from_str(&text).map_err(|source| ArchitectureFileError::Syntax {
            path: path.to_path_buf(),
            source: Box::new(source),
        })
    }

    /// `[geometry]` and `[[parameters]]` as the manifest of cubes that hold a single image; none when the
    /// file has neither.
    ///
    /// # Errors
    /// [`ArchitectureFileError`] when one of the two is missing or a value makes no sense.
    pub fn manifest(&self, path: &Path) -> Result<Option<Manifest>, ArchitectureFileError> {
        let half = |present, missing| ArchitectureFileError::Half {
            path: path.to_path_buf(),
            present,
            missing,
        };
        let (geometry, parameters) = match (&self.geometry, &self.parameters) {
            (None, None) => return Ok(None),
            (Some(_), None) => return Err(half("[geometry]", "[[parameters]]")),
            (None, Some(_)) => return Err(half("[[parameters]]", "[geometry]")),
            (Some(geometry), Some(parameters)) => (geometry.clone(), parameters.clone()),
        };
        let [rows, columns] = geometry.image;
        let manifest = Manifest {
            format: FORMAT.to_string(),
            version: VERSION,
            shape: [rows, 1, columns],
            cell_mpc: geometry.cell_mpc,
            y_planes: None,
            quantity: geometry.quantity,
            unit: geometry.unit,
            redshift_range: geometry.redshift_range,
            source: String::new(),
            suggested_preset: None,
            parameters,
            cosmology: None,
            simulation: None,
        };
        manifest.check(&path.display().to_string())?;
        Ok(Some(manifest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_architecture_files() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/presets");
        for (name, layers) in [
            ("gillet2019.toml", 17),
            ("few_light_cones.toml", 17),
            ("deep.toml", 20),
        ] {
            let path = directory.join(name);
            let file = ArchitectureFile::read(&path).expect(name);
            assert_eq!(file.layers.len(), layers);
            assert!(file.input.is_some() && file.slices.is_some());
            assert!(file.manifest(&path).expect("no geometry").is_none());
        }
    }
}
