//! Models from and for PyTorch, Keras and onnxruntime: values against theirs, round trips to the bit.

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::small_manifest;
use dawn21::data::manifest::{Manifest, ParameterDescription};
use dawn21::data::scaling::InputScaling;
use dawn21::data::slices::SliceConfig;
use dawn21::model::activations::Mode;
use dawn21::model::architecture::Architecture;
use dawn21::model::description::ModelDescription;
use dawn21::model::exchange::keras::{self, DataFormat, Flavour};
use dawn21::model::exchange::onnx::{self, schema};
use dawn21::model::exchange::{Imported, import};
use dawn21::model::layer_spec::LayerSpec;
use dawn21::model::model_file::{self, Model};
use dawn21::model::network::Network;
use dawn21::model::parameters::Parameters;
use dawn21::tensor_file::TensorFile;

/// Outputs are of order 1; float32 sums of a few hundred terms in another order differ by less.
const BOUND: f32 = 2e-6;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

fn layers(toml_text: &str) -> Vec<LayerSpec> {
    #[derive(serde::Deserialize)]
    struct File {
        layer: Vec<LayerSpec>,
    }
    toml::from_str::<File>(toml_text)
        .expect("valid layers")
        .layer
}

/// One of the networks of `fixtures/cases`.
fn case(name: &str, image: [usize; 2], outputs: usize) -> Architecture {
    let text = fs::read_to_string(fixture(&format!("cases/{name}.toml"))).expect("case");
    Architecture::resolve(&layers(&text), image, 1.0, outputs).expect("fits")
}

fn tiny() -> Architecture {
    case("tiny", [12, 20], 3)
}

fn tensor(file: &str, name: &str, shape: &[usize]) -> Vec<f32> {
    let mut values = vec![f32::NAN; shape.iter().product()];
    TensorFile::read(&fixture(file))
        .and_then(|file| file.copy_f32(name, shape, &mut values))
        .expect("fixture");
    values
}

fn outputs(architecture: &Architecture, parameters: &Parameters<f32>, input: &[f32]) -> Vec<f32> {
    let network = Network::new(architecture.clone());
    let mut activations = network.activations();
    activations.input_mut().extend_from_slice(input);
    network
        .forward(parameters, &mut activations, Mode::Inference)
        .expect("fits");
    activations.output().to_vec()
}

fn assert_close(name: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() <= BOUND,
            "{name}: {found} instead of {expected}"
        );
    }
}

fn bits(parameters: &Parameters<f32>) -> Vec<(String, Vec<usize>, Vec<u32>)> {
    let tensors = parameters.tensors();
    tensors
        .map(|t| {
            let values = t.values.iter().map(|v| v.to_bits()).collect();
            (t.name.clone(), t.shape.clone(), values)
        })
        .collect()
}

#[test]
fn every_keras_file_gives_the_outputs_of_keras() {
    let input = tensor("keras/models/outputs.safetensors", "input", &[5, 1, 12, 20]);
    let mut files = 0;
    for entry in fs::read_dir(fixture("keras/models")).expect("directory") {
        let path = entry.expect("entry").path();
        let name = path
            .file_name()
            .expect("name")
            .to_string_lossy()
            .into_owned();
        if !name.ends_with(".h5") {
            continue;
        }
        files += 1;
        let first = name.contains("channels_first");
        let format = first.then_some(DataFormat::ChannelsFirst);
        let imported = import(&path, &tiny(), format).expect("a sound file");
        assert_eq!(imported.matches.len(), 7, "{:?}", imported.matches);
        let expected = tensor(
            "keras/models/outputs.safetensors",
            &format!("output.{name}"),
            &[5, 3],
        );
        let found = outputs(&tiny(), &imported.parameters, &input);
        assert_close(&name, &found, &expected);
    }
    assert_eq!(files, 8);
}

#[test]
fn kernels_of_theano_are_turned() {
    let path = fixture("keras2_theano/tiny_weights.h5");
    let imported = import(&path, &tiny(), None).expect("a sound file");
    assert!(imported.format.contains("2.1.3"), "{}", imported.format);
    assert!(imported.matches[0].contains("`Conv-1`, kernels turned by 180 degrees"));
    assert!(!imported.matches[2].contains("turned"));
    let input = tensor("keras/models/outputs.safetensors", "input", &[5, 1, 12, 20]);
    let expected = tensor("keras2_theano/tiny.safetensors", "output", &[5, 3]);
    let found = outputs(&tiny(), &imported.parameters, &input);
    assert_close("theano", &found, &expected);
}

#[test]
fn pytorch_state_dicts_give_the_outputs_of_pytorch() {
    for (name, image, batch, count) in [
        ("tiny", [12, 20], 5, 3),
        ("kernel10", [40, 56], 6, 4),
        ("kernel10_norm_before_relu", [40, 56], 6, 4),
        ("norm_after_conv", [23, 37], 4, 2),
    ] {
        let architecture = case(name, image, count);
        let path = fixture(&format!("pytorch/{name}.weights.safetensors"));
        let imported = import(&path, &architecture, None).expect("a sound file");
        let shape = [3, batch, 1, image[0], image[1]];
        let input = tensor(
            &format!("cases/{name}.safetensors"),
            "batches.input",
            &shape,
        );
        let expected = tensor(
            &format!("pytorch/{name}.float32.safetensors"),
            "output.inference",
            &[batch, count],
        );
        let first_batch = &input[..batch * image[0] * image[1]];
        let found = outputs(&architecture, &imported.parameters, first_batch);
        // Relative to the largest output: those of kernel10 are up to 4.
        let largest = expected.iter().fold(1.0_f32, |m, v| m.max(v.abs()));
        let scaled = |values: &[f32]| -> Vec<f32> { values.iter().map(|v| v / largest).collect() };
        assert_close(name, &scaled(&found), &scaled(&expected));
    }
}

/// Batch normalisation of channels and of flattened features, windows that are not square.
const EVERY_LAYOUT: &str = r#"
layer = [
    { kind = "conv2d", filters = 3, kernel = [2, 3] },
    { kind = "batch_norm" },
    { kind = "relu" },
    { kind = "max_pool2d", window = [2, 1] },
    { kind = "conv2d", filters = 4, kernel = 2 },
    { kind = "flatten" },
    { kind = "batch_norm" },
    { kind = "dropout", rate = 0.3 },
    { kind = "dense", units = 6 },
    { kind = "relu" },
    { kind = "batch_norm" },
    { kind = "dense" },
]
"#;

fn manifest(image: [usize; 2], count: usize) -> Manifest {
    let parameter = |i: usize| ParameterDescription {
        name: format!("p{i}"),
        unit: String::new(),
        min: -1.0,
        max: 3.0,
        latex: None,
    };
    Manifest {
        shape: [image[0], 1, image[1]],
        parameters: (0..count).map(parameter).collect(),
        ..small_manifest()
    }
}

/// A model whose tensors are all different from 0 and 1.
fn model(specs: &[LayerSpec], image: [usize; 2], count: usize) -> Model {
    let manifest = manifest(image, count);
    let architecture = Architecture::resolve(specs, image, manifest.cell_mpc, count).expect("fits");
    let mut parameters = Parameters::initialize(&architecture, 9);
    for (i, tensor) in parameters.tensors_mut().enumerate() {
        for (j, value) in tensor.values.iter_mut().enumerate() {
            *value += 0.01 * ((i + 3 * j) % 17) as f32;
        }
    }
    let description = ModelDescription::new(
        &architecture,
        &manifest,
        InputScaling::default(),
        SliceConfig::default(),
    );
    Model {
        description,
        network: Network::new(architecture),
        parameters,
    }
}

#[test]
fn export_and_import_give_the_same_bits() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let model = model(&layers(EVERY_LAYOUT), [9, 11], 2);
    let architecture = model.network.architecture();
    for (name, flavour) in [
        ("legacy.h5", Flavour::Legacy),
        ("new.weights.h5", Flavour::Weights),
    ] {
        let path = directory.path().join(name);
        assert_eq!(Flavour::of(&path), Some(flavour));
        keras::write(&path, flavour, architecture, &model.parameters).expect("writes");
        let imported = import(&path, architecture, None).expect("reads");
        assert_eq!(
            bits(&model.parameters),
            bits(&imported.parameters),
            "{name}"
        );
        // The wrong order of channels is another network.
        let format = Some(DataFormat::ChannelsFirst);
        let other = import(&path, architecture, format).expect("reads");
        assert_ne!(bits(&model.parameters), bits(&other.parameters), "{name}");
    }
    let path = directory.path().join("copy.safetensors");
    model_file::write(&path, &model.description, architecture, &model.parameters).expect("writes");
    let Imported { parameters, .. } = import(&path, architecture, None).expect("reads");
    assert_eq!(bits(&model.parameters), bits(&parameters));
    assert_eq!(Flavour::of(Path::new("model.keras")), None);
}

#[test]
fn a_recorded_data_format_counts_and_may_not_be_contradicted() {
    let path = fixture("keras/models/keras3_channels_last.model.h5");
    assert!(import(&path, &tiny(), Some(DataFormat::ChannelsLast)).is_ok());
    let error = import(&path, &tiny(), Some(DataFormat::ChannelsFirst)).expect_err("contradicted");
    assert!(error.to_string().contains("channels_last"), "{error}");
    let path = fixture("pytorch/tiny.weights.safetensors");
    let error = import(&path, &tiny(), Some(DataFormat::ChannelsLast)).expect_err("no Keras file");
    assert!(error.to_string().contains("--data-format"), "{error}");
}

/// A node with its constants in place of their names.
type ResolvedNode = (String, Vec<(Vec<i64>, Vec<u8>)>, Vec<schema::Attribute>);

/// The nodes of a graph that is one chain, from its input to its output.
fn chain(model: &schema::Model) -> Vec<ResolvedNode> {
    let graph = model.graph.as_ref().expect("a graph");
    let constants: HashMap<&str, &schema::Tensor> = graph
        .initializers
        .iter()
        .map(|tensor| (tensor.name.as_str(), tensor))
        .collect();
    let mut last = graph.inputs[0].name.as_str();
    let mut nodes = Vec::new();
    for node in &graph.nodes {
        assert_eq!(node.inputs[0], last, "{}", node.name);
        last = &node.outputs[0];
        let constants = node.inputs[1..].iter().map(|name| {
            let tensor = constants[name.as_str()];
            assert_eq!(tensor.data_type, 1, "{name} is float32");
            (tensor.dims.clone(), tensor.raw_data.clone())
        });
        let mut attributes = node.attributes.clone();
        attributes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes.push((node.op.clone(), constants.collect(), attributes));
    }
    assert_eq!(graph.outputs[0].name, last);
    nodes
}

#[test]
fn onnx_graph_is_that_of_the_fixture() {
    let expected = onnx::read(&fixture("onnx/tiny.onnx")).expect("a sound file");
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = fixture("pytorch/tiny.weights.safetensors");
    let imported = import(&path, &tiny(), None).expect("a sound file");
    let mut manifest = manifest([12, 20], 3);
    let ranges = [
        ("log10_tvir", 4.0, 6.0),
        ("zeta", 10.0, 250.0),
        ("log10_lx_sfr", 38.0, 42.0),
    ];
    for (parameter, (name, min, max)) in manifest.parameters.iter_mut().zip(ranges) {
        (parameter.name, parameter.min, parameter.max) = (name.to_string(), min, max);
    }
    let description = ModelDescription::new(
        &tiny(),
        &manifest,
        InputScaling::default(),
        SliceConfig::default(),
    );
    let model = Model {
        description,
        network: Network::new(tiny()),
        parameters: imported.parameters,
    };
    let path = directory.path().join("tiny.onnx");
    onnx::write(&path, &model).expect("writes");
    let found = onnx::read(&path).expect("what was written");

    assert_eq!(found.ir_version, expected.ir_version);
    assert_eq!(found.opset_import, expected.opset_import);
    let (graph, wanted) = (found.graph.as_ref(), expected.graph.as_ref());
    let (graph, wanted) = (graph.expect("a graph"), wanted.expect("a graph"));
    assert_eq!(graph.inputs, wanted.inputs);
    assert_eq!(graph.outputs, wanted.outputs);
    let (chain, wanted) = (chain(&found), chain(&expected));
    assert_eq!(chain.len(), wanted.len());
    for (found, expected) in chain.iter().zip(&wanted) {
        assert_eq!(found, expected);
    }
    for entry in &expected.metadata {
        assert!(found.metadata.contains(entry), "{entry:?}");
    }
    let description = found.metadata.iter().find(|entry| entry.key == "dawn21");
    let description: ModelDescription =
        serde_json::from_str(&description.expect("description").value).expect("JSON");
    assert_eq!(description, model.description);
}
