//! What the steps of a convolution cost at each vector level, for the choice between algorithms.
//!
//! Measured on one core of a Zen 4 at 3.7 GHz by fitting the estimates to the times of
//! `cargo bench -p dawn21-kernels --bench algorithms`; only their ratios matter.

use crate::fft::LENGTHS;
use crate::simd::Level;

/// Nanoseconds of the steps, for 8 lanes where nothing else is said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    /// A multiply-add to a register, of the direct convolution.
    pub(crate) product: f64,
    /// The same of weights and panels.
    pub(crate) panel: f64,
    /// The same of rows of two panels, with the sums of lanes at the end.
    pub(crate) dot: f64,
    /// A multiply-add to memory.
    pub(crate) update: f64,
    /// Beginning a tile of taps with another gradient.
    pub(crate) tile: f64,
    /// Finding out whether a window of one channel is alive.
    pub(crate) window: f64,
    /// Pooling a cell of the output, or expanding its gradient.
    pub(crate) cell: f64,
    /// Packing numbers.
    pub(crate) pack: f64,
    /// Adding numbers to the image.
    pub(crate) add: f64,
    /// What a call costs besides its loops.
    pub(crate) call: f64,
    /// Sixteen transforms of each of [`LENGTHS`], between caches.
    pub(crate) transform: [f64; LENGTHS.len()],
}

impl Rates {
    /// The rates of a level.
    pub(crate) fn of(level: Level) -> Self {
        match level.name() {
            "avx512" => AVX512,
            "avx2" => AVX2,
            _ => PORTABLE,
        }
    }
}

const AVX512: Rates = Rates {
    product: 0.135,
    panel: 0.135,
    dot: 0.15,
    update: 0.25,
    tile: 2.7,
    window: 2.3,
    cell: 1.6,
    pack: 0.4,
    add: 0.9,
    call: 700.0,
    transform: [50.0, 120.0, 200.0, 240.0, 280.0, 900.0],
};

const AVX2: Rates = Rates {
    product: 0.135,
    panel: 0.135,
    dot: 0.19,
    update: 0.27,
    tile: 3.5,
    window: 2.5,
    cell: 1.6,
    pack: 0.45,
    add: 0.9,
    call: 700.0,
    transform: [90.0, 220.0, 370.0, 440.0, 510.0, 1600.0],
};

const PORTABLE: Rates = Rates {
    product: 0.39,
    panel: 0.47,
    dot: 0.8,
    update: 0.45,
    tile: 3.0,
    window: 2.5,
    cell: 3.0,
    pack: 0.6,
    add: 1.5,
    call: 700.0,
    transform: [195.0, 470.0, 780.0, 940.0, 1100.0, 3500.0],
};
