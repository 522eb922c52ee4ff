//! `dawn21 figures light-cone`: a light-cone as a picture.

use std::path::PathBuf;

use clap::Args;

use crate::figures::light_cone::{LightConeFigureError, LightConePlane};

/// Arguments of `dawn21 figures light-cone`.
#[derive(Debug, Clone, Args)]
pub struct LightConeFigureArguments {
    /// Cube of a data directory, e.g. data/cubes/00000.f32
    pub cube: PathBuf,
    /// Plane of constant y; by default the first stored one
    #[arg(long, value_name = "Y")]
    pub plane: Option<usize>,
    /// Path of the figures without `.png` and `.svg`; by default `light_cone_` and the cube's name, here
    #[arg(long, value_name = "PREFIX")]
    pub out: Option<PathBuf>,
}

/// Runs `dawn21 figures light-cone`; prints the paths of the figures.
///
/// # Errors
/// [`LightConeFigureError`] names the file.
pub fn run(arguments: &LightConeFigureArguments) -> Result<(), LightConeFigureError> {
    let plane = LightConePlane::read(&arguments.cube, arguments.plane)?;
    let prefix = arguments.out.clone().unwrap_or_else(|| {
        let name = arguments.cube.file_stem().unwrap_or_default();
        PathBuf::from(format!("light_cone_{}", name.to_string_lossy()))
    });
    for path in plane.draw(&prefix)? {
        println!("{}", path.display());
    }
    Ok(())
}
