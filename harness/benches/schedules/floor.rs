//! The row `floor`: the same work without a network.
//!
//! Client and server are two ends of a pipe on one runtime with a paused clock. What
//! is left is tokio and the driver itself: no simulation of this work is faster.

use std::rc::Rc;

use tokio::io::DuplexStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tokio_postgres::{Error, NoTls};

use crate::gate::{Gate, Process};
use crate::{server, work};

/// More than either side ever has under way.
const PIPE_BYTES: usize = 4096;

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
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing");
    while !process.is_over() {
        live(&runtime, &process);
        process.restart();
    }
    process.passed()
}

/// One life of the process; with the tasks, the pipe between them ends.
fn live(runtime: &Runtime, process: &Rc<Process>) {
    let tasks = LocalSet::new();
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    tasks.spawn_local(server::serve(far));
    tasks.spawn_local(supervise(process.clone(), near));
    tasks.block_on(runtime, async {
        while !process.is_frozen() && !process.is_over() {
            process.stopped.notified().await;
        }
    });
}

async fn supervise(process: Rc<Process>, stream: DuplexStream) -> Result<(), Error> {
    Gate::new(&process, transact(process.clone(), stream)).await?;
    process.note_done();
    Ok(())
}

async fn transact(process: Rc<Process>, stream: DuplexStream) -> Result<(), Error> {
    let (mut client, connection) = work::config().connect_raw(stream, NoTls).await?;
    tokio::task::spawn_local(Gate::new(&process, async {
        let _ended = connection.await;
    }));
    work::transaction(&mut client).await
}
