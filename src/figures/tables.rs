//! Tables of a report, as HTML: table 1 (the network) and table 2 (R2) of Gillet et al. 2019.

use std::fmt::Display;

use super::FigureError;
use super::image_figures::decimals;
use super::label::{Label, escape, symbol, unit, unit_of_difference};
use super::panel::number;
use crate::data::manifest::ParameterDescription;
use crate::evaluation::calibration::Calibration;
use crate::evaluation::comparison::{IMAGES, Images};
use crate::evaluation::published::{PAPER_PARAMETERS, PUBLISHED};
use crate::evaluation::results::{Coverage, Metrics};
use crate::evaluation::scores::ParameterScores;
use crate::model::architecture::Architecture;
use crate::model::summary::{Summary, SummaryRow};
use crate::training::config::{Config, ConfigSources};

/// Image, cell and number of parameters of the paper.
const PAPER_IMAGE: [usize; 2] = [100, 2200];
const PAPER_CELL_MPC: f64 = 1.5;

/// A table of cells that are HTML already, first column to the left.
fn table(header: &[impl Display], rows: &[Vec<String>]) -> String {
    let mut html = String::from("<div class=\"wide\"><table><thead><tr>");
    for cell in header {
        html.push_str(&format!("<th>{cell}</th>"));
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            html.push_str(&format!("<td>{cell}</td>"));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>\n");
    html
}

/// Table 1: the layers of a network, beside those of the paper's on its own images.
pub(super) fn network(architecture: &Architecture) -> Result<String, FigureError> {
    let own = with_total(Summary(architecture).rows());
    let paper = with_total(papers_rows());
    let kinds = |rows: &[SummaryRow]| -> Vec<String> {
        let words = rows.iter().map(|row| row.layer.split(' ').next());
        words
            .map(|word| word.unwrap_or_default().to_string())
            .collect()
    };
    let cells = |row: &SummaryRow| {
        let name = escape(&row.layer).replace(" x ", "\u{d7}");
        let output = row.output.replace(" x ", "\u{d7}");
        vec![name, output, thousands(row.parameters)]
    };
    if kinds(&own) == kinds(&paper) {
        let rows: Vec<Vec<String>> = own
            .iter()
            .zip(&paper)
            .map(|(own, paper)| {
                let (mut row, paper) = (cells(own), cells(paper));
                row.extend(paper);
                row
            })
            .collect();
        let header = [
            "layer",
            "output",
            "trainable",
            "paper: layer",
            "output",
            "trainable",
        ];
        return Ok(table(&header, &rows));
    }
    let header = ["layer", "output", "trainable"];
    let of = |rows: &[SummaryRow]| table(&header, &rows.iter().map(cells).collect::<Vec<_>>());
    Ok(format!(
        "{}<details><summary>The paper\u{2019}s network</summary>{}</details>\n",
        of(&own),
        of(&paper)
    ))
}

/// The paper's network: the default preset. Nothing of it can fail but by a fault in the program, which a
/// test would find; its table would then be empty.
fn papers_rows() -> Vec<SummaryRow> {
    let Ok(config) = Config::load(&ConfigSources::default()) else {
        return Vec::new();
    };
    let parameters = PAPER_PARAMETERS.len();
    Architecture::resolve(&config.layers, PAPER_IMAGE, PAPER_CELL_MPC, parameters)
        .map(|architecture| Summary(&architecture).rows())
        .unwrap_or_default()
}

fn with_total(mut rows: Vec<SummaryRow>) -> Vec<SummaryRow> {
    rows.push(SummaryRow {
        layer: "total".to_string(),
        output: String::new(),
        parameters: rows.iter().map(|row| row.parameters).sum(),
    });
    rows
}

/// A count with thin spaces between thousands.
fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

fn score(value: Option<f64>) -> String {
    value.map_or("\u{2013}".to_string(), |value| number(value, 0.001))
}

fn interval(interval: Option<[f64; 2]>, step: f64) -> String {
    interval.map_or(String::new(), |[low, high]| {
        format!(
            " <span class=\"interval\">[{}, {}]</span>",
            number(low, step),
            number(high, step)
        )
    })
}

/// Table 2: R2 of a run and of those beside it, and published ones.
pub(super) fn scores(
    metrics: &Metrics,
    beside: &[(String, Metrics)],
    parameters: &[ParameterDescription],
) -> String {
    let rows: Vec<Vec<String>> = parameters
        .iter()
        .enumerate()
        .map(|(index, parameter)| {
            let mut row = vec![symbol(parameter).html()];
            let runs = std::iter::once(metrics).chain(beside.iter().map(|(_, metrics)| metrics));
            row.extend(runs.map(|run| {
                run.parameters.get(index).map_or(String::new(), |scores| {
                    score(scores.r2) + &interval(scores.r2_interval, 0.001)
                })
            }));
            row.extend(PUBLISHED.map(|published| score(published.of(&parameter.name))));
            row
        })
        .collect();
    let mut header = vec![
        "parameter".to_string(),
        "<i>R</i><sup>2</sup> of this run [68 %]".to_string(),
    ];
    header.extend(beside.iter().map(|(name, run)| {
        let images = match run.training_images_per_light_cone {
            Some(1) => ", 1 training image".to_string(),
            Some(count) => format!(", {count} training images"),
            None => String::new(),
        };
        format!("{}{images} [68 %]", escape(name))
    }));
    header.extend(PUBLISHED.map(|published| escape(published.source)));
    table(&header, &rows)
}

/// Root mean squared error and bias in physical units, and R2 as the published script has it.
pub(super) fn errors(metrics: &Metrics, parameters: &[ParameterDescription]) -> String {
    let rows: Vec<Vec<String>> = parameters
        .iter()
        .zip(&metrics.parameters)
        .map(|(parameter, scores)| {
            let ParameterScores {
                rmse,
                rmse_interval,
                bias,
                bias_interval,
                r2_over_predicted,
                r2_over_predicted_interval,
                ..
            } = scores;
            // Three digits of the error.
            let step = 10_f64.powf(rmse.max(f64::MIN_POSITIVE).log10().floor() - 2.0);
            vec![
                symbol(parameter).html(),
                number(*rmse, step) + &interval(*rmse_interval, step),
                number(*bias, step) + &interval(*bias_interval, step),
                unit_of_difference(parameter).html(),
                score(*r2_over_predicted) + &interval(*r2_over_predicted_interval, 0.001),
            ]
        })
        .collect();
    let header = [
        "parameter",
        "RMSE [68 %]",
        "bias [68 %]",
        "unit",
        "<i>R</i><sup>2</sup> over predictions [68 %]",
    ];
    table(&header, &rows)
}

/// R2 by the first image of each light-cone, and by what else was predicted of it; none where nothing was.
pub(super) fn image_sets(metrics: &Metrics, parameters: &[ParameterDescription]) -> Option<String> {
    let rows: Vec<Vec<String>> = IMAGES
        .iter()
        .filter_map(|&images| {
            let scores = images.scores(metrics)?;
            let predictions = match images {
                Images::Each => metrics.each_image.as_ref()?.predictions,
                _ => metrics.light_cones,
            };
            let mut row = vec![format!("{} ({predictions})", images.name())];
            let cells = scores.iter().take(parameters.len());
            row.extend(cells.map(|s| score(s.r2) + &interval(s.r2_interval, 0.001)));
            Some(row)
        })
        .collect();
    if rows.len() < 2 {
        return None;
    }
    let mut header = vec!["<i>R</i><sup>2</sup> [68 %] by".to_string()];
    header.extend(parameters.iter().map(|parameter| symbol(parameter).html()));
    Some(table(&header, &rows))
}

/// Shares of truths within the uncertainties, of one image and, where they are known, of calibrated means; none
/// without a calibration.
pub(super) fn coverage(metrics: &Metrics, parameters: &[ParameterDescription]) -> Option<String> {
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let mut header = vec!["truths within 1 and 2 uncertainties of".to_string()];
    header.extend(parameters.iter().map(|parameter| symbol(parameter).html()));
    let mut rows = Vec::new();
    for images in IMAGES {
        let Some(coverage) = images.coverage(metrics) else {
            continue;
        };
        let mut row = vec![images.name().to_string()];
        row.extend(coverage.iter().map(
            |Coverage {
                 within_one,
                 within_two,
                 ..
             }| { format!("{}, {}", percent(*within_one), percent(*within_two)) },
        ));
        rows.push(row);
    }
    if rows.is_empty() {
        return None;
    }
    let mut gaussian = vec!["a Gaussian".to_string()];
    gaussian.extend(parameters.iter().map(|_| "68 %, 95 %".to_string()));
    rows.push(gaussian);
    Some(table(&header, &rows))
}

/// Recovery uncertainty at five predictions over the range of each parameter, of one image and of the mean over a
/// light-cone's.
pub(super) fn uncertainties(
    calibration: &Calibration,
    parameters: &[ParameterDescription],
) -> String {
    let mut rows = Vec::new();
    for (parameter, calibrated) in parameters.iter().zip(&calibration.parameters) {
        let means = calibrated.mean_recoveries.iter();
        let means = means.map(|mean| (format!("mean of {}", mean.of), &mean.recovery));
        let one = ("one image".to_string(), &calibrated.recovery);
        for (of, curve) in std::iter::once(one).chain(means) {
            let mut row = vec![symbol(parameter).then(in_unit(parameter)).html(), of];
            for share in [0.1, 0.3, 0.5, 0.7, 0.9] {
                let prediction = parameter.min + share * (parameter.max - parameter.min);
                row.push(
                    curve
                        .at(prediction)
                        .map_or("\u{2013}".to_string(), |recovery| {
                            let step = (parameter.max - parameter.min) / 1000.0;
                            format!(
                                "{} \u{b1} {}",
                                decimals(parameter, prediction),
                                number(recovery.uncertainty, step)
                            )
                        }),
                );
            }
            rows.push(row);
        }
    }
    table(
        &["prediction \u{b1} uncertainty", "of", "", "", "", "", ""],
        &rows,
    )
}

fn in_unit(parameter: &ParameterDescription) -> Label {
    let unit = unit(parameter);
    if unit.runs.is_empty() {
        return Label::default();
    }
    Label::from(" [").then(unit).then("]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_network_has_the_papers_number_of_parameters() {
        let rows = with_total(papers_rows());
        let total = rows.last().expect("rows");
        assert_eq!(total.parameters, 10_023_604);
        assert_eq!(thousands(total.parameters), "10\u{2009}023\u{2009}604");
        assert_eq!([thousands(0), thousands(999)], ["0", "999"]);
    }

    #[test]
    fn a_network_of_other_layers_is_shown_apart_from_the_papers() {
        let specs = [
            crate::model::layer_spec::LayerSpec::Flatten {},
            crate::model::layer_spec::LayerSpec::Dense { units: None },
        ];
        let other = Architecture::resolve(&specs, [4, 5], 1.0, 2).expect("it fits");
        let html = network(&other).expect("a table");
        assert!(
            html.contains("<td>dense 2</td><td>2</td><td>42</td>"),
            "{html}"
        );
        assert!(html.contains("<details>") && html.contains("10\u{2009}023\u{2009}604"));
    }
}
