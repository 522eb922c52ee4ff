//! `dawn21 figures light-cone`: a light-cone as a picture.

use std::path::PathBuf;

use clap::Args;

use super::CommandError;
use super::output::line;
use crate::figures::light_cone::LightConePlane;

/// Arguments of `dawn21 figures light-cone`.
#[derive(Debug, Clone, Args)]
pub(super) struct LightConeFigureArguments {
    /// Cube of a data directory, e.g. data/cubes/00000.f32
    pub(super) cube: PathBuf,
    /// Plane of constant y; by default the first stored one
    #[arg(long, value_name = "Y")]
    pub(super) plane: Option<usize>,
    /// Path of the figures without `.png` and `.svg`; by default `light_cone_` and the cube's name, here
    #[arg(long, value_name = "PREFIX")]
    pub(super) out: Option<PathBuf>,
}

/// Runs `dawn21 figures light-cone`; prints the paths of the figures.
pub(super) fn run(arguments: &LightConeFigureArguments) -> Result<(), CommandError> {
    let plane = LightConePlane::read(&arguments.cube, arguments.plane)?;
    let prefix = arguments.out.clone().unwrap_or_else(|| {
        let name = arguments.cube.file_stem().unwrap_or_default();
        PathBuf::from(format!("light_cone_{}", name.to_string_lossy()))
    });
    for path in plane.draw(&prefix)? {
        line(path.display())?;
    }
    Ok(())
}
