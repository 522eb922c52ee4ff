//! A light-cone as in figure 1 of Gillet et al. 2019, with its global history.

use std::fs;
use std::path::{Path, PathBuf};

use super::sketch::{Anchor, Rgb, Sketch};
use crate::atomic_file::{FileError, write_bytes_atomically};
use crate::data::manifest::{Manifest, ManifestError};
use crate::simulator::cosmology::{Distances, GILLET_2019};
use crate::simulator::history::{HistoryError, HistoryRow, parse_history};

/// The colours of 21-cm maps in the field: absorption from white over yellow and red, black at zero,
/// emission from blue to cyan. Brightness in mK and colour, increasing.
///
/// Lightness falls towards zero on both sides, and the sides differ in blue against yellow, which the common
/// kinds of colour blindness keep apart.
const COLOURS: [(f64, [f64; 3]); 7] = [
    (-150.0, [255.0, 255.0, 255.0]),
    (-112.0, [255.0, 255.0, 0.0]),
    (-74.0, [255.0, 165.0, 0.0]),
    (-37.0, [230.0, 0.0, 0.0]),
    (0.0, [0.0, 0.0, 0.0]),
    (12.0, [0.0, 40.0, 255.0]),
    (30.0, [0.0, 255.0, 255.0]),
];

/// The colour of a brightness temperature in mK; beyond -150 and 30 mK the last colours.
#[must_use]
pub fn colour(brightness_mk: f64) -> [u8; 3] {
    let last = COLOURS.len() - 1;
    let value = brightness_mk.clamp(COLOURS[0].0, COLOURS[last].0);
    let i = COLOURS
        .partition_point(|stop| stop.0 <= value)
        .clamp(1, last)
        - 1;
    let ((low, a), (high, b)) = (COLOURS[i], COLOURS[i + 1]);
    let share = (value - low) / (high - low);
    std::array::from_fn(|c| (a[c] + share * (b[c] - a[c])).round() as u8)
}

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
    /// The cube has the wrong size.
    #[error("{path}: expected {expected} bytes, found {found}")]
    Size {
        /// The cube.
        path: PathBuf,
        /// Bytes expected.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
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
    /// Brightness temperature in mK, layout `[x][z]`.
    values: Vec<f32>,
    cells: usize,
    slices: usize,
    cell_mpc: f64,
    nearest_mpc: f64,
    distances: Distances,
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
        let bytes = fs::read(cube).map_err(FileError::at(cube, "reading"))?;
        if bytes.len() as u64 != manifest.cube_bytes() {
            return Err(LightConeFigureError::Size {
                path: cube.to_path_buf(),
                expected: manifest.cube_bytes(),
                found: bytes.len() as u64,
            });
        }
        let stored = match y {
            None => 0,
            Some(y) => manifest
                .stored_plane(y)
                .ok_or_else(|| LightConeFigureError::Plane {
                    path: cube.to_path_buf(),
                    stored: manifest.y_planes.as_ref().map_or_else(
                        || format!("0 to {}", manifest.shape[1] - 1),
                        |planes| format!("{planes:?}"),
                    ),
                    found: y,
                })?,
        };
        let [cells, planes, slices] = manifest.shape;
        let (words, _) = bytes.as_chunks::<4>();
        let values = (0..cells)
            .flat_map(|x| &words[(x * planes + stored) * slices..][..slices])
            .map(|word| f32::from_le_bytes(*word))
            .collect();
        let name = cube.file_stem().unwrap_or_default().to_string_lossy();
        let path = directory.join("history").join(format!("{name}.csv"));
        let history = if path.exists() {
            let text = fs::read_to_string(&path).map_err(FileError::at(&path, "reading"))?;
            parse_history(&text).map_err(|source| LightConeFigureError::History { path, source })?
        } else {
            Vec::new()
        };
        let distances = Distances::new(manifest.cosmology.as_ref().unwrap_or(&GILLET_2019));
        Ok(Self {
            title: format!("light-cone {name}"),
            values,
            cells,
            slices,
            cell_mpc: manifest.cell_mpc,
            nearest_mpc: distances.comoving_mpc(manifest.redshift_range[0]),
            distances,
            history,
        })
    }

    /// Draws the plane to `prefix.png` and `prefix.svg`; returns their paths.
    ///
    /// # Errors
    /// [`LightConeFigureError`] when a file cannot be written.
    pub fn draw(&self, prefix: &Path) -> Result<[PathBuf; 2], LightConeFigureError> {
        let sketch = self.sketch();
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
        write_bytes_atomically(&png, &sketch.to_png().map_err(encoding(&png))?)?;
        let text = sketch.to_svg().map_err(encoding(&svg))?;
        write_bytes_atomically(&svg, text.as_bytes())?;
        Ok([png, svg])
    }

    fn sketch(&self) -> Sketch {
        const BLACK: Rgb = [0, 0, 0];
        const GREY: Rgb = [190, 190, 190];
        // Blue and vermilion of the palette of Okabe & Ito (2008).
        const BLUE: Rgb = [0, 114, 178];
        const VERMILION: Rgb = [213, 94, 0];
        const LEFT: f64 = 90.0;
        const TOP: f64 = 60.0;
        const WIDTH: f64 = 1060.0;
        const CURVES: f64 = 180.0;
        let natural = WIDTH * self.cells as f64 / self.slices as f64;
        let height = natural.clamp(140.0, 400.0);
        let history_top = TOP + height + 75.0;
        let total = if self.history.is_empty() {
            TOP + height + 60.0
        } else {
            history_top + CURVES + 55.0
        };
        let mut sketch = Sketch::new((LEFT + WIDTH + 130.0) as usize, total as usize);
        let depth = self.slices as f64 * self.cell_mpc;
        let column = |distance_mpc: f64| LEFT + (distance_mpc - self.nearest_mpc) / depth * WIDTH;
        let end_mpc = self.nearest_mpc + depth;

        // The map, x upwards.
        let pixels = (0..self.cells)
            .rev()
            .flat_map(|x| &self.values[x * self.slices..(x + 1) * self.slices])
            .map(|value| colour(f64::from(*value)))
            .collect();
        sketch.image([LEFT, TOP], [WIDTH, height], self.slices, pixels);
        sketch.frame([LEFT, TOP], [WIDTH, height], BLACK);
        sketch.text([LEFT, 16.0], Anchor::Start, BLACK, &self.title);

        // Redshifts above, distances below.
        let redshifts: Vec<f64> = [
            6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 25.0, 30.0,
        ]
        .into_iter()
        .filter(|&z| {
            let d = self.distances.comoving_mpc(z);
            (self.nearest_mpc - 1.0..=end_mpc + 1.0).contains(&d)
        })
        .collect();
        for &z in &redshifts {
            let x = column(self.distances.comoving_mpc(z));
            sketch.line(vec![[x, TOP - 6.0], [x, TOP]], 1.0, BLACK);
            sketch.text([x, TOP - 15.0], Anchor::Middle, BLACK, &format!("{z}"));
        }
        sketch.text(
            [LEFT + 0.5 * WIDTH, 16.0],
            Anchor::Middle,
            BLACK,
            "redshift",
        );
        let bottom = TOP + height;
        for distance in ticks(0.0, depth) {
            let x = column(self.nearest_mpc + distance);
            sketch.line(vec![[x, bottom], [x, bottom + 6.0]], 1.0, BLACK);
            sketch.text(
                [x, bottom + 16.0],
                Anchor::Middle,
                BLACK,
                &format!("{distance}"),
            );
        }
        let label = format!(
            "comoving distance beyond redshift {:.2} (Mpc)",
            self.distances.redshift(self.nearest_mpc)
        );
        sketch.text(
            [LEFT + 0.5 * WIDTH, bottom + 36.0],
            Anchor::Middle,
            BLACK,
            &label,
        );
        let side = self.cells as f64 * self.cell_mpc;
        for distance in [0.0, 0.5 * side, side] {
            let y = bottom - distance / side * height;
            sketch.line(vec![[LEFT - 6.0, y], [LEFT, y]], 1.0, BLACK);
            sketch.text([LEFT - 10.0, y], Anchor::End, BLACK, &format!("{distance}"));
        }
        sketch.upright_text([18.0, TOP + 0.5 * height], BLACK, "x (Mpc)");

        // The colour scale.
        let bar = LEFT + WIDTH + 25.0;
        let steps = 180;
        let (low, high) = (COLOURS[0].0, COLOURS[COLOURS.len() - 1].0);
        let pixels = (0..steps)
            .map(|i| colour(high - (high - low) * (f64::from(i) + 0.5) / f64::from(steps)))
            .collect();
        sketch.image([bar, TOP], [18.0, height], 1, pixels);
        sketch.frame([bar, TOP], [18.0, height], BLACK);
        for value in [-150.0, -100.0, -50.0, 0.0, 30.0] {
            let y = TOP + (high - value) / (high - low) * height;
            sketch.line(vec![[bar + 18.0, y], [bar + 23.0, y]], 1.0, BLACK);
            sketch.text([bar + 27.0, y], Anchor::Start, BLACK, &format!("{value}"));
        }
        sketch.text([bar + 9.0, TOP - 15.0], Anchor::Start, BLACK, "T_b (mK)");
        if self.history.is_empty() {
            return sketch;
        }

        // The global history on the same axis.
        let history: Vec<&HistoryRow> = self
            .history
            .iter()
            .filter(|row| {
                let d = self.distances.comoving_mpc(row.redshift);
                (self.nearest_mpc - 1.0..=end_mpc).contains(&d)
            })
            .collect();
        let brightness = |row: &HistoryRow| row.brightness_temperature_mk;
        let least = history
            .iter()
            .map(|row| brightness(row))
            .fold(0.0, f64::min);
        let most = history
            .iter()
            .map(|row| brightness(row))
            .fold(0.0, f64::max);
        let step = nice_step((most - least).max(10.0), 5.0);
        let (least, most) = ((least / step).floor() * step, (most / step).ceil() * step);
        let y_of = |value: f64, low: f64, high: f64| {
            history_top + CURVES - (value - low) / (high - low) * CURVES
        };
        for value in ticks(least, most.max(least + step)) {
            let y = y_of(value, least, most);
            sketch.line(vec![[LEFT, y], [LEFT + WIDTH, y]], 0.5, GREY);
            sketch.text([LEFT - 10.0, y], Anchor::End, BLUE, &format!("{value}"));
        }
        for value in [0.0, 0.25, 0.5, 0.75, 1.0] {
            let y = y_of(value, 0.0, 1.0);
            sketch.line(
                vec![[LEFT + WIDTH, y], [LEFT + WIDTH + 6.0, y]],
                1.0,
                VERMILION,
            );
            sketch.text(
                [LEFT + WIDTH + 10.0, y],
                Anchor::Start,
                VERMILION,
                &format!("{value}"),
            );
        }
        for &z in &redshifts {
            let x = column(self.distances.comoving_mpc(z));
            let y = history_top + CURVES;
            sketch.line(vec![[x, y], [x, y + 6.0]], 1.0, BLACK);
            sketch.text([x, y + 16.0], Anchor::Middle, BLACK, &format!("{z}"));
        }
        let y = history_top + CURVES + 36.0;
        sketch.text([LEFT + 0.5 * WIDTH, y], Anchor::Middle, BLACK, "redshift");
        let curve = |value: &dyn Fn(&HistoryRow) -> f64| {
            history
                .iter()
                .map(|row| {
                    [
                        column(self.distances.comoving_mpc(row.redshift)),
                        value(row),
                    ]
                })
                .collect::<Vec<_>>()
        };
        sketch.line(curve(&|row| y_of(brightness(row), least, most)), 2.0, BLUE);
        sketch.line(
            curve(&|row| y_of(row.neutral_fraction, 0.0, 1.0)),
            2.0,
            VERMILION,
        );
        sketch.frame([LEFT, history_top], [WIDTH, CURVES], BLACK);
        let middle = history_top + 0.5 * CURVES;
        sketch.upright_text([18.0, middle], BLUE, "mean T_b (mK)");
        sketch.upright_text([LEFT + WIDTH + 75.0, middle], VERMILION, "mean x_HI");
        sketch
    }
}

/// A step of 1, 2 or 5 times a power of ten that divides `range` into at most `count` parts.
fn nice_step(range: f64, count: f64) -> f64 {
    let power = 10_f64.powf((range / count).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| range / step <= count)
        .unwrap_or(10.0 * power)
}

/// Round values between `low` and `high`.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let step = nice_step(high - low, 7.0);
    let first = (low / step).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_black_at_zero_and_apart_on_both_sides() {
        assert_eq!(colour(0.0), [0, 0, 0]);
        assert_eq!(colour(-1e9), [255, 255, 255]);
        assert_eq!(colour(1e9), [0, 255, 255]);
        let (absorption, emission) = (colour(-40.0), colour(12.0));
        assert!(absorption[0] > 200 && absorption[2] < 50);
        assert!(emission[0] < 50 && emission[2] > 200);
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(
            ticks(0.0, 3126.0),
            [0.0, 500.0, 1000.0, 1500.0, 2000.0, 2500.0, 3000.0]
        );
        assert_eq!(ticks(-150.0, 50.0).len(), 5);
    }
}
