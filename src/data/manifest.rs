//! `dataset.toml`: what the cubes of a data directory are.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::atomic_file::{FileError, write_bytes_atomically};

/// The value of `format` in every manifest.
pub const FORMAT: &str = "dawn21-light-cones";
/// The version of the format that this program reads and writes.
pub const VERSION: u32 = 1;
/// The manifest's file name.
pub const MANIFEST_FILE: &str = "dataset.toml";

/// The content of `dataset.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always [`FORMAT`].
    pub format: String,
    /// Format version, [`VERSION`].
    pub version: u32,
    /// Stored cells `[x, y, z]`; z is the line of sight, fastest on disk, lowest redshift first.
    pub shape: [usize; 3],
    /// Side of a cell in comoving Mpc.
    pub cell_mpc: f64,
    /// When present, the cube holds only these y planes of the box; `shape[1]` is their number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y_planes: Option<Vec<usize>>,
    /// Physical quantity, e.g. `brightness_temperature`.
    pub quantity: String,
    /// Unit of the cells, e.g. `mK`.
    pub unit: String,
    /// Redshift of the first and of the last cell along the line of sight.
    pub redshift_range: [f64; 2],
    /// Where the cubes come from, free text.
    #[serde(default)]
    pub source: String,
    /// Preset that suits this data directory when none is asked for; absent: the paper's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggested_preset: Option<String>,
    /// The parameters that label each light-cone, in the order of the csv's columns.
    pub parameters: Vec<ParameterDescription>,
    /// Cosmology of the simulation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosmology: Option<Cosmology>,
    /// How the cubes were simulated, in the words of the simulator: one data directory, one physics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulation: Option<toml::Table>,
}

/// One astrophysical parameter: its column in the csv and the range that is mapped to [0, 1].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterDescription {
    /// Column name in `parameters.csv`.
    pub name: String,
    /// Unit, empty when dimensionless.
    #[serde(default)]
    pub unit: String,
    /// Lowest allowed value.
    pub min: f64,
    /// Highest allowed value.
    pub max: f64,
    /// Symbol for figures, e.g. `\log_{10} T_{\rm vir}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latex: Option<String>,
}

/// Parameters of a flat Lambda-CDM cosmology.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cosmology {
    /// Dark-energy density today over the critical one.
    pub omega_l: f64,
    /// Matter density today over the critical one.
    pub omega_m: f64,
    /// Baryon density today over the critical one.
    pub omega_b: f64,
    /// Spectral index of the primordial perturbations.
    pub n_s: f64,
    /// Linear rms density contrast today in spheres of 8 Mpc/h.
    pub sigma_8: f64,
    /// Hubble constant over 100 km/s/Mpc.
    pub h: f64,
}

/// The cosmology of Gillet et al. 2019 (Planck 2016 values).
pub const GILLET_2019: Cosmology = Cosmology {
    omega_l: 0.69,
    omega_m: 0.31,
    omega_b: 0.048,
    n_s: 0.97,
    sigma_8: 0.81,
    h: 0.68,
};

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no such file, perhaps no such directory.
    #[error(
        "{path}: reading failed: there is no such file; give a data directory made by `dawn21 simulate` or laid out as docs/data-directory.md describes"
    )]
    Missing {
        /// The manifest.
        path: String,
    },
    /// The file is not TOML, lacks a field or has an unknown one.
    #[error("{path}: {source}")]
    Syntax {
        /// The manifest.
        path: String,
        /// Line, field and reason.
        source: Box<toml::de::Error>,
    },
    /// A field has a value that makes no sense.
    #[error("{path}: field `{field}`: expected {expected}, found {found}")]
    Field {
        /// The manifest.
        path: String,
        /// Name of the field.
        field: String,
        /// What would be right.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The manifest cannot be expressed in TOML.
    #[error("{path}: {source}")]
    Serialize {
        /// The manifest.
        path: String,
        /// Reason.
        source: Box<toml::ser::Error>,
    },
}

impl Manifest {
    /// Reads and checks `directory/dataset.toml`.
    ///
    /// # Errors
    /// [`ManifestError`] names the file, the field, what was expected and what was found.
    pub fn read(directory: &Path) -> Result<Self, ManifestError> {
        let path = directory.join(MANIFEST_FILE);
        let name = path.display().to_string();
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ManifestError::Missing { path: name });
            }
            text => text.map_err(FileError::at(&path, "reading"))?,
        };
        let manifest: Self = toml::from_str(&text).map_err(|source| ManifestError::Syntax {
            path: name.clone(),
            source: Box::new(source),
        })?;
        manifest.check(&name)?;
        Ok(manifest)
    }

    /// Writes `directory/dataset.toml` atomically.
    ///
    /// # Errors
    /// [`ManifestError`] when the manifest is inconsistent or the file cannot be written.
    pub fn write(&self, directory: &Path) -> Result<(), ManifestError> {
        let path = directory.join(MANIFEST_FILE);
        let name = path.display().to_string();
        self.check(&name)?;
        let text = toml::to_string(self).map_err(|source| ManifestError::Serialize {
            path: name,
            source: Box::new(source),
        })?;
        Ok(write_bytes_atomically(&path, text.as_bytes())?)
    }

    /// Size in bytes that every cube must have, `4 nx ny nz`.
    ///
    /// [`Manifest::read`] and [`Manifest::write`] refuse shapes for which this overflows.
    #[must_use]
    pub fn cube_bytes(&self) -> u64 {
        4 * self.shape.iter().map(|&n| n as u64).product::<u64>()
    }

    /// Index of the stored plane that holds plane `y` of the box, if it is stored.
    #[must_use]
    pub fn stored_plane(&self, y: usize) -> Option<usize> {
        match &self.y_planes {
            None => (y < self.shape[1]).then_some(y),
            Some(planes) => planes.iter().position(|&plane| plane == y),
        }
    }

    /// Cells of the simulated box along y: the sky is square when only some planes are stored.
    #[must_use]
    pub fn box_cells_y(&self) -> usize {
        match self.y_planes {
            None => self.shape[1],
            Some(_) => self.shape[0],
        }
    }

    /// Whether cubes are whole and as wide along y as along x: planes of constant x are then images as those of
    /// constant y are.
    #[must_use]
    pub fn has_square_sky(&self) -> bool {
        self.shape[0] == self.shape[1] && self.y_planes.is_none()
    }

    /// The cells on the sky, for messages.
    #[must_use]
    pub fn sky(&self) -> String {
        let [nx, ny, _] = self.shape;
        let some = match self.y_planes {
            Some(_) => ", some planes only",
            None => "",
        };
        format!("{nx} x {ny} cells{some}")
    }

    /// Checks every field; `path` is named in errors.
    ///
    /// # Errors
    /// [`ManifestError::Field`] names the first field that makes no sense.
    pub fn check(&self, path: &str) -> Result<(), ManifestError> {
        let field = |field: &str, expected: &str, found: String| ManifestError::Field {
            path: path.to_string(),
            field: field.to_string(),
            expected: expected.to_string(),
            found,
        };
        if self.format != FORMAT {
            return Err(field("format", FORMAT, self.format.clone()));
        }
        if self.version != VERSION {
            return Err(field(
                "version",
                &format!("{VERSION}, the only version that this program reads"),
                self.version.to_string(),
            ));
        }
        let bytes = self
            .shape
            .iter()
            .try_fold(4_usize, |product, &n| product.checked_mul(n));
        if bytes.is_none_or(|bytes| bytes == 0 || isize::try_from(bytes).is_err()) {
            return Err(field(
                "shape",
                "three positive numbers of cells whose product is addressable",
                format!("{:?}", self.shape),
            ));
        }
        if !(self.cell_mpc.is_finite() && self.cell_mpc > 0.0) {
            return Err(field(
                "cell_mpc",
                "a positive length in comoving Mpc",
                self.cell_mpc.to_string(),
            ));
        }
        let [nearest, farthest] = self.redshift_range;
        if !(nearest.is_finite() && farthest.is_finite() && 0.0 <= nearest && nearest < farthest) {
            return Err(field(
                "redshift_range",
                "[lowest, highest], both finite and not negative",
                format!("{:?}", self.redshift_range),
            ));
        }
        self.check_planes(&field)?;
        self.check_parameters(&field)
    }

    fn check_planes(
        &self,
        field: &impl Fn(&str, &str, String) -> ManifestError,
    ) -> Result<(), ManifestError> {
        let Some(planes) = &self.y_planes else {
            return Ok(());
        };
        if planes.len() != self.shape[1] {
            return Err(field(
                "y_planes",
                &format!("{} planes, as many as shape[1]", self.shape[1]),
                format!("{} planes", planes.len()),
            ));
        }
        if !planes.is_sorted_by(|a, b| a < b) || planes.iter().any(|&y| y >= self.box_cells_y()) {
            return Err(field(
                "y_planes",
                &format!("increasing plane numbers below {}", self.box_cells_y()),
                format!("{planes:?}"),
            ));
        }
        Ok(())
    }

    fn check_parameters(
        &self,
        field: &impl Fn(&str, &str, String) -> ManifestError,
    ) -> Result<(), ManifestError> {
        if self.parameters.is_empty() {
            return Err(field(
                "parameters",
                "at least one [[parameters]] table",
                "none".to_string(),
            ));
        }
        for (index, parameter) in self.parameters.iter().enumerate() {
            let name = &parameter.name;
            let well_formed = !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
            if !well_formed || name == "id" || name == "seed" {
                return Err(field(
                    &format!("parameters[{index}].name"),
                    "letters, digits, `_` and `-`, other than `id` and `seed`",
                    format!("`{name}`"),
                ));
            }
            if self.parameters[..index].iter().any(|p| p.name == *name) {
                return Err(field(
                    &format!("parameters[{index}].name"),
                    "a name used once",
                    format!("`{name}` again"),
                ));
            }
            if !(parameter.min.is_finite()
                && parameter.max.is_finite()
                && parameter.min < parameter.max)
            {
                return Err(field(
                    &format!("parameters[{index}] (`{name}`)"),
                    "finite min < max",
                    format!("min = {}, max = {}", parameter.min, parameter.max),
                ));
            }
        }
        Ok(())
    }
}
