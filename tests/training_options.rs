//! Weight averaging, cosine decay and augmentation.

mod common;

use std::fs;
use std::path::Path;

use common::{fail, small_manifest, succeed, text, train_arguments, write_small_data};
use dawn21::data::augmentation::{Augmentation, View};
use dawn21::data::batches::{ImageIndex, ImageReader, all_images};
use dawn21::data::dataset::Dataset;
use dawn21::data::manifest::Manifest;
use dawn21::data::scaling::{InputScaling, TargetScaling};
use dawn21::data::slices::{SliceConfig, Slicing};
use dawn21::data::symmetry::Symmetry;
use dawn21::training::schedule::{CosineDecay, WeightAveraging};

const ALL: Augmentation = Augmentation {
    flip: true,
    shift: true,
    transpose: true,
    any_plane: true,
};

/// Square on the sky, with whole cubes: every symmetry there is.
fn square_manifest() -> Manifest {
    Manifest {
        shape: [6, 6, 40],
        ..small_manifest()
    }
}

fn slicing(manifest: &Manifest, halves: usize) -> Slicing {
    let config = SliceConfig {
        count: Some(2),
        separation_mpc: 20.0,
        halves: Some(halves),
    };
    Slicing::new(manifest, &config).expect("fits")
}

#[test]
fn augmented_images_are_the_cells_of_the_cube_under_a_symmetry() {
    let directory = tempfile::tempdir().expect("temporary directory");
    write_small_data(directory.path(), &square_manifest(), 4);
    let data = Dataset::open(directory.path()).expect("sound");
    let slicing = slicing(data.manifest(), 1);
    let input = InputScaling {
        clip_mk: [-300.0, 100.0],
    };
    let targets = TargetScaling::new(&data.manifest().parameters);
    let reader = ImageReader::new(&data, &slicing, input, targets).expect("range");
    let images = all_images(&[0, 1, 2, 3], &slicing);
    let (mut pixels, mut scaled) = (Vec::new(), Vec::new());
    let mut seen = [[0; 2]; 2];
    for epoch in 0..20 {
        let views = reader.augmented_views(&images, ALL, 5, epoch);
        reader
            .read_views(&images, &views, &mut pixels, &mut scaled)
            .expect("finite");
        for ((index, view), pixels) in images.iter().zip(&views).zip(pixels.chunks(240)) {
            let bytes = fs::read(
                directory
                    .path()
                    .join(format!("cubes/{:03}.f32", index.light_cone)),
            );
            let bytes = bytes.expect("cube");
            let cells: &[f32] = bytemuck::cast_slice(&bytes);
            seen[usize::from(view.symmetry.flipped)][usize::from(view.transposed)] += 1;
            for row in 0..6 {
                let mirrored = if view.symmetry.flipped { 5 - row } else { row };
                let along = (mirrored + view.symmetry.shift) % 6;
                let [x, y] = match view.transposed {
                    false => [along, view.plane],
                    true => [view.plane, along],
                };
                for z in 0..40 {
                    let mk = f64::from(cells[(x * 6 + y) * 40 + z]);
                    let expected = (mk + 300.0) / 400.0;
                    let found = f64::from(pixels[row * 40 + z]);
                    assert!((found - expected).abs() < 1e-6, "{view:?} [{row}, {z}]");
                }
            }
        }
    }
    let counts = seen.as_flattened();
    assert!(counts.iter().all(|&n| n > 20), "all four kinds: {counts:?}");
}

#[test]
fn views_depend_on_seed_epoch_and_image_alone_and_switches_are_independent() {
    let slicing = slicing(&square_manifest(), 1);
    let view = |augmentation: Augmentation, seed, epoch, light_cone, image| {
        let index = ImageIndex { light_cone, image };
        augmentation.view(seed, epoch, index, &slicing, 6)
    };
    let many = |seed, epoch, image| -> Vec<View> {
        (0..50).map(|i| view(ALL, seed, epoch, i, image)).collect()
    };
    assert_eq!(many(1, 2, 0), many(1, 2, 0));
    for other in [many(2, 2, 0), many(1, 3, 0), many(1, 2, 1)] {
        assert_ne!(many(1, 2, 0), other);
    }
    for i in 0..50 {
        let all = view(ALL, 1, 2, i, 1);
        let none = view(Augmentation::default(), 1, 2, i, 1);
        assert_eq!(none, View::plain(slicing.images()[1]));
        let shifted = view(
            Augmentation {
                shift: true,
                ..Augmentation::default()
            },
            1,
            2,
            i,
            1,
        );
        assert_eq!(
            shifted,
            View {
                symmetry: Symmetry {
                    shift: all.symmetry.shift,
                    flipped: false,
                },
                ..none
            }
        );
    }
    let shifts: std::collections::HashSet<usize> =
        many(1, 2, 0).iter().map(|v| v.symmetry.shift).collect();
    let planes: std::collections::HashSet<usize> = many(1, 2, 0).iter().map(|v| v.plane).collect();
    assert_eq!((shifts.len(), planes.len()), (6, 6));
}

#[test]
fn symmetries_that_the_images_do_not_have_are_refused() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let (data, run) = (directory.path().join("data"), directory.path().join("run"));
    write_small_data(&data, &small_manifest(), 20);
    let refused = |settings: &[&str], named: &[&str]| {
        let settings: Vec<&str> = settings.iter().flat_map(|s| ["--set", s]).collect();
        fail(&train_arguments(&data, &run, &settings), named);
    };
    refused(
        &["training.augmentation.transpose=true"],
        &["training.augmentation.transpose", "8 x 6"],
    );
    refused(
        &[
            "training.augmentation.shift=true",
            "slices.halves=2",
            "layer.0.kernel_mpc=10.0",
            "layer.3.kernel_mpc=10.0",
        ],
        &["training.augmentation.shift", "slices.halves = 1", "4 of 8"],
    );
    refused(
        &["training.cosine_decay.enabled=true"],
        &["training.cosine_decay.enabled", "one schedule"],
    );
    refused(&["training.weight_averaging.decay=1.0"], &["decay = 1"]);
    refused(
        &["training.cosine_decay.final_fraction=-0.1"],
        &["final_fraction = -0.1"],
    );
}

#[test]
fn cosine_rises_in_equal_steps_and_falls_to_its_fraction() {
    let cosine = CosineDecay {
        enabled: true,
        warmup_epochs: 3,
        final_fraction: 0.1,
    };
    let rates: Vec<f64> = (0..11).map(|e| cosine.learning_rate(2.0, e, 11)).collect();
    let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
    assert!(close(rates[0], 0.5) && close(rates[1], 1.0) && close(rates[2], 1.5));
    assert!(close(rates[3], 2.0) && close(rates[10], 0.2));
    // Half-way between 2 and 0.2.
    assert!(close(0.5 * (rates[6] + rates[7]), 1.1));
    assert!(rates[3..].windows(2).all(|pair| pair[1] < pair[0]));
    let none = CosineDecay {
        warmup_epochs: 0,
        ..cosine
    };
    assert!(close(none.learning_rate(2.0, 0, 1), 2.0));
    assert!(
        close(none.learning_rate(2.0, 500, 100), 0.2),
        "beyond the end"
    );
}

#[test]
fn first_steps_of_an_average_are_forgotten_faster() {
    let averaging = WeightAveraging {
        enabled: true,
        decay: 0.99,
    };
    assert!((averaging.decay_of_step(0) - 0.1).abs() < 1e-12);
    assert!((averaging.decay_of_step(90) - 0.91).abs() < 1e-12);
    assert!((averaging.decay_of_step(100_000) - 0.99).abs() < 1e-12);
}

/// Column `name` of a run's history.
fn column(run: &Path, name: &str) -> Vec<f64> {
    let text = fs::read_to_string(run.join("history.csv")).expect("history");
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().expect("header");
    let index = header.iter().position(|h| *h == name).expect("column");
    lines
        .map(|line| line[index].parse().expect("number"))
        .collect()
}

#[test]
fn options_change_what_they_should_and_nothing_else() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let data = directory.path().join("data");
    write_small_data(&data, &small_manifest(), 20);
    let train = |name: &str, settings: &[&str]| {
        let run = directory.path().join(name);
        let settings: Vec<&str> = settings.iter().flat_map(|s| ["--set", s]).collect();
        succeed(&train_arguments(&data, &run, &settings));
        run
    };
    let plain = train("plain", &[]);
    // An average of the weights is looked at, but does not take part in the steps.
    let averaged = train("averaged", &["training.weight_averaging.enabled=true"]);
    let losses = |run: &Path| column(run, "train_loss");
    assert_eq!(losses(&averaged), losses(&plain));
    assert_ne!(
        column(&averaged, "validation_loss"),
        column(&plain, "validation_loss")
    );
    let cosine = train(
        "cosine",
        &[
            "training.cosine_decay.enabled=true",
            "training.cosine_decay.warmup_epochs=1",
            "training.reduce_on_plateau.enabled=false",
        ],
    );
    let expected = CosineDecay {
        enabled: true,
        warmup_epochs: 1,
        final_fraction: 0.01,
    };
    let rates: Vec<f64> = (0..4).map(|e| expected.learning_rate(1e-3, e, 4)).collect();
    assert_eq!(column(&cosine, "learning_rate"), rates);
    // Other running averages: the same steps, another validation.
    let recalibrated = train(
        "recalibrated",
        &["training.normalization_recalibration.enabled=true"],
    );
    assert_eq!(losses(&recalibrated), losses(&plain));
    assert_ne!(
        column(&recalibrated, "validation_loss"),
        column(&plain, "validation_loss")
    );
    let flipped = train("flipped", &["training.augmentation.flip=true"]);
    assert_ne!(losses(&flipped), losses(&plain));
    let resumed = succeed(&[
        "train",
        text(&data),
        "--resume",
        text(&averaged),
        "--quiet",
        "--set",
        "training.epochs=5",
    ]);
    assert!(resumed.contains("finished 5 epochs"), "{resumed}");
}

#[test]
fn a_run_that_cannot_go_on_keeps_its_record() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let (data, run) = (directory.path().join("data"), directory.path().join("run"));
    write_small_data(&data, &small_manifest(), 20);
    succeed(&train_arguments(&data, &run, &[]));
    let record = fs::read(run.join("run.toml")).expect("record");
    let resume = |epochs: &'static str, named: &[&str]| {
        let arguments = [
            "train",
            text(&data),
            "--resume",
            text(&run),
            "--set",
            epochs,
        ];
        fail(&arguments, named);
        assert_eq!(fs::read(run.join("run.toml")).expect("record"), record);
    };
    // Of four epochs that are done.
    resume("training.epochs=3", &["training.epochs=3", "4 epochs"]);
    for (file, named) in [
        ("model.safetensors", &["model.safetensors"][..]),
        (
            "last/checkpoint.safetensors",
            &["checkpoint.safetensors", "--init-from"],
        ),
    ] {
        let path = run.join(file);
        let bytes = fs::read(&path).expect("weights");
        fs::write(&path, &bytes[..bytes.len() / 2]).expect("half of them");
        resume("training.epochs=6", named);
        fs::write(&path, &bytes).expect("all of them");
    }
}

/// The loss that `evaluate` finds on the validation set.
fn validation_loss(run: &Path, data: &Path, weights: &str) -> f64 {
    let out = tempfile::tempdir().expect("temporary directory");
    let (run, data) = (text(run), text(data));
    let arguments = ["evaluate", run, data, "--part", "validation"];
    let more = ["--weights", weights, "--out", text(out.path())];
    succeed(&[&arguments[..], &more].concat());
    let file = fs::read_to_string(out.path().join("metrics.json")).expect("metrics");
    let metrics: serde_json::Value = serde_json::from_str(&file).expect("JSON");
    metrics["loss"].as_f64().expect("loss")
}

#[test]
fn evaluate_finds_the_validation_losses_of_the_training() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let data = directory.path().join("data");
    write_small_data(&data, &small_manifest(), 40);
    // What is validated is what is kept; its images are never changed.
    for (name, settings) in [
        ("averaged", &["training.weight_averaging.enabled=true"][..]),
        (
            "recalibrated",
            &[
                "training.weight_averaging.enabled=true",
                "training.normalization_recalibration.enabled=true",
            ],
        ),
        (
            "augmented",
            &[
                "training.augmentation.flip=true",
                "training.augmentation.shift=true",
                "training.augmentation.any_plane=true",
            ],
        ),
    ] {
        let run = directory.path().join(name);
        let settings: Vec<&str> = settings.iter().flat_map(|s| ["--set", s]).collect();
        succeed(&train_arguments(&data, &run, &settings));
        let losses = column(&run, "validation_loss");
        let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
        let last = losses[losses.len() - 1];
        for (weights, expected) in [("best", best), ("last", last)] {
            let found = validation_loss(&run, &data, weights);
            let message = format!("{name} {weights}: {found} {losses:?}");
            assert!((found - expected).abs() < 1e-12 * expected, "{message}");
        }
    }
}

#[test]
fn a_run_record_repeats_its_training() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let data = directory.path().join("data");
    write_small_data(&data, &small_manifest(), 20);
    let [first, second] = ["first", "second"].map(|name| directory.path().join(name));
    let settings = [
        "--seed",
        "5",
        "--set",
        "training.epochs=2",
        "--set",
        "training.dropout=0.1",
    ];
    succeed(&train_arguments(&data, &first, &settings));
    let record = first.join("run.toml");
    let repeat = [
        "train",
        text(&data),
        "--quiet",
        "--out",
        text(&second),
        "--config",
        text(&record),
    ];
    succeed(&repeat);
    let model = |run: &Path| fs::read(run.join("model.safetensors")).expect("model");
    assert!(model(&first) == model(&second), "the same weights");
    fail(
        &[&repeat[..], &["--preset", "deep"]].concat(),
        &["run.toml", "leave out --preset deep"],
    );

    // One that started from other weights, and one with settings where they would not count.
    let third = directory.path().join("third");
    let start = ["--init-from", text(&first), "--set", "training.epochs=1"];
    succeed(&train_arguments(&data, &third, &start));
    let record = third.join("run.toml");
    let fourth = directory.path().join("fourth");
    let arguments = ["train", text(&data), "--out", text(&fourth), "--config"];
    let repeat = [&arguments[..], &[text(&record)]].concat();
    let advice = format!("add --init-from {}", first.display());
    fail(&repeat, &[&advice]);
    succeed(&[&repeat[..], &["--init-from", text(&first)]].concat());
    assert!(model(&third) == model(&fourth), "the same weights");
    let edited = directory.path().join("edited.toml");
    let stored = fs::read_to_string(&record).expect("record");
    // The advice: its settings alone.
    let lines = stored.lines().filter(|line| !line.starts_with("init_from"));
    fs::write(&edited, lines.collect::<Vec<_>>().join("\n")).expect("file");
    let fifth = directory.path().join("fifth");
    let arguments_of_fifth = ["train", text(&data), "--out", text(&fifth), "--config"];
    succeed(&[&arguments_of_fifth[..], &[text(&edited)]].concat());
    assert!(model(&third) != model(&fifth), "from random weights");
    fs::write(&edited, stored + "\n[training]\nepochs = 9\n").expect("file");
    fail(
        &[&arguments[..], &[text(&edited)]].concat(),
        &["edited.toml", "`training` is outside it"],
    );
}
