//! The epoch loop.
//!
//! Everything random is a function of (seed, epoch) or (seed, step), and the position is saved with the
//! weights: a training that was killed and resumed gives the same bits as one that was not.
//!
//! At the end of an epoch, files are written in an order that makes the checkpoint the commit: best
//! weights, then history, then checkpoint. A crash in between repeats the epoch and writes the same again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::checkpoint::{BestEpoch, Checkpoint, Position};
use super::config::Config;
use super::error::TrainingError;
use super::history::{self, EpochRecord};
use super::observer::TrainingObserver;
use super::preparation;
use crate::data::augmentation::View;
use crate::data::batches::{
    ImageIndex, ImageReader, batch_ranges, first_images, shuffled, training_images,
};
use crate::data::dataset::Dataset;
use crate::data::scaling::TargetScaling;
use crate::data::slices::Slicing;
use crate::data::split::{Part, Split};
use crate::evaluation::metrics;
use crate::evaluation::prediction::predict;
use crate::model::activations::Mode;
use crate::model::architecture::Architecture;
use crate::model::description::ModelDescription;
use crate::model::engine::Engine;
use crate::model::model_file;
use crate::model::parameters::Parameters;
use crate::run_directory::RunDirectory;

/// How a training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs are done.
    Finished,
    /// The loss stopped falling.
    StoppedEarly,
    /// It was asked to stop and can be resumed.
    Interrupted,
}

/// A training in progress.
#[derive(Debug)]
pub struct Trainer<'a> {
    config: &'a Config,
    run: &'a RunDirectory,
    engine: Engine,
    description: ModelDescription,
    reader: ImageReader<'a>,
    training_images: Vec<ImageIndex>,
    validation_images: Vec<ImageIndex>,
    targets: Vec<f32>,
    position: Position,
    last_saved: Instant,
}

impl<'a> Trainer<'a> {
    /// Prepares a training that starts from `state`: a fresh one ([`Trainer::fresh_state`]) or a
    /// checkpoint.
    ///
    /// # Errors
    /// [`TrainingError`] when data, slices, layers and batch size do not fit together.
    pub fn new(
        dataset: &'a Dataset,
        slicing: &'a Slicing,
        split: &Split,
        config: &'a Config,
        run: &'a RunDirectory,
        state: Checkpoint,
    ) -> Result<Self, TrainingError> {
        let (architecture, description) = preparation::network(dataset, slicing, config)?;
        let training_images = training_images(
            &split.light_cones(Part::Train),
            slicing,
            config.training.images_per_light_cone,
        )?;
        let images = training_images.len();
        let mut engine = preparation::engine(dataset, slicing, config, &architecture, images)?;
        let targets = TargetScaling::new(&description.parameters);
        engine.load(&state.parameters, Some(&state.mean_squares))?;
        if config.training.weight_averaging.enabled {
            engine.load_average(Some(state.average.as_ref().unwrap_or(&state.parameters)))?;
        }
        Ok(Self {
            config,
            run,
            reader: ImageReader::new(dataset, slicing, config.input, targets)?,
            training_images,
            validation_images: first_images(&split.light_cones(Part::Validation)),
            targets: Vec::new(),
            engine,
            description,
            position: state.position,
            last_saved: Instant::now(),
        })
    }

    /// The state before the first step, from random weights or from those of `initial`.
    #[must_use]
    pub fn fresh_state(
        architecture: &Architecture,
        config: &Config,
        initial: Option<Parameters<f32>>,
    ) -> Checkpoint {
        let parameters =
            initial.unwrap_or_else(|| Parameters::initialize(architecture, config.seed));
        let mean_squares = parameters
            .trainable
            .iter()
            .map(|tensor| vec![0.0; tensor.values.len()])
            .collect();
        Checkpoint {
            parameters,
            mean_squares,
            average: None,
            position: Position::start(config.training.rmsprop.learning_rate),
        }
    }

    /// Where the training stands.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The network that is trained.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Numbers of training and validation images.
    #[must_use]
    pub fn image_counts(&self) -> [usize; 2] {
        [self.training_images.len(), self.validation_images.len()]
    }

    /// Trains until all epochs are done, the loss stops falling, or `stop` becomes true; in the last
    /// case the position inside the epoch is saved.
    ///
    /// # Errors
    /// [`TrainingError`] when data cannot be read, files cannot be written, or the loss is not finite.
    pub fn run(
        &mut self,
        observer: &mut dyn TrainingObserver,
        stop: &AtomicBool,
    ) -> Result<Outcome, TrainingError> {
        while self.position.epochs_done < self.config.training.epochs {
            if self.position.stopped_early {
                return Ok(Outcome::StoppedEarly);
            }
            self.begin_epoch();
            if !self.train_epoch(observer, stop)? {
                self.save()?;
                return Ok(Outcome::Interrupted);
            }
            self.finish_epoch(observer)?;
        }
        Ok(Outcome::Finished)
    }

    /// The learning rate of a schedule that is a function of the epoch, of a resumed run with more epochs too.
    fn begin_epoch(&mut self) {
        let training = &self.config.training;
        if training.cosine_decay.enabled {
            let (largest, epochs) = (training.rmsprop.learning_rate, training.epochs);
            let epoch = self.position.epochs_done;
            self.position.learning_rate =
                training.cosine_decay.learning_rate(largest, epoch, epochs);
        }
    }

    /// Goes on with the current epoch; false when asked to stop before its end.
    fn train_epoch(
        &mut self,
        observer: &mut dyn TrainingObserver,
        stop: &AtomicBool,
    ) -> Result<bool, TrainingError> {
        let epoch = self.position.epochs_done;
        let images = self.epoch_order();
        let ranges = batch_ranges(images.len(), self.config.training.batch_size);
        observer.epoch_started(epoch + 1, self.position.images_done, images.len());
        while self.position.batches_done < ranges.len() {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            if self.last_saved.elapsed() > self.checkpoint_interval() {
                self.save()?;
            }
            let started = Instant::now();
            let batch = self.position.batches_done;
            let next = &images[ranges.get(batch + 1).cloned().unwrap_or_default()];
            self.reader.prefetch(next, &self.views(next));
            let range = ranges[batch].clone();
            let loss = self.train_step(&images[range.clone()])?;
            if !loss.is_finite() {
                // Nothing is saved: the weights that gave this loss are no good, those of the last
                // checkpoint were.
                return Err(TrainingError::NonFiniteLoss {
                    epoch: epoch + 1,
                    batch: batch + 1,
                    batches: ranges.len(),
                    loss,
                    learning_rate: self.position.learning_rate,
                    kept: self.run.checkpoint().display().to_string(),
                });
            }
            let position = &mut self.position;
            position.step += 1;
            position.batches_done += 1;
            position.images_done += range.len();
            position.loss_sum += loss * range.len() as f64;
            position.seconds += started.elapsed().as_secs_f64();
            let mean = position.loss_sum / position.images_done as f64;
            observer.step_finished(position.images_done, mean);
        }
        Ok(true)
    }

    fn checkpoint_interval(&self) -> Duration {
        Duration::from_secs_f64(60.0 * self.config.training.checkpoint_minutes)
    }

    /// One step on a mini-batch; the weights stay as they are when the loss is not finite.
    fn train_step(&mut self, batch: &[ImageIndex]) -> Result<f64, TrainingError> {
        let views = self.views(batch);
        let input = self.engine.input_mut();
        self.reader
            .read_views(batch, &views, input, &mut self.targets)?;
        let rmsprop = self.config.training.rmsprop;
        let optimizer = rmsprop.at_rate(self.position.learning_rate);
        let mode = Mode::Training {
            seed: self.config.seed,
            step: self.position.step,
        };
        let loss = self.engine.train_step(&self.targets, mode, &optimizer)?;
        let averaging = self.config.training.weight_averaging;
        if averaging.enabled && loss.is_finite() {
            let decay = averaging.decay_of_step(self.position.step);
            self.engine.update_average(decay);
        }
        Ok(loss)
    }

    /// The training images in the order of the current epoch.
    fn epoch_order(&self) -> Vec<ImageIndex> {
        match self.config.training.shuffle {
            true => {
                let epoch = self.position.epochs_done;
                shuffled(&self.training_images, self.config.seed, epoch)
            }
            false => self.training_images.clone(),
        }
    }

    /// Running averages of the normalisations for the weights that are validated, if asked for.
    fn recalibrate(&mut self) -> Result<(), TrainingError> {
        let settings = self.config.training.normalization_recalibration;
        if !settings.enabled {
            return Ok(());
        }
        let mut images = self.epoch_order();
        images.truncate(settings.images);
        let ranges = batch_ranges(images.len(), self.config.training.batch_size);
        for (before, range) in ranges.into_iter().enumerate() {
            let input = self.engine.input_mut();
            let images = &images[range];
            self.reader.read_batch(images, input, &mut self.targets)?;
            self.engine.recalibrate(before)?;
        }
        Ok(())
    }

    /// How the images of a batch are read in this epoch.
    fn views(&self, batch: &[ImageIndex]) -> Vec<View> {
        let augmentation = self.config.training.augmentation;
        let epoch = self.position.epochs_done;
        self.reader
            .augmented_views(batch, augmentation, self.config.seed, epoch)
    }

    /// Validation, schedules and files at the end of an epoch.
    fn finish_epoch(&mut self, observer: &mut dyn TrainingObserver) -> Result<(), TrainingError> {
        self.check_weights()?;
        let started = Instant::now();
        // Validation and the best model have the averaged weights, if there are any.
        self.engine.swap_average();
        let recalibrated = self.recalibrate();
        let predictions = predict(
            &mut self.engine,
            &self.reader,
            &self.validation_images,
            self.config.training.batch_size,
            |_| {},
        );
        self.engine.swap_average();
        recalibrated?;
        let predictions = predictions?;
        if !predictions.loss().is_finite() {
            return Err(TrainingError::NonFiniteValidation {
                epoch: self.position.epochs_done + 1,
                loss: predictions.loss(),
                learning_rate: self.position.learning_rate,
                kept: self.run.checkpoint().display().to_string(),
            });
        }
        let outputs = self.engine.architecture().outputs();
        let training = &self.config.training;
        let position = &mut self.position;
        let record = EpochRecord {
            epoch: position.epochs_done + 1,
            train_loss: position.loss_sum / position.images_done as f64,
            validation_loss: predictions.loss(),
            validation_r2: (0..outputs)
                .map(|index| metrics::r2(&predictions.scaled_pairs(index, outputs)))
                .collect(),
            learning_rate: position.learning_rate,
            seconds: position.seconds + started.elapsed().as_secs_f64(),
            images_per_second: position.images_done as f64 / position.seconds,
        };
        let watched = |monitor: super::schedule::Monitor| {
            monitor.select(record.train_loss, record.validation_loss)
        };
        let plateau = &training.reduce_on_plateau;
        position.learning_rate = plateau.after_epoch(
            &mut position.plateau,
            watched(plateau.monitor),
            position.learning_rate,
        );
        let stopping = &training.early_stopping;
        position.stopped_early =
            stopping.after_epoch(&mut position.early_stopping, watched(stopping.monitor));
        let best = position
            .best
            .is_none_or(|best| record.validation_loss < best.validation_loss);
        if best {
            position.best = Some(BestEpoch {
                epoch: record.epoch,
                validation_loss: record.validation_loss,
            });
        }
        position.epochs_done += 1;
        position.batches_done = 0;
        position.images_done = 0;
        position.loss_sum = 0.0;
        position.seconds = 0.0;
        position.history.push(record.clone());
        if best {
            self.write_best(&record)?;
        }
        let parameters = &self.description.parameters;
        history::write(&self.run.history(), parameters, &self.position.history)?;
        self.save()?;
        observer.epoch_finished(&record, best);
        Ok(())
    }

    /// Replaces the best weights, unless those on disk are better still: they can be, when a crash
    /// came after they were written and before the checkpoint, and the epoch was then repeated by
    /// another kind of processor.
    fn write_best(&mut self, record: &EpochRecord) -> Result<(), TrainingError> {
        let path = self.run.model();
        if path.exists() {
            let kept = model_file::read_description(&path)?;
            if kept
                .validation_loss
                .is_some_and(|kept| kept < record.validation_loss)
            {
                return Ok(());
            }
        }
        let description = ModelDescription {
            epoch: record.epoch,
            step: self.position.step,
            validation_loss: Some(record.validation_loss),
            ..self.description.clone()
        };
        // What was validated: the average, if one is kept.
        let average = self.engine.average()?;
        let parameters = match average {
            Some(average) => average,
            None => self.engine.parameters()?,
        };
        let architecture = self.engine.architecture();
        Ok(model_file::write(
            &path,
            &description,
            architecture,
            &parameters,
        )?)
    }

    /// Writes the checkpoint.
    fn save(&mut self) -> Result<(), TrainingError> {
        self.check_weights()?;
        let path = self.run.checkpoint();
        let state = Checkpoint {
            parameters: self.engine.parameters()?,
            mean_squares: self.engine.mean_squares()?,
            average: self.engine.average()?,
            position: self.position.clone(),
        };
        state.write(&path, &self.description, self.engine.architecture())?;
        self.last_saved = Instant::now();
        Ok(())
    }

    fn check_weights(&self) -> Result<(), TrainingError> {
        match self.engine.first_non_finite() {
            None => Ok(()),
            Some(tensor) => Err(TrainingError::NonFiniteWeights {
                epoch: self.position.epochs_done + 1,
                tensor,
                kept: self.run.checkpoint().display().to_string(),
            }),
        }
    }
}
