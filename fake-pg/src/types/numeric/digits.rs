//! Decimal digits of binary integers: powers of ten, how many digits there are, which is the first.
//!
//! Long ones are not looked at whole where their first words tell. The last long powers of ten are
//! kept, one set for each thread: what has so many digits comes in numbers of the same length.

use std::cell::RefCell;

use num_bigint::{BigInt, BigUint, Sign};

/// From which exponent on powers are kept, and how many.
const KEPT_FROM: u32 = 256;
const KEPT_MAX: usize = 16;

thread_local! {
    static POWERS: RefCell<Vec<(u32, BigInt)>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn power_of_ten(exponent: u32) -> BigInt {
    if exponent < KEPT_FROM {
        return BigInt::from(10).pow(exponent);
    }
    POWERS.with_borrow_mut(|powers| {
        if let Some((_, power)) = powers.iter().find(|(known, _)| *known == exponent) {
            return power.clone();
        }
        let power = BigInt::from(10).pow(exponent);
        if powers.len() == KEPT_MAX {
            powers.remove(0);
        }
        powers.push((exponent, power.clone()));
        power
    })
}

/// How many decimal digits an integer has; none for zero.
pub(super) fn digits(value: &BigInt) -> i64 {
    let estimate = logarithm(value.magnitude());
    let near = estimate.round();
    match value.sign() {
        Sign::NoSign => 0,
        // Only next to a power of ten is it worth a look at all digits.
        _ if (estimate - near).abs() < 1e-6 => {
            let less = value.magnitude() < power_of_ten(near as u32).magnitude();
            near as i64 + i64::from(!less)
        }
        _ => estimate.floor() as i64 + 1,
    }
}

/// The decimal logarithm, from the first 64 bits or more.
pub(super) fn logarithm(value: &BigUint) -> f64 {
    let mut words = value.iter_u64_digits().rev();
    let mut leading = words.next().unwrap_or(0) as f64;
    let mut rest = words.len();
    if let Some(word) = words.next() {
        leading = leading * WORD + word as f64;
        rest -= 1;
    }
    leading.log10() + rest as f64 * WORD.log10()
}

/// What a word of 64 bits counts to.
const WORD: f64 = 18_446_744_073_709_551_616.0;

/// The place of the first digit in base 10,000, and that digit.
pub(super) fn first_digit(value: &BigInt, scale: u32) -> (i64, i64) {
    let count = digits(value);
    if count == 0 {
        return (0, 0);
    }
    let exponent = count - 1 - i64::from(scale);
    let (weight, leading) = (exponent.div_euclid(4), exponent.rem_euclid(4) + 1);
    let shifted = 10_f64.powf(logarithm(value.magnitude()) - (count - leading) as f64);
    // Only next to an integer is it worth a look at all digits.
    if (shifted - shifted.round()).abs() > 1e-4 {
        return (weight, shifted as i64);
    }
    let magnitude = BigInt::from(value.magnitude().clone());
    let first = match count - leading {
        below @ 0.. => magnitude / power_of_ten(below as u32),
        above => magnitude * power_of_ten(above.unsigned_abs() as u32),
    };
    (weight, i64::try_from(first).unwrap_or(0))
}
