//! Random numbers keyed by what they are for, never by who draws them.
//!
//! A sequence shared between threads would make results depend on their number. Instead every item
//! (a block of a dropout mask, one weight tensor, the permutation of one epoch, one Fourier mode)
//! gets a generator of its own, seeded by hashing `(seed, stream, index...)`.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

/// The generator used everywhere: 256 bits of state, passes BigCrush (Blackman & Vigna 2021).
pub type Generator = Xoshiro256PlusPlus;

/// What a random sequence is for. Two streams with the same seed and index are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Stream {
    /// Initial weights; index: layer.
    Initialization = 1,
    /// Order of the training images; index: epoch.
    Shuffle = 2,
    /// Dropout masks; index: layer, step, block.
    Dropout = 3,
    /// Division of the light-cones into training, validation and test sets.
    Split = 4,
    /// Bootstrap resampling; index: resample.
    Bootstrap = 5,
    /// Audits and tests: random inputs and directions.
    Audit = 6,
    /// Simulated initial conditions; index: light-cone, Fourier mode.
    InitialConditions = 7,
    /// Astrophysical parameters of simulated light-cones; index: light-cone.
    AstrophysicalParameters = 8,
    /// Sub-cell sources of the simulator; index: light-cone, snapshot, cell.
    UnresolvedSources = 9,
    /// Symmetries of training images; index: epoch, light-cone, image.
    Augmentation = 10,
}

/// The generator of item `index` of `stream`.
///
/// Equal arguments give equal sequences on every machine.
pub fn generator(seed: u64, stream: Stream, index: &[u64]) -> Generator {
    let mut hash = mix(seed ^ 0x9e37_79b9_7f4a_7c15);
    hash = mix(hash ^ (stream as u64));
    for &part in index {
        hash = mix(hash.rotate_left(23) ^ part);
    }
    Generator::seed_from_u64(hash)
}

/// The finaliser of SplitMix64 (Steele, Lea & Flood 2014) after one increment: a bijection in which
/// every input bit flips about half of the output bits.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number in [0, 1) from the 53 high bits of one draw.
#[inline]
pub fn unit_interval(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_xoshiro::rand_core::Rng;
    use std::collections::HashSet;

    #[test]
    fn generator_depends_on_every_part_of_its_key() {
        let mut first_draws = HashSet::new();
        for seed in 0..4 {
            for stream in [Stream::Shuffle, Stream::Dropout] {
                for index in [&[][..], &[0], &[1], &[0, 0], &[0, 1], &[1, 0], &[1, 1]] {
                    assert!(first_draws.insert(generator(seed, stream, index).next_u64()));
                }
            }
        }
    }

    #[test]
    fn generator_is_the_same_on_every_machine() {
        let mut generator = generator(21, Stream::Shuffle, &[3]);
        assert_eq!(generator.next_u64(), 9_803_746_610_675_872_771);
    }

    #[test]
    fn unit_interval_covers_zero_but_not_one() {
        assert!(unit_interval(0).abs() < f64::MIN_POSITIVE);
        assert!(unit_interval(u64::MAX) < 1.0);
    }
}
