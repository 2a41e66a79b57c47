//! Which parts of a statement are constant: what is wrong with them is wrong before it runs.
//!
//! PostgreSQL computes them while it plans, after Parse and before anything is sent or locked, so
//! `select 1/0 from t` fails without a RowDescription, and in Bind.
//! Source: `eval_const_expressions` in `optimizer/util/clauses.c`.

use super::{Binder, Scalar};

impl Binder<'_> {
    /// Notes the constants in an expression that was just bound: of those that contain each other
    /// the outermost, as a CASE decides itself what of it is computed.
    pub(super) fn note_constants(&mut self, scalar: &Scalar) {
        let mut found = Vec::new();
        scalar.constants(&mut found);
        self.constants.extend(found.into_iter().cloned());
    }

    /// Binds what is no part of the expression at hand: an argument of an aggregate, a subquery.
    pub(crate) fn apart<T>(&mut self, bind: impl FnOnce(&mut Self) -> T) -> T {
        let within = std::mem::replace(&mut self.within, 0);
        let bound = bind(self);
        self.within = within;
        bound
    }
}

impl Scalar {
    /// Whether it is constant; if it is, it is found, and else the constants among its parts are. What
    /// needs no computing is not looked for.
    fn constants<'s>(&'s self, found: &mut Vec<&'s Scalar>) -> bool {
        let before = found.len();
        let mut constant = match self {
            Scalar::Const(_) | Scalar::Param(_) => return true,
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
        self.children(&mut |part| constant &= part.constants(found));
        if constant {
            found.truncate(before);
            found.push(self);
        }
        constant
    }
}
