//! Roots, logarithms and powers of numerics.
//!
//! They are computed with more digits than they show and rounded once; how many they show is
//! `numeric.c`'s rule, named at each.

use std::cmp::Ordering;

use num_bigint::{BigInt, Sign};

use super::Numeric::{self, Finite, Infinity, NaN, NegativeInfinity};
use super::{
    DISPLAY_MAX, SIGNIFICANT, WEIGHT_MAX, digits, divide_rounded, divide_to, division_scale,
    first_digit, groups, overflow, power_of_ten, rescale,
};
use crate::error::{PgError, SqlState};

/// Roots, logarithms and powers.
impl Numeric {
    /// Square root.
    pub fn sqrt(&self) -> Result<Self, PgError> {
        let Finite(value, scale) = self else {
            return match self {
                NegativeInfinity => Err(negative_root()),
                other => Ok(other.clone()),
            };
        };
        if value.sign() == Sign::Minus {
            return Err(negative_root());
        }
        let (weight, _) = first_digit(value, *scale);
        let wanted = (SIGNIFICANT - (weight * 2 + 1))
            .max((*scale).into())
            .clamp(0, DISPLAY_MAX);
        Ok(Finite(root(value, *scale, wanted), wanted as u32))
    }

    /// The square root at a scale, as the deviation of a sample wants it.
    pub fn sqrt_to(&self, wanted: i64) -> Self {
        match self {
            Finite(value, scale) => Finite(root(value, *scale, wanted), wanted as u32),
            other => other.clone(),
        }
    }

    /// The quotient at the scale that `select_div_scale` gives, and that scale.
    pub fn div_scale(&self, other: &Self) -> i64 {
        match (self, other) {
            (Finite(a, s), Finite(b, t)) => division_scale((a, *s), (b, *t)),
            _ => 0,
        }
    }

    /// The product of all integers from one to another: of halves, so that factors are alike in
    /// length.
    pub fn product(from: i64, to: i64) -> Result<Self, PgError> {
        match to - from {
            ..0 => Ok(1.into()),
            length @ 0..8 => {
                let mut product = Numeric::from(from);
                for factor in from + 1..=from + length {
                    product = product.mul(&factor.into())?;
                }
                Ok(product)
            }
            length => {
                let middle = from + length / 2;
                Self::product(from, middle)?.mul(&Self::product(middle + 1, to)?)
            }
        }
    }

    /// e to this power.
    pub fn exp(&self) -> Result<Self, PgError> {
        let Finite(value, scale) = self else {
            return Ok(match self {
                NegativeInfinity => Self::zero(),
                other => other.clone(),
            });
        };
        let weight = (self.to_f64() * std::f64::consts::LOG10_E).clamp(-2000.0, 2000.0);
        let wanted = (SIGNIFICANT - weight as i64)
            .max((*scale).into())
            .clamp(0, DISPLAY_MAX);
        exp_to(value, *scale, wanted)
    }

    /// Natural logarithm.
    pub fn ln(&self) -> Result<Self, PgError> {
        self.refuse_logarithm()?;
        let Finite(value, scale) = self else {
            return Ok(self.clone());
        };
        let wanted = (SIGNIFICANT - ln_weight(self))
            .max((*scale).into())
            .clamp(0, DISPLAY_MAX);
        Ok(Finite(ln_to(value, *scale, wanted), wanted as u32))
    }

    fn refuse_logarithm(&self) -> Result<(), PgError> {
        let refuse = |what: &str| {
            Err(PgError::new(
                SqlState::INVALID_ARGUMENT_FOR_LOGARITHM,
                format!("cannot take logarithm of {what}"),
            ))
        };
        if self.is_zero() {
            return refuse("zero");
        }
        match self.is_negative() {
            true => refuse("a negative number"),
            false => Ok(()),
        }
    }

    /// Logarithm to a base (`log_var`).
    pub fn log(base: &Self, number: &Self) -> Result<Self, PgError> {
        if matches!(base, NaN) || matches!(number, NaN) {
            return Ok(NaN);
        }
        base.refuse_logarithm()?;
        number.refuse_logarithm()?;
        let (Finite(b, s), Finite(n, t)) = (base, number) else {
            return Ok(match (base, number) {
                (Infinity, Infinity) => NaN,
                (Infinity, _) => Self::zero(),
                _ => Infinity,
            });
        };
        let (base_weight, number_weight) = (ln_weight(base), ln_weight(number));
        let weight = number_weight - base_weight;
        let wanted = (SIGNIFICANT - weight)
            .max((*s).into())
            .max((*t).into())
            .clamp(0, DISPLAY_MAX);
        let inner = wanted + base_weight.abs() + number_weight.abs() + 12;
        let (dividend, divisor) = (ln_to(n, *t, inner), ln_to(b, *s, inner));
        if divisor.sign() == Sign::NoSign {
            return Err(PgError::division_by_zero());
        }
        let inner = inner as u32;
        let quotient = divide_to((&dividend, inner), (&divisor, inner), wanted);
        Self::checked(quotient, wanted)
    }

    /// A power (`numeric_power`, `power_var`).
    pub fn power(&self, exponent: &Self) -> Result<Self, PgError> {
        let domain =
            |message: &str| PgError::new(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message);
        let one = || Ok(Finite(power_of_ten(16), 16));
        let plain_one = || Ok(Self::from(1));
        let complex = "a negative number raised to a non-integer power yields a complex result";
        let undefined = "zero raised to a negative power is undefined";
        let (Finite(base, base_scale), Finite(exp, exp_scale)) = (self, exponent) else {
            return match (self, exponent) {
                (NaN, exponent) if exponent.is_zero() => plain_one(),
                (base, NaN) if base.cmp(&1.into()).is_eq() => plain_one(),
                (NaN, _) | (_, NaN) => Ok(NaN),
                (base, exponent) if exponent.is_finite() => {
                    // The base is infinite.
                    if exponent.is_zero() {
                        return plain_one();
                    }
                    let whole = exponent.trunc(0).cmp(exponent).is_eq();
                    if base.is_negative() && !whole {
                        return Err(domain(complex));
                    }
                    if exponent.is_negative() {
                        return Ok(Self::zero());
                    }
                    let odd = !exponent.rem(&2.into())?.is_zero();
                    Ok(match base.is_negative() && odd {
                        true => NegativeInfinity,
                        false => Infinity,
                    })
                }
                (base, exponent) => {
                    if base.is_zero() && exponent.is_negative() {
                        return Err(domain(undefined));
                    }
                    match (base.abs().cmp(&1.into()), exponent.is_negative()) {
                        (Ordering::Equal, _) => plain_one(),
                        (Ordering::Greater, false) | (Ordering::Less, true) => Ok(Infinity),
                        _ => Ok(Self::zero()),
                    }
                }
            };
        };
        if self.is_zero() && exponent.is_negative() {
            return Err(domain(undefined));
        }
        let whole = exponent.trunc(0).cmp(exponent).is_eq();
        if self.is_negative() && !whole {
            return Err(domain(complex));
        }
        let small = whole
            .then(|| exponent.to_i64())
            .flatten()
            .and_then(|value| i32::try_from(value).ok());
        if let Some(exponent) = small {
            let wanted = SIGNIFICANT.max((*base_scale).into()).min(DISPLAY_MAX);
            return integer_power(base, *base_scale, exponent, wanted);
        }
        if self.is_zero() {
            return Ok(Finite(BigInt::ZERO, 16));
        }
        let magnitude = self.abs();
        if magnitude.cmp(&1.into()).is_eq() {
            return one();
        }
        let base = BigInt::from(base.magnitude().clone());
        let rough_scale = (8 - ln_weight(&magnitude)).clamp(0, DISPLAY_MAX);
        let rough = Finite(ln_to(&base, *base_scale, rough_scale), rough_scale as u32);
        let rough = rough.mul(exponent)?.to_f64();
        if rough.abs() > 2000.0 * 3.01 {
            return match rough > 0.0 {
                true => Err(overflow()),
                false => Ok(Finite(BigInt::ZERO, DISPLAY_MAX as u32)),
            };
        }
        let weight = (rough * std::f64::consts::LOG10_E) as i64;
        let wanted = (SIGNIFICANT - weight)
            .max((*base_scale).into())
            .max((*exp_scale).into())
            .clamp(0, DISPLAY_MAX);
        let inner = wanted + weight.abs() + 20;
        let product = ln_to(&base, *base_scale, inner) * exp;
        let result = exp_to(&product, inner as u32 + exp_scale, wanted)?;
        let odd = self.is_negative() && !exponent.rem(&2.into())?.is_zero();
        Ok(if odd { result.neg() } else { result })
    }
}

fn negative_root() -> PgError {
    PgError::new(
        SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION,
        "cannot take square root of a negative number",
    )
}

fn root(value: &BigInt, scale: u32, wanted: i64) -> BigInt {
    // One digit more, then rounded.
    let inner = (wanted + 1).max(i64::from(scale).div_euclid(2) + 1);
    let radicand = rescale(value, scale.into(), inner * 2);
    rescale(&radicand.sqrt(), inner, wanted)
}

/// `estimate_ln_dweight`.
fn ln_weight(number: &Numeric) -> i64 {
    let Finite(value, scale) = number else {
        return 0;
    };
    let near = |tenths: i32| Finite(BigInt::from(tenths), 1);
    if number.is_negative() || number.is_zero() {
        return 0;
    }
    if number.cmp(&near(9)).is_ge() && number.cmp(&near(11)).is_le() {
        let Ok(Finite(rest, scale)) = number.sub(&1.into()) else {
            return 0;
        };
        if rest.sign() == Sign::NoSign {
            return 0;
        }
        let (weight, first) = first_digit(&rest, scale);
        return weight * 4 + (first as f64).log10() as i64;
    }
    // Two digits in base 10,000 are enough.
    let extra = (digits(value) - 16).max(0) / 4 * 4;
    let leading = value / power_of_ten(extra as u32);
    let parts = groups(&leading, i64::from(*scale) - extra);
    let mut leading = f64::from(parts.digits[0]);
    let mut weight = parts.weight * 4;
    if let Some(second) = parts.digits.get(1) {
        leading = leading * 10_000.0 + f64::from(*second);
        weight -= 4;
    }
    let estimate = leading.ln() + weight as f64 * std::f64::consts::LN_10;
    estimate.abs().log10() as i64
}

/// How many binary digits so many decimal ones take.
fn binary(decimals: i64) -> u64 {
    (decimals.max(0) as f64 * std::f64::consts::LOG2_10) as u64 + 1
}

/// e to a power, rounded to a scale: the argument is halved until the series is short. Numbers are
/// integers times 2^-`point` in between.
fn exp_to(value: &BigInt, scale: u32, wanted: i64) -> Result<Numeric, PgError> {
    let approximate = Finite(value.clone(), scale).to_f64();
    if approximate.abs() >= 2000.0 * 3.0 {
        return match approximate > 0.0 {
            true => Err(overflow()),
            false => Ok(Finite(BigInt::ZERO, wanted as u32)),
        };
    }
    let weight = (approximate * std::f64::consts::LOG10_E).abs() as i64;
    let bits = binary(wanted + weight + 2);
    let halvings = (approximate.abs().max(1.0).log2().ceil() + (bits as f64).sqrt()) as u64;
    let point = bits + 2 * halvings + 64;
    let argument = ((value << point) / power_of_ten(scale)) >> halvings;
    let mut sum = BigInt::from(1) << point;
    let mut term = argument.clone();
    for n in 2_u32.. {
        if term.sign() == Sign::NoSign {
            break;
        }
        sum += &term;
        term = ((term * &argument) >> point) / n;
    }
    for _ in 0..halvings {
        sum = (&sum * &sum) >> point;
    }
    Numeric::checked(rounded(&sum, point, wanted), wanted)
}

/// An integer times 2^-`point` at a decimal scale.
fn rounded(value: &BigInt, point: u64, wanted: i64) -> BigInt {
    divide_rounded(
        &(value * power_of_ten(wanted as u32)),
        &(BigInt::from(1) << point),
    )
}

/// The natural logarithm, rounded to a scale.
fn ln_to(value: &BigInt, scale: u32, wanted: i64) -> BigInt {
    // Powers of ten are taken off what is far from 1.
    let tens = match digits(value) - i64::from(scale) {
        -2..=3 => 0,
        tens => tens,
    };
    let point = binary(wanted + 8) + 64;
    let point = point + 2 * roots(point);
    let shifted = value << point;
    let small = match i64::from(scale) + tens {
        places @ 0.. => shifted / power_of_ten(places as u32),
        places => shifted * power_of_ten(places.unsigned_abs() as u32),
    };
    let mut result = ln_near(small, point);
    if tens != 0 {
        result += ln_near(BigInt::from(10) << point, point) * tens;
    }
    rounded(&result, point, wanted)
}

/// How many roots are taken: as many as make the series short.
fn roots(bits: u64) -> u64 {
    (bits as f64).sqrt() as u64 / 3 + 6
}

/// The logarithm of an integer times 2^-`point`: roots are taken until it is near 1.
fn ln_near(mut argument: BigInt, point: u64) -> BigInt {
    let roots = roots(point);
    for _ in 0..roots {
        argument = (argument << point).sqrt();
    }
    // ln x = 2 artanh((x - 1) / (x + 1)).
    let unit = BigInt::from(1) << point;
    let ratio = ((&argument - &unit) << point) / (argument + unit);
    let square = (&ratio * &ratio) >> point;
    let (mut sum, mut power) = (ratio.clone(), ratio);
    for n in (3_u32..).step_by(2) {
        power = (power * &square) >> point;
        let term = &power / n;
        if term.sign() == Sign::NoSign {
            break;
        }
        sum += term;
    }
    sum << (roots + 1)
}

/// `power_var_int`.
fn integer_power(
    base: &BigInt,
    scale: u32,
    exponent: i32,
    wanted: i64,
) -> Result<Numeric, PgError> {
    match exponent {
        0 => return Ok(Finite(power_of_ten(wanted as u32), wanted as u32)),
        1 => return Numeric::checked(rescale(base, scale.into(), wanted), wanted),
        2 => {
            let square = base * base;
            return Numeric::checked(rescale(&square, i64::from(scale) * 2, wanted), wanted);
        }
        _ => {}
    }
    if base.sign() == Sign::NoSign {
        return Ok(Finite(BigInt::ZERO, wanted as u32));
    }
    // The weight of the result decides whether it overflows or vanishes, and how exact to be.
    let count = digits(base);
    let leading = Finite(base.clone(), (count - 1) as u32).to_f64().abs();
    let weight = (leading.log10() + (count - 1 - i64::from(scale)) as f64) * f64::from(exponent);
    if weight > ((WEIGHT_MAX + 1) * 4) as f64 {
        return Err(overflow());
    }
    if weight + 1.0 < -(wanted as f64) {
        return Ok(Finite(BigInt::ZERO, wanted as u32));
    }
    let precision = (wanted + weight.abs() as i64 + 30).max(40);
    let cut = |value: BigInt, scale: i64| -> (BigInt, i64) {
        match digits(&value) - precision {
            extra @ 1.. => (value / power_of_ten(extra as u32), scale - extra),
            _ => (value, scale),
        }
    };
    let (mut result, mut result_scale) = (BigInt::from(1), 0_i64);
    let (mut square, mut square_scale) = (base.clone(), i64::from(scale));
    let mut bits = exponent.unsigned_abs();
    while bits > 0 {
        if bits & 1 == 1 {
            (result, result_scale) = cut(&result * &square, result_scale + square_scale);
        }
        bits >>= 1;
        if bits > 0 {
            (square, square_scale) = cut(&square * &square, square_scale * 2);
        }
    }
    if exponent > 0 {
        return Numeric::checked(rescale(&result, result_scale, wanted), wanted);
    }
    let shift = wanted + result_scale;
    let inverse = match shift {
        0.. => divide_rounded(&power_of_ten(shift as u32), &result),
        _ => BigInt::ZERO,
    };
    Numeric::checked(inverse, wanted)
}
