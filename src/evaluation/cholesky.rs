//! Cholesky factors of small positive matrices.

/// Lower triangle, row by row, of the factor `L` of a positive matrix `L L^T` of `size` rows, whose diagonal is of order 1
/// or above: directions of less than 1e-6 get so much, so that the factor exists.
#[must_use]
pub fn factor(matrix: &[f64], size: usize) -> Vec<f64> {
    let mut factor: Vec<f64> = Vec::with_capacity(size * (size + 1) / 2);
    for row in 0..size {
        let start = row * (row + 1) / 2;
        for column in 0..=row {
            let other = column * (column + 1) / 2;
            let known: f64 = (0..column)
                .map(|c| factor[start + c] * factor[other + c])
                .sum();
            let rest = matrix[row * size + column] - known;
            factor.push(if row == column {
                rest.max(1e-6).sqrt()
            } else {
                rest / factor[other + column]
            });
        }
    }
    factor
}

/// Solves `L x = right` in the place of `right`.
pub fn solve_forward(factor: &[f64], right: &mut [f64]) {
    for row in 0..right.len() {
        let start = row * (row + 1) / 2;
        let known: f64 = (0..row).map(|c| factor[start + c] * right[c]).sum();
        right[row] = (right[row] - known) / factor[start + row];
    }
}

/// Solves `L L^T x = right` in the place of `right`.
pub fn solve(factor: &[f64], right: &mut [f64]) {
    solve_forward(factor, right);
    for row in (0..right.len()).rev() {
        let known: f64 = (row + 1..right.len())
            .map(|below| factor[below * (below + 1) / 2 + row] * right[below])
            .sum();
        right[row] = (right[row] - known) / factor[row * (row + 1) / 2 + row];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MATRIX: [f64; 9] = [4.0, 2.0, 0.6, 2.0, 2.0, 0.5, 0.6, 0.5, 1.0];

    #[test]
    fn the_factor_multiplies_back() {
        let l = factor(&MATRIX, 3);
        let at = |r: usize, c: usize| if c > r { 0.0 } else { l[r * (r + 1) / 2 + c] };
        for r in 0..3 {
            for c in 0..3 {
                let product: f64 = (0..3).map(|k| at(r, k) * at(c, k)).sum();
                assert!((product - MATRIX[r * 3 + c]).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn the_solution_multiplies_back() {
        let right = [1.0, -2.0, 3.0];
        let mut solved = right;
        solve(&factor(&MATRIX, 3), &mut solved);
        for (row, expected) in MATRIX.chunks(3).zip(right) {
            let product: f64 = row.iter().zip(solved).map(|(m, x)| m * x).sum();
            assert!((product - expected).abs() < 1e-12, "{product}, {expected}");
        }
    }
}
