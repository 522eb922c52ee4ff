//! Three-dimensional Fourier transforms of real periodic fields.
//!
//! The transforms along one axis are vectorised across independent lines: the lines are the lanes of the
//! vectors, so that every butterfly is plain arithmetic on contiguous numbers. Real and imaginary parts
//! are kept apart. Two real lines share one complex transform along the last axis.

use pulp::{Simd, WithSimd};

use super::execution::Execution;

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

    /// Dimensionless power spectrum `k^3 P / (2 pi^2)` in `bins` intervals of equal width in ln k from the
    /// fundamental mode to the smallest sphere's: `(mean k in 1/Mpc, power, number of modes)`, empty
    /// intervals left out.
    #[must_use]
    pub fn binned_power(
        &self,
        spectrum: &Spectrum,
        box_mpc: f64,
        bins: usize,
    ) -> Vec<(f64, f64, usize)> {
        let n = self.n;
        let fundamental = 2.0 * std::f64::consts::PI / box_mpc;
        let width = (n as f64 / 2.0).ln() / bins as f64;
        let mut sums = vec![(0.0, 0.0, 0_usize); bins];
        for y in 0..n {
            for x in 0..n {
                for z in 0..self.half {
                    let modes = [signed_mode(x, n), signed_mode(y, n), z as i32];
                    let square: i32 = modes.iter().map(|mode| mode * mode).sum();
                    let length = f64::from(square).sqrt();
                    if square == 0 {
                        continue;
                    }
                    let bin = (length.ln() / width) as usize;
                    if bin >= bins {
                        continue;
                    }
                    // Modes with 0 < n_z < n/2 stand for their conjugates as well.
                    let weight = if z == 0 || 2 * z == n { 1 } else { 2 };
                    let at = (y * n + x) * self.stride + z;
                    let power =
                        f64::from(spectrum.re[at]).powi(2) + f64::from(spectrum.im[at]).powi(2);
                    sums[bin].0 += weight as f64 * length * fundamental;
                    sums[bin].1 += weight as f64 * power;
                    sums[bin].2 += weight;
                }
            }
        }
        sums.into_iter()
            .filter(|sum| sum.2 > 0)
            .map(|(k, power, modes)| {
                let k = k / modes as f64;
                let volume = box_mpc.powi(3);
                let factor = volume * k.powi(3) / (2.0 * std::f64::consts::PI.powi(2));
                (k, factor * power / modes as f64, modes)
            })
            .collect()
    }

    /// Groups `(start, lanes)` of neighbouring columns that are transformed together.
    fn lane_groups(&self, columns: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let widest = (GROUP_FLOATS / self.n / LANE_MULTIPLE).max(1) * LANE_MULTIPLE;
        // Equal groups: a narrow last one would waste the lanes of its vectors.
        let groups = columns.div_ceil(widest);
        let lanes = columns.div_ceil(groups).next_multiple_of(LANE_MULTIPLE);
        (0..columns)
            .step_by(lanes)
            .map(move |start| (start, lanes.min(columns - start)))
    }

    /// Transforms along z of one plane `[y][z]`, lines 2j and 2j+1 as real and imaginary part.
    fn real_lines_to_modes(&self, work: &mut Work, field: &[f32], re: &mut [f32], im: &mut [f32]) {
        let n = self.n;
        re.fill(0.0);
        im.fill(0.0);
        for (start, lanes) in self.lane_groups(n.div_ceil(2).next_multiple_of(LANE_MULTIPLE)) {
            work.resize(n * lanes);
            let pairs = lanes.min(n.div_ceil(2) - start.min(n.div_ceil(2)));
            for lane in (0..lanes).step_by(8) {
                let y = 2 * (start + lane);
                if y + 16 <= n {
                    for (part, target) in [&mut work.re, &mut work.im].into_iter().enumerate() {
                        LaneCopy::ToLanes {
                            lines: &field[(y + part) * n..],
                            step: 2 * n,
                            n,
                            target,
                            lanes,
                            lane,
                        }
                        .dispatch();
                    }
                    continue;
                }
                // The last lines of the plane; lanes without a line hold zeros.
                for i in 0..8 {
                    for (part, target) in [&mut work.re, &mut work.im].into_iter().enumerate() {
                        let line = y + 2 * i + part;
                        for z in 0..n {
                            target[z * lanes + lane + i] =
                                if line < n { field[line * n + z] } else { 0.0 };
                        }
                    }
                }
            }
            self.plan.forward(work, lanes);
            for mode in 0..self.half {
                let mirror = (n - mode) % n;
                for lane in 0..pairs {
                    let y = 2 * (start + lane);
                    let (a, b) = (work.re[mode * lanes + lane], work.im[mode * lanes + lane]);
                    let (c, d) = (
                        work.re[mirror * lanes + lane],
                        work.im[mirror * lanes + lane],
                    );
                    re[y * self.stride + mode] = 0.5 * (a + c);
                    im[y * self.stride + mode] = 0.5 * (b - d);
                    if y + 1 < n {
                        re[(y + 1) * self.stride + mode] = 0.5 * (b + d);
                        im[(y + 1) * self.stride + mode] = 0.5 * (c - a);
                    }
                }
            }
        }
    }

    /// The inverse of [`Self::real_lines_to_modes`] from the first `modes` modes; the others are zero.
    fn modes_to_real_lines(
        &self,
        work: &mut Work,
        re: &[f32],
        im: &[f32],
        modes: usize,
        field: &mut [f32],
        consume: &impl Fn(&mut [f32], &[f32]),
    ) {
        let n = self.n;
        let stride = self.stride;
        let pairs = n.div_ceil(2);
        for (start, lanes) in self.lane_groups(pairs.next_multiple_of(LANE_MULTIPLE)) {
            work.resize(n * lanes);
            PairModes {
                re,
                im,
                stride,
                first_pair: start,
                modes,
                n,
                lanes,
                work,
            }
            .dispatch();
            self.plan.inverse(work, lanes);
            work.row_re.resize((8 * n).max(work.row_re.len()), 0.0);
            work.row_im.resize((8 * n).max(work.row_im.len()), 0.0);
            for lane in (0..lanes).step_by(8) {
                for (source, lines) in [(&work.re, &mut work.row_re), (&work.im, &mut work.row_im)]
                {
                    LaneCopy::ToLines {
                        source,
                        lanes,
                        lane,
                        n,
                        lines,
                    }
                    .dispatch();
                }
                for i in 0..8.min(pairs.saturating_sub(start + lane)) {
                    let y = 2 * (start + lane + i);
                    let lines = [&work.row_re, &work.row_im];
                    for (part, line) in lines.iter().enumerate().take(n - y) {
                        consume(
                            &mut field[(y + part) * n..(y + part + 1) * n],
                            &line[i * n..(i + 1) * n],
                        );
                    }
                }
            }
        }
    }
}

/// Exchanges rows and columns of 8 by 8 numbers.
trait Transpose: Copy {
    fn transpose(self, rows: [[f32; 8]; 8]) -> [[f32; 8]; 8];
}

/// Exchanges number by number.
#[derive(Clone, Copy)]
struct PortableTranspose;

impl Transpose for PortableTranspose {
    #[inline(always)]
    fn transpose(self, rows: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
        std::array::from_fn(|i| std::array::from_fn(|j| rows[j][i]))
    }
}

/// Exchanges whole vectors: the compiler does not find the shuffles by itself.
#[cfg(target_arch = "x86_64")]
impl Transpose for pulp::x86::V3 {
    #[inline(always)]
    fn transpose(self, rows: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
        use core::arch::x86_64::__m256;
        let avx = self.avx;
        let r: [__m256; 8] = rows.map(pulp::cast);
        // Pairs of numbers, then quadruples, then halves.
        let pairs: [__m256; 8] = std::array::from_fn(|i| {
            let (a, b) = (r[i / 2 * 2], r[i / 2 * 2 + 1]);
            if i % 2 == 0 {
                avx._mm256_unpacklo_ps(a, b)
            } else {
                avx._mm256_unpackhi_ps(a, b)
            }
        });
        let quadruples: [__m256; 8] = std::array::from_fn(|i| {
            let base = i / 4 * 4 + i % 4 / 2;
            let (a, b) = (pairs[base], pairs[base + 2]);
            if i % 2 == 0 {
                avx._mm256_shuffle_ps::<0b01_00_01_00>(a, b)
            } else {
                avx._mm256_shuffle_ps::<0b11_10_11_10>(a, b)
            }
        });
        std::array::from_fn(|i| {
            let (a, b) = (quadruples[i % 4], quadruples[i % 4 + 4]);
            pulp::cast(if i < 4 {
                avx._mm256_permute2f128_ps::<0x20>(a, b)
            } else {
                avx._mm256_permute2f128_ps::<0x31>(a, b)
            })
        })
    }
}

/// Runs an operation with the fastest way to transpose on this processor.
trait WithTranspose {
    fn run(self, transposer: impl Transpose);

    #[inline(always)]
    fn dispatch(self)
    where
        Self: Sized,
    {
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = pulp::x86::V3::try_new() {
            simd.vectorize(
                #[inline(always)]
                || self.run(simd),
            );
            return;
        }
        self.run(PortableTranspose);
    }
}

/// Unpacks pairs of half-complex lines `[pair][mode]` into lanes, see [`pair_modes`].
struct PairModes<'a> {
    re: &'a [f32],
    im: &'a [f32],
    stride: usize,
    first_pair: usize,
    modes: usize,
    n: usize,
    lanes: usize,
    work: &'a mut Work,
}

impl WithTranspose for PairModes<'_> {
    #[inline(always)]
    fn run(self, transposer: impl Transpose) {
        let Self {
            re,
            im,
            stride,
            first_pair,
            modes,
            n,
            lanes,
            work,
        } = self;
        // Modes beyond the last are zero.
        work.re[modes * lanes..].fill(0.0);
        work.im[modes * lanes..].fill(0.0);
        for lane in (0..lanes).step_by(8) {
            for mode in (0..modes).step_by(8) {
                pair_modes(
                    transposer,
                    re,
                    im,
                    stride,
                    (first_pair + lane, mode),
                    modes.min(mode + 8),
                    n,
                    lanes,
                    lane,
                    work,
                );
            }
        }
    }
}

/// Copies lanes to lines or lines to lanes, 8 at a time.
enum LaneCopy<'a> {
    /// Lanes `lane..lane + 8` of `source` (layout `[position][lane]`) to 8 lines of length `n`.
    ToLines {
        source: &'a [f32],
        lanes: usize,
        lane: usize,
        n: usize,
        lines: &'a mut [f32],
    },
    /// 8 lines of length `n`, `step` apart in `lines`, to lanes `lane..lane + 8` of `target`.
    ToLanes {
        lines: &'a [f32],
        step: usize,
        n: usize,
        target: &'a mut [f32],
        lanes: usize,
        lane: usize,
    },
}

impl WithTranspose for LaneCopy<'_> {
    #[inline(always)]
    fn run(self, transposer: impl Transpose) {
        match self {
            LaneCopy::ToLines {
                source,
                lanes,
                lane,
                n,
                lines,
            } => {
                let whole = n / 8 * 8;
                for z in (0..whole).step_by(8) {
                    let rows = std::array::from_fn(|i| eight(source, (z + i) * lanes + lane));
                    for (i, column) in transposer.transpose(rows).iter().enumerate() {
                        lines[i * n + z..][..8].copy_from_slice(column);
                    }
                }
                for z in whole..n {
                    for i in 0..8 {
                        lines[i * n + z] = source[z * lanes + lane + i];
                    }
                }
            }
            LaneCopy::ToLanes {
                lines,
                step,
                n,
                target,
                lanes,
                lane,
            } => {
                let whole = n / 8 * 8;
                for z in (0..whole).step_by(8) {
                    let rows = std::array::from_fn(|i| eight(lines, i * step + z));
                    for (i, column) in transposer.transpose(rows).iter().enumerate() {
                        target[(z + i) * lanes + lane..][..8].copy_from_slice(column);
                    }
                }
                for z in whole..n {
                    for i in 0..8 {
                        target[z * lanes + lane + i] = lines[i * step + z];
                    }
                }
            }
        }
    }
}

/// The 8 numbers of `slice` from `start` on.
#[inline(always)]
fn eight(slice: &[f32], start: usize) -> [f32; 8] {
    let mut values = [0.0; 8];
    values.copy_from_slice(&slice[start..start + 8]);
    values
}

/// Packs modes `first_mode..end` of 8 pairs of lines from `first_pair` on as one complex line each, and
/// their conjugates at the mirrored positions, into lanes `lane..lane + 8`.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "positions in two layouts")]
fn pair_modes(
    transposer: impl Transpose,
    re: &[f32],
    im: &[f32],
    stride: usize,
    (first_pair, first_mode): (usize, usize),
    end: usize,
    n: usize,
    lanes: usize,
    lane: usize,
    work: &mut Work,
) {
    let zero = [[0.0_f32; 8]; 8];
    let (mut sum_re, mut sum_im) = (zero, zero);
    let (mut mirror_re, mut mirror_im) = (zero, zero);
    for i in 0..8 {
        let row = 2 * (first_pair + i) * stride + first_mode;
        let (a, b) = (eight(re, row), eight(im, row));
        let (c, d) = (eight(re, row + stride), eight(im, row + stride));
        for j in 0..8 {
            sum_re[i][j] = a[j] - d[j];
            sum_im[i][j] = b[j] + c[j];
            mirror_re[i][j] = a[j] + d[j];
            mirror_im[i][j] = c[j] - b[j];
        }
    }
    let (sum_re, sum_im) = (transposer.transpose(sum_re), transposer.transpose(sum_im));
    let (mirror_re, mirror_im) = (
        transposer.transpose(mirror_re),
        transposer.transpose(mirror_im),
    );
    for mode in first_mode..end {
        let j = mode - first_mode;
        let mirror = n - mode;
        if mode == 0 || mirror == mode {
            // These coefficients of a real line are real: the imaginary parts drop out of the mean.
            for i in 0..8 {
                work.re[mode * lanes + lane + i] = 0.5 * (sum_re[j][i] + mirror_re[j][i]);
                work.im[mode * lanes + lane + i] = 0.5 * (sum_im[j][i] + mirror_im[j][i]);
            }
        } else {
            work.re[mode * lanes + lane..][..8].copy_from_slice(&sum_re[j]);
            work.im[mode * lanes + lane..][..8].copy_from_slice(&sum_im[j]);
            work.re[mirror * lanes + lane..][..8].copy_from_slice(&mirror_re[j]);
            work.im[mirror * lanes + lane..][..8].copy_from_slice(&mirror_im[j]);
        }
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

/// Buffers of one thread.
#[derive(Debug, Default)]
struct Work {
    re: Vec<f32>,
    im: Vec<f32>,
    other_re: Vec<f32>,
    other_im: Vec<f32>,
    row_re: Vec<f32>,
    row_im: Vec<f32>,
}

impl Work {
    fn resize(&mut self, length: usize) {
        for buffer in [
            &mut self.re,
            &mut self.im,
            &mut self.other_re,
            &mut self.other_im,
        ] {
            buffer.resize(length, 0.0);
        }
    }
}

/// A one-dimensional transform as a sequence of Stockham stages (Stockham 1966): no reordering is needed.
#[derive(Debug, Clone)]
struct Plan {
    stages: Vec<Stage>,
}

#[derive(Debug, Clone)]
struct Stage {
    radix: usize,
    /// Distance between the inputs of a butterfly, in groups of `group` elements.
    m: usize,
    /// Elements that share a twiddle factor.
    group: usize,
    /// `exp(2 pi i p j / (m radix))` at `[p][j]`, j from 1.
    twiddles: Vec<(f32, f32)>,
    /// `exp(2 pi i j / radix)`, for radices without a hand-written butterfly.
    roots: Vec<(f32, f32)>,
}

fn root(numerator: usize, denominator: usize) -> (f32, f32) {
    let angle = 2.0 * std::f64::consts::PI * (numerator % denominator) as f64 / denominator as f64;
    (angle.cos() as f32, angle.sin() as f32)
}

impl Plan {
    fn new(n: usize) -> Self {
        let mut stages = Vec::new();
        let (mut rest, mut group) = (n, 1);
        while rest > 1 {
            let radix = [5, 4, 3, 2]
                .into_iter()
                .find(|radix| rest.is_multiple_of(*radix))
                .unwrap_or_else(|| {
                    (7..)
                        .find(|radix| rest.is_multiple_of(*radix))
                        .unwrap_or(rest)
                });
            let m = rest / radix;
            stages.push(Stage {
                radix,
                m,
                group,
                twiddles: (0..m)
                    .flat_map(|p| (1..radix).map(move |j| root(p * j, rest)))
                    .collect(),
                roots: (0..radix).map(|j| root(j, radix)).collect(),
            });
            rest = m;
            group *= radix;
        }
        Self { stages }
    }

    /// `y_j = sum_i x_i exp(2 pi i j i / n)` of every lane of `work`, in place.
    fn inverse(&self, work: &mut Work, lanes: usize) {
        pulp::Arch::new().dispatch(Transform {
            plan: self,
            re: &mut work.re,
            im: &mut work.im,
            other_re: &mut work.other_re,
            other_im: &mut work.other_im,
            lanes,
        });
    }

    /// `y_j = sum_i x_i exp(-2 pi i j i / n)`: the inverse with real and imaginary parts exchanged.
    fn forward(&self, work: &mut Work, lanes: usize) {
        pulp::Arch::new().dispatch(Transform {
            plan: self,
            re: &mut work.im,
            im: &mut work.re,
            other_re: &mut work.other_im,
            other_im: &mut work.other_re,
            lanes,
        });
    }
}

struct Transform<'a> {
    plan: &'a Plan,
    re: &'a mut Vec<f32>,
    im: &'a mut Vec<f32>,
    other_re: &'a mut Vec<f32>,
    other_im: &'a mut Vec<f32>,
    lanes: usize,
}

impl WithSimd for Transform<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for stage in &self.plan.stages {
            stage.run(
                simd,
                (self.re, self.im),
                (self.other_re, self.other_im),
                self.lanes,
            );
            std::mem::swap(self.re, self.other_re);
            std::mem::swap(self.im, self.other_im);
        }
    }
}

/// Real and imaginary parts of one input of a butterfly.
type Rows<'a, S> = (&'a [<S as Simd>::f32s], &'a [<S as Simd>::f32s]);

/// A vector of complex numbers.
type Complex<V> = (V, V);

/// Arithmetic on vectors of complex numbers.
#[derive(Clone, Copy)]
struct Arithmetic<S: Simd>(S);

impl<S: Simd> Arithmetic<S> {
    #[inline(always)]
    fn add(self, a: Complex<S::f32s>, b: Complex<S::f32s>) -> Complex<S::f32s> {
        (self.0.add_f32s(a.0, b.0), self.0.add_f32s(a.1, b.1))
    }

    #[inline(always)]
    fn sub(self, a: Complex<S::f32s>, b: Complex<S::f32s>) -> Complex<S::f32s> {
        (self.0.sub_f32s(a.0, b.0), self.0.sub_f32s(a.1, b.1))
    }

    /// `factor * a` for a real factor.
    #[inline(always)]
    fn scale(self, factor: f32, a: Complex<S::f32s>) -> Complex<S::f32s> {
        let factor = self.0.splat_f32s(factor);
        (self.0.mul_f32s(factor, a.0), self.0.mul_f32s(factor, a.1))
    }

    /// `i * a`.
    #[inline(always)]
    fn times_i(self, a: Complex<S::f32s>) -> Complex<S::f32s> {
        (self.0.neg_f32s(a.1), a.0)
    }

    /// `w * a` for one complex factor.
    #[inline(always)]
    fn twiddle(self, w: (f32, f32), a: Complex<S::f32s>) -> Complex<S::f32s> {
        let (c, s) = (self.0.splat_f32s(w.0), self.0.splat_f32s(w.1));
        (
            self.0
                .sub_f32s(self.0.mul_f32s(c, a.0), self.0.mul_f32s(s, a.1)),
            self.0
                .add_f32s(self.0.mul_f32s(c, a.1), self.0.mul_f32s(s, a.0)),
        )
    }
}

impl Stage {
    #[inline(always)]
    fn run<S: Simd>(
        &self,
        simd: S,
        source: (&[f32], &[f32]),
        target: (&mut [f32], &mut [f32]),
        lanes: usize,
    ) {
        match self.radix {
            2 => self.butterflies::<S, 2>(simd, source, target, lanes, butterfly_2),
            3 => self.butterflies::<S, 3>(simd, source, target, lanes, butterfly_3),
            4 => self.butterflies::<S, 4>(simd, source, target, lanes, butterfly_4),
            5 => self.butterflies::<S, 5>(simd, source, target, lanes, butterfly_5),
            _ => self.general(source, target, lanes),
        }
    }

    #[inline(always)]
    fn butterflies<S: Simd, const R: usize>(
        &self,
        simd: S,
        source: (&[f32], &[f32]),
        target: (&mut [f32], &mut [f32]),
        lanes: usize,
        butterfly: impl Fn(Arithmetic<S>, [Complex<S::f32s>; R]) -> [Complex<S::f32s>; R],
    ) {
        let arithmetic = Arithmetic(simd);
        let (source_re, _) = S::as_simd_f32s(source.0);
        let (source_im, _) = S::as_simd_f32s(source.1);
        let (target_re, _) = S::as_mut_simd_f32s(target.0);
        let (target_im, _) = S::as_mut_simd_f32s(target.1);
        // Vectors that share a twiddle factor; lanes are a multiple of the longest vector.
        let length = self.group * lanes / S::F32_LANES;
        let zero = simd.splat_f32s(0.0);
        for p in 0..self.m {
            let twiddles = &self.twiddles[p * (R - 1)..(p + 1) * (R - 1)];
            let inputs: [Rows<'_, S>; R] = std::array::from_fn(|i| {
                let start = (p + self.m * i) * length;
                (
                    &source_re[start..start + length],
                    &source_im[start..start + length],
                )
            });
            let outputs = p * R * length..(p + 1) * R * length;
            let (out_re, out_im) = (&mut target_re[outputs.clone()], &mut target_im[outputs]);
            for q in 0..length {
                let mut values = [(zero, zero); R];
                for (value, input) in values.iter_mut().zip(&inputs) {
                    *value = (input.0[q], input.1[q]);
                }
                let results = butterfly(arithmetic, values);
                out_re[q] = results[0].0;
                out_im[q] = results[0].1;
                for j in 1..R {
                    let (re, im) = arithmetic.twiddle(twiddles[j - 1], results[j]);
                    out_re[j * length + q] = re;
                    out_im[j * length + q] = im;
                }
            }
        }
    }

    /// Any radix by its definition.
    #[inline(always)]
    fn general(&self, source: (&[f32], &[f32]), target: (&mut [f32], &mut [f32]), lanes: usize) {
        let length = self.group * lanes;
        let radix = self.radix;
        for p in 0..self.m {
            for j in 0..radix {
                let w = if j == 0 {
                    (1.0, 0.0)
                } else {
                    self.twiddles[p * (radix - 1) + j - 1]
                };
                let start = (p * radix + j) * length;
                let (out_re, out_im) = (
                    &mut target.0[start..start + length],
                    &mut target.1[start..start + length],
                );
                out_re.fill(0.0);
                out_im.fill(0.0);
                for i in 0..radix {
                    let r = self.roots[i * j % radix];
                    let factor = (w.0 * r.0 - w.1 * r.1, w.0 * r.1 + w.1 * r.0);
                    let from = (p + self.m * i) * length;
                    let (in_re, in_im) = (
                        &source.0[from..from + length],
                        &source.1[from..from + length],
                    );
                    for q in 0..length {
                        out_re[q] += factor.0 * in_re[q] - factor.1 * in_im[q];
                        out_im[q] += factor.0 * in_im[q] + factor.1 * in_re[q];
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn butterfly_2<S: Simd>(c: Arithmetic<S>, [a, b]: [Complex<S::f32s>; 2]) -> [Complex<S::f32s>; 2] {
    [c.add(a, b), c.sub(a, b)]
}

#[inline(always)]
fn butterfly_3<S: Simd>(
    c: Arithmetic<S>,
    [x, y, z]: [Complex<S::f32s>; 3],
) -> [Complex<S::f32s>; 3] {
    let sum = c.add(y, z);
    let difference = c.times_i(c.scale(0.866_025_4, c.sub(y, z)));
    let middle = c.sub(x, c.scale(0.5, sum));
    [
        c.add(x, sum),
        c.add(middle, difference),
        c.sub(middle, difference),
    ]
}

#[inline(always)]
fn butterfly_4<S: Simd>(
    c: Arithmetic<S>,
    [x0, x1, x2, x3]: [Complex<S::f32s>; 4],
) -> [Complex<S::f32s>; 4] {
    let (a, b) = (c.add(x0, x2), c.sub(x0, x2));
    let (d, e) = (c.add(x1, x3), c.times_i(c.sub(x1, x3)));
    [c.add(a, d), c.add(b, e), c.sub(a, d), c.sub(b, e)]
}

#[inline(always)]
fn butterfly_5<S: Simd>(
    c: Arithmetic<S>,
    [x0, x1, x2, x3, x4]: [Complex<S::f32s>; 5],
) -> [Complex<S::f32s>; 5] {
    // Cosines and sines of 2 pi / 5 and 4 pi / 5.
    const C1: f32 = 0.309_017;
    const C2: f32 = -0.809_017;
    const S1: f32 = 0.951_056_54;
    const S2: f32 = 0.587_785_24;
    let (s14, d14) = (c.add(x1, x4), c.sub(x1, x4));
    let (s23, d23) = (c.add(x2, x3), c.sub(x2, x3));
    let a1 = c.add(x0, c.add(c.scale(C1, s14), c.scale(C2, s23)));
    let a2 = c.add(x0, c.add(c.scale(C2, s14), c.scale(C1, s23)));
    let b1 = c.times_i(c.add(c.scale(S1, d14), c.scale(S2, d23)));
    let b2 = c.times_i(c.sub(c.scale(S2, d14), c.scale(S1, d23)));
    [
        c.add(x0, c.add(s14, s23)),
        c.add(a1, b1),
        c.add(a2, b2),
        c.sub(a2, b2),
        c.sub(a1, b1),
    ]
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
