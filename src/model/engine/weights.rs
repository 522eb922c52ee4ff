//! Weights, their mean squared gradients and averages: into an engine, and out of it as in files.

use dawn21_kernels::ShapeError;

use super::Engine;
use super::segments::Segment;
use crate::model::architecture::Architecture;
use crate::model::parameters::{Parameters, Tensor};

impl Engine {
    /// Takes weights and running averages, and the mean squares of the gradients if it is to train.
    ///
    /// # Errors
    /// [`ShapeError`] when they are another network's.
    pub fn load(
        &mut self,
        parameters: &Parameters<f32>,
        mean_squares: Option<&[Vec<f32>]>,
    ) -> Result<(), ShapeError> {
        check_same_shapes(&self.architecture, parameters, mean_squares)?;
        let (mut trainable, mut buffers) = (0, 0);
        for segment in &mut self.segments {
            let [tensors, averages] = segment.tensor_counts();
            let tensors = trainable..trainable + tensors;
            let averages = buffers..buffers + averages;
            (trainable, buffers) = (tensors.end, averages.end);
            segment.load(
                &parameters.trainable[tensors.clone()],
                &parameters.buffers[averages],
                mean_squares.map(|all| &all[tensors]),
            )?;
        }
        Ok(())
    }

    /// Weights and running averages, as in files.
    ///
    /// # Errors
    /// [`ShapeError`] never, unless the program is at fault.
    pub fn parameters(&self) -> Result<Parameters<f32>, ShapeError> {
        let mut parameters = Parameters::zeros(&self.architecture);
        let (mut trainable, mut buffers) = (0, 0);
        for segment in &self.segments {
            let [tensors, averages] = segment.tensor_counts();
            segment.store(
                &mut parameters.trainable[trainable..trainable + tensors],
                &mut parameters.buffers[buffers..buffers + averages],
            )?;
            (trainable, buffers) = (trainable + tensors, buffers + averages);
        }
        Ok(parameters)
    }

    /// Mean squares of the gradients in the order of the trainable tensors, as in files.
    ///
    /// # Errors
    /// [`ShapeError`] when none were loaded.
    pub fn mean_squares(&self) -> Result<Vec<Vec<f32>>, ShapeError> {
        self.check_mean_squares()?;
        let mut all = Vec::new();
        for segment in &self.segments {
            all.extend(segment.mean_squares()?);
        }
        Ok(all)
    }

    /// Keeps a moving average of weights and running averages from now on, starting at `average`, or stops
    /// to keep one.
    ///
    /// # Errors
    /// [`ShapeError`] when it is another network's.
    pub fn load_average(&mut self, average: Option<&Parameters<f32>>) -> Result<(), ShapeError> {
        let Some(average) = average else {
            self.segments.iter_mut().for_each(Segment::clear_average);
            return Ok(());
        };
        check_same_shapes(&self.architecture, average, None)?;
        let current = self.parameters()?;
        let moments = self.mean_squares_if_any()?;
        self.load(average, None)?;
        self.segments.iter_mut().for_each(Segment::copy_to_average);
        self.load(&current, moments.as_deref())
    }

    /// The average, as in files, if one is kept.
    ///
    /// # Errors
    /// [`ShapeError`] never, unless the program is at fault.
    pub fn average(&mut self) -> Result<Option<Parameters<f32>>, ShapeError> {
        if !self.segments.iter().any(Segment::has_average) {
            return Ok(None);
        }
        self.swap_average();
        let average = self.parameters();
        self.swap_average();
        average.map(Some)
    }

    /// `average = decay average + (1 - decay) weights`, if one is kept.
    pub fn update_average(&mut self, decay: f64) {
        for segment in &mut self.segments {
            segment.update_average(decay as f32);
        }
    }

    /// Exchanges weights and their average, if one is kept: to predict with it.
    pub fn swap_average(&mut self) {
        self.segments.iter_mut().for_each(Segment::swap_average);
    }

    fn has_mean_squares(&self) -> bool {
        self.segments.iter().all(Segment::has_mean_squares)
    }

    pub(super) fn check_mean_squares(&self) -> Result<(), ShapeError> {
        match self.has_mean_squares() {
            true => Ok(()),
            false => Err(ShapeError::Dimension {
                operation: "network",
                detail: "no mean squares of the gradients were loaded".to_string(),
            }),
        }
    }

    fn mean_squares_if_any(&self) -> Result<Option<Vec<Vec<f32>>>, ShapeError> {
        match self.has_mean_squares() {
            true => self.mean_squares().map(Some),
            false => Ok(None),
        }
    }

    /// Name of the first tensor that holds an infinity or NaN.
    #[must_use]
    pub fn first_non_finite(&self) -> Option<String> {
        let sound = self.segments.iter().all(Segment::is_finite);
        // Names are known to the parameters; they are only made when something is wrong.
        let parameters = (!sound).then(|| self.parameters().ok()).flatten()?;
        parameters.first_non_finite().map(str::to_string)
    }
}

/// Fails when tensors are not those of `architecture`.
fn check_same_shapes(
    architecture: &Architecture,
    parameters: &Parameters<f32>,
    mean_squares: Option<&[Vec<f32>]>,
) -> Result<(), ShapeError> {
    let lengths = |tensors: &[Tensor<f32>]| -> Vec<usize> {
        tensors.iter().map(|t| t.values.len()).collect()
    };
    let [trainable, buffers] = architecture.tensor_lengths();
    let moments = mean_squares.map(|all| all.iter().map(Vec::len).collect::<Vec<_>>());
    if lengths(&parameters.trainable) == trainable
        && lengths(&parameters.buffers) == buffers
        && moments.is_none_or(|found| found == trainable)
    {
        return Ok(());
    }
    Err(ShapeError::Dimension {
        operation: "network",
        detail: "the tensors are those of another network".to_string(),
    })
}
