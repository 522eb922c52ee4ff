//! `dawn21 import-model`.

use std::path::{Path, PathBuf};

use super::CommandError;
use super::model_argument::{self, Weights};
use super::output::{line, note};
use crate::data::manifest::Manifest;
use crate::data::slices::{SliceConfig, Slicing};
use crate::model::architecture::Architecture;
use crate::model::description::ModelDescription;
use crate::model::exchange;
use crate::model::exchange::architecture_file::ArchitectureFile;
use crate::model::exchange::keras::DataFormat;
use crate::model::model_file::{self, ModelError};
use crate::model::summary::Summary;
use crate::run_directory::RunDirectory;
use crate::training::run_record::ImportRecord;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Weights: a PyTorch state_dict in safetensors, or a .h5 file of Keras 2 or 3
    file: PathBuf,
    /// Run directory to create
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// TOML file with the [[layer]] tables of the network; a --config file of `dawn21 train` also serves.
    /// Default: the layers of --like
    #[arg(long, value_name = "FILE", required_unless_present = "like")]
    architecture: Option<PathBuf>,
    /// Data directory with the images and parameters that the network is for
    #[arg(long, value_name = "DATA", conflicts_with = "like")]
    data: Option<PathBuf>,
    /// Run or model file for the same images and parameters
    #[arg(long, value_name = "RUN")]
    like: Option<PathBuf>,
    /// Where the channels were when Keras saved the weights; default: what the file says, else channels_first
    /// for Theano and channels_last otherwise
    #[arg(long, value_enum, value_name = "FORMAT")]
    data_format: Option<DataFormatArgument>,
    /// Print the result only
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum DataFormatArgument {
    ChannelsFirst,
    ChannelsLast,
}

impl From<DataFormatArgument> for DataFormat {
    fn from(argument: DataFormatArgument) -> Self {
        match argument {
            DataFormatArgument::ChannelsFirst => Self::ChannelsFirst,
            DataFormatArgument::ChannelsLast => Self::ChannelsLast,
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let (description, architecture) = describe(arguments)?;
    let data_format = arguments.data_format.map(DataFormat::from);
    let imported = exchange::import(&arguments.file, &architecture, data_format)?;
    // Whatever is wrong with the file is known by now: no half-made run is left behind.
    let record = ImportRecord::new(&arguments.file, imported.format.clone())?;
    let (run, _lock) = RunDirectory::create(&arguments.out)?;
    model_file::write(
        &run.model(),
        &description,
        &architecture,
        &imported.parameters,
    )?;
    record.write(&run.record())?;
    if !arguments.quiet {
        note(format_args!("{}\n", Summary(&architecture)));
        for matched in &imported.matches {
            note(matched);
        }
        note(format_args!(
            "{}: {}",
            arguments.file.display(),
            imported.format
        ));
    }
    line(format_args!(
        "imported {} parameters: {}",
        imported.parameters.trainable_count(),
        run.model().display()
    ))
}

/// The model to be, from the architecture file and whatever says what its images are.
fn describe(arguments: &Arguments) -> Result<(ModelDescription, Architecture), CommandError> {
    let file = match &arguments.architecture {
        Some(path) => Some((path.as_path(), ArchitectureFile::read(path)?)),
        None => None,
    };
    let like = match &arguments.like {
        Some(path) => Some(model_argument::open(path, Weights::Best)?.1.description),
        None => None,
    };
    let layers = match (&file, &like) {
        (Some((_, file)), _) => &file.layers,
        (None, Some(like)) => &like.layers,
        // The command line asks for one of them.
        (None, None) => return Err(CommandError::Usage(missing("an architecture"))),
    };
    let given = file.as_ref().map(|(_, file)| file);
    let input = given
        .and_then(|file| file.input)
        .or(like.as_ref().map(|like| like.input))
        .unwrap_or_default();
    input.check()?;
    let slices = given
        .and_then(|file| file.slices.clone())
        .or(like.as_ref().map(|like| like.slices.clone()))
        .unwrap_or_default();
    let (manifest, image) = surroundings(arguments, &file, like.as_ref(), &slices)?;
    let architecture =
        Architecture::resolve(layers, image, manifest.cell_mpc, manifest.parameters.len())
            .map_err(|source| ModelError::Architecture {
                path: named(arguments),
                source,
            })?;
    let description = ModelDescription::new(&architecture, &manifest, input, slices);
    Ok((description, architecture))
}

/// What the images are, and their rows and columns: from exactly one of three places.
fn surroundings(
    arguments: &Arguments,
    file: &Option<(&Path, ArchitectureFile)>,
    like: Option<&ModelDescription>,
    slices: &SliceConfig,
) -> Result<(Manifest, [usize; 2]), CommandError> {
    let own = match file {
        Some((path, file)) => file.manifest(path)?,
        None => None,
    };
    match (own, &arguments.data, like) {
        (Some(_), None, Some(_)) | (Some(_), Some(_), None) => Err(CommandError::Usage(format!(
            "{}: [geometry] says what the images are; leave out --data or --like, or the [geometry]",
            named(arguments)
        ))),
        (Some(manifest), ..) => {
            let [rows, _, columns] = manifest.shape;
            Ok((manifest, [rows, columns]))
        }
        (None, Some(directory), _) => {
            let manifest = Manifest::read(directory)?;
            let slicing = Slicing::new(&manifest, slices)?;
            Ok((manifest, [slicing.rows(), slicing.columns()]))
        }
        (None, None, Some(like)) => {
            let [rows, columns] = like.image;
            Ok((like.manifest([rows, 1, columns]), like.image))
        }
        (None, None, None) => Err(CommandError::Usage(missing(
            "size, cell_mpc, redshift_range, quantity and unit of the images, and names and ranges of the parameters",
        ))),
    }
}

fn missing(what: &str) -> String {
    format!(
        "a weights file does not say everything: {what} are missing; give --data DATA or --like RUN, or write \
         [geometry] and [[parameters]] into the --architecture file (docs/models.md)"
    )
}

/// Where the layers come from.
fn named(arguments: &Arguments) -> String {
    let path = arguments.architecture.as_ref().or(arguments.like.as_ref());
    path.map_or(String::new(), |path| path.display().to_string())
}
