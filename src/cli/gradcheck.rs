//! `dawn21 gradcheck`.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use super::output::{line, note};
use super::{CommandError, NetworkArguments, Threads, parse_image, table};
use crate::audit::adjoint::{ADJOINT_MEASURE, check_adjoints};
use crate::audit::engine::{ENGINE_MEASURE, check_engine};
use crate::audit::gradients::{
    GRADIENT_MEASURE, Subject, check_directions, check_gradients, random,
};
use crate::audit::layers::{AuditError, NETWORK_BOUND, check_layers};
use crate::audit::optimizer::{OPTIMIZER_MEASURE, check_optimizer};
use crate::audit::precision::{PRECISION_MEASURE, check_precision};
use crate::audit::report::{Check, Section};
use crate::data::batches::{ImageReader, all_images};
use crate::data::dataset::Dataset;
use crate::data::scaling::TargetScaling;
use crate::data::slices::Slicing;
use crate::model::architecture::{Architecture, ArchitectureError};
use crate::model::network::Network;
use crate::training::config::Config;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    network: NetworkArguments,
    /// Check on the first images of a data directory instead of random ones
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    /// Rows and columns of random images for the entry-by-entry check; the derivatives along directions
    /// and the f32 kernels are always checked at full size, 100,2200 cells of 1.5 Mpc, or that of DATA
    #[arg(long, value_name = "ROWS,COLUMNS", value_parser = parse_image, default_value = "48,64", conflicts_with = "data")]
    image: [usize; 2],
    /// Images of a mini-batch
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..))]
    batch: u16,
    /// Entries checked in each tensor
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..))]
    probes: u32,
    /// Leave out the full-size checks
    #[arg(long)]
    quick: bool,
    /// Seed of weights, images and probes
    #[arg(long, default_value_t = 21)]
    seed: u64,
    #[command(flatten)]
    threads: Threads,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the result only
    #[arg(long)]
    quiet: bool,
}

/// The paper's images.
const FULL_IMAGE: [usize; 2] = [100, 2200];
/// Cell size for which random images are meant.
const CELL_MPC: f64 = 1.5;
/// Parameters that the network of random images recovers, as the paper's.
const PARAMETERS: usize = 4;
/// Rounding of a loss of millions of terms, over the small step that a large network's decisions allow.
const DIRECTION_BOUND: f64 = 1e-7;
/// Directions checked.
const DIRECTIONS: usize = 3;

/// Everything that `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    program: &'static str,
    passed: bool,
    seconds: f64,
    sections: &'a [Section],
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    arguments.threads.apply()?;
    let started = Instant::now();
    let config = arguments.network.load()?;
    let sections = audit(arguments, &config)?;
    let failed = sections
        .iter()
        .flat_map(|s| &s.checks)
        .filter(|c| !c.passed())
        .count();
    let seconds = started.elapsed().as_secs_f64();
    if arguments.json {
        let report = Report {
            program: concat!("dawn21 ", env!("CARGO_PKG_VERSION")),
            passed: failed == 0,
            seconds,
            sections: &sections,
        };
        let text = serde_json::to_string_pretty(&report)
            .map_err(|error| CommandError::Usage(error.to_string()))?;
        line(text)?;
    } else {
        for section in &sections {
            print_section(section)?;
        }
        let checks: usize = sections.iter().map(|s| s.checks.len()).sum();
        let values: usize = sections
            .iter()
            .flat_map(|s| &s.checks)
            .map(|c| c.checked)
            .sum();
        if failed == 0 {
            line(format_args!(
                "all {checks} checks passed: {values} values compared in {seconds:.0} s"
            ))?;
        }
    }
    if failed > 0 {
        return Err(CommandError::AuditFailed { failed });
    }
    Ok(())
}

fn audit(arguments: &Arguments, config: &Config) -> Result<Vec<Section>, CommandError> {
    let seed = arguments.seed;
    let probes = arguments.probes as usize;
    let say = |what: &str| {
        if !arguments.quiet {
            note(format_args!("checking {what}"));
        }
    };
    say("each layer type");
    let mut sections = vec![section(
        "gradients of each layer type, f64, against central differences",
        GRADIENT_MEASURE,
        check_layers(probes, seed)?,
    )];

    say("every tensor of the network");
    let subject = subject(arguments, config)?;
    let full = full_architecture(arguments, config, &subject)?;
    sections.push(section(
        "gradients of the whole network, f64, batch normalisation in training mode, fixed dropout mask",
        GRADIENT_MEASURE,
        check_gradients(&subject, "network", probes, NETWORK_BOUND, seed).map_err(AuditError::from)?,
    ));
    say("the engine that trains, at every vector level");
    sections.push(section(
        "the engine that trains, f32, against the network in f64",
        ENGINE_MEASURE,
        check_engine(&subject).map_err(AuditError::from)?,
    ));
    if !arguments.quick {
        say("derivatives along directions of all parameters, full size");
        let [rows, columns] = full.image();
        let large = match arguments.data {
            Some(_) => subject,
            None => {
                let input = random(2 * rows * columns, seed, 5001);
                Subject::new(Network::new(full.clone()), input, seed)
            }
        };
        let name = format!("network {rows} x {columns}");
        let check = check_directions(&large, &name, DIRECTIONS, DIRECTION_BOUND, seed)
            .map_err(AuditError::from)?;
        sections.push(section(
            "derivatives along random directions of all parameters, f64, against central differences",
            "|analytic - numeric| / |analytic|",
            vec![check],
        ));
    }

    let shapes = match arguments.quick {
        true => subject_architecture(arguments, config)?,
        false => full,
    };
    say("the backward pass as an adjoint");
    sections.push(section(
        "forward and backward pass as adjoints",
        ADJOINT_MEASURE,
        check_adjoints(&shapes, seed).map_err(AuditError::from)?,
    ));
    say("the f32 kernels that train");
    sections.push(section(
        "the f32 kernels that train against f64",
        PRECISION_MEASURE,
        check_precision(&shapes, seed).map_err(AuditError::from)?,
    ));
    let optimizer = config.training.rmsprop.optimizer();
    sections.push(section(
        "the optimiser's steps",
        OPTIMIZER_MEASURE,
        check_optimizer(&optimizer, seed).map_err(AuditError::from)?,
    ));
    Ok(sections)
}

fn section(title: &str, measure: &str, checks: Vec<Check>) -> Section {
    Section {
        title: title.to_string(),
        measure: measure.to_string(),
        checks,
    }
}

/// The network at the size of the entry-by-entry check, on random or real images.
fn subject(arguments: &Arguments, config: &Config) -> Result<Subject, CommandError> {
    let seed = arguments.seed;
    let batch = usize::from(arguments.batch);
    let architecture = subject_architecture(arguments, config)?;
    let [rows, columns] = architecture.image();
    let input = match &arguments.data {
        None => random(batch * rows * columns, seed, 5000),
        Some(path) => {
            let dataset = Dataset::open(path)?;
            let slicing = Slicing::new(dataset.manifest(), &config.slices)?;
            let targets = TargetScaling::new(&dataset.manifest().parameters);
            let reader = ImageReader::new(&dataset, &slicing, config.input, targets)?;
            let light_cones: Vec<usize> = (0..dataset.light_cones().len()).collect();
            let images = all_images(&light_cones, &slicing);
            // From different light-cones first.
            let stride = (images.len() / batch).max(1);
            let chosen: Vec<_> = images.into_iter().step_by(stride).take(batch).collect();
            let (mut pixels, mut scaled) = (Vec::new(), Vec::new());
            reader.read_batch(&chosen, &mut pixels, &mut scaled)?;
            pixels.into_iter().map(f64::from).collect()
        }
    };
    Ok(Subject::new(Network::new(architecture), input, seed))
}

fn subject_architecture(
    arguments: &Arguments,
    config: &Config,
) -> Result<Architecture, CommandError> {
    let Some(path) = &arguments.data else {
        return resolve(config, arguments.image, CELL_MPC, PARAMETERS);
    };
    let dataset = Dataset::open(path)?;
    let slicing = Slicing::new(dataset.manifest(), &config.slices)?;
    let image = [slicing.rows(), slicing.columns()];
    let manifest = dataset.manifest();
    resolve(config, image, manifest.cell_mpc, manifest.parameters.len())
}

fn full_architecture(
    arguments: &Arguments,
    config: &Config,
    subject: &Subject,
) -> Result<Architecture, CommandError> {
    match arguments.data {
        Some(_) => Ok(subject.network.architecture().clone()),
        None => resolve(config, FULL_IMAGE, CELL_MPC, PARAMETERS),
    }
}

/// A network of a file may end in another number of outputs than the paper's four.
fn resolve(
    config: &Config,
    image: [usize; 2],
    cell_mpc: f64,
    parameters: usize,
) -> Result<Architecture, CommandError> {
    let layers = config.effective_layers();
    let resolved = match Architecture::resolve(&layers, image, cell_mpc, parameters) {
        Err(ArchitectureError::Outputs {
            features: Some(outputs),
            ..
        }) => Architecture::resolve(&layers, image, cell_mpc, outputs),
        other => other,
    };
    Ok(resolved.map_err(AuditError::from)?)
}

fn print_section(section: &Section) -> Result<(), CommandError> {
    line(&section.title)?;
    line(format_args!("  error: {}", section.measure))?;
    let header = [
        "  layer",
        "tensor",
        "checked",
        "of",
        "set aside",
        "max error",
        "median",
        "bound",
        "worst entry",
        "value",
        "compared with",
        "",
    ];
    let mut rows = vec![header.map(str::to_string).to_vec()];
    for check in &section.checks {
        let worst = check.worst;
        let number = |value: f64| format!("{value:.9e}");
        rows.push(vec![
            format!("  {}", check.subject),
            check.tensor.clone(),
            check.checked.to_string(),
            check.values.to_string(),
            check.set_aside.to_string(),
            format!("{:.1e}", check.max_error),
            format!("{:.1e}", check.median_error),
            format!("{:.0e}", check.bound),
            worst.map_or(String::new(), |w| format!("[{}]", w.index)),
            worst.map_or(String::new(), |w| number(w.analytic)),
            worst.map_or(String::new(), |w| number(w.numeric)),
            if check.passed() { "ok" } else { "FAILED" }.to_string(),
        ]);
    }
    line(table::format(&rows))
}
