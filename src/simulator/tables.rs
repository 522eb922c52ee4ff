//! Numbers shipped with the program; `tables/README.md` names their sources.

use super::spline::Spline;

/// Rows of numbers of a csv table, without comments and header.
fn rows(text: &'static str) -> impl Iterator<Item = Vec<f64>> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .skip(1)
        .map(|line| {
            line.split(',')
                .filter_map(|field| field.parse().ok())
                .collect()
        })
}

/// Gas temperature in K and electron fraction after recombination (RECFAST, Seager et al. 1999),
/// redshift 30 to 42.
pub(crate) fn recfast(z: f64) -> (f64, f64) {
    let table: Vec<Vec<f64>> = rows(include_str!("tables/recfast.csv")).collect();
    let column = |i: usize| table.iter().map(|row| row[i]).collect::<Vec<_>>();
    let (start, step) = (table[0][0], table[1][0] - table[0][0]);
    (
        Spline::new(start, step, column(1)).at(z),
        Spline::new(start, step, column(2)).at(z),
    )
}

/// One interval between Lyman lines of the stellar spectrum.
pub(crate) struct StellarInterval {
    /// Lower level of the interval's first line.
    pub(crate) n: usize,
    /// Share of the photons emitted in the interval.
    pub(crate) share: f64,
    /// Spectral index of the photon number within it.
    pub(crate) index: f64,
}

/// Spectrum of population II stars (Barkana & Loeb 2005).
pub(crate) fn stellar_spectrum() -> Vec<StellarInterval> {
    rows(include_str!("tables/stellar_spectrum_pop2.csv"))
        .map(|row| StellarInterval {
            n: row[0] as usize,
            share: row[1],
            index: row[2],
        })
        .collect()
}

/// `(ln T, ln kappa)` of the collisional spin-exchange rate with `partner` (`HH`, `eH` or `pH`), in cm^3/s.
pub(crate) fn collision_rate(partner: &str) -> Vec<(f64, f64)> {
    include_str!("tables/collision_rates.csv")
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(',');
            (fields.next() == Some(partner)).then_some(())?;
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
        .collect()
}

/// X-ray integrals over frequency: for each electron fraction, in increasing order, the rows
/// `[E_low in eV, heating, ionisation, Lyman alpha]`.
pub(crate) fn x_ray_integrals() -> Vec<(f64, Vec<[f64; 4]>)> {
    let mut groups: Vec<(f64, Vec<[f64; 4]>)> = Vec::new();
    for row in rows(include_str!("tables/x_ray_integrals.csv")) {
        let [energy, x_e, heat, ionisation, lyman_alpha] = row[..] else {
            continue;
        };
        let entry = [energy, heat, ionisation, lyman_alpha];
        match groups.last_mut() {
            Some((last, entries)) if (*last - x_e).abs() < 1e-12 => entries.push(entry),
            _ => groups.push((x_e, vec![entry])),
        }
    }
    groups
}

/// Nodes per dimension of [`lyman_alpha_heating`].
pub(crate) const HEATING_NODES: usize = 26;

/// Energies in erg that a Lyman-alpha photon gives to the gas: `[T_K][T_S][tau][continuum, injected]`.
pub(crate) fn lyman_alpha_heating() -> Vec<[f32; 2]> {
    include_bytes!("tables/lya_heating_26x26x26x2.f32")
        .as_chunks::<8>()
        .0
        .iter()
        .map(|bytes| {
            let [a, b, c, d, e, f, g, h] = *bytes;
            [
                f32::from_le_bytes([a, b, c, d]),
                f32::from_le_bytes([e, f, g, h]),
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_their_shapes() {
        let integrals = x_ray_integrals();
        assert_eq!(integrals.len(), 14);
        assert!(integrals.iter().all(|(_, rows)| rows.len() == 97));
        assert!(integrals.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(stellar_spectrum().len(), 22);
        for (partner, nodes) in [("HH", 30), ("eH", 30), ("pH", 46)] {
            assert_eq!(collision_rate(partner).len(), nodes);
        }
        assert_eq!(lyman_alpha_heating().len(), HEATING_NODES.pow(3));
    }

    #[test]
    fn recfast_passes_through_the_published_start() {
        let (temperature, electrons) = recfast(35.216_929_0);
        assert!((temperature - 25.930_374_33).abs() < 2e-5);
        assert!((electrons - 2.055_439_658e-4).abs() < 1e-9);
    }
}
