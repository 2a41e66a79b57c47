//! What an expression is made of: its parts, in one place for all who walk it.
//!
//! What is inside of subqueries is their own, but for the operands that are compared with them.

use super::{Scalar, SubqueryKind};

impl Scalar {
    /// Calls `visit` with every part, outermost first.
    pub(crate) fn walk(&self, visit: &mut dyn FnMut(&Scalar)) {
        visit(self);
        self.children(&mut |child| child.walk(visit));
    }

    /// Calls `visit` with every direct part.
    pub(super) fn children<'s>(&'s self, visit: &mut dyn FnMut(&'s Scalar)) {
        match self {
            Scalar::Const(_)
            | Scalar::Param(_)
            | Scalar::Column(_)
            | Scalar::Outer(..)
            | Scalar::Aggregate(_) => {}
            Scalar::Call(_, parts)
            | Scalar::Embedded(_, parts)
            | Scalar::And(parts)
            | Scalar::Or(parts)
            | Scalar::Coalesce(parts)
            | Scalar::Extreme(parts, _)
            | Scalar::Array(parts)
            | Scalar::Row(parts, _) => parts.iter().for_each(visit),
            Scalar::Compare(_, pair)
            | Scalar::Distinct(pair, _)
            | Scalar::Any(_, pair, _)
            | Scalar::NullIf(pair) => {
                visit(&pair.0);
                visit(&pair.1);
            }
            Scalar::Subscript(base, bounds, _) => {
                visit(base);
                for (low, high) in bounds {
                    low.iter().for_each(&mut *visit);
                    high.iter().for_each(&mut *visit);
                }
            }
            Scalar::CompareRows(_, pairs) => {
                for (left, right) in pairs {
                    visit(left);
                    visit(right);
                }
            }
            Scalar::Not(inner)
            | Scalar::IsNull(inner, _)
            | Scalar::IsBool(inner, _, _)
            | Scalar::Cast(inner, _) => visit(inner),
            Scalar::InList(inner, list, _) => {
                visit(inner);
                list.iter().for_each(visit);
            }
            Scalar::Case(whens, otherwise) => {
                for (when, then) in whens {
                    visit(when);
                    visit(then);
                }
                visit(otherwise);
            }
            Scalar::Subquery(subquery) => {
                subquery.kind.operands().iter().for_each(visit);
            }
        }
    }

    /// Calls `visit` with every direct part, to change it.
    pub(super) fn children_mut(&mut self, visit: &mut dyn FnMut(&mut Scalar)) {
        match self {
            Scalar::Const(_)
            | Scalar::Param(_)
            | Scalar::Column(_)
            | Scalar::Outer(..)
            | Scalar::Aggregate(_) => {}
            Scalar::Call(_, parts)
            | Scalar::Embedded(_, parts)
            | Scalar::And(parts)
            | Scalar::Or(parts)
            | Scalar::Coalesce(parts)
            | Scalar::Extreme(parts, _)
            | Scalar::Array(parts)
            | Scalar::Row(parts, _) => parts.iter_mut().for_each(visit),
            Scalar::Compare(_, pair)
            | Scalar::Distinct(pair, _)
            | Scalar::Any(_, pair, _)
            | Scalar::NullIf(pair) => {
                visit(&mut pair.0);
                visit(&mut pair.1);
            }
            Scalar::Subscript(base, bounds, _) => {
                visit(base);
                for (low, high) in bounds {
                    low.iter_mut().for_each(&mut *visit);
                    high.iter_mut().for_each(&mut *visit);
                }
            }
            Scalar::CompareRows(_, pairs) => {
                for (left, right) in pairs {
                    visit(left);
                    visit(right);
                }
            }
            Scalar::Not(inner)
            | Scalar::IsNull(inner, _)
            | Scalar::IsBool(inner, _, _)
            | Scalar::Cast(inner, _) => visit(inner),
            Scalar::InList(inner, list, _) => {
                visit(inner);
                list.iter_mut().for_each(visit);
            }
            Scalar::Case(whens, otherwise) => {
                for (when, then) in whens {
                    visit(when);
                    visit(then);
                }
                visit(otherwise);
            }
            Scalar::Subquery(subquery) => {
                if let SubqueryKind::In { operands, .. } | SubqueryKind::Row { operands, .. } =
                    &mut subquery.kind
                {
                    operands.iter_mut().for_each(visit);
                }
            }
        }
    }
}
