//! Dense (fully connected) layer: products over the whole mini-batch.
//!
//! Table 1's first dense layer has 156 384 inputs and 64 outputs: 10 million weights against a few
//! hundred rows of input. All three products are cut along the inputs, so that every weight and every
//! input value is read once per product.

pub mod fused;

use rayon::prelude::*;

use crate::gemm::{Matrix, MatrixMut};
use crate::reduce::sum_in_order;
use crate::shape::{DenseShape, check_len, whole_items};
use crate::{Float, ShapeError};

/// Inputs per task of the forward product, at least: below it adding up partial outputs costs more
/// than the products.
const FORWARD_BLOCK: usize = 1024;
/// Partial outputs of the forward product, at most.
const FORWARD_PARTIALS: usize = 64;
/// Inputs per task of the backward products: 64 x 2048 f32 weights are half of a 1 MiB cache.
const BACKWARD_BLOCK: usize = 2048;

/// Where the gradients of a dense layer go; all are overwritten.
#[derive(Debug)]
pub struct DenseGradients<'a, T> {
    /// Gradient of the input, (N,K); `None` skips its computation.
    pub input: Option<&'a mut [T]>,
    /// Gradient of the weight, (O,K).
    pub weight: &'a mut [T],
    /// Gradient of the bias, (O).
    pub bias: &'a mut [T],
}

/// `y[n,o] = b[o] + sum_k w[o,k] x[n,k]`.
///
/// # Shapes
/// `x` (N,K); `weight` (O,K); `bias` (O); `y` (N,O), overwritten.
///
/// # Errors
/// [`ShapeError`] names the argument, the expected and the actual length.
///
/// Rounding: `|y - exact| <= gamma(K + 1) (|b| + sum |w x|)`, in practice less since `K` is cut into
/// blocks that are summed separately.
pub fn forward<T: Float>(
    shape: &DenseShape,
    x: &[T],
    weight: &[T],
    bias: &[T],
    y: &mut [T],
) -> Result<(), ShapeError> {
    const NAME: &str = "dense forward";
    let (inputs, outputs) = (shape.inputs, shape.outputs);
    let rows = whole_items(NAME, "x", inputs, x.len())?;
    check_len(NAME, "weight", shape.weight_len(), weight.len())?;
    check_len(NAME, "bias", outputs, bias.len())?;
    check_len(NAME, "y", rows * outputs, y.len())?;
    let block = inputs.div_ceil(FORWARD_PARTIALS).max(FORWARD_BLOCK);
    let partials = (0..inputs.div_ceil(block))
        .into_par_iter()
        .map(|b| {
            let start = b * block;
            let len = block.min(inputs - start);
            let mut partial = vec![T::ZERO; rows * outputs];
            if rows > 0 {
                let x = Matrix::new(&x[start..], rows, len, inputs)?;
                let weight = Matrix::new(&weight[start..], outputs, len, inputs)?;
                let output = MatrixMut::new(&mut partial, rows, outputs, outputs)?;
                T::gemm(T::ONE, x, weight.transposed(), T::ZERO, output)?;
            }
            Ok(partial)
        })
        .collect::<Result<Vec<_>, ShapeError>>()?;
    sum_in_order(y, partials.iter().map(Vec::as_slice));
    for y in y.chunks_exact_mut(outputs) {
        for (y, &bias) in y.iter_mut().zip(bias) {
            *y += bias;
        }
    }
    Ok(())
}

/// Gradients of [`forward`]: `dx = dy w`, `dw = dy^T x`, `db = column sums of dy`.
///
/// # Shapes
/// `x` (N,K); `weight` (O,K); `dy` (N,O).
///
/// # Errors
/// [`ShapeError`] names the argument, the expected and the actual length.
///
/// Rounding: `gamma(O)` for `dx` and `gamma(N)` for `dw`, times the sums of magnitudes.
pub fn backward<T: Float>(
    shape: &DenseShape,
    x: &[T],
    weight: &[T],
    dy: &[T],
    gradients: DenseGradients<'_, T>,
) -> Result<(), ShapeError> {
    const NAME: &str = "dense backward";
    let (inputs, outputs) = (shape.inputs, shape.outputs);
    let rows = whole_items(NAME, "x", inputs, x.len())?;
    check_len(NAME, "weight", shape.weight_len(), weight.len())?;
    check_len(NAME, "dy", rows * outputs, dy.len())?;
    check_len(
        NAME,
        "weight gradient",
        shape.weight_len(),
        gradients.weight.len(),
    )?;
    check_len(NAME, "bias gradient", outputs, gradients.bias.len())?;
    sum_in_order(gradients.bias, dy.chunks_exact(outputs));
    let dy = Matrix::new(dy, rows, outputs, outputs)?;

    let weight_blocks = column_blocks(gradients.weight, inputs, BACKWARD_BLOCK);
    weight_blocks
        .into_par_iter()
        .enumerate()
        .try_for_each(|(b, block)| {
            let start = b * BACKWARD_BLOCK;
            let len = BACKWARD_BLOCK.min(inputs - start);
            if rows == 0 {
                return block.write(&vec![T::ZERO; outputs * len]);
            }
            let mut product = vec![T::ZERO; outputs * len];
            let x = Matrix::new(&x[start..], rows, len, inputs)?;
            let output = MatrixMut::new(&mut product, outputs, len, len)?;
            T::gemm(T::ONE, dy.transposed(), x, T::ZERO, output)?;
            block.write(&product)
        })?;

    if let Some(dx) = gradients.input {
        check_len(NAME, "input gradient", rows * inputs, dx.len())?;
        if rows == 0 {
            return Ok(());
        }
        column_blocks(dx, inputs, BACKWARD_BLOCK)
            .into_par_iter()
            .enumerate()
            .try_for_each(|(b, block)| {
                let start = b * BACKWARD_BLOCK;
                let len = BACKWARD_BLOCK.min(inputs - start);
                let mut product = vec![T::ZERO; rows * len];
                let weight = Matrix::new(&weight[start..], outputs, len, inputs)?;
                let output = MatrixMut::new(&mut product, rows, len, len)?;
                T::gemm(T::ONE, dy, weight, T::ZERO, output)?;
                block.write(&product)
            })?;
    }
    Ok(())
}

/// Some consecutive columns of a row-major matrix, one slice per row: what one task may write.
struct ColumnBlock<'a, T> {
    rows: Vec<&'a mut [T]>,
}

impl<T: Float> ColumnBlock<'_, T> {
    /// Overwrites the block with a contiguous row-major one.
    fn write(self, values: &[T]) -> Result<(), ShapeError> {
        let columns = self.rows.first().map_or(0, |row| row.len());
        check_len(
            "dense backward",
            "block",
            self.rows.len() * columns,
            values.len(),
        )?;
        for (row, values) in self.rows.into_iter().zip(values.chunks_exact(columns)) {
            row.copy_from_slice(values);
        }
        Ok(())
    }
}

/// Cuts a row-major matrix with `columns` columns into blocks of `block` columns.
fn column_blocks<T>(matrix: &mut [T], columns: usize, block: usize) -> Vec<ColumnBlock<'_, T>> {
    let mut blocks: Vec<_> = (0..columns.div_ceil(block))
        .map(|_| ColumnBlock { rows: Vec::new() })
        .collect();
    for row in matrix.chunks_exact_mut(columns) {
        for (block, piece) in blocks.iter_mut().zip(row.chunks_mut(block)) {
            block.rows.push(piece);
        }
    }
    blocks
}
