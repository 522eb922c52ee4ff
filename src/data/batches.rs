//! Mini-batches: which images, in which order, read and scaled in parallel.

use std::ops::Range;

use dawn21_kernels::rng::{Stream, generator};
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::DataError;
use super::augmentation::{Augmentation, View};
use super::cube::Cube;
use super::dataset::Dataset;
use super::fault::Fault;
use super::scaling::{InputScaling, TargetScaling};
use super::slices::{SliceIndex, Slicing};

/// One image of one light-cone, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageIndex {
    /// Number of the light-cone in the table.
    pub light_cone: usize,
    /// Number of the image in its light-cone.
    pub image: usize,
}

/// All images of some light-cones.
#[must_use]
pub fn all_images(light_cones: &[usize], slicing: &Slicing) -> Vec<ImageIndex> {
    some_images(light_cones, slicing.images().len())
}

/// The images that a training uses of its light-cones: all, or the first `images_per_light_cone`.
///
/// # Errors
/// [`DataError::ImagesPerLightCone`] when there are not so many.
pub fn training_images(
    light_cones: &[usize],
    slicing: &Slicing,
    images_per_light_cone: Option<usize>,
) -> Result<Vec<ImageIndex>, DataError> {
    let available = slicing.images().len();
    let images = images_per_light_cone.unwrap_or(available);
    if images > available {
        return Err(DataError::ImagesPerLightCone {
            asked: images,
            available,
        });
    }
    Ok(some_images(light_cones, images))
}

/// The first `images` images of some light-cones.
#[must_use]
pub fn some_images(light_cones: &[usize], images: usize) -> Vec<ImageIndex> {
    let images = 0..images;
    light_cones
        .iter()
        .flat_map(|&light_cone| {
            images
                .clone()
                .map(move |image| ImageIndex { light_cone, image })
        })
        .collect()
}

/// The first image of each light-cone: what validation and test use (paper, footnote 6).
#[must_use]
pub fn first_images(light_cones: &[usize]) -> Vec<ImageIndex> {
    some_images(light_cones, 1)
}

/// The images in the order of one epoch: a function of seed and epoch alone.
#[must_use]
pub fn shuffled(images: &[ImageIndex], seed: u64, epoch: u64) -> Vec<ImageIndex> {
    let mut order = images.to_vec();
    order.shuffle(&mut generator(seed, Stream::Shuffle, &[epoch]));
    order
}

/// Cuts `images` images into batches of `batch_size`, the last one smaller, as Keras does.
///
/// A last batch of a single image would have no variance to normalise by, so it joins the one before.
#[must_use]
pub fn batch_ranges(images: usize, batch_size: usize) -> Vec<Range<usize>> {
    let mut ranges: Vec<_> = (0..images)
        .step_by(batch_size.max(1))
        .map(|start| start..(start + batch_size).min(images))
        .collect();
    if batch_size > 1 && ranges.len() > 1 && ranges.last().is_some_and(|last| last.len() == 1) {
        ranges.pop();
        if let Some(last) = ranges.last_mut() {
            last.end = images;
        }
    }
    ranges
}

/// Reads images of a data set, scaled for the network.
#[derive(Debug, Clone)]
pub struct ImageReader<'a> {
    dataset: &'a Dataset,
    slicing: &'a Slicing,
    input: InputScaling,
    targets: TargetScaling,
}

impl<'a> ImageReader<'a> {
    /// A reader with the given scalings.
    ///
    /// # Errors
    /// [`DataError::Range`] when the input scaling is not a range.
    pub fn new(
        dataset: &'a Dataset,
        slicing: &'a Slicing,
        input: InputScaling,
        targets: TargetScaling,
    ) -> Result<Self, DataError> {
        input.check()?;
        Ok(Self {
            dataset,
            slicing,
            input,
            targets,
        })
    }

    /// Fills `inputs` (N,1,H,W) with the scaled cells and `targets` (N,P) with the scaled parameters.
    /// Both are resized to the batch.
    ///
    /// # Errors
    /// [`DataError`] when a cube cannot be mapped or an image holds a cell that is not finite; the
    /// first such image in the order of the batch is named.
    pub fn read_batch(
        &self,
        batch: &[ImageIndex],
        inputs: &mut Vec<f32>,
        targets: &mut Vec<f32>,
    ) -> Result<(), DataError> {
        let views: Vec<View> = batch.iter().map(|index| self.plain_view(*index)).collect();
        self.read_views(batch, &views, inputs, targets)
    }

    fn plain_view(&self, index: ImageIndex) -> View {
        View::plain(self.slicing.images()[index.image])
    }

    /// The views of images under the symmetries of `augmentation` that `seed` and `epoch` select.
    #[must_use]
    pub fn augmented_views(
        &self,
        batch: &[ImageIndex],
        augmentation: Augmentation,
        seed: u64,
        epoch: u64,
    ) -> Vec<View> {
        let planes = self.dataset.manifest().shape[1];
        let views = batch
            .iter()
            .map(|index| augmentation.view(seed, epoch, *index, self.slicing, planes));
        views.collect()
    }

    /// As [`ImageReader::read_batch`], each image in its view.
    ///
    /// # Errors
    /// As [`ImageReader::read_batch`].
    pub fn read_views(
        &self,
        batch: &[ImageIndex],
        views: &[View],
        inputs: &mut Vec<f32>,
        targets: &mut Vec<f32>,
    ) -> Result<(), DataError> {
        inputs.resize(batch.len() * self.slicing.image_len(), 0.0);
        let failures: Vec<DataError> = inputs
            .par_chunks_exact_mut(self.slicing.image_len())
            .zip(batch.par_iter().zip(views))
            .filter_map(|(pixels, (index, view))| self.read_image(*index, *view, pixels).err())
            .collect();
        targets.clear();
        for index in batch {
            let parameters = &self.dataset.light_cones()[index.light_cone].parameters;
            targets.extend(self.targets.scale(parameters).map(|value| value as f32));
        }
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    fn read_image(
        &self,
        index: ImageIndex,
        view: View,
        pixels: &mut [f32],
    ) -> Result<(), DataError> {
        let cube = self.dataset.open_cube(index.light_cone)?;
        Ok(read_view(&cube, view, self.slicing, &self.input, pixels)?)
    }

    /// The cells of one image in mK, neither clipped nor scaled, row by row.
    ///
    /// # Errors
    /// As [`ImageReader::read_batch`].
    pub fn read_cells(&self, index: ImageIndex) -> Result<Vec<f32>, DataError> {
        let cube = self.dataset.open_cube(index.light_cone)?;
        let slice = self.slicing.images()[index.image];
        Ok(read_cells(&cube, slice, self.slicing)?)
    }

    /// Asks the operating system to start reading the images of a later batch.
    pub fn prefetch(&self, batch: &[ImageIndex], views: &[View]) {
        for (index, view) in batch.iter().zip(views) {
            // Only speed is at stake: a cube that cannot be mapped is reported when it is read.
            if let Ok(cube) = self.dataset.open_cube(index.light_cone) {
                will_need(&cube, view, self.slicing);
            }
        }
    }
}

/// Copies one image out of a cube, scaled. Shape of `pixels`: (rows, columns) of `slicing`.
///
/// # Errors
/// [`Fault::NonFinite`] names the first cell that is not finite.
pub fn read_slice(
    cube: &Cube,
    slice: SliceIndex,
    slicing: &Slicing,
    input: &InputScaling,
    pixels: &mut [f32],
) -> Result<(), Fault> {
    read_view(cube, View::plain(slice), slicing, input, pixels)
}

/// As [`read_slice`], of any view.
fn read_view(
    cube: &Cube,
    view: View,
    slicing: &Slicing,
    input: &InputScaling,
    pixels: &mut [f32],
) -> Result<(), Fault> {
    let rows = pixels.chunks_exact_mut(slicing.columns());
    for (line, pixels) in sound_lines(cube, view, slicing).zip(rows) {
        input.apply(line?, pixels);
    }
    Ok(())
}

/// The cells of one image of a cube as they are, row by row.
///
/// # Errors
/// [`Fault::NonFinite`] names the first cell that is not finite.
pub fn read_cells(cube: &Cube, slice: SliceIndex, slicing: &Slicing) -> Result<Vec<f32>, Fault> {
    let mut cells = Vec::with_capacity(slicing.image_len());
    for line in sound_lines(cube, View::plain(slice), slicing) {
        cells.extend_from_slice(line?);
    }
    Ok(cells)
}

/// Asks the operating system for the pages of a view. Where images are cut from every plane that is stored,
/// what lies between the lines of this one will be needed soon.
fn will_need(cube: &Cube, view: &View, slicing: &Slicing) {
    let rows = view.first_row..view.first_row + slicing.rows();
    let plane = view.plane..view.plane + 1;
    let [_, planes, _] = cube.shape();
    match view.transposed {
        false => cube.will_need(rows, plane, slicing.uses_every_plane(planes)),
        true => cube.will_need(plane, rows, false),
    }
}

/// The lines of sight of one image, each checked to be finite.
fn sound_lines<'a>(
    cube: &'a Cube,
    view: View,
    slicing: &Slicing,
) -> impl Iterator<Item = Result<&'a [f32], Fault>> {
    will_need(cube, &view, slicing);
    let rows = slicing.rows();
    (0..rows).map(move |row| {
        let [x, y] = view.sky_position(row, rows);
        let line = cube.line_of_sight(x, y);
        match first_non_finite(line) {
            None => Ok(line),
            Some(z) => Err(Fault::NonFinite {
                path: cube.path().to_path_buf(),
                index: [x, y, z],
                value: line[z],
                count: 1,
            }),
        }
    })
}

/// Position of the first cell that is not finite.
pub(crate) fn first_non_finite(cells: &[f32]) -> Option<usize> {
    // One pass without branches, which the compiler vectorises, for the usual case; a search only when it
    // fails.
    let sound = cells
        .iter()
        .fold(true, |sound, cell| sound & cell.is_finite());
    if sound {
        None
    } else {
        cells.iter().position(|cell| !cell.is_finite())
    }
}
