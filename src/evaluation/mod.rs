//! How good a model is: predictions, scores in physical units, their uncertainty.

pub mod bootstrap;
pub mod metrics;
pub mod prediction;
pub mod results;
