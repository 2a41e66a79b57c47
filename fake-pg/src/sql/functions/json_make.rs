//! json and jsonb made of other values, and changed.
//!
//! Source: json.c and jsonb.c (`datum_to_json`, `datum_to_jsonb`), and the setters of jsonfuncs.c.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::Built;
use super::json::{index, tree};
use crate::engine::Halt;
use crate::error::{PgError, SqlState};
use crate::sql::face::Context;
use crate::types::datetime::{self, is_infinite};
use crate::types::json::{self, Json, key, write_string};
use crate::types::numeric::Numeric;
use crate::types::{Datum, Env};

type Answer = Result<Datum, Halt>;

pub(super) const BUILT: Built = &[
    ("to_jsonb(anyelement)", to_jsonb),
    ("to_json(anyelement)", to_json),
    ("row_to_json(record)", to_json),
    ("array_to_json(anyarray)", to_json),
    ("jsonb_build_object(any)", jsonb_build_object),
    ("jsonb_build_object()", jsonb_build_object),
    ("jsonb_build_array(any)", jsonb_build_array),
    ("jsonb_build_array()", jsonb_build_array),
    ("json_build_object(any)", json_build_object),
    ("json_build_object()", json_build_object),
    ("json_build_array(any)", json_build_array),
    ("json_build_array()", json_build_array),
    ("jsonb_object(_text)", jsonb_object),
    ("jsonb_object(_text,_text)", jsonb_object),
    ("jsonb_delete(jsonb,text)", delete_key),
    ("jsonb_delete(jsonb,_text)", delete_keys),
    ("jsonb_delete(jsonb,int4)", delete_index),
    ("jsonb_delete_path(jsonb,_text)", delete_path),
    ("jsonb_concat(jsonb,jsonb)", concat),
    ("jsonb_set(jsonb,_text,jsonb,bool)", set),
    ("jsonb_insert(jsonb,_text,jsonb,bool)", insert),
    ("jsonb_strip_nulls(jsonb)", strip_nulls),
];

fn jsonb(json: Json) -> Datum {
    Datum::Jsonb(Arc::new(json))
}

fn refuse(code: SqlState, message: impl Into<String>) -> Halt {
    PgError::new(code, message).into()
}

/// A date or time in ISO 8601, with a T.
fn moment(datum: &Datum, env: Env) -> Option<String> {
    let mut out = String::new();
    match datum {
        Datum::Timestamptz(at) if !is_infinite(*at) => {
            // Writing to a string cannot fail.
            let _ = datetime::write_timestamptz(&mut out, *at, env.zone);
            let out = out.replacen(' ', "T", 1);
            // ISO 8601 wants the minutes of the offset, too.
            Some(match out.rfind(['+', '-']) {
                Some(sign) if !out[sign..].contains(':') && !out.ends_with("BC") => {
                    format!("{out}:00")
                }
                _ => out,
            })
        }
        Datum::Timestamp(_) => Some(datum.to_string().replacen(' ', "T", 1)),
        _ => None,
    }
}

/// The rows of an array of several dimensions: arrays of one less.
fn inner(datum: &Datum) -> Vec<Datum> {
    let Datum::Matrix(matrix) = datum else {
        return datum.items().to_vec();
    };
    let [(outer, _), rest @ ..] = &matrix.dimensions[..] else {
        return Vec::new();
    };
    if rest.is_empty() {
        return matrix.items.to_vec();
    }
    let each = matrix.items.len() / (*outer).max(1) as usize;
    let parts = matrix.items.chunks(each.max(1));
    parts
        .map(|part| Datum::array(rest.to_vec(), part.to_vec()))
        .collect()
}

/// A column's name in a row.
fn column(names: &[Arc<str>], place: usize) -> String {
    match names.get(place) {
        Some(name) => name.to_string(),
        None => format!("f{}", place + 1),
    }
}

/// Any value as jsonb.
pub(crate) fn to_tree(datum: &Datum, env: Env) -> Result<Json, PgError> {
    Ok(match datum {
        Datum::Null => Json::Null,
        Datum::Bool(value) => Json::Bool(*value),
        Datum::Numeric(value) if value.is_finite() => Json::Number(Numeric::clone(value)),
        Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) => {
            Json::Number(datum.as_i64().unwrap_or(0).into())
        }
        Datum::Float8(_) | Datum::Float4(_) if datum.as_f64().is_some_and(f64::is_finite) => {
            match Numeric::parse(&datum.to_string()) {
                Some(number) => Json::Number(number?),
                None => Json::Null,
            }
        }
        Datum::Json(text) => json::parse(text)?,
        Datum::Jsonb(json) => Json::clone(json),
        Datum::Array(_) | Datum::Matrix(_) => {
            let items: Result<Vec<Json>, PgError> =
                inner(datum).iter().map(|item| to_tree(item, env)).collect();
            Json::Array(items?)
        }
        Datum::Record(record) => {
            let mut members = BTreeMap::new();
            for (place, value) in record.values.iter().enumerate() {
                members.insert(key(&column(&record.names, place)), to_tree(value, env)?);
            }
            Json::Object(members)
        }
        other => Json::String(moment(other, env).unwrap_or_else(|| other.to_string())),
    })
}

/// Any value as json, appended.
pub(crate) fn write_json(datum: &Datum, env: Env, out: &mut String) {
    match datum {
        Datum::Null => out.push_str("null"),
        Datum::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Datum::Json(_) | Datum::Jsonb(_) | Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) => {
            let _ = write!(out, "{datum}");
        }
        Datum::Numeric(value) if value.is_finite() => {
            let _ = write!(out, "{datum}");
        }
        Datum::Float8(_) | Datum::Float4(_) if datum.as_f64().is_some_and(f64::is_finite) => {
            let _ = write!(out, "{datum}");
        }
        Datum::Array(_) | Datum::Matrix(_) => {
            out.push('[');
            for (place, item) in inner(datum).iter().enumerate() {
                out.push_str(if place > 0 { "," } else { "" });
                write_json(item, env, out);
            }
            out.push(']');
        }
        Datum::Record(record) => {
            out.push('{');
            for (place, value) in record.values.iter().enumerate() {
                out.push_str(if place > 0 { "," } else { "" });
                let _ = write_string(out, &column(&record.names, place));
                out.push(':');
                write_json(value, env, out);
            }
            out.push('}');
        }
        other => {
            let text = moment(other, env).unwrap_or_else(|| other.to_string());
            let _ = write_string(out, &text);
        }
    }
}

fn to_jsonb(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(jsonb(to_tree(&args[0], context.env())?))
}

fn to_json(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let mut out = String::new();
    write_json(&args[0], context.env(), &mut out);
    Ok(Datum::Json(out.into()))
}

/// A value as a key.
pub(crate) fn key_text(datum: &Datum) -> Result<String, PgError> {
    match datum {
        Datum::Array(_)
        | Datum::Matrix(_)
        | Datum::Record(_)
        | Datum::Json(_)
        | Datum::Jsonb(_) => Err(PgError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            "key value must be scalar, not array, composite, or json",
        )),
        Datum::Bool(value) => Ok(value.to_string()),
        other => Ok(moment(other, Env::default()).unwrap_or_else(|| other.to_string())),
    }
}

fn check_pairs(args: &[Datum], name: &str) -> Result<(), Halt> {
    if args.len().is_multiple_of(2) {
        return Ok(());
    }
    Err(PgError::new(
        SqlState::INVALID_PARAMETER_VALUE,
        "argument list must have even number of elements",
    )
    .with_hint(format!(
        "The arguments of {name}() must consist of alternating keys and values."
    ))
    .into())
}

fn jsonb_build_object(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    check_pairs(args, "jsonb_build_object")?;
    let mut members = BTreeMap::new();
    for (place, pair) in args.chunks(2).enumerate() {
        if pair[0].is_null() {
            return Err(refuse(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("argument {}: key must not be null", place * 2 + 1),
            ));
        }
        let name = key_text(&pair[0])?;
        members.insert(key(&name), to_tree(&pair[1], context.env())?);
    }
    Ok(jsonb(Json::Object(members)))
}

fn jsonb_build_array(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let items: Result<Vec<Json>, PgError> = args
        .iter()
        .map(|item| to_tree(item, context.env()))
        .collect();
    Ok(jsonb(Json::Array(items?)))
}

fn json_build_object(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    check_pairs(args, "json_build_object")?;
    let mut out = String::from("{");
    for (place, pair) in args.chunks(2).enumerate() {
        out.push_str(if place > 0 { ", " } else { "" });
        if pair[0].is_null() {
            return Err(PgError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("argument {} cannot be null", place * 2 + 1),
            )
            .with_hint("Object keys should be text.")
            .into());
        }
        let _ = write_string(&mut out, &key_text(&pair[0])?);
        out.push_str(" : ");
        write_json(&pair[1], context.env(), &mut out);
    }
    out.push('}');
    Ok(Datum::Json(out.into()))
}

fn json_build_array(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let mut out = String::from("[");
    for (place, item) in args.iter().enumerate() {
        out.push_str(if place > 0 { ", " } else { "" });
        write_json(item, context.env(), &mut out);
    }
    out.push(']');
    Ok(Datum::Json(out.into()))
}

fn jsonb_object(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let subscript = || {
        refuse(
            SqlState::ARRAY_SUBSCRIPT_ERROR,
            "wrong number of array subscripts",
        )
    };
    let pairs: Vec<(&Datum, &Datum)> = match args {
        [keys, values] => {
            if keys.dimensions().len() > 1 || values.dimensions().len() > 1 {
                return Err(subscript());
            }
            if keys.items().len() != values.items().len() {
                return Err(refuse(
                    SqlState::ARRAY_SUBSCRIPT_ERROR,
                    "mismatched array dimensions",
                ));
            }
            keys.items().iter().zip(values.items()).collect()
        }
        [both, ..] => {
            match both.dimensions()[..] {
                [(len, _)] if len % 2 != 0 => {
                    return Err(refuse(
                        SqlState::ARRAY_SUBSCRIPT_ERROR,
                        "array must have even number of elements",
                    ));
                }
                [] | [_] | [_, (2, _)] => {}
                [_, _] => {
                    return Err(refuse(
                        SqlState::ARRAY_SUBSCRIPT_ERROR,
                        "array must have two columns",
                    ));
                }
                _ => return Err(subscript()),
            }
            let items = both.items().chunks(2);
            items.map(|pair| (&pair[0], &pair[1])).collect()
        }
        [] => Vec::new(),
    };
    let mut members = BTreeMap::new();
    for (name, value) in pairs {
        let Some(name) = name.as_str() else {
            return Err(refuse(
                SqlState::NULL_VALUE_NOT_ALLOWED,
                "null value not allowed for object key",
            ));
        };
        let value = value
            .as_str()
            .map_or(Json::Null, |text| Json::String(text.into()));
        members.insert(key(name), value);
    }
    Ok(jsonb(Json::Object(members)))
}

fn scalar_target(what: &str) -> Halt {
    refuse(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("cannot {what} scalar"),
    )
}

fn remove(json: &Json, names: &[&str]) -> Result<Json, Halt> {
    Ok(match json {
        Json::Object(members) => {
            let mut members = members.clone();
            for name in names {
                members.remove(&key(name));
            }
            Json::Object(members)
        }
        Json::Array(items) => {
            let gone =
                |item: &&Json| matches!(item, Json::String(text) if names.contains(&&**text));
            Json::Array(items.iter().filter(|item| !gone(item)).cloned().collect())
        }
        _ => return Err(scalar_target("delete from")),
    })
}

fn delete_key(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let name = args[1].as_str().unwrap_or("");
    Ok(jsonb(remove(tree(&args[0]), &[name])?))
}

fn delete_keys(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let names: Vec<&str> = args[1].items().iter().filter_map(Datum::as_str).collect();
    Ok(jsonb(remove(tree(&args[0]), &names)?))
}

fn delete_index(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    match tree(&args[0]) {
        Json::Object(_) => Err(refuse(
            SqlState::INVALID_PARAMETER_VALUE,
            "cannot delete from object using integer index",
        )),
        Json::Array(items) => {
            let at = args[1].as_i64().unwrap_or(0);
            let at = if at < 0 { at + items.len() as i64 } else { at };
            let mut items = items.clone();
            if let Some(at) = usize::try_from(at).ok().filter(|at| *at < items.len()) {
                items.remove(at);
            }
            Ok(jsonb(Json::Array(items)))
        }
        _ => Err(scalar_target("delete from")),
    }
}

/// Objects merge; whatever else is made an array and appended (`IteratorConcat`).
fn concat(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(jsonb(match (tree(&args[0]), tree(&args[1])) {
        (Json::Object(left), Json::Object(right)) => {
            let mut members = left.clone();
            members.extend(right.clone());
            Json::Object(members)
        }
        (left, right) => {
            let list = |json: &Json| match json {
                Json::Array(items) => items.clone(),
                other => vec![other.clone()],
            };
            let mut items = list(left);
            items.extend(list(right));
            Json::Array(items)
        }
    }))
}

/// What happens at the end of a path (`setPath` and its flags).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Replace { create: bool },
    Insert { after: bool },
    Delete,
}

fn steps(path: &Datum) -> Result<Vec<String>, Halt> {
    if path.dimensions().len() > 1 {
        return Err(refuse(
            SqlState::ARRAY_SUBSCRIPT_ERROR,
            "wrong number of array subscripts",
        ));
    }
    let mut steps = Vec::new();
    for (place, step) in path.items().iter().enumerate() {
        match step.as_str() {
            Some(step) => steps.push(step.to_string()),
            None => {
                return Err(refuse(
                    SqlState::NULL_VALUE_NOT_ALLOWED,
                    format!("path element at position {} is null", place + 1),
                ));
            }
        }
    }
    Ok(steps)
}

fn change(
    json: &Json,
    path: &[String],
    level: usize,
    new: Option<&Json>,
    how: Change,
) -> Result<Json, Halt> {
    let [step, rest @ ..] = path else {
        return Ok(json.clone());
    };
    match json {
        Json::Object(members) => {
            let mut members = members.clone();
            let name = key(step);
            if let Some(old) = members.get(&name) {
                if !rest.is_empty() {
                    let changed = change(old, rest, level + 1, new, how)?;
                    members.insert(name, changed);
                } else {
                    match (how, new) {
                        (Change::Delete, _) => {
                            members.remove(&name);
                        }
                        (Change::Insert { .. }, _) => {
                            return Err(PgError::new(
                                SqlState::INVALID_PARAMETER_VALUE,
                                "cannot replace existing key",
                            )
                            .with_hint("Try using the function jsonb_set to replace key value.")
                            .into());
                        }
                        (_, Some(new)) => {
                            members.insert(name, new.clone());
                        }
                        (_, None) => {}
                    }
                }
            } else if rest.is_empty()
                && let Some(new) = new
                && how != (Change::Replace { create: false })
            {
                members.insert(name, new.clone());
            }
            Ok(Json::Object(members))
        }
        Json::Array(items) => {
            let Some(at) = index(step) else {
                return Err(refuse(
                    SqlState::INVALID_TEXT_REPRESENTATION,
                    format!(
                        "path element at position {} is not an integer: \"{step}\"",
                        level + 1
                    ),
                ));
            };
            let len = items.len() as i64;
            let before_all = at < 0 && -at > len;
            let at = match at {
                ..0 if before_all => i64::MIN,
                ..0 => at + len,
                _ => at,
            };
            let mut items = items.clone();
            let place = usize::try_from(at)
                .ok()
                .filter(|place| *place < items.len());
            match place {
                Some(place) if !rest.is_empty() => {
                    items[place] = change(&items[place], rest, level + 1, new, how)?;
                }
                Some(place) => match (how, new) {
                    (Change::Delete, _) => {
                        items.remove(place);
                    }
                    (Change::Insert { after }, Some(new)) => {
                        items.insert(place + usize::from(after), new.clone());
                    }
                    (_, Some(new)) => items[place] = new.clone(),
                    (_, None) => {}
                },
                None if rest.is_empty() => {
                    if let Some(new) = new
                        && how != (Change::Replace { create: false })
                    {
                        match before_all {
                            true => items.insert(0, new.clone()),
                            false => items.push(new.clone()),
                        }
                    }
                }
                None => {}
            }
            Ok(Json::Array(items))
        }
        // A scalar at the top was refused before.
        scalar => Ok(scalar.clone()),
    }
}

fn at_path(args: &[Datum], new: Option<&Json>, how: Change) -> Answer {
    let target = tree(&args[0]);
    let what = if how == Change::Delete {
        "delete path in"
    } else {
        "set path in"
    };
    if !matches!(target, Json::Object(_) | Json::Array(_)) {
        return Err(scalar_target(what));
    }
    let empty = match target {
        Json::Object(members) => members.is_empty(),
        Json::Array(items) => items.is_empty(),
        _ => false,
    };
    if empty && (how == Change::Delete || how == (Change::Replace { create: false })) {
        return Ok(args[0].clone());
    }
    let steps = steps(&args[1])?;
    Ok(jsonb(change(target, &steps, 0, new, how)?))
}

fn delete_path(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    at_path(args, None, Change::Delete)
}

fn set(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let create = args[3] == Datum::Bool(true);
    at_path(args, Some(tree(&args[2])), Change::Replace { create })
}

fn insert(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let after = args[3] == Datum::Bool(true);
    at_path(args, Some(tree(&args[2])), Change::Insert { after })
}

/// Members that are null go; elements stay.
fn without_nulls(json: &Json) -> Json {
    match json {
        Json::Object(members) => Json::Object(
            members
                .iter()
                .filter(|(_, value)| **value != Json::Null)
                .map(|(key, value)| (key.clone(), without_nulls(value)))
                .collect(),
        ),
        Json::Array(items) => Json::Array(items.iter().map(without_nulls).collect()),
        scalar => scalar.clone(),
    }
}

fn strip_nulls(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(jsonb(without_nulls(tree(&args[0]))))
}
