//! Training and validation loss by epoch (figure 4 of Gillet et al. 2019).

use super::drawing::{Drawing, Shape};
use super::palette::Ink;
use super::panel::{Axis, Panel, Series};
use crate::training::history::EpochRecord;

/// Both losses on a logarithmic axis, a dashed line at each step of the learning rate, and a dot on the epoch
/// whose weights are kept.
pub(super) fn draw(history: &[EpochRecord]) -> Drawing {
    let mut drawing = Drawing::new(680.0, 420.0);
    let losses = history
        .iter()
        .flat_map(|record| [record.train_loss, record.validation_loss])
        .filter(|loss| is_drawn(*loss));
    let (low, high) = losses.fold((f64::INFINITY, 0.0_f64), |(low, high), loss| {
        (low.min(loss), high.max(loss))
    });
    // A history without positive losses still gets axes.
    let (low, high) = if low <= high {
        (low, high)
    } else {
        (1e-3, 1.0)
    };
    let last = history.last().map_or(1, |record| record.epoch) as f64;
    let panel = Panel {
        at: [86.0, 16.0],
        size: [576.0, 340.0],
        x: Axis::linear(0.5, last + 0.5),
        y: Axis::logarithmic(low / 1.2, high * 1.35),
    };
    panel.horizontal_grid(&mut drawing, 5);
    let steps = rate_steps(history);
    for epoch in &steps {
        let x = panel.column(*epoch as f64 - 0.5);
        let ends = vec![[x, panel.at[1]], [x, panel.at[1] + panel.size[1]]];
        drawing.dashed_line(ends, 1.0, Ink::Muted);
    }
    for (ink, loss) in [
        (Ink::Blue, (|r| r.train_loss) as fn(&EpochRecord) -> f64),
        (Ink::Vermilion, |r| r.validation_loss),
    ] {
        let drawn = history.iter().filter(|record| is_drawn(loss(record)));
        let points = drawn.map(|record| panel.place(record.epoch as f64, loss(record)));
        drawing.line(points.collect(), 2.0, ink);
    }
    let kept = history.iter().filter(|r| is_drawn(r.validation_loss));
    let kept = kept.min_by(|a, b| a.validation_loss.total_cmp(&b.validation_loss));
    if let Some(kept) = kept {
        let at = panel.place(kept.epoch as f64, kept.validation_loss);
        drawing.symbol(at, Shape::Circle, 4.5, Ink::Vermilion);
    }
    panel.frame(&mut drawing);
    panel.horizontal_axis(&mut drawing, 10, true);
    panel.vertical_axis(&mut drawing, 5, true);
    panel.horizontal_name(&mut drawing, "epoch");
    panel.vertical_name(
        &mut drawing,
        68.0,
        "mean squared error of scaled parameters",
    );
    let mut series = vec![
        Series::solid("training", Ink::Blue),
        Series::solid("validation (dot: kept weights)", Ink::Vermilion),
    ];
    if !steps.is_empty() {
        series.push(Series::dashed("learning rate lowered", Ink::Muted));
    }
    panel.legend(&mut drawing, &series);
    drawing
}

/// Epochs at whose start the learning rate was lowered; none of a rate that falls most of the time, whose
/// lines would only hatch the figure.
fn rate_steps(history: &[EpochRecord]) -> Vec<u64> {
    let lowered = history
        .windows(2)
        .filter(|pair| pair[1].learning_rate < pair[0].learning_rate);
    let steps: Vec<u64> = lowered.map(|pair| pair[1].epoch).collect();
    if 2 * steps.len() > history.len() {
        return Vec::new();
    }
    steps
}

fn is_drawn(loss: f64) -> bool {
    loss.is_finite() && loss > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(rates: &[f64]) -> Vec<EpochRecord> {
        let records = rates
            .iter()
            .zip(1..)
            .map(|(&learning_rate, epoch)| EpochRecord {
                epoch,
                train_loss: 0.1,
                validation_loss: 0.1,
                validation_r2: Vec::new(),
                learning_rate,
                seconds: 1.0,
                images_per_second: 1.0,
            });
        records.collect()
    }

    #[test]
    fn steps_of_the_rate_are_marked_and_a_steady_fall_is_not() {
        let halved = history(&[1.0, 1.0, 0.5, 0.5, 0.5, 0.25]);
        assert_eq!(rate_steps(&halved), [3, 6]);
        let cosine = history(&[0.5, 1.0, 0.9, 0.7, 0.4, 0.1]);
        assert!(rate_steps(&cosine).is_empty());
    }
}
