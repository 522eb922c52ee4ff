//! One stage on one image, with whichever algorithm was planned.

use super::{StageOptions, StageShape, StageWeights};
use crate::ShapeError;
use crate::buffer::Buffer;
use crate::conv2d::direct::{self, Direct};
use crate::conv2d::fft::spectra::{Direction, SpectraLayout, transform_kernels};
use crate::conv2d::fft::{self, Fft};
use crate::conv2d::map::{Map, ToPixels};
use crate::conv2d::panels::{self, Panels};
use crate::conv2d::plan::{Algorithm, Plan, plan_stage};
use crate::conv2d::pooling::{Codes, Epilogue, PooledGradient};
use crate::shape::check_len;
use crate::simd::{Kernel, Pixel, Simd, UNIT};

/// One stage, planned.
#[derive(Debug, Clone)]
pub(crate) struct FusedConvStage {
    pub(super) shape: StageShape,
    options: StageOptions,
    plan: Plan,
    engine: Engine,
}

/// The algorithm, set up for the shape.
#[derive(Debug, Clone)]
enum Engine {
    Direct(Direct),
    Panels(Panels),
    Fft(Fft),
}

/// Weights of one stage in the form that its algorithm reads.
#[derive(Debug)]
pub(super) struct PreparedStage {
    made_for: (StageShape, StageOptions),
    bias: Vec<Pixel>,
    weights: PreparedWeights,
}

/// Each with what only the input gradient needs, if that was wanted.
#[derive(Debug)]
enum PreparedWeights {
    Direct {
        packed: Buffer,
        backward: Option<Buffer>,
    },
    Panels(Vec<f32>),
    Fft {
        spectra: Buffer,
        backward: Option<Buffer>,
    },
}

/// Scratch of one thread for one stage.
#[derive(Debug, Default)]
pub(super) struct StageScratch {
    direct: direct::Scratch,
    fft: fft::scratch::Scratch,
    panels: panels::Scratch,
    pixels: Vec<Pixel>,
    bias: Vec<Pixel>,
}

impl StageScratch {
    /// Fills everything with NaN, for tests.
    pub(super) fn poison(&mut self) {
        self.direct.poison();
        self.fft.poison();
        self.panels.poison();
        self.pixels.fill([f32::NAN; UNIT]);
    }
}

impl FusedConvStage {
    /// Plans a stage.
    ///
    /// # Errors
    /// [`ShapeError`] when an algorithm is forced that cannot compute the shape.
    pub(super) fn new(shape: StageShape, options: StageOptions) -> Result<Self, ShapeError> {
        let plan = plan_stage(
            &shape.conv,
            &shape.pool,
            options.level,
            options.algorithm,
            options.input_gradient,
        )?;
        let engine = match (plan.algorithm(), plan.tiling()) {
            (Algorithm::Fft, Some(tiling)) => {
                let single = shape.conv.in_channels == 1 && !options.input_gradient;
                Engine::Fft(Fft::new(shape.conv, shape.pool, tiling, single))
            }
            (Algorithm::Direct, _) => Engine::Direct(Direct::new(
                shape.conv,
                shape.pool,
                options.level,
                options.input_gradient,
            )?),
            _ => Engine::Panels(Panels {
                conv: shape.conv,
                pool: shape.pool,
            }),
        };
        Ok(Self {
            shape,
            options,
            plan,
            engine,
        })
    }

    /// How, and why so.
    #[must_use]
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(super) fn prepare(
        &self,
        weights: &StageWeights<'_>,
        training: bool,
    ) -> Result<PreparedStage, ShapeError> {
        let conv = &self.shape.conv;
        let StageWeights { weight, bias } = weights;
        check_len("fused stage", "weight", conv.weight_len(), weight.len())?;
        check_len("fused stage", "bias", conv.bias_len(), bias.len())?;
        let mut bias_pixels = vec![[0.0; UNIT]; conv.out_channels.div_ceil(UNIT)];
        for (o, &bias) in bias.iter().enumerate() {
            bias_pixels[o / UNIT][o % UNIT] = bias;
        }
        let level = self.options.level;
        let backward = training && self.options.input_gradient;
        let weights = match &self.engine {
            Engine::Direct(direct) => {
                let len = direct::forward::packed_len(direct);
                let mut packed = Buffer::default();
                packed.reserve::<f32>(len)?;
                level.run(direct::forward::Pack {
                    direct,
                    weight,
                    packed: packed.slice(len),
                });
                PreparedWeights::Direct {
                    packed,
                    backward: match backward {
                        true => Some(level.run(direct::backward::Pack { direct, weight })?),
                        false => None,
                    },
                }
            }
            Engine::Panels(_) => PreparedWeights::Panels(weight.to_vec()),
            Engine::Fft(fft) => {
                let backward = match backward {
                    true => Some(self.spectra(fft, Direction::InputGradient, weight)?),
                    false => None,
                };
                PreparedWeights::Fft {
                    spectra: self.spectra(fft, Direction::Forward, weight)?,
                    backward,
                }
            }
        };
        Ok(PreparedStage {
            made_for: (self.shape, self.options),
            bias: bias_pixels,
            weights,
        })
    }

    fn check(&self, prepared: &PreparedStage) -> Result<(), ShapeError> {
        match prepared.made_for == (self.shape, self.options) {
            true => Ok(()),
            false => Err(foreign_weights()),
        }
    }

    fn spectra_layout(&self, fft: &Fft, direction: Direction) -> SpectraLayout {
        fft.spectra_layout(direction, self.options.level.lanes())
    }

    fn spectra(
        &self,
        fft: &Fft,
        direction: Direction,
        weight: &[f32],
    ) -> Result<Buffer, ShapeError> {
        let layout = self.spectra_layout(fft, direction);
        let mut buffer = Buffer::default();
        buffer.reserve::<f32>(layout.len())?;
        self.options.level.run(TransformKernels {
            fft,
            direction,
            layout,
            weight,
            spectra: buffer.slice(layout.len()),
        });
        Ok(buffer)
    }

    /// The map in the layout that the algorithm reads.
    fn adapt<'a>(&self, input: Map<'a>, pixels: &'a mut Vec<Pixel>) -> Map<'a> {
        let reads_planes = match &self.engine {
            Engine::Direct(direct) => direct.reads_planes(),
            Engine::Panels(_) => true,
            Engine::Fft(fft) => fft.is_single(),
        };
        if reads_planes {
            return input;
        }
        Map::Pixels(self.as_pixels(input, pixels))
    }

    fn as_pixels<'a>(&self, input: Map<'a>, pixels: &'a mut Vec<Pixel>) -> &'a [Pixel] {
        match input {
            Map::Pixels(map) => map,
            Map::Planes(planes) => {
                let map = self.shape.input();
                pixels.resize(map.pixels(), [0.0; UNIT]);
                self.options.level.run(ToPixels {
                    planes,
                    plane: self.shape.conv.height * self.shape.conv.width,
                    pixels,
                });
                pixels
            }
        }
    }

    /// Forward pass of one image.
    pub(super) fn forward(
        &self,
        prepared: &PreparedStage,
        input: Map<'_>,
        values: &mut [Pixel],
        codes: &mut [Codes],
        scratch: &mut StageScratch,
    ) -> Result<(), ShapeError> {
        self.check(prepared)?;
        let level = self.options.level;
        let input = self.adapt(input, &mut scratch.pixels);
        let epilogue = Epilogue {
            bias: &prepared.bias,
            relu: self.shape.relu,
            values,
            codes,
        };
        match (&self.engine, &prepared.weights) {
            (Engine::Direct(direct), PreparedWeights::Direct { packed, .. }) => {
                level.run(direct::forward::Forward {
                    direct,
                    weights: packed.as_slice(direct::forward::packed_len(direct)),
                    input,
                    epilogue,
                    line: &mut scratch.direct.line,
                })
            }
            (Engine::Fft(fft), PreparedWeights::Fft { spectra, .. }) => {
                let layout = self.spectra_layout(fft, Direction::Forward);
                level.run(fft::forward::Forward {
                    fft,
                    spectra: spectra.as_slice(layout.len()),
                    input,
                    epilogue,
                    scratch: &mut scratch.fft,
                })
            }
            (Engine::Panels(panels), PreparedWeights::Panels(weight)) => {
                level.run(panels::forward::Forward {
                    panels,
                    weight,
                    input,
                    epilogue,
                    scratch: &mut scratch.panels,
                })
            }
            _ => Err(foreign_weights()),
        }
    }

    /// Starts the gradients of a chunk of images.
    pub(super) fn begin(&self, scratch: &mut StageScratch) {
        let conv = &self.shape.conv;
        scratch.bias.clear();
        scratch
            .bias
            .resize(conv.out_channels.div_ceil(UNIT), [0.0; UNIT]);
    }

    /// Adds the gradients of one image of a chunk.
    pub(super) fn backward(
        &self,
        prepared: &PreparedStage,
        first: bool,
        input: Map<'_>,
        gradient: PooledGradient<'_>,
        input_gradient: Option<&mut [Pixel]>,
        scratch: &mut StageScratch,
    ) -> Result<(), ShapeError> {
        self.check(prepared)?;
        let level = self.options.level;
        let input = self.adapt(input, &mut scratch.pixels);
        let bias = &mut scratch.bias;
        match (&self.engine, &prepared.weights) {
            (Engine::Direct(direct), PreparedWeights::Direct { backward, .. }) => {
                let len = level.run(direct::backward::PackedLen(direct));
                let weights = backward.as_ref().map(|b| b.as_slice(len));
                level.run(direct::backward::Backward {
                    direct,
                    input,
                    gradient,
                    input_gradient: input_gradient.zip(weights),
                    bias,
                    scratch: &mut scratch.direct,
                    first,
                })
            }
            (Engine::Fft(fft), PreparedWeights::Fft { backward, .. }) => {
                let layout = self.spectra_layout(fft, Direction::InputGradient);
                let spectra = backward.as_ref().map(|b| b.as_slice(layout.len()));
                level.run(fft::backward::Backward {
                    fft,
                    input,
                    gradient,
                    input_gradient: input_gradient.zip(spectra),
                    bias,
                    scratch: &mut scratch.fft,
                    first,
                })
            }
            (Engine::Panels(panels), PreparedWeights::Panels(weight)) => {
                level.run(panels::backward::Backward {
                    panels,
                    weight,
                    input,
                    gradient,
                    input_gradient,
                    bias,
                    scratch: &mut scratch.panels,
                    first,
                })
            }
            _ => Err(foreign_weights()),
        }
    }

    /// The gradients of a chunk: weight (O,C,R,S), then bias (O).
    pub(super) fn finish(&self, scratch: &mut StageScratch) -> Vec<f32> {
        let conv = &self.shape.conv;
        let level = self.options.level;
        let mut gradients = vec![0.0; conv.weight_len() + conv.bias_len()];
        let (weight, bias) = gradients.split_at_mut(conv.weight_len());
        match &self.engine {
            Engine::Direct(direct) => level.run(direct::backward::Finish {
                direct,
                weight,
                scratch: &mut scratch.direct,
            }),
            Engine::Panels(_) => weight.copy_from_slice(&scratch.panels.sums),
            Engine::Fft(fft) => level.run(fft::backward::Finish {
                fft,
                weight,
                scratch: &mut scratch.fft,
            }),
        }
        bias.copy_from_slice(&scratch.bias.as_flattened()[..conv.out_channels]);
        gradients
    }
}

/// Weights in a form that this stage does not read.
fn foreign_weights() -> ShapeError {
    ShapeError::Dimension {
        operation: "fused stage",
        detail: "the weights were prepared by a stack of another shape, level or algorithm; prepare them with the stack that uses them"
            .to_owned(),
    }
}

/// Transforms of the kernels at a level.
struct TransformKernels<'a> {
    fft: &'a Fft,
    direction: Direction,
    layout: SpectraLayout,
    weight: &'a [f32],
    spectra: &'a mut [f32],
}

impl<S: Simd> Kernel<S> for TransformKernels<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let Self {
            fft,
            direction,
            layout,
            weight,
            spectra,
        } = self;
        transform_kernels(simd, fft, direction, layout, weight, spectra);
    }
}
