//! One COMMIT through the proxy, and the faults on its way.
//!
//! `received`: it is here, and has not been passed on. `flushed`: the server has answered, so it is
//! durable, and the client does not know. `ready`: the client has been told. Whether a transaction
//! has written anything the server is asked before its COMMIT; a statement outside of a block is
//! judged by its first word.

use bytes::{BufMut, BytesMut};
use fake_pg::engine::CommitPoint;
use fake_pg::error::{PgError, SqlState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::relay::{Collected, End, Over, Relay, Unit};
use super::replies::{Told, error, fatal, told};
use crate::live::desk::{Author, Outcome};
use crate::live::fault::{Action, Point};
use crate::live::statements::Kind;
use crate::plan::Cut;

/// No client would call a statement that.
const PROBE: &str = "midcommit_xid_probe";
/// Known since PostgreSQL 10.
const PROBE_SQL: &str = "select pg_catalog.txid_current_if_assigned()::text";

impl Relay {
    /// Passes a COMMIT on, or whatever else commits, and its answer back.
    pub(super) async fn commit(&mut self, unit: Unit) -> Result<(), Over> {
        self.wait_for_server().await?;
        let kind = self.kind;
        if unit.end == End::Flush {
            // What follows it before Sync is another matter.
            self.kind = Kind::default();
        }
        let is_explicit = self.status == b'T' && kind.commits;
        let is_implicit = self.status == b'I' && (kind.writes || kind.runs > 1);
        if self.has_failed || !is_explicit && !is_implicit {
            return self.ask(&unit.messages).await;
        }
        let mut author = Author {
            server_number: 0,
            xid: None,
            pid: self.pid,
            application_name: self.application_name.clone(),
        };
        if is_explicit {
            author.xid = self.xid().await?;
            if author.xid.is_none() && kind.runs == 1 {
                // It has only read.
                return self.ask(&unit.messages).await;
            }
        }
        self.shared.desk.begin(&author, self.shared.clock.now());
        if !self.request(&unit).await? {
            return Ok(());
        }
        self.collected = Some(Collected::default());
        let answered = match self.ask(&unit.messages).await {
            Ok(()) => self.wait_for_answer(unit.end).await,
            Err(over) => Err(over),
        };
        let collected = self.collected.take().unwrap_or_default();
        if answered.is_err() {
            // Without all of its data a COPY commits nothing.
            let outcome = match self.owed.is_copying() {
                true => Outcome::Aborted,
                false => Outcome::Unknown,
            };
            self.shared.desk.ended(self.pid, outcome);
            self.client.write_all(&collected.bytes).await?;
            self.client.shutdown().await?;
            return Err(Over);
        }
        self.reply(collected, is_explicit).await
    }

    /// Until the server has answered what commits.
    async fn wait_for_answer(&mut self, end: End) -> Result<(), Over> {
        while let Some(collected) = &self.collected {
            let is_answered = match end {
                End::Flush => collected.has_failed || !self.owed.owes_execute(),
                _ => collected.is_ready,
            };
            if is_answered {
                break;
            }
            let waits_for_server = match end {
                End::Flush => !self.owed.is_copying(),
                _ => self.owed.owes_ready(),
            };
            match waits_for_server && self.passing == 0 {
                true => self.server_message().await?,
                false => self.exchange().await?,
            }
        }
        Ok(())
    }

    /// The id of the client's transaction, if it has one.
    async fn xid(&mut self) -> Result<Option<i64>, Over> {
        let mut probe = BytesMut::new();
        let mut message = |tag: u8, parts: &[&[u8]]| {
            probe.put_u8(tag);
            let length: usize = parts.iter().map(|part| part.len()).sum();
            probe.put_u32(length as u32 + 4);
            for part in parts {
                probe.put_slice(part);
            }
        };
        let name = [PROBE.as_bytes(), b"\0"].concat();
        message(b'P', &[&name, PROBE_SQL.as_bytes(), b"\0\0\0"]);
        message(b'B', &[&name, &name, b"\0\0\0\0\0\0"]);
        message(b'E', &[&name, b"\0\0\0\0"]);
        message(b'C', &[b"P", &name]);
        message(b'C', &[b"S", &name]);
        message(b'S', &[]);
        self.collected = Some(Collected::default());
        self.ask(&probe).await?;
        self.wait_for_server().await?;
        let collected = self.collected.take().unwrap_or_default();
        let mut rest = &collected.bytes[..];
        let mut xid = None;
        let mut others = BytesMut::new();
        while let Some(header) = rest.get(..5) {
            let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
            let (message, tail) = rest.split_at((length + 1).min(rest.len()));
            match message[0] {
                b'D' => {
                    if let Some(Told::Row(Some(text))) = told(b'D', &message[5..]) {
                        xid = text.parse().ok();
                    }
                }
                // What the server says by itself is the client's to hear.
                b'A' | b'S' | b'N' => others.put_slice(message),
                _ => {}
            }
            rest = tail;
        }
        if !others.is_empty() {
            self.client.write_all(&others).await?;
        }
        Ok(xid)
    }

    /// What happens before the COMMIT is passed on. False: it is not to be.
    async fn request(&mut self, unit: &Unit) -> Result<bool, Over> {
        let (desk, pid) = (self.shared.desk.clone(), self.pid);
        match desk.request_fault(pid, unit.messages.len()) {
            Some((byte, Action::Cut(cut))) => {
                self.server.write_all(&unit.messages[..byte]).await?;
                let outcome = match byte < unit.decisive {
                    true => Outcome::Aborted,
                    false => Outcome::Unknown,
                };
                desk.ended(pid, outcome);
                return self.cut(cut).await.map(|()| false);
            }
            Some((_, Action::Delay(time))) => tokio::time::sleep(time).await,
            _ => {}
        }
        match desk.reached(pid, Point::Step(CommitPoint::Received)) {
            Some(Action::Cut(cut)) => {
                desk.ended(pid, Outcome::Aborted);
                self.cut(cut).await.map(|()| false)
            }
            Some(Action::Fail(code)) => self.fail(code, unit.end).await.map(|()| false),
            Some(Action::Terminate) => {
                desk.ended(pid, Outcome::Aborted);
                let said = PgError::admin_shutdown();
                let said = fatal(&said.code.to_string(), &said.message);
                self.client.write_all(&said).await?;
                self.client.shutdown().await?;
                Err(Over)
            }
            Some(action) => self.stay(action).await.map(|()| true),
            None => Ok(true),
        }
    }

    /// Undoes the transaction on the server, and tells the client that its COMMIT has failed.
    async fn fail(&mut self, code: SqlState, end: End) -> Result<(), Over> {
        self.shared.desk.ended(self.pid, Outcome::Aborted);
        // Before a pipeline's Sync the server knows more of its state than we do.
        if self.status == b'T' || end == End::Flush {
            self.collected = Some(Collected::default());
            self.ask(b"Q\0\0\0\x0dROLLBACK\0").await?;
            self.wait_for_server().await?;
            self.collected = None;
        }
        let mut answer = error(&code.to_string(), &PgError::injected(code).message);
        match end {
            End::Flush => self.is_skipping = true,
            _ => answer.extend_from_slice(b"Z\0\0\0\x05I"),
        }
        Ok(self.client.write_all(&answer).await?)
    }

    /// What happens once the server has answered.
    async fn reply(&mut self, collected: Collected, is_explicit: bool) -> Result<(), Over> {
        let (desk, pid) = (self.shared.desk.clone(), self.pid);
        // A script may have committed before it failed.
        let is_committed = collected.tags.iter().any(|tag| tag == "COMMIT")
            || !is_explicit && !collected.has_failed;
        if is_committed {
            desk.committed(pid, self.shared.clock.now());
            match desk.reached(pid, Point::Step(CommitPoint::Flushed)) {
                Some(Action::Cut(cut)) => return self.cut(cut).await,
                Some(action) => self.stay(action).await?,
                None => {}
            }
            if let Some(watch) = desk.reply_fault(pid) {
                self.link.watch(watch, collected.passed, desk.clone());
            }
        } else {
            desk.ended(pid, Outcome::Aborted);
        }
        self.client.write_all(&collected.bytes).await?;
        self.client.flush().await?;
        self.link.answered();
        if self.link.is_cut() {
            return self.linger().await;
        }
        desk.acknowledged(pid);
        match desk.reached(pid, Point::Step(CommitPoint::Ready)) {
            Some(Action::Cut(cut)) => self.cut(cut).await,
            Some(action) => self.stay(action).await,
            None => Ok(()),
        }
    }

    /// A delay, or a pause until it is resumed.
    async fn stay(&mut self, action: Action) -> Result<(), Over> {
        match action {
            Action::Delay(time) => tokio::time::sleep(time).await,
            Action::Pause => {
                for waiting in self.shared.desk.take_waiting() {
                    self.shared.ours.borrow().wake(waiting);
                }
                loop {
                    let resumed = self.shared.desk.bell.notified();
                    tokio::pin!(resumed);
                    resumed.as_mut().enable();
                    if !self.shared.desk.holds(self.pid) {
                        break;
                    }
                    resumed.await;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends the client's connection, and with it the server's; but a client that hears nothing
    /// has not left.
    async fn cut(&mut self, cut: Cut) -> Result<(), Over> {
        self.link.cut(cut);
        self.linger().await
    }

    /// Stays as long as a client that hears nothing.
    async fn linger(&mut self) -> Result<(), Over> {
        // A link that has been cut reads nothing but the end.
        let _end = self.client.read(&mut [0]).await?;
        Err(Over)
    }
}
