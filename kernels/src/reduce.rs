//! Sums whose result does not depend on the number of threads, and whose rounding error stays small.

use crate::Float;

/// Values added one after the other before partial sums are combined.
const LEAF_LEN: usize = 128;

/// Sum by halves: error at most `gamma(log2(n) + 16)` times the sum of magnitudes, where a running
/// sum has `gamma(n)` (Higham 2002, section 4.2).
pub fn pairwise_sum<T: Float>(values: &[T]) -> T {
    if values.len() <= LEAF_LEN {
        // Eight running sums, so that the loop vectorises in a fixed order.
        let mut lanes = [T::ZERO; 8];
        let blocks = values.chunks_exact(8);
        let rest = blocks.remainder();
        for block in blocks {
            for (lane, &value) in lanes.iter_mut().zip(block) {
                *lane += value;
            }
        }
        for (lane, &value) in lanes.iter_mut().zip(rest) {
            *lane += value;
        }
        let [a, b, c, d, e, f, g, h] = lanes;
        return ((a + b) + (c + d)) + ((e + f) + (g + h));
    }
    let middle = (values.len() / 2).next_multiple_of(LEAF_LEN);
    let (left, right) = values.split_at(middle);
    pairwise_sum(left) + pairwise_sum(right)
}

/// Upper bound on the number of partial sums of a mini-batch: enough to keep 64 threads busy.
const MAX_CHUNKS: usize = 64;
/// Upper bound on the values that all partial sums together may hold, 2^26 (256 MiB of f32).
const MAX_PARTIAL_VALUES: usize = 1 << 26;

/// How many images share one partial sum of a gradient with `partial_len` values.
///
/// A function of the shapes alone, so that the order of additions is the same for any number of
/// threads. A large gradient gets few partial sums, at the price of less parallelism.
#[must_use]
pub fn images_per_chunk(images: usize, partial_len: usize) -> usize {
    let chunks = (MAX_PARTIAL_VALUES / partial_len.max(1)).clamp(1, MAX_CHUNKS);
    images.div_ceil(chunks).max(1)
}

/// `total = sum of partials`, in order. `total` is overwritten.
pub fn sum_in_order<'a, T: Float>(total: &mut [T], partials: impl IntoIterator<Item = &'a [T]>) {
    total.fill(T::ZERO);
    for partial in partials {
        for (total, &value) in total.iter_mut().zip(partial) {
            *total += value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairwise_sum_is_exact_where_a_running_sum_is_not() {
        // 2^24 + 1 is no f32: a running sum stops growing there.
        let ones = vec![1.0_f32; (1 << 24) + 999];
        assert_eq!(pairwise_sum(&ones) as u64, (1 << 24) + 1000); // nearest f32, ties to even
        for len in [0, 1, 7, 8, 9, 127, 128, 129, 255, 257, 1000] {
            let values: Vec<f64> = (1..=len).map(f64::from).collect();
            assert_eq!(pairwise_sum(&values) as u32, len * (len + 1) / 2);
        }
    }

    #[test]
    fn chunks_cover_the_batch_and_shrink_with_the_gradient() {
        assert_eq!(images_per_chunk(200, 12_816), 4);
        assert_eq!(images_per_chunk(3, 12_816), 1);
        assert_eq!(images_per_chunk(200, MAX_PARTIAL_VALUES), 200);
        assert_eq!(images_per_chunk(200, 2 * MAX_PARTIAL_VALUES), 200);
        assert_eq!(images_per_chunk(0, 1), 1);
    }
}
