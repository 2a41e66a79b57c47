//! Names in reach: the tables of FROM with their columns, level by level.

use std::sync::Arc;

use super::bind::Binder;
use super::names::split_name;
use super::{Scalar, Typed};
use crate::engine::Table;
use crate::error::{PgError, SqlState};
use crate::sql::ast::{Alias, Name};
use crate::sql::face::Column;
use crate::types::Type;

/// One item of FROM.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub(super) name: Name,
    /// The schema it may be qualified with, if it has no alias.
    pub(super) schema: Option<Name>,
    pub(super) columns: Vec<ScopeColumn>,
    /// Where its columns start in the joined row.
    pub(super) offset: usize,
    /// If its rows have identities: the table, and its place among those.
    pub(super) table: Option<(Arc<Table>, usize)>,
    /// A function's only value: the name of the item is the value, not a row of it.
    pub(super) scalar: bool,
}

#[derive(Debug, Clone)]
pub(super) struct ScopeColumn {
    pub(super) name: Name,
    pub(super) typed: Typed,
    /// For RowDescription.
    pub(super) origin: (u32, i16),
    /// Merged into another column by USING.
    pub(super) merged: bool,
    /// Gone from its table: nobody sees it.
    pub(super) dropped: bool,
}

/// The names one query can use.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub(super) relations: Vec<Relation>,
    pub(super) width: usize,
    pub(super) tables: usize,
    /// Aggregates met, if they are allowed here.
    pub(super) aggregates: Option<Vec<super::AggregatePlan>>,
    /// The columns that subqueries refer to, and where; behind its columns stand its aggregates.
    pub(super) referred: Vec<(usize, u32)>,
    /// What is being bound, for messages about aggregates.
    pub(super) clause: &'static str,
}

impl Relation {
    /// Whether it may be called so (`refnameNamespaceItem`).
    pub(super) fn is_called(&self, schema: Option<&Name>, name: &str) -> bool {
        *self.name == *name && (schema.is_none() || schema == self.schema.as_ref())
    }
}

impl Scope {
    /// Adds an item of FROM behind the others.
    pub(super) fn add(
        &mut self,
        name: Name,
        mut columns: Vec<ScopeColumn>,
        table: Option<Arc<Table>>,
        alias: Option<&Alias>,
    ) -> Result<usize, PgError> {
        let name = match alias {
            Some(alias) => alias.name.clone(),
            None => name,
        };
        if let Some(alias) = alias {
            if alias.columns.len() > columns.len() {
                return Err(PgError::new(
                    SqlState::INVALID_COLUMN_REFERENCE,
                    format!(
                        "table \"{name}\" has {} columns available but {} columns specified",
                        columns.len(),
                        alias.columns.len()
                    ),
                ));
            }
            for (column, name) in columns.iter_mut().zip(&alias.columns) {
                column.name = name.clone();
            }
        }
        if !name.is_empty() && self.relations.iter().any(|relation| relation.name == name) {
            let message = format!("table name \"{name}\" specified more than once");
            return Err(PgError::new(SqlState::DUPLICATE_ALIAS, message));
        }
        let schema = match (alias, &table) {
            (None, Some(table)) => Some(table.schema.clone()),
            _ => None,
        };
        let offset = self.width;
        self.width += columns.len();
        let table = table.map(|table| {
            self.tables += 1;
            (table, self.tables - 1)
        });
        self.relations.push(Relation {
            name,
            schema,
            columns,
            offset,
            table,
            scalar: false,
        });
        Ok(self.relations.len() - 1)
    }

    /// Where a column of the joined row comes from.
    pub(super) fn column(&self, index: usize) -> Option<(&Relation, &ScopeColumn)> {
        self.relations.iter().find_map(|relation| {
            let column = relation.columns.get(index.checked_sub(relation.offset)?)?;
            Some((relation, column))
        })
    }
}

/// The columns of a table.
pub(super) fn table_columns(table: &Table) -> Vec<ScopeColumn> {
    table
        .columns
        .iter()
        .zip(1..)
        .map(|(column, attnum)| ScopeColumn {
            name: column.name.clone(),
            typed: Typed {
                ty: column.ty,
                typmod: column.typmod,
            },
            origin: (table.id.0, attnum),
            merged: false,
            dropped: column.dropped,
        })
        .collect()
}

/// The columns of a subquery's result.
pub(super) fn result_columns(columns: &[Column]) -> Vec<ScopeColumn> {
    columns
        .iter()
        .map(|column| ScopeColumn {
            name: column.name.clone(),
            typed: Typed {
                ty: column.ty,
                typmod: column.typmod,
            },
            origin: (column.table, column.attnum),
            merged: false,
            dropped: false,
        })
        .collect()
}

impl Binder<'_> {
    /// The innermost level.
    pub(super) fn scope(&mut self) -> &mut Scope {
        self.scopes
            .last_mut()
            .expect("expressions are bound within a scope")
    }

    /// Binds a column name, looking from the innermost level outwards.
    pub(super) fn column(&mut self, names: &[Name], at: u32) -> Result<(Scalar, Typed), PgError> {
        let at = at as usize;
        if self.scope().clause == "DEFAULT" {
            return Err(PgError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "cannot use column reference in DEFAULT expression",
            )
            .at(at));
        }
        let (schema, qualifier, name) = self.split_column(names).map_err(|e| e.at(at))?;
        let mut qualifier_seen = false;
        for level in 0..self.scopes.len() {
            let scope = &self.scopes[self.scopes.len() - 1 - level];
            let mut found = None;
            for relation in &scope.relations {
                match qualifier {
                    Some(qualifier) if !relation.is_called(schema, qualifier) => continue,
                    Some(_) => qualifier_seen = true,
                    None => {}
                }
                for (index, column) in relation.columns.iter().enumerate() {
                    if column.name != *name
                        || column.dropped
                        || qualifier.is_none() && column.merged
                    {
                        continue;
                    }
                    if found.is_some() {
                        let message = format!("column reference \"{name}\" is ambiguous");
                        return Err(PgError::new(SqlState::AMBIGUOUS_COLUMN, message).at(at));
                    }
                    found = Some((relation.offset + index, column.typed));
                }
            }
            if let Some((index, typed)) = found {
                return Ok((self.reference(level, index, at as u32), typed));
            }
            if qualifier_seen {
                break;
            }
        }
        const SYSTEM: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];
        if SYSTEM.contains(&&**name)
            && self
                .scopes
                .iter()
                .any(|scope| scope.tables > 0 || scope.clause == "RETURNING")
        {
            return Err(PgError::feature_not_supported(format_args!(
                "the system column {name}"
            )));
        }
        if qualifier.is_none()
            && let Some(row) = self.whole_row(name)
        {
            return Ok(row);
        }
        Err(match qualifier {
            Some(qualifier) if qualifier_seen => PgError::new(
                SqlState::UNDEFINED_COLUMN,
                format!("column {qualifier}.{name} does not exist"),
            ),
            Some(qualifier) => self.missing_from(qualifier),
            None => PgError::undefined_column(name),
        }
        .at(at))
    }

    /// The schema and the relation that a column is qualified with, and its name.
    fn split_column<'n>(
        &self,
        names: &'n [Name],
    ) -> Result<(Option<&'n Name>, Option<&'n Name>, &'n Name), PgError> {
        let Some((name, qualifiers)) = names.split_last() else {
            return Err(PgError::undefined_column(""));
        };
        match qualifiers {
            [] => Ok((None, None, name)),
            qualifiers => {
                let (schema, relation) = split_name(self.catalog, self.path, qualifiers)?;
                Ok((schema, Some(relation), name))
            }
        }
    }

    /// 42P01 for a qualifier that names nothing in reach (`errorMissingRTE`).
    pub(super) fn missing_from(&self, qualifier: &str) -> PgError {
        let mut relations = self.scopes.iter().flat_map(|scope| &scope.relations);
        let actual = |relation: &&Relation| {
            let table = relation.table.as_ref();
            table.is_some_and(|(table, _)| {
                &*table.name == qualifier && *table.name != *relation.name
            })
        };
        let invalid = || {
            let message =
                format!("invalid reference to FROM-clause entry for table \"{qualifier}\"");
            PgError::new(SqlState::UNDEFINED_TABLE, message)
        };
        if let Some(relation) = relations.clone().find(actual) {
            return invalid().with_hint(format!(
                "Perhaps you meant to reference the table alias \"{}\".",
                relation.name
            ));
        }
        if relations.any(|relation| &*relation.name == qualifier) {
            return invalid().with_hint(format!(
                "There is an entry for table \"{qualifier}\", but it cannot be referenced from this part of the query."
            ));
        }
        missing_from(qualifier)
    }

    /// An item of FROM as a value: its row, or the value of a function.
    fn whole_row(&mut self, name: &str) -> Option<(Scalar, Typed)> {
        let levels = self.scopes.iter().rev().enumerate();
        let (level, relation) = levels
            .flat_map(|(level, scope)| scope.relations.iter().map(move |item| (level, item)))
            .find(|(_, relation)| &*relation.name == name)?;
        let relation = relation.clone();
        if relation.scalar {
            let column = self.reference(level, relation.offset, 0);
            return Some((column, relation.columns[0].typed));
        }
        let mut parts = Vec::new();
        let mut names = Vec::new();
        for (place, column) in relation.columns.iter().enumerate() {
            if column.dropped {
                continue;
            }
            parts.push(self.reference(level, relation.offset + place, 0));
            names.push(column.name.clone());
        }
        Some((Scalar::Row(parts, names.into()), Type::Record.into()))
    }

    /// A column of the row at hand or of an enclosing query's; the latter makes
    /// every subquery in between correlated.
    pub(super) fn reference(&mut self, level: usize, index: usize, at: u32) -> Scalar {
        if level == 0 {
            return Scalar::Column(index);
        }
        let depth = self.scopes.len() - 1 - level;
        self.outermost = self.outermost.min(depth);
        self.scopes[depth].referred.push((index, at));
        Scalar::Outer(level, index)
    }
}

/// 42P01 for a qualifier that names nothing.
pub(super) fn missing_from(qualifier: &str) -> PgError {
    PgError::new(
        SqlState::UNDEFINED_TABLE,
        format!("missing FROM-clause entry for table \"{qualifier}\""),
    )
}
