//! The level that every processor has: arrays of 8 numbers, which the compiler maps to what there is.

use super::{Kernel, Pixel, Simd, UNIT};

/// 8 numbers.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct F32x8(Pixel);

#[expect(unsafe_code, reason = "Pod is how scratch memory becomes vectors")]
// SAFETY: the type is a transparent wrapper of 8 f32: all bit patterns are values, and 32 bytes at an
// alignment of 32 leave no padding.
unsafe impl bytemuck::Zeroable for F32x8 {}
#[expect(unsafe_code, reason = "Pod is how scratch memory becomes vectors")]
// SAFETY: as above.
unsafe impl bytemuck::Pod for F32x8 {}

/// Proof of nothing: the portable level needs no instructions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Portable;

impl F32x8 {
    #[inline(always)]
    fn map(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let mut result = self;
        for i in 0..UNIT {
            result.0[i] = f(self.0[i], other.0[i]);
        }
        result
    }
}

impl Simd for Portable {
    type V = F32x8;
    type Half = Self;
    const LANES: usize = 8;
    // A vector takes two of the 16 registers of 128 bits that every x86-64 has.
    const ACCUMULATORS: usize = 6;

    #[inline(always)]
    fn half(self) -> Self {
        self
    }
    fn vectorize<K: Kernel<Self>>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
    #[inline(always)]
    fn splat(self, value: f32) -> F32x8 {
        F32x8([value; UNIT])
    }
    #[inline(always)]
    fn splat_units(self, values: [&f32; 2]) -> F32x8 {
        F32x8([*values[0]; UNIT])
    }
    #[inline(always)]
    fn load_units(self, pixels: [&Pixel; 2]) -> F32x8 {
        F32x8(*pixels[0])
    }
    #[inline(always)]
    fn load(self, values: &[f32]) -> F32x8 {
        let mut v = F32x8([0.0; UNIT]);
        v.0.copy_from_slice(&values[..UNIT]);
        v
    }
    #[inline(always)]
    fn store(self, v: F32x8, values: &mut [f32]) {
        values[..UNIT].copy_from_slice(&v.0);
    }
    #[inline(always)]
    fn store_unit(self, v: F32x8, unit: usize, pixel: &mut Pixel) {
        debug_assert_eq!(unit, 0);
        *pixel = v.0;
    }
    #[inline(always)]
    fn store_unit_bytes(self, v: F32x8, unit: usize, bytes: &mut [u8; UNIT]) {
        debug_assert_eq!(unit, 0);
        *bytes = v.0.map(|value| value as u8);
    }
    #[inline(always)]
    fn select_code(self, v: F32x8, codes: [&[u8; UNIT]; 2], code: u8) -> F32x8 {
        let mut result = v;
        for (lane, &c) in result.0.iter_mut().zip(codes[0]) {
            *lane = if c == code { *lane } else { 0.0 };
        }
        result
    }
    #[inline(always)]
    fn add(self, a: F32x8, b: F32x8) -> F32x8 {
        a.map(b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: F32x8, b: F32x8) -> F32x8 {
        a.map(b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: F32x8, b: F32x8) -> F32x8 {
        a.map(b, |a, b| a * b)
    }
    // Two roundings: without the instruction `f32::mul_add` is a slow library call.
    #[inline(always)]
    fn fma(self, a: F32x8, b: F32x8, c: F32x8) -> F32x8 {
        a.map(b, |a, b| a * b).map(c, |ab, c| ab + c)
    }
    #[inline(always)]
    fn fnma(self, a: F32x8, b: F32x8, c: F32x8) -> F32x8 {
        a.map(b, |a, b| a * b).map(c, |ab, c| c - ab)
    }
    #[inline(always)]
    fn add_by_fma(self, a: F32x8, b: F32x8, _: F32x8) -> F32x8 {
        self.add(a, b)
    }
    #[inline(always)]
    fn sub_by_fma(self, a: F32x8, b: F32x8, _: F32x8) -> F32x8 {
        self.sub(a, b)
    }
    #[inline(always)]
    fn select_greater(self, a: F32x8, b: F32x8, yes: F32x8, no: F32x8) -> F32x8 {
        let mut result = no;
        for i in 0..UNIT {
            result.0[i] = if a.0[i] > b.0[i] { yes.0[i] } else { no.0[i] };
        }
        result
    }
    #[inline(always)]
    fn select_not_greater(self, a: F32x8, b: F32x8, yes: F32x8, no: F32x8) -> F32x8 {
        let mut result = no;
        for i in 0..UNIT {
            result.0[i] = if a.0[i] <= b.0[i] { yes.0[i] } else { no.0[i] };
        }
        result
    }
    #[inline(always)]
    fn transpose_units(self, rows: [F32x8; UNIT]) -> [F32x8; UNIT] {
        let mut result = rows;
        for (i, column) in result.iter_mut().enumerate() {
            for (value, row) in column.0.iter_mut().zip(&rows) {
                *value = row.0[i];
            }
        }
        result
    }
    #[inline(always)]
    fn sum_units(self, rows: [F32x8; UNIT]) -> F32x8 {
        sum_rows(&rows)
    }
}

/// Sum of each row. Not inlined: the compiler would take its shape for that of the loops before it, and mix
/// lanes there.
#[inline(never)]
fn sum_rows(rows: &[F32x8; UNIT]) -> F32x8 {
    let mut result = F32x8([0.0; UNIT]);
    for (sum, row) in result.0.iter_mut().zip(rows) {
        let [a, b, c, d, e, f, g, h] = row.0;
        *sum = ((a + b) + (c + d)) + ((e + f) + (g + h));
    }
    result
}
