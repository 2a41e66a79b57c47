//! The command line over the catalogue.

use std::process::ExitCode;

fn main() -> ExitCode {
    midcommit::cli::main(midcommit_scenarios::catalogue())
}
