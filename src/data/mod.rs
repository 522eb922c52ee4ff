//! Light-cones on disk: the data directory, its validation, images cut from memory-mapped cubes.

pub mod manifest;
