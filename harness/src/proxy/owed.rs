//! What a server still owes for the messages that it has been sent.
//!
//! A Query, a Sync and a function call are each answered with one ReadyForQuery, an Execute before its
//! Sync with one end. But whoever is in a COPY FROM STDIN passes over every Sync up to the end of the
//! data, as drivers know that send Execute and Sync together.
//!
//! Source: `CopyGetData` in `commands/copyfromparse.c`.

use std::collections::VecDeque;

use super::replies::Told;

/// Types of messages that have been sent and not been answered, oldest first.
#[derive(Debug, Default)]
pub(super) struct Owed {
    tags: VecDeque<u8>,
    /// The server takes in a client's data.
    copying: bool,
}

fn is_answered_with_ready(tag: u8) -> bool {
    matches!(tag, b'Q' | b'S' | b'F')
}

fn ends_data(tag: u8) -> bool {
    matches!(tag, b'c' | b'f')
}

impl Owed {
    /// The end of the handshake is a ReadyForQuery, too.
    pub(super) fn handshake() -> Owed {
        Owed {
            tags: VecDeque::from([b'Q']),
            copying: false,
        }
    }

    /// Such a message has been sent.
    pub(super) fn asked(&mut self, tag: u8) {
        match tag {
            _ if ends_data(tag) && self.copying => self.copying = false,
            b'S' if self.copying => {}
            // The end of data may be sent before the server has said that it takes any.
            b'Q' | b'S' | b'F' | b'E' | b'c' | b'f' => self.tags.push_back(tag),
            _ => {}
        }
    }

    /// The server has said something.
    pub(super) fn told(&mut self, told: &Told) {
        match told {
            Told::CopyIn => {
                let end = self.tags.iter().position(|tag| ends_data(*tag));
                let is_extended = self.tags.front() == Some(&b'E');
                let mut at = 0;
                self.tags.retain(|tag| {
                    let is_before = end.is_none_or(|end| at < end);
                    at += 1;
                    !(is_extended && is_before && *tag == b'S' || Some(at - 1) == end)
                });
                self.copying = end.is_none();
            }
            Told::Error => self.copying = false,
            Told::Tag(_) if self.tags.front() == Some(&b'E') => {
                self.tags.pop_front();
            }
            Told::Ready(_) => {
                self.copying = false;
                let end = self
                    .tags
                    .iter()
                    .position(|tag| is_answered_with_ready(*tag));
                self.tags
                    .drain(..end.map_or(self.tags.len(), |end| end + 1));
            }
            _ => {}
        }
    }

    /// Whether a ReadyForQuery is to come without anything more from the client.
    pub(super) fn owes_ready(&self) -> bool {
        !self.copying && self.tags.iter().any(|tag| is_answered_with_ready(*tag))
    }

    /// Whether the end of an Execute is missing.
    pub(super) fn owes_execute(&self) -> bool {
        self.tags.contains(&b'E')
    }

    /// Whether the server takes in a client's data.
    pub(super) fn is_copying(&self) -> bool {
        self.copying
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays messages: of the client's, and behind a `<` the server's.
    fn after(messages: &str) -> Owed {
        let mut owed = Owed::default();
        let mut letters = messages.bytes();
        while let Some(letter) = letters.next() {
            match letter {
                b'<' => owed.told(&match letters.next() {
                    Some(b'G') => Told::CopyIn,
                    Some(b'C') => Told::Tag("COPY 1".to_owned()),
                    Some(b'E') => Told::Error,
                    _ => Told::Ready(b'I'),
                }),
                tag => owed.asked(tag),
            }
        }
        owed
    }

    #[test]
    fn a_sync_within_copy_is_not_answered() {
        for (messages, owes_ready, is_copying) in [
            ("Q", true, false),
            ("Q<C<C", true, false),
            ("Q<Z", false, false),
            ("PBES<C", true, false),
            ("PBES<C<Z", false, false),
            ("PBE", false, false),
            ("PBES<E<Z", false, false),
            ("PBESS<E<Z", true, false),
            ("Q<G", false, true),
            ("Q<Gddc", true, false),
            ("Q<Gdf<E<Z", false, false),
            ("Qdc<G", true, false),
            ("PBES<G", false, true),
            ("PBES<Gddc", false, false),
            ("PBES<GddcS", true, false),
            ("PBES<GddcS<C<Z", false, false),
            ("PBESdcS<G", true, false),
            ("PBESdcS<G<C<Z", false, false),
            ("PBES<GdS<EcS<Z", false, false),
            // What is left of data after an error is nobody's.
            ("Q<G<EdcQ<Z<Z", false, false),
        ] {
            let owed = after(messages);
            let seen = (owed.owes_ready(), owed.is_copying());
            assert_eq!(seen, (owes_ready, is_copying), "{messages}");
        }
        assert!(after("PBEH").owes_execute());
        assert!(!after("PBEH<C").owes_execute());
    }
}
