//! Predicted against true parameters, one panel each (compare figure 5 of Gillet et al. 2019).

use plotters::prelude::*;

use super::style::{BLUE, CAPTION, Canvas, DrawingError, GREY, LABEL, LIGHT_GREY};
use super::{FigureError, write_svg};
use crate::data::manifest::ParameterDescription;
use crate::evaluation::metrics::{self, Pair};
use crate::evaluation::prediction::ImagePrediction;
use crate::run_directory::RunDirectory;

/// Side of a panel in pixels.
const PANEL: u32 = 380;

/// Draws `figures/recovery.svg`.
///
/// # Errors
/// [`FigureError`] when the figure cannot be drawn or written.
pub fn write(
    run: &RunDirectory,
    predictions: &[ImagePrediction],
    parameters: &[ParameterDescription],
) -> Result<(), FigureError> {
    let path = run.figures().join("recovery.svg");
    let columns = parameters.len().min(2);
    let rows = parameters.len().div_ceil(columns.max(1));
    let size = (PANEL * columns as u32, PANEL * rows as u32);
    write_svg(&path, size, |canvas| {
        canvas.fill(&WHITE)?;
        let panels = canvas.split_evenly((rows, columns));
        for (index, (parameter, panel)) in parameters.iter().zip(&panels).enumerate() {
            let pairs: Vec<Pair> = predictions.iter().map(|p| p.parameters[index]).collect();
            draw_panel(panel, parameter, &pairs)?;
        }
        canvas.present()
    })
}

fn draw_panel(
    panel: &Canvas<'_>,
    parameter: &ParameterDescription,
    pairs: &[Pair],
) -> Result<(), DrawingError> {
    let ParameterDescription {
        name,
        unit,
        min,
        max,
        ..
    } = parameter;
    let margin = 0.05 * (max - min);
    let range = min - margin..max + margin;
    let label = match unit.is_empty() {
        true => name.clone(),
        false => format!("{name} [{unit}]"),
    };
    let score = metrics::r2(pairs).map_or("undefined".to_string(), |r2| format!("{r2:.3}"));
    let mut chart = ChartBuilder::on(panel)
        .margin(10)
        .caption(format!("{label}   R2 {score}"), CAPTION)
        .x_label_area_size(40)
        .y_label_area_size(62)
        .build_cartesian_2d(range.clone(), range)?;
    chart
        .configure_mesh()
        .x_labels(5)
        .y_labels(5)
        .light_line_style(TRANSPARENT)
        .bold_line_style(LIGHT_GREY)
        .x_desc("true")
        .y_desc("predicted")
        .label_style(LABEL)
        .axis_desc_style(LABEL)
        .draw()?;
    let diagonal = [(*min, *min), (*max, *max)];
    chart.draw_series(LineSeries::new(diagonal, GREY.stroke_width(1)))?;
    // Predictions beyond the frame are drawn on its edge, not left out.
    let clamp = |value: f64| value.clamp(min - margin, max + margin);
    let points = pairs.iter().map(|pair| {
        Circle::new(
            (clamp(pair.truth), clamp(pair.prediction)),
            3,
            BLUE.mix(0.6).filled(),
        )
    });
    chart.draw_series(points)?;
    Ok(())
}
