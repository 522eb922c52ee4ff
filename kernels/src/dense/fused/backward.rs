//! Gradients and update in one pass through the weights.

use rayon::prelude::*;

use super::{pack, vectors};
use crate::ShapeError;
use crate::dense::column_blocks;
use crate::product::{SmallProduct, Strided};
use crate::reduce::sum_in_order;
use crate::rmsprop::{self, RmsProp};
use crate::shape::{DenseShape, check_len, whole_items};
use crate::simd::{Kernel, Level, Simd};

/// Inputs whose gradient and update are made at once: three vectors of 16. Their packed columns of 200
/// rows of `x` are 38 KiB.
const BACKWARD_INPUTS: usize = 48;
/// Inputs of one task of the backward pass, in blocks.
const BLOCKS_PER_TASK: usize = 16;
/// Inputs of one task of the backward pass.
const TASK_INPUTS: usize = BACKWARD_INPUTS * BLOCKS_PER_TASK;

/// What a dense layer learns: weights and the running mean squares of their gradients.
#[derive(Debug)]
pub struct DenseParameters<'a> {
    /// `[K][O]`, input-major.
    pub weight: &'a mut [f32],
    /// As `weight`.
    pub weight_mean_square: &'a mut [f32],
    /// (O).
    pub bias: &'a mut [f32],
    /// (O).
    pub bias_mean_square: &'a mut [f32],
}

/// Where the gradient of the input goes.
#[derive(Debug)]
pub struct InputGradient<'a> {
    /// (N,K), overwritten.
    pub values: &'a mut [f32],
    /// Multiplies every value: the factor of the dropout in front of the layer, whose other half, the
    /// values that it dropped, [`ConvStack::drop_out`](crate::stage::ConvStack::drop_out) takes care of.
    pub scale: f32,
}

/// Gradients of the weights, overwritten.
#[derive(Debug)]
pub struct WeightGradients<'a> {
    /// `[K][O]`, input-major.
    pub weight: &'a mut [f32],
    /// (O).
    pub bias: &'a mut [f32],
}

/// Input gradient, weight and bias gradients, without an update: what [`backward_and_update`] computes on
/// its way.
///
/// # Shapes
/// `x` (N,K); `weight` `[K][O]`; `dy` (N,O).
///
/// # Errors
/// [`ShapeError`] names the argument, the expected and the actual length.
///
/// Rounding: `gamma(O)` for `dx` and `gamma(N)` for `dw`, times the sums of magnitudes.
pub fn backward(
    level: Level,
    shape: &DenseShape,
    x: &[f32],
    weight: &[f32],
    dy: &[f32],
    gradients: WeightGradients<'_>,
    dx: Option<InputGradient<'_>>,
) -> Result<(), ShapeError> {
    const NAME: &str = "fused dense backward";
    check_len(NAME, "weight", shape.weight_len(), weight.len())?;
    let found = gradients.weight.len();
    check_len(NAME, "weight gradient", shape.weight_len(), found)?;
    check_len(NAME, "bias gradient", shape.outputs, gradients.bias.len())?;
    let pass = Pass::new(level, shape, x, dy, dx)?;
    let len = TASK_INPUTS * shape.outputs;
    let blocks = weight
        .par_chunks(len)
        .zip(gradients.weight.par_chunks_mut(len))
        .map(|(weight, gradient)| Block::Gradient { weight, gradient });
    pass.run(blocks);
    sum_in_order(gradients.bias, dy.chunks_exact(shape.outputs));
    Ok(())
}

/// Input gradient with the old weights, weight and bias gradients, and the RMSprop update, in one pass.
///
/// `dx[n,k] = sum_o dy[n,o] w[k][o]`; `dw[k][o] = sum_n x[n,k] dy[n,o]`; `db[o] = sum_n dy[n,o]`; then
/// [`rmsprop::step`] of each.
///
/// # Shapes
/// `x` (N,K); `dy` (N,O); without `dx` its computation is skipped.
///
/// # Errors
/// [`ShapeError`] names the argument, the expected and the actual length.
///
/// Rounding: `gamma(O)` for `dx` and `gamma(N)` for `dw`, times the sums of magnitudes.
pub fn backward_and_update(
    level: Level,
    shape: &DenseShape,
    optimizer: &RmsProp,
    x: &[f32],
    dy: &[f32],
    parameters: DenseParameters<'_>,
    dx: Option<InputGradient<'_>>,
) -> Result<(), ShapeError> {
    const NAME: &str = "fused dense backward";
    let DenseParameters {
        weight,
        weight_mean_square,
        bias,
        bias_mean_square,
    } = parameters;
    let (outputs, weight_len) = (shape.outputs, shape.weight_len());
    check_len(NAME, "weight", weight_len, weight.len())?;
    let moments = weight_mean_square.len();
    check_len(NAME, "weight mean square", weight_len, moments)?;
    check_len(NAME, "bias", outputs, bias.len())?;
    check_len(NAME, "bias mean square", outputs, bias_mean_square.len())?;
    let pass = Pass::new(level, shape, x, dy, dx)?;
    let len = TASK_INPUTS * outputs;
    let blocks = weight
        .par_chunks_mut(len)
        .zip(weight_mean_square.par_chunks_mut(len))
        .map(|(weight, mean_square)| Block::Update {
            optimizer,
            weight,
            mean_square,
        });
    pass.run(blocks);
    let mut gradient = vec![0.0; outputs];
    sum_in_order(&mut gradient, dy.chunks_exact(outputs));
    rmsprop::step(optimizer, bias, &gradient, bias_mean_square)
}

/// One pass through the weights, task by task.
struct Pass<'a> {
    level: Level,
    shape: &'a DenseShape,
    rows: usize,
    x: &'a [f32],
    dy: &'a [f32],
    scale: f32,
    /// One block of columns of `dx` a task.
    dx: Vec<Option<Vec<&'a mut [f32]>>>,
}

impl<'a> Pass<'a> {
    fn new(
        level: Level,
        shape: &'a DenseShape,
        x: &'a [f32],
        dy: &'a [f32],
        dx: Option<InputGradient<'a>>,
    ) -> Result<Self, ShapeError> {
        const NAME: &str = "fused dense backward";
        let rows = whole_items(NAME, "x", shape.inputs, x.len())?;
        check_len(NAME, "dy", rows * shape.outputs, dy.len())?;
        let (scale, dx) = match dx {
            Some(InputGradient { values, scale }) => {
                check_len(NAME, "dx", rows * shape.inputs, values.len())?;
                let blocks = column_blocks(values, shape.inputs, TASK_INPUTS);
                let blocks = blocks.into_iter().map(|block| Some(block.rows));
                (scale, blocks.collect())
            }
            None => {
                let tasks = shape.inputs.div_ceil(TASK_INPUTS);
                (1.0, (0..tasks).map(|_| None).collect())
            }
        };
        Ok(Self {
            level,
            shape,
            rows,
            x,
            dy,
            scale,
            dx,
        })
    }

    fn run(self, blocks: impl IndexedParallelIterator<Item = Block<'a>>) {
        let Self {
            level,
            shape,
            rows,
            x,
            dy,
            scale,
            dx,
        } = self;
        let tasks = blocks.zip(dx).enumerate();
        tasks.for_each(|(i, (block, dx))| {
            level.run(BackwardTask {
                shape,
                rows,
                first: i * TASK_INPUTS,
                x,
                dy,
                block,
                scale,
                dx,
            });
        });
    }
}

/// The weights of one task, and what becomes of their gradient.
enum Block<'a> {
    Update {
        optimizer: &'a RmsProp,
        weight: &'a mut [f32],
        mean_square: &'a mut [f32],
    },
    Gradient {
        weight: &'a [f32],
        gradient: &'a mut [f32],
    },
}

impl Block<'_> {
    fn weight(&self) -> &[f32] {
        match self {
            Self::Update { weight, .. } => weight,
            Self::Gradient { weight, .. } => weight,
        }
    }
}

/// The backward pass for the inputs of one task.
struct BackwardTask<'a> {
    shape: &'a DenseShape,
    rows: usize,
    first: usize,
    x: &'a [f32],
    dy: &'a [f32],
    block: Block<'a>,
    scale: f32,
    dx: Option<Vec<&'a mut [f32]>>,
}

impl<S: Simd> Kernel<S> for BackwardTask<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let Self {
            shape,
            rows,
            first,
            x,
            dy,
            mut block,
            scale,
            mut dx,
        } = self;
        let (inputs, outputs) = (shape.inputs, shape.outputs);
        let per_row = vectors(outputs, S::LANES);
        let per_block = vectors(BACKWARD_INPUTS, S::LANES);
        let zero = simd.splat(0.0);
        let mut packed_dy = vec![zero; rows * per_row];
        pack::<S>(dy, outputs, &mut packed_dy, per_row);
        let mut packed_x = vec![0.0; rows * BACKWARD_INPUTS];
        let mut transposed = vec![zero; outputs * per_block];
        let mut gradient = vec![zero; BACKWARD_INPUTS * per_row];
        let mut input_gradient = vec![zero; rows * per_block];
        let inputs_here = block.weight().len() / outputs;
        for start in (0..inputs_here).step_by(BACKWARD_INPUTS) {
            let len = BACKWARD_INPUTS.min(inputs_here - start);
            let range = start * outputs..(start + len) * outputs;
            if let Some(dx) = &mut dx {
                let weight = &block.weight()[range.clone()];
                let lanes: &mut [f32] = bytemuck::cast_slice_mut(&mut transposed);
                for (k, weight) in weight.chunks_exact(outputs).enumerate() {
                    for (o, &w) in weight.iter().enumerate() {
                        lanes[o * per_block * S::LANES + k] = w;
                    }
                }
                simd.vectorize(SmallProduct {
                    rows,
                    depth: outputs,
                    vectors: per_block,
                    a: Strided {
                        data: dy,
                        row: outputs,
                        depth: 1,
                    },
                    b: &transposed,
                    c: &mut input_gradient,
                    accumulate: false,
                });
                let lanes: &[f32] = bytemuck::cast_slice(&input_gradient);
                for (dx, values) in dx.iter_mut().zip(lanes.chunks_exact(per_block * S::LANES)) {
                    for (dx, value) in dx[start..start + len].iter_mut().zip(values) {
                        *dx = scale * value;
                    }
                }
            }
            for (packed, x) in packed_x
                .chunks_exact_mut(BACKWARD_INPUTS)
                .zip(x.chunks_exact(inputs))
            {
                packed[..len].copy_from_slice(&x[first + start..][..len]);
            }
            if rows == 0 {
                gradient.fill(zero);
            } else {
                simd.vectorize(SmallProduct {
                    rows: len,
                    depth: rows,
                    vectors: per_row,
                    a: Strided {
                        data: &packed_x,
                        row: 1,
                        depth: BACKWARD_INPUTS,
                    },
                    b: &packed_dy,
                    c: &mut gradient,
                    accumulate: false,
                });
            }
            let from: &[f32] = bytemuck::cast_slice(&gradient);
            let pitch = per_row * S::LANES;
            match &mut block {
                Block::Update {
                    optimizer,
                    weight,
                    mean_square,
                } => simd.vectorize(Update {
                    optimizer,
                    pitch,
                    outputs,
                    gradient: from,
                    weight: &mut weight[range.clone()],
                    mean_square: &mut mean_square[range],
                }),
                Block::Gradient { gradient, .. } => {
                    let rows = gradient[range].chunks_exact_mut(outputs);
                    for (to, from) in rows.zip(from.chunks_exact(pitch)) {
                        to.copy_from_slice(&from[..outputs]);
                    }
                }
            }
        }
    }
}

/// [`rmsprop::step`] of a block, in the same order of operations.
struct Update<'a> {
    optimizer: &'a RmsProp,
    pitch: usize,
    outputs: usize,
    gradient: &'a [f32],
    weight: &'a mut [f32],
    mean_square: &'a mut [f32],
}

impl<S: Simd> Kernel<S> for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: S) {
        // The compiler vectorises these loops with the level's instructions by itself.
        let learning_rate = self.optimizer.learning_rate as f32;
        let rho = self.optimizer.rho as f32;
        let one_minus_rho = (1.0 - self.optimizer.rho) as f32;
        let epsilon = self.optimizer.epsilon as f32;
        for ((weight, mean_square), gradient) in self
            .weight
            .chunks_exact_mut(self.outputs)
            .zip(self.mean_square.chunks_exact_mut(self.outputs))
            .zip(self.gradient.chunks_exact(self.pitch))
        {
            for ((w, v), &g) in weight.iter_mut().zip(mean_square).zip(gradient) {
                *v = rho * *v + one_minus_rho * (g * g);
                *w -= learning_rate * g / (v.sqrt() + epsilon);
            }
        }
    }
}
