//! A dense layer with the products of any library, and RMSprop after them.

use dawn21_kernels::DenseShape;
use dawn21_kernels::reduce::sum_in_order;
use dawn21_kernels::rmsprop::{self, RmsProp};
use rayon::prelude::*;

use crate::product::{Library, Matrix, multiply};

#[derive(Clone)]
/// What the layer reads and writes: `x` (N,K), `y` and `dy` (N,O).
pub struct Dense {
    pub shape: DenseShape,
    pub x: Vec<f32>,
    /// `[K][O]` or `[O][K]`, see [`Variant::weight`].
    pub weight: [Vec<f32>; 2],
    pub mean_square: Vec<f32>,
    pub y: Vec<f32>,
    pub dy: Vec<f32>,
    pub dx: Vec<f32>,
    pub dweight: Vec<f32>,
}

/// Order of the weights.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `[K][O]`
    InputMajor,
    /// `[O][K]`
    OutputMajor,
}

/// A way to compute the layer.
#[derive(Clone, Copy)]
pub struct Variant {
    pub order: Order,
    /// Inputs a task of ours takes, input-major only; `None` leaves the threads to the library.
    pub chunk: Option<usize>,
}

impl Variant {
    /// All that were tried: one product, of either order of the weights, or tasks of ours.
    pub fn all(inputs: usize) -> Vec<Self> {
        let variant = |order, chunk| Self { order, chunk };
        vec![
            variant(Order::InputMajor, None),
            variant(Order::OutputMajor, None),
            variant(Order::InputMajor, Some(inputs.div_ceil(64))),
            variant(Order::InputMajor, Some(inputs.div_ceil(16))),
        ]
    }

    /// As in the notes below the tables.
    pub fn name(&self) -> String {
        let order = match self.order {
            Order::InputMajor => "[in][out]",
            Order::OutputMajor => "[out][in]",
        };
        match self.chunk {
            None => format!("{order}, one product"),
            Some(chunk) => format!("{order}, {chunk} inputs a task"),
        }
    }
}

impl Dense {
    /// Weights of some inputs as a (K,O) matrix.
    fn weight(&self, order: Order, first: usize, len: usize) -> Matrix<'_> {
        let (inputs, outputs) = (self.shape.inputs(), self.shape.outputs());
        let weight = &self.weight[order as usize];
        match order {
            Order::InputMajor => Matrix::new(&weight[first * outputs..], [len, outputs], outputs),
            Order::OutputMajor => {
                Matrix::new(&weight[first..], [outputs, len], inputs).transposed()
            }
        }
    }

    fn rows(&self) -> usize {
        self.x.len() / self.shape.inputs()
    }

    /// `y = x w`; the bias is left out.
    pub fn forward(&mut self, library: Library<'_>, variant: Variant, threads: usize) {
        let (inputs, outputs) = (self.shape.inputs(), self.shape.outputs());
        let rows = self.rows();
        let chunk = variant.chunk.unwrap_or(inputs);
        let mut y = std::mem::take(&mut self.y);
        let product = |first: usize, threads: usize, y: &mut [f32]| {
            let len = chunk.min(inputs - first);
            let x = Matrix::new(&self.x[first..], [rows, len], inputs);
            let weight = self.weight(variant.order, first, len);
            multiply(library, threads, x, weight, false, y, outputs);
        };
        if variant.chunk.is_none() {
            product(0, threads, &mut y);
        } else {
            let partials: Vec<Vec<f32>> = (0..inputs.div_ceil(chunk))
                .into_par_iter()
                .map(|i| {
                    let mut y = vec![0.0; rows * outputs];
                    product(i * chunk, 1, &mut y);
                    y
                })
                .collect();
            sum_in_order(&mut y, partials.iter().map(Vec::as_slice));
        }
        self.y = y;
    }

    /// `dx = dy w^T`, `dw = x^T dy`, then RMSprop.
    pub fn backward(
        &mut self,
        library: Library<'_>,
        variant: Variant,
        threads: usize,
        optimizer: &RmsProp,
    ) {
        let (inputs, outputs) = (self.shape.inputs(), self.shape.outputs());
        let rows = self.rows();
        let mut dx = std::mem::take(&mut self.dx);
        let mut dweight = std::mem::take(&mut self.dweight);
        let dy = Matrix::new(&self.dy, [rows, outputs], outputs);
        let x = Matrix::new(&self.x, [rows, inputs], inputs);
        let chunk = variant.chunk.unwrap_or(inputs);
        let input_gradient = |first: usize, threads: usize, dx: &mut [f32], row_stride: usize| {
            let len = chunk.min(inputs - first);
            let weight = self.weight(variant.order, first, len).transposed();
            multiply(library, threads, dy, weight, false, dx, row_stride);
        };
        if variant.chunk.is_none() {
            input_gradient(0, threads, &mut dx, inputs);
            match variant.order {
                Order::InputMajor => {
                    multiply(
                        library,
                        threads,
                        x.transposed(),
                        dy,
                        false,
                        &mut dweight,
                        outputs,
                    );
                }
                Order::OutputMajor => {
                    multiply(
                        library,
                        threads,
                        dy.transposed(),
                        x,
                        false,
                        &mut dweight,
                        inputs,
                    );
                }
            }
        } else {
            let tasks = dweight.par_chunks_mut(chunk * outputs).enumerate();
            // Each task has all rows of its columns of `dx`, as blocks that are copied into place.
            let blocks: Vec<Vec<f32>> = tasks
                .map(|(i, dweight)| {
                    let first = i * chunk;
                    let len = chunk.min(inputs - first);
                    let mut block = vec![0.0; rows * len];
                    input_gradient(first, 1, &mut block, len);
                    let x = Matrix::new(&self.x[first..], [rows, len], inputs);
                    multiply(library, 1, x.transposed(), dy, false, dweight, outputs);
                    block
                })
                .collect();
            dx.par_chunks_exact_mut(inputs)
                .enumerate()
                .for_each(|(row, dx)| {
                    for (dx, block) in dx.chunks_mut(chunk).zip(&blocks) {
                        let len = dx.len();
                        dx.copy_from_slice(&block[row * len..][..len]);
                    }
                });
        }
        self.dx = dx;
        self.dweight = dweight;
        let weight = &mut self.weight[variant.order as usize];
        rmsprop::step(optimizer, weight, &self.dweight, &mut self.mean_square).expect("rmsprop");
    }
}
