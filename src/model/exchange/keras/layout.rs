//! Where each number of a dawn21 tensor is in Keras' tensor: one bijection, used in both directions.

use super::DataFormat;
use crate::model::architecture::{Architecture, DataShape};
use crate::model::layer::Layer;

/// How the features of a row are ordered in Keras.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FeatureOrder {
    /// As in dawn21.
    Same,
    /// Flattened from (rows, columns, channels); here are channels, rows, columns.
    ChannelsLast([usize; 3]),
}

impl FeatureOrder {
    /// Keras' position of a feature that dawn21, flattening (channels, rows, columns), has at `feature`.
    fn keras(self, feature: usize) -> usize {
        match self {
            Self::Same => feature,
            Self::ChannelsLast([channels, rows, columns]) => {
                let pixel = feature % (rows * columns);
                pixel * channels + feature / (rows * columns)
            }
        }
    }
}

/// Layout of one tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// (O,C,R,S) here, (R,S,C,O) in Keras, in both of its data formats.
    Kernel {
        shape: [usize; 4],
        /// By 180 degrees: saved on Theano.
        turned: bool,
    },
    /// (out,in) here, (in,out) in Keras.
    Matrix {
        outputs: usize,
        inputs: usize,
        order: FeatureOrder,
    },
    /// One number per channel or feature.
    Vector { len: usize, order: FeatureOrder },
}

impl Layout {
    /// Shape of Keras' tensor.
    pub(super) fn keras_shape(&self) -> Vec<u64> {
        let shape = match *self {
            Self::Kernel {
                shape: [o, c, r, s],
                ..
            } => vec![r, s, c, o],
            Self::Matrix {
                outputs, inputs, ..
            } => vec![inputs, outputs],
            Self::Vector { len, .. } => vec![len],
        };
        shape.into_iter().map(|n| n as u64).collect()
    }

    /// Calls `visit(here, in Keras)` with the two positions of every number, in the order of dawn21's.
    fn for_each(&self, mut visit: impl FnMut(usize, usize)) {
        let mut here = 0;
        let mut next = |keras| {
            visit(here, keras);
            here += 1;
        };
        match *self {
            Self::Kernel {
                shape: [outputs, channels, rows, columns],
                turned,
            } => {
                for o in 0..outputs {
                    for c in 0..channels {
                        for r in 0..rows {
                            for s in 0..columns {
                                let (r, s) = if turned {
                                    (rows - 1 - r, columns - 1 - s)
                                } else {
                                    (r, s)
                                };
                                next(((r * columns + s) * channels + c) * outputs + o);
                            }
                        }
                    }
                }
            }
            Self::Matrix {
                outputs,
                inputs,
                order,
            } => {
                for o in 0..outputs {
                    for i in 0..inputs {
                        next(order.keras(i) * outputs + o);
                    }
                }
            }
            Self::Vector { len, order } => {
                for i in 0..len {
                    next(order.keras(i));
                }
            }
        }
    }

    /// From Keras' layout; `values` has as many numbers as `keras`.
    pub(super) fn import(&self, keras: &[f32], values: &mut [f32]) {
        self.for_each(|here, there| values[here] = keras[there]);
    }

    /// To Keras' layout.
    pub(super) fn export(&self, values: &[f32]) -> Vec<f32> {
        let mut keras = vec![0.0; values.len()];
        self.for_each(|here, there| keras[there] = values[here]);
        keras
    }
}

/// One tensor of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KerasTensor {
    /// Keras' name.
    pub(super) name: &'static str,
    /// dawn21's name, with the number of the layer.
    pub(super) tensor: String,
    pub(super) layout: Layout,
}

/// A layer with weights, as Keras has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KerasLayer {
    /// For people: `8 (dense)`.
    pub(super) label: String,
    /// Keras' class in snake case.
    pub(super) class: &'static str,
    /// In the order in which Keras stores them.
    pub(super) tensors: Vec<KerasTensor>,
}

/// The layers with weights, in order.
pub(super) fn layers(
    architecture: &Architecture,
    data_format: DataFormat,
    turned: bool,
) -> Vec<KerasLayer> {
    let [rows, columns] = architecture.image();
    let mut input = DataShape::Image([1, rows, columns]);
    let mut order = FeatureOrder::Same;
    let mut result = Vec::new();
    for (index, layer) in architecture.layers().iter().enumerate() {
        let kind = architecture.specs()[index].kind();
        let mut push = |class, tensors: &[(&'static str, &str, Layout)]| {
            let tensors = tensors.iter().map(|&(name, own, layout)| KerasTensor {
                name,
                tensor: format!("{index}.{own}"),
                layout,
            });
            result.push(KerasLayer {
                label: format!("{index} ({kind})"),
                class,
                tensors: tensors.collect(),
            });
        };
        let plain = |len| Layout::Vector {
            len,
            order: FeatureOrder::Same,
        };
        match layer {
            Layer::Conv2d(shape) => {
                let kernel = Layout::Kernel {
                    shape: shape.weight_shape(),
                    turned,
                };
                let bias = plain(shape.bias_len());
                push(
                    "conv2d",
                    &[("kernel", "weight", kernel), ("bias", "bias", bias)],
                );
            }
            Layer::Dense(shape) => {
                let kernel = Layout::Matrix {
                    outputs: shape.outputs(),
                    inputs: shape.inputs(),
                    order,
                };
                let bias = plain(shape.outputs());
                push(
                    "dense",
                    &[("kernel", "weight", kernel), ("bias", "bias", bias)],
                );
                order = FeatureOrder::Same;
            }
            Layer::BatchNorm { shape, .. } => {
                let layout = Layout::Vector {
                    len: shape.channels(),
                    order,
                };
                push(
                    "batch_normalization",
                    &[
                        ("gamma", "weight", layout),
                        ("beta", "bias", layout),
                        ("moving_mean", "running_mean", layout),
                        ("moving_variance", "running_var", layout),
                    ],
                );
            }
            Layer::Flatten => {
                if let (DataFormat::ChannelsLast, DataShape::Image(shape)) = (data_format, input) {
                    order = FeatureOrder::ChannelsLast(shape);
                }
            }
            Layer::Relu | Layer::MaxPool2d(_) | Layer::Dropout { .. } => {}
        }
        input = layer.output(input);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_last_rows_are_where_the_readme_of_the_fixtures_says() {
        // 4 channels of 2 x 3.
        let order = FeatureOrder::ChannelsLast([4, 2, 3]);
        for (c, h, w) in [(0, 0, 0), (3, 1, 2), (2, 0, 1), (1, 1, 0)] {
            assert_eq!(order.keras((c * 2 + h) * 3 + w), (h * 3 + w) * 4 + c);
        }
    }

    #[test]
    fn every_layout_is_a_bijection() {
        let order = FeatureOrder::ChannelsLast([2, 3, 5]);
        for layout in [
            Layout::Kernel {
                shape: [2, 3, 4, 5],
                turned: true,
            },
            Layout::Matrix {
                outputs: 7,
                inputs: 30,
                order,
            },
            Layout::Vector { len: 30, order },
        ] {
            let len = layout.keras_shape().iter().product::<u64>() as usize;
            let values: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let mut back = vec![f32::NAN; len];
            layout.import(&layout.export(&values), &mut back);
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&values), bits(&back));
        }
    }

    #[test]
    fn theano_kernels_turn_by_180_degrees() {
        let layout = |turned| Layout::Kernel {
            shape: [1, 1, 2, 3],
            turned,
        };
        let keras = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let imported = |turned| {
            let mut values = [0.0; 6];
            layout(turned).import(&keras, &mut values);
            values.map(|value| value as u8)
        };
        assert_eq!(imported(true), [6, 5, 4, 3, 2, 1]);
        assert_eq!(imported(false), [1, 2, 3, 4, 5, 6]);
    }
}
