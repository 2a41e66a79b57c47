//! DECLARE, FETCH, MOVE and CLOSE; PREPARE and EXECUTE. They share their names with the protocol's
//! portals and statements.
//!
//! Source: `commands/portalcmds.c`, `commands/prepare.c`, `PortalRunFetch` in `tcop/pquery.c`.

use std::sync::Arc;

use super::block::Company;
use super::portal::{Hold, Portal, PortalState};
use super::prepared::PreparedStatement;
use super::reply::Format;
use super::run::Running;
use super::{Session, Work};
use crate::engine::{Engine, Halt, Timestamp};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{Command, Declare, Direction, Execute, Fetch, Prepare, Statement};
use crate::sql::{self, CommandTag, Outcome, Prepared};
use crate::types::{Datum, Type};

/// What a command of the session's own has done.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) outcome: Outcome,
    /// Whose columns its rows have, and in which format they are sent.
    pub(super) shape: Option<(Arc<Prepared>, Vec<Format>)>,
}

impl Own {
    pub(super) fn done(tag: &'static str) -> Own {
        Own {
            outcome: Outcome {
                tag: CommandTag::Plain(tag),
                rows: Vec::new(),
            },
            shape: None,
        }
    }
}

impl Session {
    /// What Parse and Describe know of a command of the session's own.
    pub(super) fn plan_own(
        &mut self,
        statement: &Arc<Statement>,
        hints: &[Option<Type>],
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<Option<Arc<Prepared>>, PgError> {
        let prepared = match &statement.command {
            Command::Declare(declare) => {
                let query = self.plan_cursor(declare, hints, engine, now)?;
                Prepared::of_session(statement, query.params().to_vec(), None)
            }
            Command::Fetch(fetch) if !fetch.moves => {
                let portal = self.portal(&fetch.name);
                let query = portal.and_then(|portal| portal.prepared.clone());
                let columns = query.and_then(|query| query.columns().map(<[_]>::to_vec));
                Prepared::of_session(statement, Vec::new(), columns)
            }
            Command::Execute(execute) => {
                let named = self.statements.get(&*execute.name);
                let query = named.and_then(|named| named.prepared.clone());
                let columns = query.and_then(|query| query.columns().map(<[_]>::to_vec));
                Prepared::of_session(statement, Vec::new(), columns)
            }
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(prepared)))
    }

    fn plan_cursor(
        &mut self,
        declare: &Declare,
        hints: &[Option<Type>],
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<Arc<Prepared>, PgError> {
        let transaction = self.begin_implicit(engine, now)?;
        let query = sql::prepare(engine, transaction, &declare.query, hints)?;
        if !query.is_lazy() {
            return Err(PgError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "DECLARE CURSOR must not contain data-modifying statements in WITH",
            ));
        }
        if let (true, Command::Query(tree)) = (query.locks_rows(), &declare.query.command) {
            let what = tree.locking.first().map_or("FOR UPDATE", |locking| {
                locking.strength.tag().trim_start_matches("SELECT ")
            });
            if declare.hold {
                return Err(PgError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    format!("DECLARE CURSOR WITH HOLD ... {what} is not supported"),
                )
                .with_detail("Holdable cursors must be READ ONLY."));
            }
            if declare.scroll == Some(true) {
                return Err(PgError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    format!("DECLARE SCROLL CURSOR ... {what} is not supported"),
                )
                .with_detail("Scrollable cursors must be READ ONLY."));
            }
            if declare.insensitive {
                return Err(PgError::new(
                    SqlState::INVALID_CURSOR_DEFINITION,
                    format!("DECLARE INSENSITIVE CURSOR ... {what} is not valid"),
                )
                .with_detail("Insensitive cursors must be READ ONLY."));
            }
        }
        Ok(query)
    }

    /// DECLARE.
    pub(super) fn declare(
        &mut self,
        declare: &Declare,
        params: Vec<Datum>,
        hints: &[Option<Type>],
        company: Company,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<Own, Halt> {
        let query = self.plan_cursor(declare, hints, engine, now)?;
        // Its tables are locked as those of any query are, before it is known whether it may be.
        let waited = self.declaring.take();
        let locked = self.lock_tables(&query, waited, engine, now);
        if let Err(Halt::Wait(_)) = locked
            && let Work::Analysis(journal) = std::mem::replace(&mut self.work, Work::Idle)
        {
            self.declaring = Some(journal);
        }
        locked?;
        if !declare.hold && !self.has_block(company) {
            return Err(PgError::only_in_transaction_block("DECLARE CURSOR").into());
        }
        self.fold(&query, &params, engine, now)?;
        if self.portals.contains_key(&*declare.name) {
            return Err(PgError::duplicate_portal(&declare.name).into());
        }
        if let Some(tx) = self.block.live()
            && let (true, Some(strength)) = (tx.options.read_only, query.row_lock())
        {
            // The query begins to run here (`PortalStart`).
            return Err(PgError::read_only_transaction(strength.tag()).into());
        }
        let statement = PreparedStatement {
            statement: declare.query.clone(),
            hints: hints.to_vec(),
            prepared: Some(query.clone()),
        };
        let formats = match declare.binary {
            true => vec![Format::Binary; query.columns().map_or(0, <[_]>::len)],
            false => Vec::new(),
        };
        let level = self.level();
        let prepared = Some(query.clone());
        let mut portal = Portal::new(Arc::new(statement), prepared, params, formats, level);
        if let PortalState::Bound(running) = &mut portal.state {
            running.declared = true;
        }
        portal.declared = true;
        let seqscan = self.settings.is_on("enable_seqscan");
        portal.scrolls = declare.scroll.unwrap_or_else(|| query.scrolls(seqscan));
        if declare.hold {
            portal.hold = Hold::With;
        }
        // Its tables are its own from now on; those that are not free are waited for when it is fetched.
        if let Some(tx) = self.block.live() {
            query.try_lock(engine, tx);
        }
        self.start_portal(&declare.name, &mut portal, engine);
        self.put_portal(&declare.name, portal);
        Ok(Own::done("DECLARE CURSOR"))
    }

    /// FETCH and MOVE.
    pub(super) fn fetch(
        &mut self,
        fetch: &Fetch,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<Own, Halt> {
        let name = &*fetch.name;
        let Some(mut portal) = self.take_portal(name) else {
            return Err(PgError::no_such_cursor(name).into());
        };
        let fetched = self.fetch_from(name, &mut portal, fetch, engine, now);
        if let Err(Halt::Error(_)) = fetched {
            // For good: one WITH HOLD may outlive the transaction that failed (`MarkPortalFailed`).
            portal.state = PortalState::Done;
        }
        self.put_portal(name, portal);
        fetched
    }

    fn fetch_from(
        &mut self,
        name: &str,
        portal: &mut Portal,
        fetch: &Fetch,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<Own, Halt> {
        let Some(prepared) = portal.prepared.clone().filter(|p| p.columns().is_some()) else {
            return Err(
                PgError::new(SqlState::INTERNAL_ERROR, "unsupported portal strategy").into(),
            );
        };
        // A cursor is never at its end at once: it may be asked where it stands.
        if let PortalState::Bound(running) = &mut portal.state {
            running.is_cursor = prepared.is_lazy();
        }
        let at = portal.open().map_or(0, |rows| rows.at());
        let need = match fetch.direction {
            Direction::Forward(None) => None,
            Direction::Forward(Some(count)) => Some(at.saturating_add(positive(count))),
            Direction::Backward(Some(count)) if count < 0 => {
                Some(at.saturating_add(positive(count.saturating_neg())))
            }
            Direction::Backward(_) => Some(0),
            Direction::Absolute(count) if count < 0 => {
                portal.must_scroll()?;
                None
            }
            Direction::Absolute(count) => Some(positive(count)),
            Direction::Relative(count) => Some(at.saturating_add(positive(count))),
        };
        self.reach(name, portal, need, engine, now)?;
        let (range, reverse) = advance(portal, fetch)?;
        let count = range.len() as u64;
        let rows = match portal.open() {
            Some(open) if !fetch.moves => {
                let mut rows = open.rows(range).to_vec();
                if reverse {
                    rows.reverse();
                }
                rows
            }
            _ => Vec::new(),
        };
        let tag = match fetch.moves {
            true => CommandTag::Move(count),
            false => CommandTag::Fetch(count),
        };
        Ok(Own {
            outcome: Outcome { tag, rows },
            shape: (!fetch.moves).then(|| (prepared, portal.formats.clone())),
        })
    }

    /// CLOSE.
    pub(super) fn close_cursor(&mut self, name: Option<&str>) -> Result<Own, PgError> {
        let Some(name) = name else {
            self.portals.clear();
            return Ok(Own::done("CLOSE CURSOR ALL"));
        };
        let closed = self.portals.remove(name);
        closed.ok_or_else(|| PgError::no_such_cursor(name))?;
        Ok(Own::done("CLOSE CURSOR"))
    }

    /// PREPARE.
    pub(super) fn prepare(
        &mut self,
        prepare: &Prepare,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<Own, PgError> {
        let transaction = self.begin_implicit(engine, now)?;
        let hints = sql::resolve_types(engine, transaction, &prepare.types)?;
        let prepared = sql::prepare(engine, transaction, &prepare.statement, &hints)?;
        let name = &*prepare.name;
        if self.statements.contains_key(name) {
            return Err(PgError::duplicate_prepared_statement(name));
        }
        let statement = PreparedStatement {
            statement: prepare.statement.clone(),
            hints,
            prepared: Some(prepared),
        };
        self.statements.insert(name.into(), Arc::new(statement));
        Ok(Own::done("PREPARE"))
    }

    /// The statement that EXECUTE runs, with its arguments.
    pub(super) fn expand(
        &mut self,
        execute: &Execute,
        statement: &Arc<Statement>,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<Running, Halt> {
        self.look(&statement.command, engine, now)?;
        let name = &*execute.name;
        let Some(named) = self.statements.get(name).cloned() else {
            return Err(PgError::no_such_prepared_statement(name).into());
        };
        let transaction = self.begin_implicit(engine, now)?;
        let prepared = match &named.prepared {
            Some(promised) if !Self::is_own(&named.statement.command) => {
                sql::prepare_again(engine, transaction, promised)?
            }
            _ => sql::prepare(engine, transaction, &named.statement, &named.hints)?,
        };
        let (wanted, given) = (prepared.params().len(), execute.args.len());
        if wanted != given {
            return Err(PgError::new(
                SqlState::SYNTAX_ERROR,
                format!("wrong number of parameters for prepared statement \"{name}\""),
            )
            .with_detail(format!("Expected {wanted} parameters but got {given}."))
            .into());
        }
        let mut params = Vec::new();
        if given > 0 {
            let types = prepared.params();
            let row = sql::prepare_arguments(engine, transaction, statement, &execute.args, types)?;
            let mut arguments = Running::new(Arc::new(row), Vec::new());
            let outcome = self.attempt(&mut arguments, engine, now)?;
            params = outcome.rows.into_iter().next().unwrap_or_default();
        }
        if let (Some(promised), false) = (&named.prepared, Self::is_own(&named.statement.command)) {
            prepared.refuse_other_result(promised)?;
        }
        self.fold(&prepared, &params, engine, now)?;
        Ok(Running::new(prepared, params))
    }
}

/// Moves a cursor whose rows have been reached, and says which rows it came over, and whether they
/// are told in reverse.
///
/// Source: `DoPortalRunFetch`.
fn advance(portal: &mut Portal, fetch: &Fetch) -> Result<(std::ops::Range<usize>, bool), PgError> {
    let (at, len) = portal.open().map_or((0, 0), |rows| (rows.at(), rows.len()));
    let size = |count: Option<i64>| count.map(positive);
    let backward = match fetch.direction {
        Direction::Forward(Some(count)) if count < 0 => Some(Some(count.saturating_neg())),
        Direction::Backward(count) if count.is_none_or(|count| count > 0) => Some(count),
        Direction::Relative(count) if count < 0 => None,
        _ => None,
    };
    if let Some(count) = backward {
        // MOVE BACKWARD ALL only rewinds.
        if !(fetch.moves && count.is_none() && at == 0) {
            portal.must_scroll()?;
        }
        let range = portal
            .open()
            .map_or(0..0, |rows| rows.backward(size(count)));
        return Ok((range, true));
    }
    let to = match fetch.direction {
        Direction::Forward(Some(0)) | Direction::Backward(Some(0)) | Direction::Relative(0) => {
            if !(1..=len).contains(&at) {
                return Ok((0..0, false));
            }
            if !fetch.moves {
                portal.must_scroll()?;
            }
            at
        }
        Direction::Forward(count) | Direction::Backward(count) => {
            let count = count.map(i64::abs);
            let range = portal.open().map_or(0..0, |rows| rows.forward(size(count)));
            return Ok((range, false));
        }
        Direction::Absolute(count) if count > 0 => {
            let to = positive(count);
            let rewinds = to - 1 <= at.min(len) / 2 && at > 0;
            if rewinds || to <= at {
                portal.must_scroll()?;
            }
            to
        }
        Direction::Absolute(0) => {
            if at > 0 {
                portal.must_scroll()?;
            }
            0
        }
        Direction::Absolute(count) => (len + 1).saturating_sub(positive(count.saturating_neg())),
        Direction::Relative(count) if count > 0 => at.saturating_add(positive(count)),
        Direction::Relative(count) => {
            portal.must_scroll()?;
            at.saturating_sub(positive(count.saturating_neg()))
        }
    };
    if let Some(rows) = portal.open() {
        rows.go(to);
    }
    let on_row = (1..=len).contains(&to);
    Ok((if on_row { to - 1..to } else { 0..0 }, false))
}

fn positive(count: i64) -> usize {
    usize::try_from(count).unwrap_or(0)
}
