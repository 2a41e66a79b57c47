//! CREATE, ALTER and DROP of schemas and databases.

use squawk_syntax::{SyntaxKind as K, SyntaxNode};

use super::tree::{child, child_name, has, name};
use crate::sql::ast::Command;

/// Lowers CREATE SCHEMA.
pub(super) fn create_schema(node: &SyntaxNode) -> Command {
    if node.children().any(|part| {
        !matches!(
            part.kind(),
            K::IF_NOT_EXISTS | K::NAMED_SCHEMA | K::AUTHORIZATION_SCHEMA
        )
    }) {
        return Command::Unsupported("CREATE SCHEMA with elements".into());
    }
    let own = child(node, K::NAMED_SCHEMA).and_then(|named| child_name(&named, K::SCHEMA));
    // Without a name it has that of its owner.
    let of_role = || child_name(&child(node, K::AUTHORIZATION_SCHEMA)?, K::ROLE);
    match own.or_else(of_role) {
        Some(name) => Command::CreateSchema {
            name,
            if_not_exists: child(node, K::IF_NOT_EXISTS).is_some(),
        },
        None => Command::Unsupported("this CREATE SCHEMA".into()),
    }
}

/// Lowers ALTER SCHEMA.
pub(super) fn alter_schema(node: &SyntaxNode) -> Command {
    let to = child(node, K::SCHEMA_RENAME_TO).and_then(|to| child_name(&to, K::SCHEMA));
    match (child_name(node, K::SCHEMA_REF), to) {
        (Some(from), Some(to)) => Command::RenameSchema { from, to },
        _ => Command::Unsupported("ALTER SCHEMA … OWNER".into()),
    }
}

/// Lowers CREATE DATABASE. Its options choose an owner, a template, an encoding and a locale, of
/// which there is one each.
pub(super) fn create_database(node: &SyntaxNode) -> Command {
    match child_name(node, K::DATABASE) {
        Some(name) => Command::CreateDatabase(name),
        None => Command::Unsupported("this CREATE DATABASE".into()),
    }
}

/// Lowers DROP DATABASE.
pub(super) fn drop_database(node: &SyntaxNode) -> Command {
    if has(node, K::FORCE_KW) {
        return Command::Unsupported("DROP DATABASE WITH (FORCE)".into());
    }
    match child(node, K::DATABASE_REF) {
        Some(database) => Command::DropDatabase {
            name: name(&database),
            if_exists: child(node, K::IF_EXISTS).is_some(),
        },
        None => Command::Unsupported("this DROP DATABASE".into()),
    }
}
