//! The numbers of a network: trainable tensors and running averages, named as in `torch.nn.Sequential`.

use dawn21_kernels::Float;
use dawn21_kernels::rng::{Stream, generator, unit_interval};
use rand::Rng;
use sha2::{Digest, Sha256};

use super::architecture::Architecture;
use super::layer::{Layer, TensorSpec};
use crate::digest::hex;

/// A named tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor<T> {
    /// Name in files: `<layer>.<weight|bias|running_mean|running_var>`.
    pub name: String,
    /// Shape as in PyTorch: (O,C,R,S), (out,in) or (channels).
    pub shape: Vec<usize>,
    /// Values.
    pub values: Vec<T>,
}

impl<T: Float> Tensor<T> {
    fn zeros(layer: usize, spec: TensorSpec) -> Self {
        Self {
            name: format!("{layer}.{}", spec.name),
            values: vec![T::ZERO; spec.shape.iter().product()],
            shape: spec.shape,
        }
    }

    fn map<U>(&self, convert: impl Fn(T) -> U) -> Tensor<U> {
        Tensor {
            name: self.name.clone(),
            shape: self.shape.clone(),
            values: self.values.iter().map(|&v| convert(v)).collect(),
        }
    }
}

/// All numbers of a network, in the order of its layers.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters<T> {
    /// What training fits.
    pub trainable: Vec<Tensor<T>>,
    /// Running averages of the batch normalisations.
    pub buffers: Vec<Tensor<T>>,
}

impl<T: Float> Parameters<T> {
    /// Zeros of the shapes that `architecture` needs: for gradients, or to be read into.
    #[must_use]
    pub fn zeros(architecture: &Architecture) -> Self {
        let collect = |tensors: fn(&Layer) -> Vec<TensorSpec>| {
            let layers = architecture.layers().iter().enumerate();
            layers
                .flat_map(|(index, layer)| {
                    tensors(layer)
                        .into_iter()
                        .map(move |spec| Tensor::zeros(architecture.first_layer() + index, spec))
                })
                .collect()
        };
        Self {
            trainable: collect(Layer::trainable),
            buffers: collect(Layer::buffers),
        }
    }

    /// Initial values as Keras has them: Glorot-uniform weights (Glorot & Bengio 2010), zero biases,
    /// normalisations that change nothing. A function of the seed and the shapes alone.
    #[must_use]
    pub fn initialize(architecture: &Architecture, seed: u64) -> Self {
        let mut parameters = Self::zeros(architecture);
        let (mut trainable, mut buffers) = (0, 0);
        for (index, layer) in architecture.layers().iter().enumerate() {
            match layer {
                Layer::Conv2d(_) | Layer::Dense(_) => {
                    glorot_uniform(&mut parameters.trainable[trainable], seed, index as u64);
                }
                Layer::BatchNorm { .. } => {
                    parameters.trainable[trainable].values.fill(T::ONE);
                    parameters.buffers[buffers + 1].values.fill(T::ONE);
                }
                _ => {}
            }
            trainable += layer.trainable().len();
            buffers += layer.buffers().len();
        }
        parameters
    }

    /// Number of trainable values.
    #[must_use]
    pub fn trainable_count(&self) -> usize {
        self.trainable.iter().map(|t| t.values.len()).sum()
    }

    /// Trainable tensors, then running averages.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor<T>> {
        self.trainable.iter().chain(&self.buffers)
    }

    /// Trainable tensors, then running averages.
    pub fn tensors_mut(&mut self) -> impl Iterator<Item = &mut Tensor<T>> {
        self.trainable.iter_mut().chain(&mut self.buffers)
    }

    /// Name of the first tensor that holds an infinity or NaN.
    #[must_use]
    pub fn first_non_finite(&self) -> Option<&str> {
        self.tensors()
            .find(|tensor| tensor.values.iter().any(|v| !v.is_finite()))
            .map(|tensor| tensor.name.as_str())
    }

    /// The same numbers in another precision.
    #[must_use]
    pub fn convert<U: Float>(&self) -> Parameters<U> {
        let convert = |tensors: &[Tensor<T>]| {
            tensors
                .iter()
                .map(|tensor| tensor.map(|v| U::from_f64(v.to_f64())))
                .collect()
        };
        Parameters {
            trainable: convert(&self.trainable),
            buffers: convert(&self.buffers),
        }
    }
}

impl Parameters<f32> {
    /// A digest of names, shapes and values: whether two models are the same.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        for tensor in self.tensors() {
            digest.update(format!("{} {:?}\n", tensor.name, tensor.shape));
            digest.update(bytemuck::cast_slice::<f32, u8>(&tensor.values));
        }
        hex(&digest.finalize()[..16])
    }
}

/// Uniform in `+-sqrt(6 / (fan_in + fan_out))`; the fans of a convolution count the kernel's cells.
fn glorot_uniform<T: Float>(weight: &mut Tensor<T>, seed: u64, layer: u64) {
    let receptive: usize = weight.shape[2..].iter().product();
    let fans = (weight.shape[0] + weight.shape[1]) * receptive;
    let limit = (6.0 / fans as f64).sqrt();
    let mut generator = generator(seed, Stream::Initialization, &[layer]);
    for value in &mut weight.values {
        *value = T::from_f64(limit * (2.0 * unit_interval(generator.next_u64()) - 1.0));
    }
}
