//! Transforms along one axis.

use pulp::{Simd, WithSimd};

/// Buffers of one thread.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) re: Vec<f32>,
    pub(super) im: Vec<f32>,
    pub(super) other_re: Vec<f32>,
    pub(super) other_im: Vec<f32>,
    pub(super) row_re: Vec<f32>,
    pub(super) row_im: Vec<f32>,
}

impl Work {
    pub(super) fn resize(&mut self, length: usize) {
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
pub(super) struct Plan {
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
    pub(super) fn new(n: usize) -> Self {
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
    pub(super) fn inverse(&self, work: &mut Work, lanes: usize) {
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
    pub(super) fn forward(&self, work: &mut Work, lanes: usize) {
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
