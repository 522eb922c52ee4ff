//! Gaussian initial density and the displacements that it causes.

use std::f64::consts::PI;

use dawn21_kernels::rng::{Stream, generator, unit_interval};
use rand_xoshiro::rand_core::Rng;

use super::constants::EQUAL_VOLUME_RADIUS;
use super::execution::Execution;
use super::filter::{Isotropic, PotentialHessian, fold};
use super::fourier::{Fourier, Spectrum, Unfiltered, signed_mode};
use super::parameters::Grid;
use super::power_spectrum::LinearPower;

/// A given initial density that does not fit the grid.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "initial density: expected {fine_cells}^3 = {expected} cells ({cells} cells per side, each divided by {fine_factor}), found {found}"
)]
pub struct InitialDensityError {
    /// Cells per side of the light-cone's grid.
    pub cells: usize,
    /// Cells of the initial conditions per cell of the light-cone along each axis.
    pub fine_factor: usize,
    /// Cells per side of the initial conditions.
    pub fine_cells: usize,
    /// Cells expected.
    pub expected: usize,
    /// Cells found.
    pub found: usize,
}

/// What the rest of the simulation needs of the initial conditions, on the light-cone's grid, layout
/// `[x][y][z]`, extrapolated linearly to redshift 0.
#[derive(Debug, Clone)]
pub struct InitialConditions {
    /// Displacement along each axis in cells.
    pub displacement: [Vec<f32>; 3],
    /// Second-order displacement along each axis in cells; `None` for Zel'dovich's approximation.
    pub second_displacement: Option<[Vec<f32>; 3]>,
    /// Mean density contrast of the fine cells within each cell.
    pub density: Vec<f32>,
    /// Slope of the contrast across each cell along each axis, per cell.
    pub density_slope: [Vec<f32>; 3],
}

impl InitialConditions {
    /// Draws a Gaussian field with the power spectrum `power`.
    ///
    /// Every Fourier mode is keyed by `seed` and its integer wavenumbers, so that a realisation depends
    /// neither on threads nor on the resolution: a finer grid adds small scales and keeps the large ones.
    #[must_use]
    pub fn draw(
        grid: &Grid,
        power: &LinearPower,
        seed: u64,
        second_order: bool,
        execution: Execution,
    ) -> Self {
        let fine = Fourier::new(grid.fine_cells(), execution);
        let spectrum = gaussian_spectrum(&fine, grid.box_mpc(), power, seed);
        Self::from_spectrum(grid, &fine, spectrum, second_order)
    }

    /// Takes a given density contrast (layout `[x][y][z]` with [`Grid::fine_cells`] per side, extrapolated
    /// linearly to redshift 0).
    ///
    /// # Errors
    /// [`InitialDensityError`] when the number of cells is wrong.
    pub fn from_density(
        grid: &Grid,
        density: Vec<f32>,
        second_order: bool,
        execution: Execution,
    ) -> Result<Self, InitialDensityError> {
        let fine_cells = grid.fine_cells();
        if density.len() != fine_cells.pow(3) {
            return Err(InitialDensityError {
                cells: grid.cells,
                fine_factor: grid.fine_factor,
                fine_cells,
                expected: fine_cells.pow(3),
                found: density.len(),
            });
        }
        let fine = Fourier::new(fine_cells, execution);
        let spectrum = spectrum_of(&fine, density);
        Ok(Self::from_spectrum(grid, &fine, spectrum, second_order))
    }

    fn from_spectrum(grid: &Grid, fine: &Fourier, spectrum: Spectrum, second_order: bool) -> Self {
        // The second order comes first: it needs three fine grids, the most of all steps.
        let source = second_order.then(|| second_order_source(fine, &spectrum));
        let coarse = Fourier::new(grid.cells, fine.execution());
        let mut folding = Folding {
            fine,
            coarse: &coarse,
            folded: coarse.zeros(),
            scratch: coarse.zeros(),
        };
        let f = grid.fine_factor;
        let offsets: Vec<f64> = (0..f).map(|j| (j as f64 + 0.5) / f as f64 - 0.5).collect();
        let spread: f64 = offsets.iter().map(|offset| offset * offset).sum();
        let mean = BlockKernel::new(fine.cells(), &vec![1.0 / f as f64; f]);
        let slope = BlockKernel::new(
            fine.cells(),
            &offsets
                .iter()
                .map(|offset| if spread > 0.0 { offset / spread } else { 0.0 })
                .collect::<Vec<_>>(),
        );
        let (mean, slope) = (&mean, &slope);
        let density = folding.field(&spectrum, |[x, y]| {
            let across = product(mean.at(x), mean.at(y));
            move |z| product(across, mean.at(z))
        });
        let density_slope = std::array::from_fn(|axis| {
            let kernel = |a: usize| if a == axis { slope } else { mean };
            folding.field(&spectrum, |[x, y]| {
                let across = product(kernel(0).at(x), kernel(1).at(y));
                let along = kernel(2);
                move |z| product(across, along.at(z))
            })
        });
        let displacement = folding.displacement(grid, &spectrum);
        drop(spectrum);
        let second_displacement = source.map(|source| {
            let source = spectrum_of(fine, source);
            folding.displacement(grid, &source)
        });
        Self {
            displacement,
            second_displacement,
            density,
            density_slope,
        }
    }
}

/// The coefficients of a fine field, which is freed on the way.
fn spectrum_of(fine: &Fourier, field: Vec<f32>) -> Spectrum {
    let mut planes = fine.zeros();
    fine.forward_planes(&field, &mut planes);
    drop(field);
    let mut spectrum = fine.zeros();
    fine.forward_x(&planes, &mut spectrum);
    spectrum
}

/// Draws the coefficients of a Gaussian field.
fn gaussian_spectrum(fine: &Fourier, box_mpc: f64, power: &LinearPower, seed: u64) -> Spectrum {
    let n = fine.cells();
    let volume = box_mpc.powi(3);
    let fundamental = 2.0 * PI / box_mpc;
    let amplitudes: Vec<f64> = (0..=3 * (n / 2) * (n / 2))
        .map(|square| {
            if square == 0 {
                // The mean density of the box is that of the Universe.
                0.0
            } else {
                (power.power_mpc3(fundamental * (square as f64).sqrt()) / (2.0 * volume)).sqrt()
            }
        })
        .collect();
    let mut spectrum = fine.zeros();
    let plane = n * fine.stride();
    let pieces: Vec<_> = spectrum
        .re
        .chunks_exact_mut(plane)
        .zip(spectrum.im.chunks_exact_mut(plane))
        .enumerate()
        .collect();
    fine.execution().run(
        pieces,
        || (),
        |(), (y, (re, im))| {
            let mode_y = signed_mode(y, n);
            for x in 0..n {
                let mode_x = signed_mode(x, n);
                let row = x * fine.stride();
                for z in 0..fine.half() {
                    let square = mode_x * mode_x + mode_y * mode_y + (z * z) as i32;
                    let amplitude = amplitudes[square as usize];
                    let (a, b) = gaussian_mode(seed, n, [mode_x, mode_y, z as i32]);
                    re[row + z] = (amplitude * a) as f32;
                    im[row + z] = (amplitude * b) as f32;
                }
            }
        },
    );
    spectrum
}

/// Two normal deviates for a mode, such that modes of opposite wavenumbers are conjugates.
fn gaussian_mode(seed: u64, n: usize, [x, y, z]: [i32; 3]) -> (f64, f64) {
    let nyquist = (n.is_multiple_of(2)).then_some(n as i32 / 2);
    let own_opposite = |mode: i32| mode == 0 || Some(mode) == nyquist;
    if !own_opposite(z) {
        return normal_pair(seed, [x, y, z]);
    }
    // In the planes that hold both members of a pair, the first non-zero wavenumber decides.
    let opposite = |mode: i32| if own_opposite(mode) { mode } else { -mode };
    if own_opposite(x) && own_opposite(y) {
        let (a, _) = normal_pair(seed, [x, y, z]);
        (a * std::f64::consts::SQRT_2, 0.0)
    } else if (!own_opposite(y) && y > 0) || (own_opposite(y) && x > 0) {
        normal_pair(seed, [x, y, z])
    } else {
        let (a, b) = normal_pair(seed, [opposite(x), opposite(y), z]);
        (a, -b)
    }
}

/// Two independent standard normal deviates (Box & Muller 1958).
fn normal_pair(seed: u64, modes: [i32; 3]) -> (f64, f64) {
    let key = modes.map(|mode| i64::from(mode) as u64);
    let mut generator = generator(seed, Stream::InitialConditions, &key);
    // 1 - u lies in (0, 1]: its logarithm is finite.
    let radius = (-2.0 * (1.0 - unit_interval(generator.next_u64())).ln()).sqrt();
    let (sin, cos) = (2.0 * PI * unit_interval(generator.next_u64())).sin_cos();
    (radius * cos, radius * sin)
}

/// `sum_(a<b) (phi_aa phi_bb - phi_ab^2)` on the fine grid (Scoccimarro 1998, appendix D), computed as
/// half of `(sum_a phi_aa)^2 - sum_ab phi_ab^2`, which needs no products of different fields.
fn second_order_source(fine: &Fourier, spectrum: &Spectrum) -> Vec<f32> {
    let mut scratch = fine.zeros();
    let mut source = vec![0.0; fine.cells().pow(3)];
    fine.inverse_with(
        spectrum,
        &Unfiltered,
        &mut scratch,
        &mut source,
        |line, values| {
            for (to, value) in line.iter_mut().zip(values) {
                *to = 0.5 * value * value;
            }
        },
    );
    for (axes, factor) in [
        ([0, 0], 0.5),
        ([1, 1], 0.5),
        ([2, 2], 0.5),
        ([0, 1], 1.0),
        ([0, 2], 1.0),
        ([1, 2], 1.0),
    ] {
        let hessian = PotentialHessian { axes };
        fine.inverse_with(
            spectrum,
            &hessian,
            &mut scratch,
            &mut source,
            |line, values| {
                for (to, value) in line.iter_mut().zip(values) {
                    *to -= factor * value * value;
                }
            },
        );
    }
    source
}

type ComplexNumber = (f32, f32);

fn product(a: ComplexNumber, b: ComplexNumber) -> ComplexNumber {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

/// Fourier transform along one axis of weights on the first fine cells of a block.
struct BlockKernel {
    n: usize,
    values: Vec<ComplexNumber>,
}

impl BlockKernel {
    fn new(n: usize, weights: &[f64]) -> Self {
        let values = (0..n)
            .map(|index| {
                let angle = 2.0 * PI * f64::from(signed_mode(index, n)) / n as f64;
                let (mut re, mut im) = (0.0, 0.0);
                for (j, weight) in weights.iter().enumerate() {
                    let (sin, cos) = (angle * j as f64).sin_cos();
                    re += weight * cos;
                    im += weight * sin;
                }
                (re as f32, im as f32)
            })
            .collect();
        Self { n, values }
    }

    #[inline]
    fn at(&self, mode: i32) -> ComplexNumber {
        let index = if mode < 0 { mode + self.n as i32 } else { mode };
        self.values[index as usize]
    }
}

/// From fine spectra to fields on the light-cone's grid.
struct Folding<'a> {
    fine: &'a Fourier,
    coarse: &'a Fourier,
    folded: Spectrum,
    scratch: Spectrum,
}

impl Folding<'_> {
    fn field<Row: Fn(i32) -> ComplexNumber>(
        &mut self,
        spectrum: &Spectrum,
        factor: impl Fn([i32; 2]) -> Row + Sync,
    ) -> Vec<f32> {
        fold(self.fine, spectrum, self.coarse, factor, &mut self.folded);
        let mut field = vec![0.0; self.coarse.cells().pow(3)];
        self.coarse
            .inverse(&self.folded, &Unfiltered, &mut self.scratch, &mut field);
        field
    }

    /// `i k_a / k^2` times the density, averaged over a sphere with the volume of a cell, in cells.
    fn displacement(&mut self, grid: &Grid, spectrum: &Spectrum) -> [Vec<f32>; 3] {
        let n = self.fine.cells();
        let per_mode = grid.cells as f64 / (2.0 * PI);
        let fundamental = 2.0 * PI / grid.box_mpc();
        let window = Isotropic::new(n, grid.box_mpc(), |k| {
            let square = (k / fundamental).powi(2);
            if square < 0.5 {
                0.0
            } else {
                let radius = EQUAL_VOLUME_RADIUS * grid.cell_mpc;
                super::power_spectrum::top_hat(k * radius).0 * per_mode / square
            }
        });
        let window = &window;
        std::array::from_fn(|axis| {
            self.field(spectrum, |[x, y]| {
                let square = x * x + y * y;
                move |z| {
                    let mode = [x, y, z][axis];
                    (0.0, window.factor((square + z * z) as usize) * mode as f32)
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::cosmology::{Background, GILLET_2019};

    fn small_grid(cells: usize, fine_factor: usize) -> Grid {
        Grid {
            cells,
            cell_mpc: 120.0 / cells as f64,
            fine_factor,
        }
    }

    #[test]
    fn drawn_field_has_the_asked_power_and_nested_modes() {
        let power = LinearPower::new(&Background::new(&GILLET_2019));
        let (small, large) = (
            Fourier::new(24, Execution::Serial),
            Fourier::new(48, Execution::Parallel),
        );
        let a = gaussian_spectrum(&small, 120.0, &power, 3);
        let b = gaussian_spectrum(&large, 120.0, &power, 3);
        let other = gaussian_spectrum(&small, 120.0, &power, 4);
        let (mut sum, mut modes) = (0.0, 0.0);
        for y in 0..24 {
            for x in 0..24 {
                for z in 0..12 {
                    let (mode_x, mode_y) = (signed_mode(x, 24), signed_mode(y, 24));
                    if mode_x == 12 || mode_y == 12 || (mode_x, mode_y, z) == (0, 0, 0) {
                        continue;
                    }
                    let at = (y * 24 + x) * small.stride() + z;
                    let in_large = (mode_y.rem_euclid(48) * 48 + mode_x.rem_euclid(48)) as usize
                        * large.stride()
                        + z;
                    assert_eq!(a.re[at].to_bits(), b.re[in_large].to_bits());
                    assert_eq!(a.im[at].to_bits(), b.im[in_large].to_bits());
                    assert_ne!(a.re[at].to_bits(), other.re[at].to_bits());
                    let square = f64::from(mode_x * mode_x + mode_y * mode_y) + (z * z) as f64;
                    let k = 2.0 * PI / 120.0 * square.sqrt();
                    let found = f64::from(a.re[at]).powi(2) + f64::from(a.im[at]).powi(2);
                    sum += found * 120.0_f64.powi(3) / power.power_mpc3(k);
                    modes += 1.0;
                }
            }
        }
        // Each ratio is exponentially distributed with mean 1.
        let mean = sum / modes;
        assert!((mean - 1.0).abs() < 5.0 / f64::sqrt(modes), "{mean}");
    }

    #[test]
    fn opposite_modes_are_conjugates() {
        let n = 12;
        for x in -5..=6_i32 {
            for y in -5..=6_i32 {
                for z in [0, 6] {
                    let opposite = |mode: i32| if mode == 6 { 6 } else { -mode };
                    let (a, b) = gaussian_mode(1, n, [x, y, z]);
                    let (c, d) = gaussian_mode(1, n, [opposite(x), opposite(y), z]);
                    assert!(
                        (a - c).abs() < 1e-15 && (b + d).abs() < 1e-15,
                        "{x} {y} {z}"
                    );
                }
            }
        }
    }

    #[test]
    fn block_means_are_those_of_the_given_density() {
        let grid = small_grid(8, 3);
        let n = grid.fine_cells();
        let mut density: Vec<f32> = (0..n * n * n)
            .map(|i| ((i * 7919 % 1013) as f32) / 1013.0)
            .collect();
        let mean = density.iter().sum::<f32>() / density.len() as f32;
        for value in &mut density {
            *value -= mean;
        }
        let conditions =
            InitialConditions::from_density(&grid, density.clone(), true, Execution::Serial)
                .expect("the sizes agree");
        for (x, y, z) in [(0, 0, 0), (3, 1, 7), (7, 7, 7)] {
            let (mut sum, mut slope) = (0.0, 0.0);
            for i in 0..27 {
                let (dx, dy, dz) = (i / 9, i / 3 % 3, i % 3);
                let value = density[((3 * x + dx) * n + 3 * y + dy) * n + 3 * z + dz];
                sum += value / 27.0;
                // Least squares over offsets -1/3, 0, 1/3.
                slope += value * (dx as f32 - 1.0) / 3.0 / (9.0 * 2.0 / 9.0);
            }
            let at = (x * 8 + y) * 8 + z;
            assert!((conditions.density[at] - sum).abs() < 1e-5);
            assert!((conditions.density_slope[0][at] - slope).abs() < 1e-5);
        }
    }

    #[test]
    fn wrong_number_of_cells_is_refused() {
        let error = InitialConditions::from_density(
            &small_grid(8, 3),
            vec![0.0; 9],
            true,
            Execution::Serial,
        )
        .expect_err("9 cells are not 24^3");
        assert!(error.to_string().contains("13824"), "{error}");
    }
}
