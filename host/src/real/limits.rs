//! The process's limit on open files.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many descriptors the process may have open. `u64::MAX` stands for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// The limit in force.
    pub soft: u64,
    /// What the process may raise it to.
    pub hard: u64,
}

/// Reads the limit (`RLIMIT_NOFILE`).
pub fn open_files() -> OpenFiles {
    let limit = getrlimit(Resource::Nofile);
    OpenFiles {
        soft: limit.current.unwrap_or(u64::MAX),
        hard: limit.maximum.unwrap_or(u64::MAX),
    }
}

/// Raises the limit in force towards `want`, as far as the hard limit allows; never lowers it.
/// Returns what holds now.
pub fn raise_open_files(want: u64) -> io::Result<OpenFiles> {
    let had = open_files();
    let soft = want.min(had.hard);
    if soft > had.soft {
        let maximum = Some(had.hard).filter(|hard| *hard != u64::MAX);
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(soft),
                maximum,
            },
        )?;
    }
    Ok(open_files())
}
