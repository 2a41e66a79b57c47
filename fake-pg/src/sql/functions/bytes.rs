//! Digests, hashes, encodings of bytes, and what is drawn by chance.
//!
//! Chance is the engine's own stream: the same seed, the same numbers.

use md5::{Digest as _, Md5};
use sha2::{Sha224, Sha256, Sha384, Sha512};

use super::Built;
use crate::engine::Halt;
use crate::error::{PgError, SqlState};
use crate::sql::face::Context;
use crate::types::Datum;

type Answer = Result<Datum, Halt>;

pub(super) const BUILT: Built = &[
    ("md5(text)", md5),
    ("md5(bytea)", md5),
    ("sha224(bytea)", |_, args| Ok(digest::<Sha224>(args))),
    ("sha256(bytea)", |_, args| Ok(digest::<Sha256>(args))),
    ("sha384(bytea)", |_, args| Ok(digest::<Sha384>(args))),
    ("sha512(bytea)", |_, args| Ok(digest::<Sha512>(args))),
    ("encode(bytea,text)", encode),
    ("decode(text,text)", decode),
    ("byteacat(bytea,bytea)", concat),
    ("substring(bytea,int4)", substring),
    ("substring(bytea,int4,int4)", substring),
    ("get_byte(bytea,int4)", get_byte),
    ("bit_length(text)", bit_length),
    ("bit_length(bytea)", bit_length),
    ("hashtext(text)", hash),
    ("hashtextextended(text,int8)", hash_extended),
    ("hashint4(int4)", hash_int4),
    ("hashint8(int8)", hash_int8),
    ("gen_random_uuid()", random_uuid),
    ("random()", random),
];

fn bytes(datum: &Datum) -> &[u8] {
    match datum {
        Datum::Bytea(bytes) => bytes,
        other => other.as_str().unwrap_or("").as_bytes(),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(digit(byte >> 4));
        out.push(digit(byte & 15));
    }
    out
}

fn md5(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::text(hex(&Md5::digest(bytes(&args[0])))))
}

fn digest<D: sha2::Digest>(args: &[Datum]) -> Datum {
    Datum::Bytea(D::digest(bytes(&args[0])).to_vec().into())
}

fn invalid(message: String) -> Halt {
    PgError::new(SqlState::INVALID_PARAMETER_VALUE, message).into()
}

fn encode(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    use base64::Engine as _;
    let value = bytes(&args[0]);
    let format = args[1].as_str().unwrap_or("");
    Ok(Datum::text(match &*format.to_ascii_lowercase() {
        "hex" => hex(value),
        "base64" => {
            // Lines of 76 letters.
            let text = base64::engine::general_purpose::STANDARD.encode(value);
            let lines: Vec<&str> = (0..text.len().div_ceil(76))
                .map(|line| &text[line * 76..text.len().min(line * 76 + 76)])
                .collect();
            lines.join("\n")
        }
        "escape" => {
            let mut out = String::new();
            for &byte in value {
                match byte {
                    b'\\' => out.push_str("\\\\"),
                    0 | 0x80.. => out.push_str(&format!("\\{byte:03o}")),
                    byte => out.push(byte as char),
                }
            }
            out
        }
        _ => return Err(invalid(format!("unrecognized encoding: \"{format}\""))),
    }))
}

fn decode(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let text = args[0].as_str().unwrap_or("");
    let format = args[1].as_str().unwrap_or("");
    let read = |text: &str| {
        crate::types::text::read(
            crate::types::Type::Bytea,
            text,
            crate::types::Env::default(),
        )
    };
    match &*format.to_ascii_lowercase() {
        "hex" => Ok(read(&format!("\\x{text}"))?),
        "escape" if !text.starts_with("\\x") => Ok(read(text)?),
        "base64" => {
            use base64::Engine as _;
            let compact: String = text
                .chars()
                .filter(|c| !matches!(c, ' ' | '\t' | '\n' | '\r'))
                .collect();
            match base64::engine::general_purpose::STANDARD.decode(&compact) {
                Ok(value) => Ok(Datum::Bytea(value.into())),
                Err(_) => Err(PgError::feature_not_supported("malformed base64").into()),
            }
        }
        "escape" => Err(PgError::feature_not_supported("decode of \\x in escape format").into()),
        _ => {
            let _ = context;
            Err(invalid(format!("unrecognized encoding: \"{format}\"")))
        }
    }
}

fn concat(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::Bytea(
        [bytes(&args[0]), bytes(&args[1])].concat().into(),
    ))
}

fn substring(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let value = bytes(&args[0]);
    let from = args[1].as_i64().unwrap_or(1);
    let to = match args.get(2).and_then(Datum::as_i64) {
        Some(..0) => {
            return Err(PgError::new(
                SqlState::SUBSTRING_ERROR,
                "negative substring length not allowed",
            )
            .into());
        }
        Some(length) => from + length,
        None => i64::MAX,
    };
    let len = value.len() as i64;
    let (start, end) = ((from - 1).clamp(0, len), to.saturating_sub(1).clamp(0, len));
    let part = value.get(start as usize..end as usize).unwrap_or(&[]);
    Ok(Datum::Bytea(part.into()))
}

fn get_byte(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let value = bytes(&args[0]);
    let at = args[1].as_i64().unwrap_or(0);
    let found = usize::try_from(at).ok().and_then(|at| value.get(at));
    found
        .map(|byte| Datum::Int4((*byte).into()))
        .ok_or_else(|| {
            PgError::new(
                SqlState::ARRAY_SUBSCRIPT_ERROR,
                format!(
                    "index {at} out of valid range, 0..{}",
                    value.len() as i64 - 1
                ),
            )
            .into()
        })
}

fn bit_length(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let bits = i32::try_from(bytes(&args[0]).len() * 8);
    Ok(Datum::Int4(
        bits.map_err(|_| PgError::out_of_range("integer"))?,
    ))
}

/// The start of Bob Jenkins's hash as PostgreSQL has it (hashfn.c).
fn start(len: usize) -> u32 {
    0x9e37_79b9_u32
        .wrapping_add(len as u32)
        .wrapping_add(3_923_095)
}

/// `hash_bytes` and `hash_bytes_extended`, little-endian: the last two words of the state.
fn hash_bytes(bytes: &[u8], seed: u64) -> (u32, u32) {
    let begin = start(bytes.len());
    let (mut a, mut b, mut c) = (begin, begin, begin);
    if seed != 0 {
        a = a.wrapping_add((seed >> 32) as u32);
        b = b.wrapping_add(seed as u32);
        (a, b, c) = mix(a, b, c);
    }
    let mut blocks = bytes.chunks_exact(12);
    let word = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
    };
    for block in &mut blocks {
        a = a.wrapping_add(word(&block[..4]));
        b = b.wrapping_add(word(&block[4..8]));
        c = c.wrapping_add(word(&block[8..]));
        (a, b, c) = mix(a, b, c);
    }
    let rest = blocks.remainder();
    let part = |from: usize, to: usize| word(&rest[from.min(rest.len())..to.min(rest.len())]);
    a = a.wrapping_add(part(0, 4));
    b = b.wrapping_add(part(4, 8));
    // The lowest byte of c is reserved for the length.
    c = c.wrapping_add(part(8, 11) << 8);
    last(a, b, c)
}

fn mix(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    for (first, second, third) in [(4, 6, 8), (16, 19, 4)] {
        a = a.wrapping_sub(c) ^ c.rotate_left(first);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(second);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(third);
        b = b.wrapping_add(a);
    }
    (a, b, c)
}

fn last(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32) {
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (b, (c ^ b).wrapping_sub(b.rotate_left(24)))
}

fn hash(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::Int4(hash_bytes(bytes(&args[0]), 0).1 as i32))
}

fn hash_extended(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let seed = args[1].as_i64().unwrap_or(0) as u64;
    let (high, low) = hash_bytes(bytes(&args[0]), seed);
    Ok(Datum::Int8((u64::from(high) << 32 | u64::from(low)) as i64))
}

/// `hash_bytes_uint32`.
fn hash_word(word: u32) -> i32 {
    let begin = start(4);
    last(begin.wrapping_add(word), begin, begin).1 as i32
}

fn hash_int4(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::Int4(hash_word(args[0].as_i64().unwrap_or(0) as u32)))
}

/// So that it agrees with the hash of an equal int4.
fn hash_int8(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let value = args[0].as_i64().unwrap_or(0);
    let (low, high) = (value as u32, (value >> 32) as u32);
    Ok(Datum::Int4(hash_word(
        low ^ if value >= 0 { high } else { !high },
    )))
}

fn random(context: &mut Context<'_>, _: &[Datum]) -> Answer {
    context.exec.datum(|exec| {
        let bits = exec.engine.draw() >> 11;
        Ok(Datum::Float8(bits as f64 / (1_u64 << 53) as f64))
    })
}

/// Version 4: all but six bits are chance.
fn random_uuid(context: &mut Context<'_>, _: &[Datum]) -> Answer {
    context.exec.datum(|exec| {
        let (high, low) = (exec.engine.draw(), exec.engine.draw());
        let mut uuid = [0; 16];
        uuid[..8].copy_from_slice(&high.to_be_bytes());
        uuid[8..].copy_from_slice(&low.to_be_bytes());
        uuid[6] = uuid[6] & 0x0f | 0x40;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        Ok(Datum::Uuid(uuid))
    })
}
