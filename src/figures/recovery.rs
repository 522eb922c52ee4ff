//! Predicted against true values of one parameter, with the residuals as functions of both (figure 5 of
//! Gillet et al. 2019).

use super::drawing::{Anchor, Drawing, LETTERS, Shape, TITLE};
use super::label::{Label, latex, symbol, symbol_and_unit};
use super::palette::{Ink, LEVELS};
use super::panel::{Axis, Panel, number, symmetric_ticks};
use super::paper::{self, Recovered};
use crate::data::manifest::ParameterDescription;
use crate::evaluation::metrics::{self, Pair};
use crate::evaluation::residuals::{Along, ResidualBin, bin_count, binned, histogram};

/// Cells of the histogram along each side, as in the paper.
const CELLS: usize = 25;
/// Place of the histogram.
const MAIN: ([f64; 2], f64) = ([180.0, 58.0], 264.0);
/// Depth of the panels beside it.
const SIDE: f64 = 88.0;
const GAP: f64 = 14.0;

/// Draws one parameter: the histogram in the middle, recovery uncertainty `u` to its left, network error
/// `epsilon` below.
pub(super) fn draw(parameter: &ParameterDescription, pairs: &[Pair]) -> Drawing {
    let (at, side) = MAIN;
    let mut drawing = Drawing::new(526.0, 470.0);
    let score = metrics::r2(pairs).map_or("undefined".to_string(), |r2| number(r2, 1e-3));
    let title = symbol(parameter)
        .then(":  ")
        .then(latex("R^2"))
        .then(format!(" = {score}"));
    let middle = at[0] + 0.5 * side;
    drawing.text_of_size([middle, 14.0], Anchor::Middle, Ink::Text, TITLE, title);

    let range = [parameter.min, parameter.max];
    let axis = Axis::linear(range[0], range[1]);
    let main = Panel {
        at,
        size: [side, side],
        x: axis,
        y: axis,
    };
    let most = draw_histogram(&mut drawing, &main, pairs, range);
    let ends = vec![
        main.place(range[0], range[0]),
        main.place(range[1], range[1]),
    ];
    drawing.dashed_line(ends, 1.0, Ink::Muted);

    let bins = bin_count(pairs.len());
    let recovery = binned(pairs, Along::Prediction, range, bins);
    let error = binned(pairs, Along::Truth, range, bins);
    let galaxies = paper::gm18(parameter);
    let left = Panel {
        at: [at[0] - GAP - SIDE, at[1]],
        size: [SIDE, side],
        x: residual_axis(&recovery, galaxies.iter().flatten()),
        y: axis,
    };
    let below = Panel {
        at: [at[0], at[1] + side + GAP],
        size: [side, SIDE],
        x: axis,
        y: residual_axis(&error, [].iter()),
    };
    draw_residuals(&mut drawing, &left, &recovery, true);
    draw_residuals(&mut drawing, &below, &error, false);
    if let Some(galaxies) = galaxies {
        draw_gm18(&mut drawing, [&main, &left], galaxies);
    }
    for panel in [&main, &left, &below] {
        panel.frame(&mut drawing);
    }

    left.vertical_axis(&mut drawing, 5, true);
    main.horizontal_axis(&mut drawing, 5, false);
    below.horizontal_axis(&mut drawing, 5, true);
    residual_numbers(&mut drawing, &left, &below);
    let unit = symbol_and_unit(parameter);
    left.vertical_name(
        &mut drawing,
        56.0,
        Label::from("predicted ").then(unit.clone()),
    );
    below.horizontal_name(&mut drawing, Label::from("true ").then(unit));
    below.vertical_name(&mut drawing, 58.0, latex(r"\epsilon"));
    draw_scale(&mut drawing, most);
    drawing
}

/// Counts as squares; returns the largest one.
fn draw_histogram(drawing: &mut Drawing, panel: &Panel, pairs: &[Pair], range: [f64; 2]) -> usize {
    let counts = histogram(pairs, range, CELLS);
    let most = counts.iter().copied().max().unwrap_or(0);
    let cell = panel.size[0] / CELLS as f64;
    for (index, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (row, column) = (index / CELLS, index % CELLS);
        let at = [
            panel.at[0] + cell * column as f64,
            panel.at[1] + panel.size[1] - cell * (row + 1) as f64,
        ];
        drawing.rectangle(at, [cell, cell], Ink::Level(level(count, most)));
    }
    most
}

/// How far along the scale of counts a number is: logarithmic, as the paper's `log10(N + 1)`. The scale
/// reaches to 9 at least, so that single images look the same in every figure of few.
fn share(count: usize, most: usize) -> f64 {
    (count as f64 + 1.0).ln() / (most.max(LEVELS - 1) as f64 + 1.0).ln()
}

fn level(count: usize, most: usize) -> usize {
    ((share(count, most) * LEVELS as f64).ceil() as usize).clamp(1, LEVELS) - 1
}

/// The scale of counts, to the right.
fn draw_scale(drawing: &mut Drawing, most: usize) {
    let (at, side) = MAIN;
    let (left, width) = (at[0] + side + 16.0, 14.0);
    let step = side / LEVELS as f64;
    for level in 0..LEVELS {
        let y = at[1] + side - step * (level + 1) as f64;
        drawing.rectangle([left, y], [width, step], Ink::Level(level));
    }
    drawing.frame([left, at[1]], [width, side]);
    let mut last = f64::INFINITY;
    let round = (0..7).flat_map(|power| [1, 2, 5].map(|factor| factor * 10_usize.pow(power)));
    for count in round.take_while(|&count| count <= most.max(LEVELS - 1)) {
        let y = at[1] + side * (1.0 - share(count, most));
        if last - y >= LETTERS {
            let right = left + width;
            drawing.line(vec![[right, y], [right + 5.0, y]], 1.0, Ink::Text);
            let text = count.to_string();
            drawing.text([right + 8.0, y], Anchor::Start, Ink::Text, text);
            last = y;
        }
    }
    let middle = [left + width + 42.0, at[1] + 0.5 * side];
    drawing.upright_text(middle, Ink::Text, "images");
}

/// Symmetric around zero, as wide as the residuals with their spreads, and those of GM18's medians.
fn residual_axis<'a>(bins: &[ResidualBin], galaxies: impl Iterator<Item = &'a Recovered>) -> Axis {
    let reach = bins
        .iter()
        .filter_map(|bin| Some(bin.mean?.abs() + bin.sigma.unwrap_or(0.0)))
        .chain(galaxies.map(|galaxy| (galaxy.median - galaxy.truth).abs()))
        .fold(0.0, f64::max);
    let reach = if reach > 0.0 { 1.1 * reach } else { 1.0 };
    Axis::linear(-reach, reach)
}

/// Means as steps, spreads as bars; `sideways` with the residual along the horizontal axis.
fn draw_residuals(drawing: &mut Drawing, panel: &Panel, bins: &[ResidualBin], sideways: bool) {
    let place = |value: f64, residual: f64| {
        if sideways {
            panel.place(residual, value)
        } else {
            panel.place(value, residual)
        }
    };
    if let (Some(first), Some(last)) = (bins.first(), bins.last()) {
        let ends = vec![place(first.low, 0.0), place(last.high, 0.0)];
        drawing.line(ends, 1.0, Ink::Muted);
    }
    for bin in bins {
        let (Some(mean), middle) = (bin.mean, 0.5 * (bin.low + bin.high)) else {
            continue;
        };
        if let Some(sigma) = bin.sigma {
            let ends = vec![place(middle, mean - sigma), place(middle, mean + sigma)];
            drawing.line(ends, 1.5, Ink::Blue);
        }
    }
    // A gap where there is no image.
    for filled in bins.split(|bin| bin.mean.is_none()) {
        let steps = filled.iter().flat_map(|bin| {
            let mean = bin.mean.unwrap_or(0.0);
            [place(bin.low, mean), place(bin.high, mean)]
        });
        drawing.line(steps.collect(), 2.0, Ink::Blue);
    }
}

/// What the power spectrum recovers of GM18's galaxies, with its errors.
fn draw_gm18(drawing: &mut Drawing, [main, left]: [&Panel; 2], galaxies: [Recovered; 2]) {
    let shapes = [Shape::TriangleUp, Shape::TriangleDown];
    for (
        Recovered {
            truth,
            median,
            errors,
        },
        shape,
    ) in galaxies.into_iter().zip(shapes)
    {
        let ends = [median - errors[1], median + errors[0]];
        let upright = ends.map(|end| main.place(truth, end)).to_vec();
        // To the left the error runs along the residual.
        let lying = ends.map(|end| left.place(end - truth, median)).to_vec();
        drawing.line(upright, 1.5, Ink::Vermilion);
        drawing.line(lying, 1.5, Ink::Vermilion);
        for at in [
            main.place(truth, median),
            left.place(median - truth, median),
        ] {
            drawing.symbol(at, shape, 5.0, Ink::Vermilion);
        }
    }
    for (index, (name, shape)) in ["faint", "bright"].into_iter().zip(shapes).enumerate() {
        // In the corner below the left panel.
        let at = [18.0, left.at[1] + left.size[1] + 56.0 + 18.0 * index as f64];
        drawing.symbol(at, shape, 5.0, Ink::Vermilion);
        let at = [at[0] + 12.0, at[1]];
        drawing.text(at, Anchor::Start, Ink::Text, format!("GM18 {name}"));
    }
}

/// Numbers of the residuals: above the left panel, since below it they would meet those of the lower one.
fn residual_numbers(drawing: &mut Drawing, left: &Panel, below: &Panel) {
    let top = left.at[1];
    for tick in symmetric_ticks(left.x.high) {
        let x = left.column(tick.value);
        drawing.line(vec![[x, top - 5.0], [x, top]], 1.0, Ink::Text);
        if let Some(label) = tick.label {
            drawing.text([x, top - 17.0], Anchor::Middle, Ink::Text, label);
        }
    }
    let middle = [left.at[0] + 0.5 * SIDE, top + left.size[1] + 14.0];
    drawing.text(middle, Anchor::Middle, Ink::Text, latex("u"));
    let edge = below.at[0];
    for tick in symmetric_ticks(below.y.high) {
        let y = below.row(tick.value);
        drawing.line(vec![[edge - 5.0, y], [edge, y]], 1.0, Ink::Text);
        if let Some(label) = tick.label {
            drawing.text([edge - 8.0, y], Anchor::End, Ink::Text, label);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_span_the_scale() {
        assert_eq!(level(9, 1), LEVELS - 1);
        assert_eq!(level(200, 200), LEVELS - 1);
        assert_eq!(level(1, 1), level(1, 9));
        assert!(level(1, 200) <= 1);
        let levels: Vec<usize> = (1..=50).map(|count| level(count, 50)).collect();
        assert!(levels.is_sorted());
    }
}
