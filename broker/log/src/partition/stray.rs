//! Directories that the ledger does not know.
//!
//! A crash may leave the directory of a first append whose mark was still on its way. What always
//! holds (`durability.md` R2): it is recovered in full when its identity is the partition that is
//! opened, else set aside under a name ending in `-stray`; never overwritten. Both are decided and
//! done while its name is held.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use millrace_host::{DirEntry, EntryKind};
use millrace_probe::{Branch, Bug, planted, reached};

use super::{NoSink, Partitions, aside_name, read_identity};
use crate::error::Error;
use crate::ledger::{LedgerEntry, SegmentEntry};
use crate::mark::{Incarnation, Mark, Position, SegmentId};
use crate::segment::names;

impl Partitions {
    /// Looks for what a crash left of a partition that was never written by the ledger: an entry
    /// to recover it by, or nothing.
    pub(super) async fn take_in(
        &self,
        incarnation: Incarnation,
        topic: &str,
        path: &Path,
    ) -> Result<Option<LedgerEntry>, Error> {
        let name = names::partition_dir(topic, incarnation.partition)?;
        if !self.names_at_start().await?.contains(&name) {
            return Ok(None);
        }
        if self.is_of_another(incarnation, path).await {
            reached(Branch::DirectoryLeftToRemoval);
            // Of a topic that is being removed: its removal renames it, and appends are refused
            // until then.
            return Ok(None);
        }
        let home = self.dir.homes().hold(path).await;
        if home.begun().is_some() || self.is_of_another(incarnation, path).await {
            return Ok(None);
        }
        let files = match self.host.disk.list(path).await {
            // Deleted or set aside since the start.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(Error::io("list", path))?,
        };
        let identity = read_identity(self.host.disk.as_ref(), path).await;
        let first = SegmentId::default();
        let is_own = identity == Some(incarnation.topic_id);
        if !(is_own || planted(Bug::OldDataUnderRecreatedName)) || !begins_with(&files, first) {
            self.set_stray_aside(path).await?;
            return Ok(None);
        }
        reached(Branch::DirectoryTakenIn);
        tracing::warn!(path = %path.display(), "a directory of an unfinished first append is taken in");
        let topic: Arc<str> = topic.into();
        let start = Position::start_of(first);
        let flush = self
            .dir
            .flush_handle(incarnation, start, 0, Arc::new(NoSink));
        let mark = Mark::TakenIn {
            id: first,
            topic: topic.clone(),
        };
        // Ahead of every mark and every byte that follows: nobody has to wait for it.
        flush.mark(mark);
        drop(flush);
        let segment = SegmentEntry {
            id: first,
            ..SegmentEntry::default()
        };
        Ok(Some(self.dir.entry(&incarnation).unwrap_or(LedgerEntry {
            topic,
            segments: vec![segment],
            log_start: -1,
            high_watermark: -1,
            ..LedgerEntry::default()
        })))
    }

    /// Whether the directory names another partition of the ledger as its owner.
    async fn is_of_another(&self, incarnation: Incarnation, path: &Path) -> bool {
        let identity = read_identity(self.host.disk.as_ref(), path).await;
        identity.is_some_and(|topic_id| {
            let owner = Incarnation {
                topic_id,
                ..incarnation
            };
            owner != incarnation
                && self.dir.entry(&owner).is_some()
                && !planted(Bug::OldDataUnderRecreatedName)
        })
    }

    /// The directories that stood here at the start, listed once.
    async fn names_at_start(&self) -> Result<&BTreeSet<String>, Error> {
        let dir = self.dir.path();
        let list = || async move {
            let entries = self
                .host
                .disk
                .list(dir)
                .await
                .map_err(Error::io("list", dir))?;
            let dirs = entries
                .into_iter()
                .filter(|entry| entry.kind == EntryKind::Dir);
            Ok(dirs.map(|entry| entry.name).collect())
        };
        self.names_at_start.get_or_try_init(list).await
    }

    async fn set_stray_aside(&self, path: &Path) -> Result<(), Error> {
        let to = self
            .dir
            .path()
            .join(aside_name(self.host.rng.as_ref(), path, "-stray"));
        reached(Branch::StraySetAside);
        tracing::warn!(from = %path.display(), to = %to.display(), "an unknown directory is set aside");
        self.host
            .disk
            .rename(path, &to)
            .await
            .map_err(Error::io("set aside", path))?;
        let dir = self.dir.path();
        self.dir.synced(dir, self.host.disk.sync_dir(dir).await)
    }
}

fn begins_with(files: &[DirEntry], first: SegmentId) -> bool {
    let bases = files.iter().filter_map(|file| names::parse(&file.name));
    let bases = bases
        .filter(|(_, suffix)| *suffix == names::LOG)
        .map(|(base, _)| base);
    bases.min() == Some(first.base_offset)
}
