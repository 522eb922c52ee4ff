//! The network in the form that trains fastest, in f32.
//!
//! The layers are cut into segments (`segments.rs`): convolutions with their ReLU and pooling become fused
//! stages, together with the dense layer that reads their features, whose gradient and update are one
//! pass over its weights; everything else runs layer by layer as a [`Network`](super::network::Network).
//! Both give the same results but for rounding, and the engine the same bits for any number of threads.
//!
//! Segments own the weights, in the order in which they read them; [`Engine::load`] and
//! [`Engine::parameters`] convert from and to the order of files.

mod convolutions;
mod dense_head;
mod learned;
mod plain;
mod segments;
mod weights;

use dawn21_kernels::ShapeError;
use dawn21_kernels::loss::mean_squared_error;
use dawn21_kernels::rmsprop::RmsProp;

use super::activations::Mode;
use super::architecture::Architecture;
use super::execution::{Execution, ExecutionError};
use super::parameters::Parameters;
use segments::Segment;

/// What a backward pass does with the gradients of the weights.
#[derive(Debug)]
enum Purpose<'a> {
    /// Updates the weights.
    Learn(&'a RmsProp),
    /// Stores them, in the order of files, from this tensor on.
    Observe(&'a mut Parameters<f32>),
}

/// Loss and gradients of a mini-batch.
#[derive(Debug)]
pub struct Gradients {
    /// Mean squared error.
    pub loss: f64,
    /// Gradients of all trainable tensors; the running averages are zeros.
    pub parameters: Parameters<f32>,
    /// Gradient of the input (N,1,H,W), if asked for.
    pub input: Vec<f32>,
}

/// A network ready to train or predict.
#[derive(Debug)]
pub struct Engine {
    architecture: Architecture,
    execution: Execution,
    segments: Vec<Segment>,
    input: Vec<f32>,
    output: Vec<f32>,
    images: usize,
    /// Gradients between segments.
    gradient: Vec<f32>,
    next_gradient: Vec<f32>,
}

impl Engine {
    /// Plans the segments; weights are zeros until they are loaded.
    ///
    /// # Errors
    /// [`ExecutionError`] when the algorithm asked for cannot compute a layer.
    pub fn new(architecture: Architecture, execution: Execution) -> Result<Self, ExecutionError> {
        Self::plan(architecture, execution, false)
    }

    /// As [`Engine::new`], for an engine that also computes the gradient of its input.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn with_input_gradient(
        architecture: Architecture,
        execution: Execution,
    ) -> Result<Self, ExecutionError> {
        Self::plan(architecture, execution, true)
    }

    fn plan(
        architecture: Architecture,
        execution: Execution,
        input_gradient: bool,
    ) -> Result<Self, ExecutionError> {
        let segments =
            segments::compile(&architecture, execution, input_gradient).map_err(|source| {
                ExecutionError::Algorithm {
                    convolution: execution.convolution,
                    source,
                }
            })?;
        Ok(Self {
            architecture,
            execution,
            segments,
            input: Vec::new(),
            output: Vec::new(),
            images: 0,
            gradient: Vec::new(),
            next_gradient: Vec::new(),
        })
    }

    /// The layers.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// How it runs.
    #[must_use]
    pub fn execution(&self) -> Execution {
        self.execution
    }

    /// How each convolution is computed and why so, one line each; none where layers run plainly.
    #[must_use]
    pub fn plans(&self) -> Vec<String> {
        let convolutions = self.segments.iter().filter_map(|segment| match segment {
            Segment::Convolutions(segment) => Some(segment),
            Segment::Plain(_) => None,
        });
        convolutions.flat_map(|segment| segment.plans()).collect()
    }

    /// The input (N,1,H,W), to be filled before a pass; resize it to set the number of images.
    pub fn input_mut(&mut self) -> &mut Vec<f32> {
        match self.segments.first_mut() {
            // A plain network has memory for its input; copying 176 MB a step would be waste.
            Some(Segment::Plain(segment)) => segment.input_mut(),
            _ => &mut self.input,
        }
    }

    /// Outputs (N,P) of the last pass.
    #[must_use]
    pub fn output(&self) -> &[f32] {
        &self.output
    }

    /// The inputs of all dense layers but the first one, of every image of the last pass: 64, 16 and 8 values for
    /// Table 1. The input of the first one are maps, not features.
    #[must_use]
    pub fn features(&self) -> Vec<Vec<f64>> {
        let mut features = vec![Vec::new(); self.images];
        let mut dense_layers = 0;
        for segment in &self.segments {
            let skipped = 1_usize.saturating_sub(dense_layers);
            for inputs in segment.dense_inputs(skipped) {
                let count = inputs.len() / features.len().max(1);
                for (features, inputs) in features.iter_mut().zip(inputs.chunks_exact(count)) {
                    features.extend(inputs.iter().map(|&value| f64::from(value)));
                }
            }
            dense_layers += segment.dense_count();
        }
        features
    }

    /// Predicts the images of [`Engine::input_mut`]: no dropout, running averages.
    ///
    /// # Errors
    /// [`ShapeError`] when the input is not a whole number of images.
    pub fn predict(&mut self) -> Result<&[f32], ShapeError> {
        self.count_images()?;
        for index in 0..self.segments.len() {
            let (segment, input, output) = self.connect(index);
            segment.infer(input, output)?;
        }
        Ok(&self.output)
    }

    /// One step of training on the images of [`Engine::input_mut`] with the scaled `targets` (N,P); `mode`
    /// selects the dropout masks. Returns the loss; weights stay as they were when it is not finite.
    ///
    /// # Errors
    /// [`ShapeError`] when lengths do not fit together or no mean squares were loaded.
    pub fn train_step(
        &mut self,
        targets: &[f32],
        mode: Mode,
        optimizer: &RmsProp,
    ) -> Result<f64, ShapeError> {
        self.check_mean_squares()?;
        let loss = self.forward_and_loss(targets, mode)?;
        if loss.is_finite() {
            self.backward(&mut Purpose::Learn(optimizer), false)?;
        }
        Ok(loss)
    }

    /// Makes the running averages of all normalisations the plain mean of the statistics of this mini-batch
    /// ([`Engine::input_mut`]) and of `before` earlier ones, with the present weights and without dropout.
    ///
    /// # Errors
    /// [`ShapeError`] when the input is not a whole number of images.
    pub fn recalibrate(&mut self, before: usize) -> Result<(), ShapeError> {
        self.count_images()?;
        for index in 0..self.segments.len() {
            let (segment, input, output) = self.connect(index);
            segment.forward(input, output, Mode::Statistics)?;
        }
        for segment in &mut self.segments {
            if let Segment::Plain(segment) = segment {
                segment.average_running_statistics(before)?;
            }
        }
        Ok(())
    }

    /// Loss and gradients on the images of [`Engine::input_mut`], without an update.
    ///
    /// # Errors
    /// [`ShapeError`] when lengths do not fit together, or when the input's gradient is asked of an engine
    /// made without it.
    pub fn gradients(
        &mut self,
        targets: &[f32],
        mode: Mode,
        input_gradient: bool,
    ) -> Result<Gradients, ShapeError> {
        let loss = self.forward_and_loss(targets, mode)?;
        let mut parameters = Parameters::zeros(&self.architecture);
        self.backward(&mut Purpose::Observe(&mut parameters), input_gradient)?;
        let input = match input_gradient {
            true => self.gradient.clone(),
            false => Vec::new(),
        };
        Ok(Gradients {
            loss,
            parameters,
            input,
        })
    }

    fn forward_and_loss(&mut self, targets: &[f32], mode: Mode) -> Result<f64, ShapeError> {
        self.count_images()?;
        for index in 0..self.segments.len() {
            let (segment, input, output) = self.connect(index);
            segment.forward(input, output, mode)?;
        }
        self.gradient.resize(self.output.len(), 0.0);
        mean_squared_error(&self.output, targets, &mut self.gradient)
    }

    /// Goes back through the segments; `gradient` holds that of the output before, and that of the input,
    /// if wanted, afterwards.
    fn backward(
        &mut self,
        purpose: &mut Purpose<'_>,
        input_gradient: bool,
    ) -> Result<(), ShapeError> {
        let mut first_tensor = self.segments.iter().map(|s| s.tensor_counts()[0]).sum();
        for index in (0..self.segments.len()).rev() {
            let (segments, input) = (&mut self.segments, &self.input);
            let segment = &mut segments[index];
            first_tensor -= segment.tensor_counts()[0];
            let dx = if index > 0 || input_gradient {
                Some(&mut self.next_gradient)
            } else {
                None
            };
            segment.backward(
                (index == 0).then_some(&input[..]),
                &self.gradient,
                dx,
                purpose,
                first_tensor,
            )?;
            std::mem::swap(&mut self.gradient, &mut self.next_gradient);
        }
        Ok(())
    }

    fn count_images(&mut self) -> Result<(), ShapeError> {
        let image_len: usize = self.architecture.image().iter().product();
        let found = self.input_mut().len();
        self.images = found / image_len;
        if self.images * image_len != found {
            return Err(ShapeError::Length {
                operation: "network",
                argument: "input",
                expected: (self.images + 1) * image_len,
                found,
            });
        }
        Ok(())
    }

    /// A segment, what it reads (if it does not hold it itself) and where it writes.
    fn connect(&mut self, index: usize) -> (&mut Segment, Option<&[f32]>, &mut Vec<f32>) {
        let (here, later) = self.segments.split_at_mut(index + 1);
        let segment = &mut here[index];
        let input = (index == 0).then_some(&self.input[..]);
        let output = match later.first_mut() {
            Some(next) => next.input_mut(),
            None => &mut self.output,
        };
        (segment, input, output)
    }
}
