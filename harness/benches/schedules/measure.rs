//! CPU time per schedule, and medians.

use std::time::Duration;

use cpu_time::ThreadTime;

/// What some schedules cost.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    schedules: usize,
    cpu: Duration,
}

impl Cost {
    /// Repeats `work`, which says how many schedules it ran, for so much CPU time of this thread.
    pub(crate) fn of(at_least: Duration, mut work: impl FnMut() -> usize) -> Cost {
        let started = ThreadTime::now();
        let mut schedules = 0;
        loop {
            schedules += work();
            let cpu = started.elapsed();
            if cpu >= at_least {
                return Cost { schedules, cpu };
            }
        }
    }

    fn micros(self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.schedules as f64
    }
}

/// The cost of the same work, measured several times.
#[derive(Default)]
pub(crate) struct Rounds(Vec<Cost>);

impl Rounds {
    pub(crate) fn push(&mut self, cost: Cost) {
        self.0.push(cost);
    }

    /// CPU time per schedule.
    pub(crate) fn median_micros(&self) -> f64 {
        let micros: Vec<f64> = self.0.iter().map(|cost| cost.micros()).collect();
        median(&micros)
    }

    /// How many times as many schedules a second as `other`, round by round.
    pub(crate) fn speed_over(&self, other: &Rounds) -> Vec<f64> {
        let pairs = self.0.iter().zip(&other.0);
        pairs
            .map(|(ours, theirs)| theirs.micros() / ours.micros())
            .collect()
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The median, and what it is the median of.
pub(crate) fn median_of(values: &[f64]) -> String {
    let all: Vec<String> = values.iter().map(|value| format!("{value:.2}")).collect();
    format!("{:.2}   of {}", median(values), all.join(" "))
}
