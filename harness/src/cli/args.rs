//! What may be asked on the command line, and the help that says so.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::explore::PAIRS_MAX;
use crate::plan::Class;

/// Breaks what happens after COMMIT, in every way one fault can.
///
/// Without a command: explores every scenario of the catalogue with every class of fault, and
/// compares what happens with what is declared.
#[derive(Debug, Parser)]
#[command(name = "midcommit", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    /// How to answer.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
    /// Whether to use colours; `auto` heeds NO_COLOR.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(super) color: Color,
    /// How many threads explore; results do not depend on it [default: one per core].
    #[arg(long, global = true, value_name = "N", value_parser = at_least_one)]
    pub(super) threads: Option<usize>,
}

const EXAMPLES: &str = "\
Examples:
  midcommit                                         the catalogue
  midcommit list                                    what there is to check
  midcommit list outbox_inbox                       what it guarantees, and what remains lost
  midcommit check tokio_timeout                     every single fault, and a counterexample
  midcommit check outbox_inbox --faults kill,network
  midcommit check tokio_timeout --depth 2 --cases 1000 --seed 7
  midcommit replay tokio_timeout kill@worker.after-commit.1+1
  midcommit replay tokio_timeout --plan lost.plan --format json
  midcommit report --html report.html               the catalogue as a page
  midcommit report outbox_inbox --html report.html  one scenario as a page
  midcommit serve --schema schema.sql               the simulated server, for programs in any language
  midcommit proxy --to 127.0.0.1:5432               the same faults in front of a real server

Exit codes:
  0   every promise held; in the catalogue: every verdict is declared
  1   safety violated: lost, duplicated, phantom and the like
  2   only liveness violated: wedged or leaked
  3   not to be trusted: not deterministic, or tasks outside the gate where that is strict
  64  usage, a stale plan, or a scenario that cannot be checked";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the scenarios, their sources, and how many single-fault schedules each has.
    List(List),
    /// Try every single fault on one scenario, and report what is.
    Check(Check),
    /// Run one plan, and show its history.
    Replay(Replay),
    /// Write a page to look at: verdicts as heat maps, counterexamples as sequence diagrams.
    ///
    /// One HTML file that needs neither a network nor a script. It ends with 0 once the file is written,
    /// whatever the verdicts in it.
    Report(Report),
    /// Be the simulated server on a real port, for programs in any language.
    ///
    /// It keeps everything in memory, and forgets it when it ends. Faults are armed by SQL.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Serve),
    /// Put the same faults in front of a real PostgreSQL.
    ///
    /// It passes everything on, and answers what names the schema `midcommit` itself. It offers the
    /// points that a proxy can see. Connections are not encrypted, on either side.
    #[command(after_help = PROXY_EXAMPLES)]
    Proxy(Proxy),
}

const PROXY_EXAMPLES: &str = "\
Examples:
  midcommit proxy --to 127.0.0.1:5432               on 127.0.0.1:6432
  midcommit proxy --to 127.0.0.1:5432 --listen 127.0.0.1:0

Faults are armed as with `midcommit serve`; see there. The points are

  received       the COMMIT is here, and has not been passed on
  flushed        the server has answered, so it is durable, and the client does not know
  ready          the client has its answer
  request+N      so many bytes of the COMMIT have been passed on
  reply+N        so many bytes of the answer have been passed on

and the actions rst, fin, silence, delay 700ms, pause; at received sqlstate 40001 and terminate, too.

It ends at SIGINT or SIGTERM, with 0.";

const SERVE_EXAMPLES: &str = "\
Examples:
  midcommit serve                                   on 127.0.0.1:5432, without tables
  midcommit serve --listen 127.0.0.1:0 --schema schema.sql
  midcommit serve --auth scram-sha-256 --schema roles.sql

Faults, by SQL on any connection that commits by itself:
  select midcommit.arm('commit flushed: rst');      the next COMMIT is durable, and its client is cut off
  select midcommit.arm('commit flushed: pause', application_name => 'worker');
  select midcommit.wait('flushed', timeout => '5s');
  select midcommit.resume();
  select * from midcommit.commits;                  what has become of each COMMIT
  select * from midcommit.faults;
  select midcommit.assert_fired();                  fails if a fault has not struck
  select midcommit.disarm();  select midcommit.reset();

At received a cut loses the COMMIT; from deferred on the server finishes it all the same.

Points:  received deferred interrupts-held inserted flushed clog replicated visible unlocked notified
         completed ready, and request+N, reply+N: after so many bytes
Actions: rst, fin, silence, delay 700ms, pause, crash, sqlstate 40001, cancel, terminate

It ends at SIGINT or SIGTERM, with 0.";

#[derive(Debug, Args)]
pub(super) struct Proxy {
    /// The real server.
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) to: String,
    /// Where to listen; port 0 is any that is free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:6432")]
    pub(super) listen: String,
    /// Let other machines connect: by default only loopback addresses are taken.
    #[arg(long)]
    pub(super) allow_remote: bool,
}

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Where to listen; port 0 is any that is free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5432")]
    pub(super) listen: String,
    /// Let other machines connect: by default only loopback addresses are taken.
    #[arg(long)]
    pub(super) allow_remote: bool,
    /// How many clients may be connected at a time.
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = at_least_one)]
    pub(super) max_connections: usize,
    /// A script to run before anybody connects: tables, and rows.
    #[arg(long, value_name = "FILE")]
    pub(super) schema: Option<PathBuf>,
    /// What is asked of clients; roles and their passwords come from the schema.
    #[arg(long, value_enum, default_value_t = Auth::Trust)]
    pub(super) auth: Auth,
}

/// As the methods are called in `pg_hba.conf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Auth {
    /// Nothing.
    Trust,
    /// A password, by MD5, or by SCRAM where the role's is kept so.
    Md5,
    /// A password, by SCRAM.
    #[value(name = "scram-sha-256")]
    Scram,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// The one scenario to tell of, at length.
    pub(super) name: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// The scenario.
    pub(super) name: String,
    /// Only these classes: interrupt, kill, deploy, network, server, failover, broker.
    #[arg(long, value_name = "CLASS,…", value_delimiter = ',')]
    pub(super) faults: Vec<Class>,
    /// With 2: every pair of faults as well, on one job; of bytes, those at the ends of a request or a reply.
    #[arg(long, value_name = "1|2", value_parser = one_or_two)]
    pub(super) depth: Option<usize>,
    /// How many jobs pairs are tried with [default: 1].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(super) pair_jobs: Option<usize>,
    /// Run at most so many pairs, spread evenly; the certificate says how many were not.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(super) pairs: Option<usize>,
    /// How many plans of several faults to draw.
    #[arg(long, value_name = "N")]
    pub(super) cases: Option<usize>,
    /// The seed they are drawn from.
    #[arg(long, value_name = "SEED")]
    pub(super) seed: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct Report {
    /// The one scenario to tell of, at length; without it, all of them.
    pub(super) name: Option<String>,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    pub(super) html: PathBuf,
    /// With NAME: try at most so many pairs of faults around COMMIT, spread evenly over the heat map.
    #[arg(long, value_name = "N", value_parser = at_least_one, requires = "name", default_value_t = PAIRS_MAX)]
    pub(super) pairs: usize,
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// The scenario.
    pub(super) name: String,
    #[command(flatten)]
    pub(super) which: Which,
}

/// One plan, told in one of three ways.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// The plan, as reports print it.
    pub(super) plan: Option<String>,
    /// A file with the plan; `-` is standard input.
    #[arg(long = "plan", value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// No fault: only the order of hosts and the latencies that follow from this seed.
    #[arg(long, value_name = "SEED")]
    pub(super) seed: Option<u64>,
}

/// How to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// For programs: one JSON object.
    Json,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Whether to use colours, given whether a terminal shows them.
    pub(super) fn is_on(self, is_terminal: bool) -> bool {
        // Set but empty counts as not set: see no-color.org.
        let refused = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && !refused(),
        }
    }
}

fn one_or_two(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ (1 | 2)) => Ok(n),
        _ => Err("it is 1 or 2: pairs are the most that all are tried of; `--cases` draws plans of up to four faults".to_owned()),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(n) => Ok(n),
        Err(error) => Err(error.to_string()),
    }
}
