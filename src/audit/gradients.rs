//! Analytic gradients of a network in f64 against numerical derivatives of its loss.

use dawn21_kernels::ShapeError;
use dawn21_kernels::loss::mean_squared_error;
use dawn21_kernels::rng::{Stream, generator, unit_interval};
use rand::Rng;

use super::derivative::{Derivative, Evaluation, derivative};
use super::report::{Check, Comparison, summarize};
use crate::model::activations::{Activations, Mode};
use crate::model::network::Network;
use crate::model::parameters::Parameters;

/// Numbers uniform in [-1, 1), a function of the key alone.
#[must_use]
pub fn random(len: usize, seed: u64, key: u64) -> Vec<f64> {
    let mut generator = generator(seed, Stream::Audit, &[key]);
    (0..len)
        .map(|_| 2.0 * unit_interval(generator.next_u64()) - 1.0)
        .collect()
}

/// A network with numbers, input and target: a point at which gradients are checked.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The network.
    pub network: Network,
    /// Its numbers.
    pub parameters: Parameters<f64>,
    /// (N,1,H,W).
    pub input: Vec<f64>,
    /// (N,P).
    pub target: Vec<f64>,
    /// Training mode has batch statistics and a fixed dropout mask.
    pub mode: Mode,
}

/// All gradients at a point.
#[derive(Debug)]
pub struct Gradients {
    /// Of the parameters.
    pub parameters: Parameters<f64>,
    /// Of the input.
    pub input: Vec<f64>,
}

impl Subject {
    /// A point with Glorot weights, and biases, scales and shifts away from 0 and 1, where a mistake
    /// could hide; `input` is (N,1,H,W).
    #[must_use]
    pub fn new(network: Network, input: Vec<f64>, seed: u64) -> Self {
        let architecture = network.architecture();
        let mut parameters = Parameters::<f64>::initialize(architecture, seed);
        for (key, tensor) in parameters.trainable.iter_mut().enumerate() {
            if tensor.shape.len() == 1 {
                let shifts = random(tensor.values.len(), seed, 1000 + key as u64);
                for (value, shift) in tensor.values.iter_mut().zip(shifts) {
                    *value += 0.2 * shift;
                }
            }
        }
        for (key, tensor) in parameters.buffers.iter_mut().enumerate() {
            let shifts = random(tensor.values.len(), seed, 2000 + key as u64);
            for (value, shift) in tensor.values.iter_mut().zip(shifts) {
                *value += 0.2 * shift;
            }
        }
        let images = input.len() / network.image_len();
        let target = random(images * architecture.outputs(), seed, 3000);
        Self {
            parameters,
            input,
            target,
            mode: Mode::Training { seed, step: 1 },
            network,
        }
    }

    fn forward(
        &self,
        parameters: &Parameters<f64>,
        input: &[f64],
        activations: &mut Activations<f64>,
    ) -> Result<f64, ShapeError> {
        let buffer = activations.input_mut();
        buffer.clear();
        buffer.extend_from_slice(input);
        self.network.forward(parameters, activations, self.mode)?;
        let (output, gradient) = activations.output_and_gradient_mut();
        mean_squared_error(output, &self.target, gradient)
    }

    /// Loss and decisions for other numbers or another input.
    ///
    /// # Errors
    /// [`ShapeError`] when they are not of this network's shape.
    pub fn evaluate(
        &self,
        parameters: &Parameters<f64>,
        input: &[f64],
        activations: &mut Activations<f64>,
    ) -> Result<Evaluation, ShapeError> {
        let loss = self.forward(parameters, input, activations)?;
        Ok(Evaluation {
            loss,
            decisions: self.network.decisions(activations),
        })
    }

    /// Gradients by the backward pass.
    ///
    /// # Errors
    /// [`ShapeError`] when the subject does not fit together.
    pub fn gradients(&self, activations: &mut Activations<f64>) -> Result<Gradients, ShapeError> {
        self.forward(&self.parameters, &self.input, activations)?;
        let mut parameters = Parameters::zeros(self.network.architecture());
        for tensor in &mut parameters.trainable {
            // A value that the backward pass does not write shows.
            tensor.values.fill(f64::NAN);
        }
        self.network
            .backward(&self.parameters, activations, &mut parameters, true)?;
        Ok(Gradients {
            parameters,
            input: activations.input_gradient().to_vec(),
        })
    }
}

/// Entries of a tensor that are probed: all when there are few; else half of the probes at the largest
/// gradients, since behind dropout and closed ReLUs most are 0 and would show no mistake, and half evenly
/// spread from a random start, so that a gradient that is wrongly 0 shows too.
fn probed(gradient: &[f64], probes: usize, seed: u64) -> Vec<usize> {
    let len = gradient.len();
    if len <= probes {
        return (0..len).collect();
    }
    let mut order: Vec<usize> = (0..len).collect();
    let largest = probes.div_ceil(2);
    order.select_nth_unstable_by(largest - 1, |&a, &b| {
        gradient[b]
            .abs()
            .total_cmp(&gradient[a].abs())
            .then(a.cmp(&b))
    });
    let mut entries = order[..largest].to_vec();
    let spread = probes - largest;
    let stride = len as f64 / spread.max(1) as f64;
    let start = (random(1, seed, len as u64)[0] + 1.0) / 2.0;
    entries.extend((0..spread).map(|i| ((i as f64 + start) * stride) as usize));
    entries.sort_unstable();
    entries.dedup();
    // Where both halves chose the same, the first entries that neither chose take part.
    let missing = (0..len).filter(|i| entries.binary_search(i).is_err());
    let missing: Vec<usize> = missing.take(probes - entries.len()).collect();
    entries.extend(missing);
    entries
}

/// How errors of [`check_gradients`] are measured.
pub const GRADIENT_MEASURE: &str = "|analytic - numeric| / max(|analytic|, |numeric|, a hundredth of the tensor's largest entry); \
     a gradient that cancels to 0 is measured by the network's largest. Set aside: a ReLU or pooling decision flips at every \
     step at which the numerical derivative is exact enough";

/// Compares up to `probes` entries of every trainable tensor and of the input; one row a tensor.
///
/// # Errors
/// [`ShapeError`] when the subject does not fit together.
pub fn check_gradients(
    subject: &Subject,
    name: &str,
    probes: usize,
    bound: f64,
    seed: u64,
) -> Result<Vec<Check>, ShapeError> {
    let mut activations = subject.network.activations();
    let gradients = subject.gradients(&mut activations)?;
    let base = subject.evaluate(&subject.parameters, &subject.input, &mut activations)?;
    let largest = |values: &[f64]| values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let tensors = &gradients.parameters.trainable;
    let all = tensors.iter().map(|tensor| largest(&tensor.values));
    let network_largest = all.fold(largest(&gradients.input), f64::max);

    let mut checks = Vec::new();
    let mut parameters = subject.parameters.clone();
    for (t, tensor) in tensors.iter().enumerate() {
        let scale = largest(&subject.parameters.trainable[t].values).max(0.01);
        let compare = |index: usize| {
            let value = subject.parameters.trainable[t].values[index];
            let numeric = derivative(base, scale, |h| {
                parameters.trainable[t].values[index] = value + h;
                subject
                    .evaluate(&parameters, &subject.input, &mut activations)
                    .unwrap_or(UNUSABLE)
            });
            parameters.trainable[t].values[index] = value;
            numeric
        };
        checks.push(check_tensor(
            name,
            &tensor.name,
            &tensor.values,
            network_largest,
            &probed(&tensor.values, probes, seed),
            bound,
            compare,
        ));
    }
    let mut input = subject.input.clone();
    let compare = |index: usize| {
        let numeric = derivative(base, 1.0, |h| {
            input[index] = subject.input[index] + h;
            subject
                .evaluate(&subject.parameters, &input, &mut activations)
                .unwrap_or(UNUSABLE)
        });
        input[index] = subject.input[index];
        numeric
    };
    let entries = probed(&gradients.input, probes, seed);
    checks.push(check_tensor(
        name,
        "input",
        &gradients.input,
        network_largest,
        &entries,
        bound,
        compare,
    ));
    Ok(checks)
}

/// The shapes were checked by the evaluation at the base point: this cannot come up, and would fail the
/// check if it did.
const UNUSABLE: Evaluation = Evaluation {
    loss: f64::NAN,
    decisions: u64::MAX,
};

/// A tensor whose gradient is smaller than the network's largest by this cancels to 0: that of a bias in
/// front of a normalisation, for one.
const CANCELLED: f64 = 1e-9;

fn check_tensor(
    subject: &str,
    tensor: &str,
    gradient: &[f64],
    network_largest: f64,
    entries: &[usize],
    bound: f64,
    mut numeric_at: impl FnMut(usize) -> Option<Derivative>,
) -> Check {
    let largest = gradient.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let floor = match largest < CANCELLED * network_largest {
        true => network_largest,
        false => 0.01 * largest,
    };
    let mut comparisons = Vec::new();
    let mut set_aside = 0;
    for &index in entries {
        let analytic = gradient[index];
        let scale = |numeric: f64| analytic.abs().max(numeric.abs()).max(floor);
        let exact_enough = |d: &Derivative| d.uncertainty <= 0.5 * bound * scale(d.value);
        let Some(Derivative { value: numeric, .. }) = numeric_at(index).filter(exact_enough) else {
            set_aside += 1;
            continue;
        };
        comparisons.push(Comparison {
            index,
            analytic,
            numeric,
            error: (analytic - numeric).abs() / scale(numeric).max(f64::MIN_POSITIVE),
        });
    }
    summarize(
        subject,
        tensor,
        gradient.len(),
        set_aside,
        &comparisons,
        bound,
    )
}

/// Compares derivatives along random directions of all parameters together.
///
/// In a direction, every tensor changes along its gradient, entry by entry more or less by a random
/// factor in [0, 2], and tensor by tensor by a norm of 1: so that all contribute alike and none cancels.
///
/// # Errors
/// [`ShapeError`] when the subject does not fit together.
pub fn check_directions(
    subject: &Subject,
    name: &str,
    directions: usize,
    bound: f64,
    seed: u64,
) -> Result<Check, ShapeError> {
    let mut activations = subject.network.activations();
    let gradients = subject.gradients(&mut activations)?.parameters;
    let base = subject.evaluate(&subject.parameters, &subject.input, &mut activations)?;
    let mut comparisons = Vec::new();
    let mut set_aside = 0;
    for index in 0..directions {
        let mut direction = gradients.clone();
        for (t, tensor) in direction.trainable.iter_mut().enumerate() {
            let key = (4000 + 1000 * index + t) as u64;
            let factors = random(tensor.values.len(), seed, key);
            let norm = tensor.values.iter().map(|g| g * g).sum::<f64>().sqrt();
            for (value, factor) in tensor.values.iter_mut().zip(factors) {
                *value *= (1.0 + factor) / norm.max(f64::MIN_POSITIVE);
            }
        }
        let pairs = gradients.trainable.iter().zip(&direction.trainable);
        let analytic = pairs
            .map(|(g, d)| {
                g.values
                    .iter()
                    .zip(&d.values)
                    .map(|(g, d)| g * d)
                    .sum::<f64>()
            })
            .sum::<f64>();
        let mut moved = subject.parameters.clone();
        let numeric = derivative(base, 1e-2, |h| {
            let tensors = moved
                .trainable
                .iter_mut()
                .zip(&subject.parameters.trainable);
            for ((moved, at), along) in tensors.zip(&direction.trainable) {
                let values = moved.values.iter_mut().zip(&at.values).zip(&along.values);
                for ((moved, at), along) in values {
                    *moved = at + h * along;
                }
            }
            subject
                .evaluate(&moved, &subject.input, &mut activations)
                .unwrap_or(UNUSABLE)
        });
        let Some(Derivative { value: numeric, .. }) = numeric else {
            set_aside += 1;
            continue;
        };
        comparisons.push(Comparison {
            index,
            analytic,
            numeric,
            error: (analytic - numeric).abs() / analytic.abs().max(numeric.abs()),
        });
    }
    let values = subject.parameters.trainable_count();
    Ok(summarize(
        name,
        "all parameters",
        values,
        set_aside,
        &comparisons,
        bound,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::architecture::Architecture;
    use crate::model::network::Sabotage;
    use crate::training::config::{Config, ConfigSources};

    /// The paper's network on small images, with a fault in its backward pass or none.
    fn audit(sabotage: Option<Sabotage>) -> Vec<Check> {
        let config = Config::load(&ConfigSources::default()).expect("preset");
        let image = [40, 48];
        let architecture = Architecture::resolve(&config.layers, image, 1.5, 4).expect("fits");
        let mut network = Network::new(architecture);
        network.sabotage = sabotage;
        let subject = Subject::new(network, random(2 * image[0] * image[1], 1, 0), 1);
        check_gradients(&subject, "network", 6, 1e-7, 1).expect("fits")
    }

    fn failed(checks: &[Check]) -> Vec<&str> {
        let failed = checks.iter().filter(|check| !check.passed());
        failed.map(|check| check.tensor.as_str()).collect()
    }

    #[test]
    fn a_sound_backward_pass_passes() {
        let checks = audit(None);
        assert_eq!(failed(&checks), [""; 0]);
        assert_eq!(checks.len(), 15, "14 tensors and the input");
        assert!(checks.iter().all(|check| check.checked >= 4), "{checks:?}");
    }

    #[test]
    fn a_wrong_sign_or_missing_factor_is_named() {
        // In a convolution, a dense layer, both tensors of the normalisation, and the last bias.
        for (tensor, name, factor) in [
            (0, "0.weight", -1.0),
            (4, "8.weight", 0.5),
            (6, "10.weight", 1.0 + 1e-6),
            (7, "10.bias", -1.0),
            (13, "16.bias", 0.5),
        ] {
            let checks = audit(Some(Sabotage::Factor { tensor, factor }));
            assert_eq!(failed(&checks), [name], "factor {factor}");
        }
    }

    #[test]
    fn an_argmax_that_is_off_by_one_is_named_by_what_lies_before_it() {
        let checks = audit(Some(Sabotage::ArgmaxOffByOne));
        let failed = failed(&checks);
        for tensor in ["0.weight", "3.weight", "input"] {
            assert!(failed.contains(&tensor), "{failed:?}");
        }
        assert!(
            !failed.contains(&"8.weight"),
            "the dense layer is sound: {failed:?}"
        );
    }

    #[test]
    fn a_check_of_nothing_or_of_nan_does_not_pass() {
        let comparison = |error| Comparison {
            index: 0,
            analytic: 1.0,
            numeric: 1.0,
            error,
        };
        assert!(summarize("", "", 1, 0, &[comparison(0.0)], 1e-7).passed());
        assert!(!summarize("", "", 1, 1, &[], 1e-7).passed());
        assert!(!summarize("", "", 1, 0, &[comparison(f64::NAN)], 1e-7).passed());
    }
}
