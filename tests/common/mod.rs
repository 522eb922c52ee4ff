//! What the integration tests share: small data directories and runs of the program.

#![allow(
    dead_code,
    reason = "every test file is a crate of its own and uses some of these"
)]

pub(crate) mod reference_fields;
pub(crate) mod trained;
pub(crate) mod training;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dawn21::data::manifest::{FORMAT, Manifest, ParameterDescription, VERSION};

/// The real light-cones of the repository.
pub(crate) fn real_light_cones() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/lightcones")
}

/// A command line of the program under test.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dawn21"));
    command.args(arguments);
    command
}

/// Runs the program to its end.
pub(crate) fn dawn21(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program starts")
}

/// Runs the program, which must succeed; returns what it printed on stdout.
pub(crate) fn succeed(arguments: &[&str]) -> String {
    let output = dawn21(arguments);
    assert!(
        output.status.success(),
        "dawn21 {arguments:?} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs the program, which must fail with exit code 1 and a message that holds every one of `named`.
pub(crate) fn fail(arguments: &[&str], named: &[&str]) -> String {
    let output = dawn21(arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        output.status.code(),
        Some(1),
        "dawn21 {arguments:?}:\n{message}"
    );
    assert!(!message.contains("panicked"), "{message}");
    let all = format!("{message}{}", String::from_utf8_lossy(&output.stdout));
    for part in named {
        assert!(
            all.contains(part),
            "`{part}` is not named by dawn21 {arguments:?}:\n{all}"
        );
    }
    message
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8 path")
}

/// Copies what makes a run, without checkpoints, figures and scores.
pub(crate) fn copy_run(run: &Path, copy: &Path) {
    fs::create_dir_all(copy).expect("directory");
    for name in [
        "run.toml",
        "split.csv",
        "history.csv",
        "model.safetensors",
        "calibration.json",
    ] {
        fs::copy(run.join(name), copy.join(name)).expect("copy");
    }
}

/// The manifest of a small data set with two parameters.
pub(crate) fn small_manifest() -> Manifest {
    let parameter = |name: &str, min, max| ParameterDescription {
        name: name.to_string(),
        unit: String::new(),
        min,
        max,
        latex: None,
    };
    Manifest {
        format: FORMAT.to_string(),
        version: VERSION,
        shape: [8, 6, 40],
        cell_mpc: 10.0,
        y_planes: None,
        quantity: "brightness_temperature".to_string(),
        unit: "mK".to_string(),
        redshift_range: [6.0, 12.0],
        source: "a pattern that depends on the parameters".to_string(),
        suggested_preset: None,
        parameters: vec![parameter("level", 0.0, 1.0), parameter("period", 4.0, 12.0)],
        cosmology: None,
        simulation: None,
    }
}

/// Writes a data directory of `count` light-cones whose cells show their two parameters.
pub(crate) fn write_small_data(directory: &Path, manifest: &Manifest, count: usize) {
    fs::create_dir_all(directory.join("cubes")).expect("directory");
    manifest.write(directory).expect("manifest");
    let mut table = String::from("id,level,period\n");
    let [nx, ny, nz] = manifest.shape;
    for i in 0..count {
        let level = (i as f64 + 0.5) / count as f64;
        let period = 4.0 + 8.0 * ((i * 7 % count) as f64 / count as f64);
        table.push_str(&format!("{i:03},{level},{period}\n"));
        let mut cells = Vec::with_capacity(nx * ny * nz);
        for x in 0..nx {
            for y in 0..ny {
                for z in 0..nz {
                    let phase = (x * 3 + y * 5 + z) as f64 / period;
                    cells.push((-200.0 * level + 40.0 * phase.sin()) as f32);
                }
            }
        }
        let path = directory.join(format!("cubes/{i:03}.f32"));
        fs::write(path, bytemuck::cast_slice(&cells)).expect("cube");
    }
    fs::write(directory.join("parameters.csv"), table).expect("table");
}

/// Settings that train the small data in moments.
pub(crate) const SMALL: [&str; 12] = [
    "--set",
    "training.batch_size=8",
    "--set",
    "training.epochs=4",
    "--set",
    "layer.0.kernel_mpc=30.0",
    "--set",
    "layer.3.kernel_mpc=20.0",
    "--set",
    "layer.8.units=12",
    "--set",
    "slices.separation_mpc=20.0",
];

/// `train DATA --out RUN` with [`SMALL`] and further arguments.
pub(crate) fn train_arguments<'a>(data: &'a Path, run: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["train", text(data), "--out", text(run), "--quiet"];
    arguments.extend(SMALL);
    arguments.extend(more);
    arguments
}
