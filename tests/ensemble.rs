//! Several networks as one.

mod common;

use std::fs;
use std::path::Path;

use common::trained::{field, number_in, rows};
use common::training::{small_data, train};
use common::{copy_run, fail, small_manifest, succeed, text, train_arguments, write_small_data};
use dawn21::data::scaling::InputScaling;
use dawn21::data::slices::SliceConfig;
use dawn21::data::symmetry::Symmetries;
use dawn21::model::architecture::Architecture;
use dawn21::model::description::ModelDescription;
use dawn21::model::engine::Engine;
use dawn21::model::ensemble::{EnsembleError, merge};
use dawn21::model::execution::{Execution, ExecutionConfig};
use dawn21::model::inference::Predict;
use dawn21::model::layer_spec::{LayerSpec, WindowSize};
use dawn21::model::model_file::Model;
use dawn21::model::network::Network;
use dawn21::model::parameters::Parameters;
use dawn21::training::config::{Config, ConfigSources};

const IMAGE: [usize; 2] = [48, 60];

/// A model with arbitrary values in every tensor, running averages too.
fn model(layers: &[LayerSpec], seed: u64) -> Model {
    let architecture = Architecture::resolve(layers, IMAGE, 3.0, 2).expect("layers that fit");
    let mut parameters = Parameters::<f32>::initialize(&architecture, seed);
    for (number, tensor) in parameters.tensors_mut().enumerate() {
        for (index, value) in tensor.values.iter_mut().enumerate() {
            let phase = (seed as usize * 31 + number * 7 + index) as f32;
            // Variances stay positive.
            *value += 0.2 * phase.sin().abs();
        }
    }
    let manifest = small_manifest();
    let (input, slices) = (InputScaling::default(), SliceConfig::default());
    Model {
        description: ModelDescription::new(&architecture, &manifest, input, slices),
        network: Network::new(architecture),
        parameters,
    }
}

fn two_images() -> Vec<f32> {
    let cells = 0..2 * IMAGE[0] * IMAGE[1];
    cells.map(|i| 0.5 + 0.5 * (0.37 * i as f32).sin()).collect()
}

/// Outputs for two images, and their features.
fn outputs_and_features(model: &Model) -> (Vec<f32>, Vec<Vec<f64>>) {
    let mut inference = model.inference().expect("an engine");
    *inference.input_mut() = two_images();
    let outputs = inference.predict().expect("outputs").to_vec();
    assert_eq!(outputs, inference.output());
    (outputs, inference.features())
}

fn outputs(model: &Model) -> Vec<f32> {
    outputs_and_features(model).0
}

/// The same of the network as it is stored, for which a merged one is a network like any other.
fn of_whole_network(model: &Model) -> (Vec<f32>, Vec<Vec<f64>>) {
    let execution = Execution::new(ExecutionConfig::default()).expect("instructions");
    let architecture = model.network.architecture().clone();
    let mut engine = Engine::new(architecture, execution).expect("an engine");
    engine.load(&model.parameters, None).expect("parameters");
    *engine.input_mut() = two_images();
    let outputs = engine.predict().expect("outputs").to_vec();
    (outputs, engine.features())
}

fn merged(members: &[Model]) -> Model {
    let (description, architecture, parameters) =
        merge(members, Symmetries::default()).expect("alike");
    Model {
        description,
        network: Network::new(architecture),
        parameters,
    }
}

fn layers_of(preset: &str) -> Vec<LayerSpec> {
    let sources = ConfigSources {
        preset: Some(preset),
        ..ConfigSources::default()
    };
    Config::load(&sources).expect("a preset").layers
}

fn dense(units: Option<usize>) -> LayerSpec {
    LayerSpec::Dense { units }
}

#[test]
fn outputs_are_the_mean_of_those_of_the_members() {
    let without_convolutions = vec![LayerSpec::Flatten {}, dense(Some(5)), dense(None)];
    let dense_alone = vec![
        LayerSpec::Flatten {},
        dense(Some(5)),
        LayerSpec::Relu {},
        dense(Some(4)),
        dense(None),
    ];
    let a_single_layer = vec![LayerSpec::Flatten {}, dense(None)];
    // Only between hidden layers are there zeros that one by one leaves out.
    for (layers, one_by_one) in [
        (layers_of("gillet2019"), true),
        (layers_of("deep"), true),
        (dense_alone, true),
        (without_convolutions, false),
        (a_single_layer, false),
    ] {
        for count in [2, 3] {
            let members: Vec<Model> = (1..=count).map(|seed| model(&layers, seed)).collect();
            let of_members: Vec<Vec<f32>> = members.iter().map(outputs).collect();
            assert_ne!(of_members[0], of_members[1]);
            let merged = merged(&members);
            let networks = merged.inference().expect("engines").networks();
            assert_eq!(networks, if one_by_one { members.len() } else { 1 });
            let (found, features) = outputs_and_features(&merged);
            let (of_whole, features_of_whole) = of_whole_network(&merged);
            for (index, (&found, whole)) in found.iter().zip(of_whole).enumerate() {
                let sum: f32 = of_members.iter().map(|outputs| outputs[index]).sum();
                let expected = sum / count as f32;
                for found in [found, whole] {
                    assert!(
                        (found - expected).abs() < 1e-5 * expected.abs().max(1.0),
                        "{found}, {expected}: {count} of {layers:?}"
                    );
                }
            }
            assert_eq!(features.len(), 2);
            for (found, whole) in features.iter().zip(&features_of_whole) {
                assert_eq!(found.len(), whole.len());
                assert_eq!(found.len(), merged.network.feature_count());
                for (found, whole) in found.iter().zip(whole) {
                    assert!((found - whole).abs() < 1e-4 * whole.abs().max(1.0));
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_merged_is_refused() {
    let layers = layers_of("deep");
    let refused = |members: &[Model]| merge(members, Symmetries::default()).expect_err("refused");
    assert_eq!(refused(&[]), EnsembleError::OneAnswer);
    let one = [model(&layers, 1)];
    assert_eq!(refused(&one), EnsembleError::OneAnswer);

    let others = [
        model(&layers, 1),
        model(&layers, 2),
        model(&layers_of("gillet2019"), 3),
    ];
    let field = "layers";
    assert_eq!(refused(&others), EnsembleError::Differ { number: 3, field });
    let mut scaled = model(&layers, 2);
    scaled.description.input.clip_mk = [-100.0, 50.0];
    let field = "scalings of the input";
    let pair = [model(&layers, 1), scaled];
    assert_eq!(refused(&pair), EnsembleError::Differ { number: 2, field });
    let mut ranged = model(&layers, 2);
    ranged.description.parameters[0].max = 2.0;
    let field = "parameters or ranges of them";
    let pair = [model(&layers, 1), ranged];
    assert_eq!(refused(&pair), EnsembleError::Differ { number: 2, field });

    let pair = |layers: &[LayerSpec]| [model(layers, 1), model(layers, 2)];
    let mut rectified = layers.clone();
    rectified.push(LayerSpec::Relu {});
    let found = "relu";
    assert_eq!(
        refused(&pair(&rectified)),
        EnsembleError::LastLayer { found }
    );
    let mut normalized = vec![LayerSpec::BatchNorm {
        momentum: 0.9,
        epsilon: 1e-3,
    }];
    normalized.push(LayerSpec::Conv2d {
        filters: 2,
        kernel: Some(WindowSize::Square(3)),
        kernel_mpc: None,
    });
    normalized.extend([LayerSpec::Flatten {}, dense(None)]);
    let layer = 0;
    assert_eq!(
        refused(&pair(&normalized)),
        EnsembleError::NormalizedInput { layer }
    );
}

#[test]
fn an_ensemble_is_a_run_of_its_own() {
    let (directory, data) = small_data();
    let path = |name: &str| directory.path().join(name);
    let [first, second, ensemble] = ["first", "second", "ensemble"].map(path);
    train(&data, &first, &["--seed", "1"]);
    train(&data, &second, &["--seed", "2"]);
    let arguments = [
        "ensemble",
        text(&first),
        text(&second),
        "--out",
        text(&ensemble),
    ];
    assert!(succeed(&arguments).contains("mean of 2 networks"));

    let cube = data.join("cubes/003.f32");
    let predicted = |run: &Path| rows(&succeed(&["predict", text(run), text(&cube), "--quiet"]));
    let [a, b, mean] = [&first, &second, &ensemble].map(|run| predicted(run));
    assert_eq!([a.len(), b.len(), mean.len()], [3; 3]);
    for ((a, b), mean) in a.iter().zip(&b).zip(&mean) {
        for name in ["level", "period"] {
            let expected = 0.5 * (number_in(a, name) + number_in(b, name));
            assert!((number_in(mean, name) - expected).abs() < 1e-4, "{mean:?}");
        }
        assert_eq!(field(mean, "level_uncertainty"), "", "not calibrated yet");
    }

    // Its test light-cones are those of its members, and its uncertainties its own.
    let table = succeed(&["evaluate", text(&ensemble), text(&data)]);
    assert!(
        table.contains("2 images of 2 light-cones (test), loss"),
        "{table}"
    );
    let [a, mean] = [&first, &ensemble].map(|run| predicted(run));
    assert!(number_in(&mean[0], "level_uncertainty") > 0.0);
    assert_ne!(
        field(&mean[0], "level_uncertainty"),
        field(&a[0], "level_uncertainty")
    );
    succeed(&["report", text(&ensemble), "--quiet"]);
    let html = fs::read_to_string(ensemble.join("report.html")).expect("report");
    let command = format!(
        "dawn21 ensemble {} {} --out",
        first.display(),
        second.display()
    );
    for said in ["mean of 2 networks", "those of its members", &command] {
        assert!(html.contains(said), "{said}");
    }
    assert!(!html.contains("epoch 0"));
    succeed(&["evaluate", text(&first), text(&data)]);
    let output = common::dawn21(&["compare", text(&ensemble), text(&first)]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && !log.contains("last epoch"),
        "{log}"
    );

    fail(
        &["train", text(&data), "--resume", text(&ensemble)],
        &["is the mean of 2 runs", "resume those"],
    );
    fail(&arguments, &["not empty; it holds another model"]);
    assert!(!ensemble.join("last").exists());
    let record = ensemble.join("run.toml");
    fail(
        &["train", text(&data), "--config", text(&record)],
        &["the record of an ensemble"],
    );
    let onnx = path("ensemble.onnx");
    let export = ["export", text(&ensemble), "--format", "onnx"];
    succeed(&[&export[..], &["--out", text(&onnx)]].concat());
    assert!(onnx.is_file());
    let last = ["predict", text(&ensemble), text(&cube), "--weights", "last"];
    fail(&last, &["no last weights", "an ensemble"]);
    fail(
        &["ensemble", text(&first), "--out", text(&path("one"))],
        &["give two or more runs, or --shifts or --flip"],
    );
    assert!(!path("one").exists());
}

#[test]
fn runs_on_other_light_cones_are_no_ensemble() {
    let (directory, data) = small_data();
    let path = |name: &str| directory.path().join(name);
    let [first, split, elsewhere, wider] = ["first", "split", "elsewhere", "wider"].map(path);
    train(&data, &first, &[]);
    train(&data, &split, &["--set", "split.seed=5"]);
    train(&data, &wider, &["--set", "layer.0.filters=3"]);
    let other_data = path("other data");
    write_small_data(&other_data, &small_manifest(), 24);
    succeed(&train_arguments(&other_data, &elsewhere, &[]));
    // The same run twice, by two names.
    let again = path("again");
    copy_run(&first, &again);
    let imported = path("imported");
    let weights = first.join("model.safetensors");
    succeed(&[
        "import-model",
        text(&weights),
        "--like",
        text(&first),
        "--out",
        text(&imported),
    ]);
    let out = path("ensemble");
    // Where one has lost its split, the others still must agree.
    let same = path("same");
    train(&data, &same, &["--seed", "9"]);
    fs::remove_file(same.join("split.csv")).expect("remove");
    let edited = path("edited");
    train(&data, &edited, &["--seed", "10"]);
    let table = fs::read_to_string(edited.join("split.csv")).expect("split");
    let table = table.replacen("train", "test", 1);
    fs::write(edited.join("split.csv"), table).expect("split");
    let three = [
        text(&same),
        text(&first),
        text(&edited),
        "--out",
        text(&out),
    ];
    fail(
        &[&["ensemble"], &three[..]].concat(),
        &[
            "another split of the same data",
            &format!("{} and", first.display()),
        ],
    );
    assert!(!out.exists());
    // A split of before the parameters were kept is the same split, and the ensemble takes the one that knows more.
    let whole = fs::read_to_string(first.join("split.csv")).expect("split");
    let lines = whole.lines().map(|line| {
        let fields: Vec<&str> = line.splitn(3, ',').take(2).collect();
        fields.join(",") + "\n"
    });
    fs::write(edited.join("split.csv"), lines.collect::<String>()).expect("split");
    let agreeing = path("agreeing");
    let two = [
        "ensemble",
        text(&edited),
        text(&first),
        "--out",
        text(&agreeing),
    ];
    succeed(&two);
    assert_eq!(
        fs::read_to_string(agreeing.join("split.csv")).expect("split"),
        whole
    );
    fs::write(edited.join("split.csv"), "id,part\n000,some\n").expect("split");
    fail(
        &two,
        &["edited/split.csv: line 2, column part: expected train"],
    );
    for (other, said) in [
        (&split, "another split of the same data"),
        (&elsewhere, &format!("and of {}", other_data.display())),
        (&wider, "wider has different layers from"),
        (&again, "have the same weights; give each run once"),
        (&imported, "was imported"),
    ] {
        let arguments = ["ensemble", text(&first), text(other), "--out", text(&out)];
        fail(&arguments, &[said]);
        assert!(!out.exists(), "{said}");
    }
}
