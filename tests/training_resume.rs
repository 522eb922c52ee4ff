//! Trainings that were killed, interrupted or finished go on to the same bits.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::training::{losses, result_of, resume, small_data, train};
use common::{command, fail, text, train_arguments};

/// Lines of the history so far.
fn epochs_done(run: &Path) -> usize {
    let history = fs::read_to_string(run.join("history.csv"));
    history.map_or(0, |text| text.lines().count().saturating_sub(1))
}

/// `kill -9` needs no grace: the process has no say.
fn kill(child: &mut Child) {
    child.kill().expect("the process can be killed");
    child.wait().expect("the process ends");
}

/// A checkpoint after every step, so that runs are resumed inside epochs, too.
const EVERY_STEP: [&str; 2] = ["--set", "training.checkpoint_minutes=1e-9"];

/// Everything that the trainer may keep besides the weights.
const ALL_OPTIONS: [&str; 18] = [
    "--set",
    "training.normalization_recalibration.enabled=true",
    "--set",
    "training.normalization_recalibration.images=20",
    "--set",
    "training.weight_averaging.enabled=true",
    "--set",
    "training.reduce_on_plateau.enabled=false",
    "--set",
    "training.cosine_decay.enabled=true",
    "--set",
    "training.augmentation.flip=true",
    "--set",
    "training.augmentation.shift=true",
    "--set",
    "training.augmentation.any_plane=true",
    "--set",
    "training.cosine_decay.warmup_epochs=2",
];

#[test]
fn killed_runs_resume_to_the_same_bits() {
    check_killed_runs(&[]);
}

#[test]
fn killed_runs_with_all_options_resume_to_the_same_bits() {
    check_killed_runs(&ALL_OPTIONS);
}

fn check_killed_runs(more: &[&str]) {
    let (directory, data) = small_data();
    let long = [&["--set", "training.epochs=30"], more].concat();
    let whole = directory.path().join("whole");
    train(&data, &whole, &long);
    let expected = (result_of(&whole), losses(&whole));

    for (index, every_step) in [false, true].into_iter().enumerate() {
        let run = directory.path().join(format!("killed-{index}"));
        let mut more = long.clone();
        if every_step {
            more.extend(EVERY_STEP);
        }
        let mut kills = 0;
        let mut arguments: Vec<String> = train_arguments(&data, &run, &more)
            .iter()
            .map(ToString::to_string)
            .collect();
        // Killed at once, and then some milliseconds after each of these epochs.
        for (moment, epochs) in [0, 0, 1, 4, 9, 15, 22].into_iter().enumerate() {
            let borrowed: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let mut child = command(&borrowed)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the program starts");
            let running = |child: &mut Child| child.try_wait().expect("status").is_none();
            while running(&mut child) && epochs_done(&run) < epochs {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(3 * moment as u64));
            if running(&mut child) {
                kills += 1;
            }
            kill(&mut child);
            if run.join("run.toml").exists() {
                arguments = ["train", text(&data), "--resume", text(&run), "--quiet"]
                    .map(str::to_string)
                    .to_vec();
            } else {
                fs::remove_dir_all(&run).ok();
            }
        }
        assert!(kills >= 3, "the run was killed only {kills} times");
        resume(&data, &run, &[]);
        assert!(
            expected == (result_of(&run), losses(&run)),
            "every step: {every_step}"
        );
    }
}

#[test]
fn an_interrupted_run_saves_its_place_and_says_how_to_go_on() {
    let (directory, data) = small_data();
    let long = ["--set", "training.epochs=400"];
    let whole = directory.path().join("whole");
    train(&data, &whole, &long);
    let run = directory.path().join("interrupted");
    // Ctrl-C, and what a cluster sends before it kills.
    for (signal, arguments) in [
        ("-INT", train_arguments(&data, &run, &long)),
        (
            "-TERM",
            vec!["train", text(&data), "--resume", text(&run), "--quiet"],
        ),
    ] {
        fs::remove_file(run.join("history.csv")).ok();
        interrupt(&arguments, signal, &run);
    }
    resume(&data, &run, &[]);
    assert!(result_of(&whole) == result_of(&run));
}

/// Starts a training, sends a signal after its next epoch and expects it to save and say so.
fn interrupt(arguments: &[&str], signal: &str, run: &Path) {
    let child = command(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    wait_for(&run.join("history.csv"));
    let pid = child.id().to_string();
    let sent = Command::new("kill")
        .args([signal, &pid])
        .status()
        .expect("kill");
    assert!(sent.success());
    let output = child.wait_with_output().expect("the program ends");
    let message = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{message}");
    assert!(
        message.contains("interrupted and saved in epoch"),
        "{message}"
    );
    assert!(
        message.contains(&format!("--resume {}", run.display())),
        "{message}"
    );
}

fn wait_for(path: &Path) {
    let started = Instant::now();
    while !path.exists() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{} never came",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_longer_run_can_follow_a_finished_one() {
    let (directory, data) = small_data();
    let whole = directory.path().join("whole");
    train(&data, &whole, &["--set", "training.epochs=7"]);
    let run = directory.path().join("extended");
    train(&data, &run, &[]);
    let output = resume(&data, &run, &[]);
    assert!(output.contains("finished 4 epochs"), "{output}");
    resume(&data, &run, &["--set", "training.epochs=7"]);
    assert!(result_of(&whole) == result_of(&run));
    let refused = [
        "train",
        text(&data),
        "--resume",
        text(&run),
        "--set",
        "training.batch_size=4",
    ];
    fail(
        &refused,
        &[
            "training.batch_size=4",
            "only training.epochs=N",
            "--init-from",
        ],
    );
}

#[test]
fn resume_does_not_replace_better_weights() {
    let (directory, data) = small_data();
    let run = directory.path().join("run");
    train(&data, &run, &[]);
    // As if a better epoch had been written just before a crash.
    let path = run.join("model.safetensors");
    let model = dawn21::model::model_file::read(&path).expect("model");
    let mut better = model.description.clone();
    better.validation_loss = Some(0.0);
    let architecture = model.network.architecture();
    dawn21::model::model_file::write(&path, &better, architecture, &model.parameters)
        .expect("write");
    let before = fs::read(&path).expect("model");
    resume(&data, &run, &["--set", "training.epochs=12"]);
    assert!(
        before == fs::read(&path).expect("model"),
        "better weights were replaced"
    );
}
