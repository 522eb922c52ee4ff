//! From a configuration and data to the network that is trained, with everything that could refuse it.

use super::config::Config;
use super::error::TrainingError;
use crate::data::DataError;
use crate::data::dataset::Dataset;
use crate::data::slices::Slicing;
use crate::data::split::Split;
use crate::model::architecture::Architecture;
use crate::model::description::ModelDescription;
use crate::model::engine::Engine;
use crate::model::execution::Execution;
use crate::model::layer::Layer;
use crate::run_directory::RunDirectory;

/// The network and its description for a data set.
///
/// # Errors
/// [`TrainingError`] when slices or layers do not fit the cubes.
pub fn network(
    dataset: &Dataset,
    slicing: &Slicing,
    config: &Config,
) -> Result<(Architecture, ModelDescription), TrainingError> {
    let manifest = dataset.manifest();
    let image = [slicing.rows(), slicing.columns()];
    let outputs = manifest.parameters.len();
    let layers = config.effective_layers();
    let architecture = Architecture::resolve(&layers, image, manifest.cell_mpc, outputs)?;
    let slices = config.slices.clone();
    let description = ModelDescription::new(&architecture, manifest, config.input, slices);
    Ok((architecture, description))
}

/// The division of the light-cones of a run, as stored; one that was lost is made again.
///
/// # Errors
/// [`DataError`] when the file is damaged or belongs to other data.
pub fn split(run: &RunDirectory, dataset: &Dataset, config: &Config) -> Result<Split, DataError> {
    match Split::read(&run.split(), dataset)? {
        Some(split) => Ok(split),
        None => Split::new(dataset.light_cones().len(), &config.split),
    }
}

/// An engine, without weights yet, that can be trained on `images` images as configured.
///
/// # Errors
/// [`TrainingError`] names the setting that does not fit data, network or processor.
pub fn engine(
    dataset: &Dataset,
    slicing: &Slicing,
    config: &Config,
    architecture: &Architecture,
    images: usize,
) -> Result<Engine, TrainingError> {
    check_batches(architecture, config.training.batch_size, images)?;
    let augmentation = config.training.augmentation;
    augmentation.check(dataset.manifest(), slicing)?;
    let execution = Execution::new(config.execution)?;
    Ok(Engine::new(architecture.clone(), execution)?)
}

/// Fails when a batch would be a single image in front of a normalisation of features, which would find no
/// variance in it.
fn check_batches(
    architecture: &Architecture,
    batch_size: usize,
    images: usize,
) -> Result<(), TrainingError> {
    let of_features = |layer: &Layer| matches!(layer, Layer::BatchNorm { shape, .. } if shape.image_len() == shape.channels());
    if (batch_size == 1 || images == 1) && architecture.layers().iter().any(of_features) {
        return Err(TrainingError::SingleImageBatches { batch_size, images });
    }
    Ok(())
}
