//! VACUUM, ANALYZE, CHECKPOINT.

use squawk_syntax::{SyntaxKind as K, SyntaxNode};

use super::tree::{Tree, child, children, has, relation};
use crate::sql::ast::{Command, Relation};

/// Lowers VACUUM and ANALYZE.
pub(super) fn vacuum(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let vacuums = node.kind() == K::VACUUM;
    let name = if vacuums { "VACUUM" } else { "ANALYZE" };
    let mut tables: Vec<Relation> = Vec::new();
    if let Some(list) = child(node, K::TABLE_AND_COLUMNS_LIST) {
        for table in children(&list, K::TABLE_AND_COLUMNS) {
            if child(&table, K::COLUMN_REF_LIST).is_some() {
                return Command::Unsupported(format!("{name} of columns").into());
            }
            let named = child(&table, K::TABLE_RELATION_NAME);
            tables.extend(named.map(|named| relation(tree, &named)));
        }
    }
    let mut full = vacuums && has(node, K::FULL_KW);
    let mut verbose = has(node, K::VERBOSE_KW);
    let lists = [K::VACUUM_OPTION_LIST, K::OPTION_ITEM_LIST];
    for list in lists.into_iter().filter_map(|kind| child(node, kind)) {
        for option in list.children() {
            let text = option.text().to_string().to_lowercase();
            let mut words = text.split_whitespace();
            let option = words.next().unwrap_or_default().to_string();
            let on = !matches!(words.next(), Some("off" | "false" | "0"));
            match &*option {
                "full" => full = on,
                "verbose" => verbose = on,
                "analyze"
                | "freeze"
                | "truncate"
                | "process_toast"
                | "index_cleanup"
                | "disable_page_skipping"
                | "parallel" => {}
                other => {
                    let what = format!("{name} ({})", other.to_uppercase());
                    return Command::Unsupported(what.into());
                }
            }
        }
    }
    if verbose {
        return Command::Unsupported(format!("{name} VERBOSE").into());
    }
    Command::Vacuum {
        vacuums,
        full,
        tables,
    }
}
