//! What a failing test prints: first what is wrong, then how often, then the timeline, and last
//! the one command that shows it again.
//!
//! The same text goes to a file below the target directory, with the whole
//! timeline, since the logs of a CI get cut.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::Timeline;
use super::certificate::counted;
use super::matrix::shown;
use crate::explore::{Cell, Counterexample, Exploration};
use crate::history::History;
use crate::oracle::{Judgement, Verdict};
use crate::plan::Plan;
use crate::scenario::Scenario;

/// A broken promise, ready to be read.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What identifies it among others of the same run: the test, or else the scenario.
    name: String,
    /// Whether `name` is that of a test.
    is_test: bool,
    scenario: String,
    headline: String,
    tally: Option<String>,
    plan: String,
    around: Timeline,
    full: Timeline,
    source_line: Option<String>,
}

impl Failure {
    /// The failure of a check: the counterexample it leads with, and its replayed history.
    pub fn of_check(
        exploration: &Exploration,
        example: &Counterexample,
        history: &History,
        source_line: Option<&str>,
    ) -> Failure {
        let judgement = &example.judgement;
        let mut failure = Failure::of_replay(
            &exploration.scenario,
            &example.plan,
            judgement,
            history,
            source_line,
        );
        failure.tally = Some(tally(exploration));
        failure
    }

    /// The failure of one plan.
    pub fn of_replay(
        scenario: &Scenario,
        plan: &Plan,
        judgement: &Judgement,
        history: &History,
        source_line: Option<&str>,
    ) -> Failure {
        let test = test_name();
        let sentence = judgement
            .findings
            .first()
            .map_or("", |finding| &finding.sentence);
        Failure {
            is_test: test.is_some(),
            name: test.unwrap_or_else(|| scenario.name().to_owned()),
            scenario: scenario.name().to_owned(),
            headline: format!("{}: {sentence}", shown(judgement.verdict)),
            tally: None,
            plan: plan.to_string(),
            around: Timeline::around(history, judgement),
            full: Timeline::full(history, judgement),
            source_line: source_line.map(str::to_owned),
        }
    }

    /// Writes it to `midcommit/NAME.txt` in the target directory, and says where that is.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write(&self) -> io::Result<PathBuf> {
        self.write_to(&target_directory().join("midcommit"))
    }

    fn write_to(&self, directory: &Path) -> io::Result<PathBuf> {
        std::fs::create_dir_all(directory)?;
        // A test's name has colons, which not every file system takes.
        let path = directory.join(format!("{}.txt", self.name.replace("::", ".")));
        std::fs::write(
            &path,
            format!("{self}\nthe whole history:\n\n{}", self.full),
        )?;
        Ok(path)
    }

    /// The command that shows it again.
    pub fn command(&self) -> String {
        if self.is_test {
            let exact = if self.name.contains("::") {
                " -- --exact"
            } else {
                ""
            };
            format!(
                "MIDCOMMIT_REPLAY='{}' cargo test {}{exact}",
                self.plan, self.name
            )
        } else {
            replay_command(&self.scenario, &self.plan)
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.headline)?;
        match &self.tally {
            Some(tally) => writeln!(f, "{tally} The least plan:")?,
            None => writeln!(f, "The plan for `{}`:", self.scenario)?,
        }
        writeln!(f, "    {}\n\n{}", self.plan, self.around)?;
        if let Some(line) = &self.source_line {
            writeln!(f, "struck at {line}\n")?;
        }
        writeln!(f, "to see it again:\n    {}", self.command())
    }
}

/// The command line that shows a plan's run.
pub(super) fn replay_command(scenario: &str, plan: &impl fmt::Display) -> String {
    format!("midcommit replay {scenario} {plan}")
}

/// `3 of 412 schedules of receipts break a promise: LOST 2, PHANTOM 1.`
fn tally(exploration: &Exploration) -> String {
    let mut total = Cell::default();
    for cell in exploration.cells.values().chain([&exploration.drawn]) {
        total.schedules += cell.schedules;
        for (verdict, count) in &cell.verdicts {
            *total.verdicts.entry(*verdict).or_default() += count;
        }
    }
    let ok = total.verdicts.remove(&Verdict::Ok).unwrap_or(0);
    // The worst first.
    let verdicts: Vec<String> = total
        .verdicts
        .iter()
        .rev()
        .map(|(verdict, count)| format!("{} {count}", shown(*verdict)))
        .collect();
    let failing = total.schedules - ok;
    let s = if failing == 1 { "s" } else { "" };
    format!(
        "{failing} of {} of `{}` break{s} a promise: {}.",
        counted(total.schedules, "schedule"),
        exploration.scenario.name(),
        verdicts.join(", ")
    )
}

/// The test that runs on this thread: the standard harness names its threads after them.
fn test_name() -> Option<String> {
    let thread = std::thread::current();
    let name = thread.name().filter(|name| *name != "main")?;
    Some(name.to_owned())
}

/// Cargo's target directory: where the running executable lies, or else where cargo would put it.
fn target_directory() -> PathBuf {
    let of_executable = || {
        let executable = std::env::current_exe().ok()?;
        let mut ancestors = executable.ancestors();
        // Cargo marks its target directory for backup programs.
        let directory = ancestors.find(|directory| directory.join("CACHEDIR.TAG").is_file())?;
        Some(directory.to_owned())
    };
    std::env::var_os("CARGO_TARGET_DIR")
        .map(PathBuf::from)
        .or_else(of_executable)
        .unwrap_or_else(|| PathBuf::from("target"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{lost_history, receipts};

    #[test]
    fn a_failure_says_what_how_often_when_and_how_to_see_it_again() {
        let exploration = receipts();
        let example = exploration.counterexample().unwrap();
        let failure = Failure::of_check(
            &exploration,
            example,
            &lost_history(),
            Some("src/receipts.rs:14"),
        );
        insta::assert_snapshot!(failure, @r"
        LOST: receipt:1 is owed since pg commit 1 and was never applied

        4 of 110 schedules of `receipts` break a promise: LOST 4. The least plan:
            cancel@worker.commit.1+1

               ms  worker                          pg                              broker
                0  starts; takes job 1
               10  → begin.1
               20  ← begin.1 BEGIN; → commit.1
        ×      20  cancel@worker.commit.1+1
                   job 1 unknown: cancelled
               30                                  commit 1 of job 1 visible
        !                                          owes receipt:1 (LOST); commit 1 acknowledged
               40  (what was broken is healed)
             1050  (all is quiet)

        struck at src/receipts.rs:14

        to see it again:
            MIDCOMMIT_REPLAY='cancel@worker.commit.1+1' cargo test report::failure::tests::a_failure_says_what_how_often_when_and_how_to_see_it_again -- --exact
        ");
    }

    #[test]
    fn its_file_has_the_whole_history_too() {
        let exploration = receipts();
        let example = exploration.counterexample().unwrap();
        let failure = Failure::of_check(&exploration, example, &lost_history(), None);
        let path = failure.write().unwrap();
        let name = "report.failure.tests.its_file_has_the_whole_history_too.txt";
        assert_eq!(path.file_name().unwrap(), name);
        let text = std::fs::read_to_string(path).unwrap();
        assert!(
            text.starts_with(&failure.to_string()) && text.contains("the whole history:"),
            "{text}"
        );
    }

    #[test]
    fn outside_a_test_the_command_line_replays() {
        let failure = Failure {
            is_test: false,
            ..Failure::of_check(
                &receipts(),
                receipts().counterexample().unwrap(),
                &lost_history(),
                None,
            )
        };
        assert_eq!(
            failure.command(),
            "midcommit replay receipts cancel@worker.commit.1+1"
        );
    }
}
