//! Roles and whom a session acts as.

use squawk_syntax::{SyntaxKind as K, SyntaxNode};

use super::tree::{Tree, child, child_name, child_of, children, has, name, relation};
use super::utility::{setting_value, string};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{Command, Name, RoleCommand, RoleOption};

fn lacking(what: &str) -> Command {
    Command::Unsupported(what.into())
}

/// The name that a mention of a role spells.
fn role_name(node: &SyntaxNode) -> Name {
    let named = node
        .descendants()
        .find(|part| part.kind() == K::ROLE_NAME_REF);
    match named {
        Some(named) => name(&named),
        // CURRENT_USER and its like.
        None => node.text().to_string().trim().to_lowercase().into(),
    }
}

/// The roles of a list, PUBLIC left out.
fn role_names(node: &SyntaxNode) -> Vec<Name> {
    let list = child(node, K::ROLE_REF_LIST);
    let list = list.as_ref().unwrap_or(node);
    let names = children(list, K::ROLE_REF).map(|role| role_name(&role));
    names.filter(|name| &**name != "public").collect()
}

fn options(tree: &Tree<'_>, node: &SyntaxNode) -> Option<Vec<(RoleOption, u32)>> {
    let Some(list) = child(node, K::ROLE_OPTION_LIST) else {
        return Some(Vec::new());
    };
    let option = |node: SyntaxNode| {
        Some(match node.kind() {
            K::ROLE_OPTION_GENERIC => {
                let text = node.text().to_string().trim().to_lowercase();
                match text.strip_prefix("no") {
                    Some(flag) if flag != "t" => RoleOption::Flag(flag.into(), false),
                    _ => RoleOption::Flag(text.into(), true),
                }
            }
            K::ROLE_OPTION_INHERIT => RoleOption::Flag("inherit".into(), true),
            K::ROLE_OPTION_PASSWORD | K::ROLE_OPTION_ENCRYPTED_PASSWORD => {
                RoleOption::Password(string(&node))
            }
            K::ROLE_OPTION_CONNECTION_LIMIT => {
                let limit = node
                    .text()
                    .to_string()
                    .split_whitespace()
                    .last()?
                    .to_string();
                RoleOption::ConnectionLimit(limit.parse().ok()?)
            }
            K::ROLE_OPTION_VALID_UNTIL => RoleOption::ValidUntil(string(&node)?),
            K::ROLE_OPTION_IN_ROLE => RoleOption::InRole(role_names(&node)),
            _ => return None,
        })
    };
    let options = list.children();
    options
        .map(|node| Some((option(node.clone())?, tree.at(&node))))
        .collect()
}

/// Lowers CREATE ROLE, CREATE USER and CREATE GROUP.
pub(super) fn create(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let (Some(name), Some(given)) = (child_name(node, K::ROLE), options(tree, node)) else {
        return lacking("this CREATE ROLE");
    };
    // The grammar knows these two (`RoleId` in `gram.y`); what begins with pg_ is found later.
    if matches!(&*name, "none" | "public") {
        let message = format!("role name \"{name}\" is reserved");
        let place = child(node, K::ROLE).map_or(0, |role| tree.at(&role));
        tree.refuse_with(PgError::new(SqlState::RESERVED_NAME, message).near(place));
    }
    let mut all = Vec::new();
    let says_login = |(option, _): &(RoleOption, u32)| matches!(option, RoleOption::Flag(flag, _) if &**flag == "login");
    if has(node, K::USER_KW) && !given.iter().any(says_login) {
        all.push((RoleOption::Flag("login".into(), true), 0));
    }
    all.extend(given);
    Command::Role(Box::new(RoleCommand::Create { name, options: all }))
}

/// Lowers ALTER ROLE and ALTER USER.
pub(super) fn alter(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let Some(role) = child(node, K::ROLE_REF).map(|role| role_name(&role)) else {
        return lacking("ALTER ROLE ALL");
    };
    let database =
        child(node, K::IN_DATABASE).and_then(|inner| child_name(&inner, K::DATABASE_REF));
    let parameter = |inner: &SyntaxNode| {
        child(inner, K::CONFIG_PARAMETER_REF).map(|name| super::tree::path(&name).join(".").into())
    };
    let command = if let Some(to) = child(node, K::ROLE_RENAME_TO) {
        let Some(to) = child_name(&to, K::ROLE) else {
            return lacking("this ALTER ROLE");
        };
        RoleCommand::Rename { from: role, to }
    } else if let Some(set) = child(node, K::SET_CONFIG_PARAM) {
        let values = child(&set, K::TO_CONFIG_VALUE);
        let values = values.map(|values| {
            let values = values.children().map(|value| setting_value(&value));
            values.collect::<Option<Vec<String>>>()
        });
        let (Some(setting), Some(Some(values))) = (parameter(&set), values) else {
            return lacking("this ALTER ROLE SET");
        };
        // DEFAULT has no value.
        let value = (!values.is_empty()).then(|| values.join(", "));
        RoleCommand::Set {
            name: role,
            database,
            setting: Some(setting),
            value,
        }
    } else if let Some(reset) = child(node, K::RESET_CONFIG_PARAM) {
        RoleCommand::Set {
            name: role,
            database,
            setting: parameter(&reset),
            value: None,
        }
    } else {
        match options(tree, node) {
            Some(options) => RoleCommand::Alter {
                name: role,
                options,
            },
            None => return lacking("this ALTER ROLE"),
        }
    };
    Command::Role(Box::new(command))
}

/// Lowers DROP ROLE, DROP USER and DROP GROUP.
pub(super) fn drop(node: &SyntaxNode) -> Command {
    Command::Role(Box::new(RoleCommand::Drop {
        names: role_names(node),
        if_exists: child(node, K::IF_EXISTS).is_some(),
    }))
}

/// Lowers GRANT and REVOKE.
pub(super) fn grant(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let grants = node.kind() == K::GRANT;
    let members = role_names(node);
    let command = match child(node, K::ON_PRIVILEGE_OBJECTS_CLAUSE) {
        Some(on) => {
            let tables = child(&on, K::PRIVILEGE_DEFAULT).into_iter();
            let tables = tables.flat_map(|list| list.children().collect::<Vec<_>>());
            RoleCommand::Privileges {
                grants,
                tables: tables.map(|table| relation(tree, &table)).collect(),
                members,
            }
        }
        None => {
            let granted = child(node, K::REVOKE_COMMAND_LIST).into_iter();
            let granted =
                granted.flat_map(|list| children(&list, K::REVOKE_COMMAND).collect::<Vec<_>>());
            RoleCommand::Member {
                grants,
                roles: granted.map(|role| role_name(&role)).collect(),
                members,
            }
        }
    };
    Command::Role(Box::new(command))
}

/// Lowers SET ROLE, RESET ROLE, and the same for SESSION AUTHORIZATION.
pub(super) fn act_as(node: &SyntaxNode) -> Command {
    let local = child(node, K::LOCAL_SCOPE).is_some();
    let resets = matches!(node.kind(), K::RESET_ROLE | K::RESET_SESSION_AUTH);
    let named = child_of(node, &[K::ROLE_REF]).map(|role| role_name(&role));
    let role = named.or_else(|| string(node));
    Command::Role(Box::new(match node.kind() {
        K::SET_ROLE | K::RESET_ROLE => RoleCommand::ActAs {
            role: role.filter(|role| &**role != "none"),
            local,
            resets,
        },
        _ => RoleCommand::Authorize {
            role,
            local,
            resets,
        },
    }))
}
