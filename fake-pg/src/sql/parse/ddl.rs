//! CREATE TABLE, CREATE INDEX, CREATE SEQUENCE, DROP, TRUNCATE.

use std::sync::Arc;

use squawk_syntax::{SyntaxKind as K, SyntaxNode};

use super::expr::{child_expr, expr, is_expr};
use super::operand::{is_type, type_name};
use super::tree::{Tree, child, child_name, child_of, children, has, name, path, relation};
use crate::engine::LockMode;
use crate::sql::ast::{
    ColumnDef, Command, ConstraintKind, ConstraintTiming, CreateIndex, CreateSequence, CreateTable,
    DropObject, Expr, ForeignKey, Identity, Name, Reaction, Relation, SequenceOptions,
    TableConstraint, UniqueKey,
};

type Lacking = Arc<str>;

/// Lowers CREATE TABLE.
pub(super) fn create_table(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let lower = || -> Result<CreateTable, Lacking> {
        for (kind, what) in [
            (K::TEMP, "temporary tables"),
            (K::PARTITION_OF, "partitions"),
            (K::PARTITION_BY, "partitions"),
            (K::OF_TYPE, "typed tables"),
            (K::INHERITS, "table inheritance"),
            (K::USING_METHOD, "table access methods"),
            (K::ON_COMMIT, "ON COMMIT"),
        ] {
            if child(node, kind).is_some() {
                return Err(what.into());
            }
        }
        let table = child(node, K::TABLE_NAME).ok_or("this CREATE TABLE")?;
        let list = child(node, K::TABLE_ARG_LIST).ok_or("this CREATE TABLE")?;
        let mut create = CreateTable {
            table: relation(tree, &table),
            if_not_exists: child(node, K::IF_NOT_EXISTS).is_some(),
            unlogged: child(node, K::UNLOGGED).is_some(),
            columns: Vec::new(),
            constraints: Vec::new(),
        };
        for item in list.children() {
            match item.kind() {
                K::COLUMN => column(tree, &item, &mut create)?,
                K::LIKE_CLAUSE => return Err("CREATE TABLE … LIKE".into()),
                _ => {
                    let constraint = constraint(tree, &item, None)?;
                    create.constraints.push(constraint);
                }
            }
        }
        Ok(create)
    };
    lower().map_or_else(Command::Unsupported, |create| {
        Command::CreateTable(Box::new(create))
    })
}

/// A column of ALTER TABLE, and the constraints written with it.
pub(super) fn column_with_constraints(
    tree: &Tree<'_>,
    node: &SyntaxNode,
) -> Result<(ColumnDef, Vec<TableConstraint>), Lacking> {
    let mut alone = CreateTable {
        table: relation(tree, node),
        if_not_exists: false,
        unlogged: false,
        columns: Vec::new(),
        constraints: Vec::new(),
    };
    column(tree, node, &mut alone)?;
    let column = alone.columns.pop().ok_or("this column")?;
    Ok((column, alone.constraints))
}

fn column(tree: &Tree<'_>, node: &SyntaxNode, create: &mut CreateTable) -> Result<(), Lacking> {
    let ty = node
        .children()
        .find(is_type)
        .ok_or("a column without a type")?;
    let name = child_name(node, K::COLUMN_NAME).ok_or("this column")?;
    let mut column = ColumnDef {
        name: name.clone(),
        ty: type_name(tree, &ty),
        not_null: false,
        default: None,
        identity: None,
        contradiction: None,
    };
    const NULLS: &str = "conflicting NULL/NOT NULL declarations";
    let mut nullable = false;
    for clause in node.children() {
        match clause.kind() {
            K::COLUMN_NAME | K::IF_NOT_EXISTS => {}
            _ if is_type(&clause) => {}
            K::NOT_NULL_CONSTRAINT => {
                if nullable {
                    column.contradict(NULLS, tree.at(&clause));
                }
                column.not_null = true;
            }
            K::NULL_CONSTRAINT => {
                if column.not_null {
                    column.contradict(NULLS, tree.at(&clause));
                }
                nullable = true;
            }
            K::DEFAULT_CONSTRAINT => {
                if column.default.is_some() {
                    let what = "multiple default values specified";
                    column.contradict(what, tree.at(&clause));
                }
                column.default = expr_with_text(tree, &clause);
            }
            K::GENERATED_CONSTRAINT => {
                let identity = child(&clause, K::GENERATED_IDENTITY).ok_or("generated columns")?;
                column.not_null = true;
                column.identity = Some(Identity {
                    always: child(&identity, K::GENERATED_ALWAYS).is_some(),
                    options: child(&identity, K::SEQUENCE_OPTION_LIST)
                        .map_or(Ok(SequenceOptions::default()), |list| {
                            sequence_options(tree, &list)
                        })?,
                });
            }
            K::COLLATE => {
                let collation = child(&clause, K::COLLATION_REF).map(|name| path(&name));
                let collation = collation.and_then(|names| names.last().cloned());
                if !matches!(collation.as_deref(), Some("default" | "C" | "POSIX")) {
                    return Err("COLLATE".into());
                }
            }
            K::STORAGE | K::COMPRESSION_METHOD => {}
            _ => {
                let constraint = constraint(tree, &clause, Some(&name))?;
                create.constraints.push(constraint);
            }
        }
    }
    create.columns.push(column);
    Ok(())
}

pub(super) fn constraint(
    tree: &Tree<'_>,
    node: &SyntaxNode,
    column: Option<&Name>,
) -> Result<TableConstraint, Lacking> {
    let unique = |node| constraint_columns(node, column);
    let kind = match node.kind() {
        K::PRIMARY_KEY_CONSTRAINT => ConstraintKind::PrimaryKey(unique(node)?),
        K::UNIQUE_CONSTRAINT => ConstraintKind::Unique(unique(node)?),
        K::CHECK_CONSTRAINT => {
            let (expr, text) = expr_with_text(tree, node).ok_or("this CHECK")?;
            ConstraintKind::Check(expr, text)
        }
        K::FOREIGN_KEY_CONSTRAINT | K::REFERENCES_CONSTRAINT => {
            ConstraintKind::ForeignKey(Box::new(foreign_key(tree, node, column)?))
        }
        K::EXCLUDE_CONSTRAINT => return Err("exclusion constraints".into()),
        _ => return Err("this constraint".into()),
    };
    let timing = timing(node)?;
    if let ConstraintKind::Check(..) = kind
        && timing.deferrable
    {
        return Err("deferrable checks".into());
    }
    Ok(TableConstraint {
        at: tree.at(node),
        name: child(node, K::CONSTRAINT_NAME_CLAUSE)
            .and_then(|clause| child_name(&clause, K::CONSTRAINT_NAME)),
        kind,
        timing,
    })
}

pub(super) fn timing(node: &SyntaxNode) -> Result<ConstraintTiming, Lacking> {
    let mut timing = ConstraintTiming::default();
    for option in node.children() {
        match option.kind() {
            K::DEFERRABLE_CONSTRAINT_OPTION => timing.deferrable = true,
            K::INITIALLY_DEFERRED_CONSTRAINT_OPTION => {
                (timing.deferrable, timing.deferred) = (true, true);
            }
            K::NOT_VALID => timing.not_valid = true,
            K::NO_INHERIT | K::INHERIT | K::NOT_ENFORCED | K::ENFORCED => {
                return Err("this option of a constraint".into());
            }
            _ => {}
        }
    }
    Ok(timing)
}

fn foreign_key(
    tree: &Tree<'_>,
    node: &SyntaxNode,
    column: Option<&Name>,
) -> Result<ForeignKey, Lacking> {
    let names = |list: &SyntaxNode| -> Vec<Name> {
        children(list, K::COLUMN_NAME_REF)
            .map(|column| name(&column))
            .collect()
    };
    let lists: Vec<SyntaxNode> = children(node, K::FOREIGN_KEY_COLUMN_LIST).collect();
    if lists
        .iter()
        .any(|list| child(list, K::PERIOD_COLUMN).is_some())
    {
        return Err("PERIOD".into());
    }
    let (columns, keys) = match column {
        Some(column) => (vec![column.clone()], names(node)),
        None => {
            let mut lists = lists.iter().map(names);
            let columns = lists.next().ok_or("this FOREIGN KEY")?;
            (columns, lists.next().unwrap_or_default())
        }
    };
    if child(node, K::MATCH_PARTIAL).is_some() {
        return Err("MATCH PARTIAL".into());
    }
    let mut key = ForeignKey {
        columns,
        table: relation(
            tree,
            &child(node, K::TABLE_NAME_REF).ok_or("this FOREIGN KEY")?,
        ),
        keys,
        full: child(node, K::MATCH_FULL).is_some(),
        on_delete: Reaction::NoAction,
        on_update: Reaction::NoAction,
    };
    for clause in node.children() {
        let place = match clause.kind() {
            K::ON_DELETE_ACTION => &mut key.on_delete,
            K::ON_UPDATE_ACTION => &mut key.on_update,
            _ => continue,
        };
        let action = clause.children().next().ok_or("this ON DELETE")?;
        let listed = child(&action, K::COLUMN_REF_LIST).map_or(Vec::new(), |list| names(&list));
        if clause.kind() == K::ON_UPDATE_ACTION && !listed.is_empty() {
            return Err("a list of columns of ON UPDATE".into());
        }
        *place = match action.kind() {
            K::RESTRICT => Reaction::Restrict,
            K::CASCADE => Reaction::Cascade,
            K::SET_NULL_COLUMNS => Reaction::SetNull(listed),
            K::SET_DEFAULT_COLUMNS => Reaction::SetDefault(listed),
            _ => Reaction::NoAction,
        };
    }
    Ok(key)
}

/// An expression and how it is written.
pub(super) fn expr_with_text(tree: &Tree<'_>, node: &SyntaxNode) -> Option<(Expr, Arc<str>)> {
    let node = node.children().find(is_expr)?;
    Some((expr(tree, &node), node.text().to_string().trim().into()))
}

fn constraint_columns(node: &SyntaxNode, column: Option<&Name>) -> Result<UniqueKey, Lacking> {
    let parameters = child(node, K::INDEX_PARAMETERS).ok_or("USING INDEX")?;
    let names = |list: SyntaxNode| -> Vec<Name> {
        children(&list, K::COLUMN_NAME_REF)
            .map(|column| name(&column))
            .collect()
    };
    let included = child(&parameters, K::CONSTRAINT_INCLUDE_CLAUSE)
        .and_then(|clause| child(&clause, K::COLUMN_REF_LIST));
    Ok(UniqueKey {
        columns: match child(&parameters, K::CONSTRAINT_COLUMN_REF_LIST) {
            Some(list) => names(list),
            None => column.into_iter().cloned().collect(),
        },
        included: included.map_or(Vec::new(), names),
        nulls_not_distinct: child(&parameters, K::NULLS_NOT_DISTINCT).is_some(),
    })
}

/// Lowers CREATE SEQUENCE.
pub(super) fn create_sequence(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let lower = || -> Result<CreateSequence, Lacking> {
        let sequence = child(node, K::SEQUENCE).ok_or("this CREATE SEQUENCE")?;
        if child(node, K::TEMP).is_some() {
            return Err("temporary sequences".into());
        }
        Ok(CreateSequence {
            name: relation(tree, &sequence),
            unlogged: child(node, K::UNLOGGED).is_some(),
            if_not_exists: child(node, K::IF_NOT_EXISTS).is_some(),
            options: sequence_options(tree, node)?,
        })
    };
    lower().map_or_else(Command::Unsupported, |create| {
        Command::CreateSequence(Box::new(create))
    })
}

fn is_sequence_option(kind: K) -> bool {
    matches!(
        kind,
        K::OPTION_START
            | K::OPTION_INCREMENT
            | K::OPTION_MIN_VALUE
            | K::OPTION_MAX_VALUE
            | K::OPTION_CYCLE
            | K::OPTION_AS_TYPE
            | K::OPTION_OWNED_BY
    )
}

pub(super) fn sequence_options(
    tree: &Tree<'_>,
    node: &SyntaxNode,
) -> Result<SequenceOptions, Lacking> {
    let mut options = SequenceOptions::default();
    let number = |node: &SyntaxNode| match child_expr(tree, node) {
        Some(Expr::Integer(number, _)) => Ok(Some(number)),
        _ => Err(Lacking::from("this sequence option")),
    };
    let mut seen = Vec::new();
    for option in node.children() {
        let kind = match option.kind() {
            K::OPTION_NO_CYCLE => K::OPTION_CYCLE,
            kind => kind,
        };
        if is_sequence_option(kind) {
            if seen.contains(&kind) {
                options.redundant.get_or_insert(tree.at(&option));
            }
            seen.push(kind);
        }
        match option.kind() {
            K::OPTION_START => options.start = number(&option)?,
            K::OPTION_INCREMENT => options.increment = number(&option)?,
            K::OPTION_MIN_VALUE => options.min = number(&option)?,
            K::OPTION_MAX_VALUE => options.max = number(&option)?,
            K::OPTION_CYCLE => options.cycle = Some(true),
            K::OPTION_NO_CYCLE => options.cycle = Some(false),
            K::OPTION_AS_TYPE => {
                let ty = option.children().find(is_type).ok_or("this type")?;
                options.ty = Some(type_name(tree, &ty));
            }
            K::OPTION_OWNED_BY => {
                options.owned_by = Some(match has(&option, K::NONE_KW) {
                    true => None,
                    false => Some(path(&option)),
                });
            }
            _ => {}
        }
    }
    Ok(options)
}

/// Lowers CREATE INDEX.
pub(super) fn create_index(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let lower = || -> Result<CreateIndex, Lacking> {
        if let Some(method) = child(node, K::USING_METHOD)
            && !method.text().to_string().to_lowercase().ends_with("btree")
        {
            return Err("index access methods other than btree".into());
        }
        let table = child_of(node, &[K::TABLE_RELATION_NAME, K::RELATION_NAME])
            .ok_or("this CREATE INDEX")?;
        let list = child(node, K::PARTITION_ITEM_LIST).ok_or("this CREATE INDEX")?;
        Ok(CreateIndex {
            name: child(node, K::INDEX).and_then(|index| path(&index).last().cloned()),
            unique: has(node, K::UNIQUE_KW),
            concurrently: has(node, K::CONCURRENTLY_KW),
            if_not_exists: child(node, K::IF_NOT_EXISTS).is_some(),
            table: relation(tree, &table),
            keys: children(&list, K::PARTITION_ITEM)
                .filter_map(|item| expr_with_text(tree, &item))
                .collect(),
            included: included(tree, node)?,
            nulls_not_distinct: child(node, K::NULLS_NOT_DISTINCT).is_some(),
            filter: child(node, K::WHERE_CLAUSE).and_then(|clause| expr_with_text(tree, &clause)),
        })
    };
    lower().map_or_else(Command::Unsupported, |create| {
        Command::CreateIndex(Box::new(create))
    })
}

/// The columns of INCLUDE.
fn included(tree: &Tree<'_>, node: &SyntaxNode) -> Result<Vec<Name>, Lacking> {
    let clause = child(node, K::INDEX_INCLUDE_CLAUSE);
    let list = clause.and_then(|clause| child(&clause, K::PARTITION_ITEM_LIST));
    let Some(list) = list else {
        return Ok(Vec::new());
    };
    let column = |item: SyntaxNode| match child_expr(tree, &item) {
        Some(Expr::Column(names, _)) if names.len() == 1 => Ok(names[0].clone()),
        _ => Err("expressions in INCLUDE".into()),
    };
    children(&list, K::PARTITION_ITEM).map(column).collect()
}

/// Lowers DROP TABLE and its kin.
pub(super) fn drop(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let (object, reference) = match node.kind() {
        K::DROP_INDEX => (DropObject::Index, K::INDEX_REF),
        K::DROP_SEQUENCE => (DropObject::Sequence, K::SEQUENCE_REF),
        K::DROP_VIEW => (DropObject::View, K::VIEW_REF),
        K::DROP_SCHEMA => (DropObject::Schema, K::SCHEMA_REF),
        _ => (DropObject::Table, K::TABLE_NAME_REF),
    };
    let if_exists = child(node, K::IF_EXISTS).is_some();
    let cascade = child(node, K::CASCADE).is_some();
    let names = children(node, reference).map(|node| match node.kind() {
        K::SCHEMA_REF => Relation {
            name: vec![name(&node)],
            at: tree.at(&node),
        },
        _ => relation(tree, &node),
    });
    let names = names.collect();
    match has(node, K::CONCURRENTLY_KW) {
        true => Command::DropIndexConcurrently {
            if_exists,
            cascade,
            names,
        },
        false => Command::Drop {
            object,
            if_exists,
            cascade,
            names,
        },
    }
}

/// Lowers LOCK TABLE.
pub(super) fn lock(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let mode = child(node, K::LOCK_MODE_CLAUSE).and_then(|clause| clause.first_child());
    Command::Lock {
        tables: child(node, K::RELATION_LIST).map_or(Vec::new(), |list| {
            list.children()
                .map(|table| relation(tree, &table))
                .collect()
        }),
        mode: match mode.map(|mode| mode.kind()) {
            Some(K::ACCESS_SHARE) => LockMode::AccessShare,
            Some(K::ROW_SHARE) => LockMode::RowShare,
            Some(K::ROW_EXCLUSIVE) => LockMode::RowExclusive,
            Some(K::SHARE_UPDATE_EXCLUSIVE) => LockMode::ShareUpdateExclusive,
            Some(K::SHARE) => LockMode::Share,
            Some(K::SHARE_ROW_EXCLUSIVE) => LockMode::ShareRowExclusive,
            Some(K::EXCLUSIVE) => LockMode::Exclusive,
            _ => LockMode::AccessExclusive,
        },
        nowait: child(node, K::NOWAIT).is_some(),
    }
}

/// Lowers SET CONSTRAINTS.
pub(super) fn set_constraints(node: &SyntaxNode) -> Command {
    let names: Vec<_> = children(node, K::CONSTRAINT_NAME_REF)
        .map(|name| path(&name))
        .collect();
    Command::SetConstraints {
        names: (!names.is_empty()).then_some(names),
        deferred: child(node, K::DEFERRED).is_some(),
    }
}

/// Lowers TRUNCATE.
pub(super) fn truncate(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    Command::Truncate {
        tables: child(node, K::TABLE_LIST).map_or(Vec::new(), |list| {
            children(&list, K::TABLE_RELATION_NAME)
                .map(|table| relation(tree, &table))
                .collect()
        }),
        restart_identity: child(node, K::RESTART_IDENTITY).is_some(),
        cascade: child(node, K::CASCADE).is_some(),
    }
}
