//! Deleting a partition.
//!
//! What always holds (`durability.md` C5): the intent is durable before the directory is renamed to
//! `<topic>-<partition>.<uuid>-delete`; the rename is synced before *done*, and *done* is durable
//! before a directory of the same name may be made again; the files go later, and what a crash
//! leaves of them goes at the next start.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millrace_host::{Disk, EntryKind, Host, Pool};

use super::{NoSink, PartitionLog, Partitions, Phase, partition_path, read_identity};
use crate::error::Error;
use crate::flusher::{Durable, FlushHandle};
use crate::mark::{Incarnation, Mark, Position};

/// How the names of deleted directories end, as Kafka's.
const DELETED: &str = "-delete";

impl PartitionLog {
    /// Deletes the partition. The log takes no records after the call; when the future is done the
    /// topic's name may be used again. The files follow after `file.delete.delay.ms`.
    pub fn remove(&mut self) -> Durable {
        self.phase = Phase::Failed;
        if !self.has_dir && !self.dir_begun {
            return Box::pin(std::future::ready(Ok(())));
        }
        let removal = Deletion {
            host: self.host.clone(),
            dir: self.dir.path().clone(),
            path: self.path.to_path_buf(),
            topic_id: self.topic_id(),
            flush: self.flush.clone(),
            delay: Duration::from_millis(self.settings.file_delete_delay_ms),
        };
        Box::pin(removal.run())
    }
}

impl Partitions {
    /// Deletes a partition whose log is not open (offline, or a deletion that a crash interrupted).
    /// One that was never written is no work.
    pub async fn remove(&self, incarnation: Incarnation, delay: Duration) -> Result<(), Error> {
        self.dir.proven().await?;
        let Some(entry) = self.dir.entry(&incarnation) else {
            return Ok(());
        };
        let path = partition_path(self.dir.path(), &entry.topic, incarnation.partition)?;
        let flush = Arc::new(
            self.dir.flush_handle(
                incarnation,
                entry
                    .flushed
                    .or_else(|| entry.active().map(Position::start_of))
                    .unwrap_or_default(),
                entry.cut_count,
                Arc::new(NoSink),
            ),
        );
        let identity = read_identity(self.host.disk.as_ref(), &path).await;
        if identity.is_some_and(|id| id != incarnation.topic_id) {
            // The name is used by another topic: ours was renamed before.
            return flush.mark_now(Mark::DeleteDone).await;
        }
        let (host, dir) = (self.host.clone(), self.dir.path().clone());
        Deletion {
            host,
            dir,
            path,
            topic_id: incarnation.topic_id,
            flush,
            delay,
        }
        .run()
        .await
    }

    /// Removes what deleted partitions left in the directory. To be called once after the start.
    pub async fn sweep_deleted(&self) -> Result<(), Error> {
        let dir = self.dir.path();
        let disk = &self.host.disk;
        for entry in disk.list(dir).await.map_err(Error::io("list", dir))? {
            if entry.kind == EntryKind::Dir && entry.name.ends_with(DELETED) {
                remove_tree(disk.as_ref(), &dir.join(&entry.name)).await;
            }
        }
        Ok(())
    }
}

/// One deletion on its way.
struct Deletion {
    host: Host,
    dir: PathBuf,
    path: PathBuf,
    topic_id: [u8; 16],
    flush: Arc<FlushHandle>,
    delay: Duration,
}

impl Deletion {
    async fn run(self) -> Result<(), Error> {
        self.flush.mark_now(Mark::DeleteIntent).await?;
        // What the flusher still owes to the files and names is done before they are called
        // otherwise: a sync of a name that is gone would take the whole directory offline.
        self.flush.settle().await?;
        let identity = read_identity(self.host.disk.as_ref(), &self.path).await;
        if identity.is_some_and(|id| id != self.topic_id) {
            // Renamed before, and the name is used by another topic since.
            return self.flush.mark_now(Mark::DeleteDone).await;
        }
        let to = self.dir.join(super::aside_name(
            self.host.rng.as_ref(),
            &self.path,
            DELETED,
        ));
        match self.host.disk.rename(&self.path, &to).await {
            // Renamed before a crash.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result.map_err(Error::io("rename", &self.path))?,
        }
        let synced = self.host.disk.sync_dir(&self.dir).await;
        self.flush.synced(&self.dir, synced)?;
        self.flush.mark_now(Mark::DeleteDone).await?;
        let (host, delay) = (self.host.clone(), self.delay);
        let task = Box::pin(async move {
            let deadline = host.clock.now().mono + delay;
            host.clock.sleep_until(deadline).await;
            remove_tree(host.disk.as_ref(), &to).await;
        });
        self.host.spawn.spawn(Pool::Data, "remove-partition", task);
        Ok(())
    }
}

/// Removes a directory of files; what cannot be removed stays for the next start.
async fn remove_tree(disk: &dyn Disk, path: &Path) {
    let result = async {
        for entry in disk.list(path).await? {
            unless_gone(disk.remove(&path.join(&entry.name)).await)?;
        }
        disk.remove_dir(path).await
    };
    if let Err(error) = unless_gone(result.await) {
        tracing::warn!(path = %path.display(), %error, "a deleted partition's files stay for now");
    }
}

/// Two removals may meet in one directory: what is gone is no error.
fn unless_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
