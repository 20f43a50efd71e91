//! What can go wrong with files, said for people: what happened, to which path, what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file by which an operator says that a directory is to be used although it is an old copy; taken
/// away by the start that does.
pub const ACCEPT_OLD_COPY: &str = ".accept-old-copy";

/// A file by which an operator says that a directory is to be used although journal files of it are
/// gone; taken away by the start that does.
pub const ACCEPT_JOURNAL_LOSS: &str = ".accept-journal-loss";

/// A failure of the log room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call on the machine failed.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb: `open`, `sync`, `write the ledger`.
        what: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the machine said.
        source: io::Error,
    },
    /// A file's content isn't what its format says.
    #[error("{what}")]
    BadFile {
        /// Which file and what is wrong with it.
        what: String,
    },
    /// The log directory took a failed sync or write; nothing more is written to it (F1, F2).
    #[error("log directory {} is offline: {reason}; repair or replace the disk, then restart", path.display())]
    Offline {
        /// The log directory.
        path: PathBuf,
        /// The first failure.
        reason: Arc<str>,
    },
    /// Another process holds the directory.
    #[error(
        "log directory {} is in use by another process; stop it, or choose another directory with log.dirs",
        path.display()
    )]
    InUse {
        /// The log directory.
        path: PathBuf,
    },
    /// The directory can't be read or written by this user.
    #[error("log directory {}: {reason}; check its owner, its mode and how it is mounted", path.display())]
    Access {
        /// The log directory.
        path: PathBuf,
        /// What was refused.
        reason: String,
    },
    /// The directory belongs to another cluster or node, or is no log directory.
    #[error("log directory {}: {reason}", path.display())]
    Foreign {
        /// The log directory.
        path: PathBuf,
        /// Whose it is, and what to do.
        reason: String,
    },
    /// Written by a Millrace whose format this one doesn't read.
    #[error(
        "log directory {} has format {found}, written by {writer}, and this one, {}, reads {}: run \
         {writer}{}; nothing was changed",
        path.display(), crate::VERSION,
        if *found > reads.1 { format!("up to {}", reads.1) } else { format!("from {} on", reads.0) },
        if *found > reads.1 { " or a newer one" } else { "" }
    )]
    OtherFormat {
        /// The log directory.
        path: PathBuf,
        /// Its format number.
        found: u32,
        /// The oldest and the newest that this version reads.
        reads: (u32, u32),
        /// Which version had the directory open last, as its in-use file says.
        writer: String,
    },
    /// A copy of the directory that is older than what served last (A1).
    #[error(
        "log directory {} is an old copy: it ends with generation {own}, and generation {known} of it \
         has served; put the newer one in its place. To go on with this one and give up whatever only \
         the newer one has, create the file {} and start again",
        path.display(), path.join(ACCEPT_OLD_COPY).display()
    )]
    OldCopy {
        /// The log directory.
        path: PathBuf,
        /// Its newest generation.
        own: u64,
        /// The newest that is known to have served.
        known: u64,
    },
    /// Damage that recovery may not decide alone (R1, L3, R5).
    #[error("{what}; the directory stays offline until an operator decides (millrace check)")]
    Corrupt {
        /// Which file, which bytes, what was expected.
        what: String,
    },
    /// No room for a change that needs some (F4).
    #[error("no space left in log directory {}; delete topics or add room, it resumes by itself", path.display())]
    DiskFull {
        /// The log directory.
        path: PathBuf,
    },
    /// One partition can't be served: its bytes are damaged or missing.
    #[error("partition {partition} is offline: {reason}")]
    PartitionOffline {
        /// `topic-partition`.
        partition: String,
        /// What was found.
        reason: String,
    },
}

impl Error {
    /// For `map_err`: names the call and the path.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            what,
            path: path.to_owned(),
            source,
        }
    }

    /// A failed call on the directory itself, said so that the operator knows what to change.
    pub(crate) fn access(dir: &Path, what: &'static str, path: &Path, error: io::Error) -> Self {
        Self::io(what, path)(error).in_directory(dir)
    }

    /// What a failed call is to the log directory it was made in: one that may not be written and
    /// one that is full are the operator's to mend, no failure of the machine.
    #[must_use]
    pub fn in_directory(self, dir: &Path) -> Self {
        let Self::Io { what, path, source } = &self else {
            return self;
        };
        let refused = [
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::ReadOnlyFilesystem,
        ];
        if refused.contains(&source.kind()) {
            let reason = format!("cannot {what} {}: {source}", path.display());
            let path = dir.to_owned();
            return Self::Access { path, reason };
        }
        if source.kind() == io::ErrorKind::StorageFull {
            let path = dir.to_owned();
            return Self::DiskFull { path };
        }
        self
    }
}
