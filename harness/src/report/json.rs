//! What programs read: the shapes of `--format json`, which stay as they are.
//!
//! Fields may be added, never renamed or removed. Verdicts, classes and plans
//! are the words that the rest of the command line uses.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

use super::describe::describe;
use super::matrix::name;
use crate::explore::{Cell, Exploration};
use crate::history::{CommitId, History, ProcessId, What};
use crate::oracle::Judgement;
use crate::plan::Plan;
use crate::scenario::Scenario;

/// `midcommit --format json`: the catalogue.
#[derive(Clone, Debug, Serialize)]
pub struct Catalogue {
    /// One row per scenario.
    pub rows: Vec<Row>,
}

/// A scenario's row in the catalogue.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub scenario: String,
    /// Where the system comes from.
    pub source: String,
    /// One cell per class of fault that was tried, and `none`.
    pub cells: BTreeMap<&'static str, CellCounts>,
    /// Drawn plans of several faults.
    pub drawn: CellCounts,
    /// Drawn plans that fail otherwise than each of their faults does alone: the least for each verdict.
    pub several: Vec<Several>,
    /// Whether every cell's set of verdicts is the declared one, and so is what several faults do.
    pub as_expected: bool,
}

/// A drawn plan that fails otherwise than each of its faults does alone.
#[derive(Clone, Debug, Serialize)]
pub struct Several {
    /// The plan.
    pub plan: String,
    /// Its verdict.
    pub verdict: &'static str,
    /// Whether the scenario declares that verdict of several faults.
    pub as_expected: bool,
}

/// The verdicts of some schedules.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CellCounts {
    /// How many schedules.
    pub schedules: usize,
    /// How many of them earned each verdict.
    pub verdicts: BTreeMap<&'static str, usize>,
}

/// `midcommit check NAME --format json`.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// The scenario's name.
    pub scenario: String,
    /// Single-fault schedules.
    pub schedules: Schedules,
    /// Await points per task of the fault-free run.
    pub await_points: BTreeMap<String, usize>,
    /// Tasks spawned outside the gate.
    pub ungated_tasks: usize,
    /// Whether the oracles caught what was broken on purpose.
    pub control_caught: bool,
    /// Pairs of faults, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairs: Option<Pairs>,
    /// Over all schedules: without a fault, with one, and drawn.
    pub verdicts: BTreeMap<&'static str, usize>,
    /// The least plan of the greatest verdict, if any promise was broken.
    pub counterexample: Option<Counterexample>,
    /// How long it took.
    pub seconds: f64,
}

/// Single-fault schedules, by what became of them.
#[derive(Clone, Debug, Serialize)]
pub struct Schedules {
    /// Enumerated from the fault-free run.
    pub planned: usize,
    /// Run.
    pub run: usize,
    /// Whose fault did not fire.
    pub unfired: usize,
}

/// Pairs of faults, by what became of them.
#[derive(Clone, Debug, Serialize)]
pub struct Pairs {
    /// Enumerated from the runs with one fault.
    pub planned: usize,
    /// Run.
    pub run: usize,
    /// Not run, since another pair is the same run.
    pub skipped: usize,
    /// Not run, since fewer were asked for.
    pub left_out: usize,
}

/// A plan that breaks a promise.
#[derive(Clone, Debug, Serialize)]
pub struct Counterexample {
    /// The plan.
    pub plan: String,
    /// Its verdict.
    pub verdict: &'static str,
    /// The hash of its history.
    pub history: String,
}

/// `midcommit replay NAME PLAN --format json`.
#[derive(Clone, Debug, Serialize)]
pub struct Replayed {
    /// The verdict.
    pub verdict: &'static str,
    /// The plan.
    pub plan: String,
    /// The hash of the history.
    pub history: String,
    /// Why the verdict is what it is, greatest first.
    pub findings: Vec<Finding>,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// A broken promise.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What it is called.
    pub verdict: &'static str,
    /// What it is about.
    pub subject: String,
    /// What was promised and what happened instead.
    pub sentence: String,
    /// The event that shows it, as an index into `events`.
    pub event: usize,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Simulated milliseconds since the run began.
    pub at_ms: f64,
    /// Its kind: `committed`, `owed`, `fired` and so on.
    pub kind: &'static str,
    /// What happened, as the timeline says it.
    pub text: String,
    /// The process it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// The server it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The commit it concerns: its number on that server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<u64>,
    /// The job it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The effect it concerns, as `NAME:KEY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
}

/// `midcommit list --format json`.
#[derive(Clone, Debug, Serialize)]
pub struct List {
    /// All scenarios, in the catalogue's order.
    pub scenarios: Vec<Listed>,
}

/// A scenario in the list.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Where the system comes from.
    pub source: String,
    /// How many single-fault schedules it has.
    pub schedules: usize,
    /// What the system guarantees, and what remains lost; in Markdown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// The scenario that it is the broken twin of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub twin_of: Option<String>,
}

impl Catalogue {
    /// The rows of a catalogue.
    pub fn of(explorations: &[Exploration]) -> Catalogue {
        Catalogue {
            rows: explorations.iter().map(Row::of).collect(),
        }
    }
}

impl Row {
    fn of(exploration: &Exploration) -> Row {
        let cell = |cell: &Cell| CellCounts {
            schedules: cell.schedules,
            verdicts: cell
                .verdicts
                .iter()
                .map(|(verdict, n)| (verdict.name(), *n))
                .collect(),
        };
        Row {
            scenario: exploration.scenario.name().to_owned(),
            source: exploration.scenario.source_text().to_owned(),
            cells: exploration
                .cells
                .iter()
                .map(|(class, it)| (name(*class), cell(it)))
                .collect(),
            drawn: cell(&exploration.drawn),
            several: exploration
                .several()
                .map(|(example, declared)| Several {
                    plan: example.plan.to_string(),
                    verdict: example.judgement.verdict.name(),
                    as_expected: declared,
                })
                .collect(),
            as_expected: exploration.as_expected(),
        }
    }
}

impl Check {
    /// What a check found.
    pub fn of(exploration: &Exploration) -> Check {
        let certificate = &exploration.certificate;
        let mut verdicts = BTreeMap::new();
        for cell in exploration.cells.values().chain([&exploration.drawn]) {
            for (verdict, count) in &cell.verdicts {
                *verdicts.entry(verdict.name()).or_default() += count;
            }
        }
        Check {
            scenario: exploration.scenario.name().to_owned(),
            schedules: Schedules {
                planned: certificate.planned,
                run: certificate.run,
                unfired: certificate.unfired.len(),
            },
            await_points: certificate.await_points.clone(),
            ungated_tasks: certificate.ungated_tasks,
            control_caught: certificate.control_caught,
            pairs: certificate.pairs.as_ref().map(|pairs| Pairs {
                planned: pairs.planned,
                run: pairs.run,
                skipped: pairs.skipped_kills + pairs.skipped_panics,
                left_out: pairs.left_out,
            }),
            verdicts,
            counterexample: exploration.counterexample().map(|example| Counterexample {
                plan: example.plan.to_string(),
                verdict: example.judgement.verdict.name(),
                history: example.hash.to_string(),
            }),
            seconds: exploration.elapsed.as_secs_f64(),
        }
    }
}

impl Replayed {
    /// What a replay showed.
    pub fn of(plan: &Plan, history: &History, judgement: &Judgement) -> Replayed {
        let findings = judgement.findings.iter().map(|finding| Finding {
            verdict: finding.verdict.name(),
            subject: finding.subject.to_string(),
            sentence: finding.sentence.clone(),
            event: finding.event,
        });
        Replayed {
            verdict: judgement.verdict.name(),
            plan: plan.to_string(),
            history: history.hash().to_string(),
            findings: findings.collect(),
            events: events(history),
        }
    }
}

impl Listed {
    /// A scenario with so many single-fault schedules.
    pub fn of(scenario: &Scenario, schedules: usize) -> Listed {
        Listed {
            name: scenario.name().to_owned(),
            source: scenario.source_text().to_owned(),
            schedules,
            about: scenario.about_text().to_owned(),
            twin_of: scenario.original().map(str::to_owned),
        }
    }
}

/// The events of a history.
pub fn events(history: &History) -> Vec<Event> {
    let event = |event: &crate::history::Event| {
        let mut json = about(history, &event.what);
        json.at_ms = event.at.as_micros() as f64 / 1000.0;
        json.text = describe(history, &event.what).text;
        json
    };
    history.events.iter().map(event).collect()
}

/// An event's kind and what it concerns.
fn about(history: &History, what: &What) -> Event {
    let kind = |kind: &'static str| Event {
        at_ms: 0.0,
        kind,
        text: String::new(),
        process: None,
        server: None,
        commit: None,
        job: None,
        effect: None,
    };
    let by = |it: &'static str, process: ProcessId| Event {
        process: history.processes.get(process).map(ToString::to_string),
        ..kind(it)
    };
    let at = |it: &'static str, process: ProcessId, job: &str| Event {
        job: Some(job.to_owned()),
        ..by(it, process)
    };
    let on = |it: &'static str, server: &str| Event {
        server: Some(server.to_owned()),
        ..kind(it)
    };
    let of = |it: &'static str, commit: &CommitId| Event {
        commit: Some(commit.number),
        ..on(it, &commit.server)
    };
    let effect = |name: &str, key: &str| Some(format!("{name}:{key}"));
    match what {
        What::Started(process) => by("started", *process),
        What::ToldToStop(process) => by("told-to-stop", *process),
        What::Ended {
            process,
            killed: true,
        } => by("killed", *process),
        What::Ended {
            process,
            killed: false,
        } => by("exited", *process),
        What::Invoke { process, job } => at("invoke", *process, job),
        What::Ok { process, job } => at("ok", *process, job),
        What::Fail { process, job, .. } => at("fail", *process, job),
        What::Info { process, job, .. } => at("info", *process, job),
        What::Sent { process, .. } => by("sent", *process),
        What::Answered { process, .. } => by("answered", *process),
        What::Disconnected { process, .. } => by("disconnected", *process),
        What::Committed {
            commit,
            process,
            job,
            ..
        } => Event {
            process: process
                .and_then(|id| history.processes.get(id))
                .map(ToString::to_string),
            job: job.as_ref().map(ToString::to_string),
            ..of("committed", commit)
        },
        What::Acknowledged(commit) => of("acknowledged", commit),
        What::Owed { name, key, commit } => Event {
            effect: effect(name, key),
            ..of("owed", commit)
        },
        What::EffectInvoke { process, name, key } => Event {
            effect: effect(name, key),
            ..by("effect-invoke", *process)
        },
        What::EffectDone {
            process, name, key, ..
        } => Event {
            effect: effect(name, key),
            ..by("effect-done", *process)
        },
        What::Delivered { name, key } => Event {
            effect: effect(name, key),
            ..kind("delivered")
        },
        What::Applied { name, key, commit } => Event {
            effect: effect(name, key),
            ..commit
                .as_ref()
                .map_or_else(|| kind("applied"), |commit| of("applied", commit))
        },
        What::Fired(_) => kind("fired"),
        What::ServerDown(server) => on("server-down", server),
        What::ServerUp { server, .. } => on("server-up", server),
        What::Healed => kind("healed"),
        What::Unfinished { job } => Event {
            job: Some(job.to_string()),
            ..kind("unfinished")
        },
        What::Leaked { server, .. } => on("leaked", server),
        What::Settled { at_limit: true } => kind("limit"),
        What::Settled { at_limit: false } => kind("settled"),
    }
}
