//! Which parts of a statement are constant: what is wrong with them is wrong before it runs.
//!
//! PostgreSQL computes them while it plans, after Parse and before anything is sent or locked, so
//! `select 1/0 from t` fails without a RowDescription, and in Bind.
//! Source: `eval_const_expressions` in `optimizer/util/clauses.c`.

use super::{Binder, Scalar};

impl Binder<'_> {
    /// Notes an expression that was just bound, if it is constant; `inner` is how many constants
    /// there were before its parts were bound. Of two that contain each other the outer one counts:
    /// a CASE decides itself what of it is computed.
    pub(super) fn note_constant(&mut self, scalar: &Scalar, inner: usize) {
        if matches!(
            scalar,
            Scalar::Const(_) | Scalar::Param(_) | Scalar::Column(_)
        ) {
            return;
        }
        if scalar.is_constant() {
            self.constants.truncate(inner);
            self.constants.push(scalar.clone());
        }
    }
}

impl Scalar {
    fn is_constant(&self) -> bool {
        let mut constant = true;
        self.walk(&mut |part| {
            constant &= match part {
                // `enum_in` is stable: labels come.
                Scalar::Cast(_, cast) => cast.to.labels().is_none(),
                Scalar::Call(function, _) => !function.is_volatile() && !function.is_stable(),
                Scalar::Column(_)
                | Scalar::Outer(..)
                | Scalar::Aggregate(_)
                | Scalar::Embedded(..)
                | Scalar::Subquery(_) => false,
                _ => true,
            };
        });
        constant
    }
}
