//! Snapshots and positions in the WAL, as SQL sees them.
//!
//! Both are kept as they are shown: `xmin:xmax:xip,…`, and two halves in hexadecimal. Source:
//! `utils/adt/xid8funcs.c` and `pg_lsn.c`.

use std::sync::Arc;

use super::Built;
use crate::engine::Halt;
use crate::sql::face::Context;
use crate::types::Datum;
use crate::types::numeric::Numeric;
use crate::types::snapshot::{PgSnapshot, lsn};

type Answer = Result<Datum, Halt>;

pub(super) const BUILT: Built = &[
    ("pg_current_snapshot()", current),
    ("txid_current_snapshot()", current),
    ("pg_snapshot_xmin(pg_snapshot)", xmin),
    ("txid_snapshot_xmin(txid_snapshot)", xmin),
    ("pg_snapshot_xmax(pg_snapshot)", xmax),
    ("txid_snapshot_xmax(txid_snapshot)", xmax),
    ("pg_snapshot_xip(pg_snapshot)", xip),
    ("txid_snapshot_xip(txid_snapshot)", xip),
    ("pg_visible_in_snapshot(xid8,pg_snapshot)", visible),
    ("txid_visible_in_snapshot(int8,txid_snapshot)", visible),
    ("pg_current_wal_lsn()", flushed),
    ("pg_current_wal_flush_lsn()", flushed),
    ("pg_current_wal_insert_lsn()", inserted),
    ("pg_switch_wal()", flushed),
    ("pg_wal_lsn_diff(pg_lsn,pg_lsn)", distance),
    ("pg_lsn_mi(pg_lsn,pg_lsn)", distance),
    ("pg_lsn_eq(pg_lsn,pg_lsn)", |_, args| {
        Ok(Datum::Bool(at(&args[0]) == at(&args[1])))
    }),
    ("pg_lsn_ne(pg_lsn,pg_lsn)", |_, args| {
        Ok(Datum::Bool(at(&args[0]) != at(&args[1])))
    }),
    ("pg_lsn_lt(pg_lsn,pg_lsn)", |_, args| {
        Ok(Datum::Bool(at(&args[0]) < at(&args[1])))
    }),
    ("pg_lsn_le(pg_lsn,pg_lsn)", |_, args| {
        Ok(Datum::Bool(at(&args[0]) <= at(&args[1])))
    }),
    ("pg_lsn_gt(pg_lsn,pg_lsn)", |_, args| {
        Ok(Datum::Bool(at(&args[0]) > at(&args[1])))
    }),
    ("pg_lsn_ge(pg_lsn,pg_lsn)", |_, args| {
        Ok(Datum::Bool(at(&args[0]) >= at(&args[1])))
    }),
];

fn current(context: &mut Context<'_>, _: &[Datum]) -> Answer {
    context.exec.datum(|exec| {
        let (xmin, xmax, xip) = exec.current_snapshot();
        let number = |xid: crate::engine::Xid| xid.0;
        Ok(Datum::text(
            PgSnapshot {
                xmin: number(xmin),
                xmax: number(xmax),
                xip: xip.into_iter().map(number).collect(),
            }
            .to_string(),
        ))
    })
}

/// What is stored is well formed: it was checked when it was read.
fn snapshot(datum: &Datum) -> PgSnapshot {
    let text = datum.as_str().unwrap_or_default();
    PgSnapshot::parse(text).unwrap_or_default()
}

fn xmin(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::Int8(snapshot(&args[0]).xmin as i64))
}

fn xmax(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::Int8(snapshot(&args[0]).xmax as i64))
}

fn xip(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let running = snapshot(&args[0]).xip;
    let running: Arc<[Datum]> = running.iter().map(|xid| Datum::Int8(*xid as i64)).collect();
    Ok(Datum::Array(running))
}

fn visible(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let xid = args[0].as_i64().unwrap_or(0) as u64;
    Ok(Datum::Bool(snapshot(&args[1]).includes(xid)))
}

fn flushed(context: &mut Context<'_>, _: &[Datum]) -> Answer {
    let position = |exec: &mut crate::engine::Exec<'_>| exec.engine.wal_positions().1;
    context
        .exec
        .datum(|exec| Ok(Datum::text(position(exec).to_string())))
}

fn inserted(context: &mut Context<'_>, _: &[Datum]) -> Answer {
    let position = |exec: &mut crate::engine::Exec<'_>| exec.engine.wal_positions().0;
    context
        .exec
        .datum(|exec| Ok(Datum::text(position(exec).to_string())))
}

fn at(datum: &Datum) -> u64 {
    datum.as_str().and_then(lsn).unwrap_or(0)
}

fn distance(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let distance = i128::from(at(&args[0])) - i128::from(at(&args[1]));
    let number: Numeric = (distance as i64).into();
    Ok(number.into())
}
