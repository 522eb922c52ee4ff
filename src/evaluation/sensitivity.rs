//! What a network looks at: the response of its first layer, and the gradient of its outputs with respect to
//! the image (a saliency map, Simonyan, Vedaldi & Zisserman 2014).

use dawn21_kernels::{ShapeError, conv2d, relu};

use crate::model::activations::Mode;
use crate::model::layer::Layer;
use crate::model::model_file::Model;
use crate::model::parameters::Parameters;

/// What the first layer makes of an image: one map a filter, after the ReLU when one follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// Rows and columns of a map.
    pub shape: [usize; 2],
    /// One a filter, row by row.
    pub maps: Vec<Vec<f32>>,
}

/// The response of the first layer to a scaled image; none when that layer is no convolution.
///
/// # Errors
/// [`ShapeError`] when the image is not of the model's size.
pub fn first_layer_response(model: &Model, image: &[f32]) -> Result<Option<Response>, ShapeError> {
    let layers = model.network.architecture().layers();
    let Some(Layer::Conv2d(shape)) = layers.first() else {
        return Ok(None);
    };
    let [filters, rows, columns] = shape.output();
    let mut output = vec![0.0; filters * rows * columns];
    let [weight, bias] = [0, 1].map(|index| &model.parameters.trainable[index].values);
    conv2d::forward(shape, image, weight, bias, &mut output)?;
    if let Some(Layer::Relu) = layers.get(1) {
        relu::forward_in_place(&mut output);
    }
    Ok(Some(Response {
        shape: [rows, columns],
        maps: output.chunks(rows * columns).map(<[f32]>::to_vec).collect(),
    }))
}

/// The derivative of every parameter with respect to every cell of an image, in the parameter's unit per mK,
/// one map a parameter. Cells that are clipped have none.
///
/// # Errors
/// [`ShapeError`] when the image is not of the model's size.
pub fn saliency(model: &Model, image: &[f32]) -> Result<Vec<Vec<f32>>, ShapeError> {
    let parameters = &model.description.parameters;
    let [low, high] = model.description.input.clip_mk;
    let gradients = gradients(model, image)?;
    let maps = gradients.chunks(model.network.image_len());
    Ok(maps
        .zip(parameters)
        .map(|(map, parameter)| {
            let factor = ((parameter.max - parameter.min) / (high - low)) as f32;
            let cells = map.iter().zip(image);
            cells
                .map(|(gradient, cell)| {
                    let clipped = *cell <= 0.0 || *cell >= 1.0;
                    if clipped { 0.0 } else { factor * gradient }
                })
                .collect()
        })
        .collect())
}

/// The derivative of every output with respect to every scaled cell: the mean over the views that the model's answers
/// are the mean of.
fn gradients(model: &Model, image: &[f32]) -> Result<Vec<f32>, ShapeError> {
    let [rows, columns] = model.description.image;
    let (symmetries, outputs) = (
        model.description.symmetries,
        model.description.parameters.len(),
    );
    if image.len() != rows * columns {
        return Err(ShapeError::Length {
            operation: "saliency",
            argument: "image",
            expected: rows * columns,
            found: image.len(),
        });
    }
    let mut mean = vec![0.0; outputs * image.len()];
    let mut view = vec![0.0; image.len()];
    for symmetry in symmetries.views(rows) {
        symmetry.show(image, columns, &mut view);
        let of_view = gradients_of_view(model, &view)?;
        let weight = 1.0 / symmetries.count() as f32;
        let maps = mean
            .chunks_exact_mut(image.len())
            .zip(of_view.chunks(image.len()));
        maps.for_each(|(mean, of_view)| symmetry.add_back(weight, of_view, columns, mean));
    }
    Ok(mean)
}

fn gradients_of_view(model: &Model, image: &[f32]) -> Result<Vec<f32>, ShapeError> {
    let outputs = model.description.parameters.len();
    let mut activations = model.network.activations();
    // The same image once for every output: one forward and one backward pass for all of them.
    *activations.input_mut() = image.repeat(outputs);
    model
        .network
        .forward(&model.parameters, &mut activations, Mode::Inference)?;
    let (_, gradient) = activations.output_and_gradient_mut();
    for (index, gradient) in gradient.iter_mut().enumerate() {
        *gradient = if index / outputs == index % outputs {
            1.0
        } else {
            0.0
        };
    }
    let mut discarded = Parameters::zeros(model.network.architecture());
    model
        .network
        .backward(&model.parameters, &mut activations, &mut discarded, true)?;
    Ok(activations.input_gradient().to_vec())
}
