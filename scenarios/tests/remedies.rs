//! What every remedy's file must be: a service's own code, with an account of what it guarantees.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

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
