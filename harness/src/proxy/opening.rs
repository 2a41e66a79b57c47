//! A client's first bytes: encryption is refused, a cancel request is passed on, and a session gets
//! a connection to the server.

use std::rc::Rc;

use bytes::BytesMut;
use fake_pg::wire::frontend::{self, Opening, Startup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Shared;
use super::relay::Relay;
use super::replies::{fatal, unencrypted};
use crate::live::listen::plain;

/// No opening is longer.
const OPENING_MAX: usize = 10_000;

/// Serves one connection from its first byte to its last.
pub(super) async fn connection(shared: Rc<Shared>, mut client: TcpStream) {
    let mut input = BytesMut::new();
    loop {
        let raw = input.clone();
        match frontend::opening(&mut input) {
            Ok(Some(request @ (Opening::Ssl | Opening::GssEnc))) => {
                let what = match request {
                    Opening::Ssl => "SSL request",
                    _ => "GSSAPI encryption request",
                };
                if refuse_encryption(&mut client, what, &input).await.is_none() {
                    return;
                }
            }
            Ok(Some(Opening::Cancel { pid, key })) => {
                return cancel(&shared, (pid, key), &raw[..raw.len() - input.len()]).await;
            }
            Ok(Some(Opening::Startup(startup))) => {
                let packet = &raw[..raw.len() - input.len()];
                return session(shared, client, &startup, packet, input).await;
            }
            Ok(None) if input.len() < OPENING_MAX => match client.read_buf(&mut input).await {
                Ok(1..) => {}
                _ => return,
            },
            // The real server only logs it.
            _ => return,
        }
    }
}

/// Says no. Whoever has said more before the answer is hung up on, as by the real server.
///
/// Source: `ProcessStartupPacket` in `postmaster/postmaster.c`.
async fn refuse_encryption(client: &mut TcpStream, what: &str, more: &[u8]) -> Option<()> {
    client.write_all(b"N").await.ok()?;
    if more.is_empty() {
        return Some(());
    }
    client.write_all(&unencrypted(what)).await.ok()?;
    client.shutdown().await.ok()?;
    None
}

/// Cancels what we are answering, or has the server cancel what it is.
async fn cancel(shared: &Shared, whose: (i32, i32), packet: &[u8]) {
    let answering = shared.keys.borrow().get(&whose).and_then(|a| a.get());
    if let Some((pid, key)) = answering {
        shared.ours.borrow_mut().cancel(pid, key);
        return;
    }
    if let Ok(mut server) = TcpStream::connect(shared.to).await
        && server.write_all(packet).await.is_ok()
    {
        // The server closes when it has done it; the client waits for that, through us.
        let _ = server.read(&mut [0]).await;
    }
}

async fn session(
    shared: Rc<Shared>,
    mut client: TcpStream,
    startup: &Startup,
    packet: &[u8],
    rest: BytesMut,
) {
    let connected = TcpStream::connect(shared.to).await;
    let sent = match connected {
        Ok(mut server) => {
            let _ = server.set_nodelay(true);
            server.write_all(packet).await.map(|()| server)
        }
        Err(error) => Err(error),
    };
    match sent {
        Ok(server) => {
            Relay::new(shared, client, server, startup, rest)
                .run()
                .await
        }
        Err(error) => {
            let said = format!(
                "midcommit proxy cannot connect to {}: {}",
                shared.to,
                plain(&error)
            );
            // Nobody is left to tell if this fails.
            let _ = client.write_all(&fatal("08001", &said)).await;
        }
    }
}
