//! The matrix product at the shapes that convolutions and dense layers ask for, on one thread.

use dawn21_kernels::gemm::{Gemm, Matrix, MatrixMut};
use dawn21_kernels::im2col::block_pixels;

use crate::numbers::uniform;
use crate::session::{Session, Work};
use crate::table_1::{DENSE1_OUTPUTS, convolutions};

/// All shapes.
pub(crate) fn run(session: &mut Session<'_>) {
    let images = session.images;
    let mut shapes: Vec<(String, [usize; 3])> = convolutions()
        .iter()
        .map(|layer| {
            let [outputs, ..] = layer.shape.output();
            let block = block_pixels::<f32>(&layer.shape);
            let name = format!("{} block", layer.name);
            (name, [outputs, layer.shape.patch_len(), block])
        })
        .collect();
    shapes.push(("dense1 block".to_owned(), [images, 2048, DENSE1_OUTPUTS]));
    shapes.push(("square".to_owned(), [1024; 3]));
    for (name, [rows, depth, columns]) in shapes {
        let matrices = move || {
            [
                uniform(rows * depth, 1.0, 1),
                uniform(depth * columns, 1.0, 2),
                vec![0.0; rows * columns],
            ]
        };
        let work = Work {
            images: None,
            operations: 2.0 * (rows * depth * columns) as f64,
            values: (rows * depth + depth * columns + rows * columns) as f64,
        };
        let shape = format!("{name} {rows}x{depth}x{columns}");
        session.bench(
            "gemm",
            &shape,
            work,
            matrices,
            move |[left, right, output]| {
                let left = Matrix::new(left, rows, depth, depth).expect("left");
                let right = Matrix::new(right, depth, columns, columns).expect("right");
                let output = MatrixMut::new(output, rows, columns, columns).expect("output");
                f32::gemm(1.0, left, right, 0.0, output).expect("gemm");
            },
        );
    }
}
