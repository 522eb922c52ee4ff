//! Memory of a full-size training on a data base larger than memory.
//!
//! The cubes are sparse files: they take no space on disk, but are mapped and read as any other.

#![cfg(target_os = "linux")]

mod common;

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::{command, small_manifest, text};
use dawn21::data::manifest::{Manifest, ParameterDescription};

/// Bytes of a field such as `MemTotal` of a file below /proc that counts in kB.
fn kibibytes(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// A data base of the paper's geometry whose cubes are holes.
fn write_sparse_data(directory: &Path, light_cones: u64) -> u64 {
    let parameter = |name: &str| ParameterDescription {
        name: name.to_string(),
        ..small_manifest().parameters[0].clone()
    };
    let manifest = Manifest {
        shape: [200, 200, 2200],
        cell_mpc: 1.5,
        parameters: ["a", "b", "c", "d"].map(parameter).to_vec(),
        ..small_manifest()
    };
    fs::create_dir_all(directory.join("cubes")).expect("directory");
    manifest.write(directory).expect("manifest");
    let mut table = String::from("id,a,b,c,d\n");
    for i in 0..light_cones {
        let value = (i as f64 + 0.5) / light_cones as f64;
        table.push_str(&format!("{i},{value},{value},{value},{value}\n"));
        let cube = File::create(directory.join(format!("cubes/{i}.f32"))).expect("cube");
        cube.set_len(manifest.cube_bytes())
            .expect("a file system with sparse files");
    }
    fs::write(directory.join("parameters.csv"), table).expect("table");
    light_cones * manifest.cube_bytes()
}

#[test]
fn full_size_training_on_more_data_than_memory_stays_small() {
    let memory = fs::read_to_string("/proc/meminfo").expect("meminfo");
    let memory_kib = kibibytes(&memory, "MemTotal").expect("MemTotal");
    let cube_kib = 200 * 200 * 2200 * 4 / 1024;
    let light_cones = (memory_kib * 11 / 10 / cube_kib).max(84);
    let directory = tempfile::tempdir().expect("temporary directory");
    let data = directory.path().join("data");
    let bytes = write_sparse_data(&data, light_cones);
    assert!(bytes / 1024 > memory_kib);

    // 52 light-cones with 4 images each: one batch of 200 and a small one.
    let unused = format!("split.test={}", 1.0 - 60.0 / light_cones as f64);
    let validation = format!("split.validation={}", 8.0 / light_cones as f64);
    let run = directory.path().join("run");
    let arguments = [
        "train",
        text(&data),
        "--out",
        text(&run),
        "--quiet",
        "--preset",
        "gillet2019",
        "--set",
        "training.epochs=1",
        "--set",
        "slices.count=2",
        "--set",
        &unused,
        "--set",
        &validation,
    ];
    let mut child = command(&arguments)
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    let status_file = format!("/proc/{}/status", child.id());
    let (mut anonymous_kib, mut resident_kib) = (0, 0);
    let status = loop {
        if let Some(status) = child.try_wait().expect("status") {
            break status;
        }
        let status = fs::read_to_string(&status_file).unwrap_or_default();
        anonymous_kib = anonymous_kib.max(kibibytes(&status, "RssAnon").unwrap_or(0));
        resident_kib = resident_kib.max(kibibytes(&status, "VmHWM").unwrap_or(0));
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success());
    println!(
        "{} GB of cubes, {} GB of memory: at most {} MiB of its own, {} MiB with mapped pages",
        bytes / 1_000_000_000,
        memory_kib / 1_000_000,
        anonymous_kib / 1024,
        resident_kib / 1024
    );
    assert!(
        anonymous_kib > 100 << 10,
        "the measurement missed the training"
    );
    assert!(
        anonymous_kib < 2 << 20,
        "{anonymous_kib} KiB, more than 2 GiB"
    );
    // Maps of the images in use add little: cubes are unmapped after each image.
    assert!(
        resident_kib < 3 << 20,
        "{resident_kib} KiB, more than 3 GiB"
    );
}
