//! How good a model is: predictions, scores in physical units, their uncertainty, and where they hold.

pub mod bootstrap;
pub mod calibrated;
pub mod calibration;
pub mod cholesky;
pub mod comparison;
pub mod domain;
pub mod feature_space;
pub mod gaussian;
pub mod image_statistics;
pub mod mean_over_runs;
pub mod metrics;
pub mod prediction;
pub mod published;
pub mod recovery;
pub mod residuals;
pub mod results;
pub mod scores;
pub mod sensitivity;
pub mod spread;
