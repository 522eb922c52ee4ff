//! `history.csv`: one line an epoch.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::atomic_file::{FileError, write_bytes_atomically};
use crate::data::manifest::ParameterDescription;

/// One epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Number, from 1.
    pub epoch: u64,
    /// Mean loss of its mini-batches.
    pub train_loss: f64,
    /// Loss on the validation set after it.
    pub validation_loss: f64,
    /// R2 of each parameter on the validation set; none where all truths are equal.
    pub validation_r2: Vec<Option<f64>>,
    /// Learning rate of its steps.
    pub learning_rate: f64,
    /// Wall-clock time of training and validation.
    pub seconds: f64,
    /// Training images over training time.
    pub images_per_second: f64,
}

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryFileError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is damaged.
    #[error("{}: {detail}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
}

/// Reads what [`write()`] wrote; no epochs when there is no file yet.
///
/// # Errors
/// [`HistoryFileError`] when the file cannot be read or a field is no number.
pub fn read(path: &Path) -> Result<Vec<EpochRecord>, HistoryFileError> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(FileError::at(path, "reading"))?,
    };
    let content = |detail: String| HistoryFileError::Content {
        path: path.to_path_buf(),
        detail,
    };
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let columns = reader
        .headers()
        .map_err(|error| content(error.to_string()))?
        .clone();
    let mut epochs = Vec::new();
    for (index, row) in reader.records().enumerate() {
        let row = row.map_err(|error| content(error.to_string()))?;
        let number = |name: &str| -> Result<f64, HistoryFileError> {
            let column = columns.iter().position(|column| column == name);
            let field = column.and_then(|column| row.get(column));
            field.and_then(|field| field.parse().ok()).ok_or_else(|| {
                let found = field.unwrap_or("nothing");
                content(format!(
                    "line {}: expected a number as `{name}`, found {found}",
                    index + 2
                ))
            })
        };
        epochs.push(EpochRecord {
            epoch: number("epoch")? as u64,
            train_loss: number("train_loss")?,
            validation_loss: number("validation_loss")?,
            validation_r2: columns
                .iter()
                .zip(&row)
                .filter(|(column, _)| column.starts_with("r2_"))
                .map(|(_, field)| field.parse().ok())
                .collect(),
            learning_rate: number("learning_rate")?,
            seconds: number("seconds")?,
            images_per_second: number("images_per_second")?,
        });
    }
    Ok(epochs)
}

/// Writes all epochs to `path`, atomically.
///
/// # Errors
/// [`FileError`] when the file cannot be written.
pub fn write(
    path: &Path,
    parameters: &[ParameterDescription],
    epochs: &[EpochRecord],
) -> Result<(), FileError> {
    let mut text = String::from("epoch,train_loss,validation_loss");
    for parameter in parameters {
        text.push_str(&format!(",r2_{}", parameter.name));
    }
    text.push_str(",learning_rate,seconds,images_per_second\n");
    for epoch in epochs {
        let EpochRecord {
            epoch: number,
            train_loss,
            validation_loss,
            ..
        } = epoch;
        text.push_str(&format!("{number},{train_loss},{validation_loss}"));
        for r2 in &epoch.validation_r2 {
            text.push_str(&r2.map_or(",".to_string(), |r2| format!(",{r2:.6}")));
        }
        text.push_str(&format!(
            ",{},{:.3},{:.2}\n",
            epoch.learning_rate, epoch.seconds, epoch.images_per_second
        ));
    }
    write_bytes_atomically(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("history.csv");
        assert_eq!(read(&path).expect("no file is no epoch"), []);
        let parameter = ParameterDescription {
            name: "zeta".to_string(),
            unit: String::new(),
            min: 0.0,
            max: 1.0,
            latex: None,
        };
        let epochs = [1, 2].map(|epoch| EpochRecord {
            epoch,
            train_loss: 0.1 / epoch as f64,
            validation_loss: 1.0 / 3.0,
            validation_r2: vec![(epoch == 2).then_some(0.25)],
            learning_rate: 1e-3,
            seconds: 1.5,
            images_per_second: 20.25,
        });
        write(&path, &[parameter], &epochs).expect("written");
        assert_eq!(read(&path).expect("read"), epochs);
        let text = std::fs::read_to_string(&path).expect("text");
        std::fs::write(&path, text.replacen("0.05,", "x,", 1)).expect("damaged");
        let error = read(&path).expect_err("damaged").to_string();
        assert!(
            error.contains("line 3") && error.contains("train_loss"),
            "{error}"
        );
    }
}
