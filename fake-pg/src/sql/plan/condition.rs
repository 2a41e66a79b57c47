//! What a condition can do for a path: which column it lets an index search by, whether it leaves one
//! value of it, and what it costs to try.
//!
//! By which index, and whether that pays, is `access`'s.

use std::ops::Range;

use super::pushdown::References;
use super::{Body, Comparison, Scalar, SubqueryKind};
use crate::types::Datum;

/// How many operators a condition calls.
pub(super) fn operators(scalar: &Scalar) -> usize {
    let mut count = 0;
    scalar.walk(&mut |part| {
        count += usize::from(matches!(
            part,
            Scalar::Compare(..) | Scalar::Call(..) | Scalar::Distinct(..)
        ));
        if let Scalar::InList(_, items, _) = part {
            count += items.len().div_ceil(2);
        }
        if let Scalar::Any(..) = part {
            count += 5;
        }
    });
    count
}

/// The column of a table that a condition compares with what is known before the table is read.
pub(super) fn indexable(condition: &Scalar, own: &Range<usize>) -> Option<usize> {
    let known = |scalar: &Scalar| {
        let refs = References::of(scalar);
        !refs.everything
            && !refs.volatile
            && refs.columns.iter().all(|column| !own.contains(column))
    };
    let column = |scalar: &Scalar| match scalar {
        Scalar::Column(column) if own.contains(column) => Some(*column),
        _ => None,
    };
    match condition {
        Scalar::Compare(Comparison::NotEqual, _) => None,
        Scalar::Compare(_, pair) => match (column(&pair.0), column(&pair.1)) {
            (Some(found), None) if known(&pair.1) => Some(found),
            (None, Some(found)) if known(&pair.0) => Some(found),
            _ => None,
        },
        Scalar::InList(operand, items, false) if items.iter().all(known) => column(operand),
        Scalar::Any(Comparison::Equal, pair, false) if known(&pair.1) => column(&pair.0),
        // NOT NULL selects nearly all.
        Scalar::IsNull(operand, false) => column(operand),
        _ => None,
    }
}

/// The column that a condition compares with the few rows of a subquery. Measured on PostgreSQL 15.18:
/// up to ten rows are always taken one by one.
pub(super) fn among_few(condition: &Scalar) -> Option<usize> {
    const FEW: i64 = 10;
    let Scalar::Subquery(subquery) = condition else {
        return None;
    };
    let (
        SubqueryKind::In {
            operands,
            comparison: Comparison::Equal,
            all: false,
            negated: false,
        },
        Body::Select(select),
    ) = (&subquery.kind, &subquery.plan.0.body)
    else {
        return None;
    };
    match (&operands[..], &select.tail.limit) {
        ([Scalar::Column(column)], Some(Scalar::Const(Datum::Int8(rows))))
            if !subquery.correlated && *rows <= FEW =>
        {
            Some(*column)
        }
        _ => None,
    }
}

/// Whether a condition leaves a column one value only.
pub(super) fn fixes(condition: &Scalar, column: usize) -> bool {
    match condition {
        Scalar::Compare(Comparison::Equal, _) => {
            indexable(condition, &(column..column + 1)) == Some(column)
        }
        _ => false,
    }
}
