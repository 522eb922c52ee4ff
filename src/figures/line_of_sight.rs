//! The long axis of a light-cone: comoving distance, redshift and observed frequency.

use super::drawing::{Anchor, Drawing, Point};
use super::palette::Ink;
use crate::data::manifest::{Cosmology, Manifest};
use crate::model::description::ModelDescription;
use crate::simulator::cosmology::{Distances, GILLET_2019};

/// Frequency of the 21-cm line at rest, in MHz.
const REST_FREQUENCY_MHZ: f64 = 1_420.405_751;
/// Redshifts that are marked.
const REDSHIFTS: [f64; 14] = [
    5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 25.0, 30.0, 35.0,
];
/// Two numbers closer than this, in pixels, would run into each other.
const CLOSEST: f64 = 30.0;

/// The line of sight of a light-cone.
#[derive(Debug, Clone)]
pub(super) struct LineOfSight {
    pub(super) distances: Distances,
    /// Comoving distance of the near face.
    pub(super) nearest_mpc: f64,
    /// Comoving depth.
    pub(super) depth_mpc: f64,
}

impl LineOfSight {
    /// Of the cubes of a data directory.
    pub(super) fn of_cubes(manifest: &Manifest) -> Self {
        Self::new(
            manifest.cosmology.as_ref(),
            manifest.redshift_range[0],
            manifest.shape[2] as f64 * manifest.cell_mpc,
        )
    }

    /// Of the images of a model, in the cosmology of the data or, when that is not known, of the paper.
    pub(super) fn of_images(description: &ModelDescription, cosmology: Option<&Cosmology>) -> Self {
        Self::new(
            cosmology,
            description.redshift_range[0],
            description.image[1] as f64 * description.cell_mpc,
        )
    }

    fn new(cosmology: Option<&Cosmology>, nearest_redshift: f64, depth_mpc: f64) -> Self {
        let distances = Distances::new(cosmology.unwrap_or(&GILLET_2019));
        Self {
            nearest_mpc: distances.comoving_mpc(nearest_redshift),
            distances,
            depth_mpc,
        }
    }

    /// How far along the line of sight a redshift lies, from 0 to 1.
    pub(super) fn share(&self, redshift: f64) -> f64 {
        (self.distances.comoving_mpc(redshift) - self.nearest_mpc) / self.depth_mpc
    }

    /// Marked redshifts within the light-cone, with their places along it.
    pub(super) fn redshifts(&self) -> Vec<(f64, f64)> {
        let places = REDSHIFTS.map(|z| (z, self.share(z)));
        let inside = places.into_iter().filter(|(_, share)| is_inside(*share));
        inside.collect()
    }

    /// Multiples of 10 MHz within the light-cone, with their places along it.
    fn frequencies(&self) -> Vec<(f64, f64)> {
        let frequencies = (3..30).rev().map(|tens| 10.0 * f64::from(tens));
        frequencies
            .map(|mhz| (mhz, self.share(REST_FREQUENCY_MHZ / mhz - 1.0)))
            .filter(|(_, share)| is_inside(*share))
            .collect()
    }

    /// Redshifts below a panel from `at` on, `width` pixels long.
    pub(super) fn redshift_axis(&self, drawing: &mut Drawing, at: Point, width: f64) {
        axis(drawing, at, width, &self.redshifts(), 1.0);
        let middle = [at[0] + 0.5 * width, at[1] + 34.0];
        drawing.text(middle, Anchor::Middle, Ink::Text, "redshift");
    }

    /// Frequencies above a panel from `at` on, `width` pixels long.
    pub(super) fn frequency_axis(&self, drawing: &mut Drawing, at: Point, width: f64) {
        axis(drawing, at, width, &self.frequencies(), -1.0);
        let middle = [at[0] + 0.5 * width, at[1] - 34.0];
        drawing.text(middle, Anchor::Middle, Ink::Text, "frequency [MHz]");
    }
}

/// The faces of a light-cone belong to it, in spite of rounding in a manifest.
fn is_inside(share: f64) -> bool {
    (-1e-3..=1.0 + 1e-3).contains(&share)
}

/// Marks, and numbers where there is room, below (`down` = 1) or above (-1) a line.
fn axis(drawing: &mut Drawing, [left, y]: Point, width: f64, places: &[(f64, f64)], down: f64) {
    let mut last = f64::NEG_INFINITY;
    for &(value, share) in places {
        let x = left + share.clamp(0.0, 1.0) * width;
        drawing.line(vec![[x, y], [x, y + 5.0 * down]], 1.0, Ink::Text);
        if x - last >= CLOSEST {
            let at = [x, y + 14.0 * down];
            drawing.text(at, Anchor::Middle, Ink::Text, format!("{value}"));
            last = x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_light_cone_spans_its_redshifts() {
        let line = LineOfSight::new(None, 6.0, 2200.0 * 1.5);
        let redshifts = line.redshifts();
        assert!(redshifts[0].1.abs() < 1e-9);
        let last = redshifts.last().expect("marked redshifts");
        assert!((last.0 - 30.0).abs() < 1e-9 && last.1 > 0.9 && last.1 <= 1.0);
        // 1420.4 MHz / 200 - 1 = 6.10.
        let frequencies = line.frequencies();
        assert!((frequencies[0].0 - 200.0).abs() < 1e-9);
        assert!(frequencies[0].1 > 0.0 && frequencies[0].1 < 0.05);
        assert!(frequencies.is_sorted_by(|a, b| a.1 < b.1));
    }
}
