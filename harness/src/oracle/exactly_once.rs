//! Owed and applied: `lost`, `duplicated`, `early` and `phantom`, key by key.
//!
//! Only the surviving timeline counts. A commit that is gone owes nothing, yet
//! what was applied while it was visible was not *early*: it stays an
//! application of that key, and is a `phantom` unless a later commit owes it again.
//! An effect that no scenario promised anything about is nobody's business.

use std::collections::BTreeMap;

use super::survival::Survival;
use super::{Finding, Verdict};
use crate::history::{CommitId, History, Times, What};

/// What became of one key of one effect.
#[derive(Default)]
struct Account<'h> {
    /// Whether any commit has owed it so far, and be it one that is gone by now.
    ever_owed: bool,
    /// The first surviving commit that owes it, and the event that says so.
    owed: Option<(usize, &'h CommitId)>,
    /// Surviving applications: how many, the first and the second.
    applied: usize,
    first: usize,
    second: usize,
    /// The first application before anything owed it.
    early: Option<usize>,
}

pub(super) fn judge(history: &History, survival: &Survival<'_>, findings: &mut Vec<Finding>) {
    // Effects are few: what is promised about one is found faster by looking than by a map.
    let promised = |name: &str| {
        history
            .promises
            .owed
            .iter()
            .find(|(owed, _)| **owed == *name)
    };
    let mut accounts: BTreeMap<(&str, &str), (Times, Account<'_>)> = BTreeMap::new();
    for (index, event) in history.events.iter().enumerate() {
        match &event.what {
            What::Owed { name, key, commit } => {
                let Some((_, times)) = promised(name) else {
                    continue;
                };
                let (_, account) = accounts
                    .entry((name, key))
                    .or_insert((*times, Account::default()));
                account.ever_owed = true;
                if account.owed.is_none() && survival.holds(commit) {
                    account.owed = Some((index, commit));
                }
            }
            What::Applied { name, key, commit } => {
                if commit
                    .as_ref()
                    .is_some_and(|commit| !survival.holds(commit))
                {
                    continue;
                }
                let Some((_, times)) = promised(name) else {
                    continue;
                };
                let (_, account) = accounts
                    .entry((name, key))
                    .or_insert((*times, Account::default()));
                account.applied += 1;
                match account.applied {
                    1 => account.first = index,
                    2 => account.second = index,
                    _ => (),
                }
                if !account.ever_owed && account.early.is_none() {
                    account.early = Some(index);
                }
            }
            _ => (),
        }
    }
    for ((name, key), (times, account)) in &accounts {
        let mut find = |verdict, event, sentence| {
            findings.push(Finding {
                verdict,
                subject: format!("{name}:{key}").into(),
                sentence,
                event,
            });
        };
        let Some((owed_at, commit)) = account.owed else {
            if account.applied > 0 {
                find(Verdict::Phantom, account.first, phantom(name, key, account));
            }
            continue;
        };
        let CommitId { server, number } = commit;
        if account.applied == 0 && *times != Times::AtMostOnce {
            let (verdict, then) = if survival.at_limit {
                (Verdict::Wedged, "was not applied when time was up")
            } else {
                (Verdict::Lost, "was never applied")
            };
            find(
                verdict,
                owed_at,
                format!("{name}:{key} is owed since {server} commit {number} and {then}"),
            );
        }
        if account.applied > 1 && *times != Times::AtLeastOnce {
            let n = account.applied;
            find(
                Verdict::Duplicated,
                account.second,
                format!(
                    "{name}:{key} is owed once, since {server} commit {number}, and was applied {n} times"
                ),
            );
        }
        if let Some(event) = account.early {
            find(
                Verdict::Early,
                event,
                format!("{name}:{key} was applied before {server} commit {number} made it owed"),
            );
        }
    }
}

fn phantom(name: &str, key: &str, account: &Account<'_>) -> String {
    let owed_by = if account.ever_owed {
        "the commit that made it owed is gone"
    } else {
        "no commit ever made it owed"
    };
    format!("{name}:{key} was applied, but {owed_by}")
}

#[cfg(test)]
mod tests {
    use crate::oracle::check;

    #[test]
    fn an_owed_effect_is_applied_once() {
        check(
            "pg commit 1 by w job 1 | pg owes 1 receipt:1 | receipt:1 applied | settled",
            "ok",
        );
        check(
            "pg commit 1 by w job 1 | pg owes 1 receipt:1 | settled",
            "lost receipt:1: receipt:1 is owed since pg commit 1 and was never applied",
        );
        check(
            "pg owes 1 receipt:1 | receipt:1 applied | receipt:1 applied | receipt:1 applied | settled",
            "duplicated receipt:1: receipt:1 is owed once, since pg commit 1, and was applied 3 times",
        );
    }

    #[test]
    fn arriving_is_not_being_applied() {
        check(
            "pg owes 1 receipt:1 | receipt:1 delivered | receipt:1 delivered | receipt:1 applied | settled",
            "ok",
        );
        check(
            "pg owes 1 receipt:1 | receipt:1 delivered | settled",
            "lost receipt:1: receipt:1 is owed since pg commit 1 and was never applied",
        );
    }

    #[test]
    fn keys_are_judged_apart() {
        check(
            "pg owes 1 receipt:1 | pg owes 2 receipt:2 | receipt:2 applied | receipt:1 applied | settled",
            "ok",
        );
        check(
            "pg owes 1 receipt:1 | pg owes 2 receipt:2 | receipt:2 applied | receipt:2 applied | settled",
            "lost receipt:1: receipt:1 is owed since pg commit 1 and was never applied | \
             duplicated receipt:2: receipt:2 is owed once, since pg commit 2, and was applied 2 times",
        );
    }

    #[test]
    fn what_nothing_owes_is_a_phantom() {
        check("receipt:1 delivered | settled", "ok");
        check(
            "receipt:1 applied | settled",
            "phantom receipt:1: receipt:1 was applied, but no commit ever made it owed",
        );
        check("log:1 applied | settled", "ok");
    }

    #[test]
    fn before_the_commit_is_early() {
        check("pg owes 1 receipt:1 | receipt:1 applied | settled", "ok");
        check(
            "receipt:1 applied | pg owes 1 receipt:1 | settled",
            "early receipt:1: receipt:1 was applied before pg commit 1 made it owed",
        );
        check(
            "receipt:1 applied | pg owes 1 receipt:1 | receipt:1 applied | settled",
            "duplicated receipt:1: receipt:1 is owed once, since pg commit 1, and was applied 2 times | \
             early receipt:1: receipt:1 was applied before pg commit 1 made it owed",
        );
    }

    #[test]
    fn a_commit_that_is_gone_owes_nothing() {
        check("pg owes 2 receipt:1 | pg failover lost 2 | settled", "ok");
        check(
            "pg owes 2 receipt:1 | receipt:1 applied | pg failover lost 2 | settled",
            "phantom receipt:1: receipt:1 was applied, but the commit that made it owed is gone",
        );
        check(
            "pg owes 2 receipt:1 | receipt:1 applied | pg failover lost 3 | settled",
            "ok",
        );
        check(
            "pg owes 2 receipt:1 | receipt:1 applied | db up lost 2 | settled",
            "ok",
        );
    }

    #[test]
    fn what_a_lost_commit_owed_may_be_owed_again() {
        check(
            "pg owes 2 receipt:1 | receipt:1 applied | pg failover lost 2 | pg owes 3 receipt:1 | settled",
            "ok",
        );
        check(
            "pg owes 2 receipt:1 | receipt:1 applied | pg failover lost 2 | pg owes 3 receipt:1 | receipt:1 applied | settled",
            "duplicated receipt:1: receipt:1 is owed once, since pg commit 3, and was applied 2 times",
        );
        check(
            "pg owes 2 receipt:1 | pg failover lost 2 | pg owes 3 receipt:1 | settled",
            "lost receipt:1: receipt:1 is owed since pg commit 3 and was never applied",
        );
    }

    #[test]
    fn an_application_goes_with_the_consumers_commit() {
        check(
            "pg owes 1 receipt:1 | receipt:1 applied in db 1 | db up lost 1 | receipt:1 applied in db 2 | settled",
            "ok",
        );
        check(
            "pg owes 1 receipt:1 | receipt:1 applied in db 1 | db up lost 1 | settled",
            "lost receipt:1: receipt:1 is owed since pg commit 1 and was never applied",
        );
    }

    #[test]
    fn how_often_is_what_was_promised() {
        check(
            "promise receipt at-least-once | pg owes 1 receipt:1 | receipt:1 applied | receipt:1 applied | settled",
            "ok",
        );
        check(
            "promise receipt at-least-once | pg owes 1 receipt:1 | settled",
            "lost receipt:1: receipt:1 is owed since pg commit 1 and was never applied",
        );
        check(
            "promise receipt at-most-once | pg owes 1 receipt:1 | settled",
            "ok",
        );
        check(
            "promise receipt at-most-once | pg owes 1 receipt:1 | receipt:1 applied | receipt:1 applied | settled",
            "duplicated receipt:1: receipt:1 is owed once, since pg commit 1, and was applied 2 times",
        );
    }

    #[test]
    fn still_owed_when_time_is_up_is_wedged_and_not_lost() {
        check(
            "pg owes 1 receipt:1 | limit",
            "wedged receipt:1: receipt:1 is owed since pg commit 1 and was not applied when time was up",
        );
    }
}
