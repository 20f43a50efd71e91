//! From an offset to the batch that holds it.
//!
//! The newest batches are known by position; older ones are found through the sparse index and a
//! walk over headers. What always holds: the batch given out was read from the log itself or
//! written by this process, never only claimed by an index; a wrong index is built anew, counted,
//! and the answer is then found without it.

use std::sync::Arc;

use millrace_probe::{Bug, planted};

use super::headers::{at, next, walk};
use super::index::{self, Found};
use super::offset_index::OffsetEntry;
use super::rebuild::rebuild;
use super::tail::Span;
use super::walk::{Step, WalkError};
use super::{Kind, Segment};
use crate::error::Error;
use crate::handles::Handles;

/// Where to begin a walk.
enum Start {
    /// The batch itself, as it was written.
    Known(Span),
    /// An index says so; to be checked against the header there.
    Claimed(OffsetEntry),
    /// The first batch of the segment.
    Beginning,
    /// The index is not what a writer writes.
    Damaged,
}

/// The first batch of the segment whose last offset is at or above `target`; `None` when there is
/// none (the segment ends, or ends in a hole).
pub(crate) async fn find(
    handles: &Handles,
    segment: &Arc<Segment>,
    target: i64,
    interval: u64,
) -> Result<Option<Span>, Error> {
    let end = segment.end();
    if target >= end.offset {
        return Ok(None);
    }
    let mut position = match start(handles, segment, target).await? {
        Start::Known(span) => return Ok(Some(span)),
        Start::Claimed(entry) => check(handles, segment, entry).await?,
        Start::Beginning => Some(0),
        Start::Damaged => None,
    };
    if position.is_none() {
        rebuild(handles, segment, interval).await?;
        position = Some(match start(handles, segment, target).await? {
            Start::Known(span) => return Ok(Some(span)),
            Start::Claimed(entry) => check(handles, segment, entry).await?.unwrap_or(0),
            Start::Beginning | Start::Damaged => 0,
        });
    }
    let begin = position.unwrap_or(0);
    let mut walk = walk(handles, segment, begin)?;
    let mut answer = None;
    let mut missing_entry = false;
    while let Some(step) = next(&mut walk, segment).await? {
        if step.header.last_offset() >= target {
            answer = Some(span(&step));
            break;
        }
        // A batch this far behind an entry has one of its own: the index has lost its end.
        missing_entry |= step.position - begin > interval;
    }
    if missing_entry && segment.is_sealed() && position.is_some() {
        rebuild(handles, segment, interval).await?;
    }
    Ok(answer)
}

/// A batch by its place.
pub(crate) fn span(step: &Step) -> Span {
    Span {
        base_offset: step.header.base_offset,
        last_offset: step.header.last_offset(),
        position: step.position,
        size: step.header.size() as u64,
    }
}

/// The best place known from which to reach `target`.
async fn start(handles: &Handles, segment: &Segment, target: i64) -> Result<Start, Error> {
    let (known, pending, written) = segment.tail(|tail| {
        (
            tail.recent(target),
            tail.pending(target),
            tail.offsets_written,
        )
    });
    if let Some(span) = known {
        return Ok(Start::Known(span));
    }
    if let Some(entry) = pending {
        return Ok(Start::Claimed(entry));
    }
    let sealed = segment.is_sealed();
    if !sealed && written == 0 {
        return Ok(Start::Beginning);
    }
    let opened = segment
        .index(handles.disk().as_ref(), Kind::Offsets)
        .map_err(|error| at("open the index of", segment, error))?;
    let Some((source, in_file)) = opened else {
        return Ok(Start::Damaged);
    };
    let count = if sealed { in_file } else { written };
    let found = index::floor::<OffsetEntry>(&source, segment.base(), count, target)
        .await
        .map_err(|error| at("read the index of", segment, error))?;
    Ok(match found {
        Found::Entry(entry) => Start::Claimed(entry),
        Found::None => Start::Beginning,
        Found::Damaged => Start::Damaged,
    })
}

/// The position of an index entry if a batch with that last offset stands there.
async fn check(
    handles: &Handles,
    segment: &Arc<Segment>,
    entry: OffsetEntry,
) -> Result<Option<u64>, Error> {
    if entry.position >= segment.end().bytes {
        return Ok(None);
    }
    match walk(handles, segment, entry.position)?.next().await {
        Ok(Some(step)) if step.header.last_offset() == entry.last_offset => {
            Ok(Some(entry.position))
        }
        Ok(_) | Err(WalkError::Bad { .. }) if planted(Bug::StaleIndexTrusted) => {
            Ok(Some(entry.position))
        }
        Ok(_) | Err(WalkError::Bad { .. }) => Ok(None),
        Err(WalkError::Io(error)) => Err(at("read", segment, error)),
    }
}
