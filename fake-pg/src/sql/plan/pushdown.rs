//! Which step of FROM decides which part of WHERE, and by which index.
//!
//! A condition goes to the first step that has all of its columns, but never
//! below the nullable side of an outer join, and one that is volatile or
//! looks at the row through a subquery is decided last; but with one table only
//! what is volatile stays where it was written, since it can be seen for which
//! rows it is called. The rows found do not depend on it, only how many are read.
//! The steps themselves are `from`'s.

use std::ops::Range;

use super::equivalence::Known;
use super::from::Conditions;
use super::sinking::sink;
use super::timing::order_by_cost;
use super::{Binder, Comparison, Derived, FromNode, FromPlan, Hashed, Lookup, Scalar, ScanPlan};
use crate::engine::Deferral;

impl Binder<'_> {
    /// Distributes WHERE and the conditions of inner joins over the steps that
    /// can decide them, and finds the indexes that help.
    pub(super) fn finish_from(
        &mut self,
        mut root: FromNode,
        conditions: Conditions,
        filter: Option<Scalar>,
    ) -> FromPlan {
        let mut recheck = conditions.inner;
        recheck.extend(filter.into_iter().flat_map(split));
        let mut last = Vec::new();
        let known = match root {
            FromNode::Join { .. } => Known::from(&recheck),
            _ => Known::default(),
        };
        root = known.single_rows_first(root);
        for condition in recheck.iter().chain(&known.implied) {
            if known.decides(condition) {
                continue;
            }
            let refs = References::of(condition);
            if let FromNode::Scan(scan) = &mut root
                && refs.volatile
                && !refs.everything
            {
                scan.filter.push(condition.clone());
                continue;
            }
            if let Some(scan) = first_scan(&mut root)
                && refs.volatile
                && !refs.everything
                && !refs.columns.is_empty()
                && refs.within(&[span(scan.offset, scan.table.columns.len())])
            {
                scan.filter.push(condition.clone());
                continue;
            }
            if refs.everything || refs.volatile {
                last.push(condition.clone());
                continue;
            }
            if let Err(condition) = push(&mut root, condition.clone(), &refs, &[]) {
                last.push(condition);
            }
        }
        sink(&mut root);
        stream_first(&mut root);
        order_conditions(&mut root);
        if let FromNode::Scan(scan) = &root {
            order_by_cost(&mut recheck, &|column| scan.column_type(column));
        }
        choose_indexes(&mut root);
        choose_keys(&mut root, &mut self.cte_slots);
        if let FromNode::Join { .. } = root {
            root.estimate(1.0);
        }
        let scope = self.scope();
        FromPlan {
            width: scope.width,
            tables: scope.tables,
            root,
            recheck,
            filter: last,
        }
    }
}

/// The parts of a conjunction.
pub(super) fn split(scalar: Scalar) -> Vec<Scalar> {
    match scalar {
        Scalar::And(parts) => parts.into_iter().flat_map(split).collect(),
        other => vec![other],
    }
}

/// Which columns of the row at hand an expression needs.
#[derive(Debug, Default)]
pub(super) struct References {
    pub(super) columns: Vec<usize>,
    /// A subquery looks at the row: it must be decided last.
    pub(super) everything: bool,
    /// It may change the world, or differ from call to call.
    pub(super) volatile: bool,
}

impl References {
    pub(super) fn of(scalar: &Scalar) -> Self {
        let mut refs = References::default();
        scalar.walk(&mut |part| match part {
            Scalar::Column(column) => refs.columns.push(*column),
            Scalar::Subquery(subquery) if subquery.correlated => refs.everything = true,
            Scalar::Call(function, _) if function.is_volatile() => refs.volatile = true,
            Scalar::Embedded(..) => refs.volatile = true,
            _ => {}
        });
        refs
    }

    fn within(&self, ranges: &[Range<usize>]) -> bool {
        let inside = |column: &usize| ranges.iter().any(|range| range.contains(column));
        self.columns.iter().all(inside)
    }
}

/// Where the columns of one relation stand in the row.
fn span(offset: usize, width: usize) -> Range<usize> {
    offset..offset + width
}

/// The columns that a step has filled in.
pub(super) fn ranges(node: &FromNode) -> Vec<Range<usize>> {
    match node {
        FromNode::Nothing => Vec::new(),
        FromNode::Scan(scan) => vec![span(scan.offset, scan.table.columns.len())],
        FromNode::Derived { offset, width, .. } => vec![span(*offset, *width)],
        FromNode::Join { left, right, .. } => [ranges(left), ranges(right)].concat(),
    }
}

/// Hands a condition to the first step that can decide it; gives it back if
/// there is none.
pub(super) fn push(
    node: &mut FromNode,
    condition: Scalar,
    refs: &References,
    before: &[Range<usize>],
) -> Result<(), Scalar> {
    if refs.everything || refs.volatile {
        return Err(condition);
    }
    let own = ranges(node);
    let decides = refs.within(&[before, &own[..]].concat());
    match node {
        FromNode::Scan(ScanPlan { filter, .. }) | FromNode::Derived { filter, .. } if decides => {
            filter.push(condition);
            Ok(())
        }
        FromNode::Join {
            left,
            right,
            outer: false,
            on,
            ..
        } if decides => {
            let condition = match push(left, condition, refs, before) {
                Ok(()) => return Ok(()),
                Err(condition) => condition,
            };
            let before = [before, &ranges(left)[..]].concat();
            if let Err(condition) = push(right, condition, refs, &before) {
                on.push(condition);
            }
            Ok(())
        }
        FromNode::Join { left, .. } if decides => push(left, condition, refs, before),
        _ => Err(condition),
    }
}

/// The table that is read first.
fn first_scan(node: &mut FromNode) -> Option<&mut ScanPlan> {
    match node {
        FromNode::Scan(scan) => Some(scan),
        FromNode::Join { left, .. } => first_scan(left),
        FromNode::Nothing | FromNode::Derived { .. } => None,
    }
}

/// What is read first is read once: its rows need not be kept.
fn stream_first(node: &mut FromNode) {
    match node {
        FromNode::Join { left, .. } => stream_first(left),
        FromNode::Derived {
            source: Derived::Subquery { kept, .. },
            ..
        } => *kept = None,
        FromNode::Scan(_) | FromNode::Derived { .. } | FromNode::Nothing => {}
    }
}

/// Has each scan try its conditions as PostgreSQL would.
fn order_conditions(node: &mut FromNode) {
    match node {
        FromNode::Nothing => {}
        FromNode::Derived { filter, .. } => order_by_cost(filter, &|_| None),
        FromNode::Join { left, right, .. } => {
            order_conditions(left);
            order_conditions(right);
        }
        FromNode::Scan(scan) => {
            let mut filter = std::mem::take(&mut scan.filter);
            order_by_cost(&mut filter, &|column| scan.column_type(column));
            scan.filter = filter;
        }
    }
}

impl ScanPlan {
    /// The type of one of its columns, by position in the row.
    pub(super) fn column_type(&self, column: usize) -> Option<crate::types::Type> {
        let own = column.checked_sub(self.offset)?;
        self.table.columns.get(own).map(|column| column.ty)
    }
}

/// Finds, for each table, a unique index whose columns are all compared with
/// what is known before the table is read.
fn choose_indexes(node: &mut FromNode) {
    match node {
        FromNode::Nothing | FromNode::Derived { .. } => {}
        FromNode::Join { left, right, .. } => {
            choose_indexes(left);
            choose_indexes(right);
        }
        FromNode::Scan(scan) => {
            let own = span(scan.offset, scan.table.columns.len());
            let key_for = |column: usize| {
                scan.filter.iter().find_map(|condition| {
                    let Scalar::Compare(Comparison::Equal, pair) = condition else {
                        return None;
                    };
                    let (left, right) = &**pair;
                    let known = |scalar: &Scalar| {
                        let refs = References::of(scalar);
                        !refs.everything
                            && !refs.volatile
                            && !refs.columns.iter().any(|column| own.contains(column))
                    };
                    match (left, right) {
                        (Scalar::Column(c), other) if *c == column && known(other) => {
                            Some(other.clone())
                        }
                        (other, Scalar::Column(c)) if *c == column && known(other) => {
                            Some(other.clone())
                        }
                        _ => None,
                    }
                })
            };
            let lookup = scan
                .table
                .valid_unique_indexes()
                .find_map(|(place, index)| {
                    if index.computed.is_some() || index.deferral != Deferral::Never {
                        return None;
                    }
                    let key: Option<Vec<Scalar>> = index
                        .columns
                        .iter()
                        .map(|column| key_for(scan.offset + column))
                        .collect();
                    Some(Lookup {
                        index: place,
                        key: key?,
                    })
                });
            scan.lookup = lookup;
        }
    }
}

/// Finds, for each relation without such an index, the columns that other relations' rows, or those
/// of an enclosing query, ask for.
fn choose_keys(node: &mut FromNode, slots: &mut usize) {
    match node {
        FromNode::Nothing => {}
        FromNode::Join { left, right, .. } => {
            choose_keys(left, slots);
            choose_keys(right, slots);
        }
        FromNode::Scan(scan) => {
            if scan.lookup.is_none() && !scan.current {
                let own = span(scan.offset, scan.table.columns.len());
                scan.hashed = keys_asked_for(&scan.filter, own, slots);
            }
        }
        FromNode::Derived {
            source: Derived::System(_, _, hashed),
            offset,
            width,
            filter,
        } => *hashed = keys_asked_for(filter, span(*offset, *width), slots),
        FromNode::Derived { .. } => {}
    }
}

fn keys_asked_for(filter: &[Scalar], own: Range<usize>, slots: &mut usize) -> Option<Hashed> {
    let mut found = Hashed {
        slot: *slots,
        columns: Vec::new(),
        key: Vec::new(),
    };
    for condition in filter {
        let Scalar::Compare(Comparison::Equal, pair) = condition else {
            continue;
        };
        let (left, right) = &**pair;
        for (side, other) in [(left, right), (right, left)] {
            let Scalar::Column(column) = side else {
                continue;
            };
            let refs = References::of(other);
            let mut varies = !refs.columns.is_empty();
            other.walk(&mut |part| varies |= matches!(part, Scalar::Outer(..)));
            let inside = |column: &usize| own.contains(column);
            if inside(column)
                && varies
                && !refs.everything
                && !refs.volatile
                && !refs.columns.iter().any(inside)
            {
                found.columns.push(column - own.start);
                found.key.push(other.clone());
                break;
            }
        }
    }
    if found.columns.is_empty() {
        return None;
    }
    *slots += 1;
    Some(found)
}
