//! `split.csv` of a run: the part of each light-cone, and its parameters, by which it is known again in other data.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{IntoDeserializer, value::Error as UnknownName};

use super::DataError;
use super::dataset::Dataset;
use super::parameter_table::LightCone;
use super::split::Part;
use crate::atomic_file::{FileError, write_bytes_atomically};

/// The columns of parameters are called as in `predictions.csv`.
const TRUTH: &str = "_true";

/// The content of `split.csv`: columns `id,part` and `<name>_true` for each parameter. Those of runs of before the
/// parameters were kept have the first two alone.
#[derive(Debug, Clone)]
pub struct SplitTable {
    path: PathBuf,
    /// Names of the parameters.
    names: Vec<String>,
    rows: Vec<(LightCone, Part)>,
}

impl SplitTable {
    /// The table of light-cones and their parts, to be written to `path`.
    #[must_use]
    pub fn new(path: &Path, dataset: &Dataset, parts: &[Part]) -> Self {
        let light_cones = dataset.light_cones().iter().cloned();
        Self {
            path: path.to_path_buf(),
            names: names(dataset).map(str::to_string).collect(),
            rows: light_cones.zip(parts.iter().copied()).collect(),
        }
    }

    /// Writes it atomically to `path`.
    ///
    /// # Errors
    /// [`DataError`] when the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), DataError> {
        let csv_error = |source| DataError::Csv {
            path: path.to_path_buf(),
            source,
        };
        let mut writer = csv::Writer::from_writer(Vec::new());
        let truths = self.names.iter().map(|name| format!("{name}{TRUTH}"));
        let header = ["id", "part"].map(str::to_string).into_iter();
        writer
            .write_record(header.chain(truths))
            .map_err(csv_error)?;
        for (light_cone, part) in &self.rows {
            writer
                .serialize((&light_cone.id, part, &light_cone.parameters))
                .map_err(csv_error)?;
        }
        let bytes = writer
            .into_inner()
            .map_err(|error| csv_error(error.into_error().into()))?;
        Ok(write_bytes_atomically(path, &bytes)?)
    }

    /// Reads it; none when there is no such file.
    ///
    /// # Errors
    /// [`DataError`] names the file, the line and what is wrong.
    pub fn read(path: &Path) -> Result<Option<Self>, DataError> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(FileError::at(path, "reading"))?,
        };
        let csv_error = |source| DataError::Csv {
            path: path.to_path_buf(),
            source,
        };
        let damaged = |what: String| DataError::Split {
            detail: format!(
                "{}: {what}; restore that file, or remove it to have it made again from the settings of the run",
                path.display()
            ),
        };
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let header = reader.headers().map_err(csv_error)?.clone();
        let column = |name: &str| {
            let found = header.iter().position(|field| field == name);
            found.ok_or_else(|| damaged(format!("no column `{name}`")))
        };
        let (id, part) = (column("id")?, column("part")?);
        let truths = header.iter().enumerate();
        let (columns, names): (Vec<usize>, Vec<String>) = truths
            .filter_map(|(column, field)| Some((column, field.strip_suffix(TRUTH)?.to_string())))
            .unzip();
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(csv_error)?;
            let wrong = |column: usize, expected: &str| {
                let line = record.position().map_or(0, csv::Position::line);
                let (name, found) = (&header[column], &record[column]);
                damaged(format!(
                    "line {line}, column {name}: expected {expected}, found `{found}`"
                ))
            };
            let parameters = columns.iter().map(|&column| {
                let value: Result<f64, _> = record[column].parse();
                value.map_err(|_| wrong(column, "a number"))
            });
            let light_cone = LightCone {
                id: record[id].to_string(),
                parameters: parameters.collect::<Result<_, _>>()?,
            };
            let known: Result<Part, UnknownName> =
                Part::deserialize(record[part].into_deserializer());
            let known = known.map_err(|_| wrong(part, "train, validation or test"))?;
            rows.push((light_cone, known));
        }
        Ok(Some(Self {
            path: path.to_path_buf(),
            names,
            rows,
        }))
    }

    /// The part of every light-cone of `dataset`.
    ///
    /// # Errors
    /// [`DataError::Split`] when one is missing.
    pub fn parts_of(&self, dataset: &Dataset) -> Result<Vec<Part>, DataError> {
        let by_id = self.by_id();
        let parts = dataset.light_cones().iter().map(|light_cone| {
            let part = by_id.get(light_cone.id.as_str());
            part.copied().ok_or_else(|| DataError::Split {
                detail: format!(
                    "light-cone `{}` of {} is not in {}; restore that file, or remove it to have it made again from \
                     the settings of the run",
                    light_cone.id,
                    dataset.directory().display(),
                    self.path.display()
                ),
            })
        });
        parts.collect()
    }

    /// Whether two tables divide the same light-cones alike.
    #[must_use]
    pub fn divides_like(&self, other: &Self) -> bool {
        self.by_id() == other.by_id()
    }

    /// Whether it holds the parameters of the light-cones.
    #[must_use]
    pub fn has_parameters(&self) -> bool {
        !self.names.is_empty()
    }

    /// Those of some `light_cones` of `dataset` that have the very parameters of light-cones in some `parts` here: they
    /// are the same ones most likely, though other planes of them make other data. None where the table has not these
    /// parameters.
    #[must_use]
    pub fn known(
        &self,
        dataset: &Dataset,
        light_cones: &[usize],
        parts: &[Part],
    ) -> Option<Vec<usize>> {
        let columns = names(dataset).map(|name| self.names.iter().position(|own| own == name));
        let columns: Vec<usize> = columns.collect::<Option<_>>()?;
        let bits = |values: &mut dyn Iterator<Item = f64>| -> Vec<u64> {
            values.map(f64::to_bits).collect()
        };
        let rows = self.rows.iter().filter(|(_, part)| parts.contains(part));
        let known: HashSet<Vec<u64>> = rows
            .map(|(row, _)| bits(&mut columns.iter().map(|&column| row.parameters[column])))
            .collect();
        let found = light_cones.iter().copied().filter(|&number| {
            let parameters = &dataset.light_cones()[number].parameters;
            known.contains(&bits(&mut parameters.iter().copied()))
        });
        Some(found.collect())
    }

    fn by_id(&self) -> BTreeMap<&str, Part> {
        let rows = self.rows.iter();
        rows.map(|(light_cone, part)| (light_cone.id.as_str(), *part))
            .collect()
    }
}

fn names(dataset: &Dataset) -> impl Iterator<Item = &str> {
    let parameters = dataset.manifest().parameters.iter();
    parameters.map(|parameter| parameter.name.as_str())
}
