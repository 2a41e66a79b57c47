//! The binary format of numeric: digits in base 10,000.

use num_bigint::{BigInt, Sign};

use super::Numeric::{self, Finite, Infinity, NaN, NegativeInfinity};
use super::{SCALE_MAX, power_of_ten};
use crate::error::{PgError, SqlState};

/// Base-10,000 digits, the place of the first one, as numeric.c and the wire have them.
pub(super) struct Groups {
    pub(super) digits: Vec<i16>,
    pub(super) weight: i64,
}

impl Numeric {
    /// `numeric_send`: number of digits, weight, sign, scale, digits in base 10,000.
    pub fn to_wire(&self) -> Vec<u8> {
        let (groups, sign, scale) = match self {
            Finite(value, scale) => {
                let sign = if value.sign() == Sign::Minus {
                    0x4000
                } else {
                    0
                };
                (groups(value, (*scale).into()), sign, *scale)
            }
            NaN => (no_groups(), 0xC000, 0),
            Infinity => (no_groups(), 0xD000, 32),
            NegativeInfinity => (no_groups(), 0xF000, 32),
        };
        let mut bytes = Vec::with_capacity(8 + groups.digits.len() * 2);
        bytes.extend((groups.digits.len() as u16).to_be_bytes());
        bytes.extend((groups.weight as i16).to_be_bytes());
        bytes.extend((sign as u16).to_be_bytes());
        bytes.extend((scale as u16).to_be_bytes());
        for digit in groups.digits {
            bytes.extend(digit.to_be_bytes());
        }
        bytes
    }

    /// `numeric_recv`: what `to_wire` writes.
    pub fn from_wire(words: &[i16]) -> Result<Self, PgError> {
        let wrong = |what: &str| {
            PgError::new(
                SqlState::INVALID_BINARY_REPRESENTATION,
                format!("invalid {what} in external \"numeric\" value"),
            )
        };
        let [_, weight, sign, scale, digits @ ..] = words else {
            return Err(wrong("length"));
        };
        match *sign as u16 {
            0xC000 => return Ok(NaN),
            0xD000 => return Ok(Infinity),
            0xF000 => return Ok(NegativeInfinity),
            0 | 0x4000 => {}
            _ => return Err(wrong("sign")),
        }
        if !(0..=SCALE_MAX).contains(&i64::from(*scale)) {
            return Err(wrong("scale"));
        }
        let mut text = Vec::with_capacity(digits.len() * 4);
        for &digit in digits {
            if !(0..10_000).contains(&digit) {
                return Err(wrong("digit"));
            }
            text.extend([1000, 100, 10, 1].map(|unit| (digit / unit % 10) as u8));
        }
        let mut value = BigInt::from_radix_be(Sign::Plus, &text, 10).unwrap_or(BigInt::ZERO);
        if *sign != 0 {
            value = -value;
        }
        let from = 4 * (digits.len() as i64 - 1 - i64::from(*weight));
        // Digits beyond the scale are cut, as truncating to dscale does.
        let value = match i64::from(*scale) - from {
            fewer @ ..0 => value / power_of_ten(fewer.unsigned_abs() as u32),
            more => value * power_of_ten(more as u32),
        };
        Self::checked(value, (*scale).into())
    }
}

fn no_groups() -> Groups {
    Groups {
        digits: Vec::new(),
        weight: 0,
    }
}

pub(super) fn groups(value: &BigInt, scale: i64) -> Groups {
    if value.sign() == Sign::NoSign {
        return no_groups();
    }
    let padding = (-scale).rem_euclid(4);
    let below = (scale + padding) / 4;
    let mut text = value.magnitude().to_radix_be(10);
    text.resize(text.len() + padding as usize, 0);
    let number = |digits: &[u8]| digits.iter().fold(0, |n, digit| n * 10 + i16::from(*digit));
    let mut digits: Vec<i16> = text.rchunks(4).map(number).collect();
    digits.reverse();
    let weight = digits.len() as i64 - 1 - below;
    while digits.last() == Some(&0) {
        digits.pop();
    }
    Groups { digits, weight }
}
