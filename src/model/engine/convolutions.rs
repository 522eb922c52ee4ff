//! A segment of fused convolution stages, with the dense layer that reads their features.

use dawn21_kernels::ShapeError;
use dawn21_kernels::dropout::MaskKey;
use dawn21_kernels::stage::{
    ConvStack, Prepared, StackActivations, StageGradients, StageShape, StageWeights,
};

use super::Purpose;
use super::dense_head::DenseHead;
use super::learned::Learned;
use super::segments::all_finite;
use crate::model::activations::Mode;
use crate::model::execution::Execution;
use crate::model::parameters::Tensor;

/// Convolution stages in a row.
#[derive(Debug)]
pub(super) struct Convolutions {
    execution: Execution,
    stack: ConvStack,
    /// Weight and bias of each stage.
    learned: Vec<[Learned; 2]>,
    head: Option<DenseHead>,
    /// (N,C,H,W), where the segment is not the first one.
    pub(super) input: Vec<f32>,
    kept: StackActivations,
    /// Weights in the form that the stages read; made at the first pass after they changed.
    prepared: Option<Prepared>,
    /// Features (N, internal layout) of inference.
    features: Vec<f32>,
    feature_gradient: Vec<f32>,
}

impl Convolutions {
    pub(super) fn new(
        stages: Vec<StageShape>,
        head: Option<DenseHead>,
        execution: Execution,
        input_gradient: bool,
    ) -> Result<Self, ShapeError> {
        let plan = match input_gradient {
            true => ConvStack::with_input_gradient,
            false => ConvStack::new,
        };
        let stack = plan(&stages, execution.level, execution.convolution.algorithm())?;
        let learned = stages
            .iter()
            .map(|stage| [stage.conv().weight_len(), stage.conv().bias_len()].map(Learned::zeros))
            .collect();
        Ok(Self {
            execution,
            stack,
            learned,
            head,
            input: Vec::new(),
            kept: StackActivations::default(),
            prepared: None,
            features: Vec::new(),
            feature_gradient: Vec::new(),
        })
    }

    pub(super) fn plans(&self) -> impl Iterator<Item = String> {
        self.stack.plans().map(ToString::to_string)
    }

    pub(super) fn tensor_count(&self) -> usize {
        2 * (self.learned.len() + usize::from(self.head.is_some()))
    }

    pub(super) fn load(
        &mut self,
        tensors: &[Tensor<f32>],
        mean_squares: Option<&[Vec<f32>]>,
    ) -> Result<(), ShapeError> {
        for (i, learned) in self.learned.as_flattened_mut().iter_mut().enumerate() {
            learned.values.copy_from_slice(&tensors[i].values);
            learned.mean_square = mean_squares.map_or(Vec::new(), |all| all[i].clone());
        }
        self.prepared = None;
        let first = 2 * self.learned.len();
        match &mut self.head {
            Some(head) => head.load(&tensors[first..], mean_squares.map(|all| &all[first..])),
            None => Ok(()),
        }
    }

    pub(super) fn store(&self, tensors: &mut [Tensor<f32>]) -> Result<(), ShapeError> {
        for (learned, tensor) in self.learned.as_flattened().iter().zip(&mut *tensors) {
            tensor.values.copy_from_slice(&learned.values);
        }
        match &self.head {
            Some(head) => head.store(&mut tensors[2 * self.learned.len()..]),
            None => Ok(()),
        }
    }

    pub(super) fn mean_squares(&self) -> Result<Vec<Vec<f32>>, ShapeError> {
        let learned = self.learned.as_flattened().iter();
        let mut all: Vec<Vec<f32>> = learned.map(|l| l.mean_square.clone()).collect();
        if let Some(head) = &self.head {
            all.extend(head.mean_squares()?);
        }
        Ok(all)
    }

    /// Every tensor, those of the dense layer too.
    pub(super) fn for_each_learned(&mut self, mut visit: impl FnMut(&mut Learned)) {
        let stages = self.learned.as_flattened_mut().iter_mut();
        let head = self.head.iter_mut().flat_map(DenseHead::learned_mut);
        stages.chain(head).for_each(&mut visit);
    }

    /// To be called when the weights have changed.
    pub(super) fn forget_prepared(&mut self) {
        self.prepared = None;
    }

    pub(super) fn has_mean_squares(&self) -> bool {
        self.learned
            .iter()
            .all(|[weight, _]| !weight.mean_square.is_empty())
    }

    pub(super) fn has_average(&self) -> bool {
        self.learned
            .iter()
            .any(|[weight, _]| !weight.average.is_empty())
    }

    pub(super) fn is_finite(&self) -> bool {
        self.learned.as_flattened().iter().all(all_finite)
            && self.head.as_ref().is_none_or(DenseHead::is_finite)
    }

    fn prepare(&mut self, training: bool) -> Result<(), ShapeError> {
        let ready = self.prepared.as_ref();
        if ready.is_none_or(|prepared| training && !prepared.for_training()) {
            let weights: Vec<StageWeights<'_>> = self
                .learned
                .iter()
                .map(|[weight, bias]| StageWeights {
                    weight: &weight.values,
                    bias: &bias.values,
                })
                .collect();
            self.prepared = Some(self.stack.prepare(&weights, training)?);
        }
        Ok(())
    }

    pub(super) fn forward(
        &mut self,
        input: Option<&[f32]>,
        output: &mut Vec<f32>,
        mode: Mode,
    ) -> Result<(), ShapeError> {
        self.prepare(true)?;
        let x = input.unwrap_or(&self.input);
        if let Some(prepared) = &self.prepared {
            self.stack.forward(prepared, x, &mut self.kept)?;
        }
        if let (Some((rate, layer)), Mode::Training { seed, step }) = (self.dropout(), mode) {
            let key = MaskKey { seed, layer, step };
            self.stack
                .drop_out(&mut self.kept, self.execution.level, key, rate)?;
        }
        self.finish(self.kept.features(), output)
    }

    pub(super) fn infer(
        &mut self,
        input: Option<&[f32]>,
        output: &mut Vec<f32>,
    ) -> Result<(), ShapeError> {
        self.prepare(false)?;
        let x = input.unwrap_or(&self.input);
        let images = x.len() / self.stack.input().planar_len();
        let len = images * self.stack.output().internal_len();
        self.features.resize(len, 0.0);
        if let Some(prepared) = &self.prepared {
            self.stack.infer(prepared, x, &mut self.features)?;
        }
        self.finish(&self.features, output)
    }

    pub(super) fn has_head(&self) -> bool {
        self.head.is_some()
    }

    fn dropout(&self) -> Option<(f64, u64)> {
        self.head.as_ref().and_then(DenseHead::dropout)
    }

    /// From features to the output of the segment.
    fn finish(&self, features: &[f32], output: &mut Vec<f32>) -> Result<(), ShapeError> {
        let map = self.stack.output();
        let images = features.len() / map.internal_len();
        match &self.head {
            Some(head) => {
                output.resize(images * head.outputs(), 0.0);
                head.forward(self.execution.level, features, output)
            }
            None => {
                output.resize(images * map.planar_len(), 0.0);
                map.to_planar(features, output)
            }
        }
    }

    pub(super) fn backward(
        &mut self,
        input: Option<&[f32]>,
        dy: &[f32],
        dx: Option<&mut Vec<f32>>,
        purpose: &mut Purpose<'_>,
        first_tensor: usize,
    ) -> Result<(), ShapeError> {
        let map = self.stack.output();
        let features = self.kept.features();
        self.feature_gradient.resize(features.len(), 0.0);
        match &mut self.head {
            Some(head) => {
                let first = first_tensor + 2 * self.learned.len();
                let level = self.execution.level;
                head.backward(
                    level,
                    features,
                    dy,
                    &mut self.feature_gradient,
                    purpose,
                    first,
                )?;
            }
            None => map.to_internal(dy, &mut self.feature_gradient)?,
        }
        let x = input.unwrap_or(&self.input);
        let dx = dx.map(|dx| {
            dx.resize(x.len(), 0.0);
            &mut dx[..]
        });
        let mut gradients: Vec<[Vec<f32>; 2]> = self
            .learned
            .iter()
            .map(|pair| {
                pair.each_ref()
                    .map(|learned| vec![0.0; learned.values.len()])
            })
            .collect();
        let mut targets: Vec<StageGradients<'_>> = gradients
            .iter_mut()
            .map(|[weight, bias]| StageGradients { weight, bias })
            .collect();
        if let Some(prepared) = &self.prepared {
            self.stack.backward(
                prepared,
                x,
                &self.kept,
                &self.feature_gradient,
                &mut targets,
                dx,
            )?;
        }
        let gradients = gradients.as_flattened();
        match purpose {
            Purpose::Learn(optimizer) => {
                self.prepared = None;
                let learned = self.learned.as_flattened_mut().iter_mut();
                for (learned, gradient) in learned.zip(gradients) {
                    learned.step(optimizer, gradient)?;
                }
            }
            Purpose::Observe(all) => {
                let tensors = &mut all.trainable[first_tensor..];
                for (tensor, gradient) in tensors.iter_mut().zip(gradients) {
                    tensor.values.copy_from_slice(gradient);
                }
            }
        }
        Ok(())
    }
}
