//! A history as lines for people: the time in milliseconds, and a lane each for processes,
//! servers and the broker.
//!
//! A line is one moment of one actor. Faults stand in the margin as `×`, what
//! breaks a promise as `!`. Long repeats, such as polls, are told once and
//! counted; [`Timeline::around`] also leaves out what neither led to the fault
//! nor to the finding, so that a reviewer reads it.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::describe::{Lane, describe, milliseconds};
use crate::history::{History, What};
use crate::oracle::Judgement;

/// The lines of a history, or of the part of it that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    header: [String; 3],
    lines: Vec<Line>,
}

/// A line of a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Moment(Moment),
    /// So many more repetitions of the so many lines above.
    Repeats {
        more: usize,
        lines: usize,
    },
    /// So many lines are left out.
    Gap(usize),
}

/// What one actor does at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    at: Duration,
    lane: Lane,
    /// Named where the lane has several.
    who: Option<String>,
    text: String,
    mark: Mark,
    /// The events it tells, as indices into the history.
    pub(super) events: Vec<usize>,
    /// How much a reader wants to see it.
    weight: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    None,
    Fault,
    Finding,
}

/// How many lines a reader is asked to read.
const LINES_MAX: usize = 30;
/// How many findings are pointed at.
const FINDINGS_MAX: usize = 3;
/// The repetitions from which on lines are counted rather than told.
const REPEATS_MIN: usize = 4;
/// The longest cycle that is recognised as one.
const CYCLE_MAX: usize = 12;
/// Where a moment's text ends.
const TEXT_MAX: usize = 90;

impl Timeline {
    /// The whole history; only repeats are counted rather than told.
    pub fn full(history: &History, judgement: &Judgement) -> Timeline {
        let (header, moments) = moments(history, &first_findings(judgement));
        Timeline {
            header,
            lines: fold_repeats(moments),
        }
    }

    /// What stands in it, for those who draw it.
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The part around the faults and the first findings: some thirty lines at most.
    pub fn around(history: &History, judgement: &Judgement) -> Timeline {
        let (header, moments) = moments(history, &first_findings(judgement));
        Timeline {
            header,
            lines: cut_out(fold_repeats(moments)),
        }
    }
}

/// The events that are pointed at, and the verdicts they show.
pub(super) fn first_findings(judgement: &Judgement) -> Vec<(usize, &str)> {
    let findings = judgement.findings.iter().take(FINDINGS_MAX);
    findings
        .map(|finding| (finding.event, finding.verdict.name()))
        .collect()
}

/// All moments of a history, and what the lanes are called.
fn moments(history: &History, findings: &[(usize, &str)]) -> ([String; 3], Vec<Moment>) {
    let mut names: [BTreeSet<String>; 3] = Default::default();
    let mut moments: Vec<Moment> = Vec::new();
    let subjects = subjects(history, findings);
    for (index, event) in history.events.iter().enumerate() {
        let described = describe(history, &event.what);
        if let Some(who) = &described.who {
            names[described.lane as usize].insert(who.clone());
        }
        let found = findings.iter().find(|(event, _)| *event == index);
        let mark = match (&event.what, found) {
            (_, Some(_)) => Mark::Finding,
            (What::Fired(_), None) => Mark::Fault,
            _ => Mark::None,
        };
        let mut text = described.text;
        if let Some((_, verdict)) = found {
            text = format!("{text} ({})", verdict.to_uppercase());
        }
        let moment = Moment {
            at: event.at,
            lane: described.lane,
            who: described.who,
            text,
            mark,
            events: vec![index],
            weight: weight(&event.what, &subjects),
        };
        match moments.last_mut() {
            Some(last) if last.takes_in(&moment) => {
                last.text = format!("{}; {}", last.text, moment.text);
                if moment.mark == Mark::Finding {
                    last.mark = Mark::Finding;
                }
                last.weight = last.weight.max(moment.weight);
                last.events.extend(moment.events);
            }
            _ => moments.push(moment),
        }
    }
    let [processes, servers, _] = &names;
    let alone = [processes.len() <= 1, servers.len() <= 1, false];
    for moment in &mut moments {
        if alone[moment.lane as usize] {
            moment.who = None;
        }
    }
    let title = |lane: Lane, several: &str| {
        let names = &names[lane as usize];
        match names.first() {
            Some(name) if names.len() == 1 => name.clone(),
            _ => several.to_owned(),
        }
    };
    let header = [
        title(Lane::Process, "processes"),
        title(Lane::Server, "servers"),
        "broker".to_owned(),
    ];
    (header, moments)
}

/// The effects that the findings are about.
fn subjects<'h>(history: &'h History, findings: &[(usize, &str)]) -> Vec<(&'h str, &'h str)> {
    findings
        .iter()
        .filter_map(|(index, _)| effect_of(&history.events[*index].what))
        .collect()
}

fn effect_of(what: &What) -> Option<(&str, &str)> {
    match what {
        What::Owed { name, key, .. }
        | What::EffectInvoke { name, key, .. }
        | What::EffectDone { name, key, .. }
        | What::Delivered { name, key }
        | What::Applied { name, key, .. } => Some((name, key)),
        _ => None,
    }
}

fn weight(what: &What, subjects: &[(&str, &str)]) -> usize {
    match what {
        What::Ended { .. }
        | What::Fail { .. }
        | What::Info { .. }
        | What::ServerDown(_)
        | What::ServerUp { .. }
        | What::Leaked { .. }
        | What::Unfinished { .. }
        | What::Settled { .. } => 3,
        What::Committed { writes: true, .. } => 2,
        What::Started(_)
        | What::ToldToStop(_)
        | What::Invoke { .. }
        | What::Ok { .. }
        | What::Disconnected { .. } => 1,
        what => match effect_of(what) {
            Some(effect) if subjects.contains(&effect) => 3,
            Some(_) => 1,
            None => 0,
        },
    }
}

impl Moment {
    /// Whether `next` is the same actor's, at the same time, and fits in the line.
    fn takes_in(&self, next: &Moment) -> bool {
        (self.at, self.lane, &self.who) == (next.at, next.lane, &next.who)
            && self.mark != Mark::Fault
            && next.mark != Mark::Fault
            && self.text.chars().count() + next.text.chars().count() < TEXT_MAX / 2
    }

    /// Whether it could be the next round of the same cycle: numbers may differ.
    fn repeats(&self, other: &Moment) -> bool {
        let tame = |moment: &Moment| moment.mark == Mark::None && moment.weight < 3;
        tame(self)
            && tame(other)
            && (self.lane, &self.who) == (other.lane, &other.who)
            && without_numbers(&self.text).eq(without_numbers(&other.text))
    }
}

fn without_numbers(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().filter(|c| !c.is_ascii_digit())
}

/// Tells the first round of a cycle and counts the others.
fn fold_repeats(moments: Vec<Moment>) -> Vec<Line> {
    let rounds = |start: usize, length: usize| {
        let first = &moments[start..start + length];
        let later = moments[start + length..].chunks_exact(length);
        1 + later
            .take_while(|round| round.iter().zip(first).all(|(a, b)| a.repeats(b)))
            .count()
    };
    let mut lines = Vec::new();
    let mut start = 0;
    while start < moments.len() {
        let longest = (moments.len() - start) / REPEATS_MIN;
        let cycle = (1..=longest.min(CYCLE_MAX))
            .map(|length| (length, rounds(start, length)))
            .find(|(_, rounds)| *rounds >= REPEATS_MIN);
        let (length, rounds) = cycle.unwrap_or((1, 1));
        lines.extend(
            moments[start..start + length]
                .iter()
                .cloned()
                .map(Line::Moment),
        );
        if rounds > 1 {
            lines.push(Line::Repeats {
                more: rounds - 1,
                lines: length,
            });
        }
        start += length * rounds;
    }
    lines
}

/// Keeps the lines that matter most: marked ones, then weighty ones, then near ones.
fn cut_out(lines: Vec<Line>) -> Vec<Line> {
    if lines.len() <= LINES_MAX {
        return lines;
    }
    let is_marked = |line: &Line| matches!(line, Line::Moment(moment) if moment.mark != Mark::None);
    let marked: Vec<usize> = (0..lines.len()).filter(|&i| is_marked(&lines[i])).collect();
    // Each step of weight is worth a few lines of distance, and far is far.
    let mut ranked: Vec<(usize, usize)> = lines
        .iter()
        .enumerate()
        .map(|(i, line)| {
            let distance = marked.iter().map(|m| m.abs_diff(i)).min().unwrap_or(i);
            let weight = match line {
                Line::Moment(moment) => moment.weight,
                Line::Repeats { .. } | Line::Gap(_) => 0,
            };
            let rank = if distance == 0 {
                0
            } else {
                distance.min(12) + 6 * (3 - weight)
            };
            (rank, i)
        })
        .collect();
    ranked.sort_unstable();
    let mut kept = BTreeSet::new();
    for (_, i) in ranked {
        kept.insert(i);
        if kept.len() + gaps(&kept, lines.len()) > LINES_MAX {
            // Another line may still fit: one that closes a gap costs nothing.
            kept.remove(&i);
        }
    }
    let mut cut = Vec::new();
    let mut next = 0;
    for &i in &kept {
        if i > next {
            cut.push(Line::Gap(i - next));
        }
        cut.push(lines[i].clone());
        next = i + 1;
    }
    if next < lines.len() {
        cut.push(Line::Gap(lines.len() - next));
    }
    cut
}

/// The stretches between the lines that are kept.
fn gaps(kept: &BTreeSet<usize>, len: usize) -> usize {
    let mut next = 0;
    let mut gaps = 0;
    for &i in kept {
        gaps += usize::from(i > next);
        next = i + 1;
    }
    gaps + usize::from(next < len)
}

/// The width of a lane; what is longer reaches into the next one.
const LANE: usize = 32;

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [processes, servers, broker] = &self.header;
        writeln!(f, "       ms  {processes:LANE$}{servers:LANE$}{broker}")?;
        let mut last = None;
        for line in &self.lines {
            let moment = match line {
                Line::Moment(moment) => moment,
                Line::Repeats { more, lines: 1 } => {
                    writeln!(f, "           … {more} more such lines")?;
                    last = None;
                    continue;
                }
                Line::Repeats { more, lines } => {
                    writeln!(f, "           … {more} more rounds of these {lines} lines")?;
                    last = None;
                    continue;
                }
                Line::Gap(lines) => {
                    let s = if *lines == 1 { "" } else { "s" };
                    writeln!(f, "           … {lines} line{s}")?;
                    last = None;
                    continue;
                }
            };
            let mark = match moment.mark {
                Mark::None => ' ',
                Mark::Fault => '×',
                Mark::Finding => '!',
            };
            // A time is told once, and again for a fault.
            let at = if last == Some(moment.at) && moment.mark != Mark::Fault {
                String::new()
            } else {
                milliseconds(moment.at)
            };
            last = Some(moment.at);
            let who = moment
                .who
                .as_ref()
                .map_or(String::new(), |who| format!("{who} "));
            let indent = moment.lane as usize * LANE;
            writeln!(
                f,
                "{mark} {at:>7}  {:indent$}{who}{}",
                "",
                shortened(&moment.text)
            )?;
        }
        Ok(())
    }
}

/// One line of at most [`TEXT_MAX`] characters: errors may be long, and have several.
fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= TEXT_MAX && line.len() == text.len() {
        return line.to_owned();
    }
    let kept: String = line.chars().take(TEXT_MAX - 1).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(script: &str) -> Timeline {
        let history = crate::script::history(script);
        Timeline::around(&history, &crate::oracle::judge(&history))
    }

    #[test]
    fn a_line_is_one_moment_of_one_actor() {
        insta::assert_snapshot!(
            around(
                "w start | @0 w invoke 1 | w sent begin.1 | @20 w answered begin.1: BEGIN | @20 w sent commit.1 |
                 @30 fired cancel@w.commit.1+1 | @30 w info 1: cancelled |
                 pg commit 1 by w job 1 | @40 pg owes 1 receipt:1 | @40 pg ack 1 | @60 healed | @1060 settled"
            ),
            @r"
                   ms  w                               pg                              broker
                    0  starts; takes job 1
                   10  → begin.1
                   20  ← begin.1 BEGIN; → commit.1
            ×      30  cancel@w.commit.1+1
                       job 1 unknown: cancelled
                   40                                  commit 1 of job 1 visible
            !                                          owes receipt:1 (LOST); commit 1 acknowledged
                   60  (what was broken is healed)
                 1060  (all is quiet)
            "
        );
    }

    #[test]
    fn lanes_with_several_actors_name_them() {
        insta::assert_snapshot!(
            around(
                "w start | relay start | w invoke 1 | pg commit 1 by w job 1 | @30 pg owes 1 receipt:1 | relay effect receipt:1 |
                 receipt:1 delivered | db commit 1 by inbox | @60 receipt:1 applied in db 1 | relay killed | relay:2 start |
                 fired failover.1@broker.ack.1 | pg down | pg failover lost 1 | settled"
            ),
            @r"
                   ms  processes                       servers                         broker
                    0  w starts
                   10  relay starts
                   20  w takes job 1
                   30                                  pg commit 1 of job 1 visible; owes receipt:1
                   40  relay sends receipt:1
                   50                                                                  receipt:1 arrives
                   60                                  db commit 1 visible
            !                                          db receipt:1 applied by commit 1 (PHANTOM)
                   70  relay is killed
                   80  relay:2 starts
            ×      90                                                                  failover.1@broker.ack.1
                  100                                  pg goes down
                  110                                  pg a replica takes over without commit 1
                  120  (all is quiet)
            "
        );
    }

    #[test]
    fn polls_are_told_once_and_counted() {
        let polls: String = (1..16)
            .map(|i| format!("relay sent select.{i} | relay answered select.{i}: SELECT 0 |"))
            .collect();
        insta::assert_snapshot!(
            around(&format!("relay start | pg commit 1 | pg owes 1 receipt:1 | {polls} fired kill@w.start+1 | settled")),
            @r"
                   ms  relay                           pg                              broker
                    0  starts
                   10                                  commit 1 visible
            !      20                                  owes receipt:1 (LOST)
                   30  → select.1
                   40  ← select.1 SELECT 0
                       … 14 more rounds of these 2 lines
            ×     330  kill@w.start+1
                  340  (all is quiet)
            "
        );
    }

    /// Thue and Morse's sequence: no stretch of it stands three times in a row.
    fn varied(events: u32) -> String {
        let verb = |i: u32| ["select", "insert"][i.count_ones() as usize % 2];
        (1..=events)
            .map(|i| format!("relay sent {}.{i} |", verb(i)))
            .collect()
    }

    #[test]
    fn what_is_far_from_fault_and_finding_is_left_out() {
        let before = varied(80);
        let script = format!(
            "w start | relay start | w invoke 1 | {before} pg commit 1 by w job 1 | fired kill@w.commit.1+1 | w killed |
             pg owes 1 receipt:1 | {before} settled"
        );
        insta::assert_snapshot!(around(&script), @r"
               ms  processes                       pg                              broker
                0  w starts
               10  relay starts
               20  w takes job 1
                   … 70 lines
              730  relay → select.71
              740  relay → select.72
              750  relay → insert.73
              760  relay → insert.74
              770  relay → select.75
              780  relay → insert.76
              790  relay → select.77
              800  relay → select.78
              810  relay → insert.79
              820  relay → select.80
              830                                  commit 1 of job 1 visible
        ×     840  kill@w.commit.1+1
              850  w is killed
        !     860                                  owes receipt:1 (LOST)
              870  relay → insert.1
              880  relay → insert.2
              890  relay → select.3
              900  relay → insert.4
              910  relay → select.5
              920  relay → select.6
              930  relay → insert.7
              940  relay → insert.8
              950  relay → select.9
              960  relay → select.10
                   … 70 lines
             1670  (all is quiet)
        ");
    }

    fn full(script: &str) -> String {
        let history = crate::script::history(script);
        Timeline::full(&history, &crate::oracle::judge(&history)).to_string()
    }

    #[test]
    fn the_full_timeline_leaves_nothing_out() {
        let text = full(&format!("w start | {} settled", varied(80)));
        assert_eq!(text.lines().count(), 1 + 82);
    }

    #[test]
    fn long_errors_are_cut_to_one_line() {
        let text = full(&format!("w fail 1: first {}\nsecond", "x".repeat(200)));
        assert_eq!(text.lines().count(), 2);
        assert!(text.trim_end().ends_with("xx…"), "{text}");
    }
}
