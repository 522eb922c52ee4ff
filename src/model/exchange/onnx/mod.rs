//! ONNX: the whole way from an image in mK to physical parameters as one graph.
//!
//! `Clip`, `Sub` and `Mul` scale the image as training did; then come the layers, as in inference; `Mul`
//! and `Add` bring the outputs to the ranges of the parameters. The number of images is free.

pub mod schema;

use std::path::{Path, PathBuf};

use prost::Message;

use crate::atomic_file::{FileError, write_bytes_atomically};
use crate::model::architecture::Architecture;
use crate::model::description::ModelDescription;
use crate::model::layer::Layer;
use crate::model::layer_spec::LayerSpec;
use crate::model::model_file::Model as Dawn21Model;
use schema::{
    Attribute, Dimension, Entry, Graph, Model, Node, OperatorSet, Shape, Tensor, TensorType, Type,
    ValueInfo,
};

/// Version of the operators, and of the format: every onnxruntime since 1.12 reads them.
const OPERATOR_SET: i64 = 17;
const IR_VERSION: i64 = 8;
/// `TensorProto.FLOAT`.
const FLOAT32: i32 = 1;
/// Name of the graph's input.
const INPUT: &str = "image_mk";
/// Name of the graph's output.
const OUTPUT: &str = "parameters";

/// Why a model cannot be written or read as ONNX.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The description could not be written as JSON.
    #[error("{}: description of the model: {detail}", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// Reason.
        detail: String,
    },
    /// It is no ONNX file, or a damaged one.
    #[error("{}: not a sound ONNX file: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Reason.
        source: prost::DecodeError,
    },
}

/// Writes a model as ONNX, atomically.
///
/// # Errors
/// [`OnnxError`] when the file cannot be written.
pub fn write(path: &Path, model: &Dawn21Model) -> Result<(), OnnxError> {
    let description = serde_json::to_string(&model.description).map_err(|error| {
        let detail = error.to_string();
        let path = path.to_path_buf();
        OnnxError::Description { path, detail }
    })?;
    let bytes = build(model, description).encode_to_vec();
    Ok(write_bytes_atomically(path, &bytes)?)
}

/// Reads an ONNX file, as far as [`schema`] knows the format: to look at a graph, not to run it.
///
/// # Errors
/// [`OnnxError`] when it cannot be read or is damaged.
pub fn read(path: &Path) -> Result<Model, OnnxError> {
    let bytes = std::fs::read(path).map_err(FileError::at(path, "reading"))?;
    Model::decode(bytes.as_slice()).map_err(|source| OnnxError::Format {
        path: path.to_path_buf(),
        source,
    })
}

fn build(model: &Dawn21Model, description_json: String) -> Model {
    let description = &model.description;
    let architecture = model.network.architecture();
    let mut chain = Chain::new(INPUT);
    scale_input(&mut chain, description);
    for tensor in model.parameters.tensors() {
        chain.constant(&tensor.name, &tensor.shape, &tensor.values);
    }
    for (index, layer) in architecture.layers().iter().enumerate() {
        add_layer(&mut chain, index, &architecture.specs()[index], layer);
    }
    unscale_output(&mut chain, description);
    let names = description.parameters.iter().map(|p| p.name.as_str());
    let metadata = [
        ("parameters", names.collect::<Vec<_>>().join(",")),
        ("unit", description.unit.clone()),
        ("dawn21", description_json),
    ];
    Model {
        ir_version: IR_VERSION,
        producer_name: "dawn21".to_string(),
        producer_version: env!("CARGO_PKG_VERSION").to_string(),
        doc_string: format!(
            "{} in {} to {}",
            description.quantity,
            description.unit,
            description
                .parameters
                .iter()
                .map(|p| format!("{} [{}]", p.name, p.unit))
                .collect::<Vec<_>>()
                .join(", ")
        ),
        graph: Some(Graph {
            nodes: chain.nodes,
            name: "dawn21".to_string(),
            initializers: chain.constants,
            inputs: vec![input_info(architecture)],
            outputs: vec![value_info(OUTPUT, &[architecture.outputs()])],
        }),
        opset_import: vec![OperatorSet {
            domain: String::new(),
            version: OPERATOR_SET,
        }],
        metadata: metadata
            .map(|(key, value)| Entry {
                key: key.to_string(),
                value,
            })
            .to_vec(),
    }
}

/// The same operations on f32 as [`crate::data::scaling::InputScaling::apply`].
fn scale_input(chain: &mut Chain, description: &ModelDescription) {
    let [low, high] = description.input.clip_mk.map(|v| v as f32);
    // `Clip` asks for bounds without dimensions.
    chain.constant("clip.low", &[], &[low]);
    chain.constant("clip.high", &[], &[high]);
    chain.constant("clip.factor", &[], &[1.0 / (high - low)]);
    chain.node("Clip", "clip", &["clip.low", "clip.high"], Vec::new());
    chain.node("Sub", "shift", &["clip.low"], Vec::new());
    chain.node("Mul", "scale", &["clip.factor"], Vec::new());
}

fn unscale_output(chain: &mut Chain, description: &ModelDescription) {
    let parameters = &description.parameters;
    let width: Vec<f32> = parameters.iter().map(|p| (p.max - p.min) as f32).collect();
    let min: Vec<f32> = parameters.iter().map(|p| p.min as f32).collect();
    chain.constant("range.width", &[width.len()], &width);
    chain.constant("range.min", &[min.len()], &min);
    chain.node("Mul", "unscale", &["range.width"], Vec::new());
    chain.node("Add", OUTPUT, &["range.min"], Vec::new());
}

/// Defaults of the operators (stride 1, no padding, pooling that drops a remainder) are left out.
fn add_layer(chain: &mut Chain, index: usize, spec: &LayerSpec, layer: &Layer) {
    let tensors: Vec<String> = layer
        .trainable()
        .iter()
        .chain(&layer.buffers())
        .map(|tensor| format!("{index}.{}", tensor.name))
        .collect();
    let tensors: Vec<&str> = tensors.iter().map(String::as_str).collect();
    let (op, attributes) = match spec {
        LayerSpec::Conv2d { .. } => {
            let weight = layer.trainable().remove(0).shape;
            let kernel = integers("kernel_shape", [weight[2], weight[3]]);
            ("Conv", vec![kernel])
        }
        LayerSpec::Relu {} => ("Relu", Vec::new()),
        LayerSpec::MaxPool2d { window } => {
            let window = window.cells();
            let attributes = vec![
                integers("kernel_shape", window),
                integers("strides", window),
            ];
            ("MaxPool", attributes)
        }
        LayerSpec::Flatten {} => ("Flatten", vec![integer("axis", 1)]),
        LayerSpec::Dropout { .. } => return,
        // The weight stays (out,in).
        LayerSpec::Dense { .. } => ("Gemm", vec![integer("transB", 1)]),
        LayerSpec::BatchNorm { epsilon, .. } => (
            "BatchNormalization",
            vec![number("epsilon", *epsilon as f32)],
        ),
    };
    let name = format!("{index}.{}", spec.kind());
    chain.node(op, &name, &tensors, attributes);
}

/// Nodes that each take the output of the one before.
struct Chain {
    nodes: Vec<Node>,
    constants: Vec<Tensor>,
    last: String,
}

impl Chain {
    fn new(input: &str) -> Self {
        Self {
            nodes: Vec::new(),
            constants: Vec::new(),
            last: input.to_string(),
        }
    }

    fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        self.constants.push(Tensor {
            dims: shape.iter().map(|&n| n as i64).collect(),
            data_type: FLOAT32,
            name: name.to_string(),
            raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        });
    }

    /// A node whose output has its own name.
    fn node(&mut self, op: &str, name: &str, constants: &[&str], attributes: Vec<Attribute>) {
        let mut inputs = vec![std::mem::replace(&mut self.last, name.to_string())];
        inputs.extend(constants.iter().map(|constant| (*constant).to_string()));
        self.nodes.push(Node {
            inputs,
            outputs: vec![name.to_string()],
            name: name.to_string(),
            op: op.to_string(),
            attributes,
        });
    }
}

fn attribute(name: &str, kind: i32) -> Attribute {
    Attribute {
        name: name.to_string(),
        kind,
        ..Attribute::default()
    }
}

fn number(name: &str, value: f32) -> Attribute {
    Attribute {
        f: Some(value),
        ..attribute(name, 1)
    }
}

fn integer(name: &str, value: i64) -> Attribute {
    Attribute {
        i: Some(value),
        ..attribute(name, 2)
    }
}

fn integers(name: &str, values: [usize; 2]) -> Attribute {
    Attribute {
        ints: values.iter().map(|&n| n as i64).collect(),
        ..attribute(name, 7)
    }
}

fn input_info(architecture: &Architecture) -> ValueInfo {
    let [rows, columns] = architecture.image();
    value_info(INPUT, &[1, rows, columns])
}

/// A float32 tensor whose first dimension, the number of images, is free.
fn value_info(name: &str, shape: &[usize]) -> ValueInfo {
    let free = Dimension {
        value: None,
        name: Some("N".to_string()),
    };
    let fixed = shape.iter().map(|&n| Dimension {
        value: Some(n as i64),
        name: None,
    });
    ValueInfo {
        name: name.to_string(),
        kind: Some(Type {
            tensor: Some(TensorType {
                element: FLOAT32,
                shape: Some(Shape {
                    dims: std::iter::once(free).chain(fixed).collect(),
                }),
            }),
        }),
    }
}
