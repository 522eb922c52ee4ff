//! `dawn21 compare`.

use std::path::{Path, PathBuf};

use super::output::{line, note};
use super::{CommandError, table};
use crate::evaluation::comparison::{IMAGES, Images, OverSeeds, r2, r2_over_predicted};
use crate::evaluation::mean_over_runs::{mean_over_runs, scores_of};
use crate::evaluation::published::PUBLISHED;
use crate::evaluation::results::read_predictions;
use crate::evaluation::scores::ParameterScores;
use crate::shell::quoted;
use crate::training::evaluated_run::{EvaluatedRun, EvaluatedRunError, evaluate_command};

const ROWS: &str = "Rows of a run:
  first image       the first image of each light-cone, as in the paper
  each image        every image on its own
  mean of images    the mean of the predictions over a light-cone's images
  calibrated mean   that mean minus the bias that such means have on the calibration light-cones
  ... of both directions    the means over images of constant y and of constant x";

/// Marks the rows of runs that were scored on light-cones that they know.
const KNOWN: &str = " (!)";

#[derive(Debug, clap::Args)]
#[command(after_help = ROWS)]
pub(super) struct Arguments {
    /// Evaluated runs; those that differ only in their seeds share one row for each kind of score, an ensemble has rows
    /// of its own
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// What the table holds
    #[arg(long, value_enum, default_value = "range")]
    show: Show,
    /// Also score the mean of the predictions over the seeds of a row, from their predictions.csv: what `dawn21 ensemble`
    /// makes of the runs, before a calibration
    #[arg(long)]
    mean_over_seeds: bool,
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

pub(super) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let runs = arguments.runs.iter().map(|path| EvaluatedRun::open(path));
    let runs: Vec<EvaluatedRun> = runs.collect::<Result<_, _>>()?;
    let parameters = runs[0].parameters();
    for run in &runs {
        run.check_parameters(runs[0].run.path(), &parameters)?;
        if !run.is_finished()? {
            note(format_args!(
                "warning: the training of {} has not reached its last epoch",
                run.run.path().display()
            ));
        }
        if let Some(caution) = run.metrics.caution() {
            note(format_args!(
                "warning: {}: {caution}",
                run.run.path().display()
            ));
        }
    }
    let first = &runs[0];
    for run in &runs[1..] {
        for difference in run.differences(&first.run, first.record.as_ref(), &first.metrics) {
            note(format_args!("warning: {difference}"));
        }
    }

    let mut header = vec!["R2".to_string(), "seeds".to_string()];
    header.extend(parameters.iter().map(|name| (*name).to_string()));
    let mut rows = vec![header];
    let kinds = by_kind(&runs)?;
    for kind in &kinds {
        let mut name = name(kind[0], &kinds);
        if kind.iter().any(|run| run.metrics.caution().is_some()) {
            name.push_str(KNOWN);
        }
        for images in IMAGES {
            let seeds = kind.iter().map(|run| images.scores(&run.metrics));
            match seeds.clone().collect::<Option<Vec<_>>>() {
                Some(scores) => rows.push(row(&name, seeds.len(), &scores, images, arguments.show)),
                // Only whole cubes have both directions: no run is asked for them that has none.
                None if images.need_whole_cubes() && seeds.flatten().next().is_none() => {}
                None => say_what_is_missing(kind, images),
            }
        }
        if arguments.mean_over_seeds && kind.len() > 1 {
            rows.extend(rows_of_mean(&name, kind, arguments.show)?);
        }
    }
    if arguments.show != Show::OverPredicted {
        rows.extend(published_rows(&parameters));
    }
    let text = if arguments.markdown {
        table::markdown(&rows)
    } else {
        table::format(&rows)
    };
    line(text.trim_end())?;
    if rows.iter().any(|row| row[0].contains(KNOWN)) {
        line(format_args!(
            "\n{}: scored on light-cones that the network knows, so the scores are not a test",
            KNOWN.trim()
        ))?;
    }
    Ok(())
}

/// Runs that differ in their seeds alone, in the order of the first of each.
fn by_kind(runs: &[EvaluatedRun]) -> Result<Vec<Vec<&EvaluatedRun>>, EvaluatedRunError> {
    let seed = |run: &EvaluatedRun| run.record.as_ref().map(|record| record.config.seed);
    let mut kinds: Vec<Vec<&EvaluatedRun>> = Vec::new();
    for run in runs {
        let known = kinds
            .iter_mut()
            .find(|kind| kind[0].differs_in_seed_alone(run));
        let Some(kind) = known else {
            kinds.push(vec![run]);
            continue;
        };
        if let Some(same) = kind.iter().find(|other| seed(other) == seed(run)) {
            return Err(EvaluatedRunError::SameSeed {
                first: same.run.path().to_path_buf(),
                second: run.run.path().to_path_buf(),
                seed: seed(run).unwrap_or_default(),
            });
        }
        kind.push(run);
    }
    Ok(kinds)
}

/// Name of a kind of training: the directory of its first run without the seed at its end, or the whole path
/// when another kind has that name. A mean of several networks has no seed.
fn name(run: &EvaluatedRun, kinds: &[Vec<&EvaluatedRun>]) -> String {
    let short = |run: &EvaluatedRun| {
        let directory = run.run.name();
        let record = run.record.as_ref().filter(|r| r.is_of_one_seed());
        let suffix = record.map(|record| format!("-{}", record.config.seed));
        match suffix.and_then(|suffix| directory.strip_suffix(&suffix).map(str::to_string)) {
            Some(name) if !name.is_empty() => name,
            _ => directory,
        }
    };
    let name = short(run);
    if kinds.iter().filter(|kind| short(kind[0]) == name).count() > 1 {
        return run.run.path().display().to_string();
    }
    name
}

/// `seeds` are those behind the scores.
fn row(
    name: &str,
    seeds: usize,
    scores: &[&[ParameterScores]],
    images: Images,
    show: Show,
) -> Vec<String> {
    let scores = match show {
        Show::Range | Show::Interval => r2(scores),
        Show::OverPredicted => r2_over_predicted(scores),
    };
    let mut row = vec![format!("{name}, {}", images.name()), seeds.to_string()];
    let cells = scores
        .iter()
        .map(|score| score.map_or("-".to_string(), |score| cell(score, show)));
    row.extend(cells);
    row
}

/// Rows of the mean of the predictions over the seeds of a kind.
fn rows_of_mean(
    name: &str,
    kind: &[&EvaluatedRun],
    show: Show,
) -> Result<Vec<Vec<String>>, CommandError> {
    let mut runs = Vec::with_capacity(kind.len());
    for run in kind {
        let read = read_predictions(&run.run.predictions(), &run.parameters());
        let Some(predictions) = read.map_err(EvaluatedRunError::from)? else {
            note(format_args!(
                "no mean over the seeds of {name}: {} is missing",
                run.run.predictions().display()
            ));
            return Ok(Vec::new());
        };
        runs.push(predictions);
    }
    let Some(mean) = mean_over_runs(&runs) else {
        note(format_args!(
            "no mean over the seeds of {name}: their predictions are not of the same light-cones"
        ));
        return Ok(Vec::new());
    };
    let metrics = &kind[0].metrics;
    let parameters = metrics.parameters.iter();
    let parameters: Vec<(&str, &str)> = parameters.map(|p| (&p.name[..], &p.unit[..])).collect();
    let name = format!("{name}, mean over seeds");
    let rows = IMAGES.into_iter().filter_map(|images| {
        let scores = scores_of(&mean, images, &parameters, metrics.bootstrap_seed)?;
        Some(row(&name, kind.len(), &[&scores], images, show))
    });
    Ok(rows.collect())
}

fn say_what_is_missing(kind: &[&EvaluatedRun], images: Images) {
    for run in kind
        .iter()
        .filter(|run| images.scores(&run.metrics).is_none())
    {
        let imported = run.record.is_none();
        let command = evaluate_command(run.run.path(), Path::new("DATA"), imported);
        let command = match images {
            Images::First | Images::Each | Images::Mean => format!("{command} --images all"),
            Images::CalibratedMean if imported => format!(
                "dawn21 calibrate {} OTHER_DATA, then {command}",
                quoted(run.run.path())
            ),
            // With the data of the training; a calibration is made on the way.
            Images::CalibratedMean => command,
            Images::MeanOfBothDirections | Images::CalibratedMeanOfBothDirections => {
                format!("{command} --both-directions")
            }
        };
        note(format_args!(
            "{} has no scores for {}; to get them: {command}",
            run.run.path().display(),
            images.name(),
        ));
    }
}

/// Published scores of these parameters.
fn published_rows(parameters: &[&str]) -> Vec<Vec<String>> {
    let published = PUBLISHED.iter().filter_map(|published| {
        let values: Vec<Option<f64>> = parameters.iter().map(|name| published.of(name)).collect();
        values.iter().any(Option::is_some).then(|| {
            let mut row = vec![published.source.to_string(), String::new()];
            row.extend(
                values
                    .iter()
                    .map(|value| value.map_or("-".to_string(), three_digits)),
            );
            row
        })
    });
    published.collect()
}

fn cell(score: OverSeeds, show: Show) -> String {
    let mean = three_digits(score.mean);
    let with_bounds =
        |low: f64, high: f64| format!("{mean} [{}, {}]", three_digits(low), three_digits(high));
    match (show, score.interval_68) {
        (Show::Interval, Some([low, high])) => with_bounds(low, high),
        (Show::Range | Show::OverPredicted, _) if score.lowest < score.highest => {
            with_bounds(score.lowest, score.highest)
        }
        _ => mean,
    }
}

fn three_digits(value: f64) -> String {
    format!("{value:.3}")
}
