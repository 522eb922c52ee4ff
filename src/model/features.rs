//! What a network makes of an image before its last layer.

use dawn21_kernels::Float;

use super::activations::Activations;
use super::network::Network;
use super::stages::Operation;

impl Network {
    /// Number of [`features`](Network::features) of an image.
    #[must_use]
    pub fn feature_count(&self) -> usize {
        self.feature_buffers().map(|(_, len)| len).sum()
    }

    /// The inputs of all dense layers but the first one, of every image of the last forward pass, row by row
    /// (N,F): 64, 16 and 8 values for Table 1. The input of the first one are maps, not features.
    #[must_use]
    pub fn features<T: Float>(&self, activations: &Activations<T>) -> Vec<T> {
        let mut features = Vec::with_capacity(activations.batch * self.feature_count());
        for image in 0..activations.batch {
            for (buffer, len) in self.feature_buffers() {
                let values = &activations.buffers[buffer];
                features.extend_from_slice(&values[image * len..(image + 1) * len]);
            }
        }
        features
    }

    /// Buffers of the features, and values per image in each.
    fn feature_buffers(&self) -> impl Iterator<Item = (usize, usize)> {
        let inputs = self
            .stages
            .iter()
            .filter_map(|stage| match stage.operation {
                Operation::Dense { shape, .. } => Some((stage.input, shape.inputs())),
                _ => None,
            });
        inputs.skip(1)
    }
}

#[cfg(test)]
mod tests {
    use crate::model::activations::Mode;
    use crate::model::architecture::{Architecture, LayerSpec};
    use crate::model::network::Network;
    use crate::model::parameters::Parameters;

    #[test]
    fn features_are_the_inputs_of_the_later_dense_layers() {
        let dense = |units| LayerSpec::Dense { units };
        let specs = [
            LayerSpec::Flatten {},
            dense(Some(3)),
            LayerSpec::Relu {},
            dense(Some(2)),
            dense(None),
        ];
        let architecture = Architecture::resolve(&specs, [2, 2], 1.0, 1).expect("it fits");
        let parameters = Parameters::<f64>::initialize(&architecture, 5);
        let network = Network::new(architecture);
        let mut activations = network.activations();
        *activations.input_mut() = vec![0.1, 0.7, 0.2, 0.4, 0.9, 0.3, 0.5, 0.8];
        network
            .forward(&parameters, &mut activations, Mode::Inference)
            .expect("shapes");
        assert_eq!(network.feature_count(), 3 + 2);
        let features = network.features(&activations);
        assert_eq!(features.len(), 2 * 5);
        // The last layer of the features is the output.
        let weight = &parameters.trainable[4].values;
        for (features, output) in features.chunks(5).zip(activations.output()) {
            let again = features[3] * weight[0] + features[4] * weight[1];
            assert!((again - output).abs() < 1e-12);
            assert!(
                features[..3].iter().all(|&value| value >= 0.0),
                "after the ReLU"
            );
        }
    }
}
