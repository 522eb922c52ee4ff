//! Figures of single images: response of the first layer, and saliency.

use super::line_of_sight::LineOfSight;
use super::strip::SkyImage;
use super::{Figure, FigureError, label, panel, response, saliency};
use crate::data::manifest::{Cosmology, ParameterDescription};
use crate::data::scaling::{InputScaling, TargetScaling};
use crate::evaluation::prediction::PredictionError;
use crate::evaluation::sensitivity;
use crate::model::inference::Predict;
use crate::model::model_file::Model;

/// An image as a network sees it, and as it is drawn.
#[derive(Debug, Clone)]
pub(super) struct ExampleImage {
    pub(super) sky: SkyImage,
    pub(super) scaled: Vec<f32>,
}

impl ExampleImage {
    /// The image of `cells_mk`, row by row.
    pub(super) fn new(model: &Model, cells_mk: Vec<f32>, cosmology: Option<&Cosmology>) -> Self {
        let description = &model.description;
        Self {
            scaled: scaled(&description.input, &cells_mk),
            sky: SkyImage {
                cells_mk,
                columns: description.image[1],
                cell_mpc: description.cell_mpc,
                line: LineOfSight::of_images(description, cosmology),
            },
        }
    }
}

fn scaled(input: &InputScaling, cells_mk: &[f32]) -> Vec<f32> {
    let mut scaled = vec![0.0; cells_mk.len()];
    input.apply(cells_mk, &mut scaled);
    scaled
}

/// The parameters that a model reads out of an image, in physical units.
pub(super) fn predicted(model: &Model, image: &ExampleImage) -> Result<Vec<f64>, FigureError> {
    let mut engine = model.inference()?;
    engine.input_mut().clone_from(&image.scaled);
    let outputs = engine.predict().map_err(PredictionError::from)?;
    let outputs: Vec<f64> = outputs.iter().map(|&value| f64::from(value)).collect();
    let scaling = TargetScaling::new(&model.description.parameters);
    Ok(scaling.unscale(&outputs).collect())
}

/// Response of the first layer to an image, where that is a convolution, and saliency maps.
///
/// `cells_mk` are the cells of the image in mK, row by row; `cosmology` is that of the data, the paper's where it is not
/// known; `name` says which image it is.
///
/// # Errors
/// [`FigureError`] when the image is not of the model's size.
pub fn figures_of_image(
    model: &Model,
    cells_mk: Vec<f32>,
    cosmology: Option<&Cosmology>,
    name: &str,
) -> Result<Vec<Figure>, FigureError> {
    let image = ExampleImage::new(model, cells_mk, cosmology);
    let name_html = label::escape(name);
    let mut figures = Vec::new();
    figures.extend(response_figure(model, &image, "response", &name_html)?);
    figures.push(saliency_figure(model, &image, "saliency", &name_html)?);
    Ok(figures)
}

/// The response of the first layer; none when that is no convolution. `what` says which image, as HTML.
pub(super) fn response_figure(
    model: &Model,
    image: &ExampleImage,
    name: &str,
    what: &str,
) -> Result<Option<Figure>, FigureError> {
    let response = sensitivity::first_layer_response(model, &image.scaled)?;
    Ok(response.map(|response| Figure {
        name: name.to_string(),
        caption: format!("Response of the first layer to {what}."),
        description:
            "An image of a light-cone and the maps that the filters of the first layer make of it"
                .to_string(),
        drawing: response::draw(&image.sky, &response),
    }))
}

/// The saliency maps. `what` says which image, as HTML.
pub(super) fn saliency_figure(
    model: &Model,
    image: &ExampleImage,
    name: &str,
    what: &str,
) -> Result<Figure, FigureError> {
    let maps = sensitivity::saliency(model, &image.scaled)?;
    let parameters = &model.description.parameters;
    Ok(Figure {
        name: name.to_string(),
        caption: format!(
            "Saliency: by how much each parameter would grow (blue) or fall (red) if a cell of {what} were 1 mK \
             brighter, in the parameter\u{2019}s unit; to the right the value at the ends of the colours. Below, the \
             root mean square over the sky by redshift, each relative to its own maximum."
        ),
        description:
            "An image of a light-cone and the gradient of each parameter with respect to it"
                .to_string(),
        drawing: saliency::draw(&image.sky, parameters, &maps),
    })
}

/// Parameters with their values, as HTML: `log10 Tvir = 4.71, zeta = 31`.
pub(super) fn values_html(parameters: &[ParameterDescription], values: &[f64]) -> String {
    let terms: Vec<String> = parameters
        .iter()
        .zip(values)
        .map(|(parameter, value)| {
            format!(
                "{} = {}",
                label::symbol(parameter).html(),
                quantity(parameter, *value).html()
            )
        })
        .collect();
    terms.join(", ")
}

/// The same for a drawing.
pub(super) fn values_label(parameters: &[ParameterDescription], values: &[f64]) -> label::Label {
    let mut text = label::Label::default();
    for (index, (parameter, value)) in parameters.iter().zip(values).enumerate() {
        if index > 0 {
            text = text.then(",  ");
        }
        text = text
            .then(label::symbol(parameter))
            .then(" = ")
            .then(quantity(parameter, *value));
    }
    text
}

/// A value with its unit; that of a logarithm goes without saying.
fn quantity(parameter: &ParameterDescription, value: f64) -> label::Label {
    let number = label::Label::from(decimals(parameter, value));
    let unit = label::unit(parameter);
    if unit.runs.is_empty() || parameter.unit.trim().starts_with("log10") {
        return number;
    }
    number.then("\u{a0}").then(unit)
}

/// A value with the decimals that its range deserves.
pub(super) fn decimals(parameter: &ParameterDescription, value: f64) -> String {
    panel::number(value, (parameter.max - parameter.min) / 100.0)
}
