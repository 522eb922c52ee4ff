//! Progress on stderr: a bar on a terminal, plain lines elsewhere, nothing with `--quiet`.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use super::output::note;
use crate::data::manifest::ParameterDescription;
use crate::training::history::EpochRecord;
use crate::training::observer::TrainingObserver;

/// Plain lines within an epoch come at least this far apart.
const LINE_INTERVAL: Duration = Duration::from_secs(30);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Bar,
    Lines,
    Quiet,
}

impl Style {
    fn choose(quiet: bool) -> Self {
        if quiet {
            Self::Quiet
        } else if std::io::stderr().is_terminal() {
            Self::Bar
        } else {
            Self::Lines
        }
    }
}

fn bar(style: Style, len: u64, template: &str) -> ProgressBar {
    if style != Style::Bar {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| {
        // The templates are constants of this file.
        ProgressStyle::default_bar()
    });
    ProgressBar::new(len).with_style(style.progress_chars("=> "))
}

/// Progress over a known number of items.
pub(super) struct Items {
    style: Style,
    what: &'static str,
    count: u64,
    bar: ProgressBar,
    started: Instant,
    last_line: Instant,
}

impl Items {
    /// Shows nothing with `quiet`, and lines without a terminal only if it takes longer than their interval.
    pub(super) fn new(what: &'static str, count: usize, quiet: bool) -> Self {
        let style = Style::choose(quiet);
        let template = "{msg} [{bar:30}] {pos}/{len}  {per_sec}  {eta} left";
        let bar = bar(style, count as u64, template).with_message(what);
        Self {
            style,
            what,
            count: count as u64,
            bar,
            started: Instant::now(),
            last_line: Instant::now(),
        }
    }

    /// `done` items are finished.
    pub(super) fn update(&mut self, done: usize) {
        let done = done as u64;
        self.bar.set_position(done);
        let due = self.last_line.elapsed() >= LINE_INTERVAL;
        if self.style == Style::Lines && due && done > 0 {
            self.last_line = Instant::now();
            let left = remaining(self.started.elapsed(), done, self.count);
            note(format_args!(
                "{} {done}/{}, {} left",
                self.what,
                self.count,
                HumanDuration(left)
            ));
        }
        if done >= self.count {
            self.bar.finish_and_clear();
        }
    }
}

/// Time for the rest at the speed so far.
fn remaining(elapsed: Duration, done: u64, count: u64) -> Duration {
    elapsed.mul_f64((count.saturating_sub(done)) as f64 / done.max(1) as f64)
}

/// Progress of a training: a bar for the current epoch, a line for every finished one.
pub(super) struct TrainingProgress {
    style: Style,
    epochs: u64,
    /// Symbols for R2 in the line of an epoch.
    names: Vec<String>,
    bar: ProgressBar,
    epoch: u64,
    images: usize,
    /// When this epoch, or what is left of it, began, and with how many images done.
    epoch_started: (Instant, usize),
    last_line: Instant,
}

impl TrainingProgress {
    /// A training of `epochs` epochs.
    pub(super) fn new(epochs: u64, parameters: &[ParameterDescription], quiet: bool) -> Self {
        Self {
            style: Style::choose(quiet),
            epochs,
            names: parameters.iter().map(|p| p.name.clone()).collect(),
            bar: ProgressBar::hidden(),
            epoch: 0,
            images: 0,
            epoch_started: (Instant::now(), 0),
            last_line: Instant::now(),
        }
    }

    /// Images a second since this epoch began, and time to the end of the training.
    fn speed(&self, images_done: usize) -> (f64, Duration) {
        let (started, done_before) = self.epoch_started;
        let done = images_done.saturating_sub(done_before);
        let rate = done as f64 / started.elapsed().as_secs_f64().max(1e-9);
        let epochs_left = self.epochs.saturating_sub(self.epoch) as f64;
        let images_left = epochs_left * self.images as f64 + (self.images - images_done) as f64;
        (rate, Duration::from_secs_f64(images_left / rate.max(1e-9)))
    }
}

impl TrainingObserver for TrainingProgress {
    fn epoch_started(&mut self, epoch: u64, images_done: usize, images: usize) {
        self.epoch = epoch;
        self.images = images;
        self.epoch_started = (Instant::now(), images_done);
        self.last_line = Instant::now();
        let template = "{prefix} [{bar:30}] {pos}/{len} images  {msg}";
        self.bar = bar(self.style, images as u64, template)
            .with_prefix(format!("epoch {epoch}/{}", self.epochs));
        self.bar.set_position(images_done as u64);
    }

    fn step_finished(&mut self, images_done: usize, loss: f64) {
        let (rate, left) = self.speed(images_done);
        let text = format!(
            "{rate:.1} images/s  loss {loss:.5}  {} left",
            HumanDuration(left)
        );
        self.bar.set_position(images_done as u64);
        self.bar.set_message(text.clone());
        if self.style == Style::Lines && self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = Instant::now();
            let (epoch, epochs, images) = (self.epoch, self.epochs, self.images);
            note(format_args!(
                "epoch {epoch}/{epochs}  {images_done}/{images} images  {text}"
            ));
        }
    }

    fn epoch_finished(&mut self, record: &EpochRecord, best: bool) {
        let (_, left) = self.speed(self.images);
        self.bar.finish_and_clear();
        if self.style == Style::Quiet {
            return;
        }
        let r2: Vec<String> = self
            .names
            .iter()
            .zip(&record.validation_r2)
            .map(|(name, r2)| {
                let value = r2.map_or("-".to_string(), |r2| format!("{r2:.3}"));
                format!("{name} {value}")
            })
            .collect();
        note(format_args!(
            "epoch {}/{}  train {:.5}  validation {:.5}{}  R2 {}  lr {:.2e}  {:.1} images/s  {} left",
            record.epoch,
            self.epochs,
            record.train_loss,
            record.validation_loss,
            if best { " *" } else { "  " },
            r2.join(" "),
            record.learning_rate,
            record.images_per_second,
            HumanDuration(left),
        ));
    }
}
