//! Values and their types: [`Datum`] and [`Type`].
//!
//! A datum is small (24 bytes), cheap to clone (long values are shared) and totally ordered, since
//! it is what unique indexes are keyed by. Text sorts by its bytes, as under the C collation.
//! Everything is `Send + Sync`: one loaded engine is cloned into many threads.
//!
//! `Display` is the output text of PostgreSQL with `DateStyle = ISO, TimeZone = UTC`. Parsing text,
//! and the binary formats, are left to the files beside this one.

mod ty;
pub mod text;
mod show;
pub mod binary;
pub mod numeric;
pub mod datetime;
pub(crate) mod array;
pub mod json;
pub mod snapshot;

use std::cmp::Ordering;
use std::sync::Arc;

pub use ty::{Domain, Label, Type, UserKind, UserType};

use crate::engine::Timestamp;
use crate::error::PgError;
use numeric::Numeric;

/// A value. Several types share a representation: `Text` also carries varchar, name and "char",
/// `Int8` carries oid, xid and xid8.
#[derive(Clone, Debug)]
pub enum Datum {
    /// SQL's NULL, of any type.
    Null,
    /// boolean.
    Bool(bool),
    /// smallint.
    Int2(i16),
    /// integer.
    Int4(i32),
    /// bigint.
    Int8(i64),
    /// real.
    Float4(f32),
    /// double precision.
    Float8(f64),
    /// numeric.
    Numeric(Arc<Numeric>),
    /// text, varchar, name, "char".
    Text(Arc<str>),
    /// character(n), with its blanks.
    Bpchar(Arc<str>),
    /// bytea.
    Bytea(Arc<[u8]>),
    /// date: days since 1970, the least and the greatest number for the infinities.
    Date(i32),
    /// time without time zone, in microseconds.
    Time(i64),
    /// timestamp without time zone, as if it were UTC.
    Timestamp(Timestamp),
    /// timestamp with time zone.
    Timestamptz(Timestamp),
    /// interval.
    Interval(Interval),
    /// uuid.
    Uuid([u8; 16]),
    /// json, as validated text.
    Json(Arc<str>),
    /// jsonb.
    Jsonb(Arc<json::Json>),
    /// A one-dimensional array, counted from 1, or an empty one.
    Array(Arc<[Datum]>),
    /// Any other array.
    Matrix(Arc<Matrix>),
    /// A row: of a composite type, or of ROW(…).
    Record(Arc<Record>),
    /// A label of an enum: its place in the order, and its text.
    Enum(f32, Arc<str>),
    /// An OID that shows as a name: regclass, regtype and their kin.
    Named(u32, Arc<str>),
    /// What a function without a result returns: the empty text.
    Void,
}

/// An array of several dimensions, or one that is not counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Each dimension's length and first subscript.
    pub dimensions: Vec<(i32, i32)>,
    /// The elements, the last subscript changing fastest.
    pub items: Arc<[Datum]>,
}

/// A row as a value.
#[derive(Clone, Debug)]
pub struct Record {
    /// The names of its columns; none means f1, f2 ….
    pub names: Arc<[Arc<str>]>,
    /// Their values.
    pub values: Vec<Datum>,
}

/// What the text of a value may depend on besides the value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Env {
    /// When the transaction started.
    pub now: Timestamp,
    /// The session's time zone.
    pub zone: datetime::Zone,
}

/// interval: its three parts do not convert into each other, as in PostgreSQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Years and months.
    pub months: i32,
    /// Days, which are not always 24 hours.
    pub days: i32,
    /// Everything smaller, in microseconds.
    pub micros: i64,
}

impl Interval {
    /// The span that comparisons use: a month is 30 days, a day 24 hours (`interval_cmp_value`).
    pub fn comparable(self) -> i128 {
        let days = i128::from(self.months) * 30 + i128::from(self.days);
        days * 86_400_000_000 + i128::from(self.micros)
    }
}

impl Datum {
    /// A text datum.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Datum::Text(text.into())
    }

    /// A copy that shares nothing with this one.
    pub fn unshared(&self) -> Self {
        match self {
            Datum::Text(text) => Datum::Text(Arc::from(&**text)),
            Datum::Json(text) => Datum::Json(Arc::from(&**text)),
            Datum::Jsonb(json) => Datum::Jsonb(Arc::new(json::Json::clone(json))),
            Datum::Bytea(bytes) => Datum::Bytea(Arc::from(&**bytes)),
            Datum::Array(items) => Datum::Array(items.iter().map(Datum::unshared).collect()),
            Datum::Bpchar(text) => Datum::Bpchar(Arc::from(&**text)),
            Datum::Enum(order, text) => Datum::Enum(*order, Arc::from(&**text)),
            Datum::Named(oid, text) => Datum::Named(*oid, Arc::from(&**text)),
            Datum::Numeric(value) => Datum::Numeric(Arc::new(Numeric::clone(value))),
            Datum::Matrix(matrix) => Datum::Matrix(Arc::new(Matrix {
                dimensions: matrix.dimensions.clone(),
                items: matrix.items.iter().map(Datum::unshared).collect(),
            })),
            Datum::Record(record) => Datum::Record(Arc::new(Record {
                names: record.names.iter().map(|name| Arc::from(&**name)).collect(),
                values: record.values.iter().map(Datum::unshared).collect(),
            })),
            plain => plain.clone(),
        }
    }

    /// An array with these dimensions, in the form there is for it.
    pub fn array(dimensions: Vec<(i32, i32)>, items: Vec<Datum>) -> Self {
        match dimensions[..] {
            _ if items.is_empty() => Datum::Array(Arc::new([])),
            [(_, 1)] => Datum::Array(items.into()),
            _ => Datum::Matrix(Arc::new(Matrix {
                dimensions,
                items: items.into(),
            })),
        }
    }

    /// The elements of an array in the order they are stored; none of anything else.
    pub fn items(&self) -> &[Datum] {
        match self {
            Datum::Array(items) => items,
            Datum::Matrix(matrix) => &matrix.items,
            _ => &[],
        }
    }

    /// Lengths and first subscripts of an array; none if it is empty.
    pub fn dimensions(&self) -> Vec<(i32, i32)> {
        match self {
            Datum::Array(items) if !items.is_empty() => vec![(items.len() as i32, 1)],
            Datum::Matrix(matrix) => matrix.dimensions.clone(),
            _ => Vec::new(),
        }
    }

    /// The array of the same shape with each element changed.
    pub fn map_items(
        &self,
        mut change: impl FnMut(&Datum) -> Result<Datum, PgError>,
    ) -> Result<Datum, PgError> {
        let items: Result<Vec<Datum>, PgError> = self.items().iter().map(&mut change).collect();
        Ok(match self {
            Datum::Matrix(matrix) => Datum::array(matrix.dimensions.clone(), items?),
            _ => Datum::Array(items?.into()),
        })
    }

    /// How many steps of a statement's budget it takes to go through it: none if it is short.
    pub fn weight(&self) -> usize {
        match self {
            Datum::Text(text) | Datum::Bpchar(text) | Datum::Json(text) => text.len() / 32,
            Datum::Bytea(bytes) => bytes.len() / 32,
            Datum::Numeric(value) => value.weight(),
            Datum::Array(items) => weight_of(items),
            Datum::Matrix(matrix) => weight_of(&matrix.items),
            Datum::Record(record) => weight_of(&record.values).saturating_add(1),
            Datum::Jsonb(json) => json.size().map_or(usize::MAX, |size| size / 8),
            _ => 0,
        }
    }

    /// Whether it is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }

    /// Any of the integers, widened.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Datum::Int2(value) => Some(value.into()),
            Datum::Int4(value) => Some(value.into()),
            Datum::Int8(value) => Some(value),
            Datum::Named(oid, _) => Some(oid.into()),
            _ => None,
        }
    }

    /// Any of the numbers but numeric, as a float.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Datum::Float8(value) => Some(value),
            Datum::Float4(value) => Some(value.into()),
            _ => self.as_i64().map(|value| value as f64),
        }
    }

    /// The characters of text and json.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Datum::Text(text) | Datum::Json(text) | Datum::Bpchar(text) => Some(text),
            _ => None,
        }
    }

    /// Where values of unlike representations stand to each other; numbers are alike.
    fn rank(&self) -> u8 {
        match self {
            Datum::Bool(_) => 0,
            Datum::Int2(_)
            | Datum::Int4(_)
            | Datum::Int8(_)
            | Datum::Float4(_)
            | Datum::Float8(_)
            | Datum::Numeric(_)
            | Datum::Named(..) => 1,
            Datum::Text(_) | Datum::Bpchar(_) => 2,
            Datum::Bytea(_) => 3,
            Datum::Timestamptz(_) | Datum::Timestamp(_) | Datum::Date(_) => 4,
            Datum::Interval(_) | Datum::Time(_) => 5,
            Datum::Uuid(_) => 6,
            Datum::Json(_) | Datum::Jsonb(_) => 7,
            Datum::Array(_) | Datum::Matrix(_) => 8,
            Datum::Record(_) => 9,
            Datum::Enum(..) => 10,
            Datum::Void => 11,
            // NULLS LAST, the default of ORDER BY.
            Datum::Null => 12,
        }
    }

    /// Unlike representations: numbers of several kinds, dates and times.
    fn cmp_unlike(&self, other: &Self) -> Ordering {
        if let (Some(a), Some(b)) = (self.as_i64(), other.as_i64()) {
            return a.cmp(&b);
        }
        if let (Some(a), Some(b)) = (self.as_f64(), other.as_f64()) {
            return float_order(a, b);
        }
        if let (Some(a), Some(b)) = (self.as_instant(), other.as_instant()) {
            return a.cmp(&b);
        }
        match (self, other) {
            (Datum::Numeric(a), b) if b.rank() == 1 => a.cmp(&b.widened()),
            (a, Datum::Numeric(b)) if a.rank() == 1 => (*a.widened()).cmp(b),
            (a, b) if a.rank() == 8 && b.rank() == 8 => {
                // Element by element, then by their number, dimensions, lengths (`array_cmp`).
                let (left, right) = (a.dimensions(), b.dimensions());
                let order = a.items().iter().cmp(b.items());
                order
                    .then(left.len().cmp(&right.len()))
                    .then_with(|| left.cmp(&right))
            }
            (Datum::Text(a), Datum::Bpchar(b)) | (Datum::Bpchar(a), Datum::Text(b)) => {
                a.as_ref().cmp(b.as_ref())
            }
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn widened(&self) -> Arc<Numeric> {
        match self {
            Datum::Numeric(value) => value.clone(),
            other => Arc::new(match other.as_i64() {
                Some(value) => Numeric::from(value),
                None => Numeric::from_float(other.as_f64().unwrap_or(f64::NAN), 17),
            }),
        }
    }

    /// A date or a time stamp, on the time line of UTC.
    fn as_instant(&self) -> Option<Timestamp> {
        match self {
            Datum::Timestamptz(at) | Datum::Timestamp(at) => Some(*at),
            Datum::Date(days) => Some(datetime::midnight(*days)),
            _ => None,
        }
    }
}

/// Each level of nesting may double the quotes and backslashes in the text.
fn weight_of(items: &[Datum]) -> usize {
    let inner = items.iter().map(Datum::weight);
    let inner = inner.fold(0, usize::saturating_add);
    (items.len() / 4).saturating_add(inner.saturating_mul(2))
}

/// Total, for sorting and for keys. Whether NULL equals NULL in SQL is the executor's question.
impl Ord for Datum {
    fn cmp(&self, other: &Self) -> Ordering {
        use Datum::*;
        match (self, other) {
            (Int4(a), Int4(b)) => a.cmp(b),
            (Int8(a), Int8(b)) => a.cmp(b),
            (Bool(a), Bool(b)) => a.cmp(b),
            (Text(a), Text(b)) | (Json(a), Json(b)) => a.cmp(b),
            (Jsonb(a), Jsonb(b)) => a.cmp_whole(b),
            (Bytea(a), Bytea(b)) => a.cmp(b),
            (Timestamptz(a), Timestamptz(b)) | (Timestamp(a), Timestamp(b)) => a.cmp(b),
            (Uuid(a), Uuid(b)) => a.cmp(b),
            (Array(a), Array(b)) => a.cmp(b),
            (Numeric(a), Numeric(b)) => a.cmp(b),
            (Date(a), Date(b)) => a.cmp(b),
            (Time(a), Time(b)) => a.cmp(b),
            (Interval(a), Interval(b)) => a.comparable().cmp(&b.comparable()),
            // Blanks at the end do not count.
            (Bpchar(a), Bpchar(b)) => a.trim_end_matches(' ').cmp(b.trim_end_matches(' ')),
            (Enum(a, _), Enum(b, _)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Record(a), Record(b)) => a.values.cmp(&b.values),
            _ => self.cmp_unlike(other),
        }
    }
}

/// NaN equals itself and is above everything; zeros are equal (`float8_cmp_internal`).
fn float_order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b)
        .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

impl PartialOrd for Datum {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Datum {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Datum {}

impl From<i32> for Datum {
    fn from(value: i32) -> Self {
        Datum::Int4(value)
    }
}

impl From<i64> for Datum {
    fn from(value: i64) -> Self {
        Datum::Int8(value)
    }
}

impl From<bool> for Datum {
    fn from(value: bool) -> Self {
        Datum::Bool(value)
    }
}

impl From<Numeric> for Datum {
    fn from(value: Numeric) -> Self {
        Datum::Numeric(Arc::new(value))
    }
}

impl From<&str> for Datum {
    fn from(text: &str) -> Self {
        Datum::text(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datum_stays_small() {
        assert_eq!(size_of::<Datum>(), 24);
    }

    #[test]
    fn values_print_as_the_server_prints_them() {
        // Each from `select ($1)::text` on PostgreSQL 15.
        let interval = |months, days, micros| {
            Datum::Interval(Interval {
                months,
                days,
                micros,
            })
        };
        let array = |items: &[&str]| Datum::Array(items.iter().map(|&item| item.into()).collect());
        for (datum, text) in [
            (Datum::Float8(1e15), "1e+15"),
            (Datum::Float8(123456789012345.0), "123456789012345"),
            (Datum::Float8(0.0001), "0.0001"),
            (Datum::Float8(0.00001), "1e-05"),
            (Datum::Float8(-1.5e-300), "-1.5e-300"),
            (Datum::Float8(-0.0), "-0"),
            (Datum::Float8(f64::NEG_INFINITY), "-Infinity"),
            (Datum::Bytea([0, 255].into()), "\\x00ff"),
            (interval(0, 0, 0), "00:00:00"),
            (
                interval(14, -3, 14_706_700_000),
                "1 year 2 mons -3 days +04:05:06.7",
            ),
            (interval(-1, 1, -1_000_000), "-1 mons +1 day -00:00:01"),
            (
                array(&["a", "a b", "", "null", "\"\\"]),
                r#"{a,"a b","","null","\"\\"}"#,
            ),
            (Datum::Array([Datum::Null, 1.into()].into()), "{NULL,1}"),
        ] {
            assert_eq!(datum.to_string(), text);
        }
    }

    #[test]
    fn order_is_total_and_numbers_compare_across_widths() {
        let ascending = [
            Datum::Int8(i64::MIN),
            Datum::Int2(-1),
            Datum::Float8(0.5),
            Datum::Int4(1),
            Datum::Float8(f64::INFINITY),
            Datum::Float8(f64::NAN),
            Datum::text("B"),
            Datum::text("a"),
            Datum::Null,
        ];
        assert!(ascending.is_sorted_by(|a, b| a < b));
        assert_eq!(Datum::Int2(1), Datum::Int8(1));
        assert_eq!(Datum::Float8(-0.0), Datum::Float8(0.0));
        assert_eq!(Datum::Float8(f64::NAN), Datum::Float8(f64::NAN));
    }
}
