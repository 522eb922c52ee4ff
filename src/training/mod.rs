//! Fitting the weights: configuration, schedules, the epoch loop, checkpoints.

pub mod checkpoint;
pub mod config;
pub mod error;
pub mod evaluated_run;
pub mod history;
pub mod observer;
pub mod preparation;
pub mod run_record;
pub mod schedule;
pub mod trainer;
