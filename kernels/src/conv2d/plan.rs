//! Choosing how to compute a convolution, apart from computing it.
//!
//! Every algorithm estimates what a training step (forward, weight gradient, input gradient) costs: the number
//! of its operations, times what they cost at the vector level (`rates`). The cheapest wins.

use std::fmt;
use std::str::FromStr;

use super::direct::Direct;
use super::fft::tiling::{Pairing, Tiling};
use super::fft::work::best_tiling;
use super::panels::Panels;
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
#[error("`{0}` is not a convolution algorithm, expected direct, im2col or fft")]
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

/// What was chosen for a shape, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    shape: Conv2dShape,
    level: Level,
    algorithm: Algorithm,
    forced: bool,
    direct_ns: f64,
    im2col_ns: f64,
    /// The best tiling and its cost, if any fits.
    fft: Option<(Tiling, f64)>,
}

impl Plan {
    /// What will run.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Estimated nanoseconds of a training step on one image and one thread; `None` where the algorithm
    /// cannot compute the shape.
    #[must_use]
    pub fn estimate_ns(&self, algorithm: Algorithm) -> Option<f64> {
        match algorithm {
            Algorithm::Direct => Some(self.direct_ns),
            Algorithm::Im2col => Some(self.im2col_ns),
            Algorithm::Fft => self.fft.map(|(_, ns)| ns),
        }
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
        write!(f, "{}", if self.forced { " (forced)" } else { "" })?;
        write!(
            f,
            "; estimated us per image and training step: direct {:.1}, im2col {:.1}",
            self.direct_ns / 1e3,
            self.im2col_ns / 1e3
        )?;
        match &self.fft {
            Some((tiling, ns)) => write!(
                f,
                ", fft {:.1} with {} pairs of tiles {}x{}, {}x{} outputs each, B {} A",
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
/// The gradient of the input is counted unless there is one input channel: then the convolution is taken
/// for the first of a network. `force` overrides the choice.
///
/// # Errors
/// [`ShapeError`] when transforms are forced and no tile is large enough.
pub fn plan(
    conv: &Conv2dShape,
    pool: &MaxPool2dShape,
    level: Level,
    force: Option<Algorithm>,
) -> Result<Plan, ShapeError> {
    plan_stage(conv, pool, level, force, conv.in_channels > 1)
}

/// As [`plan`], for a stage of which it is known whether the gradient of its input will be wanted.
pub(crate) fn plan_stage(
    conv: &Conv2dShape,
    pool: &MaxPool2dShape,
    level: Level,
    force: Option<Algorithm>,
    input_gradient: bool,
) -> Result<Plan, ShapeError> {
    // Codes of windows must leave two values free, and a line of windows must fit a byte.
    let fits = pool.window_len() <= 254;
    let mut plan = Plan {
        shape: *conv,
        level,
        algorithm: Algorithm::Direct,
        forced: force.is_some(),
        direct_ns: Direct::estimate(conv, pool, level, input_gradient),
        im2col_ns: Panels::estimate(conv, pool, level, input_gradient),
        fft: best_tiling(conv, pool, level, input_gradient).filter(|_| fits),
    };
    let estimate = |algorithm| plan.estimate_ns(algorithm).unwrap_or(f64::INFINITY);
    let best = Algorithm::ALL
        .into_iter()
        .min_by(|a, b| estimate(*a).total_cmp(&estimate(*b)));
    plan.algorithm = force.or(best).unwrap_or(Algorithm::Direct);
    if plan.algorithm == Algorithm::Fft && plan.fft.is_none() {
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
    Ok(plan)
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
        // 45 rows of input fit into one tile of 48.
        assert_eq!(second.fft.map(|(t, _)| t.tile[0]), Some(48), "{second}");
        // Few output channels would leave the lanes of the direct convolution empty.
        let few = planned([2, 64, 64], 3, 3, 1);
        assert_eq!(few.algorithm(), Algorithm::Im2col, "{few}");
        let many = planned([128, 28, 28], 128, 3, 2);
        assert_eq!(many.algorithm(), Algorithm::Direct, "{many}");
    }

    #[test]
    fn plans_say_what_every_algorithm_costs_and_the_cheapest_is_chosen() {
        for level in Level::available() {
            for (image, out, kernel) in [
                ([1, 30, 40], 8, 10),
                ([3, 9, 9], 5, 2),
                ([64, 20, 20], 8, 5),
            ] {
                let conv = Conv2dShape::new(image, out, [kernel; 2]).expect("shape");
                let pool = MaxPool2dShape::new(conv.output(), [2, 2]).expect("pool");
                let free = plan(&conv, &pool, level, None).expect("plan");
                let text = free.to_string();
                assert!(text.contains(&format!(": {} at level {level};", free.algorithm())));
                for algorithm in Algorithm::ALL {
                    let ns = free.estimate_ns(algorithm).expect("possible");
                    let chosen = free.estimate_ns(free.algorithm()).expect("possible");
                    assert!(ns.is_finite() && ns >= chosen, "{text}");
                    assert!(
                        text.contains(&format!("{algorithm} {:.1}", ns / 1e3)),
                        "{text}"
                    );
                    let forced = plan(&conv, &pool, level, Some(algorithm)).expect("plan");
                    assert_eq!(forced.algorithm(), algorithm);
                    assert!(forced.to_string().contains("(forced)"), "{forced}");
                }
            }
        }
    }

    #[test]
    fn algorithms_have_names() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
        let error = "winograd"
            .parse::<Algorithm>()
            .expect_err("no such algorithm");
        assert!(error.to_string().contains("`winograd`"), "{error}");
    }

    #[test]
    fn impossible_transforms_are_refused_by_name() {
        let conv = Conv2dShape::new([1, 200, 200], 1, [129, 3]).expect("shape");
        let pool = MaxPool2dShape::new(conv.output(), [1, 1]).expect("pool");
        let error = plan(&conv, &pool, Level::available()[0], Some(Algorithm::Fft));
        assert!(error.expect_err("no tile").to_string().contains("129 x 3"));
    }
}
