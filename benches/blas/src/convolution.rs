//! A convolution as patches times weights, with the product of any library.
//!
//! Images are handed to the threads one at a time, each with single-threaded products: faster than threads
//! inside products of 8 or 16 rows. Bias included; ReLU and pooling, which dawn21's stages fuse, are not.

use dawn21_kernels::Conv2dShape;
use dawn21_kernels::im2col::{block_pixels, col2im_add, im2col};
use dawn21_kernels::reduce::sum_in_order;
use rayon::prelude::*;

use crate::product::{Library, Matrix, multiply};

/// What a convolution reads and writes: `x` (N,C,H,W), `weight` (O,C,R,S), `y` and `dy` (N,O,H',W').
pub struct Convolution {
    pub shape: Conv2dShape,
    pub images: usize,
    pub x: Vec<f32>,
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub y: Vec<f32>,
    pub dy: Vec<f32>,
    /// Empty in the first layer.
    pub dx: Vec<f32>,
    pub dweight: Vec<f32>,
}

/// Output pixels whose patches are written at once: within the second-level cache, a few times as many,
/// and all of an image, as the first im2col implementations had it.
pub fn blocks(shape: &Conv2dShape) -> Vec<usize> {
    let cached = block_pixels::<f32>(shape);
    let mut blocks: Vec<_> = [cached, 4 * cached, 16 * cached, shape.out_pixels()]
        .into_iter()
        .map(|pixels| pixels.min(shape.out_pixels()))
        .collect();
    blocks.dedup();
    blocks
}

impl Convolution {
    /// `y = w x + b`, with patches of `block` pixels at a time.
    pub fn forward(&mut self, library: Library<'_>, block: usize) {
        let (shape, weight, bias) = (&self.shape, &self.weight, &self.bias);
        let (pixels, patch_len) = (shape.out_pixels(), shape.patch_len());
        self.y
            .par_chunks_exact_mut(shape.output_len())
            .zip(self.x.par_chunks_exact(shape.input_len()))
            .for_each_init(
                || vec![0.0; patch_len * block],
                |columns, (y, x)| {
                    for (plane, &bias) in y.chunks_exact_mut(pixels).zip(bias) {
                        plane.fill(bias);
                    }
                    let weight = Matrix::new(weight, [bias.len(), patch_len], patch_len);
                    for start in (0..pixels).step_by(block) {
                        let len = block.min(pixels - start);
                        im2col(shape, x, start..start + len, columns);
                        let columns = Matrix::new(columns, [patch_len, len], len);
                        multiply(library, 1, weight, columns, true, &mut y[start..], pixels);
                    }
                },
            );
    }

    /// `dw = dy x^T` and, if wanted, `dx = w^T dy` scattered back.
    pub fn backward(&mut self, library: Library<'_>, block: usize) {
        let (shape, weight) = (&self.shape, &self.weight);
        let (pixels, patch_len) = (shape.out_pixels(), shape.patch_len());
        let outputs = self.bias.len();
        let mut dx: Vec<&mut [f32]> = match self.dx.is_empty() {
            true => (0..self.images).map(|_| &mut [][..]).collect(),
            false => self.dx.chunks_exact_mut(shape.input_len()).collect(),
        };
        let partials: Vec<Vec<f32>> = dx
            .par_iter_mut()
            .zip(self.x.par_chunks_exact(shape.input_len()))
            .zip(self.dy.par_chunks_exact(shape.output_len()))
            .map_init(
                || vec![0.0; patch_len * block],
                |columns, ((dx, x), dy)| {
                    dx.fill(0.0);
                    let mut dweight = vec![0.0; shape.weight_len()];
                    let weight = Matrix::new(weight, [outputs, patch_len], patch_len);
                    for start in (0..pixels).step_by(block) {
                        let len = block.min(pixels - start);
                        let dy = Matrix::new(&dy[start..], [outputs, len], pixels);
                        im2col(shape, x, start..start + len, columns);
                        let patches = Matrix::new(columns, [patch_len, len], len).transposed();
                        multiply(library, 1, dy, patches, true, &mut dweight, patch_len);
                        if !dx.is_empty() {
                            multiply(library, 1, weight.transposed(), dy, false, columns, len);
                            col2im_add(shape, columns, start..start + len, dx);
                        }
                    }
                    dweight
                },
            )
            .collect();
        sum_in_order(&mut self.dweight, partials.iter().map(Vec::as_slice));
    }
}
