//! `dawn21 export`.

use std::path::{Path, PathBuf};

use super::CommandError;
use super::model_argument::{self, Weights};
use super::output::{line, note};
use crate::model::exchange::{keras, onnx};
use crate::model::model_file;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Run directory or model file
    run: PathBuf,
    /// onnx: from mK to physical parameters; keras: weights with channels last; safetensors: weights for
    /// torch.nn.Sequential
    #[arg(long, value_enum)]
    format: Format,
    /// File to write. For Keras, its name chooses the format, by Keras' own rule: .weights.h5 is the format of Keras 3,
    /// .h5 the legacy one that every Keras reads. Default: exported.onnx, .weights.h5 or .safetensors beside the model
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Which weights
    #[arg(long, value_enum, default_value = "best")]
    weights: Weights,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Onnx,
    Keras,
    Safetensors,
}

impl Format {
    fn default_name(self) -> &'static str {
        match self {
            Self::Onnx => "exported.onnx",
            Self::Keras => "exported.weights.h5",
            Self::Safetensors => "exported.safetensors",
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let (source, model) = model_argument::open(&arguments.run, arguments.weights)?;
    let out = arguments.out.clone().unwrap_or_else(|| {
        let beside = if arguments.run.is_dir() {
            arguments.run.as_path()
        } else {
            arguments.run.parent().unwrap_or(Path::new(""))
        };
        beside.join(arguments.format.default_name())
    });
    if same_file(&source, &out) {
        return Err(CommandError::Usage(format!(
            "--out {}: is the model itself; choose another file",
            out.display()
        )));
    }
    let architecture = model.network.architecture();
    let about = match arguments.format {
        Format::Onnx => {
            onnx::write(&out, &model)?;
            "ONNX, from an image in mK (N,1,H,W) to physical parameters"
        }
        Format::Keras => {
            let flavour = keras::Flavour::of(&out).ok_or_else(|| {
                CommandError::Usage(format!(
                    "--out {}: Keras tells its formats apart by the file's name; end it in .weights.h5 (Keras 3) or \
                     .h5 (legacy, every Keras)",
                    out.display()
                ))
            })?;
            keras::write(&out, flavour, architecture, &model.parameters)?;
            match flavour {
                keras::Flavour::Weights => "weights of Keras 3, channels_last",
                keras::Flavour::Legacy => "legacy weights of Keras, channels_last",
            }
        }
        Format::Safetensors => {
            model_file::write(&out, &model.description, architecture, &model.parameters)?;
            "safetensors, a state_dict of torch.nn.Sequential"
        }
    };
    line(format_args!("{}: {about}", out.display()))?;
    let symmetries = model.description.symmetries;
    if !symmetries.is_none() {
        note(format_args!(
            "note: other programs will predict from an image only as it is; dawn21 takes the mean over {symmetries}"
        ));
    }
    Ok(())
}

/// Whether two names lead to one existing file.
fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}
