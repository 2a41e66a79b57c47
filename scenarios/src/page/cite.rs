//! What the prose claims of cells, held to what they are.
//!
//! A citation is `NAME.CLASSES = VERDICTS`: classes joined by `+`, or `*` for every column that has
//! schedules, less those named after `-`; verdicts joined by `+`, and all of them but `ok`.
//! `job_row.* = ok`, `outbox_inbox.*-failover = ok`, `outbox_apart.failover = lost+duplicated+phantom`.

use std::collections::BTreeSet;

use midcommit::oracle::Verdict;
use midcommit::plan::Class;

use super::facts::{Facts, NOT_TRIED, all_columns, column, failing, names, word};

/// The columns that a citation is about.
struct Cited<'c> {
    name: &'c str,
    classes: Vec<Option<Class>>,
    /// As a reader is told.
    words: String,
}

/// The citation, as a reader sees it, if it is true.
pub(super) fn cell(facts: &Facts, citation: &str) -> Result<String, String> {
    let (cited, claimed) = citation
        .split_once(" = ")
        .ok_or_else(|| format!("`{citation}` is not `NAME.CLASSES = VERDICTS`"))?;
    let claimed = verdicts(claimed)?;
    let cited = Cited::parse(facts, cited)?;
    for class in &cited.classes {
        let seen = seen(facts, cited.name, *class)?;
        if seen != claimed {
            return Err(format!(
                "`{citation}`, and under {} it is {}",
                column(*class),
                names(&seen)
            ));
        }
    }
    let linked = link(facts, cited.name);
    Ok(format!("{linked}, {}: {}", cited.words, names(&claimed)))
}

/// A cell as it was expected to be: struck out and followed by what is, where that differs. Exactly
/// then there is a note which says why.
pub(super) fn was(
    facts: &Facts,
    words: &str,
    expected: &str,
    cell: &str,
    note: Option<u32>,
) -> Result<String, String> {
    let cited = Cited::parse(facts, cell)?;
    let expected = match expected {
        NOT_TRIED => NOT_TRIED.to_owned(),
        expected => names(&verdicts(expected)?),
    };
    let mut seen = None;
    for class in &cited.classes {
        let cell = facts.cell(cited.name, *class)?;
        seen = match (seen, cell.map(failing)) {
            (Some(seen), Some(more)) => Some(&seen | &more),
            (seen, more) => seen.or(more),
        };
    }
    let seen = seen.map_or(NOT_TRIED.to_owned(), |seen| names(&seen));
    match (seen == expected, note) {
        (true, None) => Ok(words.to_owned()),
        (false, Some(note)) => Ok(format!("~~{words}~~ **{seen}** ({note})")),
        (true, Some(note)) => Err(format!("{cell} is as expected: what does note {note} say?")),
        (false, None) => Err(format!(
            "{cell} was expected to be {expected}, is {seen}, and no note says why"
        )),
    }
}

impl<'c> Cited<'c> {
    fn parse(facts: &Facts, text: &'c str) -> Result<Cited<'c>, String> {
        let (name, classes) = text
            .split_once('.')
            .ok_or_else(|| format!("`{text}` is not `NAME.CLASSES`"))?;
        let (classes, words) = match classes.strip_prefix('*') {
            None => {
                let classes: Result<Vec<_>, String> = classes.split('+').map(class).collect();
                let classes = classes?;
                let words: Vec<&str> = classes.iter().map(|class| word(*class)).collect();
                (classes, words.join(", "))
            }
            Some(but) => {
                let but: Result<Vec<_>, String> = but.split('-').skip(1).map(class).collect();
                let but = but?;
                let mut classes = Vec::new();
                for class in all_columns().filter(|class| !but.contains(class)) {
                    if facts.cell(name, class)?.is_some() {
                        classes.push(class);
                    }
                }
                let words: Vec<&str> = but.iter().map(|class| word(*class)).collect();
                let words = match words.is_empty() {
                    true => "every class".to_owned(),
                    false => format!("every class but {}", words.join(", ")),
                };
                (classes, words)
            }
        };
        Ok(Cited {
            name,
            classes,
            words,
        })
    }
}

/// The verdicts of a cell that has schedules.
fn seen(facts: &Facts, name: &str, class: Option<Class>) -> Result<BTreeSet<Verdict>, String> {
    let cell = facts.cell(name, class)?;
    cell.map(failing)
        .ok_or_else(|| format!("{name} has no schedule under {}", column(class)))
}

fn class(name: &str) -> Result<Option<Class>, String> {
    match name {
        "none" => Ok(None),
        name => name.parse().map(Some),
    }
}

fn verdicts(text: &str) -> Result<BTreeSet<Verdict>, String> {
    let mut verdicts = BTreeSet::new();
    for name in text.split('+').filter(|name| *name != "ok") {
        let verdict = Verdict::ALL.into_iter().find(|known| known.name() == name);
        verdicts.insert(verdict.ok_or_else(|| format!("`{name}` is no verdict"))?);
    }
    Ok(verdicts)
}

/// The scenario's name, and a link to where the page tells of it.
fn link(facts: &Facts, name: &str) -> String {
    match facts.section(name) {
        Some(section) => format!("[`{name}`](#{section})"),
        None => format!("`{name}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use midcommit::explore;

    fn facts() -> Facts {
        let all = crate::catalogue();
        let scenario = all.iter().find(|s| s.name() == "effect_before_commit");
        let scenario = scenario.expect("it is in the catalogue").clone();
        let explored = explore(scenario).faults([Class::Kill]).cases(0).run();
        Facts::only(&[&explored.expect("it can be explored")])
    }

    #[test]
    fn what_is_cited_must_be_so() {
        let facts = facts();
        let name = "effect_before_commit";
        let check = |citation: &str| cell(&facts, &format!("{name}.{citation}"));
        let told = check("none = early").unwrap();
        assert!(told.ends_with(", no fault: early"), "{told}");
        let told = check("*-none = phantom+early").unwrap();
        assert!(
            told.ends_with("every class but no fault: phantom, early"),
            "{told}"
        );
        for (wrong, because) in [
            ("kill = ok", "under kill it is phantom, early"),
            ("kill = phantom", "under kill it is phantom, early"),
            ("* = phantom+early", "under none it is early"),
            ("broker = lost", "no schedule under broker"),
            ("kill = odd", "`odd` is no verdict"),
            ("kil = lost", "`kil` is no class of fault"),
            ("kill", "is not `NAME.CLASSES = VERDICTS`"),
        ] {
            let error = check(wrong).unwrap_err();
            assert!(error.contains(because), "{wrong}: {error}");
        }
        let error = cell(&facts, "nobody.kill = ok").unwrap_err();
        assert_eq!(error, "there is no scenario `nobody`");
    }

    #[test]
    fn a_cell_that_differs_has_a_note_and_no_other_has() {
        let facts = facts();
        let was = |expected, class: &str, note| {
            was(
                &facts,
                "words",
                expected,
                &format!("effect_before_commit.{class}"),
                note,
            )
        };
        assert_eq!(was("early", "none", None).unwrap(), "words");
        assert_eq!(was("–", "broker", None).unwrap(), "words");
        assert_eq!(
            was("ok", "none", Some(3)).unwrap(),
            "~~words~~ **early** (3)"
        );
        assert_eq!(was("ok", "broker", Some(3)).unwrap(), "~~words~~ **–** (3)");
        assert!(
            was("ok", "none", None)
                .unwrap_err()
                .contains("no note says why")
        );
        assert!(
            was("early", "none", Some(3))
                .unwrap_err()
                .contains("what does note 3 say")
        );
    }
}
