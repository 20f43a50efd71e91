//! Changing a topic's durability while its log is open.
//!
//! What always holds (`durability.md` A3): bytes are judged by the mode they were written in, which
//! is a mark; to the page cache, nothing is acknowledged by the new rule before that mark is durable;
//! to fsync, nothing before all that was written by the old rule has been verified, written again
//! and synced. Appends go on meanwhile.

use std::sync::Arc;

use super::verify::{Check, Stop, verify};
use super::{LogReader, PartitionLog, position};
use crate::dir::LogDir;
use crate::error::Error;
use crate::flusher::{Durable, FlushHandle};
use crate::mark::{Durability, Mark, Position};
use crate::segment::tail::End;
use crate::segment::{Segment, names};

/// A change of durability that has begun: to be run outside the lock.
pub struct Switch {
    to: Durability,
    /// Resolves when the mark of the page cache is durable.
    marked: Option<Durable>,
    proof: Proof,
}

/// What is written under the page cache's rule, to be made durable.
struct Proof {
    /// What was settled when it began.
    settled: Option<Position>,
    name: String,
    dir: Arc<LogDir>,
    reader: Arc<LogReader>,
    flush: Arc<FlushHandle>,
}

impl PartitionLog {
    /// What the bytes are written under.
    pub fn durability(&self) -> Durability {
        self.mode
    }

    /// Begins to change to the durability of the settings; `None` when it is that already, or when
    /// the log was never written and needs no more than this call. Afterwards [`Switch::run`]
    /// outside the lock, then [`Self::finish_switch`] under it, whatever came of it: until then the
    /// log is not cut.
    pub fn begin_switch(&mut self) -> Option<Switch> {
        let to = self.settings.durability;
        if to == self.mode || self.switching || self.writable().is_err() {
            return None;
        }
        if !self.has_dir {
            self.mode = to;
            return None;
        }
        self.closed = false;
        self.switching = true;
        let marked = match to {
            Durability::PageCache => Some(self.flush.mark_now(Mark::Mode(to))),
            Durability::Fsync => None,
        };
        let entry = self.dir.entry(&self.incarnation);
        Some(Switch {
            to,
            marked,
            proof: Proof {
                settled: entry.and_then(|entry| entry.settled),
                name: self.name(),
                dir: self.dir.clone(),
                reader: self.reader.clone(),
                flush: self.flush.clone(),
            },
        })
    }

    /// Ends a change of durability after [`Switch::run`]: appends from now on are written by the new
    /// rule. To fsync, what comes back resolves when everything appended before the call, and the
    /// mark of the mode, are durable; only then do acks and the watermark count by the new rule, and
    /// the watermark stays where it is until the durable end has reached it. To the page cache it
    /// resolves at once. After a failed run the old rule holds.
    pub fn finish_switch(&mut self, outcome: Result<Durability, Error>) -> Result<Durable, Error> {
        self.switching = false;
        let to = outcome?;
        self.writable().map_err(|error| Error::PartitionOffline {
            partition: self.name(),
            reason: error.to_string(),
        })?;
        let active = self.reader.list().active().cloned();
        self.mode = to;
        let (Durability::Fsync, Some(active)) = (to, active) else {
            return Ok(Box::pin(std::future::ready(Ok(()))));
        };
        self.until_rolled = None;
        let file = self.reader.open(&active)?;
        // The descriptor that wrote is the one that syncs: it tells of a write-back that failed.
        self.flush
            .stage_from(&file, position(active.id(), active.end()));
        let marked = self.flush.mark_now(Mark::Mode(to));
        let settled = self.flush.settle();
        Ok(Box::pin(async move {
            settled.await?;
            active.pin(false);
            marked.await
        }))
    }
}

impl Switch {
    /// To the page cache: waits for the mark. To fsync: verifies what isn't settled, writes it again
    /// and syncs it. The new durability, for [`PartitionLog::finish_switch`].
    pub async fn run(self) -> Result<Durability, Error> {
        let Self { to, marked, proof } = self;
        match marked {
            Some(marked) => marked.await?,
            None => proof.all().await?,
        }
        Ok(to)
    }
}

impl Proof {
    /// Verifies what isn't settled, writes it again and syncs it.
    async fn all(&self) -> Result<(), Error> {
        let list = self.reader.list();
        for segment in list.all() {
            let end = segment.end();
            let from = self.unsettled_from(segment);
            if from.bytes < end.bytes {
                self.prove(segment, from, end).await?;
            }
        }
        self.flush.settle().await
    }

    /// Where the part of a segment begins that isn't settled.
    fn unsettled_from(&self, segment: &Segment) -> End {
        match self.settled {
            Some(settled) if settled.segment.base_offset > segment.base() => segment.end(),
            Some(settled) if settled.segment == segment.id() => End {
                bytes: settled.bytes,
                offset: settled.offset,
            },
            _ => End {
                bytes: 0,
                offset: segment.base(),
            },
        }
    }

    /// Verifies one segment up to `end`, writes it again and has it synced.
    async fn prove(&self, segment: &Arc<Segment>, from: End, end: End) -> Result<(), Error> {
        let file = self.reader.open(segment)?;
        let check = Check {
            base: segment.base(),
            holes: segment.holes(),
            from,
            epoch: -1,
            mark: None,
            write_again: true,
        };
        let path = segment.path(names::LOG);
        let found = verify(&file, &check, &mut |_| {}).await;
        let found = found.map_err(Error::io("read", &path));
        // A write that failed left what nobody knows (F1).
        let found = found.inspect_err(|error| self.dir.fail(&error.to_string()))?;
        // Behind the end appends go on: what is read there may be half a batch.
        if found.end.bytes < end.bytes {
            let why = match found.stop {
                Stop::Bad(what) => what,
                Stop::End | Stop::Incomplete | Stop::Zeros => "it ends there".to_owned(),
            };
            return Err(Error::PartitionOffline {
                partition: self.name.clone(),
                reason: format!(
                    "its durability stays as it is: segment {} is damaged at byte {}: {why}",
                    segment.base(),
                    found.end.bytes
                ),
            });
        }
        self.flush.sync_later(&file, position(segment.id(), end));
        Ok(())
    }
}

impl std::fmt::Debug for Switch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Switch")
            .field("to", &self.to)
            .field("partition", &self.proof.name)
            .finish_non_exhaustive()
    }
}
