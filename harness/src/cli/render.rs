//! The text of each answer.

use std::fmt::Write;
use std::time::Duration;

use crate::explore::{Counterexample, Exploration};
use crate::oracle::Verdict;
use crate::replay::Replay;
use crate::report::{Failure, Matrix, Timeline, catalogue_matrix, counted, json, paint};

/// The table, a counterexample per scenario and verdict, and the sum.
pub(super) fn catalogue<'e>(explorations: &'e [Exploration], painted: bool) -> String {
    let mut text = matrix(&catalogue_matrix(explorations), painted);
    let named = |exploration: &'e Exploration| {
        let examples = least(exploration).into_iter();
        examples.map(|example| (exploration.scenario.name(), example))
    };
    let examples: Vec<(&str, &Counterexample)> = explorations.iter().flat_map(named).collect();
    if !examples.is_empty() {
        text.push_str("\nleast counterexamples, to see again with `midcommit replay`:\n");
        let width = examples
            .iter()
            .map(|(name, _)| name.len())
            .max()
            .unwrap_or(0);
        for (name, example) in examples {
            let verdict = example.judgement.verdict.name().to_uppercase();
            put(
                &mut text,
                format_args!("  {name:width$}  {verdict:<10}  {}\n", example.plan),
                painted,
            );
        }
    }
    put(
        &mut text,
        format_args!("{}", several(explorations)),
        painted,
    );
    let schedules: usize = explorations
        .iter()
        .flat_map(|e| e.cells.values().chain([&e.drawn]))
        .map(|cell| cell.schedules)
        .sum();
    let elapsed: Duration = explorations
        .iter()
        .map(|exploration| exploration.elapsed)
        .sum();
    let differ = explorations
        .iter()
        .filter(|exploration| !exploration.as_expected());
    let names: Vec<&str> = differ
        .map(|exploration| exploration.scenario.name())
        .collect();
    let sum = match &names[..] {
        [] => "every cell as declared".to_owned(),
        names => format!("unexpected in {}", names.join(", ")),
    };
    put(
        &mut text,
        format_args!(
            "\n{}, {} in {:.1} s: {sum}\n",
            counted(explorations.len(), "scenario"),
            counted(schedules, "schedule"),
            elapsed.as_secs_f64()
        ),
        painted,
    );
    text
}

/// What drawn plans have shown beyond what single faults do.
fn several(explorations: &[Exploration]) -> String {
    let drawn: usize = explorations.iter().map(|e| e.drawn.schedules).sum();
    if drawn == 0 {
        return String::new();
    }
    let mut lines = Vec::new();
    for exploration in explorations {
        for (example, declared) in exploration.several() {
            let remark = match declared {
                true => "as known",
                false => "unexpected",
            };
            let name = exploration.scenario.name();
            let verdict = example.judgement.verdict.name().to_uppercase();
            lines.push(format!("  {name}  {verdict}, {remark}  {}\n", example.plan));
        }
    }
    let found = match lines[..] {
        [] => "none fails otherwise than one of its faults does alone",
        _ => "these fail otherwise than each of their faults does alone:",
    };
    format!(
        "\n{} of up to four faults: {found}\n{}",
        counted(drawn, "drawn plan"),
        lines.concat()
    )
}

/// For each verdict of a scenario the first plan of the fewest faults.
pub(super) fn least(exploration: &Exploration) -> Vec<&Counterexample> {
    let of = |verdict: Verdict| {
        let examples = exploration.counterexamples.iter();
        examples
            .filter(|example| example.judgement.verdict == verdict && !example.drawn)
            .min_by_key(|example| example.plan.faults.len())
    };
    Verdict::ALL.into_iter().rev().filter_map(of).collect()
}

/// Names, counts and sources, aligned.
pub(super) fn list(listed: &[json::Listed]) -> String {
    let width = listed
        .iter()
        .map(|listed| listed.name.len())
        .max()
        .unwrap_or(0);
    let line = |it: &json::Listed| {
        let line = format!(
            "{:width$}  {:>6} schedules  {}",
            it.name, it.schedules, it.source
        );
        format!("{}\n", line.trim_end())
    };
    listed.iter().map(line).collect()
}

/// How wide a paragraph may be.
const WIDTH: usize = 100;

/// One scenario at length: where it comes from, beside whom it stands, what it guarantees.
pub(super) fn list_one(listed: &json::Listed, twins: &[&str]) -> String {
    let mut text = format!("{}  {} schedules\n", listed.name, listed.schedules);
    if !listed.source.is_empty() {
        text.push_str(&filled(&format!("source: {}", listed.source)));
    }
    if let Some(original) = &listed.twin_of {
        text.push_str(&filled(&format!("broken twin of: {original}")));
    }
    if !twins.is_empty() {
        text.push_str(&filled(&format!("broken twins: {}", twins.join(", "))));
    }
    if !listed.about.is_empty() {
        text.push('\n');
        text.push_str(&filled(&listed.about));
    }
    text
}

/// A paragraph in lines.
fn filled(paragraph: &str) -> String {
    let mut text = String::new();
    let mut width = 0;
    for word in paragraph.split_whitespace() {
        let long = word.chars().count();
        if width > 0 {
            let fits = width + 1 + long <= WIDTH;
            text.push(if fits { ' ' } else { '\n' });
            width = if fits { width + 1 } else { 0 };
        }
        text.push_str(word);
        width += long;
    }
    text.push('\n');
    text
}

/// The matrix and the certificate.
pub(super) fn check(exploration: &Exploration, painted: bool) -> String {
    let mut text = matrix(&exploration.matrix(), painted);
    put(
        &mut text,
        format_args!("\n{}", exploration.certificate),
        false,
    );
    put(
        &mut text,
        format_args!("in {:.1} s\n", exploration.elapsed.as_secs_f64()),
        false,
    );
    text
}

/// The counterexample that a check leads with.
pub(super) fn counterexample(
    exploration: &Exploration,
    example: &Counterexample,
    replay: &Replay,
    painted: bool,
) -> String {
    let mut text = String::from("\n");
    let failure = Failure::of_check(
        exploration,
        example,
        &replay.history,
        replay.source_line.as_deref(),
    );
    put(&mut text, format_args!("{failure}"), painted);
    text
}

/// The findings, and the whole timeline.
pub(super) fn replay(replay: &Replay, painted: bool) -> String {
    let mut text = String::new();
    let verdict = replay.judgement.verdict;
    if verdict == Verdict::Ok {
        put(
            &mut text,
            format_args!("ok: {}\n", verdict.meaning()),
            painted,
        );
    }
    for finding in &replay.judgement.findings {
        let verdict = finding.verdict.name().to_uppercase();
        put(
            &mut text,
            format_args!("{verdict}: {}\n", finding.sentence),
            painted,
        );
    }
    let timeline = Timeline::full(&replay.history, &replay.judgement);
    put(&mut text, format_args!("\n{timeline}\n"), painted);
    if let Some(line) = &replay.source_line {
        put(&mut text, format_args!("struck at {line}\n"), false);
    }
    put(&mut text, format_args!("plan     {}\n", replay.plan), false);
    put(
        &mut text,
        format_args!("history  {}\n", replay.history.hash()),
        false,
    );
    text
}

fn matrix(matrix: &Matrix, painted: bool) -> String {
    if painted {
        matrix.painted()
    } else {
        matrix.to_string()
    }
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>, painted: bool) {
    let what = what.to_string();
    let what = if painted {
        paint::verdicts(&what)
    } else {
        what
    };
    // A string takes whatever is written to it.
    let _ = text.write_str(&what);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{explored, lost_history, receipts};

    fn replayed() -> Replay {
        let history = lost_history();
        Replay {
            plan: "cancel@worker.commit.1+1".parse().unwrap(),
            judgement: crate::oracle::judge(&history),
            history,
            source_line: Some("src/receipts.rs:14".to_owned()),
        }
    }

    #[test]
    fn the_catalogue_ends_with_counterexamples_and_a_sum() {
        let commit_only = explored("commit_only", &[(None, &[(Verdict::Ok, 16)])], |scenario| {
            scenario
        });
        insta::assert_snapshot!(catalogue(&[commit_only, receipts()], false), @r"
        ──────────────────────────────────────────────────────────────────────────────────────────────────
         scenario      none    interrupt            kill    deploy   network   server   failover   broker
        ══════════════════════════════════════════════════════════════════════════════════════════════════
         commit_only   ok 16   –                    –       –        –         –        –          –
        ──────────────────────────────────────────────────────────────────────────────────────────────────
         receipts      ok 16   LOST 3/56            ok 28   –        –         –        –          –
                               LOST is unexpected
        ──────────────────────────────────────────────────────────────────────────────────────────────────
        LOST        owed, never applied

        least counterexamples, to see again with `midcommit replay`:
          receipts  LOST        cancel@worker.commit.1+1

        10 drawn plans of up to four faults: none fails otherwise than one of its faults does alone

        2 scenarios, 126 schedules in 3.0 s: unexpected in receipts
        ");
    }

    #[test]
    fn the_list_is_aligned() {
        let listed =
            [("receipts", "a sample", 412), ("blog", "", 7)].map(|(name, source, schedules)| {
                json::Listed {
                    name: name.to_owned(),
                    source: source.to_owned(),
                    schedules,
                    about: String::new(),
                    twin_of: None,
                }
            });
        insta::assert_snapshot!(list(&listed), @r"
        receipts     412 schedules  a sample
        blog           7 schedules
        ");
    }

    #[test]
    fn one_scenario_is_told_at_length() {
        let listed = json::Listed {
            name: "outbox".to_owned(),
            source: "a sample".to_owned(),
            schedules: 412,
            about: "What is owed is a row first, and a message later; ".repeat(3),
            twin_of: Some("inbox".to_owned()),
        };
        insta::assert_snapshot!(list_one(&listed, &["mark_first", "no_key"]), @r"
        outbox  412 schedules
        source: a sample
        broken twin of: inbox
        broken twins: mark_first, no_key

        What is owed is a row first, and a message later; What is owed is a row first, and a message later;
        What is owed is a row first, and a message later;
        ");
    }

    #[test]
    fn a_replay_shows_findings_timeline_and_hash() {
        insta::assert_snapshot!(replay(&replayed(), false), @r"
        LOST: receipt:1 is owed since pg commit 1 and was never applied

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
        plan     cancel@worker.commit.1+1
        history  547fce9d3f3d8f3c
        ");
    }

    #[test]
    fn paint_changes_no_word() {
        let plain = |text: &str| {
            let mut plain = String::new();
            for part in text.split('\u{1b}') {
                plain.push_str(
                    part.split_once('m')
                        .filter(|(code, _)| code.starts_with('['))
                        .map_or(part, |(_, rest)| rest),
                );
            }
            plain
        };
        let painted = check(&receipts(), true);
        assert!(painted.contains('\u{1b}'));
        assert_eq!(plain(&painted), check(&receipts(), false));
    }
}
