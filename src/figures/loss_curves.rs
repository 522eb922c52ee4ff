//! Training and validation loss by epoch (figure 4 of Gillet et al. 2019).

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use super::style::{BLUE, CAPTION, Canvas, DrawingError, GREY, LABEL, LIGHT_GREY, VERMILION};
use super::{FigureError, write_svg};
use crate::run_directory::RunDirectory;
use crate::training::history::EpochRecord;

/// Draws `figures/loss_curves.svg`: both losses on a log axis, with a line where the learning rate fell.
///
/// # Errors
/// [`FigureError`] when the figure cannot be drawn or written.
pub fn write(run: &RunDirectory, history: &[EpochRecord]) -> Result<(), FigureError> {
    let path = run.figures().join("loss_curves.svg");
    write_svg(&path, (820, 460), |canvas| draw(canvas, history))
}

fn draw(canvas: Canvas<'_>, history: &[EpochRecord]) -> Result<(), DrawingError> {
    let losses = history
        .iter()
        .flat_map(|record| [record.train_loss, record.validation_loss])
        .filter(|loss| loss.is_finite() && *loss > 0.0);
    let (low, high) = losses.fold((f64::INFINITY, 0.0_f64), |(low, high), loss| {
        (low.min(loss), high.max(loss))
    });
    // A history without positive losses still gets axes.
    let range = if low < high {
        low / 1.2..high * 1.2
    } else {
        1e-3..1.0
    };
    draw_axes(canvas, history, range.log_scale())
}

fn draw_axes<Y>(canvas: Canvas<'_>, history: &[EpochRecord], y_axis: Y) -> Result<(), DrawingError>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    canvas.fill(&WHITE)?;
    let last = history.last().map_or(1, |record| record.epoch) as f64;
    let mut chart = ChartBuilder::on(&canvas)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(0.5..last + 0.5, y_axis)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(LIGHT_GREY)
        .x_desc("epoch")
        .y_desc("mean squared error of scaled parameters")
        .x_label_formatter(&|epoch| format!("{epoch:.0}"))
        .y_label_formatter(&|loss| format!("{loss:.1e}"))
        .label_style(LABEL)
        .axis_desc_style(CAPTION)
        .draw()?;
    let curve = |loss: fn(&EpochRecord) -> f64| {
        let points = history
            .iter()
            .map(move |record| (record.epoch as f64, loss(record)));
        points.filter(|(_, loss)| loss.is_finite() && *loss > 0.0)
    };
    let bounds = curve(|r| r.train_loss).chain(curve(|r| r.validation_loss));
    let (low, high) = bounds.fold((f64::INFINITY, 0.0_f64), |(low, high), (_, loss)| {
        (low.min(loss), high.max(loss))
    });
    for pair in history.windows(2) {
        if pair[1].learning_rate < pair[0].learning_rate {
            let x = pair[1].epoch as f64 - 0.5;
            let step = DashedLineSeries::new([(x, low), (x, high)], 4, 4, GREY.stroke_width(1));
            chart.draw_series(step)?;
        }
    }
    for (name, colour, loss) in [
        (
            "training",
            BLUE,
            (|r| r.train_loss) as fn(&EpochRecord) -> f64,
        ),
        ("validation", VERMILION, |r| r.validation_loss),
    ] {
        chart
            .draw_series(LineSeries::new(curve(loss), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .border_style(LIGHT_GREY)
        .label_font(LABEL)
        .draw()?;
    canvas.present()
}
