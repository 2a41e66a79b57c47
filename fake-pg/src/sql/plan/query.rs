//! Queries as a whole: WITH, VALUES, set operations, parentheses, LIMIT.
//!
//! A query comes out with columns of known types, except where an INSERT or
//! the other side of a set operation is to choose them. SELECT is `select`'s.

use super::bind::Binder;
use super::cast::Cast;
use super::coerce::Context;
use super::locking::strength_name;
use super::operator::refuse_unequal;
use super::scope::{Scope, missing_from};
use super::targets::{plain_column, position, refuse_constant};
use super::{
    Body, FromNode, QueryPlan, Scalar, SelectPlan, SetPlan, SortKey, Tail, Typed, ValuesPlan,
};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{Expr, OrderBy, Query, QueryBody, SetOp};
use crate::sql::face::Column;
use crate::types::Type;

impl Binder<'_> {
    /// Binds a query; its unknown columns become text.
    pub(crate) fn query(&mut self, query: &Query) -> Result<QueryPlan, PgError> {
        self.query_into(query, &[])
    }

    /// Binds a query whose unknown columns take these types: those of the table
    /// that INSERT puts them in.
    pub(super) fn query_into(
        &mut self,
        query: &Query,
        into: &[Typed],
    ) -> Result<QueryPlan, PgError> {
        let reach = self.ctes.len();
        let ctes = self.with(&query.with)?;
        let bound = match &query.body {
            QueryBody::Select(select) => self.select(select, query, into),
            _ if !query.locking.is_empty() => Err(PgError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!(
                    "{} is not allowed with UNION/INTERSECT/EXCEPT",
                    strength_name(query.locking[0].strength)
                ),
            )),
            QueryBody::Values(rows) => self.values(rows, query, into),
            QueryBody::SetOperation {
                op,
                all,
                left,
                right,
            } => self.set_operation(*op, *all, left, right, query),
            QueryBody::Nested(inner) => self.nested(inner, query),
        };
        self.ctes.truncate(reach);
        let (body, columns) = bound?;
        for cte in &ctes {
            let mut locked = self.cte_row_locks.iter();
            if self.cte_reads.contains(&cte.slot)
                && let Some(&(_, strength)) = locked.find(|(slot, _)| *slot == cte.slot)
            {
                self.row_lock = self.row_lock.or(Some(strength));
            }
        }
        Ok(QueryPlan {
            ctes,
            body,
            columns,
            row_lock: self.row_lock,
        })
    }

    /// Binds a query that stands within another.
    pub(super) fn lower_query(
        &mut self,
        query: &Query,
        into: &[Typed],
    ) -> Result<QueryPlan, PgError> {
        let below_top = std::mem::replace(&mut self.below_top, true);
        let plan = self.query_into(query, into);
        self.below_top = below_top;
        plan
    }

    pub(super) fn limits(
        &mut self,
        query: &Query,
    ) -> Result<(Option<Scalar>, Option<Scalar>), PgError> {
        let mut bind = |expr: &Option<Expr>, clause: &'static str| match expr {
            None | Some(Expr::Null(_)) => Ok(None),
            Some(expr) => {
                // LIMIT stands outside of the rows, though it could name their columns.
                let rows = self.scopes.last_mut();
                let relations = rows.map(|rows| std::mem::take(&mut rows.relations));
                self.scopes.push(Scope {
                    clause,
                    relations: relations.unwrap_or_default(),
                    ..Scope::default()
                });
                let bound = self.demand(expr, Type::Int8, clause);
                let bound = bound.and_then(|bound| self.refuse_columns(bound, expr, clause));
                if let Some(scope) = self.scopes.pop()
                    && let Some(rows) = self.scopes.last_mut()
                {
                    rows.relations = scope.relations;
                }
                bound.map(Some)
            }
        };
        Ok((bind(&query.limit, "LIMIT")?, bind(&query.offset, "OFFSET")?))
    }

    /// 42P10 for a column where there is no row (`checkExprIsVarFree`).
    fn refuse_columns(
        &mut self,
        bound: Scalar,
        expr: &Expr,
        clause: &str,
    ) -> Result<Scalar, PgError> {
        let mut rows = false;
        bound.walk(&mut |part| rows |= matches!(part, Scalar::Column(_)));
        if !rows {
            return Ok(bound);
        }
        let mut rest = vec![expr];
        let mut at = 0;
        while let (0, Some(expr)) = (at, rest.pop()) {
            match expr {
                Expr::Column(names, place) => {
                    if let (Scalar::Column(_), _) = self.column(names, *place)? {
                        at = *place;
                    }
                }
                other => rest.extend(other.parts().into_iter().rev()),
            }
        }
        let message = format!("argument of {clause} must not contain variables");
        Err(PgError::new(SqlState::INVALID_COLUMN_REFERENCE, message).near(at))
    }

    /// ORDER BY over nothing but the columns of the result.
    fn tail_over_result(&mut self, query: &Query, columns: &[Column]) -> Result<Tail, PgError> {
        let mut order = Vec::with_capacity(query.order_by.len());
        for key in &query.order_by {
            refuse_constant(&key.expr, "ORDER BY")?;
            let place = match &key.expr {
                Expr::Integer(place, at) => position(*place, columns.len(), "ORDER BY", *at)?,
                Expr::Column(names, at) => match &names[..] {
                    [name] => columns
                        .iter()
                        .position(|column| column.name == *name)
                        .ok_or_else(|| PgError::undefined_column(name).at(*at as usize))?,
                    _ => return Err(missing_from(&names[0]).at(*at as usize)),
                },
                _ => {
                    return Err(PgError::new(
                        SqlState::FEATURE_NOT_SUPPORTED,
                        "invalid UNION/INTERSECT/EXCEPT ORDER BY clause",
                    )
                    .with_detail(
                        "Only result column names can be used, not expressions or functions.",
                    ));
                }
            };
            order.push(sort_key(Scalar::Column(place), key));
        }
        let (limit, offset) = self.limits(query)?;
        Ok(Tail {
            order,
            limit,
            offset,
        })
    }

    fn values(
        &mut self,
        rows: &[Vec<Expr>],
        query: &Query,
        into: &[Typed],
    ) -> Result<(Body, Vec<Column>), PgError> {
        let width = rows[0].len();
        if let Some(row) = rows.iter().find(|row| row.len() != width) {
            return Err(uneven(row));
        }
        self.scopes.push(Scope {
            clause: "VALUES",
            ..Scope::default()
        });
        let bound = self.values_rows(rows, width, into);
        self.scopes.pop();
        let (rows, types) = bound?;
        let columns: Vec<Column> = types
            .into_iter()
            .zip(1..)
            .map(|(typed, number)| plain_column(format!("column{number}").into(), typed))
            .collect();
        let tail = self.tail_over_result(query, &columns)?;
        Ok((Body::Values(ValuesPlan { rows, tail }), columns))
    }

    fn values_rows(
        &mut self,
        rows: &[Vec<Expr>],
        width: usize,
        into: &[Typed],
    ) -> Result<(Vec<Vec<Scalar>>, Vec<Typed>), PgError> {
        let mut bound: Vec<Vec<Scalar>> = rows.iter().map(|_| Vec::with_capacity(width)).collect();
        let mut types = Vec::with_capacity(width);
        for column in 0..width {
            let mut cells = Vec::with_capacity(rows.len());
            for row in rows {
                cells.push(self.expr(&row[column])?);
            }
            if let Some(to) = into.get(column)
                && cells.iter().all(|(_, typed)| typed.ty == Type::Unknown)
            {
                for (row, (scalar, from)) in bound.iter_mut().zip(cells) {
                    let cast = self.coerce(scalar, from, to.ty.into(), Context::Assignment)?;
                    row.extend(cast);
                }
                types.push(Typed::from(to.ty));
                continue;
            }
            let places: Vec<u32> = rows.iter().map(|row| row[column].at()).collect();
            let (cells, typed) = self.unify(cells, &places, "VALUES")?;
            for (row, cell) in bound.iter_mut().zip(cells) {
                row.push(cell);
            }
            types.push(typed);
        }
        Ok((bound, types))
    }

    fn set_operation(
        &mut self,
        op: SetOp,
        all: bool,
        left: &Query,
        right: &Query,
        query: &Query,
    ) -> Result<(Body, Vec<Column>), PgError> {
        let (left_query, right_query) = (left, right);
        let (left, right) = (self.operand(left)?, self.operand(right)?);
        let width = right.columns.len();
        let name = match op {
            SetOp::Union => "UNION",
            SetOp::Intersect => "INTERSECT",
            SetOp::Except => "EXCEPT",
        };
        if left.columns.len() != right.columns.len() {
            return Err(PgError::new(
                SqlState::SYNTAX_ERROR,
                format!("each {name} query must have the same number of columns"),
            )
            .near(right_query.column_at(0, width)));
        }
        let mut columns = left.columns.clone();
        let mut casts = (Vec::new(), Vec::new());
        let sides = left.types().into_iter().zip(right.types());
        for ((column, sides), place) in columns.iter_mut().zip(sides).zip(0..) {
            let places = [left_query, right_query].map(|query| query.column_at(place, width));
            let ty = self.common_type(&[sides.0, sides.1], &places, name)?;
            if !all {
                refuse_unequal(ty, places[0])?;
            }
            let mut cast = |from: Type, plan: &QueryPlan, at: u32| -> Result<_, PgError> {
                if let (Type::Unknown, Some(number)) = (from, parameter(plan, place)) {
                    self.deduce(number, ty.base(), at as i32)?;
                    return Ok(None);
                }
                Ok((from != ty).then_some(Cast {
                    to: ty,
                    typmod: -1,
                    explicit: false,
                }))
            };
            casts.0.push(cast(sides.0, &left, places[0])?);
            casts.1.push(cast(sides.1, &right, places[1])?);
            *column = plain_column(column.name.clone(), ty.into());
        }
        let tail = self.tail_over_result(query, &columns)?;
        let plan = SetPlan {
            op,
            all,
            left,
            right,
            casts,
            tail,
        };
        Ok((Body::SetOperation(Box::new(plan)), columns))
    }

    /// A side of a set operation: its unknown constants take the other's types.
    fn operand(&mut self, query: &Query) -> Result<QueryPlan, PgError> {
        self.keep_unknown = true;
        let plan = self.lower_query(query, &[]);
        self.keep_unknown = false;
        plan
    }

    /// Parentheses with clauses of their own: `(query) LIMIT 1`.
    fn nested(&mut self, inner: &Query, outer: &Query) -> Result<(Body, Vec<Column>), PgError> {
        for (clause, twice) in [
            (
                "ORDER BY",
                !inner.order_by.is_empty() && !outer.order_by.is_empty(),
            ),
            ("OFFSET", inner.offset.is_some() && outer.offset.is_some()),
            ("LIMIT", inner.limit.is_some() && outer.limit.is_some()),
        ] {
            if twice {
                return Err(PgError::new(
                    SqlState::SYNTAX_ERROR,
                    format!("multiple {clause} clauses not allowed"),
                ));
            }
        }
        let plan = self.query(inner)?;
        let columns = plan.columns.clone();
        let width = columns.len();
        let tail = self.tail_over_result(outer, &columns)?;
        let from = super::FromPlan {
            width,
            tables: 0,
            root: FromNode::Derived {
                source: super::Derived::Subquery {
                    plan,
                    lateral: false,
                    kept: None,
                },
                offset: 0,
                width,
                filter: Vec::new(),
            },
            recheck: Vec::new(),
            filter: Vec::new(),
        };
        let select = SelectPlan {
            from,
            grouping: None,
            having: None,
            targets: (0..width).map(Scalar::Column).collect(),
            sets: Vec::new(),
            distinct: None,
            tail,
            locking: Vec::new(),
            timing: super::Timing::default(),
        };
        Ok((Body::Select(Box::new(select)), columns))
    }
}

/// The parameter that a column of a SELECT is, if it is nothing else.
fn parameter(plan: &QueryPlan, place: usize) -> Option<usize> {
    match &plan.body {
        Body::Select(select) => match select.targets.get(place) {
            Some(Scalar::Param(number)) => Some(*number),
            _ => None,
        },
        _ => None,
    }
}

/// 42601 for a row of VALUES that is not as long as the first.
pub(super) fn uneven(row: &[Expr]) -> PgError {
    let message = "VALUES lists must all be the same length";
    PgError::new(SqlState::SYNTAX_ERROR, message).near(row.first().map_or(0, Expr::at))
}

pub(super) fn sort_key(by: Scalar, key: &OrderBy) -> SortKey {
    SortKey {
        by,
        descending: key.descending,
        nulls_first: key.nulls_first,
    }
}
