//! `serve` and `proxy`: the commands that stay.
//!
//! One line on standard output says where they listen; what no client is told goes to standard error.

use std::io;
use std::net::SocketAddr;

use super::Shell;
use super::args::{Auth, Cli, Format, Proxy, Serve};
use super::exit::Exit;
use fake_pg::session::Authentication;

use crate::live::listen::{make_room, signalled};
use crate::{proxy, serve};

/// As many as a proxy makes room for: each client costs it two connections.
const PROXIED_MAX: usize = 4000;

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
        self.make_room(args.max_connections);
        let options = serve::Options {
            listen: args.listen.clone(),
            allow_remote: args.allow_remote,
            schema: args.schema.clone(),
            connections_max: args.max_connections,
            authentication: match args.auth {
                Auth::Trust => Authentication::Trust,
                Auth::Md5 => Authentication::Md5,
                Auth::Scram => Authentication::Scram,
            },
        };
        block_on(async {
            // A signal that comes early ends it, too.
            let stop = signalled()?;
            let server = match serve::Server::start(&options).await {
                Ok(server) => server,
                Err(complaint) => return Ok(self.complain(&complaint, Exit::Usage)),
            };
            self.listening(cli, "serve", server.address(), "")?;
            server.run(stop, |said| self.tell("serve", said)).await;
            Ok(Exit::Ok)
        })?
    }

    pub(super) fn proxy(&mut self, cli: &Cli, args: &Proxy) -> io::Result<Exit> {
        self.make_room(PROXIED_MAX);
        let options = proxy::Options {
            to: args.to.clone(),
            listen: args.listen.clone(),
            allow_remote: args.allow_remote,
        };
        block_on(async {
            let stop = signalled()?;
            let proxy = match proxy::Proxy::start(&options).await {
                Ok(proxy) => proxy,
                Err(complaint) => return Ok(self.complain(&complaint, Exit::Usage)),
            };
            let to = format!(" in front of {}", proxy.to());
            self.listening(cli, "proxy", proxy.address(), &to)?;
            proxy.run(stop, |said| self.tell("proxy", said)).await;
            Ok(Exit::Ok)
        })?
    }

    fn make_room(&mut self, connections: usize) {
        if let Err(lacking) = make_room(connections) {
            // It serves as many as there is room for.
            let _ = writeln!(self.err, "warning: {lacking}");
        }
    }

    fn tell(&mut self, command: &str, said: &str) {
        // Nobody is left to tell if this fails.
        let _ = writeln!(self.err, "midcommit {command}: {said}");
    }

    /// Says where it listens, at once: whoever started it waits for that line.
    fn listening(
        &mut self,
        cli: &Cli,
        command: &str,
        address: SocketAddr,
        to: &str,
    ) -> io::Result<()> {
        let (host, port) = (address.ip().to_string(), address.port());
        let psql = format!("psql -h {host} -p {port} -U postgres -d postgres");
        match cli.format {
            Format::Text => writeln!(
                self.out,
                "midcommit {command} listens on {address}{to}; try: {psql}"
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

/// One thread does it all.
fn block_on<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(tokio::task::LocalSet::new().block_on(&runtime, work))
}
