//! When expressions are computed, where it can be seen: by functions that act, and by errors.
//!
//! The conditions of a scan are tried in an order of their costs; targets are computed before or
//! after a sort; and rows that an index has in order are walked in that order. Source:
//! `order_qual_clauses` in `createplan.c`, `make_sort_input_target` in `planner.c`, `cost_qual_eval`
//! in `costsize.c`. Plans themselves are chosen in `access`.

use super::{Action, Body, InsertSource, ModifyPlan, Plan, SubqueryKind};
use super::{Binder, Comparison, CteSource, Derived, FromNode, QueryPlan, Scalar, SelectPlan};
use crate::types::Type;

/// When a target is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// It is this key of ORDER BY.
    Key(usize),
    /// Before the rows are sorted, by its place among those.
    Early(usize),
    /// After that.
    Late,
}

/// When the parts of a SELECT are computed.
#[derive(Debug, Default)]
pub(crate) struct Timing {
    /// Of each target; empty if it can not be seen.
    pub(crate) targets: Vec<When>,
    /// The targets that are computed before a sort.
    pub(crate) early: Vec<usize>,
    /// It can be seen in which order rows are read.
    pub(crate) walks: bool,
    /// Targets beside a set are computed anew for each of its rows.
    pub(crate) repeats: bool,
}

impl Timing {
    /// Settles it for a plan that is complete but for this.
    pub(super) fn of(plan: &SelectPlan) -> Timing {
        let mut timing = Timing::default();
        let beside = |(place, _): &(usize, &Scalar)| !plan.sets.contains(place);
        let mut others = plan.targets.iter().enumerate().filter(beside);
        let shown = others.any(|(_, target)| can_be_seen(target));
        timing.repeats = shown && !plan.sets.is_empty();
        if shown {
            for (place, target) in plan.targets.iter().enumerate() {
                let mut order = plan.tail.order.iter();
                let when = match order.position(|key| key.by == *target) {
                    Some(key) => When::Key(key),
                    None if plan.grouping.is_some() || waits_for_sort(plan, target) => When::Late,
                    None => {
                        timing.early.push(place);
                        When::Early(timing.early.len() - 1)
                    }
                };
                timing.targets.push(when);
            }
        }
        if let FromNode::Scan(scan) = &plan.from.root {
            let filters = scan.filter.iter().chain(&plan.from.filter);
            timing.walks = !plan.tail.order.is_empty()
                && plan.distinct.is_none()
                && plan.sets.is_empty()
                && plan.grouping.is_none()
                && (!timing.early.is_empty() || filters.into_iter().any(can_be_seen));
        }
        timing
    }
}

/// Whether a target is computed after the sort, or so cheaply that it makes no difference.
fn waits_for_sort(plan: &SelectPlan, target: &Scalar) -> bool {
    const EXPENSIVE: f64 = 10.0;
    !can_be_seen(target)
        || is_volatile(target)
        || plan.tail.limit.is_some() && cost(target, &|_| None) > EXPENSIVE
}

/// Whether it can be seen that an expression is computed.
fn can_be_seen(scalar: &Scalar) -> bool {
    let mut seen = false;
    scalar.walk(&mut |part| {
        seen |= matches!(
            part,
            Scalar::Call(..) | Scalar::Embedded(..) | Scalar::Cast(..) | Scalar::Subquery(_)
        );
    });
    seen
}

fn is_volatile(scalar: &Scalar) -> bool {
    let mut found = false;
    scalar.walk(&mut |part| {
        found |= match part {
            Scalar::Call(function, _) => function.is_volatile(),
            Scalar::Embedded(..) => true,
            _ => false,
        };
    });
    found
}

/// Conditions in the order in which a scan tries them: the cheap ones first, and among equals those
/// last that leave a column one value, since they have been in an equivalence class.
pub(super) fn order_by_cost(conditions: &mut [Scalar], ty: &dyn Fn(usize) -> Option<Type>) {
    if conditions.len() < 2 {
        return;
    }
    let rank = |condition: &Scalar| {
        // In quarters of an operator, to compare them exactly.
        let cost = (cost(condition, ty) * 4.0) as u64;
        let equates = match condition {
            Scalar::Compare(Comparison::Equal, pair) => pair.0 != pair.1,
            Scalar::InList(_, items, false) => items.len() == 1,
            _ => false,
        };
        (cost, equates && !is_volatile(condition))
    };
    conditions.sort_by_cached_key(rank);
}

/// How many operators an expression calls (`cost_qual_eval_walker`).
fn cost(scalar: &Scalar, ty: &dyn Fn(usize) -> Option<Type>) -> f64 {
    const SUBPLAN: f64 = 10_000.0;
    const HASHED: usize = 9;
    let list = |length: usize| match length {
        1 => 1.0,
        HASHED.. => 2.0,
        _ => 0.5 * length as f64,
    };
    let is_text = |ty: Type| matches!(ty, Type::Text | Type::Varchar | Type::Unknown);
    let mut sum = 0.0;
    scalar.walk(&mut |part| {
        sum += match part {
            Scalar::Compare(..)
            | Scalar::Call(..)
            | Scalar::Embedded(..)
            | Scalar::Distinct(..)
            | Scalar::NullIf(_)
            | Scalar::Extreme(..) => 1.0,
            Scalar::CompareRows(_, pairs) => pairs.len() as f64,
            Scalar::InList(_, items, _) => list(items.len()),
            Scalar::Any(_, pair, _) => match &pair.1 {
                Scalar::Array(items) => list(items.len()),
                Scalar::Const(crate::types::Datum::Array(items)) => list(items.len()),
                _ => list(10),
            },
            Scalar::Cast(inner, cast) => {
                let from = match &**inner {
                    Scalar::Column(column) => ty(*column),
                    _ => None,
                };
                match (from.map(is_text), is_text(cast.to)) {
                    (Some(true), true) => 0.0,
                    (Some(true), false) | (_, true) => 2.0,
                    _ => 1.0,
                }
            }
            Scalar::Subquery(subquery) => match (subquery.correlated, &subquery.kind) {
                (false, SubqueryKind::Scalar | SubqueryKind::Exists | SubqueryKind::Array) => 0.0,
                _ => SUBPLAN,
            },
            _ => 0.0,
        };
    });
    sum
}

/// Finds the common table expressions that are read row by row, as they are computed: those with one
/// reader that runs once.
pub(crate) fn stream(plan: &mut Plan, binder: &Binder<'_>) {
    match plan {
        Plan::Query(query) => stream_query(query, binder),
        Plan::Modify(modify) => stream_modify(modify, binder),
        Plan::Utility => {}
    }
}

fn stream_query(query: &mut QueryPlan, binder: &Binder<'_>) {
    for cte in &mut query.ctes {
        match &mut cte.source {
            CteSource::Query(query) => stream_query(query, binder),
            CteSource::Modify(modify) => stream_modify(modify, binder),
            CteSource::Recursive(left, ..) => stream_query(left, binder),
        }
    }
    match &mut query.body {
        Body::Select(select) => stream_node(&mut select.from.root, binder),
        Body::SetOperation(set) => {
            stream_query(&mut set.left, binder);
            stream_query(&mut set.right, binder);
        }
        Body::Values(_) => {}
    }
}

fn stream_modify(modify: &mut ModifyPlan, binder: &Binder<'_>) {
    match &mut modify.action {
        Action::Insert {
            source: InsertSource::Query(query, _),
            ..
        } => stream_query(query, binder),
        Action::Insert { .. } => {}
        Action::Update { from, .. } | Action::Delete { from } => {
            stream_node(&mut from.root, binder)
        }
    }
}

fn stream_node(node: &mut FromNode, binder: &Binder<'_>) {
    match node {
        FromNode::Join { left, .. } => stream_node(left, binder),
        FromNode::Derived { source, .. } => match source {
            Derived::Cte(slot, streams) => *streams = binder.reads_once(*slot),
            Derived::Subquery {
                plan,
                lateral: false,
                ..
            } => stream_query(plan, binder),
            _ => {}
        },
        FromNode::Scan(_) | FromNode::Nothing => {}
    }
}
