//! `parameters.csv`: the astrophysical parameters of every light-cone.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::DataError;
use super::fault::Fault;
use super::manifest::ParameterDescription;

/// The table's file name.
pub const TABLE_FILE: &str = "parameters.csv";

/// One line of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct LightCone {
    /// Name of its cube, `cubes/<id>.f32`.
    pub id: String,
    /// Its parameters in physical units, in the order of the manifest.
    pub parameters: Vec<f64>,
}

/// What a table holds.
#[derive(Debug)]
pub(super) struct Table {
    /// Lines without a fault.
    pub(super) light_cones: Vec<LightCone>,
    /// Ids of all lines, those with a fault too; none when the header has a fault.
    pub(super) ids: Option<HashSet<String>>,
}

/// Reads `directory/parameters.csv`; every fault is collected, and lines with one are left out.
///
/// Columns may stand in any order. `id` and all `parameters` must be there, `seed` may.
///
/// # Errors
/// [`DataError`] when the file cannot be read or is no csv at all.
pub(super) fn read(
    directory: &Path,
    parameters: &[ParameterDescription],
    faults: &mut Vec<Fault>,
) -> Result<Table, DataError> {
    let path = directory.join(TABLE_FILE);
    let csv_error = |source| DataError::Csv {
        path: path.clone(),
        source,
    };
    let bytes =
        std::fs::read(&path).map_err(crate::atomic_file::FileError::at(&path, "reading"))?;
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(bytes.as_slice());
    let header = reader.headers().map_err(csv_error)?.clone();
    let Some(columns) = Columns::find(&header, parameters, &path, faults) else {
        return Ok(Table {
            light_cones: Vec::new(),
            ids: None,
        });
    };
    let mut ids = HashSet::new();
    let mut light_cones = Vec::new();
    let mut lines = 0;
    for record in reader.records() {
        let record = record.map_err(csv_error)?;
        lines += 1;
        let line = record.position().map_or(0, csv::Position::line);
        let before = faults.len();
        let id = record[columns.id].to_string();
        if !is_file_name(&id) {
            faults.push(Fault::BadId {
                path: path.clone(),
                line,
                id: id.clone(),
            });
        } else if !ids.insert(id.clone()) {
            faults.push(Fault::DuplicateId {
                path: path.clone(),
                line,
                id: id.clone(),
            });
        }
        let values = columns.values(&record, line, &id, parameters, &path, faults);
        if faults.len() == before {
            light_cones.push(LightCone {
                id,
                parameters: values,
            });
        }
    }
    if lines == 0 {
        faults.push(Fault::Empty { path });
    }
    Ok(Table {
        light_cones,
        ids: Some(ids),
    })
}

/// Where the columns stand.
struct Columns {
    id: usize,
    parameters: Vec<usize>,
}

impl Columns {
    fn find(
        header: &csv::StringRecord,
        parameters: &[ParameterDescription],
        path: &Path,
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        let names: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
        let expected = format!("id, {} and optionally seed", names.join(", "));
        let before = faults.len();
        let path: PathBuf = path.to_path_buf();
        for (i, column) in header.iter().enumerate() {
            if column != "id" && column != "seed" && !names.contains(&column) {
                faults.push(Fault::UnknownColumn {
                    path: path.clone(),
                    column: column.to_string(),
                    expected: expected.clone(),
                });
            }
            if header.iter().take(i).any(|other| other == column) {
                faults.push(Fault::DuplicateColumn {
                    path: path.clone(),
                    column: column.to_string(),
                });
            }
        }
        let mut position = |name: &str| {
            let found = header.iter().position(|column| column == name);
            if found.is_none() {
                faults.push(Fault::MissingColumn {
                    path: path.clone(),
                    column: name.to_string(),
                    expected: expected.clone(),
                });
            }
            found
        };
        let id = position("id");
        let parameters: Vec<_> = names.iter().filter_map(|name| position(name)).collect();
        if faults.len() > before {
            return None;
        }
        Some(Self {
            id: id?,
            parameters,
        })
    }

    fn values(
        &self,
        record: &csv::StringRecord,
        line: u64,
        id: &str,
        parameters: &[ParameterDescription],
        path: &Path,
        faults: &mut Vec<Fault>,
    ) -> Vec<f64> {
        let mut values = Vec::with_capacity(parameters.len());
        for (&column, parameter) in self.parameters.iter().zip(parameters) {
            let text = &record[column];
            let name = parameter.name.clone();
            match text.parse::<f64>() {
                Ok(value) if value.is_finite() => {
                    if !(parameter.min..=parameter.max).contains(&value) {
                        faults.push(Fault::OutsideRange {
                            path: path.to_path_buf(),
                            line,
                            id: id.to_string(),
                            column: name,
                            value,
                            min: parameter.min,
                            max: parameter.max,
                        });
                    }
                    values.push(value);
                }
                _ => faults.push(Fault::NotANumber {
                    path: path.to_path_buf(),
                    line,
                    column: name,
                    text: text.to_string(),
                }),
            }
        }
        values
    }
}

/// An id becomes a file name, on any system and never outside `cubes/`.
fn is_file_name(id: &str) -> bool {
    !id.is_empty()
        && !id.starts_with('.')
        && id
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}
