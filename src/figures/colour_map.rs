//! Pictures: fields of numbers turned into colours.

use super::palette::{Rgb, between};

/// Numbers that a picture has at most along its longer side; more would not be seen, and a page of them is
/// slow to load.
const MOST_COLUMNS: usize = 1200;

/// Colours for an interval of numbers.
#[derive(Debug, Clone, Copy)]
pub(super) enum ColourMap {
    /// Brightness temperatures of the 21-cm line as the field shows them: absorption from white over yellow
    /// and red, black at zero, emission from blue to cyan. Lightness falls towards zero on both sides, and the
    /// sides differ in blue against yellow, which the common kinds of colour blindness keep apart.
    BrightnessTemperature,
    /// Signed numbers: vermilion below zero, blue above, white at it.
    Diverging,
    /// Numbers from zero: lightness monotonic, black at zero.
    Sequential,
}

/// Brightness in mK of each colour of [`ColourMap::BrightnessTemperature`], increasing.
const TEMPERATURES_MK: [(f64, Rgb); 7] = [
    (-250.0, [255, 255, 255]),
    (-187.0, [255, 255, 0]),
    (-124.0, [255, 165, 0]),
    (-61.0, [230, 0, 0]),
    (0.0, [0, 0, 0]),
    (20.0, [0, 40, 255]),
    (50.0, [0, 255, 255]),
];

/// The range of brightness temperatures with colours of their own, in mK: that of the paper's figure 1.
pub(super) const TEMPERATURE_RANGE_MK: [f64; 2] = [-250.0, 50.0];

const DIVERGING: [Rgb; 7] = [
    [110, 40, 0],
    [213, 94, 0],
    [247, 178, 128],
    [255, 255, 255],
    [138, 190, 226],
    [0, 114, 178],
    [0, 45, 92],
];

const SEQUENTIAL: [Rgb; 6] = [
    [4, 4, 16],
    [25, 42, 108],
    [30, 108, 142],
    [72, 168, 128],
    [186, 212, 84],
    [255, 247, 176],
];

impl ColourMap {
    /// The colour of a number, `low` and `high` being the ends of the map. Numbers beyond have the colours
    /// of the ends.
    pub(super) fn colour(self, value: f64, [low, high]: [f64; 2]) -> Rgb {
        match self {
            Self::BrightnessTemperature => temperature_colour(value),
            Self::Diverging => between(&DIVERGING, (value - low) / (high - low)),
            Self::Sequential => between(&SEQUENTIAL, (value - low) / (high - low)),
        }
    }
}

fn temperature_colour(brightness_mk: f64) -> Rgb {
    let last = TEMPERATURES_MK.len() - 1;
    let value = brightness_mk.clamp(TEMPERATURES_MK[0].0, TEMPERATURES_MK[last].0);
    let above = TEMPERATURES_MK.partition_point(|stop| stop.0 <= value);
    let i = above.clamp(1, last) - 1;
    let ((low, from), (high, to)) = (TEMPERATURES_MK[i], TEMPERATURES_MK[i + 1]);
    between(&[from, to], (value - low) / (high - low))
}

/// A field in colours, row by row from the top. Colours come from a table of 256, which makes small files.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    pub(super) columns: usize,
    pub(super) rows: usize,
    pub(super) colours: Vec<Rgb>,
    /// One a pixel.
    pub(super) indices: Vec<u8>,
}

impl Picture {
    /// The picture of `values`, rows of `columns` numbers, the first row below: x points upwards.
    ///
    /// Where there are more columns than can be seen, neighbours are averaged.
    pub(super) fn new(values: &[f32], columns: usize, map: ColourMap, range: [f64; 2]) -> Self {
        let columns = columns.max(1);
        let step = columns.div_ceil(MOST_COLUMNS);
        let indices: Vec<u8> = values
            .chunks(columns)
            .rev()
            .flat_map(|row| row.chunks(step))
            .map(|cells| {
                let sum: f64 = cells.iter().map(|&cell| f64::from(cell)).sum();
                let share = (sum / cells.len() as f64 - range[0]) / (range[1] - range[0]);
                (share * 255.0).round().clamp(0.0, 255.0) as u8
            })
            .collect();
        let columns = columns.div_ceil(step);
        let colours = (0..=255)
            .map(|index| {
                let share = f64::from(index) / 255.0;
                map.colour(range[0] + share * (range[1] - range[0]), range)
            })
            .collect();
        Self {
            columns,
            rows: indices.len() / columns,
            colours,
            indices,
        }
    }

    /// The scale of a map, the highest number at the top, or to the right when `horizontal`.
    pub(super) fn scale(map: ColourMap, range: [f64; 2], horizontal: bool) -> Self {
        let steps = 128;
        let values: Vec<f32> = (0..steps)
            .map(|i| (range[0] + (range[1] - range[0]) * (f64::from(i) + 0.5) / 128.0) as f32)
            .collect();
        let columns = if horizontal { values.len() } else { 1 };
        Self::new(&values, columns, map, range)
    }

    /// The colour of a pixel.
    pub(super) fn pixel(&self, column: usize, row: usize) -> Rgb {
        self.colours[usize::from(self.indices[row * self.columns + column])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperatures_are_black_at_zero_and_apart_on_both_sides() {
        assert_eq!(temperature_colour(0.0), [0, 0, 0]);
        assert_eq!(temperature_colour(-1e9), [255, 255, 255]);
        assert_eq!(temperature_colour(1e9), [0, 255, 255]);
        let (absorption, emission) = (temperature_colour(-61.0), temperature_colour(20.0));
        assert!(absorption[0] > 200 && absorption[2] < 50);
        assert!(emission[0] < 50 && emission[2] > 200);
    }

    #[test]
    fn zero_is_white_between_the_signs() {
        let range = [-2.0, 2.0];
        assert_eq!(ColourMap::Diverging.colour(0.0, range), [255, 255, 255]);
        let (negative, positive) = (
            ColourMap::Diverging.colour(-1.0, range),
            ColourMap::Diverging.colour(1.0, range),
        );
        assert!(negative[0] > negative[2] && positive[2] > positive[0]);
    }

    #[test]
    fn the_first_row_is_below_and_wide_fields_are_averaged() {
        let picture = Picture::new(&[0.0, 1.0, 1.0, 1.0], 2, ColourMap::Sequential, [0.0, 1.0]);
        assert_eq!((picture.columns, picture.rows), (2, 2));
        assert_eq!(picture.indices, [255, 255, 0, 255]);
        let wide: Vec<f32> = (0..2 * MOST_COLUMNS + 1)
            .map(|i| if i % 3 == 0 { 1.0 } else { 0.0 })
            .collect();
        let picture = Picture::new(&wide, wide.len(), ColourMap::Sequential, [0.0, 1.0]);
        assert_eq!(picture.columns, 801);
        // A third of each three columns; the last one has no neighbours.
        assert!(picture.indices[..800].iter().all(|&index| index == 85));
        assert_eq!(picture.indices[800], 255);
    }
}
