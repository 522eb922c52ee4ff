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

/// Lines of sight of a plane no farther apart than this may be read with what lies between them: fewer, larger
/// pieces.
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

    /// Asks the operating system to read the lines of sight `x` in `rows` of plane `y` ahead, all at
    /// once: on a cold disk this costs one wait instead of one a page. With `neighbours`, what lies between
    /// them is read too, if they are near each other.
    pub fn will_need(&self, rows: Range<usize>, y: usize, neighbours: bool) {
        #[cfg(unix)]
        for bytes in pieces(self.shape, rows, y, neighbours) {
            // Advice only: a failure changes nothing but speed.
            let _ = self
                .map
                .advise_range(memmap2::Advice::WillNeed, bytes.start, bytes.len());
        }
        #[cfg(not(unix))]
        let _ = (rows, y, neighbours);
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

/// The pieces of a file, in bytes, that hold the lines of sight `rows` of plane `y`.
#[cfg(unix)]
fn pieces(
    [_, ny, nz]: [usize; 3],
    rows: Range<usize>,
    y: usize,
    neighbours: bool,
) -> impl Iterator<Item = Range<usize>> {
    let lines_a_stretch = if neighbours && 4 * ny * nz <= READ_THROUGH_BYTES {
        rows.len().max(1)
    } else {
        1
    };
    let end = rows.end;
    rows.step_by(lines_a_stretch).flat_map(move |first| {
        let last = (first + lines_a_stretch).min(end) - 1;
        let (start, end) = (4 * (first * ny + y) * nz, 4 * (last * ny + y + 1) * nz);
        (start..end)
            .step_by(PIECE_BYTES)
            .map(move |piece| piece..(piece + PIECE_BYTES).min(end))
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const LINE: usize = 4 * 1042;

    fn pieces_of(shape: [usize; 3], rows: Range<usize>, neighbours: bool) -> Vec<Range<usize>> {
        pieces(shape, rows, 7, neighbours).collect()
    }

    #[test]
    fn lines_are_read_one_by_one() {
        let plane = 10 * LINE;
        let expected = [3, 4].map(|x| x * plane + 7 * LINE..x * plane + 8 * LINE);
        assert_eq!(pieces_of([50, 10, 1042], 3..5, false), expected);
        assert_eq!(pieces_of([50, 10, 1042], 3..3, false), []);
        // Too far apart to read what lies between.
        let plane = 50 * LINE;
        let expected = [3, 4].map(|x| x * plane + 7 * LINE..x * plane + 8 * LINE);
        assert_eq!(pieces_of([50, 50, 1042], 3..5, true), expected);
    }

    #[test]
    fn near_lines_and_what_lies_between_are_read_in_pieces_without_gaps() {
        let pieces = pieces_of([50, 10, 1042], 0..50, true);
        assert_eq!(pieces[0].start, 7 * LINE);
        assert!(pieces.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES));
        assert_eq!(
            pieces.last().map(|piece| piece.end),
            Some(490 * LINE + 8 * LINE)
        );
    }
}
