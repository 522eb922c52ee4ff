//! The layers of Table 1 of Gillet et al. (2019), and numbers to compute with.

use dawn21_kernels::rmsprop::RmsProp;
use dawn21_kernels::stage::StageShape;
use dawn21_kernels::{Conv2dShape, DenseShape};

/// `conv1` and `conv2` with their pooling, on images of 100 x 2200 cells.
pub fn stages() -> [(&'static str, StageShape); 2] {
    let stage = |image, filters| {
        let conv = Conv2dShape::new(image, filters, [10, 10]).expect("convolution");
        StageShape::new(conv, [2, 2]).expect("window")
    };
    [
        ("conv1", stage([1, 100, 2200], 8)),
        ("conv2", stage([8, 45, 1095], 16)),
    ]
}

/// The first dense layer.
pub fn dense1() -> DenseShape {
    DenseShape::new(16 * 18 * 543, 64).expect("dense layer")
}

/// The paper's optimiser.
pub const OPTIMIZER: RmsProp = RmsProp {
    learning_rate: 1e-3,
    rho: 0.9,
    epsilon: 1e-7,
};

/// Uniform in [-`scale`, `scale`), the same for the same seed.
pub fn uniform(len: usize, scale: f32, seed: u32) -> Vec<f32> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) as f32 / 8_388_608.0 - 1.0) * scale
        })
        .collect()
}
