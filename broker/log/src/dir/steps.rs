//! What the steps of a start work on, and what they hand on.

use std::io;
use std::path::{Path, PathBuf};

use millrace_host::sync::Arc;
use millrace_host::{Disk, File, Host};

use crate::dir::{DirOptions, Slots, StartReport};
use crate::error::Error;
use crate::flusher::reclaim::Retired;
use crate::ledger::Ledger;
use crate::ledger::file::LedgerFiles;

/// A start.
pub(super) struct Start {
    pub(super) host: Host,
    pub(super) path: PathBuf,
    pub(super) options: DirOptions,
}

/// What loading gives to the new generation.
pub(super) struct Loaded {
    pub(super) ledger: Ledger,
    pub(super) ledger_files: LedgerFiles,
    pub(super) repeat: Option<bytes::Bytes>,
    pub(super) retired: Retired,
    pub(super) settle_first: bool,
    /// A run of this boot ended with a directory that had failed.
    pub(super) after_failure: bool,
    pub(super) report: StartReport,
}

/// What the files made by this start need before anything counts.
#[derive(Default)]
pub(super) struct Made {
    pub(super) files: Vec<Arc<dyn File>>,
    pub(super) dirs: Vec<PathBuf>,
    /// Its file is among the files.
    pub(super) slots: Option<Slots>,
}

impl Made {
    /// Syncs all files and all directories side by side: none counts before all are done, and a
    /// name without its content is what an interrupted start leaves anyway (R9).
    pub(super) async fn sync(mut self, disk: &dyn Disk) -> Result<(), Error> {
        self.dirs.sort();
        self.dirs.dedup();
        let files: Vec<_> = self.files.iter().map(|file| file.sync()).collect();
        let dirs: Vec<_> = self.dirs.iter().map(|dir| disk.sync_dir(dir)).collect();
        for (sync, file) in files.into_iter().zip(&self.files) {
            sync.await.map_err(Error::io("sync", file.path()))?;
        }
        for (sync, dir) in dirs.into_iter().zip(&self.dirs) {
            match sync.await {
                // The parent of a mount point may not be ours to open; its entry is not new then.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    tracing::debug!(path = %dir.display(), %error, "directory not synced");
                }
                done => done.map_err(Error::io("sync directory", dir))?,
            }
        }
        Ok(())
    }
}

/// The directory that a name stands in.
pub(super) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => path.to_owned(),
    }
}
