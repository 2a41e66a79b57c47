//! Exit codes: what a script learns without reading a word.

use std::process::ExitCode;

use crate::explore::{Exploration, ExploreError};
use crate::oracle::Verdict;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Every promise held, or every verdict was declared.
    Ok,
    /// Something wrong happened.
    Safety,
    /// Nothing wrong happened, but something is stuck.
    Liveness,
    /// The result says nothing: not deterministic, tasks outside the gate, or a blind oracle.
    Untrusted,
    /// What was asked cannot be done.
    Usage,
}

impl Exit {
    fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Safety => 1,
            Exit::Liveness => 2,
            Exit::Untrusted => 3,
            Exit::Usage => 64,
        }
    }

    /// The graver of two: what cannot be trusted hides whatever else there is to say.
    pub(super) fn and(self, other: Exit) -> Exit {
        let gravity = |exit: Exit| match exit {
            Exit::Ok => 0,
            Exit::Liveness => 1,
            Exit::Safety => 2,
            Exit::Usage => 3,
            Exit::Untrusted => 4,
        };
        if gravity(other) > gravity(self) {
            other
        } else {
            self
        }
    }

    pub(super) fn of(verdict: Verdict) -> Exit {
        match verdict {
            Verdict::Ok => Exit::Ok,
            verdict if verdict.is_liveness() => Exit::Liveness,
            _ => Exit::Safety,
        }
    }

    /// What a check found, expected or not.
    pub(super) fn of_check(exploration: &Exploration) -> Exit {
        Exit::of(exploration.worst()).and(Exit::of_certificate(exploration))
    }

    /// How far a scenario of the catalogue is from what it declares.
    pub(super) fn of_expected(exploration: &Exploration) -> Exit {
        let exit = Exit::of_certificate(exploration);
        let unexpected = exploration
            .cells
            .iter()
            .filter(|(class, cell)| !exploration.cell_as_expected(**class, cell));
        let undeclared = exploration.several().filter(|(_, declared)| !declared);
        let worst = unexpected
            .map(|(_, cell)| cell.worst())
            .chain(undeclared.map(|(example, _)| example.judgement.verdict))
            .max();
        match worst.map(Exit::of) {
            None => exit,
            // A known failure that no longer occurs: good news, or a harness gone blind.
            Some(Exit::Ok) => exit.and(Exit::Safety),
            Some(worst) => exit.and(worst),
        }
    }

    /// A fault that was planned and did not fire proves nothing.
    fn of_certificate(exploration: &Exploration) -> Exit {
        if !exploration.certificate.control_caught {
            Exit::Untrusted
        } else if !exploration.certificate.unfired.is_empty() {
            Exit::Usage
        } else {
            Exit::Ok
        }
    }

    pub(super) fn of_error(error: &ExploreError) -> Exit {
        match error {
            ExploreError::NotDeterministic(_)
            | ExploreError::Ungated(_)
            | ExploreError::ControlMissed(_) => Exit::Untrusted,
            ExploreError::Unusable(_)
            | ExploreError::NoCommit(_)
            | ExploreError::NoPromise
            | ExploreError::NothingOwed
            | ExploreError::Stale(_) => Exit::Usage,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Class;
    use crate::report::sample::explored;
    use Verdict::{Leaked, Lost, Ok, Phantom, Wedged};

    /// One class with these verdicts, of which `declared` are declared.
    fn exploration(verdicts: &[Verdict], declared: &[Verdict]) -> Exploration {
        let kill = Some(Class::Kill);
        let counts: Vec<(Verdict, usize)> = verdicts.iter().map(|verdict| (*verdict, 1)).collect();
        let mut exploration = explored("it", &[(kill, &counts)], |scenario| {
            scenario.expect(kill, declared.iter().copied(), "")
        });
        exploration.certificate.control_caught = true;
        exploration
    }

    #[test]
    fn a_check_reports_what_is() {
        for (verdicts, code) in [
            (&[Ok][..], 0),
            (&[Ok, Lost], 1),
            (&[Ok, Wedged], 2),
            (&[Wedged, Phantom], 1),
            (&[Leaked], 2),
        ] {
            assert_eq!(
                Exit::of_check(&exploration(verdicts, verdicts)).code(),
                code,
                "{verdicts:?}"
            );
        }
    }

    #[test]
    fn the_catalogue_reports_what_differs() {
        for (verdicts, declared, code) in [
            (&[Ok][..], &[Ok][..], 0),
            (&[Ok, Lost], &[Ok, Lost], 0),
            (&[Ok, Lost], &[Ok], 1),
            (&[Ok], &[Ok, Lost], 1),
            (&[Ok, Wedged], &[Ok], 2),
            (&[Lost], &[Ok, Lost], 1),
        ] {
            let exploration = exploration(verdicts, declared);
            assert_eq!(Exit::of_expected(&exploration).code(), code, "{verdicts:?}");
        }
    }

    #[test]
    fn what_did_not_fire_or_went_unnoticed_is_no_pass() {
        let mut unfired = exploration(&[Ok], &[Ok]);
        unfired.certificate.unfired = vec!["kill@worker.start+9".parse().unwrap()];
        assert_eq!(Exit::of_check(&unfired).code(), 64);
        let mut blind = exploration(&[Ok, Lost], &[Ok, Lost]);
        blind.certificate.control_caught = false;
        assert_eq!(Exit::of_check(&blind).code(), 3);
        assert_eq!(Exit::of_expected(&blind).code(), 3);
    }
}
