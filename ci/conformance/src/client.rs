//! The client's half: what is written for the words of a script, and how a session logs in.
//!
//! Bytes come from postgres-protocol, the independent other half; `raw` writes what it would not.

use bytes::BytesMut;
use postgres_protocol::IsNull;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::Message as Reply;
use postgres_protocol::message::frontend as write;

use crate::script::{Login, split};

/// Writes what an operation stands for.
pub fn encode(op: &str, to: &mut BytesMut) -> Result<(), String> {
    let (kind, rest) = op.split_once(' ').unwrap_or((op, ""));
    let first = rest.bytes().next().unwrap_or(b' ');
    let name = rest.get(2..).unwrap_or("");
    let wrong = |error: std::io::Error| format!("{op}: {error}");
    match kind {
        "Q" => write::query(rest, to).map_err(wrong),
        "P" => {
            let (name, types, sql) = statement(rest);
            write::parse(name, sql, types, to).map_err(wrong)
        }
        "B" => bind(rest, to),
        "D" => write::describe(first, name, to).map_err(wrong),
        "C" => write::close(first, name, to).map_err(wrong),
        "E" => {
            let (portal, rows) = rest.split_once(' ').unwrap_or((rest, "0"));
            let rows = rows
                .parse()
                .map_err(|_| format!("{op}: a number of rows"))?;
            write::execute(portal, rows, to).map_err(wrong)
        }
        "S" => {
            write::sync(to);
            Ok(())
        }
        "H" => {
            write::flush(to);
            Ok(())
        }
        "X" => {
            write::terminate(to);
            Ok(())
        }
        "ext" => {
            write::parse("", rest, [], to).map_err(wrong)?;
            encode("B", to)?;
            encode("E", to)
        }
        "raw" => {
            for byte in rest.split(' ') {
                let byte = u8::from_str_radix(byte, 16);
                to.extend([byte.map_err(|_| format!("{op}: bytes in hexadecimal"))?]);
            }
            Ok(())
        }
        _ => Err(format!("no such message: {op}")),
    }
}

/// `sql`, `name=sql` or `name:23,25=sql` with the types of the first parameters.
fn statement(text: &str) -> (&str, Vec<u32>, &str) {
    match text.split_once('=') {
        Some((head, sql)) if !head.contains([' ', '$', '(', '\'']) => {
            let (name, types) = head.split_once(':').unwrap_or((head, ""));
            let types = types.split(',').filter_map(|oid| oid.parse().ok());
            (name, types.collect(), sql)
        }
        _ => ("", Vec::new(), text),
    }
}

/// `portal/statement values… [-> binary]`. A value is text, `NULL`, or bytes as `\x00ff`, which
/// are sent in binary format.
fn bind(text: &str, to: &mut BytesMut) -> Result<(), String> {
    let mut words = split(text);
    let results = match words.iter().position(|word| word == "->") {
        Some(at) => match words.split_off(at).get(1).map(String::as_str) {
            Some("binary") => vec![1],
            _ => vec![0],
        },
        None => Vec::new(),
    };
    let target = if words.is_empty() {
        String::new()
    } else {
        words.remove(0)
    };
    let (portal, statement) = target.split_once('/').unwrap_or((&target, ""));
    let binary = |value: &String| i16::from(value.starts_with("\\x"));
    let formats: Vec<i16> = match words.iter().any(|value| binary(value) == 1) {
        true => words.iter().map(binary).collect(),
        false => Vec::new(),
    };
    let value = |value: String, to: &mut BytesMut| {
        if value == "NULL" {
            return Ok(IsNull::Yes);
        }
        match value.strip_prefix("\\x") {
            Some(hex) => {
                for at in (0..hex.len()).step_by(2) {
                    let byte = hex.get(at..at + 2).unwrap_or("");
                    to.extend([u8::from_str_radix(byte, 16)?]);
                }
            }
            None => to.extend_from_slice(value.as_bytes()),
        }
        Ok(IsNull::No)
    };
    write::bind(portal, statement, formats, words, value, results, to)
        .map_err(|_| format!("B {text}: not to be encoded"))
}

/// A login in the middle of its exchange.
#[derive(Default)]
pub struct Exchange {
    scram: Option<ScramSha256>,
}

impl Exchange {
    /// The startup message.
    pub fn startup(login: &Login) -> BytesMut {
        let mut bytes = BytesMut::new();
        let parameters = login.parameters.iter();
        let parameters = parameters.map(|(name, value)| (name.as_str(), value.as_str()));
        write::startup_message(parameters, &mut bytes).expect("no zero byte in a script");
        bytes
    }

    /// What is to be said to a reply, if something is.
    pub fn answer(&mut self, login: &Login, reply: &Reply) -> Option<BytesMut> {
        let password = login.password.as_deref().unwrap_or("");
        let mut bytes = BytesMut::new();
        match reply {
            Reply::AuthenticationCleartextPassword => {
                write::password_message(password.as_bytes(), &mut bytes).ok()?;
            }
            Reply::AuthenticationMd5Password(body) => {
                let user = login.parameter("user").unwrap_or("");
                let hash = md5_hash(user.as_bytes(), password.as_bytes(), body.salt());
                write::password_message(hash.as_bytes(), &mut bytes).ok()?;
            }
            Reply::AuthenticationSasl(_) => {
                let binding = ChannelBinding::unsupported();
                let scram = ScramSha256::new(password.as_bytes(), binding);
                write::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut bytes).ok()?;
                self.scram = Some(scram);
            }
            Reply::AuthenticationSaslContinue(body) => {
                let scram = self.scram.as_mut()?;
                scram.update(body.data()).ok()?;
                write::sasl_response(scram.message(), &mut bytes).ok()?;
            }
            // Who says it well knows the password too.
            Reply::AuthenticationSaslFinal(body) => {
                self.scram.as_mut()?.finish(body.data()).ok()?
            }
            _ => return None,
        }
        Some(bytes)
    }
}
