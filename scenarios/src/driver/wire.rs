//! The part of libpq that both drivers stand on: one connection, one query at a time.
//!
//! A query goes out whole; what comes back waits in the socket until it is
//! consumed, and in libpq's buffer until it is asked for. How long to wait, and
//! whether a signal may end the wait, is the driver's business: nothing here
//! knows of Python.
//!
//! Source: `fe-exec.c`, `fe-protocol3.c` and `fe-cancel.c` of libpq 17.

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use midcommit::{Env, Stream};
use postgres_protocol::message::backend::{ErrorResponseBody, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A connection: `PGconn`.
pub(crate) struct PgConn {
    /// Gone once the connection is closed or lost.
    stream: Option<Stream>,
    /// Bytes that are still the socket's.
    socket: BytesMut,
    /// The socket is at its end; libpq learns of it when it has consumed what came before.
    at_end: bool,
    /// Bytes that libpq has consumed and not parsed.
    input: BytesMut,
    state: State,
    result: Option<QueryResult>,
    /// As the last ReadyForQuery said.
    block: TransactionStatus,
    key: CancelKey,
}

/// `PGAsyncStatusType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No query is under way.
    Idle,
    /// A query is, and its next result is not there yet.
    Busy,
    /// A result is there to be taken.
    Ready,
}

/// `PGTransactionStatusType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransactionStatus {
    Idle,
    /// A query is under way: nothing is known until its last result has been taken.
    Active,
    InTrans,
    InError,
    /// There is no connection.
    Unknown,
}

impl TransactionStatus {
    /// Its name, as psycopg 3 prints it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            TransactionStatus::Idle => "IDLE",
            TransactionStatus::Active => "ACTIVE",
            TransactionStatus::InTrans => "INTRANS",
            TransactionStatus::InError => "INERROR",
            TransactionStatus::Unknown => "UNKNOWN",
        }
    }
}

/// What a query came to: the server may have objected.
pub(crate) type QueryResult = Result<(), ServerError>;

/// An ErrorResponse; or, without a code, a connection that is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerError {
    pub(crate) sqlstate: Option<String>,
    pub(crate) message: String,
}

impl ServerError {
    /// The client's own complaint.
    pub(crate) fn local(message: &str) -> ServerError {
        ServerError {
            sqlstate: None,
            message: message.to_owned(),
        }
    }

    fn lost() -> ServerError {
        ServerError::local("server closed the connection unexpectedly")
    }

    fn of(body: &ErrorResponseBody) -> ServerError {
        let (mut sqlstate, mut message) = (None, String::new());
        let mut fields = body.fields();
        while let Ok(Some(field)) = fields.next() {
            let value = || String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'C' => sqlstate = Some(value()),
                b'M' => message = value(),
                _ => {}
            }
        }
        ServerError { sqlstate, message }
    }
}

/// What a CancelRequest must name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CancelKey {
    pid: i32,
    secret: i32,
}

impl PgConn {
    /// `PQconnectdb`.
    pub(crate) async fn connect(env: &Env) -> Result<PgConn, ServerError> {
        let stream = env.stream("pg").await;
        let mut connection = PgConn {
            stream: Some(stream.map_err(|error| ServerError::local(&error.to_string()))?),
            socket: BytesMut::new(),
            at_end: false,
            input: BytesMut::new(),
            // The start-up's answer ends as a query's does.
            state: State::Busy,
            result: None,
            block: TransactionStatus::Unknown,
            key: CancelKey { pid: 0, secret: 0 },
        };
        let mut startup = BytesMut::new();
        frontend::startup_message(
            [("user", "postgres"), ("database", "postgres")],
            &mut startup,
        )
        .expect("no parameter holds a zero byte");
        connection.send(&startup).await;
        connection.exec_finish().await?;
        Ok(connection)
    }

    /// `PQsendQuery`: puts a query on its way. A loss is noticed when its result is asked for.
    pub(crate) async fn send_query(&mut self, sql: &str) -> Result<(), ServerError> {
        if self.stream.is_none() {
            return Err(ServerError::local("no connection to the server"));
        }
        if self.state != State::Idle {
            return Err(ServerError::local("another command is already in progress"));
        }
        let mut query = BytesMut::new();
        frontend::query(sql, &mut query).expect("no query holds a zero byte");
        self.state = State::Busy;
        self.send(&query).await;
        Ok(())
    }

    async fn send(&mut self, bytes: &[u8]) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let sent = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        // A failed write is no answer: what the server said before it hung up is still to be read.
        let _unsent: std::io::Result<()> = sent.await;
    }

    /// `select`: until the socket has something to read, be it its end. May be given up at any await.
    pub(crate) async fn readable(&mut self) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        if self.at_end || !self.socket.is_empty() {
            return;
        }
        match stream.read_buf(&mut self.socket).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => self.at_end = true,
        }
    }

    /// `PQconsumeInput`: takes over what the socket has.
    pub(crate) fn consume_input(&mut self) -> Result<(), ServerError> {
        if self.socket.is_empty() && (self.at_end || self.stream.is_none()) {
            self.drop_connection();
            return Err(ServerError::lost());
        }
        self.input.unsplit(self.socket.split());
        Ok(())
    }

    /// `PQisBusy`: whether asking for a result would block.
    pub(crate) fn is_busy(&mut self) -> bool {
        self.parse();
        self.state == State::Busy
    }

    /// `PQgetResult`, when it would not block: the next result; `None` when the query is over.
    pub(crate) fn get_result(&mut self) -> Option<QueryResult> {
        self.parse();
        let result = self.result.take()?;
        // That it was the last one is not known before the next look at the input.
        self.state = State::Busy;
        Some(result)
    }

    /// `PQexec`: sends a query and blocks until it is over. The first error counts.
    pub(crate) async fn exec(&mut self, sql: &str) -> QueryResult {
        self.send_query(sql).await?;
        self.exec_finish().await
    }

    async fn exec_finish(&mut self) -> QueryResult {
        let mut outcome = Ok(());
        loop {
            while self.is_busy() {
                self.readable().await;
                if let Err(lost) = self.consume_input() {
                    return outcome.and(Err(lost));
                }
            }
            match self.get_result() {
                Some(result) => outcome = outcome.and(result),
                None => return outcome,
            }
        }
    }

    /// `PQtransactionStatus`.
    pub(crate) fn transaction_status(&self) -> TransactionStatus {
        match (&self.stream, self.state) {
            (None, _) => TransactionStatus::Unknown,
            (Some(_), State::Idle) => self.block,
            (Some(_), State::Busy | State::Ready) => TransactionStatus::Active,
        }
    }

    /// Whether `PQstatus` is `CONNECTION_BAD`.
    pub(crate) fn is_bad(&self) -> bool {
        self.stream.is_none()
    }

    /// What cancels this connection's query: `PQcancelCreate`.
    pub(crate) fn cancel_key(&self) -> CancelKey {
        self.key
    }

    /// `PQfinish`: says good-bye and closes.
    pub(crate) async fn finish(&mut self) {
        let mut terminate = BytesMut::new();
        frontend::terminate(&mut terminate);
        self.send(&terminate).await;
        self.drop_connection();
    }

    /// `pqDropConnection`: there is nothing more to expect.
    fn drop_connection(&mut self) {
        self.stream = None;
        self.state = State::Idle;
    }

    /// `pqParseInput3`: until a result is there, or the input says no more.
    fn parse(&mut self) {
        while self.state == State::Busy {
            let message = match Message::parse(&mut self.input) {
                Ok(Some(message)) => message,
                Ok(None) => return,
                Err(error) => {
                    self.finish_with(Err(ServerError::local(&error.to_string())));
                    return self.drop_connection();
                }
            };
            match message {
                Message::CommandComplete(_) | Message::EmptyQueryResponse => {
                    self.finish_with(Ok(()));
                }
                Message::ErrorResponse(body) => self.finish_with(Err(ServerError::of(&body))),
                Message::ReadyForQuery(body) => {
                    self.block = match body.status() {
                        b'I' => TransactionStatus::Idle,
                        b'T' => TransactionStatus::InTrans,
                        _ => TransactionStatus::InError,
                    };
                    self.state = State::Idle;
                }
                Message::BackendKeyData(body) => {
                    self.key = CancelKey {
                        pid: body.process_id(),
                        secret: body.secret_key(),
                    };
                }
                // Rows, notices and parameters tell these programs nothing.
                _ => {}
            }
        }
    }

    fn finish_with(&mut self, result: QueryResult) {
        self.result = Some(result);
        self.state = State::Ready;
    }
}

/// `PQcancelStart` and `PQcancelPoll`: asks the server to end that query, and waits until it hangs up.
pub(crate) async fn cancel(env: &Env, key: CancelKey) -> Result<(), ServerError> {
    let lost = |error: std::io::Error| ServerError::local(&error.to_string());
    let mut stream = env.stream("pg").await.map_err(lost)?;
    let mut request = BytesMut::new();
    frontend::cancel_request(key.pid, key.secret, &mut request);
    stream.write_all(&request).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    let mut nothing = [0];
    stream.read(&mut nothing).await.map_err(lost)?;
    Ok(())
}
