//! What a reviewer reads: the catalogue, one timeline for each way a scenario fails, and the page
//! that is made of both.
//!
//! The snapshots stand in `snapshots/` at the top. A change that is meant to alter an
//! outcome shows there, and only there.

use std::path::Path;
use std::sync::LazyLock;

use midcommit::explore::{CATALOGUE_CASES, Exploration};
use midcommit::report::Timeline;
use midcommit::{explore, replay};
use midcommit_scenarios::page;

/// Every scenario explored, once for all tests.
static EXPLORED: LazyLock<Vec<Exploration>> = LazyLock::new(|| {
    let scenarios = midcommit_scenarios::catalogue();
    let explored = scenarios.into_iter().map(|scenario| {
        let name = scenario.name().to_owned();
        explore(scenario)
            .cases(CATALOGUE_CASES)
            .run()
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    });
    explored.collect()
});

fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

#[test]
fn every_cell_of_the_catalogue_is_as_declared() {
    let mut others: Vec<String> = Vec::new();
    for exploration in &*EXPLORED {
        let name = exploration.scenario.name();
        for (class, cell) in &exploration.cells {
            if !exploration.cell_as_expected(*class, cell) {
                let class_name = class.map_or("none", |class| class.name());
                others.push(format!("{name}, {class_name}: {:?}", cell.verdicts));
            }
        }
        let undeclared = exploration.several().filter(|(_, declared)| !declared);
        others.extend(undeclared.map(|(example, _)| {
            let verdict = example.judgement.verdict;
            format!("{name}, several: {verdict} {}", example.plan)
        }));
        assert_eq!(exploration.certificate.unfired, [], "{name}");
        assert_eq!(
            exploration.certificate.run, exploration.certificate.planned,
            "{name}"
        );
    }
    let others = others.join("\n");
    assert!(others.is_empty(), "not what is declared:\n{others}");
}

/// The count of every cell, a line each: a change in one scenario moves no other line, as the columns
/// of a table would.
fn counts(explored: &[Exploration]) -> String {
    let mut lines = Vec::new();
    for exploration in explored {
        lines.push(exploration.scenario.name().to_owned());
        let cells = exploration.cells.iter();
        let cells = cells.map(|(class, cell)| (class.map_or("none", |class| class.name()), cell));
        for (class, cell) in cells.chain([("several", &exploration.drawn)]) {
            let verdicts = cell.verdicts.iter().rev();
            let verdicts: Vec<_> = verdicts
                .map(|(verdict, n)| format!("{verdict} {n}"))
                .collect();
            lines.push(format!(
                "  {class:<9}  {:>4}  {}",
                cell.schedules,
                verdicts.join(", ")
            ));
        }
    }
    lines.join("\n")
}

/// A timeline that no run makes any more must go, or it would be read as true.
#[test]
fn no_timeline_is_left_of_what_no_longer_happens() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../snapshots");
    let made: Vec<String> = EXPLORED
        .iter()
        .flat_map(|exploration| {
            let name = exploration.scenario.name();
            let verdicts = exploration.counterexamples.iter();
            verdicts.map(move |example| format!("{name}.{}.snap", example.judgement.verdict))
        })
        // The latter is the crate `sabotage`'s.
        .chain(["catalogue.snap", "sabotage.snap"].map(str::to_owned))
        .collect();
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let file = entry.expect("it can be listed").file_name();
        let file = file.to_string_lossy();
        assert!(
            !file.ends_with(".snap") || made.contains(&file.to_string()),
            "{file} is left over"
        );
    }
}

#[test]
fn the_catalogue() {
    settings().bind(|| insta::assert_snapshot!("catalogue", counts(&EXPLORED)));
}

#[test]
fn the_page_that_says_which_design_is_current() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let made = page::make(&top, &EXPLORED).unwrap_or_else(|error| panic!("{error}"));
    let page = page::read(&top.join(page::PAGE)).unwrap_or_else(|error| panic!("{error}"));
    let differs = page.lines().zip(made.lines()).find(|(old, new)| old != new);
    assert!(
        page == made,
        "{} is not current: `cargo run --release --bin which-design`. The first line that differs: {differs:?}",
        page::PAGE
    );
}

#[test]
fn one_timeline_for_each_way_a_scenario_fails() {
    for exploration in &*EXPLORED {
        let scenario = &exploration.scenario;
        let mut told = Vec::new();
        for example in &exploration.counterexamples {
            let verdict = example.judgement.verdict;
            if told.contains(&verdict) {
                continue;
            }
            told.push(verdict);
            let replayed =
                replay::replay(scenario, &example.plan).expect("a counterexample replays");
            assert_eq!(
                replayed.history.hash(),
                example.hash,
                "{}: {}",
                scenario.name(),
                example.plan
            );
            assert_eq!(replayed.judgement, example.judgement);
            let finding = &example.judgement.findings[0];
            let timeline = Timeline::around(&replayed.history, &replayed.judgement);
            let text = format!(
                "plan: {}\n{verdict}: {}\n\n{timeline}",
                example.plan, finding.sentence
            );
            settings()
                .bind(|| insta::assert_snapshot!(format!("{}.{verdict}", scenario.name()), text));
        }
    }
}
