//! From a list of layers to the stages that a network runs.
//!
//! Convolution, ReLU and max-pooling in a row become one stage that keeps only the pooled map and one byte
//! per window: the full map of Table 1's first layer would need 6.4 MB an image. All other layers are
//! stages of their own; flattening is none.

use dawn21_kernels::{BatchNormShape, Conv2dShape, DenseShape, MaxPool2dShape};

use super::architecture::Architecture;
use super::layer::Layer;

/// What a stage computes. Numbers are positions in [`Parameters::trainable`] and `buffers`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operation {
    ConvReluPool {
        conv: Conv2dShape,
        pool: MaxPool2dShape,
        weight: usize,
    },
    Conv2d {
        shape: Conv2dShape,
        weight: usize,
    },
    MaxPool2d(MaxPool2dShape),
    Relu,
    Dropout {
        rate: f64,
        /// Number in the whole network.
        layer: u64,
        /// Values of an image.
        features: usize,
    },
    Dense {
        shape: DenseShape,
        weight: usize,
    },
    BatchNorm {
        shape: BatchNormShape,
        momentum: f64,
        epsilon: f64,
        weight: usize,
        running_mean: usize,
    },
}

/// An operation and the buffers between which it works; the same buffer means in place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage {
    pub(super) operation: Operation,
    pub(super) input: usize,
    pub(super) output: usize,
}

/// The stages of an architecture, and the values per image of every buffer between them. Without `fuse`,
/// every layer is a stage of its own.
pub(super) fn compile(architecture: &Architecture, fuse: bool) -> (Vec<Stage>, Vec<usize>) {
    let [rows, columns] = architecture.image();
    let mut buffer_lens = vec![rows * columns];
    let mut stages = Vec::new();
    let (mut weight, mut buffer) = (0, 0);
    let shapes = architecture.output_shapes();
    let layers = architecture.layers();
    let mut index = 0;
    while index < layers.len() {
        let (operation, used) = match layers[index..] {
            [Layer::Conv2d(conv), Layer::Relu, Layer::MaxPool2d(pool), ..] if fuse => {
                (Some(Operation::ConvReluPool { conv, pool, weight }), 3)
            }
            [ref layer, ..] => {
                let number = architecture.first_layer() + index;
                let features = shapes[index].len();
                (single(layer, number, features, weight, buffer), 1)
            }
            [] => (None, 1),
        };
        if let Some(operation) = operation {
            let input = buffer_lens.len() - 1;
            let in_place = matches!(operation, Operation::Relu | Operation::Dropout { .. });
            if !in_place {
                buffer_lens.push(shapes[index + used - 1].len());
            }
            stages.push(Stage {
                operation,
                input,
                output: buffer_lens.len() - 1,
            });
        }
        for layer in &layers[index..index + used] {
            weight += layer.trainable().len();
            buffer += layer.buffers().len();
        }
        index += used;
    }
    (stages, buffer_lens)
}

/// The operation of one layer alone, number `number` of the network, whose output has `features` values;
/// flattening is none.
fn single(
    layer: &Layer,
    number: usize,
    features: usize,
    weight: usize,
    buffer: usize,
) -> Option<Operation> {
    Some(match *layer {
        Layer::Conv2d(shape) => Operation::Conv2d { shape, weight },
        Layer::Relu => Operation::Relu,
        Layer::MaxPool2d(shape) => Operation::MaxPool2d(shape),
        Layer::Flatten => return None,
        Layer::Dropout { rate } => Operation::Dropout {
            rate,
            layer: number as u64,
            features,
        },
        Layer::Dense(shape) => Operation::Dense { shape, weight },
        Layer::BatchNorm {
            shape,
            momentum,
            epsilon,
        } => Operation::BatchNorm {
            shape,
            momentum,
            epsilon,
            weight,
            running_mean: buffer,
        },
    })
}
