//! dawn21 reads the first billion years of the Universe out of 21-cm images.
//!
//! Modules depend on each other downwards only: `cli` on everything; `figures` on `evaluation`;
//! `evaluation` and `training` on `model` and `data`; `simulator` on `data`'s writers; all of them on
//! the kernels and on [`atomic_file`].

pub mod atomic_file;
pub mod cli;
pub mod data;
pub mod figures;
pub mod simulator;
