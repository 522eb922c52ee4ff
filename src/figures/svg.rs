//! Drawings as SVG: colours of the light page as attributes, classes for dark ones.

use std::fmt::Write;

use super::drawing::{Anchor, Drawing, Mark, Point, Shape, Text};
use super::encoding::{base64, picture_png};
use super::label::{Height, Run, escape};
use super::palette::{Ink, dark_style, hex};

/// Fonts of every figure.
const FONTS: &str = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif";

impl Drawing {
    /// A file of its own, with the style that turns it dark; `description` is read to who cannot see it.
    pub(super) fn to_svg(&self, description: &str) -> Result<String, png::EncodingError> {
        let style = format!("<style>{}</style>", dark_style());
        self.render(description, &style)
    }

    /// For a page that has the style already.
    pub(super) fn to_inline_svg(&self, description: &str) -> Result<String, png::EncodingError> {
        self.render(description, "")
    }

    fn render(&self, description: &str, style: &str) -> Result<String, png::EncodingError> {
        let (width, height) = (self.width, self.height);
        let description = escape(description);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{description}\" \
             font-family=\"{FONTS}\">\n{style}"
        );
        let page = [[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]];
        polygon(&mut svg, &page, Ink::Paper, 1.0);
        for mark in &self.marks {
            match mark {
                Mark::Image { at, size, picture } => {
                    let data = base64(&picture_png(picture)?);
                    // Writing to a String never fails.
                    let _ = writeln!(
                        svg,
                        "<image x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" preserveAspectRatio=\"none\" \
                         style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{data}\"/>",
                        at[0], at[1], size[0], size[1]
                    );
                }
                Mark::Line {
                    points,
                    width,
                    ink,
                    dashed,
                } => line(&mut svg, points, *width, *ink, *dashed),
                Mark::Area {
                    corners,
                    ink,
                    opacity,
                } => polygon(&mut svg, corners, *ink, *opacity),
                Mark::Symbol {
                    at,
                    shape,
                    radius,
                    ink,
                } => symbol(&mut svg, *at, *shape, *radius, *ink),
                Mark::Text(content) => text(&mut svg, content),
            }
        }
        svg.push_str("</svg>\n");
        Ok(svg)
    }
}

fn places(points: &[Point]) -> String {
    let places: Vec<String> = points
        .iter()
        .map(|[x, y]| format!("{x:.1},{y:.1}"))
        .collect();
    places.join(" ")
}

fn fill(ink: Ink) -> String {
    format!("fill=\"{}\" class=\"f-{}\"", hex(ink.light()), ink.class())
}

fn line(svg: &mut String, points: &[Point], width: f64, ink: Ink, dashed: bool) {
    let dashes = if dashed {
        " stroke-dasharray=\"4 3\""
    } else {
        ""
    };
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" class=\"s-{}\" stroke-width=\"{width}\" \
         stroke-linejoin=\"round\"{dashes}/>",
        places(points),
        hex(ink.light()),
        ink.class()
    );
}

fn polygon(svg: &mut String, corners: &[Point], ink: Ink, opacity: f64) {
    let opacity = if opacity < 1.0 {
        format!(" fill-opacity=\"{opacity}\"")
    } else {
        String::new()
    };
    let _ = writeln!(
        svg,
        "<polygon points=\"{}\" {}{opacity}/>",
        places(corners),
        fill(ink)
    );
}

/// A symbol with a rim in the colour of the page, so that it is seen on any data.
fn symbol(svg: &mut String, at: Point, shape: Shape, radius: f64, ink: Ink) {
    let rim = format!(
        "stroke=\"{}\" stroke-width=\"1\" paint-order=\"stroke\"",
        hex(Ink::Paper.light())
    );
    let class = format!("f-{} s-{}", ink.class(), Ink::Paper.class());
    let colour = hex(ink.light());
    let [x, y] = at;
    let _ = match corners(at, shape, radius) {
        None => writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\" class=\"{class}\" {rim}/>"
        ),
        Some(corners) => writeln!(
            svg,
            "<polygon points=\"{}\" fill=\"{colour}\" class=\"{class}\" {rim}/>",
            places(&corners)
        ),
    };
}

/// The corners of a symbol; none of a circle.
pub(super) fn corners([x, y]: Point, shape: Shape, radius: f64) -> Option<[Point; 3]> {
    let down = match shape {
        Shape::Circle => return None,
        Shape::TriangleUp => 1.0,
        Shape::TriangleDown => -1.0,
    };
    let base = y + down * 0.8 * radius;
    Some([
        [x - radius, base],
        [x + radius, base],
        [x, y - down * radius],
    ])
}

fn text(svg: &mut String, text: &Text) {
    let [x, y] = text.at;
    let anchor = match text.anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    let turn = if text.upright {
        format!(" transform=\"rotate(-90 {x:.1} {y:.1})\"")
    } else {
        String::new()
    };
    let _ = write!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" dy=\"0.35em\" text-anchor=\"{anchor}\" font-size=\"{}\" {}{turn}>",
        text.size,
        fill(text.ink)
    );
    // Every shift is relative to the letters before, so it has to be taken back. The first one replaces
    // that of the whole text.
    let mut height = 0.0;
    for (index, run) in text.label.runs.iter().enumerate() {
        let target = baseline(run, text.size);
        let shift = if index == 0 {
            0.35 * text.size + target
        } else {
            target - height
        };
        height = target;
        let mut attributes = String::new();
        if shift.abs() > 1e-9 && (index > 0 || target.abs() > 0.0) {
            let _ = write!(attributes, " dy=\"{shift:.2}\"");
        }
        if run.height != Height::Base {
            let _ = write!(attributes, " font-size=\"{:.1}\"", 0.72 * text.size);
        }
        if run.italic {
            attributes.push_str(" font-style=\"italic\"");
        }
        let letters = escape(&run.text);
        let _ = if attributes.is_empty() {
            write!(svg, "{letters}")
        } else {
            write!(svg, "<tspan{attributes}>{letters}</tspan>")
        };
    }
    svg.push_str("</text>\n");
}

/// How far a run lies below the line, in pixels.
fn baseline(run: &Run, size: f64) -> f64 {
    match run.height {
        Height::Base => 0.0,
        Height::Sub => 0.22 * size,
        Height::Super => -0.35 * size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::label::latex;

    #[test]
    fn an_svg_has_its_text_its_description_and_both_pages() {
        let mut drawing = Drawing::new(40.0, 20.0);
        drawing.text([20.0, 10.0], Anchor::Middle, Ink::Text, "a < b");
        drawing.symbol([5.0, 5.0], Shape::TriangleUp, 4.0, Ink::Blue);
        let svg = drawing.to_svg("x & \"y\"").expect("encodes");
        for part in [
            ">a &lt; b</text>",
            "aria-label=\"x &amp; &quot;y&quot;\"",
            "fill=\"#0072b2\" class=\"f-blue s-paper\"",
            "prefers-color-scheme:dark",
            ".f-blue{fill:#56b4e9}",
        ] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
        let inline = drawing.to_inline_svg("x").expect("encodes");
        assert!(!inline.contains("<style>"));
    }

    #[test]
    fn shifts_of_sub_and_superscripts_are_taken_back() {
        let mut drawing = Drawing::new(40.0, 20.0);
        drawing.text_of_size([0.0, 0.0], Anchor::Start, Ink::Text, 10.0, latex("a_b^cd"));
        let svg = drawing.to_inline_svg("").expect("encodes");
        for part in [
            "<tspan dy=\"2.20\" font-size=\"7.2\"",
            "<tspan dy=\"-5.70\" font-size=\"7.2\"",
            "<tspan dy=\"3.50\" font-style=\"italic\">d",
        ] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
    }
}
