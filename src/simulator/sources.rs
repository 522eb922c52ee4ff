//! Sums over the sources on all light-travel shells of every cell.

use super::collapsed_fraction::CollapsedFraction;
use super::constants as c;
use super::cosmology::Background;
use super::execution::{Execution, vectorised};
use super::lyman_alpha::StellarSpectrum;
use super::parameters::Simulation;
use super::power_spectrum::LinearPower;
use super::shells::{Shell, ShellDensities, emission_redshifts};
use super::vector_math;
use super::x_ray::{FrequencyIntegrals, MeanGas, XRayAbsorption, photons_per_stellar_mass};

/// Sources are off while the mean collapsed fraction is below this.
const NO_LIGHT: f64 = 1e-15;

/// What does not change from snapshot to snapshot in the sums over sources.
#[derive(Debug)]
pub(crate) struct Sources {
    stars: StellarSpectrum,
    integrals: FrequencyIntegrals,
    absorption: XRayAbsorption,
    radii_mpc: Vec<f64>,
    sigma_region: Vec<f64>,
    photons_per_stellar_mass: f64,
    alpha_x: f64,
    e0_ev: f64,
    zeta: f64,
    separate_injected: bool,
    growing_contrast: bool,
}

/// How one shell enters the sums: `weight_a (1 + growth d) (1 - fade d) exp(d (rise - fall d) - peak)`.
#[derive(Debug, Clone)]
struct ShellWeights {
    growth: f32,
    rise: f32,
    fall: f32,
    peak: f32,
    /// One over `collapsed` where contrasts stand still, 0 where they grow.
    fade: f32,
    /// Regions denser than this have collapsed and form no new haloes.
    collapsed: f32,
    /// One weight per sum.
    weights: Vec<f32>,
}

/// The sums over sources of one snapshot: which there are and in which unit.
#[derive(Debug)]
pub(crate) struct SourceTerms {
    shells: Vec<Option<ShellWeights>>,
    /// Electron fractions between which the X-ray sums are interpolated.
    pub(crate) nodes: Vec<f64>,
    /// Number of Lyman-alpha sums: all together, or continuum and injected.
    pub(crate) lyman_alpha_sums: usize,
    /// Multiply the sums to get: Lyman-alpha photons in cm^-2 s^-1 Hz^-1 sr^-1 ...
    pub(crate) lyman_alpha_unit: f64,
    /// ... heating in erg/s per nucleus, ionisations per second and nucleus, and Lyman-alpha photons from
    /// X-rays per unit of `1 + delta`.
    pub(crate) x_ray_units: [f64; 3],
}

impl SourceTerms {
    /// Number of sums per cell.
    pub(crate) fn sums(&self) -> usize {
        self.lyman_alpha_sums + 3 * self.nodes.len()
    }
}

impl Sources {
    pub(crate) fn new(
        simulation: &Simulation,
        background: &Background,
        power: &LinearPower,
        radii_mpc: Vec<f64>,
    ) -> Self {
        let astrophysics = &simulation.astrophysics;
        Self {
            stars: StellarSpectrum::new(),
            integrals: FrequencyIntegrals::new(astrophysics.alpha_x, astrophysics.e0_kev),
            absorption: XRayAbsorption::new(background),
            sigma_region: radii_mpc
                .iter()
                .map(|&radius| power.sigma_radius(radius))
                .collect(),
            radii_mpc,
            photons_per_stellar_mass: photons_per_stellar_mass(astrophysics),
            alpha_x: astrophysics.alpha_x,
            e0_ev: astrophysics.e0_kev * 1000.0,
            zeta: astrophysics.zeta,
            separate_injected: simulation.physics.lyman_alpha_heating,
            growing_contrast: simulation.physics.growing_contrast,
        }
    }

    /// Prepares the sums at the snapshot of `gas` for electron fractions within `electron_range`; `None`
    /// while there are no sources.
    pub(crate) fn terms(
        &mut self,
        background: &Background,
        collapse: &CollapsedFraction,
        gas: MeanGas,
        electron_range: [f64; 2],
        densities: &ShellDensities,
    ) -> Option<SourceTerms> {
        let z = gas.redshift;
        if collapse.press_schechter(z) < NO_LIGHT {
            return None;
        }
        let emission = emission_redshifts(background, &self.radii_mpc, z);
        let redshifts: Vec<f64> = emission.iter().map(|shell| shell.0).collect();
        let received = self.stars.received(z, &redshifts);
        let lowest = if gas.electron_fraction > 0.9999 {
            vec![self.e0_ev; redshifts.len()]
        } else {
            self.absorption
                .unit_depth_energies_ev(background, collapse, self.zeta, gas, &redshifts)
        };
        let nodes = self.nodes(electron_range);
        let lyman_alpha_sums = if self.separate_injected { 2 } else { 1 };

        let mut factors: Vec<Option<(ShellWeights, Vec<f64>)>> = Vec::new();
        for (r, &(emitted, depth)) in emission.iter().enumerate() {
            let Some((weights, sources)) = self.shell(
                background,
                collapse,
                r,
                emitted,
                depth,
                &densities.shells[r],
            ) else {
                factors.push(None);
                continue;
            };
            // Photons in the Lyman band, undoing the spectral factor of the X-rays in `sources`.
            let stellar = sources * (1.0 + emitted).powf(self.alpha_x + 1.0);
            let mut per_sum = if self.separate_injected {
                received[r].map(|photons| photons * stellar).to_vec()
            } else {
                vec![(received[r][0] + received[r][1]) * stellar]
            };
            let integrals: Vec<[f64; 3]> = nodes
                .iter()
                .map(|&node| self.integrals.at(node, lowest[r].max(self.e0_ev)))
                .collect();
            for q in 0..3 {
                per_sum.extend(integrals.iter().map(|values| values[q] * sources));
            }
            factors.push(Some((weights, per_sum)));
        }
        let sums = lyman_alpha_sums + 3 * nodes.len();
        // Units that make the largest weight of each kind 1 keep single precision away from its limits.
        let kind = |sum: usize| {
            if sum < lyman_alpha_sums {
                0
            } else {
                1 + (sum - lyman_alpha_sums) / nodes.len()
            }
        };
        let mut units = [0.0_f64; 4];
        for (_, per_sum) in factors.iter().flatten() {
            for (sum, value) in per_sum.iter().enumerate() {
                units[kind(sum)] = units[kind(sum)].max(*value);
            }
        }
        let shells = factors
            .into_iter()
            .map(|factor| {
                let (mut weights, per_sum) = factor?;
                weights.weights = (0..sums)
                    .map(|sum| {
                        let unit = units[kind(sum)];
                        if unit > 0.0 {
                            (per_sum[sum] / unit) as f32
                        } else {
                            0.0
                        }
                    })
                    .collect();
                weights
                    .weights
                    .iter()
                    .any(|weight| *weight > 1e-9)
                    .then_some(weights)
            })
            .collect();

        let cosmology = background.cosmology();
        let stars = c::STELLAR_FRACTION * c::SPEED_OF_LIGHT * background.baryon_density()
            / (4.0 * std::f64::consts::PI)
            * (1.0 + z).powi(2);
        let x_rays = self.photons_per_stellar_mass
            * c::SPEED_OF_LIGHT
            * c::STELLAR_FRACTION
            * cosmology.omega_b
            * background.critical_density_msun_mpc3()
            / c::CM_PER_MPC.powi(3)
            * (1.0 + z).powf(self.alpha_x + 3.0);
        let lyman_alpha_from_x_rays =
            x_rays * background.baryon_density() * (1.0 + z).powi(3) * c::SPEED_OF_LIGHT
                / (4.0 * std::f64::consts::PI * c::LYMAN_ALPHA_FREQUENCY * background.hubble(z));
        Some(SourceTerms {
            shells,
            nodes: nodes
                .iter()
                .map(|&node| self.integrals.electron_fractions()[node])
                .collect(),
            lyman_alpha_sums,
            lyman_alpha_unit: stars * units[0],
            x_ray_units: [
                x_rays * units[1],
                x_rays * units[2],
                lyman_alpha_from_x_rays * units[3],
            ],
        })
    }

    /// Numbers of the electron fractions of the table that enclose a range.
    fn nodes(&self, [lowest, highest]: [f64; 2]) -> Vec<usize> {
        let known = self.integrals.electron_fractions();
        let clamp = |x: f64| x.clamp(1.001e-4, 0.998);
        let first = known.partition_point(|&x| x <= clamp(lowest)).max(1) - 1;
        let last = known
            .partition_point(|&x| x < clamp(highest))
            .max(first + 1);
        (first..=last.min(known.len() - 1)).collect()
    }

    /// Weights of shell `r`, and the factor of everything emitted in it.
    fn shell(
        &self,
        background: &Background,
        collapse: &CollapsedFraction,
        r: usize,
        emitted: f64,
        depth: f64,
        shell: &Shell,
    ) -> Option<(ShellWeights, f64)> {
        let growth = background.growth(emitted);
        let conditional = collapse.conditional(
            growth,
            collapse.sigma_minimum(emitted),
            self.sigma_region[r],
        )?;
        let mean = shell.mean_fraction(&conditional);
        if mean <= 0.0 {
            return None;
        }
        let (a, b) = (conditional.a, conditional.b);
        // |dF/dz| = slope (1 - fade d) exp(-(a - b d)^2); the exponential is largest at the largest density or where a region collapses.
        let slope = std::f64::consts::FRAC_2_SQRT_PI
            * collapse.critical_contrast()
            * background.growth_dz(emitted).abs()
            / (growth * growth)
            * b;
        let densest = shell.largest.clamp(0.0, a / b);
        let peak = densest * b * (2.0 * a - b * densest);
        let sources = depth * slope * (peak - a * a).exp() * collapse.sheth_tormen(emitted) / mean
            * (1.0 + emitted).powf(-self.alpha_x);
        Some((
            ShellWeights {
                growth: growth as f32,
                rise: (2.0 * a * b) as f32,
                fall: (b * b) as f32,
                peak: peak as f32,
                fade: if self.growing_contrast {
                    0.0
                } else {
                    (b / a) as f32
                },
                collapsed: (a / b) as f32,
                weights: Vec::new(),
            },
            sources,
        ))
    }
}

/// Cells summed at a time: the buffers of a block stay in the first-level cache.
pub(crate) const BLOCK: usize = 512;

/// Buffers of one thread for [`add_shells`].
#[derive(Debug)]
pub(crate) struct ShellWork {
    emission: [Vec<f32>; 4],
}

impl ShellWork {
    pub(crate) fn new() -> Self {
        Self {
            emission: std::array::from_fn(|_| vec![0.0; BLOCK]),
        }
    }
}

/// Adds the shells of one resolution to the sums `[sum][cell]` of the cells from `start` on; at most
/// [`BLOCK`] cells.
#[inline(always)]
pub(crate) fn add_shells(
    terms: &SourceTerms,
    shells: &[Shell],
    half_resolution: bool,
    start: usize,
    cells: usize,
    sums: &mut [f32],
    work: &mut ShellWork,
) {
    let mut group: [Option<&ShellWeights>; 4] = [None; 4];
    let mut filled = 0;
    for (shell, weights) in shells.iter().zip(&terms.shells) {
        let Some(weights) = weights else { continue };
        if shell.half_resolution != half_resolution {
            continue;
        }
        emit(
            weights,
            &shell.contrast[start..start + cells],
            &mut work.emission[filled][..cells],
        );
        group[filled] = Some(weights);
        filled += 1;
        if filled == group.len() {
            accumulate(&group, &work.emission, cells, sums);
            filled = 0;
        }
    }
    if filled > 0 {
        for (emission, weights) in work.emission.iter_mut().zip(&mut group).skip(filled) {
            emission[..cells].fill(0.0);
            *weights = None;
        }
        accumulate(&group, &work.emission, cells, sums);
    }
}

/// Emission of each cell of a shell, relative to its largest possible value.
#[inline(always)]
fn emit(weights: &ShellWeights, contrast: &[f32], emission: &mut [f32]) {
    let ShellWeights {
        growth,
        rise,
        fall,
        peak,
        fade,
        collapsed,
        ..
    } = *weights;
    for (to, &d) in emission.iter_mut().zip(contrast) {
        let value =
            (1.0 + growth * d) * (1.0 - fade * d) * vector_math::exp(d * (rise - fall * d) - peak);
        *to = if d < collapsed { value } else { 0.0 };
    }
}

#[inline(always)]
fn accumulate(
    group: &[Option<&ShellWeights>; 4],
    emission: &[Vec<f32>; 4],
    cells: usize,
    sums: &mut [f32],
) {
    let [e0, e1, e2, e3] = emission.each_ref().map(|e| &e[..cells]);
    for (number, sum) in sums.chunks_exact_mut(cells).enumerate() {
        let [w0, w1, w2, w3] = group.map(|shell| shell.map_or(0.0, |shell| shell.weights[number]));
        for i in 0..cells {
            sum[i] += (w0 * e0[i] + w1 * e1[i]) + (w2 * e2[i] + w3 * e3[i]);
        }
    }
}

/// Sums over the shells on the half grid, layout `[x][sum][y][z]`.
pub(crate) fn half_resolution_sums(
    terms: &SourceTerms,
    densities: &ShellDensities,
    half_cells: usize,
    execution: Execution,
    sums: &mut Vec<f32>,
) {
    let plane = half_cells * half_cells;
    let count = terms.sums();
    sums.clear();
    sums.resize(half_cells * count * plane, 0.0);
    let pieces: Vec<_> = sums.chunks_exact_mut(count * plane).enumerate().collect();
    execution.run(
        pieces,
        || (ShellWork::new(), Vec::new()),
        |(work, block_sums), (x, output)| {
            vectorised(
                #[inline(always)]
                || {
                    for start in (0..plane).step_by(BLOCK) {
                        let cells = BLOCK.min(plane - start);
                        block_sums.clear();
                        block_sums.resize(count * cells, 0.0);
                        let first = x * plane + start;
                        add_shells(
                            terms,
                            &densities.shells,
                            true,
                            first,
                            cells,
                            block_sums,
                            work,
                        );
                        for (number, sum) in block_sums.chunks_exact(cells).enumerate() {
                            output[number * plane + start..][..cells].copy_from_slice(sum);
                        }
                    }
                },
            );
        },
    );
}

/// Interpolates the half-resolution sums linearly to one row of cells `(x, y, 0..n)` of the full grid.
#[inline(always)]
pub(crate) fn interpolate_row(
    half_sums: &[f32],
    half_cells: usize,
    count: usize,
    [x, y]: [usize; 2],
    number: usize,
    coarse: &mut [f32],
    row: &mut [f32],
) {
    let h = half_cells;
    // An even cell lies on a coarse one, an odd one half way to the next.
    let neighbours = |position: usize| {
        let low = position / 2;
        [low, (low + position % 2) % h]
    };
    let ([x0, x1], [y0, y1]) = (neighbours(x), neighbours(y));
    let line = |x: usize, y: usize| {
        let start = ((x * count + number) * h + y) * h;
        &half_sums[start..start + h]
    };
    let (a, b, c, d) = (line(x0, y0), line(x0, y1), line(x1, y0), line(x1, y1));
    for z in 0..h {
        coarse[z] = 0.25 * ((a[z] + b[z]) + (c[z] + d[z]));
    }
    for z in 0..h {
        row[2 * z] = coarse[z];
        row[2 * z + 1] = 0.5 * (coarse[z] + coarse[if z + 1 == h { 0 } else { z + 1 }]);
    }
}
