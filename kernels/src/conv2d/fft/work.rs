//! What a convolution by transforms costs, and the best tiling.

use super::tiling::{Pairing, Tiling, Units};
use crate::conv2d::rates::Rates;
use crate::fft::LENGTHS;
use crate::shape::{Conv2dShape, MaxPool2dShape};
use crate::simd::{Level, UNIT};

/// Nanoseconds per image outside the loops: buffers, tables, the first touch of everything.
const CALL_NS: f64 = 2_000.0;

/// Bytes of row spectra of a group of pairs, about (see [`super::scratch`]).
const GROUP_BYTES: f64 = 1.2e6;

/// Nanoseconds of going over a byte of an array of `bytes` bytes once: nothing in the second-level cache,
/// more in the third, most in memory.
fn byte_ns(bytes: f64) -> f64 {
    match bytes {
        ..0.5e6 => 0.0,
        ..8e6 => 0.02,
        _ => 0.09,
    }
}

/// The tiling with the least nanoseconds of a training step on one image, and these; `None` when no tile
/// holds the kernel and a pooling window.
pub(crate) fn best_tiling(
    conv: &Conv2dShape,
    pool: &MaxPool2dShape,
    level: Level,
    input_gradient: bool,
) -> Option<(Tiling, f64)> {
    let rates = Rates::of(level);
    let mut best: Option<(Tiling, f64)> = None;
    for (height, height_ns) in LENGTHS.into_iter().zip(rates.transform) {
        for (width, width_ns) in LENGTHS.into_iter().zip(rates.transform) {
            for pairing in [Pairing::Down, Pairing::Across] {
                let Some(tiling) = Tiling::new(conv, pool, [height, width], pairing) else {
                    continue;
                };
                let transforms = [height_ns, width_ns];
                let ns = training_ns(conv, &tiling, &rates, transforms, input_gradient);
                if best.is_none_or(|(_, least)| ns < least) {
                    best = Some((tiling, ns));
                }
            }
        }
    }
    best
}

/// Cost of a training step. Weight gradients are transformed back once per chunk of images, that is once
/// per image in mini-batches of up to 64.
fn training_ns(
    conv: &Conv2dShape,
    tiling: &Tiling,
    rates: &Rates,
    [height_ns, width_ns]: [f64; 2],
    input_gradient: bool,
) -> f64 {
    let [height, width] = tiling.tile.map(|n| n as f64);
    let kernel_rows = conv.kernel_height as f64;
    let half = width / 2.0 + 1.0;
    // Of 8 lanes, where the tables are of 16.
    let pair_ns = (tiling.input[0] as f64 * width_ns + width * height_ns) / 2.0;
    let taps_ns = (half * height_ns + kernel_rows * width_ns) / 2.0;
    let x = Units::new(conv.in_channels, 2).per_pair as f64;
    let y = Units::new(conv.out_channels, 2).per_pair as f64;
    let pairs = tiling.pairs() as f64;
    let outputs = (conv.out_pixels() * conv.out_channels.div_ceil(UNIT)) as f64;
    let cells_ns = 2.0 * outputs * rates.cell;
    if conv.in_channels == 1 && !input_gradient {
        // Lanes of the input are pairs; products ride on the transforms.
        let products = 2.0 * y * height * width * 8.0 * rates.product;
        let transforms = 2.0 * pair_ns / 8.0 + 2.0 * y * pair_ns;
        return pairs * (transforms + products) + y * taps_ns + cells_ns + CALL_NS;
    }
    let gradients = if input_gradient { 1.0 } else { 0.0 };
    let transforms = ((2.0 + gradients) * x + 2.0 * y) * pair_ns;
    // Four real products for each complex one, of 8 input channels.
    let products = (2.0 + gradients) * height * width * 32.0 * x * y * rates.product;
    let finish = conv.in_channels as f64 * y * taps_ns;
    // Spectra of the kernels are read by each group of pairs in both directions, sums of the weight
    // gradient read and written; these are cleared and read once more.
    let bytes = half * height * (8.0 * x) * (8.0 * y) * 8.0;
    let row_bytes = tiling.input[0] as f64 * width * (x + y) * 64.0;
    let groups = (pairs / (GROUP_BYTES / row_bytes).max(1.0)).ceil();
    let traffic = bytes * ((3.0 + gradients) * groups + 2.0) * byte_ns(bytes);
    pairs * (transforms + products) + finish + traffic + cells_ns + CALL_NS
}
