//! What an audit found.

use serde::Serialize;

/// One row: a tensor or quantity, how it was checked and how well it agreed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What is checked: a layer, a network, a kernel.
    pub subject: String,
    /// Which tensor or quantity of it.
    pub tensor: String,
    /// Number of values.
    pub values: usize,
    /// Number of them that were compared.
    pub checked: usize,
    /// Number of them set aside because a ReLU or pooling decision flipped at every step.
    pub set_aside: usize,
    /// Largest error, in the measure of the section.
    pub max_error: f64,
    /// Median error.
    pub median_error: f64,
    /// The entry with the largest error: index, value of the engine, value that it is compared with.
    pub worst: Option<WorstEntry>,
    /// What the largest error must stay below.
    pub bound: f64,
}

/// The entry of a tensor with the largest error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WorstEntry {
    /// Index in the row-major tensor.
    pub index: usize,
    /// The engine's value.
    pub analytic: f64,
    /// The value that it is compared with.
    pub numeric: f64,
}

impl Check {
    /// Whether the error is within its bound and something was compared. A NaN fails.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checked > 0 && self.max_error <= self.bound
    }
}

/// A part of the audit, with the meaning of its errors.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Section {
    /// What is compared with what.
    pub title: String,
    /// How errors are measured.
    pub measure: String,
    /// The rows.
    pub checks: Vec<Check>,
}

impl Section {
    /// Whether every check passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(Check::passed)
    }
}

/// A compared entry.
#[derive(Debug, Clone, Copy)]
pub struct Comparison {
    /// Index in the tensor.
    pub index: usize,
    /// The engine's value.
    pub analytic: f64,
    /// The value that it is compared with.
    pub numeric: f64,
    /// Their difference in the measure of the section.
    pub error: f64,
}

/// Summarises comparisons as a row.
#[must_use]
pub fn summarize(
    subject: &str,
    tensor: &str,
    values: usize,
    set_aside: usize,
    comparisons: &[Comparison],
    bound: f64,
) -> Check {
    let mut errors: Vec<f64> = comparisons.iter().map(|c| c.error).collect();
    errors.sort_by(f64::total_cmp);
    let worst = comparisons
        .iter()
        .max_by(|a, b| a.error.total_cmp(&b.error));
    Check {
        subject: subject.to_string(),
        tensor: tensor.to_string(),
        values,
        checked: comparisons.len(),
        set_aside,
        max_error: errors.last().copied().unwrap_or(0.0),
        median_error: errors.get(errors.len() / 2).copied().unwrap_or(0.0),
        worst: worst.map(|c| WorstEntry {
            index: c.index,
            analytic: c.analytic,
            numeric: c.numeric,
        }),
        bound,
    }
}
