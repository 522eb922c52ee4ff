//! The colours of all figures, on a light and on a dark page.
//!
//! An SVG carries the colours of the light page as attributes, which every program understands, and a style
//! that replaces them where the reader prefers dark pages.

use std::fmt::Write;

/// Red, green and blue.
pub(super) type Rgb = [u8; 3];

/// What a mark means; its colour depends on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    /// The page itself.
    Paper,
    /// Text, frames and ticks.
    Text,
    /// Text and lines of less weight.
    Muted,
    /// Fine lines behind the data.
    Grid,
    /// First series.
    Blue,
    /// Second series.
    Vermilion,
    /// Third series.
    Green,
    /// Fourth series.
    Purple,
    /// Counts: 0 the fewest, [`LEVELS`] - 1 the most.
    Level(usize),
}

/// Steps of the scale of counts.
pub(super) const LEVELS: usize = 10;

/// The series in their order, for as many lines as a figure has; a palette that the common kinds of colour
/// blindness keep apart (Okabe & Ito 2008).
pub(super) const SERIES: [Ink; 4] = [Ink::Blue, Ink::Vermilion, Ink::Green, Ink::Purple];

/// Ends and middle of the scale of counts: one hue, lightness monotonic, few counts close to the page.
const LIGHT_LEVELS: [Rgb; 3] = [[208, 226, 243], [66, 146, 198], [8, 37, 92]];
const DARK_LEVELS: [Rgb; 3] = [[34, 62, 98], [72, 152, 206], [238, 246, 255]];

impl Ink {
    /// The colour on a light page.
    pub(super) fn light(self) -> Rgb {
        match self {
            Self::Paper => [255, 255, 255],
            Self::Text => [26, 29, 33],
            Self::Muted => [98, 105, 115],
            Self::Grid => [228, 231, 235],
            Self::Blue => [0, 114, 178],
            Self::Vermilion => [213, 94, 0],
            Self::Green => [0, 158, 115],
            Self::Purple => [170, 74, 138],
            Self::Level(level) => between(&LIGHT_LEVELS, level as f64 / (LEVELS - 1) as f64),
        }
    }

    /// The colour on a dark page.
    pub(super) fn dark(self) -> Rgb {
        match self {
            Self::Paper => [20, 23, 28],
            Self::Text => [230, 232, 235],
            Self::Muted => [154, 163, 173],
            Self::Grid => [45, 51, 60],
            Self::Blue => [86, 180, 233],
            Self::Vermilion => [242, 133, 61],
            Self::Green => [60, 200, 155],
            Self::Purple => [217, 147, 187],
            Self::Level(level) => between(&DARK_LEVELS, level as f64 / (LEVELS - 1) as f64),
        }
    }

    /// The name in style sheets.
    pub(super) fn class(self) -> String {
        match self {
            Self::Level(level) => format!("level{level}"),
            named => format!("{named:?}").to_lowercase(),
        }
    }
}

/// The style that turns figures dark: `f-` classes fill, `s-` classes stroke.
pub(super) fn dark_style() -> String {
    let named = [Ink::Paper, Ink::Text, Ink::Muted, Ink::Grid];
    let levels = (0..LEVELS).map(Ink::Level);
    let mut style = String::from("@media (prefers-color-scheme:dark){");
    for ink in named.into_iter().chain(SERIES).chain(levels) {
        let (class, colour) = (ink.class(), hex(ink.dark()));
        // Writing to a String never fails.
        let _ = write!(
            style,
            ".f-{class}{{fill:{colour}}}.s-{class}{{stroke:{colour}}}"
        );
    }
    style.push('}');
    style
}

/// A colour as `#rrggbb`.
pub(super) fn hex([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// A colour between evenly spaced stops, at `share` in [0, 1] of the way.
pub(super) fn between(stops: &[Rgb], share: f64) -> Rgb {
    let place = share.clamp(0.0, 1.0) * (stops.len() - 1) as f64;
    let index = (place as usize).min(stops.len().saturating_sub(2));
    let (from, to) = (stops[index], stops[index + 1]);
    let part = place - index as f64;
    std::array::from_fn(|c| {
        let (from, to) = (f64::from(from[c]), f64::from(to[c]));
        (from + part * (to - from)).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance of sRGB (WCAG 2.1).
    fn luminance(colour: Rgb) -> f64 {
        let linear = |c: u8| {
            let c = f64::from(c) / 255.0;
            if c <= 0.03928 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2])
    }

    fn contrast(a: Rgb, b: Rgb) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_and_series_stand_out_from_the_page() {
        for colour in [Ink::light as fn(Ink) -> Rgb, Ink::dark] {
            let paper = colour(Ink::Paper);
            for text in [Ink::Text, Ink::Muted] {
                assert!(contrast(colour(text), paper) > 4.5, "{text:?}");
            }
            for series in SERIES {
                assert!(contrast(colour(series), paper) > 3.0, "{series:?}");
            }
        }
    }

    #[test]
    fn more_counts_stand_out_more() {
        for colour in [Ink::light as fn(Ink) -> Rgb, Ink::dark] {
            let contrasts: Vec<f64> = (0..LEVELS)
                .map(|level| contrast(colour(Ink::Level(level)), colour(Ink::Paper)))
                .collect();
            assert!(contrasts.is_sorted(), "{contrasts:?}");
            assert!(contrasts[0] > 1.25, "a single count is seen: {contrasts:?}");
        }
    }
}
