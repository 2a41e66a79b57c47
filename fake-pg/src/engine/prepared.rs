//! Two-phase commit: transactions that no session owns any more.
//!
//! PREPARE TRANSACTION writes a [`TwoPhase`] into the WAL and hands the transaction's xids and locks
//! over to nobody: a pid below zero, which pg_blocking_pids shows as 0. From then on the transaction
//! outlives sessions and crashes, until COMMIT PREPARED or ROLLBACK PREPARED takes it up again.
//! PREPARE, COMMIT PREPARED and ROLLBACK PREPARED are `commit`'s machine; what is here is the table of those prepared.
//!
//! Source: `access/transam/twophase.c`.

use std::sync::Arc;

use super::catalog::CatalogChange;
use super::lock::{AdvisoryScope, LockMode, LockTag, Request};
use super::mvcc::XactStatus;
use super::ssi::PreparedReads;
use super::wal::Record;
use super::xact::{Message, Transaction};
use super::{CommitNumber, Engine, Lsn, Pid, Timestamp, Xid};
use crate::error::{PgError, SqlState};

/// How long a transaction's identifier may be, its end included (`GIDSIZE`).
const GID_SIZE: usize = 200;

/// A transaction that waits for COMMIT PREPARED or ROLLBACK PREPARED, as a row of
/// `pg_prepared_xacts` shows it.
#[derive(Debug)]
pub struct TwoPhase {
    /// What it is called.
    pub gid: Arc<str>,
    /// Who prepared it, and in which database: only there can it be finished.
    pub preparer: Preparer,
    /// When it was prepared.
    pub prepared: Timestamp,
    /// The end of its record in the WAL.
    pub(super) lsn: Lsn,
    /// The number of its PREPARE.
    pub(super) number: CommitNumber,
    pub(super) xids: Vec<Xid>,
    pub(super) locks: Vec<(LockTag, LockMode)>,
    pub(super) messages: Vec<Message>,
    pub(super) ddl: Vec<CatalogChange>,
    /// What it has read, if it is serializable.
    pub(super) reads: Option<PreparedReads>,
}

/// Who prepares or finishes a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preparer {
    /// The role.
    pub user: Arc<str>,
    /// The database.
    pub database: Arc<str>,
}

impl TwoPhase {
    /// Its xid.
    pub fn xid(&self) -> Xid {
        self.xids[0]
    }

    /// Who owns its locks: nobody.
    fn pid(&self) -> Pid {
        Pid(-(self.xid().0 as i32))
    }

    /// The xid of the prepared transaction that owns something under that pid, if it is one.
    pub(super) fn xid_of(pid: Pid) -> Option<Xid> {
        (pid.0 < 0).then(|| Xid(pid.0.unsigned_abs().into()))
    }

    /// The transaction as it was, to be committed or rolled back.
    pub(super) fn take_up(&self, engine: &Engine) -> Transaction {
        let mut tx = engine.begin(self.pid(), Default::default(), self.prepared);
        tx.own(self.xids.clone());
        tx.locks = self.locks.clone();
        tx.messages = self.messages.clone();
        tx.ddl = self.ddl.clone();
        tx.sxact = engine.ssi.prepared(self.xid());
        tx
    }
}

/// One place of the table.
#[derive(Clone, Debug)]
struct Place {
    gid: Arc<str>,
    /// None while its PREPARE is under way.
    state: Option<Arc<TwoPhase>>,
    /// A session is preparing or finishing it.
    busy: bool,
}

/// Those that are prepared, in the order in which the real server keeps them.
#[derive(Clone, Debug, Default)]
pub(super) struct PreparedTable(Vec<Place>);

impl PreparedTable {
    fn place(&mut self, gid: &str) -> Option<&mut Place> {
        self.0.iter_mut().find(|place| &*place.gid == gid)
    }

    pub(super) fn states(&self) -> impl Iterator<Item = &Arc<TwoPhase>> {
        self.0.iter().filter_map(|place| place.state.as_ref())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sessions that were preparing or finishing are gone.
    pub(super) fn let_all_go(&mut self) {
        self.0.retain(|place| place.state.is_some());
        for place in &mut self.0 {
            place.busy = false;
        }
    }

    /// What a record of a PREPARE, or a checkpoint, says.
    pub(super) fn restore(&mut self, state: Arc<TwoPhase>) {
        self.0.push(Place {
            gid: state.gid.clone(),
            state: Some(state),
            busy: false,
        });
    }

    /// The one with this xid has been finished (`RemoveGXact`).
    pub(super) fn remove(&mut self, xid: Option<&Xid>) {
        let is_it = |place: &Place| place.state.as_ref().map(|state| state.xid()) == xid.copied();
        if let Some(place) = self
            .0
            .iter()
            .position(|place| xid.is_some() && is_it(place))
        {
            self.0.swap_remove(place);
        }
    }
}

impl Engine {
    /// The rows of `pg_prepared_xacts`.
    pub fn prepared_transactions(&self) -> impl Iterator<Item = &Arc<TwoPhase>> {
        self.prepared.states()
    }

    /// Takes a place for a transaction that is about to be prepared (`MarkAsPreparing`), unless it
    /// has done what cannot be kept without a session.
    pub(super) fn reserve_gid(&mut self, tx: &Transaction, gid: &Arc<str>) -> Result<(), PgError> {
        let unpreparable =
            |what: &str| refused(&format!("cannot PREPARE a transaction that has {what}"));
        if let Some(what) = tx.unpreparable {
            return Err(unpreparable(what));
        }
        if gid.len() >= GID_SIZE {
            let message = format!("transaction identifier \"{gid}\" is too long");
            return Err(PgError::new(SqlState::INVALID_PARAMETER_VALUE, message));
        }
        let most = self.config().max_prepared_transactions;
        if most == 0 {
            return Err(PgError::new(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                "prepared transactions are disabled",
            )
            .with_hint("Set max_prepared_transactions to a nonzero value."));
        }
        if self.prepared.place(gid).is_some() {
            let message = format!("transaction identifier \"{gid}\" is already in use");
            return Err(PgError::new(SqlState::DUPLICATE_OBJECT, message));
        }
        if self.prepared.0.len() >= most as usize {
            return Err(PgError::new(
                SqlState::OUT_OF_MEMORY,
                "maximum number of prepared transactions reached",
            )
            .with_hint(format!(
                "Increase max_prepared_transactions (currently {most})."
            )));
        }
        // `AtPrepare_Notify` and `AtPrepare_Locks` come after `MarkAsPreparing`.
        if tx.has_notifications() {
            return Err(unpreparable("executed LISTEN, UNLISTEN, or NOTIFY"));
        }
        self.refuse_mixed_locks(tx)?;
        self.prepared.0.push(Place {
            gid: gid.clone(),
            state: None,
            busy: true,
        });
        Ok(())
    }

    /// `CheckForSessionAndXactLocks`.
    fn refuse_mixed_locks(&self, tx: &Transaction) -> Result<(), PgError> {
        let mut kept = self.locks.session_locks(tx.pid);
        match kept.any(|(tag, ..)| tx.locks.iter().any(|lock| lock.0 == tag)) {
            true => Err(refused(
                "cannot PREPARE while holding both session-level and transaction-level locks on the same object",
            )),
            false => Ok(()),
        }
    }

    /// The record of a PREPARE is on disk: it can be seen, if not yet be finished.
    pub(super) fn show_prepared(&mut self, state: &Arc<TwoPhase>) {
        if let Some(place) = self.prepared.place(&state.gid) {
            place.state = Some(state.clone());
        }
    }

    /// The transaction leaves its session (`PostPrepare_Locks`, `PostPrepare_Twophase`).
    pub(super) fn leave_prepared(&mut self, state: &TwoPhase, session: Pid) {
        let tags = state.locks.iter().map(|(tag, ..)| *tag);
        self.locks.hand_over(tags, session, state.pid());
        let wakeups = &mut self.wakeups;
        self.locks
            .session_transaction_prepared(session, state.pid(), wakeups);
        for &xid in &state.xids {
            self.running.insert(xid, state.pid());
        }
        self.let_prepared_go(&state.gid);
    }

    /// Takes up what was prepared, to finish it (`LockGXact`).
    pub fn take_prepared(
        &mut self,
        gid: &str,
        by: &Preparer,
        is_superuser: bool,
    ) -> Result<Arc<TwoPhase>, PgError> {
        let known = self.prepared.place(gid);
        let known = known.and_then(|place| Some((place.state.clone()?, place)));
        let Some((state, place)) = known else {
            let message = format!("prepared transaction with identifier \"{gid}\" does not exist");
            return Err(PgError::new(SqlState::UNDEFINED_OBJECT, message));
        };
        if place.busy {
            let message = format!("prepared transaction with identifier \"{gid}\" is busy");
            return Err(PgError::new(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                message,
            ));
        }
        if state.preparer.user != by.user && !is_superuser {
            return Err(PgError::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                "permission denied to finish prepared transaction",
            )
            .with_hint("Must be superuser or the user that prepared the transaction."));
        }
        if state.preparer.database != by.database {
            return Err(
                refused("prepared transaction belongs to another database").with_hint(
                    "Connect to the database where the transaction was prepared to finish it.",
                ),
            );
        }
        place.busy = true;
        Ok(state)
    }

    /// Nobody is finishing it any more.
    pub(super) fn let_prepared_go(&mut self, gid: &str) {
        if let Some(place) = self.prepared.place(gid) {
            place.busy = false;
        }
    }

    /// ROLLBACK PREPARED: its record is always flushed. It still shows as running, with its locks.
    ///
    /// Source: `RecordTransactionAbortPrepared`.
    pub(super) fn log_rollback_prepared(&mut self, state: &TwoPhase) {
        self.vacuum.enter_commit();
        let xids = state.xids.clone();
        let end = self.wal.insert(Record::Abort { xids });
        self.wal.flush(end);
        for &xid in &state.xids {
            self.clog.set(xid, XactStatus::Aborted);
        }
    }

    /// The rest of it: nobody sees it running any more, then its locks go.
    pub(super) fn undo_prepared(&mut self, state: &TwoPhase, mut tx: Transaction) {
        for xid in &state.xids {
            self.running.remove(xid);
        }
        tx.own(Vec::new());
        self.abort(tx);
        for &xid in &state.xids {
            self.locks.transaction_ended(xid, &mut self.wakeups);
        }
        self.prepared.remove(Some(&state.xid()));
        self.vacuum.leave_commit();
    }

    /// After a crash: what was prepared is running again, and holds its locks.
    pub(super) fn resume_prepared(&mut self) {
        let Engine {
            prepared,
            catalog,
            names,
            running,
            locks,
            ssi,
            wakeups,
            ..
        } = self;
        for state in prepared.states() {
            for &xid in &state.xids {
                running.insert(xid, state.pid());
            }
            names.recover(&state.ddl, state.xid(), (catalog, running));
            if let Some(reads) = &state.reads {
                ssi.recover(reads);
            }
        }
        for state in prepared.states() {
            for &(tag, mode) in &state.locks {
                let request = Request {
                    pid: state.pid(),
                    mode,
                    scope: AdvisoryScope::Transaction,
                };
                locks.acquire(tag, request, wakeups);
            }
        }
    }
}

/// What the real server cannot do either.
fn refused(message: &str) -> PgError {
    PgError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
}

impl Record {
    /// The xid of the transaction that this record finishes, if it does: one that was prepared is
    /// so no more.
    pub(super) fn finishes(&self) -> Option<&Xid> {
        match self {
            Record::Commit(commit) => commit.xids.first(),
            Record::Abort { xids } => xids.first(),
            _ => None,
        }
    }
}
