//! Three-dimensional Fourier transforms of real periodic fields.
//!
//! The transforms along one axis are vectorised across independent lines: the lines are the lanes of the
//! vectors, so that every butterfly is plain arithmetic on contiguous numbers. Real and imaginary parts
//! are kept apart. Two real lines share one complex transform along the last axis.

use super::execution::Execution;
use plan::{Plan, Work};

mod lines;
mod plan;
mod power;
mod transpose;

/// Lanes are padded to a multiple of this many numbers, so that no vector is partial.
const LANE_MULTIPLE: usize = 16;
/// Lines are transformed in groups whose four buffers stay within a second-level cache.
const GROUP_FLOATS: usize = 24 * 1024;

/// Half of the Fourier coefficients of a real field on a cubic grid.
///
/// The field is `f(x) = sum_n c_n exp(2 pi i n x / N)`; the coefficients with negative `n_z` are the
/// conjugates of the others and are not stored. Layout `[n_y][n_x][n_z]`, `n_x` and `n_y` in the usual
/// wrapped order, `n_z` from 0 to N/2, rows padded with zeros.
#[derive(Debug, Clone)]
pub struct Spectrum {
    pub(crate) re: Vec<f32>,
    pub(crate) im: Vec<f32>,
}

/// Transforms of fields of one size.
#[derive(Debug, Clone)]
pub struct Fourier {
    n: usize,
    /// Stored wavenumbers along z.
    half: usize,
    /// Length of a padded row of them.
    stride: usize,
    plan: Plan,
    execution: Execution,
}

/// Chooses and scales the coefficients that enter an inverse transform, row by row.
pub(crate) trait ModeFilter: Sync {
    /// Largest `|n|` along any axis that can be different from zero.
    fn largest_mode(&self, n: usize) -> usize {
        n / 2
    }

    /// Writes the filtered coefficients with wavenumbers `(mode_x, mode_y, 0..)` to `re` and `im`.
    fn row(&self, modes: [i32; 2], source: (&[f32], &[f32]), target: (&mut [f32], &mut [f32]));
}

/// All coefficients as they are.
pub(crate) struct Unfiltered;

impl ModeFilter for Unfiltered {
    fn row(&self, _: [i32; 2], source: (&[f32], &[f32]), target: (&mut [f32], &mut [f32])) {
        let length = target.0.len();
        target.0.copy_from_slice(&source.0[..length]);
        target.1.copy_from_slice(&source.1[..length]);
    }
}

/// The signed wavenumber at position `index` of `n`: positions beyond n/2 are negative.
pub(crate) fn signed_mode(index: usize, n: usize) -> i32 {
    if index <= n / 2 {
        index as i32
    } else {
        index as i32 - n as i32
    }
}

impl Fourier {
    /// Prepares transforms of `n`^3 cells.
    #[must_use]
    pub fn new(n: usize, execution: Execution) -> Self {
        let half = n / 2 + 1;
        Self {
            n,
            half,
            stride: half.next_multiple_of(LANE_MULTIPLE),
            plan: Plan::new(n),
            execution,
        }
    }

    /// Cells per side.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.n
    }

    /// Who runs the loops.
    pub(crate) fn execution(&self) -> Execution {
        self.execution
    }

    /// Stored wavenumbers along z.
    pub(crate) fn half(&self) -> usize {
        self.half
    }

    /// Length of a padded row of wavenumbers along z.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// A spectrum of zeros.
    #[must_use]
    pub fn zeros(&self) -> Spectrum {
        let length = self.n * self.n * self.stride;
        Spectrum {
            re: vec![0.0; length],
            im: vec![0.0; length],
        }
    }

    /// Coefficients of `field` (layout `[x][y][z]`) into `output`; `scratch` is overwritten.
    pub fn forward(&self, field: &[f32], scratch: &mut Spectrum, output: &mut Spectrum) {
        self.forward_planes(field, scratch);
        self.forward_x(scratch, output);
    }

    /// The first half of [`Self::forward`], after which `field` is no longer needed: transforms along z
    /// and y into `scratch`, layout `[x][n_y][n_z]`.
    pub(crate) fn forward_planes(&self, field: &[f32], scratch: &mut Spectrum) {
        let n = self.n;
        let plane = n * self.stride;
        let pieces: Vec<_> = field
            .chunks_exact(n * n)
            .zip(scratch.re.chunks_exact_mut(plane))
            .zip(scratch.im.chunks_exact_mut(plane))
            .collect();
        self.execution
            .run(pieces, Work::default, |work, ((field, re), im)| {
                self.real_lines_to_modes(work, field, re, im);
                for (start, lanes) in self.lane_groups(self.stride) {
                    work.resize(n * lanes);
                    for y in 0..n {
                        let row = y * self.stride + start;
                        copy_lanes(&mut work.re[y * lanes..][..lanes], &re[row..row + lanes]);
                        copy_lanes(&mut work.im[y * lanes..][..lanes], &im[row..row + lanes]);
                    }
                    self.plan.forward(work, lanes);
                    for y in 0..n {
                        let row = y * self.stride + start;
                        copy_lanes(&mut re[row..row + lanes], &work.re[y * lanes..][..lanes]);
                        copy_lanes(&mut im[row..row + lanes], &work.im[y * lanes..][..lanes]);
                    }
                }
            });
    }

    /// The second half of [`Self::forward`].
    pub(crate) fn forward_x(&self, planes: &Spectrum, output: &mut Spectrum) {
        let n = self.n;
        let plane = n * self.stride;
        let normalisation = (1.0 / (n as f64).powi(3)) as f32;
        let pieces: Vec<_> = output
            .re
            .chunks_exact_mut(plane)
            .zip(output.im.chunks_exact_mut(plane))
            .enumerate()
            .collect();
        self.execution
            .run(pieces, Work::default, |work, (y, (re, im))| {
                for (start, lanes) in self.lane_groups(self.stride) {
                    work.resize(n * lanes);
                    for x in 0..n {
                        let row = (x * n + y) * self.stride + start;
                        copy_lanes(
                            &mut work.re[x * lanes..][..lanes],
                            &planes.re[row..row + lanes],
                        );
                        copy_lanes(
                            &mut work.im[x * lanes..][..lanes],
                            &planes.im[row..row + lanes],
                        );
                    }
                    self.plan.forward(work, lanes);
                    for x in 0..n {
                        let row = x * self.stride + start;
                        scale(
                            &work.re[x * lanes..][..lanes],
                            normalisation,
                            &mut re[row..row + lanes],
                        );
                        scale(
                            &work.im[x * lanes..][..lanes],
                            normalisation,
                            &mut im[row..row + lanes],
                        );
                    }
                }
            });
    }

    /// The field (layout `[x][y][z]`) with the filtered coefficients of `spectrum`; `scratch` is
    /// overwritten.
    pub(crate) fn inverse(
        &self,
        spectrum: &Spectrum,
        filter: &impl ModeFilter,
        scratch: &mut Spectrum,
        output: &mut [f32],
    ) {
        self.inverse_with(spectrum, filter, scratch, output, |line, values| {
            line.copy_from_slice(values);
        });
    }

    /// As [`Self::inverse`], but hands each finished line to `consume(output line, values)`.
    pub(crate) fn inverse_with(
        &self,
        spectrum: &Spectrum,
        filter: &impl ModeFilter,
        scratch: &mut Spectrum,
        output: &mut [f32],
        consume: impl Fn(&mut [f32], &[f32]) + Sync + Send,
    ) {
        let n = self.n;
        let plane = n * self.stride;
        let largest = filter.largest_mode(n).min(n / 2);
        let columns = (largest + 1)
            .next_multiple_of(LANE_MULTIPLE)
            .min(self.stride);
        let used = |index: usize| signed_mode(index, n).unsigned_abs() as usize <= largest;

        let pieces: Vec<_> = scratch
            .re
            .chunks_exact_mut(plane)
            .zip(scratch.im.chunks_exact_mut(plane))
            .enumerate()
            .filter(|(y, _)| used(*y))
            .collect();
        self.execution
            .run(pieces, Work::default, |work, (y, (re, im))| {
                let mode_y = signed_mode(y, n);
                for (start, lanes) in self.lane_groups(columns) {
                    work.resize(n * lanes);
                    if start == 0 {
                        work.row_re.resize(columns, 0.0);
                        work.row_im.resize(columns, 0.0);
                    }
                    for x in 0..n {
                        let (to_re, to_im) = (
                            &mut work.re[x * lanes..][..lanes],
                            &mut work.im[x * lanes..][..lanes],
                        );
                        if !used(x) {
                            to_re.fill(0.0);
                            to_im.fill(0.0);
                            continue;
                        }
                        let row = (y * n + x) * self.stride;
                        let source = (
                            &spectrum.re[row..row + self.stride],
                            &spectrum.im[row..row + self.stride],
                        );
                        let modes = [signed_mode(x, n), mode_y];
                        if lanes == columns {
                            filter.row(modes, source, (to_re, to_im));
                        } else {
                            filter.row(modes, source, (&mut work.row_re, &mut work.row_im));
                            copy_lanes(to_re, &work.row_re[start..start + lanes]);
                            copy_lanes(to_im, &work.row_im[start..start + lanes]);
                        }
                    }
                    self.plan.inverse(work, lanes);
                    for x in 0..n {
                        let row = x * self.stride + start;
                        copy_lanes(&mut re[row..row + lanes], &work.re[x * lanes..][..lanes]);
                        copy_lanes(&mut im[row..row + lanes], &work.im[x * lanes..][..lanes]);
                    }
                }
            });

        let scratch = &*scratch;
        let pieces: Vec<_> = output.chunks_exact_mut(n * n).enumerate().collect();
        self.execution.run(
            pieces,
            || {
                // Whole groups of pairs of lines; those beyond the plane stay zero.
                let rows = (2 * n.div_ceil(2).next_multiple_of(LANE_MULTIPLE)) * self.stride;
                (Work::default(), vec![0.0; rows], vec![0.0; rows])
            },
            |(work, slab_re, slab_im), (x, field)| {
                for (start, lanes) in self.lane_groups(columns) {
                    work.resize(n * lanes);
                    for y in 0..n {
                        let (to_re, to_im) = (
                            &mut work.re[y * lanes..][..lanes],
                            &mut work.im[y * lanes..][..lanes],
                        );
                        if used(y) {
                            let row = (y * n + x) * self.stride + start;
                            copy_lanes(to_re, &scratch.re[row..row + lanes]);
                            copy_lanes(to_im, &scratch.im[row..row + lanes]);
                        } else {
                            to_re.fill(0.0);
                            to_im.fill(0.0);
                        }
                    }
                    self.plan.inverse(work, lanes);
                    for y in 0..n {
                        let row = y * self.stride + start;
                        copy_lanes(
                            &mut slab_re[row..row + lanes],
                            &work.re[y * lanes..][..lanes],
                        );
                        copy_lanes(
                            &mut slab_im[row..row + lanes],
                            &work.im[y * lanes..][..lanes],
                        );
                    }
                }
                self.modes_to_real_lines(work, slab_re, slab_im, largest + 1, field, &consume);
            },
        );
    }
}

/// Copies a group of lanes; its length is a multiple of [`LANE_MULTIPLE`], so that the copy is a few vectors
/// and not a call.
#[inline(always)]
fn copy_lanes(target: &mut [f32], source: &[f32]) {
    let (target, _) = target.as_chunks_mut::<LANE_MULTIPLE>();
    let (source, _) = source.as_chunks::<LANE_MULTIPLE>();
    for (to, from) in target.iter_mut().zip(source) {
        *to = *from;
    }
}

/// `target = factor * source`.
fn scale(source: &[f32], factor: f32, target: &mut [f32]) {
    for (to, from) in target.iter_mut().zip(source) {
        *to = factor * from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn21_kernels::rng::{Stream, generator, unit_interval};
    use rand_xoshiro::rand_core::Rng;

    fn random_field(n: usize) -> Vec<f32> {
        let mut generator = generator(5, Stream::Audit, &[n as u64]);
        (0..n * n * n)
            .map(|_| unit_interval(generator.next_u64()) as f32 - 0.5)
            .collect()
    }

    /// The definition, for one coefficient.
    fn coefficient(field: &[f32], n: usize, modes: [i32; 3]) -> (f64, f64) {
        let (mut re, mut im) = (0.0, 0.0);
        for (i, &value) in field.iter().enumerate() {
            let position = [i / (n * n), i / n % n, i % n];
            let turns: f64 = (0..3)
                .map(|a| f64::from(modes[a]) * position[a] as f64 / n as f64)
                .sum();
            let (sin, cos) = (-2.0 * std::f64::consts::PI * turns).sin_cos();
            re += f64::from(value) * cos;
            im += f64::from(value) * sin;
        }
        let cells = (n as f64).powi(3);
        (re / cells, im / cells)
    }

    #[test]
    fn forward_matches_the_definition_for_every_radix() {
        for n in [8, 9, 10, 14, 15, 22] {
            let fourier = Fourier::new(n, Execution::Serial);
            let field = random_field(n);
            let (mut scratch, mut spectrum) = (fourier.zeros(), fourier.zeros());
            scratch.re.fill(f32::NAN);
            fourier.forward(&field, &mut scratch, &mut spectrum);
            for modes in [
                [0_i32, 0, 0],
                [1, 0, 0],
                [0, 2, 1],
                [-3, 1, 2],
                [2, -2, 4],
                [-1, -1, 3],
            ] {
                let (x, y) = (
                    modes[0].rem_euclid(n as i32) as usize,
                    modes[1].rem_euclid(n as i32) as usize,
                );
                let at = (y * n + x) * fourier.stride() + modes[2] as usize;
                let (re, im) = coefficient(&field, n, modes);
                assert!(
                    (f64::from(spectrum.re[at]) - re).abs() < 1e-7
                        && (f64::from(spectrum.im[at]) - im).abs() < 1e-7,
                    "n = {n}, mode {modes:?}: expected {re:e} {im:e}, found {:e} {:e}",
                    spectrum.re[at],
                    spectrum.im[at]
                );
            }
        }
    }

    #[test]
    fn inverse_returns_the_field_for_any_number_of_threads() {
        for n in [8, 9, 25, 50, 100] {
            let field = random_field(n);
            let mut previous: Option<Vec<f32>> = None;
            for execution in [Execution::Serial, Execution::Parallel] {
                let fourier = Fourier::new(n, execution);
                let (mut scratch, mut spectrum) = (fourier.zeros(), fourier.zeros());
                fourier.forward(&field, &mut scratch, &mut spectrum);
                scratch.re.fill(f32::NAN);
                scratch.im.fill(f32::NAN);
                let mut back = vec![f32::NAN; field.len()];
                fourier.inverse(&spectrum, &Unfiltered, &mut scratch, &mut back);
                for (expected, found) in field.iter().zip(&back) {
                    assert!((expected - found).abs() < 2e-6, "n = {n}");
                }
                if let Some(previous) = &previous {
                    assert!(
                        previous
                            .iter()
                            .zip(&back)
                            .all(|(a, b)| a.to_bits() == b.to_bits())
                    );
                }
                previous = Some(back);
            }
        }
    }
}
