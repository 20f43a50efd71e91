//! Randomness from the operating system, stretched by a cryptographic generator.

use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use crate::Rng;

/// One generator for the process, seeded once from the operating system.
pub(super) struct RealRng(Mutex<StdRng>);

impl RealRng {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Mutex::new(
            StdRng::try_from_os_rng().map_err(io::Error::other)?,
        )))
    }
}

impl Rng for RealRng {
    fn fill(&self, buf: &mut [u8]) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fill_bytes(buf);
    }
}

impl fmt::Debug for RealRng {
    /// Says nothing of the state: the next number must stay unknown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RealRng")
    }
}
