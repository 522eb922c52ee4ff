//! Scores of several runs side by side.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{dawn21, fail, succeed, text};

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

fn results() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/gillet2019/results/3000")
}

/// Directory of a test's runs.
struct Runs(tempfile::TempDir);

impl Runs {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary directory"))
    }

    /// A copy of the evaluated run `docs/gillet2019/results/3000/<from>`, called `to`, with replaced text.
    fn copy(
        &self,
        from: &str,
        to: &str,
        run: impl Fn(&str) -> String,
        metrics: impl Fn(&str) -> String,
    ) -> PathBuf {
        let from = results().join(from);
        let to = self.0.path().join(to);
        fs::create_dir_all(&to).expect("directory");
        let read = |file: &str| fs::read_to_string(from.join(file)).expect("results");
        fs::write(to.join("run.toml"), run(&read("run.toml"))).expect("run.toml");
        fs::write(to.join("metrics.json"), metrics(&read("metrics.json"))).expect("metrics.json");
        fs::write(to.join("history.csv"), read("history.csv")).expect("history.csv");
        to
    }

    /// `stable-1` as if it had been trained with seed 2.
    fn second_seed(&self, metrics: impl Fn(&str) -> String) -> PathBuf {
        let seed = |run: &str| replaced(run, "seed = 1\n", "seed = 2\n");
        self.copy("stable-1", "stable-2", seed, metrics)
    }
}

/// A file as it is.
fn same(text: &str) -> String {
    text.to_string()
}

/// The words of the line that starts with `label`.
fn line<'a>(table: &'a str, label: &str) -> Vec<&'a str> {
    let found = table.lines().find_map(|line| line.strip_prefix(label));
    let rest = found.unwrap_or_else(|| panic!("no line {label} in\n{table}"));
    rest.split_whitespace().collect()
}

#[test]
fn seeds_of_the_same_settings_make_one_row_with_their_mean_and_range() {
    let runs = Runs::new();
    let first = runs.copy("stable-1", "stable-1", same, same);
    let second = runs.second_seed(|metrics| {
        replaced(
            metrics,
            "\"r2\": 0.9929570407447442",
            "\"r2\": 0.9809570407447442",
        )
    });
    let other = runs.copy("paper-1", "paper-1", same, same);
    let table = succeed(&["compare", text(&first), text(&other), text(&second)]);
    let stable = line(&table, "stable, first image ");
    assert_eq!(stable[..4], ["2", "0.987", "[0.981,", "0.993]"], "{table}");
    assert_eq!(stable[4], "0.947", "a range of one value is not shown");
    assert_eq!(line(&table, "paper, first image ")[..2], ["1", "0.989"]);
    assert_eq!(
        line(&table, "Neutsch et al. 2022, 3D-21cmPIE-Net ")[3],
        "0.859"
    );
}

#[test]
fn intervals_and_the_other_r2_can_be_asked_for() {
    let results = results().join("stable-1");
    let table = |options: &[&str]| succeed(&[&["compare", text(&results)], options].concat());
    let intervals = table(&["--show", "interval", "--markdown"]);
    assert!(
        intervals.contains("| stable, first image | 1 | 0.993 [0.992, 0.994] |"),
        "{intervals}"
    );
    assert!(intervals.contains("\n| --- | ---: |"), "{intervals}");
    let over_predicted = table(&["--show", "over-predicted"]);
    assert_eq!(line(&over_predicted, "stable, first image ")[4], "0.609");
    assert!(
        !over_predicted.contains("21cmPIE"),
        "published values are of the other definition"
    );
}

#[test]
fn other_data_make_another_row_and_a_warning() {
    let runs = Runs::new();
    let first = runs.copy("stable-1", "stable-1", same, same);
    let other_fingerprint = |text: &str| {
        let fingerprint = "63e74206dd193772bf7e022a51c4de53";
        replaced(text, fingerprint, "00000000000000000000000000000000")
    };
    let second = runs.copy(
        "stable-1",
        "stable-2",
        |run| other_fingerprint(&replaced(run, "seed = 1\n", "seed = 2\n")),
        other_fingerprint,
    );
    let output = dawn21(&["compare", text(&first), text(&second)]);
    let table = String::from_utf8_lossy(&output.stdout);
    let name = format!("{}, first image ", second.display());
    assert_eq!(
        line(&table, &name)[0],
        "1",
        "rows of one name have their paths"
    );
    let warning = String::from_utf8_lossy(&output.stderr);
    assert!(
        warning.contains("stable-2 was evaluated on other light-cones"),
        "{warning}"
    );
}

#[test]
fn calibrations_with_other_light_cones_are_warned_about() {
    let runs = Runs::new();
    let calibrated = |name: &str, fingerprint: &str, images: usize| {
        let source = format!(
            r#"{{ "calibration": {{ "fingerprint": "{fingerprint}", "light_cones": 300, "images": {images} }},
               "calibrated_mean": {{ "predictions": 300, "loss": 0.1, "parameters": [] }},"#
        );
        let seed = format!("seed = {}\n", &name[name.len() - 1..]);
        runs.copy(
            "stable-1",
            name,
            |run| replaced(run, "seed = 1\n", &seed),
            |metrics| replaced(metrics, "{", &source),
        )
    };
    let first = calibrated("stable-1", "63e74206dd19", 3000);
    let same_light_cones = calibrated("stable-2", "63e74206dd19", 300);
    let other = calibrated("stable-3", "00000000dd19", 3000);
    let unknown = runs.copy("paper-1", "paper-1", same, same);
    let paths = [&first, &same_light_cones, &other, &unknown].map(|path| text(path));
    let output = dawn21(&[&["compare"], &paths[..]].concat());
    let log = String::from_utf8_lossy(&output.stderr);
    let warnings: Vec<&str> = log.lines().filter(|l| l.contains("warning")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    for part in [
        "stable-3",
        "(300 of data 00000000)",
        "stable-1 (300 of data 63e74206)",
    ] {
        assert!(warnings[0].contains(part), "{log}");
    }
}

#[test]
fn the_mean_over_seeds_is_scored_from_their_predictions() {
    let runs = Runs::new();
    let first = runs.copy("stable-1", "stable-1", same, same);
    let second = runs.second_seed(same);
    let arguments = ["compare", text(&first), text(&second), "--mean-over-seeds"];
    let missing = dawn21(&arguments);
    let log = String::from_utf8_lossy(&missing.stderr);
    assert!(missing.status.success());
    assert!(log.contains("stable-1/predictions.csv is missing"), "{log}");

    let predictions = |from: &str| {
        fs::read_to_string(results().join(from).join("predictions.csv")).expect("predictions")
    };
    let write = |run: &Path, text: &str| {
        fs::write(run.join("predictions.csv"), text).expect("predictions");
    };
    // Two trainings of one network.
    write(&first, &predictions("stable-1"));
    write(&second, &predictions("paper-1"));
    let table = succeed(&arguments);
    // R2 of the mean of the values in the two files, made with Python's csv module.
    for (images, expected) in [
        ("first image", ["0.995", "0.924", "0.981", "0.689"]),
        ("mean of images", ["0.998", "0.957", "0.985", "0.705"]),
    ] {
        let row = line(&table, &format!("stable, mean over seeds, {images} "));
        assert_eq!(row, [&["2"], &expected[..]].concat(), "{table}");
    }
    assert!(!table.contains("seeds, calibrated mean"), "{table}");
    assert!(!succeed(&arguments[..3]).contains("mean over seeds"));

    let other: Vec<String> = predictions("paper-1")
        .lines()
        .take(11)
        .map(String::from)
        .collect();
    write(&second, &(other.join("\n") + "\n"));
    let output = dawn21(&arguments);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("not of the same light-cones"), "{log}");
}

#[test]
fn networks_with_views_share_a_row_over_their_seeds() {
    let runs = Runs::new();
    let with_views = |name: &str, seed: &str, flip: &str| {
        let run = |run: &str| {
            let views = format!(
                "source = \"dawn21 0.1.0 simulate\"\n\n[symmetries]\nshifts = 5\nflip = {flip}\n"
            );
            let run = replaced(run, "source = \"dawn21 0.1.0 simulate\"\n", &views);
            let member = format!("version = 1\nmembers = [\"stable-{seed}\"]\n");
            let run = replaced(&run, "version = 1\n", &member);
            replaced(&run, "seed = 1\n", &format!("seed = {seed}\n"))
        };
        runs.copy("stable-1", name, run, same)
    };
    let first = with_views("symmetric-1", "1", "true");
    let second = with_views("symmetric-2", "2", "true");
    let other = with_views("shifted-3", "3", "false");
    let plain = runs.copy("stable-1", "stable-1", same, same);
    let table = succeed(&[
        "compare",
        text(&first),
        text(&plain),
        text(&second),
        text(&other),
    ]);
    for (name, seeds) in [("symmetric", "2"), ("shifted", "1"), ("stable", "1")] {
        assert_eq!(line(&table, &format!("{name}, first image "))[0], seeds);
    }
    let again = with_views("again-2", "2", "true");
    fail(
        &["compare", text(&second), text(&again)],
        &["are the same training (seed 2)"],
    );
}

#[test]
fn each_ensemble_is_a_row_of_its_own() {
    let runs = Runs::new();
    let ensemble = |name: &str, members: &str| {
        let members = format!("version = 1\nmembers = [{members}]\n");
        runs.copy(
            "stable-1",
            name,
            |run| replaced(run, "version = 1\n", &members),
            same,
        )
    };
    let first = ensemble("mean-1-2", "\"a\", \"b\"");
    let second = ensemble("mean-1-3", "\"a\", \"c\"");
    let member = runs.copy("stable-1", "stable-1", same, same);
    let table = succeed(&["compare", text(&first), text(&second), text(&member)]);
    for name in ["mean-1-2", "mean-1-3", "stable"] {
        let row = line(&table, &format!("{name}, first image "));
        assert_eq!(row[0], "1", "{table}");
    }
}

#[test]
fn a_training_ends_early_by_its_own_rule_alone() {
    let runs = Runs::new();
    // Of 100 epochs the history holds 60, whose loss falls up to epoch 55.
    let noted = |patience: usize| {
        let run = runs.copy(
            "stable-1",
            &format!("patience-{patience}"),
            |run| {
                let (start, rest) = run
                    .split_once("[config.training.early_stopping]\nenabled = false\n")
                    .expect("a section");
                let rest = replaced(rest, "patience = 10", &format!("patience = {patience}"));
                format!("{start}[config.training.early_stopping]\nenabled = true\n{rest}")
            },
            same,
        );
        let history = fs::read_to_string(run.join("history.csv")).expect("history");
        let lines = history.lines().take(61).enumerate().map(|(epoch, line)| {
            let fields: Vec<&str> = line.split(',').collect();
            let loss = match epoch {
                0 => fields[1].to_string(),
                1..=55 => (1.0 / epoch as f64).to_string(),
                _ => "0.5".to_string(),
            };
            [&[fields[0], &loss], &fields[2..]].concat().join(",") + "\n"
        });
        fs::write(run.join("history.csv"), lines.collect::<String>()).expect("history");
        let output = dawn21(&["compare", text(&run)]);
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).contains("has not reached its last epoch")
    };
    assert!(!noted(5), "five epochs without a lower loss end it");
    assert!(noted(6), "and do not where six are asked for");
}

#[test]
fn scores_that_are_missing_or_early_are_said_to_be() {
    let runs = Runs::new();
    let run = runs.copy("stable-1", "stable-1", same, |metrics| {
        replaced(
            &replaced(metrics, "\"each_image\"", "\"once_each_image\""),
            "\"mean_of_images\"",
            "\"once_mean_of_images\"",
        )
    });
    let history = fs::read_to_string(run.join("history.csv")).expect("history");
    let ten_epochs: Vec<&str> = history.lines().take(11).collect();
    fs::write(run.join("history.csv"), ten_epochs.join("\n") + "\n").expect("history");
    let output = dawn21(&["compare", text(&run)]);
    assert!(output.status.success());
    let notes = String::from_utf8_lossy(&output.stderr);
    for expected in [
        "has not reached its last epoch",
        "has no scores for mean of images",
        "has no scores for calibrated mean",
        "--images all",
    ] {
        assert!(notes.contains(expected), "{expected}: {notes}");
    }
}

#[test]
fn runs_that_cannot_be_compared_are_named() {
    let runs = Runs::new();
    let run = runs.copy("stable-1", "stable-1", same, same);
    let other = runs.copy("stable-1", "other", same, |metrics| {
        metrics.replace("\"zeta\"", "\"efficiency\"")
    });
    let arguments = ["compare", text(&run), text(&other)];
    fail(
        &arguments,
        &[
            "other: recovers log10_tvir, efficiency",
            "stable-1 recovers",
        ],
    );
    fs::remove_file(other.join("metrics.json")).expect("removed");
    fail(&arguments, &["other has not been evaluated yet"]);
    let twice = ["compare", text(&run), text(&run)];
    fail(&twice, &["are the same training (seed 1)"]);
}
