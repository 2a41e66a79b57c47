//! BEGIN, COMMIT and the rest of transaction control.
//!
//! Only what was written: which of it is allowed when, and which mode a
//! missing one stands for, is the session's.

use super::Name;

/// Transaction control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionCommand {
    /// BEGIN, or START TRANSACTION, which has its own command tag.
    Begin {
        /// The modes given.
        modes: TransactionModes,
        /// START TRANSACTION.
        start: bool,
    },
    /// COMMIT or END.
    Commit {
        /// AND CHAIN.
        chain: bool,
    },
    /// ROLLBACK or ABORT.
    Rollback {
        /// AND CHAIN.
        chain: bool,
    },
    /// SAVEPOINT.
    Savepoint(Name),
    /// RELEASE.
    Release(Name),
    /// ROLLBACK TO.
    RollbackTo(Name),
    /// SET TRANSACTION.
    SetTransaction(TransactionModes),
    /// SET of a setting that is such a mode: outside of a block it has no effect, and nobody minds.
    SetMode {
        /// What is set.
        modes: TransactionModes,
        /// SET LOCAL: that somebody does mind.
        local: bool,
    },
    /// SET SESSION CHARACTERISTICS AS TRANSACTION.
    SetCharacteristics(TransactionModes),
    /// PREPARE TRANSACTION.
    Prepare(Name),
    /// COMMIT PREPARED.
    CommitPrepared(Name),
    /// ROLLBACK PREPARED.
    RollbackPrepared(Name),
}

/// The modes of BEGIN and SET TRANSACTION; `None` leaves the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransactionModes {
    /// ISOLATION LEVEL.
    pub isolation: Option<IsolationLevel>,
    /// READ ONLY or READ WRITE.
    pub read_only: Option<bool>,
    /// `[NOT] DEFERRABLE`.
    pub deferrable: Option<bool>,
}

/// The levels as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsolationLevel {
    /// Behaves as read committed.
    ReadUncommitted,
    /// The default.
    ReadCommitted,
    /// Snapshot isolation.
    RepeatableRead,
    /// Serializable snapshot isolation.
    Serializable,
}
