//! A drawing that is rendered both as PNG and as SVG, without fonts of the system.

use std::fmt::Write;

/// A colour.
pub(super) type Rgb = [u8; 3];

/// Where a text lies relative to its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Something drawn; lengths in pixels, y downwards.
#[derive(Debug, Clone)]
enum Mark {
    Image {
        at: [f64; 2],
        size: [f64; 2],
        columns: usize,
        rows: usize,
        pixels: Vec<Rgb>,
    },
    Line {
        points: Vec<[f64; 2]>,
        width: f64,
        colour: Rgb,
    },
    Text {
        at: [f64; 2],
        anchor: Anchor,
        upright: bool,
        colour: Rgb,
        content: String,
    },
}

/// A drawing on white.
#[derive(Debug, Clone)]
pub(super) struct Sketch {
    width: usize,
    height: usize,
    marks: Vec<Mark>,
}

/// Height of a letter in pixels.
pub(super) const LETTER: f64 = 14.0;
/// Width of a letter of the bitmap font in pixels.
const LETTER_WIDTH: f64 = 9.0;
/// Pixels of the PNG per pixel of the drawing.
const SCALE: f64 = 2.0;

impl Sketch {
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            marks: Vec::new(),
        }
    }

    /// Draws `rows` by `columns` pixels, row by row from the top, into a rectangle.
    pub(super) fn image(&mut self, at: [f64; 2], size: [f64; 2], columns: usize, pixels: Vec<Rgb>) {
        self.marks.push(Mark::Image {
            at,
            size,
            columns,
            rows: pixels.len() / columns.max(1),
            pixels,
        });
    }

    pub(super) fn line(&mut self, points: Vec<[f64; 2]>, width: f64, colour: Rgb) {
        self.marks.push(Mark::Line {
            points,
            width,
            colour,
        });
    }

    pub(super) fn frame(&mut self, [x, y]: [f64; 2], [w, h]: [f64; 2], colour: Rgb) {
        let corners = vec![[x, y], [x + w, y], [x + w, y + h], [x, y + h], [x, y]];
        self.line(corners, 1.0, colour);
    }

    /// Text with its middle height at `at`.
    pub(super) fn text(&mut self, at: [f64; 2], anchor: Anchor, colour: Rgb, content: &str) {
        self.marks.push(Mark::Text {
            at,
            anchor,
            upright: false,
            colour,
            content: content.to_string(),
        });
    }

    /// Text that is read from below to above, centred at `at`.
    pub(super) fn upright_text(&mut self, at: [f64; 2], colour: Rgb, content: &str) {
        self.marks.push(Mark::Text {
            at,
            anchor: Anchor::Middle,
            upright: true,
            colour,
            content: content.to_string(),
        });
    }

    /// The drawing as SVG.
    pub(super) fn to_svg(&self) -> Result<String, png::EncodingError> {
        let (width, height) = (self.width, self.height);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
        );
        let hex = |[r, g, b]: Rgb| format!("#{r:02x}{g:02x}{b:02x}");
        for mark in &self.marks {
            // Writing to a String never fails.
            let _ = match mark {
                Mark::Image {
                    at,
                    size,
                    columns,
                    rows,
                    pixels,
                } => {
                    let data = base64(&encode_png(*columns, *rows, pixels)?);
                    writeln!(
                        svg,
                        "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{data}\"/>",
                        at[0], at[1], size[0], size[1]
                    )
                }
                Mark::Line {
                    points,
                    width,
                    colour,
                } => {
                    let points: Vec<String> = points
                        .iter()
                        .map(|[x, y]| format!("{x:.2},{y:.2}"))
                        .collect();
                    writeln!(
                        svg,
                        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"/>",
                        points.join(" "),
                        hex(*colour)
                    )
                }
                Mark::Text {
                    at: [x, y],
                    anchor,
                    upright,
                    colour,
                    content,
                } => {
                    let anchor = match anchor {
                        Anchor::Start => "start",
                        Anchor::Middle => "middle",
                        Anchor::End => "end",
                    };
                    let turn = if *upright {
                        format!(" transform=\"rotate(-90 {x} {y})\"")
                    } else {
                        String::new()
                    };
                    let content = content.replace('&', "&amp;").replace('<', "&lt;");
                    writeln!(
                        svg,
                        "<text x=\"{x}\" y=\"{y}\" dy=\"0.35em\" text-anchor=\"{anchor}\" font-family=\"sans-serif\" font-size=\"{LETTER}\" fill=\"{}\"{turn}>{content}</text>",
                        hex(*colour)
                    )
                }
            };
        }
        svg.push_str("</svg>\n");
        Ok(svg)
    }

    /// The drawing as PNG, twice as large.
    pub(super) fn to_png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut raster = Raster {
            width: (self.width as f64 * SCALE) as usize,
            height: (self.height as f64 * SCALE) as usize,
            pixels: Vec::new(),
        };
        raster.pixels = vec![[255; 3]; raster.width * raster.height];
        for mark in &self.marks {
            match mark {
                Mark::Image {
                    at,
                    size,
                    columns,
                    rows,
                    pixels,
                } => raster.image(*at, *size, *columns, *rows, pixels),
                Mark::Line {
                    points,
                    width,
                    colour,
                } => {
                    for pair in points.windows(2) {
                        raster.segment(pair[0], pair[1], *width, *colour);
                    }
                }
                Mark::Text {
                    at,
                    anchor,
                    upright,
                    colour,
                    content,
                } => raster.text(*at, *anchor, *upright, *colour, content),
            }
        }
        encode_png(raster.width, raster.height, &raster.pixels)
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

    fn image(&mut self, at: [f64; 2], size: [f64; 2], columns: usize, rows: usize, pixels: &[Rgb]) {
        let [x0, y0] = at.map(|v| (v * SCALE).round() as i64);
        let [w, h] = size.map(|v| (v * SCALE).round() as i64);
        for y in 0..h {
            for x in 0..w {
                let column = (x as usize * columns / w as usize).min(columns - 1);
                let row = (y as usize * rows / h as usize).min(rows - 1);
                self.mix(x0 + x, y0 + y, 1.0, pixels[row * columns + column]);
            }
        }
    }

    /// A line with soft edges.
    fn segment(&mut self, a: [f64; 2], b: [f64; 2], width: f64, colour: Rgb) {
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

    fn text(&mut self, at: [f64; 2], anchor: Anchor, upright: bool, colour: Rgb, content: &str) {
        let length = content.chars().count() as f64 * LETTER_WIDTH;
        let shift = match anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -0.5 * length,
            Anchor::End => -length,
        };
        for (number, letter) in content.chars().enumerate() {
            let Some(bitmap) = font8x8::legacy::BASIC_LEGACY.get(letter as usize) else {
                continue;
            };
            for (row, bits) in bitmap.iter().enumerate() {
                for column in (0..8).filter(|column| bits >> column & 1 == 1) {
                    // Two by two pixels of the PNG for each of the bitmap.
                    let along = shift + number as f64 * LETTER_WIDTH + f64::from(column);
                    let down = row as f64 - 3.5;
                    let [x, y] = if upright {
                        [at[0] + down, at[1] - along]
                    } else {
                        [at[0] + along, at[1] + down]
                    };
                    let [x, y] = [(x * SCALE).round() as i64, (y * SCALE).round() as i64];
                    for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                        self.mix(x + dx, y + dy, 1.0, colour);
                    }
                }
            }
        }
    }
}

fn encode_png(width: usize, height: usize, pixels: &[Rgb]) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels.as_flattened())?;
    writer.finish()?;
    Ok(bytes)
}

/// Base64 (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for i in 0..4 {
            if i <= chunk.len() {
                text.push(char::from(LETTERS[(bits >> (18 - 6 * i) & 63) as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_matches_the_standards_examples() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn lines_and_letters_leave_ink() {
        let mut sketch = Sketch::new(40, 20);
        sketch.text([20.0, 10.0], Anchor::Middle, [0, 0, 0], "Mpc");
        let blank = Sketch::new(40, 20).to_png().expect("encodes");
        assert_ne!(sketch.to_png().expect("encodes"), blank);
        assert!(sketch.to_svg().expect("encodes").contains(">Mpc</text>"));
    }
}
