//! `report`: what was found, as a page in a file.
//!
//! What cannot be written is said before anything is explored.

use std::fs;
use std::io;
use std::path::Path;

use super::args::{Cli, Format, Report};
use super::exit::Exit;
use super::progress::Bar;
use super::render::least;
use super::{Shell, explore_all, nearest};
use crate::explore::{Counterexample, Exploration, ExploreError, explore};
use crate::report::html::{self, Chapter, Example};
use crate::scenario::Scenario;

/// What has been written.
#[derive(serde::Serialize)]
struct Written<'w> {
    file: &'w Path,
    bytes: usize,
    scenarios: usize,
}

impl Shell<'_> {
    pub(super) fn report(
        &mut self,
        cli: &Cli,
        args: &Report,
        catalogue: &[Scenario],
    ) -> io::Result<Exit> {
        let one = match &args.name {
            None => None,
            Some(name) => match nearest::find(catalogue, name) {
                Ok(scenario) => Some(scenario),
                Err(complaint) => return Ok(self.complain(&complaint, Exit::Usage)),
            },
        };
        let file = &args.html;
        if let Err(complaint) = writable(file) {
            return Ok(self.complain(&complaint, Exit::Usage));
        }
        let (page, scenarios, exit) = match one {
            Some(scenario) => match page_of_one(cli, args.pairs, scenario, catalogue) {
                Ok(page) => (page, 1, Exit::Ok),
                Err(error) => {
                    return Ok(self.complain(&error.to_string(), Exit::of_error(&error)));
                }
            },
            None => {
                let (page, failed) = page_of_all(cli, catalogue);
                let mut exit = Exit::Ok;
                for (name, error) in &failed {
                    let complaint = format!("{name}: {error}");
                    exit = exit.and(self.complain(&complaint, Exit::of_error(error)));
                }
                (page, catalogue.len() - failed.len(), exit)
            }
        };
        if let Err(error) = fs::write(file, &page) {
            return Ok(self.complain(&unwritable(file, &error), Exit::Usage));
        }
        match cli.format {
            Format::Text => writeln!(
                self.out,
                "wrote {}: {scenarios} scenario{}, {} KB",
                file.display(),
                if scenarios == 1 { "" } else { "s" },
                page.len().div_ceil(1000)
            )?,
            Format::Json => self.json(&Written {
                file,
                bytes: page.len(),
                scenarios,
            })?,
        }
        Ok(exit)
    }
}

/// Whether a page can be written to this file; it is left as it is.
fn writable(file: &Path) -> Result<(), String> {
    if file.as_os_str() == "-" {
        return Err(
            "--html -: a page is written to a file, not to standard output; name one, as in --html report.html"
                .to_owned(),
        );
    }
    let is_new = !file.exists();
    let mut options = fs::OpenOptions::new();
    let opened = options.write(true).create(true).truncate(false).open(file);
    opened.map_err(|error| unwritable(file, &error))?;
    if is_new {
        // Should it stay there, it is overwritten soon.
        let _ = fs::remove_file(file);
    }
    Ok(())
}

fn unwritable(file: &Path, error: &io::Error) -> String {
    format!("cannot write --html {}: {error}", file.display())
}

fn page_of_one(
    cli: &Cli,
    pairs: usize,
    scenario: &Scenario,
    catalogue: &[Scenario],
) -> Result<String, ExploreError> {
    let bar = Bar::new(1);
    bar.begin(0, scenario.name());
    let exploring = || {
        let exploring = explore(scenario.clone()).progress(|progress| bar.show(progress));
        match cli.threads {
            Some(threads) => exploring.threads(threads),
            None => exploring,
        }
    };
    let exploration = exploring().run()?;
    let grid = exploring().grid(pairs)?;
    let all = exploration.counterexamples.iter();
    let mut chapter = chapter(&exploration, all, catalogue)?;
    chapter
        .examples
        .extend(Example::of_grid(&exploration, &grid)?);
    bar.finish();
    Ok(html::scenario(&chapter, &grid))
}

/// The page, and what could not be explored.
fn page_of_all<'c>(cli: &Cli, catalogue: &'c [Scenario]) -> (String, Vec<(&'c str, ExploreError)>) {
    let bar = Bar::new(catalogue.len());
    let (explorations, mut failed) = explore_all(cli, catalogue, &bar);
    let mut chapters = Vec::new();
    for exploration in &explorations {
        match chapter(exploration, least(exploration), catalogue) {
            Ok(chapter) => chapters.push(chapter),
            Err(error) => {
                let mut named = catalogue.iter().map(Scenario::name);
                let name = named.find(|name| *name == exploration.scenario.name());
                failed.extend(name.map(|name| (name, error)));
            }
        }
    }
    bar.finish();
    let told: Vec<(&str, String)> = failed
        .iter()
        .map(|(name, error)| (*name, error.to_string()))
        .collect();
    (html::catalogue(&chapters, &told), failed)
}

/// A scenario with the runs of these counterexamples.
fn chapter<'e>(
    exploration: &'e Exploration,
    examples: impl IntoIterator<Item = &'e Counterexample>,
    catalogue: &'e [Scenario],
) -> Result<Chapter<'e>, ExploreError> {
    let name = exploration.scenario.name();
    let twins = catalogue
        .iter()
        .filter(|twin| twin.original() == Some(name));
    let mut drawn = Vec::new();
    for example in examples {
        drawn.push(Example::of(exploration, example)?);
    }
    Ok(Chapter {
        exploration,
        examples: drawn,
        twins: twins.map(Scenario::name).collect(),
    })
}
