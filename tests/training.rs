//! Training through the command line: determinism, refusals, bad numbers.

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use common::training::{losses, result_of, resume, small_data, train};
use common::{
    command, dawn21, fail, real_light_cones, small_manifest, succeed, text, train_arguments,
    write_small_data,
};
use dawn21::run_directory::RunDirectory;

#[test]
fn a_run_on_real_light_cones_learns_and_leaves_all_its_files() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let run = directory.path().join("run");
    let output = succeed(&[
        "train",
        text(&real_light_cones()),
        "--out",
        text(&run),
        "--set",
        "training.epochs=12",
    ]);
    assert!(output.contains("finished 12 epochs"), "{output}");
    for file in [
        "run.toml",
        "split.csv",
        "history.csv",
        "model.safetensors",
        "figures/loss_curves.svg",
    ] {
        assert!(run.join(file).is_file(), "{file}");
    }
    let history = losses(&run);
    assert_eq!(history.len(), 13);
    assert!(history[0].starts_with("epoch,train_loss,validation_loss,r2_log10_tvir,r2_zeta"));
    let loss = |line: &str| {
        line.split(',')
            .nth(1)
            .and_then(|v| v.parse::<f64>().ok())
            .expect("loss")
    };
    assert!(loss(&history[12]) < 0.5 * loss(&history[1]), "{history:?}");
    let record = fs::read_to_string(run.join("run.toml")).expect("record");
    assert!(
        record.contains("fingerprint") && record.contains("epochs = 12"),
        "{record}"
    );
    assert!(
        record.contains("batch_size = 8"),
        "the preset that the data suggest: {record}"
    );
}

#[test]
fn results_are_the_same_bits_for_any_thread_count() {
    let (directory, data) = small_data();
    let run = |threads: &str| {
        let run = directory.path().join(threads);
        train(&data, &run, &["--threads", threads]);
        (result_of(&run), losses(&run))
    };
    let one = run("1");
    assert!(one == run("2"), "2 threads differ from 1");
    assert!(one == run("5"), "5 threads differ from 1");
    let other = directory.path().join("seed");
    train(&data, &other, &["--seed", "22"]);
    assert!(
        one.0 != result_of(&other),
        "another seed gives another result"
    );
}

#[test]
fn a_directory_in_use_or_not_empty_is_refused() {
    let (directory, data) = small_data();
    let run = directory.path().join("run");
    train(&data, &run, &[]);
    let before = result_of(&run);
    fail(
        &train_arguments(&data, &run, &[]),
        &["not empty", "--resume", "--out"],
    );
    let lock = RunDirectory::open(&run).expect("run").lock().expect("free");
    fail(
        &["train", text(&data), "--resume", text(&run)],
        &["in use by another training"],
    );
    drop(lock);
    assert!(before == result_of(&run));

    // Killed before it was a run.
    let begun = directory.path().join("begun");
    fs::create_dir_all(begun.join("last")).expect("directory");
    fs::copy(
        run.join("last/checkpoint.safetensors"),
        begun.join("last/checkpoint.safetensors"),
    )
    .expect("copy");
    let advice = fail(
        &train_arguments(&data, &begun, &[]),
        &["not empty", "no run that can"],
    );
    assert!(!advice.contains("--resume"), "{advice}");

    let other = directory.path().join("photographs");
    fs::create_dir(&other).expect("directory");
    fs::write(other.join("eclipse.jpg"), "").expect("file");
    fail(
        &train_arguments(&data, &other, &[]),
        &["photographs: not empty"],
    );
    fail(
        &["train", text(&data), "--resume", text(&other)],
        &["photographs: not a run directory", "run.toml"],
    );
}

#[test]
fn other_data_are_refused_on_resume() {
    let (directory, data) = small_data();
    let run = directory.path().join("run");
    train(&data, &run, &[]);
    let other = directory.path().join("other");
    write_small_data(&other, &small_manifest(), 21);
    fail(
        &["train", text(&other), "--resume", text(&run)],
        &["fingerprint", "--init-from"],
    );
    // The same parameters, simulated with other physics.
    let physics = directory.path().join("physics");
    let mut manifest = small_manifest();
    manifest.simulation = Some(
        [("physics".to_string(), "other".into())]
            .into_iter()
            .collect(),
    );
    write_small_data(&physics, &manifest, 20);
    fail(
        &["train", text(&physics), "--resume", text(&run)],
        &["fingerprint"],
    );
    // The same data elsewhere are the same data.
    let moved = directory.path().join("moved");
    fs::rename(&data, &moved).expect("rename");
    resume(&moved, &run, &["--set", "training.epochs=5"]);
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run_and_keeps_weights_to_start_from() {
    let (directory, data) = small_data();
    let run = directory.path().join("run");
    let overflow = ["--set", "training.rmsprop.learning_rate=1e30"];
    fail(
        &train_arguments(&data, &run, &overflow),
        &[
            "epoch 1, batch 2 of",
            "the loss is",
            "learning_rate",
            "last/checkpoint.safetensors",
        ],
    );
    assert!(!run.join("model.safetensors").exists());
    // The advice works, with the run and with the file that the message names.
    let kept = run.join("last/checkpoint.safetensors");
    for (name, source) in [("from-run", &run), ("from-file", &kept)] {
        train(
            &data,
            &directory.path().join(name),
            &["--init-from", text(source)],
        );
    }
    // Too large a step in the only batch of an epoch shows in the validation.
    let run = directory.path().join("validation");
    let one_batch = [
        "--set",
        "training.rmsprop.learning_rate=1e30",
        "--set",
        "training.batch_size=1000",
    ];
    fail(
        &train_arguments(&data, &run, &one_batch),
        &["epoch 1: the validation loss is"],
    );
    fail(
        &["train", text(&data), "--resume", text(&run)],
        &["epoch 1: the validation loss is"],
    );
}

#[test]
fn a_run_with_damaged_files_says_what_to_do() {
    let (directory, data) = small_data();
    let run = directory.path().join("run");
    train(&data, &run, &[]);
    let history = losses(&run);
    let resume_arguments = [
        "train",
        text(&data),
        "--resume",
        text(&run),
        "--set",
        "training.epochs=6",
    ];
    let saved = |name: &str| fs::read(run.join(name)).expect("file");
    let (checkpoint, model) = (
        saved("last/checkpoint.safetensors"),
        saved("model.safetensors"),
    );

    fs::remove_file(run.join("last/checkpoint.safetensors")).expect("remove");
    fail(
        &resume_arguments,
        &["checkpoint.safetensors", "cannot be resumed", "--init-from"],
    );
    fs::write(run.join("last/checkpoint.safetensors"), &checkpoint[..1000]).expect("write");
    fail(
        &resume_arguments,
        &["not a sound safetensors file", "--init-from"],
    );
    assert_eq!(losses(&run), history, "nothing was overwritten");
    fs::write(run.join("last/checkpoint.safetensors"), &checkpoint).expect("write");

    fs::write(run.join("model.safetensors"), &model[..1000]).expect("write");
    fail(
        &resume_arguments,
        &["model.safetensors: not a sound safetensors file"],
    );
    fs::write(run.join("model.safetensors"), &model).expect("write");

    let split = fs::read_to_string(run.join("split.csv")).expect("split");
    fs::write(run.join("split.csv"), split.replace("validation", "train")).expect("write");
    fail(
        &resume_arguments,
        &["split.csv: no light-cone is marked Validation"],
    );
    fail(
        &[
            "train",
            text(&data),
            "--resume",
            text(&run),
            "--set",
            "training.epochs=0",
        ],
        &["training.epochs = 0"],
    );

    // Lost files that can be made again are.
    fs::remove_file(run.join("split.csv")).expect("remove");
    fs::remove_file(run.join("model.safetensors")).expect("remove");
    fs::write(run.join("last/checkpoint.safetensors.99.tmp"), "half").expect("left by a crash");
    succeed(&resume_arguments);
    assert_eq!(
        fs::read_to_string(run.join("split.csv")).expect("split"),
        split
    );
    assert_eq!(losses(&run).len(), 7);
    assert!(run.join("model.safetensors").is_file());
    assert!(!run.join("last/checkpoint.safetensors.99.tmp").exists());
}

#[test]
fn closed_streams_do_not_end_a_training() {
    let (directory, data) = small_data();
    let run = directory.path().join("run");
    let arguments = train_arguments(&data, &run, &[]);
    let loud: Vec<&str> = arguments.into_iter().filter(|a| *a != "--quiet").collect();
    let mut child = command(&loud)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop((child.stdout.take(), child.stderr.take()));
    assert!(child.wait().expect("the program ends").success());
    assert_eq!(losses(&run).len(), 5);
}

#[test]
fn a_run_can_start_from_the_weights_of_another() {
    let (directory, data) = small_data();
    let first = directory.path().join("first");
    train(&data, &first, &[]);
    let second = directory.path().join("second");
    train(&data, &second, &["--init-from", text(&first)]);
    let fresh = directory.path().join("fresh");
    train(&data, &fresh, &[]);
    let first_loss = |run: &Path| -> f64 {
        let line = losses(run)[1].clone();
        line.split(',')
            .nth(1)
            .and_then(|v| v.parse().ok())
            .expect("loss")
    };
    assert!(first_loss(&second) < 0.8 * first_loss(&fresh));
    let other = directory.path().join("other");
    let changed = ["--init-from", text(&first), "--set", "layer.0.filters=4"];
    fail(
        &train_arguments(&data, &other, &changed),
        &["--init-from", "another architecture", "0.weight"],
    );
    assert!(!other.exists());
}

#[test]
fn early_stopping_ends_the_run() {
    let (directory, data) = small_data();
    let run = directory.path().join("run");
    let stopping = [
        "--set",
        "training.epochs=50",
        "--set",
        "training.early_stopping.enabled=true",
        "--set",
        "training.early_stopping.patience=2",
        "--set",
        "training.early_stopping.min_delta=1.0",
    ];
    let output = succeed(&train_arguments(&data, &run, &stopping));
    assert!(output.contains("stopped early after 3 epochs"), "{output}");
    let output = resume(&data, &run, &[]);
    assert!(output.contains("stopped early after 3 epochs"), "{output}");
}

#[test]
fn impossible_settings_are_named_before_a_run_begins() {
    let (directory, data) = small_data();
    let run = directory.path().join("run");
    let set = |setting: &'static str, named: &[&str]| {
        fail(&train_arguments(&data, &run, &["--set", setting]), named);
        assert!(!run.exists(), "{setting}");
    };
    set("training.epoch=3", &["unknown field `epoch`", "training"]);
    set(
        "training.epochs=0",
        &["training.epochs = 0: expected at least 1"],
    );
    // Of cells instead of Mpc.
    set(
        "layer.0.kernel=90",
        &["layer 0 (conv2d)", "90 x 90", "8 x 40"],
    );
    set(
        "training.rmsprop.epsilon=1e-50",
        &["training.rmsprop.epsilon = 0.00", "between 1e-45 and 3e38"],
    );
    set(
        "training.rmsprop.learning_rate=1e-50",
        &[
            "training.rmsprop.learning_rate = 0.00",
            "between 1e-45 and 3e38",
        ],
    );
    for (settings, named) in [
        (
            "[training.cosine_decay]\nenabled = true\nwarmup_epochs = 4\n[training.reduce_on_plateau]\nenabled = false\n",
            "training.cosine_decay.warmup_epochs = 4: expected fewer than training.epochs",
        ),
        (
            "preset = [\"deep\"]\n",
            "preset = [\"deep\"]: expected the name of a preset",
        ),
    ] {
        let file = directory.path().join("settings.toml");
        fs::write(&file, settings).expect("settings");
        fail(
            &train_arguments(&data, &run, &["--config", text(&file)]),
            &[named],
        );
    }
    let file = directory.path().join("settings.toml");
    let layer = "[[layer]]\nkind = \"conv2d\"\nfilters = 2\nkernel = 3\nkernel_mpc = 3.0\n";
    fs::write(&file, layer).expect("settings");
    fail(
        &["train", text(&data), "--config", text(&file)],
        &["exactly one of `kernel` and `kernel_mpc`"],
    );
    set(
        "layer.0.kernel_mpc=900.0",
        &["layer 0 (conv2d)", "90 x 90", "8 x 40"],
    );
    set("slices.halves=9", &["slices.halves = 9: expected 1 to 8"]);
    set("split.test=0.95", &["split", "leave 0 for training"]);
    set(
        "input.clip_mk=[50.0, -250.0]",
        &["input.clip_mk = [50, -250]"],
    );
    set("training.batch_size=1", &["batches of a single image"]);
    set(
        "training.checkpoint_minutes=1e300",
        &["training.checkpoint_minutes = 1000", "at most 10^6 minutes"],
    );
    set("layer.0.filters=1000000000", &["layer 0", "more than 2^32"]);
    set("input.clip_mk=[0.0, 1e-60]", &["input.clip_mk"]);
    fail(
        &train_arguments(&data, &run, &["--preset", "gillet2091"]),
        &["gillet2091", "gillet2019"],
    );
    let wrong = dawn21(&["train", text(&data), "--no-such-option"]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn progress_is_plain_lines_without_a_terminal_and_nothing_when_quiet() {
    let (directory, data) = small_data();
    let run = directory.path().join("run");
    let quiet = dawn21(&train_arguments(&data, &run, &[]));
    assert!(
        quiet.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&quiet.stderr)
    );
    let run = directory.path().join("loud");
    let arguments = train_arguments(&data, &run, &[]);
    let loud: Vec<&str> = arguments.into_iter().filter(|a| *a != "--quiet").collect();
    let output = dawn21(&loud);
    let lines = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        lines.contains("epoch 4/4  train ") && lines.contains("R2 level "),
        "{lines}"
    );
    assert!(
        lines.contains("total trainable") && lines.contains("images/s"),
        "{lines}"
    );
    assert!(
        !lines.contains('\u{1b}') && !lines.contains('\r'),
        "no control characters: {lines}"
    );
}
