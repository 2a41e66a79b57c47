//! Many runs on all cores, with results that do not depend on how many there are.
//!
//! Runs share nothing but the scenario made ready, and each result goes to the
//! place of its schedule: the order in which they finish is never seen.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many a thread takes at a time: few enough that the last ones finish together.
pub(crate) const BATCH: usize = 8;

/// How many threads to use where the author does not say.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Calls `work` for `0..n` on so many threads, each taking `batch` of them at a time, with what `equip` gives it for itself, and
/// `done` now and then with how many are through.
pub(crate) fn map<T, E, W>(
    threads: usize,
    n: usize,
    batch: usize,
    equip: impl Fn() -> E + Sync,
    work: W,
    done: &(dyn Fn(usize) + Sync),
) -> Vec<T>
where
    T: Send,
    W: Fn(&E, usize) -> T + Sync,
{
    let next = AtomicUsize::new(0);
    let through = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(n));
    let worker = || {
        let equipment = equip();
        let mut mine = Vec::new();
        loop {
            let start = next.fetch_add(batch, Ordering::Relaxed);
            if start >= n {
                break;
            }
            let end = (start + batch).min(n);
            mine.extend((start..end).map(|i| (i, work(&equipment, i))));
            done(through.fetch_add(end - start, Ordering::Relaxed) + (end - start));
        }
        results
            .lock()
            .expect("no thread panics while it holds the lock")
            .append(&mut mine);
    };
    match threads {
        0 | 1 => worker(),
        _ => std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(worker);
            }
            worker();
        }),
    }
    let mut results = results.into_inner().expect("no thread panicked");
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_order_on_any_number_of_threads() {
        for threads in [1, 2, 7] {
            assert_eq!(
                map(threads, 100, 3, || 2, |two, i| two * i, &|_| {}),
                (0..100).map(|i| 2 * i).collect::<Vec<_>>()
            );
        }
    }
}
