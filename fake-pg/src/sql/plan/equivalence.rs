//! Columns of a join that are known to be equal to a constant, and what follows from that.
//!
//! Source: `equivclass.c`. A table of which one row only can qualify is read before the others, as
//! PostgreSQL finds that cheapest; which rows come out does not depend on it.

use super::{Comparison, FromNode, Scalar};

/// What is known of columns, by position in the joined row.
#[derive(Default)]
pub(super) struct Known {
    columns: Vec<usize>,
    /// Conditions that nobody wrote.
    pub(super) implied: Vec<Scalar>,
}

impl Known {
    pub(super) fn from(conditions: &[Scalar]) -> Known {
        let mut known: Vec<(usize, Scalar)> = Vec::new();
        let mut equal: Vec<(usize, usize)> = Vec::new();
        for condition in conditions {
            let Scalar::Compare(Comparison::Equal, pair) = condition else {
                continue;
            };
            match &**pair {
                (Scalar::Column(a), Scalar::Column(b)) => equal.push((*a, *b)),
                (Scalar::Column(a), value @ (Scalar::Const(_) | Scalar::Param(_)))
                | (value @ (Scalar::Const(_) | Scalar::Param(_)), Scalar::Column(a)) => {
                    known.push((*a, value.clone()));
                }
                _ => {}
            }
        }
        let given = known.len();
        let mut next = 0;
        while next < known.len() {
            let (column, value) = known[next].clone();
            for &(a, b) in &equal {
                let other = if a == column { b } else { a };
                let is_new = !known.iter().any(|(known, _)| *known == other);
                if (a == column || b == column) && is_new {
                    known.push((other, value.clone()));
                }
            }
            next += 1;
        }
        let columns = known.iter().map(|(column, _)| *column).collect();
        let implied = known.drain(given..).map(|(column, value)| {
            let pair = Box::new((Scalar::Column(column), value));
            Scalar::Compare(Comparison::Equal, pair)
        });
        Known {
            columns,
            implied: implied.collect(),
        }
    }

    /// Whether a condition compares columns that are equal to the same constant.
    pub(super) fn decides(&self, condition: &Scalar) -> bool {
        let Scalar::Compare(Comparison::Equal, pair) = condition else {
            return false;
        };
        match &**pair {
            (Scalar::Column(a), Scalar::Column(b)) => {
                self.columns.contains(a) && self.columns.contains(b)
            }
            _ => false,
        }
    }

    /// Reads tables of which one row at most qualifies before the others of an inner join.
    pub(super) fn single_rows_first(&self, root: FromNode) -> FromNode {
        if self.columns.is_empty() || !is_plain(&root) {
            return root;
        }
        let mut tables = Vec::new();
        flatten(root, &mut tables);
        // As all of these cost the same, the first that was named is the outer: of UPDATE and DELETE
        // the target. The order among the others stays.
        tables.sort_by_key(|table| match table {
            FromNode::Scan(scan) if self.is_single(table) => (0, scan.offset),
            _ => (1, 0),
        });
        let joined = tables.into_iter().reduce(|left, right| FromNode::Join {
            left: Box::new(left),
            right: Box::new(right),
            outer: false,
            on: Vec::new(),
            right_columns: 0..0,
            right_tables: 0..0,
        });
        joined.expect("a join has tables")
    }

    fn is_single(&self, table: &FromNode) -> bool {
        let FromNode::Scan(scan) = table else {
            return false;
        };
        scan.table.valid_unique_indexes().any(|(_, index)| {
            index
                .columns
                .iter()
                .all(|column| self.columns.contains(&(column + scan.offset)))
        })
    }
}

/// Whether it is an inner join of tables, whose order is nobody's business.
fn is_plain(node: &FromNode) -> bool {
    match node {
        FromNode::Scan(_) => true,
        FromNode::Join {
            left,
            right,
            outer: false,
            on,
            ..
        } => on.is_empty() && is_plain(left) && is_plain(right),
        _ => false,
    }
}

fn flatten(node: FromNode, tables: &mut Vec<FromNode>) {
    match node {
        FromNode::Join { left, right, .. } => {
            flatten(*left, tables);
            flatten(*right, tables);
        }
        table => tables.push(table),
    }
}
