//! Casts: which exist, and where they may be applied.
//!
//! Source: `find_coercion_pathway`, `coerce_type` and `select_common_type` in parse_coerce.c. What a cast
//! does to a value is `cast`'s.

use super::bind::Binder;
use super::cast::Cast;
use super::{Scalar, Typed};
use crate::error::{PgError, SqlState};
use crate::sql::ast::Expr;
use crate::sql::functions;
use crate::types::{Datum, Env, Type};

/// When a cast may be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Context {
    Implicit,
    Assignment,
    Explicit,
}

/// How a cast is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pathway {
    /// The value stays what it is.
    Relabel,
    /// By a function.
    Function,
    /// Element by element.
    Elements,
    /// By its text.
    Text,
}

pub(super) fn is_text(ty: Type) -> bool {
    matches!(ty, Type::Text | Type::Varchar | Type::Name | Type::Char)
}

/// How one type becomes another in this context, if it may (`find_coercion_pathway`).
pub(crate) fn pathway(from: Type, to: Type, context: Context) -> Option<Pathway> {
    let (from, to) = (from.base(), to.base());
    if from == to {
        return Some(Pathway::Relabel);
    }
    if let Some(row) = functions::cast(from, to) {
        let needed = match row.context {
            'i' => Context::Implicit,
            'a' => Context::Assignment,
            _ => Context::Explicit,
        };
        if needed > context {
            return None;
        }
        return Some(match row.method {
            'b' => Pathway::Relabel,
            'i' => Pathway::Text,
            _ => Pathway::Function,
        });
    }
    if let (Some(from), Some(to_element)) = (from.element(), to.element())
        && !matches!(to, Type::Int2vector | Type::Oidvector)
        && pathway(from, to_element, context).is_some()
    {
        return Some(Pathway::Elements);
    }
    let by_text = context >= Context::Assignment && to.category() == 'S'
        || context >= Context::Explicit && from.category() == 'S';
    by_text.then_some(Pathway::Text)
}

impl Binder<'_> {
    /// Casts an expression if it has not the type already; `None` if there is no such cast.
    pub(super) fn coerce(
        &mut self,
        scalar: Scalar,
        from: Typed,
        to: Typed,
        context: Context,
    ) -> Result<Option<Scalar>, PgError> {
        let cast = Cast {
            to: to.ty,
            typmod: to.typmod,
            explicit: context == Context::Explicit,
        };
        if from.ty == Type::Unknown {
            match &scalar {
                Scalar::Param(number) => {
                    self.deduce(*number, to.ty.base(), from.typmod)?;
                    return Ok(Some(self.fit(scalar, to.ty.into(), cast)?));
                }
                Scalar::Const(Datum::Null) => return Ok(Some(scalar)),
                Scalar::Const(datum) if to.ty == Type::Regclass => {
                    let name = datum.as_str().unwrap_or("");
                    let found = self.regclass(name);
                    return found.map(Some).map_err(|error| at_constant(error, from));
                }
                Scalar::Const(_) => {
                    let plain = Cast { typmod: -1, ..cast };
                    if let Scalar::Const(datum) = &scalar
                        && plain.is_stable(datum)
                    {
                        // It is read when it runs, but must be readable now.
                        let read = plain.apply(datum.clone(), Env::default());
                        read.map_err(|error| at_constant(error, from))?;
                    }
                    let read = apply(scalar, plain).map_err(|error| at_constant(error, from))?;
                    return Ok(Some(self.fit(read, to.ty.into(), cast)?));
                }
                _ => {}
            }
        }
        if from.ty == to.ty {
            return Ok(Some(self.fit(scalar, from, cast)?));
        }
        if to.ty == Type::Any {
            return Ok(Some(scalar));
        }
        let found = match from.ty {
            Type::Unknown => Some(Pathway::Text),
            _ => pathway(from.ty, to.ty, context),
        };
        let Some(found) = found else {
            return Ok(None);
        };
        if to.ty == Type::Regclass
            && matches!(
                from.ty.base(),
                Type::Oid | Type::Int2 | Type::Int4 | Type::Int8
            )
            && let Some(oid) = self.coerce(scalar.clone(), from, Type::Oid.into(), context)?
        {
            return Ok(Some(Scalar::Call(&functions::NAMED_CLASS, vec![oid])));
        }
        // Text and varchar are the same values; so are most integers that stand for OIDs.
        let same = is_text(from.ty.base()) && is_text(to.ty.base()) && to.ty.base() != Type::Name
            || found == Pathway::Relabel
                && from.ty.base() != Type::Int4
                // A regclass carries its name along.
                && from.ty.base() != Type::Regclass
                && to.ty.base() != Type::Int4
                && !matches!(to.ty.base(), Type::Text | Type::Varchar | Type::Bpchar);
        if same && to.ty.base() == to.ty {
            return Ok(Some(match to.typmod {
                -1 => scalar,
                _ => apply(scalar, cast)?,
            }));
        }
        if to.ty == Type::Regclass && (is_text(from.ty) || from.ty == Type::Unknown) {
            return Ok(Some(Scalar::Call(&functions::CLASS_NAMED, vec![scalar])));
        }
        if to.ty.labels().is_some() {
            return Ok(Some(Scalar::Cast(Box::new(scalar), cast)));
        }
        Ok(Some(apply(scalar, cast)?))
    }

    /// Binds an expression whose type nothing else will tell: unknown is text.
    pub(super) fn settled(&mut self, expr: &Expr) -> Result<(Scalar, Typed), PgError> {
        let (scalar, typed) = self.expr(expr)?;
        self.settle(scalar, typed)
    }

    /// Likewise, but a parameter is left to what else is said of it.
    pub(super) fn settled_if_constant(&mut self, expr: &Expr) -> Result<(Scalar, Typed), PgError> {
        match self.expr(expr)? {
            (Scalar::Param(number), typed) => {
                self.leave_untyped(number, typed);
                Ok((Scalar::Param(number), typed))
            }
            (scalar, typed) => self.settle(scalar, typed),
        }
    }

    /// Makes text of what is unknown.
    pub(super) fn settle(
        &mut self,
        scalar: Scalar,
        typed: Typed,
    ) -> Result<(Scalar, Typed), PgError> {
        if typed.ty != Type::Unknown {
            return Ok((scalar, typed));
        }
        let text = Typed::from(Type::Text);
        match self.coerce(scalar, typed, text, Context::Implicit)? {
            Some(scalar) => Ok((scalar, text)),
            None => Err(PgError::feature_not_supported("a value of unknown type")),
        }
    }

    /// What a parameter of unknown type is used as is its type (`variable_coerce_param_hook`).
    pub(super) fn deduce(&mut self, number: usize, to: Type, at: i32) -> Result<(), PgError> {
        match self.params[number] {
            Some(known) if known != to => {
                let number = number + 1;
                let message = format!("inconsistent types deduced for parameter ${number}");
                Err(PgError::new(SqlState::AMBIGUOUS_PARAMETER, message)
                    .with_detail(format!("{known} versus {to}"))
                    .near(u32::try_from(at).unwrap_or(0)))
            }
            _ => {
                self.params[number] = Some(to);
                Ok(())
            }
        }
    }

    /// Applies a length to an expression of the right type.
    fn fit(&mut self, scalar: Scalar, from: Typed, cast: Cast) -> Result<Scalar, PgError> {
        match cast.typmod == -1 || cast.typmod == from.typmod {
            true => Ok(scalar),
            false => apply(scalar, cast),
        }
    }

    /// Casts several expressions, which stand at these places, to the type they share.
    pub(super) fn unify(
        &mut self,
        exprs: Vec<(Scalar, Typed)>,
        places: &[u32],
        construct: &str,
    ) -> Result<(Vec<Scalar>, Typed), PgError> {
        let types: Vec<Type> = exprs.iter().map(|(_, typed)| typed.ty).collect();
        let ty = self.common_type(&types, places, construct)?;
        let typmod = match exprs.first() {
            Some((_, first))
                if first.ty != Type::Unknown && exprs.iter().all(|(_, typed)| typed == first) =>
            {
                first.typmod
            }
            _ => -1,
        };
        let to = Typed::from(ty);
        let mut unified = Vec::with_capacity(exprs.len());
        for ((scalar, from), at) in exprs.into_iter().zip(places) {
            match self.coerce(scalar, from, to, Context::Implicit)? {
                Some(scalar) => unified.push(scalar),
                None => {
                    return Err(PgError::new(
                        SqlState::CANNOT_COERCE,
                        format!("{construct} could not convert type {} to {ty}", from.ty),
                    )
                    .near(*at));
                }
            }
        }
        Ok((unified, Typed { ty, typmod }))
    }

    /// The type that several expressions share (`select_common_type`).
    pub(super) fn common_type(
        &self,
        types: &[Type],
        places: &[u32],
        construct: &str,
    ) -> Result<Type, PgError> {
        // All alike: a domain stays one.
        if let [first, rest @ ..] = types
            && *first != Type::Unknown
            && rest.iter().all(|ty| ty == first)
        {
            return Ok(*first);
        }
        let mut common = Type::Unknown;
        for (ty, at) in types.iter().map(|ty| ty.base()).zip(places) {
            if ty == Type::Unknown || ty == common {
                continue;
            }
            if common == Type::Unknown {
                common = ty;
            } else if common.category() != ty.category() {
                return Err(PgError::new(
                    SqlState::DATATYPE_MISMATCH,
                    format!("{construct} types {common} and {ty} cannot be matched"),
                )
                .near(*at));
            } else if !common.is_preferred()
                && pathway(common, ty, Context::Implicit).is_some()
                && pathway(ty, common, Context::Implicit).is_none()
            {
                common = ty;
            }
        }
        Ok(match common {
            Type::Unknown => Type::Text,
            common => common,
        })
    }

    /// Binds what a clause demands to be of a type.
    pub(super) fn demand(
        &mut self,
        expr: &Expr,
        to: Type,
        clause: &str,
    ) -> Result<Scalar, PgError> {
        let bound = self.expr(expr)?;
        self.demanded(bound, expr.at(), to, clause)
    }

    /// Casts it, as `coerce_to_boolean` and `coerce_to_specific_type` do.
    pub(super) fn demanded(
        &mut self,
        (scalar, from): (Scalar, Typed),
        at: u32,
        to: Type,
        clause: &str,
    ) -> Result<Scalar, PgError> {
        let ty = from.ty;
        self.coerce(scalar, from, to.into(), Context::Assignment)?
            .ok_or_else(|| {
                PgError::new(
                    SqlState::DATATYPE_MISMATCH,
                    format!("argument of {clause} must be type {to}, not type {ty}"),
                )
                .near(at)
            })
    }
}

/// An error in reading a constant of unknown type points at it.
fn at_constant(error: PgError, from: Typed) -> PgError {
    match error.position {
        None => error.near(u32::try_from(from.typmod).unwrap_or(0)),
        Some(_) => error,
    }
}

/// Casts an expression; a constant at once, unless it depends on the session.
fn apply(scalar: Scalar, cast: Cast) -> Result<Scalar, PgError> {
    Ok(match scalar {
        Scalar::Const(datum) if !cast.is_stable(&datum) => {
            Scalar::Const(cast.apply(datum, Env::default())?)
        }
        scalar => Scalar::Cast(Box::new(scalar), cast),
    })
}

/// The length of varchar(n), if a modifier gives one.
pub(super) fn varchar_typmod(length: i32) -> i32 {
    length + 4
}
