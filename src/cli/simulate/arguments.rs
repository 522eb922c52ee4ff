//! The command line of `dawn21 simulate`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use crate::simulator::cosmology::GILLET_2019;
use crate::simulator::database::Shard;

/// Arguments of `dawn21 simulate`.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct SimulateArguments {
    /// Data directory; created, or continued where it stopped
    pub(in crate::cli) data: PathBuf,

    /// Number of light-cones (all machines together)
    #[arg(long, value_name = "N", required_unless_present = "parameters")]
    pub(in crate::cli) count: Option<usize>,

    /// Box and depth: `half` is 50 cells of 3 Mpc, redshift 6 to 30; `paper` 200 of 1.5 Mpc, 2200 deep
    #[arg(long, value_enum, default_value_t = BoxPreset::Half, help_heading = "Box")]
    pub(in crate::cli) preset: BoxPreset,
    /// Side of the box in comoving Mpc
    #[arg(long, value_name = "MPC", help_heading = "Box")]
    pub(in crate::cli) box_mpc: Option<f64>,
    /// Cells per side of the box
    #[arg(long, value_name = "N", help_heading = "Box")]
    pub(in crate::cli) cells: Option<usize>,
    /// Side of a cell in comoving Mpc
    #[arg(long, value_name = "MPC", help_heading = "Box")]
    pub(in crate::cli) cell_mpc: Option<f64>,
    /// Cells of the initial conditions per cell and axis
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = "Box")]
    pub(in crate::cli) fine_factor: usize,
    /// Redshifts of the nearest and the farthest cell
    #[arg(long, num_args = 2, value_names = ["NEAR", "FAR"], help_heading = "Box")]
    pub(in crate::cli) redshift: Option<Vec<f64>>,
    /// Cells along the line of sight, instead of the farthest redshift
    #[arg(long, value_name = "N", help_heading = "Box")]
    pub(in crate::cli) los_cells: Option<usize>,
    /// Stored planes of constant y, evenly spaced: a number, or `all` for full cubes
    #[arg(long, value_name = "N|all", default_value = "5", help_heading = "Box")]
    pub(in crate::cli) planes: Planes,

    /// Table of parameters (csv with log10_tvir,zeta,log10_lx_sfr,e0_kev and optionally id,seed)
    #[arg(long, value_name = "FILE", help_heading = "Parameters")]
    pub(in crate::cli) parameters: Option<PathBuf>,
    /// Range of log10 of the minimum virial temperature in K
    #[arg(long, num_args = 2, value_names = ["MIN", "MAX"], help_heading = "Parameters")]
    pub(in crate::cli) log10_tvir: Option<Vec<f64>>,
    /// Range of the ionising efficiency
    #[arg(long, num_args = 2, value_names = ["MIN", "MAX"], help_heading = "Parameters")]
    pub(in crate::cli) zeta: Option<Vec<f64>>,
    /// Range of log10 of the soft-band X-ray luminosity per star-formation rate in erg/s per Msun/yr
    #[arg(long, num_args = 2, value_names = ["MIN", "MAX"], help_heading = "Parameters")]
    pub(in crate::cli) log10_lx_sfr: Option<Vec<f64>>,
    /// Range of the X-ray threshold in keV
    #[arg(long, num_args = 2, value_names = ["MIN", "MAX"], help_heading = "Parameters")]
    pub(in crate::cli) e0_kev: Option<Vec<f64>>,
    /// How parameters are drawn from their ranges
    #[arg(long, value_enum, default_value_t = SamplingChoice::Uniform, help_heading = "Parameters")]
    pub(in crate::cli) sampling: SamplingChoice,
    /// Seed of parameters and initial conditions
    #[arg(long, default_value_t = 1, help_heading = "Parameters")]
    pub(in crate::cli) seed: u64,
    /// Spectral index of the X-rays
    #[arg(
        long,
        default_value_t = 1.0,
        allow_negative_numbers = true,
        help_heading = "Parameters"
    )]
    pub(in crate::cli) alpha_x: f64,
    /// Largest radius of ionised bubbles in Mpc
    #[arg(long, default_value_t = 15.0, help_heading = "Parameters")]
    pub(in crate::cli) r_mfp_mpc: f64,
    /// Matter density over the critical density (the rest is dark energy)
    #[arg(long, default_value_t = GILLET_2019.omega_m, help_heading = "Parameters")]
    pub(in crate::cli) omega_m: f64,
    /// Baryon density over the critical density
    #[arg(long, default_value_t = GILLET_2019.omega_b, help_heading = "Parameters")]
    pub(in crate::cli) omega_b: f64,
    /// Hubble constant over 100 km/s/Mpc
    #[arg(long, default_value_t = GILLET_2019.h, help_heading = "Parameters")]
    pub(in crate::cli) hubble: f64,
    /// Rms of the linear density in spheres of 8 Mpc/h
    #[arg(long, default_value_t = GILLET_2019.sigma_8, help_heading = "Parameters")]
    pub(in crate::cli) sigma_8: f64,
    /// Spectral index of the primordial fluctuations
    #[arg(long, default_value_t = GILLET_2019.n_s, help_heading = "Parameters")]
    pub(in crate::cli) n_s: f64,

    /// Version of the physics
    #[arg(long, value_enum, default_value_t = PhysicsPreset::Gillet2019, help_heading = "Physics")]
    pub(in crate::cli) physics: PhysicsPreset,
    /// Heating by Lyman-alpha photons and the CMB; by default as in --physics
    #[arg(long, value_enum, help_heading = "Physics")]
    pub(in crate::cli) lyman_alpha_heating: Option<Toggle>,
    /// First-order displacements only
    #[arg(long, help_heading = "Physics")]
    pub(in crate::cli) zeldovich: bool,
    /// Mass goes to the nearest cell, not to the eight around it
    #[arg(long, help_heading = "Physics")]
    pub(in crate::cli) nearest_grid_point: bool,
    /// No temperature fluctuations at the first snapshot
    #[arg(long, help_heading = "Physics")]
    pub(in crate::cli) uniform_start: bool,
    /// The 21-cm line is optically thin in its coupling to the CMB
    #[arg(long, help_heading = "Physics")]
    pub(in crate::cli) thin_line: bool,
    /// Lyman-alpha coupling with the prefactor 1.66e11 instead of 1.80e11
    #[arg(long, help_heading = "Physics")]
    pub(in crate::cli) weak_coupling: bool,
    /// Sources follow the last snapshot's density, scaled by linear growth
    #[arg(long, help_heading = "Physics")]
    pub(in crate::cli) final_density: bool,
    /// Linear density contrast at which a sphere collapses; by default as in --physics
    #[arg(long, value_name = "CONTRAST", help_heading = "Physics")]
    pub(in crate::cli) critical_contrast: Option<f64>,
    /// Give cells with few haloes the mean number of haloes, not a random one
    #[arg(long, help_heading = "Physics")]
    pub(in crate::cli) mean_haloes: bool,
    /// Bubble radii in steps of 1.1 from that of a cell, without the largest one
    #[arg(long, help_heading = "Physics")]
    pub(in crate::cli) radii_from_cell: bool,
    /// Emissivities of regions whose contrast stays constant instead of growing
    #[arg(long, help_heading = "Physics")]
    pub(in crate::cli) static_contrast: bool,
    /// Brightness temperatures with the line's optical depth and unlimited velocity gradients
    #[arg(long, help_heading = "Physics")]
    pub(in crate::cli) full_optical_depth: bool,
    /// Initial density of all light-cones: raw little-endian float32, (cells x fine factor)^3, linear at z = 0
    #[arg(long, value_name = "FILE", help_heading = "Physics")]
    pub(in crate::cli) initial_density: Option<PathBuf>,

    /// Simulate part i of n; merge the parts by copying their directories together
    #[arg(long, value_name = "i/n", default_value = "1/1")]
    pub(in crate::cli) shard: ShardArgument,
    /// Threads; 0 for all processors. The result does not depend on it
    #[arg(long, default_value_t = 0)]
    pub(in crate::cli) threads: usize,
    /// No progress
    #[arg(long)]
    pub(in crate::cli) quiet: bool,
}

/// Presets of box and depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum BoxPreset {
    /// 200 cells of 1.5 Mpc, 2200 cells deep from redshift 6.
    Paper,
    /// 50 cells of 3 Mpc, redshift 6 to 30.
    Half,
}

/// Presets of the physics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum PhysicsPreset {
    /// 21cmFAST 3.4 without its Lyman-alpha and CMB heating.
    #[value(name = "2019")]
    Gillet2019,
    /// The defaults of 21cmFAST 3.4.
    #[value(name = "21cmfast-3.4")]
    Version34,
    /// 21cmFAST 4.1 with a constant ionising efficiency, without its Lyman-alpha and CMB heating.
    #[value(name = "21cmfast-4.1")]
    Version41,
}

/// A switch that overrides a preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Toggle {
    /// With it.
    On,
    /// Without it.
    Off,
}

/// How parameters are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum SamplingChoice {
    /// Independently.
    Uniform,
    /// One in each of as many intervals as there are light-cones.
    LatinHypercube,
}

/// `--planes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Planes {
    /// The full cube.
    All,
    /// That many, evenly spaced from 0 on.
    Some(usize),
}

impl FromStr for Planes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.parse()) {
            ("all", _) => Ok(Self::All),
            (_, Ok(count)) if count > 0 => Ok(Self::Some(count)),
            _ => Err("expected a positive number or `all`".to_string()),
        }
    }
}

/// `--shard i/n`, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct ShardArgument(pub(super) Shard);

impl FromStr for ShardArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text
            .split_once('/')
            .and_then(|(i, n)| Some((i.parse::<usize>().ok()?, n.parse::<usize>().ok()?)));
        match parsed {
            Some((index, count)) if index >= 1 && index <= count => Ok(Self(Shard {
                index: index - 1,
                count,
            })),
            _ => Err("expected i/n with i from 1 to n, e.g. 2/8".to_string()),
        }
    }
}
