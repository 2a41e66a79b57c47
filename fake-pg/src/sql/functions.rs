//! Functions and operators: what there is, for which types.
//!
//! A function is an entry in a table with the types of its arguments; a call is
//! bound to the entry that fits best (`func_select_candidate`, simplified).
//! What the entries do is in the files of this folder.

mod embedded;
mod backends;
mod introspection;
mod json;
mod math;
mod operators;
mod strings;
mod system;
mod times;

pub(crate) use embedded::EmbeddedCall;
pub(crate) use operators::{binary_operator, prefix_operator};

use super::ast::Call;
use super::face::Context;
use super::plan::{AggregatePlan, Binder, Scalar, Typed};
use crate::engine::Halt;
use crate::error::{PgError, SqlState};
use crate::types::{Datum, Type};

/// What a function does with its arguments.
pub(crate) type Body = fn(&mut Context<'_>, &[Datum]) -> Result<Datum, Halt>;

/// An entry of the table.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) args: &'static [Arg],
    pub(crate) result: Returns,
    /// NULL in, NULL out, without asking.
    pub(crate) strict: bool,
    /// The last argument may be repeated.
    pub(crate) variadic: bool,
    /// It returns an array that stands for a set.
    pub(crate) set: bool,
    pub(crate) body: Body,
}

/// An argument's type.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arg {
    Is(Type),
    /// Anything; unknown is text.
    Any,
    /// Any array.
    Array,
    /// An element of the array argument.
    Element,
}

/// A result's type.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Returns {
    Is(Type),
    /// The n-th argument's.
    Same(usize),
    /// That of the elements of the n-th argument.
    ElementOf(usize),
}

impl Function {
    /// Whether calling it changes anything, or may give something else the next
    /// time: then it is called for whole rows only.
    pub(crate) fn is_volatile(&self) -> bool {
        const VOLATILE: &[&str] = &[
            "nextval",
            "setval",
            "currval",
            "lastval",
            "clock_timestamp",
            "pg_sleep",
            "set_config",
            "pg_logical_emit_message",
            "pg_notify",
            "pg_cancel_backend",
            "pg_terminate_backend",
            "pg_isolation_test_session_is_blocked",
            "pg_blocking_pids",
            "pg_notification_queue_usage",
        ];
        VOLATILE.contains(&self.name) || self.name.contains("advisory")
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.name)
    }
}

/// A strict function.
const fn strict(name: &'static str, args: &'static [Arg], result: Returns, body: Body) -> Function {
    Function {
        name,
        args,
        result,
        strict: true,
        variadic: false,
        set: false,
        body,
    }
}

/// A function that wants to see NULLs.
const fn lenient(
    name: &'static str,
    args: &'static [Arg],
    result: Returns,
    body: Body,
) -> Function {
    Function {
        strict: false,
        ..strict(name, args, result, body)
    }
}

/// A function that returns a set.
const fn set(name: &'static str, args: &'static [Arg], result: Returns, body: Body) -> Function {
    Function {
        set: true,
        ..strict(name, args, result, body)
    }
}

/// A function whose last argument may be repeated, NULLs included.
const fn variadic(
    name: &'static str,
    args: &'static [Arg],
    result: Returns,
    body: Body,
) -> Function {
    Function {
        variadic: true,
        ..lenient(name, args, result, body)
    }
}

const TABLES: &[&[Function]] = &[
    system::FUNCTIONS,
    system::LOCKS,
    backends::FUNCTIONS,
    introspection::FUNCTIONS,
    introspection::PRIVILEGES,
    times::FUNCTIONS,
    strings::FUNCTIONS,
    math::FUNCTIONS,
    json::FUNCTIONS,
];

/// The names of PostgreSQL 15's functions, sorted: one that is not in the tables is lacking here,
/// rather than misspelled.
const KNOWN: &str = include_str!("functions/known.txt");

/// Aggregates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aggregate {
    CountRows,
    Count,
    Sum,
    Min,
    Max,
    Avg,
    BoolAnd,
    BoolOr,
    ArrayAgg,
    StringAgg,
}

/// Binds a call: an aggregate, one of the constructs that look like functions,
/// or an entry of the table.
pub(crate) fn bind(binder: &mut Binder<'_>, call: &Call) -> Result<(Scalar, Typed), PgError> {
    let name = match &call.name[..] {
        [name] => &**name,
        [schema, name] if &**schema == "pg_catalog" => &**name,
        [schema, _] if let Some(embedded) = binder.embedded(schema) => {
            return embedded::bind(binder, embedded, call);
        }
        _ => {
            return Err(PgError::undefined_function(&format!(
                "{}()",
                call.name.join(".")
            )));
        }
    };
    if let Some(bound) = construct(binder, name, call)? {
        return Ok(bound);
    }
    if let Some(function) = aggregate(name, call.star) {
        return bind_aggregate(binder, function, name, call);
    }
    if call.star || call.distinct || call.filter.is_some() || !call.order_by.is_empty() {
        return Err(PgError::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!("{name} is not an aggregate function"),
        )
        .at(call.at as usize));
    }
    let mut args = Vec::with_capacity(call.args.len());
    for arg in &call.args {
        args.push(binder.expr(arg)?);
    }
    let types: Vec<Type> = args.iter().map(|(_, typed)| typed.ty).collect();
    let candidates = TABLES.iter().flat_map(|table| table.iter());
    let best = candidates
        .filter(|function| function.name == name)
        .filter_map(|function| Some((fit(function, &types)?, function)))
        // The first of equally good ones.
        .min_by_key(|(cost, _)| *cost);
    // These exist for numeric too, and PostgreSQL would take them.
    if types.contains(&Type::Numeric)
        && (best.is_none() || matches!(name, "abs" | "floor" | "ceil" | "round" | "sqrt" | "power"))
    {
        return Err(PgError::feature_not_supported("type numeric"));
    }
    let Some((_, function)) = best else {
        let mut ours = TABLES.iter().flat_map(|table| table.iter());
        if !ours.any(|function| function.name == name) && KNOWN.lines().any(|known| known == name) {
            return Err(PgError::feature_not_supported(format_args!(
                "the function {name}"
            )));
        }
        let types: Vec<&str> = types.iter().map(|ty| ty.sql_name()).collect();
        let error = PgError::undefined_function(&format!("{name}({})", types.join(", ")));
        return Err(error.at(call.at as usize));
    };
    bind_args(binder, function, args)
}

/// How badly a function fits arguments: the number of casts; `None` if it does not.
fn fit(function: &Function, types: &[Type]) -> Option<usize> {
    let wanted = function.args.len();
    if types.len() != wanted && !(function.variadic && types.len() + 1 >= wanted) {
        return None;
    }
    let mut cost = 0;
    for (place, &ty) in types.iter().enumerate() {
        cost += match function.args[place.min(wanted - 1)] {
            Arg::Is(wanted) if wanted == ty => 0,
            // Unknown prefers text.
            Arg::Is(Type::Text) if ty == Type::Unknown => 1,
            Arg::Is(_) if ty == Type::Unknown => 2,
            Arg::Is(wanted) => implicit_cost(ty, wanted)?,
            Arg::Any | Arg::Element if ty == Type::Numeric => return None,
            Arg::Any | Arg::Element => 1,
            Arg::Array if ty == Type::Unknown || ty.element().is_some() => 1,
            Arg::Array => return None,
        };
    }
    Some(cost)
}

fn implicit_cost(from: Type, to: Type) -> Option<usize> {
    let rank = |ty| match ty {
        Type::Int2 => Some(1),
        Type::Int4 => Some(2),
        Type::Int8 => Some(3),
        Type::Float8 => Some(5),
        _ => None,
    };
    match (from, to) {
        (Type::Varchar | Type::Name, Type::Text) => Some(0),
        (Type::Numeric, Type::Float8) => Some(1),
        (Type::Int2 | Type::Int4 | Type::Int8, Type::Regclass | Type::Oid) => Some(4),
        _ => match (rank(from)?, rank(to)?) {
            (from, to) if from < to => Some(to - from),
            _ => None,
        },
    }
}

fn bind_args(
    binder: &mut Binder<'_>,
    function: &'static Function,
    args: Vec<(Scalar, Typed)>,
) -> Result<(Scalar, Typed), PgError> {
    let element = args
        .iter()
        .zip(function.args)
        .find_map(|((_, typed), arg)| match arg {
            Arg::Array => typed.ty.element(),
            _ => None,
        });
    let mut bound = Vec::with_capacity(args.len());
    let mut types = Vec::with_capacity(args.len());
    for (place, (scalar, from)) in args.into_iter().enumerate() {
        let to = match function.args[place.min(function.args.len() - 1)] {
            Arg::Is(ty) => ty,
            Arg::Element => element.unwrap_or(Type::Text),
            Arg::Array if from.ty == Type::Unknown => Type::TextArray,
            Arg::Any if from.ty == Type::Unknown => Type::Text,
            Arg::Any | Arg::Array => from.ty,
        };
        types.push(to);
        match binder.cast_argument(scalar, from, to)? {
            Some(scalar) => bound.push(scalar),
            None => {
                return Err(PgError::undefined_function(&format!(
                    "{}({})",
                    function.name, from.ty
                )));
            }
        }
    }
    let ty = match function.result {
        Returns::Is(ty) => ty,
        Returns::Same(place) => types[place],
        Returns::ElementOf(place) => types[place].element().unwrap_or(Type::Text),
    };
    Ok((Scalar::Call(function, bound), ty.into()))
}

/// Constructs of the grammar that look like functions.
fn construct(
    binder: &mut Binder<'_>,
    name: &str,
    call: &Call,
) -> Result<Option<(Scalar, Typed)>, PgError> {
    let mut args = || -> Result<Vec<(Scalar, Typed)>, PgError> {
        call.args.iter().map(|arg| binder.expr(arg)).collect()
    };
    Ok(Some(match name {
        "coalesce" => {
            let args = args()?;
            let (args, typed) = binder.unify_args(args, "COALESCE")?;
            (Scalar::Coalesce(args), typed)
        }
        "greatest" | "least" => {
            let args = args()?;
            let construct = if name == "least" { "LEAST" } else { "GREATEST" };
            let (args, typed) = binder.unify_args(args, construct)?;
            (Scalar::Extreme(args, name == "least"), typed)
        }
        "nullif" if call.args.len() == 2 => {
            let (pair, typed) = binder.null_if(&call.args[0], &call.args[1], call.at)?;
            (Scalar::NullIf(Box::new(pair)), typed)
        }
        // Their precision is checked by the type, which knows microseconds only.
        "current_timestamp" if call.args.is_empty() => {
            return named(binder, "now").map(Some);
        }
        "current_role" | "user" => return named(binder, "current_user").map(Some),
        "current_catalog" => return named(binder, "current_database").map(Some),
        "current_date" | "current_time" | "localtime" | "localtimestamp" => {
            return Err(PgError::feature_not_supported(name.to_uppercase()));
        }
        _ => return Ok(None),
    }))
}

fn named(binder: &mut Binder<'_>, name: &str) -> Result<(Scalar, Typed), PgError> {
    let mut functions = TABLES.iter().flat_map(|table| table.iter());
    match functions.find(|function| function.name == name) {
        Some(function) => bind_args(binder, function, Vec::new()),
        None => Err(PgError::undefined_function(&format!("{name}()"))),
    }
}

fn aggregate(name: &str, star: bool) -> Option<Aggregate> {
    Some(match name {
        "count" if star => Aggregate::CountRows,
        "count" => Aggregate::Count,
        "sum" => Aggregate::Sum,
        "min" => Aggregate::Min,
        "max" => Aggregate::Max,
        "avg" => Aggregate::Avg,
        "bool_and" | "every" => Aggregate::BoolAnd,
        "bool_or" => Aggregate::BoolOr,
        "array_agg" => Aggregate::ArrayAgg,
        "string_agg" => Aggregate::StringAgg,
        _ => return None,
    })
}

fn bind_aggregate(
    binder: &mut Binder<'_>,
    function: Aggregate,
    name: &str,
    call: &Call,
) -> Result<(Scalar, Typed), PgError> {
    let mut args = Vec::with_capacity(call.args.len());
    let outer = binder.enter_aggregate(call.at)?;
    for arg in &call.args {
        args.push(binder.settled_argument(arg)?);
    }
    let filter = match &call.filter {
        Some(filter) => Some(binder.filter_argument(filter)?),
        None => None,
    };
    let mut order = Vec::with_capacity(call.order_by.len());
    for key in &call.order_by {
        let (scalar, _) = binder.settled_argument(&key.expr)?;
        order.push((scalar, key.descending, key.nulls_first));
    }
    binder.leave_aggregate(outer);
    let types: Vec<Type> = args.iter().map(|(_, typed)| typed.ty).collect();
    let missing = || {
        let types: Vec<&str> = types.iter().map(|ty| ty.sql_name()).collect();
        PgError::undefined_function(&format!("{name}({})", types.join(", "))).at(call.at as usize)
    };
    let lacking = |what: &str| PgError::feature_not_supported(what);
    use Aggregate as A;
    let result = match (function, &types[..]) {
        (A::CountRows, []) | (A::Count, [_]) => Type::Int8,
        (A::Sum, [Type::Int2 | Type::Int4]) => Type::Int8,
        (A::Sum, [Type::Int8]) => return Err(lacking("sum(bigint), whose type is numeric")),
        (A::Sum, [ty @ (Type::Float8 | Type::Interval)]) => *ty,
        (A::Avg, [Type::Int2 | Type::Int4 | Type::Int8]) => {
            return Err(lacking("avg of integers, whose type is numeric"));
        }
        (A::Avg, [Type::Float8]) => Type::Float8,
        (A::Min | A::Max, [Type::Varchar]) => Type::Text,
        (
            A::Min | A::Max,
            [
                ty @ (Type::Int2
                | Type::Int4
                | Type::Int8
                | Type::Float8
                | Type::Text
                | Type::Timestamptz
                | Type::Interval),
            ],
        ) => *ty,
        (A::BoolAnd | A::BoolOr, [Type::Bool]) => Type::Bool,
        (A::ArrayAgg, [ty]) => ty.array().ok_or_else(|| lacking("arrays of that type"))?,
        (A::StringAgg, [Type::Text | Type::Varchar, Type::Text | Type::Varchar]) => Type::Text,
        _ => return Err(missing()),
    };
    let plan = AggregatePlan {
        function,
        args: args.into_iter().map(|(scalar, _)| scalar).collect(),
        distinct: call.distinct,
        filter,
        order,
    };
    Ok((binder.add_aggregate(plan), result.into()))
}
