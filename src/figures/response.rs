//! The response of the first layer to an image (figure A2 of Gillet et al. 2019).

use super::colour_map::{ColourMap, Picture};
use super::drawing::{Anchor, Drawing, Point};
use super::light_cones::{LEFT, RIGHT, TOP, WIDTH};
use super::palette::Ink;
use super::strip::{SkyImage, lying_colour_bar, sky_image};
use crate::evaluation::sensitivity::Response;

/// Filters that are shown.
const MOST: usize = 16;

/// The scale of a map ends where this share of its cells lies below.
const SHARE_BELOW: f64 = 0.998;

/// The image on top, then the map of each filter from zero upwards, on its own scale, where the filter was
/// centred.
pub(super) fn draw(image: &SkyImage, response: &Response) -> Drawing {
    let shown = response.maps.len().min(MOST);
    let height = image.natural_height(WIDTH, [60.0, 130.0]);
    let [rows, columns] = response.shape;
    let cells = image.cells_mk.len() / image.columns;
    let map_size = [
        WIDTH * columns as f64 / image.columns as f64,
        height * rows as f64 / cells as f64,
    ];
    let (top, pitch) = (TOP, height + 8.0);
    let bottom = top + pitch * (shown + 1) as f64 - 8.0;
    let mut drawing = Drawing::new(LEFT + WIDTH + RIGHT, bottom + 96.0);
    sky_image(&mut drawing, image, [LEFT, top], [WIDTH, height]);
    for (filter, map) in response.maps.iter().take(shown).enumerate() {
        let most = largest(map);
        let at = [
            LEFT + 0.5 * (WIDTH - map_size[0]),
            top + pitch * (filter + 1) as f64 + 0.5 * (height - map_size[1]),
        ];
        draw_map(&mut drawing, at, map_size, map, columns, most);
        let middle = at[1] + 0.5 * map_size[1];
        let name = format!("filter {}", filter + 1);
        drawing.text([LEFT - 9.0, middle], Anchor::End, Ink::Text, name);
        let most = match most > 0.0 {
            true => format!("{most:.3}"),
            false => "silent".to_string(),
        };
        let right = [LEFT + WIDTH + 9.0, middle];
        drawing.text(right, Anchor::Start, Ink::Muted, most);
    }
    image
        .line
        .redshift_axis(&mut drawing, [LEFT, bottom], WIDTH);
    let bar = [LEFT + 0.5 * WIDTH - 130.0, bottom + 52.0];
    let name = "response, as a share of the value at the right";
    lying_colour_bar(
        &mut drawing,
        [bar[0] + 180.0, bar[1]],
        [220.0, 12.0],
        ColourMap::Sequential,
        [0.0, 1.0],
        name,
    );
    drawing
}

/// The response that nearly all cells stay below; of a map with fewer cells that respond, the maximum.
fn largest(map: &[f32]) -> f64 {
    let mut sorted = map.to_vec();
    sorted.sort_by(f32::total_cmp);
    let below = (sorted.len().saturating_sub(1) as f64 * SHARE_BELOW) as usize;
    let maximum = sorted.last().copied().unwrap_or(0.0);
    let usual = sorted.get(below).copied().unwrap_or(0.0);
    f64::from(if usual > 0.0 { usual } else { maximum }).max(0.0)
}

fn draw_map(drawing: &mut Drawing, at: Point, size: Point, map: &[f32], columns: usize, most: f64) {
    let range = [0.0, most.max(f64::MIN_POSITIVE)];
    let picture = Picture::new(map, columns, ColourMap::Sequential, range);
    drawing.image(at, size, picture);
    drawing.frame(at, size);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_strong_cells_do_not_set_the_scale_unless_they_are_all() {
        let mut map = vec![1.0; 10_000];
        map[7] = 90.0;
        assert!((largest(&map) - 1.0).abs() < 1e-12);
        let mut map = vec![0.0; 10_000];
        map[7] = 90.0;
        assert!((largest(&map) - 90.0).abs() < 1e-12);
        assert!(largest(&[0.0; 4]).abs() < 1e-12);
    }
}
