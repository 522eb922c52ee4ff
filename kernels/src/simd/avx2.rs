//! AVX2 and FMA: 8 numbers in a vector, 16 registers.

#![expect(unsafe_code, reason = "intrinsics, behind a token that proves support")]

use std::arch::x86_64::*;

use super::{Kernel, Pixel, Simd, UNIT};

/// Proof that the processor has AVX2 and FMA.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The proof, if the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }

    /// AVX-512 implies what this level needs.
    pub(super) fn implied_by(_: super::avx512::Avx512) -> Self {
        Self(())
    }
}

#[target_feature(enable = "avx2,fma")]
fn enter<K: Kernel<Avx2>>(token: Avx2, kernel: K) -> K::Output {
    kernel.run(token)
}

/// Calls an intrinsic.
macro_rules! intrinsic {
    ($call:expr) => {{
        // SAFETY: `self` proves that the processor has AVX2 and FMA; pointers come from references to
        // as many values as the instruction reads or writes, and the instruction needs no alignment.
        unsafe { $call }
    }};
}

impl Simd for Avx2 {
    type V = __m256;
    type Half = Self;
    const LANES: usize = 8;
    const ACCUMULATORS: usize = 12;

    #[inline(always)]
    fn half(self) -> Self {
        self
    }
    #[inline]
    fn vectorize<K: Kernel<Self>>(self, kernel: K) -> K::Output {
        // SAFETY: `self` proves that the processor has AVX2 and FMA.
        unsafe { enter(self, kernel) }
    }
    #[inline(always)]
    fn prefetch<T>(self, values: &[T], first: usize, len: usize) {
        let first = first.min(values.len());
        let values = &values[first..(first + len).min(values.len())];
        for offset in (0..size_of_val(values)).step_by(64) {
            let line = values.as_ptr().wrapping_byte_add(offset);
            intrinsic!(_mm_prefetch::<_MM_HINT_T0>(line.cast()));
        }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        intrinsic!(_mm256_set1_ps(value))
    }
    #[inline(always)]
    fn splat_units(self, values: [&f32; 2]) -> __m256 {
        intrinsic!(_mm256_broadcast_ss(values[0]))
    }
    #[inline(always)]
    fn load_units(self, pixels: [&Pixel; 2]) -> __m256 {
        intrinsic!(_mm256_loadu_ps(pixels[0].as_ptr()))
    }
    #[inline(always)]
    fn load(self, values: &[f32]) -> __m256 {
        let values = &values[..Self::LANES];
        intrinsic!(_mm256_loadu_ps(values.as_ptr()))
    }
    #[inline(always)]
    fn store(self, v: __m256, values: &mut [f32]) {
        let values = &mut values[..Self::LANES];
        intrinsic!(_mm256_storeu_ps(values.as_mut_ptr(), v));
    }
    #[inline(always)]
    fn store_unit(self, v: __m256, unit: usize, pixel: &mut Pixel) {
        debug_assert_eq!(unit, 0);
        intrinsic!(_mm256_storeu_ps(pixel.as_mut_ptr(), v));
    }
    #[inline(always)]
    fn store_unit_bytes(self, v: __m256, unit: usize, bytes: &mut [u8; UNIT]) {
        debug_assert_eq!(unit, 0);
        intrinsic!({
            let words = _mm256_cvttps_epi32(v);
            let low = _mm256_castsi256_si128(words);
            let high = _mm256_extracti128_si256::<1>(words);
            let short = _mm_packus_epi32(low, high);
            _mm_storel_epi64(bytes.as_mut_ptr().cast(), _mm_packus_epi16(short, short));
        });
    }
    #[inline(always)]
    fn select_code(self, v: __m256, codes: [&[u8; UNIT]; 2], code: u8) -> __m256 {
        intrinsic!({
            let codes = _mm_loadl_epi64(codes[0].as_ptr().cast());
            let equal = _mm_cmpeq_epi8(codes, _mm_set1_epi8(code as i8));
            let mask = _mm256_castsi256_ps(_mm256_cvtepi8_epi32(equal));
            _mm256_and_ps(v, mask)
        })
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        intrinsic!(_mm256_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        intrinsic!(_mm256_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        intrinsic!(_mm256_mul_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        intrinsic!(_mm256_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn fnma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        intrinsic!(_mm256_fnmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn select_greater(self, a: __m256, b: __m256, yes: __m256, no: __m256) -> __m256 {
        intrinsic!(_mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_GT_OQ>(a, b)))
    }
    #[inline(always)]
    fn select_not_greater(self, a: __m256, b: __m256, yes: __m256, no: __m256) -> __m256 {
        intrinsic!(_mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_LE_OQ>(a, b)))
    }
    #[inline(always)]
    fn transpose_units(self, rows: [__m256; UNIT]) -> [__m256; UNIT] {
        // Blocks of 1, 2 and 4 columns are exchanged in turn.
        intrinsic!({
            let mut a = rows;
            for i in 0..4 {
                a[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
                a[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
            }
            let mut b = a;
            for i in 0..2 {
                let r0 = _mm256_castps_pd(a[4 * i]);
                let r1 = _mm256_castps_pd(a[4 * i + 1]);
                let r2 = _mm256_castps_pd(a[4 * i + 2]);
                let r3 = _mm256_castps_pd(a[4 * i + 3]);
                b[4 * i] = _mm256_castpd_ps(_mm256_unpacklo_pd(r0, r2));
                b[4 * i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(r0, r2));
                b[4 * i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(r1, r3));
                b[4 * i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(r1, r3));
            }
            let mut c = b;
            for j in 0..4 {
                c[j] = _mm256_permute2f128_ps::<0x20>(b[j], b[4 + j]);
                c[4 + j] = _mm256_permute2f128_ps::<0x31>(b[j], b[4 + j]);
            }
            c
        })
    }
    #[inline(always)]
    fn sum_units(self, rows: [__m256; UNIT]) -> __m256 {
        // The steps of a transposition, added up after each: half as many numbers every time.
        intrinsic!({
            let mut quarters = [_mm256_setzero_pd(); 4];
            for (i, quarter) in quarters.iter_mut().enumerate() {
                let (a, b) = (rows[2 * i], rows[2 * i + 1]);
                let sum = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                *quarter = _mm256_castps_pd(sum);
            }
            let mut halves = [_mm256_setzero_ps(); 2];
            for (i, half) in halves.iter_mut().enumerate() {
                let (a, b) = (quarters[2 * i], quarters[2 * i + 1]);
                *half = _mm256_add_ps(
                    _mm256_castpd_ps(_mm256_unpacklo_pd(a, b)),
                    _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)),
                );
            }
            _mm256_add_ps(
                _mm256_permute2f128_ps::<0x20>(halves[0], halves[1]),
                _mm256_permute2f128_ps::<0x31>(halves[0], halves[1]),
            )
        })
    }
}
