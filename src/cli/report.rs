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
    /// Data directory of the light-cones to show; default: the one that the run was trained on
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    /// Other evaluated runs whose scores stand beside those of RUN in table 2, e.g. one trained on one image of
    /// each light-cone; may be repeated
    #[arg(long, value_name = "RUN")]
    beside: Vec<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    /// Do not say what is left out
    #[arg(long)]
    quiet: bool,
}

/// Writes report.html into the run directory; prints its path.
pub(super) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    arguments.threads.apply()?;
    let mut material = RunMaterial::load(&arguments.run, arguments.data.as_deref())?;
    for other in &arguments.beside {
        material.put_beside(other)?;
    }
    let path = report::write(&material)?;
    if !arguments.quiet {
        material.notes.iter().for_each(note);
    }
    line(path.display())
}
