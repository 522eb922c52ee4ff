//! Transforms along the last axis, between the real lines of a plane and their modes.

use super::plan::Work;
use super::transpose::{LaneCopy, PairModes, WithTranspose};
use super::{Fourier, GROUP_FLOATS, LANE_MULTIPLE};

impl Fourier {
    /// Groups `(start, lanes)` of neighbouring columns that are transformed together.
    pub(super) fn lane_groups(
        &self,
        columns: usize,
    ) -> impl Iterator<Item = (usize, usize)> + use<> {
        let widest = (GROUP_FLOATS / self.n / LANE_MULTIPLE).max(1) * LANE_MULTIPLE;
        // Equal groups: a narrow last one would waste the lanes of its vectors.
        let groups = columns.div_ceil(widest);
        let lanes = columns.div_ceil(groups).next_multiple_of(LANE_MULTIPLE);
        (0..columns)
            .step_by(lanes)
            .map(move |start| (start, lanes.min(columns - start)))
    }

    /// Transforms along z of one plane `[y][z]`, lines 2j and 2j+1 as real and imaginary part.
    pub(super) fn real_lines_to_modes(
        &self,
        work: &mut Work,
        field: &[f32],
        re: &mut [f32],
        im: &mut [f32],
    ) {
        let n = self.n;
        re.fill(0.0);
        im.fill(0.0);
        for (start, lanes) in self.lane_groups(n.div_ceil(2).next_multiple_of(LANE_MULTIPLE)) {
            work.resize(n * lanes);
            let pairs = lanes.min(n.div_ceil(2) - start.min(n.div_ceil(2)));
            for lane in (0..lanes).step_by(8) {
                let y = 2 * (start + lane);
                if y + 16 <= n {
                    for (part, target) in [&mut work.re, &mut work.im].into_iter().enumerate() {
                        LaneCopy::ToLanes {
                            lines: &field[(y + part) * n..],
                            step: 2 * n,
                            n,
                            target,
                            lanes,
                            lane,
                        }
                        .dispatch();
                    }
                    continue;
                }
                // The last lines of the plane; lanes without a line hold zeros.
                for i in 0..8 {
                    for (part, target) in [&mut work.re, &mut work.im].into_iter().enumerate() {
                        let line = y + 2 * i + part;
                        for z in 0..n {
                            target[z * lanes + lane + i] =
                                if line < n { field[line * n + z] } else { 0.0 };
                        }
                    }
                }
            }
            self.plan.forward(work, lanes);
            for mode in 0..self.half {
                let mirror = (n - mode) % n;
                for lane in 0..pairs {
                    let y = 2 * (start + lane);
                    let (a, b) = (work.re[mode * lanes + lane], work.im[mode * lanes + lane]);
                    let (c, d) = (
                        work.re[mirror * lanes + lane],
                        work.im[mirror * lanes + lane],
                    );
                    re[y * self.stride + mode] = 0.5 * (a + c);
                    im[y * self.stride + mode] = 0.5 * (b - d);
                    if y + 1 < n {
                        re[(y + 1) * self.stride + mode] = 0.5 * (b + d);
                        im[(y + 1) * self.stride + mode] = 0.5 * (c - a);
                    }
                }
            }
        }
    }

    /// The inverse of [`Self::real_lines_to_modes`] from the first `modes` modes; the others are zero.
    pub(super) fn modes_to_real_lines(
        &self,
        work: &mut Work,
        re: &[f32],
        im: &[f32],
        modes: usize,
        field: &mut [f32],
        consume: &impl Fn(&mut [f32], &[f32]),
    ) {
        let n = self.n;
        let stride = self.stride;
        let pairs = n.div_ceil(2);
        for (start, lanes) in self.lane_groups(pairs.next_multiple_of(LANE_MULTIPLE)) {
            work.resize(n * lanes);
            PairModes {
                re,
                im,
                stride,
                first_pair: start,
                modes,
                n,
                lanes,
                work,
            }
            .dispatch();
            self.plan.inverse(work, lanes);
            work.row_re.resize((8 * n).max(work.row_re.len()), 0.0);
            work.row_im.resize((8 * n).max(work.row_im.len()), 0.0);
            for lane in (0..lanes).step_by(8) {
                for (source, lines) in [(&work.re, &mut work.row_re), (&work.im, &mut work.row_im)]
                {
                    LaneCopy::ToLines {
                        source,
                        lanes,
                        lane,
                        n,
                        lines,
                    }
                    .dispatch();
                }
                for i in 0..8.min(pairs.saturating_sub(start + lane)) {
                    let y = 2 * (start + lane + i);
                    let lines = [&work.row_re, &work.row_im];
                    for (part, line) in lines.iter().enumerate().take(n - y) {
                        consume(
                            &mut field[(y + part) * n..(y + part + 1) * n],
                            &line[i * n..(i + 1) * n],
                        );
                    }
                }
            }
        }
    }
}
