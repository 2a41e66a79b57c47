//! A real PostgreSQL 15 of our own: a cluster in a temporary directory, on a free port of the
//! loopback, always stopped.
//!
//! Its settings leave nothing to chance: no autovacuum, no WAL writer that flushes behind one's
//! back, a short `deadlock_timeout`. Clocks of the machine are read here only.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What differs from a fresh cluster's settings.
const SETTINGS: &str = "
fsync = off
full_page_writes = off
autovacuum = off
wal_writer_delay = 10s
bgwriter_lru_maxpages = 0
checkpoint_timeout = 1d
max_wal_size = 10GB
deadlock_timeout = 10ms
max_prepared_transactions = 20
max_connections = 60
shared_buffers = 64MB
log_min_messages = fatal
unix_socket_directories = ''
listen_addresses = '127.0.0.1'
timezone = 'UTC'
log_timezone = 'UTC'
";

/// The superuser is trusted; others say the password that they have.
const HBA: &str = "
host all postgres 127.0.0.1/32 trust
host all all 127.0.0.1/32 md5
";

/// A running server.
#[derive(Debug)]
pub struct Server {
    programs: PathBuf,
    directory: PathBuf,
    owner: Option<(u32, u32)>,
    /// Given on the command line, on top of the configuration file.
    settings: Vec<(String, String)>,
    port: u16,
    postmaster: Option<Child>,
}

/// How it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Transactions are rolled back, sessions are told, a checkpoint is written.
    Fast,
    /// Memory is lost: the next start recovers.
    Immediate,
}

impl Server {
    /// Makes a cluster and starts it.
    pub fn start() -> Result<Server, String> {
        let programs = programs()?;
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("conformance-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let told = |error: io::Error| format!("{}: {error}", directory.display());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(told)?;
        let port = listener.local_addr().map_err(told)?.port();
        drop(listener);
        fs::create_dir(&directory).map_err(told)?;
        let permissions = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&directory, permissions).map_err(told)?;
        let owner = owner();
        if let Some((user, group)) = owner {
            chown(&directory, Some(user), Some(group)).map_err(told)?;
        }
        let mut server = Server {
            programs,
            directory: directory.clone(),
            owner,
            settings: Vec::new(),
            port,
            postmaster: None,
        };
        server.make_cluster()?;
        server.go_up()?;
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Restarts it, unless it already runs with these settings.
    pub fn require(&mut self, settings: &[(String, String)]) -> Result<bool, String> {
        if self.settings == settings && self.postmaster.is_some() {
            return Ok(false);
        }
        self.stop(Stop::Fast);
        self.settings = settings.to_vec();
        self.go_up()?;
        Ok(true)
    }

    /// Stops it one way or the other and starts it again.
    pub fn restart(&mut self, stop: Stop) -> Result<(), String> {
        self.stop(stop);
        self.go_up()
    }

    fn make_cluster(&self) -> Result<(), String> {
        let cluster = self.directory.join("data");
        let made = self
            .command("initdb")
            .args(["--no-sync", "--locale=C", "--encoding=UTF8", "--auth=trust"])
            .args(["--username=postgres", "--pgdata"])
            .arg(&cluster)
            .output()
            .map_err(|error| format!("initdb: {error}"))?;
        if !made.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)));
        }
        let configuration = cluster.join("postgresql.conf");
        let written = fs::OpenOptions::new().append(true).open(configuration);
        let written = written.and_then(|mut file| file.write_all(SETTINGS.as_bytes()));
        let written = written.and_then(|()| fs::write(cluster.join("pg_hba.conf"), HBA));
        written.map_err(|error| format!("{}: {error}", cluster.display()))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(&self.directory).env("LC_ALL", "C");
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }

    /// The server, which is to end when we do, even if we are killed.
    fn postmaster(&self) -> Command {
        let postgres = self.command("postgres");
        if !Path::new("/usr/bin/setpriv").exists() {
            return postgres;
        }
        let mut guarded = self.command("/usr/bin/setpriv");
        guarded.args(["--pdeathsig", "QUIT"]);
        guarded.arg(postgres.get_program());
        guarded
    }

    fn go_up(&mut self) -> Result<(), String> {
        let mut command = self.postmaster();
        command.arg("-D").arg(self.directory.join("data"));
        command.arg("-p").arg(self.port.to_string());
        for (name, value) in &self.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let mut log = fs::OpenOptions::new();
        let log = log.create(true).append(true);
        let log = log.open(self.directory.join("log"));
        let log = log.map_err(|error| format!("log: {error}"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::from(log));
        let child = command.spawn();
        self.postmaster = Some(child.map_err(|error| format!("postgres: {error}"))?);
        let status = self.directory.join("data/postmaster.pid");
        let started = within(Duration::from_secs(60), || {
            let exited = self.postmaster.as_mut()?.try_wait().ok()?;
            if exited.is_some() {
                return Some(false);
            }
            let status = fs::read_to_string(&status).unwrap_or_default();
            let ready = status
                .lines()
                .nth(7)
                .is_some_and(|line| line.trim() == "ready");
            (ready && TcpStream::connect(self.address()).is_ok()).then_some(true)
        });
        match started {
            Some(true) => Ok(()),
            _ => {
                let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                Err(format!("postgres did not start:\n{log}"))
            }
        }
    }

    fn stop(&mut self, how: Stop) {
        let Some(mut postmaster) = self.postmaster.take() else {
            return;
        };
        let signal = match how {
            Stop::Fast => "-INT",
            Stop::Immediate => "-QUIT",
        };
        let pid = postmaster.id().to_string();
        // The shell's own: the program of that name is not everywhere.
        let kill = format!("kill {signal} {pid}");
        let sent = Command::new("sh").args(["-c", &kill]).status();
        let over = sent.is_ok_and(|sent| sent.success()).then(|| {
            within(Duration::from_secs(60), || {
                postmaster.try_wait().ok().flatten()
            })
        });
        if over.flatten().is_none() {
            // It shares no memory with us: whatever it is stuck in, this ends it.
            let _ = postmaster.kill();
            let _ = postmaster.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Stop::Immediate);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The newest of the places where PostgreSQL 15 is installed, or `PGBIN`.
fn programs() -> Result<PathBuf, String> {
    if let Some(given) = std::env::var_os("PGBIN") {
        return Ok(PathBuf::from(given));
    }
    let debian = Path::new("/usr/lib/postgresql/15/bin");
    if debian.join("postgres").exists() {
        return Ok(debian.to_path_buf());
    }
    let asked = Command::new("pg_config").arg("--bindir").output();
    let asked = asked.ok().filter(|asked| asked.status.success());
    let folder = asked.map(|asked| String::from_utf8_lossy(&asked.stdout).trim().to_string());
    folder
        .map(PathBuf::from)
        .ok_or("no PostgreSQL 15 here: install postgresql-15, or name its programs in PGBIN".into())
}

/// Whom a server runs as when we are root, which it refuses to be: user and group of postgres.
fn owner() -> Option<(u32, u32)> {
    let own = fs::metadata("/proc/self").ok()?;
    if std::os::unix::fs::MetadataExt::uid(&own) != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let postgres = users.lines().find(|line| line.starts_with("postgres:"))?;
    let mut fields = postgres.split(':').skip(2);
    let mut number = || fields.next()?.parse().ok();
    Some((number()?, number()?))
}

/// Time on the machine's clock, for what a real server needs.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Days since 1970.
#[allow(clippy::disallowed_methods)]
pub(crate) fn today() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| (since.as_secs() / 86_400) as i64)
}

/// Asks again and again until there is an answer, or too much time has passed.
pub(crate) fn within<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = now();
    let mut pause = Duration::from_micros(100);
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if now() - start > limit {
            return None;
        }
        sleep(pause);
        pause = (pause * 3 / 2).min(Duration::from_millis(10));
    }
}
