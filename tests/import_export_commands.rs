//! `dawn21 import-model` and `dawn21 export` as a user calls them.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::trained::{field, image_of, number_in, rows};
use common::{dawn21, fail, small_manifest, succeed, text, train_arguments, write_small_data};

/// A data directory, a run trained on it, and its layers as an architecture file.
fn trained() -> (tempfile::TempDir, PathBuf, PathBuf, PathBuf) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let data = directory.path().join("data");
    let run = directory.path().join("run");
    write_small_data(&data, &small_manifest(), 20);
    succeed(&train_arguments(&data, &run, &[]));
    let record = fs::read_to_string(run.join("run.toml")).expect("record");
    let record: toml::Table = record.parse().expect("TOML");
    // The whole configuration: what it says about training is skipped.
    let config = toml::to_string(&record["config"]).expect("TOML");
    let architecture = directory.path().join("architecture.toml");
    fs::write(&architecture, config).expect("file");
    (directory, data, run, architecture)
}

/// The columns of a prediction that do not depend on a calibration: which image, and the two values.
fn values(predicted: &str) -> Vec<Vec<&str>> {
    let lines = predicted.lines();
    lines
        .map(|line| line.split(',').take(6).collect())
        .collect()
}

#[test]
fn an_imported_run_predicts_evaluates_and_initializes() {
    let (directory, data, run, architecture) = trained();
    let path = |name: &str| directory.path().join(name);
    let cube = data.join("cubes/003.f32");
    let expected = succeed(&["predict", text(&run), text(&cube)]);
    let last = succeed(&["predict", text(&run), text(&cube), "--weights", "last"]);
    for (format, weights, file) in [
        ("keras", "best", "a.weights.h5"),
        ("keras", "best", "b.h5"),
        ("safetensors", "last", "c.safetensors"),
    ] {
        let (out, imported) = (path(file), path(&format!("{file}-run")));
        let export = [
            "export",
            text(&run),
            "--format",
            format,
            "--weights",
            weights,
        ];
        let arguments = [&export[..], &["--out", text(&out)]].concat();
        assert!(succeed(&arguments).contains(file));
        let like: [&str; 4] = ["--data", text(&data), "--architecture", text(&architecture)];
        let like = if format == "keras" {
            &like[..]
        } else {
            &["--like", text(&run)]
        };
        let import = ["import-model", text(&out), "--out", text(&imported)];
        succeed(&[&import[..], like].concat());
        // An imported run has no calibration.
        let predicted = succeed(&["predict", text(&imported), text(&cube)]);
        assert!(
            predicted
                .lines()
                .skip(1)
                .all(|line| line.ends_with(",,,,,")),
            "{predicted}"
        );
        let expected = if weights == "best" { &expected } else { &last };
        assert_eq!(values(&predicted), values(expected));
    }

    let imported = path("b.h5-run");
    let table = succeed(&["evaluate", text(&imported), text(&data)]);
    assert!(table.contains("20 light-cones (all)"), "{table}");
    assert!(imported.join("evaluation-data/metrics.json").is_file());
    // Light-cones that it has not seen give it uncertainties and a domain.
    let unseen = path("unseen");
    write_small_data(&unseen, &small_manifest(), 10);
    let printed = succeed(&["calibrate", text(&imported), text(&unseen), "--quiet"]);
    assert!(printed.contains("30 images of 10 light-cones"), "{printed}");
    let predicted = succeed(&[
        "predict",
        text(&imported),
        text(&unseen.join("cubes/003.f32")),
    ]);
    for row in rows(&predicted) {
        assert!(number_in(&row, "level_uncertainty") > 0.0, "{predicted}");
        assert_eq!(field(&row, "warning"), "", "{predicted}");
    }
    let kelvin = path("kelvin.f32");
    let cells = image_of(&unseen, "003");
    let cells: Vec<f32> = cells.iter().map(|cell| cell / 1000.0).collect();
    fs::write(&kelvin, bytemuck::cast_slice(&cells)).expect("image");
    let predicted = succeed(&["predict", text(&imported), text(&kelvin)]);
    assert_ne!(field(&rows(&predicted)[0], "warning"), "", "{predicted}");
    let few = path("few");
    write_small_data(&few, &small_manifest(), 9);
    fail(
        &["calibrate", text(&imported), text(&few)],
        &["few: ", "needs 10 light-cones or more, found 9"],
    );
    // Nothing is the run's own evaluation unasked.
    let advice = fail(
        &["compare", text(&imported)],
        &["has not been evaluated yet"],
    );
    let command = format!("dawn21 evaluate {0} DATA --out {0}", imported.display());
    assert!(advice.contains(&command), "{advice}");
    let out = ["--out", text(&imported)];
    succeed(&[&["evaluate", text(&imported), text(&data)], &out[..]].concat());
    succeed(&["compare", text(&imported)]);
    let next = path("next");
    let init = ["--init-from", text(&imported)];
    succeed(&train_arguments(&data, &next, &init));
    assert!(next.join("model.safetensors").is_file());
    // Uncertainties are those of the same weights alone.
    let (weights, other) = (path("next.h5"), path("next-imported"));
    let export = ["export", text(&next), "--format", "keras"];
    succeed(&[&export[..], &["--out", text(&weights)]].concat());
    let import = ["import-model", text(&weights), "--out", text(&other)];
    succeed(&[&import[..], &["--like", text(&run)]].concat());
    fs::copy(
        imported.join("calibration.json"),
        other.join("calibration.json"),
    )
    .expect("copy");
    let output = dawn21(&["predict", text(&other), text(&cube)]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("made for other weights"), "{log}");
    fail(
        &["train", text(&data), "--resume", text(&imported)],
        &["imported from", "b.h5", "--init-from"],
    );
    let last = ["predict", text(&imported), text(&cube), "--weights", "last"];
    fail(&last, &["no last weights"]);
    fail(
        &[
            "import-model",
            text(&path("b.h5")),
            "--like",
            text(&run),
            "--out",
            text(&imported),
        ],
        &["not empty"],
    );
}

#[test]
fn import_names_what_is_missing_or_given_twice() {
    let (directory, data, run, architecture) = trained();
    let path = |name: &str| directory.path().join(name);
    let (weights, out) = (path("w.safetensors"), path("out"));
    succeed(&[
        "export",
        text(&run),
        "--format",
        "safetensors",
        "--out",
        text(&weights),
    ]);
    let import = |more: &[&str], named: &[&str]| {
        let command = ["import-model", text(&weights), "--out", text(&out)];
        fail(&[&command[..], more].concat(), named);
        assert!(!out.exists(), "nothing is left behind");
    };
    import(
        &["--architecture", text(&architecture)],
        &[
            "cell_mpc",
            "redshift_range",
            "ranges of the parameters",
            "--data",
            "--like",
            "[geometry]",
        ],
    );
    let geometry = "\n[geometry]\nimage = [8, 40]\ncell_mpc = 10.0\nredshift_range = [6.0, 12.0]\n";
    let parameters = "[[parameters]]\nname = \"level\"\nmin = 0.0\nmax = 1.0\n\
                      [[parameters]]\nname = \"period\"\nmin = 4.0\nmax = 12.0\n";
    let own = fs::read_to_string(&architecture).expect("file");
    let write = |name: &str, more: &str| {
        fs::write(path(name), format!("{own}{more}")).expect("file");
        path(name)
    };
    let half = write("half.toml", geometry);
    import(
        &["--architecture", text(&half)],
        &["half.toml", "[[parameters]]"],
    );
    let whole = write("whole.toml", &format!("{geometry}{parameters}"));
    import(
        &["--architecture", text(&whole), "--data", text(&data)],
        &["whole.toml", "[geometry]", "--data"],
    );
    let wrong = write(
        "wrong.toml",
        &format!("{geometry}{parameters}").replace("12.0]", "nan]"),
    );
    import(
        &["--architecture", text(&wrong)],
        &["wrong.toml", "redshift_range"],
    );
    let unknown = write("unknown.toml", "\n[geometri]\n");
    import(
        &["--architecture", text(&unknown)],
        &["unknown.toml", "geometri"],
    );

    let command = ["import-model", text(&weights), "--out", text(&out)];
    succeed(&[&command[..], &["--architecture", text(&whole)]].concat());
    let cube = data.join("cubes/000.f32");
    let shape = ["--shape", "8,6,40"];
    let predict = |run: &Path| {
        let command = ["predict", text(run), text(&cube)];
        succeed(&[&command[..], &shape].concat())
    };
    // The configuration file has the slices, too.
    assert_eq!(values(&predict(&out)), values(&predict(&run)));
}

#[test]
fn export_refuses_names_that_would_mislead() {
    let (directory, _, run, _) = trained();
    let model = run.join("model.safetensors");
    let before = fs::read(&model).expect("model");
    let export = ["export", text(&run), "--format"];
    let itself = ["safetensors", "--out", text(&model)];
    fail(&[&export[..], &itself].concat(), &["is the model itself"]);
    assert!(before == fs::read(&model).expect("model"));
    let wrong = directory.path().join("model.keras");
    let named = ["keras", "--out", text(&wrong)];
    fail(&[&export[..], &named].concat(), &[".weights.h5", ".h5"]);
    for (format, name) in [
        ("onnx", "exported.onnx"),
        ("keras", "exported.weights.h5"),
        ("safetensors", "exported.safetensors"),
    ] {
        succeed(&[&export[..], &[format]].concat());
        assert!(run.join(name).is_file());
    }
    // A model file instead of a run.
    let other = directory.path().join("other.onnx");
    succeed(&[
        "export",
        text(&model),
        "--format",
        "onnx",
        "--out",
        text(&other),
    ]);
    let written = fs::read(run.join("exported.onnx")).expect("run's");
    assert!(written == fs::read(other).expect("file's"));
}
