//! Settings with units: `250`, `2s`, `1.5 min`, `64MB`.
//!
//! Source: `parse_int`, `convert_int_from_base_unit` in `utils/misc/guc.c`.

use crate::error::{PgError, SqlState};

/// A unit, and how many of the base unit it is.
type Unit = (&'static str, f64);

/// In milliseconds.
pub(super) const TIME: &[Unit] = &[
    ("us", 1e-3),
    ("ms", 1.0),
    ("s", 1e3),
    ("min", 6e4),
    ("h", 3.6e6),
    ("d", 8.64e7),
];

/// In kilobytes.
pub(super) const MEMORY: &[Unit] = &[
    ("B", 1.0 / 1024.0),
    ("kB", 1.0),
    ("MB", 1024.0),
    ("GB", 1_048_576.0),
    ("TB", 1_073_741_824.0),
];

/// 22023 for a value that is a number, but not one of those allowed.
pub(super) fn outside(name: &str, value: &str, (from, to): (i64, i64)) -> PgError {
    PgError::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("{value} is outside the valid range for parameter \"{name}\" ({from} .. {to})"),
    )
}

/// Reads a value into its base unit, which is also what a number without a unit counts.
pub(super) fn read(
    name: &str,
    value: &str,
    units: &[Unit],
    base: &str,
    least: i64,
) -> Result<String, PgError> {
    let invalid = || {
        let message = format!("invalid value for parameter \"{name}\": \"{value}\"");
        PgError::new(SqlState::INVALID_PARAMETER_VALUE, message)
    };
    let text = value.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+')))
        .unwrap_or(text.len());
    let number: f64 = text[..end].parse().map_err(|_| invalid())?;
    let unit = match text[end..].trim() {
        "" => base,
        unit => unit,
    };
    let Some((_, factor)) = units.iter().find(|(known, _)| *known == unit) else {
        let names: Vec<String> = units
            .iter()
            .map(|(unit, _)| format!("\"{unit}\""))
            .collect();
        let (last, first) = names
            .split_last()
            .map_or((String::new(), String::new()), |(l, f)| {
                (l.clone(), f.join(", "))
            });
        let hint = format!("Valid units for this parameter are {first}, and {last}.");
        return Err(invalid().with_hint(hint));
    };
    let number = (number * factor).round_ties_even();
    if number.abs() > f64::from(i32::MAX) {
        return Err(invalid().with_hint("Value exceeds integer range."));
    }
    let number = number as i64;
    if number < least {
        let range = (least, i64::from(i32::MAX));
        return Err(outside(name, &format!("{number} {base}"), range));
    }
    Ok(number.to_string())
}

/// With the largest unit that leaves a whole number.
pub(super) fn show(raw: &str, units: &[Unit], base: &str) -> String {
    let number: i64 = raw.parse().unwrap_or(0);
    if number == 0 {
        return "0".into();
    }
    let whole = |(unit, factor): &Unit| {
        let factor = *factor as i64;
        (factor > 1 && number % factor == 0).then(|| format!("{}{unit}", number / factor))
    };
    let shown = units.iter().rev().find_map(whole);
    shown.unwrap_or_else(|| format!("{number}{base}"))
}
