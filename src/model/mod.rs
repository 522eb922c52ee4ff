//! The network: its architecture as a list of layers, its parameters, forward and backward pass, files.

pub mod activations;
pub mod architecture;
mod conv_relu_pool;
mod decisions;
pub mod description;
pub mod engine;
pub mod ensemble;
pub mod exchange;
pub mod execution;
mod features;
pub mod inference;
pub mod layer;
pub mod layer_spec;
pub mod model_file;
pub mod network;
pub mod parameters;
mod side_by_side;
mod stages;
pub mod summary;
