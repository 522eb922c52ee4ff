//! The network: its architecture as a list of layers, its parameters, forward and backward pass, files.

pub mod activations;
pub mod architecture;
pub mod exchange;
pub mod layer;
pub mod model_file;
pub mod network;
pub mod parameters;
pub mod summary;
