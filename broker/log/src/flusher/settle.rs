//! Syncs of segment files and their names, beside the journal.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};

use millrace_host::{BoxFuture, Completion, Disk, File, OpenMode};
use millrace_probe::{Bug, planted};

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
        self.start_where(disk, |_| false)
    }

    /// The same of partitions' files that were written in the log directory `root` some time ago: a
    /// partition's directory that is gone was renamed by its removal since, behind a durable intent.
    pub(crate) fn start_late(
        self,
        disk: &dyn Disk,
        root: &Path,
    ) -> BoxFuture<'static, Result<(), Error>> {
        self.start_where(disk, |dir| dir != root)
    }

    fn start_where(
        self,
        disk: &dyn Disk,
        may_be_gone: impl Fn(&Path) -> bool,
    ) -> BoxFuture<'static, Result<(), Error>> {
        let files = self.files.iter().map(|file| Pending {
            path: file.path().clone(),
            sync: held(disk, file).sync(),
            may_be_gone: false,
        });
        let dirs = self.dirs.iter().map(|dir| Pending {
            path: dir.clone(),
            sync: disk.sync_dir(dir),
            may_be_gone: may_be_gone(dir),
        });
        let mut pending: Vec<Pending> = files.chain(dirs).collect();
        Box::pin(async move {
            // Whichever fails is heard of at once: nobody may read what it left as if it were sound.
            std::future::poll_fn(|cx| poll_all(&mut pending, cx)).await
        })
    }
}

/// The descriptor that wrote (S2): it alone is sure to hear of a write-back that failed.
fn held(disk: &dyn Disk, file: &Arc<dyn File>) -> Arc<dyn File> {
    if planted(Bug::DescriptorClosedUnsettled)
        && let Ok(another) = disk.open(file.path(), OpenMode::Write)
    {
        return another;
    }
    Arc::clone(file)
}

/// A sync on its way.
struct Pending {
    path: PathBuf,
    sync: Completion<()>,
    may_be_gone: bool,
}

fn poll_all(pending: &mut Vec<Pending>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
    let mut index = 0;
    while index < pending.len() {
        let one = &mut pending[index];
        match one.sync.as_mut().poll(cx) {
            Poll::Ready(Err(error))
                if !(one.may_be_gone && error.kind() == io::ErrorKind::NotFound) =>
            {
                return Poll::Ready(Err(Error::io("sync", &one.path)(error)));
            }
            Poll::Ready(_) => drop(pending.swap_remove(index)),
            Poll::Pending => index += 1,
        }
    }
    if pending.is_empty() {
        Poll::Ready(Ok(()))
    } else {
        Poll::Pending
    }
}
