//! The `dawn21` command; see [`dawn21::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    dawn21::cli::main()
}
