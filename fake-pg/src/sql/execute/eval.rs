//! Expressions over a row.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Frame, Run, Values};
use crate::engine::Halt;
use crate::error::{PgError, SqlState};
use crate::sql::functions;
use crate::sql::plan::{Comparison, Scalar, Subquery, SubqueryKind};
use crate::types::{Datum, Record};

impl Comparison {
    /// What an order says of it.
    pub(super) fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal => order == Ordering::Equal,
            Comparison::NotEqual => order != Ordering::Equal,
            Comparison::Less => order == Ordering::Less,
            Comparison::LessOrEqual => order != Ordering::Greater,
            Comparison::Greater => order == Ordering::Greater,
            Comparison::GreaterOrEqual => order != Ordering::Less,
        }
    }

    /// The comparison of two values, NULL if one is.
    fn of(self, left: &Datum, right: &Datum) -> Option<bool> {
        if left.is_null() || right.is_null() {
            return None;
        }
        Some(self.holds(left.cmp(right)))
    }
}

fn from_bool(value: Option<bool>) -> Datum {
    value.map_or(Datum::Null, Datum::Bool)
}

/// A boolean, `None` for NULL.
fn as_bool(datum: &Datum) -> Option<bool> {
    match datum {
        Datum::Bool(value) => Some(*value),
        _ => None,
    }
}

impl<'p> Run<'p, '_, '_> {
    /// Whether all conditions are true.
    pub(super) fn all_true(
        &mut self,
        conditions: &'p [Scalar],
        frame: &Frame<'_>,
    ) -> Result<bool, Halt> {
        for condition in conditions {
            if !self.is_true(condition, frame)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn is_true(
        &mut self,
        condition: &'p Scalar,
        frame: &Frame<'_>,
    ) -> Result<bool, Halt> {
        Ok(self.eval(condition, frame)? == Datum::Bool(true))
    }

    /// The values of several expressions.
    pub(super) fn eval_all(
        &mut self,
        scalars: &'p [Scalar],
        frame: &Frame<'_>,
    ) -> Result<Values, Halt> {
        let mut values = Vec::with_capacity(scalars.len());
        for scalar in scalars {
            values.push(self.eval(scalar, frame)?);
        }
        Ok(values)
    }

    /// The value of an expression.
    /// Its frame stands on the stack once for each level of an expression: what is rarer or needs
    /// many locals has functions of its own.
    pub(super) fn eval(&mut self, scalar: &'p Scalar, frame: &Frame<'_>) -> Result<Datum, Halt> {
        Ok(match scalar {
            Scalar::Const(datum) => datum.clone(),
            Scalar::Param(number) => self.params.get(*number).cloned().unwrap_or(Datum::Null),
            Scalar::Column(index) => frame.row[*index].clone(),
            Scalar::Compare(comparison, pair) => {
                let left = self.eval(&pair.0, frame)?;
                let right = self.eval(&pair.1, frame)?;
                self.context.spend_on(std::slice::from_ref(&left))?;
                from_bool(comparison.of(&left, &right))
            }
            Scalar::Call(function, args) => {
                let values = self.eval_all(args, frame)?;
                if function.strict && values.iter().any(Datum::is_null) {
                    return Ok(Datum::Null);
                }
                self.context.spend_call(&values)?;
                let value = (function.body)(self.context, &values)?;
                self.context.spend_on(std::slice::from_ref(&value))?;
                value
            }
            Scalar::And(parts) => self.all(parts, frame)?,
            Scalar::Or(parts) => self.any(parts, frame)?,
            Scalar::Not(inner) => from_bool(as_bool(&self.eval(inner, frame)?).map(|value| !value)),
            Scalar::IsNull(inner, negated) => {
                Datum::Bool(match self.eval(inner, frame)? {
                    // Of a row all columns are, or none is (`ExecEvalRowNullInt`).
                    Datum::Record(row) => {
                        let mut values = row.values.iter();
                        values.all(|value| value.is_null() != *negated)
                    }
                    value => value.is_null() != *negated,
                })
            }
            Scalar::Case(whens, otherwise) => {
                for (when, then) in whens {
                    if self.is_true(when, frame)? {
                        return self.eval(then, frame);
                    }
                }
                self.eval(otherwise, frame)?
            }
            Scalar::Cast(inner, cast) => {
                let value = self.eval(inner, frame)?;
                self.context.spend_call(std::slice::from_ref(&value))?;
                let value = cast.apply(value, self.context.env())?;
                self.context.spend_on(std::slice::from_ref(&value))?;
                value
            }
            Scalar::Subquery(subquery) => self.subquery(subquery, frame)?,
            _ => self.eval_rest(scalar, frame)?,
        })
    }

    fn all(&mut self, parts: &'p [Scalar], frame: &Frame<'_>) -> Result<Datum, Halt> {
        let mut all = Some(true);
        for part in parts {
            match as_bool(&self.eval(part, frame)?) {
                Some(true) => {}
                Some(false) => return Ok(Datum::Bool(false)),
                None => all = None,
            }
        }
        Ok(from_bool(all))
    }

    fn any(&mut self, parts: &'p [Scalar], frame: &Frame<'_>) -> Result<Datum, Halt> {
        let mut any = Some(false);
        for part in parts {
            match as_bool(&self.eval(part, frame)?) {
                Some(false) => {}
                Some(true) => return Ok(Datum::Bool(true)),
                None => any = None,
            }
        }
        Ok(from_bool(any))
    }

    fn eval_rest(&mut self, scalar: &'p Scalar, frame: &Frame<'_>) -> Result<Datum, Halt> {
        Ok(match scalar {
            Scalar::Outer(level, index) => {
                let mut at = frame;
                for _ in 0..*level {
                    at = at
                        .outer
                        .expect("a correlated subquery runs within its query");
                }
                at.row[*index].clone()
            }
            Scalar::Embedded(call, args) => {
                let values = self.eval_all(args, frame)?;
                call.make(&mut self.context.exec, &values)?
            }
            Scalar::IsBool(inner, wanted, negated) => {
                let value = as_bool(&self.eval(inner, frame)?);
                Datum::Bool((value == *wanted) != *negated)
            }
            Scalar::Distinct(pair, negated) => {
                let left = self.eval(&pair.0, frame)?;
                let right = self.eval(&pair.1, frame)?;
                let distinct = match (left.is_null(), right.is_null()) {
                    (false, false) => left != right,
                    (left, right) => left != right,
                };
                Datum::Bool(distinct != *negated)
            }
            Scalar::InList(inner, list, negated) => {
                let value = self.eval(inner, frame)?;
                self.context.spend(list.len() / 8)?;
                let mut any = Some(false);
                for item in list {
                    let item = self.eval(item, frame)?;
                    match Comparison::Equal.of(&value, &item) {
                        Some(true) => return Ok(Datum::Bool(!negated)),
                        Some(false) => {}
                        None => any = None,
                    }
                }
                from_bool(any.map(|value| value != *negated))
            }
            Scalar::Any(comparison, pair, all) => {
                let value = self.eval(&pair.0, frame)?;
                let array = self.eval(&pair.1, frame)?;
                if array.is_null() {
                    return Ok(Datum::Null);
                }
                self.context.spend_on(std::slice::from_ref(&array))?;
                let results = array.items().iter().map(|item| comparison.of(&value, item));
                from_bool(quantify(results, *all))
            }
            Scalar::CompareRows(comparison, pairs) => {
                self.compare_rows(*comparison, pairs, frame)?
            }
            Scalar::Coalesce(parts) => {
                for part in parts {
                    let value = self.eval(part, frame)?;
                    if !value.is_null() {
                        return Ok(value);
                    }
                }
                Datum::Null
            }
            Scalar::NullIf(pair) => {
                let left = self.eval(&pair.0, frame)?;
                let right = self.eval(&pair.1, frame)?;
                match Comparison::Equal.of(&left, &right) {
                    Some(true) => Datum::Null,
                    _ => left,
                }
            }
            Scalar::Extreme(parts, least) => {
                let mut values = self.eval_all(parts, frame)?;
                values.retain(|value| !value.is_null());
                let extreme = match least {
                    true => values.into_iter().min(),
                    false => values.into_iter().max(),
                };
                extreme.unwrap_or(Datum::Null)
            }
            Scalar::Array(items) => {
                let items = self.eval_all(items, frame)?;
                self.context.spend(items.len() / 4)?;
                self.context.spend_on(&items)?;
                functions::combine(items)?
            }
            Scalar::Row(parts, names) => {
                let row = Datum::Record(Arc::new(Record {
                    names: names.clone(),
                    values: self.eval_all(parts, frame)?,
                }));
                self.context.spend_on(std::slice::from_ref(&row))?;
                row
            }
            Scalar::Subscript(base, bounds, is_slice) => {
                let base = self.eval(base, frame)?;
                let mut ends = Vec::with_capacity(bounds.len());
                for (low, high) in bounds {
                    let mut end = |bound: &'p Option<Scalar>| -> Result<Option<Datum>, Halt> {
                        bound
                            .as_ref()
                            .map(|bound| self.eval(bound, frame))
                            .transpose()
                    };
                    let pair = (end(low)?, end(high)?);
                    if [&pair.0, &pair.1].into_iter().flatten().any(Datum::is_null) {
                        return Ok(Datum::Null);
                    }
                    let number = |end: Option<Datum>| end.and_then(|end| end.as_i64());
                    ends.push((number(pair.0), number(pair.1)));
                }
                if base.is_null() {
                    return Ok(Datum::Null);
                }
                if *is_slice {
                    self.context.spend_on(std::slice::from_ref(&base))?;
                }
                match is_slice {
                    true => functions::slice(&base, &ends),
                    false => {
                        let places: Vec<i64> = ends.iter().filter_map(|(_, at)| *at).collect();
                        functions::element(&base, &places)
                    }
                }
            }
            Scalar::Aggregate(_) => unreachable!("aggregates have been given their places"),
            other => self.eval(other, frame)?,
        })
    }

    fn compare_rows(
        &mut self,
        comparison: Comparison,
        pairs: &'p [(Scalar, Scalar)],
        frame: &Frame<'_>,
    ) -> Result<Datum, Halt> {
        compared(
            comparison,
            pairs
                .iter()
                .map(|(left, right)| Ok((self.eval(left, frame)?, self.eval(right, frame)?))),
        )
    }

    /// The rows of a subquery; of one that depends on no row, computed once.
    pub(super) fn subquery_rows(
        &mut self,
        subquery: &'p Subquery,
        frame: &Frame<'_>,
        most: Option<usize>,
    ) -> Result<super::Shared, Halt> {
        if !subquery.correlated
            && let Some(rows) = &self.subqueries[subquery.id]
        {
            return Ok(rows.clone());
        }
        let rows = match &subquery.regrouped {
            None => self.query(&subquery.plan.0, Some(frame), most)?,
            Some(columns) => {
                // It names columns of the rows that are grouped.
                let width = columns.iter().map(|(column, _)| column + 1).max();
                let mut row = vec![Datum::Null; width.unwrap_or(0)];
                for &(column, place) in columns {
                    row[column] = frame.row[place].clone();
                }
                let outer = frame.outer;
                let frame = Frame { row: &row, outer };
                self.query(&subquery.plan.0, Some(&frame), most)?
            }
        };
        let rows = std::sync::Arc::new(rows);
        if !subquery.correlated {
            self.subqueries[subquery.id] = Some(rows.clone());
        }
        Ok(rows)
    }

    fn subquery(&mut self, subquery: &'p Subquery, frame: &Frame<'_>) -> Result<Datum, Halt> {
        let most = match subquery.kind {
            SubqueryKind::Exists => Some(1),
            // Two are too many, and enough to see it.
            SubqueryKind::Scalar | SubqueryKind::Row { .. } | SubqueryKind::Column { .. } => {
                Some(2)
            }
            _ => None,
        };
        let operands = self.eval_all(subquery.kind.operands(), frame)?;
        if let SubqueryKind::Column { fresh: false, .. } = subquery.kind
            && let Some(rows) = self.subqueries[subquery.id].clone()
        {
            return column_of(&rows, &subquery.kind);
        }
        let rows = self.subquery_rows(subquery, frame, most)?;
        match &subquery.kind {
            SubqueryKind::Exists => Ok(Datum::Bool(!rows.is_empty())),
            SubqueryKind::Scalar => column_of(&rows, &subquery.kind),
            SubqueryKind::Column { .. } => {
                self.subqueries[subquery.id] = Some(rows.clone());
                column_of(&rows, &subquery.kind)
            }
            SubqueryKind::Row { comparison, .. } => match only(&rows)? {
                None => Ok(Datum::Null),
                Some(row) => {
                    let pairs = operands.into_iter().zip(row.iter().cloned());
                    compared(*comparison, pairs.map(Ok))
                }
            },
            SubqueryKind::Array => {
                self.context.spend(rows.len())?;
                let items = rows.iter().map(|row| row[0].clone()).collect();
                Ok(functions::combine(items)?)
            }
            SubqueryKind::In {
                comparison,
                all,
                negated,
                ..
            } => {
                self.context.spend(rows.len() / 4)?;
                let results = rows.iter().map(|row| {
                    let mut result = Some(true);
                    for (operand, value) in operands.iter().zip(row) {
                        match comparison.of(operand, value) {
                            Some(true) => {}
                            Some(false) => return Some(false),
                            None => result = None,
                        }
                    }
                    result
                });
                let result = quantify(results, *all);
                Ok(from_bool(result.map(|value| value != *negated)))
            }
        }
    }
}

/// Rows compared from left to right, as far as it takes.
fn compared(
    comparison: Comparison,
    pairs: impl Iterator<Item = Result<(Datum, Datum), Halt>>,
) -> Result<Datum, Halt> {
    let equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    let mut unknown = false;
    for pair in pairs {
        let (left, right) = pair?;
        if left.is_null() || right.is_null() {
            unknown = true;
            if equality {
                continue;
            }
            return Ok(Datum::Null);
        }
        match left.cmp(&right) {
            Ordering::Equal => {}
            order => return Ok(Datum::Bool(comparison.holds(order))),
        }
    }
    Ok(match unknown {
        true => Datum::Null,
        false => Datum::Bool(comparison.holds(Ordering::Equal)),
    })
}

/// The only row of a subquery, if there is one.
fn only(rows: &[super::Values]) -> Result<Option<&super::Values>, Halt> {
    match rows {
        [] => Ok(None),
        [row] => Ok(Some(row)),
        _ => Err(PgError::new(
            SqlState::CARDINALITY_VIOLATION,
            "more than one row returned by a subquery used as an expression",
        )
        .into()),
    }
}

fn column_of(rows: &[super::Values], kind: &SubqueryKind) -> Result<Datum, Halt> {
    let place = match kind {
        SubqueryKind::Column { place, .. } => *place,
        _ => 0,
    };
    Ok(only(rows)?.map_or(Datum::Null, |row| row[place].clone()))
}

/// ANY, or ALL, of results of which some may be unknown.
fn quantify(results: impl Iterator<Item = Option<bool>>, all: bool) -> Option<bool> {
    let mut unknown = false;
    for result in results {
        match result {
            Some(value) if value != all => return Some(!all),
            Some(_) => {}
            None => unknown = true,
        }
    }
    (!unknown).then_some(all)
}
