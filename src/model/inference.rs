//! A network that answers: where it has [`Symmetries`], with the mean of its answers to all views of an image, and where
//! it is several side by side, with the sum of theirs.
//!
//! A network learns the symmetries of its images but roughly: edges, pooling and dense layers treat rows unlike. The
//! mean over views that are equally likely has them, and is never worse in squared error than the answers to these
//! views are on average (the error is convex).

use dawn21_kernels::ShapeError;
use rayon::prelude::*;

use super::architecture::Architecture;
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

/// Engines with the views that they are asked about.
#[derive(Debug)]
pub struct Inference {
    /// Networks of the same layers whose outputs add up to the answer.
    engines: Vec<Engine>,
    symmetries: Symmetries,
    /// The images as they are; a single engine's own input where there is no other view.
    images: Vec<f32>,
    /// One view of them, which goes from engine to engine.
    view: Vec<f32>,
    /// Means over the views; a single engine's own output where there is one.
    output: Vec<f32>,
}

impl Inference {
    /// Answers that are the sum over `engines`, one or more of the same layers, and the mean over `symmetries`.
    pub(super) fn new(engines: Vec<Engine>, symmetries: Symmetries) -> Self {
        Self {
            engines,
            symmetries,
            images: Vec::new(),
            view: Vec::new(),
            output: Vec::new(),
        }
    }

    /// The engine that does everything alone, where one does.
    fn single(&self) -> Option<&Engine> {
        match &self.engines[..] {
            [engine] if self.symmetries.is_none() => Some(engine),
            _ => None,
        }
    }

    fn architecture(&self) -> &Architecture {
        self.engines[0].architecture()
    }

    /// Number of networks that are computed for one view: members of an ensemble, one by one.
    #[must_use]
    pub fn networks(&self) -> usize {
        self.engines.len()
    }

    /// Rows and columns of an image.
    #[must_use]
    pub fn image(&self) -> [usize; 2] {
        self.architecture().image()
    }

    /// Outputs (N,P) of the last [`Predict::predict`].
    #[must_use]
    pub fn output(&self) -> &[f32] {
        self.single().map_or(&self.output, Engine::output)
    }

    /// [`Engine::features`] of the images as they are, of several engines those of the network in which they stand side
    /// by side: layer by layer.
    #[must_use]
    pub fn features(&self) -> Vec<Vec<f64>> {
        let of_engines: Vec<Vec<Vec<f64>>> = self.engines.iter().map(Engine::features).collect();
        let counts = self.architecture().feature_counts();
        let of_image = |image: usize| {
            let mut features = Vec::new();
            let mut start = 0;
            for count in &counts {
                for of_engine in &of_engines {
                    features.extend_from_slice(&of_engine[image][start..start + count]);
                }
                start += count;
            }
            features
        };
        (0..of_engines[0].len()).map(of_image).collect()
    }

    /// Adds the outputs of all engines for one view of all images to `sums`.
    fn add_view(&mut self, symmetry: Symmetry, sums: &mut Vec<f64>) -> Result<(), ShapeError> {
        let [rows, columns] = self.image();
        for engine in &mut self.engines {
            // Anew for each: an engine may write into its input.
            self.view.resize(self.images.len(), 0.0);
            let images = self.images.par_chunks_exact(rows * columns);
            images
                .zip(self.view.par_chunks_exact_mut(rows * columns))
                .for_each(|(image, view)| symmetry.show(image, columns, view));
            std::mem::swap(&mut self.view, engine.input_mut());
            engine.predict()?;
            std::mem::swap(&mut self.view, engine.input_mut());
            let outputs = engine.output();
            sums.resize(outputs.len(), 0.0);
            let sums = sums.iter_mut().zip(outputs);
            sums.for_each(|(sum, &output)| *sum += f64::from(output));
        }
        Ok(())
    }
}

impl Predict for Inference {
    fn input_mut(&mut self) -> &mut Vec<f32> {
        match self.single().is_some() {
            true => self.engines[0].input_mut(),
            false => &mut self.images,
        }
    }

    fn predict(&mut self) -> Result<&[f32], ShapeError> {
        if self.single().is_some() {
            return self.engines[0].predict();
        }
        let [rows, _] = self.image();
        let mut sums: Vec<f64> = Vec::new();
        // The image as it is comes last, so that the engines' features are of it.
        for symmetry in self.symmetries.views(rows) {
            self.add_view(symmetry, &mut sums)?;
        }
        let views = self.symmetries.count() as f64;
        self.output.clear();
        let means = sums.iter().map(|sum| (sum / views) as f32);
        self.output.extend(means);
        Ok(&self.output)
    }
}
