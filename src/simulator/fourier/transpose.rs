//! Between lines of numbers and lanes of vectors.

use super::plan::Work;

/// Exchanges rows and columns of 8 by 8 numbers.
pub(super) trait Transpose: Copy {
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
pub(super) trait WithTranspose {
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
pub(super) struct PairModes<'a> {
    pub(super) re: &'a [f32],
    pub(super) im: &'a [f32],
    pub(super) stride: usize,
    pub(super) first_pair: usize,
    pub(super) modes: usize,
    pub(super) n: usize,
    pub(super) lanes: usize,
    pub(super) work: &'a mut Work,
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
pub(super) enum LaneCopy<'a> {
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
