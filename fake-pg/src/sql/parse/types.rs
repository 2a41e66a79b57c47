//! CREATE TYPE, ALTER TYPE, DROP TYPE.

use squawk_syntax::ast::{AstNode, Literal};
use squawk_syntax::{SyntaxKind as K, SyntaxNode};

use super::tree::{Tree, child, child_of, children, path, relation};
use crate::sql::ast::{AlterEnum, Command, Name, Place};

fn labels(node: &SyntaxNode) -> Vec<Name> {
    children(node, K::LITERAL)
        .filter_map(|literal| Some(Literal::cast(literal)?.string_value()?.into()))
        .collect()
}

/// Lowers CREATE TYPE … AS ENUM.
pub(super) fn create(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let Some(definition) = child(node, K::ENUM_TYPE) else {
        return Command::Unsupported("CREATE TYPE other than AS ENUM".into());
    };
    let Some(name) = child(node, K::TYPE_NAME) else {
        return Command::Unsupported("this CREATE TYPE".into());
    };
    let list = child(&definition, K::VARIANT_LIST);
    let variants = list.map_or(Vec::new(), |list| {
        children(&list, K::VARIANT)
            .flat_map(|variant| labels(&variant))
            .collect()
    });
    Command::CreateEnum {
        name: relation(tree, &name),
        labels: variants,
    }
}

/// Lowers ALTER TYPE of an enum.
pub(super) fn alter(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let Some(name) = child(node, K::TYPE_NAME_REF) else {
        return Command::Unsupported("this ALTER TYPE".into());
    };
    let Some(action) = child_of(node, &[K::ADD_VALUE, K::RENAME_VALUE, K::TYPE_RENAME_TO]) else {
        return Command::Unsupported("this ALTER TYPE".into());
    };
    let own = labels(&action);
    let change = match (action.kind(), &own[..]) {
        (K::ADD_VALUE, [label]) => {
            let neighbour = child_of(&action, &[K::BEFORE_VALUE, K::AFTER_VALUE]);
            let place = neighbour.and_then(|place| {
                let label = labels(&place).into_iter().next()?;
                Some(match place.kind() {
                    K::BEFORE_VALUE => Place::Before(label),
                    _ => Place::After(label),
                })
            });
            AlterEnum::Add {
                label: label.clone(),
                if_not_exists: child(&action, K::IF_NOT_EXISTS).is_some(),
                place: place.unwrap_or(Place::Last),
            }
        }
        (K::RENAME_VALUE, [from, to]) => AlterEnum::Rename(from.clone(), to.clone()),
        (K::TYPE_RENAME_TO, _) => {
            let new = child(&action, K::TYPE_NAME).and_then(|name| path(&name).pop());
            match new {
                Some(name) => AlterEnum::RenameType(name),
                None => return Command::Unsupported("this ALTER TYPE".into()),
            }
        }
        _ => return Command::Unsupported("this ALTER TYPE".into()),
    };
    Command::AlterEnum {
        name: relation(tree, &name),
        change,
    }
}

/// Lowers DROP TYPE.
pub(super) fn drop(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    Command::DropType {
        if_exists: child(node, K::IF_EXISTS).is_some(),
        cascade: child(node, K::CASCADE).is_some(),
        names: children(node, K::TYPE_NAME_REF)
            .map(|name| relation(tree, &name))
            .collect(),
    }
}
