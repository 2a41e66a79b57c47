//! Numbers.

use std::sync::Arc;

use super::Built;
use crate::engine::Halt;
use crate::error::{PgError, SqlState};
use crate::sql::face::Context;
use crate::types::numeric::Numeric;
use crate::types::{Datum, Type};

type Answer = Result<Datum, Halt>;

pub(super) const BUILT: Built = &[
    ("int2pl(int2,int2)", add),
    ("int2mi(int2,int2)", subtract),
    ("int2mul(int2,int2)", multiply),
    ("int2div(int2,int2)", divide),
    ("int24pl(int2,int4)", add),
    ("int24mi(int2,int4)", subtract),
    ("int24mul(int2,int4)", multiply),
    ("int24div(int2,int4)", divide),
    ("int28pl(int2,int8)", add),
    ("int28mi(int2,int8)", subtract),
    ("int28mul(int2,int8)", multiply),
    ("int28div(int2,int8)", divide),
    ("int42pl(int4,int2)", add),
    ("int42mi(int4,int2)", subtract),
    ("int42mul(int4,int2)", multiply),
    ("int42div(int4,int2)", divide),
    ("int4pl(int4,int4)", add),
    ("int4mi(int4,int4)", subtract),
    ("int4mul(int4,int4)", multiply),
    ("int4div(int4,int4)", divide),
    ("int48pl(int4,int8)", add),
    ("int48mi(int4,int8)", subtract),
    ("int48mul(int4,int8)", multiply),
    ("int48div(int4,int8)", divide),
    ("int82pl(int8,int2)", add),
    ("int82mi(int8,int2)", subtract),
    ("int82mul(int8,int2)", multiply),
    ("int82div(int8,int2)", divide),
    ("int84pl(int8,int4)", add),
    ("int84mi(int8,int4)", subtract),
    ("int84mul(int8,int4)", multiply),
    ("int84div(int8,int4)", divide),
    ("int8pl(int8,int8)", add),
    ("int8mi(int8,int8)", subtract),
    ("int8mul(int8,int8)", multiply),
    ("int8div(int8,int8)", divide),
    ("int2mod(int2,int2)", modulo),
    ("int2and(int2,int2)", bit_and),
    ("int2or(int2,int2)", bit_or),
    ("int2xor(int2,int2)", bit_xor),
    ("int2shl(int2,int4)", shift_left),
    ("int2shr(int2,int4)", shift_right),
    ("int2not(int2)", bit_not),
    ("int2um(int2)", negate),
    ("int2up(int2)", same),
    ("int2abs(int2)", abs),
    ("abs(int2)", abs),
    ("mod(int2,int2)", modulo),
    ("int4mod(int4,int4)", modulo),
    ("int4and(int4,int4)", bit_and),
    ("int4or(int4,int4)", bit_or),
    ("int4xor(int4,int4)", bit_xor),
    ("int4shl(int4,int4)", shift_left),
    ("int4shr(int4,int4)", shift_right),
    ("int4not(int4)", bit_not),
    ("int4um(int4)", negate),
    ("int4up(int4)", same),
    ("int4abs(int4)", abs),
    ("abs(int4)", abs),
    ("mod(int4,int4)", modulo),
    ("int8mod(int8,int8)", modulo),
    ("int8and(int8,int8)", bit_and),
    ("int8or(int8,int8)", bit_or),
    ("int8xor(int8,int8)", bit_xor),
    ("int8shl(int8,int4)", shift_left),
    ("int8shr(int8,int4)", shift_right),
    ("int8not(int8)", bit_not),
    ("int8um(int8)", negate),
    ("int8up(int8)", same),
    ("int8abs(int8)", abs),
    ("abs(int8)", abs),
    ("mod(int8,int8)", modulo),
    ("float4pl(float4,float4)", add),
    ("float4mi(float4,float4)", subtract),
    ("float4mul(float4,float4)", multiply),
    ("float4div(float4,float4)", divide),
    ("float48pl(float4,float8)", add),
    ("float48mi(float4,float8)", subtract),
    ("float48mul(float4,float8)", multiply),
    ("float48div(float4,float8)", divide),
    ("float84pl(float8,float4)", add),
    ("float84mi(float8,float4)", subtract),
    ("float84mul(float8,float4)", multiply),
    ("float84div(float8,float4)", divide),
    ("float8pl(float8,float8)", add),
    ("float8mi(float8,float8)", subtract),
    ("float8mul(float8,float8)", multiply),
    ("float8div(float8,float8)", divide),
    ("float4um(float4)", negate),
    ("float4up(float4)", same),
    ("float4abs(float4)", abs),
    ("abs(float4)", abs),
    ("float8um(float8)", negate),
    ("float8up(float8)", same),
    ("float8abs(float8)", abs),
    ("abs(float8)", abs),
    ("numeric_add(numeric,numeric)", add),
    ("numeric_sub(numeric,numeric)", subtract),
    ("numeric_mul(numeric,numeric)", multiply),
    ("numeric_div(numeric,numeric)", divide),
    ("numeric_mod(numeric,numeric)", modulo),
    ("numeric_power(numeric,numeric)", power),
    ("numeric_uminus(numeric)", negate),
    ("numeric_uplus(numeric)", same),
    ("numeric_abs(numeric)", abs),
    ("abs(numeric)", abs),
    ("mod(numeric,numeric)", modulo),
    ("dpow(float8,float8)", power),
    ("pow(float8,float8)", power),
    ("pow(numeric,numeric)", power),
    ("power(float8,float8)", power),
    ("power(numeric,numeric)", power),
    ("div(numeric,numeric)", div_trunc),
    ("sqrt(float8)", sqrt),
    ("dsqrt(float8)", sqrt),
    ("sqrt(numeric)", sqrt),
    ("numeric_sqrt(numeric)", sqrt),
    ("exp(float8)", exp),
    ("exp(numeric)", exp),
    ("ln(float8)", ln),
    ("ln(numeric)", ln),
    ("log(float8)", log10),
    ("log10(float8)", log10),
    ("log(numeric)", log10),
    ("log10(numeric)", log10),
    ("log(numeric,numeric)", log),
    ("round(float8)", round),
    ("round(numeric)", round),
    ("round(numeric,int4)", round),
    ("trunc(float8)", trunc),
    ("trunc(numeric)", trunc),
    ("trunc(numeric,int4)", trunc),
    ("ceil(float8)", ceil),
    ("ceil(numeric)", ceil),
    ("ceiling(float8)", ceil),
    ("ceiling(numeric)", ceil),
    ("floor(float8)", floor),
    ("floor(numeric)", floor),
    ("sign(float8)", sign),
    ("sign(numeric)", sign),
    ("scale(numeric)", scale),
    ("min_scale(numeric)", min_scale),
    ("trim_scale(numeric)", trim_scale),
    ("gcd(int4,int4)", gcd),
    ("gcd(int8,int8)", gcd),
    ("lcm(int4,int4)", lcm),
    ("lcm(int8,int8)", lcm),
    ("factorial(int8)", factorial),
    ("pi()", pi),
    ("degrees(float8)", degrees),
    ("radians(float8)", radians),
    ("int4inc(int4)", increment),
    ("to_hex(int4)", to_hex),
    ("to_hex(int8)", to_hex),
];

pub(super) fn float(datum: &Datum) -> f64 {
    datum.as_f64().unwrap_or(f64::NAN)
}

/// A numeric, or an integer as one.
pub(super) fn exact(datum: &Datum) -> Arc<Numeric> {
    match datum {
        Datum::Numeric(value) => value.clone(),
        other => Arc::new(Numeric::from(other.as_i64().unwrap_or(0))),
    }
}

/// Packs a result into the wider of the operands' types.
fn pack(left: &Datum, right: &Datum, value: Option<i64>) -> Answer {
    let rank = |datum: &Datum| match datum {
        Datum::Int2(_) => 0,
        Datum::Int4(_) => 1,
        _ => 2,
    };
    let packed = match rank(left).max(rank(right)) {
        0 => value
            .and_then(|v| i16::try_from(v).ok())
            .map(Datum::Int2)
            .ok_or(Type::Int2),
        1 => value
            .and_then(|v| i32::try_from(v).ok())
            .map(Datum::Int4)
            .ok_or(Type::Int4),
        _ => value.map(Datum::Int8).ok_or(Type::Int8),
    };
    packed.map_err(|ty| PgError::out_of_range(ty.sql_name()).into())
}

fn float_range(what: &str) -> Halt {
    PgError::new(
        SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
        format!("value out of range: {what}"),
    )
    .into()
}

/// A float of the operands' width; an infinity that finite operands make is an overflow.
fn float_result(args: &[Datum], value: f64, may_vanish: bool) -> Answer {
    let single = args.iter().all(|arg| matches!(arg, Datum::Float4(_)));
    let finite = args.iter().all(|arg| float(arg).is_finite());
    let infinite = match single {
        true => (value as f32).is_infinite(),
        false => value.is_infinite(),
    };
    if infinite && finite {
        return Err(float_range("overflow"));
    }
    let vanished = match single {
        true => value as f32 == 0.0,
        false => value == 0.0,
    };
    if vanished && !may_vanish {
        return Err(float_range("underflow"));
    }
    Ok(match single {
        true => Datum::Float4(value as f32),
        false => Datum::Float8(value),
    })
}

type ByNumeric = fn(&Numeric, &Numeric) -> Result<Numeric, PgError>;

fn arithmetic(
    args: &[Datum],
    integers: fn(i64, i64) -> Option<i64>,
    floats: fn(f64, f64) -> f64,
    numerics: ByNumeric,
    may_vanish: fn(f64, f64) -> bool,
) -> Answer {
    let (left, right) = (&args[0], &args[1]);
    if let (Some(a), Some(b)) = (left.as_i64(), right.as_i64()) {
        return pack(left, right, integers(a, b));
    }
    if let (Datum::Numeric(a), Datum::Numeric(b)) = (left, right) {
        return Ok(numerics(a, b)?.into());
    }
    let (a, b) = (float(left), float(right));
    let single = matches!((left, right), (Datum::Float4(_), Datum::Float4(_)));
    let value = match single {
        // Rounded once, as the processor does it.
        true => f64::from(floats(a, b) as f32),
        false => floats(a, b),
    };
    float_result(args, value, may_vanish(a, b))
}

pub(super) fn add(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    arithmetic(
        args,
        i64::checked_add,
        |a, b| a + b,
        Numeric::add,
        |_, _| true,
    )
}

pub(super) fn subtract(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    arithmetic(
        args,
        i64::checked_sub,
        |a, b| a - b,
        Numeric::sub,
        |_, _| true,
    )
}

pub(super) fn multiply(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let vanishes = |a, b| a == 0.0 || b == 0.0;
    arithmetic(args, i64::checked_mul, |a, b| a * b, Numeric::mul, vanishes)
}

fn refuse_zero(divisor: &Datum) -> Result<(), Halt> {
    match divisor.as_f64() {
        Some(0.0) => Err(PgError::division_by_zero().into()),
        _ => Ok(()),
    }
}

pub(super) fn divide(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    if !float(&args[0]).is_nan() {
        refuse_zero(&args[1])?;
    }
    let vanishes = |a: f64, b: f64| a == 0.0 || b.is_infinite();
    arithmetic(args, i64::checked_div, |a, b| a / b, Numeric::div, vanishes)
}

pub(super) fn modulo(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    refuse_zero(&args[1])?;
    let integers = |a: i64, b| Some(a.wrapping_rem(b));
    arithmetic(args, integers, |a, b| a % b, Numeric::rem, |_, _| true)
}

fn div_trunc(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(exact(&args[0]).div_trunc(&exact(&args[1]))?.into())
}

fn power_error(message: &str) -> Halt {
    PgError::new(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message).into()
}

/// `dpow`, or `numeric_power`.
pub(super) fn power(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    if let (Datum::Numeric(base), Datum::Numeric(exponent)) = (&args[0], &args[1]) {
        let value = base.power(exponent)?;
        return match exponent.trunc(0) == **exponent {
            true => Ok(value.into()),
            false => approximated(context, value),
        };
    }
    let (base, exponent) = (float(&args[0]), float(&args[1]));
    if base == 0.0 && exponent < 0.0 {
        return Err(power_error("zero raised to a negative power is undefined"));
    }
    if base < 0.0 && exponent.is_finite() && exponent.floor() != exponent {
        return Err(power_error(
            "a negative number raised to a non-integer power yields a complex result",
        ));
    }
    let value = base.powf(exponent);
    let vanishes = base == 0.0 || base.is_infinite() || exponent.is_infinite();
    float_result(args, value, vanishes)
}

fn bits(args: &[Datum], both: fn(i64, i64) -> i64) -> Answer {
    let (a, b) = (args[0].as_i64(), args[1].as_i64());
    pack(&args[0], &args[1], a.zip(b).map(|(a, b)| both(a, b)))
}

pub(super) fn bit_and(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    bits(args, |a, b| a & b)
}

pub(super) fn bit_or(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    bits(args, |a, b| a | b)
}

pub(super) fn bit_xor(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    bits(args, |a, b| a ^ b)
}

fn bit_not(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    pack(&args[0], &args[0], args[0].as_i64().map(|value| !value))
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

fn shift_left(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(shift(args, true))
}

fn shift_right(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(shift(args, false))
}

fn same(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(args[0].clone())
}

/// A function of one number, by its kind.
fn unary(
    arg: &Datum,
    integers: fn(i64) -> Option<i64>,
    floats: fn(f64) -> f64,
    numerics: fn(&Numeric) -> Numeric,
) -> Answer {
    match arg {
        Datum::Numeric(value) => Ok(numerics(value).into()),
        Datum::Float4(value) => Ok(Datum::Float4(floats(f64::from(*value)) as f32)),
        Datum::Float8(value) => Ok(Datum::Float8(floats(*value))),
        other => pack(other, other, other.as_i64().and_then(integers)),
    }
}

pub(super) fn negate(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    unary(&args[0], i64::checked_neg, |value| -value, Numeric::neg)
}

fn abs(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    unary(&args[0], i64::checked_abs, f64::abs, Numeric::abs)
}

fn increment(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let value = args[0].as_i64().map(|value| value + 1);
    pack(&args[0], &args[0], value)
}

fn sign(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let sign = |value: f64| match value {
        value if value > 0.0 => 1.0,
        value if value < 0.0 => -1.0,
        _ => 0.0,
    };
    unary(
        &args[0],
        |value| Some(value.signum()),
        sign,
        Numeric::signum,
    )
}

fn places(args: &[Datum]) -> i32 {
    let places = args.get(1).and_then(Datum::as_i64).unwrap_or(0);
    places.clamp(-10_000, 10_000) as i32
}

fn round(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(match &args[0] {
        Datum::Numeric(value) => value.round(places(args)).into(),
        // rint() rounds half to even.
        other => Datum::Float8(float(other).round_ties_even()),
    })
}

fn trunc(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(match &args[0] {
        Datum::Numeric(value) => value.trunc(places(args)).into(),
        other => Datum::Float8(float(other).trunc()),
    })
}

fn ceil(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    unary(&args[0], Some, f64::ceil, |value| value.whole(true))
}

fn floor(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    unary(&args[0], Some, f64::floor, |value| value.whole(false))
}

fn sqrt(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    match &args[0] {
        Datum::Numeric(value) => Ok(value.sqrt()?.into()),
        other if float(other) < 0.0 => {
            Err(power_error("cannot take square root of a negative number"))
        }
        other => Ok(Datum::Float8(float(other).sqrt())),
    }
}

/// A numeric that a series was summed up for: the more digits, the more terms.
fn approximated(context: &mut Context<'_>, value: Numeric) -> Answer {
    let digits = value.digits() as usize;
    context.spend(16 + digits * digits / 512)?;
    Ok(value.into())
}

fn exp(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    match &args[0] {
        Datum::Numeric(value) => approximated(context, value.exp()?),
        other => float_result(args, float(other).exp(), float(other).is_infinite()),
    }
}

fn refuse_logarithm(value: f64) -> Result<f64, Halt> {
    let refuse = |what: &str| {
        let message = format!("cannot take logarithm of {what}");
        Err(PgError::new(SqlState::INVALID_ARGUMENT_FOR_LOGARITHM, message).into())
    };
    match value {
        0.0 => refuse("zero"),
        negative if negative < 0.0 => refuse("a negative number"),
        value => Ok(value),
    }
}

fn ln(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    match &args[0] {
        Datum::Numeric(value) => approximated(context, value.ln()?),
        other => Ok(Datum::Float8(refuse_logarithm(float(other))?.ln())),
    }
}

fn log10(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    match &args[0] {
        Datum::Numeric(value) => approximated(context, Numeric::log(&10.into(), value)?),
        other => Ok(Datum::Float8(refuse_logarithm(float(other))?.log10())),
    }
}

fn log(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    approximated(context, Numeric::log(&exact(&args[0]), &exact(&args[1]))?)
}

fn scale(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let scale = exact(&args[0]).scale();
    Ok(scale.map_or(Datum::Null, |scale| Datum::Int4(scale as i32)))
}

fn min_scale(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let scale = exact(&args[0]).trim_scale().scale();
    Ok(scale.map_or(Datum::Null, |scale| Datum::Int4(scale as i32)))
}

fn trim_scale(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(exact(&args[0]).trim_scale().into())
}

fn divisor(mut a: i128, mut b: i128) -> i128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.abs()
}

fn gcd(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let number = |place: usize| i128::from(args[place].as_i64().unwrap_or(0));
    let value = i64::try_from(divisor(number(0), number(1))).ok();
    pack(&args[0], &args[1], value)
}

fn lcm(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let number = |place: usize| i128::from(args[place].as_i64().unwrap_or(0));
    let (a, b) = (number(0), number(1));
    let value = match divisor(a, b) {
        0 => Some(0),
        divisor => i64::try_from((a / divisor * b).abs()).ok(),
    };
    pack(&args[0], &args[1], value)
}

fn factorial(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let n = args[0].as_i64().unwrap_or(0);
    if n < 0 {
        return Err(PgError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            "factorial of a negative number is undefined",
        )
        .into());
    }
    if n > 32_177 {
        return Err(PgError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            "value overflows numeric format",
        )
        .into());
    }
    Ok(Numeric::product(2, n)?.into())
}

fn pi(_: &mut Context<'_>, _: &[Datum]) -> Answer {
    Ok(Datum::Float8(std::f64::consts::PI))
}

fn degrees(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let value = float(&args[0]) / 0.017_453_292_519_943_295;
    float_result(args, value, true)
}

fn radians(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    float_result(args, float(&args[0]) * 0.017_453_292_519_943_295, true)
}

fn to_hex(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::text(match args[0] {
        Datum::Int4(value) => format!("{value:x}"),
        _ => format!("{:x}", args[0].as_i64().unwrap_or(0)),
    }))
}
