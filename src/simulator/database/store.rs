//! The files of a data directory that is being filled.

use std::fs;
use std::path::{Path, PathBuf};

use super::{DatabaseError, DatabasePlan, PARAMETERS_FILE};
use crate::atomic_file::{FileError, write_atomically, write_bytes_atomically};
use crate::data::manifest::{MANIFEST_FILE, Manifest};
use crate::simulator::history::write_history;
use crate::simulator::run::{SimulatedLightCone, Universe};

/// A data directory that is being filled.
pub(super) struct Store {
    cubes: PathBuf,
    histories: PathBuf,
    cube_bytes: u64,
}

impl Store {
    /// Creates the directory, or checks that it holds this plan's data base.
    pub(super) fn open(
        plan: &DatabasePlan,
        universe: &Universe,
        directory: &Path,
    ) -> Result<Self, DatabaseError> {
        let store = Self {
            cubes: directory.join("cubes"),
            histories: directory.join("history"),
            cube_bytes: 0,
        };
        for path in [&store.cubes, &store.histories] {
            fs::create_dir_all(path).map_err(FileError::at(path, "creating the directory"))?;
        }
        let manifest = plan.manifest(universe);
        let path = directory.join(MANIFEST_FILE);
        if path.exists() {
            let present = Manifest::read(directory)?;
            if let Some(difference) = difference(&present, &manifest) {
                return Err(DatabaseError::OtherDatabase { path, difference });
            }
        } else {
            manifest.write(directory)?;
        }
        let path = directory.join(PARAMETERS_FILE);
        let wanted = plan.parameters_csv();
        let present = match fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(FileError::at(&path, "reading")(error).into()),
        };
        match present {
            // A longer table holds light-cones beyond those wanted now.
            Some(present) if present.starts_with(&wanted) => {}
            Some(present) if !wanted.starts_with(&present) => {
                let line = present
                    .lines()
                    .zip(wanted.lines())
                    .position(|(a, b)| a != b)
                    .map_or(0, |line| line + 1);
                return Err(DatabaseError::OtherDatabase {
                    path,
                    difference: format!("line {line} has other parameters"),
                });
            }
            _ => write_bytes_atomically(&path, wanted.as_bytes())?,
        }
        Ok(Self {
            cube_bytes: manifest.cube_bytes(),
            ..store
        })
    }

    fn cube(&self, id: &str) -> PathBuf {
        self.cubes.join(format!("{id}.f32"))
    }

    fn history(&self, id: &str) -> PathBuf {
        self.histories.join(format!("{id}.csv"))
    }

    /// Is the light-cone there? The history is written first, so that a cube says it all.
    pub(super) fn is_complete(&self, id: &str) -> Result<bool, DatabaseError> {
        let path = self.cube(id);
        let complete = match fs::metadata(&path) {
            Ok(metadata) => metadata.len() == self.cube_bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(FileError::at(&path, "looking at the file")(error).into()),
        };
        Ok(complete && self.history(id).exists())
    }

    pub(super) fn write(&self, id: &str, cone: &SimulatedLightCone) -> Result<(), DatabaseError> {
        self.remove_leftovers(id)?;
        write_atomically(&self.history(id), |writer| {
            write_history(&cone.history, writer)
        })?;
        write_atomically(&self.cube(id), |writer| {
            use std::io::Write;
            for values in cone.brightness_temperature_mk.chunks(1 << 16) {
                let bytes: Vec<u8> = values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect();
                writer.write_all(&bytes)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Removes what a killed run left half-written of this light-cone.
    fn remove_leftovers(&self, id: &str) -> Result<(), DatabaseError> {
        for (directory, name) in [
            (&self.cubes, format!("{id}.f32.")),
            (&self.histories, format!("{id}.csv.")),
        ] {
            let listing = fs::read_dir(directory).map_err(FileError::at(directory, "listing"))?;
            for entry in listing {
                let entry = entry.map_err(FileError::at(directory, "listing"))?;
                let file = entry.file_name();
                let file = file.to_string_lossy();
                if file.starts_with(&name) && file.ends_with(".tmp") {
                    let path = entry.path();
                    fs::remove_file(&path).map_err(FileError::at(&path, "removing"))?;
                }
            }
        }
        Ok(())
    }
}

/// What the physics or the shape of two manifests disagree in.
fn difference(present: &Manifest, wanted: &Manifest) -> Option<String> {
    let changed = |field: &str, present: String, wanted: String| {
        (present != wanted).then(|| format!("`{field}` is {present} there and {wanted} here"))
    };
    changed(
        "shape",
        format!("{:?}", present.shape),
        format!("{:?}", wanted.shape),
    )
    .or_else(|| {
        changed(
            "cell_mpc",
            present.cell_mpc.to_string(),
            wanted.cell_mpc.to_string(),
        )
    })
    .or_else(|| {
        changed(
            "y_planes",
            format!("{:?}", present.y_planes),
            format!("{:?}", wanted.y_planes),
        )
    })
    .or_else(|| {
        changed(
            "redshift_range",
            format!("{:?}", present.redshift_range),
            format!("{:?}", wanted.redshift_range),
        )
    })
    .or_else(|| {
        let ranges = |manifest: &Manifest| {
            let ranges: Vec<String> = manifest
                .parameters
                .iter()
                .map(|p| format!("{} {} to {}", p.name, p.min, p.max))
                .collect();
            ranges.join(", ")
        };
        changed("parameters", ranges(present), ranges(wanted))
    })
    .or_else(|| {
        changed(
            "cosmology",
            format!("{:?}", present.cosmology),
            format!("{:?}", wanted.cosmology),
        )
    })
    .or_else(|| {
        let here = wanted.simulation.as_ref()?;
        let empty = toml::Table::new();
        let there = present.simulation.as_ref().unwrap_or(&empty);
        let value = |table: &toml::Table, key: &str| {
            table
                .get(key)
                .map_or("absent".to_string(), ToString::to_string)
        };
        // The name of the physics says more than a single choice.
        std::iter::once("physics")
            .chain(here.keys().map(String::as_str))
            .chain(there.keys().map(String::as_str))
            .find_map(|key| changed(key, value(there, key), value(here, key)))
    })
}
