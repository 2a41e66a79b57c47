//! The transaction block: what BEGIN, COMMIT, ROLLBACK and savepoints make of a session.
//!
//! Source: `access/transam/xact.c`, whose TBLOCK states these are. How a transaction commits is
//! left to `commit`.

use std::sync::Arc;

use super::Session;
use crate::engine::{
    Engine, Isolation, Preparer, Timestamp, Transaction, TwoPhase, TxOptions, Xid,
};
use crate::error::{PgError, SqlState};
use crate::sql::CommandTag;
use crate::sql::ast::{Command, IsolationLevel, TransactionCommand, TransactionModes};
use crate::wire::backend::TransactionStatus;

/// Where a session stands between BEGIN and COMMIT.
#[derive(Debug, Default)]
pub(super) enum Block {
    /// No transaction.
    #[default]
    None,
    /// A transaction that the end of the script, or Sync, will commit.
    Implicit(Transaction),
    /// A transaction that waits for its COMMIT.
    Explicit(Transaction),
    /// A block that can only be rolled back: as a whole, or to a savepoint if there is one.
    Failed(Transaction),
}

impl Block {
    pub(super) fn status(&self) -> TransactionStatus {
        match self {
            Block::None | Block::Implicit(_) => TransactionStatus::Idle,
            Block::Explicit(_) => TransactionStatus::InBlock,
            Block::Failed(_) => TransactionStatus::Failed,
        }
    }

    /// The transaction that a statement runs in.
    pub(super) fn live(&mut self) -> Option<&mut Transaction> {
        match self {
            Block::Implicit(transaction) | Block::Explicit(transaction) => Some(transaction),
            Block::None | Block::Failed(_) => None,
        }
    }

    /// Takes the transaction out, whatever its state.
    pub(super) fn take(&mut self) -> Option<Transaction> {
        match std::mem::take(self) {
            Block::None => None,
            Block::Implicit(tx) | Block::Explicit(tx) | Block::Failed(tx) => Some(tx),
        }
    }
}

/// What a transaction command leads to.
pub(super) enum Control {
    /// It is done.
    Done(&'static str),
    /// A transaction is to be committed.
    End(Box<End>),
}

/// How a transaction is to end, other than by being rolled back.
#[derive(Debug)]
pub(super) enum Ending {
    Commit(Transaction),
    /// PREPARE TRANSACTION, under this name.
    Prepare(Transaction, Arc<str>),
    /// COMMIT PREPARED, of somebody's.
    Finish(Arc<TwoPhase>),
    /// ROLLBACK PREPARED, of somebody's.
    Undo(Arc<TwoPhase>),
}

/// A transaction that is to be committed.
#[derive(Debug)]
pub(super) struct End {
    pub(super) ending: Ending,
    /// By COMMIT, and not by the end of a script or pipeline.
    pub(super) explicit: bool,
    /// Another one like it begins at once.
    pub(super) chain: Option<TxOptions>,
    /// For the CommandComplete that follows, unless it was sent already.
    pub(super) tag: Option<CommandTag>,
}

impl End {
    pub(super) fn implicit(transaction: Transaction, tag: Option<CommandTag>) -> End {
        End {
            ending: Ending::Commit(transaction),
            explicit: false,
            chain: None,
            tag,
        }
    }
}

/// What surrounds a statement outside of a transaction block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    /// Nothing: it is a transaction of its own.
    Alone,
    /// Other statements of the same script.
    Script,
    /// Other statements, executed since the last Sync.
    Pipeline,
}

/// Whether a statement may run in a failed block.
///
/// Source: `IsTransactionExitStmt` in `tcop/postgres.c`.
pub(super) fn is_exit(command: &TransactionCommand) -> bool {
    use TransactionCommand::*;
    matches!(
        command,
        Commit { .. } | Rollback { .. } | RollbackTo(_) | Prepare(_)
    )
}

impl Session {
    /// Whether a transaction block is open, failed or not.
    pub fn is_in_block(&self) -> bool {
        matches!(self.block, Block::Explicit(_) | Block::Failed(_))
    }

    /// The id of the transaction in its block, if it was given one and has not failed.
    pub fn xid(&self) -> Option<Xid> {
        match &self.block {
            Block::Explicit(transaction) => transaction.top_xid(),
            _ => None,
        }
    }

    /// The transaction for a statement: the block's, or an implicit one.
    pub(super) fn begin_implicit(
        &mut self,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<&mut Transaction, PgError> {
        if let Block::None = self.block {
            let options = self.known().options;
            self.block = Block::Implicit(self.begin(options, engine, now));
        }
        self.known();
        let transaction = self.block.live();
        let transaction = transaction.ok_or_else(PgError::in_failed_transaction)?;
        if !transaction
            .path
            .as_ref()
            .is_some_and(|path| Arc::ptr_eq(path, &self.path))
        {
            transaction.path = Some(self.path.clone());
        }
        Ok(transaction)
    }

    /// The same for a statement that a failed block allows.
    pub(super) fn begin_for_control(
        &mut self,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<(), PgError> {
        match self.block {
            Block::Failed(_) => Ok(()),
            _ => self.begin_implicit(engine, now).map(drop),
        }
    }

    pub(super) fn begin(
        &mut self,
        options: TxOptions,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Transaction {
        self.settings.begin();
        self.queried = false;
        self.executed = false;
        if let Some(activity) = engine.activity_mut(self.pid) {
            activity.xact_start = Some(now);
        }
        engine.begin(self.pid, options, now)
    }

    /// Runs a transaction command. An implicit transaction has begun for it.
    pub(super) fn control(
        &mut self,
        command: &TransactionCommand,
        company: Company,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<Control, PgError> {
        let tag = match command {
            TransactionCommand::Begin { modes, start } => {
                self.begin_block(modes)?;
                if *start { "START TRANSACTION" } else { "BEGIN" }
            }
            TransactionCommand::Commit { chain } => return self.commit_block(*chain, engine, now),
            TransactionCommand::Rollback { chain } => {
                self.rollback_block(*chain, engine, now)?;
                "ROLLBACK"
            }
            TransactionCommand::Savepoint(name) => {
                engine.savepoint(self.in_block("SAVEPOINT")?, name);
                self.settings.savepoint();
                "SAVEPOINT"
            }
            TransactionCommand::Release(name) => {
                let transaction = self.in_block("RELEASE SAVEPOINT")?;
                engine.release(transaction, name)?;
                let level = transaction.savepoints() + 1;
                self.settings.release(level);
                self.drop_portals_above(level - 1, true);
                "RELEASE"
            }
            TransactionCommand::RollbackTo(name) => {
                self.rollback_to(name, engine)?;
                "ROLLBACK"
            }
            TransactionCommand::SetMode { modes, local } => {
                self.warn_local(*local, company);
                self.set_modes(modes)?;
                "SET"
            }
            TransactionCommand::SetTransaction(modes) => {
                if !self.has_block(company) {
                    self.notice(&PgError::warning(
                        SqlState::NO_ACTIVE_SQL_TRANSACTION,
                        "SET TRANSACTION can only be used in transaction blocks",
                    ));
                }
                self.set_modes(modes)?;
                "SET"
            }
            TransactionCommand::SetCharacteristics(modes) => {
                self.set_characteristics(modes)?;
                "SET"
            }
            TransactionCommand::Prepare(gid) => {
                return self.prepare_block(gid, company, engine, now);
            }
            TransactionCommand::CommitPrepared(gid) => {
                self.refuse_company("COMMIT PREPARED", company)?;
                let state = self.take_prepared(gid, engine)?;
                return Ok(Control::End(Box::new(End {
                    ending: Ending::Finish(state),
                    explicit: true,
                    chain: None,
                    tag: Some(CommandTag::Plain("COMMIT PREPARED")),
                })));
            }
            TransactionCommand::RollbackPrepared(gid) => {
                self.refuse_company("ROLLBACK PREPARED", company)?;
                let state = self.take_prepared(gid, engine)?;
                return Ok(Control::End(Box::new(End {
                    ending: Ending::Undo(state),
                    explicit: true,
                    chain: None,
                    tag: Some(CommandTag::Plain("ROLLBACK PREPARED")),
                })));
            }
        };
        Ok(Control::Done(tag))
    }

    fn begin_block(&mut self, modes: &TransactionModes) -> Result<(), PgError> {
        if !matches!(self.block, Block::Implicit(_)) {
            self.notice(&PgError::already_in_transaction());
            return self.set_modes(modes);
        }
        // With modes that can not be, there is no block (`TBLOCK_BEGIN` in `access/transam/xact.c`).
        self.set_modes(modes)?;
        self.block = match std::mem::take(&mut self.block) {
            // What has run in the implicit transaction belongs to the block from now on.
            Block::Implicit(transaction) => Block::Explicit(transaction),
            block => block,
        };
        Ok(())
    }

    fn set_modes(&mut self, modes: &TransactionModes) -> Result<(), PgError> {
        let queried = self.queried;
        let savepoints = self.block.live().map_or(0, |tx| tx.savepoints());
        let Some(transaction) = self.block.live() else {
            return Err(PgError::in_failed_transaction());
        };
        let options = &mut transaction.options;
        if let Some(level) = modes.isolation {
            let level = isolation(level);
            if queried && level != options.isolation {
                return Err(too_late(
                    "SET TRANSACTION ISOLATION LEVEL must be called before any query",
                ));
            }
            if savepoints > 0 && level != options.isolation {
                return Err(too_late(
                    "SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction",
                ));
            }
            options.isolation = level;
        }
        if let Some(read_only) = modes.read_only {
            if savepoints > 0 && !read_only && options.read_only {
                return Err(too_late(
                    "cannot set transaction read-write mode inside a read-only transaction",
                ));
            }
            if queried && !read_only && options.read_only {
                return Err(too_late(
                    "transaction read-write mode must be set before any query",
                ));
            }
            options.read_only = read_only;
        }
        if let Some(deferrable) = modes.deferrable {
            let when = match (savepoints, queried) {
                (0, false) => None,
                (0, true) => Some("must be called before any query"),
                _ => Some("cannot be called within a subtransaction"),
            };
            if let Some(when) = when {
                let message = format!("SET TRANSACTION [NOT] DEFERRABLE {when}");
                return Err(too_late(&message));
            }
            options.deferrable = deferrable;
        }
        Ok(())
    }

    fn set_characteristics(&mut self, modes: &TransactionModes) -> Result<(), PgError> {
        if let Some(level) = modes.isolation {
            let level = isolation(level).name();
            self.settings
                .set("default_transaction_isolation", Some(level), false)?;
        }
        if let Some(read_only) = modes.read_only {
            let read_only = if read_only { "on" } else { "off" };
            self.settings
                .set("default_transaction_read_only", Some(read_only), false)?;
        }
        if let Some(deferrable) = modes.deferrable {
            let deferrable = if deferrable { "on" } else { "off" };
            self.settings
                .set("default_transaction_deferrable", Some(deferrable), false)?;
        }
        Ok(())
    }

    fn commit_block(
        &mut self,
        chain: bool,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<Control, PgError> {
        if let Block::Explicit(_) | Block::Implicit(_) = self.block {
            self.hold_cursors(engine, now)?;
        }
        match std::mem::take(&mut self.block) {
            Block::Explicit(transaction) => {
                let chain = chain.then_some(transaction.options);
                let tag = Some(CommandTag::Plain("COMMIT"));
                Ok(Control::End(Box::new(End {
                    ending: Ending::Commit(transaction),
                    explicit: true,
                    chain,
                    tag,
                })))
            }
            Block::Implicit(transaction) if chain => {
                self.block = Block::Implicit(transaction);
                Err(PgError::only_in_transaction_block("COMMIT AND CHAIN"))
            }
            Block::Implicit(transaction) => {
                self.notice(&PgError::no_transaction_in_progress());
                let tag = Some(CommandTag::Plain("COMMIT"));
                Ok(Control::End(Box::new(End::implicit(transaction, tag))))
            }
            // COMMIT of what has failed is a ROLLBACK, and says so only by its tag.
            block => {
                self.block = block;
                self.rollback_block(chain, engine, now)?;
                Ok(Control::Done("ROLLBACK"))
            }
        }
    }

    /// PREPARE TRANSACTION.
    ///
    /// Source: `PrepareTransactionBlock`. Outside of a block it prepares the script's implicit
    /// transaction, but commits a pipeline's, and says ROLLBACK.
    fn prepare_block(
        &mut self,
        gid: &Arc<str>,
        company: Company,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<Control, PgError> {
        let transaction = match std::mem::take(&mut self.block) {
            Block::Explicit(transaction) => transaction,
            Block::Implicit(transaction) => {
                self.notice(&PgError::no_transaction_in_progress());
                if company != Company::Script {
                    let tag = Some(CommandTag::Plain("ROLLBACK"));
                    return Ok(Control::End(Box::new(End::implicit(transaction, tag))));
                }
                transaction
            }
            block => {
                self.block = block;
                self.rollback_block(false, engine, now)?;
                return Ok(Control::Done("ROLLBACK"));
            }
        };
        let mut transaction = transaction;
        if self
            .portals
            .values()
            .any(|portal| portal.hold == super::portal::Hold::With)
        {
            transaction.forbid_prepare("created a cursor WITH HOLD");
        }
        Ok(Control::End(Box::new(End {
            ending: Ending::Prepare(transaction, gid.clone()),
            explicit: true,
            chain: None,
            tag: Some(CommandTag::Plain("PREPARE TRANSACTION")),
        })))
    }

    /// What was prepared, to be finished; the transaction begun for the statement is over.
    fn take_prepared(&mut self, gid: &str, engine: &mut Engine) -> Result<Arc<TwoPhase>, PgError> {
        let by = self.preparer();
        let is_superuser = self.settings.show("is_superuser").as_deref() == Some("on");
        let state = engine.take_prepared(gid, &by, is_superuser)?;
        if let Some(own) = self.block.take() {
            engine.abort(own);
        }
        Ok(state)
    }

    /// Who this session prepares and finishes transactions as.
    pub(super) fn preparer(&self) -> Preparer {
        Preparer {
            user: self.user.clone(),
            database: self.database.clone(),
        }
    }

    /// 25001 for a command that cannot be undone, in a block or beside other statements.
    pub(super) fn refuse_in_block(
        &self,
        command: &Command,
        company: Company,
    ) -> Result<(), PgError> {
        let what = command.must_be_alone();
        what.map_or(Ok(()), |what| self.refuse_company(what, company))
    }

    /// What means nothing outside of a block: an error for LOCK TABLE, a warning for SET CONSTRAINTS
    /// (`RequireTransactionBlock`, `WarnNoTransactionBlock`).
    pub(super) fn demand_block(
        &mut self,
        command: &Command,
        company: Company,
    ) -> Result<(), PgError> {
        if company == Company::Script || !matches!(self.block, Block::Implicit(_)) {
            return Ok(());
        }
        match command {
            Command::Lock { .. } => Err(PgError::only_in_transaction_block("LOCK TABLE")),
            Command::SetConstraints { .. } => {
                self.notice(&PgError::warning(
                    SqlState::NO_ACTIVE_SQL_TRANSACTION,
                    "SET CONSTRAINTS can only be used in transaction blocks",
                ));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// For a statement that must be a transaction of its own.
    ///
    /// Source: `PreventInTransactionBlock`.
    pub(super) fn refuse_company(&self, what: &str, company: Company) -> Result<(), PgError> {
        let place = match (&self.block, company) {
            (Block::Explicit(_) | Block::Failed(_), _) | (_, Company::Script) => {
                "cannot run inside a transaction block"
            }
            (_, Company::Pipeline) => "cannot be executed within a pipeline",
            // A Query among Executes.
            (_, Company::Alone) if self.executed => "cannot be executed within a pipeline",
            (_, Company::Alone) => return Ok(()),
        };
        let message = format!("{what} {place}");
        Err(PgError::new(SqlState::ACTIVE_SQL_TRANSACTION, message))
    }

    fn rollback_block(
        &mut self,
        chain: bool,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<(), PgError> {
        if let Block::Implicit(_) = self.block {
            if chain {
                return Err(PgError::only_in_transaction_block("ROLLBACK AND CHAIN"));
            }
            self.notice(&PgError::no_transaction_in_progress());
        }
        if let Some(transaction) = self.block.take() {
            let options = transaction.options;
            engine.abort(transaction);
            self.settings.rollback();
            self.drop_portals(false);
            if chain {
                self.block = Block::Explicit(self.begin(options, engine, now));
            }
        }
        Ok(())
    }

    fn rollback_to(&mut self, name: &str, engine: &mut Engine) -> Result<(), PgError> {
        let (Block::Explicit(transaction) | Block::Failed(transaction)) = &mut self.block else {
            return Err(PgError::only_in_transaction_block("ROLLBACK TO SAVEPOINT"));
        };
        engine.rollback_to(transaction, name)?;
        let level = transaction.savepoints();
        self.settings.rollback_to(level + 1);
        self.drop_portals_above(level, false);
        self.block = self.block.take().map_or(Block::None, Block::Explicit);
        Ok(())
    }

    /// The transaction of a block that has not failed.
    fn in_block(&mut self, what: &str) -> Result<&mut Transaction, PgError> {
        match &mut self.block {
            Block::Explicit(transaction) => Ok(transaction),
            Block::Failed(_) => Err(PgError::in_failed_transaction()),
            Block::None | Block::Implicit(_) => Err(PgError::only_in_transaction_block(what)),
        }
    }

    /// Writes an error and does what it does to the transaction: an implicit one is rolled back, a
    /// block fails, with the innermost savepoint's part or all of it undone at once.
    pub(super) fn fail(&mut self, error: PgError, engine: &mut Engine) {
        self.report(&error);
        // Source: `send_message_to_frontend`, which does not wait for Sync.
        self.flush();
        self.block = match std::mem::take(&mut self.block) {
            Block::None => Block::None,
            Block::Implicit(transaction) => {
                engine.abort(transaction);
                self.settings.rollback();
                self.drop_portals(false);
                Block::None
            }
            Block::Explicit(mut transaction) | Block::Failed(mut transaction) => {
                engine.fail(&mut transaction);
                match transaction.savepoints() {
                    0 => self.settings.rollback(),
                    savepoints => self.settings.rollback_to(savepoints + 1),
                }
                Block::Failed(transaction)
            }
        };
    }
}

fn isolation(level: IsolationLevel) -> Isolation {
    match level {
        IsolationLevel::ReadUncommitted => Isolation::ReadUncommitted,
        IsolationLevel::ReadCommitted => Isolation::ReadCommitted,
        IsolationLevel::RepeatableRead => Isolation::RepeatableRead,
        IsolationLevel::Serializable => Isolation::Serializable,
    }
}

fn too_late(message: &str) -> PgError {
    PgError::new(SqlState::ACTIVE_SQL_TRANSACTION, message)
}
