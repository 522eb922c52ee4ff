//! The physics `21cmfast-4.1` against light-cones and histories of 21cmFAST 4.1.1 with the same initial conditions
//! (`fixtures/21cmfast`).

mod common;

use std::fs;

use common::reference_fields::{correlation, field, fixture, mean};
use dawn21::simulator::cosmology::GILLET_2019;
use dawn21::simulator::execution::Execution;
use dawn21::simulator::light_cone::LightConeShape;
use dawn21::simulator::parameters::{Astrophysics, Grid, Physics, Simulation};
use dawn21::simulator::run::{InitialDensity, SimulatedLightCone, Universe, simulate};

const CELLS: usize = 50;
const PLANES: [usize; 5] = [0, 10, 20, 30, 40];

/// Planes of constant y of a light-cone, layout `[x][plane][slice]`.
struct Planes {
    slices: usize,
    values: Vec<f32>,
}

impl Planes {
    fn read(folder: &str) -> Self {
        let values = field(&format!("{folder}/light_cone_planes_mk.f32"));
        Self {
            slices: values.len() / (CELLS * PLANES.len()),
            values,
        }
    }

    /// All cells of slices `range`.
    fn stretch(&self, range: std::ops::Range<usize>) -> Vec<f32> {
        self.values
            .chunks_exact(self.slices)
            .flat_map(|line| line[range.clone()].iter().copied())
            .collect()
    }
}

fn simulated(astrophysics: Astrophysics, physics: Physics, slices: usize) -> SimulatedLightCone {
    let grid = Grid {
        cells: CELLS,
        cell_mpc: 3.0,
        fine_factor: 3,
    };
    let mut simulation = Simulation::new(astrophysics, grid);
    simulation.physics = physics;
    let shape = LightConeShape {
        slices,
        y_planes: PLANES.to_vec(),
    };
    simulate(
        &Universe::new(&GILLET_2019),
        &simulation,
        InitialDensity::Given(field("A_default/ic_hires_density.f32")),
        1000,
        &shape,
        Execution::Serial,
        &mut |_| true,
    )
    .expect("a valid simulation")
}

/// Largest differences of the history: x_HI, and T_S, T_K and x_e relative.
fn compare_history(folder: &str, cone: &SimulatedLightCone) -> [f64; 4] {
    let text = fs::read_to_string(fixture(&format!("{folder}/globals.csv"))).expect("history");
    let reference: Vec<Vec<f64>> = text
        .lines()
        .skip(1)
        .map(|line| {
            line.split(',')
                .map(|number| number.parse().expect("a number"))
                .collect()
        })
        .collect();
    let mut largest = [0.0_f64; 4];
    assert_eq!(reference.len(), cone.history.len());
    for (expected, found) in reference.iter().zip(&cone.history) {
        assert!((expected[0] - found.redshift).abs() < 1e-4);
        let differences = [
            found.neutral_fraction - expected[1],
            found.spin_temperature_k / expected[2] - 1.0,
            found.gas_temperature_k / expected[3] - 1.0,
            found.electron_fraction / expected[4] - 1.0,
        ];
        for (largest, difference) in largest.iter_mut().zip(differences) {
            *largest = largest.max(difference.abs());
        }
    }
    largest
}

/// Largest difference in mK of the mean of 50 slices, and smallest correlation over 50 slices.
fn compare_planes(name: &str, ours: &Planes, theirs: &Planes) -> (f64, f64) {
    let (mut mean_mk, mut smallest) = (0.0_f64, 1.0_f64);
    for start in (0..theirs.slices - CELLS).step_by(CELLS) {
        let range = start..start + CELLS;
        let (a, b) = (ours.stretch(range.clone()), theirs.stretch(range));
        let rms = |values: &[f32]| {
            let middle = mean(values);
            let squares: f64 = values
                .iter()
                .map(|v| (f64::from(*v) - middle).powi(2))
                .sum();
            (squares / values.len() as f64).sqrt()
        };
        let r = correlation(&a, &b);
        println!(
            "{name} slices {start}..: mean {:.3} and {:.3} mK, rms {:.3} and {:.3} mK, correlation {r:.5}",
            mean(&a),
            mean(&b),
            rms(&a),
            rms(&b)
        );
        mean_mk = mean_mk.max((mean(&a) - mean(&b)).abs());
        smallest = smallest.min(r);
    }
    println!("{name}: means within {mean_mk:.3} mK, correlations from {smallest:.5}");
    (mean_mk, smallest)
}

/// The tolerances leave room for physical constants that are not repeated: 21cmFAST 4.1 has a helium fraction of 0.24
/// and a CMB of 2.7255 K.
fn check_point(folder: &str, astrophysics: &Astrophysics) {
    let theirs = Planes::read(folder);
    let run = |physics: Physics| {
        let cone = simulated(astrophysics.clone(), physics, theirs.slices);
        let history = compare_history(folder, &cone);
        println!("{folder}: history {history:?}");
        let ours = Planes {
            slices: theirs.slices,
            values: cone.brightness_temperature_mk,
        };
        (history, compare_planes(folder, &ours, &theirs))
    };
    let ([neutral, gas @ ..], (mean_mk, smallest)) = run(Physics::version_4_1());
    assert!(neutral < 3e-3, "{folder}: global x_HI differs by {neutral}");
    for relative in gas {
        assert!(
            relative < 0.025,
            "{folder}: a mean of the gas differs by {relative}"
        );
    }
    assert!(mean_mk < 0.8, "{folder}: mean T_b differs by {mean_mk} mK");
    assert!(smallest > 0.99, "{folder}: correlation {smallest}");
    // The differences from the physics of 2019 are those of the versions.
    let ([older_neutral, ..], (older_mean_mk, older_smallest)) = run(Physics::gillet_2019());
    assert!(older_neutral > 0.015 && older_mean_mk > 4.0 && older_smallest < 0.95);
}

#[test]
fn point_e_matches() {
    check_point("E_version_4.1", &Astrophysics::default());
}

#[test]
fn point_f_matches() {
    let astrophysics = Astrophysics {
        zeta: 200.0,
        log10_tvir: 5.477,
        ..Astrophysics::default()
    };
    check_point("F_bright_version_4.1", &astrophysics);
}
