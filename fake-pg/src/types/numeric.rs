//! numeric: exact decimals of any length, with PostgreSQL's scales.
//!
//! A value is an integer and how many of its digits stand behind the point, which is what it shows
//! (`dscale`). How many digits a quotient or a root gets depends on the position of the first digit
//! in base 10,000, as in `numeric.c`, whose functions are named at each rule.

mod digits;
mod power;
mod typmod;
mod wire;

use std::cmp::Ordering;
use std::fmt;

use num_bigint::{BigInt, BigUint, Sign};

pub use typmod::{precision_and_scale, typmod};

use digits::{digits, first_digit, logarithm, power_of_ten};
use wire::groups;

use crate::error::{PgError, SqlState};

/// `NUMERIC_MIN_SIG_DIGITS`.
const SIGNIFICANT: i64 = 16;
/// `NUMERIC_MAX_DISPLAY_SCALE`, which is also the greatest precision of a column.
const DISPLAY_MAX: i64 = 1000;
/// `NUMERIC_DSCALE_MAX`.
const SCALE_MAX: i64 = 16383;
/// `NUMERIC_WEIGHT_MAX`: the first digit's place in base 10,000.
const WEIGHT_MAX: i64 = 32767;

/// A value of type numeric.
#[derive(Clone, Debug)]
pub enum Numeric {
    /// -Infinity.
    NegativeInfinity,
    /// `value` × 10^-`scale`.
    Finite(BigInt, u32),
    /// Infinity.
    Infinity,
    /// NaN, above all others and equal to itself.
    NaN,
}

use Numeric::{Finite, Infinity, NaN, NegativeInfinity};

/// Division that rounds halves away from zero.
fn divide_rounded(dividend: &BigInt, divisor: &BigInt) -> BigInt {
    let negative = (dividend.sign() == Sign::Minus) != (divisor.sign() == Sign::Minus);
    let (dividend, divisor) = (dividend.magnitude(), divisor.magnitude());
    let quotient: BigUint = (dividend * 2_u32 + divisor) / (divisor * 2_u32);
    let quotient = BigInt::from(quotient);
    if negative { -quotient } else { quotient }
}

/// A value at another scale, rounded if digits go.
fn rescale(value: &BigInt, from: i64, to: i64) -> BigInt {
    match to - from {
        0 => value.clone(),
        more @ 1.. => value * power_of_ten(more as u32),
        fewer => divide_rounded(value, &power_of_ten(fewer.unsigned_abs() as u32)),
    }
}

fn overflow() -> PgError {
    PgError::new(
        SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
        "value overflows numeric format",
    )
}

/// `select_div_scale`.
fn division_scale(a: (&BigInt, u32), b: (&BigInt, u32)) -> i64 {
    let (weight_a, first_a) = first_digit(a.0, a.1);
    let (weight_b, first_b) = first_digit(b.0, b.1);
    let mut weight = weight_a - weight_b;
    if first_a <= first_b {
        weight -= 1;
    }
    (SIGNIFICANT - weight * 4)
        .max(a.1.into())
        .max(b.1.into())
        .clamp(0, DISPLAY_MAX)
}

impl Numeric {
    /// Zero without digits behind the point.
    pub fn zero() -> Self {
        Finite(BigInt::ZERO, 0)
    }

    /// Whether it is neither infinite nor NaN.
    pub fn is_finite(&self) -> bool {
        matches!(self, Finite(..))
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        matches!(self, Finite(value, _) if value.sign() == Sign::NoSign)
    }

    /// Whether it is below zero.
    pub fn is_negative(&self) -> bool {
        match self {
            Finite(value, _) => value.sign() == Sign::Minus,
            NegativeInfinity => true,
            _ => false,
        }
    }

    /// How many steps of a statement's budget arithmetic on it takes: few are long enough to count.
    pub fn weight(&self) -> usize {
        match self {
            Finite(value, _) => {
                let words = value.bits() as usize / 64;
                words * words / 64
            }
            _ => 0,
        }
    }

    /// How many digits it shows.
    pub fn digits(&self) -> u32 {
        match self {
            Finite(value, scale) => (*scale).max(digits(value) as u32),
            _ => 0,
        }
    }

    /// How many digits it shows behind the point.
    pub fn scale(&self) -> Option<u32> {
        match self {
            Finite(_, scale) => Some(*scale),
            _ => None,
        }
    }

    /// Refuses what has no place in PostgreSQL's format (`make_result`).
    fn checked(value: BigInt, scale: i64) -> Result<Self, PgError> {
        let (value, scale) = match scale {
            ..=SCALE_MAX => (value, scale),
            _ => (rescale(&value, scale, SCALE_MAX), SCALE_MAX),
        };
        if (digits(&value) - 1 - scale).div_euclid(4) > WEIGHT_MAX {
            return Err(overflow());
        }
        Ok(Finite(value, scale as u32))
    }

    /// Reads digits, a point, an exponent; `None` if it is not a number (`set_var_from_str`).
    pub fn parse(text: &str) -> Option<Result<Self, PgError>> {
        let text = text.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
        match text.to_ascii_lowercase().as_str() {
            "nan" => return Some(Ok(NaN)),
            "inf" | "+inf" | "infinity" | "+infinity" => return Some(Ok(Infinity)),
            "-inf" | "-infinity" => return Some(Ok(NegativeInfinity)),
            _ => {}
        }
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                let plain = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                if plain.is_empty() || !plain.bytes().all(|b| b.is_ascii_digit()) {
                    return None;
                }
                (mantissa, exponent.parse::<i64>().unwrap_or(i64::MAX))
            }
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [whole, fraction].concat();
        if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        if exponent.abs() >= i64::from(i32::MAX / 2) {
            return Some(Err(overflow()));
        }
        let scale = fraction.len() as i64 - exponent;
        // Zeros at the start do not count, and what has too many digits is not read.
        let all = all.trim_start_matches('0');
        let whole = all.len() as i64 - scale;
        if scale > SCALE_MAX || !all.is_empty() && whole > (WEIGHT_MAX + 1) * 4 {
            return Some(Err(overflow()));
        }
        let value = match all {
            "" => BigInt::ZERO,
            all => BigInt::parse_bytes(all.as_bytes(), 10)?,
        };
        let value = if negative { -value } else { value };
        if scale >= 0 {
            return Some(Self::checked(value, scale));
        }
        let value = match value.sign() {
            Sign::NoSign => value,
            _ => value * power_of_ten(scale.unsigned_abs() as u32),
        };
        Some(Self::checked(value, 0))
    }

    /// As `float8_numeric` does: by its first digits, 15 of a float8 and 6 of a float4.
    pub fn from_float(value: f64, significant: usize) -> Self {
        if value.is_nan() {
            return NaN;
        }
        if value.is_infinite() {
            return if value > 0.0 {
                Infinity
            } else {
                NegativeInfinity
            };
        }
        let text = format!("{value:.*e}", significant - 1);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        // %g drops zeros at the end, before the exponent is applied.
        let trimmed = match mantissa.contains('.') {
            true => mantissa.trim_end_matches('0').trim_end_matches('.'),
            false => mantissa,
        };
        match Self::parse(&format!("{trimmed}e{exponent}")) {
            Some(Ok(value)) => value,
            _ => Self::zero(),
        }
    }

    /// The nearest float8.
    pub fn to_f64(&self) -> f64 {
        match self {
            NaN => f64::NAN,
            Infinity => f64::INFINITY,
            NegativeInfinity => f64::NEG_INFINITY,
            Finite(..) => self.to_string().parse().unwrap_or(f64::NAN),
        }
    }

    /// Rounded to an integer, if it fits; `None` for what is not finite, too.
    pub fn to_i64(&self) -> Option<i64> {
        match self {
            Finite(value, scale) => rescale(value, (*scale).into(), 0).try_into().ok(),
            _ => None,
        }
    }

    /// The integer part and the digits behind the point.
    pub fn parts(&self) -> Option<(&BigInt, u32)> {
        match self {
            Finite(value, scale) => Some((value, *scale)),
            _ => None,
        }
    }

    /// Sum.
    pub fn add(&self, other: &Self) -> Result<Self, PgError> {
        match (self, other) {
            (Finite(a, s), Finite(b, t)) => {
                let scale = i64::from(*s.max(t));
                let sum = rescale(a, (*s).into(), scale) + rescale(b, (*t).into(), scale);
                Self::checked(sum, scale)
            }
            (NaN, _) | (_, NaN) => Ok(NaN),
            (Infinity, NegativeInfinity) | (NegativeInfinity, Infinity) => Ok(NaN),
            (Finite(..), infinite) | (infinite, _) => Ok(infinite.clone()),
        }
    }

    /// The same with the other sign.
    pub fn neg(&self) -> Self {
        match self {
            Finite(value, scale) => Finite(-value, *scale),
            Infinity => NegativeInfinity,
            NegativeInfinity => Infinity,
            NaN => NaN,
        }
    }

    /// Without its sign.
    pub fn abs(&self) -> Self {
        if self.is_negative() {
            self.neg()
        } else {
            self.clone()
        }
    }

    /// Difference.
    pub fn sub(&self, other: &Self) -> Result<Self, PgError> {
        self.add(&other.neg())
    }

    fn sign(&self) -> i32 {
        match self {
            Finite(value, _) if value.sign() == Sign::NoSign => 0,
            _ if self.is_negative() => -1,
            _ => 1,
        }
    }

    /// -1, 0 or 1, or NaN.
    pub fn signum(&self) -> Self {
        match self {
            NaN => NaN,
            _ => self.sign().into(),
        }
    }

    fn infinite(sign: i32) -> Self {
        match sign {
            ..0 => NegativeInfinity,
            0 => NaN,
            _ => Infinity,
        }
    }

    /// Product.
    pub fn mul(&self, other: &Self) -> Result<Self, PgError> {
        match (self, other) {
            (Finite(a, s), Finite(b, t)) => Self::checked(a * b, i64::from(*s) + i64::from(*t)),
            (NaN, _) | (_, NaN) => Ok(NaN),
            _ => Ok(Self::infinite(self.sign() * other.sign())),
        }
    }

    /// Quotient.
    pub fn div(&self, other: &Self) -> Result<Self, PgError> {
        match (self, other) {
            (NaN, _) | (_, NaN) => Ok(NaN),
            (Finite(a, s), Finite(b, t)) => {
                if other.is_zero() {
                    return Err(PgError::division_by_zero());
                }
                let scale = division_scale((a, *s), (b, *t));
                Self::checked(divide_to((a, *s), (b, *t), scale), scale)
            }
            (_, Finite(..)) if other.is_zero() => Err(PgError::division_by_zero()),
            (_, Finite(..)) => Ok(Self::infinite(self.sign() * other.sign())),
            (Finite(..), _) => Ok(Self::zero()),
            _ => Ok(NaN),
        }
    }

    /// The quotient's integer part (`numeric_div_trunc`).
    pub fn div_trunc(&self, other: &Self) -> Result<Self, PgError> {
        match (self, other) {
            (Finite(a, s), Finite(b, t)) if !other.is_zero() => {
                let scale = i64::from(*s.max(t));
                let (a, b) = (
                    rescale(a, (*s).into(), scale),
                    rescale(b, (*t).into(), scale),
                );
                Self::checked(a / b, 0)
            }
            _ => self.div(other),
        }
    }

    /// What division leaves, with the dividend's sign.
    pub fn rem(&self, other: &Self) -> Result<Self, PgError> {
        match (self, other) {
            (NaN, _) | (_, NaN) => Ok(NaN),
            (_, Finite(..)) if other.is_zero() => Err(PgError::division_by_zero()),
            (Finite(a, s), Finite(b, t)) => {
                let scale = i64::from(*s.max(t));
                let (a, b) = (
                    rescale(a, (*s).into(), scale),
                    rescale(b, (*t).into(), scale),
                );
                Self::checked(a % b, scale)
            }
            (Finite(..), _) => Ok(self.clone()),
            _ => Ok(NaN),
        }
    }

    /// Rounded to so many digits behind the point, or before it if negative; halves away from zero.
    pub fn round(&self, scale: i32) -> Self {
        self.cut(scale, rescale)
    }

    /// Cut to so many digits.
    pub fn trunc(&self, scale: i32) -> Self {
        self.cut(scale, |value, from, to| match to - from {
            fewer @ ..0 => value / power_of_ten(fewer.unsigned_abs() as u32),
            _ => rescale(value, from, to),
        })
    }

    fn cut(&self, scale: i32, cut: fn(&BigInt, i64, i64) -> BigInt) -> Self {
        let Finite(value, from) = self else {
            return self.clone();
        };
        // NUMERIC_MAX_RESULT_SCALE.
        let scale = i64::from(scale).clamp(-2000, 2000);
        let value = cut(value, (*from).into(), scale);
        match scale {
            0.. => Finite(value, scale as u32),
            _ => Finite(rescale(&value, scale, 0), 0),
        }
    }

    /// The next integer upwards, or downwards.
    pub fn whole(&self, up: bool) -> Self {
        let truncated = self.trunc(0);
        let exact = truncated.cmp(self) == Ordering::Equal;
        match (truncated, exact, up, self.is_negative()) {
            (Finite(value, _), false, true, false) => Finite(value + 1, 0),
            (Finite(value, _), false, false, true) => Finite(value - 1, 0),
            (truncated, ..) => truncated,
        }
    }

    /// Without zeros at the end (`numeric_trim_scale`).
    pub fn trim_scale(&self) -> Self {
        let Finite(value, scale) = self else {
            return self.clone();
        };
        let (mut value, mut scale) = (value.clone(), *scale);
        if value.sign() == Sign::NoSign {
            return Finite(value, 0);
        }
        // What 10^n divides, 2^n divides.
        for step in (0..14).rev().map(|bit| 1_u32 << bit) {
            if step > scale || value.trailing_zeros() < Some(step.into()) {
                continue;
            }
            let divisor = power_of_ten(step);
            let quotient = &value / &divisor;
            if &quotient * divisor == value {
                (value, scale) = (quotient, scale - step);
            }
        }
        Finite(value, scale)
    }
}

/// A quotient rounded to a scale.
fn divide_to(a: (&BigInt, u32), b: (&BigInt, u32), scale: i64) -> BigInt {
    // a / 10^s ÷ b / 10^t, times 10^scale.
    match scale + i64::from(b.1) - i64::from(a.1) {
        up @ 0.. => divide_rounded(&(a.0 * power_of_ten(up as u32)), b.0),
        down => divide_rounded(a.0, &(b.0 * power_of_ten(down.unsigned_abs() as u32))),
    }
}

impl From<i64> for Numeric {
    fn from(value: i64) -> Self {
        Finite(value.into(), 0)
    }
}

impl From<i32> for Numeric {
    fn from(value: i32) -> Self {
        Finite(value.into(), 0)
    }
}

impl Ord for Numeric {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Finite(a, s), Finite(b, t)) if s == t => a.cmp(b),
            (Finite(a, s), Finite(b, t)) => {
                if self.sign() != other.sign() || self.is_zero() {
                    return self.sign().cmp(&other.sign());
                }
                // Most differ in their first digits.
                let size =
                    |value: &BigInt, scale: &u32| logarithm(value.magnitude()) - f64::from(*scale);
                let apart = size(a, s) - size(b, t);
                if apart.abs() > 1e-6 {
                    let order = apart.total_cmp(&0.0);
                    return if self.is_negative() {
                        order.reverse()
                    } else {
                        order
                    };
                }
                let scale = i64::from(*s.max(t));
                rescale(a, (*s).into(), scale).cmp(&rescale(b, (*t).into(), scale))
            }
            _ => {
                let rank = |value: &Self| match value {
                    NegativeInfinity => 0,
                    Finite(..) => 1,
                    Infinity => 2,
                    NaN => 3,
                };
                rank(self).cmp(&rank(other))
            }
        }
    }
}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Numeric {}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NaN => f.write_str("NaN"),
            Infinity => f.write_str("Infinity"),
            NegativeInfinity => f.write_str("-Infinity"),
            Finite(value, 0) => write!(f, "{value}"),
            Finite(value, scale) => {
                let digits = value.magnitude().to_string();
                let width = *scale as usize + 1;
                let padded = format!("{digits:0>width$}");
                let (whole, fraction) = padded.split_at(padded.len() - *scale as usize);
                let sign = if value.sign() == Sign::Minus { "-" } else { "" };
                write!(f, "{sign}{whole}.{fraction}")
            }
        }
    }
}
