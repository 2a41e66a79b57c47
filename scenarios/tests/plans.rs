//! Plans that once broke a promise, replayed for ever: `plans/SCENARIO.VERDICT.plan`. What a scenario
//! declares of several faults rests on one of them, `plans/SCENARIO.VERDICT.several.plan`, since a draw may
//! miss it.

use std::fs;
use std::path::Path;

use midcommit::plan::{Plan, Workload};
use midcommit::replay::replay;
use midcommit::seed::Seed;

#[test]
fn every_kept_plan_still_earns_its_verdict() {
    let catalogue = midcommit_scenarios::catalogue();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    let mut replayed = 0;
    for entry in fs::read_dir(&folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        let name = path.file_name().expect("it has a name").to_string_lossy();
        let parts: Vec<_> = name.split('.').collect();
        let (scenario, verdict) = match parts[..] {
            [scenario, verdict, "plan"] | [scenario, verdict, "several", "plan"] => {
                (scenario, verdict)
            }
            _ => panic!("{name} is not called SCENARIO.VERDICT.plan"),
        };
        let scenario = catalogue.iter().find(|known| known.name() == scenario);
        let scenario = scenario.unwrap_or_else(|| panic!("{name}: no such scenario"));
        let text = fs::read_to_string(&path).expect("it can be read");
        let plan: Plan = text
            .parse()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let replayed_plan =
            replay(scenario, &plan).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            replayed_plan.judgement.verdict.name(),
            verdict,
            "{name}: {plan}"
        );
        replayed += 1;
    }
    assert!(replayed > 0, "no plan in {}", folder.display());
}

/// Plans that ask for one thing less: a fault, the workload, the seed.
fn parts(plan: &Plan) -> Vec<Plan> {
    let mut parts = Vec::new();
    for fault in 0..plan.faults.len() {
        let mut part = plan.clone();
        part.faults.remove(fault);
        parts.push(part);
    }
    if plan.workload != Workload::default() {
        parts.push(Plan {
            workload: Workload::default(),
            ..plan.clone()
        });
    }
    if plan.seed != Seed(0) {
        parts.push(Plan {
            seed: Seed(0),
            ..plan.clone()
        });
    }
    parts
}

#[test]
fn what_is_declared_of_several_faults_takes_them_all() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    for scenario in midcommit_scenarios::catalogue() {
        for verdict in scenario.expected_of_several().keys() {
            let file = folder.join(format!("{}.{verdict}.several.plan", scenario.name()));
            let text = fs::read_to_string(&file).unwrap_or_else(|error| {
                panic!(
                    "{}: {error}: no plan shows what is declared",
                    file.display()
                )
            });
            let plan: Plan = text.parse().expect("a plan");
            for part in parts(&plan) {
                // A fault that strikes only after another is stale without it.
                if let Ok(replayed) = replay(&scenario, &part) {
                    let seen = replayed.judgement.verdict;
                    assert_ne!(seen, *verdict, "{}: {part} does it too", scenario.name());
                }
            }
        }
    }
}
