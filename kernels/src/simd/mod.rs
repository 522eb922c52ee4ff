//! Vector instructions: which level the processor has, and the operations that kernels are written in.
//!
//! A kernel is a generic body over `Simd`, an unforgeable token whose existence proves that the
//! processor has the instructions. `Level::run` instantiates the body once per level inside a function
//! compiled with `#[target_feature]`; everything in the body is `#[inline(always)]`, so that the
//! intrinsics become single instructions. A closure handed to another thread or to a function that is
//! not inlined loses those features, therefore a parallel loop dispatches *inside* each task, and bodies
//! have no closures (not even in `map`): whether those are inlined is up to the compiler.
//!
//! Maps hold 8 channels of a pixel side by side ([`UNIT`]), whatever the level: a vector of 16 lanes is
//! two such units, a vector of 8 lanes is one. Layouts in memory thus do not depend on the level.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub mod peak;
mod portable;

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// Channels that stand side by side in memory: the lanes of one 256-bit vector.
pub const UNIT: usize = 8;

/// 8 channels of one pixel.
pub type Pixel = [f32; UNIT];

/// A set of vector instructions that this processor was found to have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Level(Inner);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inner {
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    Portable,
}

/// A level that was asked for and cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    /// No level has this name.
    #[error("`{0}` is not a vector level, expected avx512, avx2 or portable")]
    Unknown(String),
    /// The processor (or the target that the program was compiled for) lacks the instructions.
    #[error("this processor does not have the vector level `{0}`; it has {1}")]
    Unsupported(&'static str, String),
}

impl Level {
    /// All levels that this processor has, fastest first; the last is always portable.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut levels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            levels.extend(avx512::Avx512::detect().map(|token| Self(Inner::Avx512(token))));
            levels.extend(avx2::Avx2::detect().map(|token| Self(Inner::Avx2(token))));
        }
        levels.push(Self(Inner::Portable));
        levels
    }

    /// The level named by the environment variable `DAWN21_SIMD`, else the fastest one.
    ///
    /// The variable is read once; later changes of it have no effect.
    ///
    /// # Errors
    /// [`LevelError`] when the variable names no level or one that the processor does not have.
    pub fn from_environment() -> Result<Self, LevelError> {
        static CHOSEN: OnceLock<Result<Level, LevelError>> = OnceLock::new();
        CHOSEN
            .get_or_init(|| match std::env::var("DAWN21_SIMD") {
                Ok(name) => name.parse(),
                Err(_) => Ok(Self::available()[0]),
            })
            .clone()
    }

    /// `avx512`, `avx2` or `portable`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Inner::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Inner::Avx2(_) => "avx2",
            Inner::Portable => "portable",
        }
    }

    /// Numbers in one vector.
    #[must_use]
    pub fn lanes(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Inner::Avx512(_) => 16,
            _ => 8,
        }
    }

    /// Vectors of running sums for which there are registers.
    pub(crate) fn accumulators(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Inner::Avx512(_) => <avx512::Avx512 as Simd>::ACCUMULATORS,
            #[cfg(target_arch = "x86_64")]
            Inner::Avx2(_) => <avx2::Avx2 as Simd>::ACCUMULATORS,
            Inner::Portable => <portable::Portable as Simd>::ACCUMULATORS,
        }
    }

    /// Runs `kernel` instantiated for this level.
    pub(crate) fn run<K: AnyKernel>(self, kernel: K) -> <K as Kernel<portable::Portable>>::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Inner::Avx512(token) => token.vectorize(kernel),
            #[cfg(target_arch = "x86_64")]
            Inner::Avx2(token) => token.vectorize(kernel),
            Inner::Portable => portable::Portable.vectorize(kernel),
        }
    }
}

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(name: &str) -> Result<Self, LevelError> {
        let Some(name) = ["avx512", "avx2", "portable"]
            .into_iter()
            .find(|n| *n == name)
        else {
            return Err(LevelError::Unknown(name.to_owned()));
        };
        let available = Self::available();
        let names: Vec<_> = available.iter().map(|level| level.name()).collect();
        available
            .iter()
            .find(|level| level.name() == name)
            .copied()
            .ok_or_else(|| LevelError::Unsupported(name, names.join(", ")))
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A body compiled with the instructions of the level `S`. `run` must be `#[inline(always)]`.
pub(crate) trait Kernel<S: Simd> {
    /// What the body returns.
    type Output;
    /// The body.
    fn run(self, simd: S) -> Self::Output;
}

/// A body that can be instantiated for every level.
#[cfg(target_arch = "x86_64")]
pub(crate) trait AnyKernel:
    Kernel<portable::Portable>
    + Kernel<avx2::Avx2, Output = <Self as Kernel<portable::Portable>>::Output>
    + Kernel<avx512::Avx512, Output = <Self as Kernel<portable::Portable>>::Output>
{
}
#[cfg(target_arch = "x86_64")]
impl<K> AnyKernel for K where
    K: Kernel<portable::Portable>
        + Kernel<avx2::Avx2, Output = <Self as Kernel<portable::Portable>>::Output>
        + Kernel<avx512::Avx512, Output = <Self as Kernel<portable::Portable>>::Output>
{
}
/// A body that can be instantiated for every level.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) trait AnyKernel: Kernel<portable::Portable> {}
#[cfg(not(target_arch = "x86_64"))]
impl<K: Kernel<portable::Portable>> AnyKernel for K {}

/// The vector operations of one level; a value of the type proves that the processor has them.
///
/// Names follow the instructions. All operate lane by lane unless said otherwise.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// One vector.
    type V: bytemuck::Pod + Send + Sync;
    /// The level with 8 lanes on the same processor.
    type Half: Simd;
    /// Lanes of [`Self::V`].
    const LANES: usize;
    /// Units of 8 lanes in a vector, 1 or 2.
    const UNITS: usize = Self::LANES / UNIT;
    /// Vectors of running sums for which there are registers, beside a few operands.
    const ACCUMULATORS: usize;

    /// Token of the 8-lane level.
    fn half(self) -> Self::Half;
    /// Calls `kernel` compiled with this level's instructions.
    fn vectorize<K: Kernel<Self>>(self, kernel: K) -> K::Output;

    /// All lanes `value`.
    fn splat(self, value: f32) -> Self::V;
    /// Unit `u` all `values[u]`; the second is ignored by 8-lane levels.
    fn splat_units(self, values: [&f32; 2]) -> Self::V;
    /// Unit `u` from `pixels[u]`; the second is ignored by 8-lane levels.
    fn load_units(self, pixels: [&Pixel; 2]) -> Self::V;
    /// The first [`Self::LANES`] of `values`; panics when there are fewer.
    fn load(self, values: &[f32]) -> Self::V;
    /// Writes `v` to the first [`Self::LANES`] of `values`; panics when there are fewer.
    fn store(self, v: Self::V, values: &mut [f32]);
    /// Writes unit `unit` of `v`.
    fn store_unit(self, v: Self::V, unit: usize, pixel: &mut Pixel);
    /// Writes unit `unit` of `v`, whole numbers between 0 and 255, as bytes.
    fn store_unit_bytes(self, v: Self::V, unit: usize, bytes: &mut [u8; UNIT]);
    /// Keeps the lanes of `v` whose code is `code` and clears the others; `codes[u]` belongs to unit `u`.
    fn select_code(self, v: Self::V, codes: [&[u8; UNIT]; 2], code: u8) -> Self::V;

    /// `a + b`
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a b`
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a b + c`, rounded once where the processor can.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `c - a b`, rounded once where the processor can.
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a + b` computed as `1 b + a` by the multipliers, which lightens the adders where those are
    /// separate (Zen). `one` is a 1 that the compiler cannot see, or it would simplify the product away.
    #[inline(always)]
    fn add_by_fma(self, a: Self::V, b: Self::V, one: Self::V) -> Self::V {
        self.fma(b, one, a)
    }
    /// `a - b`, as [`Self::add_by_fma`].
    #[inline(always)]
    fn sub_by_fma(self, a: Self::V, b: Self::V, one: Self::V) -> Self::V {
        self.fnma(b, one, a)
    }
    /// `yes` where `a > b`, else `no` (also where one is NaN).
    fn select_greater(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;
    /// `yes` where `a <= b`, else `no` (also where one is NaN).
    fn select_not_greater(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;
    /// Asks for the cache lines of `len` of the `values` from `first` on ahead of their use, as far as there
    /// are any; nothing at levels without the instruction.
    #[inline(always)]
    fn prefetch<T>(self, _values: &[T], _first: usize, _len: usize) {}
    /// Hands out lanes: lanes `UNITS i ..` of the real and then of the imaginary parts go to
    /// `out[i stride ..]`.
    #[inline(always)]
    fn scatter_units(self, value: [Self::V; 2], out: &mut [f32], stride: usize) {
        let lanes = lanes_of(&value);
        for i in 0..Self::LANES / Self::UNITS {
            for (part, lanes) in lanes.chunks_exact(Self::LANES).enumerate() {
                for u in 0..Self::UNITS {
                    out[i * stride + part * Self::UNITS + u] = lanes[i * Self::UNITS + u];
                }
            }
        }
    }
    /// Transposes the 8 x 8 matrix that each unit of the vectors forms: lane `j` of unit `u` of result `i`
    /// is lane `i` of unit `u` of `rows[j]`.
    fn transpose_units(self, rows: [Self::V; UNIT]) -> [Self::V; UNIT];
    /// Lane `i` of unit `u` of the result is the sum of the lanes of unit `u` of `rows[i]`.
    fn sum_units(self, rows: [Self::V; UNIT]) -> Self::V;
    /// `columns[j][i] = rows[i][j]` for the first `count` columns; a row that is too short reads as 0.
    fn transpose_rows(self, rows: &[&[f32]; 16], count: usize, columns: &mut [Self::V]) {
        transpose_from::<Self>(rows, 0, count, columns);
    }
}

/// [`Simd::transpose_rows`] by scalars, from column `first` on.
#[inline(always)]
fn transpose_from<S: Simd>(rows: &[&[f32]; 16], first: usize, count: usize, columns: &mut [S::V]) {
    let lanes: &mut [f32] = bytemuck::cast_slice_mut(&mut columns[..count]);
    for (i, row) in rows[..S::LANES].iter().enumerate() {
        let present = row.len().clamp(first, count);
        let values = row.get(first..present).unwrap_or(&[]);
        for (j, &value) in (first..).zip(values) {
            lanes[j * S::LANES + i] = value;
        }
        for j in present..count {
            lanes[j * S::LANES + i] = 0.0;
        }
    }
}

/// The lanes of vectors in memory as numbers.
#[inline(always)]
pub(crate) fn lanes_of<V: bytemuck::Pod>(vectors: &[V]) -> &[f32] {
    bytemuck::cast_slice(vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_names_and_portable_is_always_there() {
        let available = Level::available();
        assert_eq!(available.last().map(|l| l.name()), Some("portable"));
        for level in available {
            assert_eq!(level.name().parse(), Ok(level));
        }
        assert_eq!(
            "sse9".parse::<Level>(),
            Err(LevelError::Unknown("sse9".to_owned()))
        );
    }

    /// Every operation against scalar arithmetic.
    struct Operations;

    impl<S: Simd> Kernel<S> for Operations {
        type Output = ();
        #[inline(always)]
        fn run(self, simd: S) {
            let a: [f32; 16] = std::array::from_fn(|i| i as f32 - 5.5);
            let b: [f32; 16] = std::array::from_fn(|i| (i * i) as f32 + 0.25);
            let pixels = |x: &[f32; 16]| -> [Pixel; 2] {
                [
                    std::array::from_fn(|i| x[i]),
                    std::array::from_fn(|i| x[8 + i]),
                ]
            };
            let (pa, pb) = (pixels(&a), pixels(&b));
            let va = simd.load_units([&pa[0], &pa[1]]);
            let vb = simd.load_units([&pb[0], &pb[1]]);
            let check = |what: &str, v: S::V, expected: &dyn Fn(usize) -> f32| {
                let lanes = [v];
                for (i, &lane) in lanes_of(&lanes).iter().enumerate() {
                    assert_eq!(lane.to_bits(), expected(i).to_bits(), "{what} lane {i}");
                }
                for unit in 0..S::UNITS {
                    let mut pixel = [f32::NAN; UNIT];
                    simd.store_unit(v, unit, &mut pixel);
                    for (i, lane) in pixel.iter().enumerate() {
                        assert_eq!(lane.to_bits(), expected(unit * UNIT + i).to_bits());
                    }
                }
            };
            check("load", va, &|i| a[i]);
            check("splat", simd.splat(3.5), &|_| 3.5);
            check("splat_units", simd.splat_units([&1.0, &2.0]), &|i| {
                (1 + i / 8) as f32
            });
            check("add", simd.add(va, vb), &|i| a[i] + b[i]);
            check("sub", simd.sub(va, vb), &|i| a[i] - b[i]);
            check("mul", simd.mul(va, vb), &|i| a[i] * b[i]);
            // Exact in f32, so fused or not is the same.
            check("fma", simd.fma(va, vb, va), &|i| a[i] * b[i] + a[i]);
            let one = simd.splat(1.0);
            check("add_by_fma", simd.add_by_fma(va, vb, one), &|i| a[i] + b[i]);
            check("sub_by_fma", simd.sub_by_fma(va, vb, one), &|i| a[i] - b[i]);
            check("fnma", simd.fnma(va, vb, va), &|i| a[i] - a[i] * b[i]);
            let zero = simd.splat(0.0);
            check("greater", simd.select_greater(va, zero, va, vb), &|i| {
                if a[i] > 0.0 { a[i] } else { b[i] }
            });
            check(
                "not greater",
                simd.select_not_greater(va, zero, va, vb),
                &|i| if a[i] <= 0.0 { a[i] } else { b[i] },
            );
            let nan = simd.splat(f32::NAN);
            check(
                "not greater NaN",
                simd.select_not_greater(nan, va, va, vb),
                &|i| b[i],
            );
            check("greater NaN", simd.select_greater(nan, va, va, vb), &|i| {
                b[i]
            });

            let mut stored = [f32::NAN; 17];
            simd.store(simd.load(&b), &mut stored);
            assert_eq!(stored[..S::LANES], b[..S::LANES]);
            assert!(stored[S::LANES..].iter().all(|v| v.is_nan()));

            let mut matrix = [va; UNIT];
            for (j, row) in matrix.iter_mut().enumerate() {
                let values: [f32; 16] = std::array::from_fn(|lane| (100 * j + lane) as f32);
                *row = simd.load(&values);
            }
            for (i, &row) in simd.transpose_units(matrix).iter().enumerate() {
                check("transpose_units", row, &|lane| {
                    (100 * (lane % UNIT) + lane / UNIT * UNIT + i) as f32
                });
            }

            // Whole numbers, exact in any order.
            check("sum_units", simd.sum_units(matrix), &|lane| {
                (0..UNIT)
                    .map(|j| (100 * (lane % UNIT) + lane / UNIT * UNIT + j) as f32)
                    .sum()
            });

            let codes: [[u8; 8]; 2] = [[0, 1, 2, 3, 255, 3, 2, 1], [3, 3, 0, 0, 255, 255, 7, 3]];
            check(
                "select_code",
                simd.select_code(va, [&codes[0], &codes[1]], 3),
                &|i| {
                    if codes[i / 8][i % 8] == 3 { a[i] } else { 0.0 }
                },
            );
            let numbers: [Pixel; 2] = codes.map(|row| row.map(f32::from));
            let v = simd.load_units([&numbers[0], &numbers[1]]);
            for (unit, codes) in codes.iter().enumerate().take(S::UNITS) {
                let mut bytes = [77; UNIT];
                simd.store_unit_bytes(v, unit, &mut bytes);
                assert_eq!(&bytes, codes);
            }

            let matrix: Vec<Vec<f32>> = (0..16)
                .map(|i| (0..40 - i).map(|j| (100 * i + j) as f32).collect())
                .collect();
            let rows: [&[f32]; 16] = std::array::from_fn(|i| matrix[i].as_slice());
            for count in [1, 15, 16, 33] {
                let mut columns = vec![nan; count];
                simd.transpose_rows(&rows, count, &mut columns);
                for (j, column) in lanes_of(&columns).chunks(S::LANES).enumerate() {
                    for (i, value) in column.iter().enumerate() {
                        let expected = matrix[i].get(j).copied().unwrap_or(0.0);
                        assert_eq!(value.to_bits(), expected.to_bits(), "({i}, {j})");
                    }
                }
            }
        }
    }

    #[test]
    fn operations_match_scalar_arithmetic_at_every_level() {
        for level in Level::available() {
            println!("ran level {level}");
            level.run(Operations);
        }
    }
}
