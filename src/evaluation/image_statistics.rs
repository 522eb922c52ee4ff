//! Simple numbers of an image: how cold and hot it is, and how its structure goes with redshift.

/// Intervals along the line of sight.
const INTERVALS: usize = 12;
/// Statistics of an interval.
const PER_INTERVAL: usize = 3;
/// Added to spreads before their logarithm: 0.03 mK of the paper's 300 mK.
const LEAST_SPREAD: f64 = 1e-4;

/// The temperatures of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Temperatures {
    /// Lowest brightness temperature, in mK.
    pub coldest_mk: f64,
    /// Mean brightness temperature, in mK.
    pub mean_mk: f64,
    /// Highest brightness temperature, in mK.
    pub hottest_mk: f64,
}

/// The temperatures of cells in mK; those of no cells are infinite.
#[must_use]
pub fn temperatures(cells_mk: &[f32]) -> Temperatures {
    let cells = cells_mk.iter().map(|&cell| f64::from(cell));
    Temperatures {
        coldest_mk: cells.clone().fold(f64::INFINITY, f64::min),
        mean_mk: cells.clone().sum::<f64>() / cells_mk.len() as f64,
        hottest_mk: cells.fold(f64::NEG_INFINITY, f64::max),
    }
}

/// The structure of an image of scaled cells, rows of `columns`: in each of up to 12 intervals of redshift the
/// mean, the logarithm of the spread, and that of the difference between neighbours, which tells small
/// structures from large ones.
#[must_use]
pub fn structure(cells: &[f32], columns: usize) -> Vec<f64> {
    let intervals = INTERVALS.min(columns);
    let rows = cells.len() / columns.max(1);
    let mut statistics = Vec::with_capacity(intervals * PER_INTERVAL);
    for interval in 0..intervals {
        let range = interval * columns / intervals..(interval + 1) * columns / intervals;
        let row = |index: usize| {
            let cells = &cells[index * columns..(index + 1) * columns][range.clone()];
            cells.iter().map(|&cell| f64::from(cell))
        };
        let count = (rows * range.len()) as f64;
        let mean = (0..rows).flat_map(row).sum::<f64>() / count;
        let squares: f64 = (0..rows).flat_map(row).map(|c| (c - mean).powi(2)).sum();
        let mut differences = 0.0;
        let mut neighbours = 0_usize;
        for index in 0..rows {
            // Along the line of sight, and across it.
            let along = row(index).zip(row(index).skip(1));
            let across = (index + 1 < rows).then(|| row(index).zip(row(index + 1)));
            for (a, b) in along.chain(across.into_iter().flatten()) {
                differences += (a - b).powi(2);
                neighbours += 1;
            }
        }
        let logarithm = |mean_square: f64| (mean_square.sqrt() + LEAST_SPREAD).ln();
        statistics.push(mean);
        statistics.push(logarithm(squares / count));
        statistics.push(logarithm(differences / neighbours.max(1) as f64));
    }
    statistics
}

/// Number of values that [`structure`] gives.
#[must_use]
pub fn structure_len(columns: usize) -> usize {
    INTERVALS.min(columns) * PER_INTERVAL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperatures_of_known_cells() {
        let found = temperatures(&[-3.0, 5.0, 1.0, 1.0]);
        assert!((found.coldest_mk + 3.0).abs() < 1e-12);
        assert!((found.mean_mk - 1.0).abs() < 1e-12);
        assert!((found.hottest_mk - 5.0).abs() < 1e-12);
    }

    #[test]
    fn structure_of_a_chequered_and_a_plain_half() {
        // Two rows of 24 columns: 0 and 1 in turns, then 0.25 everywhere.
        let cells: Vec<f32> = (0..48)
            .map(|i| match (i % 24, i / 24) {
                (z, x) if z < 12 => ((z + x) % 2) as f32,
                _ => 0.25,
            })
            .collect();
        let found = structure(&cells, 24);
        assert_eq!(found.len(), structure_len(24));
        let near = |value: f64, expected: f64| (value - expected).abs() < 1e-9;
        assert!(near(found[0], 0.5));
        assert!(near(found[1], (0.5 + LEAST_SPREAD).ln()));
        assert!(near(found[2], (1.0 + LEAST_SPREAD).ln()));
        assert!(near(found[33], 0.25));
        assert!(near(found[34], LEAST_SPREAD.ln()) && near(found[35], LEAST_SPREAD.ln()));
    }

    #[test]
    fn narrow_images_have_fewer_intervals() {
        assert_eq!(structure(&[0.1, 0.2, 0.3], 1).len(), structure_len(1));
        assert_eq!(structure_len(5), 15);
        assert_eq!(structure(&[0.1, 0.2, 0.3, 0.4, 0.5], 5).len(), 15);
    }
}
