//! Where chance comes from: one seed, and an independent stream for every use of it.
//!
//! Two streams of the same seed share nothing, so a generator that starts to
//! draw more numbers changes no other. Nothing else in this crate is random.

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::history::RollingHash;

/// The number from which a schedule's order of hosts, latencies and draws follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seed(pub u64);

impl Seed {
    /// A stream of random numbers that belongs to `name` alone.
    pub fn stream(self, name: &str) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.child(name, 0).0)
    }

    /// The seed of the `i`-th case drawn under `name`.
    pub fn child(self, name: &str, i: u64) -> Seed {
        let mut hash = RollingHash::default();
        (self.0, name, i).hash(&mut hash);
        Seed(hash.finish())
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::Rng;

    #[test]
    fn streams_of_one_seed_differ_by_name_and_repeat_by_seed() {
        let draw = |seed: u64, name: &str| Seed(seed).stream(name).next_u64();
        assert_eq!(draw(1, "latency"), draw(1, "latency"));
        assert_ne!(draw(1, "latency"), draw(1, "order"));
        assert_ne!(draw(1, "latency"), draw(2, "latency"));
    }
}
