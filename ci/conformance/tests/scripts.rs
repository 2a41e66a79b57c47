//! Without a server: fake-pg is held to every script.

use conformance::check::check;
use conformance::divergences::Divergences;
use conformance::pages;
use conformance::script;
use conformance::tables::{page, tables, unfounded};

#[test]
fn fake_pg_answers_as_recorded() {
    let divergences = Divergences::load().unwrap();
    let scripts = script::load("").unwrap();
    assert!(!scripts.is_empty());
    let wrong = scripts
        .iter()
        .filter_map(|script| check(script, &divergences).err());
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_trap_is_a_known_divergence() {
    let divergences = Divergences::load().unwrap();
    for script in script::load("").unwrap() {
        let listed = divergences.iter().any(|(name, ..)| name == script.name);
        assert!(
            !listed || script.traps().next().is_none(),
            "{}",
            script.name
        );
    }
}

#[test]
fn a_mark_promises_what_its_script_shows() {
    let scripts = script::load("").unwrap();
    let wrong: Vec<String> = scripts.iter().flat_map(unfounded).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_tables_are_current_and_without_gaps() {
    let tables = tables(&script::load("").unwrap(), &Divergences::load().unwrap());
    let page = std::fs::read_to_string(page()).unwrap();
    assert!(
        page == tables.text(),
        "docs/fidelity.md is not current: cargo run -p conformance -- tables"
    );
    assert!(tables.gaps.is_empty(), "{}", tables.gaps.join("\n"));
}

#[test]
fn sql_on_pages_is_answered_as_they_show() {
    let blocks = pages::check().unwrap_or_else(|wrong| panic!("{wrong}"));
    assert!(blocks > 10);
}

#[test]
fn each_divergence_is_of_a_step_that_there_is() {
    let scripts = script::load("").unwrap();
    for (name, step, divergence) in Divergences::load().unwrap().iter() {
        let script = scripts.iter().find(|script| script.name == name);
        let steps = script.map_or(0, |script| script.steps().count());
        assert!((1..=steps).contains(&step), "{name} {step}: no such step");
        assert!(!divergence.reason.is_empty(), "{name} {step}: no reason");
    }
}
