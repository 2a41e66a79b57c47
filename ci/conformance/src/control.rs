//! The control connection: questions to a real server, beside the sessions of a script.
//!
//! It waits for its answers, and no longer than a bound. What is asked, and when, is `real`'s.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::Message as Reply;
use postgres_protocol::message::frontend as client;

use crate::server::within;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A connection for questions, that waits for its answers.
pub(crate) struct Control {
    socket: TcpStream,
    input: BytesMut,
}

impl Control {
    /// Logs in to a database of this server.
    pub(crate) fn connect(address: SocketAddr, database: &str) -> Result<Control, String> {
        let told = |error: std::io::Error| format!("control connection: {error}");
        let mut socket = TcpStream::connect(address).map_err(told)?;
        socket.set_nodelay(true).map_err(told)?;
        socket.set_read_timeout(Some(LIMIT)).map_err(told)?;
        let mut startup = BytesMut::new();
        let parameters = [("user", "postgres"), ("database", database)];
        client::startup_message(parameters, &mut startup).map_err(told)?;
        socket.write_all(&startup).map_err(told)?;
        let input = BytesMut::new();
        let mut control = Control { socket, input };
        control.rows()?;
        Ok(control)
    }

    /// The rows of a query, as text; a null is empty.
    pub(crate) fn query(&mut self, sql: &str) -> Result<Vec<Vec<String>>, String> {
        let mut bytes = BytesMut::new();
        let told = |error: std::io::Error| format!("control connection: {error}");
        client::query(sql, &mut bytes).map_err(told)?;
        self.socket.write_all(&bytes).map_err(told)?;
        self.rows().map_err(|error| format!("{sql}: {error}"))
    }

    fn rows(&mut self) -> Result<Vec<Vec<String>>, String> {
        let told = |error: std::io::Error| format!("control connection: {error}");
        let (mut rows, mut failure) = (Vec::new(), None);
        loop {
            while let Some(reply) = Reply::parse(&mut self.input).map_err(told)? {
                match reply {
                    Reply::DataRow(body) => {
                        let ranges: Vec<_> = body.ranges().collect().map_err(told)?;
                        let values = ranges.into_iter().map(|range| {
                            let bytes = range.map(|range| &body.buffer()[range]);
                            String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
                        });
                        rows.push(values.collect());
                    }
                    Reply::ErrorResponse(body) => {
                        let fields = body.fields();
                        let mut message = fields.filter(|field| Ok(field.type_() == b'M'));
                        let message = message.next().map_err(told)?;
                        let message = message.map(|field| field.value_bytes().to_vec());
                        let message = message.unwrap_or_default();
                        failure = Some(String::from_utf8_lossy(&message).into_owned());
                    }
                    Reply::ReadyForQuery(_) => return failure.map_or(Ok(rows), Err),
                    _ => (),
                }
            }
            let mut chunk = [0; 8192];
            match self.socket.read(&mut chunk).map_err(told)? {
                0 => return Err(failure.unwrap_or("control connection: closed".into())),
                length => self.input.put_slice(&chunk[..length]),
            }
        }
    }

    /// The first two columns of a query.
    pub(crate) fn pairs(&mut self, sql: &str) -> Result<Vec<(String, String)>, String> {
        let rows = self.query(sql)?;
        let pairs = rows.into_iter().filter_map(|row| {
            let mut values = row.into_iter();
            Some((values.next()?, values.next()?))
        });
        Ok(pairs.collect())
    }

    /// Ends these backends, and waits until they are gone.
    pub(crate) fn end(&mut self, pids: &[i32]) -> Result<(), String> {
        let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
        let pids = pids.join(", ");
        let these = format!("pg_stat_get_activity(null) where pid in ({pids})");
        self.query(&format!("select pg_terminate_backend(pid) from {these}"))?;
        let left = format!("select pid from {these}");
        let mut failure = Ok(());
        let gone = within(LIMIT, || match self.query(&left) {
            Ok(rows) => rows.is_empty().then_some(()),
            Err(error) => {
                failure = Err(error);
                Some(())
            }
        });
        gone.ok_or("sessions do not end")?;
        failure
    }

    /// What these backends are about: `reads`, `waits`, or something that passes. Who waits for a
    /// lock has the time at which that wait began after it: one wait follows another.
    pub(crate) fn waits(&mut self, pids: &[i32]) -> Result<BTreeMap<i32, String>, String> {
        let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
        let rows = self.pairs(&format!(
            "select a.pid, case when wait_event = 'ClientRead' then 'reads' \
             when wait_event_type = 'Lock' and cardinality(pg_blocking_pids(a.pid)) > 0 \
             then 'waits ' || coalesce(l.waitstart::text, '') \
             when wait_event in ('PgSleep', 'SyncRep', 'SafeSnapshot') then 'waits' \
             else 'works' end \
             from pg_stat_get_activity(null) a \
             left join pg_lock_status() l on l.pid = a.pid and not l.granted \
             where a.pid in ({})",
            pids.join(", ")
        ))?;
        let rows = rows.into_iter();
        Ok(rows
            .filter_map(|(pid, about)| Some((pid.parse().ok()?, about)))
            .collect())
    }
}
