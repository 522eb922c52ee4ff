//! AVX-512: 16 numbers in a vector, 32 registers.

#![expect(unsafe_code, reason = "intrinsics, behind a token that proves support")]

use std::arch::x86_64::*;

use super::avx2::Avx2;
use super::{Kernel, Pixel, Simd, UNIT};

/// Calls an intrinsic.
macro_rules! intrinsic {
    ($call:expr) => {{
        // SAFETY: `self` proves that the processor has the instructions; pointers come from references
        // to as many values as the instruction reads or writes, and it needs no alignment.
        unsafe { $call }
    }};
}

/// Proof that the processor has AVX-512 F, BW, DQ and VL, and AVX2 and FMA.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// The proof, if the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        (Avx2::detect().is_some()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl"))
        .then_some(Self(()))
    }

    /// Transposes a matrix of 16 x 16.
    #[inline(always)]
    fn transpose_block(self, rows: [__m512; 16]) -> [__m512; 16] {
        // Blocks of 1, 2, 4 and 8 columns are exchanged in turn.
        intrinsic!({
            let mut a = rows;
            for i in 0..8 {
                a[2 * i] = _mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
                a[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
            }
            let mut b = a;
            for i in 0..4 {
                let r0 = _mm512_castps_pd(a[4 * i]);
                let r1 = _mm512_castps_pd(a[4 * i + 1]);
                let r2 = _mm512_castps_pd(a[4 * i + 2]);
                let r3 = _mm512_castps_pd(a[4 * i + 3]);
                b[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(r0, r2));
                b[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(r0, r2));
                b[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(r1, r3));
                b[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(r1, r3));
            }
            let mut c = b;
            for j in 0..4 {
                for half in 0..2 {
                    let (p, q) = (b[8 * half + j], b[8 * half + 4 + j]);
                    c[8 * half + j] = _mm512_shuffle_f32x4::<0x88>(p, q);
                    c[8 * half + 4 + j] = _mm512_shuffle_f32x4::<0xdd>(p, q);
                }
            }
            let mut d = c;
            for j in 0..4 {
                d[j] = _mm512_shuffle_f32x4::<0x88>(c[j], c[8 + j]);
                d[8 + j] = _mm512_shuffle_f32x4::<0xdd>(c[j], c[8 + j]);
                d[4 + j] = _mm512_shuffle_f32x4::<0x88>(c[4 + j], c[12 + j]);
                d[12 + j] = _mm512_shuffle_f32x4::<0xdd>(c[4 + j], c[12 + j]);
            }
            d
        })
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn enter<K: Kernel<Avx512>>(token: Avx512, kernel: K) -> K::Output {
    kernel.run(token)
}

impl Simd for Avx512 {
    type V = __m512;
    type Half = Avx2;
    const LANES: usize = 16;
    const ACCUMULATORS: usize = 24;

    #[inline(always)]
    fn half(self) -> Avx2 {
        Avx2::implied_by(self)
    }
    #[inline]
    fn vectorize<K: Kernel<Self>>(self, kernel: K) -> K::Output {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { enter(self, kernel) }
    }
    #[inline(always)]
    fn prefetch<T>(self, values: &[T], first: usize, len: usize) {
        self.half().prefetch(values, first, len);
    }
    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        intrinsic!(_mm512_set1_ps(value))
    }
    #[inline(always)]
    fn splat_units(self, values: [&f32; 2]) -> __m512 {
        // A broadcast and a masked broadcast: two loads, no shuffle.
        intrinsic!({
            let low = _mm512_set1_ps(*values[0]);
            let high = _mm_set_ss(*values[1]);
            _mm512_mask_broadcastss_ps(low, 0xff00, high)
        })
    }
    #[inline(always)]
    fn load_units(self, pixels: [&Pixel; 2]) -> __m512 {
        intrinsic!({
            let low = _mm512_castps256_ps512(_mm256_loadu_ps(pixels[0].as_ptr()));
            _mm512_insertf32x8::<1>(low, _mm256_loadu_ps(pixels[1].as_ptr()))
        })
    }
    #[inline(always)]
    fn load(self, values: &[f32]) -> __m512 {
        let values = &values[..Self::LANES];
        intrinsic!(_mm512_loadu_ps(values.as_ptr()))
    }
    #[inline(always)]
    fn store(self, v: __m512, values: &mut [f32]) {
        let values = &mut values[..Self::LANES];
        intrinsic!(_mm512_storeu_ps(values.as_mut_ptr(), v));
    }
    #[inline(always)]
    fn store_unit(self, v: __m512, unit: usize, pixel: &mut Pixel) {
        debug_assert!(unit < 2);
        intrinsic!({
            let half = if unit == 0 {
                _mm512_castps512_ps256(v)
            } else {
                _mm512_extractf32x8_ps::<1>(v)
            };
            _mm256_storeu_ps(pixel.as_mut_ptr(), half);
        });
    }
    #[inline(always)]
    fn store_unit_bytes(self, v: __m512, unit: usize, bytes: &mut [u8; UNIT]) {
        debug_assert!(unit < 2);
        intrinsic!({
            let all = _mm512_cvtusepi32_epi8(_mm512_cvttps_epi32(v));
            let half = if unit == 0 {
                all
            } else {
                _mm_unpackhi_epi64(all, all)
            };
            _mm_storel_epi64(bytes.as_mut_ptr().cast(), half);
        });
    }
    #[inline(always)]
    fn select_code(self, v: __m512, codes: [&[u8; UNIT]; 2], code: u8) -> __m512 {
        intrinsic!({
            let low = _mm_castsi128_pd(_mm_loadl_epi64(codes[0].as_ptr().cast()));
            let both = _mm_castpd_si128(_mm_loadh_pd(low, codes[1].as_ptr().cast()));
            let equal = _mm_cmpeq_epi8_mask(both, _mm_set1_epi8(code as i8));
            _mm512_maskz_mov_ps(equal, v)
        })
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        intrinsic!(_mm512_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn fnma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        intrinsic!(_mm512_fnmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn select_greater(self, a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512 {
        intrinsic!(_mm512_mask_blend_ps(
            _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b),
            no,
            yes
        ))
    }
    #[inline(always)]
    fn select_not_greater(self, a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512 {
        intrinsic!(_mm512_mask_blend_ps(
            _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b),
            no,
            yes
        ))
    }
    #[inline(always)]
    fn scatter_units(self, value: [__m512; 2], out: &mut [f32], stride: usize) {
        // Pairs of lanes as 64-bit numbers: real and imaginary parts of two units are 16 bytes.
        let out = &mut out[..7 * stride + 4];
        intrinsic!({
            let re = _mm512_castps_pd(value[0]);
            let im = _mm512_castps_pd(value[1]);
            let even = _mm512_castpd_ps(_mm512_unpacklo_pd(re, im));
            let odd = _mm512_castpd_ps(_mm512_unpackhi_pd(re, im));
            let quarters = [
                _mm512_castps512_ps128(even),
                _mm512_castps512_ps128(odd),
                _mm512_extractf32x4_ps::<1>(even),
                _mm512_extractf32x4_ps::<1>(odd),
                _mm512_extractf32x4_ps::<2>(even),
                _mm512_extractf32x4_ps::<2>(odd),
                _mm512_extractf32x4_ps::<3>(even),
                _mm512_extractf32x4_ps::<3>(odd),
            ];
            for (i, quarter) in quarters.into_iter().enumerate() {
                _mm_storeu_ps(out[i * stride..i * stride + 4].as_mut_ptr(), quarter);
            }
        });
    }
    #[inline(always)]
    fn transpose_units(self, rows: [__m512; UNIT]) -> [__m512; UNIT] {
        // As for 8 lanes, in both halves at once.
        intrinsic!({
            let mut a = rows;
            for i in 0..4 {
                a[2 * i] = _mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
                a[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
            }
            let mut b = a;
            for i in 0..2 {
                let r0 = _mm512_castps_pd(a[4 * i]);
                let r1 = _mm512_castps_pd(a[4 * i + 1]);
                let r2 = _mm512_castps_pd(a[4 * i + 2]);
                let r3 = _mm512_castps_pd(a[4 * i + 3]);
                b[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(r0, r2));
                b[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(r0, r2));
                b[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(r1, r3));
                b[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(r1, r3));
            }
            // Quarters 0 and 2 of both operands, and quarters 1 and 3.
            let even = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
            let odd = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
            let mut c = b;
            for j in 0..4 {
                let (p, q) = (_mm512_castps_pd(b[j]), _mm512_castps_pd(b[4 + j]));
                c[j] = _mm512_castpd_ps(_mm512_permutex2var_pd(p, even, q));
                c[4 + j] = _mm512_castpd_ps(_mm512_permutex2var_pd(p, odd, q));
            }
            c
        })
    }
    #[inline(always)]
    fn sum_units(self, rows: [__m512; UNIT]) -> __m512 {
        intrinsic!({
            let mut quarters = [_mm512_setzero_pd(); 4];
            for (i, quarter) in quarters.iter_mut().enumerate() {
                let (a, b) = (rows[2 * i], rows[2 * i + 1]);
                let sum = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                *quarter = _mm512_castps_pd(sum);
            }
            let mut halves = [_mm512_setzero_pd(); 2];
            for (i, half) in halves.iter_mut().enumerate() {
                let (a, b) = (quarters[2 * i], quarters[2 * i + 1]);
                *half = _mm512_castps_pd(_mm512_add_ps(
                    _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                    _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)),
                ));
            }
            let even = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
            let odd = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
            _mm512_add_ps(
                _mm512_castpd_ps(_mm512_permutex2var_pd(halves[0], even, halves[1])),
                _mm512_castpd_ps(_mm512_permutex2var_pd(halves[0], odd, halves[1])),
            )
        })
    }
    #[inline(always)]
    fn transpose_rows(self, rows: &[&[f32]; 16], count: usize, columns: &mut [__m512]) {
        let shortest = rows
            .iter()
            .map(|row| row.len())
            .min()
            .unwrap_or(0)
            .min(count);
        let whole = shortest / 16 * 16;
        for start in (0..whole).step_by(16) {
            let mut block = [intrinsic!(_mm512_setzero_ps()); 16];
            for (block, row) in block.iter_mut().zip(rows) {
                let row = &row[start..start + 16];
                *block = intrinsic!(_mm512_loadu_ps(row.as_ptr()));
            }
            let block = self.transpose_block(block);
            for (column, block) in columns[start..start + 16].iter_mut().zip(block) {
                *column = block;
            }
        }
        super::transpose_from::<Self>(rows, whole, count, columns);
    }
}
