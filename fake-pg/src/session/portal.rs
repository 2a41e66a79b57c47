//! Portals and cursors: a statement that has been bound, and how far its rows have been fetched.
//!
//! A query is run only as far as its rows are wanted; the rest of it happens when more are fetched.
//! For that its journal stays: it is run again from its start, up to more rows, and sees what it saw
//! before. Where nobody can tell when rows are computed, it is run further than that. What changes
//! tables runs to its end at once, and its rows wait.
//! Source: `tcop/pquery.c`, `utils/mmgr/portalmem.c`.

use std::ops::Range;
use std::sync::Arc;

use super::Session;
use super::block::{Block, Company};
use super::prepared::PreparedStatement;
use super::reply::Format;
use super::run::Running;
use crate::engine::{Engine, Exec, Halt, Isolation, TableId, Tid, Timestamp, Transaction};
use crate::error::{PgError, SqlState};
use crate::sql::{self, CommandTag, Outcome, Prepared};
use crate::types::Datum;

/// What Bind or DECLARE leaves behind.
#[derive(Debug)]
pub(super) struct Portal {
    pub(super) statement: Arc<PreparedStatement>,
    pub(super) prepared: Option<Arc<Prepared>>,
    pub(super) formats: Vec<Format>,
    pub(super) state: PortalState,
    /// How many savepoints were open when it was made.
    pub(super) level: usize,
    /// Whether DECLARE made it: it is planned for its first rows.
    pub(super) declared: bool,
    /// Whether it can be fetched backward.
    pub(super) scrolls: bool,
    pub(super) hold: Hold,
}

/// Whether a cursor outlives its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    Without,
    /// It will.
    With,
    /// It has.
    Held,
}

#[derive(Debug)]
pub(super) enum PortalState {
    /// Nothing of it has run, and nothing was planned.
    Bare,
    /// Nothing of it has run.
    Bound(Box<Running>),
    /// It has run, perhaps not to its end.
    Open(Rows),
    /// It can not be run again.
    Done,
}

/// The rows of a portal so far.
#[derive(Debug)]
pub(super) struct Rows {
    /// What makes more of them, unless there are no more.
    running: Option<Box<Running>>,
    rows: Vec<Vec<Datum>>,
    places: Vec<Vec<Option<Tid>>>,
    /// The row it stands on, from 1; 0 before the first, one more than there are after the last.
    at: usize,
    pub(super) tag: CommandTag,
}

impl Rows {
    fn new(running: Box<Running>) -> Rows {
        Rows {
            running: Some(running),
            rows: Vec::new(),
            places: Vec::new(),
            at: 0,
            tag: CommandTag::Select(0),
        }
    }

    /// All rows of a command that needs no more.
    pub(super) fn of(outcome: Outcome) -> Rows {
        Rows {
            running: None,
            rows: outcome.rows,
            places: Vec::new(),
            at: 0,
            tag: outcome.tag,
        }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rows(&self, range: Range<usize>) -> &[Vec<Datum>] {
        &self.rows[range]
    }

    /// The number of rows, once all are known.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Moves to a row, or before the first, or past the last.
    pub(super) fn go(&mut self, at: usize) {
        self.at = at.min(self.rows.len() + 1);
    }

    /// Steps over the next rows, which have been reached; `None` is all.
    pub(super) fn forward(&mut self, count: Option<usize>) -> Range<usize> {
        let (at, rows) = (self.at.min(self.rows.len()), self.rows.len());
        let taken = count.unwrap_or(usize::MAX).min(rows - at);
        self.at = match count == Some(taken) && self.at <= rows {
            true => at + taken,
            false => rows + 1,
        };
        at..at + taken
    }

    /// Steps back over rows; they are to be told in reverse.
    pub(super) fn backward(&mut self, count: Option<usize>) -> Range<usize> {
        let before = self.at.saturating_sub(1);
        let taken = count.unwrap_or(usize::MAX).min(before);
        self.at = match count == Some(taken) {
            true => self.at - taken,
            false => 0,
        };
        before - taken..before
    }

    /// Where the row it stands on is stored.
    fn places(&self) -> Option<&[Option<Tid>]> {
        let place = self.at.checked_sub(1)?;
        self.places.get(place).map(Vec::as_slice)
    }
}

impl Portal {
    /// The tables that it holds open: all that it reads, until it is closed or held.
    pub(super) fn reads(&self) -> impl Iterator<Item = TableId> + use<'_> {
        let open = |prepared: &&Arc<Prepared>| prepared.is_lazy() && self.hold != Hold::Held;
        let prepared = self.prepared.as_ref().filter(open);
        prepared.into_iter().flat_map(|prepared| prepared.tables())
    }

    /// A portal as Bind makes it.
    pub(super) fn new(
        statement: Arc<PreparedStatement>,
        prepared: Option<Arc<Prepared>>,
        params: Vec<Datum>,
        formats: Vec<Format>,
        level: usize,
    ) -> Portal {
        let state = match &prepared {
            Some(prepared) => PortalState::Bound(Box::new(Running::new(prepared.clone(), params))),
            None => PortalState::Bare,
        };
        Portal {
            statement,
            prepared,
            formats,
            state,
            level,
            declared: false,
            scrolls: false,
            hold: Hold::Without,
        }
    }

    /// The portal of a Bind that has failed before it had a statement: there is nothing to execute.
    pub(super) fn undefined(level: usize) -> Result<Portal, PgError> {
        let nothing = sql::parse_script("")?;
        let statement = PreparedStatement {
            statement: Arc::clone(&nothing[0]),
            hints: Vec::new(),
            prepared: None,
        };
        let statement = Arc::new(statement);
        Ok(Portal::new(statement, None, Vec::new(), Vec::new(), level))
    }

    /// The statement that gives its rows, if it has begun and is not over.
    pub(super) fn running(&self) -> Option<&Running> {
        match &self.state {
            PortalState::Open(rows) => rows.running.as_deref(),
            _ => None,
        }
    }

    /// 55000 where it would have to go backward and can not.
    pub(super) fn must_scroll(&self) -> Result<(), PgError> {
        match self.scrolls {
            true => Ok(()),
            false => Err(PgError::new(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                "cursor can only scan forward",
            )
            .with_hint("Declare it with SCROLL option to enable backward scan.")),
        }
    }

    /// The rows so far, if it has run.
    pub(super) fn open(&mut self) -> Option<&mut Rows> {
        match &mut self.state {
            PortalState::Open(rows) => Some(rows),
            _ => None,
        }
    }
}

impl Session {
    pub(super) fn portal(&mut self, name: &str) -> Option<&mut Portal> {
        match name {
            "" => self.unnamed_portal.as_mut(),
            name => self.portals.get_mut(name),
        }
    }

    /// Takes a portal out, to be put back after it has run.
    pub(super) fn take_portal(&mut self, name: &str) -> Option<Portal> {
        match name {
            "" => self.unnamed_portal.take(),
            name => self.portals.remove(name),
        }
    }

    pub(super) fn put_portal(&mut self, name: &str, portal: Portal) {
        match name {
            "" => self.unnamed_portal = Some(portal),
            name => drop(self.portals.insert(name.into(), portal)),
        }
    }

    /// How many savepoints are open.
    pub(super) fn level(&mut self) -> usize {
        self.block.live().map_or(0, |tx| tx.savepoints())
    }

    /// Has a query take its snapshot, as a portal does when it is made. What is not a query does so
    /// when it runs.
    pub(super) fn start_portal(&mut self, name: &str, portal: &mut Portal, engine: &mut Engine) {
        if let PortalState::Bound(running) = &mut portal.state
            && let Some(prepared) = &portal.prepared
            && prepared.is_lazy()
            && let Some(tx) = self.block.live()
        {
            let exec = Exec::new(engine, tx, &mut running.journal, self.now);
            // The unnamed one is mostly run at once.
            if !name.is_empty() {
                exec.keep();
            }
        }
    }

    /// Runs a portal until it has so many rows, or all of them.
    pub(super) fn reach(
        &mut self,
        name: &str,
        portal: &mut Portal,
        need: Option<usize>,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<(), Halt> {
        let lazy = portal.prepared.as_ref().is_some_and(|p| p.is_lazy());
        portal.state = match std::mem::replace(&mut portal.state, PortalState::Done) {
            PortalState::Bound(running) => PortalState::Open(Rows::new(running)),
            PortalState::Done => return Err(cannot_be_run(name).into()),
            open => open,
        };
        let Some(open) = portal.open() else {
            return Ok(());
        };
        let known = open.rows.len();
        let enough = need.is_some_and(|need| known >= need);
        let Some(running) = open.running.as_mut().filter(|_| !enough) else {
            return Ok(());
        };
        running.most = need.filter(|_| lazy);
        // Whoever is at its end at once leaves no journal.
        running.is_cursor |= running.most.is_some();
        let ahead = running.most.filter(|_| self.runs_ahead(running, known));
        let attempt = match ahead.map(|most| most.max(known.saturating_mul(2))) {
            Some(ahead) => {
                let most = running.most.replace(ahead);
                match self.attempt(running, engine, now) {
                    // What is wrong with rows that nobody has asked for yet is not said yet.
                    Err(Halt::Error(_)) => {
                        running.most = most;
                        self.attempt(running, engine, now)
                    }
                    done => done,
                }
            }
            None => self.attempt(running, engine, now),
        };
        // Whoever is at its end leaves no journal to take them from later.
        for notice in std::mem::take(&mut running.journal.notices) {
            self.notice(&notice);
        }
        match attempt {
            Ok(outcome) => {
                open.tag = outcome.tag;
                open.places = std::mem::take(&mut running.places);
                match known {
                    0 => open.rows = outcome.rows,
                    known => open.rows.extend(outcome.rows.into_iter().skip(known)),
                }
                if running.most.is_none_or(|most| open.rows.len() < most) {
                    open.running = None;
                }
                Ok(())
            }
            Err(Halt::Wait(wait)) => Err(Halt::Wait(wait)),
            Err(Halt::Error(error)) => {
                self.found = running.take_found();
                let known = open.at.min(self.found.len());
                self.found.drain(..known);
                portal.state = PortalState::Done;
                Err(Halt::Error(error))
            }
        }
    }

    /// Whether more rows are computed than are asked for, as many as there are: where each time it is
    /// run again from its start, fetching all of it in small steps would take their number squared.
    fn runs_ahead(&mut self, running: &Running, known: usize) -> bool {
        let serializable = |tx: &mut Transaction| tx.options.isolation == Isolation::Serializable;
        known > 0
            && running.prepared.may_run_ahead()
            && self.block.live().is_some_and(|tx| !serializable(tx))
    }

    /// The row of a table that a cursor stands on.
    ///
    /// Source: `execCurrentOf` in `executor/execCurrent.c`.
    pub(super) fn current_of(
        &mut self,
        cursor: &str,
        table: TableId,
        table_name: &str,
    ) -> Result<Option<Tid>, PgError> {
        let seqscan = self.settings.is_on("enable_seqscan");
        let Some(portal) = self.portal(cursor) else {
            return Err(PgError::no_such_cursor(cursor));
        };
        let invalid = |message| PgError::new(SqlState::INVALID_CURSOR_STATE, message);
        let Some(prepared) = portal.prepared.clone().filter(|p| p.is_lazy()) else {
            return Err(invalid(format!(
                "cursor \"{cursor}\" is not a SELECT query"
            )));
        };
        if portal.hold == Hold::Held {
            return Err(invalid(format!(
                "cursor \"{cursor}\" is held from a previous transaction"
            )));
        }
        let Some(place) = prepared.place_of(table, seqscan, portal.declared) else {
            return Err(invalid(match prepared.locks_rows() {
                true => format!(
                    "cursor \"{cursor}\" does not have a FOR UPDATE/SHARE reference to table \"{table_name}\""
                ),
                false => format!(
                    "cursor \"{cursor}\" is not a simply updatable scan of table \"{table_name}\""
                ),
            }));
        };
        let places = portal.open().and_then(|rows| rows.places());
        match places {
            Some(places) => Ok(places.get(place).copied().flatten()),
            None => Err(invalid(format!(
                "cursor \"{cursor}\" is not positioned on a row"
            ))),
        }
    }

    /// The row that WHERE CURRENT OF names, for a statement that is about to run: it has its locks.
    pub(super) fn find_current(&mut self, running: &mut Running) -> Result<(), PgError> {
        // A read-only transaction is refused before anybody looks for the cursor.
        if self.block.live().is_some_and(|tx| tx.options.read_only) {
            return Ok(());
        }
        let prepared = Arc::clone(&running.prepared);
        if let (Some(cursor), Some(table)) = (running.cursor(), prepared.target()) {
            running.current = self.current_of(cursor, table.id, &table.name)?;
        }
        Ok(())
    }

    /// Before a commit: cursors WITH HOLD get the rest of their rows.
    ///
    /// Source: `PreCommit_Portals`, `PersistHoldablePortal`.
    pub(super) fn hold_cursors(
        &mut self,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<(), PgError> {
        if self.portals.is_empty() {
            return Ok(());
        }
        // One that has failed is not held.
        let failed = |portal: &Portal| matches!(portal.state, PortalState::Done);
        self.portals
            .retain(|_, portal| portal.hold != Hold::With || !failed(portal));
        let held =
            |(name, portal): (&String, &Portal)| (portal.hold == Hold::With).then(|| name.clone());
        let names: Vec<String> = self.portals.iter().filter_map(held).collect();
        for name in names {
            let Some(mut portal) = self.take_portal(&name) else {
                continue;
            };
            let reached = self.reach(&name, &mut portal, None, engine, now);
            match reached {
                Ok(()) => self.put_portal(&name, portal),
                Err(halt) => {
                    if let Some(transaction) = self.block.take() {
                        engine.abort(transaction);
                    }
                    self.settings.rollback();
                    self.drop_portals(false);
                    return Err(match halt {
                        Halt::Error(error) => error,
                        Halt::Wait(_) => PgError::feature_not_supported(
                            "a cursor WITH HOLD that waits at COMMIT",
                        ),
                    });
                }
            }
        }
        Ok(())
    }

    /// Portals go with their transaction; cursors that are held stay.
    pub(super) fn drop_portals(&mut self, committed: bool) {
        self.unnamed_portal = None;
        if self.portals.is_empty() {
            return;
        }
        self.portals.retain(|_, portal| {
            if committed && portal.hold == Hold::With {
                portal.hold = Hold::Held;
                portal.level = 0;
            }
            portal.hold == Hold::Held
        });
    }

    /// Portals made after a savepoint go with it, unless it is released.
    pub(super) fn drop_portals_above(&mut self, level: usize, released: bool) {
        let keep = |portal: &mut Portal| {
            let above = portal.level > level || !released && portal.level == level;
            if above && released {
                portal.level = level;
            }
            portal.hold == Hold::Held || !above || released
        };
        if let Some(portal) = &mut self.unnamed_portal
            && !keep(portal)
        {
            self.unnamed_portal = None;
        }
        self.portals.retain(|_, portal| keep(portal));
    }

    /// Whether there is a block, or a script of several statements, for a cursor to live in.
    pub(super) fn has_block(&self, company: Company) -> bool {
        match self.block {
            Block::Explicit(_) | Block::Failed(_) => true,
            Block::None | Block::Implicit(_) => company == Company::Script,
        }
    }
}

pub(super) fn cannot_be_run(name: &str) -> PgError {
    PgError::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("portal \"{name}\" cannot be run"),
    )
}
