//! The cluster's metadata on this node: one writer, one published image.
//!
//! What always holds: a change is decided on the newest image, committed or not, and written as one
//! entry; it becomes visible by a pointer swap once it is durable (but for the node's own
//! registration, which is no promise to anybody), in the order of the entries;
//! whoever proposed it is answered only after the swap, so a client that was told of success never
//! meets the time before it on this node. Once it is unknown whether an entry will be found after a
//! restart, nothing more is decided: the next decision would stand on a state that may not be.

mod configs;
mod hard_state;
mod load;
mod log;
mod producer_ids;
mod publish;
mod snapshot;
mod topics;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use millrace_core::cluster::{Directory, Image, Registration, ReplayError, data_removed, register};
use millrace_host::{Changing, Host, Pool};
use millrace_log::partition::Partitions;
use millrace_protocol::ids::TopicId;
use millrace_protocol::metadata::MetadataRecord;
use millrace_protocol::records::RecordError;
use tokio::sync::Semaphore;

pub(crate) use log::is_metadata_name;
use log::{MetadataLog, Written};
pub(crate) use producer_ids::ProducerIds;

/// Entries that may wait for the disk at once.
const WAITING_MAX: usize = 4096;
/// Proposals under way at once; further ones wait for their turn, in order. A few entries fewer: a
/// term's first and this node's registrations need no place.
const PROPOSALS_MAX: usize = WAITING_MAX - 64;

/// Why the metadata log can't be read or a proposal has no certain outcome.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The log can't be opened.
    #[error(transparent)]
    Log(#[from] millrace_log::error::Error),
    /// What the log holds can't be read.
    #[error("the metadata log is damaged: {0}; nothing was changed, ask for help before you do")]
    Damaged(String),
    /// A record doesn't fit what stands before it.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A batch can't be read or written.
    #[error("metadata batch: {0}")]
    Record(RecordError),
    /// Nothing was written.
    #[error("metadata can't be written: {0}")]
    Refused(String),
    /// It was written, and nobody knows whether it will be found after a restart.
    #[error("whether the change took effect is unknown: {0}")]
    Unknown(Arc<str>),
}

/// Who writes, and when it takes snapshots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quorum {
    /// This node, the only voter.
    pub(crate) node_id: i32,
    /// Bytes of log after which a snapshot is taken.
    pub(crate) snapshot_record_bytes: u64,
    /// Time after which one is taken if anything changed; `None` for never.
    pub(crate) snapshot_interval: Option<Duration>,
}

/// One entry of the log: a proposal, or the start of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// How many entries there were since the beginning, this one included. What Raft counts by.
    pub(crate) index: i64,
    /// The term of who wrote it.
    pub(crate) term: i32,
    /// The offset after its last record. What Kafka counts by.
    pub(crate) end_offset: i64,
    /// When it was written, ms since 1970; -1 before the first.
    pub(crate) timestamp_ms: i64,
}

impl Entry {
    /// Before the first entry.
    const NONE: Self = Self {
        index: 0,
        term: 0,
        end_offset: 0,
        timestamp_ms: -1,
    };
}

/// An image and the entry it stands at.
#[derive(Clone, Debug)]
struct State {
    entry: Entry,
    image: Arc<Image>,
}

/// What is decided, and how much of it is committed.
#[derive(Debug)]
struct Decided {
    /// The newest state: what the next decision stands on.
    newest: State,
    /// Written and not durable yet, in order; the last one is the newest.
    waiting: VecDeque<State>,
    /// The newest state that is durable.
    committed: State,
    /// Why nothing is decided any more.
    over: Option<Arc<str>>,
    /// Bytes of log since the beginning of what the last snapshot left to replay.
    bytes: u64,
}

/// How far changes are visible.
#[derive(Clone, Debug)]
struct Progress {
    /// Every entry that ends here or before is.
    published: i64,
    /// Why no later one ever will be.
    over: Option<Arc<str>>,
}

/// The metadata of the cluster, as this node knows and writes them.
#[derive(Debug)]
pub(crate) struct Cluster {
    image: ArcSwap<Image>,
    log: MetadataLog,
    decided: Mutex<Decided>,
    progress: Changing<Progress>,
    /// Places of proposals under way.
    places: Semaphore,
}

impl Cluster {
    /// Opens the metadata log in the directory of `partitions`, reads it and begins a term.
    pub(crate) async fn open(
        partitions: &Partitions,
        host: &Host,
        quorum: Quorum,
    ) -> Result<Arc<Self>, MetadataError> {
        let (log, loaded) = MetadataLog::open(partitions, host, &quorum).await?;
        let state = State {
            entry: loaded.last,
            image: Arc::new(loaded.image),
        };
        let cluster = Arc::new(Self {
            image: ArcSwap::new(Arc::clone(&state.image)),
            log,
            progress: Changing::new(Progress {
                published: state.entry.end_offset,
                over: None,
            }),
            places: Semaphore::new(PROPOSALS_MAX),
            decided: Mutex::new(Decided {
                newest: state.clone(),
                waiting: VecDeque::new(),
                committed: state.clone(),
                over: None,
                bytes: loaded.bytes,
            }),
        });
        let written = cluster.log.append_leader(quorum.node_id)?;
        cluster.decided().push(state.image, cluster.term(), written);
        let publishing = publish::publish(Arc::clone(&cluster));
        let snapshots = publish::Snapshots {
            cluster: Arc::clone(&cluster),
            host: host.clone(),
            quorum,
            named: loaded.snapshots,
        };
        for (name, task) in [
            (
                "metadata",
                Box::pin(publishing) as millrace_host::BoxFuture<'static, ()>,
            ),
            ("metadata snapshots", Box::pin(snapshots.run())),
        ] {
            drop(host.spawn.spawn(Pool::Control, name, task));
        }
        Ok(cluster)
    }

    /// The image as published last.
    pub(crate) fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// The term of this node as the writer.
    pub(crate) fn term(&self) -> i32 {
        self.log.term()
    }

    /// The last entry that is committed.
    pub(crate) fn committed(&self) -> Entry {
        self.decided().committed.entry
    }

    /// The end of what is committed, and of what is written.
    pub(crate) fn ends(&self) -> (i64, i64) {
        let decided = self.decided();
        let end = |state: &State| state.entry.end_offset;
        (end(&decided.committed), end(&decided.newest))
    }

    /// Decides on the newest image, writes what the decision has of records as one entry, and gives
    /// the decision's reply once that, and all it stands on, is committed and published. `decide` is
    /// told the offset of the first record. What was written takes its course when the caller goes
    /// away. Proposals that come while the disk is busy become durable together; those of thousands
    /// of connections at once are decided in their turn.
    ///
    /// On [`MetadataError::Unknown`] nobody knows whether it will be found after a restart; the node
    /// takes no further proposals. On every other error nothing happened.
    pub(crate) async fn propose<R>(
        &self,
        decide: impl FnOnce(&Image, i64) -> (R, Vec<MetadataRecord>),
    ) -> Result<R, MetadataError> {
        let place = self.places.acquire().await;
        let _place = place.expect("the semaphore of proposals is never closed");
        let (reply, entry) = self.decide(true, decide)?;
        self.published(entry.end_offset).await?;
        Ok(reply)
    }

    /// What the planted bug `ConfigAckedBeforeCommit` does in place of [`Self::propose`].
    fn propose_unsafely<R>(
        &self,
        decide: impl FnOnce(&Image, i64) -> (R, Vec<MetadataRecord>),
    ) -> Result<R, MetadataError> {
        let (reply, _) = self.decide(false, decide)?;
        let decided = self.decided();
        self.image.store(Arc::clone(&decided.newest.image));
        Ok(reply)
    }

    /// Says that this node is there. It is published at once and durable in company of the next
    /// change: it speaks of nobody but this process, and a start that doesn't find it says it anew.
    /// Where leaders change with it, it is a proposal as every other. It tells the generations of
    /// the directories beside this one, too, which may not serve before that is durable: with such
    /// it goes to the disk at once. Gives the offset for [`Self::published`].
    pub(crate) async fn register(&self, registration: Registration) -> Result<i64, MetadataError> {
        let alone = register(&self.image(), registration.clone(), 0).len() == 1;
        let urgent = !alone || registration.log_dirs.len() > 1;
        let ((), entry) = self.decide(urgent, |image, offset| {
            ((), register(image, registration, offset))
        })?;
        if !alone {
            self.published(entry.end_offset).await?;
            return Ok(entry.end_offset);
        }
        // Under the lock, so that nobody publishes an older one after it.
        let decided = self.decided();
        self.image.store(Arc::clone(&decided.newest.image));
        Ok(entry.end_offset)
    }

    /// Decides and writes; gives the entry that must be committed before the reply may leave.
    fn decide<R>(
        &self,
        urgent: bool,
        decide: impl FnOnce(&Image, i64) -> (R, Vec<MetadataRecord>),
    ) -> Result<(R, Entry), MetadataError> {
        let mut decided = self.decided();
        if let Some(reason) = &decided.over {
            return Err(MetadataError::Refused(format!(
                "the node takes no changes until it is started again: {reason}"
            )));
        }
        if decided.waiting.len() >= WAITING_MAX {
            return Err(MetadataError::Refused(
                "too many changes wait for the disk".into(),
            ));
        }
        let first = decided.newest.entry.end_offset;
        let (reply, records) = decide(&decided.newest.image, first);
        if records.is_empty() {
            return Ok((reply, decided.newest.entry));
        }
        // Folded before it is written: what doesn't fit is never made durable.
        let next = decided.newest.image.replay_all(first, &records)?;
        let written = self.log.append_records(&records, urgent)?;
        decided.push(Arc::new(next), self.term(), written);
        Ok((reply, decided.newest.entry))
    }

    /// Waits until every entry that ends at `end_offset` or before is published.
    pub(crate) async fn published(&self, end_offset: i64) -> Result<(), MetadataError> {
        let settled = |progress: &Progress| {
            if progress.published >= end_offset {
                return Some(Ok(()));
            }
            let reason = Arc::clone(progress.over.as_ref()?);
            Some(Err(MetadataError::Unknown(reason)))
        };
        self.progress.wait_for(settled).await
    }

    /// Remembers that these directories hold no data of some removed topics any more.
    pub(crate) async fn data_removed(
        &self,
        topics: &[TopicId],
        directories: &[Directory],
    ) -> Result<(), MetadataError> {
        self.propose(|image, _| ((), data_removed(image, topics, directories)))
            .await
    }

    /// Closes the metadata log cleanly. Nothing is decided after the call.
    pub(crate) async fn close(&self) -> Result<(), MetadataError> {
        self.decided()
            .over
            .get_or_insert_with(|| "it is being stopped".into());
        self.log.close().await
    }

    fn decided(&self) -> MutexGuard<'_, Decided> {
        self.decided.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Decided {
    /// One more entry was written.
    fn push(&mut self, image: Arc<Image>, term: i32, written: Written) {
        let entry = Entry {
            index: self.newest.entry.index + 1,
            term,
            end_offset: written.end_offset,
            timestamp_ms: written.timestamp_ms,
        };
        self.newest = State { entry, image };
        self.waiting.push_back(self.newest.clone());
        self.bytes += written.bytes;
    }
}

#[cfg(test)]
mod tests;
