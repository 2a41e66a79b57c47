//! How many rows of a table a condition is thought to select, when nothing is known of the table.
//!
//! Source: `selfuncs.c` and `clausesel.c` with their defaults, `plancat.c` for the size of a table
//! that has never been vacuumed.

use super::{Comparison, Scalar};
use crate::engine::Table;
use crate::types::{Datum, Type};

const DISTINCT: f64 = 200.0;
const INEQUALITY: f64 = 1.0 / 3.0;
const RANGE: f64 = 0.005;
const UNKNOWN: f64 = 0.005;

/// A table, as far as the planner knows it.
pub(super) struct Selectivity<'t> {
    table: &'t Table,
    offset: usize,
    pub(super) pages: f64,
    pub(super) tuples: f64,
}

/// A column of it.
pub(super) type Column = usize;

impl<'t> Selectivity<'t> {
    pub(super) fn of(table: &'t Table, offset: usize) -> Self {
        let width: usize = table
            .columns
            .iter()
            .map(|column| average_width(column.ty, column.typmod))
            .sum();
        let density = (8192 - 24) / (width + 24 + 4);
        let (pages, tuples) = match table.measured {
            Some((pages, rows)) => (f64::from(pages), f64::from(rows)),
            None => (10.0, 10.0 * density as f64),
        };
        Selectivity {
            table,
            offset,
            pages,
            tuples,
        }
    }

    /// All of the conditions at once (`clauselist_selectivity`).
    pub(super) fn all(&self, conditions: &[Scalar]) -> f64 {
        let mut bounds: Vec<(Column, bool)> = Vec::new();
        let mut selected = 1.0;
        for condition in conditions {
            match self.bound(condition) {
                // The two ends of a range are not independent.
                Some((column, upper)) => {
                    match bounds
                        .iter()
                        .position(|&(c, up)| c == column && up != upper)
                    {
                        Some(other) => {
                            bounds.remove(other);
                            selected *= RANGE;
                        }
                        None => bounds.push((column, upper)),
                    }
                }
                None => selected *= self.one(condition),
            }
        }
        selected * INEQUALITY.powi(bounds.len() as i32)
    }

    fn bound(&self, condition: &Scalar) -> Option<(Column, bool)> {
        let Scalar::Compare(comparison, pair) = condition else {
            return None;
        };
        let upper = match comparison {
            Comparison::Less | Comparison::LessOrEqual => true,
            Comparison::Greater | Comparison::GreaterOrEqual => false,
            Comparison::Equal | Comparison::NotEqual => return None,
        };
        match (&pair.0, &pair.1) {
            (Scalar::Column(column), _) => Some((*column, upper)),
            (_, Scalar::Column(column)) => Some((*column, !upper)),
            _ => None,
        }
    }

    fn one(&self, condition: &Scalar) -> f64 {
        match condition {
            Scalar::Const(Datum::Bool(true)) => 1.0,
            Scalar::Const(_) => 0.0,
            Scalar::Column(_) => 0.5,
            Scalar::Compare(Comparison::Equal, pair) => self.equal(&pair.0, &pair.1),
            Scalar::Compare(Comparison::NotEqual, pair) => 1.0 - self.equal(&pair.0, &pair.1),
            Scalar::Compare(..) => INEQUALITY,
            Scalar::And(parts) => self.all(parts),
            Scalar::Or(parts) => {
                1.0 - parts
                    .iter()
                    .map(|part| 1.0 - self.one(part))
                    .product::<f64>()
            }
            Scalar::Not(part) => 1.0 - self.one(part),
            Scalar::IsNull(_, negated) => match negated {
                false => UNKNOWN,
                true => 1.0 - UNKNOWN,
            },
            Scalar::InList(operand, items, negated) => {
                let each = self.equal(operand, &Scalar::Const(Datum::Null));
                let any = (each * items.len() as f64).min(1.0);
                if *negated { 1.0 - any } else { any }
            }
            Scalar::Any(Comparison::Equal, pair, false) => {
                let each = self.equal(&pair.0, &Scalar::Const(Datum::Null));
                (each * self.length(&pair.1)).min(1.0)
            }
            Scalar::Call(function, _) if function.name.contains("like") => UNKNOWN,
            _ => INEQUALITY,
        }
    }

    /// How many elements an array is thought to have.
    pub(super) fn length(&self, array: &Scalar) -> f64 {
        match array {
            Scalar::Const(Datum::Array(items)) => items.len() as f64,
            Scalar::Array(items) => items.len() as f64,
            _ => 10.0,
        }
    }

    fn equal(&self, left: &Scalar, right: &Scalar) -> f64 {
        let distinct = |side: &Scalar| match side {
            Scalar::Column(column) => self.distinct(*column),
            _ => None,
        };
        1.0 / distinct(left).or(distinct(right)).unwrap_or(DISTINCT)
    }

    /// How many values a column is thought to have (`get_variable_numdistinct`).
    fn distinct(&self, column: Column) -> Option<f64> {
        let column = column.checked_sub(self.offset)?;
        let known = self.table.columns.get(column)?;
        let is_key = |index: &&std::sync::Arc<crate::engine::Index>| {
            index.unique && index.columns[..] == [column]
        };
        if known.ty == Type::Bool {
            return Some(2.0);
        }
        Some(
            match self.table.indexes.iter().any(|index| is_key(&index)) {
                true => self.tuples,
                false => self.tuples.min(DISTINCT),
            },
        )
    }
}

/// `get_typavgwidth`.
fn average_width(ty: Type, typmod: i32) -> usize {
    match ty {
        Type::Bool => 1,
        Type::Int2 => 2,
        Type::Int4 => 4,
        Type::Int8 | Type::Float8 | Type::Timestamptz => 8,
        Type::Interval | Type::Uuid => 16,
        Type::Varchar if typmod > 4 => {
            let most = (typmod as usize - 4) * 4 + 4;
            match most {
                0..=32 => most,
                33..1000 => 32 + (most - 32) / 2,
                _ => 32 + (1000 - 32) / 2,
            }
        }
        _ => 32,
    }
}
