//! What training keeps of every tensor.

use dawn21_kernels::ShapeError;
use dawn21_kernels::rmsprop::{self, RmsProp};
use rayon::prelude::*;

/// Values of an average that one task moves.
const AVERAGE_TASK: usize = 1 << 16;

/// A tensor that is fitted, the running mean square of its gradients (empty when the engine only
/// predicts), and its average over the steps (empty when none is kept).
#[derive(Debug, Clone, Default)]
pub(super) struct Learned {
    pub(super) values: Vec<f32>,
    pub(super) mean_square: Vec<f32>,
    pub(super) average: Vec<f32>,
}

impl Learned {
    pub(super) fn zeros(len: usize) -> Self {
        Self {
            values: vec![0.0; len],
            ..Self::default()
        }
    }

    pub(super) fn average(&mut self, decay: f32) {
        move_average(&mut self.average, &self.values, decay);
    }

    pub(super) fn swap_average(&mut self) {
        if !self.average.is_empty() {
            std::mem::swap(&mut self.average, &mut self.values);
        }
    }

    pub(super) fn step(&mut self, optimizer: &RmsProp, gradient: &[f32]) -> Result<(), ShapeError> {
        rmsprop::step(optimizer, &mut self.values, gradient, &mut self.mean_square)
    }
}

/// `average = decay average + (1 - decay) values`; an empty average stays empty.
pub(super) fn move_average(average: &mut [f32], values: &[f32], decay: f32) {
    average
        .par_chunks_mut(AVERAGE_TASK)
        .zip(values.par_chunks(AVERAGE_TASK))
        .for_each(|(average, values)| {
            for (average, &value) in average.iter_mut().zip(values) {
                *average += (1.0 - decay) * (value - *average);
            }
        });
}
