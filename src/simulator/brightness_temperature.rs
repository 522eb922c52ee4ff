//! The 21-cm brightness temperature relative to the CMB.

use super::constants::CMB_TEMPERATURE;
use super::cosmology::Background;
use super::execution::{Execution, vectorised};
use super::filter::LineOfSightGradient;
use super::fourier::{Fourier, Spectrum};

/// Velocity gradients along the line of sight are limited to this share of the Hubble rate.
const LARGEST_GRADIENT: f32 = 0.2;

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
    scratch: &mut Spectrum,
    gradient: &mut [f32],
) {
    let growth_rate = background.growth_dz(z) / background.dt_dz(z);
    let filter = LineOfSightGradient {
        factor: (-growth_rate / (background.growth(z) * background.hubble(z))) as f32,
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
pub(crate) fn brightness_temperature(
    background: &Background,
    z: f64,
    input: &BrightnessInput<'_>,
    signal: &mut [f32],
    execution: Execution,
) -> f64 {
    const CHUNK: usize = 4096;
    let amplitude = amplitude_mk(background, z) as f32;
    let cmb = (CMB_TEMPERATURE * (1.0 + z)) as f32;
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
                    for (((to, delta), neutral), spin) in
                        signal.iter_mut().zip(density).zip(neutral).zip(spin)
                    {
                        let stretch = 1.0 + to.clamp(-LARGEST_GRADIENT, LARGEST_GRADIENT);
                        *to = amplitude * neutral * (1.0 + delta) * (1.0 - cmb / spin) / stretch;
                    }
                },
            );
            super::ionization::mean(signal) * signal.len() as f64
        },
    );
    sums.iter().sum::<f64>() / cells as f64
}
