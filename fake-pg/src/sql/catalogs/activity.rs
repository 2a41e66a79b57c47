//! Sessions and their locks: `pg_stat_activity`, `pg_locks`.
//!
//! Only clients have sessions here: the server's own processes are not among them.

use super::{Facts, Rows, name, oid};
use crate::engine::{
    Activity, ActivityState, AdvisoryKey, DatabaseId, Granule, LockMode, LockTag, Pid, WaitOn,
};
use crate::types::Datum;

/// The OID of a session's database.
fn database_of(facts: &Facts<'_>, activity: &Activity) -> Option<DatabaseId> {
    let database = facts.catalog().database(&activity.database);
    database.map(|database| database.id)
}

fn time(at: Option<crate::engine::Timestamp>) -> Datum {
    at.map_or(Datum::Null, Datum::Timestamptz)
}

pub(super) fn pg_stat_activity(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&[
        "datid",
        "datname",
        "pid",
        "usesysid",
        "usename",
        "application_name",
        "client_port",
        "backend_start",
        "xact_start",
        "query_start",
        "state_change",
        "wait_event_type",
        "wait_event",
        "state",
        "backend_xid",
        "backend_xmin",
        "query",
        "backend_type",
    ]);
    let sessions = facts.exec.engine.activity();
    for (pid, seen) in facts.exec.sessions_seen() {
        let activity = &seen.activity;
        // What it waits for is as it is now.
        let now = sessions.get(pid);
        let (wait_type, wait) = now.map_or((Datum::Null, Datum::Null), |activity| {
            waits_for(facts, *pid, activity)
        });
        let database = database_of(facts, activity);
        let active = activity.state == ActivityState::Active;
        let user = facts.catalog().role(&activity.user);
        rows.push([
            database.map_or(Datum::Null, |id| oid(id.0)),
            name(&activity.database),
            Datum::Int4(pid.0),
            user.map_or(Datum::Null, |role| oid(role.id)),
            name(&activity.user),
            Datum::text(&*activity.application_name),
            Datum::Int4(-1),
            Datum::Timestamptz(activity.backend_start),
            time(activity.xact_start),
            time(activity.query_start),
            Datum::Timestamptz(activity.state_change),
            wait_type,
            wait,
            Datum::text(activity.state.name()),
            seen.xid
                .map_or(Datum::Null, |xid| Datum::Int8(xid.0 as i64)),
            match active {
                true => Datum::Int8(seen.xmin.0 as i64),
                false => Datum::Null,
            },
            Datum::text(&*activity.query),
            Datum::text("client backend"),
        ]);
    }
}

/// What a session waits for: the type of the event, and its name.
fn waits_for(facts: &Facts<'_>, pid: Pid, activity: &Activity) -> (Datum, Datum) {
    let event = |kind: &str, name: &str| (Datum::text(kind), Datum::text(name));
    if activity.state != ActivityState::Active {
        return event("Client", "ClientRead");
    }
    match (facts.exec.engine.waits_for(pid), activity.waiting) {
        (Some(tag), _) => event("Lock", lock_type(tag)),
        (None, Some(WaitOn::Sleep)) => event("Timeout", "PgSleep"),
        (None, Some(WaitOn::Replica)) => event("IPC", "SyncRep"),
        _ => (Datum::Null, Datum::Null),
    }
}

/// A kind of lock as `pg_locks` and wait events name it.
fn lock_type(tag: LockTag) -> &'static str {
    match tag {
        LockTag::Tuple(..) => "tuple",
        LockTag::Transaction(_) => "transactionid",
        LockTag::VirtualTransaction(_) => "virtualxid",
        LockTag::Advisory(..) => "advisory",
        LockTag::Relation(_) => "relation",
        LockTag::Object(..) => "object",
    }
}

pub(super) fn pg_locks(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&[
        "locktype",
        "database",
        "relation",
        "page",
        "tuple",
        "virtualxid",
        "transactionid",
        "classid",
        "objid",
        "objsubid",
        "virtualtransaction",
        "pid",
        "mode",
        "granted",
        "fastpath",
        "waitstart",
    ]);
    let engine = &*facts.exec.engine;
    let sessions = engine.activity();
    // A transaction's name among sessions: which session, and since when.
    let transaction = |pid: Pid| {
        // What is prepared is named by its xid, and belongs to no process.
        if pid.0 < 0 {
            return Datum::text(format!("-1/{}", -pid.0));
        }
        let started = sessions.get(&pid).and_then(|activity| activity.xact_start);
        let started = started.map_or(0, |started| started.0);
        Datum::text(format!("{pid}/{started}"))
    };
    let process = |pid: Pid| match pid.0 < 0 {
        true => Datum::Null,
        false => Datum::Int4(pid.0),
    };
    let prepared_in = |pid: Pid| {
        let mut prepared = engine.prepared_transactions();
        let prepared = prepared.find(|prepared| prepared.xid().0 as i32 == -pid.0)?;
        let mut databases = facts.catalog().databases();
        let found = databases.find(|database| database.name == prepared.preparer.database)?;
        Some(found.id)
    };
    let holding = |kind: &str| {
        let mut row: [Datum; 16] = std::array::from_fn(|_| Datum::Null);
        row[0] = Datum::text(kind);
        (row[12], row[13]) = (Datum::text(LockMode::Exclusive.name()), Datum::Bool(true));
        row[14] = Datum::Bool(false);
        row
    };
    for (pid, activity) in sessions {
        let own = |mut row: [Datum; 16]| {
            (row[10], row[11]) = (transaction(*pid), Datum::Int4(pid.0));
            row
        };
        if activity.xact_start.is_some() {
            let mut row = own(holding("virtualxid"));
            (row[5], row[14]) = (transaction(*pid), Datum::Bool(true));
            rows.push(row);
        }
    }
    for entry in engine.locks() {
        let activity = sessions.get(&entry.pid);
        let database = match entry.pid.0 < 0 {
            true => prepared_in(entry.pid),
            false => activity.and_then(|activity| database_of(facts, activity)),
        };
        let database = database.map_or(Datum::Null, |id| oid(id.0));
        let mut row = holding(lock_type(entry.tag));
        match entry.tag {
            LockTag::Relation(table) => (row[1], row[2]) = (database, oid(table.0)),
            LockTag::Tuple(table, tid) => {
                (row[1], row[2]) = (database, oid(table.0));
                (row[3], row[4]) = (Datum::Int4(0), Datum::Int2(tid.0 as i16 + 1));
            }
            LockTag::VirtualTransaction(other) => row[5] = transaction(other),
            LockTag::Transaction(xid) => row[6] = Datum::Int8(xid.0 as i64),
            LockTag::Advisory(database, key) => {
                let (class, object, sub) = match key {
                    AdvisoryKey::One(key) => ((key as u64 >> 32) as u32, key as u32, 1),
                    AdvisoryKey::Two(first, second) => (first as u32, second as u32, 2),
                };
                (row[1], row[7], row[8]) = (oid(database.0), oid(class), oid(object));
                row[9] = Datum::Int2(sub);
            }
            LockTag::Object(database, class, id) => {
                (row[1], row[7], row[8]) = (oid(database.0), oid(class), oid(id));
                row[9] = Datum::Int2(0);
            }
        }
        (row[10], row[11]) = (transaction(entry.pid), process(entry.pid));
        row[12] = Datum::text(entry.mode.name());
        row[13] = Datum::Bool(entry.granted);
        row[14] = Datum::Bool(entry.fastpath);
        if !entry.granted {
            row[15] = time(activity.and_then(|activity| activity.query_start));
        }
        rows.push(row);
    }
    // What serializable transactions have read comes last (`pg_lock_status`).
    for (target, pid) in engine.siread_locks() {
        let (kind, page, tuple) = match target.granule {
            Granule::Relation => ("relation", None, None),
            Granule::Page(page) => ("page", Some(page), None),
            Granule::Tuple(page, tuple) => ("tuple", Some(page), Some(tuple)),
        };
        let mut row = holding(kind);
        if let Some(table) = facts.exec.catalog().table_by_id(target.table) {
            row[1] = oid(table.database.0);
        }
        row[2] = oid(target.index.unwrap_or(target.table).0);
        row[3] = page.map_or(Datum::Null, |page| Datum::Int4(page as i32));
        row[4] = tuple.map_or(Datum::Null, |tuple| Datum::Int2(tuple as i16));
        if let Some(pid) = pid {
            (row[10], row[11]) = (transaction(pid), process(pid));
        }
        row[12] = Datum::text("SIReadLock");
        rows.push(row);
    }
}
