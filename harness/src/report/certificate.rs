//! What was covered, in sentences with numbers: a green result is worth what its certificate says.

use std::fmt;

use crate::explore::{Certificate, CutCount};

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
            control_caught,
            run_twice,
            drawn,
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
        for cut in cuts {
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
        if *drawn > 0 {
            writeln!(
                f,
                "{} drawn, with several faults each",
                counted(*drawn, "plan")
            )?;
        }
        writeln!(
            f,
            "{} run twice, with equal histories",
            counted(*run_twice, "schedule")
        )?;
        let control = if *control_caught {
            "were caught"
        } else {
            "were NOT caught"
        };
        writeln!(
            f,
            "control: an effect dropped and an effect doubled {control}"
        )
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
    use crate::explore::Certificate;
    use crate::report::sample::receipts;

    #[test]
    fn a_certificate_counts_what_was_covered() {
        insta::assert_snapshot!(receipts().certificate, @r"
        28 of 28 points of the fault-free run, by 84 of 84 schedules with one fault
        await points, each in both phases: worker 6, worker/conn1 8
        12 steps of COMMIT
        cuts of conn1.commit.1: 3 × (26 + 29 + 2) = 171
        2 tasks were spawned outside Env: none of their await points was tested
        10 plans drawn, with several faults each
        5 schedules run twice, with equal histories
        control: an effect dropped and an effect doubled were caught
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
}
