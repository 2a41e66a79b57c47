//! Functions and operators: what there is, for which types.
//!
//! `signatures` knows all that PostgreSQL has, and a call is bound to what PostgreSQL would choose among
//! that. What is built stands in the tables of this folder's files, by signature; what is not fails
//! with `0A000`.

mod arrays;
mod bytes;
mod calls;
mod embedded;
mod fields;
mod backends;
mod introspection;
mod json;
mod json_make;
mod math;
mod signatures;
mod snapshots;
mod strings;
mod system;
mod series;
mod times;
mod times_make;
mod times_span;
mod words;

pub(crate) use arrays::{combine, element, slice};
pub(crate) use embedded::EmbeddedCall;
pub(crate) use introspection::{CLASS_NAMED, NAMED_CLASS};
pub(crate) use json_make::{key_text, to_tree, write_json};
pub(crate) use signatures::{Operator, Proc, cast, operators, procs};
pub(crate) use times::scale as scale_interval;

use super::ast::Call;
use super::face::Context;
use super::plan::{AggregatePlan, Binder, Choice, Scalar, Typed, is_ordered, resolve};
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
}

/// A result's type.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Returns {
    Is(Type),
}

impl Function {
    /// Whether it gives the same for the same arguments for ever: only then may an index be over it.
    pub(crate) fn is_immutable(&self) -> bool {
        const STABLE: &[&str] = &[
            "now",
            "transaction_timestamp",
            "statement_timestamp",
            "current_setting",
            "current_database",
            "current_schema",
            "current_schemas",
            "current_user",
            "session_user",
            "to_char",
            "to_timestamp",
            "to_date",
            "age",
            "date_trunc",
            "to_json",
            "to_jsonb",
            "concat",
            "concat_ws",
            "format",
        ];
        !self.is_volatile() && !STABLE.contains(&self.name)
    }

    /// Whether calling it changes anything, or may give something else the next
    /// time: then it is called for whole rows only.
    pub(crate) fn is_volatile(&self) -> bool {
        // Of what has several forms all are alike.
        procs(self.name).iter().any(|proc| proc.volatile)
    }
}

impl Function {
    /// Whether it depends on the session, the time or the catalog.
    pub(crate) fn is_stable(&self) -> bool {
        const STABLE: &[&str] = &[
            "pg_", "current", "txid_", "has_", "now", "to_reg", "regclass", "version",
        ];
        STABLE.iter().any(|prefix| self.name.starts_with(prefix))
            || self.name.contains("timestamp")
            || self.name.ends_with("_user")
            || self.name.ends_with("_description")
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
];

/// What is built besides, by signature; the rest is as `pg_proc` says.
pub(crate) type Built = &'static [(&'static str, Body)];

const BUILT: &[Built] = &[
    arrays::BUILT,
    bytes::BUILT,
    words::BUILT,
    math::BUILT,
    strings::BUILT,
    series::BUILT,
    times::BUILT,
    times_make::BUILT,
    times_span::BUILT,
    fields::BUILT,
    json::BUILT,
    snapshots::BUILT,
    json_make::BUILT,
];

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
    BitAnd,
    BitOr,
    BitXor,
    JsonAgg,
    JsonbAgg,
    JsonObjectAgg,
    JsonbObjectAgg,
    /// Of a sample rather than of all there are; its root rather than itself.
    Variance {
        sample: bool,
        root: bool,
    },
}

impl Aggregate {
    /// Whether it needs all values, in their order.
    pub(crate) fn keeps_all(self) -> bool {
        matches!(
            self,
            Aggregate::ArrayAgg
                | Aggregate::StringAgg
                | Aggregate::JsonAgg
                | Aggregate::JsonbAgg
                | Aggregate::JsonObjectAgg
                | Aggregate::JsonbObjectAgg
                | Aggregate::Variance { .. }
        )
    }
}

/// The columns a function returns, if it names them.
pub(crate) fn out_columns(function: &Function) -> &'static [(&'static str, Type)] {
    let proc = procs(function.name)
        .iter()
        .find(|proc| proc.function == Some(function));
    proc.map_or(&[], |proc| &proc.out)
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
    if procs(name).iter().any(|proc| proc.aggregate) {
        return bind_aggregate(binder, name, call);
    }
    if procs(name).iter().any(|proc| proc.window) {
        return Err(PgError::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!("window function {name} requires an OVER clause"),
        )
        .at(call.at as usize));
    }
    if call.star || call.distinct || call.filter.is_some() || !call.order_by.is_empty() {
        return Err(PgError::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!("{name} is not an aggregate function"),
        )
        .at(call.at as usize));
    }
    calls::bind(binder, name, call)
}

/// Constructs of the grammar that look like functions.
fn construct(
    binder: &mut Binder<'_>,
    name: &str,
    call: &Call,
) -> Result<Option<(Scalar, Typed)>, PgError> {
    Ok(Some(match name {
        "coalesce" => {
            let (args, typed) = binder.unify_args(&call.args, "COALESCE")?;
            (Scalar::Coalesce(args), typed)
        }
        "greatest" | "least" => {
            let construct = if name == "least" { "LEAST" } else { "GREATEST" };
            let (args, typed) = binder.unify_args(&call.args, construct)?;
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
        "current_date" | "localtimestamp" | "localtime" => {
            let (now, from) = named(binder, "now")?;
            let to = match name {
                "current_date" => Type::Date,
                "localtime" => Type::Time,
                _ => Type::Timestamp,
            };
            return Ok(binder
                .cast_explicitly(now, from, to)?
                .map(|cast| (cast, to.into())));
        }
        "current_time" => return Err(PgError::feature_not_supported("CURRENT_TIME")),
        _ => return Ok(None),
    }))
}

fn named(binder: &mut Binder<'_>, name: &str) -> Result<(Scalar, Typed), PgError> {
    calls::bind_args(binder, name, Vec::new(), 0)
}

/// What an aggregate of the catalog is here.
fn aggregate(proc: &Proc) -> Option<Aggregate> {
    let spread = |sample, root| Aggregate::Variance { sample, root };
    Some(match proc.name {
        "count" if proc.args.is_empty() => Aggregate::CountRows,
        "count" => Aggregate::Count,
        "sum" => Aggregate::Sum,
        "min" => Aggregate::Min,
        "max" => Aggregate::Max,
        "avg" => Aggregate::Avg,
        "bool_and" | "every" => Aggregate::BoolAnd,
        "bool_or" => Aggregate::BoolOr,
        "array_agg" if proc.args[0] == Type::Anynonarray => Aggregate::ArrayAgg,
        "string_agg" if proc.result == Type::Text => Aggregate::StringAgg,
        "bit_and" if proc.result != Type::Bit => Aggregate::BitAnd,
        "bit_or" if proc.result != Type::Bit => Aggregate::BitOr,
        "bit_xor" if proc.result != Type::Bit => Aggregate::BitXor,
        "json_agg" => Aggregate::JsonAgg,
        "jsonb_agg" => Aggregate::JsonbAgg,
        "json_object_agg" => Aggregate::JsonObjectAgg,
        "jsonb_object_agg" => Aggregate::JsonbObjectAgg,
        "variance" | "var_samp" => spread(true, false),
        "var_pop" => spread(false, false),
        "stddev" | "stddev_samp" => spread(true, true),
        "stddev_pop" => spread(false, true),
        _ => return None,
    })
}

/// How far out the nearest variables stand: then the aggregate is of that query
/// (`check_agg_arguments`). Without any it is of the query at hand.
fn level<'s>(parts: impl Iterator<Item = &'s Scalar>) -> usize {
    let mut nearest = usize::MAX;
    for part in parts {
        part.walk(&mut |part| match part {
            Scalar::Outer(level, _) => nearest = nearest.min(*level),
            Scalar::Column(_) => nearest = 0,
            Scalar::Subquery(subquery) if subquery.correlated => nearest = 0,
            _ => {}
        });
    }
    match nearest {
        usize::MAX => 0,
        level => level,
    }
}

fn bind_aggregate(
    binder: &mut Binder<'_>,
    name: &str,
    call: &Call,
) -> Result<(Scalar, Typed), PgError> {
    let mut args = Vec::with_capacity(call.args.len());
    let referred = binder.referred();
    let outer = binder.enter_aggregate(call.at)?;
    for arg in &call.args {
        args.push(binder.apart(|binder| binder.expr(arg))?);
    }
    let filter = match &call.filter {
        Some(filter) => Some(binder.filter_argument(filter)?),
        None => None,
    };
    let mut order = Vec::with_capacity(call.order_by.len());
    for key in &call.order_by {
        let (scalar, _) = binder.apart(|binder| binder.settled_argument(&key.expr))?;
        order.push((scalar, key.descending, key.nulls_first));
    }
    let types: Vec<Type> = args.iter().map(|(_, typed)| typed.ty).collect();
    if call.star && procs(name).iter().all(|proc| !proc.args.is_empty()) {
        return Err(PgError::undefined_function(&format!("{name}()")).at(call.at as usize));
    }
    if !call.star && name == "count" && types.is_empty() {
        return Err(PgError::new(
            SqlState::WRONG_OBJECT_TYPE,
            "count(*) must be used to call a parameterless aggregate function",
        )
        .at(call.at as usize));
    }
    let shown = || {
        let types: Vec<&str> = types.iter().map(|ty| ty.sql_name()).collect();
        format!("{name}({})", types.join(", "))
    };
    let chosen = match resolve::function(procs(name), &types, false) {
        Choice::One(chosen) => chosen,
        Choice::Nothing => {
            return Err(PgError::undefined_function(&shown()).at(call.at as usize));
        }
        Choice::Ambiguous => {
            return Err(PgError::new(
                SqlState::AMBIGUOUS_FUNCTION,
                format!("function {} is not unique", shown()),
            )
            .with_hint(
                "Could not choose a best candidate function. You might need to add explicit type casts.",
            )
            .at(call.at as usize));
        }
    };
    let Some(function) = aggregate(chosen.proc) else {
        return Err(PgError::feature_not_supported(format_args!(
            "the aggregate {}",
            calls::signature(chosen)
        )));
    };
    let written: Vec<Scalar> = args.iter().map(|(arg, _)| arg.clone()).collect();
    let (args, generic, types) = calls::arguments(binder, chosen, args, call.at)?;
    if call.distinct
        && let Some(place) = order
            .iter()
            .position(|(key, ..)| !written.contains(key) && !args.contains(key))
    {
        let message =
            "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
        return Err(PgError::new(SqlState::INVALID_COLUMN_REFERENCE, message)
            .near(call.order_by[place].expr.at()));
    }
    if call.distinct
        && let Some(place) = types.iter().position(|ty| !is_ordered(*ty))
    {
        let (ty, at) = (types[place], call.args.get(place).map_or(0, |arg| arg.at()));
        return Err(PgError::new(
            SqlState::UNDEFINED_FUNCTION,
            format!("could not identify an equality operator for type {ty}"),
        )
        .near(at));
    }
    binder.leave_aggregate(outer);
    let result = calls::result(chosen.proc.result, &generic)?;
    let plan = AggregatePlan {
        function,
        args,
        distinct: call.distinct,
        filter,
        order,
    };
    let keys = plan.order.iter().map(|(key, ..)| key);
    let level = level(plan.args.iter().chain(&plan.filter).chain(keys));
    let scalar = match level {
        0 => binder.add_aggregate(plan),
        level => binder.add_outer_aggregate(plan, level, call.at, &referred)?,
    };
    Ok((scalar, result.into()))
}
