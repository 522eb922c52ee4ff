//! The `dawn21` command.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match dawn21::cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
