//! INSERT, UPDATE, DELETE.
//!
//! What comes out makes whole rows of the table, generated and default columns
//! filled in, and the checks they must pass. The table is locked as a writer's
//! from the start. When rows are locked and constraints hold is `execute`'s.

use std::sync::Arc;

use super::bind::Binder;
use super::coerce::Context;
use super::from::{Conditions, join};
use super::query::uneven;
use super::scope::{Scope, table_columns};
use super::sets::set_at;
use super::{Action, FromNode, InsertSource, ModifyPlan, Returning, Scalar, SubqueryKind, Typed};
use crate::engine::{Identity, LockMode, Table};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{
    Alias, Assignment, Command, Delete, Expr, FromItem, Insert, Name, QueryBody, Select, Target,
    Update, With,
};
use crate::sql::parse;
use crate::types::{Datum, Type};

impl Binder<'_> {
    /// A statement inside WITH.
    pub(super) fn modify(&mut self, command: &Command) -> Result<ModifyPlan, PgError> {
        match command {
            Command::Insert(insert) => self.insert(insert),
            Command::Update(update) => self.update(update),
            Command::Delete(delete) => self.delete(delete),
            _ => Err(PgError::feature_not_supported("this statement in WITH")),
        }
    }

    pub(crate) fn insert(&mut self, insert: &Insert) -> Result<ModifyPlan, PgError> {
        let reach = self.ctes.len();
        let ctes = self.with(&insert.with)?;
        let plan = self.insert_in_reach(insert);
        self.ctes.truncate(reach);
        let mut plan = plan?;
        plan.ctes = ctes;
        Ok(plan)
    }

    fn insert_in_reach(&mut self, insert: &Insert) -> Result<ModifyPlan, PgError> {
        let table = self.table(&insert.table)?;
        self.note_lock(&table, LockMode::RowExclusive, insert.table.at);
        let targets = insert_targets(&table, &insert.columns)?;
        let source = self.insert_source(insert, &table, &targets)?;
        let conflict = match &insert.on_conflict {
            Some(conflict) => Some(self.conflict(conflict, &table, insert.alias.as_ref())?),
            None => None,
        };
        let returning = self.returning(&insert.returning, &table, insert.alias.as_ref())?;
        Ok(ModifyPlan {
            ctes: Vec::new(),
            checks: self.checks(&table)?,
            action: Action::Insert { source, conflict },
            returning,
            table,
        })
    }

    fn insert_source(
        &mut self,
        insert: &Insert,
        table: &Arc<Table>,
        targets: &[usize],
    ) -> Result<InsertSource, PgError> {
        let system = insert.overriding == Some(true);
        let Some(query) = &insert.source else {
            let mut row = Vec::with_capacity(table.columns.len());
            for column in 0..table.columns.len() {
                row.push(self.default_of(table, column)?);
            }
            return Ok(InsertSource::Values(vec![row]));
        };
        let plain = query.order_by.is_empty() && query.limit.is_none() && query.offset.is_none();
        if let (QueryBody::Values(rows), true) = (&query.body, plain)
            && let [row] = &rows[..]
            && row.iter().any(|expr| set_at(expr).is_some())
        {
            // One row of values is a target list, in which sets may stand.
            if row.iter().any(|expr| matches!(expr, Expr::Default(_))) {
                return Err(PgError::feature_not_supported("DEFAULT beside a set"));
            }
            let mut selected = query.clone();
            selected.body = QueryBody::Select(Box::new(Select::of(row.clone())));
            let mut insert = insert.clone();
            insert.source = Some(selected);
            return self.insert_source(&insert, table, targets);
        }
        if let (QueryBody::Values(rows), true) =
            (&query.body, plain && query.with.tables.is_empty())
        {
            let mut bound = Vec::with_capacity(rows.len());
            self.scopes.push(Scope {
                clause: "VALUES",
                ..Scope::default()
            });
            let result = rows.iter().try_for_each(|row| {
                if row.len() != rows[0].len() {
                    return Err(uneven(row));
                }
                let mut values = Vec::with_capacity(row.len());
                for expr in row {
                    values.push(self.value(expr)?);
                }
                let extra = row.get(targets.len()).map_or(0, Expr::at);
                check_width(row.len(), targets.len(), &insert.columns, extra)?;
                let mut full = vec![None; table.columns.len()];
                for ((expr, value), &column) in row.iter().zip(values).zip(targets) {
                    let user_value = !matches!(expr, Expr::Default(_));
                    let identity = &table.columns[column].identity;
                    // The value is ignored, the sequence's taken.
                    if insert.overriding == Some(false) && identity.is_some() {
                        continue;
                    }
                    if user_value && !system && is_generated(table, column) {
                        return Err(cannot_insert(table, column));
                    }
                    full[column] = Some(self.assigned(table, column, value, expr.at())?);
                }
                bound.push(self.fill_defaults(table, full)?);
                Ok(())
            });
            self.scopes.pop();
            result?;
            return Ok(InsertSource::Values(bound));
        }
        let into: Vec<Typed> = targets.iter().map(|&column| typed(table, column)).collect();
        let plan = self.lower_query(query, &into)?;
        let width = plan.columns.len();
        let extra = query.column_at(targets.len(), width);
        check_width(width, targets.len(), &insert.columns, extra)?;
        let mut full = vec![None; table.columns.len()];
        for (place, &column) in targets.iter().enumerate().take(plan.columns.len()) {
            // The value is ignored, the sequence's taken.
            if insert.overriding == Some(false) && table.columns[column].identity.is_some() {
                continue;
            }
            if is_generated(table, column) && !system {
                return Err(cannot_insert(table, column));
            }
            let from = Typed {
                ty: plan.columns[place].ty,
                typmod: plan.columns[place].typmod,
            };
            let at = query.column_at(place, width);
            full[column] = Some(self.assign(table, column, Scalar::Column(place), from, at)?);
        }
        let row = self.fill_defaults(table, full)?;
        Ok(InsertSource::Query(Box::new(plan), row))
    }

    pub(super) fn fill_defaults(
        &mut self,
        table: &Arc<Table>,
        row: Vec<Option<Scalar>>,
    ) -> Result<Vec<Scalar>, PgError> {
        let mut full = Vec::with_capacity(row.len());
        for (column, value) in row.into_iter().enumerate() {
            full.push(match value {
                Some(value) => value,
                None => self.default_of(table, column)?,
            });
        }
        Ok(full)
    }

    /// A value for a column, as written: an expression, or `None` for DEFAULT. All of a row are bound
    /// before the first is cast to its column, which is what a parameter that stands twice is told.
    fn value(&mut self, expr: &Expr) -> Result<Option<(Scalar, Typed)>, PgError> {
        match expr {
            Expr::Default(_) => Ok(None),
            expr => self.expr(expr).map(Some),
        }
    }

    fn assigned(
        &mut self,
        table: &Arc<Table>,
        column: usize,
        value: Option<(Scalar, Typed)>,
        at: u32,
    ) -> Result<Scalar, PgError> {
        match value {
            None => self.default_of(table, column),
            Some((scalar, from)) => self.assign(table, column, scalar, from, at),
        }
    }

    /// The values of SET, in the order of the assignments.
    fn set_values(
        &mut self,
        assignments: &[Assignment],
        table: &Table,
    ) -> Result<Vec<Option<(Scalar, Typed)>>, PgError> {
        self.scope().clause = "UPDATE";
        let mut values = Vec::with_capacity(assignments.len());
        let mut shared = None;
        for (number, assignment) in assignments.iter().enumerate() {
            let Expr::QueryColumn(query, place, of, at) = &assignment.value else {
                values.push(self.value(&assignment.value)?);
                continue;
            };
            if *place == 0 {
                let kind = SubqueryKind::Column {
                    place: 0,
                    fresh: false,
                };
                shared = Some(self.subquery(query, kind)?);
            }
            let Some(mut subquery) = shared.clone() else {
                return Err(PgError::feature_not_supported("this SET"));
            };
            let columns = &subquery.plan.0.columns;
            if columns.len() != *of {
                let message = "number of columns does not match number of values";
                return Err(PgError::new(SqlState::SYNTAX_ERROR, message).near(*at));
            }
            let typed = Typed {
                ty: columns[*place].ty,
                typmod: columns[*place].typmod,
            };
            // The columns of a row are computed in their order: the first one has the query run.
            let first = number - place..number - place + of;
            let columns = assignments[first].iter();
            let columns = columns.filter_map(|assignment| table.column(&assignment.column));
            let fresh = columns.min() == table.column(&assignment.column);
            subquery.kind = SubqueryKind::Column {
                place: *place,
                fresh,
            };
            values.push(Some((Scalar::Subquery(Box::new(subquery)), typed)));
        }
        Ok(values)
    }

    pub(super) fn assign(
        &mut self,
        table: &Table,
        column: usize,
        scalar: Scalar,
        from: Typed,
        at: u32,
    ) -> Result<Scalar, PgError> {
        let to = typed(table, column);
        self.coerce(scalar, from, to, Context::Assignment)?
            .ok_or_else(|| {
                PgError::new(
                    SqlState::DATATYPE_MISMATCH,
                    format!(
                        "column \"{}\" is of type {} but expression is of type {}",
                        table.columns[column].name, to.ty, from.ty
                    ),
                )
                .with_hint("You will need to rewrite or cast the expression.")
                .near(at)
            })
    }

    /// The default of a column, from the text in the catalog.
    fn default_of(&mut self, table: &Arc<Table>, column: usize) -> Result<Scalar, PgError> {
        let Some(text) = &table.columns[column].default else {
            return Ok(Scalar::Const(Datum::Null));
        };
        let expr = parse::expression(text)?;
        let (scalar, from) = self.over_table(None, &expr)?;
        self.assign(table, column, scalar, from, 0)
    }

    pub(super) fn checks(
        &mut self,
        table: &Arc<Table>,
    ) -> Result<Vec<(Arc<str>, Scalar)>, PgError> {
        let mut checks = Vec::with_capacity(table.checks.len());
        for check in &table.checks {
            let expr = parse::expression(&check.expression)?;
            let bound = self.over_table(Some(table), &expr)?;
            checks.push((
                check.name.clone(),
                self.demanded(bound, 0, Type::Bool, "CHECK")?,
            ));
        }
        Ok(checks)
    }

    fn returning(
        &mut self,
        targets: &[Target],
        table: &Arc<Table>,
        alias: Option<&Name>,
    ) -> Result<Option<Returning>, PgError> {
        if targets.is_empty() {
            return Ok(None);
        }
        let mut scope = Scope {
            clause: "RETURNING",
            ..Scope::default()
        };
        let alias = alias.map(alias_of);
        scope.add(
            table.name.clone(),
            table_columns(table),
            None,
            alias.as_ref(),
        )?;
        self.scopes.push(scope);
        let bound = self.targets(targets, &[]);
        self.scopes.pop();
        bound.map(Some)
    }

    /// SET: the whole new row, over a row that begins with the old one.
    pub(super) fn assignments(
        &mut self,
        assignments: &[Assignment],
        table: &Arc<Table>,
    ) -> Result<Vec<Scalar>, PgError> {
        let mut row: Vec<Scalar> = (0..table.columns.len()).map(Scalar::Column).collect();
        let mut seen = Vec::with_capacity(assignments.len());
        let values = self.set_values(assignments, table)?;
        for (assignment, bound) in assignments.iter().zip(values) {
            let Assignment {
                column: name,
                at,
                value,
            } = assignment;
            let Some(column) = table.column(name) else {
                return Err(PgError::undefined_column_of(name, &table.name).at(*at as usize));
            };
            if seen.contains(&column) {
                return Err(PgError::new(
                    SqlState::SYNTAX_ERROR,
                    format!("multiple assignments to same column \"{name}\""),
                ));
            }
            seen.push(column);
            if is_generated(table, column) && !matches!(value, Expr::Default(_)) {
                return Err(PgError::new(
                    "428C9".parse().unwrap_or(SqlState::SYNTAX_ERROR),
                    format!("column \"{name}\" can only be updated to DEFAULT"),
                )
                .with_detail(format!(
                    "Column \"{name}\" is an identity column defined as GENERATED ALWAYS."
                )));
            }
            row[column] = self.assigned(table, column, bound, value.at())?;
        }
        Ok(row)
    }

    /// Plans a statement in a scope of its own, below its WITH.
    fn in_scope(
        &mut self,
        with: &With,
        plan: impl FnOnce(&mut Self) -> Result<ModifyPlan, PgError>,
    ) -> Result<ModifyPlan, PgError> {
        let reach = self.ctes.len();
        let ctes = self.with(with)?;
        self.scopes.push(Scope::default());
        let plan = plan(self);
        self.scopes.pop();
        self.ctes.truncate(reach);
        Ok(ModifyPlan { ctes, ..plan? })
    }

    pub(crate) fn update(&mut self, update: &Update) -> Result<ModifyPlan, PgError> {
        self.in_scope(&update.with, |binder| binder.update_in_scope(update))
    }

    fn update_in_scope(&mut self, update: &Update) -> Result<ModifyPlan, PgError> {
        let table = self.table(&update.table)?;
        let alias = update.alias.as_ref().map(alias_of);
        let lock = (LockMode::RowExclusive, update.table.at);
        let mut target = self.scan(table.clone(), alias.as_ref(), lock)?;
        target.only_current(&update.current_of);
        let (others, conditions) = self.others(&update.from)?;
        // In the order of `transformUpdateStmt`: what a parameter is in WHERE it is in SET.
        let filter = match &update.filter {
            Some(filter) => Some(self.condition(filter, "WHERE")?),
            None => None,
        };
        let returning = self.returning_of_join(&update.returning)?;
        let row = self.assignments(&update.set, &table)?;
        let root = self.target_and_others(target, others);
        let from = self.finish_from(root, conditions, filter);
        Ok(ModifyPlan {
            ctes: Vec::new(),
            checks: self.checks(&table)?,
            action: Action::Update { from, row },
            returning,
            table,
        })
    }

    pub(crate) fn delete(&mut self, delete: &Delete) -> Result<ModifyPlan, PgError> {
        self.in_scope(&delete.with, |binder| binder.delete_in_scope(delete))
    }

    fn delete_in_scope(&mut self, delete: &Delete) -> Result<ModifyPlan, PgError> {
        let table = self.table(&delete.table)?;
        let alias = delete.alias.as_ref().map(alias_of);
        let lock = (LockMode::RowExclusive, delete.table.at);
        let mut target = self.scan(table.clone(), alias.as_ref(), lock)?;
        target.only_current(&delete.current_of);
        let (others, conditions) = self.others(&delete.using)?;
        let filter = match &delete.filter {
            Some(filter) => Some(self.condition(filter, "WHERE")?),
            None => None,
        };
        let returning = self.returning_of_join(&delete.returning)?;
        let root = self.target_and_others(target, others);
        let from = self.finish_from(root, conditions, filter);
        Ok(ModifyPlan {
            ctes: Vec::new(),
            checks: Vec::new(),
            action: Action::Delete { from },
            returning,
            table,
        })
    }

    /// FROM of UPDATE and USING of DELETE: the target's columns come first in
    /// the row, but the others are read first, so that they find it by its key.
    fn target_and_others(&mut self, target: FromNode, others: FromNode) -> FromNode {
        match others {
            FromNode::Nothing => target,
            others => join(others, target),
        }
    }

    fn others(&mut self, items: &[FromItem]) -> Result<(FromNode, Conditions), PgError> {
        self.bind_from(items)
    }

    fn returning_of_join(&mut self, targets: &[Target]) -> Result<Option<Returning>, PgError> {
        if targets.is_empty() {
            return Ok(None);
        }
        self.scope().clause = "RETURNING";
        self.targets(targets, &[]).map(Some)
    }
}

pub(super) fn alias_of(name: &Name) -> Alias {
    Alias {
        name: name.clone(),
        columns: Vec::new(),
    }
}

pub(super) fn typed(table: &Table, column: usize) -> Typed {
    Typed {
        ty: table.columns[column].ty,
        typmod: table.columns[column].typmod,
    }
}

fn is_generated(table: &Table, column: usize) -> bool {
    table.columns[column].identity == Some(Identity::Always)
}

fn cannot_insert(table: &Table, column: usize) -> PgError {
    let name = &table.columns[column].name;
    PgError::new(
        "428C9".parse().unwrap_or(SqlState::SYNTAX_ERROR),
        format!("cannot insert a non-DEFAULT value into column \"{name}\""),
    )
    .with_detail(format!(
        "Column \"{name}\" is an identity column defined as GENERATED ALWAYS."
    ))
    .with_hint("Use OVERRIDING SYSTEM VALUE to override.")
}

/// The columns INSERT names, or all.
pub(super) fn insert_targets(
    table: &Table,
    columns: &[(Name, u32)],
) -> Result<Vec<usize>, PgError> {
    if columns.is_empty() {
        let columns = table.columns.iter().enumerate();
        return Ok(columns
            .filter(|(_, column)| !column.dropped)
            .map(|(place, _)| place)
            .collect());
    }
    let mut targets = Vec::with_capacity(columns.len());
    for (name, at) in columns {
        let Some(column) = table.column(name) else {
            return Err(PgError::undefined_column_of(name, &table.name).at(*at as usize));
        };
        if targets.contains(&column) {
            return Err(PgError::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{name}\" specified more than once"),
            )
            .at(*at as usize));
        }
        targets.push(column);
    }
    Ok(targets)
}

/// As many values as targets; `extra` is where the first stands that has no column.
fn check_width(
    values: usize,
    targets: usize,
    named: &[(Name, u32)],
    extra: u32,
) -> Result<(), PgError> {
    if values > targets {
        return Err(PgError::new(
            SqlState::SYNTAX_ERROR,
            "INSERT has more expressions than target columns",
        )
        .near(extra));
    }
    match named.get(values) {
        Some((_, at)) => Err(PgError::new(
            SqlState::SYNTAX_ERROR,
            "INSERT has more target columns than expressions",
        )
        .near(*at)),
        None => Ok(()),
    }
}
