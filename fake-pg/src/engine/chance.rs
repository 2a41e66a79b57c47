//! What SQL draws by chance: a stream of numbers, counted from a seed (splitmix64).
//!
//! It has no end and no other state than how much of it has been drawn; clones go on alike.

use super::Engine;

/// The stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chance(u64);

impl Engine {
    /// Starts the stream of `random()` and `gen_random_uuid()` anew.
    pub fn seed_chance(&mut self, seed: u64) {
        self.chance = Chance(seed);
    }

    /// The next number of the stream.
    pub fn draw(&mut self) -> u64 {
        self.chance.0 = self.chance.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}
