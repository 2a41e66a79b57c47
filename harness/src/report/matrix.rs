//! Tables of verdicts: one scenario's classes of fault below each other, or a catalogue's
//! scenarios with the classes side by side.
//!
//! Failing verdicts are in capitals. What a scenario declares is `as known`,
//! what it does not declare `unexpected`; a legend says once what the verdicts
//! that occur mean. Without colours, so that snapshots show what people see.

use std::collections::BTreeSet;
use std::fmt;

use comfy_table::{CellAlignment, LineStyle, Table, presets};

use super::paint;
use crate::explore::{Cell, Exploration, Explore};
use crate::oracle::Verdict;
use crate::plan::Class;

/// A table of verdicts with its legend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    title: String,
    table: String,
    verdicts: BTreeSet<Verdict>,
}

impl Matrix {
    /// The same text with colours.
    pub fn painted(&self) -> String {
        paint::verdicts(&self.to_string())
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.title.is_empty() {
            writeln!(f, "{}", self.title)?;
        }
        writeln!(f, "{}", self.table)?;
        for verdict in &self.verdicts {
            writeln!(f, "{:<10}  {}", shown(*verdict), verdict.meaning())?;
        }
        Ok(())
    }
}

impl Explore<'_> {
    /// Runs it all, and shows the verdicts as a table.
    ///
    /// # Panics
    ///
    /// With the error of [`Explore::run`].
    pub fn matrix(self) -> Matrix {
        match self.run() {
            Ok(exploration) => exploration.matrix(),
            Err(error) => panic!("{error}"),
        }
    }
}

impl Exploration {
    /// This scenario's verdicts: a row per class of fault, and each failing verdict with its least plan.
    pub fn matrix(&self) -> Matrix {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()));
        table.set_header(["fault", "schedules", "verdicts", "least plan"]);
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        for (class, cell) in &self.cells {
            self.add_rows(&mut table, name(*class), cell, *class, false);
        }
        if self.drawn.schedules > 0 {
            self.add_rows(&mut table, "several", &self.drawn, None, true);
        }
        Matrix {
            title: self.scenario.name().to_owned(),
            table: table.trim_fmt(),
            verdicts: failing([self]),
        }
    }

    /// A line per verdict; the least plan stands beside the verdict it earns.
    fn add_rows(
        &self,
        table: &mut Table,
        name: &str,
        cell: &Cell,
        class: Option<Class>,
        drawn: bool,
    ) {
        let declared = declared(self, class);
        let says = !self.scenario.expectations().is_empty();
        let says_what_is_known = says && !drawn;
        let of_several = self.scenario.expected_of_several();
        let mut verdicts = Vec::new();
        let mut plans = Vec::new();
        for (verdict, count) in &cell.verdicts {
            let example = self.counterexamples.iter().find(|example| {
                (example.drawn, example.judgement.verdict) == (drawn, *verdict)
                    && (drawn || example.class == class)
            });
            let remark = match drawn {
                _ if *verdict == Verdict::Ok || !says => "",
                // As one of its faults does alone.
                true if example.is_none() => "",
                true if of_several.contains_key(verdict) => ", as known",
                false if declared.contains(verdict) => ", as known",
                _ => ", unexpected",
            };
            verdicts.push(format!("{} {count}{remark}", shown(*verdict)));
            plans.push(example.map_or(String::new(), |example| example.plan.to_string()));
        }
        if says_what_is_known {
            verdicts.extend(
                missing(&declared, cell)
                    .iter()
                    .map(|verdict| format!("no {}, unexpected", shown(*verdict))),
            );
        }
        table.add_row([
            name.to_owned(),
            cell.schedules.to_string(),
            verdicts.join("\n"),
            plans.join("\n"),
        ]);
    }
}

/// A catalogue's verdicts: a row per scenario, a column per class of fault.
pub fn catalogue_matrix(explorations: &[Exploration]) -> Matrix {
    let columns = || [None].into_iter().chain(Class::ALL.map(Some));
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["scenario"].into_iter().chain(columns().map(name)));
    for exploration in explorations {
        let cells = columns().map(|class| match exploration.cells.get(&class) {
            Some(cell) => catalogue_cell(exploration, class, cell),
            None => "–".to_owned(),
        });
        table.add_row(
            [exploration.scenario.name().to_owned()]
                .into_iter()
                .chain(cells),
        );
    }
    Matrix {
        title: String::new(),
        table: table.trim_fmt(),
        verdicts: failing(explorations),
    }
}

/// `ok 56`, or `LOST 3/28`, or several failing verdicts and their total; then what is known of it.
fn catalogue_cell(exploration: &Exploration, class: Option<Class>, cell: &Cell) -> String {
    let total = cell.schedules;
    // The worst first.
    let failing: Vec<(Verdict, usize)> = cell
        .verdicts
        .iter()
        .rev()
        .filter(|(verdict, _)| **verdict != Verdict::Ok)
        .map(|(verdict, count)| (*verdict, *count))
        .collect();
    let mut lines: Vec<String> = match failing[..] {
        [] => vec![format!("ok {total}")],
        [(verdict, count)] => vec![format!("{} {count}/{total}", shown(verdict))],
        _ => failing
            .iter()
            .map(|(verdict, count)| format!("{} {count}", shown(*verdict)))
            .chain([format!("of {total}")])
            .collect(),
    };
    if exploration.cell_as_expected(class, cell) {
        if let ([_, ..], Some(last)) = (&failing[..], lines.last_mut()) {
            last.push_str(", as known");
        }
        return lines.join("\n");
    }
    let declared = declared(exploration, class);
    let unexpected = cell
        .verdicts
        .keys()
        .filter(|verdict| !declared.contains(*verdict));
    let remarks = unexpected
        .map(|verdict| format!("{} is unexpected", shown(*verdict)))
        .chain(
            missing(&declared, cell)
                .into_iter()
                .map(|verdict| format!("no {} is unexpected", shown(verdict))),
        );
    lines.extend(remarks);
    lines.join("\n")
}

/// What the scenario says of this class; a class it says nothing of must be all ok.
fn declared(exploration: &Exploration, class: Option<Class>) -> BTreeSet<Verdict> {
    let expectations = exploration.scenario.expectations();
    match expectations
        .iter()
        .find(|expectation| expectation.class == class)
    {
        Some(expectation) => expectation.verdicts.clone(),
        None => [Verdict::Ok].into(),
    }
}

/// Verdicts that are declared and did not occur.
fn missing(declared: &BTreeSet<Verdict>, cell: &Cell) -> Vec<Verdict> {
    let occurred = |verdict: &&Verdict| cell.verdicts.contains_key(*verdict);
    let nothing_declared = *declared == [Verdict::Ok].into();
    declared
        .iter()
        .filter(|verdict| !occurred(verdict) && !nothing_declared)
        .copied()
        .collect()
}

fn failing<'e>(explorations: impl IntoIterator<Item = &'e Exploration>) -> BTreeSet<Verdict> {
    let cells = explorations
        .into_iter()
        .flat_map(|e| e.cells.values().chain([&e.drawn]));
    let mut verdicts: BTreeSet<Verdict> = cells
        .flat_map(|cell| cell.verdicts.keys().copied())
        .collect();
    verdicts.remove(&Verdict::Ok);
    verdicts
}

/// A column's name.
pub(crate) fn name(class: Option<Class>) -> &'static str {
    class.map_or("none", Class::name)
}

/// A verdict as tables show it: failing ones in capitals.
pub(crate) fn shown(verdict: Verdict) -> String {
    match verdict {
        Verdict::Ok => verdict.name().to_owned(),
        verdict => verdict.name().to_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{explored, receipts};
    use Verdict::{Duplicated, Lost, Ok, Phantom};

    #[test]
    fn a_scenarios_matrix_has_a_least_plan_for_each_failing_verdict() {
        insta::assert_snapshot!(receipts().matrix(), @r"
        receipts
        ─────────────────────────────────────────────────────────────
         fault       schedules   verdicts   least plan
        ═════════════════════════════════════════════════════════════
         none               16   ok 16
         interrupt          56   ok 53
                                 LOST 3     cancel@worker.commit.1+1
         kill               28   ok 28
         several            10   ok 9
                                 LOST 1
        ─────────────────────────────────────────────────────────────
        LOST        owed, never applied
        ");
    }

    #[test]
    fn what_is_declared_is_known_and_the_rest_is_not() {
        let scenario = receipts()
            .scenario
            .expect(Some(Class::Interrupt), [Ok, Lost], "the window")
            .expect(Some(Class::Kill), [Ok, Lost], "the window");
        let exploration = Exploration {
            scenario,
            ..receipts()
        };
        insta::assert_snapshot!(exploration.matrix(), @r"
        receipts
        ────────────────────────────────────────────────────────────────────────
         fault       schedules   verdicts              least plan
        ════════════════════════════════════════════════════════════════════════
         none               16   ok 16
         interrupt          56   ok 53
                                 LOST 3, as known      cancel@worker.commit.1+1
         kill               28   ok 28
                                 no LOST, unexpected
         several            10   ok 9
                                 LOST 1
        ────────────────────────────────────────────────────────────────────────
        LOST        owed, never applied
        ");
    }

    #[test]
    fn a_catalogue_says_what_is_known_and_what_is_not() {
        let kill = Some(Class::Kill);
        let known = explored("known", &[(kill, &[(Ok, 25), (Lost, 3)])], |s| {
            s.expect(kill, [Ok, Lost], "")
        });
        let several = explored(
            "several",
            &[(kill, &[(Ok, 1), (Lost, 3), (Duplicated, 2)])],
            |s| s.expect(kill, [Ok, Lost, Duplicated], ""),
        );
        let worse = explored(
            "worse",
            &[(kill, &[(Ok, 25), (Lost, 2), (Phantom, 1)])],
            |s| s.expect(kill, [Ok, Lost], ""),
        );
        let better = explored("better", &[(kill, &[(Ok, 28)])], |s| {
            s.expect(kill, [Ok, Lost], "")
        });
        let undeclared = explored(
            "undeclared",
            &[(None, &[(Ok, 16)]), (kill, &[(Lost, 28)])],
            |s| s,
        );
        insta::assert_snapshot!(catalogue_matrix(&[known, several, worse, better, undeclared]), @r"
        ────────────────────────────────────────────────────────────────────────────────────────────────────────
         scenario     none    interrupt   kill                    deploy   network   server   failover   broker
        ════════════════════════════════════════════════════════════════════════════════════════════════════════
         known        –       –           LOST 3/28, as known     –        –         –        –          –
        ────────────────────────────────────────────────────────────────────────────────────────────────────────
         several      –       –           LOST 3                  –        –         –        –          –
                                          DUPLICATED 2
                                          of 6, as known
        ────────────────────────────────────────────────────────────────────────────────────────────────────────
         worse        –       –           LOST 2                  –        –         –        –          –
                                          PHANTOM 1
                                          of 28
                                          PHANTOM is unexpected
        ────────────────────────────────────────────────────────────────────────────────────────────────────────
         better       –       –           ok 28                   –        –         –        –          –
                                          no LOST is unexpected
        ────────────────────────────────────────────────────────────────────────────────────────────────────────
         undeclared   ok 16   –           LOST 28/28              –        –         –        –          –
                                          LOST is unexpected
        ────────────────────────────────────────────────────────────────────────────────────────────────────────
        DUPLICATED  applied more often than promised
        PHANTOM     applied, owed by nothing on the surviving timeline
        LOST        owed, never applied
        ");
    }
}
