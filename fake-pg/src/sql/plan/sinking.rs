//! Conditions on a subquery in FROM, handed down into it.
//!
//! It only matters where the subquery computes something that can be seen: what it computes, it
//! computes for the rows that the conditions leave (`subquery_push_qual` in `allpaths.c`).

use super::pushdown::References;
use super::timing::order_by_cost;
use super::{Body, Derived, FromNode, Scalar, SelectPlan};

/// Hands down what each subquery may be told.
pub(super) fn sink(node: &mut FromNode) {
    match node {
        FromNode::Join { left, right, .. } => {
            sink(left);
            sink(right);
        }
        FromNode::Derived {
            source:
                Derived::Subquery {
                    plan,
                    lateral: false,
                    ..
                },
            offset,
            filter,
            ..
        } => {
            if let Body::Select(select) = &mut plan.body
                && is_open(select)
            {
                let offset = *offset;
                filter.retain(|condition| !take(select, condition, offset));
            }
        }
        FromNode::Derived { .. } | FromNode::Scan(_) | FromNode::Nothing => {}
    }
}

/// Whether fewer rows to begin with are fewer rows in the end, and it can be seen
/// (`subquery_is_pushdown_safe`).
fn is_open(select: &SelectPlan) -> bool {
    let cuts = select.tail.limit.is_some() || select.tail.offset.is_some();
    let counts = select.grouping.is_some() || select.distinct.is_some() || !select.sets.is_empty();
    !cuts && !counts && !select.timing.targets.is_empty()
}

/// Takes a condition over the targets, if it can be one over the rows (`qual_is_pushdown_safe`).
fn take(select: &mut SelectPlan, condition: &Scalar, offset: usize) -> bool {
    let refs = References::of(condition);
    let mut safe = !refs.volatile && !holds_subquery(condition);
    for column in &refs.columns {
        let target = column
            .checked_sub(offset)
            .and_then(|place| select.targets.get(place));
        safe &= target
            .is_some_and(|target| !References::of(target).volatile && !holds_subquery(target));
    }
    if !safe {
        return false;
    }
    let mut condition = condition.clone();
    over_rows(&mut condition, &select.targets, offset);
    select.from.recheck.push(condition.clone());
    match &mut select.from.root {
        FromNode::Scan(scan) => {
            scan.filter.push(condition);
            let mut filter = std::mem::take(&mut scan.filter);
            order_by_cost(&mut filter, &|column| scan.column_type(column));
            scan.filter = filter;
        }
        _ => select.from.filter.push(condition),
    }
    true
}

fn holds_subquery(scalar: &Scalar) -> bool {
    let mut found = false;
    scalar.walk(&mut |part| found |= matches!(part, Scalar::Subquery(_)));
    found
}

/// The targets in place of the columns.
fn over_rows(scalar: &mut Scalar, targets: &[Scalar], offset: usize) {
    match scalar {
        Scalar::Column(column) => *scalar = targets[*column - offset].clone(),
        _ => scalar.children_mut(&mut |part| over_rows(part, targets, offset)),
    }
}
