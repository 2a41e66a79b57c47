//! Calls bound to functions: arguments placed, completed and cast.

use super::procs;
use crate::error::{PgError, SqlState};
use crate::sql::ast::{Call, Expr};
use crate::sql::plan::{Binder, Cast, Choice, Chosen, Generic, Scalar, Typed, resolve};
use crate::types::{Datum, Type};

type Bound = (Scalar, Typed);

/// Binds a call of a function that is no aggregate.
pub(super) fn bind(binder: &mut Binder<'_>, name: &str, call: &Call) -> Result<Bound, PgError> {
    let mut args = Vec::with_capacity(call.args.len());
    let mut names = Vec::new();
    for arg in &call.args {
        let expr = match arg {
            Expr::Named(name, inner) => {
                names.push(&**name);
                inner
            }
            _ if !names.is_empty() => {
                return Err(PgError::new(
                    SqlState::SYNTAX_ERROR,
                    "positional argument cannot follow named argument",
                ));
            }
            plain => plain,
        };
        args.push(binder.expr(expr)?);
    }
    if !names.is_empty() {
        return bind_named(binder, name, args, &names, call.at);
    }
    bind_args(binder, name, args, call.at)
}

/// Puts named arguments where they belong, and constants where none is given.
fn bind_named(
    binder: &mut Binder<'_>,
    name: &str,
    args: Vec<Bound>,
    names: &[&str],
    at: u32,
) -> Result<Bound, PgError> {
    let positional = args.len() - names.len();
    let labels = |place: usize| match place.checked_sub(positional) {
        Some(named) => format!("{} => ", names[named]),
        None => String::new(),
    };
    let shown: Vec<String> = args
        .iter()
        .enumerate()
        .map(|(place, arg)| format!("{}{}", labels(place), arg.1.ty))
        .collect();
    let fits = procs(name).iter().find(|proc| {
        proc.args.len() >= args.len()
            && names.iter().all(|name| {
                let place = proc.names.iter().position(|known| known == name);
                place.is_some_and(|place| place >= positional && place < proc.args.len())
            })
    });
    let Some(proc) = fits else {
        return Err(missing(name, &shown.join(", "), at));
    };
    let optional = proc.args.len() - proc.defaults.len();
    let mut places: Vec<Option<Bound>> = proc.args.iter().map(|_| None).collect();
    for (place, arg) in args.into_iter().enumerate() {
        let target = match place.checked_sub(positional) {
            None => place,
            Some(named) => {
                let target = proc.names.iter().position(|known| *known == names[named]);
                target.unwrap_or(place)
            }
        };
        places[target] = Some(arg);
    }
    let mut full = Vec::with_capacity(places.len());
    for (place, arg) in places.into_iter().enumerate() {
        full.push(match arg {
            Some(arg) => arg,
            None if place >= optional => default(proc.defaults[place - optional]),
            None => return Err(missing(name, &shown.join(", "), at)),
        });
    }
    bind_args(binder, name, full, at)
}

/// A default as `pg_get_expr` shows it: a number, a boolean, a quoted constant.
fn default(text: &str) -> Bound {
    match text {
        "true" => (Scalar::Const(Datum::Bool(true)), Type::Bool.into()),
        "false" => (Scalar::Const(Datum::Bool(false)), Type::Bool.into()),
        number if number.parse::<i32>().is_ok() => (
            Scalar::Const(Datum::Int4(number.parse().unwrap_or(0))),
            Type::Int4.into(),
        ),
        quoted => {
            let plain = quoted.split("::").next().unwrap_or("").trim_matches('\'');
            (Scalar::Const(Datum::text(plain)), Type::Unknown.into())
        }
    }
}

fn missing(name: &str, args: &str, at: u32) -> PgError {
    PgError::undefined_function(&format!("{name}({args})")).at(at as usize)
}

/// Binds a function to arguments in their places.
pub(super) fn bind_args(
    binder: &mut Binder<'_>,
    name: &str,
    args: Vec<Bound>,
    at: u32,
) -> Result<Bound, PgError> {
    let types: Vec<Type> = args.iter().map(|arg| arg.1.ty).collect();
    let shown = || {
        let names: Vec<&str> = types.iter().map(|ty| ty.sql_name()).collect();
        names.join(", ")
    };
    // `int8('5')` is the constant of that type, whatever functions there are.
    if let ([(scalar, from)], Some(ty)) = (
        &args[..],
        Type::from_name(name).filter(|ty| ty.has_values()),
    ) && from.ty == Type::Unknown
        && let Some(cast) = binder.cast_explicitly(scalar.clone(), *from, ty)?
    {
        return Ok((cast, ty.into()));
    }
    let chosen = match resolve::function(procs(name), &types, false) {
        Choice::One(chosen) => chosen,
        Choice::Ambiguous => {
            return Err(PgError::new(
                SqlState::AMBIGUOUS_FUNCTION,
                format!("function {name}({}) is not unique", shown()),
            )
            .with_hint(
                "Could not choose a best candidate function. You might need to add explicit type casts.",
            )
            .at(at as usize));
        }
        Choice::Nothing => {
            // `int8(x)` is the cast to that type, if there is one without a function.
            if let ([arg], Some(ty)) = (
                &args[..],
                Type::from_name(name).filter(|ty| ty.has_values()),
            ) {
                let (scalar, from) = arg.clone();
                if let Some(cast) = binder.cast_explicitly(scalar, from, ty)? {
                    return Ok((cast, ty.into()));
                }
            }
            return Err(missing(name, &shown(), at));
        }
    };
    bind_chosen(binder, chosen, args, at)
}

fn bind_chosen(
    binder: &mut Binder<'_>,
    chosen: Chosen,
    args: Vec<Bound>,
    at: u32,
) -> Result<Bound, PgError> {
    let proc = chosen.proc;
    let (bound, generic, types) = arguments(binder, chosen, args, at)?;
    // These ask for the type of their argument, not for its value.
    if let Some(ty) = generic.actual(Type::Anyenum)
        && let Some(labels) = ty.labels()
        && let [_] = &bound[..]
        && matches!(proc.name, "enum_range" | "enum_first" | "enum_last")
    {
        // What must not be used yet is refused when the statement runs.
        let mut all = labels.iter().map(|label| match label.uncommitted {
            true => {
                let text = Scalar::Const(Datum::text(&*label.text));
                Scalar::Cast(Box::new(text), Cast::plain(ty))
            }
            false => {
                let order = f32::from_bits(label.order);
                Scalar::Const(Datum::Enum(order, label.text.as_str().into()))
            }
        });
        let value = match proc.name {
            "enum_first" => all.next().unwrap_or(Scalar::Const(Datum::Null)),
            "enum_last" => all.next_back().unwrap_or(Scalar::Const(Datum::Null)),
            _ => Scalar::Array(all.collect()),
        };
        return Ok((value, result(proc.result, &generic)?.into()));
    }
    if proc.name == "pg_typeof" {
        let ty = types.first().copied().unwrap_or(Type::Unknown);
        let named = Datum::Named(ty.oid(), ty.sql_name().into());
        return Ok((Scalar::Const(named), Type::Regtype.into()));
    }
    let Some(function) = proc.function else {
        // What has the name of a type is the cast to it.
        if let ([ty], [from]) = (&[proc.result][..], &types[..])
            && ty.name() == proc.name
            && let [scalar] = &bound[..]
            && let Some(cast) = binder.cast_explicitly(scalar.clone(), (*from).into(), *ty)?
        {
            return Ok((cast, (*ty).into()));
        }
        return Err(PgError::feature_not_supported(format_args!(
            "the function {}",
            signature(chosen)
        )));
    };
    if function.set {
        binder.refuse_set(at)?;
    }
    let result = result(proc.result, &generic)?;
    Ok((Scalar::Call(function, bound), result.into()))
}

/// `name(types)` as messages about lacking functions show it.
pub(super) fn signature(chosen: Chosen) -> String {
    let proc = chosen.proc;
    match procs(proc.name).len() {
        1 => proc.name.to_string(),
        _ => {
            let types: Vec<&str> = proc.args.iter().map(|ty| ty.sql_name()).collect();
            format!("{}({})", proc.name, types.join(", "))
        }
    }
}

/// The type of a result.
pub(super) fn result(declared: Type, generic: &Generic) -> Result<Type, PgError> {
    generic.actual(declared).ok_or_else(|| {
        PgError::new(
            SqlState::DATATYPE_MISMATCH,
            "could not determine polymorphic type because input has type unknown",
        )
    })
}

/// Casts arguments to what the chosen function wants, defaults filled in.
pub(super) fn arguments(
    binder: &mut Binder<'_>,
    chosen: Chosen,
    args: Vec<Bound>,
    at: u32,
) -> Result<(Vec<Scalar>, Generic, Vec<Type>), PgError> {
    let proc = chosen.proc;
    let mut args = args;
    if !chosen.expanded {
        let given = args.len();
        let optional = proc.args.len() - proc.defaults.len();
        for place in given..proc.args.len() {
            args.push(default(proc.defaults[place - optional]));
        }
    }
    let mut wanted = proc.args.clone();
    if chosen.expanded {
        let last = match wanted.pop() {
            Some(Type::Anyarray) => Type::Anyelement,
            Some(Type::Anycompatiblearray) => Type::Anycompatible,
            Some(array) => array.element().unwrap_or(array),
            None => Type::Any,
        };
        wanted.resize(args.len(), last);
    }
    if proc.name.contains("json") {
        // An OID is no number to json (`json_categorize_type`).
        for (scalar, typed) in args.iter_mut().filter(|arg| arg.1.ty == Type::Oid) {
            let oid = std::mem::replace(scalar, Scalar::Const(Datum::Null));
            if let Some(text) = binder.cast_explicitly(oid.clone(), *typed, Type::Text)? {
                (*scalar, *typed) = (text, Type::Text.into());
            } else {
                *scalar = oid;
            }
        }
    }
    let types: Vec<Type> = args.iter().map(|arg| arg.1.ty).collect();
    let generic = Generic::of(&types, &wanted).unwrap_or_default();
    let mut bound = Vec::with_capacity(args.len());
    let mut actual = Vec::with_capacity(args.len());
    for (arg, &wanted) in args.into_iter().zip(&wanted) {
        let (scalar, from) = arg;
        let to = match wanted {
            Type::Any if from.ty == Type::Unknown => {
                // A parameter that nothing tells the type of stays without one, which is an error.
                actual.push(Type::Unknown);
                match scalar {
                    Scalar::Param(number) => {
                        binder.leave_untyped(number, from);
                        bound.push(scalar);
                    }
                    constant => bound.push(binder.settle_argument(constant, from)?.0),
                }
                continue;
            }
            Type::Any => from.ty,
            wanted => match generic.actual(wanted) {
                Some(ty) => ty,
                None => {
                    return Err(result(wanted, &generic)
                        .err()
                        .unwrap_or_else(|| PgError::feature_not_supported("this argument")));
                }
            },
        };
        actual.push(to);
        match binder.cast_argument(scalar, from, to)? {
            Some(scalar) => bound.push(scalar),
            None => {
                return Err(missing(proc.name, from.ty.sql_name(), at));
            }
        }
    }
    // Those that are gathered come as one array, unless they may be anything.
    if chosen.expanded && proc.args.last() != Some(&Type::Any) {
        let rest = bound.split_off(proc.args.len() - 1);
        bound.push(Scalar::Array(rest));
    }
    Ok((bound, generic, actual))
}
