//! Points of parameter space that the paper shows, and what others recovered there.

use crate::data::manifest::ParameterDescription;
use crate::evaluation::published::PAPER_PARAMETERS;

/// A model of galaxies that Greig & Mesinger (2018, GM18) recovered from the power spectrum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Recovered {
    /// The truth.
    pub(super) truth: f64,
    /// Median of the posterior.
    pub(super) median: f64,
    /// Its 68 % errors, upwards and downwards.
    pub(super) errors: [f64; 2],
}

const fn recovered(truth: f64, median: f64, up: f64, down: f64) -> Recovered {
    Recovered {
        truth,
        median,
        errors: [up, down],
    }
}

/// GM18's faint galaxies as Gillet et al. (2019) plot them in figure 5 (values of their published script).
const FAINT: [Recovered; 4] = [
    recovered(4.70, 4.76, 0.07, 0.07),
    recovered(30.0, 33.99, 7.18, 5.13),
    recovered(40.0, 40.08, 0.10, 0.10),
    recovered(0.50, 0.52, 0.07, 0.08),
];

/// GM18's bright galaxies, likewise.
const BRIGHT: [Recovered; 4] = [
    recovered(5.48, 5.47, 0.02, 0.02),
    recovered(200.0, 177.42, 33.62, 30.85),
    recovered(40.0, 40.0, 0.07, 0.07),
    recovered(0.50, 0.50, 0.07, 0.08),
];

/// The light-cones of figure A2.
const RESPONSES: [[f64; 4]; 2] = [[5.2, 106.0, 38.7, 0.89], [4.15, 30.0, 40.5, 0.65]];

fn number(parameter: &ParameterDescription) -> Option<usize> {
    PAPER_PARAMETERS
        .iter()
        .position(|name| *name == parameter.name)
}

/// GM18's faint and bright galaxies, for a parameter of the paper.
pub(super) fn gm18(parameter: &ParameterDescription) -> Option<[Recovered; 2]> {
    number(parameter).map(|index| [FAINT[index], BRIGHT[index]])
}

/// Points of parameter space that light-cones are shown of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Points {
    /// For figure 1, with a name each.
    pub(super) light_cones: [(&'static str, Vec<f64>); 2],
    /// For figure A2.
    pub(super) responses: [Vec<f64>; 2],
    /// Whether they are the paper's.
    pub(super) of_the_paper: bool,
}

/// The paper's points when the parameters are the paper's, in any order; else points at a quarter and three
/// quarters of every range.
pub(super) fn points(parameters: &[ParameterDescription]) -> Points {
    let numbers: Option<Vec<usize>> = parameters.iter().map(number).collect();
    match numbers {
        Some(numbers) if numbers.len() == PAPER_PARAMETERS.len() => {
            let of = |values: [f64; 4]| numbers.iter().map(|&n| values[n]).collect();
            let truths = |model: [Recovered; 4]| of(model.map(|value| value.truth));
            Points {
                light_cones: [
                    ("faint galaxies", truths(FAINT)),
                    ("bright galaxies", truths(BRIGHT)),
                ],
                responses: RESPONSES.map(of),
                of_the_paper: true,
            }
        }
        _ => {
            let at = |share: f64| -> Vec<f64> {
                let ranges = parameters.iter();
                ranges.map(|p| p.min + share * (p.max - p.min)).collect()
            };
            Points {
                light_cones: [("low parameters", at(0.25)), ("high parameters", at(0.75))],
                responses: [at(0.25), at(0.75)],
                of_the_paper: false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(name: &str, min: f64, max: f64) -> ParameterDescription {
        ParameterDescription {
            name: name.to_string(),
            unit: String::new(),
            min,
            max,
            latex: None,
        }
    }

    #[test]
    fn points_follow_the_order_of_the_parameters() {
        let parameters =
            ["e0_kev", "zeta", "log10_tvir", "log10_lx_sfr"].map(|n| parameter(n, 0.0, 1.0));
        let points = points(&parameters);
        assert!(points.of_the_paper);
        assert_eq!(points.light_cones[1].1, [0.5, 200.0, 5.48, 40.0]);
        assert_eq!(points.responses[0], [0.89, 106.0, 5.2, 38.7]);
    }

    #[test]
    fn other_parameters_have_points_within_their_ranges() {
        let points = points(&[parameter("zeta", 10.0, 250.0), parameter("level", 0.0, 1.0)]);
        assert!(!points.of_the_paper);
        assert_eq!(points.light_cones[0].1, [70.0, 0.25]);
    }
}
