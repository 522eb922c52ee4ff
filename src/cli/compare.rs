//! `dawn21 compare`.

use std::path::{Path, PathBuf};

use super::output::{line, note};
use super::{CommandError, table};
use crate::evaluation::comparison::{IMAGES, Images, OverSeeds, r2, r2_over_predicted};
use crate::evaluation::published::PUBLISHED;
use crate::evaluation::results::{Metrics, read_metrics};
use crate::run_directory::RunDirectory;
use crate::training::config::Config;
use crate::training::run_record::{RunRecord, RunRecordError};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Evaluated runs; those that differ in their seeds alone make one row
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// What the table holds
    #[arg(long, value_enum, default_value = "range")]
    show: Show,
    /// Print the table in Markdown
    #[arg(long)]
    markdown: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Show {
    /// R2: mean over the seeds, with the lowest and the highest
    Range,
    /// R2: mean over the seeds, with the mean of the 68 % bootstrap intervals over light-cones
    Interval,
    /// R2 over the variance of the predictions, as the paper's published script has it: mean, lowest, highest
    OverPredicted,
}

/// A run that was evaluated.
struct Run {
    path: PathBuf,
    /// None of an imported model.
    config: Option<Config>,
    metrics: Metrics,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let runs = arguments.runs.iter().map(|path| load(path));
    let runs: Vec<Run> = runs.collect::<Result<_, _>>()?;
    let parameters = names(&runs[0].metrics);
    check_parameters(&runs, &parameters)?;
    warn_about_other_light_cones(&runs);

    let mut header = vec!["R2".to_string(), "seeds".to_string()];
    header.extend(parameters.iter().map(|name| (*name).to_string()));
    let mut rows = vec![header];
    for kind in by_kind(&runs) {
        let seeds: Vec<&Metrics> = kind.iter().map(|run| &run.metrics).collect();
        for images in IMAGES {
            rows.extend(row(&name(kind[0]), &seeds, images, arguments.show));
        }
    }
    if arguments.show != Show::OverPredicted {
        for published in PUBLISHED {
            let values: Vec<String> = parameters
                .iter()
                .map(|name| published.of(name).map_or("-".to_string(), three_digits))
                .collect();
            if values.iter().any(|value| value != "-") {
                let mut row = vec![published.source.to_string(), String::new()];
                row.extend(values);
                rows.push(row);
            }
        }
    }
    let text = if arguments.markdown {
        table::markdown(&rows)
    } else {
        table::format(&rows)
    };
    line(text.trim_end())
}

fn load(path: &Path) -> Result<Run, CommandError> {
    let run = RunDirectory::open(path)?;
    let config = match RunRecord::read(&run.record()) {
        Err(RunRecordError::Imported { .. }) => None,
        record => Some(record?.config),
    };
    let metrics = read_metrics(&run.metrics())?.ok_or_else(|| {
        CommandError::Usage(format!(
            "{}: was not evaluated yet: dawn21 evaluate RUN DATA",
            path.display()
        ))
    })?;
    Ok(Run {
        path: path.to_path_buf(),
        config,
        metrics,
    })
}

fn names(metrics: &Metrics) -> Vec<&str> {
    metrics.parameters.iter().map(|p| &p.name[..]).collect()
}

fn check_parameters(runs: &[Run], expected: &[&str]) -> Result<(), CommandError> {
    match runs.iter().find(|run| names(&run.metrics) != expected) {
        Some(run) => Err(CommandError::Usage(format!(
            "{}: has the parameters {}, but {} has {}; compare runs of the same parameters",
            run.path.display(),
            names(&run.metrics).join(", "),
            runs[0].path.display(),
            expected.join(", ")
        ))),
        None => Ok(()),
    }
}

/// Scores say nothing about each other when they are those of other light-cones.
fn warn_about_other_light_cones(runs: &[Run]) {
    let split = |run: &Run| run.config.as_ref().map(|config| config.split.clone());
    let light_cones = |run: &Run| {
        let metrics = &run.metrics;
        (
            metrics.fingerprint.clone(),
            metrics.part.clone(),
            metrics.light_cones,
        )
    };
    let other = |run: &&Run| {
        light_cones(run) != light_cones(&runs[0])
            || (run.metrics.part != "all" && split(run) != split(&runs[0]))
    };
    for run in runs.iter().filter(other) {
        note(format_args!(
            "warning: {} was evaluated on other light-cones than {}",
            run.path.display(),
            runs[0].path.display()
        ));
    }
}

/// Runs that differ in their seeds alone, in the order of the first of each.
fn by_kind(runs: &[Run]) -> Vec<Vec<&Run>> {
    let without_seed = |run: &Run| {
        run.config.clone().map(|mut config| {
            config.seed = 0;
            config
        })
    };
    let mut kinds: Vec<(Option<Config>, Vec<&Run>)> = Vec::new();
    for run in runs {
        let config = without_seed(run);
        let known = kinds
            .iter_mut()
            .find(|(other, _)| config.is_some() && *other == config);
        match known {
            Some((_, kind)) => kind.push(run),
            None => kinds.push((config, vec![run])),
        }
    }
    kinds.into_iter().map(|(_, kind)| kind).collect()
}

/// Directory of a run without the seed at its end.
fn name(run: &Run) -> String {
    let absolute = std::path::absolute(&run.path).unwrap_or_else(|_| run.path.clone());
    let directory = absolute.file_name().unwrap_or_default().to_string_lossy();
    let suffix = run.config.as_ref().map(|c| format!("-{}", c.seed));
    let name = suffix.and_then(|suffix| directory.strip_suffix(&suffix));
    name.unwrap_or(&directory).to_string()
}

fn row(name: &str, seeds: &[&Metrics], images: Images, show: Show) -> Option<Vec<String>> {
    let scores = match show {
        Show::Range | Show::Interval => r2(seeds, images)?,
        Show::OverPredicted => r2_over_predicted(seeds, images)?,
    };
    let mut row = vec![
        format!("{name}, {}", images.name()),
        seeds.len().to_string(),
    ];
    row.extend(
        scores
            .iter()
            .map(|score| score.map_or("-".to_string(), |score| cell(score, show))),
    );
    Some(row)
}

fn cell(score: OverSeeds, show: Show) -> String {
    let mean = three_digits(score.mean);
    let bounds =
        |low: f64, high: f64| format!("{mean} [{}, {}]", three_digits(low), three_digits(high));
    match (show, score.interval_68) {
        (Show::Interval, Some([low, high])) => bounds(low, high),
        (Show::Range | Show::OverPredicted, _) if score.lowest < score.highest => {
            bounds(score.lowest, score.highest)
        }
        _ => mean,
    }
}

fn three_digits(value: f64) -> String {
    format!("{value:.3}")
}
