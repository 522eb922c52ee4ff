//! The dense layer after convolution stages: by far the largest tensor of the network.
//!
//! Its weights are stored input-major, in the order in which the stages write their features, so that
//! neither has to be rearranged in a step; gradient and update are one pass over them.

use dawn21_kernels::dense::fused::{self, DenseParameters, InputGradient, WeightGradients};
use dawn21_kernels::simd::Level;
use dawn21_kernels::stage::FeatureMap;
use dawn21_kernels::{DenseShape, ShapeError};

use super::Purpose;
use super::learned::Learned;
use super::segments::all_finite;
use crate::model::parameters::Tensor;

/// Dropout of the features, then a dense layer.
#[derive(Debug)]
pub(super) struct DenseHead {
    /// Inputs are those of the internal layout, including channels that fill up a block.
    shape: DenseShape,
    map: FeatureMap,
    /// Rate, and number of the layer.
    dropout: Option<(f64, u64)>,
    /// `[in][out]`.
    weight: Learned,
    bias: Learned,
}

impl DenseHead {
    /// `None` when the layer is too large for its internal layout to be addressed.
    pub(super) fn new(
        shape: DenseShape,
        map: FeatureMap,
        dropout: Option<(f64, u64)>,
    ) -> Option<Self> {
        let shape = DenseShape::new(map.internal_len(), shape.outputs()).ok()?;
        Some(Self {
            shape,
            map,
            dropout,
            weight: Learned::zeros(shape.weight_len()),
            bias: Learned::zeros(shape.outputs()),
        })
    }

    pub(super) fn dropout(&self) -> Option<(f64, u64)> {
        self.dropout
    }

    pub(super) fn outputs(&self) -> usize {
        self.shape.outputs()
    }

    pub(super) fn load(
        &mut self,
        tensors: &[Tensor<f32>],
        mean_squares: Option<&[Vec<f32>]>,
    ) -> Result<(), ShapeError> {
        let outputs = self.shape.outputs();
        self.map
            .permute_inputs(outputs, &tensors[0].values, &mut self.weight.values)?;
        self.bias.values.copy_from_slice(&tensors[1].values);
        self.weight.mean_square.clear();
        self.bias.mean_square.clear();
        if let Some(mean_squares) = mean_squares {
            let moments = &mut self.weight.mean_square;
            moments.resize(self.shape.weight_len(), 0.0);
            self.map
                .permute_inputs(outputs, &mean_squares[0], moments)?;
            self.bias.mean_square.extend_from_slice(&mean_squares[1]);
        }
        Ok(())
    }

    pub(super) fn store(&self, tensors: &mut [Tensor<f32>]) -> Result<(), ShapeError> {
        let outputs = self.shape.outputs();
        self.map
            .restore_inputs(outputs, &self.weight.values, &mut tensors[0].values)?;
        tensors[1].values.copy_from_slice(&self.bias.values);
        Ok(())
    }

    pub(super) fn mean_squares(&self) -> Result<[Vec<f32>; 2], ShapeError> {
        let outputs = self.shape.outputs();
        let mut weight = vec![0.0; outputs * self.map.planar_len()];
        self.map
            .restore_inputs(outputs, &self.weight.mean_square, &mut weight)?;
        Ok([weight, self.bias.mean_square.clone()])
    }

    pub(super) fn learned_mut(&mut self) -> [&mut Learned; 2] {
        [&mut self.weight, &mut self.bias]
    }

    pub(super) fn is_finite(&self) -> bool {
        all_finite(&self.weight) && all_finite(&self.bias)
    }

    /// `features` (N, internal layout), after dropout, to `y` (N, outputs).
    pub(super) fn forward(
        &self,
        level: Level,
        features: &[f32],
        y: &mut [f32],
    ) -> Result<(), ShapeError> {
        let (weight, bias) = (&self.weight.values, &self.bias.values);
        fused::forward(level, &self.shape, features, weight, bias, y)
    }

    /// Gradients, and the update if that is the purpose; `dx` is that of the features before dropout, but
    /// for those that were dropped, whose gradient is 0.
    pub(super) fn backward(
        &mut self,
        level: Level,
        features: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        purpose: &mut Purpose<'_>,
        first_tensor: usize,
    ) -> Result<(), ShapeError> {
        let rate = self.dropout.map_or(0.0, |(rate, _)| rate);
        let dx = Some(InputGradient {
            values: dx,
            scale: (1.0 / (1.0 - rate)) as f32,
        });
        let shape = &self.shape;
        match purpose {
            Purpose::Learn(optimizer) => {
                let parameters = DenseParameters {
                    weight: &mut self.weight.values,
                    weight_mean_square: &mut self.weight.mean_square,
                    bias: &mut self.bias.values,
                    bias_mean_square: &mut self.bias.mean_square,
                };
                fused::backward_and_update(level, shape, optimizer, features, dy, parameters, dx)
            }
            Purpose::Observe(all) => {
                let mut permuted = vec![0.0; shape.weight_len()];
                let [weight, bias] = &mut all.trainable[first_tensor..first_tensor + 2] else {
                    unreachable!("a slice of two")
                };
                let gradients = WeightGradients {
                    weight: &mut permuted,
                    bias: &mut bias.values,
                };
                let values = &self.weight.values;
                fused::backward(level, shape, features, values, dy, gradients, dx)?;
                let outputs = shape.outputs();
                self.map
                    .restore_inputs(outputs, &permuted, &mut weight.values)
            }
        }
    }
}
