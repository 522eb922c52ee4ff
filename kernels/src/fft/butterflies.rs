//! Transforms of a few points, wholly in registers.
//!
//! Zen 4 adds in two pipes and multiplies (or multiplies and adds) in two others. A butterfly is
//! nearly all additions, so some of them are given to the multipliers as `1 a + b`
//! ([`Simd::add_by_fma`]): in the radix-8 butterfly a third of them. Measured with AVX-512, within the
//! first-level cache: a transform of length 32 takes 87 instead of 105 ns, lengths 56 and 64 take the
//! same, for they are bound by their stores.

use std::f64::consts::FRAC_1_SQRT_2;

use super::{Complex, Sink, Source};
use crate::simd::Simd;

/// Selects the butterfly of a length known at compile time.
pub(crate) struct Radix<const N: usize>;

/// A forward transform of `N` points in place. `one` is 1.
pub(crate) trait Butterfly<const N: usize> {
    /// Transforms `x`; natural order in and out.
    fn apply<S: Simd>(simd: S, one: S::V, x: &mut [Complex<S::V>; N]);

    /// Elements `first`, `first + step` and so on of a source.
    fn load<S: Simd>(
        simd: S,
        source: &impl Source<S>,
        first: usize,
        step: usize,
    ) -> [Complex<S::V>; N];

    /// Hands `x` to a sink as elements `first`, `first + step` and so on.
    fn store<S: Simd>(
        simd: S,
        sink: &mut impl Sink<S>,
        first: usize,
        step: usize,
        x: &[Complex<S::V>; N],
    );
}

/// Loads and stores of a butterfly, one after another and not in a loop: what the compiler does not unroll
/// goes through an array on the stack, which costs more than the butterfly.
macro_rules! straight_loads_and_stores {
    ($($index:literal)*) => {
        #[inline(always)]
        fn load<S: Simd>(
            simd: S,
            source: &impl Source<S>,
            first: usize,
            step: usize,
        ) -> [Complex<S::V>; [$($index),*].len()] {
            [$(source.load(simd, first + $index * step)),*]
        }

        #[inline(always)]
        fn store<S: Simd>(
            simd: S,
            sink: &mut impl Sink<S>,
            first: usize,
            step: usize,
            x: &[Complex<S::V>; [$($index),*].len()],
        ) {
            $(sink.store(simd, first + $index * step, x[$index]);)*
        }
    };
}

#[inline(always)]
fn add<S: Simd>(simd: S, a: Complex<S::V>, b: Complex<S::V>) -> Complex<S::V> {
    [simd.add(a[0], b[0]), simd.add(a[1], b[1])]
}

#[inline(always)]
fn sub<S: Simd>(simd: S, a: Complex<S::V>, b: Complex<S::V>) -> Complex<S::V> {
    [simd.sub(a[0], b[0]), simd.sub(a[1], b[1])]
}

/// `a + b` in the multipliers.
#[inline(always)]
fn add_one<S: Simd>(simd: S, one: S::V, a: Complex<S::V>, b: Complex<S::V>) -> Complex<S::V> {
    [
        simd.add_by_fma(a[0], b[0], one),
        simd.add_by_fma(a[1], b[1], one),
    ]
}

/// `a - b` in the multipliers.
#[inline(always)]
fn sub_one<S: Simd>(simd: S, one: S::V, a: Complex<S::V>, b: Complex<S::V>) -> Complex<S::V> {
    [
        simd.sub_by_fma(a[0], b[0], one),
        simd.sub_by_fma(a[1], b[1], one),
    ]
}

/// `a - i b`
#[inline(always)]
fn sub_i<S: Simd>(simd: S, a: Complex<S::V>, b: Complex<S::V>) -> Complex<S::V> {
    [simd.add(a[0], b[1]), simd.sub(a[1], b[0])]
}

/// `a + i b`
#[inline(always)]
fn add_i<S: Simd>(simd: S, a: Complex<S::V>, b: Complex<S::V>) -> Complex<S::V> {
    [simd.sub(a[0], b[1]), simd.add(a[1], b[0])]
}

/// Transform of 4 points.
#[inline(always)]
fn four<S: Simd>(simd: S, x: [Complex<S::V>; 4]) -> [Complex<S::V>; 4] {
    let (a, b) = (add(simd, x[0], x[2]), sub(simd, x[0], x[2]));
    let (c, d) = (add(simd, x[1], x[3]), sub(simd, x[1], x[3]));
    [
        add(simd, a, c),
        sub_i(simd, b, d),
        sub(simd, a, c),
        add_i(simd, b, d),
    ]
}

impl Butterfly<4> for Radix<4> {
    straight_loads_and_stores!(0 1 2 3);

    #[inline(always)]
    fn apply<S: Simd>(simd: S, _: S::V, x: &mut [Complex<S::V>; 4]) {
        *x = four(simd, *x);
    }
}

/// Transform of 3 points: `X[1], X[2] = x[0] - t/2 -+ i sqrt(3)/2 d` with `t = x1 + x2`, `d = x1 - x2`.
#[inline(always)]
fn three<S: Simd>(simd: S, x: [Complex<S::V>; 3]) -> [Complex<S::V>; 3] {
    let half = simd.splat(0.5);
    let sine = simd.splat(0.866_025_403_784_438_6_f64 as f32);
    let (t, d) = (add(simd, x[1], x[2]), sub(simd, x[1], x[2]));
    let m = [
        simd.fnma(t[0], half, x[0][0]),
        simd.fnma(t[1], half, x[0][1]),
    ];
    [
        add(simd, x[0], t),
        [simd.fma(d[1], sine, m[0]), simd.fnma(d[0], sine, m[1])],
        [simd.fnma(d[1], sine, m[0]), simd.fma(d[0], sine, m[1])],
    ]
}

impl Butterfly<6> for Radix<6> {
    straight_loads_and_stores!(0 1 2 3 4 5);

    /// Good & Thomas: 2 and 3 share no factor, so the index maps `n = 3 n1 + 2 n2` and
    /// `k = 3 k1 + 4 k2` (mod 6) need no twiddles.
    #[inline(always)]
    fn apply<S: Simd>(simd: S, _: S::V, x: &mut [Complex<S::V>; 6]) {
        let sums = [
            add(simd, x[0], x[3]),
            add(simd, x[2], x[5]),
            add(simd, x[4], x[1]),
        ];
        let differences = [
            sub(simd, x[0], x[3]),
            sub(simd, x[2], x[5]),
            sub(simd, x[4], x[1]),
        ];
        let even = three(simd, sums);
        let odd = three(simd, differences);
        *x = [even[0], odd[1], even[2], odd[0], even[1], odd[2]];
    }
}

/// `cos(2 pi m / 7)` and `sin(2 pi m / 7)` for m = 1, 2, 3.
const COSINES_7: [f64; 3] = [
    0.623_489_801_858_733_5,
    -0.222_520_933_956_314_4,
    -0.900_968_867_902_419_1,
];
const SINES_7: [f64; 3] = [
    0.781_831_482_468_029_8,
    0.974_927_912_181_823_6,
    0.433_883_739_117_558_1,
];

impl Butterfly<7> for Radix<7> {
    straight_loads_and_stores!(0 1 2 3 4 5 6);

    /// With `t[m] = x[m] + x[7-m]` and `d[m] = x[m] - x[7-m]`: `X[k], X[7-k] = a -+ i b` where
    /// `a = x[0] + sum_m cos(2 pi m k / 7) t[m]` and `b = sum_m sin(2 pi m k / 7) d[m]`.
    #[inline(always)]
    fn apply<S: Simd>(simd: S, _: S::V, x: &mut [Complex<S::V>; 7]) {
        let t = [
            add(simd, x[1], x[6]),
            add(simd, x[2], x[5]),
            add(simd, x[3], x[4]),
        ];
        let d = [
            sub(simd, x[1], x[6]),
            sub(simd, x[2], x[5]),
            sub(simd, x[3], x[4]),
        ];
        let [c1, c2, c3] = COSINES_7;
        let [s1, s2, s3] = SINES_7;
        let c = [
            simd.splat(c1 as f32),
            simd.splat(c2 as f32),
            simd.splat(c3 as f32),
        ];
        let s = [
            simd.splat(s1 as f32),
            simd.splat(s2 as f32),
            simd.splat(s3 as f32),
        ];
        let first = x[0];
        x[0] = add(simd, add(simd, first, t[0]), add(simd, t[1], t[2]));
        // Rows k of the cosines c[m k mod 7] and of the signed sines.
        let rows = [
            ([0, 1, 2], [(0, true), (1, true), (2, true)]),
            ([1, 2, 0], [(1, true), (2, false), (0, false)]),
            ([2, 0, 1], [(2, true), (0, false), (1, true)]),
        ];
        for (k, (cosine, sine)) in rows.into_iter().enumerate() {
            let mut a = first;
            let mut b = [
                simd.mul(s[sine[0].0], d[0][0]),
                simd.mul(s[sine[0].0], d[0][1]),
            ];
            for part in 0..2 {
                for m in 0..3 {
                    a[part] = simd.fma(c[cosine[m]], t[m][part], a[part]);
                }
                for m in 1..3 {
                    let (index, positive) = sine[m];
                    b[part] = if positive {
                        simd.fma(s[index], d[m][part], b[part])
                    } else {
                        simd.fnma(s[index], d[m][part], b[part])
                    };
                }
            }
            x[k + 1] = sub_i(simd, a, b);
            x[6 - k] = add_i(simd, a, b);
        }
    }
}

impl Butterfly<8> for Radix<8> {
    straight_loads_and_stores!(0 1 2 3 4 5 6 7);

    /// Two transforms of 4 points over even and odd elements; the twiddles `(1 - i) / sqrt(2)` and
    /// `(-1 - i) / sqrt(2)` of the odd ones ride on the last additions.
    #[inline(always)]
    fn apply<S: Simd>(simd: S, one: S::V, x: &mut [Complex<S::V>; 8]) {
        let root = simd.splat(FRAC_1_SQRT_2 as f32);
        let (a0, a1) = (
            add_one(simd, one, x[0], x[4]),
            sub_one(simd, one, x[0], x[4]),
        );
        let (a2, a3) = (add(simd, x[2], x[6]), sub(simd, x[2], x[6]));
        let (a4, a5) = (
            add_one(simd, one, x[1], x[5]),
            sub_one(simd, one, x[1], x[5]),
        );
        let (a6, a7) = (add(simd, x[3], x[7]), sub(simd, x[3], x[7]));
        let (e0, e2) = (add_one(simd, one, a0, a2), sub(simd, a0, a2));
        let (e1, e3) = (sub_i(simd, a1, a3), add_i(simd, a1, a3));
        let (o0, o2) = (add_one(simd, one, a4, a6), sub(simd, a4, a6));
        let (o1, o3) = (sub_i(simd, a5, a7), add_i(simd, a5, a7));
        let (p1, q1) = (simd.add(o1[0], o1[1]), simd.sub(o1[1], o1[0]));
        let (p3, q3) = (simd.sub(o3[1], o3[0]), simd.add(o3[0], o3[1]));
        *x = [
            add(simd, e0, o0),
            [simd.fma(p1, root, e1[0]), simd.fma(q1, root, e1[1])],
            sub_i(simd, e2, o2),
            [simd.fma(p3, root, e3[0]), simd.fnma(q3, root, e3[1])],
            sub(simd, e0, o0),
            [simd.fnma(p1, root, e1[0]), simd.fnma(q1, root, e1[1])],
            add_i(simd, e2, o2),
            [simd.fnma(p3, root, e3[0]), simd.fma(q3, root, e3[1])],
        ];
    }
}

impl Butterfly<16> for Radix<16> {
    straight_loads_and_stores!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

    /// 4 x 4, with the 9 twiddles `exp(-2 pi i n2 k1 / 16)`.
    #[inline(always)]
    fn apply<S: Simd>(simd: S, _: S::V, x: &mut [Complex<S::V>; 16]) {
        /// `cos` and `-sin` of `pi m / 8`.
        const TWIDDLES: [[f64; 2]; 10] = [
            [1.0, 0.0],
            [0.923_879_532_511_286_7, -0.382_683_432_365_089_8],
            [FRAC_1_SQRT_2, -FRAC_1_SQRT_2],
            [0.382_683_432_365_089_8, -0.923_879_532_511_286_7],
            [0.0, -1.0],
            [0.0, 0.0],
            [-FRAC_1_SQRT_2, -FRAC_1_SQRT_2],
            [0.0, 0.0],
            [0.0, 0.0],
            [-0.923_879_532_511_286_7, 0.382_683_432_365_089_8],
        ];
        let mut rows = *x;
        for n2 in 0..4 {
            let y = four(simd, [x[n2], x[4 + n2], x[8 + n2], x[12 + n2]]);
            rows[n2] = y[0];
            for k1 in 1..4 {
                let [wr, wi] = TWIDDLES[n2 * k1];
                let (wr, wi) = (simd.splat(wr as f32), simd.splat(wi as f32));
                let [re, im] = y[k1];
                rows[4 * k1 + n2] = if n2 == 0 {
                    y[k1]
                } else {
                    [
                        simd.fnma(im, wi, simd.mul(re, wr)),
                        simd.fma(im, wr, simd.mul(re, wi)),
                    ]
                };
            }
        }
        for k1 in 0..4 {
            let row = &rows[4 * k1..];
            let y = four(simd, [row[0], row[1], row[2], row[3]]);
            for k2 in 0..4 {
                x[k1 + 4 * k2] = y[k2];
            }
        }
    }
}
