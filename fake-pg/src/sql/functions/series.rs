//! generate_series of numbers.

use std::sync::Arc;

use super::Built;
use super::math::exact;
use crate::engine::Halt;
use crate::error::{PgError, SqlState};
use crate::sql::face::Context;
use crate::types::Datum;
use crate::types::numeric::Numeric;

type Answer = Result<Datum, Halt>;

pub(super) const BUILT: Built = &[
    ("generate_series(int4,int4)", series),
    ("generate_series(int4,int4,int4)", series),
    ("generate_series(int8,int8)", series),
    ("generate_series(int8,int8,int8)", series),
    ("generate_series(numeric,numeric)", numeric_series),
    ("generate_series(numeric,numeric,numeric)", numeric_series),
];

pub(super) fn zero_step() -> Halt {
    PgError::new(
        SqlState::INVALID_PARAMETER_VALUE,
        "step size cannot equal zero",
    )
    .into()
}

fn series(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let number = |place: usize| args.get(place).map_or(Some(1), Datum::as_i64).unwrap_or(1);
    let (from, to, step) = (number(0), number(1), number(2));
    if step == 0 {
        return Err(zero_step());
    }
    let (wide_from, wide_to, wide_step) = (i128::from(from), i128::from(to), i128::from(step));
    // All its rows are held in memory at once.
    let length = ((wide_to - wide_from) / wide_step).max(0);
    context.spend(usize::try_from(length * 4).unwrap_or(usize::MAX))?;
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

fn numeric_series(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let (from, to) = (exact(&args[0]), exact(&args[1]));
    let step = args.get(2).map_or_else(|| Arc::new(1.into()), exact);
    for (value, name) in [(&from, "start"), (&to, "stop"), (&step, "step size")] {
        if !value.is_finite() {
            let shown = if matches!(**value, Numeric::NaN) {
                "NaN"
            } else {
                "infinity"
            };
            let message = match name {
                "step size" => format!("step size cannot be {shown}"),
                name => format!("{name} value cannot be {shown}"),
            };
            return Err(PgError::new(SqlState::INVALID_PARAMETER_VALUE, message).into());
        }
    }
    if step.is_zero() {
        return Err(zero_step());
    }
    let mut items = Vec::new();
    let mut value = Numeric::clone(&from);
    while if step.is_negative() {
        value >= *to
    } else {
        value <= *to
    } {
        context.spend(4 + value.weight())?;
        items.push(value.clone().into());
        value = value.add(&step)?;
    }
    Ok(Datum::Array(items.into()))
}
