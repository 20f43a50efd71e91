//! Makes the indexes of a segment anew from its batch headers.
//!
//! What always holds afterwards: both files hold exactly what appending those batches would have
//! written; entries of batches appended meanwhile are kept pending and follow.

use std::io::IoSlice;
use std::sync::Arc;

use millrace_host::{Disk, OpenMode};
use millrace_probe::{Branch, reached};

use super::tail::{End, Tail};
use super::walk::{Walk, WalkError};
use super::{Kind, Segment, headers, offset_index, time_index};
use crate::error::Error;
use crate::handles::Handles;

/// Scans the whole segment and writes both indexes anew. `interval` is `index.interval.bytes`.
/// Does nothing when another caller is at it,
/// or its names may lead elsewhere.
pub(crate) async fn rebuild(
    handles: &Handles,
    segment: &Arc<Segment>,
    interval: u64,
) -> Result<(), Error> {
    let begun = segment.tail(|tail| {
        let begun = !tail.rebuilding && !tail.retired;
        tail.rebuilding |= begun;
        begun.then_some(tail.end)
    });
    let Some(end) = begun else { return Ok(()) };
    reached(Branch::IndexRebuilt);
    let result = scan(handles, segment, end, interval).await;
    if segment.is_sealed() {
        remove_indexes(handles.disk(), segment).await;
    }
    let written = result.and_then(|fresh| {
        segment.tail(|tail| replace(handles.disk().as_ref(), segment, tail, &fresh))
    });
    segment.tail(|tail| tail.rebuilding = false);
    segment.close_indexes();
    handles.count_rebuilt();
    written
}

/// Takes the index files of a sealed segment away: somebody may have them mapped, and a mapped file
/// must not be shortened.
pub(crate) async fn remove_indexes(disk: &Arc<dyn Disk>, segment: &Segment) {
    segment.close_indexes();
    for kind in [Kind::Offsets, Kind::Times] {
        let path = segment.path(kind.suffix());
        if let Err(error) = disk.remove(&path).await {
            tracing::debug!(path = %path.display(), %error, "no index to remove");
        }
    }
}

/// What the tail would be had it seen every batch below `end`.
pub(crate) async fn scan(
    handles: &Handles,
    segment: &Arc<Segment>,
    end: End,
    interval: u64,
) -> Result<Tail, Error> {
    let path = segment.path(super::names::LOG);
    let file = handles.log(segment).map_err(Error::io("open", &path))?;
    let begin = End {
        bytes: 0,
        offset: segment.base(),
    };
    let mut fresh = Tail::new(begin);
    let mut walk = Walk::new(file, begin, end.bytes, segment.holes());
    loop {
        match walk.next().await {
            Ok(Some(step)) => fresh.push(&step.header, step.header.base_offset, interval),
            Ok(None) => break,
            Err(WalkError::Io(error)) => return Err(Error::io("read", &path)(error)),
            Err(WalkError::Bad { position, what }) => {
                return Err(headers::damaged(segment, position, &what));
            }
        }
    }
    if segment.is_sealed() {
        fresh.index_time();
    }
    Ok(fresh)
}

/// Writes the fresh entries over both files and puts the fresh tail in place of the old one.
fn replace(disk: &dyn Disk, segment: &Segment, tail: &mut Tail, fresh: &Tail) -> Result<(), Error> {
    let seen = fresh.end;
    let offsets: Vec<u8> = fresh
        .offsets
        .iter()
        .filter_map(|entry| entry.encode(segment.base()))
        .flatten()
        .collect();
    let times: Vec<u8> = fresh
        .times
        .iter()
        .filter_map(|entry| entry.encode(segment.base()))
        .flatten()
        .collect();
    overwrite(disk, segment, Kind::Offsets, &offsets)?;
    overwrite(disk, segment, Kind::Times, &times)?;
    tail.offsets.retain(|entry| entry.position >= seen.bytes);
    tail.times.retain(|entry| entry.last_offset >= seen.offset);
    tail.offsets_written = (offsets.len() / offset_index::ENTRY_LEN) as u64;
    tail.times_written = (times.len() / time_index::ENTRY_LEN) as u64;
    Ok(())
}

fn overwrite(disk: &dyn Disk, segment: &Segment, kind: Kind, bytes: &[u8]) -> Result<(), Error> {
    let path = segment.path(kind.suffix());
    let write = || {
        let file = disk.open(&path, OpenMode::Create)?;
        file.set_len(0)?;
        let written = file.write_vectored_at(&[IoSlice::new(bytes)], 0)?;
        if written < bytes.len() {
            file.set_len(0)
        } else {
            Ok(())
        }
    };
    write().map_err(Error::io("write", &path))
}

/// Writes the indexes of a tail that was scanned or recovered, all of whose entries are pending.
pub(crate) fn write_fresh(disk: &dyn Disk, segment: &Segment) -> Result<(), Error> {
    segment.close_indexes();
    segment.tail(|tail| {
        let offsets: Vec<u8> = std::mem::take(&mut tail.offsets)
            .iter()
            .filter_map(|entry| entry.encode(segment.base()))
            .flatten()
            .collect();
        let times: Vec<u8> = std::mem::take(&mut tail.times)
            .iter()
            .filter_map(|entry| entry.encode(segment.base()))
            .flatten()
            .collect();
        overwrite(disk, segment, Kind::Offsets, &offsets)?;
        overwrite(disk, segment, Kind::Times, &times)?;
        tail.offsets_written = (offsets.len() / offset_index::ENTRY_LEN) as u64;
        tail.times_written = (times.len() / time_index::ENTRY_LEN) as u64;
        Ok(())
    })
}
