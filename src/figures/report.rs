//! `report.html`: a run in one page that needs nothing else, light or dark, wide or narrow.

use std::path::PathBuf;

use super::image_figures::decimals;
use super::label::escape;
use super::palette::dark_style;
use super::run_figures::{self, Section};
use super::run_material::RunMaterial;
use super::{FigureError, tables};
use crate::atomic_file::write_bytes_atomically;
use crate::data::symmetry::Symmetries;
use crate::shell::quoted;
use crate::training::run_record::RunRecord;

/// Figures wider than this do not shrink to a telephone: they are moved sideways.
const WIDEST_TO_SHRINK: f64 = 700.0;

/// Writes the report of a run into its directory; returns its path.
///
/// # Errors
/// [`FigureError`] when an image cannot be read or the page not be written.
pub fn write(material: &RunMaterial) -> Result<PathBuf, FigureError> {
    let html = render(material)?;
    let path = material.run.report();
    write_bytes_atomically(&path, html.as_bytes())?;
    Ok(path)
}

fn render(material: &RunMaterial) -> Result<String, FigureError> {
    let figures = run_figures::draw(material)?;
    let network = tables::network(material.model.network.architecture())?;
    let mut sections = Vec::new();
    for section in &figures {
        let mut body = section_body(section)?;
        if section.id == "recovery" {
            body.push_str(&score_tables(material));
        }
        sections.push((section.id, section.heading, body));
        if section.id == "light-cones" {
            sections.push(("network", "The network", network_section(&network)));
        }
    }
    sections.push(("settings", "Settings", settings(material)));

    let title = format!("Run {}", escape(&material.run.name()));
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>{title} \u{b7} dawn21</title>\n\
         <style>\n{}{}\n</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n{}",
        include_str!("report.css"),
        dark_style(),
        summary(material)
    );
    html.push_str("<nav>");
    for (id, heading, _) in &sections {
        html.push_str(&format!("<a href=\"#{id}\">{heading}</a> "));
    }
    html.push_str("</nav>\n</header>\n<main>\n");
    for (id, heading, body) in &sections {
        html.push_str(&format!(
            "<section id=\"{id}\">\n<h2>{heading}</h2>\n{body}</section>\n"
        ));
    }
    html.push_str(&format!(
        "</main>\n<footer>dawn21 {}. The paper is Gillet, Mesinger, Greig, Liu &amp; Ucci 2019, MNRAS 484, 282 \
         (<a href=\"https://arxiv.org/abs/1805.02699\">arXiv:1805.02699</a>); GM18 is Greig &amp; Mesinger 2018 \
         (<a href=\"https://arxiv.org/abs/1801.01592\">arXiv:1801.01592</a>); 3D-21cmPIE-Net is Neutsch, Heneka &amp; \
         Br\u{fc}ggen 2022.</footer>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    ));
    Ok(html)
}

/// The runs that an ensemble is the mean of, as HTML; none of a training.
fn members(record: &RunRecord) -> Option<String> {
    let members = record.members.iter().map(|run| quoted(run));
    let members = members.collect::<Vec<_>>().join(" ");
    (!members.is_empty()).then(|| escape(&members))
}

/// The views that the command of an ensemble asks for.
fn options(symmetries: Symmetries) -> String {
    let Symmetries { shifts, flip } = symmetries;
    let shifts = match shifts {
        1 => String::new(),
        shifts => format!(" --shifts {shifts}"),
    };
    shifts + if flip { " --flip" } else { "" }
}

/// What was trained on what, and what is missing.
fn summary(material: &RunMaterial) -> String {
    let description = &material.model.description;
    let [rows, columns] = description.image;
    let mut facts = vec![format!(
        "Images of {rows} \u{d7} {columns} cells of {} Mpc, redshift {} to {}",
        description.cell_mpc, description.redshift_range[0], description.redshift_range[1]
    )];
    match &material.record {
        Some(record) => {
            facts.push(format!(
                "{} light-cones of {} ({})",
                record.data.light_cones,
                escape(&record.data.directory.display().to_string()),
                escape(&record.data.source)
            ));
            if let Some(members) = members(record) {
                facts.push(match record.members.len() {
                    1 => format!("network of {members}"),
                    count => format!("mean of {count} networks: {members}"),
                });
            }
            if !description.symmetries.is_none() {
                facts.push(format!(
                    "predictions are means over {} of an image",
                    description.symmetries
                ));
            }
            if !material.history.is_empty() {
                let epochs = material.history.len();
                let seconds: f64 = material.history.iter().map(|epoch| epoch.seconds).sum();
                facts.push(format!(
                    "{epochs} epochs in {:.1} minutes, seed {}",
                    seconds / 60.0,
                    record.config.seed
                ));
            }
        }
        None => facts.push("imported, not trained here".to_string()),
    }
    if description.epoch > 0 {
        let loss = description.validation_loss;
        let loss = loss.map_or(String::new(), |loss| {
            format!(" (validation loss {loss:.5})")
        });
        facts.push(format!("weights of epoch {}{loss}", description.epoch));
    }
    let mut html = format!("<p class=\"facts\">{}.</p>\n", facts.join("; "));
    for note in &material.notes {
        html.push_str(&format!("<p class=\"note\">{}</p>\n", escape(note)));
    }
    html
}

fn section_body(section: &Section) -> Result<String, FigureError> {
    let mut html = String::new();
    if let Some(missing) = &section.missing {
        html.push_str(&format!("<p class=\"note\">{}</p>\n", escape(missing)));
    }
    let side_by_side = section.id == "recovery";
    if side_by_side {
        html.push_str("<div class=\"pair\">\n");
    }
    for figure in &section.figures {
        let (svg, width) = figure.inline()?;
        let class = if width > WIDEST_TO_SHRINK {
            " class=\"strip\""
        } else {
            ""
        };
        html.push_str(&format!(
            "<figure id=\"{}\"><div{class} style=\"max-width:{width:.0}px\">{svg}</div>\
             <figcaption>{}</figcaption></figure>\n",
            escape(&figure.name),
            figure.caption
        ));
    }
    if side_by_side {
        html.push_str("</div>\n");
    }
    Ok(html)
}

fn network_section(table: &str) -> String {
    format!(
        "{table}<p>Table 1 of the paper. It leaves open where its batch normalisation stands relative to the ReLU; the \
         published script has one on both sides.</p>\n"
    )
}

/// Table 2 and what belongs to it.
fn score_tables(material: &RunMaterial) -> String {
    let parameters = &material.model.description.parameters;
    let mut html = String::new();
    if let Some(metrics) = &material.metrics {
        let trained = match metrics.training_images_per_light_cone {
            Some(1) => "trained on one image of each light-cone, ".to_string(),
            Some(count) => format!("trained on {count} images of each light-cone, "),
            None => String::new(),
        };
        let weights = match metrics.epoch {
            0 => String::new(),
            epoch => format!(" with the weights of epoch {epoch}"),
        };
        html.push_str(&tables::scores(metrics, &material.beside, parameters));
        html.push_str(&format!(
            "<p>Table 2 of the paper: <i>R</i><sup>2</sup> = 1 \u{2212} \u{3a3}(true \u{2212} predicted)<sup>2</sup> / \
             \u{3a3}(true \u{2212} mean true)<sup>2</sup>, {trained}scored on the first image of {} light-cones ({}){weights}. \
             Its columns differ in which images of each light-cone the network was trained on. \
             Brackets are 68 % intervals over {} resamples of the light-cones, seed {}.</p>\n",
            metrics.light_cones,
            escape(&metrics.part),
            crate::evaluation::bootstrap::RESAMPLES,
            metrics.bootstrap_seed
        ));
        let beside = material.beside.iter();
        let beside = beside.map(|(name, metrics)| (name.as_str(), metrics));
        for (name, metrics) in std::iter::once(("this run", metrics)).chain(beside) {
            if let Some(caution) = metrics.caution() {
                html.push_str(&format!(
                    "<p class=\"note\">For {}: {caution}.</p>\n",
                    escape(name)
                ));
            }
        }
        html.push_str(&tables::errors(metrics, parameters));
        html.push_str(
            "<p>For the same images: the root mean squared error; the bias, the mean of predicted minus true; and \
             <i>R</i><sup>2</sup> over the variance of the predictions, which the published script computes.</p>\n",
        );
        if let Some(table) = tables::image_sets(metrics, parameters) {
            html.push_str(&table);
            html.push_str("<p>The same network, given more images of each light-cone");
            html.push_str(match metrics.calibrated_mean {
                Some(_) => {
                    "; the calibrated mean is the mean over its images minus the bias that such means have on the \
                     calibration light-cones.</p>\n"
                }
                None => ".</p>\n",
            });
        }
        if let Some(table) = tables::coverage(metrics, parameters) {
            html.push_str(&table);
            html.push_str(
                "<p>How often the truth lies within the recovery uncertainty of the prediction.</p>\n",
            );
        }
    }
    match &material.calibration {
        Some(calibration) => {
            html.push_str(&tables::uncertainties(calibration, parameters));
            html.push_str(&format!(
                "<p>Recovery uncertainty of the network\u{2019}s prediction for one image, and of the mean over the \
                 images of a light-cone, whatever the other parameters are, from {} images of {} light-cones that it \
                 was not trained on. The uncertainty that <code>dawn21 predict</code> and <code>dawn21 predict \
                 --mean</code> give beside each value is larger or smaller where the other parameters make this one \
                 hard or easy to read.</p>\n",
                calibration.images, calibration.light_cones
            ));
        }
        None => html.push_str(
            "<p class=\"note\">There is no calibration for these weights: predictions have no uncertainties. \
             <code>dawn21 evaluate</code> makes one with the training data, <code>dawn21 calibrate</code> one \
             for an imported model.</p>\n",
        ),
    }
    html
}

/// The whole configuration, and how to get here.
fn settings(material: &RunMaterial) -> String {
    let run = escape(&quoted(material.run.path()));
    let data = escape(&quoted(&material.data_argument()));
    let train = material.record.as_ref().map_or(String::new(), |record| {
        if let Some(members) = members(record) {
            let options = options(record.symmetries);
            return format!("dawn21 ensemble {members}{options} --out REPEATED\n");
        }
        let start = record.init_from.as_ref().map_or(String::new(), |from| {
            format!(" --init-from {}", escape(&quoted(from)))
        });
        let settings = escape(&quoted(&material.run.record()));
        format!("dawn21 train {data} --config {settings}{start} --out REPEATED\n")
    });
    let evaluate = escape(&material.evaluate_command());
    let mut html = format!("<pre>{train}{evaluate}\ndawn21 report {run}</pre>\n");
    if let Some(record) = &material.record {
        let toml = toml::to_string(record).unwrap_or_default();
        html.push_str(&format!(
            "<details><summary>run.toml</summary><pre>{}</pre></details>\n",
            escape(&toml)
        ));
    }
    let ranges: Vec<String> = material
        .model
        .description
        .parameters
        .iter()
        .map(|parameter| {
            format!(
                "{} from {} to {}",
                super::label::symbol_and_unit(parameter).html(),
                decimals(parameter, parameter.min),
                decimals(parameter, parameter.max)
            )
        })
        .collect();
    html.push_str(&format!("<p>Parameters: {}.</p>\n", ranges.join("; ")));
    html
}
