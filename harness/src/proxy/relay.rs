//! One session: messages from the client to the server, or to us, and answers back.
//!
//! What a client sends is gathered up to its Sync or Query, so that a COMMIT is known before any of
//! it has left. A server's bytes pass as they come, except while a COMMIT is being answered.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use fake_pg::engine::Pid;
use fake_pg::wire::frontend::Startup;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ours::{Ours, answers};
use super::replies::{Replies, Told, error};
use super::{Answering, Shared};
use crate::live::link::{Link, Port};
use crate::live::statements::{Kind, Statements};

/// More than this is not gathered: it leaves before its Sync has come.
const GATHERED_MAX: usize = 1 << 18;
/// Longer messages are passed on as they come.
const MESSAGE_MAX: usize = 1 << 20;
/// How much is asked from a stream at a time.
const CHUNK: usize = 1 << 13;

/// The connection is over.
#[derive(Debug)]
pub(super) struct Over;

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Over {
        Over
    }
}

pub(super) struct Relay {
    pub(super) shared: Rc<Shared>,
    pub(super) link: Arc<Link>,
    pub(super) client: Port,
    pub(super) server: TcpStream,
    ours: Option<Ours>,
    from_client: BytesMut,
    from_server: BytesMut,
    replies: Replies,
    statements: Statements,
    /// What has come since the last Sync or Query, and what it does.
    gathered: BytesMut,
    pub(super) kind: Kind,
    /// Whether some of it is for the server.
    is_theirs: bool,
    /// How much of a long message is still to be passed on.
    passing: usize,
    /// How many ReadyForQuery the server owes.
    pub(super) outstanding: usize,
    /// The state of the transaction, as the server told it last.
    pub(super) status: u8,
    /// The server has answered something of this pipeline with an error.
    pub(super) has_failed: bool,
    /// The server's answer to a COMMIT, which does not pass yet.
    pub(super) collected: Option<Collected>,
    /// What the server calls this session.
    pub(super) pid: Pid,
    key: i32,
    pub(super) application_name: Arc<str>,
    /// Whether we are answering: then it is our session that a cancel request is for.
    answering: Rc<Answering>,
}

/// An answer that is held back, and what it tells.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) bytes: BytesMut,
    pub(super) has_failed: bool,
    pub(super) tags: Vec<String>,
}

impl Relay {
    pub(super) fn new(
        shared: Rc<Shared>,
        client: TcpStream,
        server: TcpStream,
        startup: &Startup,
        rest: BytesMut,
    ) -> Relay {
        let link = Link::new(client);
        let mut named = startup.parameters.iter();
        let named = named.find(|(name, _)| name == "application_name");
        Relay {
            shared,
            client: Port(link.clone()),
            link,
            server,
            ours: None,
            from_client: rest,
            from_server: BytesMut::new(),
            replies: Replies::default(),
            statements: Statements::default(),
            gathered: BytesMut::new(),
            kind: Kind::default(),
            is_theirs: false,
            passing: 0,
            // The end of the handshake is one, too.
            outstanding: 1,
            status: b'I',
            has_failed: false,
            collected: None,
            pid: Pid(0),
            key: 0,
            application_name: named.map_or("", |(_, name)| name).into(),
            answering: Rc::new(Cell::new(None)),
        }
    }

    /// Passes messages on until either side leaves.
    pub(super) async fn run(mut self) {
        let Err(Over) = self.pass().await;
        if self.pid != Pid(0) {
            self.shared.desk.disconnect(self.pid);
            self.shared
                .keys
                .borrow_mut()
                .remove(&(self.pid.0, self.key));
        }
    }

    async fn pass(&mut self) -> Result<std::convert::Infallible, Over> {
        loop {
            while self.client_message().await? {}
            enum Came {
                Client(usize),
                Server(usize),
                Ours(Option<BytesMut>),
            }
            let came = {
                let Relay {
                    client,
                    server,
                    ours,
                    from_client,
                    from_server,
                    status,
                    ..
                } = self;
                from_client.reserve(CHUNK);
                from_server.reserve(CHUNK);
                let answer = async {
                    match ours {
                        Some(ours) => ours.read(*status).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    read = server.read_buf(from_server) => Came::Server(read?),
                    answer = answer => Came::Ours(answer),
                    read = client.read_buf(from_client) => Came::Client(read?),
                }
            };
            match came {
                Came::Client(0) => return Err(Over),
                Came::Client(_) => {}
                Came::Server(0) => {
                    // Its last words have passed; the client's stream ends as the server's did.
                    self.client.shutdown().await?;
                    return Err(Over);
                }
                Came::Server(_) => self.pass_replies().await?,
                Came::Ours(answer) => self.pass_answer(answer).await?,
            }
        }
    }

    /// Takes in the next message of the client's. False: it is not there yet.
    async fn client_message(&mut self) -> Result<bool, Over> {
        if self.passing > 0 {
            let length = self.passing.min(self.from_client.len());
            let part = self.from_client.split_to(length);
            self.passing -= length;
            self.send(&part).await?;
            return Ok(length > 0);
        }
        let Some(header) = self.from_client.get(..5) else {
            return Ok(false);
        };
        let tag = header[0];
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let length = length.max(4) + 1;
        if length > MESSAGE_MAX {
            self.outstanding += usize::from(matches!(tag, b'Q' | b'F'));
            self.release(0).await?;
            self.passing = length;
            return Ok(true);
        }
        if self.from_client.len() < length {
            return Ok(false);
        }
        let message = self.from_client.split_to(length);
        let kind = self.statements.message(tag, &message[5..]);
        match tag {
            b'Q' | b'S' => {
                self.gather(&message, kind, tag != b'S');
                self.release(1).await?;
                self.kind = Kind::default();
                self.is_theirs = false;
            }
            b'P' | b'B' | b'D' | b'E' | b'C' => {
                self.gather(&message, kind, true);
                if self.gathered.len() > GATHERED_MAX && !self.kind.ours {
                    self.release(0).await?;
                }
            }
            b'H' => {
                self.gather(&message, kind, false);
                self.release(0).await?;
            }
            _ => {
                self.release(0).await?;
                self.outstanding += usize::from(tag == b'F');
                self.send(&message).await?;
            }
        }
        Ok(true)
    }

    fn gather(&mut self, message: &[u8], kind: Kind, says: bool) {
        self.gathered.extend_from_slice(message);
        self.kind = self.kind.and(kind);
        self.is_theirs |= says && !kind.ours;
    }

    /// Lets what was gathered go where it belongs. `ready` is how many ReadyForQuery its end asks for.
    async fn release(&mut self, ready: usize) -> Result<(), Over> {
        let unit = self.gathered.split();
        if unit.is_empty() {
            return Ok(());
        }
        if self.kind.discards {
            self.ours = None;
        }
        if self.kind.ours && self.is_theirs {
            return self.refuse_mixture(ready).await;
        }
        if self.kind.ours {
            return self.answer(&unit).await;
        }
        self.wait_for_ours().await?;
        let commits = self.kind.commits || self.kind.writes;
        if ready == 1 && commits && self.pid != Pid(0) {
            return self.commit(unit).await;
        }
        self.outstanding += answers(&unit);
        self.send(&unit).await
    }

    /// A pipeline that is partly for us has no one who could answer it in order.
    async fn refuse_mixture(&mut self, ready: usize) -> Result<(), Over> {
        self.wait_for_server().await?;
        let said =
            "statements that name the schema midcommit in one message or pipeline with others";
        let mut answer = error("0A000", &format!("{said} are not supported by the proxy"));
        for _ in 0..ready {
            answer.extend_from_slice(&[b'Z', 0, 0, 0, 5, self.status]);
        }
        Ok(self.client.write_all(&answer).await?)
    }

    /// Has our session answer.
    async fn answer(&mut self, unit: &[u8]) -> Result<(), Over> {
        self.wait_for_server().await?;
        if self.ours.as_ref().is_some_and(|ours| ours.is_spoilt) {
            self.ours = None;
        }
        if self.ours.is_none() {
            self.ours = Ours::open(self.shared.ours.clone()).await;
        }
        let ours = self.ours.as_mut().ok_or(Over)?;
        self.answering.set(Some(ours.key));
        ours.send(unit, answers(unit)).await.ok_or(Over)
    }

    /// Passes on what our session has answered.
    async fn pass_answer(&mut self, answer: Option<BytesMut>) -> Result<(), Over> {
        let Some(answer) = answer else {
            self.ours = None;
            self.answering.set(None);
            return Err(Over);
        };
        if self.ours.as_ref().is_none_or(|ours| ours.outstanding == 0) {
            self.answering.set(None);
        }
        Ok(self.client.write_all(&answer).await?)
    }

    /// Until our session has answered all that it was asked.
    async fn wait_for_ours(&mut self) -> Result<(), Over> {
        while let Some(ours) = self.ours.as_mut().filter(|ours| ours.outstanding > 0) {
            let answer = ours.read(self.status).await;
            self.pass_answer(answer).await?;
        }
        Ok(())
    }

    /// Until the server has answered all that it was asked.
    pub(super) async fn wait_for_server(&mut self) -> Result<(), Over> {
        while self.outstanding > 0 {
            if self.server.read_buf(&mut self.from_server).await? == 0 {
                return Err(Over);
            }
            self.pass_replies().await?;
        }
        Ok(())
    }

    /// Writes to the server, and takes in what it answers meanwhile: else each could wait for the other.
    pub(super) async fn send(&mut self, mut bytes: &[u8]) -> Result<(), Over> {
        while !bytes.is_empty() {
            let written = {
                self.from_server.reserve(CHUNK);
                let (mut read, mut write) = self.server.split();
                tokio::select! {
                    biased;
                    written = write.write(bytes) => Some(written?),
                    read = read.read_buf(&mut self.from_server) => match read? {
                        0 => return Err(Over),
                        _ => None,
                    },
                }
            };
            match written {
                Some(written) => bytes = &bytes[written..],
                None => self.pass_replies().await?,
            }
        }
        Ok(())
    }

    /// Passes on what the server has said, and learns from it.
    async fn pass_replies(&mut self) -> Result<(), Over> {
        let mut out = BytesMut::new();
        while let Some((part, told)) = self.replies.next(&mut self.from_server) {
            if let Some(told) = told {
                self.learn(told);
            }
            match &mut self.collected {
                Some(collected) => collected.bytes.unsplit(part),
                None => out.unsplit(part),
            }
        }
        match out.is_empty() {
            true => Ok(()),
            false => Ok(self.client.write_all(&out).await?),
        }
    }

    fn learn(&mut self, told: Told) {
        match told {
            Told::Ready(status) => {
                self.outstanding = self.outstanding.saturating_sub(1);
                self.status = status;
                self.has_failed = false;
            }
            Told::Error => {
                self.has_failed = true;
                if let Some(collected) = &mut self.collected {
                    collected.has_failed = true;
                }
            }
            Told::Tag(tag) => {
                if let Some(collected) = &mut self.collected {
                    collected.tags.push(tag);
                }
            }
            Told::Key(pid, key) => {
                (self.pid, self.key) = (Pid(pid), key);
                self.shared.desk.connect(self.pid, self.link.clone());
                let answering = self.answering.clone();
                self.shared.keys.borrow_mut().insert((pid, key), answering);
            }
            Told::Parameter(name, value) => {
                if name == "application_name" {
                    self.application_name = value.into();
                }
            }
            Told::Row(_) => {}
        }
    }
}
