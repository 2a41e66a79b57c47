//! Sequences: numbers that never roll back and, after a crash, jump.
//!
//! One WAL record promises the next 32 values (`SEQ_LOG_VALS`), so a crash skips those not yet
//! given: 2 is followed by 34. Definitions are the catalog's; state is here, outside of transactions.

use std::sync::Arc;

use super::catalog::Sequence;
use super::exec::{Exec, Halt};
use super::lock::{AdvisoryScope, LockMode, LockTag, Request};
use super::wal::Record;
use super::{Pid, TableId};
use crate::error::{PgError, SqlState};

/// How many values one WAL record is ahead.
const LOG_AHEAD: i64 = 32;

/// The one row of a sequence, as `SELECT * FROM seq` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceState {
    /// The value last given, or to be given first.
    pub last_value: i64,
    /// How many values may be given before the WAL must be told.
    pub log_count: i64,
    /// Whether `last_value` has been given.
    pub is_called: bool,
}

impl SequenceState {
    /// As it is when it is created, or restarted.
    pub fn new(sequence: &Sequence) -> Self {
        SequenceState {
            last_value: sequence.start,
            log_count: 0,
            is_called: false,
        }
    }
}

impl Sequence {
    /// The value after that one, or its error at the end.
    fn after(&self, value: i64) -> Result<i64, PgError> {
        match value.checked_add(self.increment) {
            Some(next) if (self.min..=self.max).contains(&next) => Ok(next),
            _ if self.cycle => Ok(if self.increment > 0 {
                self.min
            } else {
                self.max
            }),
            _ => {
                let (end, limit) = if self.increment > 0 {
                    ("maximum", self.max)
                } else {
                    ("minimum", self.min)
                };
                let name = &self.name;
                Err(PgError::new(
                    SqlState::SEQUENCE_GENERATOR_LIMIT_EXCEEDED,
                    format!("nextval: reached {end} value of sequence \"{name}\" ({limit})"),
                ))
            }
        }
    }

    /// The value that is up to `steps` after that one: as far as a WAL record may look ahead.
    fn ahead(&self, mut value: i64, steps: i64) -> i64 {
        for _ in 0..steps {
            match self.after(value) {
                Ok(next) => value = next,
                Err(_) => break,
            }
        }
        value
    }
}

impl Exec<'_> {
    /// `nextval`. Gives the transaction an xid when it writes WAL, as the real one does.
    pub fn nextval(&mut self, sequence: &Sequence) -> Result<i64, Halt> {
        self.value(|exec| {
            exec.lock_sequence(sequence.id)?;
            let fresh;
            let (sequence, mut state) = match exec.sequence(sequence) {
                Some(state) => (sequence, state),
                None => {
                    fresh = exec.reopened(sequence)?;
                    (&*fresh.0, fresh.1)
                }
            };
            exec.refuse_read_only("nextval()")?;
            let value = if state.is_called {
                sequence.after(state.last_value)?
            } else {
                state.last_value
            };
            if state.log_count == 0 || !state.is_called {
                if !sequence.unlogged {
                    exec.tx.top_xid_assigned(exec.engine);
                    let logged = SequenceState {
                        last_value: sequence.ahead(value, LOG_AHEAD),
                        log_count: 0,
                        is_called: true,
                    };
                    exec.log(Record::Sequence {
                        node: sequence.node,
                        state: logged,
                    });
                }
                state.log_count = LOG_AHEAD + 1;
            }
            state = SequenceState {
                last_value: value,
                log_count: state.log_count - 1,
                is_called: true,
            };
            exec.engine.sequences.insert(sequence.node, state);
            exec.engine.currvals.give(exec.tx.pid, sequence.id, value);
            Ok(value)
        })
    }

    /// 25006 for what writes, in a transaction that may not (`PreventCommandIfReadOnly`).
    fn refuse_read_only(&self, what: &str) -> Result<(), PgError> {
        match self.tx.options.read_only {
            true => Err(PgError::read_only_transaction(what)),
            false => Ok(()),
        }
    }

    /// `setval`.
    pub fn setval(
        &mut self,
        sequence: &Sequence,
        value: i64,
        is_called: bool,
    ) -> Result<i64, Halt> {
        self.value(|exec| {
            exec.lock_sequence(sequence.id)?;
            let fresh;
            let sequence = match exec.sequence(sequence) {
                Some(_) => sequence,
                None => {
                    fresh = exec.reopened(sequence)?;
                    &*fresh.0
                }
            };
            exec.refuse_read_only("setval()")?;
            if !(sequence.min..=sequence.max).contains(&value) {
                let Sequence { name, min, max, .. } = sequence;
                return Err(Halt::Error(PgError::new(
                    SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                    format!("setval: value {value} is out of bounds for sequence \"{name}\" ({min}..{max})"),
                )));
            }
            let state = SequenceState { last_value: value, log_count: 0, is_called };
            if !sequence.unlogged {
                exec.tx.top_xid_assigned(exec.engine);
                exec.log(Record::Sequence { node: sequence.node, state });
            }
            exec.engine.sequences.insert(sequence.node, state);
            if is_called {
                exec.engine.currvals.set(exec.tx.pid, sequence.id, value);
            }
            Ok(value)
        })
    }

    /// `currval`.
    pub fn currval(&mut self, sequence: &Sequence) -> Result<i64, Halt> {
        self.value(|exec| {
            exec.lock_sequence(sequence.id)?;
            exec.reopened(sequence)?;
            let current = exec.engine.currvals.of(exec.tx.pid, sequence.id);
            current.ok_or_else(|| {
                Halt::Error(PgError::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!(
                        "currval of sequence \"{}\" is not yet defined in this session",
                        sequence.name
                    ),
                ))
            })
        })
    }

    /// `lastval`: undefined too if the sequence is gone.
    pub fn lastval(&mut self) -> Result<i64, Halt> {
        self.value(|exec| {
            let undefined = || {
                Halt::Error(PgError::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    "lastval is not yet defined in this session",
                ))
            };
            let (id, value) = exec
                .engine
                .currvals
                .last(exec.tx.pid)
                .ok_or_else(undefined)?;
            let catalog = exec.tx.fresh_catalog(exec.engine);
            let sequence = catalog.sequence_by_id(id).ok_or_else(undefined)?;
            exec.lock_sequence(id)?;
            exec.reopened(sequence)?;
            Ok(value)
        })
    }

    /// A sequence as it stands.
    pub fn sequence(&self, sequence: &Sequence) -> Option<SequenceState> {
        self.engine.sequences.get(&sequence.node).copied()
    }

    /// Locks a sequence until the transaction ends, once (`lock_and_open_sequence`): who alters or
    /// drops it waits for that, whatever is rolled back to a savepoint.
    fn lock_sequence(&mut self, sequence: TableId) -> Result<(), Halt> {
        if self.tx.has_locked_sequence(sequence) {
            return Ok(());
        }
        let (tag, mode) = (LockTag::Relation(sequence), LockMode::RowExclusive);
        let Exec { engine, tx, .. } = self;
        let held = engine.locks.holds(tag, tx.pid, mode);
        if !held {
            let (pid, scope) = (tx.pid, AdvisoryScope::Transaction);
            let request = Request { pid, mode, scope };
            if !engine.locks.acquire(tag, request, &mut engine.wakeups) {
                return Err(self.wait_for(tag, mode));
            }
        }
        tx.note_sequence(sequence, !held);
        Ok(())
    }

    /// A sequence as those have left it who had it locked before.
    fn reopened(&self, sequence: &Sequence) -> Result<(Arc<Sequence>, SequenceState), Halt> {
        let catalog = self.tx.fresh_catalog(self.engine);
        let found = catalog.sequence_by_id(sequence.id).and_then(|sequence| {
            let state = self.sequence(sequence)?;
            Some((sequence.clone(), state))
        });
        found.ok_or_else(|| {
            let message = format!("could not open relation with OID {}", sequence.id);
            Halt::Error(PgError::new(SqlState::INTERNAL_ERROR, message))
        })
    }
}

/// What `currval` and `lastval` remember for each session, the latest that was given last.
#[derive(Clone, Debug, Default)]
pub(super) struct Currvals(Vec<Currval>);

#[derive(Clone, Debug)]
struct Currval {
    pid: Pid,
    id: TableId,
    value: i64,
    /// Whether `nextval` has given one: `setval` is none of `lastval`'s business.
    given: bool,
}

impl Currvals {
    fn give(&mut self, pid: Pid, id: TableId, value: i64) {
        self.0.retain(|entry| (entry.pid, entry.id) != (pid, id));
        let given = true;
        self.0.push(Currval {
            pid,
            id,
            value,
            given,
        });
    }

    fn set(&mut self, pid: Pid, id: TableId, value: i64) {
        let known = self
            .0
            .iter_mut()
            .find(|entry| (entry.pid, entry.id) == (pid, id));
        match known {
            Some(entry) => entry.value = value,
            None => {
                let given = false;
                self.0.push(Currval {
                    pid,
                    id,
                    value,
                    given,
                });
            }
        }
    }

    fn of(&self, pid: Pid, id: TableId) -> Option<i64> {
        self.0
            .iter()
            .find(|entry| (entry.pid, entry.id) == (pid, id))
            .map(|entry| entry.value)
    }

    fn last(&self, pid: Pid) -> Option<(TableId, i64)> {
        self.0
            .iter()
            .rev()
            .find(|entry| entry.pid == pid && entry.given)
            .map(|entry| (entry.id, entry.value))
    }

    /// DISCARD SEQUENCES, and the end of a session.
    pub(super) fn forget(&mut self, pid: Pid) {
        self.0.retain(|entry| entry.pid != pid);
    }
}

impl SequenceState {
    /// The state as a checkpoint leaves it: the next value will be logged before it is given.
    pub(super) fn checkpointed(self) -> Self {
        SequenceState {
            log_count: 0,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::script::check;

    #[test]
    fn a_number_is_never_given_back() {
        check(
            "a begin
             a nextval -> 1
             a abort
             a nextval -> 2",
        );
    }

    #[test]
    fn a_sequence_jumps_over_what_the_log_had_promised() {
        // Measured on PostgreSQL 15.18: 2 → 34. Its record reaches the disk with the first commit.
        check(
            "a nextval -> 1
             a nextval -> 2
             crash
             a nextval -> 34",
        );
    }

    #[test]
    fn the_log_is_told_once_in_33_values() {
        let script: String = (1..=33).map(|n| format!("a nextval -> {n}\n")).collect();
        check(&format!(
            "{script} a begin\n a xid -> none\n a nextval -> 34\n a xid -> some"
        ));
    }
}
