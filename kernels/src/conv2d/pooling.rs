//! What follows a convolution, in vectors: bias, ReLU and max-pooling, and the way back.
//!
//! With `v[k]` the convolution's outputs in the cells `k` of a window, the pooled value is
//! `max(0, b + max_k v[k])`. The maximum is taken before the bias is added, which is the same since rounding
//! keeps order. Kept are the value and one byte, the code: the `k` of the maximum (the first of equals), or
//! [`DEAD`] where the ReLU is 0. The gradient of the convolution's output, four times as large for windows
//! of 2 x 2, is nowhere stored: it is the pooled gradient at cell `k` of each window that is alive, else 0.

use std::ops::Range;

use crate::simd::{Kernel, Pixel, Simd, UNIT, lanes_of};

/// Code of a pooling window through which no gradient flows.
pub const DEAD: u8 = u8::MAX;

/// Codes of one pooled pixel.
pub(crate) type Codes = [u8; UNIT];

/// What follows the convolution, and where its result goes.
pub(crate) struct Epilogue<'a> {
    pub(crate) bias: &'a [Pixel],
    pub(crate) relu: bool,
    /// Pooled map, [block][H'][W'].
    pub(crate) values: &'a mut [Pixel],
    pub(crate) codes: &'a mut [Codes],
}

/// Maximum, bias, ReLU and code of every window of a segment of a row of windows.
pub(crate) struct PoolWindows<'a, V> {
    /// Outputs of the convolution, row by row of the windows.
    pub(crate) line: &'a [V],
    /// Vectors from one row to the next.
    pub(crate) pitch: usize,
    /// Rows and columns of a window.
    pub(crate) window: [usize; 2],
    /// Of each unit.
    pub(crate) bias: &'a [Pixel; 2],
    pub(crate) relu: bool,
    /// Of each unit: the first pooled pixel, and how many.
    pub(crate) targets: [(usize, usize); 2],
    pub(crate) values: &'a mut [Pixel],
    pub(crate) codes: &'a mut [Codes],
}

impl<S: Simd> Kernel<S> for PoolWindows<'_, S::V> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        // Constants let the compiler unroll the usual cases.
        match self.window {
            [1, 1] => self.windows(simd, [1, 1]),
            [2, 2] => self.windows(simd, [2, 2]),
            window => self.windows(simd, window),
        }
    }
}

impl<V: Copy> PoolWindows<'_, V> {
    #[inline(always)]
    fn windows<S: Simd<V = V>>(self, simd: S, [rows, columns]: [usize; 2]) {
        let zero = simd.splat(0.0);
        let one = simd.splat(1.0);
        let dead = simd.splat(f32::from(DEAD));
        let bias = simd.load_units([&self.bias[0], &self.bias[1]]);
        let count = self.targets[0].1.max(self.targets[1].1);
        for window in 0..count {
            let mut best = self.line[window * columns];
            let (mut code, mut position) = (zero, zero);
            for r in 0..rows {
                let cells = &self.line[r * self.pitch + window * columns..][..columns];
                for (s, &cell) in cells.iter().enumerate() {
                    if (r, s) != (0, 0) {
                        position = simd.add(position, one);
                        // The first of equals stays, and so does a NaN, which shows in the loss.
                        code = simd.select_greater(cell, best, position, code);
                        best = simd.select_greater(cell, best, cell, best);
                        best = simd.select_not_greater(cell, cell, best, cell);
                    }
                }
            }
            let mut value = simd.add(best, bias);
            if self.relu {
                // Written so that NaN stays alive.
                code = simd.select_not_greater(value, zero, dead, code);
                value = simd.select_not_greater(value, zero, zero, value);
            }
            for (u, (start, count)) in self.targets.into_iter().enumerate() {
                if window < count {
                    simd.store_unit(value, u, &mut self.values[start + window]);
                    simd.store_unit_bytes(code, u, &mut self.codes[start + window]);
                }
            }
        }
    }
}

/// The gradient of a pooled map [block][H'][W'] and its codes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PooledGradient<'a> {
    pub(crate) values: &'a [Pixel],
    pub(crate) codes: &'a [Codes],
}

/// A row of windows, expanded: in each window the gradient stands where its code says.
pub(crate) struct ExpandWindows<'a, V> {
    /// Of each unit.
    pub(crate) values: [&'a [Pixel]; 2],
    pub(crate) codes: [&'a [Codes]; 2],
    /// Rows and columns of a window.
    pub(crate) window: [usize; 2],
    /// Rows of the windows that are wanted.
    pub(crate) rows: Range<usize>,
    /// These rows of the convolution's output, `pitch` apart.
    pub(crate) line: &'a mut [V],
    pub(crate) pitch: usize,
}

impl<S: Simd> Kernel<S> for ExpandWindows<'_, S::V> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        // Constants let the compiler unroll the usual case.
        match (self.window, self.rows.clone()) {
            ([2, 2], Range { start: 0, end: 2 }) => self.windows(simd, 2, 0..2),
            ([_, 2], rows) => self.windows(simd, 2, rows),
            ([_, columns], rows) => self.windows(simd, columns, rows),
        }
    }
}

impl<V: Copy> ExpandWindows<'_, V> {
    #[inline(always)]
    fn windows<S: Simd<V = V>>(self, simd: S, columns: usize, rows: Range<usize>) {
        let units = self.values[0]
            .iter()
            .zip(self.values[1])
            .zip(self.codes[0].iter().zip(self.codes[1]));
        for (window, ((value_0, value_1), (code_0, code_1))) in units.enumerate() {
            let value = simd.load_units([value_0, value_1]);
            for row in rows.clone() {
                let first = (row - rows.start) * self.pitch + window * columns;
                for (column, cell) in self.line[first..first + columns].iter_mut().enumerate() {
                    let code = (row * columns + column) as u8;
                    *cell = simd.select_code(value, [code_0, code_1], code);
                }
            }
        }
    }
}

/// Sums of the gradients of windows that are alive, the bias gradient: one row of windows of a block at a
/// time in f32, these sums in f64, so that the error does not grow with the size of the map.
pub(crate) struct AddAlive<'a> {
    pub(crate) gradient: PooledGradient<'a>,
    /// Rows and columns of the pooled map.
    pub(crate) map: [usize; 2],
    /// First row and column of the windows to add up, and how many.
    pub(crate) origin: [usize; 2],
    pub(crate) windows: [usize; 2],
    /// One per block of channels.
    pub(crate) sums: &'a mut [[f64; UNIT]],
}

impl<S: Simd> Kernel<S> for AddAlive<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let none = ([0.0; UNIT], [DEAD; UNIT]);
        for (block, sums) in self.sums.iter_mut().enumerate() {
            for row in self.origin[0]..self.origin[0] + self.windows[0] {
                let first = (block * self.map[0] + row) * self.map[1] + self.origin[1];
                let values = &self.gradient.values[first..first + self.windows[1]];
                let codes = &self.gradient.codes[first..first + self.windows[1]];
                let mut sum = simd.splat(0.0);
                for (values, codes) in values.chunks(S::UNITS).zip(codes.chunks(S::UNITS)) {
                    let (value, code) = match (values.get(1), codes.get(1)) {
                        (Some(value), Some(code)) => (value, code),
                        _ => (&none.0, &none.1),
                    };
                    let value = simd.load_units([&values[0], value]);
                    let dead = simd.select_code(value, [&codes[0], code], DEAD);
                    sum = simd.add(sum, simd.sub(value, dead));
                }
                for unit in lanes_of(&[sum]).chunks_exact(UNIT) {
                    for (sum, &value) in sums.iter_mut().zip(unit) {
                        *sum += f64::from(value);
                    }
                }
            }
        }
    }
}
