//! Saliency maps: how each parameter would answer to a change of each cell of an image.

use super::colour_map::{ColourMap, Picture};
use super::drawing::{Anchor, Drawing, Point};
use super::label::{Label, power_of_ten, symbol};
use super::light_cones::{LEFT, RIGHT, TOP, WIDTH};
use super::palette::{Ink, SERIES};
use super::panel::{Axis, Panel, Series};
use super::strip::{SkyImage, lying_colour_bar, sky_image};
use crate::data::manifest::ParameterDescription;

/// The scale of a map ends where this share of its cells lies within: a few strong cells would pale all
/// others.
const SHARE_WITHIN: f64 = 0.995;
/// Columns over which sensitivities by redshift are averaged, as a share of all.
const SMOOTHING: f64 = 0.02;

/// The image on top, then the map of each parameter in its unit per mK, and below them the sensitivity by
/// redshift: the root mean square over the sky, relative to its own maximum.
pub(super) fn draw(
    image: &SkyImage,
    parameters: &[ParameterDescription],
    maps: &[Vec<f32>],
) -> Drawing {
    let height = image.natural_height(WIDTH, [60.0, 130.0]);
    let (top, pitch) = (TOP, height + 8.0);
    let bottom = top + pitch * (maps.len() + 1) as f64 - 8.0;
    let mut drawing = Drawing::new(LEFT + WIDTH + RIGHT, bottom + 314.0);
    sky_image(&mut drawing, image, [LEFT, top], [WIDTH, height]);
    for (index, (map, parameter)) in maps.iter().zip(parameters).enumerate() {
        let at = [LEFT, top + pitch * (index + 1) as f64];
        let reach = reach(map);
        let range = [-reach.max(f64::MIN_POSITIVE), reach.max(f64::MIN_POSITIVE)];
        let picture = Picture::new(map, image.columns, ColourMap::Diverging, range);
        drawing.image(at, [WIDTH, height], picture);
        drawing.frame(at, [WIDTH, height]);
        let middle = at[1] + 0.5 * height;
        let name = symbol(parameter);
        drawing.text(
            [LEFT - 9.0, middle],
            Anchor::End,
            Ink::Text,
            shortened(name),
        );
        let right = [LEFT + WIDTH + 9.0, middle];
        drawing.text(right, Anchor::Start, Ink::Muted, reach_label(reach));
    }
    let bar = [LEFT + 0.5 * WIDTH + 20.0, bottom + 18.0];
    let name = "derivative per mK, relative to the value at the right";
    lying_colour_bar(
        &mut drawing,
        bar,
        [220.0, 12.0],
        ColourMap::Diverging,
        [-1.0, 1.0],
        name,
    );
    draw_sensitivity(&mut drawing, image, parameters, maps, [LEFT, bottom + 96.0]);
    drawing
}

/// Symbols of logarithms without the logarithm: the room beside a strip is narrow.
fn shortened(symbol: Label) -> Label {
    let is_log = symbol.runs.first().is_some_and(|run| run.text == "log");
    if !is_log {
        return symbol;
    }
    let mut runs = symbol.runs;
    runs.drain(..runs.len().min(2));
    if let Some(first) = runs.first_mut() {
        first.text = first.text.trim_start().to_string();
    }
    Label::from("log ").then(Label { runs })
}

/// The magnitude that most cells stay below.
fn reach(map: &[f32]) -> f64 {
    let mut magnitudes: Vec<f32> = map.iter().map(|value| value.abs()).collect();
    magnitudes.sort_by(f32::total_cmp);
    let index = (magnitudes.len().saturating_sub(1)) as f64 * SHARE_WITHIN;
    magnitudes
        .get(index as usize)
        .map_or(0.0, |&m| f64::from(m))
}

/// `+-1.2 x 10^-4`.
fn reach_label(reach: f64) -> Label {
    if reach <= 0.0 {
        return "none".into();
    }
    let exponent = reach.log10().floor() as i32;
    let factor = reach / 10_f64.powi(exponent);
    Label::from(format!("\u{b1}{factor:.1}\u{d7}")).then(power_of_ten(exponent))
}

fn draw_sensitivity(
    drawing: &mut Drawing,
    image: &SkyImage,
    parameters: &[ParameterDescription],
    maps: &[Vec<f32>],
    at: Point,
) {
    let panel = Panel {
        at,
        size: [WIDTH, 170.0],
        x: Axis::linear(0.0, 1.0),
        y: Axis::linear(0.0, 1.05),
    };
    panel.horizontal_grid(drawing, 5);
    let mut legend = Vec::new();
    for (index, (map, parameter)) in maps.iter().zip(parameters).enumerate() {
        let ink = SERIES[index % SERIES.len()];
        let name = symbol(parameter);
        // Beyond as many lines as there are inks, dashes tell them apart.
        let series = match index / SERIES.len() % 2 {
            0 => Series::solid(name, ink),
            _ => Series::dashed(name, ink),
        };
        let curve = by_column(map, image.columns);
        let most = curve.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let points = curve.iter().enumerate().map(|(column, value)| {
            panel.place((column as f64 + 0.5) / curve.len() as f64, value / most)
        });
        drawing.path(points.collect(), &series);
        legend.push(series);
    }
    panel.frame(drawing);
    panel.vertical_axis(drawing, 5, true);
    panel.vertical_name(drawing, 46.0, "relative sensitivity");
    panel.legend_above(drawing, &legend);
    image
        .line
        .redshift_axis(drawing, [at[0], at[1] + 170.0], WIDTH);
}

/// Root mean square of each column, averaged over its neighbours.
fn by_column(map: &[f32], columns: usize) -> Vec<f64> {
    let mut squares = vec![0.0; columns];
    for row in map.chunks_exact(columns) {
        for (sum, value) in squares.iter_mut().zip(row) {
            *sum += f64::from(*value).powi(2);
        }
    }
    let rows = (map.len() / columns.max(1)).max(1) as f64;
    let half = (0.5 * SMOOTHING * columns as f64) as usize;
    (0..columns)
        .map(|column| {
            let near = &squares[column.saturating_sub(half)..(column + half + 1).min(columns)];
            (near.iter().sum::<f64>() / near.len() as f64 / rows).sqrt()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::label::latex;

    #[test]
    fn sensitivity_is_the_root_mean_square_of_a_column() {
        let curve = by_column(&[3.0, 0.0, 4.0, 0.0], 2);
        assert!((curve[0] - 12.5_f64.sqrt()).abs() < 1e-12 && curve[1].abs() < 1e-12);
    }

    #[test]
    fn single_strong_cells_do_not_set_the_scale() {
        let mut map: Vec<f32> = vec![1.0; 1000];
        map[3] = 50.0;
        assert!((reach(&map) - 1.0).abs() < 1e-12);
        assert!(reach(&[]).abs() < 1e-12);
        assert_eq!(reach_label(0.000_123).plain(), "\u{b1}1.2\u{d7}10\u{2212}4");
        assert_eq!(reach_label(0.0).plain(), "none");
    }

    #[test]
    fn logarithms_are_shortened() {
        let short = shortened(latex(r"\log_{10} T_{\rm vir}"));
        assert_eq!(short.html(), "log <i>T</i><sub>vir</sub>");
        assert_eq!(shortened(latex(r"\zeta")).html(), "<i>\u{3b6}</i>");
    }
}
