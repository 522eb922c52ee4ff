//! Matrix products: bounds-checked views over `matrixmultiply`.

use crate::ShapeError;

/// A read-only matrix over a slice with arbitrary strides, so that transposes cost nothing.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

/// A matrix to be written, row-major with `row_stride >= columns`, so that no two entries share a place.
#[derive(Debug)]
pub struct MatrixMut<'a, T> {
    data: &'a mut [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
}

/// Number of values that a strided matrix reaches over, or `None` when it overflows.
fn reach(rows: usize, columns: usize, row_stride: usize, column_stride: usize) -> Option<usize> {
    if rows == 0 || columns == 0 {
        return Some(0);
    }
    let last = (rows - 1)
        .checked_mul(row_stride)?
        .checked_add((columns - 1).checked_mul(column_stride)?)?;
    // Offsets are handed on as isize.
    last.checked_add(1).filter(|&n| isize::try_from(n).is_ok())
}

fn check_reach(
    argument: &'static str,
    needed: Option<usize>,
    found: usize,
) -> Result<(), ShapeError> {
    match needed {
        Some(expected) if expected <= found => Ok(()),
        Some(expected) => Err(ShapeError::Length {
            operation: "gemm",
            argument,
            expected,
            found,
        }),
        None => Err(ShapeError::Dimension {
            operation: "gemm",
            detail: format!("`{argument}` reaches beyond the address space"),
        }),
    }
}

impl<'a, T> Matrix<'a, T> {
    /// Row-major `rows` x `columns` matrix whose rows start `row_stride` values apart.
    ///
    /// # Errors
    /// [`ShapeError`] when `data` is shorter than the matrix.
    pub fn new(
        data: &'a [T],
        rows: usize,
        columns: usize,
        row_stride: usize,
    ) -> Result<Self, ShapeError> {
        check_reach("matrix", reach(rows, columns, row_stride, 1), data.len())?;
        Ok(Self {
            data,
            rows,
            columns,
            row_stride,
            column_stride: 1,
        })
    }

    /// The transpose, over the same memory.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

impl<'a, T> MatrixMut<'a, T> {
    /// Row-major `rows` x `columns` matrix whose rows start `row_stride` values apart.
    ///
    /// # Errors
    /// [`ShapeError`] when `data` is shorter than the matrix or rows overlap.
    pub fn new(
        data: &'a mut [T],
        rows: usize,
        columns: usize,
        row_stride: usize,
    ) -> Result<Self, ShapeError> {
        check_reach("output", reach(rows, columns, row_stride, 1), data.len())?;
        if row_stride < columns && rows > 1 {
            return Err(ShapeError::Dimension {
                operation: "gemm",
                detail: format!("rows of {columns} values overlap at a stride of {row_stride}"),
            });
        }
        Ok(Self {
            data,
            rows,
            columns,
            row_stride,
        })
    }
}

/// Number types that have a matrix product.
pub trait Gemm: Sized {
    /// `output = alpha left right + beta output`; with `beta` 0 the old content is not read.
    ///
    /// Shapes: `left` (M,K), `right` (K,N), `output` (M,N).
    ///
    /// # Errors
    /// [`ShapeError`] when the three shapes do not fit together.
    fn gemm(
        alpha: Self,
        left: Matrix<'_, Self>,
        right: Matrix<'_, Self>,
        beta: Self,
        output: MatrixMut<'_, Self>,
    ) -> Result<(), ShapeError>;
}

macro_rules! impl_gemm {
    ($t:ty, $function:path) => {
        impl Gemm for $t {
            #[inline]
            fn gemm(
                alpha: Self,
                left: Matrix<'_, Self>,
                right: Matrix<'_, Self>,
                beta: Self,
                output: MatrixMut<'_, Self>,
            ) -> Result<(), ShapeError> {
                if left.columns != right.rows
                    || left.rows != output.rows
                    || right.columns != output.columns
                {
                    return Err(ShapeError::Dimension {
                        operation: "gemm",
                        detail: format!(
                            "({},{}) times ({},{}) is not ({},{})",
                            left.rows,
                            left.columns,
                            right.rows,
                            right.columns,
                            output.rows,
                            output.columns
                        ),
                    });
                }
                #[expect(unsafe_code, reason = "matrixmultiply takes raw pointers")]
                // SAFETY: the constructors of `Matrix` and `MatrixMut` checked that every
                // (row, column) offset lies within its slice and fits an isize; the shapes agree
                // (above); `output` is borrowed mutably, so it aliases neither input, and its rows
                // do not overlap.
                unsafe {
                    $function(
                        left.rows,
                        left.columns,
                        right.columns,
                        alpha,
                        left.data.as_ptr(),
                        left.row_stride as isize,
                        left.column_stride as isize,
                        right.data.as_ptr(),
                        right.row_stride as isize,
                        right.column_stride as isize,
                        beta,
                        output.data.as_mut_ptr(),
                        output.row_stride as isize,
                        1,
                    );
                }
                Ok(())
            }
        }
    };
}

impl_gemm!(f32, matrixmultiply::sgemm);
impl_gemm!(f64, matrixmultiply::dgemm);
