//! Figures and report of runs, whole and in parts.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{dawn21, fail, small_manifest, succeed, text, train_arguments, write_small_data};
use dawn21::data::manifest::Manifest;
use tempfile::TempDir;

/// A data directory and a run on it, without an evaluation.
fn trained(manifest: &Manifest, settings: &[&str]) -> (TempDir, PathBuf, PathBuf) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let data = directory.path().join("data");
    let run = directory.path().join("run");
    write_small_data(&data, manifest, 40);
    succeed(&train_arguments(&data, &run, settings));
    (directory, data, run)
}

/// What a reader would see, and what it would load from elsewhere.
fn external_loads(html: &str) -> Vec<&str> {
    let loading = [
        "src=",
        "<link",
        "@import",
        "url(",
        "<script",
        "<iframe",
        "<object",
        "xlink:href",
    ];
    let mut found: Vec<&str> = loading
        .into_iter()
        .filter(|part| html.contains(part))
        .collect();
    let references = html.split(" href=\"").skip(1);
    let images = html.split("<image").skip(1).filter(|rest| {
        let tag = rest.split('>').next().unwrap_or_default();
        !tag.contains("href=\"data:image/png;base64,")
    });
    found.extend(images);
    found.extend(references.filter(|target| {
        // Links that are followed only when asked for.
        !target.starts_with('#')
            && !target.starts_with("data:")
            && !target.starts_with("https://arxiv.org/abs/")
    }));
    found
}

#[test]
fn figures_and_report_of_an_evaluated_run_are_complete() {
    let (_directory, data, run) = trained(&small_manifest(), &[]);
    succeed(&["evaluate", text(&run), text(&data), "--quiet"]);
    let printed = succeed(&["figures", text(&run)]);
    let expected = [
        "light_cones",
        "loss_curves",
        "recovery_level",
        "recovery_period",
        "filters",
        "response_1",
        "response_2",
        "saliency_1",
        "saliency_2",
    ];
    assert_eq!(printed.lines().count(), expected.len(), "{printed}");
    for name in expected {
        let path = run.join(format!("figures/{name}.svg"));
        assert!(printed.contains(text(&path)), "{name}: {printed}");
        let svg = fs::read_to_string(&path).expect("figure");
        assert!(
            svg.contains("</svg>") && svg.contains("prefers-color-scheme:dark"),
            "{name}"
        );
        // Pictures inside are letters that may spell anything.
        let mut parts = svg.split("base64,");
        let first = parts.next().unwrap_or_default().to_string();
        let drawn = parts.fold(first, |drawn, part| {
            drawn + part.split_once('"').map_or("", |(_, rest)| rest)
        });
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{name}");
    }

    let printed = succeed(&["report", text(&run)]);
    assert_eq!(printed.trim(), text(&run.join("report.html")));
    let html = fs::read_to_string(run.join("report.html")).expect("report");
    for id in [
        "light-cones",
        "network",
        "loss",
        "recovery",
        "filters",
        "responses",
        "saliency",
        "settings",
    ] {
        assert!(html.contains(&format!("<section id=\"{id}\">")), "{id}");
        assert!(html.contains(&format!("<a href=\"#{id}\">")), "{id}");
    }
    for name in expected {
        assert!(html.contains(&format!("<figure id=\"{name}\">")), "{name}");
    }
    for part in [
        "10\u{2009}023\u{2009}604",
        "trained on 3 images of each light-cone",
        "first image of 4 light-cones (test)",
        "each image (12)",
        "mean of images (4)",
        "from 12 images of 4 light-cones that it was not trained on",
        "epochs = 4",
        "width=device-width",
    ] {
        assert!(html.contains(part), "`{part}` is not in the report");
    }
    assert!(!html.contains("class=\"note\""), "nothing is missing");
    assert_eq!(external_loads(&html), Vec::<&str>::new());

    // The same again, bit for bit, on one thread.
    succeed(&["report", text(&run), "--threads", "1"]);
    assert!(html == fs::read_to_string(run.join("report.html")).expect("report"));
}

#[test]
fn external_loads_are_found_where_there_are_some() {
    for html in [
        "<script>1</script>",
        "<a href=\"http://example.org\">",
        "<image href=\"https://example.org/a.png\"/>",
        "<style>@import 'x'</style>",
    ] {
        assert!(!external_loads(html).is_empty(), "{html}");
    }
    assert!(external_loads("<a href=\"#x\"><image href=\"data:image/png;base64,AA\"/>").is_empty());
}

#[test]
fn a_run_without_evaluation_or_light_cones_says_what_is_missing() {
    let (directory, data, run) = trained(&small_manifest(), &[]);
    let output = dawn21(&["figures", text(&run)]);
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("Not evaluated yet: dawn21 evaluate"),
        "{said}"
    );
    assert!(!run.join("figures/recovery_level.svg").exists());
    assert!(run.join("figures/saliency_1.svg").exists());

    let moved = directory.path().join("moved");
    fs::rename(&data, &moved).expect("rename");
    let output = dawn21(&["report", text(&run)]);
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--data DATA says where they are"), "{said}");
    let html = fs::read_to_string(run.join("report.html")).expect("report");
    for part in [
        "Not evaluated yet",
        "The light-cones are not at hand",
        "<figure id=\"filters\">",
    ] {
        assert!(html.contains(part), "{part}");
    }
    succeed(&["report", text(&run), "--data", text(&moved)]);
    let html = fs::read_to_string(run.join("report.html")).expect("report");
    assert!(html.contains("<figure id=\"saliency_2\">"));

    fail(
        &["report", text(&run), "--data", text(&run)],
        &["dataset.toml"],
    );
    let other = directory.path().join("other");
    let mut manifest = small_manifest();
    manifest.cell_mpc = 12.0;
    write_small_data(&other, &manifest, 10);
    fail(
        &["figures", text(&run), "--data", text(&other)],
        &["cell_mpc: the model has 10, the data have 12"],
    );
}

#[test]
fn one_parameter_and_one_layer_are_enough() {
    let mut manifest = small_manifest();
    manifest.parameters.truncate(1);
    let directory = tempfile::tempdir().expect("temporary directory");
    let (data, run) = (directory.path().join("data"), directory.path().join("run"));
    write_small_data(&data, &manifest, 40);
    let table = fs::read_to_string(data.join("parameters.csv")).expect("table");
    let table: Vec<&str> = table
        .lines()
        .map(|l| l.rsplit_once(',').expect("three").0)
        .collect();
    fs::write(data.join("parameters.csv"), table.join("\n") + "\n").expect("table");
    let config = directory.path().join("config.toml");
    let layers = "[[layer]]\nkind = \"flatten\"\n[[layer]]\nkind = \"dense\"\n";
    fs::write(
        &config,
        format!("[training]\nepochs = 2\nbatch_size = 8\n{layers}"),
    )
    .expect("config");
    succeed(&[
        "train",
        text(&data),
        "--out",
        text(&run),
        "--quiet",
        "--config",
        text(&config),
    ]);
    succeed(&["evaluate", text(&run), text(&data), "--quiet"]);
    let output = dawn21(&["report", text(&run)]);
    assert!(output.status.success());
    let html = fs::read_to_string(run.join("report.html")).expect("report");
    for part in [
        "<figure id=\"recovery_level\">",
        "The first layer is not a convolution.",
        "<figure id=\"saliency_1\">",
        "The paper\u{2019}s network",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(
        !html.contains("<figure id=\"response_1\">") && !html.contains("<figure id=\"filters\">")
    );
    let printed = succeed(&[
        "predict",
        text(&run),
        text(&data.join("cubes/000.f32")),
        "--quiet",
    ]);
    assert!(
        printed
            .starts_with("file,axis,plane,first_cell,level,level_bias,level_uncertainty,warning\n"),
        "{printed}"
    );
}

#[test]
fn damaged_files_of_a_run_are_named() {
    let (directory, data, run) = trained(&small_manifest(), &[]);
    succeed(&["evaluate", text(&run), text(&data), "--quiet"]);
    let break_file = |name: &str, content: &str, named: &[&str]| {
        let path = run.join(name);
        let sound = fs::read(&path).expect("sound");
        fs::write(&path, content).expect("damage");
        fail(&["report", text(&run)], named);
        fail(&["figures", text(&run)], named);
        fs::write(&path, sound).expect("repair");
    };
    break_file("metrics.json", "{", &["metrics.json", "dawn21 evaluate"]);
    let columns =
        "id,axis,plane,first_cell,level_true,level_predicted,period_true,period_predicted";
    break_file(
        "predictions.csv",
        "id,level\n",
        &["predictions.csv: expected columns"],
    );
    let row = format!("{columns}\n001,y,0,0,1,x,2,3\n");
    break_file(
        "predictions.csv",
        &row,
        &["predictions.csv: line 2", "not a number"],
    );
    break_file(
        "history.csv",
        "epoch,train_loss\n1,x\n",
        &["history.csv: line 2", "train_loss"],
    );
    break_file("model.safetensors", "", &["model.safetensors"]);
    fs::remove_file(run.join("model.safetensors")).expect("remove");
    fail(&["report", text(&run)], &["model.safetensors: missing"]);
    fail(
        &["figures", text(directory.path())],
        &["not a run directory"],
    );
    fail(
        &["figures", text(&directory.path().join("nothing"))],
        &["not a run directory"],
    );
}

#[test]
fn scores_of_an_earlier_epoch_are_pointed_out() {
    let (_directory, data, run) = trained(&small_manifest(), &[]);
    succeed(&["evaluate", text(&run), text(&data), "--quiet"]);
    let path: &Path = &run.join("metrics.json");
    let metrics = fs::read_to_string(path).expect("metrics");
    let line = metrics
        .lines()
        .find(|line| line.contains("\"epoch\""))
        .expect("epoch");
    fs::write(path, metrics.replacen(line, "  \"epoch\": 0,", 1)).expect("metrics");
    succeed(&["report", text(&run)]);
    let html = fs::read_to_string(run.join("report.html")).expect("report");
    assert!(html.contains("the scores are those of epoch 0"));
}

#[test]
fn one_image_of_each_light_cone_trains_a_network_of_its_own() {
    let (directory, data, run) = trained(
        &small_manifest(),
        &["--set", "training.images_per_light_cone=1"],
    );
    let printed = succeed(&["evaluate", text(&run), text(&data)]);
    assert!(
        printed.contains("first image  each image  mean of images"),
        "{printed}"
    );
    let metrics = fs::read_to_string(run.join("metrics.json")).expect("metrics");
    let metrics: serde_json::Value = serde_json::from_str(&metrics).expect("JSON");
    assert_eq!(metrics["training_images_per_light_cone"], 1);
    assert_eq!(metrics["images"], 4);
    assert_eq!(metrics["each_image"]["predictions"], 12);
    assert_eq!(metrics["mean_of_images"]["predictions"], 4);
    for scores in [&metrics["parameters"], &metrics["each_image"]["parameters"]] {
        assert!(
            scores[0]["r2_over_predicted_interval"][0].is_f64(),
            "{scores}"
        );
    }
    // 32 images of 32 light-cones in batches of 8, four epochs.
    let model = run.join("model.safetensors");
    let description = dawn21::model::model_file::read_description(&model).expect("model");
    assert_eq!(description.step, 4 * description.epoch);

    succeed(&[
        "evaluate",
        text(&run),
        text(&data),
        "--images",
        "first",
        "--quiet",
    ]);
    let metrics = fs::read_to_string(run.join("metrics.json")).expect("metrics");
    let metrics: serde_json::Value = serde_json::from_str(&metrics).expect("JSON");
    for absent in ["each_image", "mean_of_images", "calibrated_mean"] {
        assert!(metrics[absent].is_null(), "{absent}");
    }

    // Beside a run on all images.
    let all = directory.path().join("all images");
    succeed(&train_arguments(&data, &all, &[]));
    let arguments = ["report", text(&all), "--beside", text(&run), "--quiet"];
    succeed(&["evaluate", text(&all), text(&data), "--quiet"]);
    succeed(&arguments);
    let html = fs::read_to_string(all.join("report.html")).expect("report");
    assert!(
        html.contains("<th>run, 1 training image [68 %]</th>"),
        "the other run has a column"
    );
    assert!(!html.contains("warning:"), "both on the same light-cones");
    // Its name has a space.
    let repeated = format!("--config '{}/run.toml' --out REPEATED", all.display());
    assert!(html.contains(&repeated), "{repeated}");
    for said in [
        "<td>calibrated mean (4)</td>",
        "<td>calibrated mean</td>",
        "<td>mean of 3 images</td>",
    ] {
        assert!(html.contains(said), "{said}");
    }
    let metrics = fs::read_to_string(run.join("metrics.json")).expect("metrics");
    let others = metrics.replace("\"part\": \"test\"", "\"part\": \"validation\"");
    fs::write(run.join("metrics.json"), others).expect("metrics");
    succeed(&arguments);
    let html = fs::read_to_string(all.join("report.html")).expect("report");
    assert!(html.contains("run was evaluated on other light-cones than"));
    fs::remove_file(run.join("metrics.json")).expect("remove");
    fail(&arguments, &["run has not been evaluated yet"]);

    let refused = directory.path().join("refused");
    let many = ["--set", "training.images_per_light_cone=4"];
    fail(
        &train_arguments(&data, &refused, &many),
        &["training.images_per_light_cone = 4: expected at most 3"],
    );
    let none = ["--set", "training.images_per_light_cone=0"];
    fail(
        &train_arguments(&data, &refused, &none),
        &["training.images_per_light_cone = 0: expected at least 1"],
    );
}
