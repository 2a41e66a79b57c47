//! WITH: common table expressions, and what refers to them.
//!
//! A name is in reach of the expressions after it and of the statement, and
//! of itself only in the second term of a recursive UNION. Each has one slot
//! among all of the statement; filling it is `execute`'s.

use super::{Binder, CtePlan, CteSource};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{self, Command, FromItem, Name, QueryBody, SetOp, With};
use crate::sql::face::Column;
use crate::sql::parse::too_deep;
use crate::types::Type;

/// A common table expression that names can refer to.
#[derive(Debug, Clone)]
pub(super) struct CteInReach {
    pub(super) name: Name,
    pub(super) slot: usize,
    pub(super) columns: Vec<Column>,
    /// It has rows to offer: a modifying one needs RETURNING.
    pub(super) readable: bool,
    /// It is bound just now and must not read itself; where it stands.
    pub(super) closed: Option<u32>,
}

/// How many names may be in reach: each may read the one before, and is run within its reader.
const TABLES_MAX: usize = 200;

impl Binder<'_> {
    /// Binds WITH and brings its names in reach; the caller takes them out again.
    pub(super) fn with(&mut self, with: &With) -> Result<Vec<CtePlan>, PgError> {
        let mut plans = Vec::with_capacity(with.tables.len());
        if self.ctes.len() + with.tables.len() > TABLES_MAX {
            return Err(too_deep());
        }
        for (place, cte) in with.tables.iter().enumerate() {
            if with.tables[..place]
                .iter()
                .any(|other| other.name == cte.name)
            {
                let message = format!("WITH query name \"{}\" specified more than once", cte.name);
                return Err(PgError::new(SqlState::DUPLICATE_ALIAS, message).near(cte.at));
            }
            let outermost = std::mem::replace(&mut self.outermost, usize::MAX);
            let slot = self.cte_slots;
            self.cte_slots += 1;
            let below_top = std::mem::replace(&mut self.below_top, true);
            let row_lock = self.row_lock.take();
            let (source, mut columns, readable) = match &cte.command {
                Command::Query(query) if with.recursive && refers_to(query, &cte.name) => {
                    let (source, columns) = self.recursive(cte, query, slot)?;
                    (source, columns, true)
                }
                Command::Query(query) => {
                    let plan = self.query(query)?;
                    let columns = plan.columns.clone();
                    (CteSource::Query(plan), columns, true)
                }
                command => {
                    let reach = self.ctes.len();
                    if with.recursive {
                        self.ctes.push(CteInReach {
                            name: cte.name.clone(),
                            slot,
                            columns: Vec::new(),
                            readable: false,
                            closed: Some(cte.at),
                        });
                    }
                    let plan = self.modify(command)?;
                    self.ctes.truncate(reach);
                    if below_top {
                        let message = "WITH clause containing a data-modifying statement must be at the top level";
                        let error = PgError::new(SqlState::FEATURE_NOT_SUPPORTED, message);
                        return Err(error.near(cte.at));
                    }
                    let returning = plan.returning.as_ref();
                    let columns = returning.map_or(Vec::new(), |(_, columns)| columns.clone());
                    let readable = plan.returning.is_some();
                    (CteSource::Modify(Box::new(plan)), columns, readable)
                }
            };
            self.below_top = below_top;
            if let Some(strength) = std::mem::replace(&mut self.row_lock, row_lock) {
                self.cte_row_locks.push((slot, strength));
            }
            if self.outermost < self.scopes.len() {
                return Err(PgError::feature_not_supported(
                    "a WITH query that refers to an enclosing query",
                ));
            }
            self.outermost = outermost;
            rename(&mut columns, &cte.columns, &cte.name)?;
            self.ctes.push(CteInReach {
                name: cte.name.clone(),
                slot,
                columns,
                readable,
                closed: None,
            });
            plans.push(CtePlan { slot, source });
        }
        Ok(plans)
    }

    fn recursive(
        &mut self,
        cte: &ast::Cte,
        query: &ast::Query,
        slot: usize,
    ) -> Result<(CteSource, Vec<Column>), PgError> {
        let QueryBody::SetOperation {
            op: SetOp::Union,
            all,
            left,
            right,
        } = &query.body
        else {
            return Err(PgError::new(
                "42P19".parse().unwrap_or(SqlState::SYNTAX_ERROR),
                format!(
                    "recursive query \"{}\" does not have the form non-recursive-term UNION [ALL] recursive-term",
                    cte.name
                ),
            ));
        };
        if !query.order_by.is_empty() || query.limit.is_some() || query.offset.is_some() {
            return Err(PgError::feature_not_supported(
                "ORDER BY or LIMIT in a recursive query",
            ));
        }
        let left = self.query(left)?;
        let mut columns = left.columns.clone();
        rename(&mut columns, &cte.columns, &cte.name)?;
        self.ctes.push(CteInReach {
            name: cte.name.clone(),
            slot,
            columns: columns.clone(),
            readable: true,
            closed: None,
        });
        self.recursing.push(slot);
        let right = self.lower_query(right, &[]);
        self.recursing.pop();
        self.ctes.pop();
        // What it reads of itself is the last round.
        self.cte_reads.retain(|read| *read != slot);
        let right = right?;
        let types = |columns: &[Column]| -> Vec<Type> { columns.iter().map(|c| c.ty).collect() };
        if types(&left.columns) != types(&right.columns) {
            return Err(PgError::feature_not_supported(
                "a recursive query whose terms differ in type",
            ));
        }
        let source = CteSource::Recursive(Box::new(left), Box::new(right), *all);
        Ok((source, columns))
    }
}

fn rename(columns: &mut [Column], names: &[Name], of: &str) -> Result<(), PgError> {
    if names.len() > columns.len() {
        return Err(PgError::new(
            SqlState::INVALID_COLUMN_REFERENCE,
            format!(
                "WITH query \"{of}\" has {} columns available but {} columns specified",
                columns.len(),
                names.len()
            ),
        ));
    }
    for (column, name) in columns.iter_mut().zip(names) {
        column.name = name.clone();
    }
    Ok(())
}

/// Whether a query's right side reads from a name: then WITH RECURSIVE recurses.
fn refers_to(query: &ast::Query, name: &str) -> bool {
    fn in_item(item: &FromItem, name: &str) -> bool {
        match item {
            FromItem::Relation { relation, .. } => {
                matches!(&relation.name[..], [own] if &**own == name)
            }
            FromItem::Subquery { query, .. } => refers_to(query, name),
            FromItem::Join { left, right, .. } => in_item(left, name) || in_item(right, name),
            FromItem::Function { .. } => false,
        }
    }
    match &query.body {
        QueryBody::Select(select) => select.from.iter().any(|item| in_item(item, name)),
        QueryBody::SetOperation { left, right, .. } => {
            refers_to(left, name) || refers_to(right, name)
        }
        QueryBody::Nested(inner) => refers_to(inner, name),
        QueryBody::Values(_) => false,
    }
}
