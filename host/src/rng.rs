//! Randomness: one seam, so that a simulation draws everything from its seed.

use std::fmt;

/// A source of random numbers. Unpredictable in production (operating system entropy), drawn from
/// the run's seed in simulation.
pub trait Rng: fmt::Debug + Send + Sync {
    /// Fills `buf` with random bytes.
    fn fill(&self, buf: &mut [u8]);

    /// A uniformly drawn 64-bit number.
    fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}
