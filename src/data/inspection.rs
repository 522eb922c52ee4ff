//! `dawn21 info`: a data directory and all that is wrong with it.

use std::collections::HashSet;
use std::path::Path;

use super::DataError;
use super::cube::{Cube, CubeError};
use super::dataset::{Dataset, Opened};
use super::fault::Fault;

/// A data directory with its faults.
#[derive(Debug)]
pub struct Inspection {
    /// What is sound in it.
    pub dataset: Dataset,
    /// Everything that is not.
    pub faults: Vec<Fault>,
}

/// Checks manifest, table, missing, extra, truncated and oversized cubes; with `deep`, every cell.
///
/// `progress` is called with (cubes read, cubes in all) during a deep inspection.
///
/// # Errors
/// [`DataError`] when manifest or table cannot be read at all.
pub fn inspect(
    directory: &Path,
    deep: bool,
    mut progress: impl FnMut(usize, usize),
) -> Result<Inspection, DataError> {
    let Opened {
        dataset,
        mut faults,
        ids,
    } = Dataset::open_with_faults(directory)?;
    // Without them every cube would be called superfluous.
    if let Some(ids) = ids {
        faults.extend(extra_cubes(&dataset, &ids));
    }
    if deep {
        let count = dataset.light_cones().len();
        for (done, light_cone) in dataset.light_cones().iter().enumerate() {
            progress(done, count);
            let path = dataset.cube_path(&light_cone.id);
            match Cube::open(&path, dataset.manifest().shape) {
                Ok(cube) => faults.extend(cube.find_non_finite()),
                // Missing and wrongly sized cubes are among the faults already.
                Err(CubeError::Size(_)) => {}
                Err(CubeError::File(_)) if !path.exists() => {}
                Err(CubeError::File(error)) => faults.push(Fault::UnreadableCube {
                    path,
                    reason: error.source.to_string(),
                }),
            }
        }
        progress(count, count);
    }
    Ok(Inspection { dataset, faults })
}

/// Cubes that no line of the table names. Temporary files of a running simulation do not count.
fn extra_cubes(dataset: &Dataset, ids: &HashSet<String>) -> Vec<Fault> {
    let Ok(entries) = std::fs::read_dir(dataset.cube_directory()) else {
        return Vec::new();
    };
    let mut extra: Vec<Fault> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "f32"))
        .filter(|path| {
            path.file_stem()
                .and_then(|stem| stem.to_str())
                .is_none_or(|stem| !ids.contains(stem))
        })
        .map(|path| Fault::ExtraCube { path })
        .collect();
    extra.sort_by_key(ToString::to_string);
    extra
}
