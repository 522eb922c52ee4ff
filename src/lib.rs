//! dawn21 reads the first billion years of the Universe out of 21-cm images.
//!
//! Modules depend on each other downwards only, in the order below from last to first; a test reads
//! their `use` lines and fails when one points up.

pub mod atomic_file;
pub mod digest;
pub mod run_directory;
pub mod shell;
pub mod tensor_file;

pub mod data;
pub mod model;
pub mod simulator;

pub mod evaluation;
pub mod training;

pub mod audit;

pub mod figures;

pub mod cli;
