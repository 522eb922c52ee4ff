//! Shapes of windowed operations and the errors shared by all kernels.

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
    /// A dimension or hyper-parameter is outside what the operation is defined for.
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

/// Number of whole items of `item_len` values in a slice of `found` values.
pub(crate) fn whole_items(
    operation: &'static str,
    argument: &'static str,
    item_len: usize,
    found: usize,
) -> Result<usize, ShapeError> {
    let items = found / item_len;
    check_len(operation, argument, items * item_len, found)?;
    Ok(items)
}

/// Fails when a dimension is zero or when the product of all dimensions is not addressable.
fn check_dimensions(
    operation: &'static str,
    dimensions: &[(&str, usize)],
) -> Result<(), ShapeError> {
    if let Some((name, _)) = dimensions.iter().find(|(_, n)| *n == 0) {
        return Err(ShapeError::Dimension {
            operation,
            detail: format!("`{name}` is 0, expected at least 1"),
        });
    }
    let product = dimensions
        .iter()
        .try_fold(1_usize, |product, (_, n)| product.checked_mul(*n));
    // Kernels compute offsets of f64 values as isize.
    if product.is_none_or(|n| n > isize::MAX as usize / 8) {
        return Err(ShapeError::Dimension {
            operation,
            detail: format!("the product of {dimensions:?} is not addressable"),
        });
    }
    Ok(())
}

/// Shape of a valid, stride-1 convolution of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conv2dShape {
    pub(crate) in_channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) out_channels: usize,
    pub(crate) kernel_height: usize,
    pub(crate) kernel_width: usize,
}

impl Conv2dShape {
    /// `image` is (C,H,W), `kernel` is (R,S).
    ///
    /// # Errors
    /// [`ShapeError`] when a dimension is 0, the kernel does not fit into the image, or the column
    /// matrix `C R S x H W` would not be addressable.
    pub fn new(
        image: [usize; 3],
        out_channels: usize,
        kernel: [usize; 2],
    ) -> Result<Self, ShapeError> {
        let [in_channels, height, width] = image;
        let [kernel_height, kernel_width] = kernel;
        check_dimensions(
            "conv2d",
            &[
                ("in_channels", in_channels),
                ("height", height),
                ("width", width),
                ("kernel_height", kernel_height),
                ("kernel_width", kernel_width),
            ],
        )?;
        check_dimensions(
            "conv2d",
            &[
                ("out_channels", out_channels),
                ("height", height),
                ("width", width),
            ],
        )?;
        check_dimensions(
            "conv2d",
            &[
                ("out_channels", out_channels),
                ("in_channels", in_channels),
                ("kernel_height", kernel_height),
                ("kernel_width", kernel_width),
            ],
        )?;
        if kernel_height > height || kernel_width > width {
            return Err(ShapeError::WindowTooLarge {
                operation: "conv2d",
                window_height: kernel_height,
                window_width: kernel_width,
                height,
                width,
            });
        }
        Ok(Self {
            in_channels,
            height,
            width,
            out_channels,
            kernel_height,
            kernel_width,
        })
    }

    /// Rows of the output, `H - R + 1`.
    #[must_use]
    pub fn out_height(&self) -> usize {
        self.height - self.kernel_height + 1
    }

    /// Columns of the output, `W - S + 1`.
    #[must_use]
    pub fn out_width(&self) -> usize {
        self.width - self.kernel_width + 1
    }

    /// Pixels of one output channel.
    #[must_use]
    pub fn out_pixels(&self) -> usize {
        self.out_height() * self.out_width()
    }

    /// Values under the kernel at one position, `C R S`.
    #[must_use]
    pub fn patch_len(&self) -> usize {
        self.in_channels * self.kernel_height * self.kernel_width
    }

    /// Values of one input image, `C H W`.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.in_channels * self.height * self.width
    }

    /// Values of the weight (O,C,R,S).
    #[must_use]
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.patch_len()
    }

    /// Shape (O,C,R,S) of the weight.
    #[must_use]
    pub fn weight_shape(&self) -> [usize; 4] {
        [
            self.out_channels,
            self.in_channels,
            self.kernel_height,
            self.kernel_width,
        ]
    }

    /// Values of the bias (O).
    #[must_use]
    pub fn bias_len(&self) -> usize {
        self.out_channels
    }

    /// Values of one output image.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.out_channels * self.out_pixels()
    }

    /// Shape (O,H-R+1,W-S+1) of one output image.
    #[must_use]
    pub fn output(&self) -> [usize; 3] {
        [self.out_channels, self.out_height(), self.out_width()]
    }
}

/// Shape of a max-pooling of one image with windows that do not overlap.
///
/// Rows and columns that do not fill a window are dropped, as Keras' and PyTorch's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MaxPool2dShape {
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) window_height: usize,
    pub(crate) window_width: usize,
}

impl MaxPool2dShape {
    /// `image` is (C,H,W), `window` its rows and columns, which are also the stride.
    ///
    /// # Errors
    /// [`ShapeError`] when a dimension is 0, the window does not fit into the image, or it has more
    /// than 256 cells (the position of the maximum is kept in one byte).
    pub fn new(image: [usize; 3], window: [usize; 2]) -> Result<Self, ShapeError> {
        let [channels, height, width] = image;
        let [window_height, window_width] = window;
        check_dimensions(
            "max_pool2d",
            &[("channels", channels), ("height", height), ("width", width)],
        )?;
        check_dimensions(
            "max_pool2d",
            &[
                ("window_height", window_height),
                ("window_width", window_width),
            ],
        )?;
        if window_height * window_width > 256 {
            return Err(ShapeError::Dimension {
                operation: "max_pool2d",
                detail: format!(
                    "a window of {window_height} x {window_width} has more than 256 cells"
                ),
            });
        }
        if window_height > height || window_width > width {
            return Err(ShapeError::WindowTooLarge {
                operation: "max_pool2d",
                window_height,
                window_width,
                height,
                width,
            });
        }
        Ok(Self {
            channels,
            height,
            width,
            window_height,
            window_width,
        })
    }

    /// Rows of the output.
    #[must_use]
    pub fn out_height(&self) -> usize {
        self.height / self.window_height
    }

    /// Columns of the output.
    #[must_use]
    pub fn out_width(&self) -> usize {
        self.width / self.window_width
    }

    /// Rows and columns of a window.
    #[must_use]
    pub fn window(&self) -> [usize; 2] {
        [self.window_height, self.window_width]
    }

    /// Cells of a window, at most 256.
    #[must_use]
    pub fn window_len(&self) -> usize {
        self.window_height * self.window_width
    }

    /// Values of one input image.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Values of one output image.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.channels * self.out_height() * self.out_width()
    }

    /// Shape (C,H',W') of one output image.
    #[must_use]
    pub fn output(&self) -> [usize; 3] {
        [self.channels, self.out_height(), self.out_width()]
    }
}

/// Shape of a dense layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DenseShape {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

impl DenseShape {
    /// A layer from `inputs` to `outputs` features.
    ///
    /// # Errors
    /// [`ShapeError`] when one of them is 0 or the weights would not be addressable.
    pub fn new(inputs: usize, outputs: usize) -> Result<Self, ShapeError> {
        check_dimensions("dense", &[("inputs", inputs), ("outputs", outputs)])?;
        Ok(Self { inputs, outputs })
    }

    /// Features of one input row.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Features of one output row.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Values of the weight (out,in).
    #[must_use]
    pub fn weight_len(&self) -> usize {
        self.inputs * self.outputs
    }
}

/// Shape of a batch-normalisation: statistics are taken per channel over images and pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchNormShape {
    pub(crate) channels: usize,
    pub(crate) pixels: usize,
}

impl BatchNormShape {
    /// `channels` features, each of `pixels` values per image (1 after a dense layer).
    ///
    /// # Errors
    /// [`ShapeError`] when one of them is 0.
    pub fn new(channels: usize, pixels: usize) -> Result<Self, ShapeError> {
        check_dimensions("batch_norm", &[("channels", channels), ("pixels", pixels)])?;
        Ok(Self { channels, pixels })
    }

    /// Number of channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Values of one image, channels times pixels.
    #[must_use]
    pub fn image_len(&self) -> usize {
        self.channels * self.pixels
    }
}
