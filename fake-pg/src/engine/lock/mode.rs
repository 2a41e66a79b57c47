//! Lock modes, and which conflict.

/// The eight modes of PostgreSQL's lock manager, weak to strong (`lockdefs.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum LockMode {
    AccessShare,
    RowShare,
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    Exclusive,
    AccessExclusive,
}

impl LockMode {
    /// `LockConflicts` in `lock.c`.
    pub fn conflicts(self, other: LockMode) -> bool {
        self.conflicting() & (1 << other as u8) != 0
    }

    /// The modes that conflict, as bits; the weakest is the rightmost.
    fn conflicting(self) -> u8 {
        match self {
            LockMode::AccessShare => 0b1000_0000,
            LockMode::RowShare => 0b1100_0000,
            LockMode::RowExclusive => 0b1111_0000,
            LockMode::ShareUpdateExclusive => 0b1111_1000,
            LockMode::Share => 0b1110_1100,
            LockMode::ShareRowExclusive => 0b1111_1100,
            LockMode::Exclusive => 0b1111_1110,
            LockMode::AccessExclusive => 0b1111_1111,
        }
    }

    /// As messages and `pg_locks` name it.
    pub fn name(self) -> &'static str {
        match self {
            LockMode::AccessShare => "AccessShareLock",
            LockMode::RowShare => "RowShareLock",
            LockMode::RowExclusive => "RowExclusiveLock",
            LockMode::ShareUpdateExclusive => "ShareUpdateExclusiveLock",
            LockMode::Share => "ShareLock",
            LockMode::ShareRowExclusive => "ShareRowExclusiveLock",
            LockMode::Exclusive => "ExclusiveLock",
            LockMode::AccessExclusive => "AccessExclusiveLock",
        }
    }
}

/// How strongly a row is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockStrength {
    /// FOR KEY SHARE: what a foreign key takes on the row it refers to.
    KeyShare,
    /// FOR SHARE.
    Share,
    /// FOR NO KEY UPDATE: what UPDATE takes when no key changes.
    NoKeyUpdate,
    /// FOR UPDATE: what DELETE takes, and UPDATE of a key.
    Update,
}

impl LockStrength {
    /// The mode that stands for it (`tupleLockExtraInfo` in `heapam.c`).
    pub fn mode(self) -> LockMode {
        match self {
            LockStrength::KeyShare => LockMode::AccessShare,
            LockStrength::Share => LockMode::RowShare,
            LockStrength::NoKeyUpdate => LockMode::Exclusive,
            LockStrength::Update => LockMode::AccessExclusive,
        }
    }
}

/// What to do about a row that somebody else has locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitPolicy {
    /// Wait for it.
    Block,
    /// SKIP LOCKED.
    Skip,
    /// NOWAIT.
    Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_locks_conflict_as_the_manual_says() {
        // Table 13.3 of the manual, "Conflicting Row-Level Locks".
        use LockStrength::*;
        let rows = [KeyShare, Share, NoKeyUpdate, Update];
        let expected = ["...x", "..xx", ".xxx", "xxxx"];
        for (requested, expected) in rows.iter().zip(expected) {
            let line: String = rows
                .iter()
                .map(|held| {
                    if requested.mode().conflicts(held.mode()) {
                        'x'
                    } else {
                        '.'
                    }
                })
                .collect();
            assert_eq!(line, expected, "{requested:?}");
        }
    }

    #[test]
    fn table_locks_conflict_as_the_manual_says() {
        // Table 13.2 of the manual, "Conflicting Lock Modes".
        use LockMode::*;
        let modes = [
            AccessShare,
            RowShare,
            RowExclusive,
            ShareUpdateExclusive,
            Share,
            ShareRowExclusive,
            Exclusive,
            AccessExclusive,
        ];
        let expected = [
            ".......x", "......xx", "....xxxx", "...xxxxx", "..xx.xxx", "..xxxxxx", ".xxxxxxx",
            "xxxxxxxx",
        ];
        for (requested, expected) in modes.iter().zip(expected) {
            let line: String = modes
                .iter()
                .map(|held| if requested.conflicts(*held) { 'x' } else { '.' })
                .collect();
            assert_eq!(line, expected, "{requested:?}");
        }
    }
}
