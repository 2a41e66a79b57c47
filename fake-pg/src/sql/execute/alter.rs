//! ALTER TABLE: actions gathered, then done at once.
//!
//! The actions of one statement are put in the order of PostgreSQL's passes, and change a copy of
//! the definition. What that needs of the rows is done last, once: nothing, another mapping of
//! their columns, or new rows (`ATController` in tablecmds.c).

mod column;
mod constraint;
mod rename;

use std::sync::Arc;

use super::constraint as constraints;
use super::ddl::{self, Names};
use super::foreign_key;
use super::persistence;
use super::{Frame, Run};
use crate::engine::{
    Catalog, CatalogChange, ForeignKey, Halt, LockMode, Mapping, Relation, Row, SearchPath,
    Sequence, Source, Table, View,
};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{self, Alter, AlterAction, ConstraintKind, Name};
use crate::sql::face::Context;
use crate::sql::parse;
use crate::sql::plan::{Binder, Scalar, Typed};
use crate::types::Datum;
use column::{kind, next_value};
use rename::{rename, set_schema};

/// A table while it is altered.
struct Work {
    old: Arc<Table>,
    new: Table,
    /// Where each column of the new rows comes from.
    cells: Vec<Cell>,
    /// Constraints that the rows there are must be checked against.
    checks: Vec<(Name, Scalar)>,
    /// Columns that must not be NULL now.
    not_null: Vec<usize>,
    /// Sequences for new columns.
    sequences: Vec<(usize, Sequence)>,
    /// Sequences that go with their columns.
    dropped: Vec<Arc<Sequence>>,
    /// Relations that go with what is dropped.
    views: Vec<Arc<View>>,
    notices: Vec<PgError>,
    /// Whether an index must be made or taken away.
    reindex: bool,
    /// Whether the definition changes at all.
    redefined: bool,
    /// Foreign keys to be added, changed, checked, and dropped.
    new_keys: Vec<ast::TableConstraint>,
    changed_keys: Vec<ForeignKey>,
    unchecked_keys: Vec<Arc<ForeignKey>>,
    dropped_keys: Vec<Arc<ForeignKey>>,
}

/// A column of the new rows.
enum Cell {
    Old(usize),
    Value(Datum),
    /// Over the old row.
    Computed(Scalar),
}

/// When an action is done (`AlterTablePass`).
fn pass(action: &AlterAction) -> u8 {
    match action {
        AlterAction::DropColumn { .. } | AlterAction::DropConstraint { .. } => 0,
        AlterAction::SetNotNull(_, false) | AlterAction::DropIdentity(..) => 0,
        AlterAction::SetType { .. } => 1,
        AlterAction::AddColumn { .. } => 4,
        AlterAction::SetDefault(..) | AlterAction::SetNotNull(..) => 6,
        AlterAction::AddIdentity(..) | AlterAction::SetIdentity(..) => 6,
        AlterAction::AddKeyUsing { .. } => 7,
        AlterAction::AddConstraint(constraint, _) => match constraint.kind {
            ConstraintKind::Check(..) => 9,
            _ => 8,
        },
        _ => 10,
    }
}

/// How an action locks the table (`AlterTableGetLockLevel`).
fn level(action: &AlterAction) -> LockMode {
    match action {
        AlterAction::AddConstraint(constraint, _)
            if matches!(constraint.kind, ConstraintKind::ForeignKey(_)) =>
        {
            LockMode::ShareRowExclusive
        }
        AlterAction::Validate(_) | AlterAction::Tuning => LockMode::ShareUpdateExclusive,
        _ => LockMode::AccessExclusive,
    }
}

pub(super) fn alter(alter: &Alter, context: &mut Context<'_>) -> Result<(), Halt> {
    let exec = &mut context.exec;
    let Some(found) = ddl::find(exec, &alter.relation)? else {
        let name = alter.relation.name.join(".");
        let message = format!("relation \"{name}\" does not exist");
        if alter.if_exists {
            let message = format!("{message}, skipping");
            exec.notice(PgError::notice(SqlState::SUCCESSFUL_COMPLETION, message));
            return Ok(());
        }
        return Err(PgError::undefined_table(&name).into());
    };
    if let [one] = &alter.actions[..] {
        match one {
            AlterAction::Rename(to) => return rename(alter.object, &found, to, context),
            AlterAction::SetSchema(to) => return set_schema(&found, to, context),
            AlterAction::SetUnlogged(unlogged) => {
                return persistence::set(&found, *unlogged, context);
            }
            AlterAction::Owner(_) | AlterAction::Tuning => return Ok(()),
            _ => {}
        }
    }
    let Relation::Table(table) = found else {
        return Err(PgError::feature_not_supported("this ALTER of what is no table").into());
    };
    alter_table(table, &alter.actions, context)
}

fn alter_table(
    table: Arc<Table>,
    actions: &[AlterAction],
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let level = actions.iter().map(level).max();
    let level = level.unwrap_or(LockMode::AccessExclusive);
    context.exec.lock_table(&table, level, false)?;
    let renames = |action: &AlterAction| {
        matches!(
            action,
            AlterAction::RenameColumn(..) | AlterAction::RenameConstraint(..)
        )
    };
    if !actions.iter().all(renames) {
        context.exec.refuse_pending(&table, "ALTER TABLE")?;
    }
    let (catalog, path) = (context.exec.catalog().clone(), context.exec.path().clone());
    let mut work = Work {
        cells: (0..table.columns.len()).map(Cell::Old).collect(),
        new: Table::clone(&table),
        old: table,
        checks: Vec::new(),
        not_null: Vec::new(),
        sequences: Vec::new(),
        dropped: Vec::new(),
        views: Vec::new(),
        notices: Vec::new(),
        reindex: false,
        redefined: false,
        new_keys: Vec::new(),
        changed_keys: Vec::new(),
        unchecked_keys: Vec::new(),
        dropped_keys: Vec::new(),
    };
    let mut actions: Vec<&AlterAction> = actions.iter().collect();
    actions.sort_by_key(|action| pass(action));
    let names = (&*catalog, &path);
    for action in actions {
        work.prepare(action, names)?;
    }
    work.finish(context, &path)
}

impl Work {
    fn column(&self, name: &str) -> Result<usize, PgError> {
        let found = self.new.column(name);
        found.ok_or_else(|| PgError::undefined_column_of(name, &self.new.name))
    }

    fn prepare(
        &mut self,
        action: &AlterAction,
        names: (&Catalog, &SearchPath),
    ) -> Result<(), PgError> {
        self.redefined |= level(action) == LockMode::AccessExclusive;
        match action {
            AlterAction::AddColumn {
                column,
                constraints,
                if_not_exists,
            } => {
                if !self.add_column(column, *if_not_exists, names)? {
                    return Ok(());
                }
                for constraint in constraints {
                    self.add_constraint(constraint, false, names)?;
                }
            }
            AlterAction::DropColumn {
                name,
                if_exists,
                cascade,
            } => self.drop_column(name, *if_exists, *cascade, names)?,
            AlterAction::SetType { column, ty, using } => {
                self.set_type(column, ty, using.as_ref(), names)?;
            }
            AlterAction::SetDefault(name, default) => {
                let place = self.column(name)?;
                let column = &self.new.columns[place];
                if column.identity.is_some() {
                    return Err(PgError::new(
                        SqlState::SYNTAX_ERROR,
                        format!(
                            "column \"{name}\" of relation \"{}\" is an identity column",
                            self.new.name
                        ),
                    ));
                }
                if let Some((default, _)) = default {
                    let to = Typed {
                        ty: column.ty,
                        typmod: column.typmod,
                    };
                    let mut binder = Binder::new(names.0, names.1, Vec::new());
                    binder
                        .check_default(default, to, name)
                        .map_err(PgError::nowhere)?;
                }
                let default = default.as_ref().map(|(_, text)| text.clone());
                self.new.columns[place].default = default;
            }
            AlterAction::SetNotNull(name, not_null) => {
                let place = self.column(name)?;
                if !not_null {
                    self.refuse_nullable(place)?;
                } else if !self.new.columns[place].not_null {
                    self.not_null.push(place);
                }
                self.new.columns[place].not_null = *not_null;
            }
            AlterAction::AddIdentity(name, identity) => self.add_identity(name, identity, names)?,
            AlterAction::SetIdentity(name, always) => {
                let place = self.column(name)?;
                if self.new.columns[place].identity.is_none() {
                    return Err(self.no_identity(name));
                }
                self.new.columns[place].identity = Some(kind(*always));
            }
            AlterAction::DropIdentity(name, if_exists) => {
                let place = self.column(name)?;
                if self.new.columns[place].identity.is_none() {
                    let error = self.no_identity(name);
                    if !if_exists {
                        return Err(error);
                    }
                    let message = format!("{}, skipping", error.message);
                    self.notices
                        .push(PgError::notice(SqlState::SUCCESSFUL_COMPLETION, message));
                    return Ok(());
                }
                self.new.columns[place].identity = None;
                self.new.columns[place].default = None;
                self.drop_sequences(place, names.0);
            }
            AlterAction::AddConstraint(constraint, not_valid) => {
                self.add_constraint(constraint, *not_valid, names)?;
            }
            AlterAction::AddKeyUsing {
                name,
                index,
                primary,
            } => self.add_key_using(name.as_ref(), index, *primary)?,
            AlterAction::DropConstraint {
                name,
                if_exists,
                cascade,
            } => self.drop_constraint(name, *if_exists, *cascade, names)?,
            AlterAction::Validate(name)
                if self.new.foreign_keys.iter().any(|key| key.name == *name) =>
            {
                let mut keys = self.new.foreign_keys.iter();
                let key = keys.find(|key| key.name == *name && !key.validated);
                self.unchecked_keys.extend(key.cloned());
            }
            AlterAction::Validate(name) => {
                let mut checks = self.new.checks.iter_mut();
                let Some(check) = checks.find(|check| check.name == *name) else {
                    return Err(self.no_constraint(name));
                };
                if !std::mem::replace(&mut check.validated, true) {
                    let check = check.clone();
                    self.redefined = true;
                    self.check_rows(&check, names)?;
                }
            }
            AlterAction::AlterConstraint(name, timing) => {
                let mut keys = self.new.foreign_keys.iter();
                let Some(key) = keys.find(|key| key.name == *name) else {
                    let table = &self.new.name;
                    let mut indexes = self.new.indexes.iter();
                    let is_key = indexes.any(|index| index.constraint && index.name == *name);
                    if !is_key && !self.new.checks.iter().any(|check| check.name == *name) {
                        return Err(self.no_constraint(name));
                    }
                    return Err(PgError::new(
                        SqlState::WRONG_OBJECT_TYPE,
                        format!(
                            "constraint \"{name}\" of relation \"{table}\" is not a foreign key constraint"
                        ),
                    ));
                };
                self.changed_keys.push(ForeignKey {
                    deferral: (*timing).into(),
                    ..ForeignKey::clone(key)
                });
            }
            AlterAction::RenameColumn(from, to) => self.rename_column(from, to, names)?,
            AlterAction::RenameConstraint(from, to) => self.rename_constraint(from, to)?,
            AlterAction::Owner(_) | AlterAction::Tuning => {}
            AlterAction::Rename(_) | AlterAction::SetSchema(_) | AlterAction::SetUnlogged(_) => {
                return Err(PgError::feature_not_supported(
                    "renaming, moving or SET LOGGED beside other actions",
                ));
            }
        }
        Ok(())
    }

    fn names(&self, catalog: &Catalog) -> Names {
        let space = catalog.namespace(self.new.database, &self.new.schema);
        let table = &self.new;
        let keys = table.indexes.iter().map(|index| index.name.clone());
        let checks = table.checks.iter().map(|check| check.name.clone());
        Names {
            namespace: space.cloned(),
            chosen: keys.chain(checks).collect(),
        }
    }

    /// Makes it so.
    fn finish(mut self, context: &mut Context<'_>, path: &SearchPath) -> Result<(), Halt> {
        let (new_keys, id) = (std::mem::take(&mut self.new_keys), self.new.id);
        let changed_keys = std::mem::take(&mut self.changed_keys);
        let unchecked_keys = std::mem::take(&mut self.unchecked_keys);
        constraints::lock_referenced(&new_keys, &self.new.name, &mut context.exec)?;
        let catalog = context.exec.catalog().clone();
        for key in &self.dropped_keys {
            for id in [key.table, key.referenced] {
                if let Some(table) = catalog.table_by_id(id) {
                    context
                        .exec
                        .lock_table(table, LockMode::AccessExclusive, false)?;
                }
            }
        }
        let dropped_keys = std::mem::take(&mut self.dropped_keys);
        let gone = |key: &Arc<ForeignKey>| dropped_keys.iter().any(|other| other.id == key.id);
        self.new.foreign_keys.retain(|key| !gone(key));
        self.new.referenced_by.retain(|key| !gone(key));
        self.redefine(context, path)?;
        for key in dropped_keys {
            context
                .exec
                .change_catalog(CatalogChange::DropForeignKey(key))?;
        }
        for key in changed_keys {
            let change = CatalogChange::ReplaceForeignKey(Arc::new(key));
            context.exec.change_catalog(change)?;
        }
        for constraint in &new_keys {
            if let ConstraintKind::ForeignKey(key) = &constraint.kind {
                constraints::add_foreign_key(constraint, key, id, context)?;
            }
        }
        for key in unchecked_keys {
            let child = catalog.table_by_id(key.table);
            if let (Some(child), Some(parent)) = (child, catalog.table_by_id(key.referenced)) {
                foreign_key::check_all(&key, child, parent, context)?;
            }
            let key = ForeignKey {
                validated: true,
                ..ForeignKey::clone(&key)
            };
            let change = CatalogChange::ReplaceForeignKey(Arc::new(key));
            context.exec.change_catalog(change)?;
        }
        Ok(())
    }

    /// Changes the definition, and the rows as it demands.
    fn redefine(mut self, context: &mut Context<'_>, path: &SearchPath) -> Result<(), Halt> {
        let old = |name: &Arc<str>| self.old.indexes.iter().any(|old| old.name == *name);
        for index in self.new.indexes.iter().filter(|index| !old(&index.name)) {
            let exec = &mut context.exec;
            exec.reserve_name(self.new.database, &self.new.schema, &index.name)?;
            if self.old.indexes.iter().any(|old| old.id == index.id) {
                let (table, name) = (self.new.id, index.name.clone());
                exec.change_catalog(CatalogChange::RenameIndex(table, index.id, name))?;
            }
        }
        for (_, sequence) in &mut self.sequences {
            (sequence.database, sequence.schema) = (self.new.database, self.new.schema.clone());
            let exec = &mut context.exec;
            exec.reserve_name(sequence.database, &sequence.schema, &sequence.name)?;
        }
        for notice in std::mem::take(&mut self.notices) {
            context.exec.notice(notice);
        }
        for sequence in self.dropped.drain(..) {
            let exclusive = LockMode::AccessExclusive;
            context.exec.lock_relation(sequence.id, exclusive)?;
            context.exec.drop_sequence(&sequence)?;
        }
        for view in self.views.drain(..) {
            context.exec.change_catalog(CatalogChange::DropView(view))?;
        }
        for (place, mut sequence) in std::mem::take(&mut self.sequences) {
            sequence.owner = Some((self.new.id, place));
            sequence.unlogged = self.old.unlogged;
            let sequence = context.exec.create_sequence(sequence)?;
            // Rows that are there get values of a new column's sequence.
            if place >= self.old.columns.len() {
                let current = context.exec.catalog().clone();
                let text = next_value(&sequence.schema, &sequence.name);
                let expr = parse::expression(&text)?;
                let column = &self.new.columns[place];
                let to = Typed {
                    ty: column.ty,
                    typmod: column.typmod,
                };
                let mut binder = Binder::new(&current, path, Vec::new());
                self.cells[place] = Cell::Computed(binder.default_expr(&expr, to)?);
            }
        }
        let changed = self.cells.len() > self.old.columns.len()
            || self
                .cells
                .iter()
                .any(|cell| matches!(cell, Cell::Computed(_)));
        if !changed && self.checks.is_empty() && self.not_null.is_empty() {
            if !self.redefined {
                return Ok(());
            }
            return match self.reindex {
                true => context.exec.remap_table(&self.old, self.new, None),
                false => context.exec.replace_table(self.new),
            };
        }
        let rewrites = self.settle(context)?;
        let rows = self.rows(context)?;
        if rewrites {
            return context.exec.rewrite_table(&self.old, self.new, rows);
        }
        let mapping = changed.then(|| self.mapping());
        match changed || self.reindex {
            true => context.exec.remap_table(&self.old, self.new, mapping),
            false if self.redefined => context.exec.replace_table(self.new),
            false => Ok(()),
        }
    }

    /// Computes defaults that are the same for all rows. True if the rows must be written anew.
    fn settle(&mut self, context: &mut Context<'_>) -> Result<bool, Halt> {
        let mut rewrites = false;
        for place in 0..self.cells.len() {
            let Cell::Computed(scalar) = &self.cells[place] else {
                continue;
            };
            let mut varies = false;
            scalar.walk(&mut |part| match part {
                Scalar::Column(_) => varies = true,
                Scalar::Call(function, _) if function.is_volatile() => varies = true,
                _ => {}
            });
            if varies || place < self.old.columns.len() {
                rewrites = true;
                continue;
            }
            let value = Run::alone(context).eval(scalar, &Frame::NONE)?;
            self.cells[place] = Cell::Value(value);
        }
        Ok(rewrites)
    }

    fn mapping(&self) -> Mapping {
        let source = |cell: &Cell| match cell {
            Cell::Old(place) => Source::Column(*place),
            Cell::Value(value) => Source::Value(value.clone()),
            Cell::Computed(_) => Source::Value(Datum::Null),
        };
        self.cells.iter().map(source).collect()
    }

    /// The new rows, checked.
    fn rows(&self, context: &mut Context<'_>) -> Result<Vec<Row>, Halt> {
        let old = context.exec.scan_latest(&self.old);
        let mut rows = Vec::with_capacity(old.len());
        for (_, row) in old {
            let mut new = Vec::with_capacity(self.cells.len());
            for cell in &self.cells {
                new.push(match cell {
                    Cell::Old(place) => row[*place].clone(),
                    Cell::Value(value) => value.clone(),
                    Cell::Computed(scalar) => {
                        let frame = Frame {
                            row: &row,
                            outer: None,
                        };
                        Run::alone(context).eval(scalar, &frame)?
                    }
                });
            }
            for &place in &self.not_null {
                if new[place].is_null() {
                    return Err(self.null_found(place).into());
                }
            }
            for (name, check) in &self.checks {
                let frame = Frame {
                    row: &new,
                    outer: None,
                };
                if Run::alone(context).eval(check, &frame)? == Datum::Bool(false) {
                    return Err(self.check_broken(name).into());
                }
            }
            rows.push(new.into());
        }
        Ok(rows)
    }

    fn null_found(&self, place: usize) -> PgError {
        let (table, column) = (&self.new.name, &self.new.columns[place].name);
        let mut error = PgError::new(
            SqlState::NOT_NULL_VIOLATION,
            format!("column \"{column}\" of relation \"{table}\" contains null values"),
        );
        error.schema = Some(self.new.schema.to_string());
        error.table = Some(table.to_string());
        error.column = Some(column.to_string());
        error
    }

    fn check_broken(&self, name: &str) -> PgError {
        let table = &self.new.name;
        let mut error = PgError::new(
            SqlState::CHECK_VIOLATION,
            format!("check constraint \"{name}\" of relation \"{table}\" is violated by some row"),
        );
        error.schema = Some(self.new.schema.to_string());
        error.table = Some(table.to_string());
        error.constraint = Some(name.to_string());
        error
    }
}

/// The notice of what CASCADE takes along.
fn cascades(lines: &[String]) -> PgError {
    let code = SqlState::SUCCESSFUL_COMPLETION;
    match lines {
        [one] => PgError::notice(code, one),
        all => PgError::notice(
            code,
            format!("drop cascades to {} other objects", all.len()),
        )
        .with_detail(all.join("\n")),
    }
}
