//! Scores and predictions of a trained model, and data that do not fit it.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{dawn21, fail, small_manifest, succeed, text, train_arguments, write_small_data};
use dawn21::data::manifest::Manifest;
use tempfile::TempDir;

/// A data directory and a run trained on it.
fn trained() -> (TempDir, PathBuf, PathBuf) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let data = directory.path().join("data");
    let run = directory.path().join("run");
    write_small_data(&data, &small_manifest(), 40);
    let longer = [
        "--set",
        "training.epochs=25",
        "--set",
        "layer.10.momentum=0.8",
    ];
    succeed(&train_arguments(&data, &run, &longer));
    (directory, data, run)
}

fn read_json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(path).expect("file")).expect("JSON")
}

fn rows(csv_text: &str) -> Vec<Vec<String>> {
    csv_text
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(str::to_string).collect())
        .collect()
}

#[test]
fn evaluate_scores_the_test_set_in_physical_units() {
    let (_directory, data, run) = trained();
    let table = succeed(&["evaluate", text(&run), text(&data)]);
    assert!(
        table.contains("level") && table.contains("period"),
        "{table}"
    );
    assert!(
        table.contains("4 images of 4 light-cones (test)"),
        "{table}"
    );
    let metrics = read_json(&run.join("metrics.json"));
    assert_eq!(metrics["part"], "test");
    for name in ["level", "period"] {
        let figure = format!("figures/recovery_{name}.svg");
        assert!(run.join(figure).is_file());
    }

    // The scores again, from the predictions alone.
    let predictions = fs::read_to_string(run.join("predictions.csv")).expect("predictions");
    let header = "id,axis,plane,first_cell,level_true,level_predicted,period_true,period_predicted";
    assert!(predictions.starts_with(header), "{predictions}");
    for (index, name) in ["level", "period"].iter().enumerate() {
        // The first of the three images of each light-cone counts.
        let pairs: Vec<(f64, f64)> = rows(&predictions)
            .iter()
            .step_by(3)
            .map(|row| {
                let number = |i: usize| row[i].parse().expect("number");
                (number(4 + 2 * index), number(5 + 2 * index))
            })
            .collect();
        let mean = pairs.iter().map(|p| p.0).sum::<f64>() / pairs.len() as f64;
        let residual: f64 = pairs.iter().map(|p| (p.0 - p.1).powi(2)).sum();
        let total: f64 = pairs.iter().map(|p| (p.0 - mean).powi(2)).sum();
        let scores = &metrics["parameters"][index];
        assert_eq!(scores["name"], *name);
        let r2 = scores["r2"].as_f64().expect("R2");
        assert!((r2 - (1.0 - residual / total)).abs() < 1e-4, "{name}: {r2}");
        let rmse = scores["rmse"].as_f64().expect("RMSE");
        assert!((rmse - (residual / pairs.len() as f64).sqrt()).abs() < 1e-4);
        let interval = scores["rmse_interval"].as_array().expect("interval");
        assert!(interval[0].as_f64() <= Some(rmse) && Some(rmse) <= interval[1].as_f64());
    }
    let level = metrics["parameters"][0]["r2"].as_f64().expect("R2");
    assert!(
        level > 0.5,
        "the level of the small data is easy to learn: R2 = {level}"
    );
}

#[test]
fn other_parts_and_other_data_do_not_replace_the_scores_of_the_test_set() {
    let (directory, data, run) = trained();
    succeed(&["evaluate", text(&run), text(&data)]);
    let before = fs::read(run.join("metrics.json")).expect("metrics");
    let table = succeed(&["evaluate", text(&run), text(&data), "--part", "train"]);
    assert!(
        table.contains("32 images of 32 light-cones (train)"),
        "{table}"
    );
    let metrics = read_json(&run.join("evaluation-train/metrics.json"));
    assert_eq!(metrics["images"], 32);
    assert_eq!(metrics["each_image"]["predictions"], 96);
    assert!(
        metrics["coverage"].is_null(),
        "these light-cones are no test"
    );

    succeed(&["evaluate", text(&run), text(&data), "--weights", "last"]);
    assert_eq!(
        read_json(&run.join("evaluation-last/metrics.json"))["epoch"],
        25
    );

    let other = directory.path().join("other");
    write_small_data(&other, &small_manifest(), 10);
    let table = succeed(&["evaluate", text(&run), text(&other), "--weights", "last"]);
    assert!(
        table.contains("10 images of 10 light-cones (all)"),
        "{table}"
    );
    assert_eq!(
        read_json(&run.join("evaluation-other-last/metrics.json"))["epoch"],
        25
    );
    // Data directories of one name, and one that is called as a part is.
    let namesake = directory.path().join("elsewhere/other");
    write_small_data(&namesake, &small_manifest(), 12);
    let validation = directory.path().join("validation");
    write_small_data(&validation, &small_manifest(), 14);
    succeed(&["evaluate", text(&run), text(&other)]);
    succeed(&["evaluate", text(&run), text(&namesake)]);
    succeed(&["evaluate", text(&run), text(&data), "--part", "validation"]);
    succeed(&["evaluate", text(&run), text(&validation)]);
    succeed(&["evaluate", text(&run), text(&validation)]);
    let evaluations = fs::read_dir(&run).expect("listing").filter_map(|entry| {
        let metrics = entry.expect("entry").path().join("metrics.json");
        metrics.is_file().then(|| read_json(&metrics))
    });
    let mut counts: Vec<u64> = evaluations
        .filter(|metrics| metrics["part"] != "train" && metrics["epoch"] != 25)
        .map(|metrics| metrics["light_cones"].as_u64().expect("a count"))
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, [4, 10, 12, 14], "none replaces another");

    // More light-cones in the directory of the training are other data, of which some were seen.
    let grown = directory.path().join("grown");
    write_small_data(&grown, &small_manifest(), 40);
    let own = directory.path().join("own");
    succeed(&train_arguments(
        &grown,
        &own,
        &["--set", "training.epochs=1"],
    ));
    fs::remove_file(own.join("split.csv")).expect("remove");
    let output = dawn21(&["evaluate", text(&own), text(&grown)]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(
        log.contains("split.csv is missing; the light-cones are divided as"),
        "{log}"
    );
    assert_eq!(read_json(&own.join("metrics.json"))["part"], "test");
    write_small_data(&grown, &small_manifest(), 44);
    let output = dawn21(&["evaluate", text(&own), text(&grown)]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        log.contains("warning") && log.contains("which has changed since"),
        "{log}"
    );

    fail(
        &["evaluate", text(&run), text(&other), "--part", "test"],
        &["--part test", "--part all"],
    );
    assert!(before == fs::read(run.join("metrics.json")).expect("metrics"));
}

#[test]
fn predict_agrees_with_evaluate_and_takes_cubes_and_images() {
    let (directory, data, run) = trained();
    succeed(&["evaluate", text(&run), text(&data), "--part", "all"]);
    let expected =
        fs::read_to_string(run.join("evaluation-all/predictions.csv")).expect("predictions");
    let cube = data.join("cubes/007.f32");
    let printed = succeed(&["predict", text(&run), text(&cube), "--quiet"]);
    assert!(
        printed
            .starts_with("file,axis,plane,first_cell,level,period,level_bias,level_uncertainty,"),
        "{printed}"
    );
    let expected: Vec<_> = rows(&expected)
        .into_iter()
        .filter(|row| row[0] == "007")
        .collect();
    let actual = rows(&printed);
    assert_eq!((actual.len(), expected.len()), (3, 3));
    for (actual, expected) in actual.iter().zip(&expected) {
        assert_eq!(actual[0], text(&cube));
        assert_eq!(actual[1..4], expected[1..4]);
        let close = |a: &str, b: &str| {
            let [a, b] = [a, b].map(|v| v.parse::<f64>().expect("number"));
            (a - b).abs() < 2e-5
        };
        assert!(close(&actual[4], &expected[5]) && close(&actual[5], &expected[7]));
    }

    // The plane y = 2 of the cube as an image, and the cube outside its data directory.
    let cells = fs::read(&cube).expect("cube");
    let image: Vec<u8> = (0..8)
        .flat_map(|x| cells[(x * 6 + 2) * 160..][..160].to_vec())
        .collect();
    let image_file = directory.path().join("image.f32");
    fs::write(&image_file, image).expect("image");
    let model = run.join("model.safetensors");
    let printed = succeed(&["predict", text(&model), text(&image_file)]);
    assert_eq!(rows(&printed)[0][4..6], actual[1][4..6]);
    let loose = directory.path().join("loose, cube.f32");
    fs::copy(&cube, &loose).expect("copy");
    fail(
        &["predict", text(&run), text(&loose)],
        &["7680 bytes", "8 x 40 cells", "--shape"],
    );
    let printed = succeed(&["predict", text(&run), text(&loose), "--shape", "8,6,40"]);
    assert!(printed.contains("loose, cube.f32\",y,4,0,"), "{printed}");
    assert_eq!(printed.lines().count(), 4);
}

#[test]
fn data_that_do_not_fit_the_model_are_refused_field_by_field() {
    let (directory, _data, run) = trained();
    let refuse = |change: fn(&mut Manifest), named: &[&str]| {
        let mut manifest = small_manifest();
        change(&mut manifest);
        let other = directory.path().join("other");
        fs::remove_dir_all(&other).ok();
        write_small_data(&other, &manifest, 10);
        fail(&["evaluate", text(&run), text(&other)], named);
        // Cubes to be predicted need no known parameters.
        if !named[0].starts_with("parameters") {
            let cube = other.join("cubes/000.f32");
            fail(&["predict", text(&run), text(&cube)], named);
        }
    };
    refuse(
        |m| m.cell_mpc = 12.0,
        &["cell_mpc: the model has 10, the data have 12"],
    );
    refuse(
        |m| m.shape = [9, 6, 41],
        &["image: the model has 8 x 40 cells, the data have 9 x 41 cells"],
    );
    refuse(
        |m| m.redshift_range = [6.0, 15.0],
        &["redshift_range: the model has [6.0, 12.0], the data have [6.0, 15.0]"],
    );
    refuse(
        |m| m.unit = "K".to_string(),
        &[
            "quantity: the model has brightness_temperature in mK, the data have brightness_temperature in K",
        ],
    );
    refuse(
        |m| m.parameters.swap(0, 1),
        &["parameters: the model has level [], period [], the data have period [], level []"],
    );
    refuse(
        |m| {
            m.cell_mpc = 12.0;
            m.unit = "K".to_string();
        },
        &["cell_mpc", "quantity"],
    );
}

#[test]
fn damaged_model_files_are_refused_by_name() {
    let (directory, data, run) = trained();
    let model = run.join("model.safetensors");
    let sound = fs::read(&model).expect("model");
    let predict = |named: &[&str]| {
        let cube = data.join("cubes/000.f32");
        fail(&["predict", text(&run), text(&cube)], named)
    };
    for (bytes, named) in [
        (&sound[..0], "not a sound safetensors file"),
        (&sound[..100], "not a sound safetensors file"),
        (&sound[..sound.len() - 4], "not a sound safetensors file"),
        (&[0xff; 64][..], "not a sound safetensors file"),
    ] {
        fs::write(&model, bytes).expect("write");
        predict(&["model.safetensors", named]);
    }
    fs::remove_file(&model).expect("remove");
    predict(&["model.safetensors: missing", "--weights last"]);
    fail(
        &["predict", text(directory.path()), "x.f32"],
        &["not a run directory, `run.toml` is missing"],
    );
    fs::write(&model, &sound).expect("write");
    fail(
        &["predict", text(&run), "no/such/cube.f32"],
        &["no/such/cube.f32: opening failed"],
    );
}
