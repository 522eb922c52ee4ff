//! The look that all figures share.

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea, RGBColor};

/// An SVG being drawn.
pub(super) type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// What drawing on a [`Canvas`] can fail with.
pub(super) type DrawingError = DrawingAreaErrorKind<std::io::Error>;

/// Blue of the colour-blind-safe palette of Okabe & Ito (2008).
pub(super) const BLUE: RGBColor = RGBColor(0, 114, 178);
/// Vermilion of the same palette.
pub(super) const VERMILION: RGBColor = RGBColor(213, 94, 0);
/// Lines that are not data.
pub(super) const GREY: RGBColor = RGBColor(150, 150, 150);
/// Fine lines behind the data.
pub(super) const LIGHT_GREY: RGBColor = RGBColor(230, 230, 230);

/// Typeface and size of labels.
pub(super) const LABEL: (&str, u32) = ("sans-serif", 15);
/// Typeface and size of captions.
pub(super) const CAPTION: (&str, u32) = ("sans-serif", 17);

/// A new canvas that draws into `svg`.
pub(super) fn canvas(svg: &mut String, size: (u32, u32)) -> Canvas<'_> {
    SVGBackend::with_string(svg, size).into_drawing_area()
}
