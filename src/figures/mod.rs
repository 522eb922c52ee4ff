//! Figures, as PNG and SVG.

pub mod light_cone;
mod sketch;
