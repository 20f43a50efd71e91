//! Syncs of segment files and their names, beside the journal.

use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};

use millrace_host::{BoxFuture, Completion, Disk, File};

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
        let files = self
            .files
            .iter()
            .map(|file| (file.path().clone(), file.sync()));
        let dirs = self
            .dirs
            .iter()
            .map(|dir| (dir.clone(), disk.sync_dir(dir)));
        let mut pending: Vec<(PathBuf, Completion<()>)> = files.chain(dirs).collect();
        Box::pin(async move {
            // Whichever fails is heard of at once: nobody may read what it left as if it were sound.
            std::future::poll_fn(|cx| poll_all(&mut pending, cx)).await
        })
    }
}

fn poll_all(
    pending: &mut Vec<(PathBuf, Completion<()>)>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Error>> {
    let mut index = 0;
    while index < pending.len() {
        let (path, sync) = &mut pending[index];
        match sync.as_mut().poll(cx) {
            Poll::Ready(Ok(())) => drop(pending.swap_remove(index)),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(Error::io("sync", path)(error))),
            Poll::Pending => index += 1,
        }
    }
    if pending.is_empty() {
        Poll::Ready(Ok(()))
    } else {
        Poll::Pending
    }
}
