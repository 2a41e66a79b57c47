//! The schema `midcommit`: the desk by SQL.
//!
//! Errors have SQLSTATEs of the class `MC`, which no PostgreSQL uses; a text that is not understood
//! is a 22023, as a real server's would be.

use std::time::Duration;

use fake_pg::engine::{
    Caller, Embedded, EmbeddedArg, EmbeddedFunction, EmbeddedRelation, Engine, Halt, Pid, Row,
    Timestamp, XactStatus, Xid,
};
use fake_pg::error::{PgError, SqlState};
use fake_pg::types::{Datum, Type};

use super::desk::{Armed, Commit, Desk, State};
use super::fault::{Action, Fault, Point, Sight, duration};

/// How long `wait` waits if nothing is said.
const PATIENCE: Duration = Duration::from_secs(10);

/// Nothing was paused in time.
const WAIT_TIMEOUT: &str = "MC001";
/// A fault that was armed has not struck.
const NOT_FIRED: &str = "MC002";
/// Nothing is armed, so there is nothing to wait for, or to assert.
const NOT_ARMED: &str = "MC003";

const fn arg(name: &'static str, ty: Type) -> EmbeddedArg {
    EmbeddedArg {
        name,
        ty,
        optional: false,
    }
}

const fn optional(name: &'static str, ty: Type) -> EmbeddedArg {
    EmbeddedArg {
        name,
        ty,
        optional: true,
    }
}

const fn function(
    name: &'static str,
    args: &'static [EmbeddedArg],
    result: Type,
) -> EmbeddedFunction {
    EmbeddedFunction { name, args, result }
}

/// In the order in which `Desk::call` answers them.
const FUNCTIONS: &[EmbeddedFunction] = &[
    function(
        "arm",
        &[
            arg("fault", Type::Text),
            optional("times", Type::Int8),
            optional("application_name", Type::Text),
        ],
        Type::Int8,
    ),
    function(
        "wait",
        &[arg("point", Type::Text), optional("timeout", Type::Text)],
        Type::Int8,
    ),
    function("resume", &[optional("commit", Type::Int8)], Type::Int8),
    function("assert_fired", &[], Type::Int8),
    function("disarm", &[optional("fault", Type::Int8)], Type::Int8),
    function("reset", &[], Type::Void),
];

/// In the order in which `Desk::rows` answers them.
const RELATIONS: &[EmbeddedRelation] = &[
    EmbeddedRelation {
        name: "commits",
        columns: &[
            ("number", Type::Int8),
            ("xid", Type::Int8),
            ("pid", Type::Int4),
            ("application_name", Type::Text),
            ("received_at", Type::Timestamptz),
            ("committed_at", Type::Timestamptz),
            ("outcome", Type::Text),
            ("acknowledged", Type::Bool),
            ("paused_at", Type::Text),
        ],
    },
    EmbeddedRelation {
        name: "faults",
        columns: &[
            ("id", Type::Int8),
            ("fault", Type::Text),
            ("application_name", Type::Text),
            ("times_left", Type::Int8),
            ("fired", Type::Int8),
            ("last_commit", Type::Int8),
            ("last_pid", Type::Int4),
        ],
    },
];

impl Embedded for Desk {
    fn schema(&self) -> &str {
        "midcommit"
    }

    fn functions(&self) -> &[EmbeddedFunction] {
        FUNCTIONS
    }

    fn relations(&self) -> &[EmbeddedRelation] {
        RELATIONS
    }

    fn call(
        &self,
        function: usize,
        args: &[Datum],
        caller: Caller,
        engine: &mut Engine,
    ) -> Result<Datum, Halt> {
        self.sweep(engine);
        let number = |place: usize| args[place].as_i64();
        match FUNCTIONS[function].name {
            "arm" => self.arm(args),
            "wait" => self.wait(args, caller),
            "resume" => Ok(self.resume(number(0), engine)?),
            "assert_fired" => Ok(self.assert_fired()?),
            "disarm" => Ok(self.disarm(number(0))?),
            "reset" => {
                self.reset(engine);
                Ok(Datum::Void)
            }
            name => unreachable!("{name} is in the table, and is answered above"),
        }
    }

    fn rows(&self, relation: usize, engine: &Engine) -> Vec<Row> {
        self.sweep(engine);
        let state = self.state();
        match RELATIONS[relation].name {
            "commits" => state
                .commits
                .iter()
                .map(|commit| commit_row(commit, &state))
                .collect(),
            _ => state.faults.iter().map(fault_row).collect(),
        }
    }
}

impl Desk {
    fn arm(&self, args: &[Datum]) -> Result<Datum, Halt> {
        let text = said(&args[0], "fault", "commit flushed: rst")?;
        let fault = Fault::parse(text, self.sight()).map_err(invalid)?;
        let times = match args[1].as_i64() {
            None => 1,
            Some(times @ 1..) => times,
            Some(times) => {
                return Err(invalid(format!("times is {times}; it must be at least 1")).into());
            }
        };
        let application_name = args[2].as_str();
        let mut state = self.state();
        if let Some(armed) = state.in_the_way(&fault, application_name) {
            let message = format!(
                "{} is armed there already, and a COMMIT is struck once at one place",
                missing(armed)
            );
            return Err(invalid(message)
                .with_hint(format!(
                    "select midcommit.disarm({}), or let each be for another application_name; \
                     one fault strikes several COMMITs by times => 2",
                    armed.id
                ))
                .into());
        }
        let id = state.arm(fault, times, application_name.map(Into::into));
        Ok(Datum::Int8(id))
    }

    fn wait(&self, args: &[Datum], caller: Caller) -> Result<Datum, Halt> {
        let text = said(&args[0], "point", "flushed")?;
        let point = Point::parse(text, self.sight()).map_err(invalid)?;
        let patience = args[1]
            .as_str()
            .map(duration)
            .transpose()
            .map_err(invalid)?;
        let patience = patience.unwrap_or(PATIENCE);
        let mut state = self.state();
        if let Some((number, _)) = state.paused().find(|(_, at)| *at == point) {
            return Ok(Datum::Int8(number));
        }
        let pauses = |armed: &&Armed| {
            armed.times_left > 0
                && armed.fault.action == Action::Pause
                && armed.fault.point == point
        };
        if !state.faults.iter().any(|armed| pauses(&armed)) {
            let message = format!("no COMMIT will be paused at {point}: no such fault is armed");
            return Err(own(NOT_ARMED, message)
                .with_detail(seen(&state))
                .with_hint(format!("select midcommit.arm('commit {point}: pause')"))
                .into());
        }
        let deadline = caller.since.after(patience);
        if caller.now >= deadline {
            let message = format!("no COMMIT was paused at {point} within {patience:?}");
            return Err(own(WAIT_TIMEOUT, message).with_detail(seen(&state)).into());
        }
        state.wait(caller.pid);
        Err(Halt::embedded(Some(deadline)))
    }

    fn resume(&self, commit: Option<i64>, engine: &mut Engine) -> Result<Datum, PgError> {
        let mut state = self.state();
        if let Some(commit) = commit
            && !state.paused().any(|(number, _)| number == commit)
        {
            let message = format!("COMMIT {commit} is not paused");
            return Err(invalid(message).with_detail(seen(&state)));
        }
        let resumed = state.resume(|number| commit.is_none_or(|commit| commit == number));
        drop(state);
        self.let_go(&resumed, engine);
        Ok(Datum::Int8(resumed.len() as i64))
    }

    fn let_go(&self, resumed: &[Pid], engine: &mut Engine) {
        for pid in resumed {
            engine.wake(*pid);
        }
        self.bell.notify_waiters();
    }

    fn assert_fired(&self) -> Result<Datum, PgError> {
        let state = self.state();
        if state.faults.is_empty() {
            return Err(
                own(NOT_ARMED, "no fault has been armed, so none can have fired")
                    .with_hint("select midcommit.arm('commit flushed: rst')"),
            );
        }
        let missed = state.faults.iter().filter(|armed| armed.times_left > 0);
        let missed: Vec<String> = missed.map(missing).collect();
        if missed.is_empty() {
            let fired = state.faults.iter().map(|armed| armed.fired).sum();
            return Ok(Datum::Int8(fired));
        }
        let message = format!("did not fire: {}", missed.join("; "));
        Err(own(NOT_FIRED, message).with_detail(seen(&state)))
    }

    fn disarm(&self, fault: Option<i64>) -> Result<Datum, PgError> {
        let mut state = self.state();
        let known = |id: i64| state.faults.iter().any(|armed| armed.id == id);
        if let Some(id) = fault
            && !known(id)
        {
            let ids: Vec<String> = state.faults.iter().map(|a| a.id.to_string()).collect();
            let there = if ids.is_empty() {
                "none".to_owned()
            } else {
                ids.join(", ")
            };
            return Err(invalid(format!(
                "there is no fault {id}; there are: {there}"
            )));
        }
        let mut disarmed = 0;
        for armed in &mut state.faults {
            if fault.is_none_or(|id| id == armed.id) && armed.times_left > 0 {
                armed.times_left = 0;
                disarmed += 1;
            }
        }
        Ok(Datum::Int8(disarmed))
    }

    fn reset(&self, engine: &mut Engine) {
        let mut state = self.state();
        let resumed = state.resume(|_| true);
        state.forget();
        drop(state);
        for link in self.links() {
            link.heal();
        }
        self.let_go(&resumed, engine);
    }

    fn sweep(&self, engine: &Engine) {
        if self.sight() == Sight::Server {
            self.state().sweep(|xid| {
                let status = engine.xact_status(Xid(xid as u64));
                matches!(status, Ok(Some(XactStatus::Aborted)))
            });
        }
    }
}

fn commit_row(commit: &Commit, state: &State) -> Row {
    let time = |at: Option<Timestamp>| at.map_or(Datum::Null, Datum::Timestamptz);
    let paused = state.paused().find(|(number, _)| *number == commit.number);
    Row::from([
        Datum::Int8(commit.number),
        commit.xid.map_or(Datum::Null, Datum::Int8),
        Datum::Int4(commit.pid.0),
        Datum::text(&*commit.application_name),
        time(Some(commit.received_at)),
        time(commit.committed_at),
        Datum::text(commit.outcome.name()),
        Datum::Bool(commit.acknowledged),
        paused.map_or(Datum::Null, |(_, point)| Datum::text(point.to_string())),
    ])
}

fn fault_row(armed: &Armed) -> Row {
    let application_name = armed.application_name.as_deref();
    Row::from([
        Datum::Int8(armed.id),
        Datum::text(armed.fault.to_string()),
        application_name.map_or(Datum::Null, Datum::text),
        Datum::Int8(armed.times_left),
        Datum::Int8(armed.fired),
        armed
            .last
            .map_or(Datum::Null, |(commit, _)| Datum::Int8(commit)),
        armed
            .last
            .map_or(Datum::Null, |(_, pid)| Datum::Int4(pid.0)),
    ])
}

/// `commit flushed: rst (fault 1, for application "celery")`.
fn missing(armed: &Armed) -> String {
    let times = match (armed.fired, armed.times_left) {
        (0, 1) => String::new(),
        (fired, left) => format!(", {fired} of {} times", fired + left),
    };
    let application = match &armed.application_name {
        Some(name) => format!(", for application \"{name}\""),
        None => String::new(),
    };
    format!("{} (fault {}{times}{application})", armed.fault, armed.id)
}

/// What has passed: for errors that say what has not.
fn seen(state: &State) -> String {
    let mut said = match state.commits.back() {
        None => "No COMMIT that writes was seen.".to_owned(),
        Some(last) => format!(
            "COMMITs that write, and were seen: {}. The last is number {} of pid {}, application \"{}\", {}.",
            state.commits.len(),
            last.number,
            last.pid,
            last.application_name,
            last.outcome.name(),
        ),
    };
    let paused: Vec<String> = state
        .paused()
        .map(|(number, point)| format!("number {number} at {point}"))
        .collect();
    if !paused.is_empty() {
        said.push_str(&format!(" Paused: {}.", paused.join(", ")));
    }
    said
}

fn said<'a>(datum: &'a Datum, name: &str, example: &str) -> Result<&'a str, PgError> {
    let missing = || invalid(format!("{name} is NULL; it is a text like '{example}'"));
    datum.as_str().ok_or_else(missing)
}

fn invalid(message: impl Into<String>) -> PgError {
    PgError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn own(code: &str, message: impl Into<String>) -> PgError {
    let code = code.parse().unwrap_or(SqlState::INTERNAL_ERROR);
    PgError::new(code, message)
}
