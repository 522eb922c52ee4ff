//! A panel of a figure: a rectangle with two axes, their ticks and names.

use super::drawing::{Anchor, Drawing, LETTERS, Point};
use super::label::{Label, power_of_ten};
use super::palette::Ink;

/// Length of a tick in pixels.
const TICK: f64 = 5.0;

/// The numbers along one side of a panel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    pub(super) low: f64,
    pub(super) high: f64,
    logarithmic: bool,
}

/// A mark on an axis, with its number where there is room.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: Option<Label>,
}

impl Axis {
    /// A linear axis; one without extent is widened.
    pub(super) fn linear(low: f64, high: f64) -> Self {
        let (low, high) = if high > low {
            (low, high)
        } else {
            let half = (0.05 * low.abs()).max(0.5);
            (low - half, low + half)
        };
        Self {
            low,
            high,
            logarithmic: false,
        }
    }

    /// A logarithmic axis over positive numbers.
    pub(super) fn logarithmic(low: f64, high: f64) -> Self {
        let high = if high > low { high } else { 10.0 * low };
        Self {
            low,
            high,
            logarithmic: true,
        }
    }

    /// How far along a number lies, 0 at the low end and 1 at the high end.
    pub(super) fn share(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// About `count` ticks.
    pub(super) fn ticks(&self, count: usize) -> Vec<Tick> {
        if self.logarithmic {
            return self.logarithmic_ticks();
        }
        let step = nice_step(self.high - self.low, count as f64);
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        let values = (first..=last).map(|i| i as f64 * step);
        values
            .map(|value| Tick {
                value,
                label: Some(number(value, step).into()),
            })
            .collect()
    }

    /// Multiples of powers of ten: all marked, numbered as far apart as makes two numbers at least.
    fn logarithmic_ticks(&self) -> Vec<Tick> {
        let (first, last) = (
            self.low.log10().floor() as i32,
            self.high.log10().ceil() as i32,
        );
        let inside =
            |value: f64| value >= self.low * (1.0 - 1e-9) && value <= self.high * (1.0 + 1e-9);
        let powers = (first..=last).filter(|&e| inside(10_f64.powi(e))).count();
        let numbered: &[i32] = match powers {
            0 => &[1, 2, 3, 4, 5, 6, 7, 8, 9],
            1 => &[1, 2, 5],
            _ => &[1],
        };
        (first..=last)
            .flat_map(|exponent| (1..10).map(move |factor| (factor, exponent)))
            .map(|(factor, exponent)| {
                let label = match factor {
                    1 => power_of_ten(exponent),
                    _ => Label::from(format!("{factor}\u{d7}")).then(power_of_ten(exponent)),
                };
                Tick {
                    value: f64::from(factor) * 10_f64.powi(exponent),
                    label: numbered.contains(&factor).then_some(label),
                }
            })
            .filter(|tick| inside(tick.value))
            .collect()
    }
}

/// A step of 1, 2 or 5 times a power of ten that divides `range` into at most `count` parts.
pub(super) fn nice_step(range: f64, count: f64) -> f64 {
    let power = 10_f64.powf((range / count).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| range / step <= count * (1.0 + 1e-9))
        .unwrap_or(10.0 * power)
}

/// A number with the decimals that a step of `step` needs, and a real minus.
pub(super) fn number(value: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.decimals$}");
    let zero = text
        .trim_start_matches('-')
        .chars()
        .all(|c| c == '0' || c == '.');
    match text.strip_prefix('-') {
        Some(positive) if zero => positive.to_string(),
        Some(positive) => format!("\u{2212}{positive}"),
        None => text,
    }
}

/// A rectangle with axes; y increases upwards.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel {
    /// Upper left corner.
    pub(super) at: Point,
    pub(super) size: Point,
    pub(super) x: Axis,
    pub(super) y: Axis,
}

impl Panel {
    /// The place of a pair of numbers, on the edge when it lies beyond.
    pub(super) fn place(&self, x: f64, y: f64) -> Point {
        [self.column(x), self.row(y)]
    }

    /// The place of a number on the horizontal axis.
    pub(super) fn column(&self, x: f64) -> f64 {
        self.at[0] + self.x.share(x).clamp(0.0, 1.0) * self.size[0]
    }

    /// The place of a number on the vertical axis.
    pub(super) fn row(&self, y: f64) -> f64 {
        self.at[1] + (1.0 - self.y.share(y).clamp(0.0, 1.0)) * self.size[1]
    }

    fn bottom(&self) -> f64 {
        self.at[1] + self.size[1]
    }

    /// Fine lines at the numbered ticks of the vertical axis.
    pub(super) fn horizontal_grid(&self, drawing: &mut Drawing, count: usize) {
        for tick in self.y.ticks(count).iter().filter(|t| t.label.is_some()) {
            let y = self.row(tick.value);
            let ends = vec![[self.at[0], y], [self.at[0] + self.size[0], y]];
            drawing.line(ends, 1.0, Ink::Grid);
        }
    }

    /// Ticks below, with numbers if `numbers`.
    pub(super) fn horizontal_axis(&self, drawing: &mut Drawing, count: usize, numbers: bool) {
        for tick in self.x.ticks(count) {
            let x = self.column(tick.value);
            let y = self.bottom();
            drawing.line(vec![[x, y], [x, y + TICK]], 1.0, Ink::Text);
            if let Some(label) = tick.label.filter(|_| numbers) {
                drawing.text([x, y + TICK + 9.0], Anchor::Middle, Ink::Text, label);
            }
        }
    }

    /// Ticks to the left, with numbers if `numbers`.
    pub(super) fn vertical_axis(&self, drawing: &mut Drawing, count: usize, numbers: bool) {
        for tick in self.y.ticks(count) {
            let y = self.row(tick.value);
            let x = self.at[0];
            let length = if tick.label.is_some() {
                TICK
            } else {
                0.5 * TICK
            };
            drawing.line(vec![[x - length, y], [x, y]], 1.0, Ink::Text);
            if let Some(label) = tick.label.filter(|_| numbers) {
                drawing.text([x - TICK - 3.0, y], Anchor::End, Ink::Text, label);
            }
        }
    }

    /// The name of the horizontal axis, below its numbers.
    pub(super) fn horizontal_name(&self, drawing: &mut Drawing, name: impl Into<Label>) {
        let middle = self.at[0] + 0.5 * self.size[0];
        let y = self.bottom() + TICK + 30.0;
        drawing.text([middle, y], Anchor::Middle, Ink::Text, name);
    }

    /// The name of the vertical axis, `left` pixels beside the panel.
    pub(super) fn vertical_name(&self, drawing: &mut Drawing, left: f64, name: impl Into<Label>) {
        let middle = self.at[1] + 0.5 * self.size[1];
        drawing.upright_text([self.at[0] - left, middle], Ink::Text, name);
    }

    /// The frame, over the data.
    pub(super) fn frame(&self, drawing: &mut Drawing) {
        drawing.frame(self.at, self.size);
    }

    /// Lines of the series and their names in the upper right corner.
    pub(super) fn legend(&self, drawing: &mut Drawing, series: &[Series]) {
        let widths = series.iter().map(|series| series.name.width(LETTERS));
        let width = widths.fold(0.0, f64::max);
        let left = self.at[0] + self.size[0] - width - 48.0;
        let size = [width + 40.0, 18.0 * series.len() as f64 + 4.0];
        drawing.rectangle([left - 6.0, self.at[1] + 5.0], size, Ink::Paper);
        for (index, series) in series.iter().enumerate() {
            let y = self.at[1] + 16.0 + 18.0 * index as f64;
            series.draw(drawing, [left, y]);
        }
    }

    /// The same in one row above the panel.
    pub(super) fn legend_above(&self, drawing: &mut Drawing, series: &[Series]) {
        let mut left = self.at[0];
        for series in series {
            series.draw(drawing, [left, self.at[1] - 14.0]);
            left += 33.0 + series.name.width(LETTERS) + 26.0;
        }
    }
}

/// A line of a panel, for its legend.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) name: Label,
    pub(super) ink: Ink,
    pub(super) dashed: bool,
}

impl Series {
    pub(super) fn solid(name: impl Into<Label>, ink: Ink) -> Self {
        Self {
            name: name.into(),
            ink,
            dashed: false,
        }
    }

    pub(super) fn dashed(name: impl Into<Label>, ink: Ink) -> Self {
        Self {
            dashed: true,
            ..Self::solid(name, ink)
        }
    }

    fn draw(&self, drawing: &mut Drawing, [left, y]: Point) {
        drawing.path(vec![[left, y], [left + 26.0, y]], self);
        let at = [left + 33.0, y];
        drawing.text(at, Anchor::Start, Ink::Text, self.name.clone());
    }
}

impl Drawing {
    /// A line in the manner of a series.
    pub(super) fn path(&mut self, points: Vec<Point>, series: &Series) {
        if series.dashed {
            self.dashed_line(points, 2.0, series.ink);
        } else {
            self.line(points, 2.0, series.ink);
        }
    }
}

/// The largest round number below `reach`: the ticks of an axis around zero are there and at zero.
pub(super) fn symmetric_ticks(reach: f64) -> Vec<Tick> {
    let power = 10_f64.powf((0.9 * reach).log10().floor());
    let mut factors = [1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0].into_iter();
    let fitting = factors.rfind(|factor| factor * power <= 0.9 * reach);
    let largest = fitting.unwrap_or(1.0) * power;
    // Two digits of 1.5, one of the others.
    let step = match fitting {
        Some(factor) if factor < 2.0 => 0.1 * power,
        _ => power,
    };
    let values = [-largest, 0.0, largest];
    let ticks = values.map(|value| Tick {
        value,
        label: Some(match value.abs() > 0.0 {
            true => number(value, step).into(),
            false => "0".into(),
        }),
    });
    ticks.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(ticks: &[Tick]) -> Vec<String> {
        let labels = ticks.iter().filter_map(|tick| tick.label.as_ref());
        labels.map(Label::plain).collect()
    }

    #[test]
    fn linear_ticks_are_round_and_few() {
        let ticks = Axis::linear(0.0, 3126.0).ticks(7);
        let expected = ["0", "500", "1000", "1500", "2000", "2500", "3000"];
        assert_eq!(numbers(&ticks), expected);
        let ticks = Axis::linear(-0.02, 0.031).ticks(4);
        assert_eq!(numbers(&ticks), ["\u{2212}0.02", "0.00", "0.02"]);
        assert_eq!(numbers(&Axis::linear(4.0, 4.0).ticks(3)).len(), 3);
    }

    #[test]
    fn symmetric_ticks_reach_most_of_the_axis() {
        for (reach, expected) in [
            (0.31, "0.2"),
            (0.2, "0.15"),
            (78.0, "60"),
            (0.092, "0.08"),
            (1.0, "0.8"),
            (1.2, "1"),
        ] {
            let expected = [
                format!("\u{2212}{expected}"),
                "0".to_string(),
                expected.to_string(),
            ];
            assert_eq!(numbers(&symmetric_ticks(reach)), expected, "{reach}");
        }
    }

    #[test]
    fn logarithmic_ticks_number_at_least_two() {
        let decades = Axis::logarithmic(0.002, 0.3).ticks(5);
        assert_eq!(numbers(&decades), ["10\u{2212}2", "10\u{2212}1"]);
        assert_eq!(decades.len(), 8 + 9 + 3);
        let one = Axis::logarithmic(0.004, 0.03).ticks(5);
        assert_eq!(
            numbers(&one),
            ["5\u{d7}10\u{2212}3", "10\u{2212}2", "2\u{d7}10\u{2212}2"]
        );
        let none = Axis::logarithmic(0.021, 0.043).ticks(5);
        assert_eq!(numbers(&none).len(), 2);
    }

    #[test]
    fn places_run_upwards_and_stop_at_the_edge() {
        let panel = Panel {
            at: [10.0, 20.0],
            size: [100.0, 50.0],
            x: Axis::linear(0.0, 1.0),
            y: Axis::logarithmic(1.0, 100.0),
        };
        let near = |a: Point, b: Point| (0..2).all(|i| (a[i] - b[i]).abs() < 1e-9);
        assert!(near(panel.place(0.0, 1.0), [10.0, 70.0]));
        assert!(near(panel.place(0.5, 10.0), [60.0, 45.0]));
        assert!(near(panel.place(7.0, 1e9), [110.0, 20.0]));
    }
}
