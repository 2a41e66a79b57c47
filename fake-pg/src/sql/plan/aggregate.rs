//! GROUP BY: from expressions over rows to expressions over groups.
//!
//! The row of a group is its keys, then its aggregates. What is bound over the
//! input is rewritten in those terms; a column that is neither is an error.

use super::bind::Binder;
use super::coerce::Context;
use super::{AggregatePlan, Grouping, Scalar, Typed};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{Call, Expr, Target};
use crate::sql::functions;
use crate::types::Type;

impl Binder<'_> {
    /// Binds one expression of an aggregate's arguments; aggregates are not
    /// allowed there. Gives what [`Binder::leave_aggregate`] wants back.
    pub(crate) fn enter_aggregate(&mut self, at: u32) -> Result<Around, PgError> {
        let clause = self.scope().clause;
        match self.scope().aggregates.take() {
            Some(aggregates) => {
                self.scope().clause = "nested";
                Ok(Around { aggregates, clause })
            }
            None if clause == "nested" => Err(PgError::new(
                SqlState::GROUPING_ERROR,
                "aggregate function calls cannot be nested",
            )
            .at(at as usize)),
            None => {
                let place = match clause {
                    "JOIN/ON" => "JOIN conditions",
                    "DEFAULT" => "DEFAULT expressions",
                    clause => clause,
                };
                Err(PgError::new(
                    SqlState::GROUPING_ERROR,
                    format!("aggregate functions are not allowed in {place}"),
                )
                .at(at as usize))
            }
        }
    }

    pub(crate) fn leave_aggregate(&mut self, around: Around) {
        self.scope().aggregates = Some(around.aggregates);
        self.scope().clause = around.clause;
    }

    /// Notes an aggregate; equal ones are computed once.
    pub(crate) fn add_aggregate(&mut self, plan: AggregatePlan) -> Scalar {
        let aggregates = self.scope().aggregates.get_or_insert_default();
        let place = aggregates.iter().position(|other| *other == plan);
        Scalar::Aggregate(place.unwrap_or_else(|| {
            aggregates.push(plan);
            aggregates.len() - 1
        }))
    }

    /// How many references to each level there are.
    pub(crate) fn referred(&self) -> Vec<usize> {
        let scopes = self.scopes.iter();
        scopes.map(|scope| scope.referred.len()).collect()
    }

    /// Notes an aggregate all variables of which are those of an enclosing query: it is that query's
    /// (`check_agg_arguments`), and stands behind its columns.
    pub(crate) fn add_outer_aggregate(
        &mut self,
        mut plan: AggregatePlan,
        level: usize,
        at: u32,
        referred: &[usize],
    ) -> Result<Scalar, PgError> {
        let parts = plan.args.iter_mut().chain(&mut plan.filter);
        for part in parts.chain(plan.order.iter_mut().map(|(key, ..)| key)) {
            raise(part, level)?;
        }
        let depth = self.scopes.len() - 1 - level;
        let scope = &mut self.scopes[depth];
        // What is within the aggregate is the rows', not the group's.
        scope.referred.truncate(referred[depth]);
        let Some(aggregates) = &mut scope.aggregates else {
            let place = match scope.clause {
                "JOIN/ON" => "JOIN conditions",
                "" | "functions in FROM" => "FROM clause of their own query level",
                clause => clause,
            };
            let message = format!("aggregate functions are not allowed in {place}");
            return Err(PgError::new(SqlState::GROUPING_ERROR, message).near(at));
        };
        let place = aggregates.iter().position(|other| *other == plan);
        let place = place.unwrap_or_else(|| {
            aggregates.push(plan);
            aggregates.len() - 1
        });
        let column = scope.width + place;
        Ok(self.reference(level, column, at))
    }

    pub(crate) fn settled_argument(&mut self, expr: &Expr) -> Result<(Scalar, Typed), PgError> {
        self.settled(expr)
    }

    pub(crate) fn filter_argument(&mut self, expr: &Expr) -> Result<Scalar, PgError> {
        let clause = std::mem::replace(&mut self.scope().clause, "FILTER");
        let bound = self.apart(|binder| binder.expr(expr));
        self.scope().clause = clause;
        self.demanded(bound?, expr.at(), Type::Bool, "FILTER")
    }

    pub(crate) fn cast_argument(
        &mut self,
        scalar: Scalar,
        from: Typed,
        to: Type,
    ) -> Result<Option<Scalar>, PgError> {
        self.coerce(scalar, from, to.into(), Context::Implicit)
    }

    /// The cast `type(x)`, where there is no function of that name.
    pub(crate) fn cast_explicitly(
        &mut self,
        scalar: Scalar,
        from: Typed,
        to: Type,
    ) -> Result<Option<Scalar>, PgError> {
        self.coerce(scalar, from, to.into(), Context::Explicit)
    }

    pub(crate) fn settle_argument(
        &mut self,
        scalar: Scalar,
        from: Typed,
    ) -> Result<(Scalar, Typed), PgError> {
        self.settle(scalar, from)
    }

    pub(crate) fn unify_args(
        &mut self,
        args: &[Expr],
        construct: &str,
    ) -> Result<(Vec<Scalar>, Typed), PgError> {
        let mut bound = Vec::with_capacity(args.len());
        for arg in args {
            bound.push(self.expr(arg)?);
        }
        let places: Vec<u32> = args.iter().map(Expr::at).collect();
        self.unify(bound, &places, construct)
    }

    pub(crate) fn null_if(
        &mut self,
        left: &Expr,
        right: &Expr,
        at: u32,
    ) -> Result<((Scalar, Scalar), Typed), PgError> {
        let (left, right) = (self.expr(left)?, self.expr(right)?);
        let own = left.1;
        let (pair, ty) = self.comparable_as("=", left, right, at)?;
        // Its type is what the comparison takes its first argument as.
        let typmod = if ty == own.ty { own.typmod } else { -1 };
        Ok((pair, Typed { ty, typmod }))
    }

    /// Rewrites expressions over rows to expressions over groups.
    pub(super) fn group(
        &mut self,
        keys: Vec<Scalar>,
        aggregates: Vec<AggregatePlan>,
        exprs: Vec<&mut Scalar>,
        written: &Written<'_>,
    ) -> Result<Grouping, PgError> {
        let mut keys = keys;
        // A table's primary key determines its other columns.
        let mut determined = Vec::new();
        for relation in &self.scope().relations {
            let Some((table, _)) = &relation.table else {
                continue;
            };
            let primary = table.indexes.iter().find(|index| index.primary);
            let in_keys = |column: &usize| keys.contains(&Scalar::Column(relation.offset + column));
            if primary.is_some_and(|index| index.columns.iter().all(in_keys)) {
                let columns = relation.offset..relation.offset + relation.columns.len();
                determined.extend(columns.map(Scalar::Column));
            }
        }
        for column in determined {
            if !keys.contains(&column) {
                keys.push(column);
            }
        }
        for expr in exprs {
            self.over_group(expr, &keys, written)?;
        }
        Ok(Grouping { keys, aggregates })
    }

    fn over_group(
        &mut self,
        scalar: &mut Scalar,
        keys: &[Scalar],
        written: &Written<'_>,
    ) -> Result<(), PgError> {
        if let Some(place) = keys.iter().position(|key| key == scalar) {
            *scalar = Scalar::Column(place);
            return Ok(());
        }
        match scalar {
            Scalar::Aggregate(place) => {
                *scalar = Scalar::Column(keys.len() + *place);
                Ok(())
            }
            Scalar::Column(index) => {
                let shown = self.shown(*index);
                Err(PgError::new(
                    SqlState::GROUPING_ERROR,
                    format!(
                        "column \"{shown}\" must appear in the GROUP BY clause or be used in an aggregate function"
                    ),
                )
                .near(self.ungrouped_at(*index, keys, written)))
            }
            Scalar::Subquery(subquery) if subquery.correlated && subquery.regrouped.is_none() => {
                let width = self.scope().width;
                let mut regrouped = Vec::with_capacity(subquery.refers.len());
                for (column, at) in &subquery.refers {
                    let place = match column.checked_sub(width) {
                        Some(aggregate) => Some(keys.len() + aggregate),
                        None => keys.iter().position(|key| *key == Scalar::Column(*column)),
                    };
                    let Some(place) = place else {
                        let shown = self.shown(*column);
                        let message =
                            format!("subquery uses ungrouped column \"{shown}\" from outer query");
                        return Err(PgError::new(SqlState::GROUPING_ERROR, message).near(*at));
                    };
                    regrouped.push((*column, place));
                }
                subquery.regrouped = Some(regrouped);
                self.over_group(scalar, keys, written)
            }
            other => {
                let mut result = Ok(());
                other.children_mut(&mut |child| {
                    if result.is_ok() {
                        result = self.over_group(child, keys, written);
                    }
                });
                result
            }
        }
    }

    fn shown(&mut self, column: usize) -> String {
        match self.scope().column(column) {
            Some((relation, column)) => format!("{}.{}", relation.name, column.name),
            None => "?column?".to_string(),
        }
    }

    /// Where a column first stands outside of keys and aggregates. Only an error asks for it, so that
    /// what has been bound need not remember where it was written.
    fn ungrouped_at(&mut self, index: usize, keys: &[Scalar], written: &Written<'_>) -> u32 {
        let mut rest: Vec<&Expr> = Vec::new();
        for target in written.targets.iter().rev() {
            if let Target::Expr(expr, _) = target {
                rest.push(expr);
            }
        }
        rest.splice(0..0, written.others.iter().rev().copied());
        while let Some(expr) = rest.pop() {
            match (self.expr(expr), expr) {
                (Ok((scalar, _)), _) if keys.contains(&scalar) => {}
                (Ok((Scalar::Column(found), _)), Expr::Column(_, at)) if found == index => {
                    return *at;
                }
                (_, Expr::Call(call)) if is_aggregate(call) => {}
                _ => rest.extend(expr.parts().into_iter().rev()),
            }
        }
        let star = |target: &Target| match target {
            Target::Star(_, at) => Some(*at),
            Target::Expr(..) => None,
        };
        written.targets.iter().find_map(star).unwrap_or(0)
    }
}

/// An expression as it is so many levels further out.
fn raise(scalar: &mut Scalar, level: usize) -> Result<(), PgError> {
    match scalar {
        Scalar::Outer(own, column) if *own == level => *scalar = Scalar::Column(*column),
        Scalar::Outer(own, _) => *own -= level,
        Scalar::Subquery(_) => {
            return Err(PgError::feature_not_supported(
                "a subquery in an aggregate over the rows of an enclosing query",
            ));
        }
        other => {
            let mut result = Ok(());
            other.children_mut(&mut |child| {
                if result.is_ok() {
                    result = raise(child, level);
                }
            });
            return result;
        }
    }
    Ok(())
}

/// What is put aside while the arguments of an aggregate are bound.
pub(crate) struct Around {
    aggregates: Vec<AggregatePlan>,
    clause: &'static str,
}

fn is_aggregate(call: &Call) -> bool {
    let name = call.name.last().map_or("", |name| name);
    functions::procs(name).iter().any(|proc| proc.aggregate)
}

/// Where the first aggregate of an expression stands, or 0 (`locate_agg_of_level`).
pub(super) fn aggregate_at(expr: &Expr) -> u32 {
    let mut rest = vec![expr];
    while let Some(expr) = rest.pop() {
        match expr {
            Expr::Call(call) if is_aggregate(call) => return call.at,
            _ => rest.extend(expr.parts().into_iter().rev()),
        }
    }
    0
}

/// The expressions of a query that is grouped, as they stand there.
pub(super) struct Written<'q> {
    pub(super) targets: &'q [Target],
    /// ORDER BY, DISTINCT ON and HAVING.
    pub(super) others: Vec<&'q Expr>,
}
