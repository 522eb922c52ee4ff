//! A segment that runs layer by layer.

use dawn21_kernels::ShapeError;
use dawn21_kernels::rmsprop;

use super::Purpose;
use super::learned::move_average;
use crate::model::activations::{Activations, Mode};
use crate::model::architecture::Architecture;
use crate::model::network::Network;
use crate::model::parameters::{Parameters, Tensor};

/// Layers that no fused kernel computes.
#[derive(Debug)]
pub(super) struct Plain {
    network: Network,
    parameters: Parameters<f32>,
    mean_squares: Vec<Vec<f32>>,
    average: Option<Parameters<f32>>,
    /// Made at the first backward pass.
    gradients: Option<Parameters<f32>>,
    activations: Activations<f32>,
}

impl Plain {
    pub(super) fn new(part: Architecture) -> Self {
        let network = Network::new(part);
        Self {
            parameters: Parameters::zeros(network.architecture()),
            mean_squares: Vec::new(),
            average: None,
            gradients: None,
            activations: network.activations(),
            network,
        }
    }

    pub(super) fn tensor_counts(&self) -> [usize; 2] {
        [
            self.parameters.trainable.len(),
            self.parameters.buffers.len(),
        ]
    }

    pub(super) fn load(
        &mut self,
        trainable: &[Tensor<f32>],
        buffers: &[Tensor<f32>],
        mean_squares: Option<&[Vec<f32>]>,
    ) {
        self.parameters.trainable.clone_from_slice(trainable);
        self.parameters.buffers.clone_from_slice(buffers);
        self.mean_squares = mean_squares.unwrap_or_default().to_vec();
    }

    pub(super) fn store(&self, trainable: &mut [Tensor<f32>], buffers: &mut [Tensor<f32>]) {
        trainable.clone_from_slice(&self.parameters.trainable);
        buffers.clone_from_slice(&self.parameters.buffers);
    }

    pub(super) fn mean_squares(&self) -> &[Vec<f32>] {
        &self.mean_squares
    }

    pub(super) fn dense_count(&self) -> usize {
        self.network.dense_count()
    }

    pub(super) fn dense_inputs(&self, skipped: usize) -> Vec<&[f32]> {
        self.network
            .dense_inputs(&self.activations, skipped)
            .collect()
    }

    pub(super) fn has_mean_squares(&self) -> bool {
        self.mean_squares.len() == self.parameters.trainable.len()
    }

    pub(super) fn has_average(&self) -> bool {
        self.average.is_some()
    }

    pub(super) fn copy_to_average(&mut self) {
        self.average = Some(self.parameters.clone());
    }

    pub(super) fn clear_average(&mut self) {
        self.average = None;
    }

    pub(super) fn update_average(&mut self, decay: f32) {
        if let Some(average) = &mut self.average {
            for (average, tensor) in average.tensors_mut().zip(self.parameters.tensors()) {
                move_average(&mut average.values, &tensor.values, decay);
            }
        }
    }

    pub(super) fn swap_average(&mut self) {
        if let Some(average) = &mut self.average {
            std::mem::swap(average, &mut self.parameters);
        }
    }

    pub(super) fn is_finite(&self) -> bool {
        self.parameters.first_non_finite().is_none()
    }

    pub(super) fn input_mut(&mut self) -> &mut Vec<f32> {
        self.activations.input_mut()
    }

    pub(super) fn forward(&mut self, output: &mut Vec<f32>, mode: Mode) -> Result<(), ShapeError> {
        self.network
            .forward(&self.parameters, &mut self.activations, mode)?;
        output.clear();
        output.extend_from_slice(self.activations.output());
        Ok(())
    }

    /// After a pass in [`Mode::Statistics`].
    pub(super) fn average_running_statistics(&mut self, before: usize) -> Result<(), ShapeError> {
        self.network
            .average_running_statistics(&mut self.parameters, &self.activations, before)
    }

    pub(super) fn backward(
        &mut self,
        dy: &[f32],
        dx: Option<&mut Vec<f32>>,
        purpose: &mut Purpose<'_>,
        first_tensor: usize,
    ) -> Result<(), ShapeError> {
        let (_, gradient) = self.activations.output_and_gradient_mut();
        gradient.copy_from_slice(dy);
        let gradients = self
            .gradients
            .get_or_insert_with(|| Parameters::zeros(self.network.architecture()));
        self.network.backward(
            &self.parameters,
            &mut self.activations,
            gradients,
            dx.is_some(),
        )?;
        if let Some(dx) = dx {
            dx.clear();
            dx.extend_from_slice(self.activations.input_gradient());
        }
        match purpose {
            Purpose::Learn(optimizer) => {
                let moments = self.mean_squares.iter_mut();
                let tensors = self.parameters.trainable.iter_mut();
                for ((tensor, gradient), moments) in tensors.zip(&gradients.trainable).zip(moments)
                {
                    rmsprop::step(optimizer, &mut tensor.values, &gradient.values, moments)?;
                }
                self.network
                    .update_running_statistics(&mut self.parameters, &self.activations)
            }
            Purpose::Observe(all) => {
                let tensors = &mut all.trainable[first_tensor..];
                for (tensor, gradient) in tensors.iter_mut().zip(&gradients.trainable) {
                    tensor.values.copy_from_slice(&gradient.values);
                }
                Ok(())
            }
        }
    }
}
