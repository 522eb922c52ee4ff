//! How far a simulation is, on a terminal or in a log.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::output::note;
use crate::simulator::database::Progress;

/// Progress on a terminal.
pub(super) struct Bar {
    bar: ProgressBar,
    /// Snapshots done beyond the finished light-cones.
    snapshots: AtomicUsize,
}

impl Bar {
    pub(super) fn new() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            snapshots: AtomicUsize::new(0),
        }
    }
}

/// Steps of the bar per light-cone: finer than whole light-cones, which may take minutes each.
const STEPS: u64 = 100;

impl Progress for Bar {
    fn begin(&self, total: usize, complete: usize) {
        self.bar
            .set_draw_target(indicatif::ProgressDrawTarget::stderr());
        let template = "{msg} light-cones [{bar:40}] {percent} %, {elapsed} elapsed, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.progress_chars("=> "));
        }
        self.bar.set_length((total - complete) as u64 * STEPS);
        self.bar
            .set_message(format!("{} of {total}:", total - complete));
        self.bar.reset_eta();
        self.bar.enable_steady_tick(Duration::from_millis(500));
    }

    fn snapshot(&self, count: usize) {
        let done = self.snapshots.fetch_add(1, Ordering::Relaxed) + 1;
        self.bar.set_position(done as u64 * STEPS / count as u64);
    }

    fn finished(&self, _: &str, _: f64) {}
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Progress as plain lines, at most one every ten seconds.
pub(super) struct Lines {
    state: Mutex<LinesState>,
}

struct LinesState {
    total: usize,
    complete: usize,
    done: usize,
    start: Instant,
    last: Option<Instant>,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(LinesState {
                total: 0,
                complete: 0,
                done: 0,
                start: Instant::now(),
                last: None,
            }),
        }
    }
}

impl Lines {
    /// A thread that panicked leaves counts that are still good for a progress line.
    fn lock(&self) -> MutexGuard<'_, LinesState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Lines {
    fn begin(&self, total: usize, complete: usize) {
        let mut state = self.lock();
        (state.total, state.complete, state.start) = (total, complete, Instant::now());
        note(format_args!(
            "{total} light-cones, {complete} of them complete"
        ));
    }

    fn snapshot(&self, _: usize) {}

    fn finished(&self, id: &str, seconds: f64) {
        const PERIOD: Duration = Duration::from_secs(10);
        let mut state = self.lock();
        state.done += 1;
        let now = Instant::now();
        let finished = state.done + state.complete;
        let due = state.last.is_none_or(|last| now - last >= PERIOD);
        if due || finished == state.total {
            state.last = Some(now);
            let rate = state.start.elapsed().as_secs_f64() / state.done as f64;
            let left = rate * (state.total - finished) as f64;
            note(format_args!(
                "{finished} of {} light-cones ({id} took {seconds:.1} s), {left:.0} s left",
                state.total
            ));
        }
    }
}
