//! Forward and backward pass of a network.
//!
//! The layers are compiled into stages (`stages.rs`); a stage reads one buffer of the
//! [activations](super::activations) and writes the next, or works in place.

use dawn21_kernels::batch_norm::{self, Affine, BatchNormGradients, BatchStatistics};
use dawn21_kernels::conv2d::{self, Conv2dGradients};
use dawn21_kernels::dense::{self, DenseGradients};
use dawn21_kernels::dropout::{self, MaskKey};
use dawn21_kernels::{Float, ShapeError, max_pool2d, relu};

use super::activations::{Activations, Mode};
use super::architecture::Architecture;
use super::conv_relu_pool;
use super::parameters::{Parameters, Tensor};
use super::stages::{self, Operation, Stage};

/// A network ready to run, without its parameters.
#[derive(Debug, Clone)]
pub struct Network {
    architecture: Architecture,
    pub(super) stages: Vec<Stage>,
    /// Values per image of every buffer.
    buffer_lens: Vec<usize>,
    /// A fault put into the backward pass, to see the audit find it.
    #[cfg(test)]
    pub(crate) sabotage: Option<Sabotage>,
}

/// Faults that a backward kernel could have.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sabotage {
    /// A trainable tensor's gradient is multiplied by this: -1 is a wrong sign, 0.5 a missing factor.
    Factor { tensor: usize, factor: f64 },
    /// Gradients of pooled maps go to the cell after the maximum.
    ArgmaxOffByOne,
}

impl Network {
    /// Compiles an architecture.
    #[must_use]
    pub fn new(architecture: Architecture) -> Self {
        Self::compile(architecture, true)
    }

    /// As [`Network::new`] but with every layer a stage of its own: computes the same, in more memory.
    /// For tests and audits of single layers.
    #[must_use]
    pub fn unfused(architecture: Architecture) -> Self {
        Self::compile(architecture, false)
    }

    fn compile(architecture: Architecture, fuse: bool) -> Self {
        let (stages, buffer_lens) = stages::compile(&architecture, fuse);
        Self {
            architecture,
            stages,
            buffer_lens,
            #[cfg(test)]
            sabotage: None,
        }
    }

    /// The layers.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Cells of an input image.
    #[must_use]
    pub fn image_len(&self) -> usize {
        self.buffer_lens[0]
    }

    /// Memory for forward and backward passes, to be filled through [`Activations::input_mut`].
    #[must_use]
    pub fn activations<T: Float>(&self) -> Activations<T> {
        Activations {
            batch: 0,
            mode: Mode::Inference,
            buffers: vec![Vec::new(); self.buffer_lens.len()],
            argmax: vec![Vec::new(); self.stages.len()],
            statistics: vec![None; self.stages.len()],
            gradient: Vec::new(),
            next_gradient: Vec::new(),
        }
    }

    /// Computes the output (N,P) for the input (N,1,H,W) in `activations`.
    ///
    /// The parameters are not changed: running averages move in
    /// [`Network::update_running_statistics`].
    ///
    /// # Errors
    /// [`ShapeError`] when the input is not a whole number of images or `parameters` are not this
    /// network's.
    pub fn forward<T: Float>(
        &self,
        parameters: &Parameters<T>,
        activations: &mut Activations<T>,
        mode: Mode,
    ) -> Result<(), ShapeError> {
        let batch = activations.buffers[0].len() / self.image_len();
        if batch * self.image_len() != activations.buffers[0].len() {
            return Err(ShapeError::Length {
                operation: "network forward",
                argument: "input",
                expected: (batch + 1) * self.image_len(),
                found: activations.buffers[0].len(),
            });
        }
        activations.batch = batch;
        activations.mode = mode;
        for (buffer, len) in activations
            .buffers
            .iter_mut()
            .zip(&self.buffer_lens)
            .skip(1)
        {
            buffer.resize(batch * len, T::ZERO);
        }
        for index in 0..self.stages.len() {
            self.forward_stage(index, parameters, activations)?;
        }
        Ok(())
    }

    fn forward_stage<T: Float>(
        &self,
        index: usize,
        parameters: &Parameters<T>,
        activations: &mut Activations<T>,
    ) -> Result<(), ShapeError> {
        let stage = self.stages[index];
        let mode = activations.mode;
        let (before, after) = activations.buffers.split_at_mut(stage.output);
        let y = &mut after[0];
        let x: &[T] = if stage.input < stage.output {
            &before[stage.input]
        } else {
            &[]
        };
        match stage.operation {
            Operation::ConvReluPool { conv, pool, weight } => {
                let argmax = &mut activations.argmax[index];
                argmax.resize(y.len(), 0);
                let [weight, bias] = pair(&parameters.trainable, weight)?;
                conv_relu_pool::forward(&conv, &pool, x, weight, bias, y, argmax)
            }
            Operation::Conv2d { shape, weight } => {
                let [weight, bias] = pair(&parameters.trainable, weight)?;
                conv2d::forward(&shape, x, weight, bias, y)
            }
            Operation::MaxPool2d(shape) => {
                let argmax = &mut activations.argmax[index];
                argmax.resize(y.len(), 0);
                max_pool2d::forward(&shape, x, y, argmax)
            }
            Operation::Relu => {
                relu::forward_in_place(y);
                Ok(())
            }
            Operation::Dropout {
                rate,
                layer,
                features,
            } => match mode {
                Mode::Training { seed, step } => {
                    dropout::apply_mask(MaskKey { seed, layer, step }, rate, features, y)
                }
                Mode::Statistics | Mode::Inference => Ok(()),
            },
            Operation::Dense { shape, weight } => {
                let [weight, bias] = pair(&parameters.trainable, weight)?;
                dense::forward(&shape, x, weight, bias, y)
            }
            Operation::BatchNorm {
                shape,
                epsilon,
                weight,
                running_mean,
                ..
            } => {
                let [gamma, beta] = pair(&parameters.trainable, weight)?;
                let affine = Affine {
                    gamma,
                    beta,
                    epsilon,
                };
                if mode != Mode::Inference {
                    let statistics = BatchStatistics::of(&shape, x)?;
                    let (mean, variance) = (&statistics.mean, &statistics.variance);
                    batch_norm::forward(&shape, x, mean, variance, affine, y)?;
                    activations.statistics[index] = Some(statistics);
                    Ok(())
                } else {
                    let [mean, variance] = pair(&parameters.buffers, running_mean)?;
                    batch_norm::forward(&shape, x, mean, variance, affine, y)
                }
            }
        }
    }

    /// Gradients of all trainable tensors, given the gradient of the loss with respect to the output
    /// ([`Activations::output_and_gradient_mut`]), for the last forward pass and its mode.
    ///
    /// `gradients` is overwritten. With `input_gradient`, [`Activations::input_gradient`] holds the
    /// gradient of the input afterwards; otherwise its computation is skipped.
    ///
    /// # Errors
    /// [`ShapeError`] when no forward pass came before or `gradients` are not this network's.
    pub fn backward<T: Float>(
        &self,
        parameters: &Parameters<T>,
        activations: &mut Activations<T>,
        gradients: &mut Parameters<T>,
        input_gradient: bool,
    ) -> Result<(), ShapeError> {
        #[cfg(test)]
        if let Some(Sabotage::ArgmaxOffByOne) = self.sabotage {
            self.shift_argmax(activations);
        }
        for index in (0..self.stages.len()).rev() {
            // The first stages need the gradient of the input only on request.
            let wanted = input_gradient || self.stages[index].input > 0;
            self.backward_stage(index, parameters, activations, gradients, wanted)?;
        }
        #[cfg(test)]
        if let Some(Sabotage::Factor { tensor, factor }) = self.sabotage {
            for value in &mut gradients.trainable[tensor].values {
                *value = *value * T::from_f64(factor);
            }
        }
        Ok(())
    }

    #[cfg(test)]
    fn shift_argmax<T>(&self, activations: &mut Activations<T>) {
        for (stage, argmax) in self.stages.iter().zip(&mut activations.argmax) {
            if let Operation::ConvReluPool { pool, .. } | Operation::MaxPool2d(pool) =
                stage.operation
            {
                let cells = pool.window_len() as u8;
                argmax
                    .iter_mut()
                    .for_each(|position| *position = (*position + 1) % cells);
            }
        }
    }

    fn backward_stage<T: Float>(
        &self,
        index: usize,
        parameters: &Parameters<T>,
        activations: &mut Activations<T>,
        gradients: &mut Parameters<T>,
        input_wanted: bool,
    ) -> Result<(), ShapeError> {
        let stage = self.stages[index];
        let batch = activations.batch;
        let mode = activations.mode;
        let x = &activations.buffers[stage.input];
        let y = &activations.buffers[stage.output];
        let dy = &mut activations.gradient;
        match stage.operation {
            Operation::Relu => return relu::backward_in_place(y, dy),
            Operation::Dropout {
                rate,
                layer,
                features,
            } => {
                if let Mode::Training { seed, step } = mode {
                    dropout::apply_mask(MaskKey { seed, layer, step }, rate, features, dy)?;
                }
                return Ok(());
            }
            _ => {}
        }
        let dx = &mut activations.next_gradient;
        dx.resize(batch * self.buffer_lens[stage.input], T::ZERO);
        let input = input_wanted.then_some(&mut dx[..]);
        match stage.operation {
            Operation::ConvReluPool { conv, pool, weight } => {
                relu::backward_in_place(y, dy)?;
                let [dweight, dbias] = pair_mut(&mut gradients.trainable, weight)?;
                let gradients = Conv2dGradients {
                    input,
                    weight: dweight,
                    bias: dbias,
                };
                let weight = &parameters.trainable[weight].values;
                let argmax = &activations.argmax[index];
                conv_relu_pool::backward(&conv, &pool, x, weight, dy, argmax, gradients)?;
            }
            Operation::Conv2d { shape, weight } => {
                let [dweight, dbias] = pair_mut(&mut gradients.trainable, weight)?;
                let gradients = Conv2dGradients {
                    input,
                    weight: dweight,
                    bias: dbias,
                };
                let weight = &parameters.trainable[weight].values;
                conv2d::backward(&shape, x, weight, dy, gradients)?;
            }
            Operation::MaxPool2d(shape) => {
                max_pool2d::backward(&shape, dy, &activations.argmax[index], dx)?;
            }
            Operation::Dense { shape, weight } => {
                let [dweight, dbias] = pair_mut(&mut gradients.trainable, weight)?;
                let gradients = DenseGradients {
                    input,
                    weight: dweight,
                    bias: dbias,
                };
                let weight = &parameters.trainable[weight].values;
                dense::backward(&shape, x, weight, dy, gradients)?;
            }
            Operation::BatchNorm {
                shape,
                epsilon,
                weight,
                running_mean,
                ..
            } => {
                let [dgamma, dbeta] = pair_mut(&mut gradients.trainable, weight)?;
                let [gamma, beta] = pair(&parameters.trainable, weight)?;
                let affine = Affine {
                    gamma,
                    beta,
                    epsilon,
                };
                let gradients = BatchNormGradients {
                    input: dx,
                    gamma: dgamma,
                    beta: dbeta,
                };
                match (mode, &activations.statistics[index]) {
                    (Mode::Training { .. } | Mode::Statistics, Some(statistics)) => {
                        batch_norm::backward_training(
                            &shape, x, statistics, affine, dy, gradients,
                        )?;
                    }
                    _ => {
                        let statistics = pair(&parameters.buffers, running_mean)?;
                        batch_norm::backward_inference(
                            &shape, x, statistics, affine, dy, gradients,
                        )?;
                    }
                }
            }
            Operation::Relu | Operation::Dropout { .. } => {}
        }
        std::mem::swap(&mut activations.gradient, &mut activations.next_gradient);
        Ok(())
    }

    /// Moves the running averages of all batch normalisations towards the statistics of the last
    /// forward pass; after one in inference mode there are none and nothing changes.
    ///
    /// # Errors
    /// [`ShapeError`] when `parameters` are not this network's.
    pub fn update_running_statistics<T: Float>(
        &self,
        parameters: &mut Parameters<T>,
        activations: &Activations<T>,
    ) -> Result<(), ShapeError> {
        self.move_running_statistics(parameters, activations, None)
    }

    /// Makes the running averages the plain mean over this and `before` earlier mini-batches.
    ///
    /// # Errors
    /// [`ShapeError`] when `parameters` are not this network's.
    pub fn average_running_statistics<T: Float>(
        &self,
        parameters: &mut Parameters<T>,
        activations: &Activations<T>,
        before: usize,
    ) -> Result<(), ShapeError> {
        let momentum = before as f64 / (before + 1) as f64;
        self.move_running_statistics(parameters, activations, Some(momentum))
    }

    /// With the momentum of each layer when none is given.
    fn move_running_statistics<T: Float>(
        &self,
        parameters: &mut Parameters<T>,
        activations: &Activations<T>,
        common_momentum: Option<f64>,
    ) -> Result<(), ShapeError> {
        if activations.mode == Mode::Inference {
            return Ok(());
        }
        for (stage, statistics) in self.stages.iter().zip(&activations.statistics) {
            let (
                Operation::BatchNorm {
                    shape,
                    momentum,
                    running_mean,
                    ..
                },
                Some(statistics),
            ) = (stage.operation, statistics)
            else {
                continue;
            };
            let count = activations.batch * (shape.image_len() / shape.channels());
            let [mean, variance] = pair_mut(&mut parameters.buffers, running_mean)?;
            let momentum = common_momentum.unwrap_or(momentum);
            statistics.update_running(count, momentum, mean, variance)?;
        }
        Ok(())
    }
}

fn missing_tensor(index: usize) -> ShapeError {
    ShapeError::Dimension {
        operation: "network",
        detail: format!("the parameters have no tensor number {index}: they are another network's"),
    }
}

/// Two consecutive tensors: weight and bias, or mean and variance.
fn pair<T>(tensors: &[Tensor<T>], first: usize) -> Result<[&[T]; 2], ShapeError> {
    match tensors.get(first..first + 2) {
        Some([a, b]) => Ok([&a.values, &b.values]),
        _ => Err(missing_tensor(first)),
    }
}

fn pair_mut<T>(tensors: &mut [Tensor<T>], first: usize) -> Result<[&mut [T]; 2], ShapeError> {
    match tensors.get_mut(first..first + 2) {
        Some([a, b]) => Ok([&mut a.values, &mut b.values]),
        _ => Err(missing_tensor(first)),
    }
}
