//! Drawings as PNG, with letters of their own: the same on every machine.

use super::colour_map::Picture;
use super::drawing::{Anchor, Drawing, Mark, Point, Shape, Text};
use super::encoding::pixels_png;
use super::label::Height;
use super::palette::{Ink, Rgb};
use super::svg::corners;

/// Width of a letter of the bitmap font in pixels of the drawing.
const LETTER_WIDTH: f64 = 9.0;
/// Pixels of the PNG per pixel of the drawing.
const SCALE: f64 = 2.0;

impl Drawing {
    /// The drawing on a light page, twice as large.
    pub(super) fn to_png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let width = (self.width * SCALE) as usize;
        let height = (self.height * SCALE) as usize;
        let mut raster = Raster {
            width,
            height,
            pixels: vec![Ink::Paper.light(); width * height],
        };
        for mark in &self.marks {
            match mark {
                Mark::Image { at, size, picture } => raster.image(*at, *size, picture),
                Mark::Line {
                    points,
                    width,
                    ink,
                    dashed,
                } => raster.line(points, *width, ink.light(), *dashed),
                Mark::Area {
                    corners,
                    ink,
                    opacity,
                } => raster.polygon(corners, ink.light(), *opacity),
                Mark::Symbol {
                    at,
                    shape,
                    radius,
                    ink,
                } => raster.symbol(*at, *shape, *radius, ink.light()),
                Mark::Text(text) => raster.text(text),
            }
        }
        pixels_png(width, height, &raster.pixels)
    }
}

struct Raster {
    width: usize,
    height: usize,
    pixels: Vec<Rgb>,
}

impl Raster {
    /// Mixes a colour into a pixel.
    fn mix(&mut self, x: i64, y: i64, share: f64, colour: Rgb) {
        if x < 0 || y < 0 || x >= self.width as i64 || y >= self.height as i64 {
            return;
        }
        let pixel = &mut self.pixels[y as usize * self.width + x as usize];
        for (to, from) in pixel.iter_mut().zip(colour) {
            *to = (f64::from(*to) * (1.0 - share) + f64::from(from) * share).round() as u8;
        }
    }

    fn image(&mut self, at: Point, size: Point, picture: &Picture) {
        let [x0, y0] = at.map(|v| (v * SCALE).round() as i64);
        let [w, h] = size.map(|v| (v * SCALE).round() as i64);
        for y in 0..h {
            for x in 0..w {
                let column = (x as usize * picture.columns / w as usize).min(picture.columns - 1);
                let row = (y as usize * picture.rows / h as usize).min(picture.rows - 1);
                self.mix(x0 + x, y0 + y, 1.0, picture.pixel(column, row));
            }
        }
    }

    fn line(&mut self, points: &[Point], width: f64, colour: Rgb, dashed: bool) {
        for pair in points.windows(2) {
            let [a, b] = [pair[0], pair[1]];
            let length = (b[0] - a[0]).hypot(b[1] - a[1]);
            let (dash, period) = if dashed { (4.0, 7.0) } else { (length, length) };
            let mut start = 0.0;
            // A line without length is a dot.
            loop {
                let along = |distance: f64| -> Point {
                    let share = if length > 0.0 { distance / length } else { 0.0 };
                    std::array::from_fn(|i| a[i] + share * (b[i] - a[i]))
                };
                self.segment(
                    along(start),
                    along((start + dash).min(length)),
                    width,
                    colour,
                );
                start += period;
                if start >= length {
                    break;
                }
            }
        }
    }

    /// A line with soft edges.
    fn segment(&mut self, a: Point, b: Point, width: f64, colour: Rgb) {
        let (a, b) = (a.map(|v| v * SCALE), b.map(|v| v * SCALE));
        let half = 0.5 * width * SCALE;
        let reach = half + 1.0;
        let range = |p: f64, q: f64| ((p.min(q) - reach) as i64, (p.max(q) + reach) as i64);
        let ((x0, x1), (y0, y1)) = (range(a[0], b[0]), range(a[1], b[1]));
        let along = [b[0] - a[0], b[1] - a[1]];
        let square = along[0] * along[0] + along[1] * along[1];
        for y in y0..=y1 {
            for x in x0..=x1 {
                let from = [x as f64 + 0.5 - a[0], y as f64 + 0.5 - a[1]];
                let share = if square > 0.0 {
                    ((from[0] * along[0] + from[1] * along[1]) / square).clamp(0.0, 1.0)
                } else {
                    0.0
                };
                let distance = (from[0] - share * along[0]).hypot(from[1] - share * along[1]);
                let cover = (half + 0.5 - distance).clamp(0.0, 1.0);
                if cover > 0.0 {
                    self.mix(x, y, cover, colour);
                }
            }
        }
    }

    /// A filled polygon, by the even-odd rule at the middle of each pixel.
    fn polygon(&mut self, corners: &[Point], colour: Rgb, opacity: f64) {
        let corners: Vec<Point> = corners.iter().map(|c| c.map(|v| v * SCALE)).collect();
        let top = corners.iter().map(|c| c[1]).fold(f64::INFINITY, f64::min);
        let bottom = corners.iter().map(|c| c[1]).fold(0.0, f64::max);
        for y in top.max(0.0) as i64..=bottom as i64 {
            let height = y as f64 + 0.5;
            let mut crossings: Vec<f64> = corners
                .iter()
                .zip(corners.iter().cycle().skip(1))
                .filter(|(a, b)| (a[1] <= height) != (b[1] <= height))
                .map(|(a, b)| a[0] + (height - a[1]) / (b[1] - a[1]) * (b[0] - a[0]))
                .collect();
            crossings.sort_by(f64::total_cmp);
            for pair in crossings.chunks_exact(2) {
                for x in pair[0].round() as i64..pair[1].round() as i64 {
                    self.mix(x, y, opacity, colour);
                }
            }
        }
    }

    fn symbol(&mut self, at: Point, shape: Shape, radius: f64, colour: Rgb) {
        match corners(at, shape, radius) {
            Some(corners) => self.polygon(&corners, colour, 1.0),
            None => self.segment(at, at, 2.0 * radius, colour),
        }
    }

    fn text(&mut self, text: &Text) {
        let colour = text.ink.light();
        let count: usize = text.label.runs.iter().map(|r| r.text.chars().count()).sum();
        let length = count as f64 * LETTER_WIDTH;
        let shift = match text.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -0.5 * length,
            Anchor::End => -length,
        };
        let letters = text.label.runs.iter().flat_map(|run| {
            let height = match run.height {
                Height::Base => 0.0,
                Height::Sub => 4.0,
                Height::Super => -4.0,
            };
            run.text.chars().map(move |letter| (letter, height))
        });
        for (number, (letter, height)) in letters.enumerate() {
            let bitmap = bitmap(letter);
            for (row, bits) in bitmap.iter().enumerate() {
                for column in (0..8).filter(|column| bits >> column & 1 == 1) {
                    let along = shift + number as f64 * LETTER_WIDTH + f64::from(column);
                    let down = row as f64 - 3.5 + height;
                    let [x, y] = if text.upright {
                        [text.at[0] + down, text.at[1] - along]
                    } else {
                        [text.at[0] + along, text.at[1] + down]
                    };
                    let [x, y] = [(x * SCALE).round() as i64, (y * SCALE).round() as i64];
                    // Two by two pixels of the PNG for each of the bitmap.
                    for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                        self.mix(x + dx, y + dy, 1.0, colour);
                    }
                }
            }
        }
    }
}

/// Eight rows of a letter; a space for those that the font has not.
fn bitmap(letter: char) -> [u8; 8] {
    let code = letter as usize;
    let plain = match letter {
        '\u{2212}' => '-' as usize,
        _ => code,
    };
    let greek = code.checked_sub(0x390);
    font8x8::legacy::BASIC_LEGACY
        .get(plain)
        .or_else(|| greek.and_then(|code| font8x8::legacy::GREEK_LEGACY.get(code)))
        .copied()
        .unwrap_or([0; 8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::colour_map::ColourMap;

    fn pixels(drawing: &Drawing) -> Vec<u8> {
        let bytes = drawing.to_png().expect("encodes");
        let decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        let mut reader = decoder.read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("small")];
        reader.next_frame(&mut pixels).expect("a frame");
        pixels
    }

    #[test]
    fn every_kind_of_mark_leaves_ink() {
        let blank = pixels(&Drawing::new(40.0, 20.0));
        let draw: [fn(&mut Drawing); 7] = [
            |d| d.text([20.0, 10.0], Anchor::Middle, Ink::Text, "Mpc"),
            |d| d.text([20.0, 10.0], Anchor::Middle, Ink::Text, "\u{3b6}"),
            |d| d.line(vec![[2.0, 2.0], [30.0, 12.0]], 1.0, Ink::Blue),
            |d| d.dashed_line(vec![[2.0, 2.0], [30.0, 2.0]], 1.0, Ink::Blue),
            |d| d.rectangle([3.0, 3.0], [8.0, 8.0], Ink::Green),
            |d| d.symbol([20.0, 10.0], Shape::TriangleDown, 5.0, Ink::Vermilion),
            |d| {
                let picture = Picture::new(&[0.0; 4], 2, ColourMap::Sequential, [0.0, 1.0]);
                d.image([4.0, 4.0], [8.0, 8.0], picture);
            },
        ];
        for (number, draw) in draw.into_iter().enumerate() {
            let mut drawing = Drawing::new(40.0, 20.0);
            draw(&mut drawing);
            assert_ne!(pixels(&drawing), blank, "mark {number}");
        }
    }

    #[test]
    fn a_rectangle_covers_its_area_and_no_more() {
        let mut drawing = Drawing::new(20.0, 20.0);
        drawing.rectangle([5.0, 5.0], [10.0, 4.0], Ink::Text);
        let covered = pixels(&drawing).chunks(3).filter(|p| p[0] < 100).count();
        assert_eq!(covered, 10 * 4 * (SCALE * SCALE) as usize);
    }
}
