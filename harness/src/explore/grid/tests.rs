//! Grids of small scenarios.

use std::time::Duration;

use super::super::explore;
use super::*;
use crate::plan::Class;
use crate::{Env, Redeliver::UntilOk, Scenario, Times};

/// A worker that looks whether its row is there before it sends: what it finds out after a fault.
fn guarded() -> Scenario {
    Scenario::new("guarded")
        .schema("create table t (id int primary key)")
        .jobs([1, 2])
        .redeliver(UntilOk)
        .worker("worker", async |env: Env| {
            let client = env.connect().await?;
            let insert = format!(
                "insert into t values ({}) on conflict (id) do update set id = excluded.id",
                env.job()
            );
            client.batch_execute(&insert).await?;
            env.effect("receipt", env.job()).await?;
            Ok(())
        })
        .owes("receipt", "select id from t", Times::AtLeastOnce)
        .repeatable()
        .settle(Duration::from_millis(100), Duration::from_secs(10))
        .stalls([Duration::from_millis(100)])
        .delays([Duration::from_millis(100)])
}

fn grid(pairs_max: usize, threads: usize) -> Grid {
    explore(guarded())
        .faults([Class::Kill, Class::Server, Class::Failover])
        .threads(threads)
        .grid(pairs_max)
        .unwrap()
}

#[test]
fn a_share_is_the_largest_that_fits_and_is_spread_evenly() {
    let totals: BTreeMap<Key, usize> = [3, 10, 40]
        .into_iter()
        .enumerate()
        .map(|(column, total)| ((Layer::Server, 0, column), total))
        .collect();
    for (most, expected) in [
        (100, 40),
        (53, 40),
        (52, 39),
        (23, 10),
        (22, 9),
        (9, 3),
        (0, 1),
    ] {
        assert_eq!(share(&totals, most), expected, "{most}");
    }
    let chosen = |total, share| {
        (0..total)
            .filter(|i| is_chosen(*i, total, share))
            .collect::<Vec<_>>()
    };
    assert_eq!(chosen(10, 3), [3, 6, 9]);
    assert_eq!(chosen(4, 9), [0, 1, 2, 3]);
    assert_eq!(chosen(7, 1), [6]);
}

#[test]
fn every_cell_tries_something_and_says_how_much_of_it() {
    let all = grid(usize::MAX, 2);
    assert_eq!(all.run, all.planned);
    assert_eq!(all.jobs, Some(1));
    let few = grid(all.run / 3, 2);
    assert_eq!(few.planned, all.planned);
    assert!(
        few.run <= all.run / 3 && few.run > all.run / 6,
        "{} of {}",
        few.run,
        all.run
    );
    for (key, cell) in &all.cells {
        assert!(cell.cell.schedules > 0 && cell.planned == cell.cell.schedules);
        let fewer = &few.cells[key];
        assert!(fewer.cell.schedules > 0 && fewer.planned == cell.planned);
    }
}

#[test]
fn a_grid_is_the_same_on_any_number_of_threads() {
    let shown = |grid: Grid| format!("{grid:?}");
    assert_eq!(shown(grid(500, 1)), shown(grid(500, 3)));
}

#[test]
fn rows_are_waits_and_columns_are_steps_of_each_commit_that_writes() {
    let grid = grid(usize::MAX, 2);
    let rows: Vec<String> = grid.rows.iter().map(|row| row.name.clone()).collect();
    assert!(rows.contains(&"after-insert.1+1".to_owned()), "{rows:?}");
    assert!(grid.rows.last().is_some_and(|row| row.later));
    let stages = grid
        .columns
        .iter()
        .filter(|column| column.commit == Some(("pg".to_owned(), 1)) && column.of == "worker");
    assert_eq!(stages.count(), CommitPoint::ALL.len() + 2);
    // A worker that is killed begins again, and commits again: that is broken, too.
    let later = |(_, row, column): &Key| {
        grid.rows[*row].name == "after-startup.1+1" && grid.columns[*column].commit.is_none()
    };
    assert!(grid.cells.keys().any(later));
}

#[test]
fn each_plan_of_a_cell_does_what_the_cell_says() {
    let once = Scenario::new("once")
        .schema("create table t (id int primary key)")
        .jobs([1])
        .worker("worker", async |env: Env| {
            let client = env.connect().await?;
            client.batch_execute("insert into t values (1)").await?;
            env.effect("receipt", env.job()).await?;
            Ok(())
        })
        .owes("receipt", "select id from t", Times::Once)
        .settle(Duration::from_millis(100), Duration::from_secs(10));
    let grid = explore(once.clone()).grid(400).unwrap();
    let mut failing = 0;
    for cell in grid.cells.values().chain(&grid.rows_alone) {
        let Some(plan) = &cell.plan else {
            assert_eq!(cell.cell.worst(), Verdict::Ok);
            continue;
        };
        let verdict =
            |plan: &Plan| crate::replay::replay(&once, plan).map(|it| it.judgement.verdict);
        assert_eq!(verdict(plan), Ok(cell.cell.worst()), "{plan}");
        if cell.together {
            for fault in &plan.faults {
                let alone = verdict(&Plan::single(fault.clone()));
                // The second may not even strike without the first.
                assert!(
                    !alone.is_ok_and(|verdict| verdict != Verdict::Ok),
                    "{fault}"
                );
            }
        }
        failing += 1;
    }
    assert!(failing > 5);
}
