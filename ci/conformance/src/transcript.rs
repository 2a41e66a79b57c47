//! What sessions answered, in words that are the same on every server.
//!
//! What differs from run to run is replaced by an alias, counted in order of appearance: `<a>` the
//! pid of session `a`, `<xid1>`, `<oid1>`, `<lsn1>`, `<vxid1>`, and `<time1>` for a date or time of
//! today. A value is recognised by its column's type or name, in an error by the word before it.
//! Left out is an error's place in the source. ctids are kept, also in its context, but for those of
//! system catalogs: fake-pg has no pages of them, and says `(0,1)` where a real server says anything.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{ErrorFields, Message as Reply};

use crate::host::Heard;

/// The OIDs below are the same on every server.
const OID_FIRST: u64 = 16384;

/// Renders replies, and remembers what it has given aliases.
#[derive(Default)]
pub struct Transcript {
    aliases: BTreeMap<&'static str, BTreeMap<String, usize>>,
    /// The columns that a session was last told of.
    columns: BTreeMap<String, Vec<(String, u32)>>,
    pids: BTreeMap<i32, String>,
    /// Yesterday, today and tomorrow as the server has them.
    days: Vec<String>,
}

impl Transcript {
    /// Whose pid is whose.
    pub fn know(&mut self, pid: i32, session: &str) {
        self.pids.insert(pid, session.to_string());
    }

    /// The days since 1970 of the server's clock.
    pub fn set_today(&mut self, today: i64) {
        self.days = (today - 1..=today + 1).map(date).collect();
    }

    /// A line for each session that said something or waits.
    /// A session that was greeted in this step is told nothing of its settings and its key: those
    /// are a server's own.
    pub fn tell(
        &mut self,
        heard: &mut BTreeMap<String, Heard>,
        greeted: Option<&str>,
    ) -> Vec<String> {
        let mut lines = Vec::new();
        for (session, heard) in heard {
            let mut words = self.replies(session, &mut heard.bytes);
            if greeted == Some(session.as_str()) {
                let greeting = words.iter().position(|word| word.starts_with("Z "));
                let (greeting, rest) = words.split_at(greeting.unwrap_or(words.len()));
                let own = |word: &&String| !word.starts_with("S ") && *word != "K";
                words = greeting.iter().filter(own).chain(rest).cloned().collect();
            }
            words.extend(heard.waits.then(|| "(waits)".into()));
            words.extend(heard.closed.then(|| "EOF".into()));
            if !words.is_empty() {
                lines.push(format!("{session}> {}", words.join(" ; ")));
            }
        }
        lines
    }

    /// The replies in `bytes`, each in a few words.
    pub fn replies(&mut self, session: &str, bytes: &mut BytesMut) -> Vec<String> {
        let mut words = Vec::new();
        // Encryption is refused with a bare letter, which no message is.
        while bytes.len() == 1 && matches!(bytes[0], b'N' | b'S') {
            words.push(format!("{}!", char::from(bytes.split_to(1)[0])));
        }
        loop {
            // The client half does not know the reply to a newer version.
            if bytes.first() == Some(&b'v') && bytes.len() >= 5 {
                let length = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
                let _ = bytes.split_to((length as usize + 1).min(bytes.len()));
                words.push("v".into());
                continue;
            }
            match Reply::parse(bytes) {
                Ok(Some(reply)) => words.push(self.say(session, reply)),
                Ok(None) if bytes.is_empty() => return words,
                Ok(None) | Err(_) => {
                    words.push(format!("?? {:?}", std::mem::take(bytes)));
                    return words;
                }
            }
        }
    }

    /// What a reply says.
    pub fn say(&mut self, session: &str, reply: Reply) -> String {
        match reply {
            Reply::AuthenticationOk => "R ok".into(),
            Reply::AuthenticationCleartextPassword => "R password".into(),
            Reply::AuthenticationMd5Password(_) => "R md5".into(),
            Reply::AuthenticationSasl(body) => {
                let mechanisms = body.mechanisms().map(|name| Ok(name.to_string()));
                format!("R sasl {}", collect(mechanisms).join(" "))
            }
            Reply::AuthenticationSaslContinue(_) => "R continue".into(),
            Reply::AuthenticationSaslFinal(_) => "R final".into(),
            Reply::BackendKeyData(_) => "K".into(),
            Reply::ParseComplete => "1".into(),
            Reply::BindComplete => "2".into(),
            Reply::CloseComplete => "3".into(),
            Reply::NoData => "n".into(),
            Reply::PortalSuspended => "s".into(),
            Reply::EmptyQueryResponse => "I".into(),
            Reply::CopyInResponse(_) => "G".into(),
            Reply::CopyOutResponse(_) => "H".into(),
            Reply::CopyDone => "c".into(),
            Reply::CopyData(body) => format!("d {}", plain(body.data())),
            Reply::CommandComplete(body) => {
                self.columns.remove(session);
                format!("C {}", body.tag().unwrap_or("?"))
            }
            Reply::ReadyForQuery(body) => format!("Z {}", char::from(body.status())),
            Reply::ErrorResponse(body) => format!("E {}", self.fields(body.fields())),
            Reply::NoticeResponse(body) => format!("N {}", self.fields(body.fields())),
            Reply::ParameterStatus(body) => format!(
                "S {}={}",
                body.name().unwrap_or("?"),
                body.value().unwrap_or("?")
            ),
            Reply::ParameterDescription(body) => {
                let oids = collect(body.parameters());
                let oids = oids.into_iter().map(|oid| self.oid(oid));
                format!("t {}", oids.collect::<Vec<_>>().join(" "))
            }
            Reply::RowDescription(body) => {
                let columns = body.fields();
                let columns = columns.map(|field| Ok((field.name().to_string(), field.type_oid())));
                let columns = collect(columns);
                let names = columns.iter();
                let names: Vec<String> = names
                    .map(|(name, oid)| format!("{name}:{}", self.oid(*oid)))
                    .collect();
                self.columns.insert(session.to_string(), columns);
                format!("T {}", names.join(" "))
            }
            Reply::DataRow(body) => {
                let columns = self.columns.get(session).cloned().unwrap_or_default();
                let values = collect(body.ranges());
                let values = values.into_iter().enumerate().map(|(at, range)| {
                    let Some(range) = range else {
                        return "NULL".into();
                    };
                    let value = plain(&body.buffer()[range]);
                    match columns.get(at) {
                        Some((name, oid)) => self.value(name, *oid, value),
                        None => value,
                    }
                });
                format!("D {}", values.collect::<Vec<_>>().join("|"))
            }
            Reply::NotificationResponse(body) => format!(
                "A {} {} {}",
                self.pid(body.process_id()),
                body.channel().unwrap_or("?"),
                body.message().unwrap_or("?")
            ),
            _ => "?".into(),
        }
    }

    fn fields(&mut self, mut fields: ErrorFields<'_>) -> String {
        let mut told = BTreeMap::new();
        while let Ok(Some(field)) = fields.next() {
            let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
            told.insert(field.type_(), value);
        }
        let get = |field: u8| told.get(&field).map_or("?", String::as_str);
        let message = plain(self.prose(get(b'M')).as_bytes());
        let mut text = format!("{} {} {message}", get(b'V'), get(b'C'));
        for field in *b"DHWPstcdn" {
            if let Some(value) = told.get(&field) {
                let value = plain(self.prose(value).as_bytes());
                let value = match field {
                    b'W' => without_catalog_places(&value),
                    _ => value,
                };
                write!(text, " [{} {value}]", char::from(field)).expect("strings take all");
            }
        }
        text
    }

    /// A value of a column that says what it is.
    fn value(&mut self, name: &str, oid: u32, value: String) -> String {
        let day = |value: &str| self.days.iter().any(|day| value.starts_with(day.as_str()));
        match oid {
            // xid and xid8; one that is not normal is the same everywhere.
            28 | 5069 => match value.parse() {
                Ok(0..=2u64) => value,
                _ => self.alias("xid", &value),
            },
            20 if name.starts_with("txid_current") => self.alias("xid", &value),
            26 => match value.parse() {
                Ok(oid @ OID_FIRST..) => self.alias("oid", &oid.to_string()),
                _ => value,
            },
            3220 => self.alias("lsn", &value),
            1082 | 1114 | 1184 if day(&value) => self.alias("time", &value),
            25 if matches!(name, "virtualxid" | "virtualtransaction") => self.alias("vxid", &value),
            23 | 1007 if name.contains("pid") => self.numbers(&value, |this, number, _| {
                number.parse().ok().map(|pid| this.pid(pid))
            }),
            _ => value,
        }
    }

    /// The text of an error, with what its words announce replaced.
    fn prose(&mut self, text: &str) -> String {
        self.numbers(text, |this, number, before| {
            if before.ends_with("advisory lock [") {
                return Some(this.alias("database", number));
            }
            let word = before
                .rsplit([' ', '\n', '(', '"'])
                .find(|word| !word.is_empty())?;
            // Lines of a detail are joined by a written \n.
            let word = word.rsplit("\\n").next().unwrap_or(word);
            match word {
                "virtual" => None,
                "transaction" if before.ends_with("virtual transaction ") => None,
                "transaction" | "ID" | "xid" | "pivot" => Some(this.alias("xid", number)),
                "process" | "Process" | "PID" => Some(this.pid(number.parse().ok()?)),
                "database" => Some(this.alias("database", number)),
                "relation" | "OID" | "object" | "type" => Some(this.oid(number.parse().ok()?)),
                _ => None,
            }
        })
    }

    /// Replaces numbers by what `known` makes of them and the text before.
    fn numbers(
        &mut self,
        text: &str,
        known: impl Fn(&mut Self, &str, &str) -> Option<String>,
    ) -> String {
        let mut told = String::new();
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let whole = !text[..at].ends_with(|before: char| before.is_alphanumeric());
            if digits > 0 && whole {
                let number = &rest[..digits];
                match known(self, number, &text[..at]) {
                    Some(alias) => told.push_str(&alias),
                    None => told.push_str(number),
                }
                at += digits;
            } else {
                let character = rest.chars().next().expect("there is a rest");
                told.push(character);
                at += character.len_utf8();
            }
        }
        told
    }

    fn pid(&self, pid: i32) -> String {
        match self.pids.get(&pid) {
            Some(session) => format!("<{session}>"),
            None => pid.to_string(),
        }
    }

    fn oid(&mut self, oid: u32) -> String {
        match u64::from(oid) {
            OID_FIRST.. => self.alias("oid", &oid.to_string()),
            oid => oid.to_string(),
        }
    }

    fn alias(&mut self, kind: &'static str, value: &str) -> String {
        let known = self.aliases.entry(kind).or_default();
        let next = known.len() + 1;
        let number = known.entry(value.to_string()).or_insert(next);
        format!("<{kind}{number}>")
    }
}

fn collect<T, I: FallibleIterator<Item = T, Error = std::io::Error>>(items: I) -> Vec<T> {
    items.collect().unwrap_or_default()
}

/// A context with the places of tuples in system catalogs left out.
fn without_catalog_places(context: &str) -> String {
    let mut told = String::new();
    let mut rest = context;
    while let Some((before, place)) = rest.split_once("tuple (") {
        let inside = place.split_once(") in relation \"");
        told.push_str(before);
        match inside.filter(|(_, relation)| relation.starts_with("pg_")) {
            Some((_, relation)) => {
                told.push_str("tuple (…) in relation \"");
                rest = relation;
            }
            None => {
                told.push_str("tuple (");
                rest = place;
            }
        }
    }
    told + rest
}

/// Bytes as text on one line; what is no text as `\x…`.
fn plain(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')) => {
            text.replace('\n', "\\n").replace('\t', "\\t")
        }
        _ => bytes.iter().fold(String::from("\\x"), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("strings take all");
            hex
        }),
    }
}

/// A day since 1970 as `2024-02-29`.
///
/// Source: Howard Hinnant's `civil_from_days`.
fn date(days: i64) -> String {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(19_782), "2024-02-29");
        assert_eq!(date(-1), "1969-12-31");
    }

    #[test]
    fn an_error_keeps_its_words_and_loses_its_numbers() {
        let mut transcript = Transcript::default();
        transcript.know(4711, "a");
        transcript.know(4712, "b");
        let told = transcript.prose(
            "Process 4711 waits for ShareLock on transaction 735; blocked by process 4712. (x)=(4711)",
        );
        assert_eq!(
            told,
            "Process <a> waits for ShareLock on transaction <xid1>; blocked by process <b>. (x)=(4711)"
        );
    }
}
