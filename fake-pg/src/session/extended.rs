//! The extended protocol: prepared statements, portals, pipelines. Execute is `execute`'s.
//!
//! Everything between two Syncs outside a block is one implicit transaction, which Sync commits;
//! portals go with their transaction. An error skips to Sync.
//! Source: `exec_parse_message` and its neighbours in `tcop/postgres.c`.

use std::sync::Arc;

use super::Session;
use super::block::{Block, End};
use super::commit::Then;
use super::parameters::{parameters, result_formats, violation};
use super::portal::{Portal, PortalState};
use super::prepared::PreparedStatement;
use super::reply::write_row_description;
use crate::engine::{Engine, Halt, Journal, Timestamp};
use crate::error::{PgError, SqlState};
use crate::sql::{self, Prepared};
use crate::types::Type;
use crate::wire::backend;
use crate::wire::frontend::{Bind, Target};

impl Session {
    /// Parse.
    pub(super) fn parse(
        &mut self,
        name: &str,
        query: &str,
        types: &[u32],
        waited: Option<Box<Journal>>,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<(), Halt> {
        if name.is_empty() {
            self.unnamed_statement = None;
        }
        self.begin_message();
        let statements = sql::parse_script(query)?;
        self.now_active(&statements[0].source, engine);
        self.hear_scanner(&statements);
        let [statement] = &statements[..] else {
            return Err(PgError::new(
                SqlState::SYNTAX_ERROR,
                "cannot insert multiple commands into a prepared statement",
            )
            .into());
        };
        let mut parsed = PreparedStatement {
            statement: Arc::clone(statement),
            hints: types
                .iter()
                .map(|&oid| self.hint(oid, engine))
                .collect::<Result<_, _>>()?,
            prepared: None,
        };
        if !parsed.is_empty() && !parsed.is_exit() {
            self.refuse_if_failed()?;
        }
        parsed.prepared = self.plan(&parsed, engine, now)?;
        if let Some(prepared) = &parsed.prepared {
            self.lock_tables(prepared, waited, engine, now)?;
        }
        if !name.is_empty() && self.statements.contains_key(name) {
            return Err(PgError::duplicate_prepared_statement(name).into());
        }
        let parsed = Arc::new(parsed);
        match name {
            "" => self.unnamed_statement = Some(parsed),
            name => drop(self.statements.insert(name.into(), parsed)),
        }
        backend::parse_complete(&mut self.output);
        Ok(())
    }

    fn statement(&self, name: &str) -> Result<Arc<PreparedStatement>, PgError> {
        let found = match name {
            "" => self.unnamed_statement.as_ref(),
            name => self.statements.get(name),
        };
        found
            .cloned()
            .ok_or_else(|| PgError::no_such_prepared_statement(name))
    }

    /// Bind.
    pub(super) fn bind(
        &mut self,
        bind: &Bind<'_>,
        waited: Option<Box<Journal>>,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<(), Halt> {
        let statement = self.statement(bind.statement)?;
        self.begin_message();
        self.now_active(&statement.statement.source, engine);
        let given = bind.parameters.len();
        if bind.formats.len() > 1 && bind.formats.len() != given {
            let formats = bind.formats.len();
            return Err(violation(format!(
                "bind message has {formats} parameter formats but {given} parameters"
            ))
            .into());
        }
        let wanted = statement.params().len();
        if given != wanted {
            return Err(violation(format!(
                "bind message supplies {given} parameters, but prepared statement \"{}\" requires {wanted}",
                bind.statement
            ))
            .into());
        }
        if !(statement.is_exit() && given == 0) {
            self.refuse_if_failed()?;
        }
        if !bind.portal.is_empty() && self.portals.contains_key(bind.portal) {
            return Err(PgError::duplicate_portal(bind.portal).into());
        }
        // The portal is there from here on: where it fails it is left, until the transaction is over.
        let mut portal = match self.define_portal(bind, statement, waited, engine, now) {
            Err(Halt::Error(error)) => {
                let level = self.level();
                self.put_portal(bind.portal, Portal::undefined(level)?);
                return Err(error.into());
            }
            defined => defined?,
        };
        let started = self.start_bound(bind, &mut portal, engine);
        if started.is_err() {
            portal.state = PortalState::Done;
        }
        self.put_portal(bind.portal, portal);
        started?;
        backend::bind_complete(&mut self.output);
        Ok(())
    }

    /// What Bind makes of its parameters, and of its statement as the schema is now.
    fn define_portal(
        &mut self,
        bind: &Bind<'_>,
        statement: Arc<PreparedStatement>,
        waited: Option<Box<Journal>>,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<Portal, Halt> {
        let prepared = self.plan(&statement, engine, now)?;
        if let (Some(old), Some(new)) = (&statement.prepared, &prepared) {
            new.refuse_other_result(old)?;
        }
        let params = parameters(bind, statement.params())?;
        if let Some(prepared) = &prepared {
            // What was analysed is not looked up again: there is no text to point at.
            let locked = self.lock_tables(prepared, waited, engine, now);
            locked.map_err(Halt::nowhere)?;
            self.fold(prepared, &params, engine, now)?;
        }
        let level = self.level();
        Ok(Portal::new(statement, prepared, params, Vec::new(), level))
    }

    /// Source: `PortalStart`, where a query begins to run; other commands begin later.
    fn start_bound(
        &mut self,
        bind: &Bind<'_>,
        portal: &mut Portal,
        engine: &mut Engine,
    ) -> Result<(), PgError> {
        let strength = portal.prepared.as_ref().and_then(|query| query.row_lock());
        if let (Some(strength), Some(tx)) = (strength, self.block.live())
            && tx.options.read_only
        {
            // It has no rows to describe.
            portal.prepared = None;
            return Err(PgError::read_only_transaction(strength.tag()));
        }
        self.start_portal(bind.portal, portal, engine);
        let columns = portal.prepared.as_ref().and_then(|query| query.columns());
        portal.formats = result_formats(&bind.result_formats, columns.map_or(0, <[_]>::len))?;
        Ok(())
    }

    /// Source: `start_xact_command`.
    pub(super) fn begin_message(&mut self) {
        self.pipelining = true;
        self.begin_command();
    }

    pub(super) fn known_portal(&mut self, name: &str) -> Result<&mut Portal, PgError> {
        self.portal(name)
            .ok_or_else(|| PgError::no_such_portal(name))
    }

    /// Describe.
    pub(super) fn describe(
        &mut self,
        target: Target,
        name: &str,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<(), PgError> {
        self.begin_message();
        let (prepared, formats) = match target {
            Target::Statement => {
                let statement = self.statement(name)?;
                let prepared = match self.block {
                    Block::Failed(_) => statement.prepared.clone(),
                    _ => self.plan(&statement, engine, now)?,
                };
                self.refuse_rows_if_failed(prepared.as_deref())?;
                let types = statement.params().iter().map(|ty| ty.oid());
                backend::parameter_description(&mut self.output, types);
                self.refuse_other_result(&statement, prepared.as_deref(), engine, now)?;
                (prepared, Vec::new())
            }
            Target::Portal => {
                let portal = self.known_portal(name)?;
                let (prepared, formats) = (portal.prepared.clone(), portal.formats.clone());
                self.refuse_rows_if_failed(prepared.as_deref())?;
                (prepared, formats)
            }
        };
        match prepared.as_ref().and_then(|prepared| prepared.columns()) {
            Some(columns) => write_row_description(&mut self.output, columns, &formats),
            None => backend::no_data(&mut self.output),
        }
        Ok(())
    }

    /// Source: `exec_describe_statement_message`: what returns rows may need the catalog, which a
    /// failed transaction can not look at.
    fn refuse_rows_if_failed(&self, prepared: Option<&Prepared>) -> Result<(), PgError> {
        match prepared.is_some_and(|prepared| prepared.columns().is_some()) {
            true => self.refuse_if_failed(),
            false => Ok(()),
        }
    }

    pub(super) fn refuse_if_failed(&self) -> Result<(), PgError> {
        match self.block {
            Block::Failed(_) => Err(PgError::in_failed_transaction()),
            _ => Ok(()),
        }
    }

    /// Close.
    pub(super) fn close(&mut self, target: Target, name: &str) {
        match (target, name) {
            (Target::Statement, "") => self.unnamed_statement = None,
            (Target::Statement, name) => drop(self.statements.remove(name)),
            (Target::Portal, "") => self.unnamed_portal = None,
            (Target::Portal, name) => drop(self.portals.remove(name)),
        }
        backend::close_complete(&mut self.output);
    }

    /// Sync: the end of a pipeline.
    pub(super) fn sync(&mut self, engine: &mut Engine, now: Timestamp) {
        self.end_command();
        if let Block::Implicit(_) = self.block
            && let Err(error) = self.hold_cursors(engine, now)
        {
            return self.fail_message(error, false, engine);
        }
        match std::mem::take(&mut self.block) {
            Block::Implicit(transaction) => {
                self.commit(End::implicit(transaction, None), Then::Sync, engine, now);
            }
            block => {
                self.block = block;
                self.ready(engine);
            }
        }
    }
}

impl Session {
    /// The type of a parameter as Parse names it.
    fn hint(&self, oid: u32, engine: &Engine) -> Result<Option<Type>, PgError> {
        // `unknown`, which some drivers send for what they do not know either.
        if oid == 0 || oid == 705 {
            return Ok(None);
        }
        if let Some(ty) = Type::from_oid(oid) {
            return Ok(Some(ty));
        }
        let catalog = engine.catalog();
        let database = catalog.database(&self.database);
        database
            .and_then(|database| catalog.user_type_by_oid(database.id, oid))
            .map(Some)
            .ok_or_else(|| PgError::feature_not_supported(format!("parameters of type {oid}")))
    }
}
