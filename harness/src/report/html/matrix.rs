//! The catalogue's matrix as a heat map: a row per scenario, a column per class of fault.

use maud::{Markup, html};

use super::words::thousands;
use super::{super::matrix as text, scrolling};
use crate::explore::{Cell, Exploration};
use crate::oracle::Verdict;
use crate::plan::Class;

/// The table. `target` says which part of the page tells of a verdict of a scenario.
pub(super) fn table(
    explorations: &[&Exploration],
    labelled_by: &str,
    target: impl Fn(&Exploration, Verdict) -> String,
) -> Markup {
    let columns = || [None].into_iter().chain(Class::ALL.map(Some));
    let table = html! {
        table.matrix {
            thead {
                tr {
                    th scope="col" { "scenario" }
                    @for class in columns() { th scope="col" { (text::name(class)) } }
                }
            }
            tbody {
                @for exploration in explorations {
                    @let scenario = &exploration.scenario;
                    tr {
                        th scope="row" class=[scenario.original().map(|_| "twin")] {
                            a href={ "#" (scenario.name()) } { (scenario.name()) }
                        }
                        @for class in columns() {
                            @match exploration.cells.get(&class) {
                                Some(cell) => (field(exploration, class, cell, &target)),
                                None => td.untried { span title="not tried" { "–" } },
                            }
                        }
                    }
                }
            }
        }
    };
    scrolling(labelled_by, table)
}

fn field(
    exploration: &Exploration,
    class: Option<Class>,
    cell: &Cell,
    target: &impl Fn(&Exploration, Verdict) -> String,
) -> Markup {
    let worst = cell.worst();
    let known = exploration.cell_as_expected(class, cell);
    html! {
        td class={ "cell " (worst) @if !known { " unexpected" } } {
            @if worst == Verdict::Ok {
                span.count { "ok " (thousands(cell.schedules)) }
            } @else {
                @for (verdict, count) in cell.verdicts.iter().rev().filter(|(it, _)| **it != Verdict::Ok) {
                    a href={ "#" (target(exploration, *verdict)) } {
                        (text::shown(*verdict)) " " (thousands(*count))
                    }
                }
                span.of { "of " (thousands(cell.schedules)) }
            }
            @if !known { span.remark { "not as declared" } }
        }
    }
}
