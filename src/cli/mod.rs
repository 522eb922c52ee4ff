//! The commands, one file each.

pub mod figures;
pub mod simulate;

use clap::{Parser, Subcommand};

/// Reads the first billion years of the Universe out of 21-cm images.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Simulates light-cones into a data directory.
    Simulate(Box<simulate::SimulateArguments>),
    /// Draws figures.
    #[command(subcommand)]
    Figures(Figures),
}

#[derive(Debug, Subcommand)]
enum Figures {
    /// Draws one plane of a light-cone and its global history, as PNG and SVG.
    LightCone(figures::LightConeFigureArguments),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// That of the command.
    pub fn run(&self) -> Result<(), Box<dyn std::error::Error>> {
        match &self.command {
            Command::Simulate(arguments) => Ok(simulate::run(arguments)?),
            Command::Figures(Figures::LightCone(arguments)) => Ok(figures::run(arguments)?),
        }
    }
}
