//! Numbers.

use super::{Arg, Function, Returns, lenient, set, strict};
use crate::engine::Halt;
use crate::error::{PgError, SqlState};
use crate::sql::face::Context;
use crate::types::{Datum, Type};

use Arg::Is;
use Type::{Float8, Int2, Int4, Int8};

pub(super) const FUNCTIONS: &[Function] = &[
    strict("abs", &[Is(Int4)], Returns::Is(Int4), abs),
    strict("abs", &[Is(Int8)], Returns::Is(Int8), abs),
    strict("abs", &[Is(Float8)], Returns::Is(Float8), abs),
    strict("floor", &[Is(Float8)], Returns::Is(Float8), |_, args| {
        Ok(Datum::Float8(float(&args[0]).floor()))
    }),
    strict("ceil", &[Is(Float8)], Returns::Is(Float8), |_, args| {
        Ok(Datum::Float8(float(&args[0]).ceil()))
    }),
    strict("round", &[Is(Float8)], Returns::Is(Float8), |_, args| {
        Ok(Datum::Float8(float(&args[0]).round_ties_even()))
    }),
    strict(
        "sqrt",
        &[Is(Float8)],
        Returns::Is(Float8),
        |_, args| match float(&args[0]) {
            negative if negative < 0.0 => Err(PgError::new(
                "2201F".parse().unwrap_or(SqlState::INVALID_PARAMETER_VALUE),
                "cannot take square root of a negative number",
            )
            .into()),
            value => Ok(Datum::Float8(value.sqrt())),
        },
    ),
    strict(
        "power",
        &[Is(Float8), Is(Float8)],
        Returns::Is(Float8),
        power,
    ),
    strict("mod", &[Is(Int4), Is(Int4)], Returns::Is(Int4), modulo),
    strict("mod", &[Is(Int8), Is(Int8)], Returns::Is(Int8), modulo),
    set(
        "generate_series",
        &[Is(Int4), Is(Int4)],
        Returns::Is(Int4),
        series,
    ),
    set(
        "generate_series",
        &[Is(Int4), Is(Int4), Is(Int4)],
        Returns::Is(Int4),
        series,
    ),
    set(
        "generate_series",
        &[Is(Int8), Is(Int8)],
        Returns::Is(Int8),
        series,
    ),
    set(
        "generate_series",
        &[Is(Int8), Is(Int8), Is(Int8)],
        Returns::Is(Int8),
        series,
    ),
    set("unnest", &[Arg::Array], Returns::ElementOf(0), |_, args| {
        Ok(args[0].clone())
    }),
    strict(
        "cardinality",
        &[Arg::Array],
        Returns::Is(Int4),
        |_, args| Ok(Datum::Int4(items(&args[0]).len() as i32)),
    ),
    strict(
        "array_length",
        &[Arg::Array, Is(Int4)],
        Returns::Is(Int4),
        |_, args| {
            Ok(match (items(&args[0]).len(), args[1].as_i64()) {
                (0, _) => Datum::Null,
                (len, Some(1)) => Datum::Int4(len as i32),
                _ => Datum::Null,
            })
        },
    ),
    lenient(
        "array_append",
        &[Arg::Array, Arg::Element],
        Returns::Same(0),
        |_, args| {
            let mut all = items(&args[0]).to_vec();
            all.push(args[1].clone());
            Ok(Datum::Array(all.into()))
        },
    ),
    lenient(
        "array_remove",
        &[Arg::Array, Arg::Element],
        Returns::Same(0),
        |_, args| {
            if args[0].is_null() {
                return Ok(Datum::Null);
            }
            let kept = items(&args[0]).iter().filter(|item| **item != args[1]);
            Ok(Datum::Array(kept.cloned().collect()))
        },
    ),
];

/// The items of an array; none of NULL.
pub(super) fn items(datum: &Datum) -> &[Datum] {
    match datum {
        Datum::Array(items) => items,
        _ => &[],
    }
}

pub(super) fn float(datum: &Datum) -> f64 {
    datum.as_f64().unwrap_or(f64::NAN)
}

/// Packs a result into the wider of the operands' types.
fn pack(left: &Datum, right: &Datum, value: Option<i64>) -> Result<Datum, Halt> {
    let rank = |datum: &Datum| match datum {
        Datum::Int2(_) => 0,
        Datum::Int4(_) => 1,
        _ => 2,
    };
    let packed = match rank(left).max(rank(right)) {
        0 => value
            .and_then(|v| i16::try_from(v).ok())
            .map(Datum::Int2)
            .ok_or(Int2),
        1 => value
            .and_then(|v| i32::try_from(v).ok())
            .map(Datum::Int4)
            .ok_or(Int4),
        _ => value.map(Datum::Int8).ok_or(Int8),
    };
    packed.map_err(|ty| PgError::out_of_range(ty.sql_name()).into())
}

fn arithmetic(
    args: &[Datum],
    integers: fn(i64, i64) -> Option<i64>,
    floats: fn(f64, f64) -> f64,
) -> Result<Datum, Halt> {
    let (left, right) = (&args[0], &args[1]);
    if let (Some(a), Some(b)) = (left.as_i64(), right.as_i64()) {
        return pack(left, right, integers(a, b));
    }
    let (a, b) = (float(left), float(right));
    let value = floats(a, b);
    if value.is_infinite() && a.is_finite() && b.is_finite() {
        return Err(PgError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            "value out of range: overflow",
        )
        .into());
    }
    Ok(Datum::Float8(value))
}

pub(super) fn add(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    arithmetic(args, i64::checked_add, |a, b| a + b)
}

pub(super) fn subtract(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    arithmetic(args, i64::checked_sub, |a, b| a - b)
}

pub(super) fn multiply(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    arithmetic(args, i64::checked_mul, |a, b| a * b)
}

fn refuse_zero(divisor: &Datum) -> Result<(), Halt> {
    match divisor.as_f64() {
        Some(0.0) => Err(PgError::division_by_zero().into()),
        _ => Ok(()),
    }
}

pub(super) fn divide(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    refuse_zero(&args[1])?;
    arithmetic(args, i64::checked_div, |a, b| a / b)
}

pub(super) fn modulo(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    refuse_zero(&args[1])?;
    arithmetic(args, |a, b| Some(a.wrapping_rem(b)), |a, b| a % b)
}

pub(super) fn power(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    arithmetic(
        &[
            Datum::Float8(float(&args[0])),
            Datum::Float8(float(&args[1])),
        ],
        |_, _| None,
        f64::powf,
    )
}

pub(super) fn bit_and(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    arithmetic(args, |a, b| Some(a & b), |a, _| a)
}

pub(super) fn bit_or(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    arithmetic(args, |a, b| Some(a | b), |a, _| a)
}

pub(super) fn bit_xor(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    arithmetic(args, |a, b| Some(a ^ b), |a, _| a)
}

fn shift(args: &[Datum], left: bool) -> Datum {
    // The count wraps at the width, as the processor's shifts do.
    let count = args[1].as_i64().unwrap_or(0) as u32;
    match args[0] {
        Datum::Int2(value) => {
            let wide = i32::from(value);
            let shifted = if left {
                wide.wrapping_shl(count)
            } else {
                wide.wrapping_shr(count)
            };
            Datum::Int2(shifted as i16)
        }
        Datum::Int4(value) => Datum::Int4(if left {
            value.wrapping_shl(count)
        } else {
            value.wrapping_shr(count)
        }),
        Datum::Int8(value) => Datum::Int8(if left {
            value.wrapping_shl(count)
        } else {
            value.wrapping_shr(count)
        }),
        _ => Datum::Null,
    }
}

pub(super) fn shift_left(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    Ok(shift(args, true))
}

pub(super) fn shift_right(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    Ok(shift(args, false))
}

pub(super) fn negate(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    match args[0].as_i64() {
        Some(value) => pack(&args[0], &args[0], value.checked_neg()),
        None => Ok(Datum::Float8(-float(&args[0]))),
    }
}

fn abs(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    match args[0].as_i64() {
        Some(value) => pack(&args[0], &args[0], value.checked_abs()),
        None => Ok(Datum::Float8(float(&args[0]).abs())),
    }
}

/// More rows than this are refused, as they would be held in memory at once.
const SERIES_MAX: i128 = 10_000_000;

fn series(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    let number = |place: usize| args.get(place).map_or(Some(1), Datum::as_i64).unwrap_or(1);
    let (from, to, step) = (number(0), number(1), number(2));
    if step == 0 {
        return Err(PgError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            "step size cannot equal zero",
        )
        .into());
    }
    let (wide_from, wide_to, wide_step) = (i128::from(from), i128::from(to), i128::from(step));
    if (wide_to - wide_from) / wide_step > SERIES_MAX {
        return Err(PgError::feature_not_supported("a series of that length").into());
    }
    let mut items = Vec::new();
    let mut value = wide_from;
    while if step > 0 {
        value <= wide_to
    } else {
        value >= wide_to
    } {
        items.push(match args[0] {
            Datum::Int4(_) => Datum::Int4(value as i32),
            _ => Datum::Int8(value as i64),
        });
        value += wide_step;
    }
    Ok(Datum::Array(items.into()))
}
