//! `dawn21 ensemble`.

use std::path::{Path, PathBuf};

use super::CommandError;
use super::model_argument::{self, Weights};
use super::output::{line, note, quoted};
use crate::atomic_file::{FileError, write_bytes_atomically};
use crate::model::ensemble;
use crate::model::model_file::{self, Model};
use crate::run_directory::RunDirectory;
use crate::training::run_record::RunRecord;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Two or more runs of one network on the same light-cones, e.g. with other seeds
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Run directory to create
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Print the result only
    #[arg(long)]
    quiet: bool,
}

/// Makes one network of the best weights of several runs, whose outputs are the mean of theirs.
pub(super) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let members = arguments.runs.iter().map(|path| Member::open(path));
    let members: Vec<Member> = members.collect::<Result<_, _>>()?;
    for member in &members[1..] {
        member.check_light_cones(&members[0])?;
    }
    let split = members.iter().find_map(|member| member.split.clone());
    let mut record = members[0].record.clone();
    let models: Vec<Model> = members.into_iter().map(|member| member.model).collect();
    let (description, architecture, parameters) = ensemble::merge(&models)?;
    record.init_from = None;
    record.members.clone_from(&arguments.runs);
    record.config.layers = architecture.specs().to_vec();
    // That of the members is in their layers already.
    record.config.training.dropout = None;

    let (run, _lock) = RunDirectory::create(&arguments.out)?;
    if let Some(split) = split {
        write_bytes_atomically(&run.split(), split.as_bytes())?;
    }
    model_file::write(&run.model(), &description, &architecture, &parameters)?;
    record.write(&run.record())?;
    line(format_args!(
        "mean of {} networks, {} parameters: {}",
        models.len(),
        parameters.trainable_count(),
        run.model().display()
    ))?;
    if !arguments.quiet {
        note(format_args!(
            "next: dawn21 evaluate {} {}",
            quoted(run.path()),
            quoted(&record.data.directory)
        ));
    }
    Ok(())
}

/// A run that becomes part of an ensemble.
struct Member {
    run: RunDirectory,
    record: RunRecord,
    /// The text of `split.csv`; none where it was lost.
    split: Option<String>,
    model: Model,
}

impl Member {
    fn open(path: &Path) -> Result<Self, CommandError> {
        let run = RunDirectory::open(path)?;
        let record = RunRecord::read_unless_imported(&run.record())?.ok_or_else(|| {
            CommandError::Usage(format!(
                "{}: was imported, and which light-cones it was trained on is not known: none would be a test of the \
                 ensemble",
                path.display()
            ))
        })?;
        let split = match std::fs::read_to_string(run.split()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            text => Some(text.map_err(FileError::at(&run.split(), "reading"))?),
        };
        let (_, model) = model_argument::open(path, Weights::Best)?;
        Ok(Self {
            run,
            record,
            split,
            model,
        })
    }

    /// What one member was trained on must not be the test of another.
    fn check_light_cones(&self, first: &Self) -> Result<(), CommandError> {
        let same_data = self.record.data.fingerprint == first.record.data.fingerprint;
        let same_split = self.record.config.split == first.record.config.split
            && (self.split == first.split || self.split.is_none() || first.split.is_none());
        if same_data && same_split {
            return Ok(());
        }
        Err(CommandError::Usage(format!(
            "{} and {} were trained on other light-cones ({}): the test of one would not be one of the other",
            first.run.path().display(),
            self.run.path().display(),
            if same_data {
                "another split of the same data"
            } else {
                "of other data directories"
            }
        )))
    }
}
