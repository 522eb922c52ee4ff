//! Convolution + bias + ReLU + max-pooling as one stage.
//!
//! The map between convolution and pooling, four times as large as what is kept, is never written: the
//! forward pass keeps the pooled map and one byte a window (the position of the maximum, or [`DEAD`] where
//! the ReLU is 0), and the backward pass expands the pooled gradient while it loads it.
//!
//! [`FusedConvStage`] is one stage on one image, [`ConvStack`] runs several on a mini-batch, image after
//! image, so that what one stage writes is still in the cache when the next one reads it.

mod dropout;
mod generic;
mod layout;
mod stack;

pub use crate::conv2d::fft::analysis::DEAD;
pub use layout::FeatureMap;
pub use stack::{ConvStack, Prepared, StackActivations, StageGradients, StageWeights};

use crate::ShapeError;
use crate::buffer::Buffer;
use crate::conv2d::fft::analysis::{Codes, PooledGradient};
use crate::conv2d::fft::backward::{Backward, Finish};
use crate::conv2d::fft::forward::Forward;
use crate::conv2d::fft::scratch::Scratch;
use crate::conv2d::fft::spectra::{Direction, SpectraLayout, transform_kernels};
use crate::conv2d::fft::synthesis::Epilogue;
use crate::conv2d::fft::{Fft, Map};
use crate::conv2d::plan::{Algorithm, Plan, plan};
use crate::shape::{Conv2dShape, MaxPool2dShape, check_len};
use crate::simd::{Kernel, Level, Pixel, Simd, UNIT};
use generic::{GenericBackward, GenericScratch};

/// What a stage computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StageShape {
    pub(crate) conv: Conv2dShape,
    pub(crate) pool: MaxPool2dShape,
    pub(crate) relu: bool,
}

impl StageShape {
    /// Convolution, bias, ReLU, pooling with windows (rows, columns) that do not overlap; a window of
    /// 1 x 1 is no pooling.
    ///
    /// # Errors
    /// [`ShapeError`] when the window does not fit into the convolution's output or has more than 254
    /// cells.
    pub fn new(conv: Conv2dShape, window: [usize; 2]) -> Result<Self, ShapeError> {
        let pool = MaxPool2dShape::new(conv.output(), window)?;
        if window[0] * window[1] > 254 {
            return Err(ShapeError::Dimension {
                operation: "fused stage",
                detail: format!(
                    "a window of {} x {} has more than 254 cells",
                    window[0], window[1]
                ),
            });
        }
        Ok(Self {
            conv,
            pool,
            relu: true,
        })
    }

    /// The same without ReLU.
    #[must_use]
    pub fn without_relu(self) -> Self {
        Self {
            relu: false,
            ..self
        }
    }

    /// The map that the stage reads.
    #[must_use]
    pub fn input(&self) -> FeatureMap {
        FeatureMap::new([self.conv.in_channels, self.conv.height, self.conv.width])
    }

    /// The map that the stage makes.
    #[must_use]
    pub fn output(&self) -> FeatureMap {
        FeatureMap::new(self.pool.output())
    }

    /// The convolution.
    #[must_use]
    pub fn conv(&self) -> &Conv2dShape {
        &self.conv
    }
}

/// How a stage is to be computed.
#[derive(Debug, Clone, Copy)]
pub struct StageOptions {
    /// Vector instructions to use.
    pub level: Level,
    /// Algorithm to use instead of the planned one.
    pub algorithm: Option<Algorithm>,
    /// The gradient of the stage's input will be wanted: always, except in the first stage.
    pub input_gradient: bool,
}

/// One stage, planned.
#[derive(Debug, Clone)]
pub struct FusedConvStage {
    shape: StageShape,
    options: StageOptions,
    plan: Plan,
    fft: Option<Fft>,
}

/// Weights of one stage in the form that its algorithm reads.
#[derive(Debug)]
struct PreparedStage {
    weight: Vec<f32>,
    bias: Vec<f32>,
    bias_pixels: Vec<Pixel>,
    forward: Buffer,
    backward: Option<Buffer>,
    layouts: Option<[SpectraLayout; 2]>,
}

/// Scratch of one thread for one stage.
#[derive(Debug, Default)]
struct StageScratch {
    fft: Scratch,
    generic: GenericScratch,
    pixels: Vec<Pixel>,
    bias: Vec<Pixel>,
    taps: Vec<f32>,
}

impl FusedConvStage {
    /// Plans a stage.
    ///
    /// # Errors
    /// [`ShapeError`] when an algorithm is forced that cannot compute the shape.
    pub fn new(shape: StageShape, options: StageOptions) -> Result<Self, ShapeError> {
        let plan = plan(&shape.conv, &shape.pool, options.level, options.algorithm)?;
        let fft = plan.tiling().map(|tiling| {
            let single = shape.conv.in_channels == 1 && !options.input_gradient;
            Fft::new(shape.conv, shape.pool, tiling, single)
        });
        Ok(Self {
            shape,
            options,
            plan,
            fft,
        })
    }

    /// What the stage computes.
    #[must_use]
    pub fn shape(&self) -> &StageShape {
        &self.shape
    }

    /// How, and why so.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The stage reads one channel as it is, so that a plane needs no conversion.
    fn reads_plane(&self) -> bool {
        self.fft.as_ref().is_some_and(Fft::is_single)
    }

    fn prepare(
        &self,
        weights: &StageWeights<'_>,
        training: bool,
    ) -> Result<PreparedStage, ShapeError> {
        let conv = &self.shape.conv;
        check_len(
            "fused stage",
            "weight",
            conv.weight_len(),
            weights.weight.len(),
        )?;
        check_len("fused stage", "bias", conv.bias_len(), weights.bias.len())?;
        let mut bias_pixels = vec![[0.0; UNIT]; conv.out_channels.div_ceil(UNIT)];
        for (o, &bias) in weights.bias.iter().enumerate() {
            bias_pixels[o / UNIT][o % UNIT] = bias;
        }
        let mut prepared = PreparedStage {
            weight: weights.weight.to_vec(),
            bias: weights.bias.to_vec(),
            bias_pixels,
            forward: Buffer::default(),
            backward: None,
            layouts: None,
        };
        if let Some(fft) = &self.fft {
            let lanes = self.options.level.lanes();
            let layouts = [Direction::Forward, Direction::InputGradient]
                .map(|direction| fft.spectra_layout(direction, lanes));
            prepared.layouts = Some(layouts);
            prepared.forward = self.spectra(fft, Direction::Forward, layouts[0], weights.weight)?;
            if training && self.options.input_gradient {
                let direction = Direction::InputGradient;
                prepared.backward =
                    Some(self.spectra(fft, direction, layouts[1], weights.weight)?);
            }
        }
        Ok(prepared)
    }

    fn spectra(
        &self,
        fft: &Fft,
        direction: Direction,
        layout: SpectraLayout,
        weight: &[f32],
    ) -> Result<Buffer, ShapeError> {
        let mut buffer = Buffer::default();
        buffer.reserve::<f32>(layout.len())?;
        self.options.level.run(Prepare {
            fft,
            direction,
            layout,
            weight,
            spectra: buffer.slice(layout.len()),
        });
        Ok(buffer)
    }

    /// Forward pass of one image.
    fn forward(
        &self,
        prepared: &PreparedStage,
        input: Map<'_>,
        values: &mut [Pixel],
        codes: &mut [Codes],
        scratch: &mut StageScratch,
    ) -> Result<(), ShapeError> {
        let StageScratch {
            fft: fft_scratch,
            generic,
            pixels,
            ..
        } = scratch;
        let Some(fft) = &self.fft else {
            let input = self.as_pixels(input, pixels);
            let (weight, bias) = (&prepared.weight, &prepared.bias);
            return generic::forward(&self.shape, input, weight, bias, values, codes, generic);
        };
        let input = if self.reads_plane() {
            input
        } else {
            Map::Pixels(self.as_pixels(input, pixels))
        };
        self.options.level.run(Forward {
            fft,
            spectra: prepared
                .forward
                .as_slice(prepared.layouts.map_or(0, |l| l[0].len())),
            input,
            epilogue: Epilogue {
                bias: &prepared.bias_pixels,
                relu: self.shape.relu,
                values,
                codes,
            },
            scratch: fft_scratch,
        })
    }

    fn as_pixels<'a>(&self, input: Map<'a>, pixels: &'a mut Vec<Pixel>) -> &'a [Pixel] {
        match input {
            Map::Pixels(map) => map,
            Map::Plane(plane) => {
                let map = self.shape.input();
                pixels.resize(map.pixels(), [0.0; UNIT]);
                map.read_planar(plane, pixels);
                pixels
            }
        }
    }

    /// Starts the gradients of a chunk of images.
    fn begin(&self, scratch: &mut StageScratch) {
        let conv = &self.shape.conv;
        scratch.bias.clear();
        scratch
            .bias
            .resize(conv.out_channels.div_ceil(UNIT), [0.0; UNIT]);
        if self.fft.is_none() {
            scratch.taps.clear();
            scratch.taps.resize(conv.weight_len(), 0.0);
        }
    }

    /// Adds the gradients of one image of a chunk.
    fn backward(
        &self,
        prepared: &PreparedStage,
        first: bool,
        input: Map<'_>,
        gradient: PooledGradient<'_>,
        input_gradient: Option<&mut [Pixel]>,
        scratch: &mut StageScratch,
    ) -> Result<(), ShapeError> {
        let StageScratch {
            fft: fft_scratch,
            generic,
            pixels,
            bias,
            taps,
        } = scratch;
        let Some(fft) = &self.fft else {
            let arguments = GenericBackward {
                shape: &self.shape,
                input: self.as_pixels(input, pixels),
                weight: &prepared.weight,
                gradient: gradient.values,
                codes: gradient.codes,
                input_gradient,
                weight_gradient: taps,
                bias_gradient: &mut bias.as_flattened_mut()[..self.shape.conv.out_channels],
            };
            return generic::backward(arguments, generic);
        };
        let input = if self.reads_plane() {
            input
        } else {
            Map::Pixels(self.as_pixels(input, pixels))
        };
        let spectra = prepared
            .backward
            .as_ref()
            .map(|b| b.as_slice(prepared.layouts.map_or(0, |l| l[1].len())));
        self.options.level.run(Backward {
            fft,
            input,
            gradient,
            input_gradient: input_gradient.zip(spectra),
            bias,
            scratch: fft_scratch,
            first,
        })
    }

    /// The gradients of a chunk: weight (O,C,R,S), then bias (O).
    fn finish(&self, scratch: &mut StageScratch) -> Vec<f32> {
        let conv = &self.shape.conv;
        let mut gradients = vec![0.0; conv.weight_len() + conv.bias_len()];
        let (weight, bias) = gradients.split_at_mut(conv.weight_len());
        match &self.fft {
            Some(fft) => self.options.level.run(Finish {
                fft,
                weight,
                scratch: &mut scratch.fft,
            }),
            None => weight.copy_from_slice(&scratch.taps),
        }
        bias.copy_from_slice(&scratch.bias.as_flattened()[..conv.out_channels]);
        gradients
    }
}

/// Transforms of the kernels at a level.
struct Prepare<'a> {
    fft: &'a Fft,
    direction: Direction,
    layout: SpectraLayout,
    weight: &'a [f32],
    spectra: &'a mut [f32],
}

impl<S: Simd> Kernel<S> for Prepare<'_> {
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
