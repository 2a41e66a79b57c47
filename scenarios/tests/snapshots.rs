//! What a reviewer reads: the catalogue, and one timeline for each way a scenario fails.
//!
//! The snapshots stand in `snapshots/` at the top. A change that is meant to alter an
//! outcome shows there, and only there.

use std::sync::LazyLock;

use midcommit::explore::Exploration;
use midcommit::report::{Timeline, catalogue_matrix};
use midcommit::{explore, replay};

/// Every scenario explored, once for all tests.
static EXPLORED: LazyLock<Vec<Exploration>> = LazyLock::new(|| {
    let scenarios = midcommit_scenarios::catalogue();
    let explored = scenarios.into_iter().map(|scenario| {
        let name = scenario.name().to_owned();
        explore(scenario)
            .cases(0)
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
    for exploration in &*EXPLORED {
        let name = exploration.scenario.name();
        for (class, cell) in &exploration.cells {
            let class_name = class.map_or("none", |class| class.name());
            assert!(
                exploration.cell_as_expected(*class, cell),
                "{name}, {class_name}: {:?} is not what is declared",
                cell.verdicts
            );
        }
        assert_eq!(exploration.certificate.unfired, [], "{name}");
        assert_eq!(
            exploration.certificate.run, exploration.certificate.planned,
            "{name}"
        );
    }
}

#[test]
fn the_catalogue() {
    settings()
        .bind(|| insta::assert_snapshot!("catalogue", catalogue_matrix(&EXPLORED).to_string()));
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
