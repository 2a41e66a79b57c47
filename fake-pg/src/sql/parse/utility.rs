//! Transaction control, settings, and the names of what fake-pg lacks.

use squawk_syntax::ast::{AstNode, Literal};
use squawk_syntax::{SyntaxKind as K, SyntaxNode};

use super::tree::{Tree, child, child_name, child_of, has, name, path};
use crate::sql::ast::{
    Command, Discard, IsolationLevel, Name, TransactionCommand, TransactionModes,
};
use crate::sql::quote::quote_name;

/// Lowers what is neither a query nor DDL.
pub(super) fn command(_tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    use TransactionCommand as T;
    let transaction = match node.kind() {
        K::BEGIN => Some(T::Begin {
            modes: modes(node),
            start: has(node, K::START_KW),
        }),
        K::COMMIT_TRANSACTION => Some(T::Commit {
            chain: child(node, K::AND_CHAIN).is_some(),
        }),
        K::ROLLBACK_TRANSACTION => Some(T::Rollback {
            chain: child(node, K::AND_CHAIN).is_some(),
        }),
        K::SAVEPOINT_CREATE => child_name(node, K::SAVEPOINT).map(T::Savepoint),
        K::RELEASE_SAVEPOINT => child_name(node, K::SAVEPOINT_REF).map(T::Release),
        K::ROLLBACK_TO_SAVEPOINT => child_name(node, K::SAVEPOINT_REF).map(T::RollbackTo),
        K::PREPARE_TRANSACTION => string(node).map(T::Prepare),
        K::COMMIT_PREPARED => string(node).map(T::CommitPrepared),
        K::ROLLBACK_PREPARED => string(node).map(T::RollbackPrepared),
        K::SET_TRANSACTION => match child(node, K::SESSION_CHARACTERISTICS) {
            Some(inner) => Some(T::SetCharacteristics(modes(&inner))),
            // SET TRANSACTION SNAPSHOT has no modes.
            None => child(node, K::TRANSACTION_MODES)
                .filter(|inner| child(inner, K::TRANSACTION_MODE_LIST).is_some())
                .map(|inner| T::SetTransaction(modes(&inner))),
        },
        _ => None,
    };
    if let Some(transaction) = transaction {
        return Command::Transaction(transaction);
    }
    match node.kind() {
        K::SET => set(node),
        K::ALTER_SYSTEM => alter_system(node),
        K::SHOW => Command::Show(parameter(node)),
        K::RESET => Command::Reset(parameter(node)),
        K::DISCARD => Command::Discard(
            match child_of(
                node,
                &[K::DISCARD_PLANS, K::DISCARD_SEQUENCES, K::DISCARD_TEMP],
            )
            .map(|what| what.kind())
            {
                Some(K::DISCARD_PLANS) => Discard::Plans,
                Some(K::DISCARD_SEQUENCES) => Discard::Sequences,
                Some(_) => Discard::Temp,
                None => Discard::All,
            },
        ),
        K::LISTEN => match child_name(node, K::CHANNEL) {
            Some(channel) => Command::Listen(channel),
            None => unsupported(node),
        },
        K::UNLISTEN => Command::Unlisten(
            child_of(node, &[K::CHANNEL_REF, K::CHANNEL]).map(|channel| name(&channel)),
        ),
        K::NOTIFY => match child_name(node, K::CHANNEL_REF) {
            Some(channel) => Command::Notify {
                channel,
                payload: string(node),
            },
            None => unsupported(node),
        },
        K::DEALLOCATE => Command::Deallocate(child_name(node, K::PREPARED_STATEMENT_REF)),
        _ => unsupported(node),
    }
}

/// Names a statement by its leading keywords: `CREATE TYPE`, `LISTEN`.
fn unsupported(node: &SyntaxNode) -> Command {
    let keywords: Vec<String> = node
        .descendants_with_tokens()
        .filter_map(|element| element.into_token())
        .filter(|token| !matches!(token.kind(), K::WHITESPACE | K::COMMENT))
        .take_while(|token| format!("{:?}", token.kind()).ends_with("_KW"))
        .map(|token| token.text().to_uppercase())
        .collect();
    let mut leading = keywords.iter().map(String::as_str);
    let known = match (leading.next(), leading.next()) {
        (Some("CREATE"), Some("OR")) => 4,
        (
            Some("CREATE" | "ALTER" | "DROP" | "REFRESH"),
            Some("MATERIALIZED" | "FOREIGN" | "EVENT" | "TEXT" | "ACCESS" | "DEFAULT"),
        ) => 3,
        (Some("CREATE" | "ALTER" | "DROP" | "SET" | "PREPARE" | "RESET"), _) => 2,
        _ => 1,
    };
    Command::Unsupported(keywords[..known.min(keywords.len())].join(" ").into())
}

/// The string constant below a node.
pub(super) fn string(node: &SyntaxNode) -> Option<Name> {
    let literal = child(node, K::LITERAL).and_then(Literal::cast)?;
    Some(literal.string_value()?.into())
}

fn modes(node: &SyntaxNode) -> TransactionModes {
    let mut modes = TransactionModes::default();
    let Some(list) = child(node, K::TRANSACTION_MODE_LIST) else {
        return modes;
    };
    for mode in list.children() {
        match mode.kind() {
            K::SERIALIZABLE => modes.isolation = Some(IsolationLevel::Serializable),
            K::REPEATABLE_READ => modes.isolation = Some(IsolationLevel::RepeatableRead),
            K::READ_COMMITTED => modes.isolation = Some(IsolationLevel::ReadCommitted),
            K::READ_UNCOMMITTED => modes.isolation = Some(IsolationLevel::ReadUncommitted),
            K::READ_ONLY => modes.read_only = Some(true),
            K::READ_WRITE => modes.read_only = Some(false),
            K::DEFERRABLE => modes.deferrable = Some(true),
            K::NOT_DEFERRABLE => modes.deferrable = Some(false),
            _ => {}
        }
    }
    modes
}

/// Written as SET and RESET are.
fn alter_system(node: &SyntaxNode) -> Command {
    if let Some(reset) = child(node, K::RESET_CONFIG_PARAM) {
        let all = has(&reset, K::ALL_KW);
        return Command::AlterSystem {
            name: (!all).then(|| dotted(&reset)),
            value: None,
        };
    }
    let Some(config) = child(node, K::SET_CONFIG_PARAM) else {
        return unsupported(node);
    };
    match assigned(&config) {
        Ok(value) => Command::AlterSystem {
            name: Some(dotted(&config)),
            value,
        },
        Err(lacking) => lacking,
    }
}

fn set(node: &SyntaxNode) -> Command {
    let local = child(node, K::LOCAL_SCOPE).is_some();
    if let Some(zone) = child(node, K::SET_TIME_ZONE) {
        let value = match zone.first_child() {
            Some(value) => setting_value(&value),
            None => None,
        };
        return Command::Set {
            name: "timezone".into(),
            value,
            local,
            listed: false,
        };
    }
    let Some(config) = child(node, K::SET_CONFIG) else {
        return unsupported(node);
    };
    match assigned(&config) {
        Ok(value) => {
            let name = match dotted(&config) {
                names if *names == *super::NAMES => "client_encoding".into(),
                name => name,
            };
            let listed = child(&config, K::TO_CONFIG_VALUE)
                .is_some_and(|values| values.children().count() > 1);
            let mode = value.as_deref().and_then(|value| mode(&name, value));
            match mode {
                Some(modes) => Command::Transaction(TransactionCommand::SetMode { modes, local }),
                None => Command::Set {
                    name,
                    value,
                    local,
                    listed,
                },
            }
        }
        Err(lacking) => lacking,
    }
}

/// A setting that is a mode of the transaction under another name: `transaction_isolation`.
fn mode(name: &str, value: &str) -> Option<TransactionModes> {
    let level = || {
        Some(match value.to_lowercase().as_str() {
            "serializable" => IsolationLevel::Serializable,
            "repeatable read" => IsolationLevel::RepeatableRead,
            "read committed" => IsolationLevel::ReadCommitted,
            "read uncommitted" => IsolationLevel::ReadUncommitted,
            _ => return None,
        })
    };
    let switch = || match value.to_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Some(true),
        "off" | "false" | "no" | "0" => Some(false),
        _ => None,
    };
    let mut modes = TransactionModes::default();
    match name.to_lowercase().as_str() {
        "transaction_isolation" => modes.isolation = Some(level()?),
        "transaction_read_only" => modes.read_only = Some(switch()?),
        "transaction_deferrable" => modes.deferrable = Some(switch()?),
        _ => return None,
    }
    Some(modes)
}

/// The value given to a setting; none is DEFAULT.
fn assigned(config: &SyntaxNode) -> Result<Option<String>, Command> {
    let Some(values) = child(config, K::TO_CONFIG_VALUE) else {
        return Err(Command::Unsupported("SET … FROM CURRENT".into()));
    };
    if has(&values, K::DEFAULT_KW) {
        return Ok(None);
    }
    // A list of names is kept as it must be written (GUC_LIST_QUOTE).
    let quotes = &*dotted(config) == "search_path";
    let values: Option<Vec<String>> = values
        .children()
        .map(|value| {
            let value = setting_value(&value)?;
            Some(match quotes {
                true => quote_name(&value).into_owned(),
                false => value,
            })
        })
        .collect();
    match values {
        Some(values) => Ok(Some(values.join(", "))),
        None => Err(Command::Unsupported("this SET".into())),
    }
}

/// A value as PostgreSQL flattens it (guc.c, flatten_set_variable_args).
pub(super) fn setting_value(node: &SyntaxNode) -> Option<String> {
    match node.kind() {
        K::LITERAL => {
            if let Some(value) = string_value(node) {
                return Some(value);
            }
            Some(node.text().to_string().trim().to_lowercase())
        }
        K::PREFIX_EXPR => Some(node.text().to_string().split_whitespace().collect()),
        K::CONFIG_VALUE_NAME => Some(name(node).to_string()),
        _ => None,
    }
}

fn string_value(node: &SyntaxNode) -> Option<String> {
    let first = node.first_token()?;
    matches!(
        first.kind(),
        K::STRING | K::ESC_STRING | K::DOLLAR_QUOTED_STRING | K::UNICODE_ESC_STRING
    )
    .then(|| Literal::cast(node.clone())?.string_value())
    .flatten()
}

fn dotted(node: &SyntaxNode) -> Name {
    child(node, K::CONFIG_PARAMETER_REF)
        .map_or(String::new(), |parameter| path(&parameter).join("."))
        .into()
}

/// The setting SHOW or RESET names.
fn parameter(node: &SyntaxNode) -> Name {
    if child(node, K::ALL).is_some() {
        return "all".into();
    }
    if child(node, K::TRANSACTION_ISOLATION_LEVEL).is_some() {
        return "transaction_isolation".into();
    }
    if child_of(node, &[K::TIME_ZONE, K::RESET_TIME_ZONE]).is_some() {
        return "timezone".into();
    }
    if child(node, K::SESSION_AUTHORIZATION).is_some() {
        return "session_authorization".into();
    }
    dotted(node)
}
