//! `dawn21 predict`.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::model_argument::{self, Weights};
use super::progress::Items;
use super::{CommandError, Threads};
use crate::data::DataError;
use crate::data::batches::read_slice;
use crate::data::cube::{Cube, CubeError};
use crate::data::manifest::{MANIFEST_FILE, Manifest};
use crate::data::scaling::TargetScaling;
use crate::data::slices::{SliceIndex, Slicing};
use crate::model::engine::Engine;
use crate::model::model_file::{Model, ModelDescription};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Run directory or model file
    run: PathBuf,
    /// Cubes or single images of raw little-endian f32; a cube in a data directory is described by its
    /// dataset.toml
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Cells of cubes that are in no data directory: x,y,z
    #[arg(long, value_name = "X,Y,Z", value_parser = parse_shape)]
    shape: Option<[usize; 3]>,
    /// Which weights
    #[arg(long, value_enum, default_value = "best")]
    weights: Weights,
    #[command(flatten)]
    threads: Threads,
    /// No progress
    #[arg(long)]
    quiet: bool,
}

fn parse_shape(text: &str) -> Result<[usize; 3], String> {
    let cells: Vec<usize> = text
        .split(',')
        .map(|part| {
            part.trim()
                .parse::<usize>()
                .map_err(|error| error.to_string())
        })
        .collect::<Result<_, _>>()?;
    let shape = <[usize; 3]>::try_from(cells).map_err(|_| "expected three numbers".to_string())?;
    let bytes = shape
        .iter()
        .try_fold(4_usize, |n, &cells| n.checked_mul(cells));
    match bytes {
        Some(bytes) if bytes > 0 => Ok(shape),
        _ => Err("expected three positive numbers whose product is addressable".to_string()),
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    arguments.threads.apply()?;
    let (_, model) = model_argument::open(&arguments.run, arguments.weights)?;
    let mut output = std::io::stdout().lock();
    let names: Vec<&str> = model
        .description
        .parameters
        .iter()
        .map(|p| p.name.as_str())
        .collect();
    writeln!(output, "file,y_plane,first_x,{}", names.join(","))?;
    let mut progress = Items::new("files", arguments.files.len(), arguments.quiet);
    let mut engine = model.engine()?;
    for (done, file) in arguments.files.iter().enumerate() {
        let cube = locate(file, arguments.shape, &model.description)?;
        let rows = predict(&cube, &model, &mut engine)?;
        for (slice, values) in cube.slices.iter().zip(rows) {
            let place = slice.map_or(",".to_string(), |s| {
                format!("{},{}", s.box_plane, s.first_row)
            });
            let values: Vec<String> = values.iter().map(|v| format!("{v:.6}")).collect();
            writeln!(output, "{},{place},{}", csv_field(file), values.join(","))?;
        }
        progress.update(done + 1);
    }
    output.flush()?;
    Ok(())
}

/// A path as a csv field.
fn csv_field(path: &Path) -> String {
    let text = path.display().to_string();
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

/// A file and the images in it.
struct Located {
    cube: Cube,
    slicing: Slicing,
    /// One per image; none where the file is an image itself.
    slices: Vec<Option<SliceIndex>>,
}

/// Finds out what a file is: a cube of a data directory, a cube of `shape`, or a single image.
fn locate(
    file: &Path,
    shape: Option<[usize; 3]>,
    description: &ModelDescription,
) -> Result<Located, CommandError> {
    let metadata =
        std::fs::metadata(file).map_err(crate::atomic_file::FileError::at(file, "opening"))?;
    if metadata.is_dir() {
        return Err(CommandError::Usage(format!(
            "{}: a directory; give the cubes in it, e.g. {}/*.f32",
            file.display(),
            file.display()
        )));
    }
    let bytes = metadata.len();
    let [rows, columns] = description.image;
    let image_bytes = 4 * (rows * columns) as u64;
    let manifest = match (shape, surrounding_manifest(file)?) {
        (Some(shape), _) => Some(description.manifest(shape)),
        (None, Some(manifest)) => Some(manifest),
        (None, None) => None,
    };
    let Some(manifest) = manifest.filter(|m| bytes == m.cube_bytes() || bytes != image_bytes)
    else {
        if bytes != image_bytes {
            return Err(CommandError::Usage(format!(
                "{}: {bytes} bytes are no image of the model ({rows} x {columns} cells, {image_bytes} bytes); \
                 for a cube give --shape X,Y,Z or put it into a data directory",
                file.display()
            )));
        }
        let image = description.manifest([rows, 1, columns]);
        let whole = SliceIndex {
            stored_plane: 0,
            box_plane: 0,
            first_row: 0,
        };
        return Ok(Located {
            cube: open(file, image.shape)?,
            slicing: Slicing::single(rows, columns, whole),
            slices: vec![None],
        });
    };
    let slicing = Slicing::new(&manifest, &description.slices)?;
    description.check_geometry(&manifest, &slicing)?;
    Ok(Located {
        cube: open(file, manifest.shape)?,
        slices: slicing.images().iter().copied().map(Some).collect(),
        slicing,
    })
}

fn open(file: &Path, shape: [usize; 3]) -> Result<Cube, CommandError> {
    Cube::open(file, shape).map_err(|error| match error {
        CubeError::File(error) => DataError::from(error).into(),
        CubeError::Size(fault) => fault.into(),
    })
}

/// The manifest of the data directory that a cube lies in, in `DATA/cubes/` or beside the manifest.
fn surrounding_manifest(file: &Path) -> Result<Option<Manifest>, CommandError> {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
    for directory in absolute.ancestors().skip(1).take(2) {
        if directory.join(MANIFEST_FILE).is_file() {
            return Ok(Some(Manifest::read(directory)?));
        }
    }
    Ok(None)
}

/// Parameters in physical units for every image of a file.
fn predict(
    located: &Located,
    model: &Model,
    engine: &mut Engine,
) -> Result<Vec<Vec<f64>>, CommandError> {
    let slicing = &located.slicing;
    let images = slicing.images();
    let input = engine.input_mut();
    input.resize(images.len() * slicing.image_len(), 0.0);
    for (&slice, pixels) in images
        .iter()
        .zip(input.chunks_exact_mut(slicing.image_len()))
    {
        let scaling = &model.description.input;
        read_slice(&located.cube, slice, slicing, scaling, pixels)?;
    }
    let scaling = TargetScaling::new(&model.description.parameters);
    let outputs = engine
        .predict()
        .map_err(crate::evaluation::prediction::PredictionError::from)?;
    let rows = outputs.chunks(scaling.len());
    Ok(rows
        .map(|outputs| {
            let outputs: Vec<f64> = outputs.iter().map(|&v| f64::from(v)).collect();
            scaling.unscale(&outputs).collect()
        })
        .collect())
}
