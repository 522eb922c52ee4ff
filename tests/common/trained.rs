//! A run on small data that several test files ask, and what they print, row by row.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;

use super::{small_manifest, succeed, train_arguments, write_small_data};

/// A run, its data, and the directory that they are in.
pub(crate) struct Trained {
    pub(crate) directory: TempDir,
    pub(crate) data: PathBuf,
    pub(crate) run: PathBuf,
}

/// A run on 60 light-cones of three images each, of which every test may read.
pub(crate) fn trained() -> &'static Trained {
    static TRAINED: OnceLock<Trained> = OnceLock::new();
    TRAINED.get_or_init(|| {
        let directory = tempfile::tempdir().expect("temporary directory");
        let data = directory.path().join("data");
        let run = directory.path().join("run");
        write_small_data(&data, &small_manifest(), 60);
        let settings = [
            "--set",
            "training.epochs=25",
            "--set",
            "layer.10.momentum=0.8",
            "--set",
            "split.validation=0.3",
        ];
        succeed(&train_arguments(&data, &run, &settings));
        Trained {
            directory,
            data,
            run,
        }
    })
}

pub(crate) type Row = Vec<(String, String)>;

/// Rows of a csv by the names of its columns; fields may be quoted.
pub(crate) fn rows(csv_text: &str) -> Vec<Row> {
    let mut reader = csv::Reader::from_reader(csv_text.as_bytes());
    let names = reader.headers().expect("a header").clone();
    let records = reader.records().map(|record| record.expect("a row"));
    records
        .map(|record| {
            let fields = names.iter().zip(&record);
            fields
                .map(|(n, v)| (n.to_string(), v.to_string()))
                .collect()
        })
        .collect()
}

pub(crate) fn field<'a>(row: &'a [(String, String)], name: &str) -> &'a str {
    let found = row.iter().find(|(column, _)| column == name);
    &found.unwrap_or_else(|| panic!("no column {name}")).1
}

/// Light-cones of one part of the split, by id.
pub(crate) fn part(run: &Path, wanted: &str) -> Vec<String> {
    let split = fs::read_to_string(run.join("split.csv")).expect("split");
    let rows = rows(&split);
    let of_part = rows.iter().filter(|row| field(row, "part") == wanted);
    of_part.map(|row| field(row, "id").to_string()).collect()
}

pub(crate) fn cube(data: &Path, id: &str) -> PathBuf {
    data.join(format!("cubes/{id}.f32"))
}

/// The plane y = 0 of a cube of the small data.
pub(crate) fn image_of(data: &Path, id: &str) -> Vec<f32> {
    let bytes = fs::read(cube(data, id)).expect("cube");
    let (words, _) = bytes.as_chunks::<4>();
    let cells: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    (0..8)
        .flat_map(|x| cells[x * 6 * 40..][..40].to_vec())
        .collect()
}

pub(crate) fn number_in(row: &[(String, String)], name: &str) -> f64 {
    field(row, name).parse().expect("number")
}
