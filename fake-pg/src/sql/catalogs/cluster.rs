//! What all databases share: databases and roles; and settings.

use super::{Facts, Rows, name, oid};
use crate::types::Datum;

/// The OID of the role that `initdb` makes (`BOOTSTRAP_SUPERUSERID`).
pub(super) const SUPERUSER: i64 = 10;

pub(super) fn pg_database(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&[
        "oid",
        "datname",
        "datdba",
        "encoding",
        "datlocprovider",
        "datistemplate",
        "datallowconn",
        "datconnlimit",
        "datfrozenxid",
        "datminmxid",
        "dattablespace",
        "datcollate",
        "datctype",
    ]);
    let mut databases: Vec<_> = facts.catalog().databases().collect();
    databases.sort_by_key(|database| database.id);
    for database in databases {
        rows.push([
            oid(database.id.0),
            name(&database.name),
            oid(SUPERUSER),
            Datum::Int4(6),
            Datum::text("c"),
            Datum::Bool(database.is_template),
            Datum::Bool(database.allows_connections),
            Datum::Int4(-1),
            oid(717),
            oid(1),
            oid(1663),
            Datum::text("C"),
            Datum::text("C"),
        ]);
    }
}

pub(super) fn pg_prepared_xacts(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&["transaction", "gid", "prepared", "owner", "database"]);
    for prepared in facts.exec.engine.prepared_transactions() {
        rows.push([
            Datum::Int8(prepared.xid().0 as i64),
            Datum::text(&*prepared.gid),
            Datum::Timestamptz(prepared.prepared),
            name(&prepared.preparer.user),
            name(&prepared.preparer.database),
        ]);
    }
}

/// The session's role and the one that `initdb` makes.
fn roles(facts: &Facts<'_>) -> Vec<(i64, String)> {
    let mut roles = vec![(SUPERUSER, "postgres".to_string())];
    if facts.user != "postgres" {
        roles.push((16383, facts.user.to_string()));
    }
    roles
}

pub(super) fn pg_authid(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&[
        "oid",
        "rolname",
        "rolsuper",
        "rolinherit",
        "rolcreaterole",
        "rolcreatedb",
        "rolcanlogin",
        "rolreplication",
        "rolbypassrls",
        "rolconnlimit",
    ]);
    for (id, role) in roles(facts) {
        let can = [true; 7].map(Datum::Bool);
        let start = [oid(id), Datum::text(role)];
        rows.push(start.into_iter().chain(can).chain([Datum::Int4(-1)]));
    }
}

pub(super) fn pg_roles(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&[
        "rolname",
        "rolsuper",
        "rolinherit",
        "rolcreaterole",
        "rolcreatedb",
        "rolcanlogin",
        "rolreplication",
        "rolconnlimit",
        "rolpassword",
        "rolbypassrls",
        "oid",
    ]);
    for (id, role) in roles(facts) {
        let can = [true; 6].map(Datum::Bool);
        let end = [
            Datum::Int4(-1),
            Datum::text("********"),
            Datum::Bool(true),
            oid(id),
        ];
        rows.push([Datum::text(role)].into_iter().chain(can).chain(end));
    }
}

pub(super) fn pg_user(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&[
        "usename",
        "usesysid",
        "usecreatedb",
        "usesuper",
        "userepl",
        "usebypassrls",
        "passwd",
    ]);
    for (id, role) in roles(facts) {
        let can = [true; 4].map(Datum::Bool);
        let start = [Datum::text(role), oid(id)];
        rows.push(
            start
                .into_iter()
                .chain(can)
                .chain([Datum::text("********")]),
        );
    }
}

pub(super) fn pg_settings(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&["name", "setting", "source"]);
    for (setting, value) in facts.settings.all() {
        let source = Datum::text("default");
        rows.push([Datum::text(setting), Datum::text(value), source]);
    }
}
