//! COPY's part of the protocol: data in pieces until the client says it is done, or all at once
//! the other way.
//!
//! While it waits for data, only what ends the session is heard at once: a cancel and a time-out
//! when a row has been read. What is no message of COPY's can not be passed over, as nobody knows
//! where it ends.
//!
//! Source: `CopyGetData` in `commands/copyfromparse.c`, `CopyFrom` in `commands/copyfrom.c`.

use bytes::{Buf, BytesMut};

use super::Session;
use super::run::Running;
use crate::engine::{Engine, Halt, Timestamp};
use crate::error::{PgError, SqlState};
use crate::sql::{self, CommandTag, CopyPart, Copying, Incoming};
use crate::types::Datum;
use crate::wire::{backend, frontend};

/// A COPY FROM STDIN, and how far it has got.
#[derive(Debug)]
pub(super) struct CopyIn {
    pub(super) running: Running,
    incoming: Incoming,
    part: CopyPart,
    /// The client has sent all.
    complete: bool,
    /// It waits for another session.
    pub(super) waits: bool,
}

impl CopyIn {
    pub(super) fn new(running: Running) -> CopyIn {
        CopyIn {
            running,
            incoming: Incoming::default(),
            part: CopyPart::Begin,
            complete: false,
            waits: false,
        }
    }
}

/// What came of going on with it.
pub(super) enum Copied {
    /// It needs more bytes.
    More,
    /// It is done.
    All(CommandTag),
    /// The client can not be followed any more.
    Lost(PgError),
}

/// What came of looking for a message.
enum Received {
    /// One was taken in.
    Some,
    /// There is none yet.
    None,
    /// What there is can not be one.
    Lost(PgError),
}

impl Session {
    /// Goes on with COPY FROM STDIN.
    pub(super) fn run_copy(
        &mut self,
        copy: &mut CopyIn,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<Copied, Halt> {
        if copy.part == CopyPart::Begin {
            self.bind_copy(&mut copy.running, engine)?;
        }
        let Some(copying) = copy.running.prepared.copying().cloned() else {
            return Ok(Copied::All(CommandTag::Copy(0)));
        };
        loop {
            let done = self.copy_part(copy, &copying, engine, now)?;
            copy.part = match copy.part {
                CopyPart::Begin => {
                    let (format, columns) = (copying.is_binary(), copying.columns.len());
                    backend::copy_response(&mut self.output, true, format, columns);
                    self.flush();
                    CopyPart::Look
                }
                CopyPart::Look if done => {
                    if copy.running.prepared.copy_is_full(&mut copy.incoming) {
                        CopyPart::Write
                    } else {
                        self.hear_self(engine);
                        self.interrupt_copy(copy, &copying, now)?;
                        CopyPart::Look
                    }
                }
                CopyPart::Look if copy.complete && copy.incoming.has_rows() => {
                    self.hear_self(engine);
                    self.interrupt_copy(copy, &copying, now)?;
                    CopyPart::Write
                }
                CopyPart::Look if copy.complete => CopyPart::Fire,
                CopyPart::Look => match self.receive_copy(copy, &copying) {
                    Ok(Received::Some) => CopyPart::Look,
                    Ok(Received::None) => return Ok(Copied::More),
                    Ok(Received::Lost(error)) => {
                        return Ok(Copied::Lost(copy.incoming.locate(error, &copying)));
                    }
                    Err(error) => return Err(copy.incoming.locate(error, &copying).into()),
                },
                CopyPart::Write => {
                    self.hear_self(engine);
                    self.interrupt_copy(copy, &copying, now)?;
                    CopyPart::Look
                }
                CopyPart::Fire => {
                    // Measured on PostgreSQL 15.18: a time-out that nobody looked for is a cancel
                    // to the next statement.
                    self.cancelled |= self.timer.is_some_and(|timer| timer <= now);
                    return Ok(Copied::All(CommandTag::Copy(copy.incoming.written())));
                }
            };
        }
    }

    /// Who has waited for the table binds the statement to what has become of it.
    fn bind_copy(&mut self, running: &mut Running, engine: &Engine) -> Result<(), PgError> {
        let Some(tx) = self.block.live() else {
            return Err(PgError::in_failed_transaction());
        };
        if running.prepared.is_stale(engine, tx) {
            running.prepared = sql::prepare(engine, tx, running.prepared.statement(), &[])?;
        }
        Ok(())
    }

    /// What may end it between two rows.
    fn interrupt_copy(
        &mut self,
        copy: &CopyIn,
        copying: &Copying,
        now: Timestamp,
    ) -> Result<(), PgError> {
        let interrupted = self.interrupt_running(&copy.running, now);
        interrupted.map_err(|error| copy.incoming.locate(error, copying))
    }

    /// Executes the part it has got to.
    fn copy_part(
        &mut self,
        copy: &mut CopyIn,
        copying: &Copying,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<bool, Halt> {
        if std::mem::take(&mut copy.waits) {
            self.hear_self(engine);
            match copy.part {
                CopyPart::Write => self.interrupt_copy(copy, copying, now)?,
                _ => self.interrupt_running(&copy.running, now)?,
            }
        }
        let CopyIn {
            running,
            incoming,
            part,
            ..
        } = copy;
        // It is not over, as a cursor is not.
        running.is_cursor = *part != CopyPart::Fire;
        let done = self.attempt_by(running, engine, now, |prepared, _, context| {
            prepared.copy(*part, incoming, context)
        });
        copy.waits = matches!(done, Err(Halt::Wait(_)));
        done
    }

    /// Takes in the next message.
    fn receive_copy(&mut self, copy: &mut CopyIn, copying: &Copying) -> Result<Received, PgError> {
        let unexpected_eof = || {
            Received::Lost(PgError::new(
                SqlState::CONNECTION_FAILURE,
                "unexpected EOF on client connection with an open transaction",
            ))
        };
        if let Some(&tag) = self.input.first()
            && !matches!(tag, b'd' | b'c' | b'f' | b'H' | b'S')
        {
            return Ok(Received::Lost(PgError::new(
                SqlState::PROTOCOL_VIOLATION,
                format!("unexpected message type 0x{tag:02X} during COPY from stdin"),
            )));
        }
        let frame = match frontend::frame(&self.input) {
            Ok(Some(frame)) => frame,
            Ok(None) if self.terminated => return Err(PgError::admin_shutdown()),
            Ok(None) if self.ended => return Ok(unexpected_eof()),
            Ok(None) => return Ok(Received::None),
            Err(_) => return Ok(unexpected_eof()),
        };
        let mut input = std::mem::take(&mut self.input);
        let body = frame.body(&input);
        let taken = match frame.tag {
            b'd' => copy.incoming.push(body, copying),
            b'c' => {
                copy.incoming.complete();
                copy.complete = true;
                Ok(())
            }
            b'f' => Err(match body.iter().position(|&byte| byte == 0) {
                Some(end) => {
                    let said = String::from_utf8_lossy(&body[..end]);
                    let message = format!("COPY from stdin failed: {said}");
                    PgError::new(SqlState::QUERY_CANCELED, message)
                }
                None => {
                    let message = frontend::Malformed::UnterminatedString.to_string();
                    PgError::new(SqlState::PROTOCOL_VIOLATION, message)
                }
            }),
            // Clients that pipeline may have sent Flush and Sync without knowing.
            _ => Ok(()),
        };
        input.advance(frame.length);
        self.input = input;
        taken.map(|()| Received::Some)
    }

    /// The error of a client that can not be followed any more, and the end.
    ///
    /// Source: `PostgresMain` in `tcop/postgres.c`, where `pq_is_reading_msg`.
    pub(super) fn lose_synchronization(&mut self, error: PgError, engine: &mut Engine) {
        self.fail(error, engine);
        self.fatal(PgError::protocol_violation(
            "terminating connection because protocol synchronization was lost",
        ));
    }

    /// Writes the rows of COPY TO STDOUT, to the end unless it has failed.
    pub(super) fn send_copy(
        &mut self,
        copying: &Copying,
        rows: &[Vec<Datum>],
        complete: bool,
    ) -> Result<(), PgError> {
        let output: &mut BytesMut = &mut self.output;
        let format = copying.is_binary();
        backend::copy_response(output, false, format, copying.columns.len());
        if let Some(piece) = copying.head() {
            backend::copy_data(output, &piece);
        }
        for row in rows {
            backend::copy_data(output, &copying.row(row)?);
        }
        if !complete {
            return Ok(());
        }
        if let Some(piece) = copying.tail() {
            backend::copy_data(output, &piece);
        }
        backend::copy_done(output);
        Ok(())
    }
}
