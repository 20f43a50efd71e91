//! Deleting a partition.
//!
//! What always holds: removals and creations of one directory name go one after another; what can't
//! be identified as the removed partition's own is never renamed. And (`durability.md` C5): the
//! intent is durable before the directory is renamed to `<topic>-<partition>.<uuid>-delete`; the
//! rename is synced before *done*, and *done* is durable before a directory of the same name may be
//! made again; the files go later, and what a crash leaves of them goes at the next start.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millrace_host::{Disk, EntryKind, Host, OpenMode, Pool};
use millrace_probe::{Branch, reached};

use super::{NoSink, PartitionLog, Partitions, Phase, partition_path};
use crate::dir::LogDir;
use crate::dir::homes::{Home, Homes};
use crate::error::Error;
use crate::flusher::{Durable, FlushHandle};
use crate::mark::{Incarnation, Mark, Position};
use crate::partition_metadata;

/// How the names of deleted directories end, as Kafka's.
const DELETED: &str = "-delete";
/// How often a directory is looked at while the process has too many files open, and how long it
/// waits in between.
const LOOKS_MAX: u32 = 60;
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl PartitionLog {
    /// Deletes the partition. The log takes no records after the call; when the future is done the
    /// topic's name may be used again. The files follow after `file.delete.delay.ms`.
    pub fn remove(&mut self) -> Durable {
        self.phase = Phase::Failed;
        if !self.has_dir && !self.dir_begun {
            return Box::pin(std::future::ready(Ok(())));
        }
        self.flush.begin_removal();
        let removal = Deletion {
            host: self.host.clone(),
            dir: self.dir.clone(),
            path: self.path.to_path_buf(),
            incarnation: self.incarnation,
            flush: self.flush.clone(),
            delay: Duration::from_millis(self.settings.file_delete_delay_ms),
        };
        Box::pin(async move {
            let home = removal.dir.homes().hold(&removal.path).await;
            removal.run(home).await
        })
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
        let home = self.dir.homes().hold(&path).await;
        let Some(entry) = self.dir.entry(&incarnation) else {
            // Another call for the same partition ended while this one waited.
            return Ok(());
        };
        if entry.deleting {
            reached(Branch::RemovalFinished);
        }
        let end = entry
            .flushed
            .or_else(|| entry.active().map(Position::start_of));
        let flush = self.dir.flush_handle(
            incarnation,
            end.unwrap_or_default(),
            entry.cut_count,
            Arc::new(NoSink),
        );
        let removal = Deletion {
            host: self.host.clone(),
            dir: self.dir.clone(),
            path,
            incarnation,
            flush: Arc::new(flush),
            delay,
        };
        removal.run(home).await
    }

    /// Removes what deleted partitions left in the directory. To be called once after the start.
    pub async fn sweep_deleted(&self) -> Result<(), Error> {
        let dir = self.dir.path();
        let disk = &self.host.disk;
        for entry in disk.list(dir).await.map_err(Error::io("list", dir))? {
            if entry.kind == EntryKind::Dir && entry.name.ends_with(DELETED) {
                reached(Branch::DeletedSwept);
                remove_tree(disk.as_ref(), &dir.join(&entry.name)).await;
            }
        }
        Ok(())
    }
}

/// One deletion on its way.
struct Deletion {
    host: Host,
    dir: Arc<LogDir>,
    path: PathBuf,
    incarnation: Incarnation,
    flush: Arc<FlushHandle>,
    delay: Duration,
}

impl Deletion {
    /// All of it, with the name held until another may use it.
    async fn run(self, mut home: Home) -> Result<(), Error> {
        self.flush.begin_removal();
        self.flush.mark_now(Mark::DeleteIntent).await?;
        // What the flusher still owes to the files and names is done before they are called
        // otherwise: a sync of a name that is gone would take the whole directory offline.
        self.flush.settle().await?;
        let aside = self.set_aside(&mut home).await?;
        // Of a rename before a crash, too, nobody knows that it is durable.
        let dir = self.dir.path();
        self.dir.synced(dir, self.host.disk.sync_dir(dir).await)?;
        self.flush.mark_now(Mark::DeleteDone).await?;
        drop(home);
        let Some(aside) = aside else { return Ok(()) };
        let (host, delay) = (self.host.clone(), self.delay);
        let task = Box::pin(async move {
            let deadline = host.clock.now().mono + delay;
            host.clock.sleep_until(deadline).await;
            remove_tree(host.disk.as_ref(), &aside).await;
        });
        self.host.spawn.spawn(Pool::Data, "remove-partition", task);
        Ok(())
    }

    /// Renames the directory if it is the partition's own: its new name. Nobody makes or renames
    /// one of this name meanwhile.
    async fn set_aside(&self, home: &mut Home) -> Result<Option<PathBuf>, Error> {
        let path = &self.path;
        let owner = match home.begun() {
            Some(begun) if begun == self.incarnation => Owner::Ours,
            Some(_) => Owner::Another,
            None => self.owner().await.map_err(Error::io("look at", path))?,
        };
        match owner {
            Owner::Ours => {}
            // Renamed before a crash; another topic may have taken the name since.
            Owner::Nobody | Owner::Another => {
                reached(Branch::RemovedBefore);
                return Ok(None);
            }
            Owner::Unknown => {
                reached(Branch::RemovedUnidentified);
                tracing::warn!(path = %path.display(), partition = %self.incarnation,
                    "a removed partition's directory can't be told to be its own, since its \
                     partition.metadata is missing or damaged; it stays as it is until a new topic \
                     of the name sets it aside behind a start, or you move it away");
                return Ok(None);
            }
        }
        let name = super::aside_name(self.host.rng.as_ref(), path, DELETED);
        let to = self.dir.path().join(name);
        let renamed = unless_gone(self.host.disk.rename(path, &to).await);
        renamed.map_err(Error::io("rename", path))?;
        home.set_begun(None);
        Ok(Some(to))
    }

    /// Whose the directory is; a process without a free descriptor looks again.
    async fn owner(&self) -> io::Result<Owner> {
        let mut looks = 1;
        loop {
            match owner(self.host.disk.as_ref(), &self.path, self.incarnation).await {
                Err(error) if looks < LOOKS_MAX && millrace_host::is_out_of_descriptors(&error) => {
                    looks += 1;
                    let soon = self.host.clock.now().mono + LOOK_AGAIN;
                    self.host.clock.sleep_until(soon).await;
                }
                result => return result,
            }
        }
    }
}

/// Whose a directory is, by its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Ours,
    Another,
    /// There is no such directory.
    Nobody,
    /// It has no identity that can be read.
    Unknown,
}

async fn owner(disk: &dyn Disk, path: &Path, incarnation: Incarnation) -> io::Result<Owner> {
    let file = match disk.open(&path.join(partition_metadata::FILE_NAME), OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match disk.list(path).await {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Owner::Nobody),
                result => result.map(|_| Owner::Unknown),
            };
        }
        result => result?,
    };
    let bytes = file.read_at(0, 256).await?;
    let identity = std::str::from_utf8(&bytes).ok();
    let identity = identity.and_then(|text| partition_metadata::parse(text).ok());
    Ok(match identity {
        Some(topic_id) if topic_id == incarnation.topic_id => Owner::Ours,
        Some(_) => Owner::Another,
        None => Owner::Unknown,
    })
}

/// Holds the name of a partition's directory for work on the files in it that goes by their paths
/// and not under the partition's lock. `None` when the directory isn't, or isn't known to be, the
/// partition's own any more: a removal was faster, and the name may be another topic's.
pub(super) async fn hold_own(
    (homes, disk): (&Arc<Homes>, &dyn Disk),
    path: &Path,
    incarnation: Incarnation,
) -> Option<Home> {
    let home = homes.hold(path).await;
    let owner = owner(disk, path, incarnation).await;
    matches!(owner, Ok(Owner::Ours)).then_some(home)
}

/// Removes a directory of files; what cannot be removed stays for the next start.
pub(super) async fn remove_tree(disk: &dyn Disk, path: &Path) {
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
