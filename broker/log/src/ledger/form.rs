//! The bytes of a ledger (L1): what [`super::file`] writes twice.
//!
//! ```text
//! magic u32 | version u32 | sequence u64 | directory id 16 | payload len u64 | payload crc u32 |
//! header crc u32 | payload
//! ```
//! Little-endian. What always holds: a ledger is read whole or not at all.

use std::collections::BTreeMap;

use crate::codec::{Put, Take};
use crate::journal::commit::CommitId;
use crate::journal::commit::{put_incarnation, take_incarnation};
use crate::journal::mark_form::{decode_mode, encode_mode, put_snapshot, take_snapshot};
use crate::ledger::entry::{LedgerEntry, PendingCut, SealedEntry, SegmentEntry, push};
use crate::ledger::fold::{Ledger, Run};

const MAGIC: u32 = u32::from_le_bytes(*b"MRlg");
const VERSION: u32 = 1;
/// Bytes before the payload.
pub(crate) const HEADER_LEN: usize = 48;
/// Bytes of a payload without entries, at most: texts of a run are cut to 256 bytes.
pub(crate) const FIXED_MAX: usize = 1024;
const RUN_TEXT_MAX: usize = 256;
/// Bytes of one entry without its lists and name.
const ENTRY_FIXED: usize = 20 + 4 + 8 + 8 + 3 * 29 + 1 + 4 + 33 + 1 + 8 + 1 + 3 * 4;
const SEGMENT_LEN: usize = 12 + 1 + 25 + 8;
/// What is said of a segment by a bit.
const HOLES: u8 = 1;
const CLEANED: u8 = 2;
const SWAPPING: u8 = 4;
const EPOCH_LEN: usize = 12;
const SNAPSHOT_LEN: usize = 16;

impl LedgerEntry {
    /// Bytes this entry takes in the file, at most.
    pub(crate) fn encoded_len(&self) -> usize {
        ENTRY_FIXED
            + self.topic.len()
            + self.segments.len() * SEGMENT_LEN
            + self.epochs.len() * EPOCH_LEN
            + self.snapshots.len() * SNAPSHOT_LEN
    }
}

impl Ledger {
    /// Bytes the whole file takes, at most.
    pub(crate) fn encoded_len(&self) -> usize {
        HEADER_LEN + FIXED_MAX + self.entries_len
    }

    /// The file's bytes.
    pub(crate) fn encode(&self, dir_id: [u8; 16], sequence: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        out.resize(HEADER_LEN, 0);
        put_commit(&mut out, self.last);
        put_commit(&mut out, self.settled_through);
        put_run(&mut out, &self.run);
        out.put_u64(self.same_since);
        out.put_i64(self.wall_ms);
        out.put_u32(self.entries.len() as u32);
        for (incarnation, entry) in &self.entries {
            put_incarnation(&mut out, *incarnation);
            put_entry(&mut out, entry);
        }
        let payload_crc = crc32c::crc32c(&out[HEADER_LEN..]);
        let mut header = Vec::with_capacity(HEADER_LEN);
        header.put_u32(MAGIC);
        header.put_u32(VERSION);
        header.put_u64(sequence);
        header.extend_from_slice(&dir_id);
        header.put_u64((out.len() - HEADER_LEN) as u64);
        header.put_u32(payload_crc);
        let header_crc = crc32c::crc32c(&header);
        header.put_u32(header_crc);
        out[..HEADER_LEN].copy_from_slice(&header);
        out
    }

    /// The directory that a ledger file says it is of.
    pub(crate) fn dir_id(bytes: &[u8]) -> Option<[u8; 16]> {
        bytes.get(16..32)?.try_into().ok()
    }

    /// The ledger and its sequence; `None` unless every byte is as written, for this directory.
    pub(crate) fn decode(dir_id: [u8; 16], bytes: &[u8]) -> Option<(Self, u64)> {
        let mut take = Take(bytes);
        let header = take.bytes(HEADER_LEN)?;
        let mut fields = Take(header);
        if fields.u32()? != MAGIC || fields.u32()? != VERSION {
            return None;
        }
        let sequence = fields.u64()?;
        if fields.array::<16>()? != dir_id {
            return None;
        }
        let len = usize::try_from(fields.u64()?).ok()?;
        let payload_crc = fields.u32()?;
        if fields.u32()? != crc32c::crc32c(&header[..HEADER_LEN - 4]) {
            return None;
        }
        let payload = take.bytes(len)?;
        if crc32c::crc32c(payload) != payload_crc {
            return None;
        }
        decode_payload(payload).map(|ledger| (ledger, sequence))
    }
}

fn decode_payload(payload: &[u8]) -> Option<Ledger> {
    let mut take = Take(payload);
    let mut ledger = Ledger {
        last: take_commit(&mut take)?,
        settled_through: take_commit(&mut take)?,
        run: take_run(&mut take)?,
        same_since: take.u64()?,
        wall_ms: take.i64()?,
        entries: BTreeMap::new(),
        entries_len: 0,
    };
    let count = take.u32()?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let incarnation = take_incarnation(&mut take)?;
        entries.push((incarnation, take_entry(&mut take)?));
    }
    // Made at once the tree is dense: half of what it takes when it grows entry by entry.
    ledger.entries = BTreeMap::from_iter(entries);
    ledger.entries_len = ledger.entries.values().map(LedgerEntry::encoded_len).sum();
    take.is_done().then_some(ledger)
}

fn put_commit(out: &mut Vec<u8>, id: CommitId) {
    out.put_u64(id.generation);
    out.put_u64(id.number);
}

fn take_commit(take: &mut Take<'_>) -> Option<CommitId> {
    Some(CommitId {
        generation: take.u64()?,
        number: take.u64()?,
    })
}

/// A run as fields; also the payload of a journal's start record.
pub(crate) fn put_run(out: &mut Vec<u8>, run: &Run) {
    out.put_u64(run.generation);
    for text in [&run.boot, &run.mount] {
        // Longer than any kernel writes: treated as unknown, which counts as another boot.
        let text = text.as_deref().filter(|text| text.len() <= RUN_TEXT_MAX);
        out.put_u8(u8::from(text.is_some()));
        out.put_block(text.unwrap_or_default().as_bytes());
    }
}

/// The reverse of [`put_run`].
pub(crate) fn take_run(take: &mut Take<'_>) -> Option<Run> {
    let generation = take.u64()?;
    let mut text = || -> Option<Option<String>> {
        let known = take.flag()?;
        let text = take.text()?.to_owned();
        Some(known.then_some(text))
    };
    Some(Run {
        generation,
        boot: text()?,
        mount: text()?,
    })
}

fn put_entry(out: &mut Vec<u8>, entry: &LedgerEntry) {
    out.put_block(entry.topic.as_bytes());
    out.put_u32(entry.segments.len() as u32);
    for segment in &entry.segments {
        out.put_segment(segment.id);
        let flags = [
            (HOLES, segment.holes),
            (CLEANED, segment.cleaned.is_some()),
            (SWAPPING, segment.swapping),
        ];
        let set = flags.iter().filter(|(_, is_set)| *is_set);
        out.put_u8(set.map(|(flag, _)| flag).sum());
        if let Some(upto) = segment.cleaned {
            out.put_i64(upto);
        }
        out.put_u8(u8::from(segment.sealed.is_some()));
        if let Some(sealed) = segment.sealed {
            out.put_u64(sealed.bytes);
            out.put_i64(sealed.next_offset);
            out.put_i64(sealed.max_timestamp_ms);
        }
    }
    for position in [entry.flushed, entry.settled, entry.close] {
        out.put_u8(u8::from(position.is_some()));
        if let Some(position) = position {
            out.put_position(position);
        }
    }
    out.put_i64(entry.log_start);
    out.put_i64(entry.high_watermark);
    out.put_u32(entry.epochs.len() as u32);
    for (epoch, start) in &entry.epochs {
        out.put_i32(*epoch);
        out.put_i64(*start);
    }
    out.put_u8(encode_mode(entry.mode));
    out.put_u32(entry.snapshots.len() as u32);
    for name in &entry.snapshots {
        put_snapshot(out, *name);
    }
    out.put_u32(entry.cut_count);
    out.put_u8(u8::from(entry.pending_cut.is_some()));
    if let Some(cut) = entry.pending_cut {
        out.put_position(cut.to);
        out.put_u32(cut.cut_count);
    }
    out.put_u8(u8::from(entry.deleting));
    out.put_u64(entry.since_generation);
    out.put_u8(u8::from(entry.damaged));
}

fn take_entry(take: &mut Take<'_>) -> Option<LedgerEntry> {
    let mut entry = LedgerEntry {
        topic: take.text()?.into(),
        ..LedgerEntry::default()
    };
    for _ in 0..take.u32()? {
        push(&mut entry.segments, take_segment(take)?);
    }
    let mut positions = [None; 3];
    for position in &mut positions {
        if take.flag()? {
            *position = Some(take.position()?);
        }
    }
    [entry.flushed, entry.settled, entry.close] = positions;
    entry.log_start = take.i64()?;
    entry.high_watermark = take.i64()?;
    for _ in 0..take.u32()? {
        push(&mut entry.epochs, (take.i32()?, take.i64()?));
    }
    entry.mode = decode_mode(take.u8()?)?;
    for _ in 0..take.u32()? {
        push(&mut entry.snapshots, take_snapshot(take)?);
    }
    entry.cut_count = take.u32()?;
    if take.flag()? {
        entry.pending_cut = Some(PendingCut {
            to: take.position()?,
            cut_count: take.u32()?,
        });
    }
    entry.deleting = take.flag()?;
    entry.since_generation = take.u64()?;
    entry.damaged = take.flag()?;
    Some(entry)
}

fn take_segment(take: &mut Take<'_>) -> Option<SegmentEntry> {
    let id = take.segment()?;
    // A ledger from before there was cleaning has no flag but the first.
    let flags = take
        .u8()
        .filter(|flags| *flags <= HOLES | CLEANED | SWAPPING)?;
    let cleaned = match flags & CLEANED {
        0 => None,
        _ => Some(take.i64()?),
    };
    let sealed = if take.flag()? {
        Some(SealedEntry {
            bytes: take.u64()?,
            next_offset: take.i64()?,
            max_timestamp_ms: take.i64()?,
        })
    } else {
        None
    };
    Some(SegmentEntry {
        id,
        holes: flags & HOLES != 0,
        sealed,
        cleaned,
        swapping: flags & SWAPPING != 0,
    })
}
