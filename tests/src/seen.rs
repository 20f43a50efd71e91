//! What answers showed of a partition besides its records: where it begins and ends, and the bytes
//! of its batches; each answer is held against those before it.
//!
//! The rules, with the catalogue's numbers: an end that was seen, be it a high watermark, an end
//! offset or an acknowledged acks=all, never shrinks, but for what a lossy end took of a topic of
//! the page cache (A6); a log start that was seen never moves back, and what lies wholly before it
//! is not shown any more (A14); a batch that was shown has the same bytes ever after, in this life
//! of the broker and the next, read from the disk or from memory (A5); leader epochs never fall
//! from one batch to the next, and an answer about them fits the batches (A5).

use std::collections::BTreeMap;

use millrace_protocol::records::BatchHeader;

use crate::anomaly::Anomaly;
use crate::oracle::Lives;

/// What is known of a partition before something is asked: no answer may lie before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floors {
    /// The furthest log start that was seen.
    pub start: i64,
    /// The furthest end that was seen and that nothing may have taken since.
    pub end: i64,
}

/// One batch as it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its last offset.
    pub last: i64,
    /// Its leader's epoch.
    pub epoch: i32,
    /// Its checksum, over all but its place and its epoch.
    pub crc: u32,
    /// Its bytes.
    pub size: usize,
    /// The life in which it was shown last.
    pub life: usize,
}

/// What was seen of one partition of one incarnation of a topic.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    partition: i32,
    /// Lossy ends take from it what was only in the page cache.
    page_cache: bool,
    start: i64,
    end: i64,
    /// The life in which the end was seen.
    end_life: usize,
    batches: BTreeMap<i64, Shown>,
}

impl Seen {
    /// Nothing yet of a partition.
    pub fn new(partition: i32, page_cache: bool) -> Self {
        Self {
            partition,
            page_cache,
            ..Self::default()
        }
    }

    /// Whether what was seen in the life `then` may be gone in the life `now`.
    fn may_be_gone(&self, then: usize, now: usize, lives: &Lives) -> bool {
        self.page_cache && lives.lossy_end(then, now).is_some()
    }

    /// What whatever is asked from now on must not lie before.
    pub fn floors(&self, lives: &Lives) -> Floors {
        let gone = self.may_be_gone(self.end_life, lives.current(), lives);
        Floors {
            start: self.start,
            end: if gone { 0 } else { self.end },
        }
    }

    /// Notes a log start.
    pub fn start(&mut self, floors: Floors, start: i64) -> Result<(), Anomaly> {
        self.start = self.start.max(start);
        if start < floors.start {
            return Err(Anomaly::StartMovedBack {
                partition: self.partition,
                seen: floors.start,
                found: start,
            });
        }
        Ok(())
    }

    /// Notes an end that was seen in a life.
    pub fn end(
        &mut self,
        floors: Floors,
        (end, life): (i64, usize),
        lives: &Lives,
    ) -> Result<(), Anomaly> {
        self.reached((end, life), lives);
        if end < floors.end {
            return Err(Anomaly::EndMovedBack {
                partition: self.partition,
                seen: floors.end,
                found: end,
            });
        }
        Ok(())
    }

    /// Notes that what lies before `end` was acknowledged to be visible in a life.
    pub fn reached(&mut self, (end, life): (i64, usize), lives: &Lives) {
        if life >= self.end_life {
            let gone = self.may_be_gone(self.end_life, life, lives);
            self.end = if gone { end } else { self.end.max(end) };
            self.end_life = life;
        } else if !self.may_be_gone(life, self.end_life, lives) {
            self.end = self.end.max(end);
        }
    }

    /// Notes a batch that was shown in a life.
    pub fn batch(
        &mut self,
        floors: Floors,
        (header, life): (&BatchHeader, usize),
        lives: &Lives,
    ) -> Result<(), Anomaly> {
        let (partition, base) = (self.partition, header.base_offset);
        let shown = Shown {
            last: header.last_offset(),
            epoch: header.partition_leader_epoch,
            crc: header.crc,
            size: header.size(),
            life,
        };
        if shown.last < floors.start {
            let (offset, start) = (shown.last, floors.start);
            return Err(Anomaly::Returned {
                partition,
                offset,
                start,
            });
        }
        let before = self.batches.range(..base).next_back();
        let before = before.map(|(_, before)| *before);
        let known = self.batches.insert(base, shown);
        if let Some(known) = known
            && (Shown { life, ..known }) != shown
            && !self.may_be_gone(known.life.min(life), known.life.max(life), lives)
        {
            return Err(Anomaly::OtherBytes {
                partition,
                base_offset: base,
                seen: known,
                found: shown,
            });
        }
        if let Some(before) = before
            && before.epoch > shown.epoch
            && !self.may_be_gone(before.life.min(life), before.life.max(life), lives)
        {
            let why = format!("epoch {} follows {}", shown.epoch, before.epoch);
            return Err(Anomaly::Epoch {
                partition,
                offset: base,
                why,
            });
        }
        Ok(())
    }

    /// The epoch of some batch that was shown in a life or before, and that still is there.
    pub fn some_epoch(&self, from: i64, life: usize, lives: &Lives) -> Option<i32> {
        let mut batches = self.batches.range(from..);
        let there = batches.find(|(_, shown)| !self.may_be_gone(shown.life, life, lives));
        there.map(|(_, shown)| shown.epoch)
    }

    /// Holds an answer about leader epochs in a life against the batches that were there: from the
    /// log start seen after it up to the end known before it. `found` is the epoch answered to the
    /// question for `asked`, and its end.
    pub fn epoch(
        &self,
        asked: i32,
        (start, end): (i64, i64),
        found: (i32, i64),
        (life, lives): (usize, &Lives),
    ) -> Result<(), Anomaly> {
        let there = self.batches.range(start..end.max(start));
        let there = there.filter(|(_, shown)| {
            // What was shown in a later life may not have been there yet.
            let was_there = shown.life <= life && shown.last < end;
            was_there && !self.may_be_gone(shown.life, life, lives)
        });
        for (base, shown) in there {
            let (epoch, end) = found;
            let why = if shown.epoch == asked && epoch != asked {
                "its epoch is not known"
            } else if shown.epoch <= epoch && shown.last >= end {
                "its epoch has ended before it"
            } else if shown.epoch > epoch && epoch >= 0 && *base < end {
                "an earlier epoch has not ended before it"
            } else {
                continue;
            };
            return Err(Anomaly::Epoch {
                partition: self.partition,
                offset: *base,
                why: format!("{why}: epoch {asked} was answered by {epoch} up to {end}"),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "seen_tests.rs"]
mod tests;
