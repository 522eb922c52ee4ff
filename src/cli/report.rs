//! `dawn21 report`: a run in one page.

use std::path::PathBuf;

use super::output::{line, note};
use super::{CommandError, Threads};
use crate::figures::report;
use crate::figures::run_material::RunMaterial;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Run directory
    run: PathBuf,
    /// Data directory of the light-cones shown; absent: the one that the run was trained on
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    /// Do not say what is left out
    #[arg(long)]
    quiet: bool,
}

/// Writes report.html into the run directory; prints its path.
pub(super) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    arguments.threads.apply()?;
    let material = RunMaterial::load(&arguments.run, arguments.data.as_deref())?;
    let path = report::write(&material)?;
    if !arguments.quiet {
        material.notes.iter().for_each(note);
    }
    line(path.display())
}
