//! What a forward pass leaves behind for the backward pass.

use dawn21_kernels::Float;
use dawn21_kernels::batch_norm::BatchStatistics;

/// How a forward pass runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Dropout is active, normalisation uses the statistics of the mini-batch.
    Training {
        /// Seed of the run, for the dropout masks.
        seed: u64,
        /// Number of the step, for the dropout masks.
        step: u64,
    },
    /// No dropout, statistics of the mini-batch: to find the running averages that inference needs.
    Statistics,
    /// No dropout, running averages.
    Inference,
}

/// Memory of one mini-batch, kept between steps: nothing is allocated in a step but scratch.
///
/// Element-wise stages (ReLU, dropout) work in place, so a buffer belongs to the stage that computes
/// and to the element-wise ones after it.
#[derive(Debug)]
pub struct Activations<T> {
    /// Number of images.
    pub(super) batch: usize,
    /// How the last forward pass ran.
    pub(super) mode: Mode,
    /// Buffer 0 is the input.
    pub(super) buffers: Vec<Vec<T>>,
    /// Positions of the maxima, per stage (empty where a stage has none).
    pub(super) argmax: Vec<Vec<u8>>,
    /// Statistics of the mini-batch, per stage.
    pub(super) statistics: Vec<Option<BatchStatistics<T>>>,
    /// Gradient with respect to the buffer that the backward pass has reached.
    pub(super) gradient: Vec<T>,
    /// Where the next stage's gradient is written before the two are swapped.
    pub(super) next_gradient: Vec<T>,
}

impl<T: Float> Activations<T> {
    /// The input (N,1,H,W), to be filled before a forward pass; resize it to set the batch.
    ///
    /// A forward pass may change it (dropout of the input), so it is filled anew for every pass.
    pub fn input_mut(&mut self) -> &mut Vec<T> {
        &mut self.buffers[0]
    }

    /// The output (N,P) of the last forward pass.
    #[must_use]
    pub fn output(&self) -> &[T] {
        self.buffers.last().map_or(&[], Vec::as_slice)
    }

    /// Output of the last forward pass, and the gradient of the loss with respect to it, to be filled
    /// before a backward pass.
    pub fn output_and_gradient_mut(&mut self) -> (&[T], &mut [T]) {
        let output = self.buffers.last().map_or(&[][..], Vec::as_slice);
        self.gradient.resize(output.len(), T::ZERO);
        (output, &mut self.gradient)
    }

    /// Gradient with respect to the input (N,1,H,W), after a backward pass that asked for it.
    #[must_use]
    pub fn input_gradient(&self) -> &[T] {
        &self.gradient
    }
}
