//! Density evolved by moving matter along its displacement.

use super::constants::GRID_REDSHIFT;
use super::cosmology::Background;
use super::execution::{Execution, vectorised};
use super::initial_conditions::InitialConditions;
use super::parameters::{Grid, Physics};

/// Density contrasts below this are raised to it.
pub(crate) const LOWEST_CONTRAST: f32 = -1.0 + 1e-7;

/// Moves the matter of fixed initial conditions.
///
/// The fine cells within a cell share its displacement, so that their deposition factorises: three weights
/// per axis hold the mass of all of them, six with the slope of the initial density across the cell.
#[derive(Debug)]
pub struct Perturbation<'a> {
    conditions: &'a InitialConditions,
    cells: usize,
    weights: Vec<AxisWeights>,
    grid_growth: f64,
    /// Largest displacement along any axis, first and second order.
    largest: [f64; 2],
    execution: Execution,
}

/// Weights of the three nearest cells, linear in the position within one interval of it.
#[derive(Debug, Clone, Copy, Default)]
struct AxisWeights {
    mean: [f32; 4],
    mean_rise: [f32; 4],
    slope: [f32; 4],
    slope_rise: [f32; 4],
}

impl AxisWeights {
    /// Weights for the mean mass and for its slope at `fraction` of the interval.
    #[inline(always)]
    fn at(&self, fraction: f32) -> ([f32; 4], [f32; 4]) {
        let mut mean = self.mean;
        let mut slope = self.slope;
        for t in 0..4 {
            mean[t] += fraction * self.mean_rise[t];
            slope[t] += fraction * self.slope_rise[t];
        }
        (mean, slope)
    }
}

impl<'a> Perturbation<'a> {
    /// Prepares to move the matter of `conditions`.
    #[must_use]
    pub fn new(
        conditions: &'a InitialConditions,
        grid: &Grid,
        background: &Background,
        physics: &Physics,
        execution: Execution,
    ) -> Self {
        let largest = |fields: &[Vec<f32>; 3]| {
            fields
                .iter()
                .flatten()
                .fold(0.0_f32, |largest, value| largest.max(value.abs()))
        };
        Self {
            conditions,
            cells: grid.cells,
            weights: axis_weights(grid.fine_factor, physics.cloud_in_cell),
            grid_growth: background.growth(GRID_REDSHIFT),
            largest: [
                f64::from(largest(&conditions.displacement)),
                conditions
                    .second_displacement
                    .as_ref()
                    .map_or(0.0, |fields| f64::from(largest(fields))),
            ],
            execution,
        }
    }

    /// The density contrast at growth factor `growth` into `density`, layout `[x][y][z]`.
    pub fn density(&self, growth: f64, density: &mut [f32]) {
        let n = self.cells;
        let first = growth - self.grid_growth;
        let second = 3.0 / 7.0 * (growth * growth - self.grid_growth * self.grid_growth);
        let reach = (self.largest[0] * first + self.largest[1] * second).ceil() as usize + 2;
        // A number of slabs that depends on the grid alone, so that sums are made in the same order.
        let slabs = if n >= 96 { n.div_ceil(8) } else { n };
        let pieces: Vec<usize> = (0..n).step_by(slabs).collect();
        let deposits = self.execution.run(
            pieces,
            || (),
            |(), start| {
                let mut deposit = Deposit::new(n, start, slabs.min(n - start), reach);
                vectorised(
                    #[inline(always)]
                    || self.deposit(&mut deposit, first as f32, second as f32),
                );
                deposit
            },
        );
        density.fill(-1.0);
        for deposit in &deposits {
            deposit.add_to(density);
        }
        for value in density.iter_mut() {
            *value = value.max(LOWEST_CONTRAST);
        }
    }

    #[inline(always)]
    #[expect(
        clippy::needless_range_loop,
        reason = "z counts the cells of five fields"
    )]
    fn deposit(&self, deposit: &mut Deposit, first: f32, second: f32) {
        let n = self.cells;
        let conditions = self.conditions;
        let intervals = self.weights.len() as f32;
        let mass_growth = self.grid_growth as f32;
        let mut moved = [vec![0.0_f32; n], vec![0.0_f32; n], vec![0.0_f32; n]];
        for x in deposit.start..deposit.start + deposit.slabs {
            for y in 0..n {
                let row = (x * n + y) * n;
                for (axis, moved) in moved.iter_mut().enumerate() {
                    let psi = &conditions.displacement[axis][row..row + n];
                    for (to, psi) in moved.iter_mut().zip(psi) {
                        *to = first * psi;
                    }
                    if let Some(fields) = &conditions.second_displacement {
                        for (to, psi) in moved.iter_mut().zip(&fields[axis][row..row + n]) {
                            *to += second * psi;
                        }
                    }
                }
                for z in 0..n {
                    let cell = row + z;
                    let mut base = [0_i32; 3];
                    let mut mean = [[0.0_f32; 4]; 3];
                    let mut slope = [[0.0_f32; 4]; 3];
                    for axis in 0..3 {
                        let position = moved[axis][z] + 0.5;
                        let floor = position.floor();
                        base[axis] = floor as i32;
                        let inside = (position - floor) * intervals;
                        let interval = (inside as usize).min(self.weights.len() - 1);
                        (mean[axis], slope[axis]) =
                            self.weights[interval].at(inside - interval as f32);
                    }
                    let mass = 1.0 + mass_growth * conditions.density[cell];
                    let slopes =
                        [0, 1, 2].map(|axis| mass_growth * conditions.density_slope[axis][cell]);
                    let column = (z + deposit.reach) as i32 + base[2] - 1;
                    let rows = [-1, 0, 1].map(|ty| wrap(y as i32 + base[1] + ty, n));
                    let first_slab = (x - deposit.start + deposit.reach) as i32 + base[0] - 1;
                    for tx in 0..3 {
                        let slab = (first_slab + tx as i32) as usize * n;
                        let flat_x = mass * mean[0][tx] + slopes[0] * slope[0][tx];
                        let across = slopes[1] * mean[0][tx];
                        let along_x = slopes[2] * mean[0][tx];
                        for ty in 0..3 {
                            let flat = flat_x * mean[1][ty] + across * slope[1][ty];
                            let along = along_x * mean[1][ty];
                            let at = (slab + rows[ty]) * deposit.stride + column as usize;
                            if let Some(target) = deposit.mass[at..].first_chunk_mut::<4>() {
                                for t in 0..4 {
                                    target[t] += flat * mean[2][t] + along * slope[2][t];
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn wrap(index: i32, n: usize) -> usize {
    let n = n as i32;
    // Displacements are far smaller than the box in all but absurd boxes, where the remainder is taken.
    let index = if index < 0 {
        index + n
    } else if index >= n {
        index - n
    } else {
        index
    };
    if (0..n).contains(&index) {
        index as usize
    } else {
        index.rem_euclid(n) as usize
    }
}

/// Mass deposited by some slabs, with a margin for what leaves them.
struct Deposit {
    n: usize,
    start: usize,
    slabs: usize,
    reach: usize,
    stride: usize,
    mass: Vec<f32>,
}

impl Deposit {
    fn new(n: usize, start: usize, slabs: usize, reach: usize) -> Self {
        let stride = n + 2 * reach + 4;
        Self {
            n,
            start,
            slabs,
            reach,
            stride,
            mass: vec![0.0; (slabs + 2 * reach) * n * stride],
        }
    }

    fn add_to(&self, density: &mut [f32]) {
        let n = self.n;
        for slab in 0..self.slabs + 2 * self.reach {
            // Adding a multiple of n keeps the sum positive.
            let x = (self.start + slab + self.reach * n - self.reach) % n;
            for y in 0..n {
                let source = &self.mass[(slab * n + y) * self.stride..][..self.stride];
                let target = &mut density[(x * n + y) * n..][..n];
                for (to, from) in target.iter_mut().zip(&source[self.reach..]) {
                    *to += from;
                }
                for (i, from) in source.iter().enumerate() {
                    if i < self.reach || i >= self.reach + n {
                        target[(i + self.reach * n - self.reach) % n] += from;
                    }
                }
            }
        }
    }
}

/// Weights of the cells at distance -1, 0 and 1 for `fine_factor` equidistant particles whose middle lies
/// at a position between -1/2 and 1/2; exact, because the weights are linear between multiples of
/// `1 / (2 fine_factor)`.
fn axis_weights(fine_factor: usize, cloud_in_cell: bool) -> Vec<AxisWeights> {
    let intervals = 2 * fine_factor;
    let weight = |position: f64, target: f64, middle: f64| {
        if cloud_in_cell {
            (1.0 - (position - target).abs()).max(0.0)
        } else {
            // Nearest cell; decided in the middle of the interval, within which it does not change.
            f64::from(u8::from((middle - target).abs() < 0.5))
        }
    };
    let sums = |start: f64, middle: f64, target: f64| {
        let (mut mean, mut slope) = (0.0, 0.0);
        for j in 0..fine_factor {
            let offset = (j as f64 + 0.5) / fine_factor as f64 - 0.5;
            let w = weight(start + offset, target, middle + offset) / fine_factor as f64;
            mean += w;
            slope += w * offset;
        }
        (mean, slope)
    };
    (0..intervals)
        .map(|interval| {
            let start = interval as f64 / intervals as f64 - 0.5;
            let end = (interval + 1) as f64 / intervals as f64 - 0.5;
            let middle = 0.5 * (start + end);
            let mut weights = AxisWeights::default();
            for (t, target) in [-1.0, 0.0, 1.0].into_iter().enumerate() {
                let (mean, slope) = sums(start, middle, target);
                let (mean_end, slope_end) = sums(end, middle, target);
                weights.mean[t] = mean as f32;
                weights.mean_rise[t] = (mean_end - mean) as f32;
                weights.slope[t] = slope as f32;
                weights.slope_rise[t] = (slope_end - slope) as f32;
            }
            weights
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_single_particles() {
        for fine_factor in [1, 2, 3, 4] {
            let table = axis_weights(fine_factor, true);
            for i in 0..100 {
                let position = (f64::from(i) + 0.5) / 100.0 - 0.5;
                let inside = (position + 0.5) * table.len() as f64;
                let (mean, slope) = table[inside as usize].at(inside.fract() as f32);
                assert!((mean[..3].iter().sum::<f32>() - 1.0).abs() < 1e-6);
                for (t, target) in [-1.0, 0.0, 1.0].into_iter().enumerate() {
                    let (mut expected, mut expected_slope) = (0.0, 0.0);
                    for j in 0..fine_factor {
                        let offset = (j as f64 + 0.5) / fine_factor as f64 - 0.5;
                        let w = (1.0 - (position + offset - target).abs()).max(0.0)
                            / fine_factor as f64;
                        expected += w;
                        expected_slope += w * offset;
                    }
                    assert!((f64::from(mean[t]) - expected).abs() < 1e-6);
                    assert!((f64::from(slope[t]) - expected_slope).abs() < 1e-6);
                }
            }
        }
    }
}
