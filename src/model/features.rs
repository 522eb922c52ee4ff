//! What a network makes of an image before its last layer.

use dawn21_kernels::Float;

use super::activations::Activations;
use super::architecture::Architecture;
use super::layer::Layer;
use super::network::Network;
use super::stages::Operation;

impl Network {
    /// The inputs of all dense layers but the first `skipped` ones, after a forward pass: each (N,F), row by
    /// row.
    pub(super) fn dense_inputs<'a, T: Float>(
        &'a self,
        activations: &'a Activations<T>,
        skipped: usize,
    ) -> impl Iterator<Item = &'a [T]> {
        let inputs = self
            .stages
            .iter()
            .filter_map(|stage| match stage.operation {
                Operation::Dense { .. } => Some(&activations.buffers[stage.input][..]),
                _ => None,
            });
        inputs.skip(skipped)
    }

    /// Number of the [`features`](super::engine::Engine::features) of an image.
    #[must_use]
    pub fn feature_count(&self) -> usize {
        self.architecture().feature_counts().iter().sum()
    }

    /// Number of dense layers.
    pub(super) fn dense_count(&self) -> usize {
        let stages = self.stages.iter();
        stages
            .filter(|stage| matches!(stage.operation, Operation::Dense { .. }))
            .count()
    }
}

impl Architecture {
    /// How many of the [`features`](super::engine::Engine::features) of an image come from each layer.
    pub(super) fn feature_counts(&self) -> Vec<usize> {
        let inputs = self.layers().iter().filter_map(|layer| match layer {
            Layer::Dense(shape) => Some(shape.inputs()),
            _ => None,
        });
        inputs.skip(1).collect()
    }
}

#[cfg(test)]
mod tests {
    use dawn21_kernels::simd::Level;

    use crate::model::architecture::Architecture;
    use crate::model::engine::Engine;
    use crate::model::execution::{Convolution, Execution};
    use crate::model::layer_spec::{LayerSpec, WindowSize};
    use crate::model::network::Network;
    use crate::model::parameters::Parameters;

    #[test]
    fn features_are_the_inputs_of_the_later_dense_layers() {
        for convolutions in [false, true] {
            check(convolutions);
        }
    }

    /// With a convolution, the first dense layer is computed together with it.
    fn check(convolution: bool) {
        let dense = |units| LayerSpec::Dense { units };
        let mut specs = vec![
            LayerSpec::Flatten {},
            dense(Some(3)),
            LayerSpec::Relu {},
            dense(Some(2)),
            dense(None),
        ];
        if convolution {
            let conv = LayerSpec::Conv2d {
                filters: 2,
                kernel: Some(WindowSize::Square(1)),
                kernel_mpc: None,
            };
            specs.insert(0, conv);
        }
        let architecture = Architecture::resolve(&specs, [2, 2], 1.0, 1).expect("it fits");
        let parameters = Parameters::<f32>::initialize(&architecture, 5);
        let count = Network::new(architecture.clone()).feature_count();
        let last = parameters.trainable.len() - 2;
        let execution = Execution {
            level: Level::available()[0],
            convolution: Convolution::Auto,
        };
        let mut engine = Engine::new(architecture, execution).expect("plan");
        engine.load(&parameters, None).expect("own parameters");
        *engine.input_mut() = vec![0.1, 0.7, 0.2, 0.4, 0.9, 0.3, 0.5, 0.8];
        let outputs = engine.predict().expect("shapes").to_vec();
        let features = engine.features();
        assert_eq!(features.len(), 2);
        // The last layer of the features is the output.
        let weight = &parameters.trainable[last].values;
        for (features, output) in features.iter().zip(outputs) {
            assert_eq!(features.len(), 3 + 2);
            assert_eq!(features.len(), count);
            let again = features[3] * f64::from(weight[0]) + features[4] * f64::from(weight[1]);
            assert!((again - f64::from(output)).abs() < 1e-6);
            assert!(
                features[..3].iter().all(|&value| value >= 0.0),
                "after the ReLU"
            );
        }
    }
}
