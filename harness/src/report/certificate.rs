//! What was covered, in sentences with numbers: a green result is worth what its certificate says.

use std::fmt;

use crate::explore::{Certificate, CutCount, DrawnCovered, PairsCovered};
use crate::oracle::Verdict;
use crate::plan::Class;

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Certificate {
            planned,
            run,
            unfired,
            points,
            points_struck,
            await_points,
            boundaries,
            commit_points,
            cuts,
            ungated_tasks,
            controls,
            control_caught,
            run_twice,
            drawn,
            pairs,
        } = self;
        writeln!(
            f,
            "{points_struck} of {points} points of the fault-free run, by {run} of {planned} schedules with one fault"
        )?;
        if !unfired.is_empty() {
            writeln!(f, "{} did not fire:", counted(unfired.len(), "fault"))?;
            for plan in unfired {
                writeln!(f, "    {plan}")?;
            }
        }
        if !await_points.is_empty() {
            let tasks: Vec<String> = await_points
                .iter()
                .map(|(task, n)| format!("{task} {n}"))
                .collect();
            writeln!(f, "await points, each in both phases: {}", tasks.join(", "))?;
        }
        if *boundaries > 0 {
            writeln!(
                f,
                "{} at which an exception may arise",
                counted(*boundaries, "boundary")
            )?;
        }
        if *commit_points > 0 {
            writeln!(f, "{} of COMMIT", counted(*commit_points, "step"))?;
        }
        // Without the class network nothing is cut.
        for cut in cuts.iter().filter(|cut| cut.schedules > 0) {
            writeln!(f, "cuts of {cut}")?;
        }
        match ungated_tasks {
            0 => (),
            1 => writeln!(
                f,
                "1 task was spawned outside Env: none of its await points was tested"
            )?,
            n => writeln!(
                f,
                "{n} tasks were spawned outside Env: none of their await points was tested"
            )?,
        }
        if let Some(pairs) = pairs {
            write!(f, "{pairs}")?;
        }
        if drawn.plans > 0 {
            writeln!(f, "{drawn}")?;
        }
        writeln!(
            f,
            "{} run twice, with equal histories",
            counted(*run_twice, "schedule")
        )?;
        let broken: Vec<&str> = controls
            .iter()
            .map(|verdict| broken_for(*verdict))
            .collect();
        let caught = match (broken.len(), *control_caught) {
            (0, _) => {
                let why = "the run without faults breaks a promise as it is";
                return writeln!(f, "control: none shows, since {why}");
            }
            (1, true) => "was caught",
            (1, false) => "was NOT caught",
            (_, true) => "were caught",
            (_, false) => "were NOT caught",
        };
        writeln!(f, "control: {} {caught}", broken.join(" and "))
    }
}

/// What a control does that must earn this verdict.
fn broken_for(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Lost => "an effect dropped",
        Verdict::Duplicated => "an effect doubled",
        Verdict::Undurable => "an acknowledged commit forgotten",
        other => panic!("no control earns {}", other.name()),
    }
}

/// `64 plans drawn, by faults that struck: 17 with 1, 15 with 2, …; 9 with jobs that roll back`.
impl fmt::Display for DrawnCovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DrawnCovered {
            plans,
            struck,
            fewer_jobs,
            rollbacks,
            replicas,
        } = self;
        let by_faults: Vec<String> = struck
            .iter()
            .map(|(faults, plans)| format!("{plans} with {faults}"))
            .collect();
        write!(
            f,
            "{} drawn, by faults that struck: {}",
            counted(*plans, "plan"),
            by_faults.join(", ")
        )?;
        let workloads = [
            (fewer_jobs, "fewer jobs"),
            (rollbacks, "jobs that roll back"),
            (replicas, "another number of processes"),
        ];
        for (plans, what) in workloads.iter().filter(|(plans, _)| **plans > 0) {
            write!(f, "; {plans} with {what}")?;
        }
        Ok(())
    }
}

impl fmt::Display for PairsCovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PairsCovered {
            jobs,
            jobs_known,
            firsts,
            firsts_skipped,
            planned,
            run,
            skipped_kills,
            skipped_panics,
            left_out,
            bytes,
            bytes_left_out,
            cells,
        } = self;
        match jobs {
            Some(jobs) => writeln!(
                f,
                "pairs, on the smallest workload, {} of {jobs_known}: {run} of {planned} run, after {}",
                counted(*jobs, "job"),
                counted(*firsts, "first fault")
            )?,
            None => writeln!(
                f,
                "pairs: {run} of {planned} run, after {}",
                counted(*firsts, "first fault")
            )?,
        }
        if *skipped_kills > 0 {
            writeln!(
                f,
                "    {skipped_kills} skipped: a kill at the same instant as another, with no code run in between"
            )?;
        }
        if *skipped_panics > 0 {
            writeln!(
                f,
                "    {skipped_panics} skipped: a panic in a stock driver's task that a cancel at the same point drops alike"
            )?;
        }
        if *firsts_skipped > 0 {
            writeln!(
                f,
                "    {} more not tried, for the same reasons",
                counted(*firsts_skipped, "first fault")
            )?;
        }
        if *left_out > 0 {
            writeln!(
                f,
                "    {left_out} NOT run, since fewer were asked for; those that were are spread evenly"
            )?;
        }
        let mut classes: Vec<Class> = cells.keys().flat_map(|(a, b)| [*a, *b]).collect();
        classes.sort();
        classes.dedup();
        let names: Vec<&str> = classes.iter().map(|class| class.name()).collect();
        writeln!(f, "    classes of fault in them: {}", names.join(", "))?;
        let broken = cells.iter().filter(|(_, cell)| cell.worst() != Verdict::Ok);
        let mut all = "all of these are ok";
        for ((first, second), cell) in broken {
            let verdicts: Vec<String> = cell
                .verdicts
                .iter()
                .rev()
                .filter(|(verdict, _)| **verdict != Verdict::Ok)
                .map(|(verdict, n)| format!("{} {n}", verdict.name().to_uppercase()))
                .collect();
            writeln!(
                f,
                "    {first}, then {second}: {} of {}",
                verdicts.join(", "),
                cell.schedules
            )?;
            all = "all others of these are ok";
        }
        if *run > 0 {
            writeln!(f, "    {all}")?;
        }
        let fewer = match jobs {
            Some(_) => "more jobs, ",
            None => "",
        };
        write!(
            f,
            "    pairs do not cover: {fewer}other latencies and orders of hosts, rollbacks"
        )?;
        if *bytes_left_out > 0 {
            write!(
                f,
                "; {bytes_left_out} of {bytes} bytes, as cuts are at 0, 1, len-1 and len of each side"
            )?;
        }
        writeln!(f)
    }
}

impl fmt::Display for CutCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CutCount {
            exchange,
            request_bytes,
            reply_bytes,
            schedules,
        } = self;
        let point = exchange.to_string();
        let exchange = point.strip_suffix(".request+0").unwrap_or(&point);
        write!(
            f,
            "{exchange}: 3 × ({request_bytes} + {reply_bytes} + 2) = {schedules}"
        )
    }
}

/// `1 step`, `2 steps`, `2 boundaries`.
pub(crate) fn counted(n: usize, noun: &str) -> String {
    match (n, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (n, Some(stem)) => format!("{n} {stem}ies"),
        (n, None) => format!("{n} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use crate::explore::{Cell, Certificate, PairsCovered};
    use crate::oracle::Verdict;
    use crate::plan::Class;
    use crate::report::sample::receipts;

    #[test]
    fn a_certificate_counts_what_was_covered() {
        insta::assert_snapshot!(receipts().certificate, @r"
        28 of 28 points of the fault-free run, by 84 of 84 schedules with one fault
        await points, each in both phases: worker 6, worker/conn1 8
        12 steps of COMMIT
        cuts of conn1.commit.1: 3 × (26 + 29 + 2) = 171
        2 tasks were spawned outside Env: none of their await points was tested
        10 plans drawn, by faults that struck: 1 with 0, 4 with 1, 5 with 3; 2 with jobs that roll back
        5 schedules run twice, with equal histories
        control: an effect dropped and an effect doubled were caught
        ");
    }

    #[test]
    fn pairs_say_what_was_run_skipped_and_left_out() {
        let cell = |ok, lost| Cell {
            schedules: ok + lost,
            verdicts: [(Verdict::Ok, ok), (Verdict::Lost, lost)]
                .into_iter()
                .filter(|(_, n)| *n > 0)
                .collect(),
        };
        let pairs = PairsCovered {
            jobs: Some(1),
            jobs_known: 2,
            firsts: 12,
            firsts_skipped: 3,
            planned: 100,
            run: 60,
            skipped_kills: 20,
            skipped_panics: 10,
            left_out: 10,
            bytes: 57,
            bytes_left_out: 49,
            cells: [
                ((Class::Kill, Class::Kill), cell(40, 0)),
                ((Class::Kill, Class::Network), cell(18, 2)),
            ]
            .into(),
        };
        insta::assert_snapshot!(pairs, @r"
        pairs, on the smallest workload, 1 job of 2: 60 of 100 run, after 12 first faults
            20 skipped: a kill at the same instant as another, with no code run in between
            10 skipped: a panic in a stock driver's task that a cancel at the same point drops alike
            3 first faults more not tried, for the same reasons
            10 NOT run, since fewer were asked for; those that were are spread evenly
            classes of fault in them: kill, network
            kill, then network: LOST 2 of 20
            all others of these are ok
            pairs do not cover: more jobs, other latencies and orders of hosts, rollbacks; 49 of 57 bytes, as cuts are at 0, 1, len-1 and len of each side
        ");
    }

    #[test]
    fn what_was_not_covered_is_said() {
        let certificate = Certificate {
            planned: 3,
            run: 3,
            unfired: vec!["kill@worker.start+9".parse().unwrap()],
            points: 2,
            points_struck: 1,
            ungated_tasks: 1,
            boundaries: 2,
            run_twice: 1,
            controls: vec![Verdict::Lost, Verdict::Duplicated],
            ..Certificate::default()
        };
        insta::assert_snapshot!(certificate, @r"
        1 of 2 points of the fault-free run, by 3 of 3 schedules with one fault
        1 fault did not fire:
            kill@worker.start+9
        2 boundaries at which an exception may arise
        1 task was spawned outside Env: none of its await points was tested
        1 schedule run twice, with equal histories
        control: an effect dropped and an effect doubled were NOT caught
        ");
    }

    #[test]
    fn only_controls_that_ran_are_named() {
        let said = |controls: &[Verdict]| {
            let certificate = Certificate {
                controls: controls.to_vec(),
                control_caught: true,
                ..Certificate::default()
            };
            certificate.to_string().lines().last().unwrap().to_owned()
        };
        insta::assert_snapshot!(
            [&[Verdict::Lost][..], &[Verdict::Duplicated], &[Verdict::Undurable], &[]].map(said).join("\n"),
            @r"
        control: an effect dropped was caught
        control: an effect doubled was caught
        control: an acknowledged commit forgotten was caught
        control: none shows, since the run without faults breaks a promise as it is
        "
        );
    }
}
