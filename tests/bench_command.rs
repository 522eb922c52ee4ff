//! `dawn21 bench` and `dawn21 info --plan`: how fast, and by which algorithm.

mod common;

use common::{command, fail, real_light_cones, succeed, text};

const SMALL: [&str; 8] = [
    "bench",
    "--image",
    "24,60",
    "--cell-mpc",
    "5",
    "--batch",
    "4",
    "--quiet",
];

fn measure(more: &[&str]) -> serde_json::Value {
    let json = succeed(&[&SMALL[..], &["--json"], more].concat());
    serde_json::from_str(&json).expect("JSON")
}

#[test]
fn steps_of_training_and_inference_are_timed() {
    for mode in ["training", "inference"] {
        let report = measure(&["--mode", mode, "--steps", "3", "--threads", "2"]);
        assert_eq!(report["mode"], mode);
        assert_eq!(report["batch"], 4);
        assert_eq!(report["threads"], 2);
        assert_eq!(report["image"], serde_json::json!([24, 60]));
        let times = report["seconds_per_step"].as_array().expect("times");
        let mut times: Vec<f64> = times.iter().map(|t| t.as_f64().expect("number")).collect();
        assert_eq!(times.len(), 3);
        times.sort_by(f64::total_cmp);
        let rate = report["images_per_second"].as_f64().expect("rate");
        assert!((rate * times[1] - 4.0).abs() < 1e-9, "{report}");
        assert_eq!(report["plans"].as_array().map(Vec::len), Some(2));
    }
    let table = succeed(&SMALL);
    assert!(table.contains("images/s training"), "{table}");
}

#[test]
fn algorithm_and_vector_level_can_be_chosen() {
    for algorithm in ["direct", "im2col", "fft"] {
        let setting = format!("execution.convolution={algorithm}");
        let plans = measure(&["--set", &setting])["plans"].to_string();
        assert!(plans.contains(&format!("{algorithm} at level")), "{plans}");
        assert!(plans.contains("forced"), "{plans}");
    }
    let plain = measure(&["--set", "execution.convolution=plain"]);
    assert_eq!(plain["plans"], serde_json::json!([]));
    for level in dawn21_kernels::simd::Level::available() {
        let arguments = [&SMALL[..], &["--json"]].concat();
        let output = command(&arguments)
            .env("DAWN21_SIMD", level.name())
            .output()
            .expect("the program starts");
        let json = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(json.contains(&format!("\"level\":\"{level}\"")), "{json}");
    }
}

#[test]
fn what_cannot_be_run_is_named() {
    let output = command(&SMALL).env("DAWN21_SIMD", "mmx").output();
    let output = output.expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.contains("DAWN21_SIMD") && message.contains("mmx") && message.contains("portable"),
        "{message}"
    );
    fail(
        &[&SMALL[..], &["--set", "execution.convolution=fast"]].concat(),
        &["execution", "fast", "im2col"],
    );
    // A kernel of 150 cells fits no transform.
    let large = [
        "bench", "--quiet", "--image", "160,200", "--batch", "2", "--set",
    ];
    fail(
        &[
            &large[..],
            &["layer.0.kernel_mpc=225", "--set", "layer.3.kernel_mpc=3"],
            &["--set", "execution.convolution=fft"],
        ]
        .concat(),
        &["execution.convolution = fft", "150 x 150", "auto"],
    );
    fail(&["bench", "--data", "no/such"], &["no/such/dataset.toml"]);
}

#[test]
fn info_prints_the_plan_of_a_network_for_the_images() {
    let data = real_light_cones();
    let text = succeed(&["info", text(&data), "--plan", "--quiet"]);
    assert!(
        text.contains("im2col") && text.contains("estimated us per image"),
        "{text}"
    );
    let paper = succeed(&[
        "info",
        common::text(&data),
        "--plan",
        "--preset",
        "gillet2019",
    ]);
    assert!(paper.matches("conv2d ").count() == 2, "{paper}");
}
