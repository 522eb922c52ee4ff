//! Images of light-cones as long strips, redshift along them, and the scales of their colours.

use super::colour_map::{ColourMap, Picture, TEMPERATURE_RANGE_MK};
use super::drawing::{Anchor, Drawing, Point};
use super::label::{Label, latex};
use super::line_of_sight::LineOfSight;
use super::palette::Ink;
use super::panel::{Axis, Panel};

/// One image of a light-cone: rows on the sky, columns along the line of sight.
#[derive(Debug, Clone)]
pub(super) struct SkyImage {
    /// Brightness temperature in mK, layout `[x][z]`.
    pub(super) cells_mk: Vec<f32>,
    pub(super) columns: usize,
    /// Side of a cell in comoving Mpc.
    pub(super) cell_mpc: f64,
    pub(super) line: LineOfSight,
}

impl SkyImage {
    /// Extent on the sky in comoving Mpc.
    pub(super) fn side_mpc(&self) -> f64 {
        (self.cells_mk.len() / self.columns.max(1)) as f64 * self.cell_mpc
    }

    /// The height in pixels at which cells are squares on a strip of `width`, within limits.
    pub(super) fn natural_height(&self, width: f64, [least, most]: [f64; 2]) -> f64 {
        (width * self.side_mpc() / self.line.depth_mpc).clamp(least, most)
    }

    /// Brightness temperatures in colours.
    pub(super) fn picture(&self) -> Picture {
        let map = ColourMap::BrightnessTemperature;
        Picture::new(&self.cells_mk, self.columns, map, TEMPERATURE_RANGE_MK)
    }
}

/// Draws an image with its axis of frequencies above and the bar of its colours to the right.
pub(super) fn sky_image(drawing: &mut Drawing, image: &SkyImage, at: Point, size: Point) {
    strip(drawing, at, size, image.picture(), image.side_mpc());
    image.line.frequency_axis(drawing, at, size[0]);
    let right = [at[0] + size[0] + 18.0, at[1]];
    temperature_bar(drawing, right, [14.0, size[1]]);
}

/// Draws a picture into a frame, with a scale in Mpc to its left.
pub(super) fn strip(
    drawing: &mut Drawing,
    at: Point,
    size: Point,
    picture: Picture,
    side_mpc: f64,
) {
    drawing.image(at, size, picture);
    drawing.frame(at, size);
    for distance in [0.0, 0.5 * side_mpc, side_mpc] {
        let y = at[1] + size[1] * (1.0 - distance / side_mpc);
        drawing.line(vec![[at[0] - 5.0, y], [at[0], y]], 1.0, Ink::Text);
        let text = format!("{distance:.0}");
        drawing.text([at[0] - 9.0, y], Anchor::End, Ink::Text, text);
    }
    let middle = [at[0] - 46.0, at[1] + 0.5 * size[1]];
    drawing.upright_text(middle, Ink::Text, "[Mpc]");
}

/// The scale of a colour map as an upright bar with numbers to its right and its name above.
pub(super) fn colour_bar(
    drawing: &mut Drawing,
    at: Point,
    size: Point,
    map: ColourMap,
    range: [f64; 2],
    name: impl Into<Label>,
) {
    drawing.image(at, size, Picture::scale(map, range, false));
    drawing.frame(at, size);
    let axis = Axis::linear(range[0], range[1]);
    let count = (size[1] / 24.0).clamp(1.0, 6.0) as usize;
    let right = at[0] + size[0];
    for tick in axis.ticks(count) {
        let y = at[1] + (1.0 - axis.share(tick.value)) * size[1];
        drawing.line(vec![[right, y], [right + 5.0, y]], 1.0, Ink::Text);
        if let Some(label) = tick.label {
            drawing.text([right + 9.0, y], Anchor::Start, Ink::Text, label);
        }
    }
    drawing.text([at[0], at[1] - 20.0], Anchor::Start, Ink::Text, name);
}

/// The same, lying, with numbers below and its name to the left.
pub(super) fn lying_colour_bar(
    drawing: &mut Drawing,
    at: Point,
    size: Point,
    map: ColourMap,
    range: [f64; 2],
    name: impl Into<Label>,
) {
    drawing.image(at, size, Picture::scale(map, range, true));
    let panel = Panel {
        at,
        size,
        x: Axis::linear(range[0], range[1]),
        y: Axis::linear(0.0, 1.0),
    };
    panel.frame(drawing);
    panel.horizontal_axis(drawing, 4, true);
    let left = [at[0] - 10.0, at[1] + 0.5 * size[1]];
    drawing.text(left, Anchor::End, Ink::Text, name);
}

/// The bar of brightness temperatures.
pub(super) fn temperature_bar(drawing: &mut Drawing, at: Point, size: Point) {
    let map = ColourMap::BrightnessTemperature;
    let name = brightness_temperature().then(" [mK]");
    colour_bar(drawing, at, size, map, TEMPERATURE_RANGE_MK, name);
}

/// Its symbol.
pub(super) fn brightness_temperature() -> Label {
    latex(r"\delta T_{\rm b}")
}
