//! COPY's part of the protocol: data in pieces until the client says it is done, or all at once
//! the other way.
//!
//! Source: `CopyGetData` in `commands/copyfromparse.c`.

use std::sync::Arc;

use bytes::{Buf, BytesMut};

use super::Session;
use super::portal::PortalState;
use crate::error::{PgError, SqlState};
use crate::sql::Copying;
use crate::types::Datum;
use crate::wire::{backend, frontend};

/// What has arrived so far.
#[derive(Debug, Default)]
pub(super) struct CopyIn {
    data: Vec<u8>,
}

/// What came of looking for more.
pub(super) enum Received {
    /// It is not over.
    More,
    /// It is.
    All(Vec<u8>),
}

impl Session {
    /// What a portal is to copy into a table, if it has not got it yet.
    pub(super) fn awaits_copy(&mut self, portal: &str) -> Option<Arc<Copying>> {
        let PortalState::Bound(running) = &self.portal(portal)?.state else {
            return None;
        };
        let copying = running.prepared.copying()?;
        (copying.incoming && running.params.is_empty()).then(|| copying.clone())
    }

    /// Gives a portal what it is to copy.
    pub(super) fn give_copy(&mut self, portal: &str, data: Vec<u8>) {
        if let Some(portal) = self.portal(portal)
            && let PortalState::Bound(running) = &mut portal.state
        {
            running.params = vec![Datum::Bytea(data.into())];
        }
    }

    /// Asks for the data of COPY FROM STDIN.
    pub(super) fn begin_copy_in(&mut self, copying: &Copying) -> CopyIn {
        let format = copying.is_binary();
        backend::copy_response(&mut self.output, true, format, copying.columns.len());
        self.flush();
        CopyIn::default()
    }

    /// Takes in what has arrived.
    pub(super) fn receive_copy(&mut self, copy: &mut CopyIn) -> Result<Received, PgError> {
        self.interrupt()?;
        loop {
            let frame = match frontend::frame(&self.input) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(Received::More),
                Err(_) => {
                    return Err(PgError::protocol_violation(
                        "invalid frontend message in COPY",
                    ));
                }
            };
            let mut input = std::mem::take(&mut self.input);
            let body = frame.body(&input);
            let outcome = match frame.tag {
                b'd' => {
                    copy.data.extend_from_slice(body);
                    None
                }
                b'c' => Some(Ok(Received::All(std::mem::take(&mut copy.data)))),
                b'f' => {
                    let end = body.iter().position(|&byte| byte == 0);
                    let said = String::from_utf8_lossy(&body[..end.unwrap_or(body.len())]);
                    Some(Err(PgError::new(
                        SqlState::QUERY_CANCELED,
                        format!("COPY from stdin failed: {said}"),
                    )))
                }
                // Clients that pipeline may have sent these without knowing.
                b'H' | b'S' => None,
                other => Some(Err(PgError::new(
                    SqlState::PROTOCOL_VIOLATION,
                    format!("unexpected message type 0x{other:02X} during COPY from stdin"),
                ))),
            };
            input.advance(frame.length);
            self.input = input;
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
    }

    /// Writes the rows of COPY TO STDOUT.
    pub(super) fn send_copy(
        &mut self,
        copying: &Copying,
        rows: &[Vec<Datum>],
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
        if let Some(piece) = copying.tail() {
            backend::copy_data(output, &piece);
        }
        backend::copy_done(output);
        Ok(())
    }
}
