//! Strings put together, cut, padded and quoted.

use super::Built;
use crate::engine::Halt;
use crate::error::{PgError, SqlState};
use crate::sql::face::Context;
use crate::sql::quote::quote_name;
use crate::types::Datum;
use crate::types::text::write_in;

type Answer = Result<Datum, Halt>;

pub(super) const BUILT: Built = &[
    ("concat_ws(text,any)", concat_ws),
    ("format(text,any)", format),
    ("format(text)", format),
    ("split_part(text,text,int4)", split_part),
    ("lpad(text,int4)", lpad),
    ("lpad(text,int4,text)", lpad),
    ("rpad(text,int4)", rpad),
    ("rpad(text,int4,text)", rpad),
    ("translate(text,text,text)", translate),
    ("initcap(text)", initcap),
    ("chr(int4)", chr),
    ("ascii(text)", ascii),
    ("overlay(text,text,int4)", overlay),
    ("overlay(text,text,int4,int4)", overlay),
    ("quote_literal(text)", quote_literal),
    ("quote_nullable(text)", quote_nullable),
    ("num_nulls(any)", num_nulls),
    ("num_nonnulls(any)", num_nonnulls),
    ("like_escape(text,text)", like_escape),
    ("quote_ident(text)", quote_ident),
    ("length(bpchar)", bpchar_length),
    ("char_length(bpchar)", bpchar_length),
    ("character_length(bpchar)", bpchar_length),
    ("octet_length(bpchar)", bpchar_octets),
];

fn str(datum: &Datum) -> &str {
    datum.as_str().unwrap_or("")
}

fn int(datum: &Datum) -> i64 {
    datum.as_i64().unwrap_or(0)
}

fn error(code: SqlState, message: impl Into<String>) -> Halt {
    PgError::new(code, message).into()
}

fn concat_ws(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    if args[0].is_null() {
        return Ok(Datum::Null);
    }
    let mut out = String::new();
    for (place, arg) in args[1..].iter().filter(|arg| !arg.is_null()).enumerate() {
        if place > 0 {
            context.spend_bytes(str(&args[0]).len())?;
            out.push_str(str(&args[0]));
        }
        write_in(arg, &mut out, context.env());
    }
    Ok(Datum::text(out))
}

/// `%s`, `%I`, `%L`, with positions and widths (`text_format`).
fn format(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    if args[0].is_null() {
        return Ok(Datum::Null);
    }
    let mut out = String::new();
    let mut chars = str(&args[0]).chars().peekable();
    let mut next = 1;
    let unterminated = || {
        Halt::from(
            PgError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                "unterminated format() type specifier",
            )
            .with_hint("For a single \"%\" use \"%%\"."),
        )
    };
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if chars.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let mut digits = String::new();
        let left = chars.next_if_eq(&'-').is_some();
        while let Some(digit) = chars.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        let mut position = None;
        let mut left = left;
        if !left && !digits.is_empty() && chars.next_if_eq(&'$').is_some() {
            position = Some(digits.parse::<usize>().unwrap_or(usize::MAX));
            digits.clear();
            left = chars.next_if_eq(&'-').is_some();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
        }
        if chars.peek() == Some(&'*') {
            return Err(PgError::feature_not_supported("format() with a width of *").into());
        }
        let kind = chars.next().ok_or_else(unterminated)?;
        if !matches!(kind, 's' | 'I' | 'L') {
            return Err(PgError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("unrecognized format() type specifier \"{kind}\""),
            )
            .with_hint("For a single \"%\" use \"%%\".")
            .into());
        }
        let place = position.unwrap_or(next);
        if place == 0 {
            return Err(error(
                SqlState::INVALID_PARAMETER_VALUE,
                "format specifies argument 0, but arguments are numbered from 1",
            ));
        }
        next = place + 1;
        let Some(arg) = args.get(place) else {
            return Err(error(
                SqlState::INVALID_PARAMETER_VALUE,
                "too few arguments for format()",
            ));
        };
        let mut text = String::new();
        match (kind, arg.is_null()) {
            ('s', true) => {}
            ('L', true) => text.push_str("NULL"),
            (_, true) => {
                return Err(error(
                    SqlState::NULL_VALUE_NOT_ALLOWED,
                    "null values cannot be formatted as an SQL identifier",
                ));
            }
            (_, false) => write_in(arg, &mut text, context.env()),
        }
        let text = match (kind, arg.is_null()) {
            ('I', _) => quote_name(&text).to_string(),
            ('L', false) => quoted(&text),
            _ => text,
        };
        let width: usize = digits.parse().unwrap_or(0);
        let width = width.min(1 << 20);
        context.spend_bytes(text.len() + width)?;
        let blanks = " ".repeat(width.saturating_sub(text.chars().count()));
        match left {
            true => out.extend([text, blanks]),
            false => out.extend([blanks, text]),
        }
    }
    Ok(Datum::text(out))
}

fn split_part(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let (text, separator, field) = (str(&args[0]), str(&args[1]), int(&args[2]));
    if field == 0 {
        return Err(error(
            SqlState::INVALID_PARAMETER_VALUE,
            "field position must not be zero",
        ));
    }
    if text.is_empty() {
        return Ok(Datum::text(""));
    }
    let parts: Vec<&str> = match separator {
        "" => vec![text],
        separator => text.split(separator).collect(),
    };
    let place = match field {
        1.. => field - 1,
        _ => parts.len() as i64 + field,
    };
    let part = usize::try_from(place)
        .ok()
        .and_then(|place| parts.get(place));
    Ok(Datum::text(*part.unwrap_or(&"")))
}

fn pad(context: &mut Context<'_>, args: &[Datum], left: bool) -> Answer {
    let (text, width) = (str(&args[0]), int(&args[1]).max(0) as usize);
    let fill = args.get(2).map_or(" ", str);
    if width > 1 << 26 {
        return Err(error(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            "requested length too large",
        ));
    }
    let length = text.chars().count();
    let kept: String = text.chars().take(width).collect();
    if length >= width || fill.is_empty() {
        return Ok(Datum::text(kept));
    }
    context.spend_bytes(width)?;
    let padding: String = fill.chars().cycle().take(width - length).collect();
    Ok(Datum::text(match left {
        true => padding + &kept,
        false => kept + &padding,
    }))
}

fn lpad(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    pad(context, args, true)
}

fn rpad(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    pad(context, args, false)
}

fn translate(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let from: Vec<char> = str(&args[1]).chars().collect();
    context.spend_bytes(str(&args[0]).len().saturating_mul(from.len() / 32))?;
    let to: Vec<char> = str(&args[2]).chars().collect();
    let changed =
        str(&args[0])
            .chars()
            .filter_map(|c| match from.iter().position(|known| *known == c) {
                Some(place) => to.get(place).copied(),
                None => Some(c),
            });
    Ok(Datum::text(changed.collect::<String>()))
}

/// Letters of ASCII, as in the C locale.
fn initcap(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let mut inside = false;
    let mut out = String::new();
    for c in str(&args[0]).chars() {
        out.push(match inside {
            true => c.to_ascii_lowercase(),
            false => c.to_ascii_uppercase(),
        });
        inside = c.is_ascii_alphanumeric();
    }
    Ok(Datum::text(out))
}

fn chr(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    match int(&args[0]) {
        0 => Err(error(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            "null character not permitted",
        )),
        ..0 => Err(error(
            SqlState::INVALID_PARAMETER_VALUE,
            "character number must be positive",
        )),
        number => match u32::try_from(number).ok().and_then(char::from_u32) {
            Some(c) => Ok(Datum::text(c.to_string())),
            None if number > 0x10_ffff => Err(error(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("requested character too large for encoding: {number}"),
            )),
            None => Err(error(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("requested character not valid for encoding: {number}"),
            )),
        },
    }
}

fn ascii(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let first = str(&args[0]).chars().next();
    Ok(Datum::Int4(first.map_or(0, |c| c as i32)))
}

fn overlay(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let (text, new, from) = (str(&args[0]), str(&args[1]), int(&args[2]));
    let length = args.get(3).map_or(new.chars().count() as i64, int);
    if from <= 0 {
        return Err(error(
            SqlState::SUBSTRING_ERROR,
            "negative substring length not allowed",
        ));
    }
    let before: String = text.chars().take(from as usize - 1).collect();
    let rest = (from - 1 + length).max(0) as usize;
    let after: String = text.chars().skip(rest).collect();
    Ok(Datum::text(format!("{before}{new}{after}")))
}

/// A string as a constant of SQL.
fn quoted(text: &str) -> String {
    let escape = if text.contains('\\') { "E" } else { "" };
    let doubled = text.replace('\'', "''").replace('\\', "\\\\");
    format!("{escape}'{doubled}'")
}

fn quote_literal(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::text(quoted(str(&args[0]))))
}

fn quote_nullable(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::text(match args[0].is_null() {
        true => "NULL".into(),
        false => quoted(str(&args[0])),
    }))
}

fn quote_ident(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::text(quote_name(str(&args[0])).to_string()))
}

/// Blanks at the end do not count.
fn bpchar_length(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let trimmed = str(&args[0]).trim_end_matches(' ');
    Ok(Datum::Int4(trimmed.chars().count() as i32))
}

fn bpchar_octets(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::Int4(str(&args[0]).len() as i32))
}

fn num_nulls(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let count = args.iter().filter(|arg| arg.is_null()).count();
    Ok(Datum::Int4(count as i32))
}

fn num_nonnulls(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let count = args.iter().filter(|arg| !arg.is_null()).count();
    Ok(Datum::Int4(count as i32))
}

/// A pattern of LIKE with another escape, in terms of the backslash (`like_escape`).
fn like_escape(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let (pattern, escape) = (str(&args[0]), str(&args[1]));
    let mut letters = escape.chars();
    let (escape, more) = (letters.next(), letters.next());
    if more.is_some() {
        return Err(
            PgError::new(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape string")
                .with_hint("Escape string must be empty or one character.")
                .into(),
        );
    }
    if escape == Some('\\') {
        return Ok(args[0].clone());
    }
    let mut out = String::new();
    let mut after = false;
    for c in pattern.chars() {
        if Some(c) == escape && !after {
            out.push('\\');
            after = true;
            continue;
        }
        if c == '\\' && !after {
            out.push('\\');
        }
        out.push(c);
        after = false;
    }
    Ok(Datum::text(out))
}
