//! ALTER TABLE: actions gathered, then done at once.
//!
//! The actions of one statement are put in the order of PostgreSQL's passes, and change a copy of
//! the definition. What that needs of the rows is done last, once: nothing, another mapping of
//! their columns, or new rows (`ATController` in tablecmds.c).

use std::sync::Arc;

use super::constraint;
use super::ddl::{self, Names};
use super::drop::shown;
use super::foreign_key;
use super::persistence;
use super::{Frame, Run};
use crate::engine::{
    Catalog, CatalogChange, Check, Column, Exec, ForeignKey, Halt, Identity, Index, LockMode,
    Mapping, Relation, Row, SearchPath, Sequence, Source, Table, View,
};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{self, Alter, AlterAction, ConstraintKind, DropObject, Expr, Name};
use crate::sql::face::Context;
use crate::sql::parse;
use crate::sql::plan::{Binder, Scalar, Typed};
use crate::sql::quote::quote_name;
use crate::types::Datum;

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
                    binder.check_default(default, to, name)?;
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
                let check = self.new.checks.iter().find(|check| check.name == *name);
                let Some(check) = check.cloned() else {
                    return Err(self.no_constraint(name));
                };
                self.check_rows(&check, names)?;
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

    fn no_identity(&self, name: &str) -> PgError {
        PgError::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!(
                "column \"{name}\" of relation \"{}\" is not an identity column",
                self.new.name
            ),
        )
    }

    fn no_constraint(&self, name: &str) -> PgError {
        PgError::new(
            SqlState::UNDEFINED_OBJECT,
            format!(
                "constraint \"{name}\" of relation \"{}\" does not exist",
                self.new.name
            ),
        )
    }

    /// False if it is there already, and that is no error.
    fn add_column(
        &mut self,
        definition: &ast::ColumnDef,
        if_not_exists: bool,
        names: (&Catalog, &SearchPath),
    ) -> Result<bool, PgError> {
        let table = self.new.name.clone();
        if self.new.column(&definition.name).is_some() {
            let message = format!(
                "column \"{}\" of relation \"{table}\" already exists",
                definition.name
            );
            if !if_not_exists {
                return Err(PgError::new(SqlState::DUPLICATE_COLUMN, message));
            }
            let message = format!("{message}, skipping");
            self.notices
                .push(PgError::notice(SqlState::DUPLICATE_COLUMN, message));
            return Ok(false);
        }
        let mut chosen = self.names(names.0);
        let schema = self.new.schema.clone();
        let (column, sequence) = ddl::column(definition, &table, &schema, names, &mut chosen)?;
        let place = self.new.columns.len();
        let cell = if let Some(sequence) = sequence {
            self.sequences.push((place, sequence));
            Cell::Value(Datum::Null)
        } else if let Some((default, _)) = &definition.default {
            let mut binder = Binder::new(names.0, names.1, Vec::new());
            let to = Typed {
                ty: column.ty,
                typmod: column.typmod,
            };
            binder.check_default(default, to, &definition.name)?;
            Cell::Computed(binder.default_expr(default, to)?)
        } else {
            Cell::Value(Datum::Null)
        };
        if column.not_null {
            self.not_null.push(place);
        }
        self.new.columns.push(column);
        self.cells.push(cell);
        Ok(true)
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

    fn drop_sequences(&mut self, place: usize, catalog: &Catalog) {
        let owned = |sequence: &&Arc<Sequence>| sequence.owner == Some((self.new.id, place));
        let owned: Vec<_> = catalog.sequences().filter(owned).cloned().collect();
        self.dropped.extend(owned);
    }

    fn drop_column(
        &mut self,
        name: &str,
        if_exists: bool,
        cascade: bool,
        (catalog, path): (&Catalog, &SearchPath),
    ) -> Result<(), PgError> {
        let place = match self.column(name) {
            Ok(place) => place,
            Err(missing) if if_exists => {
                let message = format!("{}, skipping", missing.message);
                self.notices
                    .push(PgError::notice(SqlState::SUCCESSFUL_COMPLETION, message));
                return Ok(());
            }
            Err(missing) => return Err(missing),
        };
        let on = shown(catalog, path, &self.new.schema, &self.new.name);
        self.drop_readers(name, &on, cascade, (catalog, path))?;
        let referring = self.new.referenced_by.iter();
        let referring: Vec<_> = referring
            .filter(|key| key.keys.contains(&place))
            .cloned()
            .collect();
        let column = format!("column {name} of table {on}");
        self.drop_referring(referring, &column, &column, cascade, (catalog, path))?;
        let table = Arc::new(self.new.clone());
        let mut kept = Vec::with_capacity(table.checks.len());
        for check in &table.checks {
            let expr = parse::expression(&check.expression)?;
            let about = Binder::new(catalog, path, Vec::new()).check(&table, &expr)?;
            if !about.contains(&place) {
                kept.push(check.clone());
            }
        }
        self.new.checks = kept;
        let before = self.new.indexes.len();
        self.new
            .indexes
            .retain(|index| !index.columns.contains(&place) && !index.included.contains(&place));
        self.reindex |= self.new.indexes.len() < before;
        let own = self.new.foreign_keys.iter();
        let own = own.filter(|key| key.columns.contains(&place)).cloned();
        self.dropped_keys.extend(own);
        self.drop_sequences(place, catalog);
        let column = &mut self.new.columns[place];
        *column = Column {
            name: format!("........pg.dropped.{}........", place + 1).into(),
            dropped: true,
            not_null: false,
            default: None,
            identity: None,
            ..column.clone()
        };
        self.cells[place] = Cell::Value(Datum::Null);
        self.not_null.retain(|column| *column != place);
        Ok(())
    }

    /// Views that read a column, and views of those, go only with CASCADE.
    fn drop_readers(
        &mut self,
        name: &str,
        on: &str,
        cascade: bool,
        (catalog, path): (&Catalog, &SearchPath),
    ) -> Result<(), PgError> {
        let describe = |view: &View| {
            let name = shown(catalog, path, &view.schema, &view.name);
            format!("view {name}")
        };
        let mut found: Vec<(Arc<View>, String)> = Vec::new();
        for view in self.readers(catalog) {
            if reads_column(&view, name) {
                found.push((view, format!("column {name} of table {on}")));
            }
        }
        let mut next = 0;
        while let Some((view, _)) = found.get(next).cloned() {
            let spaces = catalog.namespaces(self.new.database);
            for reader in spaces.flat_map(|space| space.views()) {
                let known = found.iter().any(|(other, _)| other.id == reader.id);
                if reader.reads.contains(&view.id) && !known {
                    found.push((reader.clone(), describe(&view)));
                }
            }
            next += 1;
        }
        if found.is_empty() {
            return Ok(());
        }
        if !cascade {
            let lines = found.iter();
            let lines = lines.map(|(view, on)| format!("{} depends on {on}", describe(view)));
            let message = format!(
                "cannot drop column {name} of table {on} because other objects depend on it"
            );
            return Err(
                PgError::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
                    .with_detail(lines.collect::<Vec<_>>().join("\n"))
                    .with_hint("Use DROP ... CASCADE to drop the dependent objects too."),
            );
        }
        let lines = found.iter();
        let lines: Vec<String> = lines
            .map(|(view, _)| format!("drop cascades to {}", describe(view)))
            .collect();
        self.notices.push(cascades(&lines));
        self.views.extend(found.into_iter().map(|(view, _)| view));
        Ok(())
    }

    /// Foreign keys of other tables go only with CASCADE.
    fn drop_referring(
        &mut self,
        keys: Vec<Arc<ForeignKey>>,
        what: &str,
        depended_on: &str,
        cascade: bool,
        (catalog, path): (&Catalog, &SearchPath),
    ) -> Result<(), PgError> {
        let described = keys.iter().map(|key| {
            let table = catalog.table_by_id(key.table);
            let table = table.map(|table| shown(catalog, path, &table.schema, &table.name));
            format!(
                "constraint {} on table {}",
                key.name,
                table.unwrap_or_default()
            )
        });
        let described: Vec<String> = described.collect();
        if described.is_empty() {
            return Ok(());
        }
        if !cascade {
            let lines = described
                .iter()
                .map(|key| format!("{key} depends on {depended_on}"));
            let message = format!("cannot drop {what} because other objects depend on it");
            return Err(
                PgError::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
                    .with_detail(lines.collect::<Vec<_>>().join("\n"))
                    .with_hint("Use DROP ... CASCADE to drop the dependent objects too."),
            );
        }
        let lines: Vec<String> = described
            .iter()
            .map(|key| format!("drop cascades to {key}"))
            .collect();
        let notice = cascades(&lines);
        self.notices.push(notice);
        self.dropped_keys.extend(keys);
        Ok(())
    }

    fn is_referenced(&self, place: usize) -> bool {
        let mut keys = self.new.referenced_by.iter();
        keys.any(|key| key.keys.contains(&place))
    }

    fn readers(&self, catalog: &Catalog) -> Vec<Arc<View>> {
        let spaces = catalog.namespaces(self.new.database);
        let views = spaces.flat_map(|space| space.views());
        let reads = |view: &&Arc<View>| view.reads.contains(&self.new.id);
        views.filter(reads).cloned().collect()
    }

    fn set_type(
        &mut self,
        name: &str,
        ty: &ast::TypeName,
        using: Option<&Expr>,
        (catalog, path): (&Catalog, &SearchPath),
    ) -> Result<(), PgError> {
        let place = self.column(name)?;
        let readers = self.readers(catalog);
        if let Some(view) = readers.iter().find(|view| reads_column(view, name)) {
            return Err(PgError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "cannot alter type of a column used by a view or rule",
            )
            .with_detail(format!(
                "rule _RETURN on view {} depends on column \"{name}\"",
                shown(catalog, path, &view.schema, &view.name)
            )));
        }
        let of_key = |key: &Arc<crate::engine::ForeignKey>| key.columns.contains(&place);
        if self.is_referenced(place) || self.new.foreign_keys.iter().any(of_key) {
            return Err(PgError::feature_not_supported(
                "changing the type of a column of a foreign key",
            ));
        }
        if self
            .new
            .indexes
            .iter()
            .any(|index| index.computed.is_some())
        {
            return Err(PgError::feature_not_supported(
                "changing types of a table with an index on expressions",
            ));
        }
        let mut binder = Binder::new(catalog, path, Vec::new());
        let to = binder.type_name(ty)?;
        let column = Expr::Column(vec![name.into()], 0);
        let expr = using.unwrap_or(&column);
        let (scalar, from) = binder.over_table(Some(&self.old), expr)?;
        let cast = binder.assignable(scalar, from, to)?;
        let Some(cast) = cast else {
            let message = match using {
                None => format!(
                    "column \"{name}\" cannot be cast automatically to type {}",
                    to.ty
                ),
                Some(_) => format!(
                    "result of USING clause for column \"{name}\" cannot be cast automatically to type {}",
                    to.ty
                ),
            };
            let hint = match using {
                None => format!(
                    "You might need to specify \"USING {}::{}\".",
                    quote_name(name),
                    to.ty
                ),
                Some(_) => "You might need to add an explicit cast.".into(),
            };
            return Err(PgError::new(SqlState::DATATYPE_MISMATCH, message).with_hint(hint));
        };
        let column = &mut self.new.columns[place];
        if let Some(default) = &column.default
            && column.identity.is_none()
        {
            let expr = parse::expression(default)?;
            let default = binder.over_table(None, &expr)?;
            if binder.assignable(default.0, default.1, to)?.is_none() {
                return Err(PgError::new(
                    SqlState::DATATYPE_MISMATCH,
                    format!(
                        "default for column \"{name}\" cannot be cast automatically to type {}",
                        to.ty
                    ),
                ));
            }
        }
        (column.ty, column.typmod) = (to.ty, to.typmod);
        self.reindex = true;
        self.cells[place] = match cast {
            Scalar::Column(same) => Cell::Old(same),
            cast => Cell::Computed(cast),
        };
        Ok(())
    }

    fn refuse_nullable(&self, place: usize) -> Result<(), PgError> {
        let name = &self.new.columns[place].name;
        let keyed = |index: &Arc<Index>| index.primary && index.columns.contains(&place);
        if self.new.indexes.iter().any(keyed) {
            return Err(PgError::new(
                SqlState::INVALID_TABLE_DEFINITION,
                format!("column \"{name}\" is in a primary key"),
            ));
        }
        if self.new.columns[place].identity.is_some() {
            return Err(PgError::new(
                SqlState::SYNTAX_ERROR,
                format!(
                    "column \"{name}\" of relation \"{}\" is an identity column",
                    self.new.name
                ),
            ));
        }
        Ok(())
    }

    fn add_identity(
        &mut self,
        name: &str,
        identity: &ast::Identity,
        names: (&Catalog, &SearchPath),
    ) -> Result<(), PgError> {
        let place = self.column(name)?;
        let (column, table) = (&self.new.columns[place], &self.new.name);
        let refuse = |code: SqlState, what: &str| {
            let message = format!("column \"{name}\" of relation \"{table}\" {what}");
            Err(PgError::new(code, message))
        };
        let state = SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE;
        if !column.not_null {
            return refuse(
                state,
                "must be declared NOT NULL before identity can be added",
            );
        }
        if column.identity.is_some() {
            return refuse(state, "is already an identity column");
        }
        if column.default.is_some() {
            return refuse(state, "already has a default value");
        }
        let definition = ast::ColumnDef {
            name: column.name.clone(),
            ty: ast::TypeName {
                name: vec![column.ty.name().into()],
                modifiers: Vec::new(),
                array: false,
                at: 0,
                cast_at: 0,
            },
            not_null: true,
            default: None,
            identity: Some(identity.clone()),
        };
        let (table, schema) = (table.clone(), self.new.schema.clone());
        let mut chosen = self.names(names.0);
        let (column, sequence) = ddl::column(&definition, &table, &schema, names, &mut chosen)?;
        self.new.columns[place] = column;
        self.sequences
            .extend(sequence.map(|sequence| (place, sequence)));
        Ok(())
    }

    fn add_constraint(
        &mut self,
        constraint: &ast::TableConstraint,
        not_valid: bool,
        names: (&Catalog, &SearchPath),
    ) -> Result<(), PgError> {
        if let Some(name) = &constraint.name {
            let taken = self.new.checks.iter().any(|check| check.name == *name)
                || self.new.foreign_keys.iter().any(|key| key.name == *name);
            if taken {
                return Err(PgError::new(
                    SqlState::DUPLICATE_OBJECT,
                    format!(
                        "constraint \"{name}\" for relation \"{}\" already exists",
                        self.new.name
                    ),
                ));
            }
        }
        if let ConstraintKind::ForeignKey(_) = constraint.kind {
            self.new_keys.push(constraint.clone());
            return Ok(());
        }
        let known: Vec<Name> = self.new.checks.iter().map(|c| c.name.clone()).collect();
        let indexes = self.new.indexes.len();
        let not_null: Vec<bool> = self.new.columns.iter().map(|c| c.not_null).collect();
        let mut chosen = self.names(names.0);
        let alone = ast::CreateTable {
            table: ast::Relation {
                name: vec![self.new.name.clone()],
                at: 0,
            },
            if_not_exists: false,
            unlogged: false,
            columns: Vec::new(),
            constraints: vec![constraint.clone()],
        };
        let mut with = Table {
            indexes: Vec::new(),
            checks: Vec::new(),
            ..self.new.clone()
        };
        ddl::constraints(&alone, &mut with, &mut chosen, names)?;
        let is_primary = |index: &Arc<Index>| index.primary;
        if with.indexes.iter().any(is_primary) && self.new.indexes.iter().any(is_primary) {
            return Err(PgError::new(
                SqlState::INVALID_TABLE_DEFINITION,
                format!(
                    "multiple primary keys for table \"{}\" are not allowed",
                    self.new.name
                ),
            ));
        }
        self.new.indexes.append(&mut with.indexes);
        self.new.checks.append(&mut with.checks);
        self.new.checks.sort_by(|a, b| a.name.cmp(&b.name));
        self.new.columns = with.columns;
        self.reindex |= self.new.indexes.len() > indexes;
        let now = self.new.columns.iter().map(|column| column.not_null);
        for (place, (before, now)) in not_null.into_iter().zip(now).enumerate() {
            if now && !before {
                self.not_null.push(place);
            }
        }
        if !not_valid {
            let checks = self.new.checks.iter();
            let fresh: Vec<Check> = checks
                .filter(|check| !known.contains(&check.name))
                .cloned()
                .collect();
            for check in fresh {
                self.check_rows(&check, names)?;
            }
        }
        Ok(())
    }

    fn check_rows(
        &mut self,
        check: &Check,
        (catalog, path): (&Catalog, &SearchPath),
    ) -> Result<(), PgError> {
        let expr = parse::expression(&check.expression)?;
        let table = Arc::new(self.new.clone());
        let mut binder = Binder::new(catalog, path, Vec::new());
        let (scalar, _) = binder.over_table(Some(&table), &expr)?;
        self.checks.push((check.name.clone(), scalar));
        Ok(())
    }

    fn add_key_using(
        &mut self,
        name: Option<&Name>,
        index: &Name,
        primary: bool,
    ) -> Result<(), PgError> {
        let place = self
            .new
            .indexes
            .iter()
            .position(|other| other.name == *index);
        let Some(place) = place else {
            return Err(PgError::new(
                SqlState::UNDEFINED_OBJECT,
                format!("index \"{index}\" does not exist"),
            ));
        };
        let found = &self.new.indexes[place];
        if found.constraint {
            return Err(PgError::new(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("index \"{index}\" is already associated with a constraint"),
            ));
        }
        if !found.unique || found.computed.is_some() {
            let what = match found.unique {
                false => "is not a unique index",
                true => "contains expressions",
            };
            return Err(
                PgError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{index}\" {what}"))
                    .with_detail(
                        "Cannot create a primary key or unique constraint using such an index.",
                    ),
            );
        }
        let mut changed = Index::clone(found);
        (changed.constraint, changed.primary) = (true, primary);
        if primary {
            for &column in &changed.columns {
                if !self.new.columns[column].not_null {
                    self.not_null.push(column);
                    self.new.columns[column].not_null = true;
                }
            }
        }
        if let Some(name) = name
            && *name != changed.name
        {
            let verb = "will rename index";
            let message = format!(
                "ALTER TABLE / ADD CONSTRAINT USING INDEX {verb} \"{index}\" to \"{name}\""
            );
            self.notices
                .push(PgError::notice(SqlState::SUCCESSFUL_COMPLETION, message));
            changed.name = name.clone();
        }
        self.new.indexes[place] = Arc::new(changed);
        Ok(())
    }

    fn drop_constraint(
        &mut self,
        name: &Name,
        if_exists: bool,
        cascade: bool,
        names: (&Catalog, &SearchPath),
    ) -> Result<(), PgError> {
        let checks = self.new.checks.len();
        self.new.checks.retain(|check| check.name != *name);
        if self.new.checks.len() < checks {
            return Ok(());
        }
        let is_it = |index: &Arc<Index>| index.constraint && index.name == *name;
        if self.new.indexes.iter().any(is_it) {
            let referring = self.new.referenced_by.iter();
            let referring = referring.filter(|key| key.index == *name).cloned();
            let on = shown(names.0, names.1, &self.new.schema, &self.new.name);
            self.drop_referring(
                referring.collect(),
                &format!("constraint {name} on table {on}"),
                &format!("index {name}"),
                cascade,
                names,
            )?;
            self.new.indexes.retain(|index| !is_it(index));
            self.reindex = true;
            return Ok(());
        }
        let mut keys = self.new.foreign_keys.iter();
        if let Some(key) = keys.find(|key| key.name == *name) {
            self.dropped_keys.push(key.clone());
            return Ok(());
        }
        let missing = self.no_constraint(name);
        if !if_exists {
            return Err(missing);
        }
        let message = format!("{}, skipping", missing.message);
        self.notices
            .push(PgError::notice(SqlState::SUCCESSFUL_COMPLETION, message));
        Ok(())
    }

    fn rename_column(
        &mut self,
        from: &Name,
        to: &Name,
        (catalog, _): (&Catalog, &SearchPath),
    ) -> Result<(), PgError> {
        let Some(place) = self.new.column(from) else {
            return Err(PgError::undefined_column(from));
        };
        if self.new.column(to).is_some() {
            return Err(PgError::new(
                SqlState::DUPLICATE_COLUMN,
                format!(
                    "column \"{to}\" of relation \"{}\" already exists",
                    self.new.name
                ),
            ));
        }
        if self
            .readers(catalog)
            .iter()
            .any(|view| reads_column(view, from))
        {
            return Err(PgError::feature_not_supported(
                "renaming a column that a view reads",
            ));
        }
        if self
            .new
            .indexes
            .iter()
            .any(|index| index.computed.is_some())
        {
            return Err(PgError::feature_not_supported(
                "renaming a column of a table with an index on expressions",
            ));
        }
        for check in &mut self.new.checks {
            check.expression = parse::rename_column(&check.expression, from, to).into();
        }
        self.new.columns[place].name = to.clone();
        Ok(())
    }

    fn rename_constraint(&mut self, from: &Name, to: &Name) -> Result<(), PgError> {
        if let Some(check) = self.new.checks.iter_mut().find(|check| check.name == *from) {
            check.name = to.clone();
            self.new.checks.sort_by(|a, b| a.name.cmp(&b.name));
            return Ok(());
        }
        let mut indexes = self.new.indexes.iter_mut();
        if let Some(index) = indexes.find(|index| index.constraint && index.name == *from) {
            Arc::make_mut(index).name = to.clone();
            return Ok(());
        }
        let mut keys = self.new.foreign_keys.iter();
        if let Some(key) = keys.find(|key| key.name == *from) {
            self.changed_keys.push(ForeignKey {
                name: to.clone(),
                ..ForeignKey::clone(key)
            });
            return Ok(());
        }
        Err(PgError::new(
            SqlState::UNDEFINED_OBJECT,
            format!(
                "constraint \"{from}\" for table \"{}\" does not exist",
                self.new.name
            ),
        ))
    }

    /// Makes it so.
    fn finish(mut self, context: &mut Context<'_>, path: &SearchPath) -> Result<(), Halt> {
        let (new_keys, id) = (std::mem::take(&mut self.new_keys), self.new.id);
        let changed_keys = std::mem::take(&mut self.changed_keys);
        let unchecked_keys = std::mem::take(&mut self.unchecked_keys);
        constraint::lock_referenced(&new_keys, &self.new.name, &mut context.exec)?;
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
                constraint::add_foreign_key(constraint, key, id, context)?;
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
        for (_, sequence) in &self.sequences {
            let exec = &mut context.exec;
            exec.reserve_name(sequence.database, &sequence.schema, &sequence.name)?;
        }
        for notice in std::mem::take(&mut self.notices) {
            context.exec.notice(notice);
        }
        for sequence in self.dropped.drain(..) {
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
        let old: Vec<Row> = context
            .exec
            .scan(&self.old)
            .map(|(_, row)| row.clone())
            .collect();
        let mut rows = Vec::with_capacity(old.len());
        for row in old {
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

/// The default that draws on a sequence.
fn next_value(schema: &str, name: &str) -> Name {
    let name = quote_name(name);
    match schema {
        "public" => format!("nextval('{name}'::regclass)").into(),
        _ => format!("nextval('{}.{name}'::regclass)", quote_name(schema)).into(),
    }
}

fn kind(always: bool) -> Identity {
    match always {
        true => Identity::Always,
        false => Identity::ByDefault,
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

/// Whether a view may depend on a column of that name: whether its text has it, or a star.
fn reads_column(view: &View, name: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut words = view.query.split(|c: char| !is_name(c));
    view.query.contains('*') || words.any(|word| word.eq_ignore_ascii_case(name))
}

fn rename(
    object: DropObject,
    found: &Relation,
    to: &Name,
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let exec = &mut context.exec;
    let wrong = |article: &str| {
        let message = format!("\"{}\" is not {article}", found.name());
        Err(PgError::new(SqlState::WRONG_OBJECT_TYPE, message).into())
    };
    match (object, found) {
        (DropObject::Index, Relation::Index(..) | Relation::Table(_)) => {}
        (DropObject::Index, _) => return wrong("an index"),
        (DropObject::View, other) if !matches!(other, Relation::View(_)) => return wrong("a view"),
        (DropObject::Sequence, other) if !matches!(other, Relation::Sequence(_)) => {
            return wrong("a sequence");
        }
        _ => {}
    }
    match found {
        Relation::Table(table) => {
            exec.lock_table(table, LockMode::AccessExclusive, false)?;
            exec.reserve_name(table.database, &table.schema, to)?;
            let table = Table {
                name: to.clone(),
                ..Table::clone(table)
            };
            exec.replace_table(table)
        }
        Relation::Index(table, index) => {
            exec.lock_table(table, LockMode::ShareUpdateExclusive, false)?;
            exec.reserve_name(table.database, &table.schema, to)?;
            let mut table = Table::clone(table);
            for other in &mut table.indexes {
                if other.id == index.id {
                    Arc::make_mut(other).name = to.clone();
                }
            }
            exec.replace_table(table)
        }
        Relation::Sequence(sequence) => {
            exec.reserve_name(sequence.database, &sequence.schema, to)?;
            let renamed = Sequence {
                name: to.clone(),
                ..Sequence::clone(sequence)
            };
            change_sequence(sequence, renamed, exec)
        }
        Relation::View(view) => {
            exec.reserve_name(view.database, &view.schema, to)?;
            let view = View {
                name: to.clone(),
                ..View::clone(view)
            };
            exec.change_catalog(CatalogChange::CreateView(Arc::new(view)))
        }
    }
}

/// Gives a sequence another name or schema, and defaults that draw on it that name.
fn change_sequence(old: &Sequence, new: Sequence, exec: &mut Exec<'_>) -> Result<(), Halt> {
    let catalog = exec.catalog().clone();
    let text = next_value(&new.schema, &new.name);
    let mut tables = Vec::new();
    for table in catalog
        .tables()
        .filter(|table| table.database == old.database)
    {
        let mut changed = Table::clone(table);
        let mut found = false;
        for column in &mut changed.columns {
            let draws = column.default.as_deref();
            if draws.is_some_and(|text| super::drop::draws_on(&catalog, table, text, old)) {
                column.default = Some(text.clone());
                found = true;
            }
        }
        if found {
            tables.push(changed);
        }
    }
    for table in &tables {
        exec.lock_table(table, LockMode::AccessExclusive, false)?;
    }
    exec.change_catalog(CatalogChange::ReplaceSequence(Arc::new(new)))?;
    for table in tables {
        exec.replace_table(table)?;
    }
    Ok(())
}

fn set_schema(found: &Relation, to: &Name, context: &mut Context<'_>) -> Result<(), Halt> {
    let exec = &mut context.exec;
    let database = exec.path().database;
    let Some(space) = exec.catalog().namespace(database, to).cloned() else {
        return Err(PgError::undefined_schema(to).into());
    };
    if found.schema() == to {
        return Ok(());
    }
    if space.relation(found.name()).is_some() {
        let message = format!(
            "relation \"{}\" already exists in schema \"{to}\"",
            found.name()
        );
        return Err(PgError::new(SqlState::DUPLICATE_TABLE, message).into());
    }
    match found {
        Relation::Table(table) => {
            exec.lock_table(table, LockMode::AccessExclusive, false)?;
            exec.reserve_name(database, to, &table.name)?;
            let moved = Table {
                schema: to.clone(),
                ..Table::clone(table)
            };
            exec.replace_table(moved)?;
            let owned = |sequence: &&Arc<Sequence>| {
                sequence.owner.is_some_and(|(owner, _)| owner == table.id)
            };
            let sequences: Vec<_> = exec.catalog().sequences().filter(owned).cloned().collect();
            for sequence in sequences {
                let moved = Sequence {
                    schema: to.clone(),
                    ..Sequence::clone(&sequence)
                };
                change_sequence(&sequence, moved, exec)?;
            }
            Ok(())
        }
        Relation::Sequence(sequence) => {
            if sequence.owner.is_some() {
                return Err(PgError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "cannot move an owned sequence into another schema",
                )
                .into());
            }
            let moved = Sequence {
                schema: to.clone(),
                ..Sequence::clone(sequence)
            };
            change_sequence(sequence, moved, exec)
        }
        Relation::View(view) => {
            let view = View {
                schema: to.clone(),
                ..View::clone(view)
            };
            exec.change_catalog(CatalogChange::CreateView(Arc::new(view)))
        }
        Relation::Index(..) => {
            Err(PgError::feature_not_supported("moving an index to another schema").into())
        }
    }
}
