//! Rows and columns of a grid: which there are, and which a fault belongs to.
//!
//! Both come from the fault-free run of the workload. What only runs with a fault come to has a row for
//! each process, and a group of columns. Waits that recur in a loop share a row.

use std::collections::{BTreeMap, BTreeSet};

use fake_pg::engine::CommitPoint;

use super::super::Explore;
use super::super::exhaustive::{self, Ends, Schedule};
use super::{Grid, GridCell, GridColumn, GridRow, Layer, Place, Stage};
use crate::history::{History, What};
use crate::plan::{Anchor, Class, Fault, Kind, Phase, Point, Side, TaskName};
use crate::sim::{Detail, Recorded, Run};

/// Waits of the same kind that recur at least so often share a row.
const RECURRING_MIN: usize = 4;

/// The rows and columns that there are, and how points find theirs.
pub(super) struct Frame {
    rows: Vec<GridRow>,
    columns: Vec<GridColumn>,
    /// The row of each point of the fault-free run.
    row_of: BTreeMap<Point, usize>,
    /// The row of what a process does after a fault, by the worker's name.
    later_row_of: BTreeMap<String, usize>,
    /// The COMMITs of the fault-free run that write.
    commits: BTreeSet<(String, u64)>,
}

impl Frame {
    /// The frame that the fault-free run fills.
    pub(super) fn of(plain: &Run) -> Frame {
        let mut recurring: BTreeMap<(String, String), BTreeSet<&Point>> = BTreeMap::new();
        let waits = || {
            plain
                .points
                .iter()
                .filter_map(|it| Some((&it.point, process_at(&it.point)?)))
        };
        for (point, process) in waits() {
            let key = (process, without_number(point));
            // Both phases of a wait are one.
            if !matches!(
                point,
                Point::Await {
                    phase: Phase::Resuming,
                    ..
                }
            ) {
                recurring.entry(key).or_default().insert(point);
            }
        }
        let mut rows: Vec<GridRow> = Vec::new();
        let mut row_of = BTreeMap::new();
        let mut processes: Vec<String> = Vec::new();
        for (point, process) in waits() {
            let alike = without_number(point);
            let same = recurring.get(&(process.clone(), alike.clone()));
            let points = same.map_or(1, BTreeSet::len);
            let (name, points) = match points >= RECURRING_MIN {
                true => (alike, points),
                false => (without_phase(point), 1),
            };
            let known = rows
                .iter()
                .position(|row| (&row.process, &row.name) == (&process, &name));
            let row = known.unwrap_or_else(|| {
                rows.push(GridRow {
                    process: process.clone(),
                    name,
                    points,
                    later: false,
                });
                rows.len() - 1
            });
            row_of.insert(point.clone(), row);
            if !processes.contains(&process) {
                processes.push(process);
            }
        }
        let later = processes.into_iter().map(|process| GridRow {
            process,
            name: String::new(),
            points: 0,
            later: true,
        });
        rows.extend(later);
        // The rows of a process stand together.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        let first = |process: &str| rows.iter().position(|row| row.process == process);
        order.sort_by_key(|row| (first(&rows[*row].process), rows[*row].later, *row));
        let mut place = vec![0; rows.len()];
        for (now, was) in order.iter().enumerate() {
            place[*was] = now;
        }
        row_of.values_mut().for_each(|row| *row = place[*row]);
        let rows: Vec<GridRow> = order.iter().map(|was| rows[*was].clone()).collect();
        let later_row_of = rows
            .iter()
            .enumerate()
            .filter(|(_, row)| row.later)
            .map(|(index, row)| (row.process.clone(), index))
            .collect();
        let commits = writing(&plain.history);
        Frame {
            columns: columns(plain, &commits),
            rows,
            row_of,
            later_row_of,
            commits,
        }
    }

    /// The faults of a run from its `reached`-th point on that have a place.
    pub(super) fn enumerate(
        &self,
        explore: &Explore<'_>,
        run: &Run,
        reached: usize,
    ) -> Vec<(Schedule, Place)> {
        let all = exhaustive::schedules(&explore.scenario, &run.points, |class| {
            explore.classes.contains(&class)
        });
        let ends = Ends::of(&run.points);
        let commits = writing(&run.history);
        let carried = carried(&run.points);
        let placed = |schedule: Schedule| {
            let place = self.place(&schedule.fault, &commits, &carried)?;
            let near = !matches!(schedule.fault.kind, Kind::Cut(_))
                || ends.is_near_an_end(&schedule.fault.at);
            near.then_some((schedule, place))
        };
        let from = all.into_iter().filter(|schedule| schedule.index >= reached);
        from.filter_map(placed).collect()
    }

    fn place(
        &self,
        fault: &Fault,
        commits: &BTreeSet<(String, u64)>,
        carried: &BTreeMap<(u32, String), (String, u64)>,
    ) -> Option<Place> {
        let layer = match fault.kind.class() {
            Class::Failover => Layer::Failover,
            _ => Layer::Server,
        };
        let (commit, stage) = match &fault.at {
            Point::Await { .. } | Point::Boundary { .. } => {
                let process = process_at(&fault.at)?;
                let later = || self.later_row_of.get(&process);
                return self
                    .row_of
                    .get(&fault.at)
                    .or_else(later)
                    .copied()
                    .map(Place::Row);
            }
            Point::Commit {
                server,
                number,
                step,
            } => ((server.to_string(), *number), Stage::Step(*step)),
            Point::Wire {
                connection,
                exchange,
                side,
                ..
            } => {
                let commit = carried.get(&(*connection, exchange.to_string()))?;
                let stage = match side {
                    Side::Request => Stage::Request,
                    Side::Reply => Stage::Reply,
                };
                (commit.clone(), stage)
            }
            Point::Broker { .. } => return None,
        };
        if !commits.contains(&commit) {
            return None;
        }
        let of = self.commits.contains(&commit).then_some(commit);
        let column = self
            .columns
            .iter()
            .position(|column| column.commit == of && column.stage == stage)?;
        Some(Place::Column(layer, column))
    }

    /// An empty grid.
    pub(super) fn grid(&self, jobs: Option<usize>) -> Grid {
        Grid {
            jobs,
            rows_alone: vec![GridCell::default(); self.rows.len()],
            rows: self.rows.clone(),
            columns: self.columns.clone(),
            ..Grid::default()
        }
    }
}

/// The columns of a run's writing COMMITs, and of those that other runs may make.
fn columns(plain: &Run, commits: &BTreeSet<(String, u64)>) -> Vec<GridColumn> {
    let stages = || {
        let steps = CommitPoint::ALL.into_iter().map(Stage::Step);
        [Stage::Request]
            .into_iter()
            .chain(steps)
            .chain([Stage::Reply])
    };
    let mut columns = Vec::new();
    // In the order in which they became visible.
    for event in &plain.history.events {
        let What::Committed {
            commit, process, ..
        } = &event.what
        else {
            continue;
        };
        let key = (commit.server.to_string(), commit.number);
        if !commits.contains(&key) {
            continue;
        }
        let of = process.map_or(String::new(), |id| plain.history.processes[id].to_string());
        columns.extend(stages().map(|stage| GridColumn {
            commit: Some(key.clone()),
            of: of.clone(),
            stage,
        }));
    }
    columns.extend(stages().map(|stage| GridColumn {
        commit: None,
        of: String::new(),
        stage,
    }));
    columns
}

/// The COMMITs of a run that write.
fn writing(history: &History) -> BTreeSet<(String, u64)> {
    let commits = history.events.iter().filter_map(|event| match &event.what {
        What::Committed {
            commit,
            writes: true,
            ..
        } => Some((commit.server.to_string(), commit.number)),
        _ => None,
    });
    commits.collect()
}

/// The COMMIT that each exchange carries, by connection and name.
fn carried(points: &[Recorded]) -> BTreeMap<(u32, String), (String, u64)> {
    let mut carried = BTreeMap::new();
    let mut current: BTreeMap<u32, String> = BTreeMap::new();
    for recorded in points {
        match (&recorded.point, &recorded.detail) {
            (
                Point::Wire {
                    connection,
                    exchange,
                    side: Side::Request,
                    ..
                },
                _,
            ) => {
                current.insert(*connection, exchange.to_string());
            }
            (Point::Commit { server, number, .. }, Detail::Commit { connection, .. }) => {
                if let Some(exchange) = current.get(connection) {
                    let key = (*connection, exchange.clone());
                    carried.entry(key).or_insert((server.to_string(), *number));
                }
            }
            _ => {}
        }
    }
    carried
}

/// The worker whose own code is at a point.
fn process_at(point: &Point) -> Option<String> {
    match point {
        Point::Await {
            task: TaskName {
                process,
                child: None,
            },
            ..
        }
        | Point::Boundary { process, .. } => Some(process.name.to_string()),
        _ => None,
    }
}

/// The name of a wait, both of its phases alike, without its process.
fn without_phase(point: &Point) -> String {
    match point {
        Point::Await { anchor, offset, .. } => format!("{anchor}+{offset}"),
        Point::Boundary { name, nth, .. } => format!("{name}.{nth}"),
        other => other.to_string(),
    }
}

/// The same for all rounds of a loop: a star stands for the number of what was said last.
fn without_number(point: &Point) -> String {
    let starred = |anchor: &Anchor| {
        let name = anchor.to_string();
        match name.rsplit_once('.') {
            Some((verb, _)) => format!("{verb}.*"),
            None => name,
        }
    };
    match point {
        Point::Await { anchor, offset, .. } => format!("{}+{offset}", starred(anchor)),
        Point::Boundary { name, .. } => format!("{name}.*"),
        other => other.to_string(),
    }
}
