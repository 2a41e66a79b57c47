//! json and jsonb.

use super::math::items;
use super::{Arg, Built, Function, Returns, strict, variadic};
use crate::engine::Halt;
use crate::error::{PgError, SqlState};
use crate::sql::face::Context;
use crate::types::datetime::is_infinite;
use crate::types::json::{Json, parse};
use crate::types::{Datum, Type};

use Arg::Is;

type Answer = Result<Datum, Halt>;

pub(super) const FUNCTIONS: &[Function] = &[
    strict(
        "to_jsonb",
        &[Arg::Any],
        Returns::Is(Type::Jsonb),
        |_, args| Ok(datum(&from_datum(&args[0])?)),
    ),
    strict(
        "to_json",
        &[Arg::Any],
        Returns::Is(Type::Json),
        |_, args| match &args[0] {
            json @ Datum::Json(_) => Ok(json.clone()),
            other => Ok(datum(&from_datum(other)?)),
        },
    ),
    variadic(
        "jsonb_build_object",
        &[Arg::Any],
        Returns::Is(Type::Jsonb),
        build_object,
    ),
    variadic(
        "jsonb_build_array",
        &[Arg::Any],
        Returns::Is(Type::Jsonb),
        |_, args| {
            let items: Result<Vec<Json>, Halt> = args.iter().map(from_datum).collect();
            Ok(datum(&Json::Array(items?)))
        },
    ),
    strict(
        "jsonb_typeof",
        &[Is(Type::Jsonb)],
        Returns::Is(Type::Text),
        type_of,
    ),
    strict(
        "json_typeof",
        &[Is(Type::Json)],
        Returns::Is(Type::Text),
        type_of,
    ),
    strict(
        "jsonb_array_length",
        &[Is(Type::Jsonb)],
        Returns::Is(Type::Int4),
        array_length,
    ),
];

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
    ("jsonb_delete(jsonb,text)", delete_key),
    ("jsonb_concat(jsonb,jsonb)", concat),
];

/// The value of a json datum: it was checked when it was made.
fn value(datum: &Datum) -> Result<Json, Halt> {
    Ok(parse(datum.as_str().unwrap_or("null"))?)
}

fn datum(json: &Json) -> Datum {
    Datum::Json(json.to_string().into())
}

fn key(name: &str) -> (usize, String) {
    (name.len(), name.to_string())
}

/// Any value as JSON (`datum_to_jsonb`).
fn from_datum(datum: &Datum) -> Result<Json, Halt> {
    Ok(match datum {
        Datum::Null => Json::Null,
        Datum::Bool(value) => Json::Bool(*value),
        Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) => Json::Number(datum.to_string()),
        Datum::Float8(value) if value.is_finite() => Json::Number(datum.to_string()),
        Datum::Float4(value) if value.is_finite() => Json::Number(datum.to_string()),
        Datum::Numeric(value) if value.is_finite() => Json::Number(datum.to_string()),
        Datum::Json(_) => value(datum)?,
        Datum::Timestamptz(at) if !is_infinite(*at) => {
            // ISO 8601, with the colon that DateStyle ISO leaves out.
            Json::String(datum.to_string().replacen(' ', "T", 1) + ":00")
        }
        Datum::Timestamp(_) => Json::String(datum.to_string().replacen(' ', "T", 1)),
        Datum::Array(items) => {
            let items: Result<Vec<Json>, Halt> = items.iter().map(from_datum).collect();
            Json::Array(items?)
        }
        other => Json::String(other.to_string()),
    })
}

fn text_of(json: Option<&Json>) -> Datum {
    match json {
        None | Some(Json::Null) => Datum::Null,
        Some(Json::String(text)) => Datum::text(text.as_str()),
        Some(other) => Datum::text(other.to_string()),
    }
}

fn json_of(json: Option<&Json>) -> Datum {
    json.map_or(Datum::Null, datum)
}

fn at_key<'a>(json: &'a Json, name: &str) -> Option<&'a Json> {
    match json {
        Json::Object(members) => members.get(&key(name)),
        _ => None,
    }
}

fn at_index(json: &Json, index: i64) -> Option<&Json> {
    let Json::Array(items) = json else {
        return None;
    };
    let index = if index < 0 {
        index + items.len() as i64
    } else {
        index
    };
    items.get(usize::try_from(index).ok()?)
}

pub(super) fn field(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(json_of(at_key(
        &value(&args[0])?,
        args[1].as_str().unwrap_or(""),
    )))
}

pub(super) fn field_text(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(text_of(at_key(
        &value(&args[0])?,
        args[1].as_str().unwrap_or(""),
    )))
}

pub(super) fn item(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(json_of(at_index(
        &value(&args[0])?,
        args[1].as_i64().unwrap_or(0),
    )))
}

pub(super) fn item_text(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(text_of(at_index(
        &value(&args[0])?,
        args[1].as_i64().unwrap_or(0),
    )))
}

fn at_path<'a>(json: &'a Json, path: &Datum) -> Option<&'a Json> {
    let mut at = json;
    for step in items(path) {
        let step = step.as_str()?;
        at = match at {
            Json::Object(_) => at_key(at, step)?,
            Json::Array(_) => at_index(at, step.parse().ok()?)?,
            _ => return None,
        };
    }
    Some(at)
}

pub(super) fn path(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(json_of(at_path(&value(&args[0])?, &args[1])))
}

pub(super) fn path_text(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(text_of(at_path(&value(&args[0])?, &args[1])))
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

pub(super) fn contains(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::Bool(deep_contains(
        &value(&args[0])?,
        &value(&args[1])?,
        true,
    )))
}

pub(super) fn contained(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::Bool(deep_contains(
        &value(&args[1])?,
        &value(&args[0])?,
        true,
    )))
}

pub(super) fn has_key(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let name = args[1].as_str().unwrap_or("");
    Ok(Datum::Bool(match value(&args[0])? {
        Json::Object(members) => members.contains_key(&key(name)),
        Json::Array(items) => items.contains(&Json::String(name.into())),
        Json::String(text) => text == name,
        _ => false,
    }))
}

pub(super) fn delete_key(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let name = args[1].as_str().unwrap_or("");
    Ok(match value(&args[0])? {
        Json::Object(mut members) => {
            members.remove(&key(name));
            datum(&Json::Object(members))
        }
        Json::Array(mut items) => {
            items.retain(|item| *item != Json::String(name.into()));
            datum(&Json::Array(items))
        }
        _ => {
            return Err(PgError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                "cannot delete from scalar",
            )
            .into());
        }
    })
}

/// Objects merge; whatever else is made an array and appended (`IteratorConcat`).
pub(super) fn concat(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let (left, right) = (value(&args[0])?, value(&args[1])?);
    Ok(datum(&match (left, right) {
        (Json::Object(mut left), Json::Object(right)) => {
            left.extend(right);
            Json::Object(left)
        }
        (left, right) => {
            let list = |json| match json {
                Json::Array(items) => items,
                other => vec![other],
            };
            let mut items = list(left);
            items.extend(list(right));
            Json::Array(items)
        }
    }))
}

fn build_object(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    if args.len() % 2 == 1 {
        return Err(PgError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            "argument list must have even number of elements",
        )
        .with_hint(
            "The arguments of jsonb_build_object() must consist of alternating keys and values.",
        )
        .into());
    }
    let mut members = std::collections::BTreeMap::new();
    for (place, pair) in args.chunks(2).enumerate() {
        if pair[0].is_null() {
            return Err(PgError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("argument {}: key must not be null", place * 2 + 1),
            )
            .into());
        }
        let name = match &pair[0] {
            Datum::Bool(value) => value.to_string(),
            other => other.to_string(),
        };
        members.insert(key(&name), from_datum(&pair[1])?);
    }
    Ok(datum(&Json::Object(members)))
}

fn type_of(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::text(match value(&args[0])? {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }))
}

fn array_length(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    match value(&args[0])? {
        Json::Array(items) => Ok(Datum::Int4(items.len() as i32)),
        Json::Object(_) => Err(PgError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            "cannot get array length of a non-array",
        )
        .into()),
        _ => Err(PgError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            "cannot get array length of a scalar",
        )
        .into()),
    }
}
