//! One session: messages from the client to the server, or to us, and answers back.
//!
//! What a client sends is gathered up to its Sync or Query, so that a COMMIT is known before any of
//! it has left; up to its Flush if it has a COMMIT, which the server would not keep back either. A
//! server's bytes pass as they come, except while a COMMIT is being answered.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use fake_pg::engine::Pid;
use fake_pg::wire::frontend::Startup;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ours::{Ours, answers, tags};
use super::owed::Owed;
use super::replies::{Replies, Told, error};
use super::{Answering, Shared};
use crate::live::link::{Link, Port};
use crate::live::statements::{Kind, Statements, is_looked_into};

/// More than this is not gathered, if no COMMIT is in it: it leaves before its Sync has come.
const GATHERED_MAX: usize = 1 << 18;
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
    /// Where among it the first message ends that commits at once.
    pub(super) decisive: Option<usize>,
    /// Whether some of it is for the server.
    is_theirs: bool,
    /// The pipeline has been answered with an error here: the client's next Sync ends that.
    pub(super) is_skipping: bool,
    /// How much of a long message is still to be passed on.
    pub(super) passing: usize,
    /// What the server has not answered.
    pub(super) owed: Owed,
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

/// How a client ends what is gathered of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By Query or Sync, which ask for ReadyForQuery.
    Ready,
    /// By Flush.
    Flush,
    /// Not yet.
    Nothing,
}

/// Messages that commit something.
pub(super) struct Unit {
    pub(super) messages: BytesMut,
    /// Before this byte nothing commits.
    pub(super) decisive: usize,
    pub(super) end: End,
}

/// An answer that is held back, and what it tells.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) bytes: BytesMut,
    /// How much of it has left before, with which the client was asked for data.
    pub(super) passed: usize,
    /// Its ReadyForQuery is there.
    pub(super) is_ready: bool,
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
            decisive: None,
            is_theirs: false,
            is_skipping: false,
            passing: 0,
            owed: Owed::handshake(),
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
                    // Its last words may be of an older protocol. Then the client's stream ends as
                    // the server's did.
                    let last = self.from_server.split();
                    self.client.write_all(&last).await?;
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
        if !is_looked_into(tag, length) {
            self.release(End::Nothing).await?;
            self.owed.asked(tag);
            self.passing = length;
            return Ok(true);
        }
        if self.from_client.len() < length {
            return Ok(false);
        }
        let message = self.from_client.split_to(length);
        let kind = self.statements.message(tag, &message[5..]);
        if self.is_skipping && tag != b'S' {
            return Ok(true);
        }
        self.is_skipping = false;
        match tag {
            b'Q' | b'S' => {
                self.gather(&message, kind, tag != b'S');
                self.release(End::Ready).await?;
                self.kind = Kind::default();
                self.is_theirs = false;
            }
            b'P' | b'B' | b'D' | b'E' | b'C' => {
                self.gather(&message, kind, true);
                let waits = self.kind.ours || self.kind.commits;
                if self.gathered.len() > GATHERED_MAX && !waits {
                    self.release(End::Nothing).await?;
                }
            }
            b'H' => {
                self.gather(&message, kind, false);
                self.release(End::Flush).await?;
            }
            _ => {
                self.release(End::Nothing).await?;
                self.ask(&message).await?;
            }
        }
        Ok(true)
    }

    fn gather(&mut self, message: &[u8], kind: Kind, says: bool) {
        self.gathered.extend_from_slice(message);
        if kind.commits {
            self.decisive.get_or_insert(self.gathered.len());
        }
        self.kind = self.kind.and(kind);
        self.is_theirs |= says && !kind.ours;
    }

    /// Lets what was gathered go where it belongs.
    async fn release(&mut self, end: End) -> Result<(), Over> {
        let unit = self.gathered.split();
        let decisive = self.decisive.take().unwrap_or(unit.len());
        if unit.is_empty() {
            return Ok(());
        }
        if self.kind.discards {
            self.ours = None;
        }
        if self.kind.ours && self.is_theirs {
            return self.refuse_mixture(end).await;
        }
        if self.kind.ours {
            return self.answer(&unit).await;
        }
        self.wait_for_ours().await?;
        let commits = match end {
            End::Ready => self.kind.commits || self.kind.writes,
            End::Flush => self.kind.commits,
            End::Nothing => false,
        };
        if commits && self.pid != Pid(0) {
            let unit = Unit {
                messages: unit,
                decisive,
                end,
            };
            return self.commit(unit).await;
        }
        self.ask(&unit).await
    }

    /// A pipeline that is partly for us has no one who could answer it in order.
    async fn refuse_mixture(&mut self, end: End) -> Result<(), Over> {
        self.wait_for_server().await?;
        let said =
            "statements that name the schema midcommit in one message or pipeline with others";
        let mut answer = error("0A000", &format!("{said} are not supported by the proxy"));
        if end == End::Ready {
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
        while self.owed.owes_ready() {
            self.server_message().await?;
        }
        Ok(())
    }

    /// Waits for the server to say something more.
    pub(super) async fn server_message(&mut self) -> Result<(), Over> {
        if self.server.read_buf(&mut self.from_server).await? == 0 {
            return Err(Over);
        }
        self.pass_replies().await
    }

    /// A COPY within what commits: the server waits for the client's data, or for the Sync behind it.
    /// Waits for more of either side, and passes that on.
    pub(super) async fn exchange(&mut self) -> Result<(), Over> {
        if let Some(collected) = &mut self.collected
            && (self.owed.is_copying() || collected.has_failed)
            && !collected.bytes.is_empty()
        {
            collected.passed += collected.bytes.len();
            let asked = collected.bytes.split();
            self.client.write_all(&asked).await?;
            self.client.flush().await?;
        }
        loop {
            if self.passing > 0 {
                let length = self.passing.min(self.from_client.len());
                let part = self.from_client.split_to(length);
                self.passing -= length;
                self.send(&part).await?;
            }
            if self.passing > 0 || self.owed.owes_ready() {
                break;
            }
            let Some(header) = self.from_client.get(..5) else {
                break;
            };
            self.owed.asked(header[0]);
            let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
            self.passing = (length as usize).max(4) + 1;
        }
        if self.owed.owes_ready() && self.passing == 0 {
            return Ok(());
        }
        self.from_client.reserve(CHUNK);
        self.from_server.reserve(CHUNK);
        let (from_server, read) = tokio::select! {
            biased;
            read = self.server.read_buf(&mut self.from_server) => (true, read?),
            read = self.client.read_buf(&mut self.from_client) => (false, read?),
        };
        match read {
            0 => Err(Over),
            _ if from_server => self.pass_replies().await,
            _ => Ok(()),
        }
    }

    /// Sends messages to the server, and notes what it owes for them.
    pub(super) async fn ask(&mut self, messages: &[u8]) -> Result<(), Over> {
        for tag in tags(messages) {
            self.owed.asked(tag);
        }
        self.send(messages).await
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
        self.owed.told(&told);
        match told {
            Told::Ready(status) => {
                self.status = status;
                self.has_failed = false;
                if let Some(collected) = &mut self.collected {
                    collected.is_ready = true;
                }
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
            Told::Row(_) | Told::CopyIn => {}
        }
    }
}
