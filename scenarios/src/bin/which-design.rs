//! Writes `docs/which-design.md`: what it says is checked against the catalogue while it is written.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use midcommit::explore;
use midcommit_scenarios::page;

/// Explores the remedies, and writes docs/which-design.md.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// First tries all pairs of faults on one remedy, and keeps the certificate in docs/pairs.
    Pairs {
        /// The remedy.
        name: String,
        /// Run at most so many, spread evenly.
        most: Option<usize>,
    },
}

fn main() -> ExitCode {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let done = match Arguments::parse().command {
        Some(Command::Pairs { name, most }) => pairs(&top, &name, most).and_then(|()| page(&top)),
        None => page(&top),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn pairs(top: &Path, name: &str, most: Option<usize>) -> Result<(), String> {
    let text = page::record_pairs(name, most, |done, total| {
        tell(&format!("pairs of {name}: {done} of {total}"));
    })?;
    tell("");
    let folder = top.join(page::PAIRS);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    write(&folder.join(format!("{name}.txt")), &text)
}

fn page(top: &Path) -> Result<(), String> {
    let scenarios = page::scenarios(&page::read(&top.join(page::TEMPLATE))?);
    let mut explored = Vec::new();
    for (index, scenario) in scenarios.iter().enumerate() {
        let name = scenario.name();
        tell(&format!("{} of {}: {name}", index + 1, scenarios.len()));
        let exploration = explore(scenario.clone()).cases(0).run();
        explored.push(exploration.map_err(|error| format!("{name}: {error}"))?);
    }
    tell("");
    write(&top.join(page::PAGE), &page::make(top, &explored)?)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Progress, in one line of a terminal.
fn tell(what: &str) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    // Nobody is left to tell if this fails.
    let _ = write!(std::io::stderr(), "\r\x1b[K{what}");
}
