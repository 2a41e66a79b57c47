//! `numeric(precision, scale)`: the modifier, and making a value fit it.

use super::Numeric::{self, Finite, Infinity, NaN, NegativeInfinity};
use super::digits;
use crate::error::{PgError, SqlState};

impl Numeric {
    /// Fits it in `numeric(precision, scale)` (`apply_typmod`).
    pub fn fit(&self, typmod: i32) -> Result<Self, PgError> {
        let Some((precision, scale)) = precision_and_scale(typmod) else {
            return Ok(self.clone());
        };
        let refuse = |detail: String| {
            Err(PgError::new(
                SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                "numeric field overflow",
            )
            .with_detail(format!(
                "A field with precision {precision}, scale {scale} {detail}"
            )))
        };
        match self {
            NaN => return Ok(NaN),
            Infinity | NegativeInfinity => return refuse("cannot hold an infinite value.".into()),
            Finite(..) => {}
        }
        let fitted = self.round(scale);
        let whole = precision - scale;
        let Finite(value, shown) = &fitted else {
            return Ok(fitted);
        };
        if digits(value) - i64::from(*shown) > i64::from(whole) {
            let limit = match whole {
                0 => "1".to_string(),
                whole => format!("10^{whole}"),
            };
            return refuse(format!(
                "must round to an absolute value less than {limit}."
            ));
        }
        Ok(fitted)
    }
}

/// What a type modifier of numeric says.
pub fn precision_and_scale(typmod: i32) -> Option<(i32, i32)> {
    if typmod < 4 {
        return None;
    }
    let packed = typmod - 4;
    Some(((packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024))
}

/// The modifier of `numeric(precision, scale)` (`numerictypmodin`).
pub fn typmod(modifiers: &[i32]) -> Result<i32, PgError> {
    let invalid = |message: String| PgError::new(SqlState::INVALID_PARAMETER_VALUE, message);
    let (precision, scale) = match modifiers {
        [precision] => (*precision, 0),
        [precision, scale] => (*precision, *scale),
        _ => return Err(invalid("invalid NUMERIC type modifier".into())),
    };
    if !(1..=1000).contains(&precision) {
        return Err(invalid(format!(
            "NUMERIC precision {precision} must be between 1 and 1000"
        )));
    }
    if !(-1000..=1000).contains(&scale) {
        return Err(invalid(format!(
            "NUMERIC scale {scale} must be between -1000 and 1000"
        )));
    }
    Ok(((precision << 16) | (scale & 0x7ff)) + 4)
}
