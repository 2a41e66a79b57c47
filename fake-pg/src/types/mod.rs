//! Values and their types: [`Datum`] and [`Type`].
//!
//! A datum is small (24 bytes), cheap to clone (long values are shared) and totally ordered, since
//! it is what unique indexes are keyed by. Text sorts by its bytes, as under the C collation.
//! Everything is `Send + Sync`: one loaded engine is cloned into many threads.
//!
//! `Display` is the output text of PostgreSQL with `DateStyle = ISO, TimeZone = UTC`. Parsing text,
//! and the binary formats, are left to the files beside this one.

pub mod binary;
pub mod json;
pub mod text;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::engine::Timestamp;

/// A value. Several types share a representation: `Text` also carries varchar and name, `Json`
/// carries json and jsonb, `Int8` carries oid and xid8.
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
    /// double precision.
    Float8(f64),
    /// text, varchar, name.
    Text(Arc<str>),
    /// bytea.
    Bytea(Arc<[u8]>),
    /// timestamp with time zone.
    Timestamptz(Timestamp),
    /// interval.
    Interval(Interval),
    /// uuid.
    Uuid([u8; 16]),
    /// json and jsonb, as validated text.
    Json(Arc<str>),
    /// A one-dimensional array.
    Array(Arc<[Datum]>),
    /// What a function without a result returns: the empty text.
    Void,
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
            Datum::Bytea(bytes) => Datum::Bytea(Arc::from(&**bytes)),
            Datum::Array(items) => Datum::Array(items.iter().map(Datum::unshared).collect()),
            plain => plain.clone(),
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
            _ => None,
        }
    }

    /// Any of the numbers, as a float.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Datum::Float8(value) => Some(value),
            _ => self.as_i64().map(|value| value as f64),
        }
    }

    /// The characters of text and json.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Datum::Text(text) | Datum::Json(text) => Some(text),
            _ => None,
        }
    }

    /// Where values of unlike representations stand to each other; numbers are alike.
    fn rank(&self) -> u8 {
        match self {
            Datum::Bool(_) => 0,
            Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) | Datum::Float8(_) => 1,
            Datum::Text(_) => 2,
            Datum::Bytea(_) => 3,
            Datum::Timestamptz(_) => 4,
            Datum::Interval(_) => 5,
            Datum::Uuid(_) => 6,
            Datum::Json(_) => 7,
            Datum::Array(_) => 8,
            Datum::Void => 9,
            // NULLS LAST, the default of ORDER BY.
            Datum::Null => 10,
        }
    }
}

/// Total, for sorting and for keys. Whether NULL equals NULL in SQL is the executor's question.
impl Ord for Datum {
    fn cmp(&self, other: &Self) -> Ordering {
        use Datum::*;
        match (self, other) {
            (Bool(a), Bool(b)) => a.cmp(b),
            (Text(a), Text(b)) | (Json(a), Json(b)) => a.cmp(b),
            (Bytea(a), Bytea(b)) => a.cmp(b),
            (Timestamptz(a), Timestamptz(b)) => a.cmp(b),
            (Interval(a), Interval(b)) => a.comparable().cmp(&b.comparable()),
            (Uuid(a), Uuid(b)) => a.cmp(b),
            (Array(a), Array(b)) => a.cmp(b),
            _ => match (self.as_i64(), other.as_i64()) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => match (self.as_f64(), other.as_f64()) {
                    (Some(a), Some(b)) => float_order(a, b),
                    _ => self.rank().cmp(&other.rank()),
                },
            },
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

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Datum::Null => f.write_str("null"),
            Datum::Bool(value) => f.write_str(if *value { "t" } else { "f" }),
            Datum::Int2(value) => value.fmt(f),
            Datum::Int4(value) => value.fmt(f),
            Datum::Int8(value) => value.fmt(f),
            Datum::Float8(value) => write_float(f, *value),
            Datum::Text(text) | Datum::Json(text) => f.write_str(text),
            Datum::Bytea(bytes) => {
                f.write_str("\\x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Datum::Timestamptz(at) => at.fmt(f),
            Datum::Interval(interval) => interval.fmt(f),
            Datum::Uuid(bytes) => bytes.iter().enumerate().try_for_each(|(i, byte)| {
                let dash = if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
                write!(f, "{dash}{byte:02x}")
            }),
            Datum::Array(items) => write_array(f, items),
            Datum::Void => Ok(()),
        }
    }
}

/// The shortest digits that read back as the same value, in C's notation (`float8out`): plain
/// from 1e-4 up to below 1e15, else with an exponent of at least two digits.
fn write_float(f: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
    if value.is_nan() {
        return f.write_str("NaN");
    }
    if value.is_infinite() {
        return f.write_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').expect("{:e} has an exponent");
    let exponent: i32 = exponent.parse().expect("{:e} has a decimal exponent");
    if value == 0.0 || (-4..15).contains(&exponent) {
        return write!(f, "{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    write!(f, "{digits}e{sign}{:02}", exponent.unsigned_abs())
}

/// `{1,2,NULL,"a b"}`, quoted as `array_out` does.
fn write_array(f: &mut fmt::Formatter<'_>, items: &[Datum]) -> fmt::Result {
    f.write_str("{")?;
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(",")?;
        }
        if item.is_null() {
            f.write_str("NULL")?;
            continue;
        }
        let text = item.to_string();
        let special = |c: char| "{}\",\\ \t\n\r\x0b\x0c".contains(c);
        if text.is_empty() || text.eq_ignore_ascii_case("null") || text.contains(special) {
            write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))?;
        } else {
            f.write_str(&text)?;
        }
    }
    f.write_str("}")
}

/// IntervalStyle postgres: `1 year 2 mons -3 days +04:05:06.7`.
impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut negative_before = false;
        let mut empty = true;
        for (value, unit) in [
            (self.months / 12, "year"),
            (self.months % 12, "mon"),
            (self.days, "day"),
        ] {
            if value == 0 {
                continue;
            }
            let space = if empty { "" } else { " " };
            let plus = if negative_before && value > 0 {
                "+"
            } else {
                ""
            };
            let plural = if value == 1 { "" } else { "s" };
            write!(f, "{space}{plus}{value} {unit}{plural}")?;
            (empty, negative_before) = (false, value < 0);
        }
        if self.micros != 0 || empty {
            let space = if empty { "" } else { " " };
            let sign = match self.micros {
                ..0 => "-",
                _ if negative_before => "+",
                _ => "",
            };
            let micros = self.micros.unsigned_abs();
            let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
            write!(
                f,
                "{space}{sign}{:02}:{:02}:{:02}",
                seconds / 3600,
                seconds / 60 % 60,
                seconds % 60
            )?;
            if fraction > 0 {
                write!(f, ".{}", format!("{fraction:06}").trim_end_matches('0'))?;
            }
        }
        Ok(())
    }
}

/// One line per type: variant, OID, `typname`, the name `format_type` gives, `typlen`, element.
macro_rules! types {
    ($($variant:ident $oid:literal $name:literal $sql:literal $len:literal $element:expr;)*) => {
        /// A type of PostgreSQL, with its OID (`pg_type.dat`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[allow(missing_docs)]
        pub enum Type { $($variant,)* }

        impl Type {
            /// Every type that is known.
            pub const ALL: &[Type] = &[$(Type::$variant,)*];

            /// Its OID in every PostgreSQL.
            pub fn oid(self) -> u32 {
                match self { $(Type::$variant => $oid,)* }
            }

            /// The type of that OID, if it is known.
            pub fn from_oid(oid: u32) -> Option<Type> {
                match oid { $($oid => Some(Type::$variant),)* _ => None }
            }

            /// `typname`, as in `pg_type`: `int4`.
            pub fn name(self) -> &'static str {
                match self { $(Type::$variant => $name,)* }
            }

            /// The name messages use: `integer`.
            pub fn sql_name(self) -> &'static str {
                match self { $(Type::$variant => $sql,)* }
            }

            /// `typlen`: bytes, -1 if it varies, -2 for a C string.
            #[allow(clippy::len_without_is_empty)] // A length of one value, not of a collection.
            pub fn len(self) -> i16 {
                match self { $(Type::$variant => $len,)* }
            }

            /// What an array is made of.
            pub fn element(self) -> Option<Type> {
                use Type::*;
                match self { $($variant => $element,)* }
            }
        }
    };
}

types! {
    Bool 16 "bool" "boolean" 1 None;
    Bytea 17 "bytea" "bytea" -1 None;
    Char 18 "char" "\"char\"" 1 None;
    Name 19 "name" "name" 64 None;
    Int8 20 "int8" "bigint" 8 None;
    Int2 21 "int2" "smallint" 2 None;
    Int4 23 "int4" "integer" 4 None;
    Text 25 "text" "text" -1 None;
    Oid 26 "oid" "oid" 4 None;
    Json 114 "json" "json" -1 None;
    Float4 700 "float4" "real" 4 None;
    Float8 701 "float8" "double precision" 8 None;
    Unknown 705 "unknown" "unknown" -2 None;
    Bpchar 1042 "bpchar" "character" -1 None;
    Varchar 1043 "varchar" "character varying" -1 None;
    Date 1082 "date" "date" 4 None;
    Timestamp 1114 "timestamp" "timestamp without time zone" 8 None;
    Timestamptz 1184 "timestamptz" "timestamp with time zone" 8 None;
    Interval 1186 "interval" "interval" 16 None;
    Numeric 1700 "numeric" "numeric" -1 None;
    Regclass 2205 "regclass" "regclass" 4 None;
    Record 2249 "record" "record" -1 None;
    Void 2278 "void" "void" 4 None;
    Uuid 2950 "uuid" "uuid" 16 None;
    PgLsn 3220 "pg_lsn" "pg_lsn" 8 None;
    Jsonb 3802 "jsonb" "jsonb" -1 None;
    Xid8 5069 "xid8" "xid8" 8 None;
    BoolArray 1000 "_bool" "boolean[]" -1 Some(Bool);
    ByteaArray 1001 "_bytea" "bytea[]" -1 Some(Bytea);
    Int2Array 1005 "_int2" "smallint[]" -1 Some(Int2);
    Int4Array 1007 "_int4" "integer[]" -1 Some(Int4);
    TextArray 1009 "_text" "text[]" -1 Some(Text);
    VarcharArray 1015 "_varchar" "character varying[]" -1 Some(Varchar);
    Int8Array 1016 "_int8" "bigint[]" -1 Some(Int8);
    Float8Array 1022 "_float8" "double precision[]" -1 Some(Float8);
    TimestamptzArray 1185 "_timestamptz" "timestamp with time zone[]" -1 Some(Timestamptz);
    UuidArray 2951 "_uuid" "uuid[]" -1 Some(Uuid);
    JsonArray 199 "_json" "json[]" -1 Some(Json);
    JsonbArray 3807 "_jsonb" "jsonb[]" -1 Some(Jsonb);
}

impl Type {
    /// The array over this type.
    pub fn array(self) -> Option<Type> {
        Type::ALL
            .iter()
            .copied()
            .find(|array| array.element() == Some(self))
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sql_name())
    }
}

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

    #[test]
    fn oids_and_types_are_inverse() {
        for &ty in Type::ALL {
            assert_eq!(Type::from_oid(ty.oid()), Some(ty));
            assert!(
                ty.element()
                    .is_none_or(|element| element.array() == Some(ty))
            );
        }
    }
}
