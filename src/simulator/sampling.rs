//! Astrophysical parameters of many light-cones: drawn, or read from a table.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use dawn21_kernels::rng::{Stream, generator, unit_interval};
use rand_xoshiro::rand_core::Rng;

use crate::data::manifest::ParameterDescription;

/// One parameter and the range in which it is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterRange {
    /// Name, a column of `parameters.csv`.
    pub name: &'static str,
    /// Unit.
    pub unit: &'static str,
    /// Symbol.
    pub latex: &'static str,
    /// Lower end.
    pub min: f64,
    /// Upper end.
    pub max: f64,
}

impl ParameterRange {
    /// The parameters and ranges of Gillet et al. 2019, section 2.1.
    pub const PAPER: [Self; 4] = [
        Self {
            name: "log10_tvir",
            unit: "log10 K",
            latex: r"\log_{10} T_{\rm vir}",
            min: 4.0,
            max: 6.0,
        },
        Self {
            name: "zeta",
            unit: "",
            latex: r"\zeta",
            min: 10.0,
            max: 250.0,
        },
        Self {
            name: "log10_lx_sfr",
            unit: "log10 erg s^-1 Msun^-1 yr",
            latex: r"\log_{10} L_X/{\rm SFR}",
            min: 38.0,
            max: 42.0,
        },
        Self {
            name: "e0_kev",
            unit: "keV",
            latex: "E_0",
            min: 0.1,
            max: 1.5,
        },
    ];

    /// The entry of the manifest.
    #[must_use]
    pub fn describe(&self) -> ParameterDescription {
        ParameterDescription {
            name: self.name.to_string(),
            unit: self.unit.to_string(),
            min: self.min,
            max: self.max,
            latex: Some(self.latex.to_string()),
        }
    }
}

/// What makes one light-cone of a data base.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterPoint {
    /// Name of its files.
    pub id: String,
    /// `log10_tvir`, `zeta`, `log10_lx_sfr`, `e0_kev`.
    pub values: [f64; 4],
    /// Seed of its initial conditions.
    pub seed: u64,
}

/// How parameters are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// Independently and uniformly: the first points of a longer list are those of a shorter one.
    Uniform,
    /// One point in each of `count` equal intervals of every parameter (McKay et al. 1979).
    LatinHypercube,
}

/// Parameters and seeds of `count` light-cones.
#[must_use]
pub fn draw(
    sampling: Sampling,
    ranges: &[ParameterRange; 4],
    count: usize,
    seed: u64,
) -> Vec<ParameterPoint> {
    let strata: Option<Vec<Vec<usize>>> = (sampling == Sampling::LatinHypercube).then(|| {
        (0..ranges.len() as u64)
            .map(|parameter| permutation(count, seed, parameter))
            .collect()
    });
    (0..count)
        .map(|i| {
            let mut draws = generator(seed, Stream::AstrophysicalParameters, &[i as u64]);
            let values = std::array::from_fn(|p| {
                let u = unit_interval(draws.next_u64());
                let u = match &strata {
                    None => u,
                    Some(strata) => (strata[p][i] as f64 + u) / count as f64,
                };
                let value = ranges[p].min + u * (ranges[p].max - ranges[p].min);
                // What is stored is what is simulated: six decimals.
                ((value * 1e6).round() / 1e6).clamp(ranges[p].min, ranges[p].max)
            });
            ParameterPoint {
                id: format!("{i:05}"),
                values,
                seed: light_cone_seed(seed, i),
            }
        })
        .collect()
}

/// The seed of light-cone number `i`: 53 bits, which every table format keeps exactly.
fn light_cone_seed(seed: u64, i: usize) -> u64 {
    generator(seed, Stream::InitialConditions, &[i as u64]).next_u64() >> 11
}

/// A permutation of 0..count (Fisher & Yates) for the intervals of one parameter.
fn permutation(count: usize, seed: u64, parameter: u64) -> Vec<usize> {
    let mut draws = generator(
        seed,
        Stream::AstrophysicalParameters,
        &[parameter, u64::MAX],
    );
    let mut order: Vec<usize> = (0..count).collect();
    for i in (1..count).rev() {
        let j = (unit_interval(draws.next_u64()) * (i + 1) as f64) as usize;
        order.swap(i, j.min(i));
    }
    order
}

/// Why a table of parameters cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ParameterTableError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Csv {
        /// The table.
        path: PathBuf,
        /// Reason, with the line.
        source: csv::Error,
    },
    /// A column is missing.
    #[error("{path}: expected a column `{name}`, found {found}")]
    Column {
        /// The table.
        path: PathBuf,
        /// The missing column.
        name: &'static str,
        /// The columns that are there.
        found: String,
    },
    /// A field is not what it should be.
    #[error("{path}, line {line}, column `{column}`: expected {expected}, found `{found}`")]
    Field {
        /// The table.
        path: PathBuf,
        /// Number of the line, from 1.
        line: u64,
        /// The column.
        column: String,
        /// What would be right.
        expected: &'static str,
        /// What is there.
        found: String,
    },
}

/// Reads parameters from a csv with the columns `log10_tvir,zeta,log10_lx_sfr,e0_kev` and optionally `id`
/// and `seed`; without a seed, light-cone `i` gets the one that [`draw`] would give it.
///
/// # Errors
/// [`ParameterTableError`] names the file, the line and the column.
pub fn read_table(
    path: &Path,
    ranges: &[ParameterRange; 4],
    seed: u64,
) -> Result<Vec<ParameterPoint>, ParameterTableError> {
    let csv_error = |source| ParameterTableError::Csv {
        path: path.to_path_buf(),
        source,
    };
    let mut reader = csv::ReaderBuilder::new()
        .comment(Some(b'#'))
        .trim(csv::Trim::All)
        .from_path(path)
        .map_err(csv_error)?;
    let headers = reader.headers().map_err(csv_error)?.clone();
    let column = |name: &str| headers.iter().position(|header| header == name);
    let mut columns = [0; 4];
    for (position, range) in columns.iter_mut().zip(ranges) {
        *position = column(range.name).ok_or_else(|| ParameterTableError::Column {
            path: path.to_path_buf(),
            name: range.name,
            found: headers.iter().collect::<Vec<_>>().join(","),
        })?;
    }
    let (id_column, seed_column) = (column("id"), column("seed"));
    let mut points = Vec::new();
    let mut ids = HashSet::new();
    for (i, record) in reader.records().enumerate() {
        let record = record.map_err(csv_error)?;
        let line = record.position().map_or(0, csv::Position::line);
        let text = |position: usize| record.get(position).unwrap_or("");
        let wrong = |position: usize, expected: &'static str| ParameterTableError::Field {
            path: path.to_path_buf(),
            line,
            column: headers.get(position).unwrap_or("").to_string(),
            expected,
            found: text(position).to_string(),
        };
        let mut values = [0.0; 4];
        for (value, &position) in values.iter_mut().zip(&columns) {
            *value = text(position)
                .parse::<f64>()
                .ok()
                .filter(|value| value.is_finite())
                .ok_or_else(|| wrong(position, "a number"))?;
        }
        let id = match id_column {
            None => format!("{i:05}"),
            Some(position) => {
                let id = text(position);
                let well_formed = !id.is_empty()
                    && id
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
                if !well_formed || !ids.insert(id.to_string()) {
                    return Err(wrong(
                        position,
                        "a name of letters, digits, `_` and `-` that is used once",
                    ));
                }
                id.to_string()
            }
        };
        let seed = match seed_column {
            None => light_cone_seed(seed, i),
            Some(position) => text(position)
                .parse()
                .map_err(|_| wrong(position, "a whole number that is not negative"))?,
        };
        points.push(ParameterPoint { id, values, seed });
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_points_do_not_depend_on_their_number() {
        let ranges = ParameterRange::PAPER;
        let few = draw(Sampling::Uniform, &ranges, 5, 9);
        let many = draw(Sampling::Uniform, &ranges, 50, 9);
        assert_eq!(few, many[..5]);
        assert_ne!(few, draw(Sampling::Uniform, &ranges, 5, 10));
        let seeds: HashSet<u64> = many.iter().map(|point| point.seed).collect();
        assert_eq!(seeds.len(), 50);
        for point in &many {
            for (value, range) in point.values.iter().zip(&ranges) {
                assert!((range.min..=range.max).contains(value));
            }
        }
    }

    #[test]
    fn latin_hypercube_has_one_point_per_interval() {
        let ranges = ParameterRange::PAPER;
        let points = draw(Sampling::LatinHypercube, &ranges, 40, 1);
        for (p, range) in ranges.iter().enumerate() {
            let intervals: HashSet<usize> = points
                .iter()
                .map(|point| {
                    let u = (point.values[p] - range.min) / (range.max - range.min);
                    ((u * 40.0) as usize).min(39)
                })
                .collect();
            assert!(intervals.len() >= 39, "{}: {}", range.name, intervals.len());
        }
    }

    #[test]
    fn table_errors_name_line_and_column() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("p.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("writing");
            read_table(&path, &ParameterRange::PAPER, 1)
        };
        let good = read("zeta,e0_kev,log10_tvir,log10_lx_sfr,seed\n30,0.5,4.7,40,17\n");
        let good = good.expect("a sound table");
        assert_eq!(
            good[0].values.map(|v| v.to_string()),
            ["4.7", "30", "40", "0.5"]
        );
        assert_eq!((good[0].seed, good[0].id.as_str()), (17, "00000"));
        let error = read("zeta,log10_tvir,log10_lx_sfr\n").expect_err("e0_kev is missing");
        assert!(error.to_string().contains("e0_kev"), "{error}");
        let error = read("zeta,e0_kev,log10_tvir,log10_lx_sfr\n30,0.5,warm,40\n")
            .expect_err("not a number");
        let text = error.to_string();
        assert!(
            text.contains("line 2") && text.contains("log10_tvir"),
            "{text}"
        );
        let error = read("id,zeta,e0_kev,log10_tvir,log10_lx_sfr\na,30,0.5,5,40\na,30,0.5,5,40\n")
            .expect_err("the id is used twice");
        assert!(error.to_string().contains("line 3"), "{error}");
    }
}
