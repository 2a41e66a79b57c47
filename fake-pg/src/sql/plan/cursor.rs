//! What a cursor over a plan can do: go backward, and be the place of an UPDATE.

use super::bind::Binder;
use super::coerce::Context;
use super::scope::Scope;
use super::{
    Body, CteSource, Derived, DistinctPlan, FromNode, QueryPlan, Scalar, SelectPlan, SetPlan, Tail,
    ValuesPlan,
};
use crate::engine::TableId;
use crate::error::{PgError, SqlState};
use crate::sql::ast::{Expr, Name, SetOp};
use crate::types::Type;

impl QueryPlan {
    /// Whether one of its common table expressions changes tables.
    pub(crate) fn modifies(&self) -> bool {
        let modifies = |source: &CteSource| matches!(source, CteSource::Modify(_));
        self.ctes.iter().any(|cte| modifies(&cte.source))
    }

    /// Whether it locks rows.
    pub(crate) fn locks_rows(&self) -> bool {
        matches!(&self.body, Body::Select(select) if !select.locking.is_empty())
    }

    /// Whether nobody can tell when its rows are computed: a cursor may know more of them than it was
    /// asked for.
    pub(crate) fn may_run_ahead(&self) -> bool {
        let Body::Select(select) = &self.body else {
            return false;
        };
        let Tail {
            order,
            limit,
            offset,
        } = &select.tail;
        let on = match &select.distinct {
            Some(DistinctPlan::On(on)) => &on[..],
            _ => &[],
        };
        self.ctes.is_empty()
            && select.grouping.is_none()
            && select.locking.is_empty()
            && select.from.root.may_run_ahead()
            && all_fixed(&select.targets)
            && all_fixed(&select.from.filter)
            && all_fixed(on)
            && order.iter().all(|key| key.by.is_fixed())
            && limit.iter().chain(offset).all(Scalar::is_fixed)
    }

    /// Whether it can be run backward.
    ///
    /// Source: `ExecSupportsBackwardScan` in `execAmi.c`.
    pub(crate) fn scrolls(&self, seqscan: bool) -> bool {
        match &self.body {
            Body::Select(select) => select.scrolls(seqscan),
            Body::Values(_) => true,
            Body::SetOperation(set) => {
                !set.tail.order.is_empty()
                    || set.appends() && set.left.scrolls(seqscan) && set.right.scrolls(seqscan)
            }
        }
    }

    /// Where the rows of one table are among the places of the result's rows.
    ///
    /// Source: `execCurrentOf`, `search_plan_tree` in `execCurrent.c`.
    pub(crate) fn place_of(&self, table: TableId, seqscan: bool, declared: bool) -> Option<usize> {
        let Body::Select(select) = &self.body else {
            return None;
        };
        if select.grouping.is_some() || select.distinct.is_some() || !select.sets.is_empty() {
            return None;
        }
        if !select.locking.is_empty() {
            let lock = select.locking.iter().find(|lock| lock.table.id == table);
            return lock.map(|lock| lock.place);
        }
        match &select.from.root {
            FromNode::Scan(scan) if scan.table.id == table => {
                (!scan.is_sorted(seqscan, declared)).then_some(scan.place)
            }
            _ => None,
        }
    }
}

fn all_fixed(scalars: &[Scalar]) -> bool {
    scalars.iter().all(Scalar::is_fixed)
}

impl Scalar {
    /// Whether it depends on nothing but the row.
    fn is_fixed(&self) -> bool {
        let mut fixed = true;
        self.walk(&mut |part| {
            fixed &= match part {
                Scalar::Cast(_, cast) => cast.to.labels().is_none(),
                Scalar::Call(function, _) => !function.is_volatile() && !function.is_stable(),
                Scalar::Embedded(..) | Scalar::Subquery(_) => false,
                _ => true,
            };
        });
        fixed
    }
}

impl FromNode {
    fn may_run_ahead(&self) -> bool {
        match self {
            FromNode::Nothing => true,
            FromNode::Scan(scan) => {
                let lookup = scan.lookup.iter().flat_map(|lookup| &lookup.key);
                let hashed = scan.hashed.iter().flat_map(|hashed| &hashed.key);
                let keys = lookup.chain(hashed);
                all_fixed(&scan.filter) && keys.into_iter().all(Scalar::is_fixed)
            }
            FromNode::Derived { source, filter, .. } => {
                matches!(source, Derived::Function { call, .. } if call.is_fixed())
                    && all_fixed(filter)
            }
            FromNode::Join {
                left, right, on, ..
            } => all_fixed(on) && left.may_run_ahead() && right.may_run_ahead(),
        }
    }

    /// UPDATE or DELETE of the row that a cursor stands on.
    pub(super) fn only_current(&mut self, cursor: &Option<Name>) {
        if let FromNode::Scan(scan) = self {
            scan.current = cursor.is_some();
        }
    }
}

impl Binder<'_> {
    /// Binds the arguments of EXECUTE to the types of the statement's parameters: one row of values.
    ///
    /// Source: `EvaluateParams` in `commands/prepare.c`.
    pub(crate) fn arguments(
        &mut self,
        args: &[Expr],
        types: &[Type],
    ) -> Result<QueryPlan, PgError> {
        self.scopes.push(Scope {
            clause: "EXECUTE",
            ..Scope::default()
        });
        let mut row = Vec::with_capacity(args.len());
        for (place, (arg, &ty)) in args.iter().zip(types).enumerate() {
            let (scalar, from) = self.expr(arg)?;
            let coerced = self.coerce(scalar, from, ty.into(), Context::Assignment)?;
            row.push(coerced.ok_or_else(|| {
                let number = place + 1;
                let (from, to) = (from.ty.sql_name(), ty.sql_name());
                PgError::new(
                    SqlState::DATATYPE_MISMATCH,
                    format!(
                        "parameter ${number} of type {from} cannot be coerced to the expected type {to}"
                    ),
                )
                .with_hint("You will need to rewrite or cast the expression.")
                .near(arg.at())
            })?);
        }
        self.scopes.pop();
        Ok(QueryPlan {
            ctes: Vec::new(),
            body: Body::Values(ValuesPlan {
                rows: vec![row],
                tail: Tail::default(),
            }),
            columns: Vec::new(),
            row_lock: None,
        })
    }
}

impl SetPlan {
    /// Whether it is the rows of one side after those of the other.
    pub(crate) fn appends(&self) -> bool {
        self.op == SetOp::Union
            && self.all
            && self.tail.order.is_empty()
            && self.tail.limit.is_none()
            && self.tail.offset.is_none()
    }
}

impl SelectPlan {
    fn scrolls(&self, seqscan: bool) -> bool {
        // Row locks are taken on the way, and not given back.
        if !self.locking.is_empty() || !self.sets.is_empty() {
            return false;
        }
        let is_plain = self.grouping.is_none() && self.distinct.is_none();
        match &self.from.root {
            FromNode::Scan(scan) if is_plain => {
                scan.is_sorted(seqscan, true) || !scan.access(seqscan, true).is_bitmap()
            }
            // Rows that are told apart in the order of an index are sorted no more.
            FromNode::Scan(scan) if self.grouping.is_none() => {
                let first = self.tail.order.first().map(|key| &key.by);
                let leads = |column: &usize| {
                    let mut indexes = scan.table.indexes.iter();
                    indexes.any(|index| index.columns.first() == Some(column))
                };
                first.is_some_and(|by| !matches!(by, Scalar::Column(column) if leads(column)))
            }
            _ if !self.tail.order.is_empty() => true,
            FromNode::Derived { source, .. } if is_plain => match source {
                Derived::Subquery { plan, .. } => plan.scrolls(seqscan),
                _ => true,
            },
            _ => false,
        }
    }
}
