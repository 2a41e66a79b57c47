//! `docs/fidelity.md`: what the recorded scripts show, as tables.
//!
//! A cell is a `#!` mark of a script, and a link to it. What no script shows is `missing`, here and
//! in `gaps`: a table does not grow because somebody forgot a row.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::divergences::Divergences;
use crate::script::{Cell, Script};

/// Hermitage's anomalies, from the weakest promise to the strongest.
const ANOMALIES: &[(&str, &str)] = &[
    ("G0", "dirty write"),
    ("G1a", "aborted read"),
    ("G1b", "intermediate read"),
    ("G1c", "circular information flow"),
    ("OTV", "observed transaction vanishes"),
    ("PMP", "predicate-many-preceders: phantom"),
    ("P4", "lost update"),
    ("G-single", "read skew"),
    ("G2-item", "write skew"),
    ("G2", "write skew on a predicate"),
];
const LEVELS: &[&str] = &[
    "read uncommitted",
    "read committed",
    "repeatable read",
    "serializable",
];
const PROTOCOLS: &[&str] = &["simple", "extended"];
const ROW_LOCKS: &[&str] = &[
    "FOR KEY SHARE",
    "FOR SHARE",
    "FOR NO KEY UPDATE",
    "FOR UPDATE",
];
const WAITS: &[&str] = &["wait", "nowait", "skip locked"];
const TABLE_LOCKS: &[&str] = &[
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
];
const TIMEOUTS: &[&str] = &[
    "deadlock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "lock_timeout",
    "statement_timeout",
];
const STATES: &[&str] = &[
    "idle",
    "idle in transaction",
    "aborted transaction",
    "running pg_sleep",
    "waiting for a row lock",
    "waiting for a unique key",
    "waiting for a table lock",
    "waiting for an advisory lock",
    "waiting for a replica",
    "between Execute and Sync",
    "departed",
];
const SIGNALS: &[&str] = &["cancel", "terminate"];
const TRAPS: &[&str] = &[
    "CommandComplete is not commit",
    "COMMIT of an aborted transaction",
    "a departed client's statement can still commit",
    "pg_xact_status can lie",
    "crash loss follows WAL order",
    "advisory locks",
    "NOTIFY",
    "implicit transactions",
    "waits",
    "outside rollback",
];

/// What scripts show, and what none does.
#[derive(Debug, Default)]
pub struct Fidelity {
    text: String,
    /// Cells that no script fills.
    pub gaps: Vec<String>,
}

/// A cell: what was seen, and where.
struct Shown {
    result: String,
    script: String,
}

/// All cells of one kind, by the values of their keys in order.
type Cells = BTreeMap<Vec<String>, Vec<Shown>>;

/// Where the page is.
pub fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/fidelity.md")
}

/// Makes the page.
pub fn tables(scripts: &[Script], divergences: &Divergences) -> Fidelity {
    let mut page = Fidelity::default();
    page.head(scripts, divergences);
    page.anomalies(scripts);
    page.row_locks(scripts);
    page.matrix(
        "Table locks",
        "Held in the row's mode, asked for in the column's.",
        &cells(scripts, "table-lock", &["against"]),
        TABLE_LOCKS,
        TABLE_LOCKS,
        "table-lock",
        &[],
    );
    page.timeouts(scripts);
    page.states(scripts);
    page.traps(scripts);
    page.divergences(divergences);
    page
}

/// The cells that marks beginning with `kind` describe, by its value and those of `keys`.
fn cells(scripts: &[Script], kind: &str, keys: &[&str]) -> Cells {
    let mut cells = Cells::new();
    for script in scripts.iter().filter(|s| s.fake_only().is_none()) {
        for mark in script.marks().filter(|mark| mark[0].0 == kind) {
            let mut place = vec![mark[0].1.clone()];
            place.extend(keys.iter().map(|key| get(&mark, key)));
            cells.entry(place).or_default().push(Shown {
                result: get(&mark, "result"),
                script: script.name.clone(),
            });
        }
    }
    cells
}

fn get(mark: &Cell, key: &str) -> String {
    let found = mark.iter().find(|(name, _)| name == key);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

/// Which marks promise something that their scripts do not show.
pub fn unfounded(script: &Script) -> Vec<String> {
    let replies: Vec<&String> = script.steps().flat_map(|step| &step.replies).collect();
    let shows = |what: &str| replies.iter().any(|reply| reply.contains(what));
    let wrong = script.marks().filter(|mark| {
        let result = get(mark, "result");
        let sqlstate = result.len() == 5 && result.bytes().any(|byte| byte.is_ascii_digit());
        match result.as_str() {
            "waits" => !shows("(waits)"),
            code if sqlstate => !shows(&format!(" {code} ")),
            _ => false,
        }
    });
    wrong
        .map(|mark| format!("{}: {} {}", script.name, mark[0].0, mark[0].1))
        .collect()
}

impl Fidelity {
    /// The page as it is to be on disk.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn line(&mut self, line: impl AsRef<str>) {
        writeln!(self.text, "{}", line.as_ref()).expect("strings take all");
    }

    fn title(&mut self, title: &str, prose: &str) {
        self.line(format!("\n## {title}\n\n{prose}\n"));
    }

    fn header(&mut self, names: &[&str]) {
        self.line(format!("| {} |", names.join(" | ")));
        self.line(format!("|{}", "---|".repeat(names.len())));
    }

    /// A cell's text: each result once, linked to its scripts.
    fn cell(&mut self, cells: &Cells, place: &[&str], name: &str) -> String {
        let place: Vec<String> = place.iter().map(ToString::to_string).collect();
        let Some(shown) = cells.get(&place) else {
            self.gaps.push(name.to_string());
            return "missing".into();
        };
        let links: BTreeSet<String> = shown.iter().map(Shown::link).collect();
        Vec::from_iter(links).join(", ")
    }

    fn head(&mut self, scripts: &[Script], divergences: &Divergences) {
        let recorded = scripts.iter().filter(|s| s.fake_only().is_none());
        let steps: usize = recorded.clone().map(|script| script.steps().count()).sum();
        self.line(
            "# What fake-pg does as PostgreSQL 15 does\n\n\
             Made by `conformance tables` from scripts whose replies a real server wrote, and which \
             fake-pg must answer the same. Each entry is what that server did, and links to the script.\n",
        );
        self.line(format!(
            "{} scripts, {steps} recorded steps, {} known divergences.",
            recorded.count(),
            divergences.len()
        ));
    }

    fn anomalies(&mut self, scripts: &[Script]) {
        let cells = cells(scripts, "anomaly", &["level", "protocol"]);
        self.title(
            "Isolation",
            "Anomalies by level, in the simple and in the extended protocol.",
        );
        let mut columns = vec!["anomaly".to_string()];
        for level in LEVELS {
            columns.extend(
                PROTOCOLS
                    .iter()
                    .map(|protocol| format!("{level}, {protocol}")),
            );
        }
        self.header(&columns.iter().map(String::as_str).collect::<Vec<_>>());
        for (anomaly, meaning) in ANOMALIES {
            let mut row = vec![format!("{anomaly} {meaning}")];
            for level in LEVELS {
                for protocol in PROTOCOLS {
                    let name = format!("anomaly {anomaly}; level {level}; protocol {protocol}");
                    row.push(self.cell(&cells, &[anomaly, level, protocol], &name));
                }
            }
            self.line(format!("| {} |", row.join(" | ")));
        }
    }

    fn row_locks(&mut self, scripts: &[Script]) {
        let cells = cells(scripts, "row-lock", &["against", "mode"]);
        for mode in WAITS {
            let title = match *mode {
                "wait" => "Row locks".to_string(),
                mode => format!("Row locks, {}", mode.to_uppercase()),
            };
            let prose = "Held as the row says, asked for as the column says.";
            self.matrix(
                &title,
                prose,
                &cells,
                ROW_LOCKS,
                ROW_LOCKS,
                "row-lock",
                &[mode],
            );
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn matrix(
        &mut self,
        title: &str,
        prose: &str,
        cells: &Cells,
        rows: &[&str],
        columns: &[&str],
        kind: &str,
        rest: &[&str],
    ) {
        self.title(title, prose);
        self.header(&[&["held"], columns].concat());
        for row in rows {
            let mut line = vec![row.to_string()];
            for column in columns {
                let place = [&[*row, *column], rest].concat();
                let name = format!("{kind} {}", place.join("; "));
                line.push(self.cell(cells, &place, &name));
            }
            self.line(format!("| {} |", line.join(" | ")));
        }
    }

    fn timeouts(&mut self, scripts: &[Script]) {
        let cells = cells(scripts, "timeout", &["case"]);
        self.title("Time-outs", "What ends what; `passes` where it does not.");
        self.header(&["time-out", "case", "result"]);
        for timeout in TIMEOUTS {
            let places = cells.keys().filter(|place| place[0] == *timeout);
            let places: Vec<Vec<String>> = places.cloned().collect();
            if places.is_empty() {
                self.gaps.push(format!("timeout {timeout}"));
                self.line(format!("| `{timeout}` | | missing |"));
            }
            for place in places {
                let cell = self.cell(&cells, &[timeout, &place[1]], "");
                self.line(format!("| `{timeout}` | {} | {cell} |", place[1]));
            }
        }
    }

    fn states(&mut self, scripts: &[Script]) {
        let cells = cells(scripts, "state", &["signal"]);
        self.title(
            "Cancel and terminate",
            "What a cancel request and `pg_terminate_backend` do to a session in each state.",
        );
        self.header(&[&["state"], SIGNALS].concat());
        let more = cells.keys().map(|place| place[0].as_str());
        let more: BTreeSet<&str> = more.filter(|state| !STATES.contains(state)).collect();
        let all: Vec<&str> = STATES.iter().copied().chain(more).collect();
        for state in all {
            let mut row = vec![state.to_string()];
            for signal in SIGNALS {
                let name = format!("state {state}; signal {signal}");
                row.push(self.cell(&cells, &[state, signal], &name));
            }
            self.line(format!("| {} |", row.join(" | ")));
        }
    }

    fn traps(&mut self, scripts: &[Script]) {
        self.title("Traps", "Where naive fakes differ from the real server.");
        self.header(&["", "trap", "scripts"]);
        for (at, trap) in TRAPS.iter().enumerate() {
            let number = (at + 1).to_string();
            let about = scripts.iter().filter(|script| {
                script.fake_only().is_none() && script.traps().any(|trap| trap == number)
            });
            let links: Vec<String> = about
                .map(|script| link(&script.name, &script.name))
                .collect();
            let links = match links.is_empty() {
                true => {
                    self.gaps.push(format!("trap {number}"));
                    "missing".to_string()
                }
                false => links.join(", "),
            };
            self.line(format!("| {number} | {trap} | {links} |"));
        }
    }

    fn divergences(&mut self, divergences: &Divergences) {
        self.title(
            "Known divergences",
            "Steps that fake-pg answers otherwise, each with its reason. The list may only shrink.",
        );
        if divergences.is_empty() {
            self.line("None.");
        }
        for (script, step, divergence) in divergences.iter() {
            let link = link(script, script);
            self.line(format!("- {link}, step {step}: {}", divergence.reason));
        }
    }
}

impl Shown {
    fn link(&self) -> String {
        let result = match self.result.as_str() {
            "" => "shown",
            result => result,
        };
        link(result, &self.script)
    }
}

fn link(text: &str, script: &str) -> String {
    format!("[{text}](../snapshots/conformance/{script}.script)")
}
