//! The `dawn21` command.
fn main() {}
