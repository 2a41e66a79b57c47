//! Holds fake-pg to transcripts recorded from a real PostgreSQL 15.
//!
//! A script is a file `snapshots/conformance/CHAPTER/NAME.script`. You write its steps, a real
//! server writes what was answered, and fake-pg must answer the same for ever after:
//!
//! ```text
//! $EDITOR snapshots/conformance/locks/queue.script
//! cargo run -p conformance -- record locks/queue       # starts a server of its own, takes seconds
//! cargo run -p conformance -- check locks/queue        # fake-pg, without a server
//! ```
//!
//! `record` needs PostgreSQL's programs in `/usr/lib/postgresql/15/bin` or in the folder `PGBIN`;
//! as root it runs them as user `postgres`. `verify` records again and fails on any difference,
//! `list` counts. `cargo test -p conformance` checks all scripts.
//!
//! # Steps
//!
//! A line `a: op | op` does something on session `a`, opening it when it is new. Lines indented by
//! two spaces are what all sessions said until each was idle, waited (`(waits)`) or was gone
//! (`EOF`), by name: `a> T v:23 ; D 1 ; C SELECT 1 ; Z I`.
//!
//! | op | |
//! |---|---|
//! | `Q sql` | Query |
//! | `P sql`, `P name=sql`, `P name:23,25=sql` | Parse, with types of parameters |
//! | `B`, `B portal/statement v 'v w' NULL \x00ff -> binary` | Bind; values in text, or in binary when in hexadecimal |
//! | `D S name`, `D P name`, `C S name`, `C P name` | Describe, Close |
//! | `E`, `E portal 2` | Execute, with a limit of rows |
//! | `S`, `H`, `X` | Sync, Flush, Terminate |
//! | `ext sql` | `P sql`, `B`, `E` |
//! | `raw 51 00` | these bytes |
//! | `start user=u database=d password=p options='-c a=b'` | opens the session so, and shows the greeting |
//! | `cancel`, `terminate` | a cancel request; `pg_terminate_backend` from elsewhere |
//! | `fin`, `rst` | the client closes its half; closes abortively |
//!
//! `{pid b}` in a message stands for the pid of session `b`.
//!
//! On `server`: `sleep 100ms`; `crash`: immediate shutdown and recovery; `restart`: fast shutdown;
//! `fail 23505`: the next COMMIT fails so, which only fake-pg can be told.
//!
//! Replies: `1 2 3 n s I` as on the wire, `T name:oid…`, `D value|value`, `C tag`, `Z I`,
//! `t oid…`, `A <sender> channel payload`, `S name=value`, `E severity code message [D detail]
//! [H hint] [W context] [P position] [s schema] [t table] [c column] [d type] [n constraint]`, `N` likewise.
//!
//! What differs from run to run becomes an alias (`transcript`). A column's values are known by
//! its RowDescription: pids in an integer column whose name contains `pid`, and columns of the
//! types xid, oid, pg_lsn, date and timestamp. So describe a portal before such values.
//!
//! Both servers have `deadlock_timeout = 10ms`, and who waits does so longer than that before the
//! step is over: the victim of a deadlock is who closes the circle, unless its session says
//! otherwise. A script that sleeps past a time-out leaves 100 ms on both sides.
//!
//! # Marks
//!
//! `# …` is prose. `#! key value; key value` is for machines:
//!
//! | mark | |
//! |---|---|
//! | `#! server name = value` | a setting of the server, which is restarted with it |
//! | `#! fake-only reason` | a real server can not run it; it does not count as recorded |
//! | `#! trap 7` | it shows this trap; it may not be on the list of divergences |
//! | `#! anomaly G1a; level read committed; protocol simple; result prevented` | isolation: G0 G1a G1b G1c OTV PMP P4 G-single G2-item G2 (Hermitage's names); protocol `simple` or `extended`; result `possible`, `prevented`, `waits` or `40001` |
//! | `#! row-lock FOR UPDATE; against FOR KEY SHARE; mode wait; result waits` | held first, asked for after `against`; mode `wait`, `nowait` or `skip locked`; result `passes`, `waits`, `55P03` or `skips` |
//! | `#! table-lock ACCESS SHARE; against ROW EXCLUSIVE; result passes` | held first, asked for after `against` |
//! | `#! timeout lock_timeout; case waiting for a row; result 55P03` | |
//! | `#! state idle in transaction; signal terminate; result 57P01` | what a session is about, and what ends it: `cancel` or `terminate` |
//!
//! The last five are cells of the tables in `docs/fidelity.md`; a script may have many, which say
//! what its steps show in order. A result that is an SQLSTATE must stand in the replies.
//!
//! # Pages
//!
//! The SQL in `docs/monday.md` and its like is run as well, and the results shown there are a real
//! server's: `pages` writes them, `pages --verify` and `pages --check` compare; see [`pages`].
//!
//! # Divergences
//!
//! `divergences.txt` lists the steps at which fake-pg answers otherwise: `script step: reason`,
//! below it what fake-pg says. It may only shrink.

pub mod script;
pub mod client;
pub mod transcript;
pub mod host;
pub mod fake;
pub mod server;
mod control;
pub mod real;
pub mod divergences;
pub mod check;
pub mod tables;
pub mod pages;
pub mod program;
pub mod breadth;
pub mod skew;
pub mod random;
