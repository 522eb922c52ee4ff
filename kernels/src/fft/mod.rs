//! Short complex Fourier transforms, one in every lane of a vector.
//!
//! `X[k] = sum_n x[n] exp(-2 pi i n k / N)` with `N = N1 N2`, `n = N2 n1 + n2` and `k = k1 + N1 k2`
//! (Cooley & Tukey 1965):
//!
//! 1. for every `n2`: a transform of length `N1` over `n1`, times the twiddle `exp(-2 pi i n2 k1 / N)`;
//! 2. for every `k1`: a transform of length `N2` over `n2`.
//!
//! The inverse is the same program on numbers whose real and imaginary parts are exchanged before and
//! after, `N` times too large; sources and sinks exchange them for nothing.
//!
//! Why it is fast: the 8 or 16 transforms in the lanes are independent, so there is no shuffle
//! anywhere; real and imaginary parts are vectors of their own; the radix-8 butterfly just fits into 32
//! registers; and where the numbers come from and go to ([`Source`], [`Sink`]) is inlined, so that
//! gathering, zero padding, masks and products with other spectra cost no pass of their own.

mod butterflies;

use std::f64::consts::TAU;

pub(crate) use butterflies::{Butterfly, Radix};

use crate::simd::{Kernel, Simd};

/// Lengths that have a codelet.
pub(crate) const LENGTHS: [usize; 6] = [16, 32, 48, 56, 64, 128];

/// Longest codelet: complex vectors of workspace that a transform needs.
pub(crate) const MAX_LENGTH: usize = 128;

/// A complex vector: real parts, imaginary parts.
pub(crate) type Complex<V> = [V; 2];

/// Where a transform reads its input.
pub(crate) trait Source<S: Simd> {
    /// Element `index`. Implementations are `#[inline(always)]`.
    fn load(&self, simd: S, index: usize) -> Complex<S::V>;
}

/// Where a transform writes its output.
pub(crate) trait Sink<S: Simd> {
    /// Takes element `index`. Implementations are `#[inline(always)]`.
    fn store(&mut self, simd: S, index: usize, value: Complex<S::V>);
}

/// Evaluates an expression with the two factors of a length and the length itself as constants.
macro_rules! with_length {
    ($length:expr, $body:ident ! ($($argument:tt)*)) => {
        match $length {
            16 => $body!(4, 4, 16, $($argument)*),
            32 => $body!(4, 8, 32, $($argument)*),
            48 => $body!(6, 8, 48, $($argument)*),
            56 => $body!(7, 8, 56, $($argument)*),
            64 => $body!(8, 8, 64, $($argument)*),
            128 => $body!(8, 16, 128, $($argument)*),
            other => unreachable!("no codelet of length {other}: plans take lengths from `LENGTHS`"),
        }
    };
}

/// Twiddle factors of one length: entry `n2 N1 + k1` is `exp(-2 pi i n2 k1 / N)`.
#[derive(Debug, Clone)]
pub(crate) struct Twiddles {
    factors: Vec<[f32; 2]>,
}

impl Twiddles {
    /// The table of one of [`LENGTHS`], rounded from f64.
    pub(crate) fn new(length: usize) -> Self {
        macro_rules! first_radix {
            ($n1:literal, $n2:literal, $n:literal,) => {
                $n1
            };
        }
        let n1: usize = with_length!(length, first_radix!());
        let factors = (0..length)
            .map(|i| {
                let angle = -TAU * ((i / n1) * (i % n1)) as f64 / length as f64;
                [angle.cos() as f32, angle.sin() as f32]
            })
            .collect();
        Self { factors }
    }
}

/// One call of [`transform`] with the length as a value.
pub(crate) struct Transform<'a, V, Input, Output> {
    /// One of [`LENGTHS`].
    pub(crate) length: usize,
    pub(crate) twiddles: &'a Twiddles,
    pub(crate) source: Input,
    pub(crate) sink: Output,
    /// At least `length` complex vectors.
    pub(crate) work: &'a mut [Complex<V>],
}

impl<S: Simd, I: Source<S>, O: Sink<S>> Kernel<S> for Transform<'_, S::V, I, O> {
    type Output = ();

    #[inline(always)]
    fn run(mut self, simd: S) {
        macro_rules! call {
            ($n1:literal, $n2:literal, $n:literal,) => {
                transform::<S, $n1, $n2>(
                    simd,
                    self.twiddles,
                    &self.source,
                    &mut self.sink,
                    self.work,
                )
            };
        }
        with_length!(self.length, call!());
    }
}

/// `LANES` forward transforms of length `N1 N2`. `work` holds at least as many complex vectors.
#[inline(always)]
pub(crate) fn transform<S: Simd, const N1: usize, const N2: usize>(
    simd: S,
    twiddles: &Twiddles,
    source: &impl Source<S>,
    sink: &mut impl Sink<S>,
    work: &mut [Complex<S::V>],
) where
    Radix<N1>: Butterfly<N1>,
    Radix<N2>: Butterfly<N2>,
{
    let factors = &twiddles.factors[..N1 * N2];
    let work = &mut work[..N1 * N2];
    let zero = simd.splat(0.0);
    // A 1 that the compiler cannot see, see `Simd::add_by_fma`.
    let one = simd.splat(factors[0][0]);
    for n2 in 0..N2 {
        let mut x = Radix::<N1>::load(simd, source, n2, N2);
        Radix::<N1>::apply(simd, one, &mut x);
        work[n2] = x[0];
        for k1 in 1..N1 {
            let [wr, wi] = factors[n2 * N1 + k1];
            let (wr, wi) = (simd.splat(wr), simd.splat(wi));
            let [re, im] = x[k1];
            work[k1 * N2 + n2] = [
                simd.fnma(im, wi, simd.mul(re, wr)),
                simd.fma(im, wr, simd.mul(re, wi)),
            ];
        }
    }
    for k1 in 0..N1 {
        let mut x = [[zero; 2]; N2];
        for (n2, x) in x.iter_mut().enumerate() {
            *x = work[k1 * N2 + n2];
        }
        Radix::<N2>::apply(simd, one, &mut x);
        Radix::<N2>::store(simd, sink, k1, N1, &x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Kernel, Level, lanes_of};

    struct Slice<'a, V>(&'a [Complex<V>]);
    impl<S: Simd> Source<S> for Slice<'_, S::V> {
        #[inline(always)]
        fn load(&self, _: S, index: usize) -> Complex<S::V> {
            self.0[index]
        }
    }
    struct SliceMut<'a, V>(&'a mut [Complex<V>]);
    impl<S: Simd> Sink<S> for SliceMut<'_, S::V> {
        #[inline(always)]
        fn store(&mut self, _: S, index: usize, value: Complex<S::V>) {
            self.0[index] = value;
        }
    }

    /// One transform of every length against the definition in f64.
    struct Check(usize);
    impl<S: Simd> Kernel<S> for Check {
        type Output = ();
        #[inline(always)]
        fn run(self, simd: S) {
            let length = self.0;
            let twiddles = Twiddles::new(length);
            let mut state = 1_u32;
            let mut number = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f32::from((state >> 16) as u16) / 32768.0 - 1.0
            };
            let nan = simd.splat(f32::NAN);
            let mut x = vec![[nan; 2]; length];
            for value in bytemuck::cast_slice_mut::<_, f32>(x.as_flattened_mut()) {
                *value = number();
            }
            let mut y = vec![[nan; 2]; length];
            let mut work = vec![[nan; 2]; MAX_LENGTH];
            macro_rules! call {
                ($n1:literal, $n2:literal, $n:literal,) => {
                    transform::<S, $n1, $n2>(
                        simd,
                        &twiddles,
                        &Slice(&x),
                        &mut SliceMut(&mut y),
                        &mut work,
                    )
                };
            }
            with_length!(length, call!());
            let part = |data: &[Complex<S::V>], i: usize, part: usize, lane: usize| {
                f64::from(lanes_of(data.as_flattened())[(2 * i + part) * S::LANES + lane])
            };
            for lane in 0..S::LANES {
                for k in 0..length {
                    let (mut re, mut im, mut norm) = (0.0, 0.0, 0.0);
                    for n in 0..length {
                        let (s, c) = (-TAU * (n * k % length) as f64 / length as f64).sin_cos();
                        let (a, b) = (part(&x, n, 0, lane), part(&x, n, 1, lane));
                        re += a * c - b * s;
                        im += a * s + b * c;
                        norm += a * a + b * b;
                    }
                    // Higham 2002, section 24.1: the error grows with log2(N) in the 2-norm; a
                    // quarter of it per element would be typical.
                    let bound = f64::from(f32::EPSILON)
                        * (length as f64).log2()
                        * (norm * length as f64).sqrt();
                    let error = (part(&y, k, 0, lane) - re).hypot(part(&y, k, 1, lane) - im);
                    assert!(
                        error < bound,
                        "N={length} k={k} lane {lane}: {error:e} > {bound:e}"
                    );
                }
            }
        }
    }

    #[test]
    fn transforms_match_their_definition_at_every_level() {
        for level in Level::available() {
            println!("ran level {level}");
            for length in LENGTHS {
                level.run(Check(length));
            }
        }
    }
}
