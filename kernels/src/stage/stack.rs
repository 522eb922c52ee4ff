//! Several stages on a mini-batch.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::activations::StackActivations;
use super::fused::{FusedConvStage, PreparedStage, StageScratch};
use super::layout::FeatureMap;
use super::{StageOptions, StageShape};
use crate::ShapeError;
use crate::conv2d::map::{Map, ToPlanes};
use crate::conv2d::plan::{Algorithm, Plan};
use crate::conv2d::pooling::{Codes, PooledGradient};
use crate::reduce::{images_per_chunk, sum_in_order};
use crate::shape::{check_len, whole_items};
use crate::simd::{Level, Pixel, UNIT};

/// Weight and bias of one stage.
#[derive(Debug, Clone, Copy)]
pub struct StageWeights<'a> {
    /// (O,C,R,S).
    pub weight: &'a [f32],
    /// (O).
    pub bias: &'a [f32],
}

/// Where the gradients of one stage go; both are overwritten.
#[derive(Debug)]
pub struct StageGradients<'a> {
    /// (O,C,R,S).
    pub weight: &'a mut [f32],
    /// (O).
    pub bias: &'a mut [f32],
}

/// The weights of all stages in the form that the stages read; made once per step.
#[derive(Debug)]
pub struct Prepared {
    stages: Vec<PreparedStage>,
    training: bool,
}

impl Prepared {
    /// Whether a backward pass may follow.
    #[must_use]
    pub fn for_training(&self) -> bool {
        self.training
    }
}

/// Stages that follow each other, and the scratch memory of the threads that run them.
#[derive(Debug)]
pub struct ConvStack {
    stages: Vec<FusedConvStage>,
    level: Level,
    input_gradient: bool,
    scratch: Mutex<Vec<StackScratch>>,
}

/// Scratch of one thread.
#[derive(Debug, Default)]
struct StackScratch {
    stages: Vec<StageScratch>,
    /// Maps between stages: of inference, or gradients.
    maps: [Vec<Pixel>; 2],
    codes: Vec<Codes>,
}

impl ConvStack {
    /// Plans the stages; `algorithm` overrides what the plans choose.
    ///
    /// # Errors
    /// [`ShapeError`] when there is no stage, when one does not read what the one before makes, or when
    /// a forced algorithm cannot compute a shape.
    pub fn new(
        shapes: &[StageShape],
        level: Level,
        algorithm: Option<Algorithm>,
    ) -> Result<Self, ShapeError> {
        Self::plan(shapes, level, algorithm, false)
    }

    /// As [`Self::new`], for a stack that also computes the gradient of its input.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_input_gradient(
        shapes: &[StageShape],
        level: Level,
        algorithm: Option<Algorithm>,
    ) -> Result<Self, ShapeError> {
        Self::plan(shapes, level, algorithm, true)
    }

    fn plan(
        shapes: &[StageShape],
        level: Level,
        algorithm: Option<Algorithm>,
        input_gradient: bool,
    ) -> Result<Self, ShapeError> {
        let error = |detail| ShapeError::Dimension {
            operation: "stack of stages",
            detail,
        };
        if shapes.is_empty() {
            return Err(error("there is no stage".to_owned()));
        }
        for pair in shapes.windows(2) {
            let (made, read) = (pair[0].output().shape(), pair[1].input().shape());
            if made != read {
                return Err(error(format!(
                    "a stage makes {made:?} (C,H,W), the next one reads {read:?}"
                )));
            }
        }
        let stages = shapes
            .iter()
            .enumerate()
            .map(|(i, shape)| {
                let options = StageOptions {
                    level,
                    algorithm,
                    input_gradient: input_gradient || i > 0,
                };
                FusedConvStage::new(*shape, options)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            stages,
            level,
            input_gradient,
            scratch: Mutex::new(Vec::new()),
        })
    }

    /// How each stage is computed, and why so.
    pub fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.stages.iter().map(FusedConvStage::plan)
    }

    /// The map that the first stage reads.
    #[must_use]
    pub fn input(&self) -> FeatureMap {
        self.stages[0].shape.input()
    }

    /// The map that the last stage makes; its layout is that of the features.
    #[must_use]
    pub fn output(&self) -> FeatureMap {
        self.stages[self.stages.len() - 1].shape.output()
    }

    /// Brings the weights into the form that the stages read. Without `training`, what only the
    /// backward pass needs is left out.
    ///
    /// # Errors
    /// [`ShapeError`] when the number of stages or the length of a weight is wrong.
    pub fn prepare(
        &self,
        weights: &[StageWeights<'_>],
        training: bool,
    ) -> Result<Prepared, ShapeError> {
        check_len("prepare", "weights", self.stages.len(), weights.len())?;
        let stages = self
            .stages
            .par_iter()
            .zip(weights)
            .map(|(stage, weights)| stage.prepare(weights, training))
            .collect::<Result<_, _>>()?;
        Ok(Prepared { stages, training })
    }

    /// Forward pass of a mini-batch `x` (N,C,H,W), keeping what the backward pass needs.
    ///
    /// Non-finite input spoils whole tiles of its image: check data where they are read.
    ///
    /// # Errors
    /// [`ShapeError`] names the argument, the expected and the actual length.
    pub fn forward(
        &self,
        prepared: &Prepared,
        x: &[f32],
        activations: &mut StackActivations,
    ) -> Result<(), ShapeError> {
        const NAME: &str = "stack forward";
        let images = whole_items(NAME, "x", self.input().planar_len(), x.len())?;
        check_len(NAME, "prepared", self.stages.len(), prepared.stages.len())?;
        activations.reserve(images, &self.stages)?;
        activations
            .by_image()
            .into_par_iter()
            .zip(x.par_chunks_exact(self.input().planar_len()))
            .try_for_each(|(outputs, image)| {
                self.with_scratch(|scratch| {
                    let mut input = Map::Planes(image);
                    let stages = self.stages.iter().zip(&prepared.stages);
                    for (((stage, prepared), scratch), (values, codes)) in
                        stages.zip(&mut scratch.stages).zip(outputs)
                    {
                        stage.forward(prepared, input, values, codes, scratch)?;
                        input = Map::Pixels(values);
                    }
                    Ok(())
                })
            })
    }

    /// Forward pass that keeps nothing but the features (N, internal layout of [`Self::output`]).
    ///
    /// # Errors
    /// [`ShapeError`] names the argument, the expected and the actual length.
    pub fn infer(
        &self,
        prepared: &Prepared,
        x: &[f32],
        features: &mut [f32],
    ) -> Result<(), ShapeError> {
        const NAME: &str = "stack inference";
        let images = whole_items(NAME, "x", self.input().planar_len(), x.len())?;
        let output_len = self.output().internal_len();
        check_len(NAME, "features", images * output_len, features.len())?;
        check_len(NAME, "prepared", self.stages.len(), prepared.stages.len())?;
        features
            .par_chunks_exact_mut(output_len)
            .zip(x.par_chunks_exact(self.input().planar_len()))
            .try_for_each(|(features, image)| {
                self.with_scratch(|scratch| {
                    let StackScratch {
                        stages,
                        maps,
                        codes,
                    } = scratch;
                    let [mut current, mut next] = maps.each_mut();
                    let mut input = Map::Planes(image);
                    let last = self.stages.len() - 1;
                    let steps = self.stages.iter().zip(&prepared.stages).zip(stages);
                    for (i, ((stage, prepared), scratch)) in steps.enumerate() {
                        let pixels = stage.shape.output().pixels();
                        codes.resize(codes.len().max(pixels), [0; UNIT]);
                        let codes = &mut codes[..pixels];
                        if i == last {
                            let (features, _) = features.as_chunks_mut::<UNIT>();
                            stage.forward(prepared, input, features, codes, scratch)?;
                            break;
                        }
                        next.resize(next.len().max(pixels), [0.0; UNIT]);
                        stage.forward(prepared, input, &mut next[..pixels], codes, scratch)?;
                        std::mem::swap(&mut current, &mut next);
                        input = Map::Pixels(&current[..pixels]);
                    }
                    Ok(())
                })
            })
    }

    /// Gradients of weights and biases, and of `x` if `input_gradient` (N,C,H,W) is given, from that of the
    /// features, after [`Self::forward`] with the same `x` and weights. Bit-identical for any number of
    /// threads.
    ///
    /// # Errors
    /// [`ShapeError`] names the argument, the expected and the actual length, or says that the weights
    /// were not prepared for training or the stack not made [`Self::with_input_gradient`].
    pub fn backward(
        &self,
        prepared: &Prepared,
        x: &[f32],
        activations: &StackActivations,
        feature_gradient: &[f32],
        gradients: &mut [StageGradients<'_>],
        input_gradient: Option<&mut [f32]>,
    ) -> Result<(), ShapeError> {
        const NAME: &str = "stack backward";
        let images = whole_items(NAME, "x", self.input().planar_len(), x.len())?;
        check_len(NAME, "activations", images, activations.images())?;
        activations.check_stages(NAME, &self.stages)?;
        check_len(NAME, "prepared", self.stages.len(), prepared.stages.len())?;
        check_len(NAME, "gradients", self.stages.len(), gradients.len())?;
        let output_len = self.output().internal_len();
        let len = images * output_len;
        check_len(NAME, "feature gradient", len, feature_gradient.len())?;
        if !prepared.training {
            return Err(ShapeError::Dimension {
                operation: NAME,
                detail: "the weights were prepared for inference only".to_owned(),
            });
        }
        let mut partial_len = 0;
        for (stage, gradients) in self.stages.iter().zip(gradients.iter()) {
            let conv = &stage.shape.conv;
            let (weight, bias) = (conv.weight_len(), conv.bias_len());
            check_len(NAME, "weight gradient", weight, gradients.weight.len())?;
            check_len(NAME, "bias gradient", bias, gradients.bias.len())?;
            partial_len += weight + bias;
        }
        let chunk_len = images_per_chunk(images, partial_len);
        let input_len = self.input().planar_len();
        let input_gradients: Vec<Option<&mut [f32]>> = match input_gradient {
            Some(_) if !self.input_gradient => {
                return Err(ShapeError::Dimension {
                    operation: NAME,
                    detail: "the stack was made without input gradient".to_owned(),
                });
            }
            Some(dx) => {
                check_len(NAME, "input gradient", images * input_len, dx.len())?;
                dx.chunks_mut(chunk_len * input_len).map(Some).collect()
            }
            None => (0..images.div_ceil(chunk_len)).map(|_| None).collect(),
        };
        let partials = input_gradients
            .into_par_iter()
            .enumerate()
            .map(|(chunk, mut dx)| {
                self.with_scratch(|scratch| {
                    let first = chunk * chunk_len;
                    let chunk = first..(first + chunk_len).min(images);
                    for (stage, scratch) in self.stages.iter().zip(&mut scratch.stages) {
                        stage.begin(scratch);
                    }
                    for image in chunk {
                        let x = &x[image * input_len..][..input_len];
                        let dx = dx
                            .as_deref_mut()
                            .map(|dx| &mut dx[(image - first) * input_len..][..input_len]);
                        let dy = &feature_gradient[image * output_len..][..output_len];
                        let is_first = image == first;
                        self.backward_image(
                            prepared,
                            is_first,
                            image,
                            x,
                            activations,
                            dy,
                            dx,
                            scratch,
                        )?;
                    }
                    Ok(self
                        .stages
                        .iter()
                        .zip(&mut scratch.stages)
                        .map(|(stage, scratch)| stage.finish(scratch))
                        .collect::<Vec<_>>())
                })
            })
            .collect::<Result<Vec<_>, ShapeError>>()?;
        for (i, gradients) in gradients.iter_mut().enumerate() {
            let weight = gradients.weight.len();
            sum_in_order(
                gradients.weight,
                partials.iter().map(|stages| &stages[i][..weight]),
            );
            sum_in_order(
                gradients.bias,
                partials.iter().map(|stages| &stages[i][weight..]),
            );
        }
        Ok(())
    }

    /// Adds one image to the gradients of its chunk, last stage first.
    #[expect(clippy::too_many_arguments, reason = "one image of `backward`")]
    fn backward_image(
        &self,
        prepared: &Prepared,
        is_first: bool,
        image: usize,
        x: &[f32],
        activations: &StackActivations,
        feature_gradient: &[f32],
        input_gradient: Option<&mut [f32]>,
        scratch: &mut StackScratch,
    ) -> Result<(), ShapeError> {
        let StackScratch { stages, maps, .. } = scratch;
        let [mut current, mut next] = maps.each_mut();
        for i in (0..self.stages.len()).rev() {
            let stage = &self.stages[i];
            let input = match i {
                0 => Map::Planes(x),
                _ => Map::Pixels(activations.image(i - 1, image).0),
            };
            let (_, codes) = activations.image(i, image);
            let values = if i + 1 == self.stages.len() {
                feature_gradient.as_chunks::<UNIT>().0
            } else {
                &current[..codes.len()]
            };
            let gradient = PooledGradient { values, codes };
            let wanted = i > 0 || input_gradient.is_some();
            let dx = if !wanted {
                None
            } else {
                let pixels = stage.shape.input().pixels();
                next.resize(next.len().max(pixels), [0.0; UNIT]);
                Some(&mut next[..pixels])
            };
            stage.backward(
                &prepared.stages[i],
                is_first,
                input,
                gradient,
                dx,
                &mut stages[i],
            )?;
            std::mem::swap(&mut current, &mut next);
        }
        if let Some(dx) = input_gradient {
            let [_, height, width] = self.input().shape();
            self.level.run(ToPlanes {
                pixels: &current[..self.input().pixels()],
                plane: height * width,
                planes: dx,
            });
        }
        Ok(())
    }

    /// Lends the calling thread a scratch, making one when all are in use.
    fn with_scratch<R>(&self, work: impl FnOnce(&mut StackScratch) -> R) -> R {
        let lock = || self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = lock().pop().unwrap_or_default();
        scratch
            .stages
            .resize_with(self.stages.len(), StageScratch::default);
        let result = work(&mut scratch);
        lock().push(scratch);
        result
    }

    /// Fills all scratch memory with NaN, for tests.
    #[doc(hidden)]
    pub fn poison(&self) {
        let mut all = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        for scratch in all.iter_mut() {
            for stage in &mut scratch.stages {
                stage.poison();
            }
            for map in &mut scratch.maps {
                map.fill([f32::NAN; UNIT]);
            }
        }
    }
}
