//! FOR UPDATE and its kin: which rows of which tables a query locks.
//!
//! Only tables of the query's own FROM are locked, each once and by its
//! strongest clause. What a lock waits for is the engine's.

use std::sync::Arc;

use super::{Binder, LockPlan};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{LockStrength, Locking, Select};

impl Binder<'_> {
    pub(super) fn locking(
        &mut self,
        clauses: &[Locking],
        nullable: &[std::ops::Range<usize>],
        select: &Select,
    ) -> Result<Vec<LockPlan>, PgError> {
        let mut plans: Vec<LockPlan> = Vec::new();
        let mut locked = Vec::new();
        for clause in clauses {
            let name = strength_name(clause.strength);
            let refuse = |with: &str| {
                Err(PgError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    format!("{name} is not allowed with {with}"),
                ))
            };
            if select.distinct.is_some() {
                return refuse("DISTINCT clause");
            }
            if !select.group_by.is_empty() {
                return refuse("GROUP BY clause");
            }
            if select.having.is_some() {
                return refuse("HAVING clause");
            }
            for of in &clause.of {
                let known = self
                    .scope()
                    .relations
                    .iter()
                    .any(|r| of.name[..] == [r.name.clone()]);
                if !known {
                    let message = format!(
                        "relation \"{}\" in {name} clause not found in FROM clause",
                        of.name.join(".")
                    );
                    return Err(PgError::new(SqlState::UNDEFINED_TABLE, message).at(of.at as usize));
                }
            }
            for relation in &self.scope().relations {
                let named = clause
                    .of
                    .iter()
                    .any(|of| of.name[..] == [relation.name.clone()]);
                if !clause.of.is_empty() && !named {
                    continue;
                }
                let Some((table, place)) = &relation.table else {
                    if named || relation.columns.iter().any(|column| column.origin.0 != 0) {
                        return Err(PgError::feature_not_supported(format_args!(
                            "{name} of a subquery"
                        )));
                    }
                    continue;
                };
                if nullable.iter().any(|range| range.contains(place)) {
                    return Err(PgError::new(
                        SqlState::FEATURE_NOT_SUPPORTED,
                        format!("{name} cannot be applied to the nullable side of an outer join"),
                    ));
                }
                let plan = LockPlan {
                    table: Arc::clone(table),
                    place: *place,
                    offset: relation.offset,
                    strength: clause.strength,
                    wait: clause.wait,
                };
                // Of several clauses for one table the strongest counts.
                match plans.iter_mut().find(|other| other.place == *place) {
                    Some(other) if other.strength < plan.strength => *other = plan,
                    Some(_) => {}
                    None => {
                        locked.push(table.clone());
                        plans.push(plan);
                    }
                }
            }
        }
        for table in locked {
            self.note_row_locks(&table);
        }
        Ok(plans)
    }
}

pub(super) fn strength_name(strength: LockStrength) -> &'static str {
    match strength {
        LockStrength::Update => "FOR UPDATE",
        LockStrength::NoKeyUpdate => "FOR NO KEY UPDATE",
        LockStrength::Share => "FOR SHARE",
        LockStrength::KeyShare => "FOR KEY SHARE",
    }
}

/// What only the targets tell: rows that stand for several can not be locked.
pub(super) fn refuse_with(strength: LockStrength, grouped: bool, set: bool) -> Result<(), PgError> {
    let with = match (grouped, set) {
        (true, _) => "aggregate functions",
        (_, true) => "set-returning functions in the target list",
        _ => return Ok(()),
    };
    let name = strength_name(strength);
    Err(PgError::new(
        SqlState::FEATURE_NOT_SUPPORTED,
        format!("{name} is not allowed with {with}"),
    ))
}
