//! Planted bugs, to see whether the harness finds them. Off unless asked for.

use super::Engine;

/// One deliberate bug each, one branch each:
///
/// - `AckBeforeFlush`: a synchronous COMMIT answers before its record is flushed, and the log still
///   calls it synchronous. A crash in between loses an acknowledged commit.
/// - `UnlockBeforeVisible`: locks go before the rows are visible. Whoever waited works on old rows.
/// - `CommitTwice`: the commit log tells each commit twice.
/// - `LoseSavepoint`: ROLLBACK TO keeps what it should undo.
/// - `ForgetRowLock`: UPDATE, DELETE and FOR UPDATE lock no rows, and nobody waits for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Sabotage {
    AckBeforeFlush,
    UnlockBeforeVisible,
    CommitTwice,
    LoseSavepoint,
    ForgetRowLock,
}

impl Engine {
    /// Plants a bug.
    pub fn sabotage(&mut self, sabotage: Sabotage) {
        self.sabotage = Some(sabotage);
    }

    pub(super) fn is_sabotaged(&self, sabotage: Sabotage) -> bool {
        self.sabotage == Some(sabotage)
    }
}
