//! The filters of the first layer (figure A1 of Gillet et al. 2019).

use super::colour_map::{ColourMap, Picture};
use super::drawing::{Anchor, Drawing};
use super::palette::Ink;
use super::strip::lying_colour_bar;
use crate::model::layer::Layer;
use crate::model::model_file::Model;

/// Filters side by side.
const ACROSS: usize = 4;
/// Side of a filter in pixels.
const SIDE: f64 = 118.0;
/// Filters that are shown; a first layer with more is shown in part.
const MOST: usize = 32;

/// The filters, x upwards and the line of sight to the right, on one scale of weights; none when the first
/// layer is no convolution.
pub(super) fn draw(model: &Model) -> Option<Drawing> {
    let Some(Layer::Conv2d(shape)) = model.network.architecture().layers().first() else {
        return None;
    };
    let [filters, channels, rows, columns] = shape.weight_shape();
    // The first layer sees one channel, the image.
    let weights = model.parameters.trainable[0].values.as_slice();
    let shown = filters.min(MOST);
    let largest = weights.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
    let largest = f64::from(largest).max(f64::MIN_POSITIVE);
    let range = [-largest, largest];

    let across = shown.min(ACROSS);
    let down = shown.div_ceil(ACROSS);
    // As wide as four filters, so that the scale has room below.
    let left = 62.0 + 0.5 * (ACROSS - across) as f64 * (SIDE + 14.0);
    let height = SIDE * rows as f64 / columns as f64;
    let pitch = height + 34.0;
    let mut drawing = Drawing::new(600.0, 30.0 + pitch * down as f64 + 88.0);
    for (filter, weights) in weights
        .chunks(channels * rows * columns)
        .take(shown)
        .enumerate()
    {
        let at = [
            left + (SIDE + 14.0) * (filter % ACROSS) as f64,
            26.0 + pitch * (filter / ACROSS) as f64,
        ];
        let picture = Picture::new(
            &weights[..rows * columns],
            columns,
            ColourMap::Diverging,
            range,
        );
        drawing.image(at, [SIDE, height], picture);
        drawing.frame(at, [SIDE, height]);
        let above = [at[0] + 0.5 * SIDE, at[1] - 11.0];
        drawing.text(
            above,
            Anchor::Middle,
            Ink::Text,
            format!("filter {}", filter + 1),
        );
    }
    let cell_mpc = model.description.cell_mpc;
    let first = [left - 14.0, 26.0 + 0.5 * height];
    let side = format!("sky, {:.3} Mpc", rows as f64 * cell_mpc);
    drawing.upright_text(first, Ink::Muted, trimmed(&side));
    let below = [left, 26.0 + pitch * (down - 1) as f64 + height + 14.0];
    let depth = format!("line of sight, {:.3} Mpc", columns as f64 * cell_mpc);
    drawing.text(below, Anchor::Start, Ink::Muted, trimmed(&depth));
    let bar = [150.0, 30.0 + pitch * down as f64 + 24.0];
    lying_colour_bar(
        &mut drawing,
        bar,
        [340.0, 14.0],
        ColourMap::Diverging,
        range,
        "weight",
    );
    Some(drawing)
}

/// A length without zeros at the end of its decimals.
fn trimmed(text: &str) -> String {
    let (number, unit) = text.rsplit_once(' ').unwrap_or((text, ""));
    let number = number.trim_end_matches('0').trim_end_matches('.');
    format!("{number} {unit}")
}
