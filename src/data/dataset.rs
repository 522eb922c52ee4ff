//! A data directory that was opened and found sound.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::DataError;
use super::cube::{Cube, CubeError};
use super::fault::{Fault, FaultList};
use super::manifest::{GILLET_2019, Manifest};
use super::parameter_table::{self, LightCone};
use crate::digest::hex;

/// Light-cones with their parameters; cubes stay on disk.
#[derive(Debug, Clone)]
pub struct Dataset {
    directory: PathBuf,
    manifest: Manifest,
    light_cones: Vec<LightCone>,
}

/// A data directory with what is wrong with it.
pub(super) struct Opened {
    /// What is sound.
    pub(super) dataset: Dataset,
    /// What is not, but for the cells.
    pub(super) faults: Vec<Fault>,
    /// Ids of all lines of the table; none when its header has a fault.
    pub(super) ids: Option<HashSet<String>>,
}

impl Dataset {
    /// Opens a data directory and checks manifest, table and the size of every cube.
    ///
    /// Cells are not read (`dawn21 info --deep` does): those of an image are checked when it is used.
    ///
    /// # Errors
    /// [`DataError::Unsound`] lists the faults; other variants say what could not be read.
    pub fn open(directory: &Path) -> Result<Self, DataError> {
        let opened = Self::open_with_faults(directory)?;
        if opened.faults.is_empty() {
            Ok(opened.dataset)
        } else {
            Err(DataError::Unsound {
                directory: directory.to_path_buf(),
                faults: FaultList(opened.faults),
            })
        }
    }

    /// As [`Dataset::open`], but returns the faults beside what could be used.
    pub(super) fn open_with_faults(directory: &Path) -> Result<Opened, DataError> {
        let manifest = Manifest::read(directory)?;
        let mut faults = Vec::new();
        let table = parameter_table::read(directory, &manifest.parameters, &mut faults)?;
        let dataset = Self {
            directory: directory.to_path_buf(),
            manifest,
            light_cones: table.light_cones,
        };
        for light_cone in &dataset.light_cones {
            faults.extend(dataset.check_cube_size(&light_cone.id));
        }
        Ok(Opened {
            dataset,
            faults,
            ids: table.ids,
        })
    }

    fn check_cube_size(&self, id: &str) -> Option<Fault> {
        let path = self.cube_path(id);
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Some(Fault::MissingCube {
                path,
                id: id.to_string(),
            }),
            Err(error) => Some(Fault::UnreadableCube {
                path,
                reason: error.to_string(),
            }),
            Ok(metadata) if metadata.len() != self.manifest.cube_bytes() => Some(Fault::CubeSize {
                path,
                shape: self.manifest.shape,
                expected: self.manifest.cube_bytes(),
                found: metadata.len(),
            }),
            Ok(_) => None,
        }
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What the cubes are.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// All light-cones in the order of the table.
    #[must_use]
    pub fn light_cones(&self) -> &[LightCone] {
        &self.light_cones
    }

    /// Directory of the cubes.
    #[must_use]
    pub fn cube_directory(&self) -> PathBuf {
        self.directory.join("cubes")
    }

    /// File of the cube of light-cone `id`.
    #[must_use]
    pub fn cube_path(&self, id: &str) -> PathBuf {
        self.cube_directory().join(format!("{id}.f32"))
    }

    /// Maps the cube of light-cone number `index`.
    ///
    /// # Errors
    /// [`DataError`] when it disappeared or changed its size since the directory was opened.
    pub fn open_cube(&self, index: usize) -> Result<Cube, DataError> {
        let path = self.cube_path(&self.light_cones[index].id);
        Cube::open(&path, self.manifest.shape).map_err(|error| match error {
            CubeError::File(error) => error.into(),
            CubeError::Size(fault) => fault.into(),
        })
    }

    /// A digest of geometry, quantity, simulated physics, cosmology and table: whether two runs saw the same data.
    /// Cells do not enter, reading terabytes for it would be out of proportion; neither do the seeds of the initial
    /// conditions, which only simulated data have.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut digest = Sha256::new();
        let manifest = &self.manifest;
        digest.update(format!(
            "{:?} {:?} {:?} {} {} {:?}",
            manifest.shape,
            manifest.cell_mpc,
            manifest.y_planes,
            manifest.quantity,
            manifest.unit,
            manifest.redshift_range
        ));
        for parameter in &manifest.parameters {
            let range = (parameter.min, parameter.max);
            digest.update(format!(" {} {} {range:?}", parameter.name, parameter.unit));
        }
        if let Some(simulation) = &manifest.simulation {
            // The same parameters under other physics are other data.
            digest.update(format!(" {simulation:?}"));
        }
        // The paper's goes without saying, as it does for data that name none.
        if let Some(cosmology) = manifest.cosmology.as_ref().filter(|c| **c != GILLET_2019) {
            digest.update(format!(" {cosmology:?}"));
        }
        for light_cone in &self.light_cones {
            digest.update(format!("\n{} {:?}", light_cone.id, light_cone.parameters));
        }
        hex(&digest.finalize()[..16])
    }
}
