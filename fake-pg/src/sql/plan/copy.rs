//! COPY: an INSERT of rows that are yet to come, or a query of a table.

use std::sync::Arc;

use super::bind::Binder;
use super::modify::{insert_targets, typed};
use super::targets::plain_column;
use super::{Action, InsertSource, ModifyPlan, QueryPlan, Scalar, Typed};
use crate::engine::LockMode;
use crate::error::{PgError, SqlState};
use crate::sql::ast::{
    Copy, CopySource, Expr, FromItem, Name, Query, QueryBody, Relation, Select, Target, With,
};
use crate::sql::copy::Copying;

impl Binder<'_> {
    /// COPY FROM: the table's row over the columns that are sent.
    pub(crate) fn copy_from(&mut self, copy: &Copy) -> Result<(ModifyPlan, Arc<Copying>), PgError> {
        let CopySource::Table(relation, columns) = &copy.source else {
            return Err(PgError::new(
                SqlState::SYNTAX_ERROR,
                "syntax error at or near \"from\"",
            ));
        };
        // Where a name stands is not told for utility statements.
        let unplaced = |error: PgError| {
            let mut error = error;
            error.position = None;
            error
        };
        let table = self.table(relation).map_err(unplaced)?;
        self.note_lock(&table, LockMode::RowExclusive, 0);
        let targets = insert_targets(&table, columns).map_err(unplaced)?;
        let mut row = vec![None; table.columns.len()];
        let mut sent = Vec::with_capacity(targets.len());
        for (place, &column) in targets.iter().enumerate() {
            let to = typed(&table, column);
            sent.push(plain_column(table.columns[column].name.clone(), to));
            let from = Typed::from(to.ty);
            row[column] = Some(self.assign(&table, column, Scalar::Column(place), from, 0)?);
        }
        let row = self.fill_defaults(&table, row)?;
        let copying = Arc::new(Copying {
            incoming: true,
            columns: sent,
            options: copy.options.clone(),
            table: table.name.clone(),
        });
        let plan = ModifyPlan {
            ctes: Vec::new(),
            checks: self.checks(&table)?,
            action: Action::Insert {
                source: InsertSource::Copied(row, copying.clone()),
                conflict: None,
            },
            returning: None,
            table,
        };
        Ok((plan, copying))
    }

    /// COPY TO.
    pub(crate) fn copy_to(&mut self, copy: &Copy) -> Result<QueryPlan, PgError> {
        match &copy.source {
            CopySource::Query(query) => self.query(query),
            CopySource::Table(relation, columns) => {
                if !columns.is_empty()
                    && let Some(crate::engine::Relation::Table(table)) =
                        self.find_relation(relation)?
                {
                    insert_targets(&table, columns).map_err(|mut error| {
                        error.position = None;
                        error
                    })?;
                }
                let plan = self.query(&everything(relation, columns));
                plan.map_err(|mut error| {
                    error.position = None;
                    error
                })
            }
        }
    }
}

/// SELECT of these columns, or all.
fn everything(relation: &Relation, columns: &[(Name, u32)]) -> Query {
    let targets = match columns {
        [] => vec![Target::Star(Vec::new(), 0)],
        columns => columns
            .iter()
            .map(|(name, at)| Target::Expr(Expr::Column(vec![name.clone()], *at), None))
            .collect(),
    };
    let select = Select {
        distinct: None,
        targets,
        from: vec![FromItem::Relation {
            relation: relation.clone(),
            alias: None,
        }],
        filter: None,
        group_by: Vec::new(),
        having: None,
    };
    Query {
        with: With::default(),
        body: QueryBody::Select(Box::new(select)),
        order_by: Vec::new(),
        limit: None,
        offset: None,
        locking: Vec::new(),
    }
}
