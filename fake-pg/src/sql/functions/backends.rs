//! Sessions about each other: signals, who waits for whom, LISTEN and NOTIFY.

use std::time::Duration;

use super::{Arg, Function, Returns, lenient, set, strict};
use crate::engine::{Exec, Halt, Pid, Signal};
use crate::error::{PgError, SqlState};
use crate::sql::face::Context;
use crate::types::{Datum, Type};

use Arg::Is;
use Type::{Bool, Float8, Int4, Int4Array, Int8, Text, Void};

type Answer = Result<Datum, Halt>;

pub(super) const FUNCTIONS: &[Function] = &[
    strict("pg_backend_pid", &[], Returns::Is(Int4), |context, _| {
        Ok(Datum::Int4(context.exec.tx.pid.0))
    }),
    strict(
        "pg_cancel_backend",
        &[Is(Int4)],
        Returns::Is(Bool),
        |context, args| signal(context, pid(&args[0]), Signal::Cancel).map(Datum::Bool),
    ),
    strict(
        "pg_terminate_backend",
        &[Is(Int4), Is(Int8)],
        Returns::Is(Bool),
        terminate_and_wait,
    ),
    strict(
        "pg_stat_clear_snapshot",
        &[],
        Returns::Is(Void),
        |context, _| {
            context.exec.forget_sessions_seen();
            Ok(Datum::Void)
        },
    ),
    strict(
        "pg_blocking_pids",
        &[Is(Int4)],
        Returns::Is(Int4Array),
        |context, args| {
            let pid = pid(&args[0]);
            let answer = |exec: &mut Exec<'_>| Ok(pids(exec.engine.blocking_pids(pid)));
            context.exec.datum(answer)
        },
    ),
    strict(
        "pg_safe_snapshot_blocking_pids",
        &[Is(Int4)],
        Returns::Is(Int4Array),
        |context, args| {
            let pid = pid(&args[0]);
            let answer =
                |exec: &mut Exec<'_>| Ok(pids(exec.engine.safe_snapshot_blocking_pids(pid)));
            context.exec.datum(answer)
        },
    ),
    strict(
        "pg_isolation_test_session_is_blocked",
        &[Is(Int4), Is(Int4Array)],
        Returns::Is(Bool),
        is_blocked,
    ),
    lenient(
        "pg_notify",
        &[Is(Text), Is(Text)],
        Returns::Is(Void),
        |context, args| {
            let text = |place: usize| args[place].as_str().unwrap_or("");
            context.exec.notify(context.database, text(0), text(1))?;
            Ok(Datum::Void)
        },
    ),
    set(
        "pg_listening_channels",
        &[],
        Returns::Is(Text),
        |context, _| {
            context.exec.datum(|exec| {
                let channels = exec.engine.listening_channels(exec.tx.pid).iter();
                Ok(Datum::Array(
                    channels.map(|channel| Datum::text(&**channel)).collect(),
                ))
            })
        },
    ),
    strict(
        "pg_notification_queue_usage",
        &[],
        Returns::Is(Float8),
        |context, _| {
            let usage = |exec: &mut crate::engine::Exec<'_>| exec.engine.notification_queue_usage();
            context.exec.datum(|exec| Ok(Datum::Float8(usage(exec))))
        },
    ),
];

fn pid(datum: &Datum) -> Pid {
    Pid(datum.as_i64().unwrap_or(0) as i32)
}

/// Who is no superuser may signal sessions of roles it may act as (`pg_signal_backend`).
fn refuse_signal(
    context: &mut Context<'_>,
    pid: Pid,
    (deed, what): (&str, &str),
) -> Result<(), Halt> {
    if context.settings.is_superuser() {
        return Ok(());
    }
    let user = context.user.to_string();
    let refused = context.exec.datum(|exec| {
        let catalog = exec.catalog();
        let Some(victim) = exec.engine.activity().get(&pid) else {
            return Ok(Datum::Null);
        };
        let superuser = catalog.role(&victim.user).is_none_or(|role| role.superuser);
        Ok(match superuser {
            true => Datum::text(format!("must be a superuser to {deed} superuser {what}")),
            false if catalog.may_act_as(&user, &victim.user) => Datum::Null,
            false => Datum::text(format!(
                "must be a member of the role whose {what} is being {deed}{} or member of pg_signal_backend",
                if deed == "cancel" { "ed" } else { "d" }
            )),
        })
    })?;
    match refused.as_str() {
        Some(message) => Err(PgError::new(SqlState::INSUFFICIENT_PRIVILEGE, message).into()),
        None => Ok(()),
    }
}

/// Sends a signal; a warning if there is nobody to receive it (`pg_signal_backend`).
fn signal(context: &mut Context<'_>, pid: Pid, signal: Signal) -> Result<bool, Halt> {
    let words = match signal {
        Signal::Cancel => ("cancel", "query"),
        Signal::Terminate => ("terminate", "process"),
    };
    refuse_signal(context, pid, words)?;
    let sent = context.exec.datum(|exec| {
        let sent = exec.engine.send_signal(pid, signal);
        if !sent {
            let message = format!("PID {pid} is not a PostgreSQL backend process");
            let warning = PgError::warning(SqlState::WARNING, message);
            exec.journal.notices.push(warning);
        }
        Ok(Datum::Bool(sent))
    })?;
    Ok(sent == Datum::Bool(true))
}

fn terminate_and_wait(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let (victim, patience) = (pid(&args[0]), args[1].as_i64().unwrap_or(0));
    let Ok(patience) = u64::try_from(patience) else {
        return Err(PgError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            "\"timeout\" must not be negative",
        )
        .into());
    };
    let sent = signal(context, victim, Signal::Terminate)?;
    if !sent || patience == 0 {
        return Ok(Datum::Bool(sent));
    }
    let gone = context
        .exec
        .wait_until_gone(victim, Duration::from_millis(patience))?;
    if !gone {
        let message =
            format!("backend with PID {victim} did not terminate within {patience} milliseconds");
        let warning = PgError::warning(SqlState::WARNING, message);
        context.exec.notice(warning);
    }
    Ok(Datum::Bool(gone))
}

/// Source: `pg_isolation_test_session_is_blocked` in `lockfuncs.c`: whoever waits for a safe snapshot is
/// blocked, by whomever.
fn is_blocked(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let (blocked, by) = (pid(&args[0]), &args[1]);
    context.exec.datum(|exec| {
        let Datum::Array(by) = by else {
            return Ok(Datum::Bool(false));
        };
        let interesting = |other: &Pid| by.iter().any(|datum| pid(datum) == *other);
        let is_blocked = exec.engine.blocking_pids(blocked).iter().any(interesting)
            || !exec.engine.safe_snapshot_blocking_pids(blocked).is_empty();
        Ok(Datum::Bool(is_blocked))
    })
}

fn pids(pids: Vec<Pid>) -> Datum {
    Datum::Array(pids.into_iter().map(|pid| Datum::Int4(pid.0)).collect())
}
