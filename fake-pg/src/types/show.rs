//! The output text of values, as PostgreSQL's `…out` functions write it with `DateStyle = ISO,
//! TimeZone = UTC`.

use std::fmt;

use super::{Datum, Interval, datetime};

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Datum::Null => f.write_str("null"),
            Datum::Bool(value) => f.write_str(if *value { "t" } else { "f" }),
            Datum::Int2(value) => value.fmt(f),
            Datum::Int4(value) => value.fmt(f),
            Datum::Int8(value) => value.fmt(f),
            Datum::Float8(value) => write_float(f, *value),
            Datum::Float4(value) => write_real(f, *value),
            Datum::Numeric(value) => value.fmt(f),
            Datum::Jsonb(json) => json.fmt(f),
            Datum::Text(text)
            | Datum::Json(text)
            | Datum::Bpchar(text)
            | Datum::Enum(_, text)
            | Datum::Named(_, text) => f.write_str(text),
            Datum::Bytea(bytes) => {
                f.write_str("\\x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Datum::Timestamptz(at) => {
                datetime::write_timestamptz(f, *at, datetime::Zone::default())
            }
            Datum::Timestamp(at) => datetime::write_timestamp(f, *at),
            Datum::Date(days) => datetime::write_date(f, *days),
            Datum::Time(micros) => datetime::write_time(f, micros.unsigned_abs()),
            Datum::Interval(interval) => interval.fmt(f),
            Datum::Uuid(bytes) => bytes.iter().enumerate().try_for_each(|(i, byte)| {
                let dash = if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
                write!(f, "{dash}{byte:02x}")
            }),
            Datum::Array(items) => write_array(f, &mut items.iter(), &[]),
            Datum::Matrix(matrix) => {
                if matrix.dimensions.iter().any(|(_, first)| *first != 1) {
                    for (length, first) in &matrix.dimensions {
                        write!(f, "[{first}:{}]", first + length - 1)?;
                    }
                    f.write_str("=")?;
                }
                let inner = matrix.dimensions.get(1..).unwrap_or(&[]);
                let lengths: Vec<i32> = inner.iter().map(|(length, _)| *length).collect();
                write_array(f, &mut matrix.items.iter(), &lengths)
            }
            Datum::Record(record) => write_record(f, &record.values),
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
    write_scientific(f, &format!("{value:e}"), &value.to_string(), 15)
}

/// The same for a float4, plain below 1e6.
fn write_real(f: &mut fmt::Formatter<'_>, value: f32) -> fmt::Result {
    if !value.is_finite() {
        return write_float(f, value.into());
    }
    write_scientific(f, &format!("{value:e}"), &value.to_string(), 6)
}

fn write_scientific(
    f: &mut fmt::Formatter<'_>,
    scientific: &str,
    plain: &str,
    end: i32,
) -> fmt::Result {
    let (digits, exponent) = scientific.split_once('e').expect("{:e} has an exponent");
    let exponent: i32 = exponent.parse().expect("{:e} has a decimal exponent");
    if exponent == 0 || (-4..end).contains(&exponent) {
        return f.write_str(plain);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    write!(f, "{digits}e{sign}{:02}", exponent.unsigned_abs())
}

/// `{1,2,NULL,"a b"}`, quoted as `array_out` does; the lengths of the inner dimensions.
fn write_array(
    f: &mut fmt::Formatter<'_>,
    items: &mut dyn ExactSizeIterator<Item = &Datum>,
    inner: &[i32],
) -> fmt::Result {
    let each: usize = inner.iter().map(|length| *length as usize).product();
    f.write_str("{")?;
    let mut first = true;
    while items.len() > 0 {
        if !std::mem::take(&mut first) {
            f.write_str(",")?;
        }
        if !inner.is_empty() {
            let part: Vec<&Datum> = items.take(each).collect();
            write_array(f, &mut part.into_iter(), &inner[1..])?;
            continue;
        }
        let Some(item) = items.next() else { break };
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

/// `(1,,"a b")`, quoted as `record_out` does.
fn write_record(f: &mut fmt::Formatter<'_>, values: &[Datum]) -> fmt::Result {
    f.write_str("(")?;
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            f.write_str(",")?;
        }
        if value.is_null() {
            continue;
        }
        let text = value.to_string();
        let special = |c: char| "()\",\\ \t\n\r\x0b\x0c".contains(c);
        if text.is_empty() || text.contains(special) {
            write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\""))?;
        } else {
            f.write_str(&text)?;
        }
    }
    f.write_str(")")
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
            write!(f, "{space}{sign}")?;
            datetime::write_time(f, self.micros.unsigned_abs())?;
        }
        Ok(())
    }
}
