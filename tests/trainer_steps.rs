//! What the trainer does in an epoch, against the same steps written out with public functions.

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use common::{small_manifest, succeed, text, train_arguments, write_small_data};
use dawn21::data::batches::{ImageReader, all_images, batch_ranges, read_slice, shuffled};
use dawn21::data::cube::Cube;
use dawn21::data::dataset::Dataset;
use dawn21::data::scaling::{InputScaling, TargetScaling};
use dawn21::data::slices::{SliceConfig, Slicing};
use dawn21::data::split::{Part, Split};
use dawn21::model::activations::Mode;
use dawn21::model::network::Network;
use dawn21::model::parameters::Parameters;
use dawn21::run_directory::RunDirectory;
use dawn21::training::checkpoint::{Checkpoint, read_model};
use dawn21::training::config::{Config, ConfigSources};
use dawn21::training::observer::Silent;
use dawn21::training::preparation::network as build;
use dawn21::training::trainer::Trainer;
use dawn21_kernels::loss::mean_squared_error;
use dawn21_kernels::rmsprop::{self, RmsProp};

fn config(more: &[&str]) -> Config {
    let overrides: Vec<String> = common::SMALL
        .iter()
        .filter(|argument| **argument != "--set")
        .chain(more)
        .map(ToString::to_string)
        .collect();
    Config::load(&ConfigSources {
        overrides: &overrides,
        ..ConfigSources::default()
    })
    .expect("valid")
}

/// Losses of the batches and weights after `epochs` epochs, step by step.
fn by_hand(
    data: &Dataset,
    config: &Config,
    epochs: u64,
    shuffle: bool,
) -> (Vec<f64>, Parameters<f32>) {
    let slicing = Slicing::new(data.manifest(), &config.slices).expect("fits");
    let split = Split::new(data.light_cones().len(), &config.split).expect("enough");
    let (architecture, description) = build(data, &slicing, config).expect("fits");
    let targets = TargetScaling::new(&description.parameters);
    let reader = ImageReader::new(data, &slicing, config.input, targets).expect("range");
    let images = all_images(&split.light_cones(Part::Train), &slicing);
    let network = Network::new(architecture);
    let mut parameters = Parameters::<f32>::initialize(network.architecture(), config.seed);
    let mut gradients = Parameters::zeros(network.architecture());
    let mut mean_squares: Vec<Vec<f32>> = parameters
        .trainable
        .iter()
        .map(|t| vec![0.0; t.values.len()])
        .collect();
    let mut activations = network.activations();
    let mut target = Vec::new();
    let (mut losses, mut step) = (Vec::new(), 0);
    for epoch in 0..epochs {
        let order = if shuffle {
            shuffled(&images, config.seed, epoch)
        } else {
            images.clone()
        };
        let mut sum = 0.0;
        for range in batch_ranges(order.len(), config.training.batch_size) {
            reader
                .read_batch(&order[range.clone()], activations.input_mut(), &mut target)
                .expect("finite");
            let mode = Mode::Training {
                seed: config.seed,
                step,
            };
            network
                .forward(&parameters, &mut activations, mode)
                .expect("fits");
            let (output, gradient) = activations.output_and_gradient_mut();
            sum +=
                mean_squared_error(output, &target, gradient).expect("fits") * range.len() as f64;
            network
                .backward(&parameters, &mut activations, &mut gradients, false)
                .expect("fits");
            let optimizer = RmsProp {
                learning_rate: config.training.rmsprop.learning_rate,
                rho: config.training.rmsprop.rho,
                epsilon: config.training.rmsprop.epsilon,
            };
            let tensors = parameters.trainable.iter_mut().zip(&gradients.trainable);
            for ((tensor, gradient), mean_square) in tensors.zip(&mut mean_squares) {
                rmsprop::step(
                    &optimizer,
                    &mut tensor.values,
                    &gradient.values,
                    mean_square,
                )
                .expect("fits");
            }
            network
                .update_running_statistics(&mut parameters, &activations)
                .expect("fits");
            step += 1;
        }
        losses.push(sum / order.len() as f64);
    }
    (losses, parameters)
}

/// The trainer's losses by epoch and its last weights.
fn by_trainer(directory: &Path, data: &Dataset, config: &Config) -> (Vec<f64>, Parameters<f32>) {
    let slicing = Slicing::new(data.manifest(), &config.slices).expect("fits");
    let split = Split::new(data.light_cones().len(), &config.split).expect("enough");
    let (architecture, _) = build(data, &slicing, config).expect("fits");
    let state = Trainer::fresh_state(&architecture, config, None);
    let (run, _lock) = RunDirectory::create(directory).expect("new");
    let mut trainer = Trainer::new(data, &slicing, &split, config, &run, state).expect("fits");
    trainer
        .run(&mut Silent, &AtomicBool::new(false))
        .expect("finite");
    let losses = trainer
        .position()
        .history
        .iter()
        .map(|e| e.train_loss)
        .collect();
    let checkpoint = Checkpoint::read(&run.checkpoint(), &architecture);
    (losses, checkpoint.expect("written").parameters)
}

#[test]
fn epochs_are_the_steps_written_out() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("data");
    write_small_data(&path, &small_manifest(), 20);
    let data = Dataset::open(&path).expect("sound");
    for (name, setting, shuffle) in [
        ("shuffled", "training.shuffle=true", true),
        ("in-order", "training.shuffle=false", false),
    ] {
        // By the plain network, whose steps can be written out.
        let plain = "execution.convolution=plain";
        let config = config(&[setting, "training.epochs=3", plain]);
        let expected = by_hand(&data, &config, 3, shuffle);
        let actual = by_trainer(&directory.path().join(name), &data, &config);
        assert_eq!(actual.0, expected.0, "{name}");
        assert_eq!(actual.1, expected.1, "{name}");
    }
}

#[test]
fn the_model_of_a_checkpoint_is_what_was_validated() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let (path, run) = (directory.path().join("data"), directory.path().join("run"));
    write_small_data(&path, &small_manifest(), 20);
    let data = Dataset::open(&path).expect("sound");
    let config = config(&[
        "training.epochs=2",
        "training.weight_averaging.enabled=true",
    ]);
    by_trainer(&run, &data, &config);
    let slicing = Slicing::new(data.manifest(), &config.slices).expect("fits");
    let (architecture, description) = build(&data, &slicing, &config).expect("fits");
    let file = run.join("last/checkpoint.safetensors");
    let mut state = Checkpoint::read(&file, &architecture).expect("written");
    let model = read_model(&file).expect("a model");
    assert_eq!(Some(&model.parameters), state.average.as_ref());
    assert_ne!(model.parameters, state.parameters);
    let last = state.position.history[1].validation_loss;
    assert_eq!(model.description.validation_loss, Some(last));
    // Within an epoch the weights have moved on.
    state.position.batches_done = 1;
    let state = state.write(&file, &description, &architecture);
    state.expect("written again");
    let model = read_model(&file).expect("a model");
    assert_eq!(model.description.validation_loss, None);
}

/// Column `name` of a run's history.
fn column(run: &Path, name: &str) -> Vec<f64> {
    let mut reader = csv::Reader::from_path(run.join("history.csv")).expect("history");
    let index = reader
        .headers()
        .expect("header")
        .iter()
        .position(|h| h == name)
        .expect(name);
    reader
        .records()
        .map(|row| row.expect("row")[index].parse().expect("number"))
        .collect()
}

#[test]
fn validation_scores_are_those_of_evaluate_on_the_validation_set() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let data = directory.path().join("data");
    let run = directory.path().join("run");
    write_small_data(&data, &small_manifest(), 40);
    succeed(&train_arguments(&data, &run, &[]));
    let metrics = |part: &str| -> f64 {
        let arguments = [
            "evaluate",
            text(&run),
            text(&data),
            "--part",
            part,
            "--weights",
            "last",
        ];
        succeed(&[&arguments[..], &["--out", text(directory.path())]].concat());
        let file = fs::read_to_string(directory.path().join("metrics.json")).expect("metrics");
        let metrics: serde_json::Value = serde_json::from_str(&file).expect("JSON");
        metrics["loss"].as_f64().expect("loss")
    };
    let last = *column(&run, "validation_loss").last().expect("epochs");
    assert!((metrics("validation") - last).abs() < 1e-12 * last);
    assert!(
        (metrics("test") - last).abs() > 1e-6 * last,
        "another set has another loss"
    );
}

#[test]
fn the_learning_rate_of_the_steps_falls_on_a_plateau() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let data = directory.path().join("data");
    write_small_data(&data, &small_manifest(), 20);
    let run = |name: &str, more: &[&str]| {
        let run = directory.path().join(name);
        let mut settings = vec!["--set", "training.epochs=6"];
        settings.extend(more);
        succeed(&train_arguments(&data, &run, &settings));
        run
    };
    // No decrease is large enough: the rate falls after three bad epochs and after two more.
    let plateau = run(
        "plateau",
        &[
            "--set",
            "training.reduce_on_plateau.min_delta=100.0",
            "--set",
            "training.reduce_on_plateau.patience=1",
            "--set",
            "training.reduce_on_plateau.factor=0.5",
        ],
    );
    let steady = run(
        "steady",
        &["--set", "training.reduce_on_plateau.enabled=false"],
    );
    assert_eq!(
        column(&plateau, "learning_rate"),
        [1e-3, 1e-3, 1e-3, 5e-4, 2.5e-4, 1.25e-4]
    );
    let losses = [&plateau, &steady].map(|run| column(run, "train_loss"));
    assert_eq!(losses[0][..3], losses[1][..3]);
    assert!(losses[0][4..] != losses[1][4..], "the steps use the rate");
}

#[test]
fn images_are_the_right_cells_clipped_and_scaled() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut manifest = small_manifest();
    manifest.shape = [6, 4, 5];
    // A cell tells where it is, in mK from -300 to 176, beyond both ends of the clip.
    let cells: Vec<f32> = (0..6 * 4 * 5).map(|i| -300.0 + 4.0 * i as f32).collect();
    let path = directory.path().join("cube.f32");
    fs::write(&path, bytemuck::cast_slice(&cells)).expect("cube");
    let cube = Cube::open(&path, manifest.shape).expect("size");
    let config = SliceConfig {
        count: Some(2),
        separation_mpc: 20.0,
        halves: Some(2),
    };
    let slicing = Slicing::new(&manifest, &config).expect("fits");
    assert_eq!(
        (slicing.images().len(), slicing.rows(), slicing.columns()),
        (4, 3, 5)
    );
    let input = InputScaling {
        clip_mk: [-250.0, 50.0],
    };
    for (image, (y, first_x)) in [(0, 0), (0, 3), (2, 0), (2, 3)].into_iter().enumerate() {
        let mut pixels = vec![f32::NAN; 15];
        read_slice(
            &cube,
            slicing.images()[image],
            &slicing,
            &input,
            &mut pixels,
        )
        .expect("finite");
        for x in 0..3 {
            for z in 0..5 {
                let mk = -300.0 + 4.0 * (((first_x + x) * 4 + y) * 5 + z) as f64;
                let expected = (mk.clamp(-250.0, 50.0) + 250.0) / 300.0;
                let actual = f64::from(pixels[x * 5 + z]);
                assert!(
                    (actual - expected).abs() < 1e-6,
                    "image {image} [{x}, {z}]: {actual}"
                );
            }
        }
    }
}
