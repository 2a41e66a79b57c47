//! Indexes over expressions, or over some rows only: how a row's key is computed.
//!
//! The engine computes keys wherever it writes versions, in recovery too, so what it is given is
//! complete: bound expressions, which are immutable and need nothing but the row.

use std::cell::RefCell;
use std::sync::Arc;

use super::{Context, Frame, Run};
use crate::engine::{
    Catalog, Computed, Engine, Exec, Halt, Journal, KeyProgram, Pid, SearchPath, Table, Timestamp,
    TxOptions,
};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{CreateIndex, Expr, Name};
use crate::sql::plan::{Binder, Scalar};
use crate::sql::settings::Settings;
use crate::types::Datum;

/// What an index is made over.
pub(super) struct IndexKey {
    /// The columns, all that the key is computed from if `computed`.
    pub(super) columns: Vec<usize>,
    pub(super) computed: Option<Arc<Computed>>,
    /// The columns as the index's name has them.
    pub(super) shown: Vec<Name>,
}

/// Binds the keys and the predicate of CREATE INDEX.
pub(super) fn index_key(
    create: &CreateIndex,
    table: &Arc<Table>,
    (catalog, path): (&Catalog, &SearchPath),
) -> Result<IndexKey, PgError> {
    let mut key = IndexKey {
        columns: Vec::new(),
        computed: None,
        shown: Vec::new(),
    };
    let mut binder = Binder::new(catalog, path, Vec::new());
    let (mut scalars, mut texts) = (Vec::new(), Vec::new());
    let mut only_columns = create.filter.is_none();
    for (expr, text) in &create.keys {
        if let Expr::Column(names, _) = expr {
            let name = names.last().map_or("", |name| name);
            let place = table.column(name);
            let place = place.ok_or_else(|| PgError::undefined_column(name))?;
            key.columns.push(place);
            key.shown.push(name.into());
            texts.push(name.into());
            scalars.push(Scalar::Column(place));
            continue;
        }
        only_columns = false;
        let (scalar, _) = binder.over_table(Some(table), expr)?;
        refuse_volatile(&scalar, "index expression")?;
        key.shown.push(match expr {
            Expr::Call(call) => call.name.last().cloned().unwrap_or_else(|| "expr".into()),
            _ => "expr".into(),
        });
        texts.push(shown(expr, text));
        scalars.push(scalar);
    }
    if only_columns {
        return Ok(key);
    }
    let predicate = match &create.filter {
        None => None,
        Some((expr, text)) => {
            let bound = binder.condition_over(table, expr, "WHERE")?;
            refuse_volatile(&bound, "index predicate")?;
            Some((bound, text.clone()))
        }
    };
    for scalar in scalars
        .iter()
        .chain(predicate.iter().map(|(bound, _)| bound))
    {
        scalar.walk(&mut |part| match part {
            Scalar::Column(column) if !key.columns.contains(column) => key.columns.push(*column),
            _ => {}
        });
    }
    let (predicate, text) = predicate.unzip();
    key.computed = Some(Arc::new(Computed {
        keys: texts,
        predicate: text,
        program: Arc::new(Program {
            keys: scalars,
            predicate,
        }),
    }));
    Ok(key)
}

/// How messages show an expression: in parentheses, unless it is a call.
fn shown(expr: &Expr, text: &str) -> Arc<str> {
    let inner = text
        .strip_prefix('(')
        .and_then(|text| text.strip_suffix(')'));
    match expr {
        Expr::Call(_) => text.into(),
        _ => format!("({})", inner.unwrap_or(text)).into(),
    }
}

fn refuse_volatile(scalar: &Scalar, place: &str) -> Result<(), PgError> {
    let mut volatile = false;
    let mut subquery = false;
    scalar.walk(&mut |part| match part {
        Scalar::Call(function, _) => volatile |= !function.is_immutable(),
        Scalar::Subquery(_) => subquery = true,
        _ => {}
    });
    if subquery {
        let message = format!("cannot use subquery in {place}");
        return Err(PgError::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    match volatile {
        true => Err(PgError::new(
            SqlState::INVALID_OBJECT_DEFINITION,
            format!("functions in {place} must be marked IMMUTABLE"),
        )),
        false => Ok(()),
    }
}

/// Bound keys and predicate.
#[derive(Debug)]
struct Program {
    keys: Vec<Scalar>,
    predicate: Option<Scalar>,
}

thread_local! {
    /// An engine to evaluate in. Immutable expressions neither read nor change it.
    static NOWHERE: RefCell<Engine> = RefCell::default();
}

impl KeyProgram for Program {
    fn key(&self, row: &[Datum]) -> Result<Option<Vec<Datum>>, PgError> {
        NOWHERE.with_borrow_mut(|engine| {
            let mut tx = engine.begin(Pid(0), TxOptions::default(), Timestamp(0));
            let (mut journal, mut settings) = (Journal::default(), Settings::default());
            let mut context = Context {
                exec: Exec::new(engine, &mut tx, &mut journal, Timestamp(0)),
                settings: &mut settings,
                database: "",
                user: "",
                fetch: Default::default(),
            };
            let mut run = Run {
                context: &mut context,
                params: &[],
                ctes: Vec::new(),
                subqueries: Vec::new(),
                keys: std::collections::BTreeMap::new(),
            };
            let frame = Frame { row, outer: None };
            let key = match &self.predicate {
                Some(predicate) => run.is_true(predicate, &frame),
                None => Ok(true),
            };
            let key = key.and_then(|included| match included {
                true => run.eval_all(&self.keys, &frame).map(Some),
                false => Ok(None),
            });
            engine.abort(tx);
            key.map_err(|halt| match halt {
                Halt::Error(error) => error,
                Halt::Wait(_) => PgError::new(SqlState::INTERNAL_ERROR, "an index key waits"),
            })
        })
    }
}
