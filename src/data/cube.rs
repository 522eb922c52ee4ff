//! Cubes of raw little-endian f32, memory-mapped and never copied whole.
//!
//! A cube is mapped when an image of it is wanted and unmapped right after, so a data base of any
//! size needs no more address space, file handles or resident memory than the images in use: the
//! pages themselves stay in the operating system's cache.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use rayon::prelude::*;

use super::fault::Fault;
use crate::atomic_file::FileError;

#[cfg(target_endian = "big")]
compile_error!("cubes are little-endian and are read in place");

/// A memory-mapped cube in C order `[x][y][z]`.
#[derive(Debug)]
pub struct Cube {
    map: Mmap,
    shape: [usize; 3],
    path: PathBuf,
}

/// Lines of sight at neighbouring x that are no farther apart than this may be read with what lies between them:
/// fewer, larger pieces.
#[cfg(unix)]
const READ_THROUGH_BYTES: usize = 64 << 10;
/// Linux reads no more than the read-ahead of the device at one request, which is 128 KiB where nobody set it.
#[cfg(unix)]
const PIECE_BYTES: usize = 128 << 10;

/// Why a cube cannot be mapped.
#[derive(Debug, thiserror::Error)]
pub enum CubeError {
    /// It could not be opened or mapped.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not of the size that its shape asks for.
    #[error(transparent)]
    Size(#[from] Fault),
}

impl Cube {
    /// Maps the file at `path`, which must hold exactly `4 nx ny nz` bytes.
    ///
    /// # Errors
    /// [`CubeError`] when the file cannot be opened or has another size.
    pub fn open(path: &Path, shape: [usize; 3]) -> Result<Self, CubeError> {
        let file = File::open(path).map_err(FileError::at(path, "opening"))?;
        let found = file
            .metadata()
            .map_err(FileError::at(path, "reading the size"))?
            .len();
        let expected = 4 * shape.iter().map(|&n| n as u64).product::<u64>();
        if found != expected || expected == 0 {
            return Err(Fault::CubeSize {
                path: path.to_path_buf(),
                shape,
                expected,
                found,
            }
            .into());
        }
        #[expect(
            unsafe_code,
            reason = "a memory map is a view of a file that others could change"
        )]
        // SAFETY: the map is read-only, and this program never writes to a cube that exists: its own are
        // written under another name and renamed (`atomic_file`). A map lives no longer than the reading
        // of one image. Should another program overwrite a cube in that time, cells may be old or new
        // ones, every bit pattern being an f32; should it truncate the file, the operating system ends
        // the process (SIGBUS) rather than handing out wrong memory.
        let map = unsafe { Mmap::map(&file) }.map_err(FileError::at(path, "memory-mapping"))?;
        #[cfg(unix)]
        // Only the planes of the slices are read: read-ahead around each row would fetch the rest of
        // the cube too. An operating system that does not take the advice still gives the right data.
        let _ = map.advise(memmap2::Advice::Random);
        Ok(Self {
            map,
            shape,
            path: path.to_path_buf(),
        })
    }

    /// Cells `[x, y, z]`.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All cells in file order.
    #[must_use]
    pub fn cells(&self) -> &[f32] {
        // A map starts on a page boundary and its length was checked: the cast cannot fail.
        bytemuck::cast_slice(&self.map)
    }

    /// The line of sight at `(x, y)`: `nz` cells, lowest redshift first.
    #[must_use]
    pub fn line_of_sight(&self, x: usize, y: usize) -> &[f32] {
        let [_, ny, nz] = self.shape;
        &self.cells()[(x * ny + y) * nz..][..nz]
    }

    /// Asks the operating system to read the lines of sight `(x, y)` ahead, all at once: on a cold disk this
    /// costs one wait instead of one a page. With `neighbours`, what lies between them is read too, if they
    /// are near each other.
    pub fn will_need(&self, x: Range<usize>, y: Range<usize>, neighbours: bool) {
        #[cfg(unix)]
        for bytes in pieces(self.shape, x, y, neighbours) {
            // Advice only: a failure changes nothing but speed.
            let _ = self
                .map
                .advise_range(memmap2::Advice::WillNeed, bytes.start, bytes.len());
        }
        #[cfg(not(unix))]
        let _ = (x, y, neighbours);
    }

    /// Reads the whole cube and reports cells that are not finite, if any.
    #[must_use]
    pub fn find_non_finite(&self) -> Option<Fault> {
        let [_, ny, nz] = self.shape;
        let (first, count) = self
            .cells()
            .par_chunks(ny * nz)
            .enumerate()
            .map(|(x, plane)| {
                self.will_need(x..x + 1, 0..ny, false);
                let bad = plane.iter().enumerate().filter(|(_, v)| !v.is_finite());
                let (mut first, mut count) = (None, 0_u64);
                for (i, &value) in bad {
                    first.get_or_insert(([x, i / nz, i % nz], value));
                    count += 1;
                }
                (first, count)
            })
            .reduce(|| (None, 0), |a, b| (a.0.or(b.0), a.1 + b.1));
        first.map(|(index, value)| Fault::NonFinite {
            path: self.path.clone(),
            index,
            value,
            count,
        })
    }
}

/// The pieces of a file, in bytes, that hold the lines of sight `(x, y)`. Those at the same x follow each other.
#[cfg(unix)]
fn pieces(
    [_, ny, nz]: [usize; 3],
    x: Range<usize>,
    y: Range<usize>,
    neighbours: bool,
) -> impl Iterator<Item = Range<usize>> {
    let step = if neighbours && 4 * ny * nz <= READ_THROUGH_BYTES {
        x.len().max(1)
    } else {
        1
    };
    x.step_by(step).flat_map(move |first| {
        let last = first + step - 1;
        let (start, end) = (
            4 * (first * ny + y.start) * nz,
            4 * (last * ny + y.end) * nz,
        );
        (start..end)
            .step_by(PIECE_BYTES)
            .map(move |piece| piece..(piece + PIECE_BYTES).min(end))
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const LINE: usize = 4 * 1042;

    fn pieces_of(
        ny: usize,
        x: Range<usize>,
        y: Range<usize>,
        neighbours: bool,
    ) -> Vec<Range<usize>> {
        pieces([50, ny, 1042], x, y, neighbours).collect()
    }

    fn assert_without_gaps(pieces: &[Range<usize>], whole: &Range<usize>) {
        assert!(pieces.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES));
        let ends = (pieces[0].start, pieces[pieces.len() - 1].end);
        assert_eq!(ends, (whole.start, whole.end));
    }

    #[test]
    fn lines_of_a_plane_are_read_one_by_one() {
        let expected = |plane| [3, 4].map(|x| x * plane + 7 * LINE..x * plane + 8 * LINE);
        assert_eq!(pieces_of(10, 3..5, 7..8, false), expected(10 * LINE));
        assert_eq!(pieces_of(10, 3..3, 7..8, false), []);
        // Too far apart to read what lies between.
        assert_eq!(pieces_of(50, 3..5, 7..8, true), expected(50 * LINE));
    }

    #[test]
    fn lines_at_the_same_x_and_near_lines_are_read_in_pieces_without_gaps() {
        let same_x = pieces_of(50, 3..4, 0..50, false);
        assert_without_gaps(&same_x, &(150 * LINE..200 * LINE));
        let near = pieces_of(10, 0..50, 7..8, true);
        assert_without_gaps(&near, &(7 * LINE..498 * LINE));
    }
}
