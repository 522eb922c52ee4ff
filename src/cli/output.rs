//! Writing to the standard streams without panicking when nobody listens any more.

use std::fmt::Display;
use std::io::Write;

use super::CommandError;

/// One line of the result, on stdout.
pub(super) fn line(text: impl Display) -> Result<(), CommandError> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

/// One line about the work, on stderr. A training goes on when its terminal is gone.
pub(super) fn note(text: impl Display) {
    // There is no better place to report that stderr is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}
