//! The network: Table 1 of the paper, fused against unfused stages, gradients against finite differences.

use dawn21::model::activations::Mode;
use dawn21::model::architecture::Architecture;
use dawn21::model::layer_spec::LayerSpec;
use dawn21::model::network::Network;
use dawn21::model::parameters::Parameters;
use dawn21::training::config::{Config, ConfigSources};
use dawn21_kernels::Float;
use dawn21_kernels::loss::mean_squared_error;
use dawn21_kernels::rng::{Stream, generator, unit_interval};
use rand::Rng;

fn random<T: Float>(len: usize, seed: u64) -> Vec<T> {
    let mut generator = generator(seed, Stream::Audit, &[]);
    (0..len)
        .map(|_| T::from_f64(2.0 * unit_interval(generator.next_u64()) - 1.0))
        .collect()
}

fn layers(text: &str) -> Vec<LayerSpec> {
    #[derive(serde::Deserialize)]
    struct File {
        layer: Vec<LayerSpec>,
    }
    toml::from_str::<File>(text).expect("valid layers").layer
}

/// Every layer type, odd sizes that leave rests under pooling, both places of a batch normalisation,
/// one fused stage and one convolution that is not.
const EVERY_LAYER: &str = r#"
layer = [
    { kind = "conv2d", filters = 3, kernel = [2, 3] },
    { kind = "relu" },
    { kind = "max_pool2d" },
    { kind = "conv2d", filters = 4, kernel = 2 },
    { kind = "batch_norm", momentum = 0.9 },
    { kind = "relu" },
    { kind = "max_pool2d", window = [1, 3] },
    { kind = "flatten" },
    { kind = "dropout", rate = 0.3 },
    { kind = "dense", units = 6 },
    { kind = "relu" },
    { kind = "batch_norm" },
    { kind = "relu" },
    { kind = "dense" },
]
"#;

fn every_layer() -> Architecture {
    Architecture::resolve(&layers(EVERY_LAYER), [9, 18], 1.0, 2).expect("fits")
}

#[test]
fn preset_is_table_1_layer_by_layer() {
    let config = Config::load(&ConfigSources::default()).expect("the default preset");
    let architecture =
        Architecture::resolve(&config.layers, [100, 2200], 1.5, 4).expect("the paper's images");
    let counts: Vec<(String, usize)> = architecture
        .output_shapes()
        .iter()
        .zip(architecture.layers())
        .map(|(shape, layer)| {
            let tensors = layer.trainable();
            let count = tensors.iter().map(|t| t.shape.iter().product::<usize>());
            (shape.to_string(), count.sum())
        })
        .collect();
    let expected = [
        ("8 x 91 x 2191", 808),
        ("8 x 91 x 2191", 0),
        ("8 x 45 x 1095", 0),
        ("16 x 36 x 1086", 12_816),
        ("16 x 36 x 1086", 0),
        ("16 x 18 x 543", 0),
        ("156384", 0),
        ("156384", 0),
        ("64", 10_008_640),
        ("64", 0),
        ("64", 128),
        ("64", 0),
        ("16", 1040),
        ("16", 0),
        ("8", 136),
        ("8", 0),
        ("4", 36),
    ];
    let counts: Vec<(&str, usize)> = counts.iter().map(|(s, n)| (s.as_str(), *n)).collect();
    assert_eq!(counts, expected);
    let parameters = Parameters::<f32>::initialize(&architecture, 21);
    assert_eq!(parameters.trainable_count(), 10_023_604);
}

#[test]
fn initial_weights_are_glorot_uniform_and_seeded() {
    let architecture = every_layer();
    let parameters = Parameters::<f64>::initialize(&architecture, 1);
    let weight = &parameters.trainable[0];
    assert_eq!(
        (weight.name.as_str(), &weight.shape[..]),
        ("0.weight", &[3, 1, 2, 3][..])
    );
    let limit = (6.0_f64 / ((3.0 + 1.0) * 6.0)).sqrt();
    let largest = weight.values.iter().fold(0.0_f64, |m, w| m.max(w.abs()));
    assert!(
        largest <= limit && largest > 0.7 * limit,
        "{largest} {limit}"
    );
    assert!(
        parameters.trainable[1]
            .values
            .iter()
            .all(|b| b.abs() < 1e-300),
        "zero bias"
    );
    assert_eq!(parameters, Parameters::initialize(&architecture, 1));
    assert_ne!(parameters, Parameters::initialize(&architecture, 2));
}

/// Output, loss and gradients of one training-mode pass.
struct Pass<T> {
    output: Vec<T>,
    loss: f64,
    gradients: Parameters<T>,
    input_gradient: Vec<T>,
}

const MODE: Mode = Mode::Training { seed: 5, step: 17 };

fn pass<T: Float>(
    network: &Network,
    parameters: &Parameters<T>,
    input: &[T],
    target: &[T],
    mode: Mode,
) -> Pass<T> {
    let mut activations = network.activations();
    activations.input_mut().extend_from_slice(input);
    network
        .forward(parameters, &mut activations, mode)
        .expect("fits");
    let (output, gradient) = activations.output_and_gradient_mut();
    let output = output.to_vec();
    let loss = mean_squared_error(&output, target, gradient).expect("fits");
    let mut gradients = Parameters::zeros(network.architecture());
    for tensor in gradients.tensors_mut() {
        tensor.values.fill(T::from_f64(f64::NAN));
    }
    network
        .backward(parameters, &mut activations, &mut gradients, true)
        .expect("fits");
    Pass {
        output,
        loss,
        gradients,
        input_gradient: activations.input_gradient().to_vec(),
    }
}

#[test]
fn fused_and_unfused_networks_agree_exactly() {
    let architecture = every_layer();
    let parameters = Parameters::<f32>::initialize(&architecture, 3);
    let (input, target) = (random::<f32>(5 * 9 * 18, 1), random::<f32>(5 * 2, 2));
    for mode in [MODE, Mode::Inference] {
        let fused = pass(
            &Network::new(architecture.clone()),
            &parameters,
            &input,
            &target,
            mode,
        );
        let plain = Network::unfused(architecture.clone());
        let plain = pass(&plain, &parameters, &input, &target, mode);
        assert_eq!(fused.output, plain.output);
        assert_eq!(fused.gradients.trainable, plain.gradients.trainable);
        assert_eq!(fused.input_gradient, plain.input_gradient);
    }
}

/// What errors of a tensor's gradient are relative to: its largest entry; for a tensor without effect (a
/// bias before a normalisation has a gradient that cancels to 0) the fraction `floor` of the network's
/// largest.
fn scale<T: Float>(tensor: &[T], gradients: &Parameters<T>, floor: f64) -> f64 {
    let largest = |values: &[T]| values.iter().fold(0.0_f64, |m, g| m.max(g.to_f64().abs()));
    let all = gradients.trainable.iter().map(|t| largest(&t.values));
    largest(tensor).max(floor * all.fold(0.0, f64::max))
}

/// Fourth-order central difference of the loss along one number.
fn numeric_gradient(mut loss_at: impl FnMut(f64) -> f64) -> f64 {
    let mut central = |h: f64| (loss_at(h) - loss_at(-h)) / (2.0 * h);
    let h = 3e-5;
    (4.0 * central(h) - central(2.0 * h)) / 3.0
}

#[test]
fn whole_network_gradient_matches_finite_differences() {
    let architecture = every_layer();
    let network = Network::new(architecture.clone());
    let mut parameters = Parameters::<f64>::initialize(&architecture, 4);
    for (i, tensor) in parameters.trainable.iter_mut().enumerate() {
        // Biases, scales and shifts away from 0 and 1, where mistakes could hide.
        let shift = random::<f64>(tensor.values.len(), 100 + i as u64);
        for (value, shift) in tensor.values.iter_mut().zip(shift) {
            *value += 0.1 * (shift + 0.4);
        }
    }
    let batch = 6;
    let (input, target) = (
        random::<f64>(batch * 9 * 18, 5),
        random::<f64>(batch * 2, 6),
    );
    for mode in [MODE, Mode::Inference] {
        let analytic = pass(&network, &parameters, &input, &target, mode);
        let loss = |parameters: &Parameters<f64>, input: &[f64]| {
            pass(&network, parameters, input, &target, mode).loss
        };
        let mut probe = parameters.clone();
        for (t, gradient) in analytic.gradients.trainable.iter().enumerate() {
            let scale = scale(&gradient.values, &analytic.gradients, 1e-3);
            for i in (0..gradient.values.len()).step_by(1 + gradient.values.len() / 40) {
                let value = parameters.trainable[t].values[i];
                let numeric = numeric_gradient(|h| {
                    probe.trainable[t].values[i] = value + h;
                    loss(&probe, &input)
                });
                probe.trainable[t].values[i] = value;
                let error = (numeric - gradient.values[i]).abs() / scale;
                assert!(
                    error < 1e-7,
                    "{mode:?} {}[{i}]: {} against {numeric}",
                    gradient.name,
                    gradient.values[i]
                );
            }
        }
        let scale = analytic
            .input_gradient
            .iter()
            .fold(1e-4_f64, |m, g| m.max(g.abs()));
        let mut probe = input.clone();
        for i in (0..input.len()).step_by(17) {
            let numeric = numeric_gradient(|h| {
                probe[i] = input[i] + h;
                loss(&parameters, &probe)
            });
            probe[i] = input[i];
            let error = (numeric - analytic.input_gradient[i]).abs() / scale;
            assert!(error < 1e-7, "{mode:?} input[{i}]: error {error}");
        }
    }
}

#[test]
fn single_precision_gradients_follow_double_precision() {
    let architecture = every_layer();
    let network = Network::new(architecture.clone());
    let single = Parameters::<f32>::initialize(&architecture, 7);
    let (input, target) = (random::<f32>(8 * 9 * 18, 8), random::<f32>(8 * 2, 9));
    let widen = |values: &[f32]| -> Vec<f64> { values.iter().map(|&v| v.into()).collect() };
    let exact = pass(
        &network,
        &single.convert(),
        &widen(&input),
        &widen(&target),
        MODE,
    );
    let actual = pass(&network, &single, &input, &target, MODE);
    let tensors = actual
        .gradients
        .trainable
        .iter()
        .zip(&exact.gradients.trainable);
    for (actual, tensor) in tensors {
        let scale = scale(&tensor.values, &exact.gradients, 0.1);
        for (a, e) in actual.values.iter().zip(&tensor.values) {
            let error = (f64::from(*a) - e).abs() / scale;
            assert!(error < 2e-5, "{}: {a} against {e}", tensor.name);
        }
    }
}

#[test]
fn dropout_acts_in_training_only_and_depends_on_the_step() {
    let architecture = every_layer();
    let network = Network::new(architecture.clone());
    let parameters = Parameters::<f32>::initialize(&architecture, 10);
    let (input, target) = (random::<f32>(4 * 9 * 18, 11), random::<f32>(4 * 2, 12));
    let output = |mode| pass(&network, &parameters, &input, &target, mode).output;
    assert_eq!(output(MODE), output(MODE));
    assert_ne!(output(MODE), output(Mode::Training { seed: 5, step: 18 }));
    assert_ne!(output(MODE), output(Mode::Training { seed: 6, step: 17 }));
    assert_eq!(output(Mode::Inference), output(Mode::Inference));
}

#[test]
fn input_that_is_no_whole_number_of_images_is_refused() {
    let network = Network::new(every_layer());
    let parameters = Parameters::<f32>::initialize(network.architecture(), 0);
    let mut activations = network.activations();
    activations.input_mut().resize(9 * 18 + 1, 0.0);
    let error = network
        .forward(&parameters, &mut activations, Mode::Inference)
        .expect_err("one cell too many");
    assert!(
        error.to_string().contains("`input` has 163 values"),
        "{error}"
    );
}
