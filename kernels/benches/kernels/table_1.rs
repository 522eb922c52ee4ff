//! The layers of Table 1 of Gillet et al. (2019) on its images of 100 x 2200 cells, by name.

use dawn21_kernels::rmsprop::RmsProp;
use dawn21_kernels::stage::StageShape;
use dawn21_kernels::{Conv2dShape, DenseShape, MaxPool2dShape};

/// A convolution with the name that the tables use.
#[derive(Clone, Copy)]
pub(crate) struct Convolution {
    pub(crate) name: &'static str,
    pub(crate) shape: Conv2dShape,
}

impl Convolution {
    /// The pooling after it.
    pub(crate) fn pool(&self) -> MaxPool2dShape {
        MaxPool2dShape::new(self.shape.output(), [2, 2]).expect("window")
    }

    /// The stage of convolution, bias, ReLU and pooling.
    pub(crate) fn stage(&self) -> StageShape {
        StageShape::new(self.shape, [2, 2]).expect("window")
    }

    /// Operations of one pass over one image: forward, weight gradient and input gradient cost the same.
    pub(crate) fn operations(&self) -> f64 {
        2.0 * (self.shape.weight_len() * self.shape.out_pixels()) as f64
    }
}

/// 1 -> 8 channels, 10 x 10, and 8 -> 16 channels, 10 x 10.
pub(crate) fn convolutions() -> [Convolution; 2] {
    let conv1 = Conv2dShape::new([1, 100, 2200], 8, [10, 10]).expect("conv1");
    let conv2 = Conv2dShape::new([8, 45, 1095], 16, [10, 10]).expect("conv2");
    [("conv1", conv1), ("conv2", conv2)].map(|(name, shape)| Convolution { name, shape })
}

/// The first dense layer, 156 384 -> 64; the dense layers after it are too small to matter.
pub(crate) fn dense1() -> DenseShape {
    let [_, conv2] = convolutions();
    DenseShape::new(conv2.pool().output_len(), DENSE1_OUTPUTS).expect("dense1")
}

/// Outputs of the first dense layer, which are normalised over the batch.
pub(crate) const DENSE1_OUTPUTS: usize = 64;

/// Outputs of the network: the parameters of the light-cones.
pub(crate) const PARAMETERS: usize = 4;

/// The paper's optimiser.
pub(crate) const OPTIMIZER: RmsProp = RmsProp {
    learning_rate: 1e-3,
    rho: 0.9,
    epsilon: 1e-7,
};
