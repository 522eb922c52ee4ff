//! A network that answers: where it has [`Symmetries`], with the mean of its answers to all views of an image.
//!
//! A network learns the symmetries of its images but roughly: edges, pooling and dense layers treat rows unlike. The
//! mean over views that are equally likely has them, and is never worse in squared error than the answers to these
//! views are on average (the error is convex).

use dawn21_kernels::ShapeError;
use rayon::prelude::*;

use super::engine::Engine;
use crate::data::symmetry::{Symmetries, Symmetry};

/// What turns images into outputs.
pub trait Predict {
    /// The images (N,1,H,W), to be filled before [`Predict::predict`]; resize it to set their number.
    fn input_mut(&mut self) -> &mut Vec<f32>;

    /// The outputs (N,P) for the images.
    ///
    /// # Errors
    /// [`ShapeError`] when the input is not a whole number of images.
    fn predict(&mut self) -> Result<&[f32], ShapeError>;
}

impl Predict for Engine {
    fn input_mut(&mut self) -> &mut Vec<f32> {
        self.input_mut()
    }

    fn predict(&mut self) -> Result<&[f32], ShapeError> {
        self.predict()
    }
}

/// An engine with the views that it is asked about.
#[derive(Debug)]
pub struct Inference {
    engine: Engine,
    symmetries: Symmetries,
    /// The images as they are; the engine's own input where there is no other view.
    images: Vec<f32>,
    /// Means over the views; the engine's own output where there is one.
    output: Vec<f32>,
}

impl Inference {
    /// Answers of `engine`, each the mean over `symmetries`.
    #[must_use]
    pub fn new(engine: Engine, symmetries: Symmetries) -> Self {
        Self {
            engine,
            symmetries,
            images: Vec::new(),
            output: Vec::new(),
        }
    }

    /// Rows and columns of an image.
    #[must_use]
    pub fn image(&self) -> [usize; 2] {
        self.engine.architecture().image()
    }

    /// Outputs (N,P) of the last [`Predict::predict`].
    #[must_use]
    pub fn output(&self) -> &[f32] {
        match self.symmetries.is_none() {
            true => self.engine.output(),
            false => &self.output,
        }
    }

    /// [`Engine::features`] of the images as they are.
    #[must_use]
    pub fn features(&self) -> Vec<Vec<f64>> {
        self.engine.features()
    }

    /// The engine's outputs for one view of all images.
    fn predict_view(&mut self, symmetry: Symmetry) -> Result<&[f32], ShapeError> {
        let [rows, columns] = self.image();
        let input = self.engine.input_mut();
        input.resize(self.images.len(), 0.0);
        let images = self.images.par_chunks_exact(rows * columns);
        images
            .zip(input.par_chunks_exact_mut(rows * columns))
            .for_each(|(image, view)| symmetry.show(image, columns, view));
        self.engine.predict()
    }
}

impl Predict for Inference {
    fn input_mut(&mut self) -> &mut Vec<f32> {
        match self.symmetries.is_none() {
            true => self.engine.input_mut(),
            false => &mut self.images,
        }
    }

    fn predict(&mut self) -> Result<&[f32], ShapeError> {
        if self.symmetries.is_none() {
            return self.engine.predict();
        }
        let [rows, _] = self.image();
        let mut sums: Vec<f64> = Vec::new();
        // The image as it is comes last, so that the engine's features are of it.
        for symmetry in self.symmetries.views(rows) {
            let outputs = self.predict_view(symmetry)?;
            sums.resize(outputs.len(), 0.0);
            let sums = sums.iter_mut().zip(outputs);
            sums.for_each(|(sum, &output)| *sum += f64::from(output));
        }
        let views = self.symmetries.count() as f64;
        self.output.clear();
        let means = sums.iter().map(|sum| (sum / views) as f32);
        self.output.extend(means);
        Ok(&self.output)
    }
}
