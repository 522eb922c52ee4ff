//! Light-cones that a network was trained on are known again in other data.

mod common;

use std::fs;
use std::path::Path;

use common::trained::{Trained, part, trained};
use common::{
    copy_run, dawn21, fail, small_manifest, succeed, text, train_arguments, write_small_data,
};
use dawn21::data::manifest::Manifest;
use serde_json::Value;

#[test]
fn other_planes_of_the_light_cones_of_a_training_are_warned_about() {
    let Trained { directory, run, .. } = trained();
    let path = |name: &str| directory.path().join(name);
    let copy = path("copy");
    copy_run(run, &copy);
    // Fewer planes are other data, whose light-cones are the same.
    let planes = path("planes");
    let manifest = Manifest {
        shape: [8, 3, 40],
        y_planes: Some(vec![0, 2, 4]),
        ..small_manifest()
    };
    write_small_data(&planes, &manifest, 60);
    // Parameters that none of the others have.
    let new = path("new");
    write_small_data(&new, &manifest, 59);
    let said = |command: &str, data: &str| {
        let output = dawn21(&[command, text(&copy), data]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said
    };
    let [train, validation] = ["train", "validation"].map(|name| part(run, name).len());
    // Those of the validation are what a calibration is made of.
    for (command, count) in [("evaluate", train + validation), ("calibrate", train)] {
        let known = said(command, text(&planes));
        let warning = format!("warning: {count} of 60 light-cones in");
        assert!(known.contains(&warning), "{known}");
        let unknown = said(command, text(&new));
        assert!(!unknown.contains("warning"), "{unknown}");
    }
    let quiet = ["evaluate", text(&copy), text(&planes), "--quiet"];
    assert!(dawn21(&quiet).stderr.is_empty());

    scores_of_known_light_cones_say_so(&copy, &planes, train + validation);

    // Runs of before the parameters were kept do not know.
    let split = fs::read_to_string(copy.join("split.csv")).expect("split");
    assert!(split.starts_with("id,part,level_true,period_true\n000,"));
    let lines = split.lines().map(|line| {
        let fields: Vec<&str> = line.splitn(3, ',').take(2).collect();
        fields.join(",") + "\n"
    });
    fs::write(copy.join("split.csv"), lines.collect::<String>()).expect("write");
    let unknown = said("evaluate", text(&planes));
    assert!(
        unknown.contains("has no record (split.csv)") && !unknown.contains("warning"),
        "{unknown}"
    );

    for (from, to, expected) in [
        (",train,", ",trained,", "column part: expected train, valid"),
        ("id,", "name,", "split.csv: no column `id`"),
        (
            ",train,0",
            ",train,x0",
            "column level_true: expected a number",
        ),
    ] {
        fs::write(copy.join("split.csv"), split.replacen(from, to, 1)).expect("write");
        fail(&["evaluate", text(&copy), text(&planes)], &[expected]);
    }
}

/// Wherever the scores are shown, and not those of the test.
fn scores_of_known_light_cones_say_so(run: &Path, planes: &Path, count: usize) {
    let caution = format!(
        "{count} of these 60 light-cones are from the training or validation set, or have the parameters of one that \
         is: the scores are not a test"
    );
    let evaluate = |arguments: &[&str]| {
        let known = ["evaluate", text(run), "--out", text(run), "--quiet"];
        succeed(&[&known, arguments].concat())
    };
    let shown = || {
        let compared = dawn21(&["compare", text(run), "--markdown"]);
        let table = String::from_utf8_lossy(&compared.stdout).into_owned();
        assert_eq!(
            table.contains("(!), first image | 1 |"),
            table.contains("\n(!): scored on light-cones that the network knows"),
            "{table}"
        );
        succeed(&["report", text(run), "--quiet"]);
        let report = fs::read_to_string(run.join("report.html")).expect("report");
        [
            table,
            String::from_utf8_lossy(&compared.stderr).into_owned(),
            report,
        ]
    };
    assert!(evaluate(&[text(planes)]).contains(&caution));
    let [table, said, report] = shown();
    assert!(table.contains("(!)"), "{table}");
    for text in [said, report] {
        assert!(text.contains(&caution), "{caution} in {text}");
    }
    let data = &trained().data;
    let of_training = part(&trained().run, "train").len();
    let training = evaluate(&[text(data), "--part", "train"]);
    assert!(
        training.contains(&format!("{of_training} of these {of_training} light-cones")),
        "{training}"
    );
    assert!(!evaluate(&[text(data)]).contains("of these"));
    for text in shown() {
        assert!(
            !text.contains("from the training or validation set") && !text.contains("(!)"),
            "{text}"
        );
    }
    assert_eq!(known_in(run), Value::from(0));
    let old = fs::read_to_string(run.join("metrics.json")).expect("metrics");
    let old = old.replace("  \"known_light_cones\": 0,\n", "");
    assert!(!old.contains("known_light_cones"));
    fs::write(run.join("metrics.json"), old).expect("metrics");
    assert!(!shown().concat().contains("(!)"), "not known");
}

/// `known_light_cones` of an evaluation.
fn known_in(evaluation: &Path) -> Value {
    let metrics = fs::read_to_string(evaluation.join("metrics.json")).expect("metrics");
    let metrics: Value = serde_json::from_str(&metrics).expect("json");
    metrics["known_light_cones"].clone()
}

#[test]
fn another_split_than_that_of_the_initial_weights_is_warned_about() {
    let Trained {
        directory,
        data,
        run,
    } = trained();
    let said = |name: &str, initial: &Path, split: &str| {
        let out = directory.path().join(name);
        let settings = ["--init-from", text(initial), "--set", split];
        let mut arguments = train_arguments(data, &out, &settings);
        arguments.extend([
            "--set",
            "training.epochs=1",
            "--set",
            "split.validation=0.3",
        ]);
        arguments.retain(|argument| *argument != "--quiet");
        let output = dawn21(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said
    };
    let known = |name: &str| {
        let evaluated = directory.path().join(name);
        succeed(&["evaluate", text(&evaluated), text(data), "--quiet"]);
        known_in(&evaluated)
    };
    let same = said("same_split", run, "split.seed=21");
    assert!(!same.contains("warning"), "{same}");
    assert_eq!(known("same_split"), Value::from(0));
    let other = said("other_split", run, "split.seed=5");
    assert!(
        other.contains("of the 24 light-cones for validation and test have"),
        "{other}"
    );
    // A file alone does not say what it was trained on.
    let file = run.join("model.safetensors");
    let unknown = said("from_file", &file, "split.seed=5");
    assert!(!unknown.contains("warning"), "{unknown}");

    // It stays known at the evaluation of the new weights.
    let tested = part(&directory.path().join("other_split"), "test");
    let of_initial = ["train", "validation"].map(|name| part(run, name)).concat();
    let both = tested.iter().filter(|id| of_initial.contains(id)).count();
    assert!(both > 0);
    assert_eq!(known("other_split"), Value::from(both));
    assert_eq!(known("from_file"), Value::Null);
}
