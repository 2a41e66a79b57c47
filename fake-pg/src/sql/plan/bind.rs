//! The binder: what is known of a statement while it is bound.
//!
//! Scopes and common table expressions are put in reach by whoever binds a
//! clause and taken out by the same. Every table met is noted with the lock the statement needs, which the session takes before it
//! runs. How clauses are bound is for the other files of this folder.

use std::sync::Arc;

use super::coerce::Context;
use super::scope::Scope;
use super::{Scalar, Typed};
use crate::engine::{Catalog, Embedded, LockMode, Relation, SearchPath, Table, TableId, View};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{Expr, LockStrength};
use crate::types::Type;

/// A relation that a statement locks before it runs, how, and where it is named.
pub(crate) type Locked = (Relation, LockMode, u32);

/// Binds one statement.
pub(crate) struct Binder<'a> {
    pub(super) catalog: &'a Catalog,
    /// Where names without a schema are looked up.
    pub(super) path: &'a SearchPath,
    /// Types of the parameters, as far as they are known.
    pub(super) params: Vec<Option<Type>>,
    /// There may be none.
    pub(crate) no_params: bool,
    /// Outermost first.
    pub(super) scopes: Vec<Scope>,
    /// Common table expressions in reach, innermost last.
    pub(super) ctes: Vec<super::with::CteInReach>,
    /// How many slots for them the statement needs.
    pub(super) cte_slots: usize,
    /// The slots that are read, each as often as there are readers.
    pub(super) cte_reads: Vec<usize>,
    /// The first row lock of what is bound, and those of common table expressions by their slots.
    pub(super) row_lock: Option<LockStrength>,
    pub(super) cte_row_locks: Vec<(usize, LockStrength)>,
    /// The relations read, unless within a view.
    pub(super) reads: Vec<TableId>,
    pub(super) in_view: bool,
    /// How deeply the views within each other are nested, and how many there are in all.
    pub(super) view_depth: usize,
    pub(super) views: usize,
    /// How many subqueries there are.
    pub(super) subqueries: usize,
    /// The outermost level that the expression at hand refers to.
    pub(super) outermost: usize,
    /// Uses of parameters that say nothing of their types, and where they stand.
    pub(super) untyped: Vec<(usize, u32)>,
    /// The slots of the recursive queries whose second term is bound.
    pub(super) recursing: Vec<usize>,
    /// It is not the statement itself that is bound, but a query within it.
    pub(super) below_top: bool,
    /// Unknown constants of the next target list stay unknown.
    pub(super) keep_unknown: bool,
    /// The tables and views met, and how the statement must lock them.
    pub(super) locks: Vec<Locked>,
    /// The tables whose indexes it could use.
    pub(super) planned: Vec<TableId>,
    /// Expressions that depend on no row and no state.
    pub(crate) constants: Vec<Scalar>,
    /// How deep within an expression the one at hand stands.
    pub(super) within: usize,
}

impl<'a> Binder<'a> {
    /// A binder for a statement with these types of parameters.
    pub(crate) fn new(
        catalog: &'a Catalog,
        path: &'a SearchPath,
        params: Vec<Option<Type>>,
    ) -> Self {
        Binder {
            catalog,
            path,
            params,
            no_params: false,
            scopes: Vec::new(),
            ctes: Vec::new(),
            cte_slots: 0,
            cte_reads: Vec::new(),
            row_lock: None,
            cte_row_locks: Vec::new(),
            reads: Vec::new(),
            in_view: false,
            view_depth: 0,
            views: 0,
            subqueries: 0,
            outermost: usize::MAX,
            untyped: Vec::new(),
            recursing: Vec::new(),
            below_top: false,
            keep_unknown: false,
            locks: Vec::new(),
            planned: Vec::new(),
            constants: Vec::new(),
            within: 0,
        }
    }

    /// Whether a common table expression has one reader.
    pub(super) fn reads_once(&self, slot: usize) -> bool {
        self.cte_reads.iter().filter(|&&read| read == slot).count() == 1
    }

    /// The embedder's schema, if it has this name.
    pub(crate) fn embedded(&self, schema: &str) -> Option<Arc<dyn Embedded>> {
        self.catalog.embedded(schema).cloned()
    }

    /// Leaves a parameter as it is where its type does not matter.
    pub(crate) fn leave_untyped(&mut self, number: usize, typed: Typed) {
        if typed.ty == Type::Unknown {
            let at = u32::try_from(typed.typmod).unwrap_or(0);
            self.untyped.push((number, at));
        }
    }

    /// The types of the parameters; one that nothing tells is text where it
    /// was used, and an error where it was not.
    pub(crate) fn params(&self) -> Result<Vec<Type>, PgError> {
        // Source: `check_parameter_resolution_walker`.
        let mut untyped = self.untyped.iter();
        if let Some((number, at)) = untyped.find(|(number, _)| self.params[*number].is_some()) {
            let number = number + 1;
            let message = format!("could not determine data type of parameter ${number}");
            return Err(PgError::new(SqlState::AMBIGUOUS_PARAMETER, message).near(*at));
        }
        let mut types = Vec::with_capacity(self.params.len());
        for (number, ty) in self.params.iter().enumerate() {
            match ty {
                Some(ty) => types.push(*ty),
                None => {
                    return Err(PgError::new(
                        SqlState::INDETERMINATE_DATATYPE,
                        format!("could not determine data type of parameter ${}", number + 1),
                    ));
                }
            }
        }
        Ok(types)
    }

    /// The tables and views the statement names, and how it must lock them as a whole.
    pub(crate) fn named_locks(&mut self) -> Vec<Locked> {
        let mut locks = std::mem::take(&mut self.locks);
        let mut seen: Vec<(TableId, LockMode)> = Vec::new();
        locks.retain(|(relation, mode, _)| {
            let lock = (relation.id(), *mode);
            let is_new = !seen.contains(&lock);
            seen.push(lock);
            is_new
        });
        locks
    }

    /// The same, and the indexes of the tables it reads: planning it locks all of them, as it locks
    /// their table (`get_relation_info`).
    pub(crate) fn locks(&mut self) -> Vec<Locked> {
        let mut locks = self.named_locks();
        for place in 0..locks.len() {
            let (Relation::Table(table), mode, at) = locks[place].clone() else {
                continue;
            };
            if self.planned.contains(&table.id) {
                let indexes = table.indexes.iter();
                let indexes = indexes.map(|one| Relation::Index(table.clone(), one.clone()));
                locks.extend(indexes.map(|index| (index, mode, at)));
            }
        }
        locks
    }

    /// The relations the query itself reads; what its views read is theirs.
    pub(crate) fn relations_read(&mut self) -> Vec<TableId> {
        std::mem::take(&mut self.reads)
    }

    /// Notes that a table is used; what is used in several ways is locked in each.
    pub(super) fn note_lock(&mut self, table: &Arc<Table>, mode: LockMode, at: u32) {
        self.locks.push((Relation::Table(table.clone()), mode, at));
    }

    /// Notes that rows of a table that is read are locked as well: once for each time it is read.
    pub(super) fn note_row_locks(&mut self, table: &Arc<Table>) {
        let mut read = self.locks.iter_mut().rev();
        let read = read.find(|(relation, mode, _)| {
            relation.id() == table.id && *mode == LockMode::AccessShare
        });
        match read {
            Some((_, mode, _)) => *mode = LockMode::RowShare,
            None => self.note_lock(table, LockMode::RowShare, 0),
        }
    }

    /// Notes that a view is read.
    pub(super) fn note_view(&mut self, view: &Arc<View>, at: u32) {
        let view = Relation::View(view.clone());
        self.locks.push((view, LockMode::AccessShare, at));
    }

    /// Notes what a view reads.
    pub(super) fn note_locks_within(&mut self, view: &mut Binder<'_>) {
        let locks = std::mem::take(&mut view.locks).into_iter();
        self.locks
            .extend(locks.map(|(relation, mode, _)| (relation, mode, 0)));
        self.planned.append(&mut view.planned);
    }

    /// How many slots for subqueries and common table expressions a run needs.
    pub(crate) fn slots(&self) -> (usize, usize) {
        (self.subqueries, self.cte_slots)
    }

    /// Binds an expression over the columns of one table, as DEFAULT (none) and
    /// CHECK need it.
    pub(crate) fn over_table(
        &mut self,
        table: Option<&Arc<Table>>,
        expr: &Expr,
    ) -> Result<(Scalar, Typed), PgError> {
        let clause = table.map_or("DEFAULT", |_| "index expressions");
        self.over_table_in(table, expr, clause)
    }

    fn over_table_in(
        &mut self,
        table: Option<&Arc<Table>>,
        expr: &Expr,
        clause: &'static str,
    ) -> Result<(Scalar, Typed), PgError> {
        let mut scope = Scope {
            clause,
            ..Scope::default()
        };
        if let Some(table) = table {
            let columns = super::scope::table_columns(table);
            scope.add(table.name.clone(), columns, None, None)?;
        }
        let outer = std::mem::replace(&mut self.scopes, vec![scope]);
        let bound = self.expr(expr);
        self.scopes = outer;
        bound
    }

    /// Binds a condition over the columns of one table, as a partial index needs it.
    pub(crate) fn condition_over(
        &mut self,
        table: &Arc<Table>,
        expr: &Expr,
        clause: &'static str,
    ) -> Result<Scalar, PgError> {
        let bound = self.over_table_in(Some(table), expr, "index predicates")?;
        self.demanded(bound, expr.at(), Type::Bool, clause)
    }

    /// A default as a value of its column.
    pub(crate) fn default_expr(&mut self, expr: &Expr, to: Typed) -> Result<Scalar, PgError> {
        let (scalar, from) = self.over_table(None, expr)?;
        let cast = self.assignable(scalar, from, to)?;
        Ok(cast.unwrap_or(Scalar::Const(crate::types::Datum::Null)))
    }

    /// An expression cast as an assignment casts it; `None` if there is no such cast.
    pub(crate) fn assignable(
        &mut self,
        scalar: Scalar,
        from: Typed,
        to: Typed,
    ) -> Result<Option<Scalar>, PgError> {
        self.coerce(scalar, from, to, Context::Assignment)
    }

    /// Checks the expression of a DEFAULT.
    pub(crate) fn check_default(
        &mut self,
        expr: &Expr,
        to: Typed,
        column: &str,
    ) -> Result<(), PgError> {
        let (scalar, from) = self.over_table(None, expr)?;
        // A default that draws on what is not there yet is bound when it is used.
        match self.coerce(scalar, from, to, Context::Assignment)? {
            Some(_) => Ok(()),
            None => Err(PgError::new(
                SqlState::DATATYPE_MISMATCH,
                format!(
                    "column \"{column}\" is of type {} but default expression is of type {}",
                    to.ty, from.ty
                ),
            )
            .with_hint("You will need to rewrite or cast the expression.")),
        }
    }

    /// Checks the expression of a CHECK, and tells which columns it is about.
    pub(crate) fn check(&mut self, table: &Arc<Table>, expr: &Expr) -> Result<Vec<usize>, PgError> {
        let bound = self.over_table_in(Some(table), expr, "check constraints")?;
        let check = self.demanded(bound, expr.at(), Type::Bool, "CHECK")?;
        let mut columns = Vec::new();
        check.walk(&mut |part| match part {
            Scalar::Column(column) if !columns.contains(column) => columns.push(*column),
            _ => {}
        });
        Ok(columns)
    }

    /// Binds an expression that must be boolean.
    pub(super) fn condition(
        &mut self,
        expr: &Expr,
        clause: &'static str,
    ) -> Result<Scalar, PgError> {
        self.scope().clause = clause;
        self.demand(expr, Type::Bool, clause)
    }
}
