//! The row `canned`: the same work in bare turmoil.
//!
//! What anyone would write first: two hosts, tick and latency 10 ms, an exact kill,
//! a crash, a bounce. No history, no oracle, no broker, and the run ends at once.

use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use tokio_postgres::NoTls;
use turmoil::net::{TcpListener, TcpStream};

use crate::gate::{Gate, Process};
use crate::{server, work};

const TICK: Duration = Duration::from_millis(10);
/// How long a killed process stays down: as in midcommit.
const RESTART_TICKS: u32 = 2;
const PORT: u16 = 5432;

/// Runs all schedules with a kill, and says how many there are.
pub(crate) fn kill_everywhere() -> usize {
    let points = run(None);
    for nth in 0..points {
        run(Some(nth));
    }
    points
}

/// Runs the transaction to its success, and counts the points it passed.
fn run(kill_after: Option<usize>) -> usize {
    let process = Process::new(kill_after);
    let mut sim = turmoil::Builder::new()
        .rng_seed(1)
        .epoch(UNIX_EPOCH)
        .tick_duration(TICK)
        .min_message_latency(TICK)
        .max_message_latency(TICK)
        .simulation_duration(Duration::MAX / 4)
        .build();
    sim.host("pg", listen);
    let worker = process.clone();
    sim.host("worker", move || supervise(worker.clone()));
    while !process.is_over() {
        sim.step().expect("no root of ours returns an error");
        if process.is_frozen() {
            sim.crash("worker");
            for _ in 0..RESTART_TICKS {
                sim.step().expect("no root of ours returns an error");
            }
            process.restart();
            sim.bounce("worker");
        }
    }
    process.passed()
}

async fn listen() -> turmoil::Result {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::task::spawn_local(async move {
            // A killed client ends its connection as it likes.
            let _ended = server::serve(stream).await;
        });
    }
}

/// The root of the worker's host: a root that returns stops the host's other tasks.
async fn supervise(process: Rc<Process>) -> turmoil::Result {
    if !process.is_done() {
        Gate::new(&process, transact(process.clone())).await?;
        process.note_done();
    }
    std::future::pending().await
}

async fn transact(process: Rc<Process>) -> turmoil::Result {
    let stream = TcpStream::connect(("pg", PORT)).await?;
    let (mut client, connection) = work::config().connect_raw(stream, NoTls).await?;
    tokio::task::spawn_local(Gate::new(&process, async {
        let _ended = connection.await;
    }));
    work::transaction(&mut client).await?;
    Ok(())
}
