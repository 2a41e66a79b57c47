//! One scenario at length: what it is, its verdicts with their least plans, its counterexamples, and
//! what the result covers.

use maud::{Markup, html};

use super::super::matrix as text;
use super::sequence::diagram;
use super::words::{markdown, thousands};
use super::{Chapter, Example, scrolling, verdict_word};
use crate::explore::{Cell, Exploration};
use crate::oracle::Verdict;
use crate::plan::Class;
use crate::report::Timeline;
use crate::report::failure::replay_command;

/// A scenario of a catalogue. `names` are those that have a section in the page.
pub(super) fn chapter(chapter: &Chapter<'_>, names: &[&str]) -> Markup {
    let exploration = chapter.exploration;
    let name = exploration.scenario.name();
    html! {
        article.scenario aria-labelledby=(name) {
            h2 id=(name) { (name) }
            (about(chapter, names))
            (classes(exploration, &format!("{name}.classes"), |class, verdict| {
                chapter.drawn(class, verdict)
            }))
            @for example in &chapter.examples {
                (folded(example))
            }
            (certificate(exploration, false))
            p.back { a href="#page:matrix" { "↑ all scenarios" } }
        }
    }
}

/// What the scenario is.
pub(super) fn about(chapter: &Chapter<'_>, names: &[&str]) -> Markup {
    let scenario = &chapter.exploration.scenario;
    let reference = |name: &str| {
        html! {
            @if names.contains(&name) { a href={ "#" (name) } { code { (name) } } }
            @else { code { (name) } }
        }
    };
    html! {
        @if !scenario.about_text().is_empty() {
            div.about { (markdown(scenario.about_text())) }
        }
        dl.facts {
            @if !scenario.source_text().is_empty() {
                div { dt { "source" } dd { (scenario.source_text()) } }
            }
            @if let Some(original) = scenario.original() {
                div { dt { "broken twin of" } dd { (reference(original)) } }
            }
            @if !chapter.twins.is_empty() {
                div {
                    dt { "broken twins" }
                    dd {
                        @for (index, twin) in chapter.twins.iter().enumerate() {
                            @if index > 0 { ", " }
                            (reference(twin))
                        }
                    }
                }
            }
        }
    }
}

/// Verdicts by class of fault, each with its least plan. `drawn` says where a plan's run is drawn.
pub(super) fn classes(
    exploration: &Exploration,
    id: &str,
    drawn: impl Fn(Option<Class>, Verdict) -> Option<String>,
) -> Markup {
    let several = (exploration.drawn.schedules > 0).then_some((None, &exploration.drawn, true));
    let cells = exploration
        .cells
        .iter()
        .map(|(class, cell)| (*class, cell, false));
    let declared = exploration.scenario.expectations();
    let of_several = exploration.scenario.expected_of_several();
    let says_why = declared.iter().any(|it| !it.why.is_empty()) || !of_several.is_empty();
    let table = html! {
        table.classes {
            thead {
                tr {
                    th scope="col" id=(id) { "fault" }
                    th.number scope="col" { "schedules" }
                    th scope="col" { "verdicts" }
                    th scope="col" { "least plan" }
                    @if says_why { th scope="col" { "declared, because" } }
                }
            }
            tbody {
                @for (class, cell, several) in cells.chain(several) {
                    (class_rows(exploration, class, cell, several, &drawn, says_why))
                }
            }
        }
    };
    scrolling(id, table)
}

fn class_rows(
    exploration: &Exploration,
    class: Option<Class>,
    cell: &Cell,
    several: bool,
    drawn: &impl Fn(Option<Class>, Verdict) -> Option<String>,
    says_why: bool,
) -> Markup {
    let declared = exploration.scenario.expectations();
    let expectation = declared.iter().find(|it| it.class == class && !several);
    let is_known = match several {
        true => exploration.drawn_as_expected(),
        false => exploration.cell_as_expected(class, cell),
    };
    let of_several = exploration.scenario.expected_of_several();
    let why = match several {
        true => of_several.values().copied().collect::<Vec<_>>().join("; "),
        false => expectation.map_or("", |it| it.why).to_owned(),
    };
    let title = if several {
        "several"
    } else {
        text::name(class)
    };
    let rows = cell.verdicts.len().max(1);
    let plan = |verdict: Verdict| {
        let mut examples = exploration.counterexamples.iter();
        let of_cell = examples.find(|it| {
            (it.drawn, it.judgement.verdict) == (several, verdict) && (several || it.class == class)
        });
        of_cell.map(|it| it.plan.to_string())
    };
    html! {
        // The gravest first.
        @for (index, (verdict, count)) in cell.verdicts.iter().rev().enumerate() {
            tr class=[(index == 0).then_some("first")] {
                @if index == 0 {
                    th scope="rowgroup" rowspan=(rows) {
                        (title)
                        @if !is_known { span.remark { "not as declared" } }
                    }
                    td.number rowspan=(rows) { (thousands(cell.schedules)) }
                }
                td.verdicts { (verdict_word(*verdict)) " " span.count { (thousands(*count)) } }
                td.least {
                    @if let Some(plan) = plan(*verdict) {
                        @match drawn(class, *verdict) {
                            Some(id) if !several => a.plan href={ "#" (id) } { (plan) },
                            _ => code.plan { (plan) },
                        }
                    }
                }
                @if says_why && index == 0 {
                    td.why rowspan=(rows) { (why) }
                }
            }
        }
    }
}

/// A counterexample that is shown when asked for.
pub(super) fn folded(example: &Example<'_>) -> Markup {
    html! {
        details.fold id=(example.id()) {
            summary {
                (verdict_word(example.verdict())) " "
                span.by { "by " (example.column) " " }
                code.plan { (example.trace.replay.plan) }
            }
            (body(example))
        }
    }
}

/// A counterexample that is always shown.
pub(super) fn example(example: &Example<'_>) -> Markup {
    html! {
        article.example {
            h3 id=(example.id()) {
                (verdict_word(example.verdict())) " "
                span.by { "by " (example.column) }
            }
            (body(example))
        }
    }
}

fn body(example: &Example<'_>) -> Markup {
    let replay = &example.trace.replay;
    let judgement = &replay.judgement;
    let sentence = judgement.findings.first().map_or("", |it| &it.sentence);
    let id = example.id();
    let title = format!("Sequence of {}", replay.plan);
    html! {
        p.sentence { (sentence) }
        figure {
            div.scroll role="region" tabindex="0" aria-label=(title) {
                (diagram(&example.trace, &id, &title, sentence))
            }
            figcaption {
                @if let Some(line) = &replay.source_line {
                    p { "struck at " code { (line) } }
                }
                p { "to see it again" }
                pre.command { code { (replay_command(example.scenario.name(), &replay.plan)) } }
                details {
                    summary { "the same as text" }
                    pre.timeline tabindex="0" { (Timeline::around(&replay.history, &replay.judgement)) }
                }
            }
        }
    }
}

/// What was covered, as the certificate says it.
pub(super) fn certificate(exploration: &Exploration, alone: bool) -> Markup {
    let id = format!("{}.certificate", exploration.scenario.name());
    let text = exploration.certificate.to_string();
    html! {
        section.certificate aria-labelledby=(id) {
            @if alone { h2 id=(id) { "What this covers" } } @else { h3 id=(id) { "What this covers" } }
            ul {
                @for line in text.lines() {
                    li class=[line.starts_with(' ').then_some("detail")] { (line.trim()) }
                }
            }
        }
    }
}
