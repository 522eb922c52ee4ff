//! The light-cone: what an observer sees of a box that evolves while its light travels.

use super::constants::{SNAPSHOT_RATIO, START_REDSHIFT};
use super::cosmology::Distances;

/// Redshifts of the snapshots, highest first: `1 + z` in steps of 2 % from `lowest` to 35 or just above.
#[must_use]
pub fn snapshot_redshifts(lowest: f64) -> Vec<f64> {
    let mut redshifts = vec![lowest];
    let mut z = lowest;
    while z < START_REDSHIFT {
        z = (1.0 + z) * SNAPSHOT_RATIO - 1.0;
        redshifts.push(z);
    }
    redshifts.reverse();
    redshifts
}

/// Which cells of the light-cone are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LightConeShape {
    /// Cells along the line of sight, the first at the lowest redshift.
    pub slices: usize,
    /// Planes at constant y, increasing; all the box's for a full cube.
    pub y_planes: Vec<usize>,
}

/// A light-cone that reaches farther than the simulation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "{slices} cells of {cell_mpc} Mpc along the line of sight reach redshift {redshift:.2}, beyond the first snapshot at {first:.2}; at most {most} cells fit"
)]
pub struct TooLongError {
    /// Cells asked for.
    pub slices: usize,
    /// Side of a cell in Mpc.
    pub cell_mpc: f64,
    /// Redshift of the last cell.
    pub redshift: f64,
    /// Redshift of the first snapshot.
    pub first: f64,
    /// Largest number of cells.
    pub most: usize,
}

/// Checks that a light-cone of `slices` cells from redshift `lowest` on ends before the first snapshot.
///
/// # Errors
/// [`TooLongError`] when its far end lies beyond.
pub fn check_depth(
    distances: &Distances,
    cell_mpc: f64,
    lowest: f64,
    slices: usize,
) -> Result<(), TooLongError> {
    let nearest = distances.comoving_mpc(lowest);
    let first = snapshot_redshifts(lowest)[0];
    let farthest = distances.comoving_mpc(first);
    let most = ((farthest - nearest) / cell_mpc) as usize + 1;
    if slices <= most {
        return Ok(());
    }
    let end = nearest + (slices - 1) as f64 * cell_mpc;
    Err(TooLongError {
        slices,
        cell_mpc,
        redshift: distances.redshift(end),
        first,
        most,
    })
}

/// A light-cone in the making.
#[derive(Debug)]
pub struct LightCone {
    /// Comoving distance of each slice in Mpc.
    distances_mpc: Vec<f64>,
    y_planes: Vec<usize>,
    cells: usize,
    /// Layout `[x][stored y][slice]`.
    values: Vec<f32>,
}

impl LightCone {
    /// An empty light-cone through a box of `cells` per side with its nearest slice at redshift `lowest`.
    ///
    /// # Errors
    /// As [`check_depth`].
    pub fn new(
        distances: &Distances,
        cells: usize,
        cell_mpc: f64,
        lowest: f64,
        shape: &LightConeShape,
    ) -> Result<Self, TooLongError> {
        check_depth(distances, cell_mpc, lowest, shape.slices)?;
        let nearest = distances.comoving_mpc(lowest);
        Ok(Self {
            distances_mpc: (0..shape.slices)
                .map(|slice| nearest + slice as f64 * cell_mpc)
                .collect(),
            values: vec![0.0; cells * shape.y_planes.len() * shape.slices],
            y_planes: shape.y_planes.clone(),
            cells,
        })
    }

    /// Number of slices from redshift `lowest` up to and including `highest`.
    #[must_use]
    pub fn slices_between(
        distances: &Distances,
        cell_mpc: f64,
        lowest: f64,
        highest: f64,
    ) -> usize {
        let depth = distances.comoving_mpc(highest) - distances.comoving_mpc(lowest);
        (depth / cell_mpc + 1e-9) as usize + 1
    }

    /// Fills the slices between two snapshots, given as `(comoving distance in Mpc, box)`, by linear
    /// interpolation in distance. Slice `s` shows plane `s mod cells` of the box, so the box repeats
    /// without rotation.
    pub fn fill(&mut self, far: (f64, &[f32]), near: (f64, &[f32])) {
        let n = self.cells;
        let slices = self.distances_mpc.len();
        // The near end belongs to this pair only for the nearest slice, which has no nearer snapshot.
        let first = self.distances_mpc.partition_point(|d| *d < near.0 - 1e-9);
        let end = self.distances_mpc.partition_point(|d| *d < far.0 + 1e-9);
        for slice in first..end {
            let share =
                ((self.distances_mpc[slice] - near.0) / (far.0 - near.0)).clamp(0.0, 1.0) as f32;
            let plane = slice % n;
            for x in 0..n {
                for (stored, &y) in self.y_planes.iter().enumerate() {
                    let from = (x * n + y) * n + plane;
                    let to = (x * self.y_planes.len() + stored) * slices + slice;
                    self.values[to] = near.1[from] + share * (far.1[from] - near.1[from]);
                }
            }
        }
    }

    /// The finished cube, layout `[x][stored y][slice]`.
    #[must_use]
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::cosmology::GILLET_2019;

    #[test]
    fn snapshots_are_those_of_the_specification() {
        let redshifts = snapshot_redshifts(6.0);
        assert_eq!(redshifts.len(), 84);
        assert!((redshifts[0] - 35.216_93).abs() < 1e-4);
        assert!((redshifts[83] - 6.0).abs() < 1e-12);
    }

    #[test]
    fn the_papers_light_cone_ends_at_redshift_34() {
        let distances = Distances::new(&GILLET_2019);
        let end = distances.comoving_mpc(6.0) + 2199.0 * 1.5;
        assert!((distances.redshift(end) - 34.19).abs() < 0.03);
        assert_eq!(LightCone::slices_between(&distances, 1.5, 6.0, 30.0), 2084);
    }

    #[test]
    fn slices_interpolate_in_distance_and_repeat_the_box() {
        let distances = Distances::new(&GILLET_2019);
        let shape = LightConeShape {
            slices: 10,
            y_planes: vec![1],
        };
        let mut cone = LightCone::new(&distances, 2, 3.0, 6.0, &shape).expect("it is short");
        let start = distances.comoving_mpc(6.0);
        // Boxes whose cells hold their z plane, plus 100 in the far one.
        let near: Vec<f32> = (0..8).map(|i| (i % 2) as f32).collect();
        let far: Vec<f32> = near.iter().map(|v| v + 100.0).collect();
        cone.fill((start + 30.0, &far), (start, &near));
        let values = cone.into_values();
        for slice in 0..10 {
            let expected = (slice % 2) as f32 + 10.0 * slice as f32;
            assert!((values[slice] - expected).abs() < 1e-3);
            assert!((values[10 + slice] - expected).abs() < 1e-3);
        }
    }

    #[test]
    fn too_long_a_light_cone_says_what_fits() {
        let distances = Distances::new(&GILLET_2019);
        let shape = LightConeShape {
            slices: 3000,
            y_planes: vec![0],
        };
        let error = LightCone::new(&distances, 200, 1.5, 6.0, &shape).expect_err("beyond z = 35");
        assert!(error.most > 2200 && error.most < 2260, "{error}");
    }
}
