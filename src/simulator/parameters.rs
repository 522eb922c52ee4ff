//! What is simulated: astrophysics, cosmology, grid and the choice between versions of the physics.

use super::constants::{CRITICAL_DENSITY_CONTRAST, CRITICAL_DENSITY_CONTRAST_4, START_REDSHIFT};
use super::cosmology::{Cosmology, GILLET_2019};

/// A parameter that makes no physical sense or lies outside what the simulator supports.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name} must lie in {allowed}, found {found}")]
pub struct ParameterError {
    /// Name of the parameter.
    pub name: &'static str,
    /// The allowed range, with its unit.
    pub allowed: String,
    /// The value given.
    pub found: String,
}

/// Refuses values outside `[low, high]`, and anything that is not a number.
fn check(
    name: &'static str,
    value: f64,
    [low, high]: [f64; 2],
    unit: &str,
) -> Result<(), ParameterError> {
    if value >= low && value <= high {
        return Ok(());
    }
    let unit = if unit.is_empty() {
        String::new()
    } else {
        format!(" {unit}")
    };
    Err(ParameterError {
        name,
        allowed: format!("[{low}, {high}]{unit}"),
        found: value.to_string(),
    })
}

/// The sources of light (Gillet et al. 2019, section 2.1; Greig & Mesinger 2017).
#[derive(Debug, Clone, PartialEq)]
pub struct Astrophysics {
    /// log10 of the minimum virial temperature of star-forming haloes in K.
    pub log10_tvir: f64,
    /// Ionising efficiency: ionising photons per baryon in haloes that escape.
    pub zeta: f64,
    /// log10 of the soft-band X-ray luminosity per star-formation rate in erg/s per (solar mass/yr).
    pub log10_lx_sfr: f64,
    /// X-rays below this energy (keV) do not leave their galaxy.
    pub e0_kev: f64,
    /// Spectral index of the X-rays: luminosity per frequency falls as `nu^-alpha`.
    pub alpha_x: f64,
    /// Largest comoving radius in Mpc from which ionising photons reach a cell.
    pub r_mfp_mpc: f64,
}

impl Default for Astrophysics {
    /// The fiducial point of the tests: `T_vir` = 5 x 10^4 K, zeta = 30, `L_X` = 10^40, `E_0` = 0.5 keV.
    fn default() -> Self {
        Self {
            log10_tvir: 4.699,
            zeta: 30.0,
            log10_lx_sfr: 40.0,
            e0_kev: 0.5,
            alpha_x: 1.0,
            r_mfp_mpc: 15.0,
        }
    }
}

impl Astrophysics {
    /// Checks every parameter.
    ///
    /// # Errors
    /// [`ParameterError`] names the first parameter out of range.
    pub fn validate(&self) -> Result<(), ParameterError> {
        check("log10_tvir", self.log10_tvir, [3.5, 7.0], "log10 K")?;
        check("zeta", self.zeta, [0.01, 10_000.0], "")?;
        check(
            "log10_lx_sfr",
            self.log10_lx_sfr,
            [30.0, 44.0],
            "log10 erg s^-1 Msun^-1 yr",
        )?;
        check("e0_kev", self.e0_kev, [0.03, 1.9], "keV")?;
        check("alpha_x", self.alpha_x, [-1.0, 3.0], "")?;
        check("r_mfp_mpc", self.r_mfp_mpc, [1.0, 100.0], "Mpc")
    }
}

/// Checks a cosmology: flat, with every parameter near the observed one.
///
/// # Errors
/// [`ParameterError`] names the first parameter out of range.
pub fn validate_cosmology(cosmology: &Cosmology) -> Result<(), ParameterError> {
    check("omega_m", cosmology.omega_m, [0.05, 0.95], "")?;
    check("omega_b", cosmology.omega_b, [0.001, 0.2], "")?;
    check(
        "omega_b / omega_m",
        cosmology.omega_b / cosmology.omega_m,
        [0.0, 0.5],
        "",
    )?;
    check("n_s", cosmology.n_s, [0.5, 1.5], "")?;
    check("sigma_8", cosmology.sigma_8, [0.2, 2.0], "")?;
    check("h", cosmology.h, [0.3, 1.2], "")?;
    let flat = 1.0 - cosmology.omega_m;
    check(
        "omega_l (1 - omega_m: the universe is flat)",
        cosmology.omega_l,
        [flat - 1e-6, flat + 1e-6],
        "",
    )
}

/// The simulated box: a cube with periodic faces.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Cells per side.
    pub cells: usize,
    /// Side of a cell in comoving Mpc.
    pub cell_mpc: f64,
    /// The initial conditions have this many cells per side and cell.
    pub fine_factor: usize,
}

impl Grid {
    /// Side of the box in comoving Mpc.
    #[must_use]
    pub fn box_mpc(&self) -> f64 {
        self.cells as f64 * self.cell_mpc
    }

    /// Cells per side of the initial conditions.
    #[must_use]
    pub fn fine_cells(&self) -> usize {
        self.cells * self.fine_factor
    }

    /// Checks the grid.
    ///
    /// # Errors
    /// [`ParameterError`] names the first value out of range.
    pub fn validate(&self) -> Result<(), ParameterError> {
        check("cells per side", self.cells as f64, [8.0, 1024.0], "")?;
        check("cell_mpc", self.cell_mpc, [0.2, 20.0], "Mpc")?;
        check("fine_factor", self.fine_factor as f64, [1.0, 8.0], "")?;
        check("box_mpc", self.box_mpc(), [20.0, 5000.0], "Mpc")
    }
}

/// From which density field the sources on light-travel shells are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShellDensity {
    /// The evolved density of the snapshot, as 21cmFAST 3 does.
    Evolved,
    /// The evolved density of the last snapshot, scaled by linear growth, as 21cmFAST 1 did.
    Final,
}

/// The choices in which versions of 21cmFAST differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Physics {
    /// Heating of the gas by resonant Lyman-alpha photons (Reis, Fialkov & Barkana 2021) and, far weaker, by
    /// the CMB through the 21-cm line (Venumadhav et al. 2018; Meiksin 2021).
    pub lyman_alpha_heating: bool,
    /// Second-order displacements (Scoccimarro 1998); otherwise Zel'dovich.
    pub second_order_displacements: bool,
    /// Mass goes to the eight nearest cells (cloud in cell); otherwise to the nearest one.
    pub cloud_in_cell: bool,
    /// The first snapshot has temperature fluctuations from adiabatic compression (Munoz 2023).
    pub adiabatic_start: bool,
    /// Finite optical depth of the 21-cm line in the coupling to the CMB (Reis et al. 2021).
    pub line_optical_depth: bool,
    /// Lyman-alpha coupling 8 % weaker, with the prefactor 1.66e11 of 21cmFAST 1 in place of 1.80e11.
    pub weak_coupling: bool,
    /// Density used for the light-travel shells.
    pub shell_density: ShellDensity,
    /// Linear density contrast at which a sphere collapses: 1.68 in 21cmFAST 1 to 3, 1.686 in 21cmFAST 4.
    pub critical_density_contrast: f64,
    /// Cells with few haloes have a Poisson number of them, as in 21cmFAST 1 to 3; otherwise the mean number.
    pub poisson_haloes: bool,
    /// The radii of ionised bubbles are the largest one and powers of 1.1 times that of a cell, without the first,
    /// as in 21cmFAST 1 to 3; otherwise powers of 1.1 alone, with the first, as in 21cmFAST 4.
    pub largest_bubble_radius: bool,
    /// Emissivities are the change of the collapsed fraction of a region whose contrast `delta` grows, as in
    /// 21cmFAST 1 to 3; in 21cmFAST 4 it stands still, which makes them `1 - delta / delta_c` times as large.
    pub growing_contrast: bool,
    /// The brightness temperature is that of an optically thin line, and velocity gradients (of the spectrum)
    /// are limited, as in 21cmFAST 1 to 3; otherwise optical depth and gradient (central differences) count in
    /// full, as in 21cmFAST 4.
    pub thin_signal: bool,
}

impl Physics {
    /// Preset `2019`: 21cmFAST 3.4 without its Lyman-alpha and CMB heating, which did not exist in 2019.
    #[must_use]
    pub fn gillet_2019() -> Self {
        Self {
            lyman_alpha_heating: false,
            second_order_displacements: true,
            cloud_in_cell: true,
            adiabatic_start: true,
            line_optical_depth: true,
            weak_coupling: false,
            shell_density: ShellDensity::Evolved,
            critical_density_contrast: CRITICAL_DENSITY_CONTRAST,
            poisson_haloes: true,
            largest_bubble_radius: true,
            growing_contrast: true,
            thin_signal: true,
        }
    }

    /// Preset `21cmfast-3.4`: the defaults of 21cmFAST 3.4.0.
    #[must_use]
    pub fn version_3_4() -> Self {
        Self {
            lyman_alpha_heating: true,
            ..Self::gillet_2019()
        }
    }

    /// Preset `21cmfast-4.1`: 21cmFAST 4.1.1 with sources of constant ionising efficiency, without its
    /// Lyman-alpha and CMB heating.
    #[must_use]
    pub fn version_4_1() -> Self {
        Self {
            critical_density_contrast: CRITICAL_DENSITY_CONTRAST_4,
            poisson_haloes: false,
            largest_bubble_radius: false,
            growing_contrast: false,
            thin_signal: false,
            ..Self::gillet_2019()
        }
    }
}

impl Default for Physics {
    fn default() -> Self {
        Self::gillet_2019()
    }
}

/// Everything that determines one light-cone apart from its initial conditions.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulation {
    /// The sources.
    pub astrophysics: Astrophysics,
    /// The cosmology.
    pub cosmology: Cosmology,
    /// The box.
    pub grid: Grid,
    /// The version of the physics.
    pub physics: Physics,
    /// Redshift of the last snapshot and of the first cell of the light-cone.
    pub lowest_redshift: f64,
}

impl Simulation {
    /// A simulation of `grid` down to redshift 6 with the cosmology of Gillet et al. 2019.
    #[must_use]
    pub fn new(astrophysics: Astrophysics, grid: Grid) -> Self {
        Self {
            astrophysics,
            cosmology: GILLET_2019,
            grid,
            physics: Physics::default(),
            lowest_redshift: 6.0,
        }
    }

    /// Checks every parameter.
    ///
    /// # Errors
    /// [`ParameterError`] names the first parameter out of range.
    pub fn validate(&self) -> Result<(), ParameterError> {
        self.astrophysics.validate()?;
        validate_cosmology(&self.cosmology)?;
        self.grid.validate()?;
        check(
            "critical density contrast",
            self.physics.critical_density_contrast,
            [1.0, 3.0],
            "",
        )?;
        check(
            "lowest redshift",
            self.lowest_redshift,
            [5.0, START_REDSHIFT - 1.0],
            "",
        )
    }
}
