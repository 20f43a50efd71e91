//! What a loaded shard does: decides, writes, replays, applies; and answers once that is committed.
//!
//! What always holds: a record is replayed at the offset that it got, right after it got it; no
//! answer leaves before everything that it rests on is committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use millrace_core::Now;
use millrace_core::group::{Text, Token};
use millrace_core::partition::{Acks, Reject};
use millrace_probe::{Bug, planted};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::records::{BatchBuilder, BatchHeader, Options, Produced};
use tokio::sync::oneshot;

use super::Coordinate;
use crate::runtime::partition::{AckWait, OpenPartition, Refused};

/// Most bytes of a batch that holds more than one record; a decision that writes more writes several.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Most bytes of one record, far more than a topic's `max.message.bytes` allows by default: a group of
/// many members must not fail because nobody raised that for an internal topic.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// What an answer waits for, and the answer.
type Waiting<R> = BTreeMap<i64, Vec<(Token, R)>>;

/// A loaded shard.
pub(super) struct Active<C: Coordinate> {
    machine: C,
    share: HeldShare,
    settings: C::Settings,
    partition: Arc<OpenPartition>,
    /// Everything below is committed.
    committed: i64,
    next_offset: i64,
    /// By the offset that must be committed.
    waiting: Waiting<C::Reply>,
    askers: BTreeMap<Token, oneshot::Sender<C::Reply>>,
    /// The newest append that is not committed, and the offset after it.
    uncommitted: Option<Uncommitted>,
    /// A task waits for commits.
    is_watched: bool,
}

/// An append whose commit is waited for: the offset after it, and how it ends.
pub(super) type Uncommitted = (i64, AckWait);

/// What one shard holds, as part of what all do.
struct HeldShare {
    all: Arc<AtomicU64>,
    own: u64,
}

impl HeldShare {
    fn new(all: Arc<AtomicU64>, bytes: usize) -> Self {
        let mut share = Self { all, own: 0 };
        share.set(bytes);
        share
    }

    fn set(&mut self, bytes: usize) {
        // A count: nothing else is ordered by it.
        self.all.fetch_add(bytes as u64, Ordering::Relaxed);
        self.all.fetch_sub(self.own, Ordering::Relaxed);
        self.own = bytes as u64;
    }
}

impl Drop for HeldShare {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Why a decision was not written, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotWritten {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(
        "a record of it has {bytes} bytes, more than {RECORD_BYTES_MAX}; make the group smaller"
    )]
    TooLarge { bytes: usize },
    #[error(
        "somebody else wrote to the partition, as clients named as Kafka's administrators may; \
         it is loaded anew"
    )]
    Overtaken,
}

impl NotWritten {
    /// Whether what is known of the partition is no longer all of it.
    pub(super) fn ends_the_load(&self) -> bool {
        self.code() == ErrorCode::NotCoordinator
    }

    /// What a client is told.
    pub(super) fn code(&self) -> ErrorCode {
        match self {
            // The partition was closed, or failed.
            Self::Refused(Refused::Reject(Reject::Unserved(_))) | Self::Overtaken => {
                ErrorCode::NotCoordinator
            }
            Self::Refused(_) => ErrorCode::CoordinatorNotAvailable,
            // Kafka's answer too: trying again is of no use.
            Self::TooLarge { .. } => ErrorCode::UnknownServerError,
        }
    }
}

/// The batches that records are written as, each with how many it holds.
fn batches<C: Coordinate>(
    now: Now,
    records: &[C::Record],
) -> Result<Vec<(Bytes, usize)>, NotWritten> {
    let mut built = Vec::new();
    let mut batch = BatchBuilder::new(Options::default());
    for record in records {
        let (key, value) = C::encode(record);
        let bytes = key.len() + value.as_ref().map_or(0, Vec::len);
        if bytes > RECORD_BYTES_MAX {
            return Err(NotWritten::TooLarge { bytes });
        }
        if !batch.is_empty() && batch.len() + bytes > BATCH_BYTES_MAX {
            let full = std::mem::replace(&mut batch, BatchBuilder::new(Options::default()));
            let count = full.record_count();
            built.push((full.build(), count));
        }
        batch
            .push(now.wall_ms, Some(&key), value.as_deref(), &[])
            .expect("far below what a batch may hold");
    }
    let count = batch.record_count();
    built.push((batch.build(), count));
    Ok(built)
}

impl<C: Coordinate> Active<C> {
    /// `machine` has replayed all of `partition`, which is committed `upto` its end. `held` counts
    /// what all shards of the kind hold.
    pub(super) fn new(
        machine: C,
        settings: C::Settings,
        partition: Arc<OpenPartition>,
        upto: i64,
        held: &Arc<AtomicU64>,
    ) -> Self {
        let share = HeldShare::new(Arc::clone(held), machine.held_bytes());
        Self {
            machine,
            share,
            settings,
            partition,
            committed: upto,
            next_offset: upto,
            waiting: BTreeMap::new(),
            askers: BTreeMap::new(),
            uncommitted: None,
            is_watched: false,
        }
    }

    pub(super) fn machine(&self) -> &C {
        &self.machine
    }

    /// What was due of a key could not be written; it is due again then.
    pub(super) fn postpone(&mut self, key: &Text, until_ns: u64) {
        self.machine.postpone(key, until_ns);
    }

    /// Somebody waits for the answer under a token.
    pub(super) fn expect(&mut self, token: Token, asker: oneshot::Sender<C::Reply>) {
        self.askers.insert(token, asker);
    }

    /// Nobody waits for it any more.
    pub(super) fn unask(&mut self, token: Token) {
        self.askers.remove(&token);
    }

    /// Whether commits must be waited for and nobody does; whoever is told so begins to.
    pub(super) fn begin_watch(&mut self) -> bool {
        let begins = !self.is_watched && self.uncommitted.is_some();
        self.is_watched |= begins;
        begins
    }

    /// The append whose commit is waited for next; with none, the watch ends.
    pub(super) fn next_uncommitted(&mut self) -> Option<Uncommitted> {
        let newest = self.uncommitted.take();
        self.is_watched = newest.is_some();
        newest
    }

    /// Decides, appends, replays, applies.
    ///
    /// What writes several batches may fail after the first: that much is written and replayed then,
    /// and nothing else of the decision is applied.
    pub(super) fn decide(
        &mut self,
        now: Now,
        key: &Text,
        event: C::Event,
    ) -> Result<(), NotWritten> {
        let decision = self.machine.decide(now, &self.settings, key, event);
        let mut rest = C::records(&decision);
        if !rest.is_empty() {
            for (bytes, count) in batches::<C>(now, rest)? {
                let base_offset = self.append(&bytes, count)?;
                let (written, left) = rest.split_at(count);
                for (offset, record) in (base_offset..).zip(written) {
                    self.machine.replay(offset, record);
                }
                rest = left;
            }
        }
        let (replies, after) = self.machine.apply(decision);
        self.share.set(self.machine.held_bytes());
        if after >= self.committed && planted(Bug::GroupReplyBeforeCommit) {
            self.answer(replies);
        } else {
            self.hold(replies, after);
        }
        Ok(())
    }

    fn append(&mut self, bytes: &Bytes, count: usize) -> Result<i64, NotWritten> {
        let header = BatchHeader::parse(bytes).expect("it was built here");
        let produced = Produced {
            max_timestamp: header.max_timestamp,
            header,
            stamp: None,
        };
        let appended = self.partition.append(bytes, &produced, Acks::All)?;
        if appended.base_offset != self.next_offset {
            return Err(NotWritten::Overtaken);
        }
        let count = i64::try_from(count).expect("a batch counts in 32 bits");
        self.next_offset = appended.base_offset + count;
        match appended.wait {
            Some(wait) => self.uncommitted = Some((self.next_offset, wait)),
            None => self.commit(self.next_offset),
        }
        Ok(appended.base_offset)
    }

    /// Answers once the record at `after` is committed.
    pub(super) fn hold(&mut self, replies: Vec<(Token, C::Reply)>, after: i64) {
        if after < self.committed {
            self.answer(replies);
        } else if !replies.is_empty() {
            self.waiting.entry(after).or_default().extend(replies);
        }
    }

    /// Everything below `upto` is committed.
    pub(super) fn commit(&mut self, upto: i64) {
        self.committed = self.committed.max(upto);
        self.machine.committed(self.committed);
        self.share.set(self.machine.held_bytes());
        let rest = self.waiting.split_off(&self.committed);
        for replies in std::mem::replace(&mut self.waiting, rest).into_values() {
            self.answer(replies);
        }
    }

    fn answer(&mut self, replies: Vec<(Token, C::Reply)>) {
        for (token, reply) in replies {
            if let Some(asker) = self.askers.remove(&token) {
                // Whoever no longer waits needs no answer.
                asker.send(reply).ok();
            }
        }
    }
}
