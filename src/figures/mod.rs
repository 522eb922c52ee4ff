//! Figures of light-cones and runs, as SVG and PNG, and the report of a run.

mod colour_map;
mod drawing;
mod encoding;
mod filters;
mod image_figures;
mod label;
pub mod light_cone;
mod light_cones;
mod line_of_sight;
mod loss_curves;
mod palette;
mod panel;
mod paper;
mod raster;
mod recovery;
pub mod report;
mod response;
pub mod run_figures;
pub mod run_material;
mod saliency;
mod strip;
mod svg;
mod tables;

use std::path::{Path, PathBuf};

use dawn21_kernels::ShapeError;

use crate::atomic_file::{FileError, write_bytes_atomically};
use crate::data::DataError;
use crate::evaluation::prediction::PredictionError;
use crate::evaluation::results::ResultsError;
use crate::model::execution::ExecutionError;
use crate::model::model_file::ModelError;
use crate::run_directory::RunDirectoryError;
use crate::training::evaluated_run::EvaluatedRunError;
use crate::training::history::HistoryFileError;
use crate::training::run_record::RunRecordError;
use drawing::Drawing;

pub use image_figures::figures_of_image;

/// Why a figure was not drawn.
#[derive(Debug, thiserror::Error)]
pub enum FigureError {
    /// It could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A picture in it could not be encoded.
    #[error("figure {name}: {source}")]
    Encoding {
        /// The figure.
        name: String,
        /// Reason.
        source: png::EncodingError,
    },
    /// There is no run.
    #[error(transparent)]
    Run(#[from] RunDirectoryError),
    /// The record of the run.
    #[error(transparent)]
    Record(#[from] RunRecordError),
    /// The model of the run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model cannot be run.
    #[error(transparent)]
    Execution(#[from] ExecutionError),
    /// The run has no model yet.
    #[error("{}: missing; no epoch has finished yet, or it was removed", path.display())]
    NoModel {
        /// The model file.
        path: PathBuf,
    },
    /// A run that cannot stand beside another.
    #[error(transparent)]
    Beside(#[from] EvaluatedRunError),
    /// The history of the run.
    #[error(transparent)]
    History(#[from] HistoryFileError),
    /// The results of an evaluation.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// The light-cones.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A prediction.
    #[error(transparent)]
    Prediction(#[from] PredictionError),
    /// An image that is not of the model's size.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

/// A figure with its words.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Name of its file, without `.svg`.
    pub name: String,
    /// What is seen, as HTML.
    pub caption: String,
    /// What is seen, in a sentence for those who cannot see it.
    pub description: String,
    drawing: Drawing,
}

impl Figure {
    /// Writes the figure into `directory`, atomically, making it if needed; returns its path.
    ///
    /// # Errors
    /// [`FigureError`] when it cannot be encoded or written.
    pub fn write(&self, directory: &Path) -> Result<PathBuf, FigureError> {
        std::fs::create_dir_all(directory)
            .map_err(FileError::at(directory, "creating the directory"))?;
        let path = directory.join(format!("{}.svg", self.name));
        let svg = self.drawing.to_svg(&self.description);
        let svg = svg.map_err(|source| self.encoding_error(source))?;
        write_bytes_atomically(&path, svg.as_bytes())?;
        Ok(path)
    }

    /// The figure for a page that has its style, and its width in pixels.
    fn inline(&self) -> Result<(String, f64), FigureError> {
        let svg = self.drawing.to_inline_svg(&self.description);
        let svg = svg.map_err(|source| self.encoding_error(source))?;
        Ok((svg, self.drawing.size()[0]))
    }

    fn encoding_error(&self, source: png::EncodingError) -> FigureError {
        FigureError::Encoding {
            name: self.name.clone(),
            source,
        }
    }
}
