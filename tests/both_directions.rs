//! Images of constant x beside those of constant y: the other two sides of a box.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use common::{fail, small_manifest, succeed, text, train_arguments, write_small_data};
use dawn21::data::manifest::Manifest;
use tempfile::TempDir;

struct Trained {
    data: PathBuf,
    run: PathBuf,
    _directory: TempDir,
}

/// A run on light-cones with four images in each direction, of which every test may read.
fn trained() -> &'static Trained {
    static TRAINED: OnceLock<Trained> = OnceLock::new();
    TRAINED.get_or_init(train)
}

fn train() -> Trained {
    let directory = tempfile::tempdir().expect("temporary directory");
    let data = directory.path().join("data");
    let run = directory.path().join("run");
    let manifest = Manifest {
        shape: [8, 8, 40],
        ..small_manifest()
    };
    write_small_data(&data, &manifest, 40);
    let settings = [
        "--set",
        "slices.count=4",
        "--set",
        "training.epochs=25",
        "--set",
        "layer.10.momentum=0.8",
    ];
    succeed(&train_arguments(&data, &run, &settings));
    Trained {
        data,
        run,
        _directory: directory,
    }
}

fn read_json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(path).expect("file")).expect("JSON")
}

fn rows(csv_text: &str) -> Vec<Vec<&str>> {
    let lines = csv_text.lines().skip(1);
    lines.map(|line| line.split(',').collect()).collect()
}

fn number(field: &str) -> f64 {
    field.parse().expect("number")
}

#[test]
fn images_of_constant_x_are_those_of_the_transposed_cube() {
    let Trained { data, run, .. } = trained();
    let directory = tempfile::tempdir().expect("temporary directory");
    let cube = data.join("cubes/007.f32");
    let printed = succeed(&["predict", text(run), text(&cube), "--both-directions"]);
    let both = rows(&printed);
    assert_eq!(both.len(), 8);
    let bytes = fs::read(&cube).expect("cube");
    let lines: Vec<&[u8]> = bytes.chunks(160).collect();
    let transposed = (0..8).flat_map(|x| (0..8).map(move |y| y * 8 + x));
    let transposed: Vec<u8> = transposed.flat_map(|line| lines[line].to_vec()).collect();
    let file = directory.path().join("transposed.f32");
    fs::write(&file, transposed).expect("cube");
    let printed = succeed(&["predict", text(run), text(&file), "--shape", "8,8,40"]);
    let across = rows(&printed);
    for (index, plane) in ["0", "2", "4", "6"].iter().enumerate() {
        assert_eq!(both[index][1..4], ["y", *plane, "0"]);
        assert_eq!(both[4 + index][1..4], ["x", *plane, "0"]);
        assert_eq!(both[4 + index][4..], across[index][4..]);
    }
    assert_ne!(both[0][4], both[4][4], "another side of the box");

    let printed = succeed(&[
        "predict",
        text(run),
        text(&cube),
        "--both-directions",
        "--mean",
    ]);
    let mean = &rows(&printed)[0];
    let sum: f64 = both.iter().map(|row| number(row[4])).sum();
    assert_eq!(mean[1], "8");
    assert!((number(mean[2]) - sum / 8.0).abs() < 2e-6);
    let printed = succeed(&["predict", text(run), text(&cube), "--mean"]);
    let of_four = &rows(&printed)[0];
    for column in 4..8 {
        assert_ne!(mean[column], "", "a bias and an uncertainty of its own");
        assert_ne!(mean[column], of_four[column]);
    }
}

#[test]
fn evaluate_scores_the_mean_over_both_directions_beside_the_usual_scores() {
    let Trained { data, run, .. } = trained();
    let directory = tempfile::tempdir().expect("temporary directory");
    let evaluate = |more: &[&str], out: &Path| {
        let arguments = ["evaluate", text(run), text(data), "--out", text(out)];
        let printed = succeed(&[&arguments[..], more].concat());
        (printed, read_json(&out.join("metrics.json")))
    };
    let (_, usual) = evaluate(&[], &directory.path().join("usual"));
    let out = directory.path().join("both");
    let (printed, both) = evaluate(&["--both-directions"], &out);
    for said in [
        "calibrated mean of both directions",
        "truths within the uncertainty of the calibrated mean of both directions",
    ] {
        assert!(printed.contains(said), "{said}: {printed}");
    }
    for same in [
        "parameters",
        "each_image",
        "mean_of_images",
        "calibrated_mean",
        "coverage_of_mean",
    ] {
        assert_eq!(usual[same], both[same], "{same}");
    }
    assert!(usual["mean_of_both_directions"].is_null());

    let predictions = fs::read_to_string(out.join("predictions.csv")).expect("predictions");
    let rows = rows(&predictions);
    assert_eq!(rows.len(), 4 * 8);
    let errors: Vec<f64> = rows
        .chunks(8)
        .map(|images| {
            let sum: f64 = images.iter().map(|row| number(row[5])).sum();
            sum / 8.0 - number(images[0][4])
        })
        .collect();
    let rmse = |errors: &[f64]| (errors.iter().map(|e| e * e).sum::<f64>() / 4.0).sqrt();
    let found = |scores: &str| {
        let found = &both[scores]["parameters"][0]["rmse"];
        found.as_f64().expect("RMSE")
    };
    assert!((found("mean_of_both_directions") - rmse(&errors)).abs() < 1e-5);
    // Four validation light-cones are one bin: the bias is the same everywhere.
    let calibration = read_json(&run.join("calibration.json"));
    let curves = &calibration["parameters"][0]["mean_recoveries"];
    assert_eq!(curves[0]["of"]["images"], 4);
    assert_eq!(curves[1]["of"]["both_directions"], true);
    let bias = &curves[1]["recovery"][0]["bias"];
    let bias = bias.as_f64().expect("bias");
    let corrected: Vec<f64> = errors.iter().map(|error| error - bias).collect();
    assert!((found("calibrated_mean_of_both_directions") - rmse(&corrected)).abs() < 1e-5);
    assert_ne!(curves[0]["recovery"], curves[1]["recovery"]);
}

#[test]
fn what_has_no_other_direction_is_refused() {
    let Trained { data, run, .. } = trained();
    let directory = tempfile::tempdir().expect("temporary directory");
    let planes = directory.path().join("planes");
    let manifest = Manifest {
        shape: [8, 4, 40],
        y_planes: Some(vec![0, 2, 4, 6]),
        ..small_manifest()
    };
    write_small_data(&planes, &manifest, 10);
    let expected = ["whole cubes", "8 x 4 cells, some planes only"];
    let option = "--both-directions";
    fail(&["evaluate", text(run), text(&planes), option], &expected);
    let cube = planes.join("cubes/000.f32");
    fail(&["predict", text(run), text(&cube), option], &expected);
    let image = directory.path().join("image.f32");
    let cells = fs::read(data.join("cubes/000.f32")).expect("cube");
    fs::write(&image, &cells[..4 * 8 * 40]).expect("image");
    fail(
        &["predict", text(run), text(&image), option],
        &["image.f32 is a single image"],
    );
    let first = ["--images", "first", option];
    fail(
        &[&["evaluate", text(run), text(data)], &first[..]].concat(),
        &["--images first leaves out"],
    );
    // The usual mean of such cubes is calibrated all the same.
    let printed = succeed(&["predict", text(run), text(&cube), "--mean"]);
    assert_ne!(rows(&printed)[0][5], "");
}
