//! The numerical derivative of a loss along one direction.
//!
//! Central differences at `h` and `h/2` are combined so that their errors of second order cancel
//! (Richardson). The step is chosen for every derivative: from large ones, where the formula is inexact,
//! to small ones, where rounding is divided by `h`, the one with the smallest estimated error is taken.
//! A network is smooth only as long as no ReLU and no max-pooling decides differently: the decisions of
//! all evaluations are compared, and a step at which one flips is not used.

/// A loss and a digest of all decisions that led to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// The loss.
    pub loss: f64,
    /// Digest of ReLU signs and pooling positions; equal for equal decisions.
    pub decisions: u64,
}

/// Steps that are tried, relative to the scale of what is changed.
const STEPS: [f64; 7] = [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8];
/// A derivative whose estimated relative error is below this needs no smaller step.
const GOOD_ENOUGH: f64 = 1e-11;

/// A numerical derivative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Derivative {
    /// Its value.
    pub value: f64,
    /// Estimate of its error, by truncation and rounding.
    pub uncertainty: f64,
}

/// Derivative of `evaluate` at 0; none when decisions flip at every step.
///
/// `base` is the evaluation at 0, `scale` the size of a large change.
pub fn derivative(
    base: Evaluation,
    scale: f64,
    mut evaluate: impl FnMut(f64) -> Evaluation,
) -> Option<Derivative> {
    let mut best: Option<Derivative> = None;
    for step in STEPS {
        let h = step * scale;
        let mut central = |h: f64| {
            let (up, down) = (evaluate(h), evaluate(-h));
            let same = up.decisions == base.decisions && down.decisions == base.decisions;
            same.then(|| (up.loss - down.loss) / (2.0 * h))
        };
        // The wider pair first: when it flips nothing, neither does the narrower one, usually.
        let (Some(wide), Some(narrow)) = (central(h), central(h / 2.0)) else {
            continue;
        };
        let combined = (4.0 * narrow - wide) / 3.0;
        let truncation = (combined - narrow).abs();
        let rounding = 4.0 * f64::EPSILON * base.loss.abs() / h;
        let uncertainty = truncation + rounding;
        if best.is_none_or(|best| uncertainty < best.uncertainty) {
            best = Some(Derivative {
                value: combined,
                uncertainty,
            });
        }
        if uncertainty <= GOOD_ENOUGH * combined.abs() {
            break;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smooth(loss: f64) -> Evaluation {
        Evaluation { loss, decisions: 0 }
    }

    #[test]
    fn derivative_of_a_smooth_function_has_ten_digits() {
        let value = derivative(smooth(1.0), 1.0, |h| {
            smooth((3.0 * h).sin() + (2.0 * h).exp())
        });
        let error = (value.expect("smooth").value - 5.0).abs() / 5.0;
        assert!(error < 1e-10, "{error:e}");
    }

    #[test]
    fn a_kink_within_reach_is_stepped_around_and_one_at_0_is_reported() {
        let kink = |at: f64| {
            move |h: f64| Evaluation {
                loss: 2.0 * h + 5.0 * (h - at).max(0.0),
                decisions: u64::from(h > at),
            }
        };
        let value = derivative(kink(1e-4)(0.0), 1.0, kink(1e-4)).expect("smooth below the kink");
        assert!((value.value - 2.0).abs() < 1e-9, "{value:?}");
        assert!(value.uncertainty < 1e-9, "{value:?}");
        let at_zero = Evaluation {
            loss: 0.0,
            decisions: 0,
        };
        assert_eq!(derivative(at_zero, 1.0, kink(0.0)), None);
    }
}
