//! Pairs of faults around COMMIT as heat maps: rows are where processes wait, columns where COMMITs stand.
//!
//! The first row and the first column are single faults. A cell has the colour and the letter of the gravest
//! verdict, and leads to its plan in the list below. Columns and rows where nothing was tried are left out.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::words::{mark, thousands};
use super::{super::matrix as text, scrolling, verdict_word};
use crate::explore::{Grid, GridCell, GridColumn, Layer};
use crate::oracle::Verdict;

/// The heat maps, and what they cover.
pub(super) fn maps(grid: &Grid, scenario: &str) -> Markup {
    let workload = match grid.jobs {
        Some(1) => "1 job".to_owned(),
        Some(jobs) => format!("{jobs} jobs"),
        None => "all jobs".to_owned(),
    };
    let covered = match grid.run == grid.planned {
        true => format!("All {} pairs were run", thousands(grid.run)),
        false => format!(
            "{} of {} pairs were run, spread evenly within each cell",
            thousands(grid.run),
            thousands(grid.planned)
        ),
    };
    html! {
        section aria-labelledby="page:grid" {
            h2 id="page:grid" { "Two faults, around COMMIT" }
            div.about {
                p {
                    "One fault strikes a process where its own code waits (a row: cancelled, stalled, killed, deployed); "
                    "the other strikes a COMMIT (a column: its steps in the server, and the bytes at the ends of its "
                    "request and its reply). A cell has the gravest verdict of its pairs. The first column and the first "
                    "row are single faults."
                }
                p {
                    (covered) ", with " (workload) ", on the plain schedule. Tasks that a process spawns, and a "
                    "driver’s, have no rows, and what strikes at the broker has no column; they are in the table above."
                }
            }
            (map(grid, scenario, Layer::Server, "grid.server", "The server or the network fails"))
            (map(grid, scenario, Layer::Failover, "grid.failover", "A replica takes over that lacks the commit"))
        }
    }
}

/// One heat map, if anything was tried in it.
fn map(grid: &Grid, scenario: &str, layer: Layer, id: &str, title: &str) -> Markup {
    let tried: BTreeSet<usize> = grid
        .cells
        .keys()
        .filter(|(of, ..)| *of == layer)
        .map(|(_, _, column)| *column)
        .chain(
            grid.columns_alone
                .keys()
                .filter(|(of, _)| *of == layer)
                .map(|(_, column)| *column),
        )
        .collect();
    if tried.is_empty() {
        return html! {};
    }
    let columns: Vec<usize> = tried.into_iter().collect();
    let rows: Vec<usize> = (0..grid.rows.len())
        .filter(|row| {
            grid.rows_alone[*row].planned > 0
                || columns
                    .iter()
                    .any(|column| grid.cells.contains_key(&(layer, *row, *column)))
        })
        .collect();
    let heat = Heat {
        grid,
        layer,
        id,
        rows,
        columns,
    };
    html! {
        h3 id=(id) { (title) }
        (heat.legend())
        (scrolling(id, heat.table()))
        (heat.plans(scenario))
    }
}

struct Heat<'g> {
    grid: &'g Grid,
    layer: Layer,
    id: &'g str,
    rows: Vec<usize>,
    columns: Vec<usize>,
}

/// A cell of the map: a pair, or a single fault.
#[derive(Clone, Copy)]
enum At {
    Row(usize),
    Column(usize),
    Pair(usize, usize),
}

impl Heat<'_> {
    fn cell(&self, at: At) -> Option<&GridCell> {
        match at {
            At::Row(row) => self.grid.rows_alone.get(row),
            At::Column(column) => self.grid.columns_alone.get(&(self.layer, column)),
            At::Pair(row, column) => self.grid.cells.get(&(self.layer, row, column)),
        }
        .filter(|cell| cell.cell.schedules > 0)
    }

    /// The cells, row by row.
    fn all(&self) -> impl Iterator<Item = At> {
        let top = self.columns.iter().map(|column| At::Column(*column));
        let rows = self.rows.iter().flat_map(|row| {
            let pairs = self.columns.iter().map(|column| At::Pair(*row, *column));
            [At::Row(*row)].into_iter().chain(pairs)
        });
        top.chain(rows)
    }

    fn legend(&self) -> Markup {
        let cells = || self.all().filter_map(|at| self.cell(at));
        let verdicts: BTreeSet<Verdict> = cells().map(|cell| cell.cell.worst()).collect();
        let together = cells().any(|cell| cell.together);
        html! {
            ul.legend.short aria-label="marks" {
                @for verdict in verdicts {
                    li {
                        span class={ "swatch " (verdict) } aria-hidden="true" { (mark(verdict)) }
                        strong { (text::shown(verdict)) }
                    }
                }
                @if together {
                    li { span.swatch.together aria-hidden="true" { "2" } "framed: neither fault alone breaks anything" }
                }
                li { span.swatch.never aria-hidden="true" { "·" } "the two never meet in one run" }
            }
        }
    }

    fn table(&self) -> Markup {
        let columns = || {
            self.columns
                .iter()
                .map(|column| &self.grid.columns[*column])
        };
        let all: Vec<&GridColumn> = columns().collect();
        let groups: Vec<&[&GridColumn]> = all.chunk_by(|a, b| a.commit == b.commit).collect();
        let rows: Vec<&[usize]> = self
            .rows
            .chunk_by(|a, b| self.grid.rows[*a].process == self.grid.rows[*b].process)
            .collect();
        html! {
            table.heat {
                caption.hidden { "Rows: where a process waits. Columns: where a COMMIT stands." }
                thead {
                    tr {
                        th scope="col" rowspan="2" { "struck at" }
                        th.stage scope="col" rowspan="2" { span { "no second fault" } }
                        @for group in &groups {
                            th.group scope="colgroup" colspan=(group.len()) {
                                @match &group[0].commit {
                                    Some((server, number)) => {
                                        code { (server) ".commit." (number) }
                                        @if !group[0].of.is_empty() { " by " (group[0].of) }
                                    }
                                    None => "later COMMITs",
                                }
                            }
                        }
                    }
                    tr {
                        @for group in &groups {
                            @for (index, column) in group.iter().enumerate() {
                                th.stage.first[index == 0] scope="col" { span { (column.stage.name()) } }
                            }
                        }
                    }
                }
                tbody {
                    tr {
                        th scope="row" { "no second fault" }
                        td.corner {}
                        @for group in self.groups() {
                            @for (index, column) in group.iter().enumerate() {
                                (self.field(At::Column(*column), index == 0))
                            }
                        }
                    }
                }
                @for of_process in rows {
                    tbody {
                        tr {
                            th.process scope="rowgroup" colspan=(self.columns.len() + 2) {
                                span { (self.grid.rows[of_process[0]].process) }
                            }
                        }
                        @for row in of_process {
                            tr {
                                th scope="row" { (self.row_name(*row)) }
                                (self.field(At::Row(*row), false))
                                @for group in self.groups() {
                                    @for (index, column) in group.iter().enumerate() {
                                        (self.field(At::Pair(*row, *column), index == 0))
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The columns of each COMMIT.
    fn groups(&self) -> impl Iterator<Item = &[usize]> {
        let commit = |column: &usize| &self.grid.columns[*column].commit;
        self.columns.chunk_by(move |a, b| commit(a) == commit(b))
    }

    fn row_name(&self, row: usize) -> Markup {
        let row = &self.grid.rows[row];
        html! {
            @if row.later { em { "after a fault" } }
            @else {
                code { (row.name) }
                @if row.points > 1 { span.times { " ×" (row.points) } }
            }
        }
    }

    fn field(&self, at: At, first: bool) -> Markup {
        let Some(cell) = self.cell(at) else {
            let is_later = match at {
                At::Row(row) => self.grid.rows[row].later,
                At::Column(column) => self.grid.columns[column].commit.is_none(),
                At::Pair(..) => false,
            };
            if is_later {
                // There is no such thing as what comes after a fault, without a fault.
                return html! { td.corner.first[first] {} };
            }
            return html! { td.never.first[first] { "·" } };
        };
        let worst = cell.cell.worst();
        let class = format!(
            "{worst}{}{}",
            if cell.together { " together" } else { "" },
            if first { " first" } else { "" }
        );
        html! {
            td class=(class) title=(self.tooltip(at, cell)) {
                @if worst == Verdict::Ok { (mark(worst)) }
                @else { a href={ "#" (self.cell_id(at)) } { (mark(worst)) } }
            }
        }
    }

    /// What a cell is about: `after-update.1+1 × pg.commit.1.flushed`.
    fn place(&self, at: At) -> String {
        let column = |column: usize| {
            let GridColumn { commit, stage, .. } = &self.grid.columns[column];
            match commit {
                Some((server, number)) => format!("{server}.commit.{number} {}", stage.name()),
                None => format!("later {}", stage.name()),
            }
        };
        let row = |row: usize| {
            let row = &self.grid.rows[row];
            match row.later {
                true => format!("{} after a fault", row.process),
                false => format!("{}.{}", row.process, row.name),
            }
        };
        match at {
            At::Row(r) => row(r),
            At::Column(c) => column(c),
            At::Pair(r, c) => format!("{} × {}", row(r), column(c)),
        }
    }

    fn tooltip(&self, at: At, cell: &GridCell) -> String {
        let counts: Vec<String> = cell
            .cell
            .verdicts
            .iter()
            .rev()
            .map(|(verdict, n)| format!("{} {}", text::shown(*verdict), thousands(*n)))
            .collect();
        let of = match cell.cell.schedules == cell.planned {
            true => String::new(),
            false => format!(" (of {} that there are)", thousands(cell.planned)),
        };
        let plan = cell
            .plan
            .as_ref()
            .map_or(String::new(), |plan| format!("\n{plan}"));
        format!("{}\n{}{of}{plan}", self.place(at), counts.join(", "))
    }

    fn cell_id(&self, at: At) -> String {
        match at {
            At::Row(row) => format!("{}.{row}.x", self.id),
            At::Column(column) => format!("{}.x.{column}", self.id),
            At::Pair(row, column) => format!("{}.{row}.{column}", self.id),
        }
    }

    /// The plan of each cell that breaks a promise.
    fn plans(&self, scenario: &str) -> Markup {
        let broken: Vec<(At, &GridCell)> = self
            .all()
            .filter_map(|at| Some((at, self.cell(at)?)))
            .filter(|(_, cell)| cell.plan.is_some())
            .collect();
        if broken.is_empty() {
            return html! {};
        }
        let id = format!("{}.plans", self.id);
        let table = html! {
            table.plans {
                thead {
                    tr {
                        th scope="col" { "where" }
                        th scope="col" { "verdict" }
                        th scope="col" { "a plan that does it" }
                    }
                }
                tbody {
                    @for (at, cell) in &broken {
                        tr id=(self.cell_id(*at)) {
                            th scope="row" { (self.place(*at)) }
                            td { (verdict_word(cell.cell.worst())) }
                            td { @if let Some(plan) = &cell.plan { code.plan { (plan) } } }
                        }
                    }
                }
            }
        };
        html! {
            details.fold {
                summary id=(id) {
                    "The plans of the " (thousands(broken.len())) " cells that break a promise, for "
                    code { "midcommit replay " (scenario) " PLAN" }
                }
                (scrolling(&id, table))
            }
        }
    }
}
