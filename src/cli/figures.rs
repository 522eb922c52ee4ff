//! `dawn21 figures`: the figures of a run, or of a light-cone.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::output::{line, note};
use super::{CommandError, Threads};
use crate::figures::light_cone::LightConePlane;
use crate::figures::run_figures;
use crate::figures::run_material::RunMaterial;

/// `figures RUN`, or `figures light-cone CUBE`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    subject: Option<Subject>,
    /// Run directory
    #[arg(required = true)]
    run: Option<PathBuf>,
    /// Data directory of the light-cones to show; default: the one that the run was trained on
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    /// Do not say what is left out
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// Draw one plane of a light-cone and its global history, as PNG and SVG
    LightCone(LightConeArguments),
}

#[derive(Debug, Args)]
struct LightConeArguments {
    /// Cube of a data directory, e.g. data/cubes/00000.f32
    cube: PathBuf,
    /// Plane of constant y; by default the first stored one
    #[arg(long, value_name = "Y")]
    plane: Option<usize>,
    /// Path of the figures without `.png` and `.svg`; by default `light_cone_` and the cube's name, in the current
    /// directory
    #[arg(long, value_name = "PREFIX")]
    out: Option<PathBuf>,
}

/// Draws; prints the paths of the figures.
pub(super) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    if let Some(Subject::LightCone(arguments)) = &arguments.subject {
        return draw_light_cone(arguments);
    }
    let Some(run) = &arguments.run else {
        // Required by the command line where there is no subcommand.
        return Ok(());
    };
    arguments.threads.apply()?;
    let material = RunMaterial::load(run, arguments.data.as_deref())?;
    let directory = material.run.figures();
    let mut left_out = material.notes.clone();
    for section in run_figures::draw(&material)? {
        for figure in &section.figures {
            line(figure.write(&directory)?.display())?;
        }
        let heading = section.heading;
        left_out.extend(section.missing.map(|why| format!("{heading}: {why}")));
    }
    if !arguments.quiet {
        left_out.iter().for_each(note);
    }
    Ok(())
}

fn draw_light_cone(arguments: &LightConeArguments) -> Result<(), CommandError> {
    let plane = LightConePlane::read(&arguments.cube, arguments.plane)?;
    let prefix = arguments.out.clone().unwrap_or_else(|| {
        let name = arguments.cube.file_stem().unwrap_or_default();
        PathBuf::from(format!("light_cone_{}", name.to_string_lossy()))
    });
    for path in plane.write(&prefix)? {
        line(path.display())?;
    }
    Ok(())
}
