//! Random stages over the whole range of shapes: every algorithm at every level against the reference.
//!
//! `DAWN21_SWEEP_CASES` draws more than the usual number.

mod common;

use common::assert_same_for_any_thread_count;
use common::stage::{Case, Data, Expected, check, levels, run};
use dawn21_kernels::conv2d::plan::Algorithm;
use dawn21_kernels::rng::{Stream, generator};
use rand_xoshiro::rand_core::Rng;

/// Products of one image that the reference can do in a moment.
const MOST_PRODUCTS: usize = 3_000_000;
/// Largest kernel and most channels.
const LARGEST_KERNEL: usize = 64;
const MOST_CHANNELS: usize = 256;

struct Draw<G>(G);

impl<G: Rng> Draw<G> {
    /// 0 .. n.
    fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n as u64) as usize
    }

    /// 1 ..= `most`: small and large numbers alike, and the ends often.
    fn up_to(&mut self, most: usize) -> usize {
        match self.below(8) {
            0 => 1,
            1 => most,
            _ => {
                let most = 1 + self.below(most);
                1 + self.below(most)
            }
        }
    }

    fn case(&mut self) -> Case {
        loop {
            let kernel = [self.up_to(LARGEST_KERNEL), self.up_to(LARGEST_KERNEL)];
            let window = [1 + self.below(4), 1 + self.below(4)];
            // From an image that just holds one window to one of several tiles.
            let spare = [self.up_to(40), self.up_to(200)];
            let case = Case {
                image: [
                    self.up_to(MOST_CHANNELS),
                    kernel[0] + window[0] + spare[0] - 2,
                    kernel[1] + window[1] + spare[1] - 2,
                ],
                filters: self.up_to(MOST_CHANNELS),
                kernel,
                window,
                relu: self.below(3) > 0,
                batch: 1 + self.below(3),
            };
            let conv = case.conv();
            if conv.weight_len() * conv.out_pixels() <= MOST_PRODUCTS {
                return case;
            }
        }
    }

    /// Data of one of four kinds; whole numbers tie exactly, and their sums have no rounding error.
    fn data(&mut self, case: &Case, seed: u64) -> Data {
        let mut data = Data::random(case, seed);
        match self.below(4) {
            0 => {}
            1 => {
                for (i, x) in data.x.iter_mut().enumerate() {
                    *x *= [1e3, 1.0, 1e-3][i / 50 % 3];
                }
            }
            2 => {
                let period = 10 + self.below(100);
                for (i, x) in data.x.iter_mut().enumerate() {
                    *x *= f32::from(u8::from((i / period).is_multiple_of(2)));
                }
            }
            _ => {
                for values in [
                    &mut data.x,
                    &mut data.weight,
                    &mut data.bias,
                    &mut data.gradient,
                ] {
                    for value in values {
                        *value = (*value * 1.5).round();
                    }
                }
            }
        }
        data
    }
}

/// What the cases must have reached, so that the range is not only claimed.
#[derive(Default)]
struct Reached {
    kernel: usize,
    channels: usize,
    filters: usize,
    window: usize,
    without_relu: bool,
    whole: bool,
}

#[test]
fn stages_match_reference_over_the_whole_range_of_shapes() {
    let cases = std::env::var("DAWN21_SWEEP_CASES").map_or(80, |n| n.parse().expect("a number"));
    let levels = levels();
    let mut reached = Reached::default();
    for i in 0..cases {
        let mut draw = Draw(generator(20_261_124, Stream::Audit, &[i]));
        let case = draw.case();
        let data = draw.data(&case, 10 * i);
        let mut expected = Expected::new(&case, &data);
        let input_gradient = draw.below(2) == 0;
        println!("case {i}: {case:?}, input gradient {input_gradient}");
        for &level in &levels {
            for algorithm in Algorithm::ALL {
                check(
                    &case,
                    &data,
                    &mut expected,
                    level,
                    algorithm,
                    input_gradient,
                );
            }
        }
        // One level in turn: pools of threads take longer than the stages.
        let level = levels[i as usize % levels.len()];
        for algorithm in Algorithm::ALL {
            assert_same_for_any_thread_count(|| {
                let stack = case.stack(level, Some(algorithm), input_gradient);
                run(&stack, &data, input_gradient)
            });
        }
        reached.kernel = reached.kernel.max(case.kernel[0]).max(case.kernel[1]);
        reached.channels = reached.channels.max(case.image[0]);
        reached.filters = reached.filters.max(case.filters);
        reached.window = reached.window.max(case.window[0] * case.window[1]);
        reached.without_relu |= !case.relu;
        reached.whole |= data.x.iter().all(|x| x.fract().abs() <= 0.0);
    }
    assert_eq!(reached.kernel, LARGEST_KERNEL);
    assert_eq!([reached.channels, reached.filters], [MOST_CHANNELS; 2]);
    assert_eq!(reached.window, 16);
    assert!(reached.without_relu && reached.whole);
}
