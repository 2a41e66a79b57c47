//! ALTER TABLE, ALTER SEQUENCE, ALTER INDEX, ALTER VIEW.

use std::sync::Arc;

use squawk_syntax::{SyntaxKind as K, SyntaxNode};

use super::ddl::{column_with_constraints, constraint, expr_with_text, sequence_options, timing};
use super::expr::child_expr;
use super::operand::{is_type, type_name};
use super::tree::{Tree, child, child_name, child_of, name, path, relation};
use crate::sql::ast::{
    Alter, AlterAction, AlterSequence, Command, DropObject, Expr, Identity, Name, SequenceOptions,
};

type Lacking = Arc<str>;

/// Lowers ALTER TABLE and what is like it.
pub(super) fn alter(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let lower = || -> Result<Alter, Lacking> {
        let (object, reference) = match node.kind() {
            K::ALTER_INDEX => (DropObject::Index, K::INDEX_REF),
            K::ALTER_VIEW => (DropObject::View, K::VIEW_REF),
            K::ALTER_SEQUENCE => (DropObject::Sequence, K::SEQUENCE_REF),
            _ => (DropObject::Table, K::TABLE_RELATION_NAME),
        };
        let named = child(node, reference).ok_or("this ALTER")?;
        let mut actions = Vec::new();
        for part in node.children() {
            if part.kind() != reference && part.kind() != K::IF_EXISTS {
                actions.push(action(tree, &part)?);
            }
        }
        Ok(Alter {
            object,
            relation: relation(tree, &named),
            if_exists: child(node, K::IF_EXISTS).is_some(),
            actions,
        })
    };
    lower().map_or_else(Command::Unsupported, |alter| {
        Command::Alter(Box::new(alter))
    })
}

/// The name a constraint is referred to by.
fn constraint_ref(node: &SyntaxNode) -> Result<Name, Lacking> {
    let reference = child(node, K::CONSTRAINT_NAME_REF).ok_or("this constraint")?;
    let found = path(&reference).last().cloned();
    Ok(found.unwrap_or_else(|| name(&reference)))
}

/// The last part of a new name.
fn new_name(node: &SyntaxNode) -> Result<Name, Lacking> {
    let named = child_of(node, &[K::TABLE_NAME, K::INDEX, K::VIEW, K::SEQUENCE]);
    let named = named.ok_or("this RENAME")?;
    path(&named).last().cloned().ok_or("this RENAME".into())
}

fn action(tree: &Tree<'_>, node: &SyntaxNode) -> Result<AlterAction, Lacking> {
    let if_exists = child(node, K::IF_EXISTS).is_some();
    let cascade = child(node, K::CASCADE).is_some();
    Ok(match node.kind() {
        K::ADD_COLUMN => {
            let (column, constraints) = column_with_constraints(tree, node)?;
            AlterAction::AddColumn {
                column: Box::new(column),
                constraints,
                if_not_exists: child(node, K::IF_NOT_EXISTS).is_some(),
            }
        }
        K::DROP_COLUMN => AlterAction::DropColumn {
            name: child_name(node, K::COLUMN_NAME_REF).ok_or("this column")?,
            if_exists,
            cascade,
        },
        K::ALTER_COLUMN => return alter_column(tree, node),
        K::ADD_CONSTRAINT => return add_constraint(tree, node),
        K::DROP_CONSTRAINT => AlterAction::DropConstraint {
            name: constraint_ref(node)?,
            if_exists,
            cascade,
        },
        K::VALIDATE_CONSTRAINT => AlterAction::Validate(constraint_ref(node)?),
        K::ALTER_CONSTRAINT => AlterAction::AlterConstraint(constraint_ref(node)?, timing(node)?),
        K::TABLE_RENAME_TO | K::INDEX_RENAME_TO | K::VIEW_RENAME_TO | K::SEQUENCE_RENAME_TO => {
            AlterAction::Rename(new_name(node)?)
        }
        K::RENAME_COLUMN => AlterAction::RenameColumn(
            child_name(node, K::COLUMN_NAME_REF).ok_or("this column")?,
            child_name(node, K::COLUMN_NAME).ok_or("this column")?,
        ),
        K::RENAME_CONSTRAINT => AlterAction::RenameConstraint(
            constraint_ref(node)?,
            child_name(node, K::CONSTRAINT_NAME).ok_or("this constraint")?,
        ),
        K::SET_SCHEMA => {
            AlterAction::SetSchema(child_name(node, K::SCHEMA_REF).ok_or("this schema")?)
        }
        K::SET_UNLOGGED => AlterAction::SetUnlogged(true),
        K::SET_LOGGED => AlterAction::SetUnlogged(false),
        K::OWNER_TO => AlterAction::Owner(name(node)),
        K::SET_OPTIONS | K::RESET_OPTIONS | K::CLUSTER_ON | K::SET_WITHOUT_CLUSTER => {
            AlterAction::Tuning
        }
        other => {
            let words = format!("{other:?}").replace('_', " ");
            return Err(format!("ALTER TABLE … {words}").into());
        }
    })
}

fn alter_column(tree: &Tree<'_>, node: &SyntaxNode) -> Result<AlterAction, Lacking> {
    let column = child_name(node, K::COLUMN_NAME_REF).ok_or("this column")?;
    let mut parts = node
        .children()
        .filter(|part| part.kind() != K::COLUMN_NAME_REF);
    let part = parts.next().ok_or("this ALTER COLUMN")?;
    Ok(match part.kind() {
        K::SET_TYPE => {
            let ty = part.children().find(is_type).ok_or("this type")?;
            if child(&part, K::COLLATE).is_some() {
                return Err("COLLATE".into());
            }
            let using = child(&part, K::USING_EXPR);
            AlterAction::SetType {
                column,
                ty: type_name(tree, &ty),
                using: using.and_then(|using| child_expr(tree, &using)),
            }
        }
        K::SET_DEFAULT => AlterAction::SetDefault(column, expr_with_text(tree, &part)),
        K::DROP_DEFAULT => AlterAction::SetDefault(column, None),
        K::SET_NOT_NULL => AlterAction::SetNotNull(column, true),
        K::DROP_NOT_NULL => AlterAction::SetNotNull(column, false),
        K::ADD_GENERATED => AlterAction::AddIdentity(
            column,
            Identity {
                always: child(&part, K::GENERATED_ALWAYS).is_some(),
                options: child(&part, K::SEQUENCE_OPTION_LIST)
                    .map_or(Ok(SequenceOptions::default()), |list| {
                        sequence_options(tree, &list)
                    })?,
            },
        ),
        K::DROP_IDENTITY => AlterAction::DropIdentity(column, child(&part, K::IF_EXISTS).is_some()),
        K::SET_GENERATED_OPTIONS if part.children().count() == 1 => {
            let set = child(&part, K::SET_GENERATED).ok_or("options of an identity column")?;
            AlterAction::SetIdentity(column, child(&set, K::GENERATED_ALWAYS).is_some())
        }
        K::SET_STATISTICS
        | K::SET_STORAGE
        | K::SET_COMPRESSION
        | K::SET_OPTIONS
        | K::RESET_OPTIONS => AlterAction::Tuning,
        other => {
            let words = format!("{other:?}").replace('_', " ");
            return Err(format!("ALTER COLUMN … {words}").into());
        }
    })
}

fn add_constraint(tree: &Tree<'_>, node: &SyntaxNode) -> Result<AlterAction, Lacking> {
    let inner = node.first_child().ok_or("this constraint")?;
    if let Some(using) = child(&inner, K::USING_INDEX_NAME) {
        let index = child(&using, K::INDEX_REF).ok_or("this index")?;
        return Ok(AlterAction::AddKeyUsing {
            name: child(&inner, K::CONSTRAINT_NAME_CLAUSE)
                .and_then(|clause| child_name(&clause, K::CONSTRAINT_NAME)),
            index: path(&index).last().cloned().ok_or("this index")?,
            primary: inner.kind() == K::PRIMARY_KEY_CONSTRAINT,
        });
    }
    let not_valid = child(&inner, K::NOT_VALID).is_some();
    Ok(AlterAction::AddConstraint(
        constraint(tree, &inner, None)?,
        not_valid,
    ))
}

/// Lowers ALTER SEQUENCE that changes how it counts.
pub(super) fn alter_sequence(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let renames = [
        K::SEQUENCE_RENAME_TO,
        K::SET_SCHEMA,
        K::OWNER_TO,
        K::SET_LOGGED,
        K::SET_UNLOGGED,
    ];
    if child_of(node, &renames).is_some() {
        return alter(tree, node);
    }
    let lower = || -> Result<AlterSequence, Lacking> {
        let sequence = child(node, K::SEQUENCE_REF).ok_or("this ALTER SEQUENCE")?;
        let restart = match child(node, K::OPTION_RESTART) {
            None => None,
            Some(option) => match child_expr(tree, &option) {
                None => Some(None),
                Some(Expr::Integer(number, _)) => Some(Some(number)),
                Some(_) => return Err("this RESTART".into()),
            },
        };
        Ok(AlterSequence {
            sequence: relation(tree, &sequence),
            if_exists: child(node, K::IF_EXISTS).is_some(),
            options: SequenceOptions {
                owned_by: None,
                ..sequence_options(tree, node)?
            },
            restart,
            owned_by: sequence_options(tree, node)?.owned_by,
        })
    };
    lower().map_or_else(Command::Unsupported, |alter| {
        Command::AlterSequence(Box::new(alter))
    })
}
