//! A drawing: marks with their places in pixels, rendered as SVG (`svg.rs`) or PNG (`raster.rs`).

use super::colour_map::Picture;
use super::label::Label;
use super::palette::Ink;

/// A place in pixels, y downwards.
pub(super) type Point = [f64; 2];

/// Size of letters of axes in pixels.
pub(super) const LETTERS: f64 = 13.0;
/// Size of letters of titles in pixels.
pub(super) const TITLE: f64 = 15.0;

/// Where a text lies relative to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// The shape of a single data point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Circle,
    TriangleUp,
    TriangleDown,
}

/// Text and how it is set.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) at: Point,
    pub(super) anchor: Anchor,
    /// Read from below to above.
    pub(super) upright: bool,
    pub(super) ink: Ink,
    pub(super) size: f64,
    pub(super) label: Label,
}

/// Something drawn.
#[derive(Debug, Clone)]
pub(super) enum Mark {
    Image {
        at: Point,
        size: Point,
        picture: Picture,
    },
    Line {
        points: Vec<Point>,
        width: f64,
        ink: Ink,
        dashed: bool,
    },
    Area {
        corners: Vec<Point>,
        ink: Ink,
        opacity: f64,
    },
    Symbol {
        at: Point,
        shape: Shape,
        /// Half of its extent.
        radius: f64,
        ink: Ink,
    },
    Text(Text),
}

/// Marks on a page, later ones over earlier ones.
#[derive(Debug, Clone)]
pub(super) struct Drawing {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) marks: Vec<Mark>,
}

impl Drawing {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            marks: Vec::new(),
        }
    }

    /// Size in pixels.
    #[must_use]
    pub(super) fn size(&self) -> [f64; 2] {
        [self.width, self.height]
    }

    pub(super) fn image(&mut self, at: Point, size: Point, picture: Picture) {
        self.marks.push(Mark::Image { at, size, picture });
    }

    pub(super) fn line(&mut self, points: Vec<Point>, width: f64, ink: Ink) {
        self.push_line(points, width, ink, false);
    }

    pub(super) fn dashed_line(&mut self, points: Vec<Point>, width: f64, ink: Ink) {
        self.push_line(points, width, ink, true);
    }

    fn push_line(&mut self, points: Vec<Point>, width: f64, ink: Ink, dashed: bool) {
        self.marks.push(Mark::Line {
            points,
            width,
            ink,
            dashed,
        });
    }

    pub(super) fn frame(&mut self, [x, y]: Point, [w, h]: Point) {
        let corners = vec![[x, y], [x + w, y], [x + w, y + h], [x, y + h], [x, y]];
        self.line(corners, 1.0, Ink::Text);
    }

    pub(super) fn area(&mut self, corners: Vec<Point>, ink: Ink, opacity: f64) {
        self.marks.push(Mark::Area {
            corners,
            ink,
            opacity,
        });
    }

    pub(super) fn rectangle(&mut self, [x, y]: Point, [w, h]: Point, ink: Ink) {
        let corners = vec![[x, y], [x + w, y], [x + w, y + h], [x, y + h]];
        self.area(corners, ink, 1.0);
    }

    pub(super) fn symbol(&mut self, at: Point, shape: Shape, radius: f64, ink: Ink) {
        self.marks.push(Mark::Symbol {
            at,
            shape,
            radius,
            ink,
        });
    }

    /// Text of axes, its middle height at `at`.
    pub(super) fn text(&mut self, at: Point, anchor: Anchor, ink: Ink, label: impl Into<Label>) {
        self.text_of_size(at, anchor, ink, LETTERS, label);
    }

    /// Text with its middle height at `at`.
    pub(super) fn text_of_size(
        &mut self,
        at: Point,
        anchor: Anchor,
        ink: Ink,
        size: f64,
        label: impl Into<Label>,
    ) {
        self.marks.push(Mark::Text(Text {
            at,
            anchor,
            upright: false,
            ink,
            size,
            label: label.into(),
        }));
    }

    /// Text that is read from below to above, centred at `at`.
    pub(super) fn upright_text(&mut self, at: Point, ink: Ink, label: impl Into<Label>) {
        self.marks.push(Mark::Text(Text {
            at,
            anchor: Anchor::Middle,
            upright: true,
            ink,
            size: LETTERS,
            label: label.into(),
        }));
    }
}
