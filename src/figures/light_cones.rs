//! Images of two light-cones, one above the other (figure 1 of Gillet et al. 2019).

use super::drawing::{Anchor, Drawing};
use super::label::Label;
use super::palette::Ink;
use super::strip::{SkyImage, strip, temperature_bar};

/// Length of a strip in pixels.
pub(super) const WIDTH: f64 = 760.0;
/// Left end of the strips.
pub(super) const LEFT: f64 = 84.0;
/// Room to the right of the strips, for scales.
pub(super) const RIGHT: f64 = 92.0;

/// Room above the first strip, for the axis of frequencies.
pub(super) const TOP: f64 = 50.0;

/// Draws images with a name above each, lowest redshift to the left.
pub(super) fn draw(images: &[(Label, SkyImage)]) -> Drawing {
    let Some((_, first)) = images.first() else {
        return Drawing::new(LEFT + WIDTH + RIGHT, 1.0);
    };
    let height = first.natural_height(WIDTH, [76.0, 160.0]);
    let pitch = height + 32.0;
    let top = TOP + 20.0;
    let tall = pitch * (images.len() - 1) as f64 + height;
    let mut drawing = Drawing::new(LEFT + WIDTH + RIGHT, top + tall + 48.0);
    for (index, (name, image)) in images.iter().enumerate() {
        let at = [LEFT, top + pitch * index as f64];
        let side = image.side_mpc();
        strip(&mut drawing, at, [WIDTH, height], image.picture(), side);
        // That of the first one lies above the frequencies.
        let above = if index == 0 { 12.0 } else { at[1] - 14.0 };
        drawing.text([LEFT, above], Anchor::Start, Ink::Text, name.clone());
    }
    first.line.frequency_axis(&mut drawing, [LEFT, top], WIDTH);
    first
        .line
        .redshift_axis(&mut drawing, [LEFT, top + tall], WIDTH);
    temperature_bar(&mut drawing, [LEFT + WIDTH + 18.0, top], [14.0, tall]);
    drawing
}
