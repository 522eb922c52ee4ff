//! The table `[simulation]` of a data directory.

use super::DatabasePlan;
use crate::simulator::parameters::{Physics, ShellDensity};

impl DatabasePlan {
    /// The choices that must agree for light-cones to be comparable.
    pub(super) fn physics_table(&self) -> toml::Table {
        let simulation = &self.simulation;
        let Physics {
            lyman_alpha_heating,
            second_order_displacements,
            cloud_in_cell,
            adiabatic_start,
            line_optical_depth,
            weak_coupling,
            shell_density,
            critical_density_contrast,
            poisson_haloes,
            largest_bubble_radius,
            growing_contrast,
            thin_signal,
        } = simulation.physics.clone();
        let name = if simulation.physics == Physics::gillet_2019() {
            "2019"
        } else if simulation.physics == Physics::version_3_4() {
            "21cmfast-3.4"
        } else if simulation.physics == Physics::version_4_1() {
            "21cmfast-4.1"
        } else {
            "custom"
        };
        let mut table = toml::Table::new();
        let mut insert = |key: &str, value: toml::Value| table.insert(key.to_string(), value);
        insert("physics", name.into());
        insert("lyman_alpha_heating", lyman_alpha_heating.into());
        insert(
            "second_order_displacements",
            second_order_displacements.into(),
        );
        insert("cloud_in_cell", cloud_in_cell.into());
        insert("adiabatic_start", adiabatic_start.into());
        insert("line_optical_depth", line_optical_depth.into());
        insert("weak_coupling", weak_coupling.into());
        insert(
            "shell_density",
            match shell_density {
                ShellDensity::Evolved => "evolved",
                ShellDensity::Final => "final",
            }
            .into(),
        );
        // What came with 21cmFAST 4 is left out of the table where it is not used, so that older data stay the same.
        let older = Physics::gillet_2019();
        let usual = older.critical_density_contrast;
        if critical_density_contrast.to_bits() != usual.to_bits() {
            insert(
                "critical_density_contrast",
                critical_density_contrast.into(),
            );
        }
        for (key, value, usual) in [
            ("poisson_haloes", poisson_haloes, older.poisson_haloes),
            (
                "largest_bubble_radius",
                largest_bubble_radius,
                older.largest_bubble_radius,
            ),
            ("growing_contrast", growing_contrast, older.growing_contrast),
            ("thin_signal", thin_signal, older.thin_signal),
        ] {
            if value != usual {
                insert(key, value.into());
            }
        }
        insert("r_mfp_mpc", simulation.astrophysics.r_mfp_mpc.into());
        insert("alpha_x", simulation.astrophysics.alpha_x.into());
        insert("box_cells", (simulation.grid.cells as i64).into());
        insert("fine_factor", (simulation.grid.fine_factor as i64).into());
        insert(
            "initial_density",
            if self.initial_density.is_some() {
                "given"
            } else {
                "drawn"
            }
            .into(),
        );
        table
    }
}
