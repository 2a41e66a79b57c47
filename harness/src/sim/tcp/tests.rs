//! What a connection does, as its two ends see it.

use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::*;
use crate::sim::hosts::Hosts;
use crate::sim::hosts::tests::{TICK, in_steps};

/// What is noted, with when it was, in ticks.
#[derive(Clone, Default)]
struct Notes(Rc<RefCell<Vec<String>>>);

impl Notes {
    fn note(&self, what: &str) {
        let now = World::with(World::now);
        let ticks = now.as_micros() / TICK.as_micros();
        self.0.borrow_mut().push(format!("{ticks} {what}"));
    }

    fn outcome<T: std::fmt::Debug>(&self, what: &str, outcome: &io::Result<T>) {
        match outcome {
            Ok(value) => self.note(&format!("{what} {value:?}")),
            Err(error) => self.note(&format!("{what} {:?}", error.kind())),
        }
    }
}

/// Runs a server, host 0, and a client, host 1, and says what they note.
fn between<S, C>(
    server: impl Fn(Notes, TcpListener) -> S + 'static,
    client: impl Fn(Notes) -> C + 'static,
    meanwhile: impl FnMut(&World, &mut Hosts, u32),
) -> Vec<String>
where
    S: Future<Output = ()> + 'static,
    C: Future<Output = ()> + 'static,
{
    let notes = Notes::default();
    let (ours, theirs) = (notes.clone(), notes.clone());
    in_steps(
        30,
        |hosts| {
            let server = Rc::new(server);
            hosts.add("server", move || {
                let (notes, server) = (ours.clone(), server.clone());
                async move { server(notes, TcpListener::bind(0, 1)).await }
            });
            let client = Rc::new(client);
            hosts.add("client", move || {
                let (notes, client) = (theirs.clone(), client.clone());
                async move { client(notes).await }
            });
            // So that no step is passed over.
            hosts.add("clock", || async {
                loop {
                    sleep(TICK).await;
                }
            });
        },
        meanwhile,
    );
    notes.0.take()
}

async fn for_ever<T>(_: T) {
    std::future::pending().await
}

#[test]
fn a_segment_takes_a_tick_and_is_read_as_it_was_written() {
    let server = async |notes: Notes, listener: TcpListener| {
        let (mut tcp, from) = listener.accept().await;
        notes.note(&format!("accepts {from}"));
        let mut buf = [0; 8];
        for _ in 0..2 {
            let read = tcp.read(&mut buf).await;
            notes.outcome("reads", &read);
        }
        for_ever(tcp).await
    };
    let client = async |notes: Notes| {
        let mut tcp = TcpStream::connect(1, 0, 1).await.unwrap();
        notes.note("is connected");
        tcp.write_all(b"abc").await.unwrap();
        tcp.write_all(b"de").await.unwrap();
        for_ever(tcp).await
    };
    assert_eq!(
        between(server, client, |_, _, _| {}),
        [
            "1 accepts 192.168.0.2:49152",
            "1 is connected",
            "2 reads 3",
            "2 reads 2"
        ]
    );
}

#[test]
fn dropped_with_unread_data_it_is_reset_and_without_it_is_closed() {
    let server = async |_: Notes, listener: TcpListener| {
        for unread in [false, true] {
            let (mut tcp, _) = listener.accept().await;
            tcp.write_all(b"last").await.unwrap();
            sleep(3 * TICK).await;
            if !unread {
                tcp.read_u8().await.unwrap();
            }
        }
        for_ever(listener).await
    };
    let client = async |notes: Notes| {
        for _ in 0..2 {
            let mut tcp = TcpStream::connect(1, 0, 1).await.unwrap();
            tcp.write_u8(1).await.unwrap();
            let mut buf = [0; 8];
            for _ in 0..2 {
                let read = tcp.read(&mut buf).await;
                notes.outcome("reads", &read);
            }
        }
        for_ever(()).await
    };
    assert_eq!(
        between(server, client, |_, _, _| {}),
        [
            "2 reads 4",
            "5 reads 0",
            "7 reads 4",
            "10 reads ConnectionReset"
        ]
    );
}

#[test]
fn a_partition_refuses_at_once_and_what_was_open_passes_nothing_any_more() {
    let server = async |notes: Notes, listener: TcpListener| {
        let (mut before, _) = listener.accept().await;
        let (mut after, _) = listener.accept().await;
        let read = after.read_u8().await;
        notes.outcome("reads", &read);
        // What came behind the hole would be taken for what was lost in it.
        let read = before.read_u8().await;
        notes.outcome("reads", &read);
        for_ever((before, after, listener)).await
    };
    let client = async |notes: Notes| {
        let mut tcp = TcpStream::connect(1, 0, 1).await.unwrap();
        sleep(TICK).await;
        tcp.write_u8(1).await.unwrap();
        sleep(2 * TICK).await;
        let again = TcpStream::connect(1, 0, 1).await;
        notes.outcome("connects", &again.map(drop));
        sleep(2 * TICK).await;
        tcp.write_u8(2).await.unwrap();
        let mut again = TcpStream::connect(1, 0, 1).await.unwrap();
        again.write_u8(3).await.unwrap();
        for_ever((tcp, again)).await
    };
    let meanwhile = |world: &World, _: &mut Hosts, tick: u32| match tick {
        3 => world.network.partition(0, 1),
        5 => world.network.repair(0, 1),
        _ => {}
    };
    assert_eq!(
        between(server, client, meanwhile),
        ["4 connects ConnectionRefused", "8 reads 3"]
    );
}

#[test]
fn a_host_that_ends_closes_its_sockets_and_knows_none_when_it_is_up_again() {
    let server = async |_: Notes, listener: TcpListener| {
        let (tcp, _) = listener.accept().await;
        // A task that the host does not know of, and that lives on.
        #[allow(clippy::disallowed_methods)]
        tokio::spawn(for_ever(tcp));
        for_ever(listener).await
    };
    let client = async |notes: Notes| {
        let mut tcp = TcpStream::connect(1, 0, 1).await.unwrap();
        let read = tcp.read(&mut [0; 8]).await;
        notes.outcome("reads", &read);
        notes.outcome("writes", &tcp.write_u8(1).await);
        sleep(5 * TICK).await;
        notes.outcome("writes", &tcp.write_u8(1).await);
        let again = TcpStream::connect(1, 0, 1).await;
        notes.outcome("connects", &again.map(drop));
        for_ever(tcp).await
    };
    let meanwhile = |_: &World, hosts: &mut Hosts, tick: u32| match tick {
        4 => hosts.end(0),
        8 => hosts.start(0),
        _ => {}
    };
    assert_eq!(
        between(server, client, meanwhile),
        // What is written while it is down is answered by a reset once it is up.
        [
            "4 reads 0",
            "4 writes ()",
            "9 writes BrokenPipe",
            "10 connects ()"
        ]
    );
}
