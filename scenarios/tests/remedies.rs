//! What every remedy's file must be: a service's own code, with an account of what it guarantees.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use midcommit::explore;
use midcommit::plan::{Class, Point};

/// What a remedy's file may name. It is compiled a second time, elsewhere.
const CRATES: [&str; 4] = ["std", "tokio", "tokio_postgres", "midcommit"];

#[test]
fn a_remedy_uses_nothing_of_this_crate() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/remedy");
    let mut read = 0;
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        if path.ends_with("mod.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("it can be read");
        for line in text.lines().map(str::trim_start) {
            let Some(named) = line.strip_prefix("use ") else {
                let foreign = ["crate::", "super::"];
                let foreign = foreign.iter().find(|path| line.contains(**path));
                assert_eq!(foreign, None, "{}: {line}", path.display());
                continue;
            };
            let first = named.split([':', ';', ' ']).next();
            let first = first.expect("splitting yields something");
            assert!(CRATES.contains(&first), "{}: {line}", path.display());
        }
        read += 1;
    }
    assert!(read > 0, "there is no remedy");
}

#[test]
fn a_remedy_says_what_it_guarantees_and_a_twin_whose_it_is() {
    let mut remedies = BTreeSet::new();
    for scenario in midcommit_scenarios::remedies() {
        let name = scenario.name().to_owned();
        assert_ne!(scenario.source_text(), "", "{name} has no source");
        match scenario.original() {
            Some(original) => assert!(
                remedies.contains(original),
                "{name} is the twin of {original}, which does not stand before it"
            ),
            None => assert_ne!(scenario.about_text(), "", "{name} does not say what holds"),
        }
        assert!(remedies.insert(name.clone()), "{name} stands there twice");
    }
}

/// Which task the least interrupt strikes that loses a receipt. Of plans as small, one that strikes the
/// worker's own task is preferred.
fn struck(name: &str) -> String {
    let mut remedies = midcommit_scenarios::remedies().into_iter();
    let scenario = remedies.find(|scenario| scenario.name() == name);
    let explored = explore(scenario.unwrap_or_else(|| panic!("there is no remedy {name}")))
        .faults([Class::Interrupt])
        .cases(0)
        .run();
    let explored = explored.unwrap_or_else(|error| panic!("{name}: {error}"));
    let [example] = &explored.counterexamples[..] else {
        panic!("{name} fails in other ways: {:?}", explored.counterexamples);
    };
    match &example.plan.faults[0].at {
        Point::Await { task, .. } => task.to_string(),
        point => panic!("{point} is no await point"),
    }
}

#[test]
fn a_shield_holds_whatever_ends_its_caller() {
    for (name, task) in [
        ("shield", "worker/shield"),
        ("shield_commit_only", "worker"),
        ("shield_callback_only", "worker"),
        ("effect_after_commit", "worker"),
    ] {
        assert_eq!(struck(name), task, "{name}");
    }
}
