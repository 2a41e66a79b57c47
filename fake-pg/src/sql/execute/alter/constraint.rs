//! Constraints that come, go, and change.

use std::sync::Arc;

use super::{Work, cascades};
use crate::engine::{Catalog, Check, ForeignKey, Index, SearchPath, Table};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{self, ConstraintKind, Name};
use crate::sql::execute::ddl;
use crate::sql::execute::drop::shown;
use crate::sql::parse;
use crate::sql::plan::Binder;

impl Work {
    pub(super) fn add_constraint(
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
        if let ast::ConstraintKind::PrimaryKey(key) = &constraint.kind {
            // They become NOT NULL first.
            let missing = key.columns.iter().find(|name| with.column(name).is_none());
            if let Some(name) = missing {
                return Err(PgError::undefined_column_of(name, &with.name));
            }
        }
        let added = ddl::constraints(&alone, &mut with, &mut chosen, names);
        added.map_err(PgError::nowhere)?;
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
        for check in &mut with.checks {
            check.validated = !not_valid;
        }
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

    pub(super) fn check_rows(
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

    pub(super) fn add_key_using(
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

    pub(super) fn drop_constraint(
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

    pub(super) fn rename_constraint(&mut self, from: &Name, to: &Name) -> Result<(), PgError> {
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

    pub(super) fn no_constraint(&self, name: &str) -> PgError {
        PgError::new(
            SqlState::UNDEFINED_OBJECT,
            format!(
                "constraint \"{name}\" of relation \"{}\" does not exist",
                self.new.name
            ),
        )
    }

    /// Foreign keys of other tables go only with CASCADE.
    pub(super) fn drop_referring(
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
}
