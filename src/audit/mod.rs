//! The audit: every gradient against finite differences, every f32 kernel against f64.
//!
//! Each check gives a row with what was compared, its largest error and the bound that it must keep.

pub mod adjoint;
pub mod derivative;
pub mod engine;
mod fused_kernels;
pub mod gradients;
pub mod layers;
pub mod optimizer;
pub mod precision;
pub mod report;
