//! Writing to the standard streams without panicking when nobody listens any more.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;

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

/// A path as an argument in a command to be copied.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_when_a_shell_would_split_them() {
        assert_eq!(quoted(Path::new("runs/a-001")), "runs/a-001");
        assert_eq!(quoted(Path::new("my runs/it's")), r"'my runs/it'\''s'");
    }
}
