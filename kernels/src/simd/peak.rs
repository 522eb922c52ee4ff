//! The processor's own limit, for comparison: products and sums a second with all operands in registers.

use super::{Kernel, Level, Simd};

/// Chains of dependent operations: enough to hide a latency of four cycles at two a cycle, few enough for
/// 16 registers.
const CHAINS: usize = 12;
/// Steps of each chain.
const STEPS: usize = 1 << 16;

struct Chains;

impl<S: Simd> Kernel<S> for Chains {
    type Output = f32;

    #[inline(always)]
    fn run(self, simd: S) -> f32 {
        let factor = simd.splat(std::hint::black_box(0.999_999));
        let term = simd.splat(std::hint::black_box(1e-6));
        let mut sums = [simd.splat(1.0); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = simd.fma(*sum, factor, term);
            }
        }
        let total = sums.into_iter().reduce(|a, b| simd.add(a, b));
        super::lanes_of(&[total.unwrap_or(term)]).iter().sum()
    }
}

/// Runs multiply-adds in registers on the calling thread and returns how many floating-point operations
/// they were: divide by the time that the call took.
#[must_use]
pub fn multiply_add_operations(level: Level) -> f64 {
    std::hint::black_box(level.run(Chains));
    (2 * CHAINS * STEPS * level.lanes()) as f64
}
