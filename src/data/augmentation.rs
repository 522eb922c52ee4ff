//! Random symmetries of training images: a simulated box is periodic, and has no preferred direction on the
//! sky.
//!
//! What happens to an image is a function of (seed, epoch, image), so that a resumed training sees the same.

use dawn21_kernels::rng::{Stream, generator};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::DataError;
use super::batches::ImageIndex;
use super::manifest::Manifest;
use super::slices::{SliceIndex, Slicing};
use super::symmetry::Symmetry;

/// The `[training.augmentation]` table; all off in the paper.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Mirrors half of the images on the sky.
    pub flip: bool,
    /// Shifts images along the sky by any number of cells: what leaves at one side enters at the other.
    /// Only for images that are as wide as the periodic box.
    pub shift: bool,
    /// Cuts half of the images at constant x instead of y. Only for whole cubes with square skies and images
    /// as wide as the box.
    pub transpose: bool,
    /// Takes any stored plane instead of the image's own.
    pub any_plane: bool,
}

/// How an image is read out of a cube.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Stored plane: index along y, or along x when transposed.
    pub plane: usize,
    /// First row, along x, or along y when transposed.
    pub first_row: usize,
    /// Rows are those at constant x.
    pub transposed: bool,
    /// How its rows are shown.
    pub symmetry: Symmetry,
}

impl View {
    /// A slice as it is.
    #[must_use]
    pub fn plain(slice: SliceIndex) -> Self {
        Self {
            plane: slice.stored_plane,
            first_row: slice.first_row,
            transposed: slice.transposed,
            symmetry: Symmetry::default(),
        }
    }

    /// (x, y) of row `row` of an image of `rows` rows.
    #[must_use]
    pub fn sky_position(&self, row: usize, rows: usize) -> [usize; 2] {
        let along = self.first_row + self.symmetry.source_row(row, rows);
        match self.transposed {
            false => [along, self.plane],
            true => [self.plane, along],
        }
    }
}

impl Augmentation {
    /// Fails when images of a data set do not have a symmetry that is asked for.
    ///
    /// # Errors
    /// [`DataError::Augmentation`] names the field and what it needs.
    pub fn check(&self, manifest: &Manifest, slicing: &Slicing) -> Result<(), DataError> {
        let whole = slicing.is_as_wide_as_box(manifest);
        let refuse = |field, expected: String| Err(DataError::Augmentation { field, expected });
        if self.shift && !whole {
            return refuse(
                "shift",
                format!(
                    "images as wide as the periodic box, slices.halves = 1; these have {} of {} rows",
                    slicing.rows(),
                    manifest.shape[0]
                ),
            );
        }
        if self.transpose && !(whole && manifest.has_square_sky()) {
            return refuse(
                "transpose",
                format!(
                    "whole cubes with as many cells along y as along x, and slices.halves = 1; these hold {}",
                    manifest.sky()
                ),
            );
        }
        Ok(())
    }

    /// The view of image `index` in epoch `epoch`.
    #[must_use]
    pub fn view(
        &self,
        seed: u64,
        epoch: u64,
        index: ImageIndex,
        slicing: &Slicing,
        stored_planes: usize,
    ) -> View {
        let mut view = View::plain(slicing.images()[index.image]);
        let key = [epoch, index.light_cone as u64, index.image as u64];
        let mut generator = generator(seed, Stream::Augmentation, &key);
        // Drawn whether used or not: one switch does not change what another one does.
        let bits = generator.next_u64();
        let shift = generator.random_range(0..slicing.rows());
        let plane = generator.random_range(0..stored_planes);
        view.symmetry.flipped = self.flip && bits & 1 == 1;
        view.transposed ^= self.transpose && bits & 2 == 2;
        if self.shift {
            view.symmetry.shift = shift;
        }
        if self.any_plane {
            view.plane = plane;
        }
        view
    }
}
