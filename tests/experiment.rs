//! The script of the paper's experiment, small.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::text;

#[test]
fn the_experiment_runs_small_and_goes_on_where_it_stopped() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let work = directory.path().join("work");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/gillet2019/run");
    let run = |steps: &[&str]| {
        let output = Command::new("bash")
            .arg(&script)
            .args(["--quick", "--work", text(&work), "--runs", "paper stable"])
            .args(steps)
            .env("DAWN21", env!("CARGO_BIN_EXE_dawn21"))
            .output()
            .expect("bash");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    run(&["simulate", "train"]);
    let model = work.join("runs/paper-1/model.safetensors");
    let trained = fs::metadata(&model)
        .expect("model")
        .modified()
        .expect("time");
    run(&[]);
    let again = fs::metadata(&model)
        .expect("model")
        .modified()
        .expect("time");
    assert_eq!(trained, again, "a finished training is not done again");
    let table = fs::read_to_string(work.join("results/r2-interval.md")).expect("table");
    for images in ["mean of images", "calibrated mean of both directions"] {
        assert!(
            table.contains(&format!("| stable, {images} | 2 |")),
            "{table}"
        );
        assert!(
            table.contains(&format!("| stable-ensemble-1-2, {images} | 1 |")),
            "{table}"
        );
    }
    assert!(
        table.contains("| stable-symmetric-1-2, mean of images | 1 |"),
        "{table}"
    );
    let commands = work.join("runs/paper-symmetric-1-2/commands.tsv");
    let commands = fs::read_to_string(commands).expect("commands");
    assert!(commands.contains("--shifts 5 --flip --out"), "{commands}");
    // The network of both seeds gives the mean of their predictions.
    let table = fs::read_to_string(work.join("results/r2-range.md")).expect("table");
    let scores = |name: &str| -> Vec<f64> {
        let row = table
            .lines()
            .find(|row| row.starts_with(&format!("| {name} |")));
        let row = row.unwrap_or_else(|| panic!("no row {name} in\n{table}"));
        let cells = row
            .split('|')
            .skip(3)
            .map(str::trim)
            .filter(|c| !c.is_empty());
        cells.map(|cell| cell.parse().expect("a number")).collect()
    };
    for images in [
        "first image",
        "each image",
        "mean of images",
        "mean of both directions",
    ] {
        let of_network = scores(&format!("stable-ensemble-1-2, {images}"));
        let of_predictions = scores(&format!("stable, mean over seeds, {images}"));
        assert_eq!((of_network.len(), of_predictions.len()), (4, 4));
        for (a, b) in of_network.iter().zip(&of_predictions) {
            // Both are rounded to three digits.
            assert!(
                (a - b).abs() < 2.1e-3 * a.abs().max(1.0),
                "{images}: {table}"
            );
        }
    }
    for file in ["run.toml", "metrics.json", "predictions.csv"] {
        let path = work.join(format!("results/stable-ensemble-1-2/{file}"));
        assert!(path.is_file(), "{file}");
    }
    for kind in ["paper-1", "stable-2"] {
        assert!(work.join(format!("runs/{kind}/report.html")).is_file());
        for file in [
            "run.toml",
            "history.csv",
            "metrics.json",
            "predictions.csv",
            "commands.tsv",
        ] {
            assert!(
                work.join(format!("results/{kind}/{file}")).is_file(),
                "{kind}/{file}"
            );
        }
    }
}

#[test]
fn wrong_arguments_of_the_experiment_are_named_before_anything_is_simulated() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/gillet2019/run");
    let directory = tempfile::tempdir().expect("temporary directory");
    let begun = directory.path().join("begun");
    fs::create_dir(&begun).expect("directory");
    fs::write(
        begun.join("experiment"),
        "light-cones 9, planes all, quick false\n",
    )
    .expect("file");
    let begun = text(&begun);
    for (arguments, named) in [
        (&["--quik"][..], "--quik"),
        (&["--runs", "smal-batch"], "smal-batch"),
        (&["--runs", ""], "--runs"),
        (&["--epochs", "0"], "--epochs 0"),
        (&["--quick", "--epochs", "5"], "--epochs"),
        (&["--seeds", " 1"], "--seeds"),
        (&["--planes", "15"], "--planes 15"),
        (&["--quick", "--seeds", "1"], "--seeds"),
        (&["--light-cones"], "a value is missing"),
        (&["--work", begun], "was begun with light-cones 9"),
    ] {
        let output = Command::new("bash")
            .arg(&script)
            .args(arguments)
            .current_dir(directory.path())
            .env("DAWN21", "false")
            .output()
            .expect("bash");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(named), "{arguments:?}: {message}");
    }
}

#[cfg(unix)]
#[test]
fn trainings_have_the_epochs_asked_for_and_transpose_whole_cubes_only() {
    use std::os::unix::fs::PermissionsExt;

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/gillet2019/run");
    let directory = tempfile::tempdir().expect("temporary directory");
    // Instead of dawn21: makes the run directory, which is the fourth argument of `train`.
    let stand_in = directory.path().join("dawn21");
    fs::write(&stand_in, "#!/bin/sh\nmkdir -p \"$4\"\n").expect("script");
    fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).expect("permissions");
    let trained = |options: &[&str]| {
        let work = directory.path().join(options.concat());
        let status = Command::new("bash")
            .arg(&script)
            .args(["--work", text(&work), "--seeds", "3", "--runs", "deep"])
            .args(options)
            .arg("train")
            .env("DAWN21", &stand_in)
            .status()
            .expect("bash");
        assert!(status.success(), "{options:?}");
        fs::read_to_string(work.join("runs/deep-3/commands.tsv")).expect("commands")
    };
    let whole = trained(&[]);
    assert!(whole.contains("--seed 3"), "{whole}");
    assert!(whole.contains("augmentation.transpose=true"), "{whole}");
    assert!(!whole.contains("training.epochs"), "{whole}");
    let few = trained(&["--planes", "10", "--epochs", "7"]);
    assert!(!few.contains("transpose"), "{few}");
    assert!(few.contains("training.epochs=7"), "{few}");
}
