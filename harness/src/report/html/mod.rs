//! A report as one page: a file that needs no network and no script, the same bytes for the same scenarios.
//!
//! The page says what tables and timelines say, to look at: `matrix` verdicts by class of fault,
//! `section` one scenario at length, `heat` pairs of faults around COMMIT, `sequence` a
//! counterexample. Markup is maud's, which escapes what it is given. What is written parses as XML, too.
//! Whoever reads without colours has letters, words and the timeline's text.

mod words;
mod matrix;
mod heat;
mod section;
mod sequence;
#[cfg(test)]
mod tests;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::explore::{Counterexample, Exploration, Grid};
use crate::oracle::Verdict;
use crate::plan::Class;
use crate::replay::{ReplayError, Trace, trace};
use crate::scenario::Scenario;
use words::{mark, thousands};

/// A scenario as the page tells it.
pub(crate) struct Chapter<'e> {
    /// What was found.
    pub(crate) exploration: &'e Exploration,
    /// The counterexamples to draw.
    pub(crate) examples: Vec<Example<'e>>,
    /// Scenarios that are broken twins of this one.
    pub(crate) twins: Vec<&'e str>,
}

/// A counterexample, and the run that shows it.
pub(crate) struct Example<'e> {
    scenario: &'e Scenario,
    /// The row of the table that it stands for.
    column: &'static str,
    trace: Trace,
}

/// All scenarios: the matrix, and a section each. `failed` are those that could not be explored, and why.
pub(crate) fn catalogue(chapters: &[Chapter<'_>], failed: &[(&str, String)]) -> String {
    let explorations: Vec<&Exploration> = chapters.iter().map(|it| it.exploration).collect();
    let schedules: usize = explorations
        .iter()
        .flat_map(|exploration| exploration.cells.values())
        .map(|cell| cell.schedules)
        .sum();
    let names: Vec<&str> = chapters
        .iter()
        .map(|chapter| chapter.exploration.scenario.name())
        .collect();
    let unexpected = explorations.iter().filter(|it| !it.as_expected()).count();
    let standing = match unexpected {
        0 => "every cell is as declared".to_owned(),
        1 => "1 scenario is not as declared".to_owned(),
        n => format!("{n} scenarios are not as declared"),
    };
    let body = html! {
        header {
            p.kicker { "midcommit" }
            h1 { "What happens after COMMIT" }
            p.lead {
                "Each scenario was run once for every single fault at every point where it can strike: "
                strong { (thousands(schedules)) " schedules" } " of "
                strong { (thousands(names.len())) " scenarios" } "; " (standing) "."
            }
        }
        main id="page:content" {
            @if !failed.is_empty() {
                section.failed aria-labelledby="page:failed" {
                    h2 id="page:failed" { "Not explored" }
                    ul { @for (name, why) in failed { li { code { (name) } ": " (why) } } }
                }
            }
            section aria-labelledby="page:matrix" {
                h2 id="page:matrix" { "Verdicts by class of fault" }
                (legend(&explorations))
                (matrix::table(&explorations, "page:matrix", |exploration, verdict| {
                    let name = exploration.scenario.name();
                    let chapter = chapters.iter().find(|it| it.exploration.scenario.name() == name);
                    let drawn = chapter.and_then(|chapter| chapter.example_of(verdict));
                    drawn.map_or_else(|| name.to_owned(), Example::id)
                }))
            }
            @for chapter in chapters {
                (section::chapter(chapter, &names))
            }
        }
    };
    page("midcommit: what happens after COMMIT", body)
}

/// One scenario at length.
pub(crate) fn scenario(chapter: &Chapter<'_>, grid: &Grid) -> String {
    let exploration = chapter.exploration;
    let name = exploration.scenario.name();
    let schedules: usize = exploration.cells.values().map(|cell| cell.schedules).sum();
    let body = html! {
        header {
            p.kicker { "midcommit" }
            h1 { (name) }
            p.lead {
                strong { (thousands(schedules)) " schedules" }
                ", each with one fault at one point, or with none: "
                (verdict_word(exploration.worst()))
                @if exploration.worst() == Verdict::Ok { ", " (Verdict::Ok.meaning()) "." }
                @else { " is the gravest verdict." }
            }
        }
        main id="page:content" {
            (section::about(chapter, &[]))
            section aria-labelledby="page:matrix" {
                h2 id="page:matrix" { "Verdicts by class of fault" }
                (legend(&[exploration]))
                (section::classes(exploration, "page:classes", |class, verdict| chapter.drawn(class, verdict)))
            }
            @if !grid.cells.is_empty() { (heat::maps(grid, name)) }
            @if !chapter.examples.is_empty() {
                section aria-labelledby="page:examples" {
                    h2 id="page:examples" { "Least counterexamples" }
                    // One of each verdict is open.
                    @for example in &chapter.examples {
                        @if chapter.is_first_of_its_verdict(example) { (section::example(example)) }
                        @else { (section::folded(example)) }
                    }
                }
            }
            (section::certificate(exploration, true))
        }
    };
    page(&format!("{name}: what happens after COMMIT"), body)
}

impl Chapter<'_> {
    /// The drawn counterexample of that verdict that stands first.
    fn example_of(&self, verdict: Verdict) -> Option<&Example<'_>> {
        self.examples
            .iter()
            .find(|example| example.verdict() == verdict)
    }

    fn is_first_of_its_verdict(&self, example: &Example<'_>) -> bool {
        let first = self.example_of(example.verdict());
        first.is_some_and(|first| std::ptr::eq(first, example))
    }

    /// Where the counterexample of a class and verdict is drawn.
    fn drawn(&self, class: Option<Class>, verdict: Verdict) -> Option<String> {
        let mut examples = self.examples.iter();
        let column = super::matrix::name(class);
        let found = examples.find(|it| (it.column, it.verdict()) == (column, verdict));
        found.map(Example::id)
    }
}

impl<'e> Example<'e> {
    /// Runs a counterexample once more, to draw it.
    ///
    /// # Errors
    ///
    /// It does not run: then the exploration contradicts itself.
    pub(crate) fn of(
        exploration: &'e Exploration,
        counterexample: &Counterexample,
    ) -> Result<Example<'e>, ReplayError> {
        let scenario = &exploration.scenario;
        Ok(Example {
            scenario,
            column: match counterexample.drawn {
                true => "several",
                false => super::matrix::name(counterexample.class),
            },
            trace: trace(scenario, &counterexample.plan)?,
        })
    }

    /// The pairs of a grid that break what neither of their faults breaks alone: one for each verdict, the
    /// gravest first.
    ///
    /// # Errors
    ///
    /// One of them does not run: then the grid contradicts itself.
    pub(crate) fn of_grid(
        exploration: &'e Exploration,
        grid: &Grid,
    ) -> Result<Vec<Example<'e>>, ReplayError> {
        let scenario = &exploration.scenario;
        let mut examples = Vec::new();
        for verdict in Verdict::ALL.into_iter().rev() {
            let mut cells = grid.cells.values();
            let found = cells.find(|cell| cell.together && cell.cell.worst() == verdict);
            if let Some(plan) = found.and_then(|cell| cell.plan.as_ref()) {
                examples.push(Example {
                    scenario,
                    column: "two around COMMIT",
                    trace: trace(scenario, plan)?,
                });
            }
        }
        Ok(examples)
    }

    fn verdict(&self) -> Verdict {
        self.trace.replay.judgement.verdict
    }

    /// What it is called in the page.
    fn id(&self) -> String {
        let column = self.column.replace(' ', "-");
        format!("{}.{column}.{}", self.scenario.name(), self.verdict())
    }
}

/// What the verdicts mean that occur, and how they are marked.
fn legend(explorations: &[&Exploration]) -> Markup {
    let cells = explorations
        .iter()
        .flat_map(|it| it.cells.values().chain([&it.drawn]));
    let mut verdicts: Vec<Verdict> = cells
        .flat_map(|cell| cell.verdicts.keys().copied())
        .collect();
    verdicts.sort();
    verdicts.dedup();
    html! {
        ul.legend aria-label="verdicts" {
            @for verdict in verdicts {
                li {
                    span class={ "swatch " (verdict) } aria-hidden="true" { (mark(verdict)) }
                    span { strong { (super::matrix::shown(verdict)) } " " (verdict.meaning()) }
                }
            }
        }
    }
}

/// A verdict, as a word with its colour.
fn verdict_word(verdict: Verdict) -> Markup {
    html! { span class={ "verdict " (verdict) } { (super::matrix::shown(verdict)) } }
}

/// A part that scrolls by itself where it is too wide, by keyboard too.
fn scrolling(labelled_by: &str, inner: Markup) -> Markup {
    html! { div.scroll role="region" tabindex="0" aria-labelledby=(labelled_by) { (inner) } }
}

const STYLE: &str = include_str!("style.css");

/// Nothing but its own style: no script, no request.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

fn page(title: &str, body: Markup) -> String {
    let head = html! {
        (void("meta", &[("charset", "utf-8")]))
        (void("meta", &[("http-equiv", "Content-Security-Policy"), ("content", POLICY)]))
        (void("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]))
        (void("meta", &[("name", "color-scheme"), ("content", "light dark")]))
        (void("link", &[("rel", "icon"), ("href", "data:,")]))
        title { (title) }
        style { (PreEscaped(STYLE)) }
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { (head) }
            body {
                a.skip href="#page:content" { "Skip to the content" }
                (body)
                footer {
                    p { "midcommit " (env!("CARGO_PKG_VERSION")) ". The same scenarios give the same page." }
                }
            }
        }
    };
    let mut text = page.into_string();
    text.push('\n');
    text
}

/// An element without content, closed as XML wants it.
fn void(name: &str, attributes: &[(&str, &str)]) -> Markup {
    let mut text = format!("<{name}");
    for (attribute, value) in attributes {
        let value = html! { (value) }.into_string();
        text.push_str(&format!(" {attribute}=\"{value}\""));
    }
    text.push_str("/>\n");
    PreEscaped(text)
}
