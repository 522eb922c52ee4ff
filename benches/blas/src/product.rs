//! One matrix product by each library, behind one checked function.
#![expect(unsafe_code, reason = "the libraries take raw pointers")]

use gemm::Parallelism;

use crate::openblas::OpenBlas;

/// A library with a matrix product.
#[derive(Clone, Copy)]
pub enum Library<'a> {
    /// OpenBLAS.
    OpenBlas(&'a OpenBlas),
    /// The crate `matrixmultiply`.
    MatrixMultiply,
    /// The crate `gemm`.
    Gemm,
}

impl Library<'_> {
    /// As in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Library::OpenBlas(_) => "OpenBLAS",
            Library::MatrixMultiply => "matrixmultiply",
            Library::Gemm => "gemm",
        }
    }
}

/// A matrix to be read, with one of its strides 1.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// Row-major `[rows, columns]` whose rows start `row_stride` values apart.
    pub fn new(data: &'a [f32], shape: [usize; 2], row_stride: usize) -> Self {
        let [rows, columns] = shape;
        assert!(rows > 0 && columns > 0 && columns <= row_stride);
        assert!((rows - 1) * row_stride + columns <= data.len());
        Self {
            data,
            shape,
            strides: [row_stride, 1],
        }
    }

    /// The transpose, over the same memory.
    pub fn transposed(self) -> Self {
        let ([rows, columns], [row, column]) = (self.shape, self.strides);
        Self {
            shape: [columns, rows],
            strides: [column, row],
            ..self
        }
    }
}

/// `output = left right`, added to what is there if `accumulate`; `threads` of the library's own.
///
/// `output` is row-major with rows `row_stride` values apart.
pub fn multiply(
    library: Library<'_>,
    threads: usize,
    left: Matrix<'_>,
    right: Matrix<'_>,
    accumulate: bool,
    output: &mut [f32],
    row_stride: usize,
) {
    let ([m, k], [depth, n]) = (left.shape, right.shape);
    assert_eq!(k, depth);
    assert!(n <= row_stride && (m - 1) * row_stride + n <= output.len());
    let beta = if accumulate { 1.0 } else { 0.0 };
    let [a, b] = [left, right].map(|matrix| matrix.strides.map(|stride| stride as isize));
    let (left_data, right_data, to) =
        (left.data.as_ptr(), right.data.as_ptr(), output.as_mut_ptr());
    // SAFETY: all offsets lie within their slices, checked above and in `Matrix::new`; `output` is borrowed
    // mutably, so it overlaps neither input.
    unsafe {
        match library {
            Library::OpenBlas(library) => {
                library.sgemm(
                    [m, n, k],
                    (left_data, left.strides),
                    (right_data, right.strides),
                    beta,
                    to,
                    row_stride,
                );
            }
            Library::MatrixMultiply => matrixmultiply::sgemm(
                m,
                k,
                n,
                1.0,
                left_data,
                a[0],
                a[1],
                right_data,
                b[0],
                b[1],
                beta,
                to,
                row_stride as isize,
                1,
            ),
            Library::Gemm => gemm::gemm(
                m,
                n,
                k,
                to,
                1,
                row_stride as isize,
                accumulate,
                left_data,
                a[1],
                a[0],
                right_data,
                b[1],
                b[0],
                beta,
                1.0,
                false,
                false,
                false,
                if threads > 1 {
                    Parallelism::Rayon(threads)
                } else {
                    Parallelism::None
                },
            ),
        }
    }
}
