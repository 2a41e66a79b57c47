//! The remedies, each with one guard removed: the harness must notice.
//!
//! A remedy that survives every fault may owe that to itself, or to a harness that is blind. So
//! every guard that a remedy rests on is taken away once (`edits.txt`), and the exploration that
//! finds nothing in the remedy must find something in what is left of it: a verdict worse than any
//! that the remedy declares under those faults. Where no single fault shows it, `several` drawn together
//! must. What it finds is a least plan, since it strikes once
//! or not at all.

pub mod edit;

use std::fmt;
use std::time::Duration;

use midcommit::explore::{CATALOGUE_CASES, Cell, Counterexample, Exploration};
use midcommit::oracle::Verdict;
use midcommit::plan::{Class, CommitPoint};
use midcommit::replay::replay;
use midcommit::report::Timeline;
use midcommit::{Scenario, explore};

pub use edit::Edit;

/// The remedies with an edit each, written by the build script.
mod edited {
    include!(concat!(env!("OUT_DIR"), "/edited.rs"));

    /// All scenarios of the file, with this edit made.
    pub(crate) fn of(edit: &str) -> Vec<midcommit::Scenario> {
        scenarios(edit)
    }
}

/// What an edit says that shows only under several faults together.
const SEVERAL: &str = "several";

/// How many plans of several faults are drawn where only they show an edit.
const DRAWN: usize = 1_000;

/// For how long a COMMIT stays at the point that an edit names: one step of the simulation.
const DWELL: Duration = Duration::from_millis(10);

/// The list.
///
/// # Panics
///
/// Never: the build script has read it.
pub fn edits() -> Vec<Edit> {
    edit::parse(include_str!("../edits.txt")).expect("the build script has read the list")
}

/// How an edit was noticed.
pub struct Caught {
    /// The edit.
    pub edit: Edit,
    /// The least plan of the worst verdict.
    pub example: Counterexample,
    /// The scenario with the edit made.
    pub scenario: Scenario,
}

/// Two lines: what was taken away and the plan that shows it, then what happened.
impl fmt::Display for Caught {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Caught { edit, example, .. } = self;
        write!(f, "{} ({}): {}", edit.name, edit.scenario, told(example))
    }
}

impl Caught {
    /// What happened, event by event.
    ///
    /// # Errors
    ///
    /// The plan does not replay: in words.
    pub fn timeline(&self) -> Result<Timeline, String> {
        let replayed = replay(&self.scenario, &self.example.plan);
        let replayed = replayed.map_err(|error| error.to_string())?;
        Ok(Timeline::around(&replayed.history, &replayed.judgement))
    }
}

/// The plan, and on a line of its own the verdict with its sentence.
fn told(example: &Counterexample) -> String {
    let finding = &example.judgement.findings[0];
    format!(
        "{}\n    {}: {}",
        example.plan, example.judgement.verdict, finding.sentence
    )
}

/// Tries an edited remedy with the faults that its edit is about.
///
/// # Errors
///
/// Nothing worse came out than the remedy declares, or nothing can be said: in words.
pub fn catch(edit: &Edit) -> Result<Caught, String> {
    let scenario = edited(edit)?;
    if edit.caught == SEVERAL {
        let example = together(&scenario, &remedy(edit)?)?;
        return example.map(|example| Caught { edit: edit.clone(), example, scenario }).ok_or_else(|| {
            format!(
                "{} is not caught: {DRAWN} drawn plans give nothing that one of their faults does not; the guard: {}",
                edit.name, edit.guard
            )
        });
    }
    let class = class(edit)?;
    let declared = declared(&remedy(edit)?, class);
    let (cell, examples) = cell_of(&scenario, class)?;
    let worst = cell.worst();
    let mut examples = examples.into_iter();
    match examples.find(|example| example.judgement.verdict == worst) {
        Some(example) if worst > declared => Ok(Caught {
            edit: edit.clone(),
            example,
            scenario,
        }),
        _ => Err(format!(
            "{} is not caught: {} schedules give at worst {worst}, and the remedy declares {declared}; the guard: {}",
            edit.name, cell.schedules, edit.guard
        )),
    }
}

/// Tries the remedy itself with the same faults.
///
/// # Errors
///
/// Something came out that is worse than it declares: in words.
pub fn spare(edit: &Edit) -> Result<(), String> {
    let remedy = remedy(edit)?;
    if edit.caught == SEVERAL {
        return match together(&remedy, &remedy)? {
            None => Ok(()),
            Some(example) => Err(format!(
                "{} without an edit does not survive several faults: {}",
                edit.scenario,
                told(&example)
            )),
        };
    }
    let class = class(edit)?;
    let declared = declared(&remedy, class);
    match cell_of(&remedy, class)?.0.worst() {
        worst if worst > declared => Err(format!(
            "{} without an edit is {worst} under {}, and declares {declared}",
            edit.scenario, edit.caught
        )),
        _ => Ok(()),
    }
}

/// Tries a remedy without a guard that is said to be redundant, with all faults there are, alone and together.
///
/// # Errors
///
/// Something came out that is worse than the remedy declares: then the guard is one; in words.
pub fn survive(edit: &Edit) -> Result<(), String> {
    let remedy = remedy(edit)?;
    let scenario = edited(edit)?;
    let exploration = explored(&scenario, remedy.classes().iter().copied(), CATALOGUE_CASES)?;
    if let Some(example) = undeclared(&exploration, &remedy) {
        return Err(format!(
            "{} does not survive several faults: {}",
            edit.name,
            told(example)
        ));
    }
    for (class, cell) in &exploration.cells {
        let declared = declared(&remedy, *class);
        let worst = cell.worst();
        if worst > declared {
            let mut examples = exploration.counterexamples.iter();
            let example = examples
                .find(|example| example.class == *class && example.judgement.verdict == worst);
            return Err(format!(
                "{} does not survive {}, and the remedy declares {declared}: {}",
                edit.name,
                class.map_or("none", Class::name),
                example.map_or(String::new(), told),
            ));
        }
    }
    Ok(())
}

/// What a scenario gives under one class of fault, or without any.
fn cell_of(
    scenario: &Scenario,
    class: Option<Class>,
) -> Result<(Cell, Vec<Counterexample>), String> {
    let exploration = explored(scenario, class, 0)?;
    let cell = exploration.cells.get(&class).cloned();
    let mut examples = exploration.counterexamples;
    examples.retain(|example| example.class == class);
    Ok((cell.unwrap_or_default(), examples))
}

/// The worst that several faults do to an edited remedy, as none of them does alone, and the remedy does not
/// declare.
fn together(scenario: &Scenario, remedy: &Scenario) -> Result<Option<Counterexample>, String> {
    let exploration = explored(scenario, remedy.classes().iter().copied(), DRAWN)?;
    Ok(undeclared(&exploration, remedy).cloned())
}

fn undeclared<'e>(exploration: &'e Exploration, remedy: &Scenario) -> Option<&'e Counterexample> {
    let several = exploration.several().map(|(example, _)| example);
    several
        .filter(|example| {
            !remedy
                .expected_of_several()
                .contains_key(&example.judgement.verdict)
        })
        .max_by_key(|example| example.judgement.verdict)
}

fn explored(
    scenario: &Scenario,
    classes: impl IntoIterator<Item = Class>,
    cases: usize,
) -> Result<Exploration, String> {
    let exploration = explore(scenario.clone())
        .faults(classes)
        .depth(1)
        .cases(cases)
        .run()
        .map_err(|error| format!("{}: {error}", scenario.name()))?;
    match exploration.certificate.unfired.first() {
        Some(plan) => Err(format!("{}: {plan} did not fire", scenario.name())),
        None => Ok(exploration),
    }
}

/// The scenario with the edit made.
fn edited(edit: &Edit) -> Result<Scenario, String> {
    scenario_of(edit, edited::of(&edit.name)).map(Scenario::strict)
}

/// The scenario as it is.
fn remedy(edit: &Edit) -> Result<Scenario, String> {
    scenario_of(edit, midcommit_scenarios::remedies())
}

fn scenario_of(edit: &Edit, scenarios: Vec<Scenario>) -> Result<Scenario, String> {
    let mut scenarios = scenarios.into_iter();
    let found = scenarios.find(|scenario| scenario.name() == edit.scenario);
    let scenario =
        found.ok_or_else(|| format!("{}: there is no scenario {}", edit.name, edit.scenario))?;
    if edit.dwell.is_empty() {
        return Ok(scenario);
    }
    let point = edit.dwell.parse::<CommitPoint>();
    let point = point.map_err(|error| format!("{}: {error}", edit.name))?;
    Ok(scenario.dwell(point, DWELL))
}

fn class(edit: &Edit) -> Result<Option<Class>, String> {
    match edit.caught.as_str() {
        "none" => Ok(None),
        name => name.parse().map(Some),
    }
    .map_err(|error| format!("{}: {error}, none, and {SEVERAL}", edit.name))
}

/// The worst that a scenario declares.
fn declared(scenario: &Scenario, class: Option<Class>) -> Verdict {
    let declared = scenario.expectations().iter();
    let declared = declared.filter(|expectation| expectation.class == class);
    let verdicts = declared.flat_map(|expectation| &expectation.verdicts);
    verdicts.max().copied().unwrap_or(Verdict::Ok)
}
