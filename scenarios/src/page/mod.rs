//! `docs/which-design.md`: the catalogue as a page that says which design to choose.
//!
//! Its prose stands in a template, `docs/which-design.in.md`. Every fact comes from explorations: the
//! matrix, the counts, the timelines; and what the prose claims of a cell is compared with the cell,
//! so that advice cannot outlive what it rests on. How the page looks is the template's business.

mod cite;
mod facts;
mod pairs;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use midcommit::Scenario;
use midcommit::explore::Exploration;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value};
use serde::Serialize;

use facts::{Facts, Meaning, Row};
use pairs::Recorded;

/// Where the template is, below the top of the repository.
pub const TEMPLATE: &str = "docs/which-design.in.md";
/// Where the page goes.
pub const PAGE: &str = "docs/which-design.md";

pub use pairs::{PAIRS, record_pairs};

/// The page as it should be, of what was explored.
///
/// # Errors
///
/// The template or a recorded certificate cannot be read, names a scenario that there is not, or
/// claims what is not so.
pub fn make(top: &Path, explored: &[Exploration]) -> Result<String, String> {
    let template = read(&top.join(TEMPLATE))?;
    which_design(&template, explored, &pairs::recorded(top)?)
}

/// The text of a file, or what is wrong with it.
///
/// # Errors
///
/// It cannot be read.
pub fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The remedies, and what else the template names: what must be explored before it can be filled in.
pub fn scenarios(template: &str) -> Vec<Scenario> {
    let remedies = crate::remedies();
    let is_remedy = |name: &str| remedies.iter().any(|remedy| remedy.name() == name);
    let words: BTreeSet<&str> = template
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .collect();
    let needed = crate::catalogue().into_iter();
    needed
        .filter(|scenario| is_remedy(scenario.name()) || words.contains(scenario.name()))
        .collect()
}

/// Fills the template in with what was explored. `pairs` are recorded certificates.
///
/// # Errors
///
/// The template cannot be read, names a scenario that there is not, or claims what is not so.
fn which_design(
    template: &str,
    explored: &[Exploration],
    pairs: &[Recorded],
) -> Result<String, String> {
    let needed: BTreeSet<String> = scenarios(template)
        .iter()
        .map(|scenario| scenario.name().to_owned())
        .collect();
    let explored: Vec<&Exploration> = explored
        .iter()
        .filter(|exploration| needed.contains(exploration.scenario.name()))
        .collect();
    let facts = Arc::new(Facts::of(&explored)?);
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    let syntax = syntax.keep_trailing_newline(true).build();
    environment.set_syntax(syntax.map_err(|error| error.to_string())?);
    let cells = facts.clone();
    environment.add_function("cell", move |citation: &str| {
        cite::cell(&cells, citation).map_err(wrong)
    });
    let cells = facts.clone();
    environment.add_function(
        "was",
        move |words: &str, verdicts: &str, cell: &str, note: Option<u32>| {
            cite::was(&cells, words, verdicts, cell, note).map_err(wrong)
        },
    );
    let examples = facts.clone();
    environment.add_function(
        "example",
        move |scenario: &str, class: &str, verdict: &str| {
            let example = examples.example(scenario, class, verdict);
            example.map(|e| Value::from(Serde(e))).map_err(wrong)
        },
    );
    let page = Page {
        rows: facts.rows(),
        classes: facts::columns(),
        verdicts: facts.verdicts(),
        scenarios: explored.len(),
        schedules: facts.schedules(),
        pairs,
    };
    let page = environment
        .render_named_str(TEMPLATE, template, Serde(&page))
        .map_err(|error| told(&error))?;
    match facts.unnamed(&page) {
        names if names.is_empty() => Ok(page),
        names => Err(format!("the page does not tell of {}", names.join(", "))),
    }
}

/// What the template is given.
#[derive(Serialize)]
struct Page<'p> {
    rows: &'p [Row],
    /// The columns of the matrix.
    classes: Vec<&'static str>,
    /// Those that occur.
    verdicts: Vec<Meaning>,
    /// How many were explored, and by how many schedules.
    scenarios: usize,
    schedules: String,
    pairs: &'p [Recorded],
}

fn wrong(claim: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, claim)
}

/// An error with its line of the template.
fn told(error: &Error) -> String {
    let line = error
        .line()
        .map_or(String::new(), |line| format!(":{line}"));
    let what = error
        .detail()
        .map_or_else(|| error.to_string(), str::to_owned);
    format!("{TEMPLATE}{line}: {what}")
}
