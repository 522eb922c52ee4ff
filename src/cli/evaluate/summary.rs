//! What `dawn21 evaluate` prints.

use crate::cli::output::line;
use crate::cli::{CommandError, table};
use crate::evaluation::comparison::IMAGES;
use crate::evaluation::results::Metrics;
use crate::evaluation::scores::ParameterScores;

/// Scores of the first images with their intervals, R2 by the images that count, and coverage.
pub(super) fn print(metrics: &Metrics) -> Result<(), CommandError> {
    let header = [
        "parameter",
        "R2",
        "68 %",
        "RMSE",
        "68 %",
        "bias",
        "68 %",
        "unit",
    ];
    let mut rows = vec![header.map(str::to_string).to_vec()];
    let number = |value: f64| format!("{value:.4}");
    let interval = |interval: Option<[f64; 2]>| {
        interval.map_or("-".to_string(), |[low, high]| {
            format!("[{low:.4}, {high:.4}]")
        })
    };
    for ParameterScores {
        name,
        unit,
        r2,
        r2_interval,
        rmse,
        rmse_interval,
        bias,
        bias_interval,
        ..
    } in &metrics.parameters
    {
        rows.push(vec![
            name.clone(),
            r2.map_or("-".to_string(), number),
            interval(*r2_interval),
            number(*rmse),
            interval(*rmse_interval),
            number(*bias),
            interval(*bias_interval),
            unit.clone(),
        ]);
    }
    let table = table::format(&rows);
    line(table.trim_end())?;
    // Imported models and ensembles are of no epoch.
    let epoch = match metrics.epoch {
        0 => String::new(),
        epoch => format!(", epoch {epoch}"),
    };
    let views = match metrics.symmetries.is_none() {
        true => String::new(),
        false => format!(", means over {}", metrics.symmetries),
    };
    line(format_args!(
        "{} images of {} light-cones ({}){epoch}, loss {:.6}{views}",
        metrics.images, metrics.light_cones, metrics.part, metrics.loss
    ))?;
    if let Some(caution) = metrics.caution() {
        line(caution)?;
    }
    print_image_sets(metrics)?;
    for images in IMAGES {
        let Some(coverage) = images.coverage(metrics) else {
            continue;
        };
        let shares = coverage
            .iter()
            .map(|c| format!("{} {:.0} %", c.name, 100.0 * c.within_one));
        let shares: Vec<String> = shares.collect();
        line(format_args!(
            "truths within the uncertainty of the {} (68 % expected): {}",
            images.name(),
            shares.join(", ")
        ))?;
    }
    if metrics.light_cones < 30 {
        line("there are too few light-cones for the scores to say much")?;
    }
    Ok(())
}

/// R2 by the images of a light-cone that count; the first ones alone are in the table above.
fn print_image_sets(metrics: &Metrics) -> Result<(), CommandError> {
    let sets: Vec<(&str, &[ParameterScores])> = IMAGES
        .iter()
        .filter_map(|images| Some((images.name(), images.scores(metrics)?)))
        .collect();
    if sets.len() < 2 {
        return Ok(());
    }
    let mut rows = vec![vec!["R2 by".to_string()]];
    rows[0].extend(sets.iter().map(|(name, _)| (*name).to_string()));
    for (index, parameter) in metrics.parameters.iter().enumerate() {
        let mut row = vec![parameter.name.clone()];
        let scores = sets.iter().map(|(_, scores)| scores[index].r2);
        row.extend(scores.map(|r2| r2.map_or("-".to_string(), |value| format!("{value:.4}"))));
        rows.push(row);
    }
    line(table::format(&rows).trim_end())
}
