//! Arrays: put together, taken apart, searched.
//!
//! Source: array_userfuncs.c and arrayfuncs.c.

use super::Built;
use crate::engine::Halt;
use crate::error::{PgError, SqlState};
use crate::sql::face::Context;
use crate::types::Datum;
use crate::types::array::check_bounds;
use crate::types::text::write_in;

type Answer = Result<Datum, Halt>;

pub(super) const BUILT: Built = &[
    ("array_cat(anycompatiblearray,anycompatiblearray)", cat),
    ("array_append(anycompatiblearray,anycompatible)", append),
    ("array_prepend(anycompatible,anycompatiblearray)", prepend),
    ("arraycontains(anyarray,anyarray)", contains),
    ("arraycontained(anyarray,anyarray)", contained),
    ("arrayoverlap(anyarray,anyarray)", overlaps),
    ("array_length(anyarray,int4)", length),
    ("array_lower(anyarray,int4)", lower),
    ("array_upper(anyarray,int4)", upper),
    ("array_ndims(anyarray)", ndims),
    ("array_dims(anyarray)", dims),
    ("cardinality(anyarray)", cardinality),
    ("unnest(anyarray)", unnest),
    ("generate_subscripts(anyarray,int4)", subscripts),
    ("generate_subscripts(anyarray,int4,bool)", subscripts),
    ("array_remove(anycompatiblearray,anycompatible)", remove),
    (
        "array_replace(anycompatiblearray,anycompatible,anycompatible)",
        replace,
    ),
    ("array_position(anycompatiblearray,anycompatible)", position),
    (
        "array_position(anycompatiblearray,anycompatible,int4)",
        position,
    ),
    (
        "array_positions(anycompatiblearray,anycompatible)",
        positions,
    ),
    ("array_to_string(anyarray,text)", to_string),
    ("array_to_string(anyarray,text,text)", to_string),
    ("string_to_array(text,text)", from_string),
    ("string_to_array(text,text,text)", from_string),
    ("array_fill(anyelement,_int4)", fill),
    ("trim_array(anyarray,int4)", trim),
];

/// `MaxArraySize`.
const ITEMS_MAX: i64 = 134_217_727;

fn cat(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let (a, b) = (&args[0], &args[1]);
    if a.is_null() || b.items().is_empty() && !a.is_null() {
        return Ok(if a.is_null() { b.clone() } else { a.clone() });
    }
    if b.is_null() || a.items().is_empty() {
        return Ok(if b.is_null() { a.clone() } else { b.clone() });
    }
    let (left, right) = (a.dimensions(), b.dimensions());
    let items = [a.items(), b.items()].concat();
    let incompatible = |detail: &str| {
        Halt::from(
            PgError::new(
                SqlState::ARRAY_SUBSCRIPT_ERROR,
                "cannot concatenate incompatible arrays",
            )
            .with_detail(detail),
        )
    };
    let differing =
        "Arrays with differing element dimensions are not compatible for concatenation.";
    let dimensions = if left.len() == right.len() {
        if left[1..] != right[1..] {
            return Err(incompatible(differing));
        }
        let mut dimensions = left;
        dimensions[0].0 += right[0].0;
        dimensions
    } else if left.len() + 1 == right.len() {
        if left != right[1..] {
            return Err(incompatible(
                "Arrays with differing dimensions are not compatible for concatenation.",
            ));
        }
        let mut dimensions = right;
        dimensions[0].0 += 1;
        dimensions
    } else if left.len() == right.len() + 1 {
        if left[1..] != right[..] {
            return Err(incompatible(
                "Arrays with differing dimensions are not compatible for concatenation.",
            ));
        }
        let mut dimensions = left;
        dimensions[0].0 += 1;
        dimensions
    } else {
        let detail = format!(
            "Arrays of {} and {} dimensions are not compatible for concatenation.",
            left.len(),
            right.len()
        );
        return Err(incompatible(&detail));
    };
    check_bounds(&dimensions)?;
    Ok(Datum::array(dimensions, items))
}

fn one_dimensional(array: &Datum) -> Result<(Vec<Datum>, i32), Halt> {
    match array.dimensions()[..] {
        [] => Ok((Vec::new(), 1)),
        [(_, first)] => Ok((array.items().to_vec(), first)),
        _ => Err(PgError::new(
            SqlState::DATA_EXCEPTION,
            "argument must be empty or one-dimensional array",
        )
        .into()),
    }
}

fn append(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let (mut items, first) = one_dimensional(&args[0])?;
    items.push(args[1].clone());
    let dimensions = vec![(items.len() as i32, first)];
    check_bounds(&dimensions)?;
    Ok(Datum::array(dimensions, items))
}

fn prepend(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let (mut items, first) = one_dimensional(&args[1])?;
    if first == i32::MIN {
        return Err(
            PgError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "integer out of range").into(),
        );
    }
    items.insert(0, args[0].clone());
    Ok(Datum::array(vec![(items.len() as i32, first)], items))
}

fn has_all(outer: &Datum, inner: &Datum) -> bool {
    inner
        .items()
        .iter()
        .all(|item| !item.is_null() && outer.items().contains(item))
}

/// Each element of one is compared with all of the other.
fn spend_pairs(context: &mut Context<'_>, args: &[Datum]) -> Result<(), PgError> {
    context.spend(args[0].items().len().saturating_mul(args[1].items().len()) / 8)
}

fn contains(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    spend_pairs(context, args)?;
    Ok(Datum::Bool(has_all(&args[0], &args[1])))
}

fn contained(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    spend_pairs(context, args)?;
    Ok(Datum::Bool(has_all(&args[1], &args[0])))
}

fn overlaps(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    spend_pairs(context, args)?;
    let mut items = args[0].items().iter();
    let shared = items.any(|item| !item.is_null() && args[1].items().contains(item));
    Ok(Datum::Bool(shared))
}

fn dimension(args: &[Datum]) -> Option<(i32, i32)> {
    let place = usize::try_from(args[1].as_i64()? - 1).ok()?;
    args[0].dimensions().get(place).copied()
}

fn length(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(dimension(args).map_or(Datum::Null, |(length, _)| Datum::Int4(length)))
}

fn lower(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(dimension(args).map_or(Datum::Null, |(_, first)| Datum::Int4(first)))
}

fn upper(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(dimension(args).map_or(Datum::Null, |(length, first)| {
        Datum::Int4(first + length - 1)
    }))
}

fn ndims(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(match args[0].dimensions().len() {
        0 => Datum::Null,
        count => Datum::Int4(count as i32),
    })
}

fn dims(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let shown: String = args[0]
        .dimensions()
        .iter()
        .map(|(length, first)| format!("[{first}:{}]", first + length - 1))
        .collect();
    Ok(match shown.is_empty() {
        true => Datum::Null,
        false => Datum::text(shown),
    })
}

fn cardinality(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::Int4(args[0].items().len() as i32))
}

fn unnest(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::Array(args[0].items().into()))
}

fn subscripts(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let mut numbers: Vec<Datum> = match dimension(args) {
        Some((length, first)) => (first..first + length).map(Datum::Int4).collect(),
        None => Vec::new(),
    };
    if args.get(2) == Some(&Datum::Bool(true)) {
        numbers.reverse();
    }
    Ok(Datum::Array(numbers.into()))
}

fn is_same(a: &Datum, b: &Datum) -> bool {
    match (a.is_null(), b.is_null()) {
        (false, false) => a == b,
        (a, b) => a && b,
    }
}

fn remove(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    if args[0].is_null() {
        return Ok(Datum::Null);
    }
    if args[0].dimensions().len() > 1 {
        return Err(PgError::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "removing elements from multidimensional arrays is not supported",
        )
        .into());
    }
    let kept = args[0]
        .items()
        .iter()
        .filter(|item| !is_same(item, &args[1]));
    let first = args[0].dimensions().first().map_or(1, |(_, first)| *first);
    let items: Vec<Datum> = kept.cloned().collect();
    Ok(Datum::array(vec![(items.len() as i32, first)], items))
}

fn replace(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    if args[0].is_null() {
        return Ok(Datum::Null);
    }
    Ok(args[0].map_items(|item| {
        Ok(match is_same(item, &args[1]) {
            true => args[2].clone(),
            false => item.clone(),
        })
    })?)
}

fn search(array: &Datum) -> Result<(&[Datum], i32), Halt> {
    match array.dimensions()[..] {
        [] => Ok((&[], 1)),
        [(_, first)] => Ok((array.items(), first)),
        _ => Err(PgError::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "searching for elements in multidimensional arrays is not supported",
        )
        .into()),
    }
}

fn position(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    if args[0].is_null() {
        return Ok(Datum::Null);
    }
    let (items, first) = search(&args[0])?;
    let from = match args.get(2) {
        Some(Datum::Null) => {
            return Err(PgError::new(
                SqlState::NULL_VALUE_NOT_ALLOWED,
                "initial position must not be null",
            )
            .into());
        }
        Some(from) => from.as_i64().unwrap_or(1),
        None => first.into(),
    };
    let mut numbered = (i64::from(first)..).zip(items);
    let found = numbered.find(|(number, item)| *number >= from && is_same(item, &args[1]));
    Ok(found.map_or(Datum::Null, |(number, _)| Datum::Int4(number as i32)))
}

fn positions(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    if args[0].is_null() {
        return Ok(Datum::Null);
    }
    let (items, first) = search(&args[0])?;
    // The number after the last one may be none.
    let numbered = items.iter().zip(first..);
    let found = numbered.filter(|(item, _)| is_same(item, &args[1]));
    Ok(Datum::Array(
        found.map(|(_, number)| Datum::Int4(number)).collect(),
    ))
}

fn to_string(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    if args[0].is_null() || args[1].is_null() {
        return Ok(Datum::Null);
    }
    let null = args.get(2).and_then(Datum::as_str);
    let mut out = String::new();
    let mut first = true;
    for item in args[0].items() {
        if item.is_null() && null.is_none() {
            continue;
        }
        if !std::mem::take(&mut first) {
            let separator = args[1].as_str().unwrap_or("");
            context.spend_bytes(separator.len())?;
            out.push_str(separator);
        }
        match null {
            Some(null) if item.is_null() => out.push_str(null),
            _ => write_in(item, &mut out, context.env()),
        }
    }
    Ok(Datum::text(out))
}

fn from_string(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let Some(whole) = args[0].as_str() else {
        return Ok(Datum::Null);
    };
    let null = args.get(2).and_then(Datum::as_str);
    let item = |part: &str| match null == Some(part) {
        true => Datum::Null,
        false => Datum::text(part),
    };
    if whole.is_empty() {
        return Ok(Datum::Array([].into()));
    }
    Ok(Datum::Array(match args[1].as_str() {
        None => whole.chars().map(|c| item(&c.to_string())).collect(),
        Some("") => [item(whole)].into(),
        Some(separator) => whole.split(separator).map(item).collect(),
    }))
}

fn fill(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    if args[1].is_null() {
        return Err(PgError::new(
            SqlState::NULL_VALUE_NOT_ALLOWED,
            "dimension array or low bound array cannot be null",
        )
        .into());
    }
    let lengths: Vec<i64> = args[1].items().iter().filter_map(Datum::as_i64).collect();
    let limit = |message: String| PgError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message);
    if lengths.len() > 6 {
        let message = format!(
            "number of array dimensions ({}) exceeds the maximum allowed (6)",
            lengths.len()
        );
        return Err(limit(message).into());
    }
    let count = lengths.iter().try_fold(1_i64, |count, &length| {
        let count = count.checked_mul(length).filter(|_| length >= 0)?;
        (count <= ITEMS_MAX).then_some(count)
    });
    let count = count.ok_or_else(|| {
        limit(format!(
            "array size exceeds the maximum allowed ({ITEMS_MAX})"
        ))
    })?;
    if lengths.is_empty() || count == 0 {
        return Ok(Datum::Array([].into()));
    }
    context.spend(count as usize / 2)?;
    let dimensions = lengths.iter().map(|length| (*length as i32, 1)).collect();
    Ok(Datum::array(
        dimensions,
        vec![args[0].clone(); count as usize],
    ))
}

fn trim(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let dimensions = args[0].dimensions();
    let length = dimensions
        .first()
        .map_or(0, |(length, _)| i64::from(*length));
    let cut = args[1].as_i64().unwrap_or(0);
    if !(0..=length).contains(&cut) {
        return Err(PgError::new(
            SqlState::ARRAY_ELEMENT_ERROR,
            format!("number of elements to trim must be between 0 and {length}"),
        )
        .into());
    }
    if dimensions.len() > 1 {
        return Err(PgError::feature_not_supported("trim_array of several dimensions").into());
    }
    let items = args[0].items()[..(length - cut) as usize].to_vec();
    Ok(Datum::array(vec![(items.len() as i32, 1)], items))
}

/// ARRAY of arrays: one of a dimension more.
pub(crate) fn combine(items: Vec<Datum>) -> Result<Datum, PgError> {
    if !items
        .iter()
        .any(|item| matches!(item, Datum::Array(_) | Datum::Matrix(_)))
    {
        return Ok(Datum::Array(items.into()));
    }
    let mismatch = || {
        PgError::new(
            SqlState::ARRAY_SUBSCRIPT_ERROR,
            "multidimensional arrays must have array expressions with matching dimensions",
        )
    };
    let mut inner: Option<Vec<(i32, i32)>> = None;
    let mut all = Vec::new();
    let mut count = 0;
    for item in items.iter().filter(|item| !item.is_null()) {
        let dimensions = item.dimensions();
        if dimensions.is_empty() {
            continue;
        }
        match &inner {
            Some(known) if *known != dimensions => return Err(mismatch()),
            _ => inner = Some(dimensions),
        }
        all.extend_from_slice(item.items());
        count += 1;
    }
    let Some(mut dimensions) = inner else {
        return Ok(Datum::Array([].into()));
    };
    if count != items.len() {
        return Err(mismatch());
    }
    if dimensions.len() == 6 {
        return Err(PgError::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            "number of array dimensions (7) exceeds the maximum allowed (6)",
        ));
    }
    dimensions.insert(0, (count as i32, 1));
    Ok(Datum::array(dimensions, all))
}

/// One element, or NULL where there is none.
pub(crate) fn element(array: &Datum, subscripts: &[i64]) -> Datum {
    let dimensions = array.dimensions();
    if dimensions.len() != subscripts.len() || dimensions.is_empty() {
        return Datum::Null;
    }
    let mut offset = 0;
    for ((length, first), subscript) in dimensions.iter().zip(subscripts) {
        let place = subscript - i64::from(*first);
        if !(0..i64::from(*length)).contains(&place) {
            return Datum::Null;
        }
        offset = offset * i64::from(*length) + place;
    }
    array.items()[offset as usize].clone()
}

/// A part of an array, counted from 1 (`array_get_slice`).
pub(crate) fn slice(array: &Datum, bounds: &[(Option<i64>, Option<i64>)]) -> Datum {
    let dimensions = array.dimensions();
    let empty = Datum::Array([].into());
    if bounds.len() > dimensions.len() || dimensions.is_empty() {
        return empty;
    }
    let mut ranges = Vec::new();
    for (place, (length, first)) in dimensions.iter().enumerate() {
        let (first, last) = (
            i64::from(*first),
            i64::from(*first) + i64::from(*length) - 1,
        );
        let (low, high) = bounds.get(place).copied().unwrap_or((None, None));
        let low = low.map_or(first, |low| low.max(first));
        let high = high.map_or(last, |high| high.min(last));
        if low > high {
            return empty;
        }
        ranges.push((low - first, high - first));
    }
    let mut places = vec![0_i64];
    for ((length, _), (low, high)) in dimensions.iter().zip(&ranges) {
        places = places
            .iter()
            .flat_map(|place| (*low..=*high).map(move |at| place * i64::from(*length) + at))
            .collect();
    }
    let items = places
        .iter()
        .map(|place| array.items()[*place as usize].clone());
    let shape = ranges
        .iter()
        .map(|(low, high)| ((high - low + 1) as i32, 1));
    Datum::array(shape.collect(), items.collect())
}
