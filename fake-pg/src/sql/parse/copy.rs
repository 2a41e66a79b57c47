//! COPY.

use std::sync::Arc;

use squawk_syntax::ast::{AstNode, Literal};
use squawk_syntax::{SyntaxKind as K, SyntaxNode};

use super::query::{inner_query, query};
use super::tree::{Tree, child, child_of, children, name, relation};
use crate::sql::ast::{Command, Copy, CopyFormat, CopyOptions, CopySource};

type Lacking = Arc<str>;

/// Lowers COPY.
pub(super) fn copy(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let lower = || -> Result<Copy, Lacking> {
        let incoming = match child_of(node, &[K::COPY_FROM, K::COPY_TO]) {
            Some(from) if from.kind() == K::COPY_FROM => {
                child(&from, K::COPY_STDIN).ok_or("COPY from a file")?;
                true
            }
            Some(to) => {
                child(&to, K::COPY_STDOUT).ok_or("COPY to a file")?;
                false
            }
            None => return Err("this COPY".into()),
        };
        if child(node, K::WHERE_CLAUSE).is_some() {
            return Err("COPY … WHERE".into());
        }
        let source = match child(node, K::COPY_TABLE) {
            Some(table) => {
                let columns = child(&table, K::COLUMN_REF_LIST).map_or(Vec::new(), |list| {
                    children(&list, K::COLUMN_NAME_REF)
                        .map(|column| (name(&column), tree.at(&column)))
                        .collect()
                });
                let named = child(&table, K::TABLE_NAME_REF).ok_or("this COPY")?;
                CopySource::Table(relation(tree, &named), columns)
            }
            None => {
                let inner = child(node, K::COPY_QUERY).ok_or("this COPY")?;
                let inner = inner_query(&inner).ok_or("COPY of what is no SELECT")?;
                CopySource::Query(Box::new(query(tree, &inner)?))
            }
        };
        Ok(Copy {
            source,
            incoming,
            options: options(node)?,
        })
    };
    lower().map_or_else(Command::Unsupported, |copy| Command::Copy(Box::new(copy)))
}

fn options(node: &SyntaxNode) -> Result<CopyOptions, Lacking> {
    let mut given: Vec<(String, Option<String>)> = Vec::new();
    if let Some(list) = child(node, K::COPY_OPTION_LIST) {
        for option in children(&list, K::COPY_OPTION) {
            let key = child(&option, K::COPY_OPTION_KEY).ok_or("this COPY option")?;
            let value = child(&option, K::COPY_OPTION_VALUE);
            given.push((
                key.text().to_string().trim().to_lowercase(),
                value.map(|value| spelled(&value)),
            ));
        }
    }
    for option in children(node, K::COPY_LEGACY_OPTION) {
        let word = option.text().to_string().trim().to_lowercase();
        match word.as_str() {
            "csv" | "binary" => given.push(("format".into(), Some(word))),
            "header" => given.push((word, None)),
            _ => return Err("this COPY option".into()),
        }
    }
    let format = given.iter().find(|(key, _)| key == "format");
    let format = match format.and_then(|(_, value)| value.as_deref()) {
        None | Some("text") => CopyFormat::Text,
        Some("csv") => CopyFormat::Csv,
        Some("binary") => CopyFormat::Binary,
        Some(_) => return Err("this COPY format".into()),
    };
    let csv = format == CopyFormat::Csv;
    let mut options = CopyOptions {
        format,
        delimiter: if csv { ',' } else { '\t' },
        null: if csv { String::new() } else { "\\N".into() },
        header: false,
        quote: '"',
        escape: '"',
    };
    let mut escape = None;
    for (key, value) in given {
        let single = || {
            let mut characters = value.as_deref().unwrap_or("").chars();
            match (characters.next(), characters.next()) {
                (Some(one), None) => Ok(one),
                _ => Err(Lacking::from("this COPY option")),
            }
        };
        let on = !matches!(value.as_deref(), Some("off" | "false" | "0"));
        match key.as_str() {
            "format" => {}
            // Rows that are copied into a table made in the same transaction need no freezing here.
            "freeze" => {}
            "header" if value.as_deref() == Some("match") => return Err("HEADER MATCH".into()),
            "header" => options.header = on,
            "delimiter" => options.delimiter = single()?,
            "null" => options.null = value.clone().unwrap_or_default(),
            "quote" => options.quote = single()?,
            "escape" => escape = Some(single()?),
            "encoding" if value.as_deref().is_some_and(is_utf8) => {}
            other => return Err(format!("the COPY option {other}").into()),
        }
    }
    options.escape = escape.unwrap_or(options.quote);
    Ok(options)
}

fn is_utf8(name: &str) -> bool {
    matches!(
        name.to_lowercase().replace(['-', '_'], "").as_str(),
        "utf8" | "unicode"
    )
}

fn spelled(node: &SyntaxNode) -> String {
    let literal = child(node, K::LITERAL).and_then(Literal::cast);
    let string = literal.and_then(|literal| literal.string_value());
    string.map_or_else(
        || node.text().to_string().trim().to_lowercase(),
        |string| string.to_string(),
    )
}
