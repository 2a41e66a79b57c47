//! GROUP BY: rows fall into groups, aggregates take them in.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::select::compare_values;
use super::{Frame, Run, Values};
use crate::engine::Halt;
use crate::error::{PgError, SqlState};
use crate::sql::functions::{Aggregate, scale_interval};
use crate::sql::plan::{AggregatePlan, SelectPlan};
use crate::types::numeric::Numeric;
use crate::types::{Datum, Interval};

/// What an aggregate has taken in so far.
#[derive(Default)]
struct State {
    seen: BTreeSet<Values>,
    /// Keys of ORDER BY and arguments, if there is an order or all are kept.
    kept: Vec<(Values, Values)>,
    count: i64,
    value: Option<Datum>,
}

impl<'p> Run<'p, '_, '_> {
    /// The rows of all groups: keys, then aggregates.
    pub(super) fn groups(
        &mut self,
        plan: &'p SelectPlan,
        outer: Option<&Frame<'_>>,
    ) -> Result<Vec<Values>, Halt> {
        let Some(grouping) = &plan.grouping else {
            return Ok(Vec::new());
        };
        let fresh = || {
            grouping
                .aggregates
                .iter()
                .map(|_| State::default())
                .collect::<Vec<_>>()
        };
        let mut groups: BTreeMap<Values, Vec<State>> = BTreeMap::new();
        if grouping.keys.is_empty() {
            groups.insert(Vec::new(), fresh());
        }
        self.from(&plan.from, outer, &mut |run, joined| {
            let frame = Frame {
                row: &joined.row,
                outer,
            };
            let keys = run.eval_all(&grouping.keys, &frame)?;
            let states = groups.entry(keys).or_insert_with(fresh);
            for (aggregate, state) in grouping.aggregates.iter().zip(states) {
                run.take_in(aggregate, state, &frame)?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let mut rows = Vec::with_capacity(groups.len());
        for (mut row, states) in groups {
            for (aggregate, state) in grouping.aggregates.iter().zip(states) {
                row.push(finish(aggregate, state)?);
            }
            rows.push(row);
        }
        Ok(rows)
    }

    fn take_in(
        &mut self,
        plan: &'p AggregatePlan,
        state: &mut State,
        frame: &Frame<'_>,
    ) -> Result<(), Halt> {
        if let Some(filter) = &plan.filter
            && !self.is_true(filter, frame)?
        {
            return Ok(());
        }
        let args = self.eval_all(&plan.args, frame)?;
        let keeps_nulls = matches!(plan.function, Aggregate::CountRows | Aggregate::ArrayAgg);
        if !keeps_nulls && args.first().is_some_and(Datum::is_null) {
            return Ok(());
        }
        if plan.distinct && !state.seen.insert(args.clone()) {
            return Ok(());
        }
        if matches!(plan.function, Aggregate::ArrayAgg | Aggregate::StringAgg) {
            let mut keys = Vec::with_capacity(plan.order.len());
            for (key, _, _) in &plan.order {
                keys.push(self.eval(key, frame)?);
            }
            state.kept.push((keys, args));
            return Ok(());
        }
        state.count += 1;
        let Some(arg) = args.into_iter().next() else {
            return Ok(());
        };
        let replaced = match (plan.function, state.value.take()) {
            (Aggregate::CountRows | Aggregate::Count, _) => None,
            // avg(real) adds up in double precision.
            (Aggregate::Avg, None) if matches!(arg, Datum::Float4(_)) => {
                arg.as_f64().map(Datum::Float8)
            }
            (Aggregate::Sum | Aggregate::Avg, before) => Some(add(before, arg)?),
            (_, None) => Some(arg),
            (Aggregate::Min, Some(before)) => Some(before.min(arg)),
            (Aggregate::Max, Some(before)) => Some(before.max(arg)),
            (Aggregate::BoolAnd, Some(before)) => Some(before.min(arg)),
            (Aggregate::BoolOr, Some(before)) => Some(before.max(arg)),
            (_, before) => before,
        };
        state.value = replaced;
        Ok(())
    }
}

/// The next sum: bigint of smaller integers, numeric of bigint, else of the same type.
fn add(before: Option<Datum>, arg: Datum) -> Result<Datum, Halt> {
    Ok(match (before, arg) {
        (None, Datum::Int8(value)) => Numeric::from(value).into(),
        (None, arg @ (Datum::Int2(_) | Datum::Int4(_))) => Datum::Int8(arg.as_i64().unwrap_or(0)),
        (None, arg) => arg,
        (Some(Datum::Float8(sum)), arg) => {
            let value = arg.as_f64().unwrap_or(f64::NAN);
            finite(sum + value, sum.is_infinite() || value.is_infinite())?;
            Datum::Float8(sum + value)
        }
        (Some(Datum::Float4(sum)), Datum::Float4(value)) => {
            finite(
                f64::from(sum + value),
                sum.is_infinite() || value.is_infinite(),
            )?;
            Datum::Float4(sum + value)
        }
        (Some(Datum::Numeric(sum)), Datum::Numeric(value)) => sum.add(&value)?.into(),
        (Some(Datum::Numeric(sum)), arg) => {
            sum.add(&Numeric::from(arg.as_i64().unwrap_or(0)))?.into()
        }
        (Some(Datum::Interval(sum)), Datum::Interval(value)) => {
            let sum = (|| {
                Some(Interval {
                    months: sum.months.checked_add(value.months)?,
                    days: sum.days.checked_add(value.days)?,
                    micros: sum.micros.checked_add(value.micros)?,
                })
            })();
            Datum::Interval(sum.ok_or_else(|| {
                PgError::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range")
            })?)
        }
        (before, arg) => {
            let sum = before.as_ref().and_then(Datum::as_i64).unwrap_or(0);
            let sum = sum.checked_add(arg.as_i64().unwrap_or(0));
            Datum::Int8(sum.ok_or_else(|| PgError::out_of_range("bigint"))?)
        }
    })
}

fn finite(value: f64, may_be_infinite: bool) -> Result<(), PgError> {
    match value.is_infinite() && !may_be_infinite {
        true => Err(PgError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            "value out of range: overflow",
        )),
        false => Ok(()),
    }
}

/// A sum over its count: of numerics a numeric, of floats a float.
fn average(sum: Datum, count: i64) -> Result<Datum, Halt> {
    Ok(match sum {
        Datum::Float8(sum) => Datum::Float8(sum / count as f64),
        Datum::Float4(sum) => Datum::Float8(f64::from(sum) / count as f64),
        Datum::Numeric(sum) => sum.div(&count.into())?.into(),
        Datum::Interval(sum) => {
            let part = |part: f64| part / count as f64;
            Datum::Interval(scale_interval(sum, part)?)
        }
        other => Numeric::from(other.as_i64().unwrap_or(0))
            .div(&count.into())?
            .into(),
    })
}

fn finish(plan: &AggregatePlan, mut state: State) -> Result<Datum, Halt> {
    state.kept.sort_by(|a, b| {
        for (place, (_, descending, nulls_first)) in plan.order.iter().enumerate() {
            match compare_values(&a.0[place], &b.0[place], *descending, *nulls_first) {
                std::cmp::Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        std::cmp::Ordering::Equal
    });
    Ok(match plan.function {
        Aggregate::CountRows | Aggregate::Count => Datum::Int8(state.count),
        Aggregate::Avg => match state.value {
            Some(sum) => average(sum, state.count)?,
            None => Datum::Null,
        },
        Aggregate::ArrayAgg if state.kept.is_empty() => Datum::Null,
        Aggregate::ArrayAgg => {
            let items = state
                .kept
                .into_iter()
                .filter_map(|(_, args)| args.into_iter().next());
            Datum::Array(items.collect())
        }
        Aggregate::StringAgg if state.kept.is_empty() => Datum::Null,
        Aggregate::StringAgg => {
            let mut text = String::new();
            for (place, (_, args)) in state.kept.iter().enumerate() {
                if place > 0 {
                    text.push_str(args[1].as_str().unwrap_or(""));
                }
                text.push_str(args[0].as_str().unwrap_or(""));
            }
            Datum::text(text)
        }
        _ => state.value.unwrap_or(Datum::Null),
    })
}
