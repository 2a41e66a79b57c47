//! What explorations say, in the pieces that a page is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use midcommit::explore::{Cell, Counterexample, Exploration};
use midcommit::oracle::Verdict;
use midcommit::plan::{Class, Plan};
use midcommit::replay::replay;
use midcommit::report::Timeline;
use midcommit::{Scenario, Times};
use serde::Serialize;

/// A remedy, and its broken twins.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: String,
    about: String,
    /// `once, in the same database`.
    promise: String,
    schedules: String,
    /// One for each column.
    cells: Vec<String>,
    breaks: Vec<Breaks>,
    example: Option<Example>,
    twins: Vec<Twin>,
}

/// What differs, and what that breaks.
#[derive(Debug, Serialize)]
struct Twin {
    name: String,
    /// `whose relay marks a row before it publishes it`.
    differs: String,
    /// Where that differs from what breaks the remedy itself.
    breaks: Vec<Breaks>,
    example: Option<Example>,
}

/// Classes of fault under which the same breaks, for the same reason.
#[derive(Debug, Serialize)]
struct Breaks {
    classes: String,
    verdicts: String,
    why: &'static str,
}

/// A least plan, and what happens.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Example {
    scenario: String,
    verdict: String,
    sentence: String,
    plan: String,
    timeline: String,
}

/// A verdict that occurs, and what it means.
#[derive(Debug, Serialize)]
pub(super) struct Meaning {
    name: &'static str,
    meaning: &'static str,
}

/// What was explored, and what the page tells of it.
pub(super) struct Facts {
    explored: BTreeMap<String, Exploration>,
    rows: Vec<Row>,
}

/// A cell without a schedule: there is nothing of that kind to break.
pub(super) const NOT_TRIED: &str = "–";

/// The columns of the matrix: no fault, and then each class.
pub(super) fn columns() -> Vec<&'static str> {
    all_columns().map(column).collect()
}

pub(super) fn all_columns() -> impl Iterator<Item = Option<Class>> {
    [None].into_iter().chain(Class::ALL.map(Some))
}

/// What a column is called.
pub(super) fn column(class: Option<Class>) -> &'static str {
    class.map_or("none", Class::name)
}

/// The same in a sentence.
pub(super) fn word(class: Option<Class>) -> &'static str {
    class.map_or("no fault", Class::name)
}

/// All verdicts but `ok`.
pub(super) fn failing(cell: &Cell) -> BTreeSet<Verdict> {
    let verdicts = cell.verdicts.keys().copied();
    verdicts.filter(|verdict| *verdict != Verdict::Ok).collect()
}

/// `lost, duplicated`: the worst first; `ok` if there are none.
pub(super) fn names(verdicts: &BTreeSet<Verdict>) -> String {
    match verdicts.is_empty() {
        true => Verdict::Ok.name().to_owned(),
        false => {
            let names: Vec<&str> = verdicts
                .iter()
                .rev()
                .map(|verdict| verdict.name())
                .collect();
            names.join(", ")
        }
    }
}

impl Facts {
    /// The remedies, and the cells of all that was explored.
    pub(super) fn of(explored: &[&Exploration]) -> Result<Facts, String> {
        let mut facts = Facts::only(explored);
        for remedy in crate::remedies() {
            match remedy.original() {
                None => {
                    let row = row(facts.find(remedy.name())?)?;
                    facts.rows.push(row);
                }
                Some(original) => {
                    let twin = twin(facts.find(remedy.name())?, facts.find(original)?)?;
                    let row = facts.rows.iter_mut().find(|row| row.name == original);
                    row.ok_or_else(|| format!("{} is the twin of nothing", remedy.name()))?
                        .twins
                        .push(twin);
                }
            }
        }
        Ok(facts)
    }

    /// The cells alone.
    pub(super) fn only(explored: &[&Exploration]) -> Facts {
        let by_name = explored.iter().map(|exploration| {
            let name = exploration.scenario.name().to_owned();
            (name, (*exploration).clone())
        });
        Facts {
            explored: by_name.collect(),
            rows: Vec::new(),
        }
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// How many schedules were run in all.
    pub(super) fn schedules(&self) -> String {
        thousands(self.explored.values().map(schedules).sum())
    }

    fn find(&self, name: &str) -> Result<&Exploration, String> {
        let found = self.explored.get(name);
        found.ok_or_else(|| format!("there is no scenario `{name}`"))
    }

    /// The verdicts that occur among the remedies, from harmless to worst.
    pub(super) fn verdicts(&self) -> Vec<Meaning> {
        let remedies = crate::remedies();
        let explored = remedies
            .iter()
            .filter_map(|remedy| self.explored.get(remedy.name()));
        let cells = explored.flat_map(|exploration| exploration.cells.values());
        let occur: BTreeSet<Verdict> = cells
            .flat_map(|cell| cell.verdicts.keys().copied())
            .collect();
        let meanings = occur.into_iter().map(|verdict| Meaning {
            name: verdict.name(),
            meaning: verdict.meaning(),
        });
        meanings.collect()
    }

    /// A cell; a class of which there is no schedule has none.
    pub(super) fn cell(&self, name: &str, class: Option<Class>) -> Result<Option<&Cell>, String> {
        Ok(self.find(name)?.cells.get(&class))
    }

    /// The least plan of a class that earns a verdict.
    pub(super) fn example(
        &self,
        name: &str,
        class: &str,
        verdict: &str,
    ) -> Result<Example, String> {
        let exploration = self.find(name)?;
        let mut examples = exploration.counterexamples.iter();
        let found = examples.find(|example| {
            !example.drawn
                && column(example.class) == class
                && example.judgement.verdict.name() == verdict
        });
        let found = found.ok_or_else(|| format!("{name} is not {verdict} under {class}"))?;
        example(&exploration.scenario, found)
    }

    /// The section that tells of a scenario, if one does.
    pub(super) fn section(&self, name: &str) -> Option<&str> {
        let told = |row: &&Row| row.name == name || row.twins.iter().any(|twin| twin.name == name);
        self.rows.iter().find(told).map(|row| row.name.as_str())
    }

    /// Remedies without a section of their own.
    pub(super) fn unnamed(&self, page: &str) -> Vec<&str> {
        let headings: BTreeSet<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("### "))
            .collect();
        let names = self.rows.iter().map(|row| row.name.as_str());
        names.filter(|name| !headings.contains(name)).collect()
    }
}

fn row(exploration: &Exploration) -> Result<Row, String> {
    let scenario = &exploration.scenario;
    Ok(Row {
        name: scenario.name().to_owned(),
        about: scenario.about_text().to_owned(),
        promise: promise(scenario),
        schedules: thousands(schedules(exploration)),
        cells: cells(exploration),
        breaks: breaks(exploration, |_| true),
        example: lead(exploration, |_| true)?,
        twins: Vec::new(),
    })
}

fn twin(exploration: &Exploration, original: &Exploration) -> Result<Twin, String> {
    let scenario = &exploration.scenario;
    // What breaks the original as well, for the same reason, is not the twin's own.
    let differs = |class: Option<Class>| {
        let told = |exploration: &Exploration| {
            let verdicts = exploration.cells.get(&class).map(failing);
            (verdicts, why(&exploration.scenario, class).to_owned())
        };
        told(exploration) != told(original)
    };
    let original = original.scenario.name();
    let source = scenario.source_text();
    let what = source
        .strip_prefix(&format!("the twin of {original} "))
        .ok_or_else(|| {
            format!(
                "the source of {} must begin with `the twin of {original} `, and is `{source}`",
                scenario.name()
            )
        })?;
    // Where a design was first described is of no use to who chooses one.
    let what = what.split(" (model").next().unwrap_or(what);
    let mut broken = breaks(exploration, differs);
    let several = scenario.expected_of_several();
    broken.extend(several.iter().map(|(verdict, why)| Breaks {
        classes: "several faults".to_owned(),
        verdicts: verdict.name().to_owned(),
        why,
    }));
    Ok(Twin {
        name: scenario.name().to_owned(),
        differs: what.to_owned(),
        breaks: broken,
        example: match lead(exploration, differs)? {
            None => of_several(scenario)?,
            example => example,
        },
    })
}

/// The plan that is kept of what several faults do, and what happens.
fn of_several(scenario: &Scenario) -> Result<Option<Example>, String> {
    let Some(verdict) = scenario.expected_of_several().keys().next_back() else {
        return Ok(None);
    };
    let name = format!("{}.{verdict}.several.plan", scenario.name());
    let plans = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    let plan: Plan = super::read(&plans.join(&name))?
        .parse()
        .map_err(|error| format!("{name}: {error}"))?;
    told(scenario, &plan).map(Some)
}

fn cells(exploration: &Exploration) -> Vec<String> {
    let text = |class| match exploration.cells.get(&class) {
        None => NOT_TRIED.to_owned(),
        Some(cell) if failing(cell).is_empty() => names(&failing(cell)),
        Some(cell) => format!("**{}**", names(&failing(cell))),
    };
    all_columns().map(text).collect()
}

fn schedules(exploration: &Exploration) -> usize {
    exploration.cells.values().map(|cell| cell.schedules).sum()
}

/// `68,247`.
fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How often its effect is due, and where it happens.
fn promise(scenario: &Scenario) -> String {
    let promises = scenario.promises().map(|(_, times, server)| {
        let times = match times {
            Times::Once => "once",
            Times::AtLeastOnce => "at least once",
            Times::AtMostOnce => "at most once",
        };
        let place = match server {
            None => "at the broker",
            // Where what is owed is asked.
            Some("pg") => "in the same database",
            Some(_) => "in another database",
        };
        format!("{times}, {place}")
    });
    promises.collect::<Vec<_>>().join("; ")
}

/// What breaks in these columns, by reason; the reasons are what the scenario declares.
fn breaks(exploration: &Exploration, in_column: impl Fn(Option<Class>) -> bool) -> Vec<Breaks> {
    let mut breaks: Vec<Breaks> = Vec::new();
    for class in all_columns().filter(|class| in_column(*class)) {
        let cell = exploration.cells.get(&class);
        let Some(verdicts) = cell.map(failing).filter(|verdicts| !verdicts.is_empty()) else {
            continue;
        };
        let (verdicts, why) = (names(&verdicts), why(&exploration.scenario, class));
        let known = breaks
            .iter_mut()
            .find(|known| known.verdicts == verdicts && known.why == why);
        match known {
            Some(known) => known.classes.extend([", ", word(class)]),
            None => breaks.push(Breaks {
                classes: word(class).to_owned(),
                verdicts,
                why,
            }),
        }
    }
    breaks
}

/// What the scenario declares as the reason of a cell.
fn why(scenario: &Scenario, class: Option<Class>) -> &'static str {
    let declared = scenario.expectations().iter();
    let of_class = declared.filter(|expectation| expectation.class == class);
    of_class
        .map(|expectation| expectation.why)
        .next()
        .unwrap_or("")
}

/// The least plan of the worst verdict in these columns; one of a fail-over, which breaks most designs
/// alike, only if nothing else breaks.
fn lead(
    exploration: &Exploration,
    in_column: impl Fn(Option<Class>) -> bool,
) -> Result<Option<Example>, String> {
    let examples = exploration.counterexamples.iter();
    let examples = examples.filter(|example| !example.drawn && in_column(example.class));
    let lead = examples.min_by_key(|example| {
        let failover = example.class == Some(Class::Failover);
        let verdict = std::cmp::Reverse(example.judgement.verdict);
        (failover, verdict, example.plan.faults.len(), example.class)
    });
    lead.map(|lead| example(&exploration.scenario, lead))
        .transpose()
}

fn example(scenario: &Scenario, example: &Counterexample) -> Result<Example, String> {
    told(scenario, &example.plan)
}

fn told(scenario: &Scenario, plan: &Plan) -> Result<Example, String> {
    let replayed =
        replay(scenario, plan).map_err(|error| format!("{}: {error}", scenario.name()))?;
    let timeline = Timeline::around(&replayed.history, &replayed.judgement);
    let finding = replayed.judgement.findings.first();
    Ok(Example {
        scenario: scenario.name().to_owned(),
        verdict: replayed.judgement.verdict.name().to_uppercase(),
        sentence: finding.map_or("", |finding| &finding.sentence).to_owned(),
        plan: plan.to_string(),
        timeline: timeline.to_string().trim_end_matches('\n').to_owned(),
    })
}
