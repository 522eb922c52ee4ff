//! Symmetries of images of a periodic box: what leaves the sky at one side enters it at the other, and nothing tells
//! left from right.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of them: a periodic shift along the sky, and a mirror image of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Symmetry {
    /// Row 0 shows this row of the image as it is; those before it come last.
    pub shift: usize,
    /// Rows are in descending order.
    pub flipped: bool,
}

impl Symmetry {
    /// The row of the image as it is that row `row` of `rows` shows.
    #[must_use]
    pub fn source_row(self, row: usize, rows: usize) -> usize {
        let row = if self.flipped { rows - 1 - row } else { row };
        (row + self.shift) % rows
    }

    /// Fills `view` with the rows of `image`, of `columns` cells each, as this symmetry shows them.
    pub fn show(self, image: &[f32], columns: usize, view: &mut [f32]) {
        let rows = image.len() / columns;
        for (row, cells) in view.chunks_exact_mut(columns).enumerate() {
            let source = self.source_row(row, rows) * columns;
            cells.copy_from_slice(&image[source..source + columns]);
        }
    }

    /// Adds `weight` times every row of `view` to the row of `image` that it shows: the transpose of
    /// [`Symmetry::show`].
    pub fn add_back(self, weight: f32, view: &[f32], columns: usize, image: &mut [f32]) {
        let rows = view.len() / columns;
        for (row, cells) in view.chunks_exact(columns).enumerate() {
            let source = self.source_row(row, rows) * columns;
            let cells = image[source..source + columns].iter_mut().zip(cells);
            cells.for_each(|(image, view)| *image += weight * view);
        }
    }
}

/// The views of an image over which a network's answers are averaged: evenly spaced shifts, each as it is and, if
/// asked for, mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Symmetries {
    /// Number of shifts; 1: none but that by nothing.
    pub shifts: usize,
    /// Mirrored too.
    pub flip: bool,
}

impl Default for Symmetries {
    fn default() -> Self {
        Self {
            shifts: 1,
            flip: false,
        }
    }
}

impl Symmetries {
    /// Whether there is no view but the image as it is.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Number of views.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shifts * if self.flip { 2 } else { 1 }
    }

    /// Whether images of `rows` rows have so many different shifts, one at least.
    #[must_use]
    pub fn fit(&self, rows: usize) -> bool {
        (1..=rows).contains(&self.shifts)
    }

    /// The views of images of `rows` rows, the image as it is last.
    pub fn views(self, rows: usize) -> impl Iterator<Item = Symmetry> {
        let shifts = (0..self.shifts).rev();
        shifts.flat_map(move |number| {
            let shift = number * rows / self.shifts;
            let mirrored = self.flip.then_some(true);
            let views = mirrored.into_iter().chain([false]);
            views.map(move |flipped| Symmetry { shift, flipped })
        })
    }
}

impl fmt::Display for Symmetries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match (self.shifts, self.flip) {
            (1, false) => return write!(f, "1 view"),
            (1, true) => "mirrored".to_string(),
            (shifts, false) => format!("{shifts} shifts along the sky"),
            (shifts, true) => format!("{shifts} shifts along the sky, mirrored"),
        };
        write!(f, "{} views ({how})", self.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_different_and_the_last_one_is_the_image_as_it_is() {
        let image: Vec<f32> = (0..14).map(|i| i as f32).collect();
        for (shifts, flip) in [(1, false), (1, true), (3, false), (7, true)] {
            let symmetries = Symmetries { shifts, flip };
            let shown = symmetries.views(7).map(|symmetry| {
                let mut view = vec![0.0; 14];
                symmetry.show(&image, 2, &mut view);
                view
            });
            let shown: Vec<Vec<f32>> = shown.collect();
            assert_eq!(shown.len(), symmetries.count());
            assert_eq!(shown.last(), Some(&image));
            for (index, view) in shown.iter().enumerate() {
                assert!(!shown[..index].contains(view), "{symmetries}");
                // Rows stay whole.
                assert!(view.chunks(2).all(|row| row == [row[0], row[0] + 1.0]));
            }
        }
    }

    #[test]
    fn what_is_shown_and_added_back_is_the_image() {
        let image: Vec<f32> = (0..15).map(|i| (i * i) as f32).collect();
        let symmetry = Symmetry {
            shift: 3,
            flipped: true,
        };
        let mut view = vec![0.0; 15];
        symmetry.show(&image, 3, &mut view);
        // Rows 0 to 4 show 4 - row + 3, around the edge: 2, 1, 0, 4, 3.
        assert_eq!(view[..3], image[6..9]);
        assert_eq!(view[9..12], image[12..15]);
        let mut back = image.clone();
        symmetry.add_back(-0.5, &view, 3, &mut back);
        let half: Vec<f32> = image.iter().map(|cell| 0.5 * cell).collect();
        assert_eq!(back, half);
    }

    #[test]
    fn shifts_fit_where_each_has_a_row() {
        let fit = |shifts| {
            Symmetries {
                shifts,
                flip: false,
            }
            .fit(5)
        };
        assert_eq!([0, 1, 5, 6].map(fit), [false, true, true, false]);
    }
}
