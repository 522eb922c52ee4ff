//! Elementary functions in single precision, free of branches so that loops over them vectorise.

use super::collapsed_fraction::ERFC_COEFFICIENTS;

/// `exp(x)` for `x` between -87 and 88, relative error below 3e-7; clamped below.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the lowest bits.
    const ROUNDER: f32 = 12_582_912.0;
    let x = if x > -87.0 { x } else { -87.0 };
    let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
    let whole = shifted - ROUNDER;
    // ln 2 in two parts keeps the remainder exact.
    let rest = (x - whole * 0.693_359_4) + whole * 2.121_944_4e-4;
    let polynomial = 1.0
        + rest
            * (1.0
                + rest
                    * (0.5
                        + rest
                            * (0.166_666_57
                                + rest
                                    * (0.041_665_795
                                        + rest * (0.008_333_452 + rest * 0.001_398_2)))));
    f32::from_bits(polynomial.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// `ln(x)` for positive normal `x`, absolute error below 1e-7 times `max(1, |ln x|)`.
#[inline(always)]
pub(crate) fn ln(x: f32) -> f32 {
    let bits = x.to_bits();
    let mantissa = f32::from_bits((bits & 0x007f_ffff) | 0x3f80_0000);
    let above = mantissa > std::f32::consts::SQRT_2;
    let m = if above { 0.5 * mantissa } else { mantissa } - 1.0;
    let exponent = (bits >> 23) as i32 - if above { 126 } else { 127 };
    let exponent = exponent as f32;
    let square = m * m;
    let polynomial = 3.333_333e-1
        + m * (-2.499_999_4e-1
            + m * (2.000_071_5e-1
                + m * (-1.666_805_7e-1
                    + m * (1.424_932_3e-1
                        + m * (-1.242_014_1e-1
                            + m * (1.167_699_9e-1 + m * (-1.151_461e-1 + m * 7.037_684e-2)))))));
    let low = m * square * polynomial - 2.121_944_4e-4 * exponent - 0.5 * square;
    m + low + 0.693_359_4 * exponent
}

/// `erfc(x)` for `x >= 0`, relative error below `5e-7 + 1.2e-7 x^2` while the result is above 1e-37.
#[inline(always)]
pub(crate) fn erfc(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.5 * x);
    let mut polynomial = 0.0;
    for coefficient in ERFC_COEFFICIENTS.iter().rev() {
        polynomial = polynomial * t + *coefficient as f32;
    }
    t * exp(polynomial - x * x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::collapsed_fraction::complementary_error_function;

    #[test]
    fn functions_match_the_library_in_double_precision() {
        for i in 0..20_000 {
            let x = -87.0 + 175.0 * i as f32 / 20_000.0;
            let expected = f64::from(x).exp();
            assert!(
                (f64::from(exp(x)) / expected - 1.0).abs() < 3e-7,
                "exp({x})"
            );
            let y = exp(x);
            if y > f32::MIN_POSITIVE {
                let expected = f64::from(y).ln();
                let tolerance = 1.5e-7 * expected.abs().max(1.0);
                assert!((f64::from(ln(y)) - expected).abs() < tolerance, "ln({y})");
            }
        }
        for i in 0..9000 {
            let x = i as f32 * 1e-3;
            let expected = complementary_error_function(f64::from(x));
            let tolerance = 5e-7 + 1.2e-7 * f64::from(x * x);
            let error = (f64::from(erfc(x)) / expected - 1.0).abs();
            assert!(error < tolerance, "erfc({x}): {error:e}");
        }
        assert!(exp(-1e30) < 1e-37);
    }
}
