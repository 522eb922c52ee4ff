//! One plane of a light-cone, as in figure 1 of Gillet et al. 2019, with its global history.

use std::fs;
use std::path::{Path, PathBuf};

use super::drawing::{Anchor, Drawing};
use super::label::{Label, latex};
use super::line_of_sight::LineOfSight;
use super::palette::Ink;
use super::panel::{Axis, Panel};
use super::strip::{SkyImage, brightness_temperature, strip, temperature_bar};
use crate::atomic_file::{FileError, write_bytes_atomically};
use crate::data::batches::read_cells;
use crate::data::cube::{Cube, CubeError};
use crate::data::fault::Fault;
use crate::data::manifest::{Manifest, ManifestError};
use crate::data::slices::{SliceIndex, Slicing};
use crate::simulator::history::{HistoryError, HistoryRow, parse_history};

/// Why a light-cone was not drawn.
#[derive(Debug, thiserror::Error)]
pub enum LightConeFigureError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The manifest of the data directory is missing or wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The cube is not in the `cubes` folder of a data directory.
    #[error("{path}: expected a cube in the `cubes` folder of a data directory")]
    NotInDirectory {
        /// The cube.
        path: PathBuf,
    },
    /// The cube cannot be mapped, or has the wrong size.
    #[error(transparent)]
    Cube(#[from] CubeError),
    /// A cell of the plane is not finite.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The plane is not stored.
    #[error("{path}: expected a stored plane, one of {stored}, found {found}")]
    Plane {
        /// The cube.
        path: PathBuf,
        /// The stored planes.
        stored: String,
        /// The plane asked for.
        found: usize,
    },
    /// The history cannot be read.
    #[error("{path}: {source}")]
    History {
        /// The history.
        path: PathBuf,
        /// Reason.
        source: HistoryError,
    },
    /// The image could not be encoded.
    #[error("{path}: cannot encode the image: {source}")]
    Encoding {
        /// The figure.
        path: PathBuf,
        /// Reason.
        source: png::EncodingError,
    },
}

/// One plane of a light-cone with what is needed to draw it.
#[derive(Debug, Clone)]
pub struct LightConePlane {
    /// The cube's name.
    title: String,
    image: SkyImage,
    history: Vec<HistoryRow>,
}

impl LightConePlane {
    /// Reads plane `y` (the first stored one when `None`) of a cube in a data directory, and its history
    /// when there is one.
    ///
    /// # Errors
    /// [`LightConeFigureError`] names the file and what is wrong with it.
    pub fn read(cube: &Path, y: Option<usize>) -> Result<Self, LightConeFigureError> {
        let not_in_directory = || LightConeFigureError::NotInDirectory {
            path: cube.to_path_buf(),
        };
        let directory = cube
            .canonicalize()
            .map_err(FileError::at(cube, "reading"))?
            .parent()
            .and_then(Path::parent)
            .ok_or_else(not_in_directory)?
            .to_path_buf();
        if !directory.join("dataset.toml").exists() {
            return Err(not_in_directory());
        }
        let manifest = Manifest::read(&directory)?;
        let stored_planes = manifest.y_planes.as_deref();
        let y = y.unwrap_or_else(|| stored_planes.map_or(0, |planes| planes[0]));
        let stored = manifest
            .stored_plane(y)
            .ok_or_else(|| LightConeFigureError::Plane {
                path: cube.to_path_buf(),
                stored: stored_planes.map_or_else(
                    || format!("0 to {}", manifest.shape[1] - 1),
                    |planes| format!("{planes:?}"),
                ),
                found: y,
            })?;
        let opened = Cube::open(cube, manifest.shape)?;
        let [rows, _, columns] = manifest.shape;
        let plane = SliceIndex {
            transposed: false,
            stored_plane: stored,
            box_plane: y,
            first_row: 0,
        };
        let cells_mk = read_cells(&opened, plane, &Slicing::single(rows, columns, plane))?;
        let name = cube.file_stem().unwrap_or_default().to_string_lossy();
        let path = directory.join("history").join(format!("{name}.csv"));
        let history = if path.exists() {
            let text = fs::read_to_string(&path).map_err(FileError::at(&path, "reading"))?;
            parse_history(&text).map_err(|source| LightConeFigureError::History { path, source })?
        } else {
            Vec::new()
        };
        Ok(Self {
            title: format!("light-cone {name}"),
            image: SkyImage {
                cells_mk,
                columns,
                cell_mpc: manifest.cell_mpc,
                line: LineOfSight::of_cubes(&manifest),
            },
            history,
        })
    }

    /// Draws the plane to `prefix.png` and `prefix.svg`; returns their paths.
    ///
    /// # Errors
    /// [`LightConeFigureError`] when a file cannot be written.
    pub fn write(&self, prefix: &Path) -> Result<[PathBuf; 2], LightConeFigureError> {
        let drawing = self.draw();
        let with_extension = |extension: &str| {
            let mut name = prefix.as_os_str().to_os_string();
            name.push(extension);
            PathBuf::from(name)
        };
        let [png, svg] = [with_extension(".png"), with_extension(".svg")];
        let encoding = |path: &Path| {
            let path = path.to_path_buf();
            move |source| LightConeFigureError::Encoding { path, source }
        };
        write_bytes_atomically(&png, &drawing.to_png().map_err(encoding(&png))?)?;
        let text = drawing.to_svg(&self.title).map_err(encoding(&svg))?;
        write_bytes_atomically(&svg, text.as_bytes())?;
        Ok([png, svg])
    }

    fn draw(&self) -> Drawing {
        const LEFT: f64 = 84.0;
        const TOP: f64 = 74.0;
        const WIDTH: f64 = 1060.0;
        const CURVES: f64 = 180.0;
        let line = &self.image.line;
        let height = self.image.natural_height(WIDTH, [140.0, 400.0]);
        let bottom = TOP + height;
        let curves_top = bottom + 62.0;
        let total = if self.history.is_empty() {
            bottom + 50.0
        } else {
            curves_top + CURVES + 50.0
        };
        let mut drawing = Drawing::new(LEFT + WIDTH + 120.0, total);
        let (at, size) = ([LEFT, TOP], [WIDTH, height]);
        drawing.text([LEFT, 16.0], Anchor::Start, Ink::Text, self.title.as_str());
        let side = self.image.side_mpc();
        strip(&mut drawing, at, size, self.image.picture(), side);
        line.frequency_axis(&mut drawing, at, WIDTH);
        line.redshift_axis(&mut drawing, [LEFT, bottom], WIDTH);
        temperature_bar(&mut drawing, [LEFT + WIDTH + 24.0, TOP], [18.0, height]);
        if !self.history.is_empty() {
            self.draw_history(&mut drawing, [LEFT, curves_top], [WIDTH, CURVES]);
        }
        drawing
    }

    /// Global brightness temperature and neutral fraction along the same line of sight.
    fn draw_history(&self, drawing: &mut Drawing, at: [f64; 2], size: [f64; 2]) {
        let line = &self.image.line;
        let history: Vec<(f64, &HistoryRow)> = self
            .history
            .iter()
            .map(|row| (line.share(row.redshift), row))
            .filter(|(share, _)| (-1e-3..=1.0).contains(share))
            .collect();
        let temperatures = history.iter().map(|(_, row)| row.brightness_temperature_mk);
        let least = temperatures.clone().fold(-5.0, f64::min);
        let most = temperatures.fold(5.0, f64::max);
        let margin = 0.05 * (most - least);
        let panel = |y| Panel {
            at,
            size,
            x: Axis::linear(0.0, 1.0),
            y,
        };
        let temperature = panel(Axis::linear(least - margin, most + margin));
        let fraction = panel(Axis::linear(-0.03, 1.03));
        temperature.horizontal_grid(drawing, 5);
        temperature.vertical_axis(drawing, 5, true);
        let right = at[0] + size[0];
        for tick in fraction.y.ticks(5) {
            let y = fraction.row(tick.value);
            drawing.line(vec![[right, y], [right + 5.0, y]], 1.0, Ink::Text);
            if let Some(label) = tick.label {
                drawing.text([right + 9.0, y], Anchor::Start, Ink::Text, label);
            }
        }
        for (panel, ink, value) in [
            (
                temperature,
                Ink::Blue,
                (|row| row.brightness_temperature_mk) as fn(&HistoryRow) -> f64,
            ),
            (fraction, Ink::Vermilion, |row| row.neutral_fraction),
        ] {
            let points = history.iter();
            let points = points.map(|(share, row)| panel.place(*share, value(row)));
            drawing.line(points.collect(), 2.0, ink);
        }
        drawing.frame(at, size);
        line.redshift_axis(drawing, [at[0], at[1] + size[1]], size[0]);
        let middle = at[1] + 0.5 * size[1];
        let name = Label::from("mean ").then(brightness_temperature());
        drawing.upright_text([at[0] - 58.0, middle], Ink::Blue, name.then(" [mK]"));
        let name = Label::from("mean ").then(latex(r"x_{\rm HI}"));
        drawing.upright_text([right + 58.0, middle], Ink::Vermilion, name);
    }
}
