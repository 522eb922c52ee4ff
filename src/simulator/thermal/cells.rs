//! A step of the gas for a block of cells: sums over sources, rates, the explicit Euler step of equations 7 and 8 of
//! Mesinger, Furlanetto & Cen (2011), the spin temperature.

use super::Step;
use crate::simulator::constants as c;
use crate::simulator::shells::ShellDensities;
use crate::simulator::sources::{BLOCK, ShellWork, SourceTerms, add_shells, interpolate_row};
use crate::simulator::spin_temperature::SpinSnapshot;
use crate::simulator::vector_math;

/// Electron fractions are kept below this.
const HIGHEST_ELECTRON_FRACTION: f32 = 1.0 - 1e-7;

/// Coefficients of the rate equations.
pub(super) struct Coefficients {
    dz: f32,
    /// `dt/dz` in s.
    dt_dz: f32,
    recombination: f32,
    expansion: f32,
    growth: f32,
    compton: f32,
    cmb_k: f32,
    helium_fraction: f32,
    x_ray_heating: f32,
    x_ray_ionisation: f32,
    x_ray_photons: f32,
    lyman_alpha: f32,
}

impl Step<'_> {
    pub(super) fn coefficients(&self, terms: Option<&SourceTerms>) -> Coefficients {
        let z = self.to;
        let background = self.background;
        let dt_dz = background.dt_dz(z);
        let growth = background.growth(z);
        let cmb = c::CMB_TEMPERATURE * (1.0 + z);
        let hubble_ratio = background.hubble(z) / background.hubble_constant();
        let units = terms.map_or([0.0; 3], |terms| terms.x_ray_units);
        Coefficients {
            dz: (z - self.from) as f32,
            dt_dz: dt_dz as f32,
            recombination: (c::CLUMPING_FACTOR
                * background.hydrogen_fraction()
                * background.baryon_density()
                * (1.0 + z).powi(3)) as f32,
            expansion: (2.0 / (1.0 + z)) as f32,
            growth: (2.0 / 3.0 * background.growth_dz(z) / growth) as f32,
            compton: (1.51e-4 / (background.cosmology().h * hubble_ratio) * cmb.powi(4) / (1.0 + z))
                as f32,
            cmb_k: cmb as f32,
            helium_fraction: (1.0 - background.hydrogen_fraction()) as f32,
            x_ray_heating: (dt_dz * 2.0 / (3.0 * c::BOLTZMANN_CONSTANT) * units[0]) as f32,
            x_ray_ionisation: units[1] as f32,
            x_ray_photons: units[2] as f32,
            lyman_alpha: terms.map_or(0.0, |terms| terms.lyman_alpha_unit) as f32,
        }
    }
}

/// Buffers of one thread.
pub(super) struct Work {
    shells: ShellWork,
    sums: Vec<f32>,
    coarse: Vec<f32>,
    /// Lyman-alpha photons, in units of the stellar sum's unit, and the part injected by cascades.
    stars: Vec<f32>,
    injected: Vec<f32>,
    heating: Vec<f32>,
    ionisation: Vec<f32>,
    photons: Vec<f32>,
    extra: Vec<f32>,
    ln_t: Vec<f32>,
    rates: [Vec<f32>; 4],
}

impl Work {
    pub(super) fn new(n: usize) -> Self {
        let block = BLOCK.max(n);
        let zeros = || vec![0.0; block];
        Self {
            shells: ShellWork::new(),
            sums: Vec::new(),
            coarse: zeros(),
            stars: zeros(),
            injected: zeros(),
            heating: zeros(),
            ionisation: zeros(),
            photons: zeros(),
            extra: zeros(),
            ln_t: zeros(),
            rates: std::array::from_fn(|_| zeros()),
        }
    }

    /// The sums `[sum][cell]` over all shells.
    #[inline(always)]
    pub(super) fn sum_sources(
        &mut self,
        terms: &SourceTerms,
        shells: &ShellDensities,
        half_sums: Option<&[f32]>,
        n: usize,
        [x, y]: [usize; 2],
        cells: usize,
    ) {
        let count = terms.sums();
        self.sums.clear();
        self.sums.resize(count * cells, 0.0);
        if let Some(half_sums) = half_sums {
            for number in 0..count {
                for row in 0..cells / n {
                    interpolate_row(
                        half_sums,
                        n / 2,
                        count,
                        [x, y + row],
                        number,
                        &mut self.coarse,
                        &mut self.sums[number * cells + row * n..][..n],
                    );
                }
            }
        }
        let start = (x * n + y) * n;
        add_shells(
            terms,
            &shells.shells,
            false,
            start,
            cells,
            &mut self.sums,
            &mut self.shells,
        );
    }

    /// X-ray rates at each cell's electron fraction, and the rates that depend on its temperature.
    #[inline(always)]
    #[expect(
        clippy::too_many_arguments,
        reason = "one slice of each field of the cells"
    )]
    pub(super) fn rates(
        &mut self,
        step: &Step<'_>,
        coefficients: &Coefficients,
        terms: Option<&SourceTerms>,
        density: &[f32],
        temperature: &[f32],
        electrons: &[f32],
        spin: &[f32],
    ) {
        let cells = density.len();
        for buffer in [
            &mut self.stars,
            &mut self.injected,
            &mut self.heating,
            &mut self.ionisation,
            &mut self.photons,
            &mut self.extra,
        ] {
            buffer[..cells].fill(0.0);
        }
        if let Some(terms) = terms {
            self.stars[..cells].copy_from_slice(&self.sums[..cells]);
            if terms.lyman_alpha_sums == 2 {
                self.injected[..cells].copy_from_slice(&self.sums[cells..2 * cells]);
            }
            let k = terms.nodes.len();
            for (number, &node) in terms.nodes.iter().enumerate() {
                // Hat function of the node: 1 there, 0 at its neighbours.
                let below = if number > 0 {
                    terms.nodes[number - 1]
                } else {
                    node - 1.0
                };
                let above = if number + 1 < k {
                    terms.nodes[number + 1]
                } else {
                    node + 1.0
                };
                let (rise, fall) = ((1.0 / (node - below)) as f32, (1.0 / (above - node)) as f32);
                let (node, first, last) = (node as f32, number == 0, number + 1 == k);
                let at = |q: usize| {
                    let start = (terms.lyman_alpha_sums + q * k + number) * cells;
                    start..start + cells
                };
                let (heat, ion, photons) =
                    (&self.sums[at(0)], &self.sums[at(1)], &self.sums[at(2)]);
                // Beyond the first and the last node the weight stays 1.
                let up = if first {
                    (1.0, 0.0)
                } else {
                    (1.0 - node * rise, rise)
                };
                let down = if last {
                    (1.0, 0.0)
                } else {
                    (1.0 + node * fall, -fall)
                };
                for (sums, total) in [
                    (heat, &mut self.heating),
                    (ion, &mut self.ionisation),
                    (photons, &mut self.photons),
                ] {
                    add_weighted(electrons, up, down, sums, &mut total[..cells]);
                }
            }
        }
        if step.heating.is_on() {
            let unit = coefficients.lyman_alpha;
            step.heating.add(
                temperature,
                electrons,
                spin,
                density,
                &self.stars[..cells],
                &self.injected[..cells],
                unit,
                &mut self.extra[..cells],
            );
            // All stellar photons couple the spins.
            for i in 0..cells {
                self.stars[i] += self.injected[i];
            }
        }
        logarithms(temperature, &mut self.ln_t[..cells]);
        for i in 0..cells {
            self.rates[3][i] = step.rates.at(self.ln_t[i])[3];
        }
    }

    /// The Euler step and the new spin temperature.
    #[inline(always)]
    #[expect(
        clippy::too_many_arguments,
        reason = "one slice of each field of the cells"
    )]
    pub(super) fn update(
        &mut self,
        step: &Step<'_>,
        k: &Coefficients,
        snapshot: &SpinSnapshot,
        density: &[f32],
        temperature: &mut [f32],
        electrons: &mut [f32],
        spin: &mut [f32],
    ) {
        let cells = density.len();
        // Old electron fractions move to the buffer of the ionisation rates.
        euler_step(
            k,
            density,
            &self.heating[..cells],
            &self.extra[..cells],
            &self.rates[3][..cells],
            temperature,
            electrons,
            &mut self.ionisation[..cells],
            &mut self.ln_t[..cells],
        );
        let [hh, eh, ph, _] = &mut self.rates;
        for i in 0..cells {
            [hh[i], eh[i], ph[i], _] = step.rates.at(self.ln_t[i]);
        }
        couple_spins(
            k,
            snapshot,
            density,
            temperature,
            &self.ln_t[..cells],
            electrons,
            &self.ionisation[..cells],
            &self.stars[..cells],
            &self.photons[..cells],
            [&hh[..cells], &eh[..cells], &ph[..cells]],
            spin,
        );
    }
}

/// Adds `sums` times the smaller one of two straight lines in the electron fraction, at least 0, to `total`.
#[inline(always)]
fn add_weighted(
    electrons: &[f32],
    up: (f32, f32),
    down: (f32, f32),
    sums: &[f32],
    total: &mut [f32],
) {
    for ((total, sum), x) in total.iter_mut().zip(sums).zip(electrons) {
        let x = if *x > 1.001e-4 { *x } else { 1.001e-4 };
        let x = if x < 0.998 { x } else { 0.998 };
        let (rising, falling) = (up.0 + up.1 * x, down.0 + down.1 * x);
        let weight = if rising < falling { rising } else { falling };
        let weight = if weight > 0.0 { weight } else { 0.0 };
        *total += weight * sum;
    }
}

#[inline(always)]
fn logarithms(values: &[f32], logarithms: &mut [f32]) {
    for (to, value) in logarithms.iter_mut().zip(values) {
        // The smallest temperature keeps the logarithm finite.
        *to = vector_math::ln(*value + 1e-6);
    }
}

/// One Euler step of temperature and electron fraction. `ionisation` holds the ionisation rates at first
/// and the old electron fractions in the end; `ln_t` receives the logarithms of the new temperatures.
///
/// Plain slices as arguments tell the compiler that nothing overlaps, which it needs to vectorise.
#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "one slice of each field of the cells"
)]
fn euler_step(
    k: &Coefficients,
    density: &[f32],
    heating: &[f32],
    extra: &[f32],
    alpha: &[f32],
    temperature: &mut [f32],
    electrons: &mut [f32],
    ionisation: &mut [f32],
    ln_t: &mut [f32],
) {
    let cells = density.len();
    let (heating, extra, alpha) = (&heating[..cells], &extra[..cells], &alpha[..cells]);
    let (temperature, electrons) = (&mut temperature[..cells], &mut electrons[..cells]);
    let (ionisation, ln_t) = (&mut ionisation[..cells], &mut ln_t[..cells]);
    for i in 0..cells {
        let (t, x, delta) = (temperature[i], electrons[i], density[i]);
        let dx_dt =
            k.x_ray_ionisation * ionisation[i] - alpha[i] * x * x * k.recombination * (1.0 + delta);
        let dx_dz = k.dt_dz * dx_dt;
        let new_x = x + k.dz * dx_dz;
        let new_x = if new_x > 0.0 { new_x } else { 0.0 };
        let new_x = if new_x < HIGHEST_ELECTRON_FRACTION {
            new_x
        } else {
            HIGHEST_ELECTRON_FRACTION
        };
        let particles = 1.0 / (1.0 + x);
        let dt_dz = t * (k.expansion + k.growth * delta / (1.0 + delta))
            - t * dx_dz * particles
            - k.compton * x / (1.0 + x + k.helium_fraction) * (k.cmb_k - t)
            + k.x_ray_heating * heating[i] * particles
            + extra[i];
        let stepped = t + k.dz * dt_dz;
        let stepped = if stepped < 0.0 { k.cmb_k } else { stepped };
        let new_t = if t < c::GAS_TEMPERATURE_CAP_K as f32 {
            stepped
        } else {
            t
        };
        ionisation[i] = x;
        electrons[i] = new_x;
        temperature[i] = new_t;
        ln_t[i] = vector_math::ln(new_t + 1e-6);
    }
}

/// The spin temperatures, from those of the previous snapshot in `spin`.
#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "one slice of each field of the cells"
)]
fn couple_spins(
    k: &Coefficients,
    snapshot: &SpinSnapshot,
    density: &[f32],
    temperature: &[f32],
    ln_t: &[f32],
    electrons: &[f32],
    old_electrons: &[f32],
    stars: &[f32],
    photons: &[f32],
    [hh, eh, ph]: [&[f32]; 3],
    spin: &mut [f32],
) {
    let cells = density.len();
    let (temperature, ln_t) = (&temperature[..cells], &ln_t[..cells]);
    let (electrons, old_electrons) = (&electrons[..cells], &old_electrons[..cells]);
    let (stars, photons, spin) = (&stars[..cells], &photons[..cells], &mut spin[..cells]);
    let (hh, eh, ph) = (&hh[..cells], &eh[..cells], &ph[..cells]);
    for i in 0..cells {
        let flux = k.lyman_alpha * stars[i] + k.x_ray_photons * (1.0 + density[i]) * photons[i];
        spin[i] = snapshot.spin_temperature(
            temperature[i],
            ln_t[i],
            density[i],
            electrons[i],
            flux,
            [hh[i], eh[i], ph[i]],
            spin[i],
            old_electrons[i],
        );
    }
}
