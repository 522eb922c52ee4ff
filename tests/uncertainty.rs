//! Uncertainties of predictions, and warnings about images unlike those trained on.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::trained::{Row, Trained, cube, field, image_of, part, rows, trained};
use common::{copy_run, dawn21, fail, small_manifest, succeed, text, write_small_data};
use dawn21::data::manifest::{Cosmology, GILLET_2019, Manifest};
use dawn21::data::scaling::TargetScaling;
use dawn21::data::symmetry::Symmetries;
use dawn21::evaluation::sensitivity::{first_layer_response, saliency};
use dawn21::model::activations::Mode;
use dawn21::model::model_file::{self, Model};
use dawn21_kernels::rng::{Stream, generator, unit_interval};
use rand::Rng;

const IMAGE: usize = 8 * 40;
/// Predicts an image of the given cells; returns its row and what was said on stderr.
fn ask(name: &str, cells: &[f32]) -> (Row, String) {
    let trained = trained();
    let file = trained.directory.path().join(format!("{name}.f32"));
    fs::write(&file, bytemuck::cast_slice(cells)).expect("image");
    let output = dawn21(&["predict", text(&trained.run), text(&file)]);
    assert!(output.status.success());
    let table = String::from_utf8(output.stdout).expect("UTF-8");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    (rows(&table).remove(0), said)
}

#[test]
fn training_ends_with_a_calibration_and_predictions_have_uncertainties() {
    let Trained { data, run, .. } = trained();
    let calibration = fs::read_to_string(run.join("calibration.json")).expect("calibration");
    let calibration: serde_json::Value = serde_json::from_str(&calibration).expect("JSON");
    assert_eq!(calibration["light_cones"], 18);
    assert_eq!(calibration["images"], 54);

    let ids = part(run, "validation");
    let cubes: Vec<PathBuf> = ids.iter().map(|id| cube(data, id)).collect();
    let mut arguments = vec!["predict", text(run)];
    arguments.extend(cubes.iter().map(|path| text(path)));
    let output = dawn21(&arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !said.contains("warning"),
        "validation images are usual: {said}"
    );
    let table = rows(&String::from_utf8_lossy(&output.stdout));
    assert_eq!(table.len(), 54);
    // 54 images are one bin: its uncertainty is the spread of these very residuals.
    let parameters = fs::read_to_string(data.join("parameters.csv")).expect("table");
    let truths = rows(&parameters);
    for name in ["level", "period"] {
        let residuals: Vec<f64> = table
            .iter()
            .enumerate()
            .map(|(index, row)| {
                let truth = truths.iter().find(|t| field(t, "id") == ids[index / 3]);
                let truth: f64 = field(truth.expect("truth"), name).parse().expect("number");
                field(row, name).parse::<f64>().expect("number") - truth
            })
            .collect();
        let bias: f64 = field(&table[0], &format!("{name}_bias"))
            .parse()
            .expect("number");
        let mean = residuals.iter().sum::<f64>() / 54.0;
        assert!((bias - mean).abs() < 1e-5, "{name}: {bias}, {mean}");
        let uncertainty = field(&table[0], &format!("{name}_uncertainty"));
        let uncertainty: f64 = uncertainty.parse().expect("number");
        let spread = residuals.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / 53.0;
        // The fit leaves out what lies beyond three standard deviations.
        let ratio = uncertainty / spread.sqrt();
        assert!(
            (0.5..1.05).contains(&ratio),
            "{name}: {uncertainty}, {spread}"
        );
        let within = residuals
            .iter()
            .filter(|r| (*r - bias).abs() <= uncertainty);
        assert!(within.count() > 54 / 2);
    }
    assert!(table.iter().all(|row| field(row, "warning").is_empty()));
}

#[test]
fn images_in_other_units_are_warned_about() {
    let ids = part(&trained().run, "test");
    let cells: Vec<f32> = image_of(&trained().data, &ids[0]);
    let kelvin: Vec<f32> = cells.iter().map(|cell| cell / 1000.0).collect();
    let (row, said) = ask("kelvin", &kelvin);
    let warning = field(&row, "warning");
    assert!(warning.contains("coldest cell -0."), "{warning}");
    assert!(said.contains("kelvin.f32: coldest cell"), "{said}");
    assert!(said.contains("do not trust the values"), "{said}");

    let shifted: Vec<f32> = cells.iter().map(|cell| cell + 300.0).collect();
    let (row, _) = ask("shifted", &shifted);
    let warning = field(&row, "warning");
    assert!(
        warning.contains("hottest cell") && warning.contains("mean"),
        "{warning}"
    );
}

#[test]
fn noise_with_usual_temperatures_is_warned_about() {
    let ids = part(&trained().run, "test");
    for id in &ids {
        // The cells of an image in another order: the same temperatures, no structure.
        let mut cells = image_of(&trained().data, id);
        let mut generator = generator(5, Stream::Audit, &[]);
        for last in (1..IMAGE).rev() {
            let other = (unit_interval(generator.next_u64()) * (last + 1) as f64) as usize;
            cells.swap(last, other);
        }
        let (row, said) = ask(&format!("noise_{id}"), &cells);
        let warning = field(&row, "warning");
        assert!(warning.contains("structure unlike"), "{id}: {warning}");
        assert!(!warning.contains("cell"), "{id}: {warning}");
        assert!(said.contains("warning"), "{said}");
    }
}

#[test]
fn most_test_images_are_usual() {
    let Trained { data, run, .. } = trained();
    let ids = part(run, "test");
    assert_eq!(ids.len(), 6);
    let mut warned = 0;
    for id in &ids {
        let printed = succeed(&["predict", text(run), text(&cube(data, id)), "--quiet"]);
        warned += rows(&printed)
            .iter()
            .filter(|r| !field(r, "warning").is_empty())
            .count();
    }
    assert!(warned <= 4, "{warned} of 18 images");
}

#[test]
fn a_model_without_its_calibration_still_predicts_and_says_so() {
    let Trained {
        directory,
        data,
        run,
    } = trained();
    let alone = directory.path().join("alone.safetensors");
    fs::copy(run.join("model.safetensors"), &alone).expect("copy");
    let file = cube(data, "007");
    let output = dawn21(&["predict", text(&alone), text(&file)]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no calibration.json beside"), "{said}");
    let table = rows(&String::from_utf8_lossy(&output.stdout));
    let whole = rows(&succeed(&["predict", text(run), text(&file)]));
    for (alone, whole) in table.iter().zip(&whole) {
        assert_eq!(field(alone, "level"), field(whole, "level"));
        assert_eq!(field(alone, "level_uncertainty"), "");
        assert_ne!(field(whole, "level_uncertainty"), "");
    }
    // The last weights are others.
    let output = dawn21(&["predict", text(run), text(&file), "--weights", "last"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no calibration.json"), "{said}");
}

#[test]
fn a_calibration_of_other_weights_or_a_damaged_one_is_not_used() {
    let Trained {
        directory,
        data,
        run: original,
    } = trained();
    let run = directory.path().join("copied");
    copy_run(original, &run);
    let sound = fs::read_to_string(original.join("calibration.json")).expect("calibration");
    let file = cube(data, "007");
    let said = |content: &str| {
        fs::write(run.join("calibration.json"), content).expect("write");
        let output = dawn21(&["predict", text(&run), text(&file)]);
        assert!(output.status.success());
        let table = rows(&String::from_utf8_lossy(&output.stdout));
        assert_eq!(field(&table[0], "level_uncertainty"), "");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let step = sound.find("\"step\":").expect("step") + 7;
    let other = format!("{}9{}", &sound[..step], &sound[step..]);
    let text_of_other = said(&other);
    assert!(
        text_of_other.contains("made for other weights"),
        "{text_of_other}"
    );
    // The same place in a training of other weights.
    let digest = sound.find("\"weights\":\"").expect("digest") + 11;
    let other = format!("{}x{}", &sound[..digest], &sound[digest + 1..]);
    assert!(said(&other).contains("made for other weights"));
    assert!(said("{}").contains("calibration.json: missing field"));
    assert!(said(&sound.replacen("level", "depth", 1)).contains("parameters are not the model's"));
    let start = sound.find("\"mean\":[").expect("features") + 8;
    let shorter = format!(
        "{}{}",
        &sound[..start],
        &sound[start..].split_once(',').expect("numbers").1
    );
    assert!(said(&shorter).contains("features are not the model's"));
    assert!(
        said(&sound.replacen(
            "calibration\",\"version\":2",
            "calibration\",\"version\":3",
            1
        ))
        .contains("version 3")
    );

    let terms_of_one = sound.replacen("\"spread\":[]", "\"spread\":[1.5,0,0]", 1);
    assert!(said(&terms_of_one).contains("`spread` of level: expected none or 6 finite"));

    // An evaluation makes it anew, with the same bytes.
    succeed(&["evaluate", text(&run), text(data), "--quiet"]);
    let again = fs::read_to_string(run.join("calibration.json")).expect("calibration");
    assert_eq!(again, sound);
}

#[test]
fn the_uncertainty_of_one_parameter_follows_the_predictions_of_all() {
    let Trained {
        directory,
        data,
        run: original,
    } = trained();
    let run = directory.path().join("spread");
    copy_run(original, &run);
    let sound = fs::read_to_string(original.join("calibration.json")).expect("calibration");
    // Of level: the logarithm of its variance grows by 2 with the scaled period, of means by 1. The other terms are 1,
    // level and the products of two.
    let none = "\"spread\":[]";
    let spread = sound.replacen(none, "\"spread\":[0,0,2,0,0,0]", 1);
    assert_ne!(sound, spread, "eighteen light-cones say nothing about it");
    let spread = spread.replacen(none, "\"spread\":[0,0,1,0,0,0]", 1);
    let number = |row: &Row, name: &str| field(row, name).parse::<f64>().expect("number");
    let predicted = |calibration: &str, options: &[&str]| {
        fs::write(run.join("calibration.json"), calibration).expect("write");
        let file = cube(data, "007");
        rows(&succeed(
            &[&["predict", text(&run), text(&file)], options].concat(),
        ))
    };
    for (options, images, slope) in [(&[][..], 3, 1.0), (&["--mean"][..], 1, 0.5)] {
        let (alone, wider) = (predicted(&sound, options), predicted(&spread, options));
        assert_eq!((alone.len(), wider.len()), (images, images));
        for (alone, row) in alone.iter().zip(wider) {
            let factor = number(&row, "level_uncertainty") / number(alone, "level_uncertainty");
            let scaled = ((number(&row, "period") - 4.0) / 4.0 - 1.0).clamp(-1.0, 1.0);
            assert!((factor / (slope * scaled).exp() - 1.0).abs() < 1e-3);
            for same in ["level_bias", "period_bias", "period_uncertainty"] {
                assert_eq!(field(&row, same), field(alone, same));
            }
        }
    }

    // Files of before there were such factors are read as they are; with the same answers.
    let before = sound.replace(",\"spread\":[]", "");
    let [with, without] = [&sound, &before].map(|text| predicted(text, &["--mean"]));
    assert_eq!(with, without);
    let coverage = |calibration: &str| {
        fs::write(run.join("calibration.json"), calibration).expect("write");
        succeed(&["evaluate", text(&run), text(data), "--quiet"]);
        let metrics = fs::read_to_string(run.join("metrics.json")).expect("metrics");
        let metrics: serde_json::Value = serde_json::from_str(&metrics).expect("JSON");
        ["coverage", "coverage_of_mean"].map(|of| metrics[of][0]["within_one"].as_f64())
    };
    let widened = sound.replace(none, "\"spread\":[50,0,0,0,0,0]");
    assert_eq!(coverage(&widened), [Some(1.0); 2]);
    let narrowed = sound.replace(none, "\"spread\":[-50,0,0,0,0,0]");
    assert_eq!(coverage(&narrowed), [Some(0.0); 2]);
}

#[test]
fn inspect_shows_values_and_draws_response_and_saliency() {
    let Trained {
        directory,
        data,
        run,
    } = trained();
    let out = directory.path().join("inspected");
    let file = cube(data, "011");
    let arguments = [
        "inspect",
        text(run),
        text(&file),
        "--image",
        "1",
        "--out",
        text(&out),
    ];
    let printed = succeed(&arguments);
    let row = &rows(&succeed(&["predict", text(run), text(&file)]))[1];
    let level: f64 = field(row, "level").parse().expect("number");
    assert!(printed.contains(&format!("{level:.4}")), "{printed}");
    for name in ["response.svg", "saliency.svg"] {
        assert!(printed.contains(name), "{printed}");
        let svg = fs::read_to_string(out.join(name)).expect("figure");
        assert!(
            svg.starts_with("<svg") && svg.matches("<image").count() > 4,
            "{name}"
        );
    }
    // A directory for each image, and the axes of the data's cosmology.
    let model = directory.path().join("inspecting");
    copy_run(run, &model);
    let elsewhere = directory.path().join("elsewhere");
    let manifest = Manifest {
        cosmology: Some(Cosmology {
            omega_m: 0.25,
            omega_l: 0.75,
            ..GILLET_2019
        }),
        ..small_manifest()
    };
    write_small_data(&elsewhere, &manifest, 60);
    let drawn = |file: &Path, image: &str, directory: &str| {
        succeed(&["inspect", text(&model), text(file), "--image", image]);
        let response = model.join(directory).join("response.svg");
        let svg = fs::read_to_string(response).expect("figure");
        // The title names the file.
        svg.replace(text(file), "FILE")
    };
    let [first, second] = [("0", "inspect_011"), ("1", "inspect_011_1")]
        .map(|(image, directory)| drawn(&file, image, directory));
    assert_ne!(first, second);
    let other = drawn(&cube(&elsewhere, "011"), "0", "inspect_011");
    assert_ne!(first, other, "the same cells, other distances");

    fail(
        &["inspect", text(run), text(&file), "--image", "3"],
        &["--image 3", "has 3 images"],
    );
    fail(
        &["inspect", text(run), "nothing.f32"],
        &["nothing.f32: opening failed"],
    );
}

/// The trained model and an image of a test light-cone, scaled.
fn model_and_image() -> (Model, Vec<f32>) {
    let trained = trained();
    let model = model_file::read(&trained.run.join("model.safetensors")).expect("model");
    let cells = image_of(&trained.data, &part(&trained.run, "test")[0]);
    let mut scaled = vec![0.0; cells.len()];
    model.description.input.apply(&cells, &mut scaled);
    (model, scaled)
}

#[test]
fn saliency_is_the_derivative_of_the_parameters_by_the_cells() {
    let every_row_and_mirrored = Symmetries {
        shifts: 8,
        flip: true,
    };
    for symmetries in [Symmetries::default(), every_row_and_mirrored] {
        check_saliency(symmetries);
    }
}

fn check_saliency(symmetries: Symmetries) {
    let (mut model, mut image) = model_and_image();
    model.description = model.description.with_symmetries(symmetries);
    // One cell colder than the network can tell.
    image[7 * 40 + 3] = 0.0;
    let maps = saliency(&model, &image).expect("an image of the model");
    assert_eq!((maps.len(), maps[0].len()), (2, IMAGE));
    let parameters = model.parameters.convert::<f64>();
    let scaling = TargetScaling::new(&model.description.parameters);
    let outputs = |cell: usize, change: f64| -> Vec<f64> {
        let mut activations = model.network.activations::<f64>();
        let mut changed: Vec<f64> = image.iter().map(|&v| f64::from(v)).collect();
        changed[cell] += change;
        let rows: Vec<&[f64]> = changed.chunks(40).collect();
        let input = activations.input_mut();
        for shift in 0..symmetries.shifts {
            let mut view = rows.clone();
            view.rotate_left(shift);
            input.extend(view.concat());
            if symmetries.flip {
                view.reverse();
                input.extend(view.concat());
            }
        }
        let forward = model
            .network
            .forward(&parameters, &mut activations, Mode::Inference);
        forward.expect("shapes");
        let views = activations.output().chunks(2);
        let count = views.len() as f64;
        let sums = views.fold([0.0; 2], |[a, b], view| [a + view[0], b + view[1]]);
        scaling.unscale(&sums.map(|sum| sum / count)).collect()
    };
    let [low, high] = model.description.input.clip_mk;
    let step = 1e-7;
    for (index, map) in maps.iter().enumerate() {
        let largest = map.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
        assert!(largest > 0.0);
        for cell in (0..IMAGE).step_by(13) {
            let difference = outputs(cell, step)[index] - outputs(cell, -step)[index];
            let derivative = difference / (2.0 * step * (high - low));
            // Gradients are sums in f32 of terms that may cancel.
            let error = (derivative - f64::from(map[cell])).abs();
            assert!(
                error < 1e-4 * f64::from(largest),
                "{index}, {cell}: {derivative}"
            );
        }
        assert!(map[7 * 40 + 3].abs() < f32::MIN_POSITIVE, "clipped");
    }
}

#[test]
fn response_is_the_first_layers_convolution_and_relu() {
    let (model, image) = model_and_image();
    let response = first_layer_response(&model, &image).expect("an image of the model");
    let response = response.expect("a convolution");
    let [weight, bias] = [0, 1].map(|index| &model.parameters.trainable[index].values);
    // Three by three cells, see `SMALL`.
    assert_eq!((response.shape, response.maps.len()), ([6, 38], 8));
    for (filter, map) in response.maps.iter().enumerate() {
        for (place, value) in map.iter().enumerate() {
            let (x, z) = (place / 38, place % 38);
            let sum: f64 = (0..9)
                .map(|k| {
                    let cell = image[(x + k / 3) * 40 + z + k % 3];
                    f64::from(cell) * f64::from(weight[filter * 9 + k])
                })
                .sum();
            let expected = (sum + f64::from(bias[filter])).max(0.0);
            assert!(
                (expected - f64::from(*value)).abs() < 1e-5,
                "{filter}, {place}"
            );
        }
    }
}
