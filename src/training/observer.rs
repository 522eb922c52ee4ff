//! What a training tells whoever watches it.

use super::history::EpochRecord;

/// Receives events of a training; all methods may do nothing.
pub trait TrainingObserver {
    /// An epoch begins, or goes on after a resume with `images_done` images.
    fn epoch_started(&mut self, _epoch: u64, _images_done: usize, _images: usize) {}
    /// A step is done; `loss` is the mean of the epoch so far.
    fn step_finished(&mut self, _images_done: usize, _loss: f64) {}
    /// An epoch is complete; `best` when its weights are the best so far.
    fn epoch_finished(&mut self, _record: &EpochRecord, _best: bool) {}
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl TrainingObserver for Silent {}
