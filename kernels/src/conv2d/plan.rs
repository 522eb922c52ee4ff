//! Choosing how to compute a convolution, apart from computing it.
//!
//! The cost of a training step (forward, weight gradient, input gradient) is estimated for patches times
//! weights and for Fourier transforms with every tile size, and the cheapest wins. The times of transforms
//! were measured on one core of a Zen 4 at 3.7 GHz with AVX-512, the other constants are estimates; they
//! matter only relative to each other, and other levels change them alike.

use std::fmt;
use std::str::FromStr;

use super::fft::tiling::{Pairing, Tiling, Units};
use crate::fft::LENGTHS;
use crate::shape::{Conv2dShape, MaxPool2dShape, ShapeError};
use crate::simd::Level;

/// Ways to compute a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Every product of the definition, blocked for registers.
    Direct,
    /// Patches as columns of a matrix, times the weights.
    Im2col,
    /// Fourier transforms of overlapping tiles.
    Fft,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Direct, Self::Im2col, Self::Fft];

    /// `direct`, `im2col` or `fft`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Im2col => "im2col",
            Self::Fft => "fft",
        }
    }
}

/// A name that no algorithm has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no convolution algorithm, expected direct, im2col or fft")]
pub struct UnknownAlgorithm(String);

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| UnknownAlgorithm(name.to_owned()))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Nanoseconds of 16 transforms of each of [`LENGTHS`] between caches, about 1.3 times what they take
/// within the first level.
const TRANSFORM_NS: [f64; LENGTHS.len()] = [50.0, 120.0, 200.0, 240.0, 280.0, 900.0];
/// Operations per nanosecond expected of the products of spectra; the peak is 116.
const PRODUCT_RATE: f64 = 90.0;
/// The same of matrix products over patches, with making the patches.
const IM2COL_RATE: f64 = 60.0;
/// Nanoseconds per image that any algorithm spends outside its inner loops.
const CALL_NS: f64 = 2_000.0;

/// What was chosen for a shape, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    shape: Conv2dShape,
    level: Level,
    algorithm: Algorithm,
    forced: bool,
    im2col_ns: f64,
    /// The best tiling and its cost, if any fits.
    pub(crate) fft: Option<(Tiling, f64)>,
}

impl Plan {
    /// What will run.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The tiling, when transforms were chosen.
    pub(crate) fn tiling(&self) -> Option<Tiling> {
        match self.algorithm {
            Algorithm::Fft => self.fft.map(|(tiling, _)| tiling),
            Algorithm::Direct | Algorithm::Im2col => None,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = &self.shape;
        write!(
            f,
            "conv2d {}->{} @ {}x{} on {}x{}: {} at level {}",
            shape.in_channels,
            shape.out_channels,
            shape.kernel_height,
            shape.kernel_width,
            shape.height,
            shape.width,
            self.algorithm,
            self.level,
        )?;
        if self.forced {
            write!(f, " (forced)")?;
        }
        write!(
            f,
            "; estimated us per image and training step: im2col {:.0}",
            self.im2col_ns / 1e3
        )?;
        match &self.fft {
            Some((tiling, ns)) => write!(
                f,
                ", fft {:.0} with {} pairs of tiles {}x{}, {}x{} outputs each, B {} A",
                ns / 1e3,
                tiling.pairs(),
                tiling.tile[0],
                tiling.tile[1],
                tiling.useful[0],
                tiling.useful[1],
                match tiling.pairing {
                    Pairing::Down => "below",
                    Pairing::Across => "beside",
                }
            ),
            None => write!(f, ", fft impossible: no tile holds kernel and window"),
        }
    }
}

/// Chooses the algorithm for a convolution followed by pooling (a window of 1 x 1 is none).
///
/// `force` overrides the choice.
///
/// # Errors
/// [`ShapeError`] when transforms are forced and no tile is large enough.
pub fn plan(
    conv: &Conv2dShape,
    pool: &MaxPool2dShape,
    level: Level,
    force: Option<Algorithm>,
) -> Result<Plan, ShapeError> {
    let flops = 2.0 * (conv.weight_len() * conv.out_pixels()) as f64;
    let im2col_ns = 3.0 * (flops / IM2COL_RATE + CALL_NS);
    let mut fft: Option<(Tiling, f64)> = None;
    // Codes of windows must leave two values free, and a line of windows must fit a byte.
    let fits = pool.window_height * pool.window_width <= 254;
    for (height, height_ns) in LENGTHS.into_iter().zip(TRANSFORM_NS) {
        for (width, width_ns) in LENGTHS.into_iter().zip(TRANSFORM_NS) {
            for pairing in [Pairing::Down, Pairing::Across] {
                let Some(tiling) = Tiling::new(conv, pool, [height, width], pairing) else {
                    continue;
                };
                let ns = training_ns(conv, &tiling, height_ns, width_ns);
                if fits && fft.is_none_or(|(_, best)| ns < best) {
                    fft = Some((tiling, ns));
                }
            }
        }
    }
    let best = match &fft {
        Some((_, ns)) if *ns < im2col_ns => Algorithm::Fft,
        _ => Algorithm::Im2col,
    };
    let algorithm = force.unwrap_or(best);
    if algorithm == Algorithm::Fft && fft.is_none() {
        return Err(ShapeError::Dimension {
            operation: "conv2d plan",
            detail: format!(
                "no transform of at most {} cells holds a kernel of {} x {} and a pooling window of {} x {}",
                LENGTHS[LENGTHS.len() - 1],
                conv.kernel_height,
                conv.kernel_width,
                pool.window_height,
                pool.window_width
            ),
        });
    }
    Ok(Plan {
        shape: *conv,
        level,
        algorithm,
        forced: force.is_some(),
        im2col_ns,
        fft,
    })
}

/// Cost of a training step by transforms.
fn training_ns(conv: &Conv2dShape, tiling: &Tiling, height_ns: f64, width_ns: f64) -> f64 {
    let [height, width] = tiling.tile.map(|n| n as f64);
    let rows = tiling.input[0] as f64;
    let pair_ns = (rows * width_ns + width * height_ns) / 2.0;
    let x = Units::new(conv.in_channels, 2).per_pair as f64;
    let y = Units::new(conv.out_channels, 2).per_pair as f64;
    let frequencies = height * width;
    if conv.in_channels == 1 {
        // Lanes of the input are pairs; products ride on the transforms.
        let per_pair = 2.0 * pair_ns / 8.0 + 2.0 * y * (pair_ns + frequencies * 1.5);
        return tiling.pairs() as f64 * per_pair + CALL_NS;
    }
    let transforms = (3.0 * x + 2.0 * y) * pair_ns;
    let products = 3.0 * frequencies * 64.0 * x * y * 8.0 / PRODUCT_RATE;
    tiling.pairs() as f64 * (transforms + products) + CALL_NS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(image: [usize; 3], out: usize, kernel: usize, window: usize) -> Plan {
        let conv = Conv2dShape::new(image, out, [kernel; 2]).expect("shape");
        let pool = MaxPool2dShape::new(conv.output(), [window; 2]).expect("pool");
        plan(&conv, &pool, Level::available()[0], None).expect("plan")
    }

    #[test]
    fn large_kernels_are_transformed_and_small_ones_are_not() {
        let first = planned([1, 100, 2200], 8, 10, 2);
        assert_eq!(first.algorithm(), Algorithm::Fft, "{first}");
        let second = planned([8, 45, 1095], 16, 10, 2);
        assert_eq!(second.algorithm(), Algorithm::Fft, "{second}");
        assert_eq!(second.fft.map(|(t, _)| t.tile), Some([48, 64]), "{second}");
        assert!(second.to_string().contains("beside A"), "{second}");
        for small in [planned([8, 20, 20], 16, 2, 2), planned([3, 5, 6], 2, 1, 1)] {
            assert_eq!(small.algorithm(), Algorithm::Im2col, "{small}");
        }
    }

    #[test]
    fn impossible_transforms_are_refused_by_name() {
        let conv = Conv2dShape::new([1, 200, 200], 1, [129, 3]).expect("shape");
        let pool = MaxPool2dShape::new(conv.output(), [1, 1]).expect("pool");
        let error = plan(&conv, &pool, Level::available()[0], Some(Algorithm::Fft));
        assert!(error.expect_err("no tile").to_string().contains("129 x 3"));
    }
}
