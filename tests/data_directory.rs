//! Data directories: every fault is named by `info` and by `train`, with exit code 1.

mod common;

use std::fs;
use std::path::Path;

use common::{
    fail, real_light_cones, small_manifest, succeed, text, train_arguments, write_small_data,
};
use dawn21::data::batches::{ImageIndex, batch_ranges, shuffled};
use dawn21::data::dataset::Dataset;
use dawn21::data::manifest::{Cosmology, GILLET_2019, Manifest};
use dawn21::data::slices::{SliceConfig, Slicing};
use dawn21::data::split::{Part, Split, SplitConfig};
use dawn21::training::config::{Config, ConfigSources};
use tempfile::TempDir;

fn small_data() -> TempDir {
    let directory = tempfile::tempdir().expect("temporary directory");
    write_small_data(directory.path(), &small_manifest(), 20);
    directory
}

/// Breaks a sound data directory and expects the fault to be named by both commands.
fn broken(damage: impl FnOnce(&Path), named: &[&str]) {
    let data = small_data();
    damage(data.path());
    fail(&["info", text(data.path())], named);
    let run = data.path().join("run");
    fail(&train_arguments(data.path(), &run, &[]), named);
    assert!(!run.exists(), "a run was begun with broken data");
}

/// Replaces text in a file, which must be there.
fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("file");
    assert!(text.contains(from), "{from} is not in {text}");
    fs::write(path, text.replacen(from, to, 1)).expect("file");
}

#[test]
fn real_light_cones_are_sound() {
    let output = succeed(&["info", text(&real_light_cones()), "--deep"]);
    assert!(
        output.contains("20 light-cones of 25 x 25 x 524 cells of 6 Mpc"),
        "{output}"
    );
    assert!(output.contains("every cell is finite"), "{output}");
}

#[test]
fn missing_truncated_and_oversized_cubes_are_named() {
    broken(
        |d| fs::remove_file(d.join("cubes/003.f32")).expect("cube"),
        &["cubes/003.f32: missing"],
    );
    let resize = |d: &Path, bytes: usize| {
        fs::write(d.join("cubes/004.f32"), vec![0_u8; bytes]).expect("cube");
    };
    broken(
        |d| resize(d, 7676),
        &["004.f32: truncated, 7676 bytes instead of 7680"],
    );
    broken(
        |d| resize(d, 7684),
        &["004.f32: oversized, 7684 bytes instead of 7680"],
    );
    broken(|d| resize(d, 0), &["004.f32: truncated, 0 bytes"]);
}

#[test]
fn every_fault_is_listed_not_only_the_first() {
    broken(
        |d| {
            fs::remove_file(d.join("cubes/001.f32")).expect("cube");
            fs::remove_file(d.join("cubes/002.f32")).expect("cube");
        },
        &["001.f32: missing", "002.f32: missing"],
    );
}

#[test]
fn faults_of_the_table_are_named() {
    let table = |from: &'static str, to: &'static str| {
        move |d: &Path| edit(&d.join("parameters.csv"), from, to)
    };
    broken(
        table("id,level,period", "id,level,zeta"),
        &["unknown column `zeta`", "column `period` is missing"],
    );
    broken(
        table("id,level,period", "name,level,period"),
        &["unknown column `name`", "`id` is missing"],
    );
    broken(
        table("id,level,period", "id,level,level"),
        &["`level` appears twice", "`period` is missing"],
    );
    broken(
        table("\n003,", "\n002,"),
        &["line 5: id `002` was used before"],
    );
    broken(
        table("\n003,", "\n../003,"),
        &["line 5: id `../003`: expected letters"],
    );
    broken(
        table("0.025", "1.025"),
        &["light-cone `000` has `level` = 1.025, outside [0, 1]"],
    );
    // The cube of a line with a fault belongs to the table; so do all, where its header cannot be read.
    for (from, to, faults) in [
        ("0.025", "1.025", "1 faults"),
        ("id,level,period", "id,level,periods", "2 faults"),
    ] {
        let data = small_data();
        edit(&data.path().join("parameters.csv"), from, to);
        fail(&["info", text(data.path())], &[faults]);
    }
    broken(
        table("0.025", "NaN"),
        &["line 2: `level` is `NaN`, expected a finite number"],
    );
    broken(table("0.025", "much"), &["line 2: `level` is `much`"]);
    broken(table("0.025,", ""), &["parameters.csv", "line: 2"]);
    broken(
        |d| fs::write(d.join("parameters.csv"), "id,level,period\n").expect("table"),
        &["no light-cones"],
    );
    broken(
        |d| fs::remove_file(d.join("parameters.csv")).expect("table"),
        &["parameters.csv: reading failed"],
    );
}

#[test]
fn faults_of_the_manifest_are_named() {
    let manifest = |from: &'static str, to: &'static str| {
        move |d: &Path| edit(&d.join("dataset.toml"), from, to)
    };
    broken(
        manifest("dawn21-light-cones", "npy"),
        &["field `format`: expected dawn21-light-cones, found npy"],
    );
    broken(
        manifest("version = 1", "version = 2"),
        &["field `version`", "found 2"],
    );
    broken(
        manifest("shape = [8, 6, 40]", "shape = [8, 0, 40]"),
        &["field `shape`", "[8, 0, 40]"],
    );
    broken(
        manifest("shape = [8, 6, 40]", "shape = [8, 6]"),
        &["dataset.toml", "shape"],
    );
    broken(
        manifest("cell_mpc = 10.0", "cell_mpc = -1.0"),
        &["field `cell_mpc`", "-1"],
    );
    broken(
        manifest("cell_mpc = 10.0", "cell_size = 10.0"),
        &["unknown field `cell_size`"],
    );
    broken(
        manifest(
            "redshift_range = [6.0, 12.0]",
            "redshift_range = [12.0, 6.0]",
        ),
        &["redshift_range"],
    );
    broken(
        manifest("min = 0.0", "min = 2.0"),
        &["(`level`)", "finite min < max", "min = 2, max = 1"],
    );
    broken(
        manifest("name = \"period\"", "name = \"level\""),
        &["`level` again"],
    );
    broken(
        |d| fs::remove_file(d.join("dataset.toml")).expect("manifest"),
        &["dataset.toml: reading failed"],
    );
}

#[test]
fn a_wrong_path_is_named() {
    fail(
        &["info", "no/such/data"],
        &["no/such/data/dataset.toml: reading failed"],
    );
    fail(
        &["train", "no/such/data"],
        &["no/such/data/dataset.toml: reading failed"],
    );
}

#[test]
fn the_fingerprint_tells_cosmologies_apart() {
    let fingerprint = |cosmology: Option<Cosmology>| {
        let directory = tempfile::tempdir().expect("temporary directory");
        let manifest = Manifest {
            cosmology,
            ..small_manifest()
        };
        write_small_data(directory.path(), &manifest, 3);
        let dataset = Dataset::open(directory.path()).expect("sound");
        dataset.fingerprint()
    };
    let unnamed = fingerprint(None);
    assert_eq!(fingerprint(Some(GILLET_2019)), unnamed);
    let other = Cosmology {
        sigma_8: 0.7,
        ..GILLET_2019
    };
    assert_ne!(fingerprint(Some(other.clone())), unnamed);
    // Runs remember it, that of simulated light-cones too.
    let directory = tempfile::tempdir().expect("temporary directory");
    let simulation = "physics = '2019'\nfine_factor = 3\nalpha_x = 1.5\nthin = true\nheights = [1, 2]\n[more]\nb = 'c'";
    let manifest = Manifest {
        cosmology: Some(other),
        simulation: Some(simulation.parse().expect("a table")),
        ..small_manifest()
    };
    write_small_data(directory.path(), &manifest, 3);
    let simulated = Dataset::open(directory.path()).expect("sound");
    assert_eq!(simulated.fingerprint(), "b909155adc1c155e3a8b3f40288203af");
    let real = Dataset::open(&real_light_cones()).expect("sound");
    assert_eq!(real.fingerprint(), "a860de75a58af664efd1be701a45b8ec");
}

#[test]
fn the_documented_manifest_is_sound() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/data-directory.md")).expect("document");
    let manifest = document.split("```toml\n").nth(1).expect("an example");
    let manifest = manifest.split("```").next().expect("its end");
    let data = tempfile::tempdir().expect("temporary directory");
    fs::create_dir(data.path().join("cubes")).expect("directory");
    fs::write(data.path().join("dataset.toml"), manifest).expect("manifest");
    let table = "id,log10_tvir,zeta,log10_lx_sfr,e0_kev,seed\n0,5.0,30.0,40.0,0.5,1\n";
    fs::write(data.path().join("parameters.csv"), table).expect("table");
    let message = fail(&["info", text(data.path())], &["0.f32: missing"]);
    assert!(message.contains("1 faults"), "{message}");
}

#[test]
fn extra_cubes_are_named_by_info() {
    let data = small_data();
    fs::write(data.path().join("cubes/stray.f32"), [0; 7680]).expect("cube");
    fs::write(data.path().join("cubes/099.f32.17.tmp"), [0; 5]).expect("a cube being written");
    let message = fail(
        &["info", text(data.path())],
        &["stray.f32: not named in parameters.csv"],
    );
    assert!(message.contains("1 faults"), "{message}");
}

#[test]
fn non_finite_cells_are_named_with_their_index() {
    let data = small_data();
    let path = data.path().join("cubes/005.f32");
    let mut cells = vec![0.0_f32; 8 * 6 * 40];
    bytemuck::cast_slice_mut(&mut cells).copy_from_slice(&fs::read(&path).expect("cube"));
    // [x, y, z] = [2, 0, 7] is in the first plane, which training reads; [3, 1, 0] is in no image.
    cells[(2 * 6) * 40 + 7] = f32::NAN;
    cells[(3 * 6 + 1) * 40] = f32::NEG_INFINITY;
    fs::write(&path, bytemuck::cast_slice(&cells)).expect("cube");

    succeed(&["info", text(data.path())]);
    let named = "005.f32: cell [2, 0, 7] is NaN";
    fail(
        &["info", text(data.path()), "--deep"],
        &[named, "(and 1 other cell)"],
    );
    let run = data.path().join("run");
    fail(
        &train_arguments(data.path(), &run, &[]),
        &[named, "must be finite"],
    );
}

#[test]
fn slices_are_those_of_figure_2() {
    let mut manifest = small_manifest();
    let planes = |slicing: &Slicing| -> Vec<(usize, usize)> {
        slicing
            .images()
            .iter()
            .map(|s| (s.box_plane, s.first_row))
            .collect()
    };
    manifest.shape = [200, 200, 2200];
    manifest.cell_mpc = 1.5;
    let paper = Slicing::new(&manifest, &SliceConfig::default()).expect("the paper's box");
    assert_eq!((paper.rows(), paper.columns()), (100, 2200));
    let expected: Vec<_> = [0, 40, 80, 120, 160]
        .iter()
        .flat_map(|&y| [(y, 0), (y, 100)])
        .collect();
    assert_eq!(planes(&paper), expected);
    let both = paper.both_directions(&manifest).expect("whole cubes");
    assert_eq!(planes(&both), [&expected[..], &expected[..]].concat());
    let transposed: Vec<bool> = both.images().iter().map(|s| s.transposed).collect();
    assert_eq!(transposed, [[false; 10], [true; 10]].concat());
    let last = both.images()[19];
    assert_eq!(last.to_string(), "plane x = 160, y from 100");
    manifest.shape = [200, 210, 2200];
    let error = paper.both_directions(&manifest).expect_err("no square sky");
    assert!(error.to_string().contains("200 x 210 cells"), "{error}");

    manifest.shape = [200, 5, 2200];
    manifest.y_planes = Some(vec![0, 40, 80, 120, 160]);
    let stored = Slicing::new(&manifest, &SliceConfig::default()).expect("stored planes");
    assert_eq!(planes(&stored), expected);
    assert_eq!(stored.images()[9].stored_plane, 4);
    let config = SliceConfig {
        count: Some(3),
        separation_mpc: 75.0,
        halves: None,
    };
    let error = Slicing::new(&manifest, &config)
        .expect_err("plane 50 is not stored")
        .to_string();
    assert!(
        error.contains("plane y = 50") && error.contains("[0, 40, 80, 120, 160]"),
        "{error}"
    );

    // Of whole cubes as many as fit.
    manifest.shape = [50, 50, 1042];
    manifest.cell_mpc = 3.0;
    manifest.y_planes = None;
    let close = SliceConfig {
        separation_mpc: 15.0,
        ..SliceConfig::default()
    };
    let close = Slicing::new(&manifest, &close).expect("a 150 Mpc box");
    let expected: Vec<_> = (0..10).map(|i| (5 * i, 0)).collect();
    assert_eq!(planes(&close), expected);

    manifest.shape = [25, 25, 524];
    manifest.cell_mpc = 6.0;
    manifest.y_planes = None;
    let half = Slicing::new(&manifest, &SliceConfig::default()).expect("a 150 Mpc box");
    assert_eq!(planes(&half), [(0, 0), (10, 0)]);
    let config = SliceConfig {
        count: Some(3),
        ..SliceConfig::default()
    };
    let error = Slicing::new(&manifest, &config)
        .expect_err("too many planes")
        .to_string();
    assert!(
        error.contains("slices.count = 3: expected 1 to 2 planes"),
        "{error}"
    );
}

#[test]
fn every_preset_takes_what_the_simulator_stores() {
    let whole = Manifest {
        shape: [50, 50, 1042],
        cell_mpc: 3.0,
        ..small_manifest()
    };
    let planes = Manifest {
        shape: [50, 5, 1042],
        y_planes: Some(vec![0, 10, 20, 30, 40]),
        ..whole.clone()
    };
    for (preset, of_whole) in [("gillet2019", 2), ("few_light_cones", 10), ("deep", 10)] {
        let config = Config::load(&ConfigSources {
            preset: Some(preset),
            ..ConfigSources::default()
        });
        let config = config.expect("a preset").slices;
        let images = [&planes, &whole].map(|manifest| {
            let slicing = Slicing::new(manifest, &config);
            slicing.expect(preset).images().len()
        });
        assert_eq!(images, [5, of_whole], "{preset}");
    }
}

#[test]
fn split_is_by_light_cone_seeded_and_complete() {
    let config = SplitConfig::default();
    let split = Split::new(100, &config).expect("enough light-cones");
    let parts = [Part::Train, Part::Validation, Part::Test].map(|part| split.light_cones(part));
    assert_eq!(parts.each_ref().map(Vec::len), [80, 10, 10]);
    let mut all = parts.concat();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    assert_eq!(split, Split::new(100, &config).expect("again"));
    assert_ne!(
        split,
        Split::new(
            100,
            &SplitConfig {
                seed: 1,
                ..config.clone()
            }
        )
        .expect("other seed")
    );
    let error = Split::new(3, &config).expect_err("too few").to_string();
    assert!(
        error.contains("3 light-cones") && error.contains("split.validation"),
        "{error}"
    );
}

#[test]
fn order_is_a_permutation_that_depends_on_seed_and_epoch_only() {
    let images: Vec<ImageIndex> = (0..50)
        .map(|i| ImageIndex {
            light_cone: i,
            image: i % 3,
        })
        .collect();
    let order = shuffled(&images, 1, 2);
    assert_eq!(order, shuffled(&images, 1, 2));
    assert_ne!(order, shuffled(&images, 1, 3));
    assert_ne!(order, shuffled(&images, 2, 2));
    let mut sorted = order;
    sorted.sort_by_key(|i| i.light_cone);
    assert_eq!(sorted, images);
}

#[test]
fn a_single_last_image_joins_the_batch_before() {
    assert_eq!(batch_ranges(10, 4), [0..4, 4..8, 8..10]);
    assert_eq!(batch_ranges(9, 4), [0..4, 4..9]);
    assert_eq!(batch_ranges(3, 4).first(), Some(&(0..3)));
    assert_eq!(batch_ranges(2, 1), [0..1, 1..2]);
    assert!(batch_ranges(0, 4).is_empty());
}
