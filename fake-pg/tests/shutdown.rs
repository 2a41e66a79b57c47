//! What a shutdown says to those who are there, and to those who come too late.

use std::cell::RefCell;
use std::rc::Rc;

use fake_pg::connection;
use fake_pg::engine::{Engine, Timestamp};
use fake_pg::postmaster::{Postmaster, Shutdown};
use fake_pg::session::Undisturbed;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::LocalSet;

async fn open(postmaster: &Rc<RefCell<Postmaster>>) -> DuplexStream {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let postmaster = Rc::clone(postmaster);
    tokio::task::spawn_local(connection::serve(postmaster, server));
    let mut startup = bytes::BytesMut::new();
    frontend::startup_message([("user", "postgres")], &mut startup).unwrap();
    client.write_all(&startup).await.unwrap();
    client
}

/// All that is said until nothing more comes.
async fn heard(client: &mut DuplexStream) -> String {
    let mut heard = Vec::new();
    let quiet = std::time::Duration::from_millis(10);
    while let Ok(Ok(1..)) = tokio::time::timeout(quiet, client.read_buf(&mut heard)).await {}
    String::from_utf8_lossy(&heard).into_owned()
}

async fn check(shutdown: fn(&mut Postmaster), told: &str, late: &str) {
    let clock = Box::new(|| Timestamp(0));
    let postmaster = Postmaster::new(Engine::new(), Box::new(Undisturbed), clock);
    let postmaster = Rc::new(RefCell::new(postmaster));
    let mut client = open(&postmaster).await;
    heard(&mut client).await;
    shutdown(&mut postmaster.borrow_mut());
    let said = heard(&mut client).await;
    assert!(said.contains(told), "{said:?} says {told:?}");
    let said = heard(&mut open(&postmaster).await).await;
    assert!(said.contains(late), "{said:?} says {late:?}");
    drop(client);
    heard(&mut open(&postmaster).await).await;
    assert!(postmaster.borrow().is_stopped());
    postmaster.borrow_mut().crash();
    assert!(!postmaster.borrow().is_stopped());
}

#[tokio::test(start_paused = true)]
async fn sessions_are_told_why_they_end() {
    // Measured on PostgreSQL 15.18.
    let late = "57P03\0Mthe database system is shutting down";
    type Case = (fn(&mut Postmaster), &'static str);
    let cases: [Case; 4] = [
        (
            |server| server.shutdown(Shutdown::Fast),
            "FATAL\0C57P01\0Mterminating connection due to administrator command",
        ),
        (
            |server| server.shutdown(Shutdown::Immediate),
            "WARNING\0C57P01\0Mterminating connection due to immediate shutdown command",
        ),
        (
            Postmaster::quit_for_crash,
            "WARNING\0C57P02\0Mterminating connection because of crash of another server process",
        ),
        (|server| server.shutdown(Shutdown::Smart), ""),
    ];
    for (shutdown, told) in cases {
        LocalSet::new().run_until(check(shutdown, told, late)).await;
    }
}
