//! Calls of functions that the embedder answers for.
//!
//! Their arguments are given by position or by name, and may be left out where they are optional.
//! What they do is the embedder's: see `engine::Embedded`.

use std::sync::Arc;

use crate::engine::{Embedded, EmbeddedFunction, Exec, Halt};
use crate::error::PgError;
use crate::sql::ast::{Call, Expr};
use crate::sql::plan::{Binder, Scalar, Typed};
use crate::types::{Datum, Type};

/// Which function of whose.
#[derive(Debug, Clone)]
pub(crate) struct EmbeddedCall {
    embedded: Arc<dyn Embedded>,
    function: usize,
}

impl PartialEq for EmbeddedCall {
    /// A call happens as often as it is written.
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl EmbeddedCall {
    /// Has the embedder answer.
    pub(crate) fn make(&self, exec: &mut Exec<'_>, args: &[Datum]) -> Result<Datum, Halt> {
        exec.call_embedded(&*self.embedded, self.function, args)
    }
}

/// Binds a call of a function in the embedder's schema.
pub(super) fn bind(
    binder: &mut Binder<'_>,
    embedded: Arc<dyn Embedded>,
    call: &Call,
) -> Result<(Scalar, Typed), PgError> {
    let shown = call.name.join(".");
    let name = call.name.last().map_or("", |name| &**name);
    let functions = embedded.functions();
    let undefined = |what: &str, hint: String| {
        PgError::undefined_function(what)
            .with_hint(hint)
            .at(call.at as usize)
    };
    let found = functions.iter().position(|known| known.name == name);
    let Some(function) = found.filter(|_| !call.star && call.filter.is_none()) else {
        let known: Vec<String> = functions.iter().map(signature).collect();
        let hint = format!("In {} there are: {}.", embedded.schema(), known.join(", "));
        return Err(undefined(&format!("{shown}()"), hint));
    };
    let declared = &functions[function];
    let mut args = vec![None; declared.args.len()];
    let mut types = Vec::new();
    let mut fits = true;
    for (place, arg) in call.args.iter().enumerate() {
        let (place, arg, label) = match arg {
            Expr::Named(name, arg) => {
                let place = declared.args.iter().position(|arg| arg.name == &**name);
                (place, &**arg, format!("{name} => "))
            }
            arg => (Some(place), arg, String::new()),
        };
        let (scalar, from) = binder.expr(arg)?;
        types.push(format!("{label}{}", from.ty.sql_name()));
        let place = place.filter(|&place| args.get(place).is_some_and(Option::is_none));
        let cast = match place {
            Some(place) => binder.cast_argument(scalar, from, declared.args[place].ty)?,
            None => None,
        };
        match (place, cast) {
            (Some(place), Some(cast)) => args[place] = Some(cast),
            _ => fits = false,
        }
    }
    let mut given = args.iter().zip(declared.args);
    fits &= given.all(|(given, declared)| given.is_some() || declared.optional);
    if !fits {
        let hint = format!("There is {}.{}.", embedded.schema(), signature(declared));
        return Err(undefined(&format!("{shown}({})", types.join(", ")), hint));
    }
    let args = args.into_iter();
    let args = args.map(|arg| arg.unwrap_or(Scalar::Const(Datum::Null)));
    let result: Type = declared.result;
    let args = args.collect();
    let call = EmbeddedCall { embedded, function };
    Ok((Scalar::Embedded(call, args), result.into()))
}

/// `wait(point text, timeout text optional)`.
fn signature(function: &EmbeddedFunction) -> String {
    let args = function.args.iter().map(|arg| {
        let optional = if arg.optional { " optional" } else { "" };
        format!("{} {}{optional}", arg.name, arg.ty.sql_name())
    });
    format!("{}({})", function.name, args.collect::<Vec<_>>().join(", "))
}
