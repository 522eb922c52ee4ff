//! A list of layers resolved for one image shape.

use std::ops::Range;

use dawn21_kernels::{BatchNormShape, Conv2dShape, DenseShape, MaxPool2dShape, ShapeError};

use super::layer::{Layer, TensorSpec};
use super::layer_spec::{LayerSpec, WindowSize};

/// A list of layers that cannot be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ArchitectureError {
    /// One layer does not fit what comes before it, or has an impossible setting.
    #[error("layer {index} ({kind}), whose input is {input}: {detail}")]
    Layer {
        /// Position in the list, from 0.
        index: usize,
        /// Its kind.
        kind: &'static str,
        /// Shape of its input.
        input: String,
        /// What is wrong and what to do.
        detail: String,
    },
    /// The last layer does not give one number per parameter.
    #[error("the last layer gives {found}, expected {expected} values, one per parameter")]
    Outputs {
        /// Number of parameters.
        expected: usize,
        /// What the network gives.
        found: String,
        /// How many values, if they are in a row.
        features: Option<usize>,
    },
    /// Parameters and maps of one image together are beyond any memory.
    #[error(
        "layer {index}: up to here, the parameters and the maps of one image are {values} values, more than 2^32; use \
         fewer filters or units, or pool earlier"
    )]
    TooLarge {
        /// Position in the list, from 0.
        index: usize,
        /// Number of values so far.
        values: u128,
    },
    /// The image has no cells.
    #[error("an image of {rows} x {columns} cells has nothing for a network to read")]
    EmptyImage {
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
    },
}

/// Shape of the data between two layers, for one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataShape {
    /// (channels, rows, columns).
    Image([usize; 3]),
    /// A row of features.
    Features(usize),
}

impl DataShape {
    /// Number of values of one image.
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Image([c, h, w]) => c * h * w,
            Self::Features(n) => n,
        }
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Display for DataShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Image([c, h, w]) => f.pad(&format!("{c} x {h} x {w}")),
            Self::Features(n) => f.pad(&n.to_string()),
        }
    }
}

/// Layers for one image shape, with every size in cells.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    specs: Vec<LayerSpec>,
    layers: Vec<Layer>,
    image: [usize; 2],
    outputs: usize,
    /// Shape of the input: an image of one channel, but for a part of a network.
    input: DataShape,
    /// Number of the first layer in the whole network.
    first_layer: usize,
}

impl Architecture {
    /// Resolves `specs` for images of `image` = (rows, columns) cells of `cell_mpc`, and `outputs`
    /// parameters.
    ///
    /// # Errors
    /// [`ArchitectureError`] names the layer, its input and what does not fit.
    pub fn resolve(
        specs: &[LayerSpec],
        image: [usize; 2],
        cell_mpc: f64,
        outputs: usize,
    ) -> Result<Self, ArchitectureError> {
        let [rows, columns] = image;
        if rows == 0 || columns == 0 {
            return Err(ArchitectureError::EmptyImage { rows, columns });
        }
        let mut shape = DataShape::Image([1, rows, columns]);
        let mut values = 0_u128;
        let mut resolved = Vec::with_capacity(specs.len());
        let mut layers = Vec::with_capacity(specs.len());
        for (index, spec) in specs.iter().enumerate() {
            let spec = in_cells(spec, cell_mpc, outputs);
            let (layer, output) = spec
                .and_then(|spec| {
                    let (layer, output) = resolve_layer(&spec, shape)?;
                    resolved.push(spec);
                    Ok((layer, output))
                })
                .map_err(|detail| ArchitectureError::Layer {
                    index,
                    kind: spec_kind(specs, index),
                    input: shape.to_string(),
                    detail,
                })?;
            values += layer_values(&layer) + output.len() as u128;
            if values > MAX_VALUES {
                return Err(ArchitectureError::TooLarge { index, values });
            }
            layers.push(layer);
            shape = output;
        }
        if shape != DataShape::Features(outputs) {
            let (found, features) = match shape {
                DataShape::Image(_) => (format!("an image of {shape} cells"), None),
                DataShape::Features(n) => (format!("{n} values"), Some(n)),
            };
            return Err(ArchitectureError::Outputs {
                expected: outputs,
                found,
                features,
            });
        }
        Ok(Self {
            specs: resolved,
            layers,
            image,
            outputs,
            input: DataShape::Image([1, rows, columns]),
            first_layer: 0,
        })
    }

    /// Some consecutive layers as a network of their own; its tensors keep their names.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        let shapes = self.output_shapes();
        let input = match range.start {
            0 => self.input,
            start => shapes[start - 1],
        };
        let image = match input {
            DataShape::Image([channels, rows, columns]) => [channels * rows, columns],
            DataShape::Features(features) => [1, features],
        };
        Self {
            specs: self.specs[range.clone()].to_vec(),
            layers: self.layers[range.clone()].to_vec(),
            image,
            outputs: shapes[range.end - 1].len(),
            input,
            first_layer: self.first_layer + range.start,
        }
    }

    /// Number of the first layer in the whole network.
    pub(super) fn first_layer(&self) -> usize {
        self.first_layer
    }

    /// Lengths of all trainable tensors and of all running averages.
    pub(super) fn tensor_lengths(&self) -> [Vec<usize>; 2] {
        let lengths = |tensors: fn(&Layer) -> Vec<TensorSpec>| {
            let tensors = self.layers.iter().flat_map(tensors);
            tensors
                .map(|tensor| tensor.shape.iter().product())
                .collect()
        };
        [lengths(Layer::trainable), lengths(Layer::buffers)]
    }

    /// The layers as specified, with kernels in cells and the number of outputs filled in.
    #[must_use]
    pub fn specs(&self) -> &[LayerSpec] {
        &self.specs
    }

    /// The layers with their shapes.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Rows and columns of an input image.
    #[must_use]
    pub fn image(&self) -> [usize; 2] {
        self.image
    }

    /// Number of values that the last layer gives.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Shape of the data after each layer.
    #[must_use]
    pub fn output_shapes(&self) -> Vec<DataShape> {
        let mut shape = self.input;
        self.layers
            .iter()
            .map(|layer| {
                shape = layer.output(shape);
                shape
            })
            .collect()
    }
}

/// Values that a network may have, parameters and maps of one image together: 16 GiB.
const MAX_VALUES: u128 = 1 << 32;

/// Number of values that a layer owns.
fn layer_values(layer: &Layer) -> u128 {
    let tensors = layer.trainable().into_iter();
    tensors
        .map(|tensor| tensor.shape.iter().map(|&n| n as u128).product::<u128>())
        .sum()
}

fn spec_kind(specs: &[LayerSpec], index: usize) -> &'static str {
    specs[index].kind()
}

/// The specification with lengths turned into cells and the last layer's units filled in.
fn in_cells(spec: &LayerSpec, cell_mpc: f64, outputs: usize) -> Result<LayerSpec, String> {
    match spec {
        LayerSpec::Conv2d {
            filters,
            kernel,
            kernel_mpc,
        } => {
            let kernel = match (kernel, kernel_mpc) {
                (Some(kernel), None) => *kernel,
                (None, Some(length)) if length.is_finite() && *length > 0.0 => {
                    let cells = (length / cell_mpc).round().max(1.0);
                    if cells > u32::MAX.into() {
                        return Err(format!("kernel_mpc = {length} is {cells} cells"));
                    }
                    WindowSize::Square(cells as usize)
                }
                (None, Some(length)) => {
                    return Err(format!("kernel_mpc = {length}: expected a positive length"));
                }
                _ => return Err("give exactly one of `kernel` and `kernel_mpc`".to_string()),
            };
            Ok(LayerSpec::Conv2d {
                filters: *filters,
                kernel: Some(kernel),
                kernel_mpc: None,
            })
        }
        LayerSpec::Dense { units } => Ok(LayerSpec::Dense {
            units: Some(units.unwrap_or(outputs)),
        }),
        other => Ok(other.clone()),
    }
}

/// Checks one layer against its input and gives its output.
fn resolve_layer(spec: &LayerSpec, input: DataShape) -> Result<(Layer, DataShape), String> {
    let text = |error: ShapeError| error.to_string();
    let image = || match input {
        DataShape::Image(image) => Ok(image),
        DataShape::Features(_) => Err("needs an image, but `flatten` came before".to_string()),
    };
    let layer = match *spec {
        LayerSpec::Conv2d {
            filters,
            kernel: Some(kernel),
            ..
        } => Layer::Conv2d(Conv2dShape::new(image()?, filters, kernel.cells()).map_err(text)?),
        LayerSpec::Conv2d { kernel: None, .. } => {
            return Err("give exactly one of `kernel` and `kernel_mpc`".to_string());
        }
        LayerSpec::Relu {} => Layer::Relu,
        LayerSpec::MaxPool2d { window } => {
            Layer::MaxPool2d(MaxPool2dShape::new(image()?, window.cells()).map_err(text)?)
        }
        LayerSpec::Flatten {} => {
            image()?;
            Layer::Flatten
        }
        LayerSpec::Dropout { rate } => {
            if !(0.0..1.0).contains(&rate) {
                return Err(format!("rate = {rate}: expected a probability in [0, 1)"));
            }
            Layer::Dropout { rate }
        }
        LayerSpec::Dense { units } => {
            let DataShape::Features(features) = input else {
                return Err("needs a row of features; put a `flatten` layer before it".to_string());
            };
            Layer::Dense(DenseShape::new(features, units.unwrap_or(0)).map_err(text)?)
        }
        LayerSpec::BatchNorm { momentum, epsilon } => {
            if !(0.0..=1.0).contains(&momentum) {
                return Err(format!(
                    "momentum = {momentum}: expected a number in [0, 1]"
                ));
            }
            if !(epsilon.is_finite() && epsilon > 0.0) {
                return Err(format!("epsilon = {epsilon}: expected a positive number"));
            }
            let (channels, pixels) = match input {
                DataShape::Image([c, h, w]) => (c, h * w),
                DataShape::Features(n) => (n, 1),
            };
            Layer::BatchNorm {
                shape: BatchNormShape::new(channels, pixels).map_err(text)?,
                momentum,
                epsilon,
            }
        }
    };
    Ok((layer, layer.output(input)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<LayerSpec>, toml::de::Error> {
        #[derive(serde::Deserialize)]
        struct File {
            layer: Vec<LayerSpec>,
        }
        toml::from_str::<File>(text).map(|file| file.layer)
    }

    fn resolve_error(text: &str) -> String {
        let specs = parse(text).expect("valid TOML");
        Architecture::resolve(&specs, [10, 20], 1.5, 4)
            .expect_err("cannot be built")
            .to_string()
    }

    #[test]
    fn kernels_in_mpc_adapt_to_the_cell() {
        let specs =
            parse("[[layer]]\nkind='conv2d'\nfilters=2\nkernel_mpc=15.0\n[[layer]]\nkind='flatten'\n[[layer]]\nkind='dense'")
                .expect("valid TOML");
        for (cell_mpc, cells) in [(1.5, 10), (3.0, 5), (6.0, 3), (100.0, 1)] {
            let architecture = Architecture::resolve(&specs, [50, 60], cell_mpc, 4).expect("fits");
            let expected = DataShape::Image([2, 51 - cells, 61 - cells]);
            assert_eq!(architecture.output_shapes()[0], expected);
        }
    }

    #[test]
    fn impossible_layers_are_named() {
        let error = resolve_error(
            "[[layer]]\nkind='relu'\n[[layer]]\nkind='conv2d'\nfilters=1\nkernel=[11,3]",
        );
        assert!(
            error.contains("layer 1 (conv2d)") && error.contains("11 x 3"),
            "{error}"
        );
        let error = resolve_error("[[layer]]\nkind='dense'\nunits=4");
        assert!(error.contains("`flatten`"), "{error}");
        let error = resolve_error("[[layer]]\nkind='conv2d'\nfilters=1");
        assert!(
            error.contains("exactly one of `kernel` and `kernel_mpc`"),
            "{error}"
        );
        let error = resolve_error("[[layer]]\nkind='flatten'\n[[layer]]\nkind='dense'\nunits=3");
        assert!(error.contains("3 values, expected 4"), "{error}");
        let error = resolve_error("[[layer]]\nkind='dropout'\nrate=1.0");
        assert!(error.contains("[0, 1)"), "{error}");
    }

    #[test]
    fn unknown_fields_are_refused() {
        let error = parse("[[layer]]\nkind='relu'\nslope=0.1").expect_err("unknown field");
        assert!(error.to_string().contains("slope"), "{error}");
        let error = parse("[[layer]]\nkind='conv3d'").expect_err("unknown kind");
        assert!(error.to_string().contains("conv3d"), "{error}");
    }
}
