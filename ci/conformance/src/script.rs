//! The text of a script: comments, steps, and what was answered to each.
//!
//! What stays true: a script that is read and written again with the same replies is the same
//! bytes. What a step means on a wire is `client`'s business, what it causes a host's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A script with the replies recorded in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Chapter and name: `traps/01-command-complete`.
    pub name: String,
    /// Its lines, replies gathered under their steps.
    pub items: Vec<Item>,
}

/// A line of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A comment or an empty line, kept as it is.
    Prose(String),
    /// A step and its replies.
    Step(Step),
}

/// One thing done to one session or to the server, and what all sessions then said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The line as it stands.
    pub line: String,
    /// Who acts: a session, or `server`.
    pub session: String,
    /// What is done, in order.
    pub ops: Vec<Op>,
    /// What was answered until all was quiet, a line per session, without indentation.
    pub replies: Vec<String>,
}

/// One thing done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Messages to be written, in the words of `client::encode`.
    Send(String),
    /// Opens the session with these startup parameters and shows the replies.
    Start(Login),
    /// A cancel request for what the session runs.
    Cancel,
    /// `pg_terminate_backend` from elsewhere.
    Terminate,
    /// The client closes its half: what it has sent is still there.
    Fin,
    /// The client closes abortively.
    Rst,
    /// Time passes.
    Sleep(Duration),
    /// The server loses its memory and is started again.
    Crash,
    /// The server is shut down in order and started again.
    Restart,
    /// The next COMMIT fails with this code when its deferred constraints are checked. Only
    /// fake-pg can be told to.
    Fail(String),
}

/// Who logs in, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Startup parameters, `user` and `database` among them.
    pub parameters: Vec<(String, String)>,
    /// What is said when the server asks for it.
    pub password: Option<String>,
}

impl Default for Login {
    fn default() -> Login {
        Login::with(Vec::new(), None)
    }
}

impl Login {
    /// These parameters, and the usual user and database if they name none.
    fn with(mut parameters: Vec<(String, String)>, password: Option<String>) -> Login {
        for (name, usual) in [("database", "script"), ("user", "postgres")] {
            if parameters.iter().all(|(given, _)| given != name) {
                parameters.insert(0, (name.into(), usual.into()));
            }
        }
        Login {
            parameters,
            password,
        }
    }

    /// A startup parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self.parameters.iter().filter(|(given, _)| given == name);
        found.next().map(|(_, value)| value.as_str())
    }
}

/// A `#!` line that says which cell of a table of `docs/fidelity.md` a script fills.
pub type Cell = Vec<(String, String)>;

impl Script {
    /// Reads a script. The error says which line is not understood.
    pub fn parse(name: &str, text: &str) -> Result<Script, String> {
        let mut items: Vec<Item> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let wrong = |what: &str| format!("{name}.script:{}: {what}: {line}", at + 1);
            if let Some(reply) = line.strip_prefix("  ") {
                match items.last_mut() {
                    Some(Item::Step(step)) => step.replies.push(reply.to_string()),
                    _ => return Err(wrong("a reply without a step")),
                }
            } else if line.is_empty() || line.starts_with('#') {
                items.push(Item::Prose(line.to_string()));
            } else {
                let step = Step::parse(line).map_err(|error| wrong(&error))?;
                items.push(Item::Step(step));
            }
        }
        let name = name.to_string();
        Ok(Script { name, items })
    }

    /// The steps, in order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.items.iter().filter_map(|item| match item {
            Item::Step(step) => Some(step),
            Item::Prose(_) => None,
        })
    }

    /// The text with other replies, those of each step in turn.
    pub fn text_with(&self, replies: &[Vec<String>]) -> String {
        let mut replies = replies.iter();
        let mut text = String::new();
        for item in &self.items {
            match item {
                Item::Prose(line) => text.extend([line, "\n"]),
                Item::Step(step) => {
                    text.extend([&step.line, "\n"]);
                    for reply in replies.next().into_iter().flatten() {
                        text.extend(["  ", reply, "\n"]);
                    }
                }
            }
        }
        text
    }

    /// The text as it is.
    pub fn text(&self) -> String {
        let replies: Vec<_> = self.steps().map(|step| step.replies.clone()).collect();
        self.text_with(&replies)
    }

    /// What the `#!` lines say, each as its pairs of key and value.
    pub fn marks(&self) -> impl Iterator<Item = Cell> {
        let lines = self.items.iter().filter_map(|item| match item {
            Item::Prose(line) => line.strip_prefix("#! "),
            Item::Step(_) => None,
        });
        lines.map(|line| {
            let pairs = line.split("; ").map(|pair| {
                let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
                (key.to_string(), value.trim().to_string())
            });
            pairs.collect()
        })
    }

    fn marked(&self, key: &str) -> impl Iterator<Item = String> {
        let key = key.to_string();
        self.marks()
            .filter_map(|mark| mark.into_iter().next())
            .filter(move |(first, _)| *first == key)
            .map(|(_, value)| value)
    }

    /// Why a real server can not run it, if it can not: `#! fake-only reason`.
    pub fn fake_only(&self) -> Option<String> {
        self.marked("fake-only").next()
    }

    /// The server's settings: `#! server name = value`.
    pub fn settings(&self) -> Vec<(String, String)> {
        self.marked("server")
            .map(|setting| match setting.split_once('=') {
                Some((name, value)) => (name.trim().into(), value.trim().into()),
                None => (setting, "on".into()),
            })
            .collect()
    }

    /// The trap it is about: `#! trap 7`.
    pub fn traps(&self) -> impl Iterator<Item = String> {
        self.marked("trap")
    }
}

impl Step {
    /// Reads `session: op | op`.
    pub fn parse(line: &str) -> Result<Step, String> {
        let (session, rest) = line.split_once(": ").ok_or("a step is `session: ops`")?;
        let ops = rest.split(" | ").map(|op| match session {
            "server" => Op::deed(op),
            _ => Op::of_session(op),
        });
        Ok(Step {
            line: line.to_string(),
            session: session.to_string(),
            ops: ops.collect::<Result<_, _>>()?,
            replies: Vec::new(),
        })
    }
}

impl Op {
    fn deed(deed: &str) -> Result<Op, String> {
        Ok(match deed.split_once(' ').unwrap_or((deed, "")) {
            ("sleep", time) => {
                let millis = time.strip_suffix("ms").and_then(|time| time.parse().ok());
                Op::Sleep(Duration::from_millis(millis.ok_or("so many ms")?))
            }
            ("fail", code) => Op::Fail(code.to_string()),
            ("crash", "") => Op::Crash,
            ("restart", "") => Op::Restart,
            _ => return Err("no such deed".into()),
        })
    }

    fn of_session(op: &str) -> Result<Op, String> {
        Ok(match op.split_once(' ').unwrap_or((op, "")) {
            ("start", words) => Op::start(words),
            ("cancel", "") => Op::Cancel,
            ("terminate", "") => Op::Terminate,
            ("fin", "") => Op::Fin,
            ("rst", "") => Op::Rst,
            ("Q" | "P" | "B" | "D" | "E" | "C" | "S" | "H" | "X" | "ext" | "raw", _) => {
                Op::Send(op.to_string())
            }
            _ => return Err("no such message".into()),
        })
    }

    fn start(words: &str) -> Op {
        let (mut parameters, mut password) = (Vec::new(), None);
        for word in split(words) {
            let (name, value) = word.split_once('=').unwrap_or((&word, ""));
            match name {
                "password" => password = Some(value.to_string()),
                _ => parameters.push((name.to_string(), value.to_string())),
            }
        }
        Op::Start(Login::with(parameters, password))
    }
}

/// Words between spaces; within quotes a space is part of a word, and a doubled quote is one.
pub(crate) fn split(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\'' if quoted && characters.next_if_eq(&'\'').is_some() => {
                word.get_or_insert_default().push('\'');
            }
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

/// Where the scripts are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../snapshots/conformance")
}

/// All scripts whose name contains `filter`, by name.
pub fn load(filter: &str) -> Result<Vec<Script>, String> {
    let mut scripts = Vec::new();
    let told = |error: io::Error| format!("{}: {error}", folder().display());
    for chapter in sorted(&folder()).map_err(told)? {
        for file in sorted(&chapter).map_err(told)? {
            let chapter = chapter.file_name().unwrap_or_default().to_string_lossy();
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            let name = format!("{chapter}/{stem}");
            if file.extension().is_some_and(|end| end == "script") && name.contains(filter) {
                let text = fs::read_to_string(&file).map_err(told)?;
                scripts.push(Script::parse(&name, &text)?);
            }
        }
    }
    Ok(scripts)
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries: io::Result<Vec<_>> = fs::read_dir(folder)?.collect();
    let mut paths: Vec<_> = entries?.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    Ok(paths)
}

/// Writes a script with other replies.
pub fn save(script: &Script, replies: &[Vec<String>]) -> io::Result<()> {
    let file = folder().join(format!("{}.script", script.name));
    fs::write(file, script.text_with(replies))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_written_as_it_was_read() {
        let text = "# Prose.\n#! trap 7\n#! server work_mem = 64kB\n\na: Q select 1 | S\n  a> Z I\n  b> (waits)\nserver: sleep 5ms\n";
        let script = Script::parse("x/y", text).unwrap();
        assert_eq!(script.text(), text);
        assert_eq!(script.traps().collect::<Vec<_>>(), ["7"]);
        assert_eq!(
            script.settings(),
            [("work_mem".to_string(), "64kB".to_string())]
        );
    }

    #[test]
    fn words_may_be_quoted() {
        assert_eq!(
            split("a options='-c x=1 y' '' 'it''s'"),
            ["a", "options=-c x=1 y", "", "it's"]
        );
    }
}
