//! Text, bytes, uuids, and arrays as operators see them.

use super::{Arg, Built, Function, Returns, strict, variadic};
use crate::engine::Halt;
use crate::error::{PgError, SqlState};
use crate::sql::face::Context;
use crate::sql::plan::Cast;
use crate::types::{Datum, Type};

use Arg::Is;
use Type::{Bytea, Int4, Text};

type Answer = Result<Datum, Halt>;

pub(super) const FUNCTIONS: &[Function] = &[
    strict("lower", &[Is(Text)], Returns::Is(Text), |_, args| {
        Ok(Datum::text(str(&args[0]).to_ascii_lowercase()))
    }),
    strict("upper", &[Is(Text)], Returns::Is(Text), |_, args| {
        Ok(Datum::text(str(&args[0]).to_ascii_uppercase()))
    }),
    strict("length", &[Is(Text)], Returns::Is(Int4), char_length),
    strict("length", &[Is(Bytea)], Returns::Is(Int4), octet_length),
    strict("char_length", &[Is(Text)], Returns::Is(Int4), char_length),
    strict(
        "character_length",
        &[Is(Text)],
        Returns::Is(Int4),
        char_length,
    ),
    strict("octet_length", &[Is(Text)], Returns::Is(Int4), octet_length),
    strict(
        "octet_length",
        &[Is(Bytea)],
        Returns::Is(Int4),
        octet_length,
    ),
    strict("btrim", &[Is(Text)], Returns::Is(Text), |context, args| {
        trim(context, args, true, true)
    }),
    strict(
        "btrim",
        &[Is(Text), Is(Text)],
        Returns::Is(Text),
        |context, args| trim(context, args, true, true),
    ),
    strict("ltrim", &[Is(Text)], Returns::Is(Text), |context, args| {
        trim(context, args, true, false)
    }),
    strict(
        "ltrim",
        &[Is(Text), Is(Text)],
        Returns::Is(Text),
        |context, args| trim(context, args, true, false),
    ),
    strict("rtrim", &[Is(Text)], Returns::Is(Text), |context, args| {
        trim(context, args, false, true)
    }),
    strict(
        "rtrim",
        &[Is(Text), Is(Text)],
        Returns::Is(Text),
        |context, args| trim(context, args, false, true),
    ),
    strict(
        "substring",
        &[Is(Text), Is(Int4)],
        Returns::Is(Text),
        substring,
    ),
    strict(
        "substring",
        &[Is(Text), Is(Int4), Is(Int4)],
        Returns::Is(Text),
        substring,
    ),
    strict(
        "substr",
        &[Is(Text), Is(Int4)],
        Returns::Is(Text),
        substring,
    ),
    strict(
        "substr",
        &[Is(Text), Is(Int4), Is(Int4)],
        Returns::Is(Text),
        substring,
    ),
    strict("left", &[Is(Text), Is(Int4)], Returns::Is(Text), left),
    strict("right", &[Is(Text), Is(Int4)], Returns::Is(Text), right),
    strict("repeat", &[Is(Text), Is(Int4)], Returns::Is(Text), repeat),
    strict(
        "replace",
        &[Is(Text), Is(Text), Is(Text)],
        Returns::Is(Text),
        |context, args| {
            let (text, from, to) = (str(&args[0]), str(&args[1]), str(&args[2]));
            if to.len() > from.len() && !from.is_empty() {
                context.spend_bytes(text.matches(from).count() * to.len())?;
            }
            Ok(match from {
                "" => args[0].clone(),
                from => Datum::text(text.replace(from, to)),
            })
        },
    ),
    strict(
        "position",
        &[Is(Text), Is(Text)],
        Returns::Is(Int4),
        |_, args| Ok(position(&args[1], &args[0])),
    ),
    strict(
        "strpos",
        &[Is(Text), Is(Text)],
        Returns::Is(Int4),
        |_, args| Ok(position(&args[0], &args[1])),
    ),
    strict(
        "starts_with",
        &[Is(Text), Is(Text)],
        Returns::Is(Type::Bool),
        |_, args| Ok(Datum::Bool(str(&args[0]).starts_with(str(&args[1])))),
    ),
    strict("reverse", &[Is(Text)], Returns::Is(Text), |_, args| {
        Ok(Datum::text(str(&args[0]).chars().rev().collect::<String>()))
    }),
    variadic("concat", &[Arg::Any], Returns::Is(Text), concat),
];

pub(super) const BUILT: Built = &[
    ("textcat(text,text)", concat_two),
    ("textanycat(text,anynonarray)", concat_any),
    ("anytextcat(anynonarray,text)", concat_any),
    ("textlike(text,text)", like_op),
    ("textnlike(text,text)", not_like_op),
    ("texticlike(text,text)", ilike_op),
    ("texticnlike(text,text)", not_ilike_op),
    ("namelike(name,text)", like_op),
    ("namenlike(name,text)", not_like_op),
    ("nameiclike(name,text)", ilike_op),
    ("nameicnlike(name,text)", not_ilike_op),
    ("bpcharlike(bpchar,text)", like_op),
    ("bpcharnlike(bpchar,text)", not_like_op),
    ("bpchariclike(bpchar,text)", ilike_op),
    ("bpcharicnlike(bpchar,text)", not_ilike_op),
];

fn concat_any(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let mut text = String::new();
    for arg in args {
        // It is a cast, and the cast of boolean differs from its output.
        let cast = Cast::plain(Text).apply(arg.clone(), context.env())?;
        text.push_str(str(&cast));
    }
    Ok(Datum::text(text))
}

fn str(datum: &Datum) -> &str {
    datum.as_str().unwrap_or("")
}

fn char_length(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::Int4(str(&args[0]).chars().count() as i32))
}

fn octet_length(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::Int4(match &args[0] {
        Datum::Bytea(bytes) => bytes.len(),
        text => str(text).len(),
    } as i32))
}

fn trim(context: &mut Context<'_>, args: &[Datum], start: bool, end: bool) -> Answer {
    let set = args.get(1).map_or(" ", str);
    let mut text = str(&args[0]);
    context.spend_bytes(text.len().saturating_mul(set.len() / 32))?;
    if start {
        text = text.trim_start_matches(|c| set.contains(c));
    }
    if end {
        text = text.trim_end_matches(|c| set.contains(c));
    }
    Ok(Datum::text(text))
}

/// Positions count from 1 and may lie outside (`text_substring`).
fn substring(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let from = args[1].as_i64().unwrap_or(1);
    let to = match args.get(2).and_then(Datum::as_i64) {
        Some(length) if length < 0 => {
            return Err(PgError::new(
                "22011".parse().unwrap_or(SqlState::INVALID_PARAMETER_VALUE),
                "negative substring length not allowed",
            )
            .into());
        }
        Some(length) => from + length,
        None => i64::MAX,
    };
    let skip = (from - 1).max(0) as usize;
    let take = (to - 1).max(0).saturating_sub(skip as i64).max(0) as usize;
    Ok(Datum::text(
        str(&args[0])
            .chars()
            .skip(skip)
            .take(take)
            .collect::<String>(),
    ))
}

/// How many characters a count means; negative ones count from the end.
fn count(text: &str, n: i64) -> usize {
    let length = text.chars().count() as i64;
    if n >= 0 {
        n.min(length) as usize
    } else {
        (length + n).max(0) as usize
    }
}

fn left(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let text = str(&args[0]);
    let n = count(text, args[1].as_i64().unwrap_or(0));
    Ok(Datum::text(text.chars().take(n).collect::<String>()))
}

fn right(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let text = str(&args[0]);
    let n = count(text, args[1].as_i64().unwrap_or(0));
    let skip = text.chars().count() - n;
    Ok(Datum::text(text.chars().skip(skip).collect::<String>()))
}

fn repeat(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let n = args[1].as_i64().unwrap_or(0).max(0) as usize;
    let text = str(&args[0]);
    // The limit of a value in PostgreSQL; here memory would be the limit.
    if text.len().saturating_mul(n) > 1 << 28 {
        return Err(PgError::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            "requested length too large",
        )
        .into());
    }
    context.spend_bytes(text.len() * n)?;
    Ok(Datum::text(text.repeat(n)))
}

fn position(text: &Datum, part: &Datum) -> Datum {
    let text = str(text);
    Datum::Int4(match text.find(str(part)) {
        Some(at) => text[..at].chars().count() as i32 + 1,
        None => 0,
    })
}

fn concat(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let mut text = String::new();
    for arg in args.iter().filter(|arg| !arg.is_null()) {
        crate::types::text::write(arg, &mut text);
    }
    Ok(Datum::text(text))
}

pub(super) fn concat_two(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let (left, right) = (str(&args[0]), str(&args[1]));
    context.spend_bytes(left.len() + right.len())?;
    Ok(Datum::text([left, right].concat()))
}

pub(super) fn like_op(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    like(context, str(&args[0]), str(&args[1]), false).map(Datum::Bool)
}

pub(super) fn not_like_op(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    like(context, str(&args[0]), str(&args[1]), false).map(|matches| Datum::Bool(!matches))
}

pub(super) fn ilike_op(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    like(context, str(&args[0]), str(&args[1]), true).map(Datum::Bool)
}

pub(super) fn not_ilike_op(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    like(context, str(&args[0]), str(&args[1]), true).map(|matches| Datum::Bool(!matches))
}

/// LIKE with `\` as the escape.
fn like(
    context: &mut Context<'_>,
    text: &str,
    pattern: &str,
    insensitive: bool,
) -> Result<bool, Halt> {
    let fold = |text: &str| match insensitive {
        true => text.to_ascii_lowercase().chars().collect(),
        false => text.chars().collect::<Vec<char>>(),
    };
    let (text, pattern) = (fold(text), fold(pattern));
    // The place after the last `%`, and what it has swallowed so far.
    let mut restart: Option<(usize, usize)> = None;
    let (mut t, mut p) = (0, 0);
    let mut turns = 0_usize;
    while t < text.len() || p < pattern.len() {
        turns += 1;
        if turns.is_multiple_of(1024) {
            context.spend(64)?;
        }
        let matched = match pattern.get(p) {
            Some('%') => {
                restart = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some('_') => t < text.len(),
            // Only what is reached is looked at.
            Some('\\') if t == text.len() => false,
            Some('\\') => {
                p += 1;
                if p == pattern.len() {
                    return Err(PgError::new(
                        "22025".parse().unwrap_or(SqlState::INVALID_PARAMETER_VALUE),
                        "LIKE pattern must not end with escape character",
                    )
                    .into());
                }
                text[t] == pattern[p]
            }
            Some(c) => t < text.len() && text[t] == *c,
            None => false,
        };
        if matched {
            (t, p) = (t + 1, p + 1);
            continue;
        }
        match restart {
            Some((after, swallowed)) if swallowed < text.len() => {
                restart = Some((after, swallowed + 1));
                (p, t) = (after, swallowed + 1);
            }
            _ => return Ok(false),
        }
    }
    Ok(true)
}
