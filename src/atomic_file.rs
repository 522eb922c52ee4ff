//! Files that are either whole or absent: temporary file, fsync, rename.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file operation that failed, with the file's name.
#[derive(Debug, thiserror::Error)]
#[error("{}: {operation} failed: {source}", path.display())]
pub struct FileError {
    /// The file or directory concerned.
    pub path: PathBuf,
    /// What was attempted, as a verb phrase.
    pub operation: &'static str,
    /// The reason given by the operating system.
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`: wraps an I/O error of `operation` on `path`.
    pub fn at(path: &Path, operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self {
            path,
            operation,
            source,
        }
    }
}

/// Writes `path` through a temporary file beside it, so that a reader, or a later run after a crash,
/// sees the old content or the whole new one and never a part.
///
/// # Errors
/// [`FileError`] when the disk is full, the directory is missing or not writable, or `write` fails;
/// the temporary file is removed and an earlier `path` is untouched.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), FileError> {
    let temporary = temporary_beside(path);
    let result = write_and_rename(path, &temporary, write);
    if result.is_err() {
        // Best effort: the first error is the one worth reporting.
        let _ = fs::remove_file(&temporary);
    }
    result
}

fn write_and_rename(
    path: &Path,
    temporary: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), FileError> {
    let file = File::create(temporary).map_err(FileError::at(temporary, "creating the file"))?;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    write(&mut writer).map_err(FileError::at(temporary, "writing"))?;
    let file = writer
        .into_inner()
        .map_err(|error| FileError::at(temporary, "writing")(error.into_error()))?;
    file.sync_all()
        .map_err(FileError::at(temporary, "flushing to disk"))?;
    drop(file);
    fs::rename(temporary, path).map_err(FileError::at(path, "renaming into place"))?;
    sync_directory(path)
}

/// Writes the whole of `content` to `path` atomically, see [`write_atomically`].
///
/// # Errors
/// [`FileError`] as [`write_atomically`].
pub fn write_bytes_atomically(path: &Path, content: &[u8]) -> Result<(), FileError> {
    write_atomically(path, |writer| writer.write_all(content))
}

/// Makes a rename survive a power failure.
fn sync_directory(path: &Path) -> Result<(), FileError> {
    #[cfg(unix)]
    if let Some(directory) = path.parent() {
        let directory = if directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            directory
        };
        File::open(directory)
            .and_then(|handle| handle.sync_all())
            .map_err(FileError::at(directory, "flushing the directory to disk"))?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Removes the temporary files that writers killed at work left in `directory`. Nobody else may be writing
/// there.
///
/// # Errors
/// [`FileError`] when the directory cannot be listed or a file not removed.
pub fn remove_leftovers(directory: &Path) -> Result<(), FileError> {
    let entries = fs::read_dir(directory).map_err(FileError::at(directory, "listing"))?;
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            fs::remove_file(&path).map_err(FileError::at(&path, "removing"))?;
        }
    }
    Ok(())
}

/// The name of the temporary file: the process number keeps two writers apart.
fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_write_leaves_the_old_file_and_no_temporary() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("weights");
        write_bytes_atomically(&path, b"old").expect("first write");
        let error = write_atomically(&path, |writer| {
            writer.write_all(b"half of the new con")?;
            Err(io::Error::other("disk full"))
        })
        .expect_err("the closure failed");
        assert!(error.to_string().contains("disk full"), "{error}");
        assert_eq!(fs::read(&path).expect("old file"), b"old");
        let names: Vec<_> = fs::read_dir(directory.path()).expect("listing").collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[test]
    fn missing_directory_is_named() {
        let error = write_bytes_atomically(Path::new("no/such/directory/file"), b"")
            .expect_err("directory is missing");
        assert!(error.to_string().contains("no/such/directory"), "{error}");
    }
}
