//! Compares what happened with what was recorded, and says where they differ.

use std::fmt::Write;

use crate::divergences::Divergences;
use crate::fake::Fake;
use crate::host::run;
use crate::script::Script;

/// Holds fake-pg to a script. The error is for people.
pub fn check(script: &Script, divergences: &Divergences) -> Result<(), String> {
    let mut fake = Fake::new(&script.settings());
    let happened = run(&mut fake, script)?;
    let mut wrong = String::new();
    for (at, (step, happened)) in script.steps().zip(&happened).enumerate() {
        let number = at + 1;
        match divergences.at(&script.name, number) {
            Some(_) if *happened == step.replies => {
                told(&mut wrong, script, number, &step.line);
                wrong.push_str("  no longer diverges: take it off the list\n");
            }
            Some(divergence) if *happened == divergence.replies => (),
            Some(divergence) => {
                told(&mut wrong, script, number, &step.line);
                differ(
                    &mut wrong,
                    ["listed", "fake-pg"],
                    &divergence.replies,
                    happened,
                );
            }
            None if *happened == step.replies => (),
            None => {
                told(&mut wrong, script, number, &step.line);
                differ(&mut wrong, ["recorded", "fake-pg"], &step.replies, happened);
            }
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong),
    }
}

/// Holds a second recording to the first.
pub fn compare(script: &Script, again: &[Vec<String>]) -> Result<(), String> {
    let mut wrong = String::new();
    for (at, (step, again)) in script.steps().zip(again).enumerate() {
        if step.replies != *again {
            told(&mut wrong, script, at + 1, &step.line);
            differ(&mut wrong, ["recorded", "again"], &step.replies, again);
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong),
    }
}

fn told(wrong: &mut String, script: &Script, number: usize, line: &str) {
    writeln!(wrong, "{} {number}: {line}", script.name).expect("strings take all");
}

/// The lines of both sides, those that differ marked.
pub fn differ(wrong: &mut String, sides: [&str; 2], left: &[String], right: &[String]) {
    let width = sides.iter().map(|side| side.len()).max().unwrap_or(0);
    let mut tell = |mark: char, side: &str, line: &str| {
        writeln!(wrong, "  {mark} {side:width$} {line}").expect("strings take all");
    };
    for line in left {
        let mark = if right.contains(line) { ' ' } else { '-' };
        tell(mark, sides[0], line);
    }
    for line in right.iter().filter(|line| !left.contains(line)) {
        tell('+', sides[1], line);
    }
    for (side, lines) in sides.iter().zip([left, right]) {
        if lines.is_empty() {
            tell(' ', side, "says nothing");
        }
    }
}
