//! The server about itself: settings, sequences, transactions, advisory locks.

use std::sync::Arc;
use std::time::Duration;

use super::{Arg, Function, Returns, lenient, strict};
use crate::engine::{
    AdvisoryKey, AdvisoryScope, Halt, LockMode, Relation, Sequence, TableId, XactStatus, Xid,
};
use crate::error::{PgError, SqlState};
use crate::sql::execute::transaction_setting;
use crate::sql::face::Context;
use crate::sql::plan::{parse_name, split_name};
use crate::sql::quote::quote_name;
use crate::types::{Datum, Type};

use Arg::Is;
use Type::{Bool, Int4, Int8, Regclass, Text, Void, Xid8};

type Answer = Result<Datum, Halt>;

/// What `version()` says.
const VERSION: &str = "PostgreSQL 15.18 on x86_64-pc-linux-gnu, compiled by fake-pg, 64-bit";

macro_rules! advisory {
    ($($name:literal $body:ident $mode:ident $scope:ident $result:ident;)*) => {
        &[$(
            strict($name, &[Is(Int8)], Returns::Is($result), |context, args| {
                $body(context, args, LockMode::$mode, AdvisoryScope::$scope)
            }),
            strict($name, &[Is(Int4), Is(Int4)], Returns::Is($result), |context, args| {
                $body(context, args, LockMode::$mode, AdvisoryScope::$scope)
            }),
        )*]
    };
}

const ADVISORY: &[Function] = advisory! {
    "pg_advisory_lock" lock Exclusive Session Void;
    "pg_advisory_lock_shared" lock Share Session Void;
    "pg_advisory_xact_lock" lock Exclusive Transaction Void;
    "pg_advisory_xact_lock_shared" lock Share Transaction Void;
    "pg_try_advisory_lock" try_lock Exclusive Session Bool;
    "pg_try_advisory_lock_shared" try_lock Share Session Bool;
    "pg_try_advisory_xact_lock" try_lock Exclusive Transaction Bool;
    "pg_try_advisory_xact_lock_shared" try_lock Share Transaction Bool;
    "pg_advisory_unlock" unlock Exclusive Session Bool;
    "pg_advisory_unlock_shared" unlock Share Session Bool;
};

/// Advisory locks, of which there are many alike.
pub(super) const LOCKS: &[Function] = ADVISORY;

pub(super) const FUNCTIONS: &[Function] = &[
    strict("version", &[], Returns::Is(Text), |_, _| {
        Ok(Datum::text(VERSION))
    }),
    strict(
        "current_database",
        &[],
        Returns::Is(Type::Name),
        |context, _| Ok(Datum::text(context.database)),
    ),
    strict(
        "current_user",
        &[],
        Returns::Is(Type::Name),
        |context, _| Ok(Datum::text(context.user)),
    ),
    strict(
        "session_user",
        &[],
        Returns::Is(Type::Name),
        |context, _| Ok(Datum::text(context.settings.session_user())),
    ),
    strict(
        "current_schema",
        &[],
        Returns::Is(Type::Name),
        |context, _| {
            let namespace = context
                .exec
                .catalog()
                .creation_namespace(context.exec.path());
            Ok(namespace.map_or(Datum::Null, |namespace| Datum::Text(namespace.name.clone())))
        },
    ),
    strict("pg_reload_conf", &[], Returns::Is(Bool), |context, _| {
        context.exec.datum(|exec| {
            exec.engine.reload_config();
            Ok(Datum::Bool(true))
        })
    }),
    strict("pg_is_in_recovery", &[], Returns::Is(Bool), |_, _| {
        Ok(Datum::Bool(false))
    }),
    strict(
        "current_setting",
        &[Is(Text)],
        Returns::Is(Text),
        current_setting,
    ),
    strict(
        "current_setting",
        &[Is(Text), Is(Bool)],
        Returns::Is(Text),
        current_setting,
    ),
    lenient(
        "set_config",
        &[Is(Text), Is(Text), Is(Bool)],
        Returns::Is(Text),
        set_config,
    ),
    strict("pg_sleep", &[Is(Type::Float8)], Returns::Is(Void), sleep),
    strict(
        "nextval",
        &[Is(Regclass)],
        Returns::Is(Int8),
        |context, args| {
            let sequence = sequence(context, &args[0])?;
            context.exec.nextval(&sequence).map(Datum::Int8)
        },
    ),
    strict(
        "currval",
        &[Is(Regclass)],
        Returns::Is(Int8),
        |context, args| {
            let sequence = sequence(context, &args[0])?;
            Ok(Datum::Int8(context.exec.currval(&sequence)?))
        },
    ),
    strict("lastval", &[], Returns::Is(Int8), |context, _| {
        Ok(Datum::Int8(context.exec.lastval()?))
    }),
    strict(
        "setval",
        &[Is(Regclass), Is(Int8)],
        Returns::Is(Int8),
        setval,
    ),
    strict(
        "setval",
        &[Is(Regclass), Is(Int8), Is(Bool)],
        Returns::Is(Int8),
        setval,
    ),
    strict(
        "pg_get_serial_sequence",
        &[Is(Text), Is(Text)],
        Returns::Is(Text),
        serial_sequence,
    ),
    strict("txid_current", &[], Returns::Is(Int8), current_xid),
    strict("pg_current_xact_id", &[], Returns::Is(Xid8), current_xid),
    strict(
        "txid_current_if_assigned",
        &[],
        Returns::Is(Int8),
        xid_if_assigned,
    ),
    strict(
        "pg_current_xact_id_if_assigned",
        &[],
        Returns::Is(Xid8),
        xid_if_assigned,
    ),
    strict("txid_status", &[Is(Int8)], Returns::Is(Text), xact_status),
    strict(
        "pg_xact_status",
        &[Is(Xid8)],
        Returns::Is(Text),
        xact_status,
    ),
    strict(
        "pg_logical_emit_message",
        &[Is(Bool), Is(Text), Is(Text)],
        Returns::Is(Type::PgLsn),
        emit_message,
    ),
    strict(
        "pg_advisory_unlock_all",
        &[],
        Returns::Is(Void),
        |context, _| context.exec.advisory_unlock_all().map(|()| Datum::Void),
    ),
];

fn key(args: &[Datum]) -> AdvisoryKey {
    match args {
        [Datum::Int4(first), Datum::Int4(second)] => AdvisoryKey::Two(*first, *second),
        _ => AdvisoryKey::One(args[0].as_i64().unwrap_or(0)),
    }
}

fn lock(context: &mut Context<'_>, args: &[Datum], mode: LockMode, scope: AdvisoryScope) -> Answer {
    context.exec.advisory_lock(key(args), mode, scope)?;
    Ok(Datum::Void)
}

fn try_lock(
    context: &mut Context<'_>,
    args: &[Datum],
    mode: LockMode,
    scope: AdvisoryScope,
) -> Answer {
    context
        .exec
        .try_advisory_lock(key(args), mode, scope)
        .map(Datum::Bool)
}

fn unlock(context: &mut Context<'_>, args: &[Datum], mode: LockMode, _: AdvisoryScope) -> Answer {
    context
        .exec
        .advisory_unlock(key(args), mode)
        .map(Datum::Bool)
}

fn text(datum: &Datum) -> &str {
    datum.as_str().unwrap_or("")
}

fn current_setting(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let name = text(&args[0]);
    let settings = &*context.settings;
    // `set_config` later in the same statement may have changed it when it is executed again.
    context.exec.datum(|exec| {
        let value = transaction_setting(exec, name).or_else(|| settings.show(name));
        match value {
            Some(value) => Ok(Datum::text(value)),
            None if args.get(1) == Some(&Datum::Bool(true)) => Ok(Datum::Null),
            None => Err(settings
                .get(name)
                .map_or_else(Halt::Error, |_| PgError::undefined_column(name).into())),
        }
    })
}

fn set_config(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    if args[0].is_null() {
        return Err(PgError::new(
            "22004".parse().unwrap_or(SqlState::INVALID_PARAMETER_VALUE),
            "SET requires parameter name",
        )
        .into());
    }
    let name = text(&args[0]);
    let local = args[2] == Datum::Bool(true);
    let settings = &mut *context.settings;
    context.exec.datum(|_| {
        settings.set(name, args[1].as_str(), local)?;
        Ok(Datum::text(settings.get(name)?))
    })
}

fn sleep(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let seconds = args[0].as_f64().unwrap_or(0.0);
    let duration = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    context.check_for_interrupts()?;
    context.exec.sleep(duration)?;
    Ok(Datum::Void)
}

/// The sequence behind a regclass.
fn sequence(context: &Context<'_>, regclass: &Datum) -> Result<Arc<Sequence>, PgError> {
    let oid = TableId(regclass.as_i64().unwrap_or(0) as u32);
    let catalog = context.exec.catalog();
    if let Some(sequence) = catalog.sequences().find(|sequence| sequence.id == oid) {
        return Ok(sequence.clone());
    }
    Err(match catalog.relation_by_id(oid) {
        Some(other) => PgError::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!("\"{}\" is not a sequence", other.name()),
        ),
        None => PgError::new(
            SqlState::UNDEFINED_TABLE,
            format!("could not open relation with OID {oid}"),
        ),
    })
}

/// Source: `PreventCommandIfReadOnly`, which functions that write call themselves.
fn setval(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let sequence = sequence(context, &args[0])?;
    let value = args[1].as_i64().unwrap_or(0);
    let is_called = args.get(2) != Some(&Datum::Bool(false));
    context
        .exec
        .setval(&sequence, value, is_called)
        .map(Datum::Int8)
}

fn serial_sequence(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let (catalog, path) = (context.exec.catalog(), context.exec.path());
    let names = parse_name(text(&args[0]))?;
    let (schema, name) = split_name(catalog, path, &names)?;
    let found = catalog.relation(path, schema.map(|schema| &**schema), name);
    let Some(Relation::Table(table)) = found else {
        return Err(PgError::undefined_table(&names.join(".")).into());
    };
    let Some(column) = table.column(text(&args[1])) else {
        return Err(PgError::undefined_column_of(text(&args[1]), name).into());
    };
    let mut sequences = catalog.sequences();
    let owned = sequences.find(|sequence| sequence.owner == Some((table.id, column)));
    Ok(match owned {
        Some(sequence) => Datum::text(format!(
            "{}.{}",
            quote_name(&sequence.schema),
            quote_name(&sequence.name)
        )),
        None => Datum::Null,
    })
}

fn xid_datum(xid: Xid) -> Datum {
    Datum::Int8(xid.0 as i64)
}

fn current_xid(context: &mut Context<'_>, _: &[Datum]) -> Answer {
    context.exec.datum(|exec| Ok(xid_datum(exec.current_xid())))
}

fn xid_if_assigned(context: &mut Context<'_>, _: &[Datum]) -> Answer {
    context
        .exec
        .datum(|exec| Ok(exec.tx.top_xid().map_or(Datum::Null, xid_datum)))
}

fn xact_status(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let xid = Xid(args[0].as_i64().unwrap_or(0) as u64);
    context.exec.datum(|exec| {
        Ok(match exec.engine.xact_status(xid)? {
            Some(XactStatus::InProgress) => Datum::text("in progress"),
            Some(XactStatus::Committed) => Datum::text("committed"),
            Some(XactStatus::Aborted) => Datum::text("aborted"),
            None => Datum::Null,
        })
    })
}

fn emit_message(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let transactional = args[0] == Datum::Bool(true);
    let lsn = context
        .exec
        .emit_message(transactional, text(&args[1]), text(&args[2]))?;
    Ok(Datum::text(lsn.to_string()))
}
