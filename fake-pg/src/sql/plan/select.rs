//! SELECT: its clauses bound in the order that decides what they may name.
//!
//! FROM, WHERE and the row locks see rows; targets, HAVING and ORDER BY see
//! groups if there are any. What is sorted after DISTINCT, or after a set is
//! spread, is the result and not the row. WITH and LIMIT are `query`'s.

use super::aggregate::{Written, aggregate_at};
use super::locking::refuse_with;
use super::operator::refuse_unequal;
use super::query::sort_key;
use super::scope::Scope;
use super::sets::{refuse_set, set_targets};
use super::{
    Binder, Body, Derived, DistinctPlan, FromNode, Scalar, SelectPlan, Tail, Timing, Typed,
};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{Distinct, Expr, Query, Select, Target};
use crate::sql::face::Column;
use crate::sql::functions::Aggregate;

impl Binder<'_> {
    pub(super) fn select(
        &mut self,
        select: &Select,
        query: &Query,
        into: &[Typed],
    ) -> Result<(Body, Vec<Column>), PgError> {
        self.scopes.push(Scope::default());
        let bound = self.select_in_scope(select, query, into);
        let limits = match bound.is_ok() {
            true => self.limits(query),
            false => Ok((None, None)),
        };
        self.scopes.pop();
        let (mut plan, columns) = bound?;
        (plan.tail.limit, plan.tail.offset) = limits?;
        plan.timing = Timing::of(&plan);
        want(&mut plan);
        Ok((Body::Select(Box::new(plan)), columns))
    }

    fn select_in_scope(
        &mut self,
        select: &Select,
        query: &Query,
        into: &[Typed],
    ) -> Result<(SelectPlan, Vec<Column>), PgError> {
        let keep_unknown = std::mem::take(&mut self.keep_unknown);
        let (root, conditions) = self.bind_from(&select.from)?;
        let filter = match &select.filter {
            Some(filter) => Some(self.condition(filter, "WHERE")?),
            None => None,
        };
        let locking = self.locking(&query.locking, &conditions.nullable, select)?;
        if let Some(first) = query.locking.first()
            && !locking.is_empty()
        {
            self.row_lock = Some(first.strength);
        }
        let from = self.finish_from(root, conditions, filter);

        self.scope().aggregates = Some(Vec::new());
        self.scope().clause = "";
        self.keep_unknown = keep_unknown;
        let targets = self.targets(&select.targets, into);
        self.keep_unknown = false;
        let (mut targets, columns) = targets?;
        let mut having = match &select.having {
            Some(having) => Some(self.condition(having, "HAVING")?),
            None => None,
        };
        self.scope().clause = "";
        let mut order = Vec::with_capacity(query.order_by.len());
        for key in &query.order_by {
            let by = self.sort_expr(&key.expr, &targets, &columns, "ORDER BY")?;
            order.push(sort_key(by, key));
        }
        let mut distinct = match &select.distinct {
            None => None,
            Some(Distinct::Rows) => {
                for (place, column) in columns.iter().enumerate() {
                    let at = match select.target_of(place, columns.len()) {
                        Some(Target::Expr(expr, _)) => expr.at(),
                        Some(Target::Star(_, at)) => *at,
                        _ => 0,
                    };
                    refuse_unequal(column.ty, at)?;
                }
                Some(DistinctPlan::Rows)
            }
            Some(Distinct::On(exprs)) => {
                let mut on = Vec::with_capacity(exprs.len());
                for expr in exprs {
                    let (key, ty) = self.result_expr(expr, &targets, &columns, "DISTINCT ON")?;
                    refuse_unequal(ty, expr.at())?;
                    on.push(key);
                }
                Some(DistinctPlan::On(on))
            }
        };
        let aggregates = self.scope().aggregates.take().unwrap_or_default();
        self.scope().clause = "GROUP BY";
        let mut keys = Vec::with_capacity(select.group_by.len());
        for expr in &select.group_by {
            if matches!(expr, Expr::Row(parts, _) if parts.is_empty()) {
                continue;
            }
            let key = self.group_key(expr, &targets, &columns, select)?;
            refuse_set(&key, "GROUP BY")?;
            keys.push(key);
        }
        if !aggregates.is_empty() && self.recurses(&from.root) {
            let exprs = select.targets.iter().filter_map(|target| match target {
                Target::Expr(expr, _) => Some(expr),
                Target::Star(..) => None,
            });
            let mut places = exprs.chain(&select.having).map(aggregate_at);
            let message =
                "aggregate functions are not allowed in a recursive query's recursive term";
            return Err(
                PgError::new("42P19".parse().unwrap_or(SqlState::SYNTAX_ERROR), message)
                    .near(places.find(|at| *at > 0).unwrap_or(0)),
            );
        }
        let grouped = !select.group_by.is_empty() || having.is_some();
        let grouping = if aggregates.is_empty() && !grouped {
            None
        } else {
            let mut exprs: Vec<&mut Scalar> = targets.iter_mut().collect();
            exprs.extend(order.iter_mut().map(|key| &mut key.by));
            if let Some(DistinctPlan::On(on)) = &mut distinct {
                exprs.extend(on);
            }
            exprs.extend(&mut having);
            let others = query.order_by.iter().map(|key| &key.expr);
            let written = Written {
                targets: &select.targets,
                others: others
                    .chain(distinct_on(select))
                    .chain(&select.having)
                    .collect(),
            };
            Some(self.group(keys, aggregates, exprs, &written)?)
        };
        let sets = set_targets(&targets)?;
        if let Some(clause) = query.locking.first() {
            refuse_with(clause.strength, grouping.is_some(), !sets.is_empty())?;
        }
        if sets.is_empty() {
            order
                .iter()
                .try_for_each(|key| refuse_set(&key.by, "ORDER BY"))?;
        }
        // What is sorted after DISTINCT, or after sets are spread, is the result.
        if !sets.is_empty() || matches!(distinct, Some(DistinctPlan::Rows)) {
            for (key, written) in order.iter_mut().zip(&query.order_by) {
                let Some(place) = targets.iter().position(|target| *target == key.by) else {
                    return Err(match sets.is_empty() {
                        false => PgError::feature_not_supported("this ORDER BY beside a set"),
                        true => PgError::new(
                            SqlState::INVALID_COLUMN_REFERENCE,
                            "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
                        )
                        .near(written.expr.at()),
                    });
                };
                key.by = Scalar::Column(place);
            }
        }
        if let Some(DistinctPlan::On(on)) = &distinct {
            if !sets.is_empty() {
                return Err(PgError::feature_not_supported("DISTINCT ON beside a set"));
            }
            on.iter()
                .try_for_each(|key| refuse_set(key, "DISTINCT ON"))?;
            let leading = order.iter().take(on.len());
            let matched = leading.clone().take_while(|key| on.contains(&key.by));
            let matched: Vec<&Scalar> = matched.map(|key| &key.by).collect();
            if matched.len() < leading.len() {
                // It points at the first that ORDER BY has not come to.
                let later = order[matched.len()..].iter().map(|key| &key.by);
                let later = later
                    .filter_map(|by| on.iter().position(|expr| expr == by))
                    .next();
                let unmatched = || on.iter().position(|expr| !matched.contains(&expr));
                let at = later
                    .or_else(unmatched)
                    .and_then(|place| distinct_on(select).get(place));
                return Err(PgError::new(
                    SqlState::INVALID_COLUMN_REFERENCE,
                    "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
                )
                .near(at.map_or(0, Expr::at)));
            }
        }
        let plan = SelectPlan {
            from,
            grouping,
            having,
            targets,
            sets,
            distinct,
            tail: Tail {
                order,
                limit: None,
                offset: None,
            },
            locking,
            timing: Timing::default(),
        };
        Ok((plan, columns))
    }
}

impl Binder<'_> {
    /// Whether FROM reads the recursive query that is being bound.
    fn recurses(&self, node: &FromNode) -> bool {
        match node {
            FromNode::Derived {
                source: Derived::Cte(slot, _),
                ..
            } => self.recursing.contains(slot),
            FromNode::Join { left, right, .. } => self.recurses(left) || self.recurses(right),
            _ => false,
        }
    }
}

fn distinct_on(select: &Select) -> &[Expr] {
    match &select.distinct {
        Some(Distinct::On(exprs)) => exprs,
        _ => &[],
    }
}

/// Tells the only table of a query in which order its rows are wanted, and how many.
fn want(plan: &mut SelectPlan) {
    if let Some(grouping) = &plan.grouping {
        let ends = grouping.aggregates.iter().map(|aggregate| {
            let plain = aggregate.filter.is_none();
            match (&aggregate.function, &aggregate.args[..]) {
                (Aggregate::Min, [Scalar::Column(column)]) if plain => Some((*column, false)),
                (Aggregate::Max, [Scalar::Column(column)]) if plain => Some((*column, true)),
                _ => None,
            }
        });
        if grouping.keys.is_empty()
            && plan.from.filter.is_empty()
            && let FromNode::Scan(scan) = &mut plan.from.root
        {
            scan.wanted.extremes = ends.collect::<Option<_>>().unwrap_or_default();
        }
        return;
    }
    let plain = plan.distinct.is_none() && plan.sets.is_empty();
    let FromNode::Scan(scan) = &mut plan.from.root else {
        return;
    };
    if !plain || plan.tail.order.is_empty() && plan.tail.limit.is_none() {
        return;
    }
    let number = |scalar: &Option<Scalar>| match scalar {
        Some(Scalar::Const(value)) => value.as_i64().map(|number| number as f64),
        // A custom plan knows its value, which is a small one as a rule.
        Some(Scalar::Param(_)) => Some(1.0),
        _ => None,
    };
    let offset = number(&plan.tail.offset).unwrap_or(0.0);
    scan.wanted.walks = plan.timing.walks;
    scan.wanted.sorting.limit = number(&plan.tail.limit).map(|limit| (limit + offset).max(1.0));
    for key in &plan.tail.order {
        match key.by {
            Scalar::Column(column) => {
                let key = (column, key.descending, key.nulls_first);
                scan.wanted.sorting.order.push(key);
            }
            _ => scan.wanted.sorting.sorts = true,
        }
    }
}
