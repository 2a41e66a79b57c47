//! ON CONFLICT: which unique indexes it is about, and what it does to the row in the way.
//!
//! Source: `infer_arbiter_indexes` in `optimizer/util/plancat.c`.

use std::sync::Arc;

use super::bind::Binder;
use super::modify::alias_of;
use super::pushdown::split;
use super::scope::{Scope, table_columns};
use super::{ConflictPlan, Scalar};
use crate::engine::{Index, LockStrength, Table};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{Assignment, ConflictTarget, Expr, Name, OnConflict};
use crate::sql::parse;

impl Binder<'_> {
    pub(super) fn conflict(
        &mut self,
        conflict: &OnConflict,
        table: &Arc<Table>,
        alias: Option<&Name>,
    ) -> Result<ConflictPlan, PgError> {
        let arbiters = match &conflict.target {
            ConflictTarget::Any if conflict.update.is_some() => {
                return Err(PgError::new(
                    SqlState::SYNTAX_ERROR,
                    "ON CONFLICT DO UPDATE requires inference specification or constraint name",
                )
                .with_hint("For example, ON CONFLICT (column_name).")
                .near(conflict.at));
            }
            ConflictTarget::Any => Vec::new(),
            ConflictTarget::Constraint(name) => {
                let mut indexes = table.unique_indexes();
                let found = indexes.find(|(_, index)| index.constraint && index.name == *name);
                let (slot, _) = found.ok_or_else(|| {
                    let message = format!(
                        "constraint \"{name}\" for table \"{}\" does not exist",
                        table.name
                    );
                    PgError::new(SqlState::UNDEFINED_OBJECT, message)
                })?;
                vec![slot]
            }
            ConflictTarget::Columns(exprs, filter, at) => {
                self.infer(exprs, filter.as_ref(), *at, table)?
            }
        };
        let update = match &conflict.update {
            None => None,
            Some((assignments, filter)) => {
                let mut scope = Scope {
                    clause: "UPDATE",
                    ..Scope::default()
                };
                let alias = alias.map(alias_of);
                scope.add(
                    table.name.clone(),
                    table_columns(table),
                    Some(table.clone()),
                    alias.as_ref(),
                )?;
                scope.add("excluded".into(), table_columns(table), None, None)?;
                self.scopes.push(scope);
                let bound = self.conflict_update(assignments, filter.as_ref(), table);
                self.scopes.pop();
                Some(bound?)
            }
        };
        let strength = match &update {
            Some((row, _)) if assigns_key(table, row) => LockStrength::Update,
            _ => LockStrength::NoKeyUpdate,
        };
        Ok(ConflictPlan {
            arbiters,
            strength,
            update,
        })
    }

    fn conflict_update(
        &mut self,
        assignments: &[Assignment],
        filter: Option<&Expr>,
        table: &Arc<Table>,
    ) -> Result<(Vec<Scalar>, Option<Scalar>), PgError> {
        let row = self.assignments(assignments, table)?;
        let filter = match filter {
            Some(filter) => Some(self.condition(filter, "WHERE")?),
            None => None,
        };
        Ok((row, filter))
    }

    /// The indexes over exactly these columns and expressions, for rows that the condition holds for.
    fn infer(
        &mut self,
        exprs: &[Expr],
        filter: Option<&Expr>,
        at: u32,
        table: &Arc<Table>,
    ) -> Result<Vec<usize>, PgError> {
        let mut wanted = Vec::with_capacity(exprs.len());
        for expr in exprs {
            wanted.push(match expr {
                Expr::Column(names, _) => {
                    let name = names.last().map_or("", |name| name);
                    let column = table.column(name);
                    Scalar::Column(column.ok_or_else(|| PgError::undefined_column(name).near(at))?)
                }
                expr => self.over_table(Some(table), expr)?.0,
            });
        }
        let given = match filter {
            Some(filter) => split(self.condition_over(table, filter, "WHERE")?),
            None => Vec::new(),
        };
        let mut found = Vec::new();
        for (slot, index) in table.valid_unique_indexes() {
            if self.is_over(index, table, &wanted)? && self.is_implied(index, table, &given)? {
                found.push(slot);
            }
        }
        match found.is_empty() {
            true => Err(PgError::new(
                SqlState::INVALID_COLUMN_REFERENCE,
                "there is no unique or exclusion constraint matching the ON CONFLICT specification",
            )),
            false => Ok(found),
        }
    }

    fn is_over(
        &mut self,
        index: &Index,
        table: &Arc<Table>,
        wanted: &[Scalar],
    ) -> Result<bool, PgError> {
        let mut keys = Vec::new();
        match &index.computed {
            None => keys.extend(index.columns.iter().map(|&column| Scalar::Column(column))),
            Some(computed) => {
                for key in &computed.keys {
                    keys.push(match table.column(key) {
                        Some(column) => Scalar::Column(column),
                        None => self.over_table(Some(table), &parse::expression(key)?)?.0,
                    });
                }
            }
        }
        let all = |some: &[Scalar], of: &[Scalar]| some.iter().all(|one| of.contains(one));
        Ok(all(&keys, wanted) && all(wanted, &keys))
    }

    /// Whether rows that the conditions hold for are in a partial index (`predicate_implied_by`, as
    /// far as each part of the predicate is given, or says that something compared is not NULL).
    fn is_implied(
        &mut self,
        index: &Index,
        table: &Arc<Table>,
        given: &[Scalar],
    ) -> Result<bool, PgError> {
        let predicate = index.computed.as_ref();
        let Some(predicate) = predicate.and_then(|computed| computed.predicate.as_ref()) else {
            return Ok(true);
        };
        let expr = parse::expression(predicate)?;
        let parts = split(self.condition_over(table, &expr, "WHERE")?);
        Ok(parts.iter().all(|part| {
            given.contains(part)
                || match part {
                    Scalar::IsNull(inner, true) => {
                        given.iter().any(|given| is_strict_on(given, inner))
                    }
                    _ => false,
                }
        }))
    }
}

/// Whether a condition can hold only if a value is not NULL.
fn is_strict_on(condition: &Scalar, value: &Scalar) -> bool {
    match condition {
        Scalar::Compare(_, pair) => pair.0 == *value || pair.1 == *value,
        _ => false,
    }
}

/// Whether SET names a column of a key that others may refer to.
fn assigns_key(table: &Table, row: &[Scalar]) -> bool {
    let assigned = |column: usize| row[column] != Scalar::Column(column);
    table.unique_indexes().any(|(_, index)| {
        let mut columns = index.columns.iter();
        index.computed.is_none() && columns.any(|&column| assigned(column))
    })
}
