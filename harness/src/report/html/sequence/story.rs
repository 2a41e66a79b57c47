//! What a sequence diagram tells, row by row: the timeline's lines, as messages between lifelines.
//!
//! The timeline has chosen what is worth telling. Here its events get a place to start from and one
//! to arrive at, and a COMMIT that matters gets its steps. A message that never arrived ends on
//! its way. What the rows look like is `draw`'s.

use std::sync::Arc;
use std::time::Duration;

use fake_pg::engine::CommitPoint;

use super::facts::{Key, Steps, arrives, process_in, process_keys, server_in, steps};
use crate::history::{CommitId, EffectOutcome, Event, ProcessId, What};
use crate::plan::{Cut, Exchange, Fault, Kind, Point, ProcessName, Side};
use crate::replay::Trace;
use crate::report::Timeline;
use crate::report::describe::{Described, Lane, describe};
use crate::report::timeline::{Line, first_findings};
use crate::sim::{BROKER, Detail, PRIMARY};

/// Lifelines, and what happens on them in order.
pub(super) struct Story {
    pub(super) lifelines: Vec<Lifeline>,
    pub(super) rows: Vec<Row>,
}

/// A vertical line: a process with those that replace it, a server, or the broker.
pub(super) struct Lifeline {
    pub(super) title: String,
    pub(super) lane: Lane,
}

/// Something on the diagram, and when it happened.
pub(super) struct Row {
    pub(super) at: Option<Duration>,
    pub(super) what: Shape,
}

/// What is drawn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// From one lifeline to another; what is lost ends halfway.
    Message {
        from: usize,
        to: usize,
        text: String,
        answer: bool,
        lost: bool,
    },
    /// Something a lifeline does by itself.
    Note {
        on: usize,
        text: String,
        /// The verdict that it shows.
        verdict: Option<&'static str>,
    },
    /// A lifeline begins, or begins again.
    Start { on: usize, text: String },
    /// A lifeline ends.
    End { on: usize, text: String },
    /// Steps of a COMMIT, in order.
    Steps {
        on: usize,
        commit: u64,
        steps: Vec<CommitPoint>,
    },
    /// Steps that a COMMIT never came to.
    Unreached { on: usize, text: String },
    /// A fault strikes a lifeline, or what is between two.
    Strike {
        on: usize,
        and: Option<usize>,
        kind: String,
        point: String,
    },
    /// What concerns all: time left out, the end.
    Across(String),
}

impl Story {
    /// The story of a run.
    pub(super) fn of(trace: &Trace) -> Story {
        let history = &trace.replay.history;
        let timeline = Timeline::around(history, &trace.replay.judgement);
        let mut teller = Teller::new(trace);
        for line in timeline.lines() {
            match line {
                Line::Moment(moment) => moment.events.iter().for_each(|index| teller.tell(*index)),
                Line::Repeats { more, lines: 1 } => {
                    teller.across(format!("… {more} more such lines"))
                }
                Line::Repeats { more, lines } => {
                    teller.across(format!("… {more} more rounds of these {lines} lines"))
                }
                Line::Gap(1) => teller.across("… 1 line left out".to_owned()),
                Line::Gap(lines) => teller.across(format!("… {lines} lines left out")),
            }
        }
        teller.into_story()
    }
}

struct Teller<'t> {
    trace: &'t Trace,
    /// The events that show a broken promise.
    findings: Vec<(usize, &'static str)>,
    /// The lifeline of each process that has one, by what it is called for now.
    lifelines: Vec<(Key, Lifeline)>,
    process_keys: Vec<Key>,
    steps: Steps,
    rows: Vec<Row>,
}

impl<'t> Teller<'t> {
    fn new(trace: &'t Trace) -> Teller<'t> {
        let history = &trace.replay.history;
        let judgement = &trace.replay.judgement;
        let pointed_at = first_findings(judgement);
        let findings = judgement.findings.iter().take(pointed_at.len());
        let findings: Vec<(usize, &'static str)> =
            findings.map(|it| (it.event, it.verdict.name())).collect();
        Teller {
            steps: steps(trace, &findings),
            findings,
            lifelines: Vec::new(),
            process_keys: process_keys(&history.processes, &history.events),
            rows: Vec::new(),
            trace,
        }
    }

    /// The lifelines stand in order, and rows name them by place.
    fn into_story(mut self) -> Story {
        let mut order: Vec<usize> = (0..self.lifelines.len()).collect();
        order.sort_by(|a, b| self.lifelines[*a].0.cmp(&self.lifelines[*b].0));
        let mut places = vec![0; order.len()];
        for (place, &was) in order.iter().enumerate() {
            places[was] = place;
        }
        for row in &mut self.rows {
            match &mut row.what {
                Shape::Message { from, to, .. } => (*from, *to) = (places[*from], places[*to]),
                Shape::Note { on, .. }
                | Shape::Start { on, .. }
                | Shape::End { on, .. }
                | Shape::Steps { on, .. }
                | Shape::Unreached { on, .. } => *on = places[*on],
                Shape::Strike { on, and, .. } => {
                    *on = places[*on];
                    *and = and.map(|and| places[and]);
                }
                Shape::Across(_) => {}
            }
        }
        let mut sorted: Vec<(Key, Lifeline)> = self.lifelines;
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        Story {
            lifelines: sorted.into_iter().map(|(_, lifeline)| lifeline).collect(),
            rows: self.rows,
        }
    }

    fn lifeline(&mut self, key: Key) -> usize {
        if let Some(known) = self.lifelines.iter().position(|(known, _)| *known == key) {
            return known;
        }
        let (title, lane) = match &key {
            Key::Process(id) => (
                self.trace.replay.history.processes[*id].name.to_string(),
                Lane::Process,
            ),
            Key::Primary => (PRIMARY.to_owned(), Lane::Server),
            Key::Server(name) => (name.to_string(), Lane::Server),
            Key::Broker => (BROKER.to_owned(), Lane::Broker),
        };
        self.lifelines.push((key, Lifeline { title, lane }));
        self.lifelines.len() - 1
    }

    fn process(&mut self, id: ProcessId) -> usize {
        self.lifeline(self.process_keys[id].clone())
    }

    fn process_named(&mut self, name: &ProcessName) -> usize {
        let known = self.trace.replay.history.processes.iter();
        let id = known.into_iter().position(|known| known == name);
        self.process(id.unwrap_or(0))
    }

    fn server(&mut self, name: &Arc<str>) -> usize {
        match &**name {
            PRIMARY => self.lifeline(Key::Primary),
            _ => self.lifeline(Key::Server(name.clone())),
        }
    }

    fn broker(&mut self) -> usize {
        self.lifeline(Key::Broker)
    }

    fn across(&mut self, text: String) {
        self.rows.push(Row {
            at: None,
            what: Shape::Across(text),
        });
    }

    /// Tells one event of the history.
    fn tell(&mut self, index: usize) {
        let trace = self.trace;
        let history = &trace.replay.history;
        let Event { at, what } = &history.events[index];
        self.tell_steps(|events, _| events <= index, &[]);
        match what {
            // Told by its step, unless it got there in another way, as by recovery.
            What::Committed { commit, .. }
                if self.tell_steps(|_, step| step <= CommitPoint::Visible, &[commit]) =>
            {
                self.note_finding(index, *at);
                return;
            }
            What::Acknowledged(commit) if self.tell_steps(|_, _| true, &[commit]) => return,
            _ => {}
        }
        let Described { lane, text, .. } = describe(history, what);
        let verdict = self.verdict_at(index);
        let shape = match what {
            What::Sent {
                process,
                connection,
                exchange,
                ..
            } => self.request(index, text, (*process, *connection), exchange),
            What::Answered {
                process,
                connection,
                outcome,
                ..
            } => {
                let from = self.server_of(*process, *connection);
                Shape::Message {
                    from,
                    to: self.process(*process),
                    // What was asked, if the answer says nothing else.
                    text: match outcome.is_empty() {
                        true => text.trim_start_matches("← ").to_owned(),
                        false => outcome.to_string(),
                    },
                    answer: true,
                    lost: false,
                }
            }
            What::EffectInvoke { process, name, key } => Shape::Message {
                from: self.process(*process),
                to: self.broker(),
                text: format!("{name}:{key}"),
                answer: false,
                lost: !arrives(&history.events[index + 1..], *process, name, key),
            },
            What::EffectDone {
                process,
                outcome: EffectOutcome::Ok,
                ..
            } => Shape::Message {
                from: self.broker(),
                to: self.process(*process),
                text: "acknowledged".to_owned(),
                answer: true,
                lost: false,
            },
            What::Started(process) => Shape::Start {
                on: self.process(*process),
                text: format!("{} {text}", history.processes[*process]),
            },
            What::Ended { process, .. } => Shape::End {
                on: self.process(*process),
                text,
            },
            What::ServerDown(server) => Shape::End {
                on: self.server(server),
                text,
            },
            What::ServerUp { server, .. } => Shape::Start {
                on: self.server(server),
                text,
            },
            What::Fired(fault) => return self.strike(fault, *at),
            What::Healed | What::Unfinished { .. } | What::Settled { .. } => {
                Shape::Across(text.trim_matches(['(', ')']).to_owned())
            }
            _ => {
                let on = match (lane, server_in(what), process_in(what)) {
                    (Lane::Server, Some(server), _) => self.server(&server),
                    (Lane::Process, _, Some(process)) => self.process(process),
                    _ => self.broker(),
                };
                Shape::Note { on, text, verdict }
            }
        };
        let is_note = matches!(shape, Shape::Note { .. });
        self.push(*at, shape);
        if !is_note {
            self.note_finding(index, *at);
        }
    }

    fn push(&mut self, at: Duration, what: Shape) {
        // Steps in one go stand together.
        if let (
            Shape::Steps {
                on, commit, steps, ..
            },
            Some(Row {
                at: last,
                what:
                    Shape::Steps {
                        on: last_on,
                        commit: last_commit,
                        steps: above,
                    },
            }),
        ) = (&what, self.rows.last_mut())
            && (*last, *last_on, *last_commit) == (Some(at), *on, *commit)
        {
            above.extend(steps);
            return;
        }
        self.rows.push(Row { at: Some(at), what });
    }

    fn verdict_at(&self, index: usize) -> Option<&'static str> {
        let found = self.findings.iter().find(|(event, _)| *event == index);
        found.map(|(_, verdict)| *verdict)
    }

    /// A finding at an event that is drawn as something else than a note.
    fn note_finding(&mut self, index: usize, at: Duration) {
        let Some(verdict) = self.verdict_at(index) else {
            return;
        };
        let what = &self.trace.replay.history.events[index].what;
        let on = match (server_in(what), process_in(what)) {
            (Some(server), _) => self.server(&server),
            (_, Some(process)) => self.process(process),
            _ => self.lifeline(Key::Primary),
        };
        let text = describe(&self.trace.replay.history, what).text;
        self.push(
            at,
            Shape::Note {
                on,
                text,
                verdict: Some(verdict),
            },
        );
    }

    /// The server at the other end of a process's connection.
    fn server_of(&mut self, process: ProcessId, connection: u32) -> usize {
        let mut ends = self.trace.wires.values();
        let end = ends.find(|end| (end.process, end.connection) == (process, connection));
        match end {
            Some(end) => self.server(&end.server),
            // Nothing ever arrived.
            None => self.lifeline(Key::Primary),
        }
    }

    fn request(
        &mut self,
        index: usize,
        text: String,
        (process, connection): (ProcessId, u32),
        exchange: &Exchange,
    ) -> Shape {
        let mut ends = self.trace.wires.iter();
        let wire = ends
            .find(|(_, end)| (end.process, end.connection) == (process, connection))
            .map(|(wire, _)| *wire);
        let is_its_arrival = |point: &Point| {
            matches!(point, Point::Wire { connection, exchange: it, side: Side::Request, .. }
                if Some(*connection) == wire && it == exchange)
        };
        let arrived = self
            .trace
            .points
            .iter()
            .find(|recorded| recorded.events > index && is_its_arrival(&recorded.point));
        let whole = match arrived.map(|recorded| (&recorded.point, &recorded.detail)) {
            Some((Point::Wire { byte, .. }, Detail::Stretch(length))) => byte + length,
            _ => 0,
        };
        // Cut on its way: what is missing of it never comes.
        let faults = self.trace.replay.plan.faults.iter();
        let cut = faults
            .filter(|fault| matches!(fault.kind, Kind::Cut(_) | Kind::Partition(_)))
            .any(|fault| {
                is_its_arrival(&fault.at)
                    && matches!(fault.at, Point::Wire { byte, .. } if byte < whole)
            });
        let to = self.server_of(process, connection);
        Shape::Message {
            from: self.process(process),
            to,
            text: text.trim_start_matches("→ ").to_owned(),
            answer: false,
            lost: arrived.is_none() || cut,
        }
    }

    fn strike(&mut self, fault: &Fault, at: Duration) {
        let (on, and) = match &fault.at {
            Point::Await { task, .. } => (self.process_named(&task.process), None),
            Point::Boundary { process, .. } => (self.process_named(process), None),
            Point::Commit { server, .. } => (self.server(server), None),
            Point::Broker { .. } => (self.broker(), None),
            Point::Wire { connection, .. } => match self.trace.wires.get(connection) {
                Some(end) => (self.process(end.process), Some(self.server(&end.server))),
                None => (self.lifeline(Key::Primary), None),
            },
        };
        let kind = fault.kind.to_string();
        let point = fault.at.to_string();
        // An answer that is cut off leaves the server all the same.
        if let (
            Point::Wire {
                side: Side::Reply,
                exchange,
                ..
            },
            Kind::Cut(_) | Kind::Partition(_),
            Some(server),
        ) = (&fault.at, &fault.kind, and)
        {
            let text = match &fault.kind {
                Kind::Cut(Cut::Silence) => format!("answer to {exchange}, unheard"),
                _ => format!("answer to {exchange}"),
            };
            self.push(
                at,
                Shape::Message {
                    from: server,
                    to: on,
                    text,
                    answer: true,
                    lost: true,
                },
            );
        }
        self.push(
            at,
            Shape::Strike {
                on,
                and,
                kind,
                point,
            },
        );
        self.tell_unreached(fault, on, at);
    }

    /// Which steps a COMMIT never comes to since a fault has struck it.
    fn tell_unreached(&mut self, fault: &Fault, on: usize, at: Duration) {
        let Point::Commit {
            server,
            number,
            step,
        } = &fault.at
        else {
            return;
        };
        let commit = CommitId {
            server: server.clone(),
            number: *number,
        };
        let goes_on = self
            .steps
            .get(&commit)
            .is_some_and(|steps| !steps.is_empty());
        let never: Vec<CommitPoint> = CommitPoint::ALL
            .into_iter()
            .filter(|later| later > step)
            .collect();
        if let ([first, ..], Some(last), false) = (&never[..], never.last(), goes_on) {
            let text = match first == last {
                true => format!("never {first}"),
                false => format!("never {first} … {last}"),
            };
            self.push(at, Shape::Unreached { on, text });
        }
    }

    /// Tells the steps at the front of each COMMIT, or of these, for which it is time. Whether there are any.
    fn tell_steps(
        &mut self,
        is_time: impl Fn(usize, CommitPoint) -> bool,
        of: &[&CommitId],
    ) -> bool {
        let mut any = false;
        let commits: Vec<CommitId> = self.steps.keys().cloned().collect();
        for commit in commits {
            if !of.is_empty() && !of.contains(&&commit) {
                continue;
            }
            let on = self.server(&commit.server);
            let Some(steps) = self.steps.get_mut(&commit) else {
                continue;
            };
            let mut told: Vec<(Duration, CommitPoint)> = Vec::new();
            while let Some((events, step, at)) = steps.front().copied()
                && is_time(events, step)
            {
                told.push((at, step));
                steps.pop_front();
            }
            any |= !told.is_empty();
            for chunk in told.chunk_by(|a, b| a.0 == b.0) {
                self.push(
                    chunk[0].0,
                    Shape::Steps {
                        on,
                        commit: commit.number,
                        steps: chunk.iter().map(|(_, step)| *step).collect(),
                    },
                );
            }
        }
        any
    }
}
