//! `dawn21 info`.

use std::path::PathBuf;

use super::output::line;
use super::progress::Items;
use super::{CommandError, Threads, table};
use crate::data::dataset::Dataset;
use crate::data::inspection::inspect;
use crate::data::slices::{SliceConfig, Slicing};
use crate::model::engine::Engine;
use crate::model::execution::Execution;
use crate::training::config::{Config, ConfigSources};
use crate::training::preparation;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Data directory
    data: PathBuf,
    /// Read every cell and report those that are not finite
    #[arg(long)]
    deep: bool,
    /// Print how each convolution of a network would be computed on these images, and why
    #[arg(long)]
    plan: bool,
    /// With --plan: network of a preset; default: the one that DATA suggests, else gillet2019
    #[arg(long, value_name = "NAME", requires = "plan")]
    preset: Option<String>,
    /// With --plan: network of a TOML file
    #[arg(long, value_name = "FILE", requires = "plan")]
    config: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    /// No progress
    #[arg(long)]
    quiet: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    arguments.threads.apply()?;
    let mut progress = None;
    let inspection = inspect(&arguments.data, arguments.deep, |done, count| {
        progress
            .get_or_insert_with(|| Items::new("cubes", count, arguments.quiet))
            .update(done);
    })?;
    print_summary(&inspection.dataset)?;
    if arguments.plan {
        print_plans(arguments, &inspection.dataset)?;
    }
    let faults = inspection.faults;
    if faults.is_empty() {
        let depth = if arguments.deep {
            "every cell is finite"
        } else {
            "cells not read, --deep reads them"
        };
        return line(format_args!("sound ({depth})"));
    }
    line(format_args!("{} faults:", faults.len()))?;
    for fault in &faults {
        line(format_args!("  {fault}"))?;
    }
    Err(CommandError::Unsound {
        directory: arguments.data.clone(),
        faults: faults.len(),
    })
}

/// The algorithm of each convolution, with the estimates that led to it.
fn print_plans(arguments: &Arguments, dataset: &Dataset) -> Result<(), CommandError> {
    let suggested = dataset.manifest().suggested_preset.as_deref();
    let config = Config::load(&ConfigSources {
        preset: match (&arguments.preset, &arguments.config) {
            (Some(name), _) => Some(name),
            (None, Some(_)) => None,
            (None, None) => suggested,
        },
        file: arguments.config.as_deref(),
        ..ConfigSources::default()
    })?;
    let slicing = Slicing::new(dataset.manifest(), &config.slices)?;
    let (architecture, _) = preparation::network(dataset, &slicing, &config)?;
    let engine = Engine::new(architecture, Execution::new(config.execution)?)?;
    let plans = engine.plans();
    if plans.is_empty() {
        return line("every layer is computed by itself, with the plain kernels");
    }
    for plan in plans {
        line(plan)?;
    }
    Ok(())
}

fn print_summary(dataset: &Dataset) -> Result<(), CommandError> {
    let manifest = dataset.manifest();
    let [nx, ny, nz] = manifest.shape;
    let cell = manifest.cell_mpc;
    line(format_args!(
        "{}: {}",
        dataset.directory().display(),
        manifest.source
    ))?;
    line(format_args!(
        "{} light-cones of {nx} x {ny} x {nz} cells of {cell} Mpc ({:.0} x {:.0} x {:.0} Mpc), z = {} to {}, {} in {}",
        dataset.light_cones().len(),
        nx as f64 * cell,
        manifest.box_cells_y() as f64 * cell,
        nz as f64 * cell,
        manifest.redshift_range[0],
        manifest.redshift_range[1],
        manifest.quantity,
        manifest.unit,
    ))?;
    line(format_args!(
        "{:.2} GB in cubes of {:.2} MB, fingerprint {}",
        dataset.light_cones().len() as f64 * manifest.cube_bytes() as f64 / 1e9,
        manifest.cube_bytes() as f64 / 1e6,
        dataset.fingerprint()
    ))?;
    match Slicing::new(manifest, &SliceConfig::default()) {
        Ok(slicing) => line(format_args!(
            "{} images of {} x {} cells per light-cone, unless configured otherwise",
            slicing.images().len(),
            slicing.rows(),
            slicing.columns()
        ))?,
        Err(error) => line(format_args!("no default images: {error}"))?,
    }
    let header = ["parameter", "min", "max", "lowest", "highest", "unit"];
    let mut rows = vec![header.map(str::to_string).to_vec()];
    for (index, parameter) in manifest.parameters.iter().enumerate() {
        let values = dataset.light_cones().iter().map(|l| l.parameters[index]);
        let lowest = values.clone().fold(f64::INFINITY, f64::min);
        let highest = values.fold(f64::NEG_INFINITY, f64::max);
        let found = |value: f64| match value.is_finite() {
            true => value.to_string(),
            false => "-".to_string(),
        };
        rows.push(vec![
            parameter.name.clone(),
            parameter.min.to_string(),
            parameter.max.to_string(),
            found(lowest),
            found(highest),
            parameter.unit.clone(),
        ]);
    }
    line(table::format(&rows).trim_end())
}
