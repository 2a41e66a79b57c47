//! Faults by SQL, byte by byte: what `midcommit serve` and `midcommit proxy` have in common.
//!
//! The client here speaks the protocol by itself, and so can say what no driver would: half a
//! request, a Flush for a Sync, data before it is asked for.

use std::time::Duration;

use midcommit::proxy::{self, Proxy};
use midcommit::serve::{self, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Runs a test against a server, and against a proxy in front of one.
fn with_both(test: impl AsyncFn(&Place)) {
    for name in ["serve", "proxy"] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let server = Server::start(&serve::Options::default()).await.unwrap();
            let options = proxy::Options {
                to: server.address().to_string(),
                ..proxy::Options::default()
            };
            let proxy = Proxy::start(&options).await.unwrap();
            let behind = server.address().port();
            let port = match name {
                "proxy" => proxy.address().port(),
                _ => behind,
            };
            let tell = |said: &str| println!("{said}");
            tokio::task::spawn_local(server.run(std::future::pending(), tell));
            tokio::task::spawn_local(proxy.run(std::future::pending(), tell));
            let place = Place { name, port, behind };
            place
                .ours("create table t (id int primary key, note text)")
                .await;
            place.ours("select midcommit.reset()").await;
            let ended = tokio::time::timeout(Duration::from_secs(60), test(&place)).await;
            assert!(ended.is_ok(), "{name} hangs");
        });
    }
}

struct Place {
    name: &'static str,
    port: u16,
    behind: u16,
}

impl Place {
    async fn client(&self) -> Client {
        Client::connect(self.port).await
    }

    /// What a client of its own is answered.
    async fn ours(&self, sql: &str) -> String {
        self.client().await.says(sql).await
    }

    async fn arm(&self, fault: &str) {
        let sql = format!("select midcommit.reset(), midcommit.arm('commit {fault}')");
        assert!(self.ours(&sql).await.ends_with("Z"), "{fault}");
    }

    /// The COMMITs that were seen, and how often faults have struck.
    async fn seen(&self) -> String {
        let commits = "select coalesce(string_agg(number || ' ' || outcome, ', ' order by number), '') \
                       from midcommit.commits";
        let fired = "select coalesce(sum(fired), 0) from midcommit.faults";
        let (commits, fired) = (self.ours(commits).await, self.ours(fired).await);
        let plain = |said: String| said.split('|').nth(1).unwrap_or_default().to_owned();
        format!("{}; fired {}", plain(commits), plain(fired))
    }

    async fn rows(&self) -> String {
        let said = self.ours("select count(*) from t").await;
        said.split('|').nth(1).unwrap_or_default().to_owned()
    }
}

struct Client {
    stream: TcpStream,
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len() as u32 + 4;
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &[sql.as_bytes(), b"\0"].concat())
}

/// Parse, Bind with these parameters as text, and Execute.
fn extended(sql: &str, parameters: &[&str]) -> Vec<u8> {
    let mut bind = b"\0\0\0\0".to_vec();
    bind.extend_from_slice(&(parameters.len() as u16).to_be_bytes());
    for parameter in parameters {
        bind.extend_from_slice(&(parameter.len() as u32).to_be_bytes());
        bind.extend_from_slice(parameter.as_bytes());
    }
    bind.extend_from_slice(b"\0\0");
    [
        message(b'P', &[b"\0", sql.as_bytes(), b"\0\0\0"].concat()),
        message(b'B', &bind),
        message(b'E', b"\0\0\0\0\0"),
    ]
    .concat()
}

fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0postgres\0database\0postgres\0application_name\0worker\0\0";
    [&(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
}

/// No COMMIT was seen, and no fault has struck.
const NONE: &str = "; fired 0";

const SYNC: &[u8] = b"S\0\0\0\x04";
const FLUSH: &[u8] = b"H\0\0\0\x04";
const COPY_DONE: &[u8] = b"c\0\0\0\x04";

impl Client {
    async fn connect(port: u16) -> Client {
        let mut client = Client::open(port).await;
        client.send(&startup()).await;
        assert!(client.until(b'Z').await.ends_with("Z"));
        client
    }

    async fn open(port: u16) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        Client { stream }
    }

    async fn send(&mut self, bytes: &[u8]) {
        // A fault may have struck already.
        let _ = self.stream.write_all(bytes).await;
    }

    async fn says(&mut self, sql: &str) -> String {
        self.send(&query(sql)).await;
        self.until(b'Z').await
    }

    /// What comes, up to a message of this type, or to the end: types of messages, tags, SQLSTATEs,
    /// and the first column of rows between bars.
    async fn until(&mut self, last: u8) -> String {
        let mut said = Vec::new();
        loop {
            let mut header = [0; 5];
            if self.stream.read_exact(&mut header).await.is_err() {
                said.push("gone".to_owned());
                break;
            }
            let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
            let mut body = vec![0; length as usize - 4];
            if self.stream.read_exact(&mut body).await.is_err() {
                said.push("gone".to_owned());
                break;
            }
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let field = |letter: u8| {
                let mut fields = body.split(|byte| *byte == 0);
                let found = fields.find(|field| field.first() == Some(&letter));
                text(found.map_or(&b""[..], |field| &field[1..]))
            };
            match header[0] {
                b'C' => said.push(text(&body[..body.len() - 1])),
                b'D' => said.push(format!("|{}|", text(body.get(6..).unwrap_or_default()))),
                b'E' => said.push(format!("E {}", field(b'C'))),
                b'S' | b'K' | b'R' | b'T' | b'N' => {}
                tag => said.push((tag as char).to_string()),
            }
            if header[0] == last {
                break;
            }
        }
        said.join(" ")
    }
}

#[test]
fn a_copy_within_what_commits_gets_its_data() {
    with_both(async |place| {
        let mut worker = place.client().await;
        for (sql, before) in [
            ("copy t from stdin", "G"),
            (
                "insert into t values (1); copy t (id, note) from stdin",
                "INSERT 0 1 G",
            ),
        ] {
            place.arm("flushed: rst").await;
            worker.send(&query(sql)).await;
            assert_eq!(worker.until(b'G').await, before, "{}: {sql}", place.name);
            worker.send(&message(b'd', b"50\tq\n")).await;
            worker.send(COPY_DONE).await;
            assert_eq!(worker.until(b'Z').await, "gone", "{}: {sql}", place.name);
            assert_eq!(place.seen().await, "1 committed; fired 1", "{}", place.name);
            place.ours("delete from t").await;
            worker = place.client().await;
        }
        // Many drivers send Sync with Execute, and again behind the data.
        place.ours("select midcommit.reset()").await;
        for (data, outcome) in [("51\tq\n", "COPY 1 Z"), ("x\n", "E 22P02 Z")] {
            worker
                .send(&[extended("copy t from stdin", &[]), SYNC.to_vec()].concat())
                .await;
            assert_eq!(worker.until(b'G').await, "1 2 G", "{}", place.name);
            worker
                .send(
                    &[
                        message(b'd', data.as_bytes()),
                        COPY_DONE.to_vec(),
                        SYNC.to_vec(),
                    ]
                    .concat(),
                )
                .await;
            assert_eq!(worker.until(b'Z').await, outcome, "{}", place.name);
        }
        assert_eq!(
            worker.says("insert into t values (52)").await,
            "INSERT 0 1 Z"
        );
        assert_eq!(place.rows().await, "2", "{}", place.name);
        assert_eq!(worker.says("copy t to stdout").await, "H d d c COPY 2 Z");
    });
}

#[test]
fn who_leaves_within_a_copy_leaves_nothing_behind() {
    with_both(async |place| {
        let mut worker = place.client().await;
        worker
            .send(&query("insert into t values (1); copy t from stdin"))
            .await;
        assert_eq!(worker.until(b'G').await, "INSERT 0 1 G");
        worker.send(&message(b'd', b"2\tq\n")).await;
        drop(worker);
        // This waits for the lock of whoever has not gone.
        assert_eq!(place.ours("truncate t").await, "TRUNCATE TABLE Z");
        let mut behind = Client::connect(place.behind).await;
        let copying = "select count(*) from pg_stat_activity where query like 'insert%'";
        while behind.says(copying).await != "|0| SELECT 1 Z" {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn a_byte_that_no_answer_has_is_never_struck() {
    with_both(async |place| {
        // INSERT 0 1 and ReadyForQuery are 22 bytes.
        for (byte, is_struck) in [(21, true), (22, true), (23, false), (500, false)] {
            let mut worker = place.client().await;
            place.arm(&format!("reply+{byte}: rst")).await;
            let answer = worker.says("insert into t values (1)").await;
            let seen = place.seen().await;
            let context = format!("{} at {byte}", place.name);
            if is_struck {
                assert_eq!(seen, "1 committed; fired 1", "{context}");
            } else {
                assert_eq!(answer, "INSERT 0 1 Z", "{context}");
                for _ in 0..60 {
                    assert_eq!(worker.says("select 1").await, "|1| SELECT 1 Z", "{context}");
                }
                assert_eq!(seen, "1 committed; fired 0", "{context}");
                let said = place.ours("select midcommit.assert_fired()").await;
                assert_eq!(said, "E MC002 Z", "{context}");
            }
            place.ours("delete from t").await;
        }
    });
}

#[test]
fn a_byte_that_no_request_has_is_never_struck() {
    with_both(async |place| {
        // What a proxy has passed on as a whole it knows nothing more of.
        let whole = match place.name {
            "serve" => "1 committed; fired 1",
            _ => "1 unknown; fired 1",
        };
        let length = query("insert into t values (1)").len();
        for (byte, seen, rows) in [
            (length - 1, "1 aborted; fired 1", "0"),
            (length, whole, "1"),
            (length + 1, "1 committed; fired 0", "1"),
            (1000, "1 committed; fired 0", "1"),
        ] {
            place.arm(&format!("request+{byte}: rst")).await;
            let answer = place.ours("insert into t values (1)").await;
            let is_struck = seen.ends_with('1');
            let context = format!("{} at {byte}", place.name);
            assert_eq!(
                answer,
                if is_struck { "gone" } else { "INSERT 0 1 Z" },
                "{context}"
            );
            while place.rows().await != rows {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(place.seen().await, seen, "{context}");
            place.ours("delete from t").await;
        }
        // Nor is the COMMIT of who has only read.
        place.arm("request+3: rst").await;
        let mut reader = place.client().await;
        for (sql, said) in [
            ("begin", "BEGIN Z"),
            ("select 1", "|1| SELECT 1 Z"),
            ("commit", "COMMIT Z"),
        ] {
            assert_eq!(reader.says(sql).await, said, "{}", place.name);
        }
        assert_eq!(place.seen().await, NONE, "{}", place.name);
        // A COMMIT is on its way before the Sync behind it.
        let mut worker = place.client().await;
        let sql = ["begin", "insert into t values (1)", "commit"];
        let pipeline: Vec<u8> = sql.iter().flat_map(|sql| extended(sql, &[])).collect();
        place.arm(&format!("request+{}: rst", pipeline.len())).await;
        worker.send(&[&pipeline, SYNC].concat()).await;
        assert!(worker.until(b'Z').await.ends_with("gone"));
        while place.rows().await != "1" {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(place.seen().await, whole, "{}", place.name);
    });
}

#[test]
fn a_statement_that_fails_behind_a_delay_has_aborted() {
    with_both(async |place| {
        let mut worker = place.client().await;
        worker.says("insert into t values (1)").await;
        place.arm("request+3: delay 5ms").await;
        assert_eq!(worker.says("insert into t values (1)").await, "E 23505 Z");
        assert_eq!(
            worker.says("insert into t values (2)").await,
            "INSERT 0 1 Z"
        );
        let seen = "1 aborted, 2 committed; fired 1";
        assert_eq!(place.seen().await, seen, "{}", place.name);
    });
}

#[test]
fn a_commit_that_was_paused_at_a_reset_is_forgotten() {
    with_both(async |place| {
        let mut worker = place.client().await;
        place.arm("flushed: pause").await;
        worker.send(&query("insert into t values (1)")).await;
        place
            .ours("select midcommit.wait('flushed', timeout => '60s')")
            .await;
        place.ours("select midcommit.reset()").await;
        assert_eq!(worker.until(b'Z').await, "INSERT 0 1 Z", "{}", place.name);
        assert_eq!(place.seen().await, NONE, "{}", place.name);
        worker.says("insert into t values (2)").await;
        assert_eq!(place.seen().await, "1 committed; fired 0", "{}", place.name);
    });
}

#[test]
fn two_faults_for_one_place_are_refused() {
    with_both(async |place| {
        let armed = |faults: &str| {
            let arms = faults
                .split('+')
                .map(|fault| format!("midcommit.arm({fault})"));
            format!(
                "select midcommit.reset(), {}",
                arms.collect::<Vec<_>>().join(", ")
            )
        };
        for (faults, is_refused) in [
            ("'commit flushed: delay 5ms'+'commit flushed: rst'", true),
            ("'commit flushed: rst', 1, 'a'+'commit flushed: rst'", true),
            (
                "'commit flushed: rst', 1, 'a'+'commit flushed: rst', 1, 'b'",
                false,
            ),
            ("'commit request: rst'+'commit request: delay 1s'", true),
            (
                "'commit received: rst'+'commit flushed: rst'+'commit reply: rst'",
                false,
            ),
        ] {
            let said = place.ours(&armed(faults)).await;
            assert_eq!(
                said.contains("E 22023"),
                is_refused,
                "{}: {faults}: {said}",
                place.name
            );
        }
        // One that has struck is out of the way.
        place.arm("flushed: delay 1ms").await;
        place.ours("insert into t values (1)").await;
        let again = place
            .ours("select midcommit.arm('commit flushed: rst')")
            .await;
        assert_eq!(again, "|2| SELECT 1 Z", "{}", place.name);
    });
}

#[test]
fn long_requests_are_struck_like_short_ones() {
    with_both(async |place| {
        let long = "x".repeat(1_200_000);
        let simple = query(&format!("insert into t values (1, '{}')", &long[..300_000]));
        let longer = query(&format!("insert into t values (1, '{long}')"));
        let bound = extended("insert into t values (1, $1)", &[&long]);
        for request in [simple, longer, [&bound, SYNC].concat()] {
            for (fault, outcome, rows) in [
                ("flushed: rst", "committed", "1"),
                ("request+5: rst", "aborted", "0"),
            ] {
                place.arm(fault).await;
                let mut worker = place.client().await;
                worker.send(&request).await;
                let context = format!("{}: {fault}, {} bytes", place.name, request.len());
                let said = worker.until(b'Z').await;
                assert!(said.ends_with("gone"), "{context}: {said}");
                let seen = format!("1 {outcome}; fired 1");
                assert_eq!(place.seen().await, seen, "{context}");
                assert_eq!(place.rows().await, rows, "{context}");
                place.ours("delete from t").await;
            }
        }
    });
}

#[test]
fn a_commit_does_not_wait_for_sync() {
    with_both(async |place| {
        for (fault, said, seen, rows) in [
            ("received: rst", "gone", "1 aborted; fired 1", "0"),
            ("request+3: rst", "gone", "1 aborted; fired 1", "0"),
            (
                "received: sqlstate 40001",
                "E 40001 Z",
                "1 aborted; fired 1",
                "0",
            ),
            ("flushed: rst", "gone", "1 committed; fired 1", "1"),
            (
                "flushed: delay 1ms",
                "1 2 COMMIT Z",
                "1 committed; fired 1",
                "1",
            ),
        ] {
            place.arm(fault).await;
            let mut worker = place.client().await;
            worker.says("begin").await;
            worker.says("insert into t values (1)").await;
            worker
                .send(&[&extended("commit", &[]), FLUSH].concat())
                .await;
            let last = match said.starts_with('E') {
                true => b'E',
                false => b'C',
            };
            let mut heard = worker.until(last).await;
            if !heard.ends_with("gone") {
                worker.send(SYNC).await;
                heard = format!("{heard} {}", worker.until(b'Z').await);
            }
            assert!(heard.ends_with(said), "{}: {fault}: {heard}", place.name);
            assert_eq!(place.seen().await, seen, "{}: {fault}", place.name);
            assert_eq!(place.rows().await, rows, "{}: {fault}", place.name);
            place.ours("delete from t").await;
        }
    });
}

#[test]
fn what_a_script_has_committed_stays_committed_when_it_fails() {
    with_both(async |place| {
        let script = "begin; insert into t values (1); commit; insert into t values (1)";
        place.ours("select midcommit.reset()").await;
        let said = place.ours(script).await;
        assert_eq!(said, "BEGIN INSERT 0 1 COMMIT E 23505 Z", "{}", place.name);
        let seen = place.seen().await;
        assert!(seen.starts_with("1 committed"), "{}: {seen}", place.name);
    });
}

#[test]
fn a_client_that_does_not_wait_for_the_refusal_of_encryption_is_hung_up_on() {
    with_both(async |place| {
        for (code, rest) in [
            (80_877_103u32, true),
            (80_877_104, true),
            (80_877_103, false),
        ] {
            let mut client = Client::open(place.port).await;
            let mut opening = [8u32.to_be_bytes(), code.to_be_bytes()].concat();
            if rest {
                opening.extend_from_slice(&startup());
            }
            client.send(&opening).await;
            assert_eq!(client.stream.read_u8().await.unwrap(), b'N');
            if rest {
                let said = client.until(b'Z').await;
                assert_eq!(said, "E 08P01 gone", "{}", place.name);
            } else {
                client.send(&startup()).await;
                assert!(client.until(b'Z').await.ends_with("Z"), "{}", place.name);
            }
        }
    });
}
