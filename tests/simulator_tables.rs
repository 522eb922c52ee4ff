//! The simulator's background functions against tables written by 21cmFAST 3.4.0 (`fixtures/21cmfast`).

use std::fs;

use dawn21::simulator::collapsed_fraction::CollapsedFraction;
use dawn21::simulator::cosmology::{Background, Distances, GILLET_2019};
use dawn21::simulator::power_spectrum::LinearPower;

/// Rows of numbers of a table, without its header.
fn table(name: &str) -> Vec<Vec<f64>> {
    let path = format!(
        "{}/fixtures/21cmfast/tables/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    let rows: Vec<Vec<f64>> = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{path}: {error}"))
        .lines()
        .skip(1)
        .map(|line| {
            line.split(',')
                .map(|field| field.parse().expect("a number"))
                .collect()
        })
        .collect();
    assert!(rows.len() > 10, "{path} is too short");
    rows
}

#[track_caller]
fn assert_relative(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!(
        (found - expected).abs() <= tolerance * expected.abs(),
        "{what}: expected {expected:.8e}, found {found:.8e}, relative difference {:.2e} > {tolerance:.0e}",
        found / expected - 1.0
    );
}

#[test]
fn background_matches_the_reference_constants() {
    let background = Background::new(&GILLET_2019);
    let power = LinearPower::new(&background);
    let text = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/21cmfast/tables/constants.json"
    ))
    .expect("constants");
    let constants: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for (name, found) in [
        ("Ho_per_s", background.hubble_constant()),
        ("RHOcrit_Msun_Mpc3", background.critical_density_msun_mpc3()),
        ("No_cm3", background.hydrogen_density()),
        ("He_No_cm3", background.helium_density()),
        ("N_b0_cm3", background.baryon_density()),
        ("f_H", background.hydrogen_fraction()),
        ("dicke300", background.growth(300.0)),
    ] {
        let expected = constants[name].as_f64().expect("a number");
        assert_relative(found, expected, 1e-6, name);
    }
    // The reference integrates with a relative tolerance of its own.
    let expected = constants["sigma_norm"].as_f64().expect("a number");
    assert_relative(power.normalisation(), expected, 5e-6, "sigma_norm");
}

#[test]
fn growth_and_expansion_match_to_1e_6() {
    let background = Background::new(&GILLET_2019);
    for row in table("growth.csv") {
        let z = row[0];
        assert_relative(background.growth(z), row[1], 1e-6, &format!("D({z})"));
        assert_relative(
            background.growth_dz(z),
            row[2],
            1e-5,
            &format!("dD/dz({z})"),
        );
        assert_relative(background.dt_dz(z), row[3], 1e-6, &format!("dt/dz({z})"));
        assert_relative(background.hubble(z), row[4], 1e-6, &format!("H({z})"));
        assert_relative(background.omega_m(z), row[6], 1e-6, &format!("Om({z})"));
    }
}

#[test]
fn light_cone_distances_match_to_1e_6() {
    let distances = Distances::new(&GILLET_2019);
    for row in table("comoving_distance.csv") {
        let (z, expected) = (row[0], row[1]);
        assert_relative(
            distances.comoving_mpc(z),
            expected,
            1e-6,
            &format!("d({z})"),
        );
        assert!((distances.redshift(expected) - z).abs() < 1e-4);
    }
}

#[test]
fn linear_power_matches_to_1e_5() {
    let power = LinearPower::new(&Background::new(&GILLET_2019));
    for row in table("linear_power.csv") {
        let k = row[0];
        assert_relative(power.transfer(k), row[1], 1e-5, &format!("T({k})"));
        assert_relative(power.power_mpc3(k), row[2], 1e-5, &format!("P({k})"));
    }
}

#[test]
fn sigma_of_mass_matches_to_1e_5() {
    let background = Background::new(&GILLET_2019);
    let power = LinearPower::new(&background);
    for row in table("sigma_M.csv") {
        let mass = row[0];
        assert_relative(
            background.radius_mpc(mass),
            row[1],
            1e-6,
            &format!("R({mass:e})"),
        );
        assert_relative(power.sigma(mass), row[2], 1e-5, &format!("sigma({mass:e})"));
        assert_relative(
            power.variance_slope(mass),
            row[3],
            1e-4,
            &format!("dsigma^2/dM({mass:e})"),
        );
    }
}

#[test]
fn collapsed_fractions_match_to_2e_3() {
    let background = Background::new(&GILLET_2019);
    let power = LinearPower::new(&background);
    let mut current: Option<(f64, CollapsedFraction)> = None;
    for row in table("fcoll_ST.csv") {
        let (log10_tvir, z) = (row[0], row[1]);
        if current
            .as_ref()
            .is_none_or(|(tvir, _)| (tvir - log10_tvir).abs() > 1e-9)
        {
            let fraction =
                CollapsedFraction::new(&background, &power, 10_f64.powf(log10_tvir), 1.68);
            current = Some((log10_tvir, fraction));
        }
        let (_, fraction) = current.as_ref().expect("just set");
        let at = format!("log10 Tvir {log10_tvir}, z {z}");
        assert_relative(
            fraction.minimum_mass_msun(z),
            row[2],
            1e-5,
            &format!("M_min, {at}"),
        );
        assert_relative(
            fraction.sigma_minimum(z),
            row[3],
            1e-5,
            &format!("sigma_min, {at}"),
        );
        assert_relative(
            fraction.sheth_tormen(z),
            row[4],
            2e-3,
            &format!("F_ST, {at}"),
        );
        assert_relative(
            fraction.press_schechter(z),
            row[5],
            2e-3,
            &format!("F_PS, {at}"),
        );
    }
}

#[test]
fn cross_sections_match_to_1e_5() {
    use dawn21::simulator::x_ray;
    for row in table("cross_sections.csv") {
        let energy = row[0];
        for (i, found) in [
            x_ray::hydrogen_cross_section(energy),
            x_ray::helium_cross_section(energy),
            x_ray::helium_ii_cross_section(energy),
        ]
        .into_iter()
        .enumerate()
        {
            assert_relative(
                found,
                row[i + 1],
                1e-5,
                &format!("species {i}, {energy} eV"),
            );
        }
    }
}

#[test]
fn stellar_emissivity_matches_to_1e_4() {
    let spectrum = dawn21::simulator::lyman_alpha::StellarSpectrum::new();
    for row in table("emissivity_lya.csv") {
        // On a line itself (level 10 lies at 1.32) rounding decides to which interval it belongs.
        let on_a_line =
            (2..24).any(|n| (row[0] - (1.0 - f64::from(n).powi(-2)) / 0.75).abs() < 1e-9);
        // Beyond the last line nothing is left but rounding.
        if on_a_line || row[1] < 1e-20 {
            continue;
        }
        let found = spectrum.photons_per_baryon_hz(row[0]);
        // The shares of the intervals and their indices have six digits.
        assert_relative(found, row[1], 1e-4, &format!("emissivity at {}", row[0]));
    }
}

#[test]
fn x_ray_integrals_match_to_1_percent() {
    use dawn21::simulator::x_ray::FrequencyIntegrals;
    let background = Background::new(&GILLET_2019);
    let integrals = FrequencyIntegrals::new(1.0, 0.5);
    // The Lyman-alpha column holds the factor c / (4 pi nu_alpha H) at redshift 12.
    let factor =
        2.997_924_58e10 / (4.0 * std::f64::consts::PI * 2.466_067_27e15 * background.hubble(12.0));
    let mut compared = 0;
    for row in table("freq_integrals.csv") {
        let (electrons, low_ev) = (row[0], row[1]);
        let Some(node) = integrals
            .electron_fractions()
            .iter()
            .position(|x| (x / electrons - 1.0).abs() < 1e-6)
        else {
            continue;
        };
        let [heat, ionisation, lyman_alpha] = integrals.at(node, low_ev);
        let at = format!("x_e {electrons}, {low_ev} eV");
        assert_relative(heat, row[2], 1e-2, &format!("heating, {at}"));
        assert_relative(ionisation, row[3], 1e-2, &format!("ionisation, {at}"));
        // In gas with almost no neutral hydrogen the yield is a sum of jumps that the nodes do not resolve.
        let tolerance = if electrons > 0.95 { 3e-2 } else { 1e-2 };
        assert_relative(
            lyman_alpha * factor,
            row[4],
            tolerance,
            &format!("Lyman alpha, {at}"),
        );
        compared += 1;
    }
    assert!(compared > 20, "only {compared} rows compared");
}

#[test]
fn x_ray_integrals_of_another_index_are_those_of_the_reweighted_spectrum() {
    use dawn21::simulator::x_ray::FrequencyIntegrals;
    // The mean of E^(1-alpha) over an interval lies between its values at the ends.
    let (one, two) = (
        FrequencyIntegrals::new(1.0, 1.0),
        FrequencyIntegrals::new(1.5, 1.0),
    );
    for low_ev in [200.0_f64, 500.0, 1000.0, 3000.0] {
        for q in 0..3 {
            let high_ev = low_ev * 1.2;
            let interval = |integrals: &FrequencyIntegrals| {
                integrals.at(2, low_ev)[q] - integrals.at(2, high_ev)[q]
            };
            let ratio = interval(&two) / interval(&one);
            let (most, least) = ((low_ev / 1000.0).powf(-0.5), (high_ev / 1000.0).powf(-0.5));
            assert!(ratio < most && ratio > least, "{least} < {ratio} < {most}");
        }
    }
}

#[test]
fn unit_depth_energies_match_to_3_percent() {
    use dawn21::simulator::x_ray::{MeanGas, XRayAbsorption};
    let background = Background::new(&GILLET_2019);
    let power = LinearPower::new(&background);
    // The table was made for zeta 30 and log10 Tvir 4.699.
    let collapse = CollapsedFraction::new(&background, &power, 10_f64.powf(4.699), 1.68);
    for row in table("nu_tau_one.csv") {
        let gas = MeanGas {
            redshift: row[0],
            electron_fraction: row[2],
        };
        let found = XRayAbsorption::new(&background).unit_depth_energies_ev(
            &background,
            &collapse,
            30.0,
            gas,
            &[row[1]],
        );
        assert_relative(
            found[0],
            row[4],
            3e-2,
            &format!("z {} to {}", row[1], row[0]),
        );
    }
}

#[test]
fn atomic_rates_match_to_2e_3() {
    let rates = dawn21::simulator::spin_temperature::Rates::new();
    for row in table("kappa_alphaA.csv") {
        let temperature = row[0];
        let found = rates.at((temperature as f32).ln());
        for (i, rate) in found.into_iter().enumerate() {
            // Tables of different nodes: the reference's breaks are smoothed over a hundredth of an e-folding.
            let at = format!("rate {i} at {temperature} K");
            assert_relative(f64::from(rate), row[i + 1], 2e-3, &at);
        }
    }
}

#[test]
fn lyman_alpha_coupling_has_its_published_prefactor() {
    use dawn21::simulator::parameters::Physics;
    use dawn21::simulator::spin_temperature::SpinSnapshot;
    let background = Background::new(&GILLET_2019);
    for (weak_coupling, expected) in [(false, 1.80e11), (true, 1.66e11)] {
        let physics = Physics {
            weak_coupling,
            ..Physics::default()
        };
        let found = SpinSnapshot::new(&background, &physics, 12.0).coupling_prefactor();
        assert_relative(found, expected, 5e-3, "prefactor");
    }
}
