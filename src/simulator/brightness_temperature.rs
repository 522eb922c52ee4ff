//! The 21-cm brightness temperature relative to the CMB.

use super::constants::CMB_TEMPERATURE;
use super::cosmology::Background;
use super::execution::{Execution, vectorised};
use super::filter::LineOfSightGradient;
use super::fourier::{Fourier, Spectrum};
use super::parameters::Physics;
use super::vector_math;

/// Velocity gradients along the line of sight are limited to this share of the Hubble rate.
const LARGEST_GRADIENT: f32 = 0.2;

/// Keeps the optical depth finite where the gas falls as fast as space expands.
const SMALLEST_STRETCH: f32 = 1e-6;

/// `1 - exp(-depth)` for a depth from 0 on.
#[inline(always)]
fn absorbed(depth: f32) -> f32 {
    // The difference loses digits where the depth is small, the series where it is not.
    let series = depth * (1.0 - depth / 2.0 * (1.0 - depth / 3.0 * (1.0 - depth / 4.0)));
    let difference = 1.0 - vector_math::exp(-depth);
    if depth < 0.1 { series } else { difference }
}

/// Brightness temperature in mK of gas at the CMB's antipode of all factors: mean density, neutral, at rest,
/// infinitely hot (Furlanetto, Oh & Briggs 2006, equation 21).
#[must_use]
pub fn amplitude_mk(background: &Background, z: f64) -> f64 {
    let cosmology = background.cosmology();
    let h2 = cosmology.h.powi(2);
    27.0 * (cosmology.omega_b * h2 / 0.023)
        * (0.15 / (cosmology.omega_m * h2) * (1.0 + z) / 10.0).sqrt()
}

/// The gradient of the peculiar velocity along z over the Hubble rate, from the spectrum of the evolved
/// density at redshift `z`.
pub(crate) fn velocity_gradient(
    background: &Background,
    fourier: &Fourier,
    spectrum: &Spectrum,
    z: f64,
    physics: &Physics,
    scratch: &mut Spectrum,
    gradient: &mut [f32],
) {
    let growth_rate = background.growth_dz(z) / background.dt_dz(z);
    let factor = (-growth_rate / (background.growth(z) * background.hubble(z))) as f32;
    let filter = if physics.thin_signal {
        LineOfSightGradient::spectral(fourier, factor)
    } else {
        LineOfSightGradient::central_difference(fourier, factor)
    };
    fourier.inverse(spectrum, &filter, scratch, gradient);
}

/// Fields of one snapshot that make the signal.
pub(crate) struct BrightnessInput<'a> {
    pub(crate) density: &'a [f32],
    pub(crate) neutral: &'a [f32],
    pub(crate) spin_temperature_k: &'a [f32],
}

/// Replaces the velocity gradient in `signal` by the brightness temperature in mK; returns its mean.
///
/// `(T_S - T_CMB)(1 - exp(-tau)) / (1 + z)` with the optical depth `tau` of the stretched line, or its limit for a
/// small depth (Furlanetto, Oh & Briggs 2006, section 2).
pub(crate) fn brightness_temperature(
    background: &Background,
    z: f64,
    physics: &Physics,
    input: &BrightnessInput<'_>,
    signal: &mut [f32],
    execution: Execution,
) -> f64 {
    const CHUNK: usize = 4096;
    let amplitude = amplitude_mk(background, z) as f32;
    let cmb = (CMB_TEMPERATURE * (1.0 + z)) as f32;
    let per_kelvin = (1000.0 / (1.0 + z)) as f32;
    let cells = signal.len();
    let pieces: Vec<_> = signal
        .chunks_mut(CHUNK)
        .zip(input.density.chunks(CHUNK))
        .zip(input.neutral.chunks(CHUNK))
        .zip(input.spin_temperature_k.chunks(CHUNK))
        .collect();
    let sums = execution.run(
        pieces,
        || (),
        |(), (((signal, density), neutral), spin)| {
            vectorised(
                #[inline(always)]
                || {
                    let cells = signal.iter_mut().zip(density).zip(neutral).zip(spin);
                    if physics.thin_signal {
                        for (((to, delta), neutral), spin) in cells {
                            let stretch = 1.0 + to.clamp(-LARGEST_GRADIENT, LARGEST_GRADIENT);
                            *to =
                                amplitude * neutral * (1.0 + delta) * (1.0 - cmb / spin) / stretch;
                        }
                    } else {
                        for (((to, delta), neutral), spin) in cells {
                            let stretch = (1.0 + *to).abs().max(SMALLEST_STRETCH);
                            let depth =
                                amplitude * neutral * (1.0 + delta) / (per_kelvin * spin * stretch);
                            *to = per_kelvin * (spin - cmb) * absorbed(depth);
                        }
                    }
                },
            );
            super::ionization::mean(signal) * signal.len() as f64
        },
    );
    sums.iter().sum::<f64>() / cells as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absorbed_share_has_its_digits_at_any_depth() {
        for depth in [0.0_f32, 1e-9, 1e-4, 0.01, 0.0999, 0.1, 1.0, 30.0, 1e6] {
            let exact = -(-f64::from(depth)).exp_m1();
            let error = (f64::from(absorbed(depth)) - exact).abs();
            assert!(error <= 3e-6 * exact, "depth {depth}: {error}");
        }
    }
}
