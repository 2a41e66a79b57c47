//! CREATE, ALTER and DROP ROLE, GRANT and REVOKE, SET ROLE and SET SESSION AUTHORIZATION.
//!
//! Source: `commands/user.c`; `commands/variable.c` for whom a session acts as.

use std::sync::Arc;

use crate::engine::{DatabaseId, Halt, NameIndex, Role, RoleSetting};
use crate::error::{PgError, SqlState};
use crate::session::password::{is_verifier, md5_verifier, scram_verifier};
use crate::sql::ast::{RoleCommand, RoleOption};
use crate::sql::face::Context;
use crate::types::{Datum, Type};

/// Runs it; gives its tag.
pub(super) fn run(command: &RoleCommand, context: &mut Context<'_>) -> Result<&'static str, Halt> {
    match command {
        RoleCommand::Create { name, options } => create(name, options, context),
        RoleCommand::Alter { name, options } => {
            let mut role = changed(name, context)?;
            apply(&mut role, options, context)?;
            context.exec.put_role(role)?;
            Ok("ALTER ROLE")
        }
        RoleCommand::Set {
            name,
            database,
            setting,
            value,
        } => {
            let mut role = changed(name, context)?;
            role.settings.retain(|known| {
                known.database != *database || setting.as_ref().is_some_and(|s| *s != known.name)
            });
            if let (Some(setting), Some(value)) = (setting, value) {
                // It must be a value that could be set.
                context.settings.clone().set(setting, Some(value), false)?;
                role.settings.push(RoleSetting {
                    database: database.clone(),
                    name: setting.clone(),
                    value: value.as_str().into(),
                });
            }
            context.exec.put_role(role)?;
            Ok("ALTER ROLE")
        }
        RoleCommand::Rename { from, to } => rename(from, to, context),
        RoleCommand::Drop { names, if_exists } => drop_roles(names, *if_exists, context),
        RoleCommand::Member {
            grants,
            roles,
            members,
        } => change_members(*grants, roles, members, context),
        RoleCommand::Privileges {
            grants,
            tables,
            members,
        } => {
            for table in tables {
                let name = table.name.join(".");
                let (schema, table_name) = match &table.name[..] {
                    [schema, table] => (Some(&**schema), &**table),
                    [table] => (None, &**table),
                    _ => continue,
                };
                let catalog = context.exec.catalog();
                let found = catalog.relation(context.exec.path(), schema, table_name);
                found.ok_or_else(|| PgError::undefined_table(&name))?;
            }
            members
                .iter()
                .try_for_each(|role| find(role, context).map(drop))?;
            Ok(if *grants { "GRANT" } else { "REVOKE" })
        }
        RoleCommand::ActAs {
            role,
            local,
            resets,
        } => {
            act_as(role.as_deref(), *local, context)?;
            Ok(if *resets { "RESET" } else { "SET" })
        }
        RoleCommand::Authorize {
            role,
            local,
            resets,
        } => {
            authorize(role.as_deref(), *local, context)?;
            Ok(if *resets { "RESET" } else { "SET" })
        }
    }
}

fn undefined(name: &str) -> PgError {
    PgError::new(
        SqlState::UNDEFINED_OBJECT,
        format!("role \"{name}\" does not exist"),
    )
}

fn find(name: &str, context: &Context<'_>) -> Result<Arc<Role>, PgError> {
    let name = match name {
        "current_user" | "current_role" => context.user,
        "session_user" => context.settings.session_user(),
        name => name,
    };
    let role = context.exec.catalog().role(name).cloned();
    role.ok_or_else(|| undefined(name))
}

fn denied(what: &str) -> PgError {
    PgError::new(SqlState::INSUFFICIENT_PRIVILEGE, what)
}

/// Whether the session may make and change roles.
fn may_create_roles(context: &Context<'_>) -> bool {
    let role = context.exec.catalog().role(context.user);
    context.settings.is_superuser() || role.is_some_and(|role| role.create_role)
}

/// A role that is about to be changed.
fn changed(name: &str, context: &Context<'_>) -> Result<Role, PgError> {
    let role = find(name, context)?;
    let own = *role.name == *context.user;
    if role.superuser && !context.settings.is_superuser() {
        return Err(denied(
            "must be superuser to alter superuser roles or change superuser attribute",
        ));
    }
    if !own && !may_create_roles(context) {
        return Err(denied("permission denied"));
    }
    Ok(Role::clone(&role))
}

fn create(
    name: &str,
    options: &[(RoleOption, u32)],
    context: &mut Context<'_>,
) -> Result<&'static str, Halt> {
    let mut role = Role::new(0, name);
    let wants_superuser =
        |(option, _): &(RoleOption, u32)| *option == RoleOption::Flag("superuser".into(), true);
    if options.iter().any(wants_superuser) && !context.settings.is_superuser() {
        return Err(denied("must be superuser to create superusers").into());
    }
    if !may_create_roles(context) {
        return Err(denied("permission denied to create role").into());
    }
    refuse_reserved(name)?;
    if context.exec.catalog().role(name).is_some() {
        return Err(PgError::new(
            SqlState::DUPLICATE_OBJECT,
            format!("role \"{name}\" already exists"),
        )
        .into());
    }
    let exec = &mut context.exec;
    exec.reserve(NameIndex::Role, DatabaseId(0), "", name)?;
    apply(&mut role, options, context)?;
    role.id = context.exec.new_oid()?;
    context.exec.put_role(role)?;
    Ok("CREATE ROLE")
}

fn refuse_reserved(name: &str) -> Result<(), PgError> {
    if name.starts_with("pg_") || matches!(name, "none" | "public") {
        let error = PgError::new(
            SqlState::RESERVED_NAME,
            format!("role name \"{name}\" is reserved"),
        );
        return Err(match name.starts_with("pg_") {
            true => error.with_detail("Role names starting with \"pg_\" are reserved."),
            false => error,
        });
    }
    Ok(())
}

fn apply(
    role: &mut Role,
    options: &[(RoleOption, u32)],
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    for (place, (option, at)) in options.iter().enumerate() {
        let same = |(other, _): &(RoleOption, u32)| match (other, option) {
            (RoleOption::Flag(one, _), RoleOption::Flag(other, _)) => one == other,
            (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
        };
        if options[..place].iter().any(same) {
            return Err(PgError::redundant_options(*at).into());
        }
        match option {
            RoleOption::Flag(flag, on) => match &**flag {
                "superuser" => role.superuser = *on,
                "inherit" => role.inherit = *on,
                "createrole" => role.create_role = *on,
                "createdb" => role.create_db = *on,
                "login" => role.login = *on,
                "replication" => role.replication = *on,
                "bypassrls" => role.bypass_rls = *on,
                other => {
                    let message = format!("unrecognized role option \"{other}\"");
                    return Err(PgError::new(SqlState::SYNTAX_ERROR, message)
                        .near(*at)
                        .into());
                }
            },
            RoleOption::Password(None) => role.password = None,
            RoleOption::Password(Some(password)) => {
                role.password = Some(kept(password, &role.name, context)?);
            }
            RoleOption::ConnectionLimit(limit) => role.connection_limit = *limit,
            RoleOption::ValidUntil(until) => {
                let env = crate::types::Env::default();
                let until = crate::types::text::read(Type::Timestamptz, until, env)?;
                role.valid_until = match until {
                    Datum::Timestamptz(until) => Some(until),
                    _ => None,
                };
            }
            RoleOption::InRole(roles) => {
                for of in roles {
                    find(of, context)?;
                    role.member_of.push(of.clone());
                }
            }
        }
    }
    Ok(())
}

/// What is kept of a password.
fn kept(password: &str, role: &str, context: &mut Context<'_>) -> Result<Arc<str>, Halt> {
    if is_verifier(password) {
        return Ok(password.into());
    }
    if context.settings.get("password_encryption")? == "md5" {
        return Ok(md5_verifier(password, role).into());
    }
    let verifier = context.exec.datum(|exec| {
        let secret = exec.engine.draw_secret();
        let mut salt = [0; 16];
        salt.copy_from_slice(&secret[..16]);
        Ok(Datum::text(scram_verifier(password, &salt)))
    })?;
    Ok(verifier.as_str().unwrap_or("").into())
}

fn rename(from: &str, to: &str, context: &mut Context<'_>) -> Result<&'static str, Halt> {
    let mut role = changed(from, context)?;
    if from == context.settings.session_user() {
        let message = "session user cannot be renamed";
        return Err(PgError::feature_not_supported(message).into());
    }
    refuse_reserved(to)?;
    if context.exec.catalog().role(to).is_some() {
        let message = format!("role \"{to}\" already exists");
        return Err(PgError::new(SqlState::DUPLICATE_OBJECT, message).into());
    }
    let exec = &mut context.exec;
    exec.reserve(NameIndex::Role, DatabaseId(0), "", to)?;
    role.name = to.into();
    if role
        .password
        .as_ref()
        .is_some_and(|kept| kept.starts_with("md5"))
    {
        role.password = None;
        let notice = PgError::notice(
            SqlState::SUCCESSFUL_COMPLETION,
            "MD5 password cleared because of role rename",
        );
        context.exec.notice(notice);
    }
    context.exec.put_role(role)?;
    Ok("ALTER ROLE")
}

fn drop_roles(
    names: &[Arc<str>],
    if_exists: bool,
    context: &mut Context<'_>,
) -> Result<&'static str, Halt> {
    if !may_create_roles(context) {
        return Err(denied("permission denied to drop role").into());
    }
    for name in names {
        let Some(role) = context.exec.catalog().role(name).cloned() else {
            if !if_exists {
                return Err(undefined(name).into());
            }
            let message = format!("role \"{name}\" does not exist, skipping");
            let notice = PgError::notice(SqlState::SUCCESSFUL_COMPLETION, message);
            context.exec.notice(notice);
            continue;
        };
        let in_use = |what: &str| PgError::new(SqlState::OBJECT_IN_USE, what);
        if **name == *context.user {
            return Err(in_use("current user cannot be dropped").into());
        }
        if **name == *context.settings.session_user() {
            return Err(in_use("session user cannot be dropped").into());
        }
        context.exec.drop_role(role.id)?;
    }
    Ok("DROP ROLE")
}

fn change_members(
    grants: bool,
    roles: &[Arc<str>],
    members: &[Arc<str>],
    context: &mut Context<'_>,
) -> Result<&'static str, Halt> {
    for of in roles {
        find(of, context)?;
        for name in members {
            let mut member = Role::clone(&*find(name, context)?);
            let is_member = member.member_of.contains(of);
            if !may_create_roles(context) {
                let message = format!("must have admin option on role \"{of}\"");
                return Err(denied(&message).into());
            }
            if grants && (name == of || context.exec.catalog().is_member(of, name)) {
                return Err(PgError::new(
                    SqlState::INVALID_GRANT_OPERATION,
                    format!("role \"{of}\" is a member of role \"{name}\""),
                )
                .into());
            }
            match (grants, is_member) {
                (true, true) => {
                    let message = format!("role \"{name}\" is already a member of role \"{of}\"");
                    let notice = PgError::notice(SqlState::SUCCESSFUL_COMPLETION, message);
                    context.exec.notice(notice);
                    continue;
                }
                (false, false) => {
                    let message = format!("role \"{name}\" is not a member of role \"{of}\"");
                    context
                        .exec
                        .notice(PgError::warning(SqlState::WARNING, message));
                    continue;
                }
                (true, false) => member.member_of.push(of.clone()),
                (false, true) => member.member_of.retain(|other| other != of),
            }
            context.exec.put_role(member)?;
        }
    }
    Ok(if grants { "GRANT ROLE" } else { "REVOKE ROLE" })
}

fn unknown(name: &str) -> PgError {
    PgError::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("role \"{name}\" does not exist"),
    )
}

fn act_as(role: Option<&str>, local: bool, context: &mut Context<'_>) -> Result<(), PgError> {
    let catalog = context.exec.catalog();
    let session = context.settings.session_user();
    let superuser = match role {
        None => catalog.role(session).is_none_or(|role| role.superuser),
        Some(name) => {
            let Some(role) = catalog.role(name) else {
                return Err(unknown(name));
            };
            if !catalog.may_act_as(session, name) {
                return Err(denied(&format!("permission denied to set role \"{name}\"")));
            }
            role.superuser
        }
    };
    context.settings.act_as(role, superuser, local);
    Ok(())
}

fn authorize(role: Option<&str>, local: bool, context: &mut Context<'_>) -> Result<(), PgError> {
    let catalog = context.exec.catalog();
    let login = context.settings.login();
    let is_superuser = |name: &str| catalog.role(name).is_none_or(|role| role.superuser);
    let superuser = match role {
        None => is_superuser(login),
        Some(name) => {
            let Some(role) = catalog.role(name) else {
                return Err(unknown(name));
            };
            if name != login && !is_superuser(login) {
                let message = format!("permission denied to set session authorization \"{name}\"");
                return Err(denied(&message));
            }
            role.superuser
        }
    };
    let role = role.filter(|role| *role != login);
    context.settings.authorize(role, superuser, local);
    Ok(())
}
