//! Light-cones of the redshifted 21-cm line, simulated natively.
//!
//! A semi-numerical simulation in the manner of 21cmFAST (Mesinger, Furlanetto & Cen 2011), in the
//! configuration of Gillet et al. (2019): sources in haloes above a virial temperature, a constant
//! ionising efficiency, X-rays with a power-law spectrum, spin temperatures computed in full. One file
//! holds one physical step:
//!
//! | step | module |
//! |---|---|
//! | expansion, growth, distances | [`cosmology`] |
//! | linear power spectrum, `sigma(M)` | [`power_spectrum`] |
//! | Gaussian field and displacements | [`initial_conditions`] |
//! | evolved density, velocity gradient | [`perturbation`] |
//! | mass in haloes | [`collapsed_fraction`] |
//! | densities on light-travel shells | [`shells`] |
//! | X-ray and Lyman-alpha backgrounds | [`x_ray`], [`lyman_alpha`], `sources` |
//! | gas and spin temperatures | [`thermal`], [`spin_temperature`] |
//! | ionised bubbles | [`ionization`] |
//! | 21-cm signal | [`brightness_temperature`] |
//! | light-cone and global history | [`light_cone`], [`history`] |
//!
//! [`run`] follows one light-cone through all of them; [`database`] fills a data directory.
//!
//! # Determinism
//! Every random number is keyed by the seed and by what it is for (a Fourier mode, a cell), and every sum
//! is cut into pieces that depend on the grid alone: the same bytes come out for any number of threads.

pub mod brightness_temperature;
pub mod collapsed_fraction;
pub mod constants;
pub mod cosmology;
pub mod database;
pub mod execution;
mod filter;
pub mod fourier;
pub mod heating;
pub mod history;
pub mod initial_conditions;
pub mod ionization;
pub mod light_cone;
pub mod lyman_alpha;
pub mod parameters;
pub mod perturbation;
pub mod power_spectrum;
pub mod run;
pub mod sampling;
pub mod shells;
mod sources;
pub mod spin_temperature;
mod spline;
mod tables;
pub mod thermal;
mod vector_math;
pub mod x_ray;
