//! The simulator against fields, histories and spectra of 21cmFAST 3.4.0 with the same initial conditions
//! (`fixtures/21cmfast`).

mod common;

use std::fs;

use common::reference_fields::{correlation, field, fixture, mean};
use dawn21::simulator::cosmology::{Background, GILLET_2019};
use dawn21::simulator::execution::Execution;
use dawn21::simulator::history::HistoryRow;
use dawn21::simulator::initial_conditions::InitialConditions;
use dawn21::simulator::light_cone::LightConeShape;
use dawn21::simulator::parameters::{Astrophysics, Grid, Physics, Simulation};
use dawn21::simulator::perturbation::Perturbation;
use dawn21::simulator::run::{InitialDensity, StageTimes, Universe, simulate};

const GRID: Grid = Grid {
    cells: 50,
    cell_mpc: 3.0,
    fine_factor: 3,
};
const REDSHIFTS: [&str; 5] = ["19.802", "15.081", "10.038", "8.055", "7.041"];

fn initial_conditions() -> InitialConditions {
    InitialConditions::from_density(
        &GRID,
        field("A_default/ic_hires_density.f32"),
        true,
        Execution::Serial,
    )
    .expect("150^3 cells")
}

#[test]
fn displacements_match() {
    let conditions = initial_conditions();
    let first = field("A_default/ic_lowres_vx.f32");
    let second = field("A_default/ic_lowres_vz_2LPT.f32");
    let found = conditions
        .second_displacement
        .as_ref()
        .expect("second order");
    for (name, expected, found) in [
        ("first order", first, &conditions.displacement[0]),
        ("second order", second, &found[2]),
    ] {
        let r = correlation(&expected, found);
        let rms = |values: &[f32]| mean(&values.iter().map(|v| v * v).collect::<Vec<_>>()).sqrt();
        // Ours are in cells of 3 Mpc.
        let ratio = rms(found) * 3.0 / rms(&expected);
        println!("{name} displacement: correlation {r:.7}, amplitude ratio {ratio:.6}");
        assert!(r > 0.999_99, "{name}: {r}");
        assert!((ratio - 1.0).abs() < 1e-3, "{name}: {ratio}");
    }
}

#[test]
fn evolved_density_correlates_above_0_9999() {
    let conditions = initial_conditions();
    let background = Background::new(&GILLET_2019);
    let perturbation = Perturbation::new(
        &conditions,
        &GRID,
        &background,
        &Physics::default(),
        Execution::Serial,
    );
    for z in REDSHIFTS {
        let expected = field(&format!("B_noLyaCMBheat/density_z{z}.f32"));
        let mut density = vec![0.0; expected.len()];
        let redshift = snapshot(z);
        perturbation.density(background.growth(redshift), &mut density);
        let r = correlation(&expected, &density);
        let rms = |values: &[f32]| mean(&values.iter().map(|v| v * v).collect::<Vec<_>>()).sqrt();
        let ratio = rms(&density) / rms(&expected);
        println!("z {z}: density correlation {r:.7}, rms ratio {ratio:.6}");
        assert!(r > 0.9999, "z {z}: {r}");
        assert!((ratio - 1.0).abs() < 5e-3, "z {z}: {ratio}");
    }
}

/// The redshift of a snapshot from its name with three decimals.
fn snapshot(name: &str) -> f64 {
    let approximate: f64 = name.parse().expect("a redshift");
    let step = ((1.0 + approximate) / 7.0).ln() / 1.02_f64.ln();
    7.0 * 1.02_f64.powf(step.round()) - 1.0
}

/// Fields of one of our snapshots.
struct Fields {
    redshift: &'static str,
    density: Vec<f32>,
    temperature: Vec<f32>,
    electrons: Vec<f32>,
    spin: Vec<f32>,
    neutral: Vec<f32>,
    signal: Vec<f32>,
}

/// What a simulation of the reference's box gave.
struct Run {
    history: Vec<HistoryRow>,
    fields: Vec<Fields>,
    times: StageTimes,
}

fn run(astrophysics: Astrophysics, physics: Physics) -> Run {
    let mut simulation = Simulation::new(astrophysics, GRID);
    simulation.physics = physics;
    let universe = Universe::new(&GILLET_2019);
    let initial = InitialDensity::Given(field("A_default/ic_hires_density.f32"));
    let shape = LightConeShape {
        slices: 100,
        y_planes: vec![0],
    };
    let mut fields = Vec::new();
    let cone = simulate(
        &universe,
        &simulation,
        initial,
        1000,
        &shape,
        Execution::Serial,
        &mut |snapshot| {
            let z = snapshot.means.redshift;
            if let Some(redshift) = REDSHIFTS
                .into_iter()
                .find(|name| (crate::snapshot(name) - z).abs() < 1e-6)
            {
                fields.push(Fields {
                    redshift,
                    density: snapshot.density.to_vec(),
                    temperature: snapshot.gas.temperature_k.clone(),
                    electrons: snapshot.gas.electron_fraction.clone(),
                    spin: snapshot.gas.spin_temperature_k.clone(),
                    neutral: snapshot.neutral_fraction.to_vec(),
                    signal: snapshot.brightness_temperature_mk.to_vec(),
                });
            }
            true
        },
    )
    .expect("a valid simulation");
    assert_eq!(fields.len(), REDSHIFTS.len());
    Run {
        history: cone.history,
        fields,
        times: cone.times,
    }
}

/// Columns of a folder's `globals.csv`: z, T_b, x_HI, T_S, T_K, x_e.
fn reference_history(folder: &str) -> Vec<Vec<f64>> {
    let text = fs::read_to_string(fixture(&format!("{folder}/globals.csv"))).expect("history");
    text.lines()
        .skip(1)
        .map(|line| {
            line.split(',')
                .map(|f| f.parse().expect("a number"))
                .collect()
        })
        .collect()
}

/// Largest differences of the global history: T_b in mK, x_HI, T_S, T_K and x_e relative.
fn compare_history(folder: &str, run: &Run) -> [f64; 5] {
    let reference = reference_history(folder);
    assert_eq!(reference.len(), run.history.len());
    let mut largest = [0.0_f64; 5];
    let mut at = [0.0_f64; 5];
    for (expected, found) in reference.iter().zip(&run.history) {
        assert!((expected[0] - found.redshift).abs() < 1e-4);
        let differences = [
            found.brightness_temperature_mk - expected[1],
            found.neutral_fraction - expected[2],
            found.spin_temperature_k / expected[3] - 1.0,
            found.gas_temperature_k / expected[4] - 1.0,
            found.electron_fraction / expected[5] - 1.0,
        ];
        for i in 0..5 {
            if differences[i].abs() > largest[i] {
                largest[i] = differences[i].abs();
                at[i] = found.redshift;
            }
        }
    }
    println!(
        "{folder}: largest |dT_b| {:.4} mK (z {:.1}), |dx_HI| {:.2e} (z {:.1}), T_S {:.2e} (z {:.1}), T_K {:.2e} (z {:.1}), x_e {:.2e} (z {:.1})",
        largest[0],
        at[0],
        largest[1],
        at[1],
        largest[2],
        at[2],
        largest[3],
        at[3],
        largest[4],
        at[4]
    );
    largest
}

/// Dimensionless power spectrum in bins of k as those of `ps_coeval.csv`: ratio to the reference's box,
/// computed in the same way for both: `(k, ours / theirs)`.
fn power_ratios(ours: &[f32], theirs: &[f32]) -> Vec<(f64, f64)> {
    use dawn21::simulator::fourier::Fourier;
    const BINS: usize = 12;
    let fourier = Fourier::new(GRID.cells, Execution::Serial);
    let spectrum = |field: &[f32]| {
        let (mut scratch, mut spectrum) = (fourier.zeros(), fourier.zeros());
        fourier.forward(field, &mut scratch, &mut spectrum);
        fourier.binned_power(&spectrum, GRID.box_mpc(), BINS)
    };
    spectrum(ours)
        .iter()
        .zip(&spectrum(theirs))
        .map(|(a, b)| (a.0, a.1 / b.1))
        .collect()
}

fn check_point(folder: &str, astrophysics: Astrophysics, heating: bool) {
    let physics = if heating {
        Physics::version_3_4()
    } else {
        Physics::gillet_2019()
    };
    let run = run(astrophysics, physics);
    for (stage, time) in run.times.stages() {
        println!("{folder}: {stage} {:.3} s", time.as_secs_f64());
    }
    let [tb, neutral, ..] = compare_history(folder, &run);
    for fields in &run.fields {
        let z = fields.redshift;
        let read = |name: &str| {
            let name = format!("{folder}/{name}_z{z}.f32");
            fixture(&name).exists().then(|| field(&name))
        };
        for (name, ours) in [
            ("density", &fields.density),
            ("Tk", &fields.temperature),
            ("xe", &fields.electrons),
            ("Ts", &fields.spin),
            ("xH", &fields.neutral),
            ("Tb", &fields.signal),
        ] {
            let Some(theirs) = read(name) else { continue };
            let r = correlation(ours, &theirs);
            println!(
                "{folder} z {z} {name}: correlation {r:.6}, mean ratio {:.6}",
                mean(ours) / mean(&theirs)
            );
            if ["Tk", "xe", "Ts"].contains(&name) {
                assert!(r > 0.9995, "{folder} z {z} {name}: correlation {r}");
            }
            if name == "Tb" {
                let ratios = power_ratios(ours, &theirs);
                let text: Vec<String> = ratios
                    .iter()
                    .map(|(k, ratio)| format!("{k:.2}:{:+.1}%", 100.0 * (ratio - 1.0)))
                    .collect();
                println!("{folder} z {z} power: {}", text.join(" "));
                let tolerance = if z == "19.802" { 0.05 } else { 0.03 };
                for (k, ratio) in ratios {
                    assert!(
                        k > 0.5 || (ratio - 1.0).abs() < tolerance,
                        "{folder} z {z}: power at k = {k:.3}/Mpc differs by a factor {ratio:.4}"
                    );
                }
            }
        }
    }
    assert!(tb < 0.3, "{folder}: global T_b differs by {tb} mK");
    assert!(neutral < 1e-3, "{folder}: global x_HI differs by {neutral}");
}

#[test]
fn point_b_matches() {
    check_point("B_noLyaCMBheat", Astrophysics::default(), false);
}

#[test]
fn point_d_matches() {
    let astrophysics = Astrophysics {
        zeta: 200.0,
        log10_tvir: 5.477,
        ..Astrophysics::default()
    };
    check_point("D_bright_noheat", astrophysics, false);
}

#[test]
fn point_a_matches() {
    check_point("A_default", Astrophysics::default(), true);
}

#[test]
fn light_cone_has_the_same_bytes_for_any_number_of_threads() {
    let grid = Grid {
        cells: 16,
        cell_mpc: 3.0,
        fine_factor: 2,
    };
    let simulation = Simulation::new(Astrophysics::default(), grid);
    let universe = Universe::new(&GILLET_2019);
    let shape = LightConeShape {
        slices: 300,
        y_planes: vec![0, 7],
    };
    let run = |execution| {
        let initial = InitialDensity::Drawn;
        simulate(
            &universe,
            &simulation,
            initial,
            4,
            &shape,
            execution,
            &mut |_| true,
        )
        .expect("a valid simulation")
    };
    let serial = run(Execution::Serial);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .expect("threads");
    let parallel = pool.install(|| run(Execution::Parallel));
    assert_eq!(serial.history, parallel.history);
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert!(
        bits(&serial.brightness_temperature_mk) == bits(&parallel.brightness_temperature_mk),
        "threads changed the light-cone"
    );
}

/// Prints by how much each switch changes the signal at point B (`docs/simulator.md`).
#[test]
#[ignore = "prints a table: cargo test --release --test simulator_accuracy switch_sizes -- --ignored --nocapture"]
fn switch_sizes() {
    use dawn21::simulator::parameters::ShellDensity;
    let base = Physics::gillet_2019();
    let reference = run(Astrophysics::default(), base.clone());
    let with = |change: fn(&mut Physics)| {
        let mut physics = base.clone();
        change(&mut physics);
        physics
    };
    for (name, physics) in [
        ("heating of 3.4", with(|p| p.lyman_alpha_heating = true)),
        ("Zel'dovich", with(|p| p.second_order_displacements = false)),
        ("nearest grid point", with(|p| p.cloud_in_cell = false)),
        ("uniform start", with(|p| p.adiabatic_start = false)),
        ("thin line", with(|p| p.line_optical_depth = false)),
        ("weak coupling", with(|p| p.weak_coupling = true)),
        (
            "final density",
            with(|p| p.shell_density = ShellDensity::Final),
        ),
        (
            "critical contrast 1.686",
            with(|p| p.critical_density_contrast = 1.686),
        ),
        ("mean haloes", with(|p| p.poisson_haloes = false)),
        ("radii from cell", with(|p| p.largest_bubble_radius = false)),
        ("static contrast", with(|p| p.growing_contrast = false)),
        ("full optical depth", with(|p| p.thin_signal = false)),
        ("21cmfast-4.1", with(|p| *p = Physics::version_4_1())),
    ] {
        let other = run(Astrophysics::default(), physics);
        let (mut largest, mut at, mut neutral) = (0.0_f64, 0.0, 0.0_f64);
        for (a, b) in reference.history.iter().zip(&other.history) {
            let difference = b.brightness_temperature_mk - a.brightness_temperature_mk;
            if difference.abs() > largest.abs() {
                (largest, at) = (difference, a.redshift);
            }
            neutral = neutral.max((b.neutral_fraction - a.neutral_fraction).abs());
        }
        let power: Vec<String> = reference
            .fields
            .iter()
            .zip(&other.fields)
            .map(|(a, b)| {
                let worst = power_ratios(&b.signal, &a.signal)
                    .into_iter()
                    .filter(|(k, _)| *k < 0.5)
                    .map(|(_, ratio)| ratio - 1.0)
                    .fold(
                        0.0,
                        |worst: f64, r| if r.abs() > worst.abs() { r } else { worst },
                    );
                format!("z {} {:+.1} %", a.redshift, 100.0 * worst)
            })
            .collect();
        println!(
            "| {name} | {largest:+.2} mK (z {at:.1}) | {neutral:.1e} | {} |",
            power.join(", ")
        );
    }
}
