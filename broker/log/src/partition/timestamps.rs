//! From a timestamp to the record that has it, as `ListOffsets` asks.
//!
//! The time index says from where to scan; batches are then judged by their headers, and only the
//! one that holds the answer is read and, where needed, decompressed. What always holds: the answer
//! is a record's offset and timestamp, not its batch's; an index that disagrees with the batch it
//! names is built anew and counted.

use std::sync::Arc;

use millrace_protocol::records::{
    Batch, Scratch, TimedOffset, first_at_or_after, greatest_timestamp_from,
};

use super::LogReader;
use crate::error::Error;
use crate::segment::index::{self, Found};
use crate::segment::names;
use crate::segment::rebuild::rebuild;
use crate::segment::time_index::{self, TimeEntry};
use crate::segment::walk::Step;
use crate::segment::{Kind, Segment};
use crate::segment::{headers, lookup};

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// The record's offset.
    pub offset: i64,
    /// The record's timestamp, in ms since 1970.
    pub timestamp: i64,
    /// The leader epoch of its batch.
    pub leader_epoch: i32,
}

/// What is asked of a batch that may hold the answer.
#[derive(Clone, Copy)]
enum Wanted {
    /// The first record at or after a time.
    AtOrAfter(i64),
    /// The first record with the batch's greatest time.
    Greatest,
}

impl LogReader {
    /// The first record below `upto` with a timestamp at or after `timestamp`; `None` when there is
    /// none. Compressed batches are opened up to `scratch`'s cap.
    pub async fn offset_for_timestamp(
        &self,
        timestamp: i64,
        upto: i64,
        scratch: &mut Scratch,
    ) -> Result<Option<TimestampOffset>, Error> {
        let list = self.list();
        for segment in list.all() {
            if segment.base() >= upto {
                break;
            }
            let end = segment.end();
            let too_old = segment
                .largest_timestamp()
                .is_some_and(|largest| largest < timestamp);
            if too_old || end.offset <= list.log_start {
                continue;
            }
            let position = self.start_for_timestamp(segment, timestamp).await?;
            let mut walk = headers::walk(self.handles(), segment, position)?;
            while let Some(step) = headers::next(&mut walk, segment).await? {
                if step.header.base_offset >= upto {
                    return Ok(None);
                }
                if step.header.max_timestamp < timestamp
                    || step.header.last_offset() < list.log_start
                {
                    continue;
                }
                let wanted = Wanted::AtOrAfter(timestamp);
                let found = self
                    .inside(segment, &step, wanted, list.log_start, scratch)
                    .await?;
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        Ok(None)
    }

    /// The first record with the greatest timestamp below `upto`; `None` when there is no record
    /// with a timestamp.
    pub async fn max_timestamp_offset(
        &self,
        upto: i64,
        scratch: &mut Scratch,
    ) -> Result<Option<TimestampOffset>, Error> {
        let list = self.list();
        let mut best: Option<(&Arc<Segment>, Step, i64)> = None;
        for segment in list
            .all()
            .iter()
            .take_while(|segment| segment.base() < upto)
        {
            let at_most = best.as_ref().map_or(-1, |(_, _, greatest)| *greatest);
            let whole = segment.end().offset <= upto;
            let largest = segment.largest_timestamp();
            if whole && largest.is_some_and(|largest| largest <= at_most) {
                continue;
            }
            // The batch that raised the largest timestamp last is the one that holds it.
            let position = match largest.filter(|_| whole) {
                Some(largest) => self.start_for_timestamp(segment, largest).await?,
                None => 0,
            };
            let mut walk = headers::walk(self.handles(), segment, position)?;
            while let Some(step) = headers::next(&mut walk, segment).await? {
                if step.header.base_offset >= upto {
                    break;
                }
                let at_most = best.as_ref().map_or(-1, |(_, _, greatest)| *greatest);
                if step.header.record_count == 0
                    || step.header.max_timestamp <= at_most
                    || step.header.last_offset() < list.log_start
                {
                    continue;
                }
                let mut greatest = step.header.max_timestamp;
                if step.header.base_offset < list.log_start {
                    // The log begins inside: its greatest timestamp may be before.
                    let wanted = Wanted::Greatest;
                    let found = self
                        .inside(segment, &step, wanted, list.log_start, scratch)
                        .await?;
                    greatest = found.map_or(-1, |found| found.timestamp);
                }
                if greatest > at_most {
                    best = Some((segment, step, greatest));
                }
            }
        }
        match best {
            None => Ok(None),
            Some((segment, step, _)) => {
                self.inside(segment, &step, Wanted::Greatest, list.log_start, scratch)
                    .await
            }
        }
    }

    /// Reads one batch and finds the record inside.
    async fn inside(
        &self,
        segment: &Arc<Segment>,
        step: &Step,
        wanted: Wanted,
        log_start: i64,
        scratch: &mut Scratch,
    ) -> Result<Option<TimestampOffset>, Error> {
        let file = self.open(segment)?;
        let path = segment.path(names::LOG);
        let bytes = crate::segment::walk::read(&file, step.position, step.header.size())
            .await
            .map_err(Error::io("read", &path))?;
        let damaged = |what: String| headers::damaged(segment, step.position, &what);
        let batch = Batch::parse(bytes).map_err(|error| damaged(error.to_string()))?;
        let found = match wanted {
            Wanted::AtOrAfter(timestamp) => {
                first_at_or_after(&batch, timestamp, log_start, scratch)
            }
            Wanted::Greatest => greatest_timestamp_from(&batch, log_start, scratch),
        };
        let found = found.map_err(|error| damaged(error.to_string()))?;
        Ok(
            found.map(|TimedOffset { offset, timestamp }| TimestampOffset {
                offset,
                timestamp,
                leader_epoch: step.header.partition_leader_epoch,
            }),
        )
    }

    /// A position from which a scan meets every batch with a timestamp at or after `timestamp`.
    async fn start_for_timestamp(
        &self,
        segment: &Arc<Segment>,
        timestamp: i64,
    ) -> Result<u64, Error> {
        for attempt in 0..2 {
            match self.time_entry(segment, timestamp).await? {
                Found::None => return Ok(0),
                Found::Entry(entry) => {
                    let span =
                        lookup::find(self.handles(), segment, entry.last_offset, self.interval())
                            .await?;
                    if let Some(span) = span
                        && span.last_offset == entry.last_offset
                        && self.raises(segment, span.position, entry.timestamp).await?
                    {
                        return Ok(span.position);
                    }
                }
                Found::Damaged => {}
            }
            if attempt == 0 {
                rebuild(self.handles(), segment, self.interval()).await?;
            }
        }
        Ok(0)
    }

    /// Whether the batch at `position` has that largest timestamp.
    async fn raises(
        &self,
        segment: &Arc<Segment>,
        position: u64,
        timestamp: i64,
    ) -> Result<bool, Error> {
        let mut walk = headers::walk(self.handles(), segment, position)?;
        let step = headers::next(&mut walk, segment).await?;
        Ok(step.is_some_and(|step| step.header.max_timestamp == timestamp))
    }

    /// The last time index entry below `timestamp`.
    async fn time_entry(
        &self,
        segment: &Arc<Segment>,
        timestamp: i64,
    ) -> Result<Found<TimeEntry>, Error> {
        let (pending, written) = segment.tail(|tail| {
            (
                time_index::before(&tail.times, timestamp),
                tail.times_written,
            )
        });
        if let Some(entry) = pending {
            return Ok(Found::Entry(entry));
        }
        let path = segment.path(names::TIME_INDEX);
        let opened = segment
            .index(self.handles().disk().as_ref(), Kind::Times)
            .map_err(Error::io("open", &path))?;
        let sealed = segment.is_sealed();
        let Some((source, in_file)) = opened else {
            return Ok(if sealed { Found::Damaged } else { Found::None });
        };
        let count = if sealed {
            in_file
        } else {
            written.min(in_file)
        };
        let bound = timestamp.saturating_sub(1);
        index::floor(&source, segment.base(), count, bound)
            .await
            .map_err(Error::io("read", &path))
    }
}
