//! The figures of a run, in the order of the paper.

use super::image_figures::{
    ExampleImage, predicted, response_figure, saliency_figure, values_html, values_label,
};
use super::label::{Label, escape, symbol};
use super::run_material::{LightCones, RunMaterial};
use super::{Figure, FigureError, filters, light_cones, loss_curves, paper, recovery};
use crate::data::batches::{ImageIndex, ImageReader};
use crate::data::manifest::ParameterDescription;
use crate::data::scaling::TargetScaling;
use crate::evaluation::metrics::Pair;
use crate::model::model_file::Model;

/// Figures that belong together.
#[derive(Debug, Clone)]
pub struct Section {
    /// Name within a page.
    pub id: &'static str,
    /// Heading.
    pub heading: &'static str,
    /// Its figures.
    pub figures: Vec<Figure>,
    /// Why there are none, and what to do.
    pub missing: Option<String>,
}

impl Section {
    fn new(id: &'static str, heading: &'static str) -> Self {
        Self {
            id,
            heading,
            figures: Vec::new(),
            missing: None,
        }
    }
}

/// Draws every figure for which the run has the material.
///
/// # Errors
/// [`FigureError`] when an image cannot be read.
pub fn draw(material: &RunMaterial) -> Result<Vec<Section>, FigureError> {
    let mut sections = vec![
        light_cone_section(material)?,
        loss_section(material),
        recovery_section(material),
        filter_section(material),
    ];
    sections.extend(example_sections(material)?);
    Ok(sections)
}

const NO_LIGHT_CONES: &str = "The light-cones are not at hand: --data DATA says where they are.";

fn light_cone_section(material: &RunMaterial) -> Result<Section, FigureError> {
    let mut section = Section::new("light-cones", "Light-cones");
    let Some(light_cones) = &material.light_cones else {
        section.missing = Some(NO_LIGHT_CONES.to_string());
        return Ok(section);
    };
    let parameters = &material.model.description.parameters;
    let points = paper::points(parameters);
    let mut images = Vec::new();
    for (name, point) in &points.light_cones {
        let nearest = nearest(light_cones, parameters, point);
        let image = read(&material.model, light_cones, nearest)?;
        let found = &light_cones.dataset.light_cones()[nearest];
        let title =
            Label::from(format!("{name}:  ")).then(values_label(parameters, &found.parameters));
        images.push((title, image.sky));
    }
    let asked: Vec<String> = points
        .light_cones
        .iter()
        .map(|(name, point)| format!("{name} ({})", values_html(parameters, point)))
        .collect();
    let of = match points.of_the_paper {
        true => "Figure 1 of the paper: the light-cones nearest to GM18\u{2019}s ",
        false => "The light-cones nearest to ",
    };
    section.figures.push(Figure {
        name: "light_cones".to_string(),
        caption: format!("{of}{}.", asked.join(" and ")),
        description: "Brightness temperature of two light-cones by redshift".to_string(),
        drawing: light_cones::draw(&images),
    });
    Ok(section)
}

fn loss_section(material: &RunMaterial) -> Section {
    let mut section = Section::new("loss", "Training");
    if material.history.is_empty() {
        let why = match &material.record {
            None => "the model was imported, not trained here",
            Some(record) if !record.members.is_empty() => {
                "an ensemble has only those of its members"
            }
            Some(_) => "history.csv is missing, or no epoch has finished yet",
        };
        section.missing = Some(format!("No history: {why}."));
        return section;
    }
    section.figures.push(loss_figure(&material.history));
    section
}

/// Figure 4: the losses.
#[must_use]
pub fn loss_figure(history: &[crate::training::history::EpochRecord]) -> Figure {
    Figure {
        name: "loss_curves".to_string(),
        caption: "Figure 4 of the paper: mean squared error of the parameters, each scaled to [0, 1]. The training \
                  loss is the mean over the epoch, with dropout; the validation loss is measured after it, without."
            .to_string(),
        description: "Training and validation loss by epoch on a logarithmic axis".to_string(),
        drawing: loss_curves::draw(history),
    }
}

fn recovery_section(material: &RunMaterial) -> Section {
    let mut section = Section::new("recovery", "Recovery of the parameters");
    let predictions = material.predictions.as_deref().unwrap_or_default();
    if predictions.is_empty() {
        section.missing = Some(format!(
            "Not evaluated yet: {}",
            material.evaluate_command()
        ));
        return section;
    }
    let parameters = &material.model.description.parameters;
    section.figures = recovery_figures(parameters, predictions);
    section
}

/// Figure 5: one figure a parameter. `predictions` holds a row of pairs for every image.
#[must_use]
pub fn recovery_figures(
    parameters: &[ParameterDescription],
    predictions: &[Vec<Pair>],
) -> Vec<Figure> {
    let figures = parameters.iter().enumerate().map(|(index, parameter)| {
        let pairs: Vec<Pair> = predictions.iter().map(|row| row[index]).collect();
        Figure {
            name: format!("recovery_{}", parameter.name),
            caption: format!(
                "Figure 5 of the paper for {}, {} images: predicted against true values. Below, the network error \
                 \u{3b5}, predicted minus true against the true value; to the left, the recovery uncertainty <i>u</i>, \
                 the same against the predicted value. Steps are means, bars standard deviations of Gaussian fits.",
                symbol(parameter).html(),
                pairs.len()
            ),
            description: format!(
                "Histogram of predicted against true {}, with mean and spread of the residuals",
                parameter.name
            ),
            drawing: recovery::draw(parameter, &pairs),
        }
    });
    figures.collect()
}

fn filter_section(material: &RunMaterial) -> Section {
    let mut section = Section::new("filters", "Filters of the first layer");
    match filters::draw(&material.model) {
        Some(drawing) => section.figures.push(Figure {
            name: "filters".to_string(),
            caption: "Figure A1 of the paper: weights of the first layer, all on one scale. A response grows where \
                      the image is bright under blue cells and faint under red ones."
                .to_string(),
            description: "Weights of the filters of the first layer".to_string(),
            drawing,
        }),
        None => section.missing = Some("The first layer is not a convolution.".to_string()),
    }
    section
}

/// Figure A2 and the saliency maps, of the same light-cones.
fn example_sections(material: &RunMaterial) -> Result<[Section; 2], FigureError> {
    let mut responses = Section::new("responses", "Response of the first layer");
    let mut saliencies = Section::new("saliency", "What the network looks at");
    let Some(light_cones) = &material.light_cones else {
        for section in [&mut responses, &mut saliencies] {
            section.missing = Some(NO_LIGHT_CONES.to_string());
        }
        return Ok([responses, saliencies]);
    };
    let model = &material.model;
    let parameters = &model.description.parameters;
    let points = paper::points(parameters);
    for (number, point) in points.responses.iter().enumerate() {
        let nearest = nearest(light_cones, parameters, point);
        let image = read(model, light_cones, nearest)?;
        let found = &light_cones.dataset.light_cones()[nearest];
        let what = format!(
            "light-cone {} ({}; predicted {})",
            escape(&found.id),
            values_html(parameters, &found.parameters),
            values_html(parameters, &predicted(model, &image)?)
        );
        let name = format!("response_{}", number + 1);
        match response_figure(model, &image, &name, &what)? {
            Some(mut figure) => {
                if points.of_the_paper {
                    let asked = values_html(parameters, point);
                    figure.caption.push_str(&format!(
                        " Figure A2 of the paper shows ({asked}); this is the nearest light-cone at hand."
                    ));
                }
                responses.figures.push(figure);
            }
            None => responses.missing = Some("The first layer is not a convolution.".to_string()),
        }
        let name = format!("saliency_{}", number + 1);
        saliencies
            .figures
            .push(saliency_figure(model, &image, &name, &what)?);
    }
    Ok([responses, saliencies])
}

/// Number of the light-cone nearest to a point, every parameter scaled to its range.
fn nearest(light_cones: &LightCones, parameters: &[ParameterDescription], point: &[f64]) -> usize {
    let scaling = TargetScaling::new(parameters);
    let scaled = |values: &[f64]| -> Vec<f64> { scaling.scale(values).collect() };
    let wanted = scaled(point);
    let distance = |values: &[f64]| -> f64 {
        let pairs = scaled(values).into_iter().zip(&wanted);
        pairs.map(|(a, b)| (a - b).powi(2)).sum()
    };
    let all = light_cones.dataset.light_cones().iter().enumerate();
    all.map(|(number, light_cone)| (number, distance(&light_cone.parameters)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map_or(0, |(number, _)| number)
}

/// The first image of a light-cone.
fn read(
    model: &Model,
    light_cones: &LightCones,
    light_cone: usize,
) -> Result<ExampleImage, FigureError> {
    let description = &model.description;
    let LightCones { dataset, slicing } = light_cones;
    let targets = TargetScaling::new(&description.parameters);
    let reader = ImageReader::new(dataset, slicing, description.input, targets)?;
    let cells_mk = reader.read_cells(ImageIndex {
        light_cone,
        image: 0,
    })?;
    let cosmology = dataset.manifest().cosmology.as_ref();
    Ok(ExampleImage::new(model, cells_mk, cosmology))
}
