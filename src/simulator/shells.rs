//! Densities around every cell, averaged over the spheres within which its sources lie.

use super::collapsed_fraction::ConditionalCollapse;
use super::constants::{EQUAL_VOLUME_RADIUS, SHELLS, SOURCE_HORIZON_MPC};
use super::cosmology::Background;
use super::execution::{Execution, vectorised};
use super::filter::Isotropic;
use super::fourier::{Fourier, Spectrum, signed_mode};
use super::parameters::Grid;
use super::perturbation::LOWEST_CONTRAST;

/// Spheres at least this large (Mpc) are averaged on a grid of half the resolution: the field varies
/// slowly there, which halves the work of the shells (0.1 % of the power spectrum).
const HALF_RESOLUTION_MPC: f64 = 20.0;
/// Intervals of the histograms from which box averages are taken.
const HISTOGRAM_BINS: usize = 512;

/// Outer radii of the light-travel shells in Mpc: from a cell to 500 Mpc in equal ratios.
#[must_use]
pub fn shell_radii_mpc(grid: &Grid) -> Vec<f64> {
    let smallest = EQUAL_VOLUME_RADIUS * grid.cell_mpc;
    (0..SHELLS)
        .map(|r| smallest * (SOURCE_HORIZON_MPC / smallest).powf(r as f64 / SHELLS as f64))
        .collect()
}

/// Emission redshift in the middle of each shell seen from `redshift`, and the shell's depth in redshift.
#[must_use]
pub fn emission_redshifts(
    background: &Background,
    radii_mpc: &[f64],
    redshift: f64,
) -> Vec<(f64, f64)> {
    let (mut edge, mut inner) = (redshift, 0.0);
    radii_mpc
        .iter()
        .map(|&radius| {
            let next = edge + (radius - inner) / background.dr_dz_mpc(edge);
            let shell = (0.5 * (next + edge), next - edge);
            (edge, inner) = (next, radius);
            shell
        })
        .collect()
}

/// The density contrast averaged over one radius.
#[derive(Debug)]
pub(crate) struct Shell {
    /// Contrast extrapolated linearly to redshift 0, on the full or the half grid.
    pub(crate) contrast: Vec<f32>,
    /// On the half grid?
    pub(crate) half_resolution: bool,
    /// `(share of the cells, their contrast)`.
    histogram: Vec<(f64, f64)>,
    pub(crate) largest: f64,
}

impl Shell {
    /// Mean collapsed fraction of the box.
    pub(crate) fn mean_fraction(&self, collapse: &ConditionalCollapse) -> f64 {
        self.histogram
            .iter()
            .map(|&(share, contrast)| share * collapse.fraction(contrast))
            .sum()
    }
}

/// The averaged densities of all shells, refreshed as the density evolves.
#[derive(Debug)]
pub(crate) struct ShellDensities {
    pub(crate) shells: Vec<Shell>,
    filters: Vec<Isotropic>,
    full: Fourier,
    half: Option<HalfGrid>,
}

#[derive(Debug)]
struct HalfGrid {
    fourier: Fourier,
    spectrum: Spectrum,
    scratch: Spectrum,
}

impl ShellDensities {
    pub(crate) fn new(
        grid: &Grid,
        radii_mpc: &[f64],
        full: &Fourier,
        execution: Execution,
    ) -> Self {
        let n = grid.cells;
        let half =
            (n.is_multiple_of(2) && grid.cell_mpc * 2.0 <= 0.4 * HALF_RESOLUTION_MPC).then(|| {
                let fourier = Fourier::new(n / 2, execution);
                HalfGrid {
                    spectrum: fourier.zeros(),
                    scratch: fourier.zeros(),
                    fourier,
                }
            });
        let mut shells = Vec::new();
        let mut filters = Vec::new();
        for (r, &radius) in radii_mpc.iter().enumerate() {
            let half_resolution = half.is_some() && radius >= HALF_RESOLUTION_MPC;
            let cells = if half_resolution { n / 2 } else { n };
            shells.push(Shell {
                contrast: vec![0.0; cells.pow(3)],
                half_resolution,
                histogram: Vec::new(),
                largest: 0.0,
            });
            // The smallest sphere is the cell itself.
            filters.push(if r == 0 {
                Isotropic::new(cells, grid.box_mpc(), |_| 1.0)
            } else {
                Isotropic::top_hat(cells, grid.box_mpc(), radius)
            });
        }
        Self {
            shells,
            filters,
            full: full.clone(),
            half,
        }
    }

    /// Recomputes the shells numbered `which` from the spectrum of the density contrast at `growth`.
    pub(crate) fn refresh(
        &mut self,
        which: std::ops::Range<usize>,
        spectrum: &Spectrum,
        scratch: &mut Spectrum,
        growth: f64,
    ) {
        if let Some(half) = &mut self.half
            && self.shells[which.clone()]
                .iter()
                .any(|shell| shell.half_resolution)
        {
            truncate(&self.full, spectrum, &half.fourier, &mut half.spectrum);
        }
        let per_growth = (1.0 / growth) as f32;
        for r in which {
            let shell = &mut self.shells[r];
            let filter = &self.filters[r];
            let finish = |line: &mut [f32], values: &[f32]| {
                for (to, value) in line.iter_mut().zip(values) {
                    *to = value.max(LOWEST_CONTRAST) * per_growth;
                }
            };
            match &mut self.half {
                Some(half) if shell.half_resolution => half.fourier.inverse_with(
                    &half.spectrum,
                    filter,
                    &mut half.scratch,
                    &mut shell.contrast,
                    finish,
                ),
                _ => self
                    .full
                    .inverse_with(spectrum, filter, scratch, &mut shell.contrast, finish),
            }
            (shell.histogram, shell.largest) = histogram(&shell.contrast);
        }
    }
}

/// Copies the modes that a coarser grid can hold.
fn truncate(fine: &Fourier, source: &Spectrum, coarse: &Fourier, target: &mut Spectrum) {
    let (m, n) = (fine.cells(), coarse.cells());
    let kept = (n - 1) / 2 + 1;
    let position = |index: usize| {
        let mode = signed_mode(index, n);
        // The mode at half the sampling rate has no unambiguous phase on the coarse grid.
        (2 * mode.unsigned_abs() as usize != n).then_some(mode.rem_euclid(m as i32) as usize)
    };
    for y in 0..n {
        for x in 0..n {
            let (Some(from_y), Some(from_x)) = (position(y), position(x)) else {
                continue;
            };
            let to = (y * n + x) * coarse.stride();
            let from = (from_y * m + from_x) * fine.stride();
            target.re[to..to + kept].copy_from_slice(&source.re[from..from + kept]);
            target.im[to..to + kept].copy_from_slice(&source.im[from..from + kept]);
        }
    }
}

/// Histogram of a field, `(share, middle)` of the intervals that are not empty, and its largest value.
fn histogram(field: &[f32]) -> (Vec<(f64, f64)>, f64) {
    let (low, high) = vectorised(
        #[inline(always)]
        || extremes(field),
    );
    let scale = HISTOGRAM_BINS as f32 / (high - low).max(1e-20);
    // Neighbouring cells often share an interval: separate counts keep them from waiting for each other.
    let mut counts = [[0_u32; HISTOGRAM_BINS]; 4];
    let bin = |value: f32| (((value - low) * scale) as usize).min(HISTOGRAM_BINS - 1);
    let (fours, rest) = field.as_chunks::<4>();
    for four in fours {
        for (counts, value) in counts.iter_mut().zip(four) {
            counts[bin(*value)] += 1;
        }
    }
    for value in rest {
        counts[0][bin(*value)] += 1;
    }
    let cells = field.len() as f64;
    let histogram = (0..HISTOGRAM_BINS)
        .map(|bin| (bin, counts.iter().map(|counts| counts[bin]).sum::<u32>()))
        .filter(|(_, count)| *count > 0)
        .map(|(bin, count)| {
            let middle = f64::from(low) + (bin as f64 + 0.5) / f64::from(scale);
            (f64::from(count) / cells, middle)
        })
        .collect();
    (histogram, f64::from(high))
}

/// Smallest and largest value.
#[inline(always)]
pub(crate) fn extremes(field: &[f32]) -> (f32, f32) {
    let (mut low, mut high) = ([f32::INFINITY; 8], [f32::NEG_INFINITY; 8]);
    let (eights, rest) = field.as_chunks::<8>();
    for eight in eights {
        for i in 0..8 {
            low[i] = if eight[i] < low[i] { eight[i] } else { low[i] };
            high[i] = if eight[i] > high[i] {
                eight[i]
            } else {
                high[i]
            };
        }
    }
    let low = low.iter().chain(rest).fold(f32::INFINITY, |a, &b| a.min(b));
    let high = high
        .iter()
        .chain(rest)
        .fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_grid_samples_the_smooth_field_at_every_other_cell() {
        let (full, half) = (
            Fourier::new(16, Execution::Serial),
            Fourier::new(8, Execution::Serial),
        );
        let field: Vec<f32> = (0..16_usize.pow(3))
            .map(|i| {
                let turn = |position: usize, mode: f32| {
                    (2.0 * std::f32::consts::PI * mode * position as f32 / 16.0).cos()
                };
                turn(i / 256, 2.0) + 0.5 * turn(i / 16 % 16, 1.0) * turn(i % 16, 3.0)
            })
            .collect();
        let (mut scratch, mut spectrum) = (full.zeros(), full.zeros());
        full.forward(&field, &mut scratch, &mut spectrum);
        let (mut coarse, mut coarse_scratch) = (half.zeros(), half.zeros());
        truncate(&full, &spectrum, &half, &mut coarse);
        let mut sampled = vec![0.0; 8_usize.pow(3)];
        half.inverse(
            &coarse,
            &super::super::fourier::Unfiltered,
            &mut coarse_scratch,
            &mut sampled,
        );
        for (i, value) in sampled.iter().enumerate() {
            let expected = field[(2 * (i / 64) * 16 + 2 * (i / 8 % 8)) * 16 + 2 * (i % 8)];
            assert!((value - expected).abs() < 1e-5, "{i}: {value} {expected}");
        }
    }

    #[test]
    fn histogram_keeps_the_mean_of_a_curved_function() {
        let field: Vec<f32> = (0..10_000).map(|i| (i as f32 * 0.37).sin()).collect();
        let (histogram, largest) = histogram(&field);
        let exact = field.iter().map(|&v| f64::from(3.0 * v).exp()).sum::<f64>() / 1e4;
        let found: f64 = histogram
            .iter()
            .map(|(share, mean)| share * (3.0 * mean).exp())
            .sum();
        assert!((found / exact - 1.0).abs() < 1e-3, "{found} {exact}");
        assert!(largest <= 1.0);
    }
}
