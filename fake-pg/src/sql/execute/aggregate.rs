//! GROUP BY: rows fall into groups, aggregates take them in.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::select::compare_values;
use super::{Frame, Run, Values};
use crate::engine::Halt;
use crate::error::{PgError, SqlState};
use crate::sql::functions::{Aggregate, key_text, scale_interval, to_tree, write_json};
use crate::sql::plan::{AggregatePlan, SelectPlan};
use crate::types::json::{self, Json};
use crate::types::numeric::Numeric;
use crate::types::{Datum, Env, Interval};

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
            run.context.spend_on(&keys)?;
            if !groups.contains_key(&keys) {
                run.context
                    .spend(4 + keys.len() + 4 * grouping.aggregates.len())?;
            }
            let states = groups.entry(keys).or_insert_with(fresh);
            for (aggregate, state) in grouping.aggregates.iter().zip(states) {
                run.take_in(aggregate, state, &frame)?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let mut rows = Vec::with_capacity(groups.len());
        for (mut row, states) in groups {
            for (aggregate, state) in grouping.aggregates.iter().zip(states) {
                row.push(finish(aggregate, state, self.context.env())?);
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
        let keeps_nulls = matches!(
            plan.function,
            Aggregate::CountRows
                | Aggregate::ArrayAgg
                | Aggregate::JsonAgg
                | Aggregate::JsonbAgg
                | Aggregate::JsonObjectAgg
                | Aggregate::JsonbObjectAgg
        );
        if !keeps_nulls && args.first().is_some_and(Datum::is_null) {
            return Ok(());
        }
        self.context.spend_on(&args)?;
        if plan.distinct {
            self.context.spend(4)?;
            if !state.seen.insert(args.clone()) {
                return Ok(());
            }
        }
        if plan.function.keeps_all() {
            let mut keys = Vec::with_capacity(plan.order.len());
            for (key, _, _) in &plan.order {
                keys.push(self.eval(key, frame)?);
            }
            self.context.spend(4 + keys.len())?;
            self.context.spend_on(&args)?;
            self.context.spend_on(&keys)?;
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
            (Aggregate::BitAnd, Some(before)) => Some(bits(&before, &arg, |a, b| a & b)),
            (Aggregate::BitOr, Some(before)) => Some(bits(&before, &arg, |a, b| a | b)),
            (Aggregate::BitXor, Some(before)) => Some(bits(&before, &arg, |a, b| a ^ b)),
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

fn finish(plan: &AggregatePlan, mut state: State, env: Env) -> Result<Datum, Halt> {
    // What is distinct has been sorted to find out.
    if plan.distinct && plan.order.is_empty() {
        state.kept.sort_by(|a, b| a.1.cmp(&b.1));
    }
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
        function if function.keeps_all() => gathered(function, &state.kept, env)?,
        _ => state.value.unwrap_or(Datum::Null),
    })
}

fn bits(a: &Datum, b: &Datum, both: fn(i64, i64) -> i64) -> Datum {
    let value = both(a.as_i64().unwrap_or(0), b.as_i64().unwrap_or(0));
    match a {
        Datum::Int2(_) => Datum::Int2(value as i16),
        Datum::Int4(_) => Datum::Int4(value as i32),
        _ => Datum::Int8(value),
    }
}

/// JSON of all rows, and what spreads around the mean.
fn gathered(function: Aggregate, kept: &[(Values, Values)], env: Env) -> Result<Datum, Halt> {
    if kept.is_empty() {
        return Ok(Datum::Null);
    }
    let rows = kept.iter().map(|(_, args)| args);
    let null_key = |message: &str, code| Halt::from(PgError::new(code, message));
    Ok(match function {
        Aggregate::JsonbAgg => {
            let items: Result<Vec<Json>, PgError> =
                rows.map(|args| to_tree(&args[0], env)).collect();
            Datum::Jsonb(Arc::new(Json::Array(items?)))
        }
        Aggregate::JsonAgg => {
            let mut out = String::from("[");
            for (place, args) in rows.enumerate() {
                // A row or an array begins a line of its own.
                let composite = matches!(
                    args[0],
                    Datum::Record(_) | Datum::Array(_) | Datum::Matrix(_)
                );
                out.push_str(match (place, composite) {
                    (0, _) => "",
                    (_, true) => ", \n ",
                    (_, false) => ", ",
                });
                write_json(&args[0], env, &mut out);
            }
            out.push(']');
            Datum::Json(out.into())
        }
        Aggregate::JsonbObjectAgg => {
            let mut members = BTreeMap::new();
            for args in rows {
                if args[0].is_null() {
                    return Err(null_key(
                        "field name must not be null",
                        SqlState::INVALID_PARAMETER_VALUE,
                    ));
                }
                members.insert(json::key(&key_text(&args[0])?), to_tree(&args[1], env)?);
            }
            Datum::Jsonb(Arc::new(Json::Object(members)))
        }
        Aggregate::JsonObjectAgg => {
            let mut out = String::from("{ ");
            for (place, args) in rows.enumerate() {
                out.push_str(if place > 0 { ", " } else { "" });
                if args[0].is_null() {
                    return Err(null_key(
                        "field name must not be null",
                        SqlState::INVALID_PARAMETER_VALUE,
                    ));
                }
                // Writing to a string cannot fail.
                let _ = json::write_string(&mut out, &key_text(&args[0])?);
                out.push_str(" : ");
                write_json(&args[1], env, &mut out);
            }
            out.push_str(" }");
            Datum::Json(out.into())
        }
        Aggregate::Variance { sample, root } => {
            let values: Vec<&Datum> = rows.map(|args| &args[0]).collect();
            spread(&values, sample, root)?
        }
        _ => Datum::Null,
    })
}

/// Variance and standard deviation (`numeric_stddev_internal`, `float8_accum`).
fn spread(values: &[&Datum], sample: bool, root: bool) -> Result<Datum, Halt> {
    let count = values.len() as i64;
    if sample && count < 2 {
        return Ok(Datum::Null);
    }
    if values[0].as_f64().is_some() && values[0].as_i64().is_none() {
        let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for value in values {
            let value = value.as_f64().unwrap_or(f64::NAN);
            n += 1.0;
            sum += value;
            if n > 1.0 {
                let off: f64 = value * n - sum;
                squares += off * off / (n * (n - 1.0));
            }
        }
        let variance = squares / if sample { n - 1.0 } else { n };
        return Ok(Datum::Float8(if root { variance.sqrt() } else { variance }));
    }
    let (mut sum, mut squares) = (Numeric::zero(), Numeric::zero());
    for value in values {
        let value = match value {
            Datum::Numeric(value) => Numeric::clone(value),
            other => Numeric::from(other.as_i64().unwrap_or(0)),
        };
        if !value.is_finite() {
            return Ok(Numeric::NaN.into());
        }
        squares = squares.add(&value.mul(&value)?)?;
        sum = sum.add(&value)?;
    }
    let dividend = squares.mul(&count.into())?.sub(&sum.mul(&sum)?)?;
    if dividend.is_zero() {
        return Ok(Numeric::zero().into());
    }
    let divisor = Numeric::from(count).mul(&(if sample { count - 1 } else { count }).into())?;
    let scale = dividend.div_scale(&divisor);
    let variance = dividend.div(&divisor)?;
    Ok(match root {
        true => variance.sqrt_to(scale).into(),
        false => variance.into(),
    })
}
