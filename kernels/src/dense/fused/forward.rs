//! The outputs: partial sums of blocks of inputs, added up in order.

use rayon::prelude::*;

use super::{pack, vectors};
use crate::ShapeError;
use crate::product::{SmallProduct, Strided};
use crate::reduce::sum_in_order;
use crate::shape::{DenseShape, check_len, whole_items};
use crate::simd::{Kernel, Level, Simd};

/// Inputs whose weights are packed at once in the forward pass: 192 x 64 are 48 KiB, which leaves the
/// second-level cache to the rows of `x` and `y`.
const FORWARD_INPUTS: usize = 192;
/// Partial outputs of the forward pass, at most.
const FORWARD_PARTIALS: usize = 64;

/// `y[n,o] = b[o] + sum_k w[k][o] x[n,k]`.
///
/// # Shapes
/// `x` (N,K); `weight` `[K][O]`, input-major; `bias` (O); `y` (N,O), overwritten.
///
/// # Errors
/// [`ShapeError`] names the argument, the expected and the actual length.
///
/// Rounding: `|y - exact| <= gamma(K + 1) (|b| + sum |w x|)`.
pub fn forward(
    level: Level,
    shape: &DenseShape,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    y: &mut [f32],
) -> Result<(), ShapeError> {
    const NAME: &str = "fused dense forward";
    let (inputs, outputs) = (shape.inputs, shape.outputs);
    let rows = whole_items(NAME, "x", inputs, x.len())?;
    check_len(NAME, "weight", shape.weight_len(), weight.len())?;
    check_len(NAME, "bias", outputs, bias.len())?;
    check_len(NAME, "y", rows * outputs, y.len())?;
    let block = inputs
        .div_ceil(FORWARD_PARTIALS)
        .next_multiple_of(FORWARD_INPUTS);
    let partials: Vec<Vec<f32>> = (0..inputs.div_ceil(block))
        .into_par_iter()
        .map(|b| {
            level.run(ForwardBlock {
                shape,
                rows,
                x,
                weight,
                inputs: b * block..((b + 1) * block).min(inputs),
            })
        })
        .collect();
    sum_in_order(y, partials.iter().map(Vec::as_slice));
    for y in y.chunks_exact_mut(outputs) {
        for (y, &bias) in y.iter_mut().zip(bias) {
            *y += bias;
        }
    }
    Ok(())
}

/// The part of the outputs that some inputs contribute.
struct ForwardBlock<'a> {
    shape: &'a DenseShape,
    rows: usize,
    x: &'a [f32],
    weight: &'a [f32],
    inputs: std::ops::Range<usize>,
}

impl<S: Simd> Kernel<S> for ForwardBlock<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run(self, simd: S) -> Vec<f32> {
        let (inputs, outputs) = (self.shape.inputs, self.shape.outputs);
        let per_row = vectors(outputs, S::LANES);
        let zero = simd.splat(0.0);
        let mut weight = vec![zero; FORWARD_INPUTS * per_row];
        let mut sums = vec![zero; self.rows * per_row];
        for start in self.inputs.clone().step_by(FORWARD_INPUTS) {
            let depth = FORWARD_INPUTS.min(self.inputs.end - start);
            let block = &self.weight[start * outputs..(start + depth) * outputs];
            pack::<S>(block, outputs, &mut weight[..depth * per_row], per_row);
            simd.vectorize(SmallProduct {
                rows: self.rows,
                depth,
                vectors: per_row,
                a: Strided {
                    data: self.x.get(start..).unwrap_or(&[]),
                    row: inputs,
                    depth: 1,
                },
                b: &weight,
                c: &mut sums,
                accumulate: true,
            });
        }
        let lanes: &[f32] = bytemuck::cast_slice(&sums);
        let mut partial = Vec::with_capacity(self.rows * outputs);
        for row in lanes.chunks_exact(per_row * S::LANES) {
            partial.extend_from_slice(&row[..outputs]);
        }
        partial
    }
}
