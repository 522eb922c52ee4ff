//! Kernels of a convolutional network: pure functions on slices.
//!
//! Every kernel has a forward and a backward form side by side, checks the lengths of all its
//! arguments, and returns a [`ShapeError`] instead of panicking ([`mod@im2col`], a part of one, leaves that
//! to its caller). All are generic over [`Float`] (`f32` for training, `f64` for auditing).
//! [`mod@reference`] holds the plain loops that define what the faster kernels must compute.
//!
//! The fastest path for f32 is [`stage::ConvStack`] (convolution, bias, ReLU and pooling fused, by Fourier
//! transforms where [`conv2d::plan`] finds them cheaper) followed by [`dense::fused`]; both take a
//! [`simd::Level`].
//!
//! # Letters
//! `N` images of a mini-batch, `C` input channels, `O` output channels, `H` x `W` rows and columns
//! of an image, `R` x `S` rows and columns of a convolution kernel. Arrays are row-major: `(N,C,H,W)`
//! has `W` fastest.
//!
//! # Determinism
//! Parallel sums are cut into chunks whose size depends on the shape alone and are added in a fixed
//! order, so results are the same bits for any number of rayon threads.

pub mod batch_norm;
mod buffer;
pub mod conv2d;
pub mod dense;
pub mod dropout;
mod fft;
mod float;
pub mod gemm;
pub mod im2col;
pub mod loss;
pub mod max_pool2d;
mod product;
pub mod reduce;
pub mod reference;
pub mod relu;
pub mod rmsprop;
pub mod rng;
mod shape;
pub mod simd;
pub mod stage;

pub use float::Float;
pub use shape::{BatchNormShape, Conv2dShape, DenseShape, MaxPool2dShape, ShapeError};
