//! What all databases share: databases and roles; and settings.

use super::{Facts, Rows, name, oid};
use crate::engine::Role;
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

/// All roles, by OID.
fn roles<'a>(facts: &'a Facts<'_>) -> Vec<&'a Role> {
    let mut roles: Vec<&Role> = facts.catalog().roles().map(|role| &**role).collect();
    roles.sort_by_key(|role| role.id);
    roles
}

fn valid_until(role: &Role) -> Datum {
    role.valid_until.map_or(Datum::Null, Datum::Timestamptz)
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
        "rolpassword",
        "rolvaliduntil",
    ]);
    for role in roles(facts) {
        let kept = role.password.as_deref();
        rows.push([
            oid(role.id),
            name(&role.name),
            Datum::Bool(role.superuser),
            Datum::Bool(role.inherit),
            Datum::Bool(role.create_role),
            Datum::Bool(role.create_db),
            Datum::Bool(role.login),
            Datum::Bool(role.replication),
            Datum::Bool(role.bypass_rls),
            Datum::Int4(role.connection_limit),
            kept.map_or(Datum::Null, Datum::text),
            valid_until(role),
        ]);
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
        "rolvaliduntil",
        "rolbypassrls",
        "oid",
    ]);
    for role in roles(facts) {
        rows.push([
            name(&role.name),
            Datum::Bool(role.superuser),
            Datum::Bool(role.inherit),
            Datum::Bool(role.create_role),
            Datum::Bool(role.create_db),
            Datum::Bool(role.login),
            Datum::Bool(role.replication),
            Datum::Int4(role.connection_limit),
            Datum::text("********"),
            valid_until(role),
            Datum::Bool(role.bypass_rls),
            oid(role.id),
        ]);
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
        "valuntil",
    ]);
    for role in roles(facts).into_iter().filter(|role| role.login) {
        rows.push([
            name(&role.name),
            oid(role.id),
            Datum::Bool(role.create_db),
            Datum::Bool(role.superuser),
            Datum::Bool(role.replication),
            Datum::Bool(role.bypass_rls),
            Datum::text("********"),
            valid_until(role),
        ]);
    }
}

/// Who is a member of whom.
pub(super) fn pg_auth_members(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&["roleid", "member", "grantor", "admin_option"]);
    for role in roles(facts) {
        let above = role.member_of.iter();
        let above = above.filter_map(|above| facts.catalog().role(above));
        for of in above {
            rows.push([oid(of.id), oid(role.id), oid(SUPERUSER), Datum::Bool(false)]);
        }
    }
}

pub(super) fn pg_settings(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&["name", "setting", "source"]);
    for (setting, value) in facts.settings.all() {
        let source = Datum::text("default");
        rows.push([Datum::text(setting), Datum::text(value), source]);
    }
}
