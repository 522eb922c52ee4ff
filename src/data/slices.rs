//! Which 2-D images are cut from a light-cone (Gillet et al. 2019, section 2.2 and figure 2).
//!
//! Planes of constant y, `separation_mpc` apart so that they see different structures, each split
//! into `halves` along x; where it is asked for, planes of constant x as well, split along y. An image is
//! (nx/halves, nz): rows along x on the sky, columns along the line of sight.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::DataError;
use super::manifest::Manifest;

/// Side of the paper's images on the sky.
const PAPER_IMAGE_MPC: f64 = 150.0;
/// Two lengths in Mpc closer than this are the same: manifests have rounded cell sizes.
const LENGTH_TOLERANCE_MPC: f64 = 1e-6;

/// What the configuration says about slices; absent values derive from the box.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SliceConfig {
    /// Number of planes; absent: all that are stored, or of whole cubes as many as fit the separation (five in the
    /// paper's 300 Mpc).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// Comoving distance between neighbouring planes.
    pub separation_mpc: f64,
    /// Parts into which a plane is split along x; absent: 2 for boxes of at least 300 Mpc, else 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halves: Option<usize>,
}

impl Default for SliceConfig {
    fn default() -> Self {
        Self {
            count: None,
            separation_mpc: 60.0,
            halves: None,
        }
    }
}

/// One image of a light-cone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceIndex {
    /// Of constant x instead of y: rows are along y.
    pub transposed: bool,
    /// Stored plane (index along y, or x, of the cube on disk).
    pub stored_plane: usize,
    /// Plane of the simulated box.
    pub box_plane: usize,
    /// First cell along the rows of the image.
    pub first_row: usize,
}

impl SliceIndex {
    /// The axis that the plane is perpendicular to, and the one along its rows.
    #[must_use]
    pub fn axes(&self) -> [&'static str; 2] {
        match self.transposed {
            false => ["y", "x"],
            true => ["x", "y"],
        }
    }
}

impl fmt::Display for SliceIndex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [across, along] = self.axes();
        write!(
            formatter,
            "plane {across} = {}, {along} from {}",
            self.box_plane, self.first_row
        )
    }
}

/// Which images of a light-cone there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSet {
    /// Their number.
    pub images: usize,
    /// Whether half of them are of constant x.
    pub both_directions: bool,
}

impl fmt::Display for ImageSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.images == 1 { "" } else { "s" };
        write!(formatter, "{} image{plural}", self.images)?;
        match self.both_directions {
            true => write!(formatter, " of both directions"),
            false => Ok(()),
        }
    }
}

/// The images of every light-cone of a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Slicing {
    images: Vec<SliceIndex>,
    rows: usize,
    columns: usize,
}

impl Slicing {
    /// Resolves a configuration for the boxes of a data set.
    ///
    /// # Errors
    /// [`DataError::Slices`] names the field that the box cannot fulfil, and what it allows.
    pub fn new(manifest: &Manifest, config: &SliceConfig) -> Result<Self, DataError> {
        let [nx, _, nz] = manifest.shape;
        if !(config.separation_mpc.is_finite() && config.separation_mpc > 0.0) {
            return Err(DataError::Slices {
                field: "separation_mpc",
                found: config.separation_mpc.to_string(),
                expected: "a positive length in comoving Mpc".to_string(),
            });
        }
        let width_mpc = nx as f64 * manifest.cell_mpc;
        let paper_box = 2.0 * PAPER_IMAGE_MPC - LENGTH_TOLERANCE_MPC;
        let halves = config
            .halves
            .unwrap_or(if width_mpc >= paper_box { 2 } else { 1 });
        if halves == 0 || halves > nx {
            return Err(DataError::Slices {
                field: "halves",
                found: halves.to_string(),
                expected: format!("1 to {nx}, the cells along x"),
            });
        }
        let rows = nx / halves;
        let mut images = Vec::new();
        for box_plane in planes(manifest, config)? {
            let stored_plane =
                manifest
                    .stored_plane(box_plane)
                    .ok_or_else(|| DataError::Slices {
                        field: "separation_mpc",
                        found: format!("{} (plane y = {box_plane})", config.separation_mpc),
                        expected: format!(
                            "only planes that the cubes hold: {:?}",
                            manifest.y_planes.as_deref().unwrap_or_default()
                        ),
                    })?;
            for half in 0..halves {
                images.push(SliceIndex {
                    transposed: false,
                    stored_plane,
                    box_plane,
                    first_row: half * rows,
                });
            }
        }
        Ok(Self {
            images,
            rows,
            columns: nz,
        })
    }

    /// Whether the images of a data set show the whole periodic box along the sky, and not a half of it.
    #[must_use]
    pub fn is_as_wide_as_box(&self, manifest: &Manifest) -> bool {
        self.rows == manifest.shape[0]
    }

    /// Which images these are.
    #[must_use]
    pub fn image_set(&self) -> ImageSet {
        ImageSet {
            images: self.images.len(),
            both_directions: self.images.iter().any(|image| image.transposed),
        }
    }

    /// The same images, and after them those at the same places of constant x: the box seen along its other axis
    /// on the sky, where its structures are others.
    ///
    /// # Errors
    /// [`DataError::OneDirection`] when cubes hold some planes only, or are not square on the sky.
    pub fn both_directions(&self, manifest: &Manifest) -> Result<Self, DataError> {
        if !manifest.has_square_sky() {
            return Err(DataError::OneDirection {
                found: manifest.sky(),
            });
        }
        let mut images = self.images.clone();
        images.extend(self.images.iter().map(|image| SliceIndex {
            transposed: true,
            ..*image
        }));
        Ok(Self { images, ..*self })
    }

    /// A single image of the given size: for files that are images themselves.
    #[must_use]
    pub fn single(rows: usize, columns: usize, image: SliceIndex) -> Self {
        Self {
            images: vec![image],
            rows,
            columns,
        }
    }

    /// The images of one light-cone, the first one being that used for validation and test.
    #[must_use]
    pub fn images(&self) -> &[SliceIndex] {
        &self.images
    }

    /// Whether images are cut from all of `stored` planes.
    #[must_use]
    pub fn uses_every_plane(&self, stored: usize) -> bool {
        let holds = |plane| {
            let mut images = self.images.iter();
            images.any(|image| !image.transposed && image.stored_plane == plane)
        };
        (0..stored).all(holds)
    }

    /// Cells on the sky of an image: along x, or y when transposed.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Cells along the line of sight.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Cells of an image.
    #[must_use]
    pub fn image_len(&self) -> usize {
        self.rows * self.columns
    }
}

/// Planes of the box to be cut, by their y.
fn planes(manifest: &Manifest, config: &SliceConfig) -> Result<Vec<usize>, DataError> {
    let spacing = (config.separation_mpc / manifest.cell_mpc).round().max(1.0) as usize;
    // The box is periodic: the last plane must be as far from the first one, too.
    let fitting = (manifest.box_cells_y() / spacing).max(1);
    if config.count.is_none() {
        // Cubes stored as planes were cut for this purpose: all of them are wanted.
        if let Some(planes) = &manifest.y_planes {
            return Ok(planes.clone());
        }
    }
    let count = config.count.unwrap_or(fitting);
    if count == 0 || count > fitting {
        return Err(DataError::Slices {
            field: "count",
            found: count.to_string(),
            expected: format!(
                "1 to {fitting} planes, {} Mpc apart in a box of {} cells of {} Mpc",
                config.separation_mpc,
                manifest.box_cells_y(),
                manifest.cell_mpc
            ),
        });
    }
    Ok((0..count).map(|i| i * spacing).collect())
}
