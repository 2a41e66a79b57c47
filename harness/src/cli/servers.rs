//! `serve`: the command that stays.
//!
//! One line on standard output says where it listens; what no client is told goes to standard error.

use std::io;
use std::net::SocketAddr;

use super::Shell;
use super::args::{Cli, Format, Listen, Serve};
use super::exit::Exit;
use crate::serve::{self, Options, Server};

/// Where one can connect.
#[derive(serde::Serialize)]
struct Address<'a> {
    address: SocketAddr,
    host: String,
    port: u16,
    psql: &'a str,
}

impl Shell<'_> {
    pub(super) fn serve(&mut self, cli: &Cli, args: &Serve) -> io::Result<Exit> {
        self.make_room(&args.listen);
        let options = Options {
            listen: args.listen.listen.clone(),
            allow_remote: args.listen.allow_remote,
            schema: args.schema.clone(),
            connections_max: args.listen.max_connections,
        };
        serve::block_on(async {
            // A signal that comes early ends it, too.
            let stop = serve::signalled()?;
            let server = match Server::start(&options).await {
                Ok(server) => server,
                Err(complaint) => return Ok(self.complain(&complaint, Exit::Usage)),
            };
            self.listening(cli, "serve", server.address())?;
            let err = &mut *self.err;
            server
                .run(stop, |said| {
                    // Nobody is left to tell if this fails.
                    let _ = writeln!(err, "midcommit serve: {said}");
                })
                .await;
            Ok(Exit::Ok)
        })?
    }

    fn make_room(&mut self, listen: &Listen) {
        if let Err(lacking) = serve::make_room(listen.max_connections) {
            // It serves as many as there is room for.
            let _ = writeln!(self.err, "warning: {lacking}");
        }
    }

    /// Says where it listens, at once: whoever started it waits for that line.
    fn listening(&mut self, cli: &Cli, command: &str, address: SocketAddr) -> io::Result<()> {
        let (host, port) = (address.ip().to_string(), address.port());
        let psql = format!("psql -h {host} -p {port} -U postgres -d postgres");
        match cli.format {
            Format::Text => writeln!(
                self.out,
                "midcommit {command} listens on {address}; try: {psql}"
            )?,
            Format::Json => self.json(&Address {
                address,
                host,
                port,
                psql: &psql,
            })?,
        }
        self.out.flush()
    }
}
