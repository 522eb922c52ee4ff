//! Ctrl-C and SIGTERM: the first asks to stop cleanly, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::CommandError;
use super::output::note;

/// Exit code of a process that was asked to stop: 128 + SIGINT.
pub(super) const INTERRUPTED: u8 = 130;

/// A flag that becomes true at the first Ctrl-C; `stopping` says then what happens to the work.
pub(super) fn stop_flag(stopping: &'static str) -> Result<Arc<AtomicBool>, CommandError> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(INTERRUPTED));
        }
        note(format_args!(
            "\n{stopping}; interrupt again to stop at once"
        ));
    })
    .map_err(|error| CommandError::Usage(format!("Ctrl-C cannot be handled: {error}")))?;
    Ok(stop)
}
