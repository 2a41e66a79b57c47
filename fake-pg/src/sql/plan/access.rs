//! By which path PostgreSQL would read a table: all of it, an index, or a bitmap made from indexes.
//!
//! Which rows are found does not depend on it, but in which order they are found, and so locked; and
//! what else is read: serializable isolation's failures follow from the pages that a plan touches.
//! What follows are the cost
//! formulas of `costsize.c` and `selfuncs.c` for a table that has never been analysed. It is taken to
//! have ten pages, or as many as there were when an index was made over its rows
//! (`table_block_relation_estimate_size`). Joins are PostgreSQL's business only as
//! far as the order in which they are written goes.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::condition::{among_few, fixes, indexable, operators};
use super::pushdown::References;
use super::selectivity::Selectivity;
use super::{Comparison, FromNode, Scalar, ScanPlan};
use crate::engine::{Deferral, Index};

const SEQ_PAGE: f64 = 1.0;
const RANDOM_PAGE: f64 = 4.0;
const CPU_TUPLE: f64 = 0.01;
const CPU_INDEX_TUPLE: f64 = 0.005;
const CPU_OPERATOR: f64 = 0.0025;
/// What a plan costs that a setting forbids (`disable_cost`).
const DISABLED: f64 = 1e10;

/// A path to the rows of a table.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// Page by page.
    Seq,
    /// Entry by entry of an index, those that some of the scan's conditions select.
    Index {
        index: Arc<Index>,
        /// Positions in the filter of the scan.
        conditions: Vec<usize>,
        backward: bool,
        /// Its order is the one that is wanted.
        sorted: bool,
    },
    /// Pages that indexes name; each index with its conditions.
    Bitmap {
        arms: Vec<(Arc<Index>, Vec<Scalar>)>,
        /// OR rather than AND.
        any: bool,
    },
    /// The entries of a unique index for each value of a short subquery: position in the filter.
    Keys { index: Arc<Index>, of: usize },
    /// The first entry of each index whose row qualifies and has a value in that column.
    Extremes(Vec<(usize, Access)>),
}

/// What else is wanted of a scan, which may make another path the best.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) sorting: Sorting,
    /// Only the greatest or the least values of these columns: position in the row, the greatest.
    pub(crate) extremes: Vec<(usize, bool)>,
    /// How often it is run, when it is the inner side of a join.
    pub(crate) loops: Option<f64>,
    /// It can be seen in which order rows are read.
    pub(crate) walks: bool,
    chosen: [[OnceLock<Access>; 2]; 2],
}

/// ORDER BY and LIMIT over one table.
#[derive(Debug, Default)]
pub(crate) struct Sorting {
    /// Columns: position in the row, descending, nulls first.
    pub(crate) order: Vec<(usize, bool, bool)>,
    /// Whether rows are sorted by something that no index can know.
    pub(crate) sorts: bool,
    /// How many rows are enough.
    pub(crate) limit: Option<f64>,
}

/// A path and what it costs.
struct Path {
    access: Access,
    startup: f64,
    total: f64,
    ordered: bool,
}

impl Access {
    /// Whether rows come in an order that only indexes know. Of an index over expressions or over some
    /// rows that is not known here; and what is sorted by a key anyway has its order.
    pub(crate) fn is_by_index(&self, walks: bool) -> bool {
        match self {
            Access::Index { index, sorted, .. } => {
                let is_key = index.unique && index.deferral == Deferral::Never;
                index.computed.is_none() && (walks || !(*sorted && is_key))
            }
            Access::Bitmap { arms, .. } => arms.iter().all(|(index, _)| index.computed.is_none()),
            Access::Seq | Access::Keys { .. } | Access::Extremes(_) => false,
        }
    }
}

impl Access {
    pub(super) fn is_bitmap(&self) -> bool {
        matches!(self, Access::Bitmap { .. })
    }
}

impl ScanPlan {
    /// Whether its rows are sorted after they have been read.
    pub(super) fn is_sorted(&self, seqscan: bool, cursor: bool) -> bool {
        let Sorting { order, sorts, .. } = &self.wanted.sorting;
        *sorts
            || !self.has_order(order)
                && !matches!(
                    self.access(seqscan, cursor),
                    Access::Index { sorted: true, .. }
                )
    }

    /// Whether there is nothing to sort: the conditions leave one value of each key.
    fn has_order(&self, order: &[(usize, bool, bool)]) -> bool {
        let fixed = |key: &(usize, bool, bool)| self.filter.iter().any(|part| fixes(part, key.0));
        order.iter().all(fixed)
    }

    /// Whether it is worth asking by which path the only table of a query is read.
    pub(crate) fn may_use_index(&self) -> bool {
        let wants = !self.filter.is_empty() || !self.wanted.sorting.order.is_empty();
        wants && !self.table.indexes.is_empty() && self.wanted.loops.is_none()
    }

    /// Whether it is read by the best path if that is an index.
    pub(crate) fn walks_index(&self) -> bool {
        let found = self.lookup.is_some() || self.hashed.is_some() || self.current;
        !found && self.may_use_index()
    }

    /// The best path; `seqscan` is `enable_seqscan`. Of a cursor a tenth of the rows is thought to be
    /// fetched (`cursor_tuple_fraction`).
    pub(crate) fn access(&self, seqscan: bool, cursor: bool) -> &Access {
        let chosen = &self.wanted.chosen[usize::from(seqscan)][usize::from(cursor)];
        chosen.get_or_init(|| {
            let ends = self.extremes(seqscan);
            ends.unwrap_or_else(|| {
                let sorting = &self.wanted.sorting;
                if !cursor || sorting.limit.is_some() {
                    return self.choose(sorting, seqscan);
                }
                let facts = Selectivity::of(&self.table, self.offset);
                let rows = facts.tuples * facts.all(&self.filter);
                let sorting = Sorting {
                    order: sorting.order.clone(),
                    sorts: sorting.sorts,
                    limit: Some((rows / 10.0).max(1.0)),
                };
                self.choose(&sorting, seqscan)
            })
        })
    }

    fn columns(&self) -> Range<usize> {
        self.offset..self.offset + self.table.columns.len()
    }

    /// The ends of indexes, if they tell all that MIN and MAX want to know
    /// (`preprocess_minmax_aggregates`).
    fn extremes(&self, seqscan: bool) -> Option<Access> {
        let ends = self.wanted.extremes.iter().map(|&(column, descending)| {
            let sorting = Sorting {
                order: vec![(column, descending, descending)],
                limit: Some(1.0),
                ..Sorting::default()
            };
            match self.choose(&sorting, seqscan) {
                access @ Access::Index { .. } => Some((column, access)),
                _ => None,
            }
        });
        let ends: Vec<_> = ends.collect::<Option<_>>()?;
        (!ends.is_empty()).then_some(Access::Extremes(ends))
    }

    /// `column IN (SELECT … LIMIT n)`, as queues are read: the few rows are joined to by their keys.
    fn keys(&self) -> Option<Access> {
        let own = self.columns();
        self.filter.iter().enumerate().find_map(|(of, condition)| {
            let column = among_few(condition).filter(|column| own.contains(column))?;
            let key = [column - self.offset];
            let mut unique = self.table.indexes.iter();
            let index = unique.find(|index| {
                let is_key = index.unique && index.deferral == Deferral::Never;
                is_key && index.computed.is_none() && index.columns[..] == key
            })?;
            let index = index.clone();
            Some(Access::Keys { index, of })
        })
    }

    fn choose(&self, sorting: &Sorting, seqscan: bool) -> Access {
        if sorting.order.is_empty()
            && self.wanted.loops.is_none()
            && let Some(keys) = self.keys()
        {
            return keys;
        }
        let facts = Selectivity::of(&self.table, self.offset);
        let (pages, tuples) = (facts.pages, facts.tuples);
        let rows = (tuples * facts.all(&self.filter)).max(1.0).round();
        let quals = |count: usize| CPU_OPERATOR * count as f64;
        let filters: usize = self.filter.iter().map(operators).sum();
        let mut paths = vec![Path {
            access: Access::Seq,
            startup: if seqscan { 0.0 } else { DISABLED },
            total: pages * SEQ_PAGE
                + tuples * (CPU_TUPLE + quals(filters))
                + if seqscan { 0.0 } else { DISABLED },
            ordered: self.has_order(&sorting.order),
        }];
        let mut bitmaps: Vec<(Access, f64, f64)> = Vec::new();
        for index in &self.table.indexes {
            // Which conditions imply that of a partial index, or mean an expression, is not known here.
            if index.computed.is_some() {
                continue;
            }
            let matched = self.matched(index, &self.filter);
            let backward = self.sorts_by(index, sorting);
            let ordered = sorting.order.is_empty() || backward.is_some();
            if matched.is_empty() && (sorting.order.is_empty() || backward.is_none()) {
                continue;
            }
            let cost = self.index_cost(&facts, index, &self.filter, &matched);
            let fetched = (tuples * cost.selectivity).max(1.0).round();
            let heap = index_pages_fetched(fetched, pages) * RANDOM_PAGE;
            let rest = filters
                - matched
                    .iter()
                    .map(|&place| operators(&self.filter[place]))
                    .sum::<usize>();
            paths.push(Path {
                access: Access::Index {
                    index: index.clone(),
                    conditions: matched.clone(),
                    backward: backward.unwrap_or(false),
                    sorted: ordered && !sorting.sorts && !sorting.order.is_empty(),
                },
                startup: cost.startup,
                total: cost.total + heap + fetched * (CPU_TUPLE + quals(rest)),
                ordered,
            });
            if !matched.is_empty() {
                let conditions = matched
                    .iter()
                    .map(|&place| self.filter[place].clone())
                    .collect();
                let arms = vec![(index.clone(), conditions)];
                let bitmap = cost.total + 0.1 * CPU_OPERATOR * fetched;
                bitmaps.push((
                    Access::Bitmap { arms, any: false },
                    bitmap,
                    cost.selectivity,
                ));
            }
        }
        bitmaps.extend(self.disjunctions(&facts));
        if let Some(both) = intersection(&bitmaps) {
            bitmaps.push(both);
        }
        for (access, cost, selectivity) in bitmaps {
            let fetched = (tuples * selectivity).max(1.0).round();
            let read = (2.0 * pages * fetched / (2.0 * pages + fetched))
                .min(pages)
                .ceil();
            let each = match read >= 2.0 {
                true => RANDOM_PAGE - (RANDOM_PAGE - SEQ_PAGE) * (read / pages).sqrt(),
                false => RANDOM_PAGE,
            };
            paths.push(Path {
                access,
                startup: cost,
                total: cost + read * each + fetched * (CPU_TUPLE + quals(filters)),
                ordered: self.has_order(&sorting.order),
            });
        }
        let cost = |path: &Path| self.final_cost(path, sorting, rows);
        let mut best = paths.remove(0);
        for path in paths {
            if cost(&path) < cost(&best) {
                best = path;
            }
        }
        best.access
    }

    /// With what comes after it: a sort, LIMIT, and being run again for each row of a join.
    fn final_cost(&self, path: &Path, sorting: &Sorting, rows: f64) -> f64 {
        let (mut startup, mut total) = (path.startup, path.total);
        if !path.ordered || sorting.sorts {
            let compare = 2.0 * CPU_OPERATOR;
            let tuples = rows.max(2.0);
            startup = total
                + match sorting.limit {
                    Some(limit) if tuples > 2.0 * limit => compare * tuples * (2.0 * limit).log2(),
                    _ => compare * tuples * tuples.log2(),
                };
            total = startup + CPU_OPERATOR * tuples;
        }
        match sorting.limit {
            Some(limit) => startup + (total - startup) * (limit / rows).min(1.0),
            // Of a join by hash the inner side is read once.
            None if self.stands_alone(&path.access) => total,
            None => total * self.wanted.loops.unwrap_or(1.0),
        }
    }

    /// Whether a path is the same for each row that its table is joined with: then it is taken once.
    fn stands_alone(&self, access: &Access) -> bool {
        let alone = |condition: &Scalar| {
            let refs = References::of(condition);
            let own = self.columns();
            refs.columns.iter().all(|column| own.contains(column))
        };
        match access {
            Access::Seq => true,
            Access::Index { conditions, .. } => {
                conditions.iter().all(|&place| alone(&self.filter[place]))
            }
            Access::Bitmap { arms, .. } => arms.iter().flat_map(|arm| &arm.1).all(alone),
            Access::Keys { .. } | Access::Extremes(_) => false,
        }
    }

    /// The conditions that an index can decide.
    fn matched(&self, index: &Index, conditions: &[Scalar]) -> Vec<usize> {
        let usable = |condition: &Scalar| {
            let column = indexable(condition, &self.columns());
            column.is_some_and(|column| index.columns.contains(&(column - self.offset)))
        };
        (0..conditions.len())
            .filter(|&place| usable(&conditions[place]))
            .collect()
    }

    /// Whether an index has the order that is wanted, and whether it must be read from its end.
    fn sorts_by(&self, index: &Index, sorting: &Sorting) -> Option<bool> {
        let fixed = |column: usize| self.filter.iter().any(|part| fixes(part, column));
        let wanted = sorting.order.iter().filter(|key| !fixed(key.0));
        let mut known = index
            .columns
            .iter()
            .map(|column| column + self.offset)
            .filter(|&column| !fixed(column));
        let mut backward = None;
        for &(column, descending, nulls_first) in wanted {
            // An index has its nulls last.
            let fits = known.next() == Some(column) && descending == nulls_first;
            if !fits || *backward.get_or_insert(descending) != descending {
                return None;
            }
        }
        Some(backward.unwrap_or(false))
    }

    /// `btcostestimate`.
    fn index_cost(
        &self,
        facts: &Selectivity<'_>,
        index: &Index,
        conditions: &[Scalar],
        matched: &[usize],
    ) -> IndexCost {
        let conditions: Vec<&Scalar> = matched.iter().map(|&place| &conditions[place]).collect();
        let mut boundary: Vec<Scalar> = Vec::new();
        let (mut searches, mut exact, mut unique) = (1.0, true, index.unique);
        for column in &index.columns {
            if !exact {
                break;
            }
            exact = false;
            for condition in &conditions {
                if indexable(condition, &self.columns()) != Some(column + self.offset) {
                    continue;
                }
                match condition {
                    Scalar::Compare(Comparison::Equal, _) => exact = true,
                    Scalar::IsNull(_, false) => (exact, unique) = (true, false),
                    Scalar::InList(_, items, _) => {
                        (exact, unique) = (true, false);
                        searches *= items.len() as f64;
                    }
                    Scalar::Any(_, pair, _) => {
                        (exact, unique) = (true, false);
                        searches *= facts.length(&pair.1);
                    }
                    _ => {}
                }
                boundary.push((*condition).clone());
            }
        }
        let covered = |column: &usize| {
            boundary
                .iter()
                .any(|part| fixes(part, column + self.offset))
        };
        let entries = match unique && index.columns.iter().all(covered) {
            true => 1.0,
            false => (facts.tuples * facts.all(&boundary) / searches).round(),
        }
        .clamp(1.0, facts.tuples.max(1.0));
        let all: Vec<Scalar> = conditions.iter().map(|&part| part.clone()).collect();
        let operators: usize = all.iter().map(operators).sum();
        let descent = (facts.tuples.max(2.0).log2().ceil() + 50.0) * CPU_OPERATOR;
        // A search again finds the page in memory.
        let pages = RANDOM_PAGE;
        let each = CPU_INDEX_TUPLE + CPU_OPERATOR * operators as f64;
        IndexCost {
            startup: descent,
            total: descent * searches + pages + entries * searches * each,
            selectivity: facts.all(&all),
        }
    }

    /// Disjunctions of which each part has an index (BitmapOr).
    fn disjunctions(&self, facts: &Selectivity<'_>) -> Vec<(Access, f64, f64)> {
        let mut found = Vec::new();
        for condition in &self.filter {
            let Scalar::Or(parts) = condition else {
                continue;
            };
            let arms: Option<Vec<_>> = parts
                .iter()
                .map(|part| {
                    let conjunction = super::pushdown::split(part.clone());
                    let arms = self.table.indexes.iter().filter_map(|index| {
                        let matched = self.matched(index, &conjunction);
                        if matched.is_empty() {
                            return None;
                        }
                        let cost = self.index_cost(facts, index, &conjunction, &matched);
                        let conditions: Vec<Scalar> = matched
                            .iter()
                            .map(|&place| conjunction[place].clone())
                            .collect();
                        Some((index.clone(), conditions, cost))
                    });
                    arms.min_by(|a, b| a.2.total.total_cmp(&b.2.total))
                })
                .collect();
            let Some(arms) = arms else { continue };
            let cost: f64 = arms
                .iter()
                .map(|(_, _, cost)| {
                    let fetched = (facts.tuples * cost.selectivity).max(1.0);
                    cost.total + 0.1 * CPU_OPERATOR * fetched
                })
                .sum();
            let missed: f64 = arms
                .iter()
                .map(|(_, _, cost)| 1.0 - cost.selectivity)
                .product();
            let joining = 100.0 * CPU_OPERATOR * (arms.len() - 1) as f64;
            let arms = arms.into_iter().map(|(index, part, _)| (index, part));
            let access = Access::Bitmap {
                arms: arms.collect(),
                any: true,
            };
            found.push((access, cost + joining, 1.0 - missed));
        }
        found
    }
}

struct IndexCost {
    startup: f64,
    total: f64,
    selectivity: f64,
}

/// Two bitmaps at once, of different conditions (BitmapAnd): the two that select best.
fn intersection(bitmaps: &[(Access, f64, f64)]) -> Option<(Access, f64, f64)> {
    let mut single: Vec<_> = bitmaps
        .iter()
        .filter_map(|(access, cost, selectivity)| match access {
            Access::Bitmap { arms, any: false } => Some((&arms[0], *cost, *selectivity)),
            _ => None,
        })
        .collect();
    single.sort_by(|a, b| a.2.total_cmp(&b.2));
    let (first, cost, selectivity) = *single.first()?;
    let other = single[1..]
        .iter()
        .find(|(arm, ..)| arm.1.iter().all(|part| !first.1.contains(part)))?;
    let access = Access::Bitmap {
        arms: vec![first.clone(), other.0.clone()],
        any: false,
    };
    let joining = 100.0 * CPU_OPERATOR;
    Some((access, cost + other.1 + joining, selectivity * other.2))
}

/// Mackert and Lohman's formula, for a table that fits in memory (`index_pages_fetched`).
fn index_pages_fetched(tuples: f64, pages: f64) -> f64 {
    let fetched = 2.0 * pages * tuples / (2.0 * pages + tuples);
    if fetched >= pages {
        pages
    } else {
        fetched.ceil()
    }
}

impl FromNode {
    /// Tells each table of a join how often it is read; gives how many rows come out.
    pub(super) fn estimate(&mut self, loops: f64) -> f64 {
        match self {
            FromNode::Nothing => loops,
            FromNode::Derived { .. } => loops * 100.0,
            FromNode::Scan(scan) => {
                scan.wanted.loops = Some(loops);
                let facts = Selectivity::of(&scan.table, scan.offset);
                loops * (facts.tuples * facts.all(&scan.filter)).max(1.0)
            }
            FromNode::Join { left, right, .. } => {
                let loops = left.estimate(loops);
                right.estimate(loops)
            }
        }
    }
}
