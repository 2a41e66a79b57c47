//! Subqueries within expressions: EXISTS, `IN (query)`, scalars, ARRAY(query).
//!
//! A subquery is bound in a scope of its own and remembers whether it looks
//! at rows outside of it; when it is run, and how often, is `execute`'s.

use std::sync::Arc;

use super::operator::comparison;
use super::{
    Binder, Body, DistinctPlan, FromNode, QueryPlan, Scalar, Subquery, SubqueryKind, Timing, Typed,
    Unequal,
};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{Expr, Query};
use crate::types::Type;

impl Binder<'_> {
    pub(super) fn in_query(
        &mut self,
        operand: &Expr,
        op: &str,
        query: &Query,
        all: bool,
        negated: bool,
        at: u32,
    ) -> Result<(Scalar, Typed), PgError> {
        self.refuse_subquery(at)?;
        let Some(comparison) = comparison(op) else {
            return Err(PgError::feature_not_supported(format_args!(
                "{op} ANY (query)"
            )));
        };
        let mut operands = Vec::new();
        match operand {
            Expr::Row(items, _) => {
                for item in items {
                    operands.push(self.expr(item)?);
                }
            }
            single => operands.push(self.expr(single)?),
        }
        let mut subquery = self.subquery(query, SubqueryKind::Exists)?;
        let columns = subquery.plan.0.columns.clone();
        if columns.len() != operands.len() {
            let few = match columns.len() < operands.len() {
                true => "subquery has too few columns",
                false => "subquery has too many columns",
            };
            return Err(PgError::new(SqlState::SYNTAX_ERROR, few).at(at as usize));
        }
        let mut bound = Vec::with_capacity(operands.len());
        for (index, (operand, column)) in operands.into_iter().zip(&columns).enumerate() {
            let (operand, column) =
                self.comparable(op, operand, (Scalar::Column(index), column.ty.into()), at)?;
            if column != Scalar::Column(index) {
                return Err(PgError::feature_not_supported(
                    "comparing with a subquery of another type",
                ));
            }
            bound.push(operand);
        }
        subquery.kind = SubqueryKind::In {
            operands: bound,
            comparison,
            all,
            negated,
        };
        Ok((Scalar::Subquery(Box::new(subquery)), Type::Bool.into()))
    }

    /// `(a, b) = (query)`, of which there may be one row.
    pub(super) fn row_and_query(
        &mut self,
        row: &Expr,
        op: &str,
        query: &Query,
        at: u32,
    ) -> Result<(Scalar, Typed), PgError> {
        let (mut scalar, typed) = self.in_query(row, op, query, false, false, at)?;
        if let Scalar::Subquery(subquery) = &mut scalar
            && let SubqueryKind::In {
                operands,
                comparison,
                ..
            } = &mut subquery.kind
        {
            subquery.kind = SubqueryKind::Row {
                operands: std::mem::take(operands),
                comparison: *comparison,
            };
        }
        Ok((scalar, typed))
    }

    /// EXISTS does not compute what it does not look at, be it constant.
    pub(super) fn exists(&mut self, query: &Query) -> Result<Subquery, PgError> {
        let before = self.constants.len();
        let mut subquery = self.subquery(query, SubqueryKind::Exists)?;
        if let Some(plan) = Arc::get_mut(&mut subquery.plan.0) {
            for target in take_values(plan) {
                target.walk(&mut |part| {
                    let mut place = 0;
                    self.constants.retain(|constant| {
                        place += 1;
                        place <= before || constant != part
                    });
                });
            }
        }
        Ok(subquery)
    }

    /// 0A000 where no subquery may stand (`transformSubLink`).
    pub(super) fn refuse_subquery(&mut self, at: u32) -> Result<(), PgError> {
        let place = match self.scope().clause {
            "DEFAULT" => "DEFAULT expression",
            "check constraints" => "check constraint",
            "index expressions" => "index expression",
            "index predicates" => "index predicate",
            "EXECUTE" => "EXECUTE parameter",
            _ => return Ok(()),
        };
        let message = format!("cannot use subquery in {place}");
        Err(PgError::new(SqlState::FEATURE_NOT_SUPPORTED, message).near(at))
    }

    /// Binds a subquery in its own scope.
    pub(super) fn subquery(
        &mut self,
        query: &Query,
        kind: SubqueryKind,
    ) -> Result<Subquery, PgError> {
        let outermost = std::mem::replace(&mut self.outermost, usize::MAX);
        let referred = self.scope().referred.len();
        let plan = self.apart(|binder| binder.lower_query(query, &[]))?;
        // Its own level, and those inside of it, are no correlation.
        let correlated = self.outermost < self.scopes.len();
        self.outermost = self.outermost.min(outermost);
        self.subqueries += 1;
        Ok(Subquery {
            kind,
            id: self.subqueries - 1,
            correlated,
            refers: self.scope().referred[referred..].to_vec(),
            regrouped: None,
            plan: Unequal(Arc::new(plan)),
        })
    }
}

/// Takes out what is of no use if only the number of rows counts (`simplify_EXISTS_query`).
fn take_values(plan: &mut QueryPlan) -> Vec<Scalar> {
    let Body::Select(select) = &mut plan.body else {
        return Vec::new();
    };
    let limited = match &select.tail.limit {
        None => false,
        Some(Scalar::Const(limit)) => limit.as_i64().is_some_and(|limit| limit <= 0),
        Some(_) => true,
    };
    let counts = match &select.grouping {
        Some(grouping) => !grouping.aggregates.is_empty() || grouping.keys.is_empty(),
        None => false,
    };
    if counts
        || limited
        || select.having.is_some()
        || !select.sets.is_empty()
        || select.tail.offset.is_some()
        || !select.locking.is_empty()
    {
        return Vec::new();
    }
    if let FromNode::Scan(scan) = &mut select.from.root {
        (scan.wanted.sorting, scan.wanted.walks) = Default::default();
    }
    (select.timing, select.tail.limit) = (Timing::default(), None);
    let mut values = std::mem::take(&mut select.targets);
    values.extend(select.tail.order.drain(..).map(|key| key.by));
    values.extend(select.grouping.take().into_iter().flat_map(|g| g.keys));
    if let Some(DistinctPlan::On(on)) = select.distinct.take() {
        values.extend(on);
    }
    values
}

pub(super) fn one_column() -> PgError {
    PgError::new(
        SqlState::SYNTAX_ERROR,
        "subquery must return only one column",
    )
}
