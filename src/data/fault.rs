//! Everything that can be wrong with a data directory, one message each.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong with a data directory.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    /// A light-cone of the table has no cube.
    #[error("{}: missing, but light-cone `{id}` is in parameters.csv; add the cube or remove the line", path.display())]
    MissingCube {
        /// Where the cube should be.
        path: PathBuf,
        /// Id of the light-cone.
        id: String,
    },
    /// A cube that the operating system does not let us see.
    #[error("{}: {reason}", path.display())]
    UnreadableCube {
        /// The cube.
        path: PathBuf,
        /// Reason given by the operating system.
        reason: String,
    },
    /// A cube that the table does not name.
    #[error("{}: not named in parameters.csv; add its line or remove the cube", path.display())]
    ExtraCube {
        /// The cube.
        path: PathBuf,
    },
    /// A cube of the wrong size.
    #[error(
        "{}: {}, {found} bytes instead of {expected} (shape {shape:?} of f32); copy or simulate it again",
        path.display(),
        if found < expected { "truncated" } else { "oversized" }
    )]
    CubeSize {
        /// The cube.
        path: PathBuf,
        /// Shape in the manifest.
        shape: [usize; 3],
        /// Bytes that the shape asks for.
        expected: u64,
        /// Bytes on disk.
        found: u64,
    },
    /// A cell that is infinite or not a number.
    #[error("{}: cell [{}, {}, {}] is {value}{}; every cell must be finite", path.display(), index[0], index[1], index[2], others(*count))]
    NonFinite {
        /// The cube or image.
        path: PathBuf,
        /// `[x, y, z]` of the first such cell, as stored.
        index: [usize; 3],
        /// Its value.
        value: f32,
        /// How many cells were found in all; 1 when reading stopped at the first.
        count: u64,
    },
    /// A column of the table that is neither `id`, `seed` nor a parameter of the manifest.
    #[error("{}: unknown column `{column}`; expected {expected}", path.display())]
    UnknownColumn {
        /// The table.
        path: PathBuf,
        /// Name in its header.
        column: String,
        /// The names that the manifest allows.
        expected: String,
    },
    /// A column that the table lacks.
    #[error("{}: column `{column}` is missing; expected {expected}", path.display())]
    MissingColumn {
        /// The table.
        path: PathBuf,
        /// Name that is needed.
        column: String,
        /// The names that the manifest asks for.
        expected: String,
    },
    /// A column that the header names twice.
    #[error("{}: column `{column}` appears twice", path.display())]
    DuplicateColumn {
        /// The table.
        path: PathBuf,
        /// Name in its header.
        column: String,
    },
    /// Two lines with one id.
    #[error("{}: line {line}: id `{id}` was used before", path.display())]
    DuplicateId {
        /// The table.
        path: PathBuf,
        /// Line of the second use.
        line: u64,
        /// The id.
        id: String,
    },
    /// An id that cannot be a file name.
    #[error("{}: line {line}: id `{id}`: expected letters, digits, `_`, `-` or `.`, not starting with `.`", path.display())]
    BadId {
        /// The table.
        path: PathBuf,
        /// Its line.
        line: u64,
        /// The id.
        id: String,
    },
    /// A value that is not a finite number.
    #[error("{}: line {line}: `{column}` is `{text}`, expected a finite number", path.display())]
    NotANumber {
        /// The table.
        path: PathBuf,
        /// Its line.
        line: u64,
        /// Name of the column.
        column: String,
        /// What stands there.
        text: String,
    },
    /// A parameter outside the range of the manifest.
    #[error("{}: line {line}: light-cone `{id}` has `{column}` = {value}, outside [{min}, {max}] of dataset.toml", path.display())]
    OutsideRange {
        /// The table.
        path: PathBuf,
        /// Its line.
        line: u64,
        /// Id of the light-cone.
        id: String,
        /// Name of the parameter.
        column: String,
        /// Its value.
        value: f64,
        /// Lowest value allowed.
        min: f64,
        /// Highest value allowed.
        max: f64,
    },
    /// A table without a single light-cone.
    #[error("{}: no light-cones", path.display())]
    Empty {
        /// The table.
        path: PathBuf,
    },
}

fn others(count: u64) -> String {
    match count {
        0 | 1 => String::new(),
        2 => " (and 1 other cell)".to_string(),
        n => format!(" (and {} other cells)", n - 1),
    }
}

/// Faults printed one a line, the first ones when there are many.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultList(pub Vec<Fault>);

/// Faults printed inside an error message; `dawn21 info` prints all.
const SHOWN: usize = 10;

impl fmt::Display for FaultList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().take(SHOWN).enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "  {fault}")?;
        }
        if self.0.len() > SHOWN {
            write!(f, "\n  ... and {} more", self.0.len() - SHOWN)?;
        }
        Ok(())
    }
}
