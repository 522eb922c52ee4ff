//! Physical constants in cgs units, with the values that 21cmFAST uses: differences in the fourth digit
//! are visible in a comparison cell by cell.

/// Gravitational constant in cm^3 g^-1 s^-2.
pub const GRAVITATIONAL_CONSTANT: f64 = 6.672_59e-8;
/// Speed of light in cm/s.
pub const SPEED_OF_LIGHT: f64 = 2.997_924_58e10;
/// Planck constant in erg s.
pub const PLANCK_CONSTANT: f64 = 6.626_068_96e-27;
/// Boltzmann constant in erg/K.
pub const BOLTZMANN_CONSTANT: f64 = 1.380_658e-16;
/// Mass of the proton in g.
pub const PROTON_MASS: f64 = 1.672_623_1e-24;
/// Mass of the electron in g.
pub const ELECTRON_MASS: f64 = 9.109_381_88e-28;
/// Charge of the electron in esu.
pub const ELECTRON_CHARGE: f64 = 4.803_204_67e-10;
/// Vacuum permittivity in F/m.
pub const VACUUM_PERMITTIVITY: f64 = 8.854_187_812_8e-12;
/// Temperature of the cosmic microwave background today in K.
pub const CMB_TEMPERATURE: f64 = 2.728;
/// Energy of the 21-cm transition over the Boltzmann constant, in K.
pub const T_21CM: f64 = 0.068_2;
/// Spontaneous emission coefficient of the 21-cm transition in 1/s.
pub const A_10: f64 = 2.85e-15;
/// Wavelength of the 21-cm transition in cm.
pub const WAVELENGTH_21CM: f64 = 21.106_114_054_160;
/// Oscillator strength of the Lyman-alpha transition.
pub const LYMAN_ALPHA_OSCILLATOR_STRENGTH: f64 = 0.4162;
/// Frequency of Lyman alpha in Hz.
pub const LYMAN_ALPHA_FREQUENCY: f64 = 2.466_067_27e15;
/// Wavelength of Lyman alpha in cm.
pub const LYMAN_ALPHA_WAVELENGTH: f64 = 1215.67e-8;
/// Ionisation threshold of neutral hydrogen in eV.
pub const HYDROGEN_THRESHOLD_EV: f64 = 13.60;
/// Ionisation threshold of neutral helium in eV.
pub const HELIUM_THRESHOLD_EV: f64 = 24.59;
/// Ionisation threshold of singly ionised helium in eV.
pub const HELIUM_II_THRESHOLD_EV: f64 = 54.40;
/// Frequency of a photon of 1 eV in Hz.
pub const EV_FREQUENCY: f64 = 1.602_176_46e-12 / PLANCK_CONSTANT;
/// Centimetres in a Mpc.
pub const CM_PER_MPC: f64 = 3.086e24;
/// Grams in a solar mass.
pub const GRAMS_PER_SOLAR_MASS: f64 = 1.989e33;
/// Seconds in a year, as in the conversion of the X-ray luminosity per star-formation rate.
pub const SECONDS_PER_YEAR: f64 = 3.155_622_6e7;
/// 100 km/s/Mpc in 1/s.
pub const HUNDRED_KM_S_MPC: f64 = 3.2407e-18;
/// Linear density contrast at collapse in 21cmFAST 1 to 3.
pub const CRITICAL_DENSITY_CONTRAST: f64 = 1.68;
/// Linear density contrast at collapse in 21cmFAST 4.
pub const CRITICAL_DENSITY_CONTRAST_4: f64 = 1.686;
/// Mass fraction of helium in the baryons.
pub const HELIUM_MASS_FRACTION: f64 = 0.245;
/// Radiation density today over the critical density.
pub const OMEGA_RADIATION: f64 = 8.6e-5;
/// Clumping factor of the recombining gas outside the ionised bubbles.
pub const CLUMPING_FACTOR: f64 = 2.0;
/// Fraction of the collapsed baryons that are stars, in the X-ray and Lyman-alpha emissivities.
pub const STELLAR_FRACTION: f64 = 0.050_118_723_362_727_23;
/// Photons between Lyman alpha and the Lyman limit emitted per stellar baryon (population II).
pub const LYMAN_BAND_PHOTONS_PER_BARYON: f64 = 5000.0;
/// Gas hotter than this (K) is not heated further.
pub const GAS_TEMPERATURE_CAP_K: f64 = 5e4;
/// Radius, in units of a cube's side, of the sphere with the cube's volume.
pub const EQUAL_VOLUME_RADIUS: f64 = 0.620_350_491;
/// Largest distance in Mpc of the sources that light up a cell.
pub const SOURCE_HORIZON_MPC: f64 = 500.0;
/// Number of shells in which the sources around a cell are summed.
pub const SHELLS: usize = 40;
/// Ratio of `1 + z` between successive snapshots.
pub const SNAPSHOT_RATIO: f64 = 1.02;
/// The first snapshot is the lowest one at or above this redshift.
pub const START_REDSHIFT: f64 = 35.0;
/// Redshift at which particles are on their grid.
pub const GRID_REDSHIFT: f64 = 300.0;
