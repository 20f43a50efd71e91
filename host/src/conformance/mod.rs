//! One suite for every implementation of the seams: the words of the trait documentation, as
//! checks. The real host and the simulated one both run it; a check that fails panics.

mod crash;
mod files;
mod sockets;
mod tasks;

use std::path::{Path, PathBuf};

use crate::{BoxFuture, Host};

pub use crash::{Machine, crashes};

/// What a check works with.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The machine under test.
    pub host: Host,
    /// An empty directory of the check's own.
    pub dir: PathBuf,
}

impl Bench {
    /// A path in the directory.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// A rule and how it is checked.
pub type Check = (&'static str, fn(Bench) -> BoxFuture<'static, ()>);

/// Every check that needs no crash.
pub fn checks() -> Vec<Check> {
    [files::CHECKS, sockets::CHECKS, tasks::CHECKS].concat()
}

/// Runs every check that needs no crash, each in a directory of its own under `dir`, which must
/// exist. The host's tasks are killed by the last one.
pub async fn run_all(host: &Host, dir: &Path) {
    for (rule, check) in checks() {
        let dir = dir.join(rule);
        host.disk
            .create_dir(&dir)
            .expect("the suite's directory is writable");
        check(Bench {
            host: host.clone(),
            dir,
        })
        .await;
    }
}

/// Bytes that tell their place: no two ranges of one file look alike.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
