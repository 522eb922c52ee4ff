//! The audit as a command.

mod common;

use std::fs;

use common::{fail, real_light_cones, succeed, text};

#[test]
fn the_audit_passes_and_prints_a_table_or_json() {
    let table = succeed(&["gradcheck", "--quick", "--quiet", "--probes", "6"]);
    assert!(
        table.contains("conv2d+relu+max_pool2d") && table.contains("8.weight"),
        "{table}"
    );
    assert!(
        table.contains("checks passed") && !table.contains("FAILED"),
        "{table}"
    );
    let json = succeed(&["gradcheck", "--quick", "--quiet", "--probes", "6", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(report["passed"], true);
    let sections = report["sections"].as_array().expect("sections");
    assert_eq!(sections.len(), 6);
    for level in dawn21_kernels::simd::Level::available() {
        for part in ["network (fft, ", "3 conv2d (im2col, ", "8 dense (fused, "] {
            let name = format!("{part}{level})");
            assert!(json.contains(&name), "{name} was not checked");
        }
    }
    for check in sections
        .iter()
        .flat_map(|s| s["checks"].as_array().expect("checks"))
    {
        assert!(check["checked"].as_u64() > Some(0), "{check}");
    }
}

#[test]
fn the_audit_takes_real_images_and_any_architecture() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let file = directory.path().join("network.toml");
    let layers = r#"
        layer = [
            { kind = "conv2d", filters = 2, kernel_mpc = 12.0 },
            { kind = "batch_norm" },
            { kind = "relu" },
            { kind = "max_pool2d", window = [3, 5] },
            { kind = "flatten" },
            { kind = "dense" },
        ]
    "#;
    fs::write(&file, layers).expect("file");
    let data = real_light_cones();
    let arguments = [
        "gradcheck",
        "--config",
        text(&file),
        "--data",
        text(&data),
        "--quiet",
        "--probes",
        "5",
    ];
    let table = succeed(&arguments);
    assert!(table.contains("network 25 x 524"), "{table}");
    assert!(table.contains("all parameters"), "{table}");
}

#[test]
fn what_cannot_be_audited_is_named() {
    fail(
        &["gradcheck", "--quick", "--image", "9,64"],
        &["layer 0 (conv2d)", "10 x 10", "9 x 64"],
    );
    fail(
        &["gradcheck", "--quick", "--config", "no/such.toml"],
        &["no/such.toml"],
    );
    fail(
        &["gradcheck", "--quick", "--data", "no/such"],
        &["no/such/dataset.toml"],
    );
}
