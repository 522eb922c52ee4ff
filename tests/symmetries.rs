//! Networks that answer with the mean over symmetric views of an image.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::trained::{Trained, cube, field, number_in, part, rows, trained};
use common::{
    copy_run, dawn21, fail, small_manifest, succeed, text, train_arguments, write_small_data,
};
use dawn21::data::symmetry::Symmetries;
use dawn21::model::ensemble::{EnsembleError, merge};
use dawn21::model::inference::Predict;
use dawn21::model::model_file::{self, Model};
use dawn21::model::network::Network;

/// Rows and columns of the images of the small data.
const ROWS: usize = 8;
const COLUMNS: usize = 40;

fn model(run: &Path) -> Model {
    model_file::read(&run.join("model.safetensors")).expect("model")
}

fn with(symmetries: Symmetries) -> Model {
    merged(&[model(&trained().run)], symmetries)
}

fn merged(members: &[Model], symmetries: Symmetries) -> Model {
    let merged = merge(members, symmetries);
    let (description, architecture, parameters) = merged.expect("symmetries");
    Model {
        description,
        network: Network::new(architecture),
        parameters,
    }
}

/// Two images without any symmetry.
fn images() -> Vec<Vec<f32>> {
    let image = |number: usize| {
        let cells = (0..ROWS * COLUMNS).map(|i| (i * i * (number + 3) % 101) as f32 / 101.0);
        cells.collect()
    };
    (0..2).map(image).collect()
}

/// The image with row `shift` first, and then mirrored.
fn seen(image: &[f32], shift: usize, flipped: bool) -> Vec<f32> {
    let mut rows: Vec<&[f32]> = image.chunks(COLUMNS).collect();
    rows.rotate_left(shift);
    if flipped {
        rows.reverse();
    }
    rows.concat()
}

fn outputs(model: &Model, images: &[Vec<f32>]) -> Vec<f32> {
    let mut inference = model.inference().expect("an engine");
    *inference.input_mut() = images.concat();
    let outputs = inference.predict().expect("outputs").to_vec();
    assert_eq!(outputs, inference.output());
    outputs
}

fn features(model: &Model) -> Vec<Vec<f64>> {
    let mut inference = model.inference().expect("an engine");
    *inference.input_mut() = images().concat();
    inference.predict().expect("outputs");
    inference.features()
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() < 1e-6,
            "{what}: {found}, {expected}"
        );
    }
}

#[test]
fn outputs_are_the_mean_of_those_for_all_views() {
    let plain = model(&trained().run);
    for (shifts, flip) in [(1, true), (3, false), (4, true), (ROWS, true)] {
        let symmetric = with(Symmetries { shifts, flip });
        let views = (0..shifts).map(|number| number * ROWS / shifts);
        let flips: &[bool] = if flip { &[false, true] } else { &[false] };
        let of_views: Vec<Vec<f32>> = views
            .flat_map(|shift| flips.iter().map(move |&flipped| (shift, flipped)))
            .map(|(shift, flipped)| {
                let view = images()
                    .iter()
                    .map(|i| seen(i, shift, flipped))
                    .collect::<Vec<_>>();
                outputs(&plain, &view)
            })
            .collect();
        let apart = of_views[0].iter().zip(&of_views[1]);
        let most = apart.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(most > 1e-3, "views that are told apart: {most}");
        let expected: Vec<f32> = (0..of_views[0].len())
            .map(|k| of_views.iter().map(|o| o[k]).sum::<f32>() / of_views.len() as f32)
            .collect();
        let name = format!("{shifts}, {flip}");
        assert_close(&outputs(&symmetric, &images()), &expected, &name);

        // What the domain is told is of the images as they are.
        assert_eq!(features(&symmetric), features(&plain));
    }
}

#[test]
fn several_networks_answer_with_the_mean_over_them_and_their_views() {
    let symmetries = Symmetries {
        shifts: 2,
        flip: true,
    };
    let plain = || model(&trained().run);
    let mut other = plain();
    for tensor in other.parameters.tensors_mut() {
        tensor.values.iter_mut().for_each(|value| *value *= 0.9);
    }
    let alone = [
        with(symmetries),
        merged(std::slice::from_ref(&other), symmetries),
    ];
    let of_each = [0, 1].map(|index| outputs(&alone[index], &images()));
    assert_ne!(of_each[0], of_each[1]);
    let mean = of_each[0].iter().zip(&of_each[1]);
    let mean: Vec<f32> = mean.map(|(a, b)| 0.5 * (a + b)).collect();
    let networks = [plain(), other];
    let together = merged(&networks, symmetries);
    assert_close(&outputs(&together, &images()), &mean, "members with views");
    let one_view = merged(&networks, Symmetries::default());
    assert_eq!(features(&together), features(&one_view));
    // Members that have views already keep them.
    let kept = merged(&alone, Symmetries::default());
    assert_eq!(
        (kept.description.symmetries, kept.description.version),
        (symmetries, 2)
    );
    assert_close(&outputs(&kept, &images()), &mean, "views of the members");
}

#[test]
fn answers_to_symmetric_images_are_equal() {
    let symmetric = with(Symmetries {
        shifts: 4,
        flip: true,
    });
    let expected = outputs(&symmetric, &images());
    for (shift, flipped) in [(2, false), (6, true), (0, true)] {
        let view: Vec<Vec<f32>> = images().iter().map(|i| seen(i, shift, flipped)).collect();
        let name = format!("{shift}, {flipped}");
        assert_close(&outputs(&symmetric, &view), &expected, &name);
    }
    let mut inference = symmetric.inference().expect("an engine");
    inference.input_mut().resize(ROWS * COLUMNS + 1, 0.0);
    assert!(inference.predict().is_err(), "no whole number of images");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused = |shifts, flip, members: &[Model]| {
        merge(members, Symmetries { shifts, flip }).expect_err("refused")
    };
    let plain = || model(&trained().run);
    for shifts in [0, ROWS + 1] {
        let rows = ROWS;
        assert_eq!(
            refused(shifts, false, &[plain()]),
            EnsembleError::Shifts { shifts, rows }
        );
    }
    let symmetries = Symmetries {
        shifts: 2,
        flip: false,
    };
    assert_eq!(
        refused(1, true, &[with(symmetries)]),
        EnsembleError::SymmetricMembers { symmetries }
    );
    assert_eq!(
        refused(1, false, &[plain(), with(symmetries)]),
        EnsembleError::Differ {
            number: 2,
            field: "views of an image"
        }
    );
    assert_eq!(
        refused(1, false, &[with(symmetries)]),
        EnsembleError::OneAnswer
    );

    // A file that does not say that it needs a newer program, or asks for the impossible.
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("model.safetensors");
    let read = |change: &dyn Fn(&mut Model)| {
        let mut model = with(symmetries);
        change(&mut model);
        let architecture = model.network.architecture();
        model_file::write(&path, &model.description, architecture, &model.parameters)
            .expect("written");
        model_file::read(&path).map(|model| model.description)
    };
    let description = read(&|_| {}).expect("sound");
    assert_eq!(
        (description.version, description.symmetries),
        (2, symmetries)
    );
    let error = read(&|model| model.description.version = 1).expect_err("refused");
    assert!(error.to_string().contains("version is 1, expected 2"));
    let error = read(&|model| model.description.symmetries.shifts = 9).expect_err("refused");
    assert!(error.to_string().contains("shifts is 9, expected 1 to 8"));
}

/// A cube of the small data whose rows along x begin with row `shift`, and then are mirrored.
fn write_seen(file: &Path, to: &Path, shift: usize, flipped: bool) {
    let bytes = fs::read(file).expect("cube");
    let mut rows: Vec<&[u8]> = bytes.chunks(bytes.len() / ROWS).collect();
    rows.rotate_left(shift);
    if flipped {
        rows.reverse();
    }
    fs::write(to, rows.concat()).expect("cube");
}

#[test]
fn a_run_with_symmetries_is_a_run_of_its_own() {
    let Trained {
        directory,
        data,
        run,
    } = trained();
    let path = |name: &str| directory.path().join(name);
    let (plain, symmetric) = (path("plain"), path("symmetric"));
    copy_run(run, &plain);
    let ensemble = ["ensemble", text(&plain), "--flip", "--out"];
    let printed = succeed(&[&ensemble[..], &[text(&symmetric), "--shifts", "2"]].concat());
    let said = "mean of 1 network of ";
    assert!(printed.contains(said), "{printed}");
    assert!(printed.contains("over 4 views (2 shifts along the sky, mirrored)"));

    let file = cube(data, &part(run, "test")[0]);
    let shape = ["--shape", "8,6,40", "--quiet"];
    let predicted = |run: &Path, file: &Path| {
        let arguments = [&["predict", text(run), text(file)][..], &shape].concat();
        rows(&succeed(&arguments))
    };
    let views: Vec<PathBuf> = [(0, false), (4, false), (0, true), (4, true)]
        .iter()
        .map(|&(shift, flipped)| {
            let to = path(&format!("view_{shift}_{flipped}.f32"));
            write_seen(&file, &to, shift, flipped);
            to
        })
        .collect();
    let of_views: Vec<_> = views.iter().map(|view| predicted(&plain, view)).collect();
    for (index, row) in predicted(&symmetric, &file).iter().enumerate() {
        for name in ["level", "period"] {
            let sum: f64 = of_views
                .iter()
                .map(|rows| number_in(&rows[index], name))
                .sum();
            assert!((number_in(row, name) - sum / 4.0).abs() < 1e-5, "{row:?}");
        }
        assert_eq!(field(row, "level_uncertainty"), "", "not calibrated yet");
    }

    // Uncertainties are its own: those of other views do not pass for them.
    let mirrored = path("mirrored");
    succeed(&[&ensemble[..], &[text(&mirrored)]].concat());
    succeed(&["evaluate", text(&mirrored), text(data), "--quiet"]);
    let stolen = symmetric.join("calibration.json");
    fs::copy(mirrored.join("calibration.json"), &stolen).expect("copy");
    let output = dawn21(&["predict", text(&symmetric), text(&file)]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("or other views of an image"), "{log}");
    let printed = succeed(&["evaluate", text(&symmetric), text(data)]);
    assert!(printed.contains("means over 4 views"), "{printed}");
    assert!(printed.contains(", epoch "), "{printed}");
    let calibrated = predicted(&symmetric, &file);
    assert!(number_in(&calibrated[0], "level_uncertainty") > 0.0);
    let ours = fs::read_to_string(&stolen).expect("calibration");
    assert!(ours.contains("\"symmetries\":{\"shifts\":2,\"flip\":true}"));

    succeed(&["report", text(&symmetric), "--quiet"]);
    let html = fs::read_to_string(symmetric.join("report.html")).expect("report");
    let command = format!(
        "dawn21 ensemble {} --shifts 2 --flip --out REPEATED",
        plain.display()
    );
    for said in ["network of ", "means over 4 views", &command] {
        assert!(html.contains(said), "{said}");
    }
    // Scores of single views are no scores of it.
    let metrics = symmetric.join("metrics.json");
    let scores = fs::read_to_string(&metrics).expect("metrics");
    succeed(&["evaluate", text(&plain), text(data)]);
    let of_plain = fs::read_to_string(plain.join("metrics.json")).expect("metrics");
    assert!(!of_plain.contains("symmetries") && scores.contains("symmetries"));
    fs::write(&metrics, of_plain).expect("metrics");
    succeed(&["report", text(&symmetric), "--quiet"]);
    let html = fs::read_to_string(symmetric.join("report.html")).expect("report");
    assert!(html.contains("of other views of an image"));

    let onnx = path("symmetric.onnx");
    let export = ["export", text(&symmetric), "--format", "onnx", "--out"];
    let output = dawn21(&[&export[..], &[text(&onnx)]].concat());
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("takes the mean over 4 views"), "{log}");
    let imported = path("imported");
    let weights = symmetric.join("model.safetensors");
    let like = ["import-model", text(&weights), "--like", text(&symmetric)];
    succeed(&[&like[..], &["--out", text(&imported)]].concat());
    assert!(model(&imported).description.symmetries.is_none());
    assert_close(
        &outputs(&model(&imported), &images()),
        &outputs(&model(&plain), &images()),
        "the weights are those of one view",
    );

    // A single image says nothing of the box.
    let single = path("single.f32");
    let cells: Vec<f32> = images()[0].iter().map(|cell| -100.0 * cell).collect();
    fs::write(&single, bytemuck::cast_slice(&cells)).expect("image");
    for (run, noted) in [(&symmetric, true), (&plain, false)] {
        for command in ["predict", "inspect"] {
            let output = dawn21(&[command, text(run), text(&single)]);
            let log = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{log}");
            let said = log.contains("taken to be as wide as the periodic box");
            assert_eq!(said, noted, "{log}");
        }
    }

    let resume = ["train", text(data), "--resume", text(&symmetric)];
    fail(
        &resume,
        &["is the mean of the answers of one run", "resume those"],
    );
    let refused = path("refused");
    for (shifts, said) in [("0", "0 shifts"), ("9", "an image has 8 rows")] {
        let arguments = [text(&refused), "--shifts", shifts];
        fail(&[&ensemble[..], &arguments].concat(), &[said]);
        assert!(!refused.exists());
    }
}

#[test]
fn views_of_a_network_whose_training_data_are_gone_are_calibrated_on_others() {
    let (directory, data) = common::training::small_data();
    let path = |name: &str| directory.path().join(name);
    let (plain, mirrored, other) = (path("plain"), path("mirrored"), path("other"));
    for (run, seed) in [(&plain, "1"), (&other, "2")] {
        succeed(&train_arguments(&data, run, &["--seed", seed]));
    }
    let ensemble = ["ensemble", text(&plain), "--flip", "--out", text(&mirrored)];
    succeed(&ensemble);
    fs::remove_dir_all(&data).expect("remove");
    let unseen = path("unseen");
    write_small_data(&unseen, &small_manifest(), 12);

    let calibrate = ["calibrate", text(&mirrored), text(&unseen)];
    succeed(&calibrate);
    let read = |run: &Path| -> serde_json::Value {
        let text = fs::read_to_string(run.join("calibration.json")).expect("calibration");
        serde_json::from_str(&text).expect("JSON")
    };
    let (of_plain, of_mirrored) = (read(&plain), read(&mirrored));
    assert_eq!(of_mirrored["domain"], of_plain["domain"]);
    assert_eq!(of_mirrored["symmetries"]["flip"], true);
    assert_eq!(of_mirrored["light_cones"], 12);
    assert_ne!(of_mirrored["parameters"], of_plain["parameters"]);
    succeed(&["predict", text(&mirrored), text(&cube(&unseen, "000"))]);

    // Which images are usual for one network says nothing of another, nor does a run that is no more.
    fs::remove_file(mirrored.join("calibration.json")).expect("remove");
    let missing = [
        "calibration.json: missing",
        "with the training data",
        &format!("that of {}", text(&plain)),
    ];
    let kept = path("kept");
    fs::rename(&plain, &kept).expect("rename");
    fail(&calibrate, &missing);
    fs::rename(&other, &plain).expect("rename");
    fail(&calibrate, &missing);
    fs::remove_dir_all(&plain).expect("remove");
    fs::rename(&kept, &plain).expect("rename");
    fs::remove_file(plain.join("calibration.json")).expect("remove");
    fail(&calibrate, &missing);
    fs::remove_file(plain.join("model.safetensors")).expect("remove");
    fail(&calibrate, &missing);
}

#[test]
fn images_narrower_than_the_box_are_not_shifted() {
    let (directory, data) = common::training::small_data();
    let path = |name: &str| directory.path().join(name);
    let (halves, wrong, mirrored) = (path("halves"), path("wrong"), path("mirrored"));
    // Halves have four rows, of which convolutions over several leave too little to pool.
    let settings = [
        "--set",
        "slices.halves=2",
        "--set",
        "layer.0.kernel_mpc=10.0",
        "--set",
        "layer.3.kernel_mpc=10.0",
    ];
    succeed(&train_arguments(&data, &halves, &settings));
    let ensemble = ["ensemble", text(&halves), "--out"];
    let shifted = [&ensemble[..], &[text(&wrong), "--shifts", "2"]].concat();
    fail(
        &shifted,
        &["--shifts 2", "have 4 of 8 rows", "--flip alone is possible"],
    );
    assert!(!wrong.exists());
    succeed(&[&ensemble[..], &[text(&mirrored), "--flip"]].concat());
    succeed(&["evaluate", text(&mirrored), text(&data), "--quiet"]);

    // Where the light-cones are not at hand, those do refuse that it is asked about.
    let elsewhere = path("elsewhere");
    fs::rename(&data, &elsewhere).expect("rename");
    succeed(&shifted);
    fail(
        &["evaluate", text(&wrong), text(&elsewhere)],
        &["2 shifts along the sky", "images of 4 of 8 rows"],
    );
}
