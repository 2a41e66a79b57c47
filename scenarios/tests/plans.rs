//! Plans that once broke a promise, replayed for ever: `plans/SCENARIO.VERDICT.plan`.

use std::fs;
use std::path::Path;

use midcommit::plan::Plan;
use midcommit::replay::replay;

#[test]
fn every_kept_plan_still_earns_its_verdict() {
    let catalogue = midcommit_scenarios::catalogue();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    let mut replayed = 0;
    for entry in fs::read_dir(&folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        let name = path.file_name().expect("it has a name").to_string_lossy();
        let parts: Vec<_> = name.split('.').collect();
        let [scenario, verdict, "plan"] = parts[..] else {
            panic!("{name} is not called SCENARIO.VERDICT.plan");
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
