//! Figures of light-cones and runs, as SVG and PNG.

pub mod light_cone;
pub mod loss_curves;
pub mod recovery;
mod sketch;
mod style;

use std::path::{Path, PathBuf};

use crate::atomic_file::{FileError, write_bytes_atomically};

/// Why a figure was not drawn.
#[derive(Debug, thiserror::Error)]
pub enum FigureError {
    /// It could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It could not be drawn.
    #[error("{}: {detail}", path.display())]
    Drawing {
        /// The figure's file.
        path: PathBuf,
        /// Reason.
        detail: String,
    },
}

/// Draws an SVG of `size` pixels and writes it atomically, making its directory if needed.
fn write_svg(
    path: &Path,
    size: (u32, u32),
    draw: impl FnOnce(style::Canvas<'_>) -> Result<(), style::DrawingError>,
) -> Result<(), FigureError> {
    let mut svg = String::new();
    draw(style::canvas(&mut svg, size)).map_err(|error| FigureError::Drawing {
        path: path.to_path_buf(),
        detail: error.to_string(),
    })?;
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .map_err(FileError::at(directory, "creating the directory"))?;
    }
    Ok(write_bytes_atomically(path, svg.as_bytes())?)
}
