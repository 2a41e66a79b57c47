//! json and jsonb taken apart: fields, paths, containment, sets of members.
//!
//! A json is read where it stands in its text, so that what comes out is spelled as it went in; a
//! jsonb is a tree. What makes and changes them is `json_make`'s.

use std::sync::Arc;

use super::Built;
use crate::engine::Halt;
use crate::error::{PgError, SqlState};
use crate::sql::face::Context;
use crate::types::json::{Json, elements, key, members, unquote, write_string};
use crate::types::{Datum, Record};

type Answer = Result<Datum, Halt>;

pub(super) const BUILT: Built = &[
    ("json_object_field(json,text)", field),
    ("jsonb_object_field(jsonb,text)", field),
    ("json_object_field_text(json,text)", field_text),
    ("jsonb_object_field_text(jsonb,text)", field_text),
    ("json_array_element(json,int4)", item),
    ("jsonb_array_element(jsonb,int4)", item),
    ("json_array_element_text(json,int4)", item_text),
    ("jsonb_array_element_text(jsonb,int4)", item_text),
    ("json_extract_path(json,_text)", path),
    ("jsonb_extract_path(jsonb,_text)", path),
    ("json_extract_path_text(json,_text)", path_text),
    ("jsonb_extract_path_text(jsonb,_text)", path_text),
    ("jsonb_contains(jsonb,jsonb)", contains),
    ("jsonb_contained(jsonb,jsonb)", contained),
    ("jsonb_exists(jsonb,text)", has_key),
    ("jsonb_exists_any(jsonb,_text)", has_any),
    ("jsonb_exists_all(jsonb,_text)", has_all),
    ("jsonb_typeof(jsonb)", type_of),
    ("json_typeof(json)", type_of),
    ("jsonb_array_length(jsonb)", array_length),
    ("json_array_length(json)", array_length),
    ("jsonb_object_keys(jsonb)", object_keys),
    ("json_object_keys(json)", object_keys),
    ("jsonb_array_elements(jsonb)", array_elements),
    ("json_array_elements(json)", array_elements),
    ("jsonb_array_elements_text(jsonb)", array_elements_text),
    ("json_array_elements_text(json)", array_elements_text),
    ("jsonb_each(jsonb)", each),
    ("json_each(json)", each),
    ("jsonb_each_text(jsonb)", each_text),
    ("json_each_text(json)", each_text),
    ("jsonb_pretty(jsonb)", pretty),
];

/// The value of a jsonb.
pub(super) fn tree(datum: &Datum) -> &Json {
    match datum {
        Datum::Jsonb(json) => json,
        _ => &Json::Null,
    }
}

fn text(datum: &Datum) -> &str {
    datum.as_str().unwrap_or("")
}

fn jsonb(json: &Json) -> Datum {
    Datum::Jsonb(Arc::new(json.clone()))
}

fn json(raw: &str) -> Datum {
    Datum::Json(raw.trim_matches([' ', '\t', '\n', '\r']).into())
}

/// What `->>` gives of a json or jsonb.
fn as_text(datum: &Datum) -> Datum {
    match datum {
        Datum::Jsonb(json) => match &**json {
            Json::Null => Datum::Null,
            Json::String(text) => Datum::text(text.as_str()),
            other => Datum::text(other.to_string()),
        },
        Datum::Json(raw) => match raw.as_bytes().first() {
            Some(b'n') => Datum::Null,
            Some(b'"') => Datum::text(unquote(raw)),
            _ => Datum::text(raw.clone()),
        },
        _ => Datum::Null,
    }
}

fn at_key(datum: &Datum, name: &str) -> Datum {
    match datum {
        Datum::Jsonb(json) => match &**json {
            Json::Object(members) => members.get(&key(name)).map_or(Datum::Null, jsonb),
            _ => Datum::Null,
        },
        // Of equal keys the last one counts.
        Datum::Json(raw) => members(raw)
            .and_then(|members| members.into_iter().rfind(|(known, _)| known == name))
            .map_or(Datum::Null, |(_, value)| json(value)),
        _ => Datum::Null,
    }
}

fn at_index(datum: &Datum, index: i64) -> Datum {
    let place = |len: usize| {
        let index = if index < 0 { index + len as i64 } else { index };
        usize::try_from(index).ok().filter(|place| *place < len)
    };
    match datum {
        Datum::Jsonb(json) => match &**json {
            Json::Array(items) => place(items.len()).map_or(Datum::Null, |at| jsonb(&items[at])),
            Json::Object(_) => Datum::Null,
            // What is neither is stored as an array of one.
            _ => place(1).map_or(Datum::Null, |_| datum.clone()),
        },
        Datum::Json(raw) => match elements(raw) {
            Some(items) => place(items.len()).map_or(Datum::Null, |at| json(items[at])),
            None => Datum::Null,
        },
        _ => Datum::Null,
    }
}

fn field(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(at_key(&args[0], text(&args[1])))
}

fn field_text(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(as_text(&at_key(&args[0], text(&args[1]))))
}

fn item(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(at_index(&args[0], args[1].as_i64().unwrap_or(0)))
}

fn item_text(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(as_text(&at_index(&args[0], args[1].as_i64().unwrap_or(0))))
}

/// An index of a path, as strtoint reads it.
pub(super) fn index(step: &str) -> Option<i64> {
    let trimmed = step.trim_start();
    let value: i32 = trimmed.parse().ok()?;
    Some(value.into())
}

/// Follows a path of keys and indexes.
pub(super) fn follow(datum: &Datum, steps: &[Datum]) -> Datum {
    let mut at = datum.clone();
    for step in steps {
        let Some(step) = step.as_str() else {
            return Datum::Null;
        };
        at = match kind(&at) {
            "object" => at_key(&at, step),
            "array" => index(step).map_or(Datum::Null, |index| at_index(&at, index)),
            _ => return Datum::Null,
        };
        if at.is_null() {
            return at;
        }
    }
    at
}

fn path(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(follow(&args[0], args[1].items()))
}

fn path_text(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(as_text(&follow(&args[0], args[1].items())))
}

/// `JsonbDeepContains`; an array also contains a bare scalar, at the top.
fn deep_contains(outer: &Json, inner: &Json, top: bool) -> bool {
    match (outer, inner) {
        (Json::Object(outer), Json::Object(inner)) => inner.iter().all(|(key, inner)| {
            outer
                .get(key)
                .is_some_and(|outer| deep_contains(outer, inner, false))
        }),
        (Json::Array(outer), Json::Array(inner)) => inner
            .iter()
            .all(|inner| outer.iter().any(|outer| deep_contains(outer, inner, false))),
        (Json::Array(outer), scalar) if top && !matches!(scalar, Json::Object(_)) => {
            outer.contains(scalar)
        }
        (outer, inner) => outer == inner,
    }
}

/// Each value of one may be compared with all of the other.
fn spend_pairs(context: &mut Context<'_>, args: &[Datum]) -> Result<(), PgError> {
    context.spend(args[0].weight().saturating_mul(args[1].weight()))
}

fn contains(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    spend_pairs(context, args)?;
    let found = deep_contains(tree(&args[0]), tree(&args[1]), true);
    Ok(Datum::Bool(found))
}

fn contained(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    spend_pairs(context, args)?;
    let found = deep_contains(tree(&args[1]), tree(&args[0]), true);
    Ok(Datum::Bool(found))
}

fn exists(json: &Json, name: &str) -> bool {
    match json {
        Json::Object(members) => members.contains_key(&key(name)),
        Json::Array(items) => items
            .iter()
            .any(|item| matches!(item, Json::String(text) if text == name)),
        Json::String(text) => text == name,
        _ => false,
    }
}

fn has_key(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::Bool(exists(tree(&args[0]), text(&args[1]))))
}

fn has_any(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    spend_pairs(context, args)?;
    let mut names = args[1].items().iter().filter_map(Datum::as_str);
    Ok(Datum::Bool(names.any(|name| exists(tree(&args[0]), name))))
}

fn has_all(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    spend_pairs(context, args)?;
    let mut names = args[1].items().iter().filter_map(Datum::as_str);
    Ok(Datum::Bool(names.all(|name| exists(tree(&args[0]), name))))
}

/// What kind of value a json or jsonb is.
fn kind(datum: &Datum) -> &'static str {
    match datum {
        Datum::Jsonb(json) => match &**json {
            Json::Null => "null",
            Json::Bool(_) => "boolean",
            Json::Number(_) => "number",
            Json::String(_) => "string",
            Json::Array(_) => "array",
            Json::Object(_) => "object",
        },
        other => {
            let raw = text(other).trim_start_matches([' ', '\t', '\n', '\r']);
            match raw.as_bytes().first() {
                Some(b'{') => "object",
                Some(b'[') => "array",
                Some(b'"') => "string",
                Some(b't' | b'f') => "boolean",
                Some(b'n') => "null",
                _ => "number",
            }
        }
    }
}

fn type_of(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::text(kind(&args[0])))
}

fn refuse(message: String) -> Halt {
    PgError::new(SqlState::INVALID_PARAMETER_VALUE, message).into()
}

/// The elements of an array, as values of the same type.
fn items(datum: &Datum) -> Option<Vec<Datum>> {
    match datum {
        Datum::Jsonb(json) => match &**json {
            Json::Array(items) => Some(items.iter().map(jsonb).collect()),
            _ => None,
        },
        Datum::Json(raw) => Some(elements(raw)?.into_iter().map(json).collect()),
        _ => None,
    }
}

/// The members of an object.
fn pairs(datum: &Datum) -> Option<Vec<(String, Datum)>> {
    match datum {
        Datum::Jsonb(json) => match &**json {
            Json::Object(members) => {
                let pairs = members.iter();
                Some(
                    pairs
                        .map(|((_, key), value)| (key.clone(), jsonb(value)))
                        .collect(),
                )
            }
            _ => None,
        },
        Datum::Json(raw) => {
            let pairs = members(raw)?.into_iter();
            Some(pairs.map(|(key, value)| (key, json(value))).collect())
        }
        _ => None,
    }
}

fn array_length(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    match (items(&args[0]), kind(&args[0])) {
        (Some(items), _) => Ok(Datum::Int4(items.len() as i32)),
        (None, "object") => Err(refuse("cannot get array length of a non-array".into())),
        _ => Err(refuse("cannot get array length of a scalar".into())),
    }
}

fn object_keys(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let name = match &args[0] {
        Datum::Json(_) => "json_object_keys",
        _ => "jsonb_object_keys",
    };
    let what = match kind(&args[0]) {
        "array" => "an array",
        _ => "a scalar",
    };
    let pairs = pairs(&args[0]).ok_or_else(|| refuse(format!("cannot call {name} on {what}")))?;
    Ok(Datum::Array(
        pairs.into_iter().map(|(key, _)| Datum::text(key)).collect(),
    ))
}

fn all_items(datum: &Datum, suffix: &str) -> Result<Vec<Datum>, Halt> {
    let name = match datum {
        Datum::Json(_) => format!("json_array_elements{suffix}"),
        _ => String::new(),
    };
    items(datum).ok_or_else(|| {
        refuse(match (kind(datum), name.as_str()) {
            ("object", "") => "cannot extract elements from an object".into(),
            (_, "") => "cannot extract elements from a scalar".into(),
            ("object", name) => format!("cannot call {name} on a non-array"),
            (_, name) => format!("cannot call {name} on a scalar"),
        })
    })
}

fn array_elements(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::Array(all_items(&args[0], "")?.into()))
}

fn array_elements_text(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let items = all_items(&args[0], "_text")?;
    Ok(Datum::Array(items.iter().map(as_text).collect()))
}

fn all_pairs(datum: &Datum, suffix: &str) -> Result<Vec<(String, Datum)>, Halt> {
    pairs(datum).ok_or_else(|| {
        refuse(match datum {
            Datum::Json(_) if kind(datum) == "array" => {
                "cannot deconstruct an array as an object".into()
            }
            Datum::Json(_) => "cannot deconstruct a scalar".into(),
            _ => format!("cannot call jsonb_each{suffix} on a non-object"),
        })
    })
}

fn rows(pairs: Vec<(String, Datum)>) -> Datum {
    let names: Arc<[Arc<str>]> = ["key".into(), "value".into()].into();
    let row = |(key, value)| {
        Datum::Record(Arc::new(Record {
            names: names.clone(),
            values: vec![Datum::text(key), value],
        }))
    };
    Datum::Array(pairs.into_iter().map(row).collect())
}

fn each(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(rows(all_pairs(&args[0], "")?))
}

fn each_text(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let pairs = all_pairs(&args[0], "_text")?.into_iter();
    Ok(rows(
        pairs.map(|(key, value)| (key, as_text(&value))).collect(),
    ))
}

fn pretty(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    // Deep ones are mostly blanks.
    context.spend(args[0].weight().saturating_mul(8))?;
    let mut out = String::new();
    indent(tree(&args[0]), 0, &mut out);
    Ok(Datum::text(out))
}

/// Four blanks for each level (`JsonbToCStringIndent`).
fn indent(json: &Json, level: usize, out: &mut String) {
    let line = |level: usize, out: &mut String| {
        out.push('\n');
        out.push_str(&" ".repeat(level * 4));
    };
    match json {
        Json::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                out.push_str(if place > 0 { "," } else { "" });
                line(level + 1, out);
                indent(item, level + 1, out);
            }
            line(level, out);
            out.push(']');
        }
        Json::Object(members) => {
            out.push('{');
            for (place, ((_, key), value)) in members.iter().enumerate() {
                out.push_str(if place > 0 { "," } else { "" });
                line(level + 1, out);
                // Writing to a string cannot fail.
                let _ = write_string(out, key);
                out.push_str(": ");
                indent(value, level + 1, out);
            }
            line(level, out);
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}
