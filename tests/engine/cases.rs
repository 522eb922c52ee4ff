//! Networks, ways to run them, and what a step of one depends on.

use dawn21::model::activations::Mode;
use dawn21::model::architecture::Architecture;
use dawn21::model::engine::{Engine, Gradients};
use dawn21::model::execution::{Convolution, Execution};
use dawn21::model::layer_spec::LayerSpec;
use dawn21::model::network::Network;
use dawn21::model::parameters::Parameters;
use dawn21_kernels::conv2d::plan::Algorithm;
use dawn21_kernels::loss::mean_squared_error;
use dawn21_kernels::rmsprop::RmsProp;
use dawn21_kernels::rng::{Stream, generator, unit_interval};
use dawn21_kernels::simd::Level;
use rand::Rng;

const BATCH: usize = 12;
const OUTPUTS: usize = 3;
pub(crate) const MODE: Mode = Mode::Training { seed: 8, step: 3 };
pub(crate) const OPTIMIZER: RmsProp = RmsProp {
    learning_rate: 1e-3,
    rho: 0.9,
    epsilon: 1e-7,
};

pub(crate) fn random(len: usize, key: u64) -> Vec<f32> {
    let mut generator = generator(1, Stream::Audit, &[key]);
    (0..len)
        .map(|_| (2.0 * unit_interval(generator.next_u64()) - 1.0) as f32)
        .collect()
}

/// Networks that are cut into segments in every way there is.
pub(crate) fn architectures() -> Vec<(&'static str, Architecture)> {
    let conv = |filters: usize, kernel: usize| {
        format!("[[layer]]\nkind = \"conv2d\"\nfilters = {filters}\nkernel = {kernel}\n")
    };
    let layer = |kind: &str| format!("[[layer]]\nkind = \"{kind}\"\n");
    let dense = |units: usize| format!("[[layer]]\nkind = \"dense\"\nunits = {units}\n");
    let dropout = "[[layer]]\nkind = \"dropout\"\nrate = 0.25\n".to_string();
    let [relu, pool, flatten, norm] = ["relu", "max_pool2d", "flatten", "batch_norm"].map(layer);
    let last = dense(OUTPUTS);
    let networks = [
        (
            "table 1",
            [
                conv(8, 5),
                relu.clone(),
                pool.clone(),
                conv(16, 5),
                relu.clone(),
                pool.clone(),
                flatten.clone(),
                dropout.clone(),
                dense(20),
                relu.clone(),
                norm.clone(),
                relu.clone(),
                dense(7),
                relu.clone(),
                last.clone(),
            ]
            .concat(),
        ),
        (
            "channels that do not fill a block, no ReLU, no pooling",
            [
                conv(3, 4),
                conv(11, 3),
                pool.clone(),
                dropout.clone(),
                flatten.clone(),
                dense(9),
                relu.clone(),
                last.clone(),
            ]
            .concat(),
        ),
        (
            "normalised maps between convolutions",
            [
                conv(6, 5),
                norm.clone(),
                relu.clone(),
                pool.clone(),
                conv(5, 3),
                relu.clone(),
                norm.clone(),
                flatten.clone(),
                last.clone(),
            ]
            .concat(),
        ),
        (
            "normalised input, dropout of maps",
            [
                norm.clone(),
                conv(4, 3),
                relu.clone(),
                dropout.clone(),
                conv(4, 3),
                pool.clone(),
                relu.clone(),
                flatten.clone(),
                dropout.clone(),
                dropout.clone(),
                last.clone(),
            ]
            .concat(),
        ),
        (
            "no convolution",
            [flatten.clone(), dense(12), relu.clone(), dropout, last].concat(),
        ),
    ];
    networks
        .into_iter()
        .map(|(name, text)| (name, resolve(&text)))
        .collect()
}

fn resolve(text: &str) -> Architecture {
    #[derive(serde::Deserialize)]
    struct File {
        layer: Vec<LayerSpec>,
    }
    let file: File = toml::from_str(text).expect("layers");
    Architecture::resolve(&file.layer, [21, 47], 1.0, OUTPUTS).expect("fits")
}

pub(crate) fn executions() -> Vec<Execution> {
    let levels = Level::available();
    println!("levels run: {levels:?}");
    let algorithms = [
        Convolution::Auto,
        Convolution::By(Algorithm::Direct),
        Convolution::By(Algorithm::Im2col),
        Convolution::By(Algorithm::Fft),
        Convolution::Plain,
    ];
    levels
        .iter()
        .flat_map(|&level| algorithms.map(|convolution| Execution { level, convolution }))
        .collect()
}

/// Everything that a step depends on.
pub(crate) struct Case {
    pub(crate) architecture: Architecture,
    pub(crate) parameters: Parameters<f32>,
    pub(crate) input: Vec<f32>,
    pub(crate) targets: Vec<f32>,
}

impl Case {
    pub(crate) fn new(architecture: Architecture) -> Self {
        let mut parameters = Parameters::initialize(&architecture, 4);
        // Biases, scales and running averages that are not at their beginning.
        for (key, tensor) in parameters.tensors_mut().enumerate() {
            let noise = random(tensor.values.len(), 100 + key as u64);
            for (value, noise) in tensor.values.iter_mut().zip(noise) {
                *value += 0.1 * noise;
            }
        }
        let image_len: usize = architecture.image().iter().product();
        Self {
            architecture,
            parameters,
            input: random(BATCH * image_len, 1),
            targets: random(BATCH * OUTPUTS, 2),
        }
    }

    pub(crate) fn zero_moments(&self) -> Vec<Vec<f32>> {
        let tensors = self.parameters.trainable.iter();
        tensors.map(|t| vec![0.0; t.values.len()]).collect()
    }

    pub(crate) fn engine(&self, execution: Execution) -> Engine {
        let mut engine = Engine::with_input_gradient(self.architecture.clone(), execution)
            .expect("any algorithm computes these shapes");
        engine
            .load(&self.parameters, Some(&self.zero_moments()))
            .expect("own parameters");
        engine
    }

    pub(crate) fn gradients(&self, engine: &mut Engine) -> Gradients {
        *engine.input_mut() = self.input.clone();
        engine.gradients(&self.targets, MODE, true).expect("fits")
    }

    /// In f64, by the audited kernels.
    pub(crate) fn reference(&self) -> (f64, Parameters<f64>, Vec<f64>, Vec<f64>) {
        let network = Network::new(self.architecture.clone());
        let parameters: Parameters<f64> = self.parameters.convert();
        let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|&v| v.into()).collect() };
        let mut activations = network.activations();
        *activations.input_mut() = wide(&self.input);
        network
            .forward(&parameters, &mut activations, MODE)
            .expect("fits");
        let (output, gradient) = activations.output_and_gradient_mut();
        let loss = mean_squared_error(output, &wide(&self.targets), gradient).expect("fits");
        let mut gradients = Parameters::zeros(network.architecture());
        network
            .backward(&parameters, &mut activations, &mut gradients, true)
            .expect("fits");
        let input_gradient = activations.input_gradient().to_vec();
        *activations.input_mut() = wide(&self.input);
        network
            .forward(&parameters, &mut activations, Mode::Inference)
            .expect("fits");
        let prediction = activations.output().to_vec();
        (loss, gradients, input_gradient, prediction)
    }
}
