//! Functions that return sets: where they may stand.
//!
//! In a target list, and in FROM at the top; everywhere else they are refused, or what comes out would
//! be all of their rows at once.

use super::{Binder, Scalar};
use crate::error::{PgError, SqlState};
use crate::sql::ast::Expr;
use crate::sql::functions;

impl Binder<'_> {
    /// 0A000 where no function may return a set (`check_srf_call_placement`).
    pub(crate) fn refuse_set(&mut self, at: u32) -> Result<(), PgError> {
        let place = match self.scope().clause {
            "nested" => {
                let message =
                    "aggregate function calls cannot contain set-returning function calls";
                return Err(PgError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
                    .with_hint("You might be able to move the set-returning function into a LATERAL FROM item.")
                    .near(at));
            }
            "JOIN/ON" => "JOIN conditions",
            "DEFAULT" => "DEFAULT expressions",
            "EXECUTE" => "EXECUTE parameters",
            "" | "GROUP BY" | "functions in FROM" => return Ok(()),
            clause => clause,
        };
        Err(PgError::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            format!("set-returning functions are not allowed in {place}"),
        )
        .near(at))
    }
}

/// Where the first call stands that returns a set, if there is one.
pub(super) fn set_at(expr: &Expr) -> Option<u32> {
    if let Expr::Call(call) = expr
        && let Some(name) = call.name.last()
        && functions::procs(name).iter().any(|proc| proc.set)
    {
        return Some(call.at);
    }
    expr.parts().into_iter().find_map(set_at)
}

/// Whether a function within an expression returns a set.
fn holds_set(scalar: &Scalar) -> bool {
    let mut holds = false;
    scalar.walk(&mut |part| {
        holds |= matches!(part, Scalar::Call(function, _) if function.set);
    });
    holds
}

pub(super) fn refuse_set(scalar: &Scalar, clause: &str) -> Result<(), PgError> {
    match holds_set(scalar) {
        true => Err(PgError::feature_not_supported(format_args!(
            "a set in {clause}"
        ))),
        false => Ok(()),
    }
}

/// The targets that return sets.
pub(super) fn set_targets(targets: &[Scalar]) -> Result<Vec<usize>, PgError> {
    let mut found = Vec::new();
    for (place, target) in targets.iter().enumerate() {
        let within = match target {
            Scalar::Call(function, args) if function.set => {
                found.push(place);
                args.iter().any(holds_set)
            }
            other => holds_set(other),
        };
        if within {
            return Err(PgError::feature_not_supported("a set within an expression"));
        }
    }
    Ok(found)
}
