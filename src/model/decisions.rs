//! Which way every ReLU and every max-pooling went.

use dawn21_kernels::Float;

use super::activations::Activations;
use super::network::Network;
use super::stages::Operation;

impl Network {
    /// Digest of every decision of the last forward pass: the sign of every ReLU and the position of every
    /// maximum. Between two inputs with equal decisions a network is smooth.
    #[must_use]
    pub fn decisions<T: Float>(&self, activations: &Activations<T>) -> u64 {
        let mut digest = Digest::new();
        for (index, stage) in self.stages.iter().enumerate() {
            let y = &activations.buffers[stage.output];
            let argmax = &activations.argmax[index];
            match stage.operation {
                // Where the ReLU is closed, the position of the maximum does not matter.
                Operation::ConvReluPool { .. } => {
                    for (y, &position) in y.iter().zip(argmax) {
                        digest.add(if *y > T::ZERO { position } else { u8::MAX });
                    }
                }
                Operation::MaxPool2d(_) => argmax.iter().for_each(|&p| digest.add(p)),
                Operation::Relu => y.iter().for_each(|y| digest.add(u8::from(*y > T::ZERO))),
                _ => {}
            }
        }
        digest.finish()
    }
}

/// FNV-1a: order-dependent and fast; a flip that goes unnoticed by chance (2^-64) would only show as an
/// audit that fails.
struct Digest(u64);

impl Digest {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }

    fn finish(self) -> u64 {
        self.0
    }
}
