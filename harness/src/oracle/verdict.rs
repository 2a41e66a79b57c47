//! The verdicts, their meaning, and which one names a run that earns several.

use std::fmt;
use std::str::FromStr;

/// What a history deserves to be called.
///
/// Ordered from harmless to worst: a run that earns several is named after the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Every promise held.
    Ok,
    /// A lock or a session was left behind.
    Leaked,
    /// Still owed, or stuck, at the limit.
    Wedged,
    /// One job, two commits.
    Repeated,
    /// Applied before it was owed.
    Early,
    /// Applied more often than promised.
    Duplicated,
    /// Told success, not committed.
    FalseOk,
    /// Applied, owed by nothing on the surviving timeline.
    Phantom,
    /// Owed, never applied.
    Lost,
    /// An acknowledged commit is gone.
    Undurable,
    /// A killed process acted after its death: a fault of the harness, never of a worker.
    Undead,
}

impl Verdict {
    /// All of them, from harmless to worst.
    pub const ALL: [Verdict; 11] = [
        Verdict::Ok,
        Verdict::Leaked,
        Verdict::Wedged,
        Verdict::Repeated,
        Verdict::Early,
        Verdict::Duplicated,
        Verdict::FalseOk,
        Verdict::Phantom,
        Verdict::Lost,
        Verdict::Undurable,
        Verdict::Undead,
    ];

    /// The word for it, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Leaked => "leaked",
            Verdict::Wedged => "wedged",
            Verdict::Repeated => "repeated",
            Verdict::Early => "early",
            Verdict::Duplicated => "duplicated",
            Verdict::FalseOk => "false-ok",
            Verdict::Phantom => "phantom",
            Verdict::Lost => "lost",
            Verdict::Undurable => "undurable",
            Verdict::Undead => "undead",
        }
    }

    /// What it means, in half a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Verdict::Ok => "every promise held",
            Verdict::Leaked => "a lock or a session was left behind",
            Verdict::Wedged => "still owed, or stuck, at the limit",
            Verdict::Repeated => "one job, two commits",
            Verdict::Early => "applied before it was owed",
            Verdict::Duplicated => "applied more often than promised",
            Verdict::FalseOk => "told success, not committed",
            Verdict::Phantom => "applied, owed by nothing on the surviving timeline",
            Verdict::Lost => "owed, never applied",
            Verdict::Undurable => "an acknowledged commit is gone",
            Verdict::Undead => "a killed process acted after its death",
        }
    }

    /// Whether it breaks liveness only: something is late or stuck, nothing is wrong.
    pub fn is_liveness(self) -> bool {
        matches!(self, Verdict::Leaked | Verdict::Wedged)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Verdict {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Verdict::ALL
            .into_iter()
            .find(|verdict| verdict.name() == text)
            .ok_or_else(|| {
                let known = Verdict::ALL.map(Verdict::name).join(", ");
                format!("`{text}` is no verdict; there are {known}")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The README says which verdict names a run that earns several: the one furthest down its table.
    #[test]
    fn the_readme_tables_every_verdict_in_this_order_and_these_words() {
        let readme = include_str!("../../../README.md");
        let rows: Vec<usize> = Verdict::ALL
            .iter()
            .map(|verdict| {
                let row = format!("| `{verdict}` | {}", verdict.meaning());
                let row = readme.find(&row).unwrap_or_else(|| panic!("no `{row}`"));
                assert!(!verdict.meaning().is_empty(), "{verdict}");
                row
            })
            .collect();
        assert!(rows.is_sorted(), "{rows:?}");
        assert!(Verdict::ALL.is_sorted());
    }

    #[test]
    fn every_name_is_read_back_and_no_other() {
        for verdict in Verdict::ALL {
            assert_eq!(verdict.name().parse(), Ok(verdict));
        }
        let error = "gone".parse::<Verdict>().expect_err("no verdict");
        assert!(error.starts_with("`gone` is no verdict; there are ok, leaked, "));
    }

    #[test]
    fn what_is_late_or_left_behind_breaks_liveness_only() {
        let liveness = Verdict::ALL.into_iter().filter(|v| v.is_liveness());
        assert_eq!(
            liveness.collect::<Vec<_>>(),
            [Verdict::Leaked, Verdict::Wedged]
        );
    }
}
