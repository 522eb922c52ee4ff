//! Shape errors shared by all kernels.

/// An argument whose length or dimension does not fit the operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A slice has another length than its shape asks for.
    #[error("{operation}: `{argument}` has {found} values, expected {expected}")]
    Length {
        /// The kernel that was called.
        operation: &'static str,
        /// The name of its argument.
        argument: &'static str,
        /// Number of values that the shape asks for.
        expected: usize,
        /// Number of values in the slice.
        found: usize,
    },
    /// A dimension is zero where it must not be, or overflows the address space.
    #[error("{operation}: {detail}")]
    Dimension {
        /// The kernel or shape that was asked for.
        operation: &'static str,
        /// What is wrong with which dimension.
        detail: String,
    },
    /// A window (convolution kernel or pooling window) is larger than the image under it.
    #[error(
        "{operation}: a window of {window_height} x {window_width} cells does not fit into an image of {height} x {width}"
    )]
    WindowTooLarge {
        /// The kernel or shape that was asked for.
        operation: &'static str,
        /// Rows of the window.
        window_height: usize,
        /// Columns of the window.
        window_width: usize,
        /// Rows of the image.
        height: usize,
        /// Columns of the image.
        width: usize,
    },
}

/// Checks the length of one slice argument.
pub(crate) fn check_len(
    operation: &'static str,
    argument: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), ShapeError> {
    if expected == found {
        Ok(())
    } else {
        Err(ShapeError::Length {
            operation,
            argument,
            expected,
            found,
        })
    }
}
