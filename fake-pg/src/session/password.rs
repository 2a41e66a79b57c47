//! Passwords: how they are kept and how they are proven, by MD5 and by SCRAM-SHA-256.
//!
//! Source: `libpq/auth-scram.c`, `libpq/crypt.c`; RFC 5802 and 7677. Nothing here knows sessions.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256};

/// How often the salted password is hashed (`SCRAM_SHA_256_DEFAULT_ITERATIONS`).
const ITERATIONS: u32 = 4096;

type Key = [u8; 32];

fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn salted(password: &str, salt: &[u8], iterations: u32) -> Key {
    let mut last = hmac(password.as_bytes(), &[salt, &1u32.to_be_bytes()]);
    let mut result = last;
    for _ in 1..iterations {
        last = hmac(password.as_bytes(), &[&last]);
        result
            .iter_mut()
            .zip(last)
            .for_each(|(to, from)| *to ^= from);
    }
    result
}

/// What is kept of a password: `SCRAM-SHA-256$4096:salt$stored:server`.
pub(crate) fn scram_verifier(password: &str, salt: &[u8; 16]) -> String {
    let salted = salted(password, salt, ITERATIONS);
    let stored = Sha256::digest(hmac(&salted, &[b"Client Key"]));
    let server = hmac(&salted, &[b"Server Key"]);
    format!(
        "SCRAM-SHA-256${ITERATIONS}:{}${}:{}",
        BASE64.encode(salt),
        BASE64.encode(stored),
        BASE64.encode(server)
    )
}

fn md5_hex(parts: &[&[u8]]) -> String {
    let mut digest = Md5::new();
    parts.iter().for_each(|part| digest.update(part));
    let bytes = digest.finalize();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is kept of a password under `password_encryption = md5`.
pub(crate) fn md5_verifier(password: &str, role: &str) -> String {
    format!("md5{}", md5_hex(&[password.as_bytes(), role.as_bytes()]))
}

/// Whether a password is given as what is kept of it.
pub(crate) fn is_verifier(password: &str) -> bool {
    let is_md5 = password.len() == 35
        && password
            .strip_prefix("md5")
            .is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_md5 || Verifier::read(password).is_some()
}

/// Whether an answer to an MD5 challenge is right.
pub(super) fn md5_answers(verifier: &str, salt: &[u8; 4], answer: &str) -> bool {
    let Some(hash) = verifier.strip_prefix("md5") else {
        return false;
    };
    answer == format!("md5{}", md5_hex(&[hash.as_bytes(), salt]))
}

/// A SCRAM verifier, taken apart.
struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored: Vec<u8>,
    server: Vec<u8>,
}

impl Verifier {
    fn read(text: &str) -> Option<Verifier> {
        let (head, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
        let ((iterations, salt), (stored, server)) = (head.split_once(':')?, keys.split_once(':')?);
        let decode = |text: &str| BASE64.decode(text).ok();
        Some(Verifier {
            iterations: iterations.parse().ok()?,
            salt: decode(salt)?,
            stored: decode(stored).filter(|key| key.len() == 32)?,
            server: decode(server).filter(|key| key.len() == 32)?,
        })
    }
}

/// A SCRAM exchange between its two messages from the client.
#[derive(Debug)]
pub(super) struct Exchange {
    verifier: String,
    /// There is no such role, or it has no password: the proof fails, but not before.
    doomed: bool,
    client_first: String,
    server_first: String,
    nonce: String,
}

/// Why an exchange can not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The message is not one: the text and its detail.
    Malformed(&'static str, &'static str),
    /// The password is wrong.
    Wrong,
}

const MALFORMED: &str = "malformed SCRAM message";

impl Exchange {
    /// The client's first message, `n,,n=,r=nonce`, and what the server answers.
    pub(super) fn begin(
        verifier: Option<&str>,
        message: &str,
        secret: &[u8; 32],
    ) -> Result<(Exchange, String), Refusal> {
        let bare = match message.as_bytes().first() {
            Some(b'n' | b'y') => message.get(1..).and_then(|rest| rest.strip_prefix(",,")),
            Some(b'p') => {
                let detail = "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data.";
                return Err(Refusal::Malformed(MALFORMED, detail));
            }
            _ => None,
        };
        let malformed = |detail| Refusal::Malformed(MALFORMED, detail);
        let bare = bare.ok_or(malformed("Comma expected, but found character \"%s\"."))?;
        let nonce = bare.split(',').find_map(|part| part.strip_prefix("r="));
        let nonce = nonce.ok_or(malformed(
            "Expected attribute \"r\" but found attribute \"%s\".",
        ))?;
        let known = verifier.filter(|verifier| Verifier::read(verifier).is_some());
        let (verifier, doomed) = match known {
            Some(verifier) => (verifier.to_string(), false),
            None => {
                let mut salt = [0; 16];
                salt.copy_from_slice(&secret[16..]);
                (scram_verifier("", &salt), true)
            }
        };
        let Some(read) = Verifier::read(&verifier) else {
            return Err(Refusal::Wrong);
        };
        let nonce = format!("{nonce}{}", BASE64.encode(&secret[..18]));
        let server_first = format!(
            "r={nonce},s={},i={}",
            BASE64.encode(&read.salt),
            read.iterations
        );
        let exchange = Exchange {
            verifier,
            doomed,
            client_first: bare.to_string(),
            server_first: server_first.clone(),
            nonce,
        };
        Ok((exchange, server_first))
    }

    /// The client's second message, `c=biws,r=nonce,p=proof`, and what proves the server.
    pub(super) fn finish(self, message: &str) -> Result<String, Refusal> {
        let malformed = |detail| Refusal::Malformed(MALFORMED, detail);
        let (without_proof, proof) = message
            .rsplit_once(",p=")
            .ok_or(malformed("Malformed proof in client-final-message."))?;
        let proof = BASE64.decode(proof).ok().filter(|proof| proof.len() == 32);
        let proof = proof.ok_or(malformed("Malformed proof in client-final-message."))?;
        let nonce = without_proof
            .split(',')
            .find_map(|part| part.strip_prefix("r="));
        if nonce != Some(&self.nonce) {
            return Err(Refusal::Malformed(
                "invalid SCRAM response",
                "Nonce does not match.",
            ));
        }
        let Some(verifier) = Verifier::read(&self.verifier) else {
            return Err(Refusal::Wrong);
        };
        let auth = format!(
            "{},{},{without_proof}",
            self.client_first, self.server_first
        );
        let signature = hmac(&verifier.stored, &[auth.as_bytes()]);
        let key: Vec<u8> = proof.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        if self.doomed || Sha256::digest(&key)[..] != verifier.stored[..] {
            return Err(Refusal::Wrong);
        }
        let server = hmac(&verifier.server, &[auth.as_bytes()]);
        Ok(format!("v={}", BASE64.encode(server)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

    #[test]
    fn the_client_half_proves_a_password_and_is_answered() {
        let verifier = scram_verifier("pencil", b"0123456789abcdef");
        for (password, right) in [("pencil", true), ("pen", false)] {
            let mut client = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
            let first = String::from_utf8(client.message().to_vec()).unwrap();
            let begun = Exchange::begin(Some(&verifier), &first, &[7; 32]);
            let (exchange, answer) = begun.unwrap();
            client.update(answer.as_bytes()).unwrap();
            let second = String::from_utf8(client.message().to_vec()).unwrap();
            match exchange.finish(&second) {
                Ok(proof) => client.finish(proof.as_bytes()).unwrap(),
                Err(refusal) => assert_eq!((refusal, right), (Refusal::Wrong, false)),
            }
        }
    }

    #[test]
    fn md5_is_kept_and_asked_for_with_two_salts() {
        // Measured on PostgreSQL 15.18.
        let kept = md5_verifier("abc", "m2");
        assert_eq!(kept, "md5c5e57019f4a525ce155b119864be2d0d");
        let salt = [1, 2, 3, 4];
        let hash = postgres_protocol::authentication::md5_hash(b"m2", b"abc", salt);
        assert!(md5_answers(&kept, &salt, &hash));
        assert!(!md5_answers(&kept, &[0; 4], &hash));
        assert!(is_verifier(&kept) && !is_verifier("abc"));
    }
}
