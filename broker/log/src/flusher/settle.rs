//! Syncs of segment files and their names, beside the journal.

use std::path::PathBuf;
use std::sync::Arc;

use millrace_host::{BoxFuture, Disk, File};

use crate::error::Error;

/// What one partition's sync consists of.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) files: Vec<Arc<dyn File>>,
    pub(crate) dirs: Vec<PathBuf>,
}

impl Work {
    /// Starts all of it at once; completes when all of it is durable. Files whose name is not yet
    /// durable need both (C4), and neither has to come first.
    pub(crate) fn start(self, disk: &dyn Disk) -> BoxFuture<'static, Result<(), Error>> {
        let files: Vec<_> = self.files.iter().map(|file| file.sync()).collect();
        let dirs: Vec<_> = self.dirs.iter().map(|dir| disk.sync_dir(dir)).collect();
        Box::pin(async move {
            for (sync, file) in files.into_iter().zip(&self.files) {
                sync.await.map_err(Error::io("sync", file.path()))?;
            }
            for (sync, dir) in dirs.into_iter().zip(&self.dirs) {
                sync.await.map_err(Error::io("sync directory", dir))?;
            }
            Ok(())
        })
    }
}
