//! When producer state is written down, named, loaded and removed (`durability.md` A2).
//!
//! What always holds: a snapshot is named by a mark only once its files are synced and everything
//! below its offset is durable; only named ones are loaded, newest first, and one that does not
//! match its name is passed over. A named file is never written again, and goes only when the mark
//! of a newer one is durable. An empty state is named without a file (both CRCs 0). The log starts
//! at or below the newest named one: what is known of producers outlives their records.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use millrace_host::{Completion, Disk, OpenMode, Pool};
use millrace_probe::{Branch, reached};
use millrace_protocol::producer::ProducerEntry;
use tokio::sync::watch;

use super::remove::hold_own;
use super::{AppendError, PartitionLog};
use crate::error::Error;
use crate::flusher::{Durable, FlushHandle};
use crate::mark::{Mark, SnapshotName};
use crate::producer_snapshot;
use crate::segment::names;

/// Bytes of log after which the state is written down, so that replay is bounded.
const INTERVAL_BYTES: u64 = 16 << 20;

/// Snapshots that may wait for their sync or their flush at once.
const PENDING_MAX: usize = 4;

/// Named snapshots whose files are kept.
const NAMED_MAX: usize = 2;

/// The snapshots of one partition.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// Named by a mark, oldest first.
    pub(super) named: VecDeque<SnapshotName>,
    pending: VecDeque<Pending>,
    bytes_since: u64,
}

/// Written, not named yet.
#[derive(Debug)]
struct Pending {
    name: SnapshotName,
    /// Says whether the files are synced; nothing as long as they are on their way.
    synced: watch::Receiver<Option<bool>>,
}

impl Pending {
    /// Waits until the files are synced, and says whether they are.
    async fn is_synced(mut synced: watch::Receiver<Option<bool>>) -> bool {
        // Whoever went without a word did not sync them.
        let told = synced.wait_for(Option::is_some).await;
        told.is_ok_and(|synced| *synced == Some(true))
    }
}

impl Snapshots {
    pub(super) fn new(named: &[SnapshotName]) -> Self {
        Self {
            named: named.iter().copied().collect(),
            ..Self::default()
        }
    }

    /// Waits for what is being synced and names all of it up to `flushed`, for a clean close. Gives
    /// the names whose files stay.
    pub(super) async fn name_all(self, flush: &FlushHandle, flushed: i64) -> Vec<SnapshotName> {
        let mut named = Vec::from(self.named);
        for pending in self.pending {
            if Pending::is_synced(pending.synced).await && pending.name.lies_within(flushed) {
                flush.mark(Mark::Snapshot(pending.name));
                named.push(pending.name);
            }
        }
        named.split_off(named.len().saturating_sub(NAMED_MAX))
    }

    /// One more is named: those that are no longer needed once its mark is durable.
    fn name(&mut self, name: SnapshotName) -> Vec<SnapshotName> {
        self.named.push_back(name);
        let excess = self.named.len().saturating_sub(NAMED_MAX);
        self.named.drain(..excess).collect()
    }

    /// The offset of the newest that is named.
    pub(super) fn newest(&self) -> Option<i64> {
        self.named.back().map(|name| name.offset)
    }

    /// Forgets those above a cut; their marks are dropped by the cut's own mark.
    pub(super) fn cut(&mut self, end: i64) {
        self.named.retain(|name| name.lies_within(end));
        self.pending.retain(|pending| pending.name.lies_within(end));
    }
}

impl PartitionLog {
    /// Whether a snapshot is due after an append of `bytes`; names those that have become usable.
    pub(super) fn snapshot_due(&mut self, rolled: bool, bytes: u64) -> bool {
        self.name_snapshots();
        self.snapshots.bytes_since = self.snapshots.bytes_since.saturating_add(bytes);
        (rolled || self.snapshots.bytes_since >= INTERVAL_BYTES)
            && self.snapshots.pending.len() < PENDING_MAX
    }

    /// Writes the state of the producers as it stood before the record at `offset`. The files are
    /// synced in the background and named later; a failure is logged and leaves the older ones. One
    /// of the same offset says the same, and stays.
    pub fn write_snapshot(&mut self, offset: i64, entries: &[ProducerEntry]) {
        if !self.has_dir || self.writable().is_err() {
            return;
        }
        self.snapshots.bytes_since = 0;
        let pending = self.snapshots.pending.back();
        let newest = pending.map(|pending| pending.name.offset);
        if newest.max(self.snapshots.newest()) >= Some(offset) {
            return;
        }
        let (done, synced) = watch::channel(None);
        if entries.is_empty() {
            done.send_replace(Some(true));
            let name = SnapshotName {
                offset,
                crc_ours: 0,
                crc_kafka: 0,
            };
            self.snapshots.pending.push_back(Pending { name, synced });
            return;
        }
        let ours = producer_snapshot::encode(offset, entries);
        let kafka = producer_snapshot::encode_kafka(entries);
        if ours.crc == 0 {
            // Zero is the name of the empty state; the next snapshot will have another.
            return;
        }
        let disk = self.reader.handles().disk().clone();
        let files = [
            (names::PRODUCERS, ours.bytes.as_slice()),
            (names::SNAPSHOT, kafka.bytes.as_slice()),
        ];
        let written = write_both(disk.as_ref(), &self.path, offset, files);
        let syncs = match written {
            Ok(syncs) => syncs,
            Err(error) => {
                tracing::warn!(partition = %self.name(), %error, "a producer snapshot was not written");
                return;
            }
        };
        let name = SnapshotName {
            offset,
            crc_ours: ours.crc,
            crc_kafka: kafka.crc,
        };
        self.snapshots.pending.push_back(Pending { name, synced });
        self.sync_snapshot(syncs, done);
    }

    /// Syncs a snapshot's files and names in the background, and says whether that went well.
    fn sync_snapshot(&self, syncs: [Completion<()>; 2], done: watch::Sender<Option<bool>>) {
        let disk = self.reader.handles().disk().clone();
        let (path, dir, partition) = (self.path.clone(), self.dir.clone(), self.name());
        let incarnation = self.incarnation;
        let task = Box::pin(async move {
            let own = async {
                let [ours, kafka] = syncs;
                // The failure of one is heard of while the other is still under way, and before
                // anything else is waited for (F1).
                tokio::try_join!(ours, kafka)?;
                // A removal may take the names away, and nobody needs the snapshot then.
                let own = hold_own((dir.homes(), disk.as_ref()), &path, incarnation).await;
                if own.is_some() {
                    // A journaled first append leaves the directory's own name to a replay, which
                    // would make it anew without this file.
                    tokio::try_join!(disk.sync_dir(&path), disk.sync_dir(dir.path()))?;
                }
                io::Result::Ok(own)
            };
            let own = own.await.unwrap_or_else(|error| {
                dir.fail(&format!(
                    "syncing a producer snapshot of {partition}: {error}"
                ));
                None
            });
            done.send_replace(Some(own.is_some()));
        });
        self.host.spawn.spawn(Pool::Data, "producer-snapshot", task);
    }

    /// Names a state that another room folded from this log, up to `offset`, and keeps in a file of
    /// its own that is synced with its name (the metadata's snapshots). To this log it is the empty
    /// state of a log without producers. When the future is done, the name is durable.
    pub fn name_state(&mut self, offset: i64, crc: u32) -> Durable {
        let named = self.writable().and_then(|()| {
            if offset <= self.flush.flushed().offset {
                return Ok(());
            }
            Err(AppendError::Failed(format!(
                "the state at {offset} lies above the durable end of {}",
                self.name()
            )))
        });
        if let Err(error) = named {
            let what = error.to_string();
            return Box::pin(std::future::ready(Err(Error::BadFile { what })));
        }
        let name = SnapshotName {
            offset,
            crc_ours: 0,
            crc_kafka: crc,
        };
        // Files of such names are not ours.
        let _none = self.snapshots.name(name);
        self.flush.mark_now(Mark::Snapshot(name))
    }

    /// Sees to it that the log may start at `to`: what is known of producers by then has to be
    /// written down and named, or it would go with their records. `entries` gives it as it stands
    /// at the log's end, if it is needed. Once the future is done [`Self::start_within`] says how
    /// far that went.
    pub fn cover_start(
        &mut self,
        to: i64,
        entries: impl FnOnce() -> Vec<ProducerEntry>,
    ) -> Durable {
        self.name_snapshots();
        let covers = |offset: Option<i64>| offset >= Some(to);
        if covers(self.snapshots.newest()) {
            return Box::pin(std::future::ready(Ok(())));
        }
        let pending = self.snapshots.pending.back();
        if !covers(pending.map(|pending| pending.name.offset)) {
            self.write_snapshot(self.log_end(), &entries());
        }
        // They are named in order.
        let pending = self.snapshots.pending.iter();
        let syncs: Vec<_> = pending.map(|pending| pending.synced.clone()).collect();
        let pending = self.snapshots.pending.back();
        let settled = pending
            .filter(|pending| pending.name.offset > self.flush.flushed().offset)
            .map(|_| {
                self.flush_now();
                self.flush.settle()
            });
        let (flush, start) = (self.flush.clone(), self.log_start());
        Box::pin(async move {
            for synced in syncs {
                Pending::is_synced(synced).await;
            }
            if let Some(settled) = settled {
                settled.await?;
                // What a sync made durable counts with the round of the segment's mark: this mark
                // says nothing new, and comes behind it.
                flush.mark_now(Mark::HighWatermark(start)).await?;
            }
            Ok(())
        })
    }

    /// How far towards `to` the log may start without losing what is known of producers; `None`
    /// when that is nowhere.
    pub fn start_within(&mut self, to: i64) -> Option<i64> {
        self.name_snapshots();
        let start = self.snapshots.newest()?.min(to);
        (start > self.log_start()).then_some(start)
    }

    /// Names the snapshots that are synced and below the durable end, in order, and removes the
    /// files of those that are no longer needed.
    pub(super) fn name_snapshots(&mut self) {
        while let Some(pending) = self.snapshots.pending.front() {
            let name = pending.name;
            if !name.lies_within(self.flush.flushed().offset) {
                return;
            }
            let gone = pending.synced.has_changed().is_err();
            let synced = *pending.synced.borrow();
            match synced {
                Some(true) => {
                    let marked = self.flush.mark_told(Mark::Snapshot(name));
                    let old = self.snapshots.name(name);
                    self.remove_snapshots(old, marked);
                }
                None if !gone => return,
                None | Some(false) => {}
            }
            self.snapshots.pending.pop_front();
        }
    }

    /// Removes the files of old snapshots once a newer one's mark is durable.
    fn remove_snapshots(&self, mut old: Vec<SnapshotName>, marked: Durable) {
        old.retain(|name| name.crc_ours != 0);
        if old.is_empty() {
            return;
        }
        let disk = self.reader.handles().disk().clone();
        let of = |name: &SnapshotName| {
            [names::PRODUCERS, names::SNAPSHOT]
                .map(|kind| names::file(&self.path, name.offset, kind))
        };
        let paths: Vec<_> = old.iter().flat_map(of).collect();
        let (homes, path, incarnation) = (
            self.dir.homes().clone(),
            self.path.clone(),
            self.incarnation,
        );
        let task = Box::pin(async move {
            if marked.await.is_err() {
                return;
            }
            let own = hold_own((&homes, disk.as_ref()), &path, incarnation);
            let Some(_home) = own.await else { return };
            for path in paths {
                if let Err(error) = disk.remove(&path).await {
                    tracing::debug!(path = %path.display(), %error, "an old snapshot stays");
                }
            }
        });
        self.host.spawn.spawn(Pool::Data, "remove-snapshot", task);
    }
}

/// Removes the files of all snapshots but those named: what a close, a kill or a cut left behind.
pub(super) async fn sweep(disk: &dyn Disk, dir: &Path, named: &[SnapshotName]) {
    let listed = disk.list(dir).await.unwrap_or_default();
    for file in listed {
        let Some((offset, names::SNAPSHOT | names::PRODUCERS)) = names::parse(&file.name) else {
            continue;
        };
        if named.iter().any(|name| name.offset == offset) {
            continue;
        }
        reached(Branch::SnapshotSwept);
        if let Err(error) = disk.remove(&dir.join(&file.name)).await {
            tracing::debug!(file = file.name, %error, "an old snapshot stays");
        }
    }
}

/// The newest usable snapshot at or below `log_end`: its offset and the producers. Those that are not
/// usable are taken out of `named`.
pub(super) async fn load(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    named: &mut VecDeque<SnapshotName>,
    log_end: i64,
) -> Option<(i64, Vec<ProducerEntry>)> {
    named.retain(|name| name.lies_within(log_end));
    while let Some(name) = named.back().copied() {
        if name.crc_ours == 0 {
            return Some((name.offset, Vec::new()));
        }
        let path = names::file(dir, name.offset, names::PRODUCERS);
        match read(disk, &path).await {
            Ok(encoded) => {
                if let Ok((offset, entries)) = producer_snapshot::decode(&encoded)
                    && offset == name.offset
                    && encoded.get(10..14) == Some(&name.crc_ours.to_be_bytes())
                {
                    reached(Branch::SnapshotLoaded);
                    return Some((offset, entries));
                }
                tracing::warn!(path = %path.display(), "a producer snapshot is damaged; an older one is used");
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a producer snapshot is missing; an older one is used");
            }
        }
        reached(Branch::SnapshotDamaged);
        named.pop_back();
    }
    None
}

async fn read(disk: &Arc<dyn Disk>, path: &Path) -> io::Result<bytes::Bytes> {
    let file = disk.open(path, OpenMode::Read)?;
    let len = file.len()? as usize;
    file.read_at(0, len).await
}

/// Writes both files of a snapshot and starts their syncs.
pub(super) fn write_both(
    disk: &dyn Disk,
    dir: &Path,
    offset: i64,
    [ours, kafka]: [(&str, &[u8]); 2],
) -> io::Result<[Completion<()>; 2]> {
    let ours = write(disk, dir, offset, ours.0, ours.1)?;
    let kafka = write(disk, dir, offset, kafka.0, kafka.1)?;
    Ok([ours.sync(), kafka.sync()])
}

fn write(
    disk: &dyn Disk,
    dir: &Path,
    offset: i64,
    kind: &str,
    bytes: &[u8],
) -> io::Result<Arc<dyn millrace_host::File>> {
    let file = disk.open(&names::file(dir, offset, kind), OpenMode::Create)?;
    file.set_len(0)?;
    if file.write_vectored_at(&[IoSlice::new(bytes)], 0)? < bytes.len() {
        file.set_len(0)?;
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(file)
}
