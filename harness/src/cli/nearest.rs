//! Scenarios by name; a name that is none is answered with those that look like it.

use crate::scenario::Scenario;

/// How many edits away a name may be and still be meant.
const EDITS_MAX: usize = 3;

/// The scenario of that name, or what to say instead.
pub(super) fn find<'c>(catalogue: &'c [Scenario], name: &str) -> Result<&'c Scenario, String> {
    if let Some(scenario) = catalogue.iter().find(|scenario| scenario.name() == name) {
        return Ok(scenario);
    }
    let mut near: Vec<(usize, &str)> = catalogue
        .iter()
        .map(|scenario| (distance(scenario.name(), name), scenario.name()))
        .filter(|(distance, _)| *distance <= EDITS_MAX)
        .collect();
    near.sort_unstable();
    let near: Vec<String> = near
        .iter()
        .take(3)
        .map(|(_, name)| format!("`{name}`"))
        .collect();
    let hint = match &near[..] {
        [] => "`midcommit list` shows what there is".to_owned(),
        near => format!("did you mean {}?", near.join(" or ")),
    };
    Err(format!("there is no scenario `{name}`; {hint}"))
}

/// Edits that turn one name into the other; a name that contains the other is one edit away.
fn distance(known: &str, given: &str) -> usize {
    match given.len() > 2 && (known.contains(given) || given.contains(known)) {
        true => 1,
        false => strsim::damerau_levenshtein(known, given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: &str) {
        let catalogue =
            ["tokio_timeout", "outbox_inbox", "outbox_mark_first", "blog"].map(Scenario::new);
        let answer = match find(&catalogue, name) {
            Ok(scenario) => scenario.name().to_owned(),
            Err(complaint) => complaint,
        };
        assert_eq!(answer, expected);
    }

    #[test]
    fn a_name_must_be_exact() {
        check("tokio_timeout", "tokio_timeout");
        check(
            "tokio_timeot",
            "there is no scenario `tokio_timeot`; did you mean `tokio_timeout`?",
        );
    }

    #[test]
    fn part_of_a_name_is_near_it() {
        check(
            "outbox",
            "there is no scenario `outbox`; did you mean `outbox_inbox` or `outbox_mark_first`?",
        );
    }

    #[test]
    fn what_is_like_nothing_is_referred_to_the_list() {
        check(
            "celery",
            "there is no scenario `celery`; `midcommit list` shows what there is",
        );
    }
}
