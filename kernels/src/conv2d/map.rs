//! The two layouts of a map of one image that convolutions read, and the way from one to the other.
//!
//! 8 channels of 8 pixels are an 8 x 8 matrix; both ways transpose it in registers.

use crate::simd::{Kernel, Pixel, Simd, UNIT};

/// A map of one image.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Map<'a> {
    /// (C,H,W), channel after channel: what the first stage is given.
    Planes(&'a [f32]),
    /// [block][H][W] of pixels of 8 channels: what stages hand each other.
    Pixels(&'a [Pixel]),
}

/// From pixels to planes of `plane` values; channels that fill up the last block are dropped.
pub(crate) struct ToPlanes<'a> {
    pub(crate) pixels: &'a [Pixel],
    pub(crate) plane: usize,
    /// Overwritten.
    pub(crate) planes: &'a mut [f32],
}

impl<S: Simd> Kernel<S> for ToPlanes<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let whole = self.plane / S::LANES * S::LANES;
        let blocks = self.pixels.chunks_exact(self.plane);
        for (pixels, planes) in blocks.zip(self.planes.chunks_mut(UNIT * self.plane)) {
            for first in (0..whole).step_by(S::LANES) {
                let pixels = &pixels[first..first + S::LANES];
                let mut rows = [simd.splat(0.0); UNIT];
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = simd.load_units([&pixels[i], &pixels[S::LANES - UNIT + i]]);
                }
                let columns = simd.transpose_units(rows);
                for (plane, column) in planes.chunks_exact_mut(self.plane).zip(columns) {
                    simd.store(column, &mut plane[first..]);
                }
            }
            for (channel, plane) in planes.chunks_exact_mut(self.plane).enumerate() {
                for (value, pixel) in plane[whole..].iter_mut().zip(&pixels[whole..]) {
                    *value = pixel[channel];
                }
            }
        }
    }
}

/// From planes of `plane` values to pixels; channels that fill up the last block are 0.
pub(crate) struct ToPixels<'a> {
    pub(crate) planes: &'a [f32],
    pub(crate) plane: usize,
    /// Overwritten.
    pub(crate) pixels: &'a mut [Pixel],
}

impl<S: Simd> Kernel<S> for ToPixels<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let whole = self.plane / S::LANES * S::LANES;
        let blocks = self.pixels.chunks_exact_mut(self.plane);
        for (pixels, planes) in blocks.zip(self.planes.chunks(UNIT * self.plane)) {
            for first in (0..whole).step_by(S::LANES) {
                let mut rows = [simd.splat(0.0); UNIT];
                for (plane, row) in planes.chunks_exact(self.plane).zip(&mut rows) {
                    *row = simd.load(&plane[first..]);
                }
                let columns = simd.transpose_units(rows);
                let pixels = &mut pixels[first..first + S::LANES];
                for (unit, pixels) in pixels.chunks_exact_mut(UNIT).enumerate() {
                    for (pixel, column) in pixels.iter_mut().zip(columns) {
                        simd.store_unit(column, unit, pixel);
                    }
                }
            }
            for (i, pixel) in pixels.iter_mut().enumerate().skip(whole) {
                *pixel = [0.0; UNIT];
                for (value, plane) in pixel.iter_mut().zip(planes.chunks_exact(self.plane)) {
                    *value = plane[i];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Level;

    #[test]
    fn pixels_and_planes_hold_the_same_numbers_at_every_level() {
        for level in Level::available() {
            println!("ran level {level}");
            for (channels, plane) in [(1_usize, 1), (8, 16), (3, 39), (17, 33), (24, 8)] {
                let planes: Vec<f32> = (0..channels * plane).map(|i| i as f32).collect();
                let mut pixels = vec![[f32::NAN; UNIT]; channels.div_ceil(UNIT) * plane];
                level.run(ToPixels {
                    planes: &planes,
                    plane,
                    pixels: &mut pixels,
                });
                for (i, pixel) in pixels.iter().enumerate() {
                    for (lane, value) in pixel.iter().enumerate() {
                        let channel = i / plane * UNIT + lane;
                        let expected = match channel < channels {
                            true => planes[channel * plane + i % plane],
                            false => 0.0,
                        };
                        assert_eq!(value.to_bits(), expected.to_bits(), "{channel} {i}");
                    }
                }
                let mut back = vec![f32::NAN; planes.len()];
                level.run(ToPlanes {
                    pixels: &pixels,
                    plane,
                    planes: &mut back,
                });
                assert_eq!(back, planes, "{channels} channels");
            }
        }
    }
}
