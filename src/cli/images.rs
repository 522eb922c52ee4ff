//! Images in files given on the command line: in cubes of a data directory, in loose cubes, or alone.

use std::path::Path;

use super::CommandError;
use super::output::note;
use crate::atomic_file::FileError;
use crate::data::DataError;
use crate::data::cube::{Cube, CubeError};
use crate::data::manifest::{Cosmology, MANIFEST_FILE, Manifest};
use crate::data::slices::{SliceIndex, Slicing};
use crate::model::description::ModelDescription;

/// For `--shape X,Y,Z`: cells of a cube.
pub(super) fn parse_shape(text: &str) -> Result<[usize; 3], String> {
    let cells: Vec<usize> = text
        .split(',')
        .map(|part| {
            part.trim()
                .parse::<usize>()
                .map_err(|error| error.to_string())
        })
        .collect::<Result<_, _>>()?;
    let shape = <[usize; 3]>::try_from(cells).map_err(|_| "expected three numbers".to_string())?;
    let bytes = shape
        .iter()
        .try_fold(4_usize, |n, &cells| n.checked_mul(cells));
    match bytes {
        Some(bytes) if bytes > 0 => Ok(shape),
        _ => Err("expected three positive numbers whose product is addressable".to_string()),
    }
}

/// A file and the images in it.
pub(super) struct Located {
    /// Its cells.
    pub(super) cube: Cube,
    /// Its images.
    pub(super) slicing: Slicing,
    /// One per image; none where the file is an image itself.
    pub(super) slices: Vec<Option<SliceIndex>>,
    /// How its cells lie; none of a single image.
    manifest: Option<Manifest>,
}

impl Located {
    /// The cosmology of the data; none where it is not known.
    pub(super) fn cosmology(&self) -> Option<&Cosmology> {
        self.manifest.as_ref()?.cosmology.as_ref()
    }

    /// Says of a single image what a model that averages over shifts takes for granted; of cubes their geometry is
    /// known. Whether anything was said.
    pub(super) fn note_on_width(&self, description: &ModelDescription) -> bool {
        let silent = self.manifest.is_some() || description.symmetries.shifts == 1;
        if !silent {
            note(format_args!(
                "note: {}: a single image, taken to be as wide as the periodic box: the model averages over {}",
                self.cube.path().display(),
                description.symmetries
            ));
        }
        !silent
    }

    /// With the images of constant x as well.
    pub(super) fn in_both_directions(self) -> Result<Self, CommandError> {
        let Some(manifest) = &self.manifest else {
            return Err(CommandError::Usage(format!(
                "--both-directions: {} is a single image; only cubes have planes of constant x",
                self.cube.path().display()
            )));
        };
        let slicing = self.slicing.both_directions(manifest)?;
        Ok(Self {
            slices: slicing.images().iter().copied().map(Some).collect(),
            slicing,
            ..self
        })
    }
}

/// Finds out what a file is: a cube of a data directory, a cube of `shape`, or a single image.
pub(super) fn locate(
    file: &Path,
    shape: Option<[usize; 3]>,
    description: &ModelDescription,
) -> Result<Located, CommandError> {
    let metadata = std::fs::metadata(file).map_err(FileError::at(file, "opening"))?;
    if metadata.is_dir() {
        return Err(CommandError::Usage(format!(
            "{}: a directory; give the cubes in it, e.g. {}/*.f32",
            file.display(),
            file.display()
        )));
    }
    let bytes = metadata.len();
    let [rows, columns] = description.image;
    let image_bytes = 4 * (rows * columns) as u64;
    let manifest = match (shape, surrounding_manifest(file)?) {
        (Some(shape), _) => Some(description.manifest(shape)),
        (None, Some(manifest)) => Some(manifest),
        (None, None) => None,
    };
    let Some(manifest) = manifest.filter(|m| bytes == m.cube_bytes() || bytes != image_bytes)
    else {
        if bytes != image_bytes {
            return Err(CommandError::Usage(format!(
                "{}: {bytes} bytes are not an image for the model ({rows} x {columns} cells, {image_bytes} bytes); \
                 for a cube, give --shape X,Y,Z or put it into a data directory",
                file.display()
            )));
        }
        let image = description.manifest([rows, 1, columns]);
        let whole = SliceIndex {
            transposed: false,
            stored_plane: 0,
            box_plane: 0,
            first_row: 0,
        };
        return Ok(Located {
            cube: open(file, image.shape)?,
            slicing: Slicing::single(rows, columns, whole),
            slices: vec![None],
            manifest: None,
        });
    };
    let slicing = Slicing::new(&manifest, &description.slices)?;
    description.check_geometry(&manifest, &slicing)?;
    Ok(Located {
        cube: open(file, manifest.shape)?,
        slices: slicing.images().iter().copied().map(Some).collect(),
        slicing,
        manifest: Some(manifest),
    })
}

fn open(file: &Path, shape: [usize; 3]) -> Result<Cube, CommandError> {
    Cube::open(file, shape).map_err(|error| match error {
        CubeError::File(error) => DataError::from(error).into(),
        CubeError::Size(fault) => fault.into(),
    })
}

/// The manifest of the data directory that a cube lies in, in `DATA/cubes/` or beside the manifest.
fn surrounding_manifest(file: &Path) -> Result<Option<Manifest>, CommandError> {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
    for directory in absolute.ancestors().skip(1).take(2) {
        if directory.join(MANIFEST_FILE).is_file() {
            return Ok(Some(Manifest::read(directory)?));
        }
    }
    Ok(None)
}
