//! `dawn21 simulate`: data bases that are resumed, divided, refused.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dawn21::data::manifest::Manifest;
use dawn21::simulator::database::{DatabaseError, DatabasePlan, Progress, Shard, Silent, Summary};
use dawn21::simulator::history::parse_history;
use dawn21::simulator::parameters::{Astrophysics, Grid, Simulation};
use dawn21::simulator::sampling::{ParameterRange, Sampling, draw};

/// A data base of small boxes.
fn plan(count: usize) -> DatabasePlan {
    let grid = Grid {
        cells: 12,
        cell_mpc: 3.0,
        fine_factor: 2,
    };
    DatabasePlan {
        simulation: Simulation::new(Astrophysics::default(), grid),
        slices: 200,
        y_planes: Some(vec![0, 6]),
        ranges: ParameterRange::PAPER,
        points: draw(Sampling::Uniform, &ParameterRange::PAPER, count, 5),
        shard: Shard::WHOLE,
        initial_density: None,
        threads: 2,
    }
}

fn simulate(plan: &DatabasePlan, directory: &Path) -> Result<Summary, DatabaseError> {
    plan.simulate_into(directory, &Silent, &AtomicBool::new(false))
}

/// Every file of a data directory with its content, sorted by name.
fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for part in ["", "cubes", "history"] {
        for entry in fs::read_dir(directory.join(part)).expect("listing") {
            let path = entry.expect("entry").path();
            if path.is_file() {
                let name = path.strip_prefix(directory).expect("inside");
                files.push((
                    name.display().to_string(),
                    fs::read(&path).expect("readable"),
                ));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn data_directory_is_complete_and_independent_of_threads() {
    let root = tempfile::tempdir().expect("temporary directory");
    let (one, two) = (root.path().join("one"), root.path().join("two"));
    let mut plan = plan(3);
    plan.threads = 1;
    let summary = simulate(&plan, &one).expect("a valid plan");
    assert_eq!((summary.simulated, summary.found), (3, 0));
    plan.threads = 3;
    simulate(&plan, &two).expect("a valid plan");
    assert!(
        contents(&one) == contents(&two),
        "threads changed the bytes"
    );

    let manifest = Manifest::read(&one).expect("a sound manifest");
    assert_eq!(manifest.shape, [12, 2, 200]);
    assert_eq!(manifest.parameters.len(), 4);
    let table = manifest.simulation.expect("the physics is recorded");
    assert_eq!(table["physics"].as_str(), Some("2019"));
    let bytes = fs::read(one.join("cubes/00002.f32")).expect("a cube");
    assert_eq!(bytes.len() as u64, 4 * 12 * 2 * 200);
    let history = fs::read_to_string(one.join("history/00002.csv")).expect("a history");
    assert_eq!(parse_history(&history).expect("sound").len(), 84);
    // Light-cones differ: each has its own parameters and initial conditions.
    let other = fs::read(one.join("cubes/00001.f32")).expect("a cube");
    assert!(bytes != other, "two light-cones are the same");
}

/// Stops the work after some snapshots, as Ctrl-C would.
struct StopAfter<'a> {
    snapshots: AtomicUsize,
    stop: &'a AtomicBool,
}

impl Progress for StopAfter<'_> {
    fn begin(&self, _: usize, _: usize) {}
    fn snapshot(&self, _: usize) {
        if self.snapshots.fetch_add(1, Ordering::Relaxed) > 120 {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
    fn finished(&self, _: &str, _: f64) {}
}

#[test]
fn interrupted_data_base_resumes_to_the_same_bytes() {
    let root = tempfile::tempdir().expect("temporary directory");
    let (whole, resumed) = (root.path().join("whole"), root.path().join("resumed"));
    let mut plan = plan(3);
    plan.threads = 1;
    simulate(&plan, &whole).expect("a valid plan");

    let stop = AtomicBool::new(false);
    let progress = StopAfter {
        snapshots: AtomicUsize::new(0),
        stop: &stop,
    };
    let error = plan
        .simulate_into(&resumed, &progress, &stop)
        .expect_err("it was stopped");
    assert!(
        matches!(error, DatabaseError::Interrupted { done: 1 }),
        "{error}"
    );
    // What a kill in the middle of writing leaves: a truncated cube and a temporary file.
    fs::write(resumed.join("cubes/00000.f32"), b"half").expect("writing");
    fs::write(resumed.join("cubes/00001.f32.99.tmp"), b"half").expect("writing");
    let summary = simulate(&plan, &resumed).expect("it goes on");
    assert_eq!((summary.simulated, summary.found), (3, 0));
    assert!(
        contents(&whole) == contents(&resumed),
        "resuming changed the bytes"
    );
    let summary = simulate(&plan, &resumed).expect("nothing is left to do");
    assert_eq!((summary.simulated, summary.found), (0, 3));
}

#[test]
fn shards_merge_into_the_whole() {
    let root = tempfile::tempdir().expect("temporary directory");
    let whole = root.path().join("whole");
    let mut plan = plan(3);
    simulate(&plan, &whole).expect("a valid plan");
    let merged = root.path().join("merged");
    for part in ["cubes", "history"] {
        fs::create_dir_all(merged.join(part)).expect("directory");
    }
    for index in 0..2 {
        let directory = root.path().join(format!("shard{index}"));
        plan.shard = Shard { index, count: 2 };
        simulate(&plan, &directory).expect("a valid shard");
        for (name, bytes) in contents(&directory) {
            let target = merged.join(&name);
            if target.exists() {
                let present = fs::read(&target).expect("readable");
                assert!(present == bytes, "{name} conflicts");
            }
            fs::write(target, bytes).expect("writing");
        }
    }
    assert!(
        contents(&whole) == contents(&merged),
        "shards differ from the whole"
    );
}

#[test]
fn another_data_base_in_the_directory_is_refused() {
    let root = tempfile::tempdir().expect("temporary directory");
    let small = plan(1);
    simulate(&small, root.path()).expect("a valid plan");
    let mut other = small.clone();
    other.simulation.physics.weak_coupling = true;
    let error = simulate(&other, root.path())
        .expect_err("other physics")
        .to_string();
    assert!(
        error.contains("weak_coupling") || error.contains("physics"),
        "{error}"
    );
    // A choice of which only the directory there tells.
    let elsewhere = tempfile::tempdir().expect("temporary directory");
    let mut there = small.clone();
    there.simulation.physics.weak_coupling = true;
    there.simulation.physics.poisson_haloes = false;
    simulate(&there, elsewhere.path()).expect("a valid plan");
    there.simulation.physics.poisson_haloes = true;
    let error = simulate(&there, elsewhere.path())
        .expect_err("other physics")
        .to_string();
    assert!(error.contains("`poisson_haloes` is false there"), "{error}");
    let mut other = small.clone();
    other.points[0].values[1] = 100.0;
    let error = simulate(&other, root.path())
        .expect_err("other parameters")
        .to_string();
    assert!(error.contains("line 2"), "{error}");
    // More light-cones of the same series are welcome.
    let summary = simulate(&plan(2), root.path()).expect("an extension");
    assert_eq!((summary.simulated, summary.found), (1, 1));
}

fn dawn21(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dawn21"))
        .args(arguments)
        .output()
        .expect("the program runs")
}

/// Runs the command and returns its message, which must be a failure and no panic.
#[track_caller]
fn refused(arguments: &[&str]) -> String {
    let output = dawn21(arguments);
    let text = String::from_utf8_lossy(&output.stderr).to_string();
    assert!(!output.status.success(), "{arguments:?} was accepted");
    assert!(!text.contains("panicked"), "{text}");
    text
}

#[test]
fn wrong_options_are_refused_with_name_and_range() {
    let root = tempfile::tempdir().expect("temporary directory");
    let data = root.path().join("data").display().to_string();
    let table = root.path().join("table.csv");
    fs::write(&table, "log10_tvir,zeta,log10_lx_sfr,e0_kev\n5,30,40,9\n").expect("writing");
    let table = table.display().to_string();
    let short = root.path().join("short.f32");
    fs::write(&short, [0; 8]).expect("writing");
    let short = short.display().to_string();
    for (arguments, needles) in [
        (vec![], vec!["--count"]),
        (vec!["--count", "0"], vec!["count", "at least 1"]),
        (
            vec!["--count", "1", "--zeta", "10", "1e9"],
            vec!["zeta", "10000"],
        ),
        (
            vec!["--count", "1", "--zeta", "30", "20"],
            vec!["--zeta", "MIN below MAX"],
        ),
        (
            vec!["--count", "1", "--omega-m", "1.7"],
            vec!["omega_m", "0.95"],
        ),
        (vec!["--count", "1", "--cells", "3"], vec!["cells", "8"]),
        (
            vec!["--count", "1", "--box-mpc", "100"],
            vec!["--box-mpc", "whole number"],
        ),
        (
            vec!["--count", "1", "--redshift", "6", "50"],
            vec!["--redshift", "35.2"],
        ),
        (
            vec!["--count", "1", "--los-cells", "9000"],
            vec!["9000", "35.2"],
        ),
        (
            vec!["--count", "1", "--planes", "51"],
            vec!["--planes", "50"],
        ),
        (vec!["--count", "1", "--shard", "3/2"], vec!["i/n"]),
        (vec!["--parameters", &table], vec!["00000", "e0_kev"]),
        (vec!["--parameters", "absent.csv"], vec!["absent.csv"]),
        (
            vec!["--count", "1", "--initial-density", &short],
            vec!["13500000", "found 8"],
        ),
    ] {
        let mut all = vec!["simulate", &data, "--quiet"];
        all.extend(&arguments);
        let text = refused(&all);
        for needle in needles {
            assert!(
                text.contains(needle),
                "{arguments:?}: no `{needle}` in: {text}"
            );
        }
        assert!(
            !root.path().join("data").exists(),
            "{arguments:?}: what is refused leaves no directory behind"
        );
    }
}

#[test]
fn the_papers_depth_is_kept_in_cells_of_another_size() {
    let root = tempfile::tempdir().expect("temporary directory");
    let depth = |name: &str, options: &[&str]| {
        let data = root.path().join(name);
        let text = data.display().to_string();
        let box_options = ["--preset", "paper", "--fine-factor", "1", "--planes", "1"];
        let mut arguments = vec!["simulate", &text, "--count", "1"];
        arguments.extend(box_options.iter().chain(options));
        let output = dawn21(&arguments);
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{log}");
        let manifest = Manifest::read(&data).expect("sound");
        (manifest.shape[2], manifest.cell_mpc)
    };
    assert_eq!(depth("own", &["--cells", "16"]), (2200, 1.5));
    let (cells, cell_mpc) = depth("wider", &["--cells", "16", "--box-mpc", "240"]);
    assert!((cell_mpc - 15.0).abs() < 1e-12);
    // Up to redshift 30.
    assert_eq!(cells, 209);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_with_the_light_cones_that_are_complete() {
    let root = tempfile::tempdir().expect("temporary directory");
    let data = root.path().join("data");
    let text = data.display().to_string();
    let child = Command::new(env!("CARGO_BIN_EXE_dawn21"))
        .args(["simulate", &text, "--count", "10000", "--cells", "12"])
        .args(["--fine-factor", "1", "--planes", "1"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    let started = std::time::Instant::now();
    while !data.join("cubes/00000.f32").exists() {
        assert!(started.elapsed().as_secs() < 60, "no light-cone came");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.expect("kill").success());
    let output = child.wait_with_output().expect("the program ends");
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{log}");
    assert!(
        log.contains("stopping: light-cones that are not complete"),
        "{log}"
    );
    assert!(log.contains("the same command goes on from there"), "{log}");
}

#[test]
fn command_runs_on_a_given_initial_density() {
    let root = tempfile::tempdir().expect("temporary directory");
    let density = root.path().join("density.f32");
    let bytes: Vec<u8> = (0..24_usize.pow(3))
        .flat_map(|i| {
            // A long wave that ionises a large region, and ripples.
            let wave = 5.0 * ((i / 576) as f32 * std::f32::consts::TAU / 24.0).cos();
            (wave + 2.0 * (i as f32 * 0.7).sin()).to_le_bytes()
        })
        .collect();
    fs::write(&density, bytes).expect("writing");
    let density = density.display().to_string();
    let table = root.path().join("table.csv");
    fs::write(
        &table,
        "log10_tvir,zeta,log10_lx_sfr,e0_kev\n4.3,60,40,0.5\n",
    )
    .expect("writing");
    let table = table.display().to_string();
    let run = |name: &str, extra: &[&str]| {
        let data = root.path().join(name);
        let text = data.display().to_string();
        let mut arguments = vec![
            "simulate",
            &text,
            "--parameters",
            &table,
            "--cells",
            "12",
            "--fine-factor",
            "2",
            "--planes",
            "all",
            "--redshift",
            "7",
            "12",
            "--initial-density",
            &density,
        ];
        arguments.extend(extra);
        let output = dawn21(&arguments);
        let log = String::from_utf8_lossy(&output.stderr).to_string();
        assert!(output.status.success(), "{log}");
        assert!(output.stdout.is_empty());
        assert!(log.contains("1 light-cones simulated"), "{log}");
        (
            Manifest::read(&data).expect("sound"),
            fs::read(data.join("cubes/00000.f32")).expect("cube"),
        )
    };
    let (manifest, plain) = run("plain", &[]);
    assert_eq!(manifest.shape[..2], [12, 12]);
    assert!((manifest.redshift_range[1] - 12.0).abs() < 0.02);
    // Every switch changes the signal, and is recorded.
    for (switch, key) in [
        ("--zeldovich", "second_order_displacements"),
        ("--nearest-grid-point", "cloud_in_cell"),
        ("--uniform-start", "adiabatic_start"),
        ("--thin-line", "line_optical_depth"),
        ("--weak-coupling", "weak_coupling"),
        ("--final-density", "shell_density"),
        ("--lyman-alpha-heating=on", "lyman_alpha_heating"),
        ("--physics=21cmfast-3.4", "physics"),
        ("--physics=21cmfast-4.1", "physics"),
        ("--critical-contrast=1.7", "critical_density_contrast"),
        ("--mean-haloes", "poisson_haloes"),
        ("--radii-from-cell", "largest_bubble_radius"),
        ("--static-contrast", "growing_contrast"),
        ("--full-optical-depth", "thin_signal"),
        ("--r-mfp-mpc=5", "r_mfp_mpc"),
        ("--alpha-x=1.5", "alpha_x"),
    ] {
        let (other, bytes) = run(switch.trim_start_matches('-'), &[switch]);
        assert!(bytes != plain, "{switch} changes nothing");
        let value = |manifest: &Manifest| {
            let table = manifest.simulation.as_ref().expect("table");
            table.get(key).cloned()
        };
        assert!(value(&other).is_some(), "{switch} is not recorded");
        assert_ne!(value(&other), value(&manifest), "{switch} is not recorded");
    }
}

#[cfg(unix)]
#[test]
fn full_disk_is_a_clear_error_and_leaves_no_cube() {
    let root = tempfile::tempdir().expect("temporary directory");
    let data = root.path().join("data");
    // A limit on the size of files stands in for a full disk: writes fail in the same way.
    let script = format!(
        "trap '' XFSZ; ulimit -f 8; exec '{}' simulate '{}' --count 1 --cells 12 --fine-factor 1 --quiet",
        env!("CARGO_BIN_EXE_dawn21"),
        data.display()
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .output()
        .expect("sh runs");
    let text = String::from_utf8_lossy(&output.stderr).to_string();
    assert!(!output.status.success(), "{text}");
    assert!(
        text.contains("00000") && text.contains("writing failed"),
        "{text}"
    );
    assert_eq!(
        fs::read_dir(data.join("cubes")).expect("listing").count(),
        0
    );
}

#[test]
fn light_cone_figure_is_drawn_and_wrong_files_are_named() {
    let root = tempfile::tempdir().expect("temporary directory");
    simulate(&plan(1), root.path()).expect("a valid plan");
    let cube = root.path().join("cubes/00000.f32").display().to_string();
    let prefix = root.path().join("figure").display().to_string();
    let output = dawn21(&[
        "figures",
        "light-cone",
        &cube,
        "--plane",
        "6",
        "--out",
        &prefix,
    ]);
    assert!(output.status.success());
    let png = fs::read(format!("{prefix}.png")).expect("a PNG");
    assert_eq!(png[..4], *b"\x89PNG");
    let svg = fs::read_to_string(format!("{prefix}.svg")).expect("an SVG");
    for text in ["redshift", "frequency [MHz]", "[mK]", "mean "] {
        assert!(svg.contains(text), "no `{text}` in the figure");
    }
    let text = refused(&["figures", "light-cone", &cube, "--plane", "5"]);
    assert!(text.contains("[0, 6]"), "{text}");
    let mut bytes = fs::read(&cube).expect("cube");
    bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&cube, bytes).expect("writing");
    let text = refused(&["figures", "light-cone", &cube]);
    assert!(text.contains("cell [0, 0, 0] is NaN"), "{text}");
    fs::write(&cube, b"short").expect("writing");
    let text = refused(&["figures", "light-cone", &cube]);
    assert!(
        text.contains("00000.f32") && text.contains("truncated, 5 bytes"),
        "{text}"
    );
}
