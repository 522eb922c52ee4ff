//! Model files that are damaged, hostile, or of another network: typed errors that name the file and the
//! tensor, never a panic, and no memory for what only a header promises.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{fail, small_manifest, text, write_small_data};
use dawn21::data::scaling::InputScaling;
use dawn21::data::slices::SliceConfig;
use dawn21::model::architecture::Architecture;
use dawn21::model::description::ModelDescription;
use dawn21::model::exchange::{import, onnx};
use dawn21::model::layer_spec::LayerSpec;
use dawn21::model::model_file;
use dawn21::model::parameters::Parameters;
use dawn21_kernels::rng::{Stream, generator};
use rand::Rng;
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

fn tiny_layers() -> toml::Table {
    let text = fs::read_to_string(fixture("cases/tiny.toml")).expect("case");
    text.parse().expect("TOML")
}

/// The network `tiny`, with one field of one layer replaced.
fn tiny_with(layer: usize, field: &str, value: i64) -> Architecture {
    let mut table = tiny_layers();
    table["layer"][layer][field] = toml::Value::Integer(value);
    resolve(table)
}

fn tiny() -> Architecture {
    resolve(tiny_layers())
}

fn resolve(mut table: toml::Table) -> Architecture {
    let layers = table.remove("layer").expect("layers");
    let layers: Vec<LayerSpec> = layers.try_into().expect("valid layers");
    Architecture::resolve(&layers, [12, 20], 1.0, 3).expect("fits")
}

/// A file with the given bytes.
fn file(directory: &TempDir, bytes: &[u8]) -> PathBuf {
    let path = directory.path().join("hostile");
    fs::write(&path, bytes).expect("file");
    path
}

/// The message of an import that must fail and name the file.
fn error(path: &Path, architecture: &Architecture) -> String {
    let error = import(path, architecture, None).expect_err("a bad file");
    let message = error.to_string();
    assert!(message.contains(text(path)), "{message}");
    message
}

fn assert_names(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not named: {message}");
    }
}

/// Replaces the first place where `from` is.
fn patched(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut places = bytes.windows(from.len());
    let place = places.position(|window| window == from).expect("the bytes");
    let mut result = bytes.to_vec();
    result[place..place + to.len()].copy_from_slice(to);
    result
}

/// `rounds` damaged copies of a file, each cut or with some bytes changed.
fn damaged(original: &[u8], seed: u64, rounds: u64, mut check: impl FnMut(&[u8])) {
    for round in 0..rounds {
        let mut random = generator(seed, Stream::Audit, &[round]);
        let mut below = |n: usize| (random.next_u64() % n as u64) as usize;
        let mut bytes = original.to_vec();
        if below(4) == 0 {
            bytes.truncate(below(bytes.len()));
        } else {
            // Headers are at the beginning: half of the changes go there.
            for _ in 0..=below(8) {
                let end = if below(2) == 0 { 1024 } else { bytes.len() };
                let place = below(end.min(bytes.len()));
                bytes[place] = match below(4) {
                    0 => 0,
                    1 => 0xff,
                    2 => bytes[place] ^ (1 << below(8)),
                    _ => below(256) as u8,
                };
            }
        }
        check(&bytes);
    }
}

/// Importing any damaged copy works or fails with a message that names the file.
fn survives(name: &str, rounds: u64) {
    let original = fs::read(fixture(name)).expect("fixture");
    let directory = tempfile::tempdir().expect("temporary directory");
    let architecture = tiny();
    let mut failures = 0;
    damaged(&original, 7, rounds, |bytes| {
        let path = file(&directory, bytes);
        if let Err(error) = import(&path, &architecture, None) {
            failures += 1;
            assert_names(&error.to_string(), &[text(&path)]);
        }
    });
    assert!(failures * 5 > rounds, "{name}: only {failures} failures");
}

#[test]
fn damaged_pytorch_files_are_refused() {
    survives("pytorch/tiny.weights.safetensors", 1000);
}

#[test]
fn damaged_keras_files_are_refused() {
    survives("keras/models/keras2_channels_last.h5", 400);
    survives("keras/models/keras2_channels_last.model.h5", 400);
    survives("keras/models/keras3_channels_last.weights.h5", 400);
    survives("keras2_theano/tiny_weights.h5", 400);
}

#[test]
fn damaged_onnx_files_are_refused() {
    let original = fs::read(fixture("onnx/tiny.onnx")).expect("fixture");
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut failures = 0;
    damaged(&original, 8, 1000, |bytes| {
        let path = file(&directory, bytes);
        if let Err(error) = onnx::read(&path) {
            failures += 1;
            assert_names(&error.to_string(), &[text(&path)]);
        }
    });
    assert!(failures > 200, "only {failures} failures");
}

/// A model of dawn21 with random weights.
fn write_model(path: &Path) {
    let architecture = tiny();
    let mut manifest = small_manifest();
    let mut third = manifest.parameters[0].clone();
    third.name = "third".to_string();
    manifest.parameters.push(third);
    let description = ModelDescription::new(
        &architecture,
        &manifest,
        InputScaling::default(),
        SliceConfig::default(),
    );
    let parameters = Parameters::initialize(&architecture, 1);
    model_file::write(path, &description, &architecture, &parameters).expect("writes");
}

#[test]
fn damaged_models_are_refused() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let whole = directory.path().join("whole.safetensors");
    write_model(&whole);
    let original = fs::read(&whole).expect("model");
    let mut failures = 0;
    damaged(&original, 9, 1000, |bytes| {
        let path = file(&directory, bytes);
        if let Err(error) = model_file::read(&path) {
            failures += 1;
            assert_names(&error.to_string(), &[text(&path)]);
        }
    });
    assert!(failures > 200, "only {failures} failures");
}

#[test]
fn impossible_descriptions_are_refused() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let whole = directory.path().join("whole.safetensors");
    write_model(&whole);
    let original = fs::read(&whole).expect("model");
    for (from, to, named) in [
        ("[-250.0,50.0]", "[250.0,-50.0]", "clip_mk"),
        ("\\\"cell_mpc\\\":10.0", "\\\"cell_mpc\\\":-1.0", "cell_mpc"),
        ("[6.0,12.0]", "[6.0,-2.0]", "redshift_range"),
        ("\\\"max\\\":1.0", "\\\"max\\\":0.0", "level"),
        ("\\\"image\\\":[12,20]", "\\\"image\\\":[12,-1]", "metadata"),
        ("\\\"image\\\":[12,20]", "\\\"image\\\":[ 0,20]", "shape"),
        ("\\\"filters\\\":3", "\\\"filters\\\":9", "0.weight"),
    ] {
        let path = file(
            &directory,
            &patched(&original, from.as_bytes(), to.as_bytes()),
        );
        let error = model_file::read(&path).expect_err("impossible");
        assert_names(&error.to_string(), &[text(&path), named]);
        let data = directory.path().join("data");
        if !data.exists() {
            write_small_data(&data, &small_manifest(), 10);
        }
        let cube = data.join("cubes/000.f32");
        fail(&["predict", text(&path), text(&cube)], &[named]);
    }
}

#[test]
fn pytorch_files_of_other_networks_name_the_tensor() {
    let path = fixture("pytorch/tiny.weights.safetensors");
    let bytes = fs::read(&path).expect("fixture");
    let directory = tempfile::tempdir().expect("temporary directory");
    let message = error(&path, &tiny_with(0, "filters", 5));
    assert_names(&message, &["`0.weight`", "[3, 1, 3, 3]", "[5, 1, 3, 3]"]);
    let missing = file(&directory, &patched(&bytes, b"\"3.bias\"", b"\"3.bios\""));
    assert_names(&error(&missing, &tiny()), &["`3.bias`", "missing"]);
    // Without the normalisation the numbers of all later layers change.
    let mut fewer = tiny_layers();
    fewer["layer"].as_array_mut().expect("layers").remove(10);
    let message = error(&path, &resolve(fewer));
    assert_names(&message, &["tensor `11.weight` is missing"]);
    // A header of 2^64 bytes, a shape beyond the data, integers.
    let huge = u64::MAX.to_le_bytes();
    let hostile = [&huge[..], &bytes[8..]].concat();
    assert_names(
        &error(&file(&directory, &hostile), &tiny()),
        &["safetensors"],
    );
    let shape = patched(&bytes, b"\"shape\":[3,1,3,3]", b"\"shape\":[9999999]");
    assert_names(&error(&file(&directory, &shape), &tiny()), &["safetensors"]);
    let dtype = patched(&bytes, b"\"F32\"", b"\"I32\"");
    assert_names(
        &error(&file(&directory, &dtype), &tiny()),
        &["I32", "expected F32"],
    );
}

#[test]
fn numbers_that_no_network_has_are_refused() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let architecture = tiny();
    for (tensor, value) in [("0.weight", f32::NAN), ("10.running_var", -1.0)] {
        let mut parameters = Parameters::<f32>::initialize(&architecture, 1);
        for changed in parameters.tensors_mut().filter(|t| t.name == tensor) {
            changed.values[2] = value;
        }
        let path = directory.path().join("numbers.safetensors");
        let tensors = model_file::file_tensors(&architecture, &parameters, 0);
        dawn21::tensor_file::write(&path, String::new(), tensors).expect("writes");
        assert_names(&error(&path, &architecture), &[tensor, &value.to_string()]);
    }
}

#[test]
fn keras_files_of_other_networks_name_the_layer() {
    for (name, kernel, layer) in [
        (
            "keras2_channels_last.h5",
            "/conv2d_1/conv2d_1/kernel:0",
            "/conv2d",
        ),
        (
            "keras3_channels_last.model.h5",
            "/model_weights/conv2d_1/",
            "/model_weights/conv2d",
        ),
        (
            "keras3_channels_last.weights.h5",
            "/layers/conv2d_1/vars/0",
            "/layers/conv2d",
        ),
    ] {
        let path = fixture("keras/models").join(name);
        let message = error(&path, &tiny_with(3, "filters", 8));
        assert_names(
            &message,
            &[kernel, "3 (conv2d)", "[2, 3, 3, 4]", "[2, 3, 3, 8]"],
        );
        let message = error(&path, &tiny_with(0, "kernel", 5));
        assert_names(&message, &[layer, "0 (conv2d)"]);

        // One layer less, and a normalisation where the file has a dense layer.
        let mut fewer = tiny_layers();
        fewer["layer"].as_array_mut().expect("layers").remove(10);
        let message = error(&path, &resolve(fewer));
        assert_names(&message, &["batch_normalization", "dense_3"]);
        let mut swapped = tiny_layers();
        swapped["layer"]
            .as_array_mut()
            .expect("layers")
            .swap(10, 12);
        swapped["layer"][10]["units"] = toml::Value::Integer(6);
        let message = error(&path, &resolve(swapped));
        // The new files have no order of classes: there only the shapes differ.
        let new = name.ends_with(".weights.h5");
        let named = if new {
            "10 (dense) needs [6, 6]"
        } else {
            "10 (dense) needs 2"
        };
        assert_names(&message, &[named]);
    }
}

#[test]
fn keras_files_with_hostile_sizes_or_types_are_refused() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = fixture("keras/models/keras2_channels_last.h5");
    let bytes = fs::read(&path).expect("fixture");
    // The shape of the first dense kernel, (24, 6), as HDF5 stores it; gigabytes.
    let dimensions = |outputs: u64| [24_u64.to_le_bytes(), outputs.to_le_bytes()].concat();
    let huge = 1_u64 << 26;
    let hostile = file(
        &directory,
        &patched(&bytes, &dimensions(6), &dimensions(huge)),
    );
    let message = error(&hostile, &tiny());
    assert_names(
        &message,
        &["dense/kernel", "8 (dense)", "[24, 6]", "67108864"],
    );
    // Even when the architecture asks for it.
    let mut matching = tiny_layers();
    let layers = matching["layer"].as_array_mut().expect("layers");
    layers[8]["units"] = toml::Value::Integer(huge as i64);
    let message = error(&hostile, &resolve(matching));
    assert_names(&message, &["dense/kernel", "6442450944 bytes"]);

    // Class 1 (floats) becomes class 0 (integers) in the type of the first dataset.
    let float = [0x11, 0x20, 0x1f, 0x00, 4, 0, 0, 0];
    let integer = [0x10, 0x08, 0x00, 0x00, 4, 0, 0, 0];
    let typed = file(&directory, &patched(&bytes, &float, &integer));
    assert_names(&error(&typed, &tiny()), &["/gamma:0", "i32, expected f32"]);
}

#[test]
fn other_files_are_recognised_and_refused_with_advice() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = fixture("keras/models/keras3_channels_last.keras");
    assert_names(&error(&path, &tiny()), &["zip archive", "model.weights.h5"]);
    let path = fixture("onnx/tiny.onnx");
    assert_names(&error(&path, &tiny()), &["neither safetensors nor HDF5"]);
    assert_names(&error(&file(&directory, b""), &tiny()), &["an empty file"]);
    assert_names(&error(&directory.path().join("none"), &tiny()), &["none"]);
    assert!(import(directory.path(), &tiny(), None).is_err());
}

fn flatten_and_dense() -> Architecture {
    let layers = "layer = [{ kind = \"flatten\" }, { kind = \"dense\" }]";
    resolve(layers.parse().expect("TOML"))
}

#[test]
fn chunks_larger_than_the_file_are_refused() {
    let path = fixture("keras/hostile_chunk.weights.h5");
    let message = error(&path, &flatten_and_dense());
    assert_names(&message, &["/layers/dense/vars/0", "3221225472 bytes"]);
}

#[test]
fn compressed_keras_files_are_read_and_damaged_ones_refused() {
    let architecture = flatten_and_dense;
    let kernel: Vec<f32> = (0..240 * 3).map(|i| i as f32).collect();
    let mut builder = hdf5_pure::FileBuilder::new();
    let mut layers = builder.create_group("layers");
    let mut dense = layers.create_group("dense");
    let mut vars = dense.create_group("vars");
    vars.create_dataset("0")
        .with_f32_data(&kernel)
        .with_shape(&[240, 3])
        .with_chunks(&[77, 3])
        .with_shuffle()
        .with_deflate(6);
    vars.create_dataset("1").with_f32_data(&[1.0, 2.0, 3.0]);
    dense.add_group(vars.finish());
    layers.add_group(dense.finish());
    builder.add_group(layers.finish());
    let bytes = builder.finish().expect("writes");
    let directory = tempfile::tempdir().expect("temporary directory");
    let imported = import(&file(&directory, &bytes), &architecture(), None).expect("reads");
    let weight = &imported.parameters.trainable[0];
    // Row i of Keras' kernel is column i here; a single channel has only one order.
    let found = [weight.values[0], weight.values[1], weight.values[240]].map(|v| v as u8);
    assert_eq!(found, [0, 3, 1]);

    let mut failures = 0;
    damaged(&bytes, 10, 400, |bytes| {
        let path = file(&directory, bytes);
        if let Err(error) = import(&path, &architecture(), None) {
            failures += 1;
            assert_names(&error.to_string(), &[text(&path)]);
        }
    });
    assert!(failures > 80, "only {failures} failures");
}
