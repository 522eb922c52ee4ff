//! The mean over a light-cone's images, and its calibration.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::trained::{Row, Trained, cube, field, image_of, number_in, part, rows, trained};
use common::{copy_run, dawn21, fail, small_manifest, succeed, text, write_small_data};

/// Truths and the rows of `predict --mean` for all light-cones of a part.
fn means_of(part_name: &str) -> (Vec<Row>, Vec<Row>) {
    let Trained { data, run, .. } = trained();
    let ids = part(run, part_name);
    let cubes: Vec<PathBuf> = ids.iter().map(|id| cube(data, id)).collect();
    let mut arguments = vec!["predict", text(run), "--mean"];
    arguments.extend(cubes.iter().map(|path| text(path)));
    let means = rows(&succeed(&arguments));
    assert_eq!(means.len(), ids.len());
    let parameters = fs::read_to_string(data.join("parameters.csv")).expect("table");
    let truths = rows(&parameters);
    let truths = truths
        .into_iter()
        .filter(|row| ids.contains(&field(row, "id").to_string()));
    (truths.collect(), means)
}

#[test]
fn the_mean_over_a_light_cones_images_has_a_bias_and_an_uncertainty_of_its_own() {
    let (truths, means) = means_of("validation");
    for name in ["level", "period"] {
        let residuals: Vec<f64> = means
            .iter()
            .zip(&truths)
            .map(|(mean, truth)| number_in(mean, name) - number_in(truth, name))
            .collect();
        // 18 light-cones are one bin.
        let mean = residuals.iter().sum::<f64>() / 18.0;
        let bias = number_in(&means[3], &format!("{name}_bias"));
        assert!((bias - mean).abs() < 1e-5, "{name}: {bias}, {mean}");
        let spread = residuals.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / 17.0;
        let ratio = number_in(&means[3], &format!("{name}_uncertainty")) / spread.sqrt();
        assert!((0.5..1.05).contains(&ratio), "{name}: {ratio}");
    }
    let Trained { data, run, .. } = trained();
    let file = cube(data, &part(run, "validation")[0]);
    let images = rows(&succeed(&["predict", text(run), text(&file)]));
    let levels: f64 = images.iter().map(|row| number_in(row, "level")).sum();
    assert_eq!(field(&means[0], "images"), "3");
    assert!((number_in(&means[0], "level") - levels / 3.0).abs() < 2e-6);
}

#[test]
fn evaluate_scores_the_mean_less_its_bias_where_the_calibration_did_not_see_the_truth() {
    let Trained {
        directory,
        data,
        run,
    } = trained();
    let out = directory.path().join("scores");
    let evaluated = |part: &str| {
        let arguments = ["evaluate", text(run), text(data), "--part", part];
        let printed = succeed(&[&arguments[..], &["--out", text(&out)]].concat());
        let metrics = fs::read_to_string(out.join("metrics.json")).expect("metrics");
        let metrics: serde_json::Value = serde_json::from_str(&metrics).expect("JSON");
        (printed, metrics)
    };
    let (printed, metrics) = evaluated("test");
    assert!(printed.contains("mean of images  calibrated mean"));
    assert!(printed.contains("truths within the uncertainty of the calibrated mean"));
    let (truths, means) = means_of("test");
    for (index, name) in ["level", "period"].iter().enumerate() {
        let truths: Vec<f64> = truths.iter().map(|row| number_in(row, name)).collect();
        let errors: Vec<f64> = means
            .iter()
            .zip(&truths)
            .map(|(row, truth)| {
                number_in(row, name) - number_in(row, &format!("{name}_bias")) - truth
            })
            .collect();
        let rmse = (errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64).sqrt();
        let found = &metrics["calibrated_mean"]["parameters"][index]["rmse"];
        assert!(
            (found.as_f64().expect("RMSE") - rmse).abs() < 1e-5,
            "{name}"
        );
        let plain = &metrics["mean_of_images"]["parameters"][index]["rmse"];
        assert_ne!(found, plain, "{name}: there is a bias");
        let uncertainty = |row| number_in(row, &format!("{name}_uncertainty"));
        let within = errors.iter().zip(&means);
        let within = within
            .filter(|(e, row)| e.abs() <= uncertainty(row))
            .count();
        let coverage = &metrics["coverage_of_mean"][index]["within_one"];
        assert_eq!(coverage.as_f64(), Some(within as f64 / 6.0), "{name}");
    }
    let (printed, metrics) = evaluated("validation");
    assert!(!printed.contains("calibrated mean"), "{printed}");
    assert!(metrics["calibrated_mean"].is_null() && metrics["coverage_of_mean"].is_null());
}

#[test]
fn the_mean_over_one_image_is_that_image_and_over_others_has_no_uncertainty() {
    let trained = trained();
    let file = trained.directory.path().join("single.f32");
    let cells = image_of(&trained.data, "007");
    fs::write(&file, bytemuck::cast_slice(&cells)).expect("image");
    let ask = |more: &[&str]| {
        let arguments = ["predict", text(&trained.run), text(&file)];
        let output = dawn21(&[&arguments[..], more].concat());
        assert!(output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            rows(&String::from_utf8_lossy(&output.stdout)).remove(0),
            said,
        )
    };
    let (image, _) = ask(&[]);
    let (mean, said) = ask(&["--mean"]);
    for name in ["level", "level_bias", "level_uncertainty"] {
        assert_eq!(field(&mean, name), field(&image, name));
    }
    assert!(!said.contains("note:"), "{said}");

    // Two of the three planes.
    let bytes = fs::read(cube(&trained.data, "007")).expect("cube");
    let narrower = bytes.chunks(6 * 160).flat_map(|lines| &lines[..4 * 160]);
    fs::write(&file, narrower.copied().collect::<Vec<u8>>()).expect("cube");
    let (mean, said) = ask(&["--mean", "--shape", "8,4,40"]);
    assert_eq!(
        (field(&mean, "images"), field(&mean, "level_uncertainty")),
        ("2", "")
    );
    let expected = "no uncertainty is known for the mean over 2 images, only over 3 images;";
    assert!(said.contains(expected), "{said}");

    // Its warning says how many images, and which is the first of them.
    let (words, _) = bytes.as_chunks::<4>();
    let kelvin = words.iter().map(|word| f32::from_le_bytes(*word) / 1000.0);
    let kelvin: Vec<f32> = kelvin.collect();
    fs::write(&file, bytemuck::cast_slice(&kelvin)).expect("cube");
    let (mean, _) = ask(&["--mean", "--shape", "8,6,40"]);
    let expected = "3 of 3 images, the first plane y = 0, x from 0: coldest cell";
    assert!(field(&mean, "warning").starts_with(expected), "{mean:?}");
}

#[test]
fn calibrate_measures_uncertainties_on_other_light_cones_and_keeps_the_domain() {
    let Trained {
        directory,
        data,
        run: original,
    } = trained();
    let run = directory.path().join("calibrated");
    copy_run(original, &run);
    fail(
        &["calibrate", text(&run), text(data)],
        &["was trained on these light-cones"],
    );
    let other = directory.path().join("unseen");
    write_small_data(&other, &small_manifest(), 10);
    let printed = succeed(&["calibrate", text(&run), text(&other), "--quiet"]);
    let said = "uncertainties from 30 images of 10 light-cones, also for means over 3 images";
    assert!(printed.contains(said), "{printed}");
    let read = |run: &Path| -> serde_json::Value {
        let text = fs::read_to_string(run.join("calibration.json")).expect("calibration");
        serde_json::from_str(&text).expect("JSON")
    };
    let (before, after) = (read(original), read(&run));
    assert_eq!(before["domain"], after["domain"]);
    assert_ne!(before["fingerprint"], after["fingerprint"]);
    // Thirty images are one bin: its bias is their mean residual.
    let cubes: Vec<PathBuf> = (0..10).map(|i| cube(&other, &format!("{i:03}"))).collect();
    let mut arguments = vec!["predict", text(&run), "--quiet"];
    arguments.extend(cubes.iter().map(|path| text(path)));
    let images = rows(&succeed(&arguments));
    let truths = rows(&fs::read_to_string(other.join("parameters.csv")).expect("table"));
    let residuals = images
        .iter()
        .enumerate()
        .map(|(index, image)| number_in(image, "level") - number_in(&truths[index / 3], "level"));
    let bias = residuals.sum::<f64>() / 30.0;
    assert!((number_in(&images[0], "level_bias") - bias).abs() < 1e-5);

    // These light-cones are no test of it, others are.
    let third = directory.path().join("third");
    write_small_data(&third, &small_manifest(), 12);
    for (data, scored) in [(&other, false), (&third, true)] {
        let output = dawn21(&["evaluate", text(&run), text(data)]);
        assert!(output.status.success());
        let log = String::from_utf8_lossy(&output.stderr).to_string();
        assert_eq!(log.contains("it was made with these light-cones"), !scored);
        let name = data.file_name().expect("name").to_string_lossy();
        let path = run.join(format!("evaluation-{name}/metrics.json"));
        let metrics: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(path).expect("metrics")).expect("JSON");
        assert_eq!(metrics["coverage"].is_array(), scored);
        let source = &metrics["calibration"];
        assert_eq!(source.is_object(), scored);
        if scored {
            assert_eq!(source["light_cones"], 10);
            assert_eq!(source["images"], 30);
            assert_eq!(source["fingerprint"], after["fingerprint"]);
        }
        assert_eq!(metrics["calibrated_mean"].is_object(), scored);
    }

    fs::remove_file(run.join("calibration.json")).expect("remove");
    fail(
        &["calibrate", text(&run), text(&other)],
        &["calibration.json: missing", "dawn21 evaluate"],
    );
}
