//! What PostgreSQL has: every function, operator and cast, by its signature.
//!
//! `proc.txt`, `operator.txt` and `cast.txt` are PostgreSQL 15's `pg_proc`, `pg_operator` and `pg_cast`,
//! a line each, but for what takes types that are no use in SQL. All candidates must be known
//! to choose the one PostgreSQL chooses; only some of them are built. The tables are read once in
//! the life of the process.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::{Arg, BUILT, Body, Function, Returns, TABLES};
use crate::sql::plan::Comparison;
use crate::types::Type;

/// A row of `pg_proc`.
#[derive(Debug)]
pub(crate) struct Proc {
    pub(crate) name: &'static str,
    pub(crate) args: Vec<Type>,
    pub(crate) result: Type,
    /// It is an aggregate, or a window function.
    pub(crate) aggregate: bool,
    pub(crate) window: bool,
    pub(crate) strict: bool,
    pub(crate) set: bool,
    pub(crate) variadic: bool,
    pub(crate) volatile: bool,
    /// Constants for the last arguments.
    pub(crate) defaults: Vec<&'static str>,
    /// Names of the arguments, if they have any.
    pub(crate) names: Vec<&'static str>,
    /// The columns it returns, if they are several.
    pub(crate) out: Vec<(&'static str, Type)>,
    /// What does it, if it is built.
    pub(crate) function: Option<&'static Function>,
}

/// A row of `pg_operator`.
#[derive(Debug)]
pub(crate) struct Operator {
    pub(crate) name: &'static str,
    /// `None` for a prefix operator.
    pub(crate) left: Option<Type>,
    pub(crate) right: Type,
    pub(crate) result: Type,
    pub(crate) function: Option<&'static Function>,
    /// What it asks of two values that are ordered as [`Datum`](crate::types::Datum) says.
    pub(crate) comparison: Option<Comparison>,
}

/// A row of `pg_cast`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CastRow {
    /// `castcontext`: 'i', 'a' or 'e'.
    pub(crate) context: char,
    /// `castmethod`: 'f', 'b' or 'i'.
    pub(crate) method: char,
}

/// All of them.
pub(crate) struct Signatures {
    procs: BTreeMap<&'static str, Vec<Proc>>,
    operators: BTreeMap<&'static str, Vec<Operator>>,
    casts: BTreeMap<(Type, Type), CastRow>,
}

static SIGNATURES: LazyLock<Signatures> = LazyLock::new(Signatures::read);

/// The functions of a name, in the order of `pg_proc.txt`.
pub(crate) fn procs(name: &str) -> &'static [Proc] {
    SIGNATURES.procs.get(name).map_or(&[], |procs| procs)
}

/// The operators of a name.
pub(crate) fn operators(name: &str) -> &'static [Operator] {
    let operators = SIGNATURES.operators.get(name);
    operators.map_or(&[], |operators| operators)
}

/// The cast from one type to another.
pub(crate) fn cast(from: Type, to: Type) -> Option<CastRow> {
    SIGNATURES.casts.get(&(from, to)).copied()
}

fn types(list: &str) -> Option<Vec<Type>> {
    list.split(',')
        .filter(|name| !name.is_empty())
        .map(Type::from_name)
        .collect()
}

fn words(list: &'static str) -> Vec<&'static str> {
    list.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect()
}

/// Types whose values are ordered by [`Datum`](crate::types::Datum) itself, so that comparing them needs no
/// function.
fn is_plainly_ordered(ty: Type) -> bool {
    use Type::*;
    matches!(
        ty,
        Bool | Bytea
            | Char
            | Name
            | Int8
            | Int2
            | Int4
            | Text
            | Oid
            | Float4
            | Float8
            | Bpchar
            | Varchar
            | Date
            | Time
            | Timestamp
            | Timestamptz
            | Interval
            | Numeric
            | Record
            | Uuid
            | Jsonb
            | Xid
            | Xid8
            | Anyarray
            | Anyenum
    )
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        "=" => Comparison::Equal,
        "<>" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

impl Signatures {
    fn read() -> Signatures {
        let bodies = built();
        let mut procs: BTreeMap<&'static str, Vec<Proc>> = BTreeMap::new();
        for line in include_str!("proc.txt").lines() {
            if let Some(proc) = proc(line, &bodies) {
                procs.entry(proc.name).or_default().push(proc);
            }
        }
        let mut operators: BTreeMap<&'static str, Vec<Operator>> = BTreeMap::new();
        for line in include_str!("operator.txt").lines() {
            if let Some(operator) = operator(line, &procs) {
                operators.entry(operator.name).or_default().push(operator);
            }
        }
        let mut casts = BTreeMap::new();
        for line in include_str!("cast.txt").lines() {
            let fields: Vec<&str> = line.split('|').collect();
            if let [from, to, context, method, _] = fields[..]
                && let (Some(from), Some(to)) = (Type::from_name(from), Type::from_name(to))
                && let (Some(context), Some(method)) =
                    (context.chars().next(), method.chars().next())
            {
                casts.insert((from, to), CastRow { context, method });
            }
        }
        Signatures {
            procs,
            operators,
            casts,
        }
    }
}

/// What is built, by signature: `int4pl(int4,int4)`.
fn built() -> BTreeMap<&'static str, Body> {
    BUILT
        .iter()
        .flat_map(|table| table.iter())
        .copied()
        .collect()
}

fn proc(line: &'static str, bodies: &BTreeMap<&'static str, Body>) -> Option<Proc> {
    let fields: Vec<&'static str> = line.split('|').collect();
    let [name, args, result, flags, defaults, names, out] = fields[..] else {
        return None;
    };
    // Its kind, then strict, returns a set, variadic, then its volatility.
    let middle = flags.get(1..flags.len().checked_sub(1)?)?;
    let mut proc = Proc {
        name,
        args: types(args)?,
        result: Type::from_name(result)?,
        aggregate: flags.starts_with('a'),
        window: flags.starts_with('w'),
        strict: middle.contains('s'),
        set: middle.contains('r'),
        variadic: middle.contains('m'),
        volatile: flags.ends_with('v'),
        defaults: words(defaults),
        names: words(names),
        out: out
            .split(',')
            .filter_map(|column| {
                let (name, ty) = column.split_once(' ')?;
                Some((name, Type::from_name(ty)?))
            })
            .collect(),
        function: None,
    };
    let signature = format!("{name}({args})");
    proc.function = match bodies.get(&*signature) {
        Some(body) => Some(Box::leak(Box::new(Function {
            name,
            args: &[],
            result: Returns::Is(proc.result),
            strict: proc.strict,
            variadic: proc.variadic,
            set: proc.set,
            body: *body,
        }))),
        None => TABLES
            .iter()
            .flat_map(|table| table.iter())
            .find(|function| function.name == name && is_for(function, &proc)),
    };
    Some(proc)
}

/// Whether an entry of the tables is this function.
fn is_for(function: &Function, proc: &Proc) -> bool {
    let Returns::Is(result) = function.result;
    function.args.len() == proc.args.len()
        && function.variadic == proc.variadic
        && result == proc.result
        && function
            .args
            .iter()
            .zip(&proc.args)
            .all(|(arg, ty)| match arg {
                Arg::Is(wanted) => wanted == ty,
                Arg::Any => matches!(ty, Type::Any | Type::Anyelement | Type::Anycompatible),
            })
}

fn operator(line: &'static str, procs: &BTreeMap<&'static str, Vec<Proc>>) -> Option<Operator> {
    let fields: Vec<&'static str> = line.split('\t').collect();
    let [name, left, right, result, function] = fields[..] else {
        return None;
    };
    let left = match left {
        "" => None,
        left => Some(Type::from_name(left)?),
    };
    let (right, result) = (Type::from_name(right)?, Type::from_name(result)?);
    let args: Vec<Type> = left.into_iter().chain([right]).collect();
    let named = procs.get(function).map_or(&[][..], |procs| procs);
    let function = named
        .iter()
        .find(|proc| proc.args == args)
        .and_then(|proc| proc.function);
    let plain = function.is_none() && args.iter().all(|&ty| is_plainly_ordered(ty));
    Some(Operator {
        name,
        left,
        right,
        result,
        function,
        comparison: comparison(name).filter(|_| plain),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_a_function_of_postgres() {
        let signature = |proc: &Proc| {
            let args: Vec<&str> = proc.args.iter().map(|ty| ty.name()).collect();
            format!("{}({})", proc.name, args.join(","))
        };
        let known: std::collections::BTreeSet<String> =
            SIGNATURES.procs.values().flatten().map(signature).collect();
        let strangers: Vec<&str> = built()
            .into_keys()
            .filter(|name| !known.contains(*name))
            .collect();
        assert!(strangers.is_empty(), "{strangers:?}");
        let lost: Vec<String> = TABLES
            .iter()
            .flat_map(|table| table.iter())
            .filter(|function| {
                !procs(function.name)
                    .iter()
                    .any(|proc| is_for(function, proc))
            })
            .map(|function| format!("{}{:?}", function.name, function.args))
            .collect();
        assert!(lost.is_empty(), "{lost:?}");
    }
}
