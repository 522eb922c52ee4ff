//! `dawn21 ensemble`.

use std::path::{Path, PathBuf};

use super::CommandError;
use super::output::{line, note};
use crate::data::manifest::Manifest;
use crate::data::slices::Slicing;
use crate::data::split_table::SplitTable;
use crate::data::symmetry::Symmetries;
use crate::model::description::ModelDescription;
use crate::model::ensemble::{self, EnsembleError};
use crate::model::model_file::{self, Model};
use crate::run_directory::RunDirectory;
use crate::shell::quoted;
use crate::training::evaluated_run::EvaluatedRunError;
use crate::training::history;
use crate::training::run_record::RunRecord;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Runs of one network on the same light-cones, e.g. with different seeds; at least two unless --shifts or --flip
    /// is given
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Average over N evenly spaced shifts of each image along the sky, around the edges of the periodic box; only for
    /// images as wide as the box. A prediction takes N times as long
    #[arg(long, value_name = "N", default_value_t = 1)]
    shifts: usize,
    /// Average over each image and its mirror image on the sky. A prediction takes twice as long
    #[arg(long)]
    flip: bool,
    /// Run directory to create
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Print the result only
    #[arg(long)]
    quiet: bool,
}

/// Makes one network of the best weights of some runs, whose outputs are the mean of theirs and over views of an image.
pub(super) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let members = arguments.runs.iter().map(|path| Member::open(path));
    let members: Vec<Member> = members.collect::<Result<_, _>>()?;
    refuse_doubles(&members)?;
    let split = common_split(&members)?;
    if !arguments.quiet {
        note_differences(&members)?;
    }
    let record = members[0].record.clone();
    let symmetries = Symmetries {
        shifts: arguments.shifts,
        flip: arguments.flip,
    };
    let models: Vec<Model> = members.into_iter().map(|member| member.model).collect();
    let (description, architecture, parameters) =
        ensemble::merge(&models, symmetries).map_err(|error| match error {
            EnsembleError::Differ { number, field } => CommandError::Usage(format!(
                "{} has different {field} from {}; an ensemble is made of models that differ only in their weights",
                arguments.runs[number - 1].display(),
                arguments.runs[0].display()
            )),
            EnsembleError::OneAnswer => CommandError::Usage(
                "a mean needs two predictions or more: give two or more runs, or --shifts or --flip for a run that has \
                 no views yet"
                    .to_string(),
            ),
            error => error.into(),
        })?;
    check_images(&record, &description)?;
    let record = RunRecord::ensemble(
        &record,
        arguments.runs.clone(),
        architecture.specs(),
        symmetries,
    );

    let (run, _lock) = RunDirectory::create(&arguments.out)?;
    if let Some(split) = split {
        split.write(&run.split())?;
    }
    model_file::write(&run.model(), &description, &architecture, &parameters)?;
    record.write(&run.record())?;
    let networks = match models.len() {
        1 => "1 network".to_string(),
        count => format!("{count} networks"),
    };
    let views = match description.symmetries.is_none() {
        true => String::new(),
        false => format!(" over {}", description.symmetries),
    };
    line(format_args!(
        "mean of {networks} of {} parameters{views}: {}",
        models[0].parameters.trainable_count(),
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

/// Where the light-cones of the training are at hand, they show whether their images have the symmetries; else those do
/// that the model is used with.
fn check_images(record: &RunRecord, description: &ModelDescription) -> Result<(), CommandError> {
    let shifts = description.symmetries.shifts;
    if shifts == 1 {
        return Ok(());
    }
    let Ok(manifest) = Manifest::read(&record.data.directory) else {
        return Ok(());
    };
    let Ok(slicing) = Slicing::new(&manifest, &description.slices) else {
        return Ok(());
    };
    // Others may lie there now.
    let same = description.image == [slicing.rows(), slicing.columns()];
    if same && !slicing.is_as_wide_as_box(&manifest) {
        return Err(CommandError::Usage(format!(
            "--shifts {shifts}: needs images as wide as the periodic box (slices.halves = 1); the training images have \
             {} of {} rows; --flip alone is possible",
            slicing.rows(),
            manifest.shape[0]
        )));
    }
    Ok(())
}

/// A run that becomes part of an ensemble.
struct Member {
    run: RunDirectory,
    record: RunRecord,
    /// None where it was lost.
    split: Option<SplitTable>,
    model: Model,
}

impl Member {
    fn open(path: &Path) -> Result<Self, CommandError> {
        let run = RunDirectory::open(path)?;
        let record = RunRecord::read_unless_imported(&run.record())?.ok_or_else(|| {
            CommandError::Usage(format!(
                "{}: was imported, and it is not known which light-cones it was trained on, so none could be used to \
                 test the ensemble",
                path.display()
            ))
        })?;
        let split = SplitTable::read(&run.split())?;
        if !run.model().exists() {
            return Err(CommandError::Usage(format!(
                "{}: missing; no epoch of this run has finished yet, or it was removed",
                run.model().display()
            )));
        }
        let model = model_file::read(&run.model())?;
        Ok(Self {
            run,
            record,
            split,
            model,
        })
    }
}

/// A run given twice would count twice.
fn refuse_doubles(members: &[Member]) -> Result<(), CommandError> {
    for (index, member) in members.iter().enumerate() {
        let same = |other: &&Member| other.model.parameters == member.model.parameters;
        if let Some(other) = members[..index].iter().find(same) {
            return Err(CommandError::Usage(format!(
                "{} and {} have the same weights; give each run once",
                other.run.path().display(),
                member.run.path().display()
            )));
        }
    }
    Ok(())
}

/// The division of the light-cones, none where all members lost it: what one was trained on must not be the test of
/// another.
fn common_split(members: &[Member]) -> Result<Option<SplitTable>, CommandError> {
    let first = &members[0];
    let mut with_split = members
        .iter()
        .filter_map(|member| Some((member, member.split.as_ref()?)));
    let first_split = with_split.clone().next();
    let differ = |a: &Member, b: &Member, what: String| {
        Err(CommandError::Usage(format!(
            "{} and {} were trained on different light-cones ({what}): the test of one would be no test of the other",
            a.run.path().display(),
            b.run.path().display(),
        )))
    };
    let another_split = || "another split of the same data".to_string();
    for member in &members[1..] {
        let (own, firsts) = (&member.record.data, &first.record.data);
        if own.fingerprint != firsts.fingerprint {
            let (own, firsts) = (own.directory.display(), firsts.directory.display());
            return differ(first, member, format!("those of {firsts} and of {own}"));
        }
        if member.record.config.split != first.record.config.split {
            return differ(first, member, another_split());
        }
        if let (Some((with_split, known)), Some(own)) = (first_split, &member.split)
            && !own.divides_like(known)
        {
            return differ(with_split, member, another_split());
        }
    }
    // Runs of before the parameters were kept know less than the others.
    let complete = with_split.find(|(_, split)| split.has_parameters());
    Ok(complete.or(first_split).map(|(_, split)| split.clone()))
}

/// What does not speak against a mean, but should be known.
fn note_differences(members: &[Member]) -> Result<(), CommandError> {
    let first = &members[0];
    for member in members {
        let name = member.run.path().display();
        let history = history::read(&member.run.history()).map_err(EvaluatedRunError::from)?;
        if member.record.members.is_empty() && !member.record.has_ended(&history) {
            note(format_args!(
                "warning: the training of {name} has not reached its last epoch"
            ));
        }
        if member.record.config.without_seed() != first.record.config.without_seed() {
            note(format_args!(
                "note: {name} was trained with different settings from {}; the new run.toml holds those of the latter",
                first.run.path().display()
            ));
        }
    }
    Ok(())
}
