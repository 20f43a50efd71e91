//! What follows a write: publishing entries that are durable, and now and then a snapshot.
//!
//! What always holds: images are published in the order of their entries, each whole; a snapshot is
//! of a committed image, and the log below the one before it goes only after its own mark is durable
//! (`durability.md` A2), so that two snapshots always stand in for what is gone.

use std::sync::Arc;
use std::time::Duration;

use millrace_host::{Host, Mono};

use super::log::Durable;
use super::{Cluster, MetadataError, Progress, Quorum, State, snapshot};

/// How long to wait after a snapshot that could not be written.
const RETRY: Duration = Duration::from_mins(1);

/// Snapshots that are kept.
const KEPT: usize = 2;

/// Publishes entries as they become durable, until the log can't grow any more.
pub(super) async fn publish(cluster: Arc<Cluster>) {
    let mut durable = cluster.log.durable();
    loop {
        let upto = durable.borrow_and_update().clone();
        match upto {
            Durable::Upto(upto) => cluster.publish_upto(upto),
            Durable::Failed(reason) => return cluster.give_up(&reason),
        }
        if durable.changed().await.is_err() {
            return cluster.give_up(&"the metadata log was closed".into());
        }
    }
}

impl Cluster {
    fn publish_upto(&self, upto: i64) {
        let mut decided = self.decided();
        let due = decided
            .waiting
            .partition_point(|state| state.entry.end_offset <= upto);
        let Some(newest) = decided.waiting.drain(..due).next_back() else {
            return;
        };
        decided.committed = newest.clone();
        // Under the lock, so that nobody publishes an older one after a newer.
        let published = newest.entry.end_offset;
        // The node's own registration may be published ahead of its commit.
        if self.image.load().offset() <= newest.image.offset() {
            self.image.store(newest.image);
        }
        self.progress
            .modify(|progress| progress.published = published);
    }

    /// The outcome of what waits will never be known here.
    fn give_up(&self, reason: &Arc<str>) {
        let mut decided = self.decided();
        tracing::error!(
            %reason,
            entries_unknown = decided.waiting.len(),
            "the metadata take no changes until the node is started again"
        );
        let reason = Arc::clone(decided.over.get_or_insert_with(|| Arc::clone(reason)));
        let over = Some(reason);
        self.progress
            .modify(|progress: &mut Progress| progress.over = over);
    }

    /// Takes note that a snapshot was taken when `bytes` had been written.
    fn forget_bytes(&self, bytes: u64) {
        let mut decided = self.decided();
        decided.bytes = decided.bytes.saturating_sub(bytes);
    }

    /// The committed state, and the bytes of log that a start would have to replay.
    fn replayed(&self) -> (State, u64) {
        let decided = self.decided();
        (decided.committed.clone(), decided.bytes)
    }
}

/// Takes snapshots off the proposing path.
pub(super) struct Snapshots {
    pub(super) cluster: Arc<Cluster>,
    pub(super) host: Host,
    pub(super) quorum: Quorum,
    /// End offsets of the snapshots that may be used, oldest first.
    pub(super) named: Vec<i64>,
}

impl Snapshots {
    /// Runs until the log can't grow any more.
    pub(super) async fn run(mut self) {
        let clock = Arc::clone(&self.host.clock);
        let cluster = Arc::clone(&self.cluster);
        let mut seen = None;
        let mut since = clock.now().mono;
        let mut not_before: Option<Mono> = None;
        loop {
            let interval = self.quorum.snapshot_interval;
            let by_time = interval.map(|interval| since + interval);
            let now = clock.now().mono;
            if not_before.is_none_or(|at| now >= at) && self.is_due(by_time, now) {
                not_before = None;
                match self.take().await {
                    Ok(()) => since = clock.now().mono,
                    Err(error) => {
                        tracing::warn!(%error, "no snapshot of the metadata was taken; again soon");
                        not_before = Some(clock.now().mono + RETRY);
                    }
                }
                continue;
            }
            let wake = match (not_before, by_time) {
                (Some(at), _) => Some(at),
                // Without a change there is nothing to take; the change wakes us.
                (None, Some(at)) if at > now => Some(at),
                _ => None,
            };
            let timer = async {
                match wake {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                (published, is_over) = cluster.progress.wait_for(|progress| {
                    let now = (Some(progress.published), progress.over.is_some());
                    (now != (seen, false)).then_some(now)
                }) => {
                    if is_over {
                        return;
                    }
                    seen = published;
                }
                () = timer => {}
            }
        }
    }

    /// Whether enough has changed since the last one, or anything for long enough.
    fn is_due(&self, by_time: Option<Mono>, now: Mono) -> bool {
        let (state, bytes) = self.cluster.replayed();
        let changed = self.named.last() < Some(&state.entry.end_offset);
        let late = by_time.is_some_and(|at| now >= at);
        changed && (late || bytes >= self.quorum.snapshot_record_bytes)
    }

    /// Takes one, names it, lets go of what two snapshots stand in for.
    async fn take(&mut self) -> Result<(), MetadataError> {
        let log = &self.cluster.log;
        if let Some(reason) = log.log_dir().offline() {
            return Err(MetadataError::Refused(reason.to_string()));
        }
        let (State { entry, image }, bytes) = self.cluster.replayed();
        let disk = Arc::clone(&self.host.disk);
        let place = (log.log_dir().as_ref(), log.path());
        let written = snapshot::write(disk.as_ref(), place, &image, entry).await;
        let crc = written.map_err(|error| MetadataError::Refused(error.to_string()))?;
        log.name_snapshot(entry, crc).await?;
        self.cluster.forget_bytes(bytes);
        self.named.push(entry.end_offset);
        let excess = self.named.len().saturating_sub(KEPT);
        self.named.drain(..excess);
        tracing::info!(
            offset = entry.end_offset,
            index = entry.index,
            term = entry.term,
            "a snapshot of the metadata was taken"
        );
        if let [older, _] = self.named[..] {
            log.advance_start(older).await?;
        }
        self.sweep().await;
        Ok(())
    }

    /// Removes files of snapshots that are of no use any more, or were never finished.
    async fn sweep(&self) {
        let dir = self.cluster.log.path();
        let disk = &self.host.disk;
        let listed = match disk.list(dir).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(%error, "old snapshots of the metadata stay for now");
                return;
            }
        };
        let of_use = |name: &str| {
            snapshot::parse_name(name).is_some_and(|(offset, _)| self.named.contains(&offset))
        };
        for file in listed {
            if snapshot::is_snapshot_name(&file.name) && !of_use(&file.name) {
                let path = dir.join(&file.name);
                if let Err(error) = disk.remove(&path).await {
                    tracing::warn!(path = %path.display(), %error, "an old snapshot stays for now");
                }
            }
        }
    }
}
