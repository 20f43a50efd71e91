//! The bytes of one commit in the journal (J2).
//!
//! ```text
//! header   magic u32 | version u16 | flags u16 | generation u64 | number u64 | entries_len u32 |
//!          entry_count u32 | partitions u32 | crc of the commit before u32 | wall_ms i64 |
//!          partitions x (topic id 16, partition i32) | header crc u32
//! entries  entry_count x ( kind u8 | 0 0 0 | partition index u32 | len u32 | payload crc u32 |
//!          head crc u32 | len bytes of payload )
//! trailer  magic u32 | number u64 | crc of all u32
//! ```
//! Little-endian, padded with zeros to a multiple of 4 KiB. What always holds: every CRC (CRC-32C)
//! starts from a seed made of directory id, generation and number, so that the remains of another
//! commit, generation or directory never pass for part of this one; the crc of all covers the
//! header and every entry's head, which hold the CRCs of the payloads.

use millrace_probe::{Bug, planted};

use crate::codec::{Put, Take};
use crate::mark::{Incarnation, SegmentId};

/// Commits begin on multiples of this, and are padded to it.
pub(crate) const BLOCK: usize = 4096;
/// What commits begin on multiples of.
pub(crate) fn block() -> usize {
    if planted(Bug::CommitsShareBlock) {
        return 512;
    }
    BLOCK
}

/// Header bytes before the list of partitions.
const HEADER_FIXED: usize = 48;
/// Bytes of one partition in the header.
const PARTITION_LEN: usize = 20;
/// Bytes of an entry before its payload.
pub(crate) const HEAD_LEN: usize = 20;
/// Bytes of a data entry's payload before the record bytes.
pub(crate) const DATA_LEN: usize = 36;
/// Bytes of the trailer.
const TRAILER_LEN: usize = 16;

const MAGIC: u32 = u32::from_le_bytes(*b"MRjc");
const TRAILER_MAGIC: u32 = u32::from_le_bytes(*b"MRje");
const VERSION: u16 = 1;
const FLAG_CLOSING: u16 = 1;
/// The index of an entry that belongs to the directory and no partition.
const NO_PARTITION: u32 = u32::MAX;

/// An entry that was withdrawn while it was still in memory: its partition turned to direct sync.
const KIND_VOID: u8 = 0;
const KIND_DATA: u8 = 1;
const KIND_MARK: u8 = 2;
const KIND_START: u8 = 3;

/// A commit's place in the order of all commits of a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CommitId {
    pub(crate) generation: u64,
    pub(crate) number: u64,
}

/// Where a commit belongs; mixed into its every CRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) dir_id: [u8; 16],
    pub(crate) generation: u64,
    pub(crate) number: u64,
}

impl Place {
    /// What every CRC of this commit starts from.
    pub(crate) fn seed(self) -> u32 {
        let crc = crc32c::crc32c(&self.dir_id);
        let crc = crc32c::crc32c_append(crc, &self.generation.to_le_bytes());
        crc32c::crc32c_append(crc, &self.number.to_le_bytes())
    }
}

/// What a commit's header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) place: Place,
    /// Nothing followed within the flush lag (C7).
    pub(crate) closing: bool,
    /// The crc of all of the commit before; 0 for a generation's first.
    pub(crate) previous_crc: u32,
    /// Wall time when it was written.
    pub(crate) wall_ms: i64,
    /// Whose entries are inside.
    pub(crate) partitions: Vec<Incarnation>,
    pub(crate) entries_len: usize,
    pub(crate) entry_count: u32,
}

impl Header {
    /// Bytes of a commit with so many partitions and entry bytes, padding included.
    pub(crate) fn padded_len(partitions: usize, entries_len: usize) -> usize {
        Self::len(partitions)
            .saturating_add(entries_len)
            .saturating_add(TRAILER_LEN)
            .next_multiple_of(block())
    }

    fn len(partitions: usize) -> usize {
        partitions
            .saturating_mul(PARTITION_LEN)
            .saturating_add(HEADER_FIXED + 4)
    }

    /// Bytes from the commit's start to its end, padding included.
    pub(crate) fn total_len(&self) -> usize {
        Self::padded_len(self.partitions.len(), self.entries_len)
    }

    /// Replaces `out` with the header's bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.put_u32(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        let flags = if self.closing { FLAG_CLOSING } else { 0 };
        out.extend_from_slice(&flags.to_le_bytes());
        out.put_u64(self.place.generation);
        out.put_u64(self.place.number);
        out.put_u32(self.entries_len as u32);
        out.put_u32(self.entry_count);
        out.put_u32(self.partitions.len() as u32);
        out.put_u32(self.previous_crc);
        out.put_i64(self.wall_ms);
        for partition in &self.partitions {
            put_incarnation(out, *partition);
        }
        let crc = crc32c::crc32c_append(self.place.seed(), out);
        out.put_u32(crc);
    }

    /// How many bytes the header that seems to start here takes; `None` when none does. Says nothing
    /// of its truth.
    pub(crate) fn claimed_len(block: &[u8]) -> Option<usize> {
        let mut take = Take(block);
        if take.u32()? != MAGIC || take.array::<2>()? != VERSION.to_le_bytes() {
            return None;
        }
        take.bytes(2 + 8 + 8 + 4 + 4)?;
        Some(Self::len(usize::try_from(take.u32()?).ok()?))
    }

    /// The header at the start of `bytes`, if its CRC holds.
    pub(crate) fn decode(dir_id: [u8; 16], bytes: &[u8]) -> Option<Self> {
        let len = Self::claimed_len(bytes)?;
        let (covered, crc) = bytes.get(..len)?.split_at_checked(len - 4)?;
        let mut take = Take(covered);
        take.bytes(6)?;
        let flags = u16::from_le_bytes(take.array()?);
        let place = Place {
            dir_id,
            generation: take.u64()?,
            number: take.u64()?,
        };
        if crc32c::crc32c_append(place.seed(), covered) != Take(crc).u32()? {
            return None;
        }
        let entries_len = usize::try_from(take.u32()?).ok()?;
        let entry_count = take.u32()?;
        let count = take.u32()?;
        let previous_crc = take.u32()?;
        let wall_ms = take.i64()?;
        let partitions = (0..count)
            .map(|_| take_incarnation(&mut take))
            .collect::<Option<Vec<_>>>()?;
        let closing = flags & FLAG_CLOSING != 0;
        Some(Self {
            place,
            closing,
            previous_crc,
            wall_ms,
            partitions,
            entries_len,
            entry_count,
        })
    }
}

pub(crate) fn put_incarnation(out: &mut Vec<u8>, incarnation: Incarnation) {
    out.extend_from_slice(&incarnation.topic_id);
    out.put_i32(incarnation.partition);
}

pub(crate) fn take_incarnation(take: &mut Take<'_>) -> Option<Incarnation> {
    Some(Incarnation {
        topic_id: take.array()?,
        partition: take.i32()?,
    })
}

/// Opens an entry in a gathering buffer; [`end_entry`] closes it.
pub(crate) fn begin_entry(out: &mut Vec<u8>, kind: EntryKind, partition: Option<u32>) -> usize {
    let start = out.len();
    let kind = match kind {
        EntryKind::Data => KIND_DATA,
        EntryKind::Mark => KIND_MARK,
        EntryKind::Start => KIND_START,
    };
    out.extend_from_slice(&[kind, 0, 0, 0]);
    out.put_u32(partition.unwrap_or(NO_PARTITION));
    out.extend_from_slice(&[0; HEAD_LEN - 8]);
    start
}

/// Fills in the length of the entry that began at `start`. Its CRCs come with [`seal`].
pub(crate) fn end_entry(out: &mut [u8], start: usize) {
    let len = (out.len() - start - HEAD_LEN) as u32;
    out[start + 8..start + 12].copy_from_slice(&len.to_le_bytes());
}

/// What an entry carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Data,
    Mark,
    Start,
}

/// The place of record bytes, at the front of a data entry's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DataPlace {
    pub(crate) segment: SegmentId,
    pub(crate) position: u64,
    pub(crate) first_offset: i64,
    pub(crate) next_offset: i64,
}

impl DataPlace {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_segment(self.segment);
        out.put_u64(self.position);
        out.put_i64(self.first_offset);
        out.put_i64(self.next_offset);
    }
}

/// Withdraws the data entries of one partition from a gathering buffer.
pub(crate) fn void_data(entries: &mut [u8], partition: u32) {
    let mut at = 0;
    while at < entries.len() {
        let len = entry_len(&entries[at..]);
        if entries[at] == KIND_DATA && entries[at + 4..at + 8] == partition.to_le_bytes() {
            entries[at] = KIND_VOID;
        }
        at += len;
    }
}

/// Bytes of the entry of our own making at the front of `entries`.
pub(crate) fn entry_len(entries: &[u8]) -> usize {
    let len = u32::from_le_bytes([entries[8], entries[9], entries[10], entries[11]]);
    HEAD_LEN + len as usize
}

/// Computes the CRCs of all entries in place and gives the crc of all.
pub(crate) fn seal(seed: u32, header: &[u8], entries: &mut [u8]) -> u32 {
    let mut all = crc32c::crc32c_append(seed, header);
    let mut at = 0;
    while at < entries.len() {
        let len = entry_len(&entries[at..]);
        let (head, payload) = entries[at..at + len].split_at_mut(HEAD_LEN);
        let crc = crc32c::crc32c_append(seed, payload);
        head[12..16].copy_from_slice(&crc.to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &head[..16]);
        head[16..20].copy_from_slice(&crc.to_le_bytes());
        all = crc32c::crc32c_append(all, head);
        at += len;
    }
    all
}

/// Replaces `out` with the trailer and the padding after it.
pub(crate) fn encode_trailer(out: &mut Vec<u8>, number: u64, crc_all: u32, written: usize) {
    out.clear();
    out.put_u32(TRAILER_MAGIC);
    out.put_u64(number);
    out.put_u32(crc_all);
    let end = (written + TRAILER_LEN).next_multiple_of(block());
    out.resize(end - written, 0);
}

/// One intact entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    /// Record bytes of a partition.
    Data(Incarnation, DataPlace, &'a [u8]),
    /// An encoded mark of a partition.
    Mark(Incarnation, &'a [u8]),
    /// An encoded start record of the directory.
    Start(&'a [u8]),
}

/// What reading a whole commit found.
#[derive(Debug)]
pub(crate) struct Opened<'a> {
    /// Entries whose CRCs hold, in order.
    pub(crate) entries: Vec<Entry<'a>>,
    /// Partitions that have, or may have, entries which can't be read.
    pub(crate) damaged: Vec<Incarnation>,
    /// The crc of all, if the trailer is there and holds.
    pub(crate) crc_all: Option<u32>,
}

impl Opened<'_> {
    /// Every byte is as it was written.
    pub(crate) fn is_whole(&self) -> bool {
        self.crc_all.is_some() && self.damaged.is_empty()
    }
}

/// Checks a whole commit whose header is known to hold. `bytes` starts at the header.
pub(crate) fn open<'a>(header: &Header, bytes: &'a [u8]) -> Opened<'a> {
    let seed = header.place.seed();
    let head_len = Header::len(header.partitions.len());
    let mut opened = Opened {
        entries: Vec::new(),
        damaged: Vec::new(),
        crc_all: None,
    };
    let mut take = Take(bytes);
    let Some(header_bytes) = take.bytes(head_len) else {
        opened.damaged.clone_from(&header.partitions);
        return opened;
    };
    let mut all = crc32c::crc32c_append(seed, header_bytes);
    let entries = take.bytes(header.entries_len).unwrap_or_default();
    let mut walk = Take(entries);
    for _ in 0..header.entry_count {
        let Some(step) = next_entry(seed, &header.partitions, &mut walk) else {
            // Where the next entry begins is unknown, so any partition inside may be hurt.
            opened.damaged.clone_from(&header.partitions);
            return opened;
        };
        all = crc32c::crc32c_append(all, step.head);
        match step.entry {
            Ok(Some(entry)) => opened.entries.push(entry),
            Ok(None) => {}
            Err(Some(hurt)) => opened.damaged.push(hurt),
            Err(None) => opened.damaged.clone_from(&header.partitions),
        }
    }
    let mut trailer = take;
    let holds = trailer.u32() == Some(TRAILER_MAGIC)
        && trailer.u64() == Some(header.place.number)
        && trailer.u32() == Some(all)
        && walk.is_done();
    opened.crc_all = holds.then_some(all);
    opened
}

struct Step<'a> {
    head: &'a [u8],
    /// The entry, nothing for a void one; or whose it was, where that can be told.
    entry: Result<Option<Entry<'a>>, Option<Incarnation>>,
}

fn next_entry<'a>(seed: u32, partitions: &[Incarnation], walk: &mut Take<'a>) -> Option<Step<'a>> {
    let head = walk.bytes(HEAD_LEN)?;
    let mut take = Take(head);
    let [kind, ..] = take.array::<4>()?;
    let index = take.u32()?;
    let len = usize::try_from(take.u32()?).ok()?;
    let payload_crc = take.u32()?;
    if crc32c::crc32c_append(seed, &head[..16]) != take.u32()? {
        return None;
    }
    let payload = walk.bytes(len)?;
    let whose = usize::try_from(index)
        .ok()
        .and_then(|index| partitions.get(index))
        .copied();
    let entry = if crc32c::crc32c_append(seed, payload) == payload_crc {
        open_payload(kind, whose, payload)
    } else {
        Err(whose)
    };
    Some(Step { head, entry })
}

/// The entries of one payload: one, or none for a void entry. An error when it can't be understood.
fn open_payload(
    kind: u8,
    whose: Option<Incarnation>,
    payload: &[u8],
) -> Result<Option<Entry<'_>>, Option<Incarnation>> {
    let entry = match (kind, whose) {
        (KIND_VOID, _) => return Ok(None),
        (KIND_DATA, Some(owner)) => {
            let mut take = Take(payload);
            let place = take_place(&mut take).ok_or(whose)?;
            Entry::Data(owner, place, take.0)
        }
        (KIND_MARK, Some(owner)) => Entry::Mark(owner, payload),
        (KIND_START, _) => Entry::Start(payload),
        _ => return Err(whose),
    };
    Ok(Some(entry))
}

fn take_place(take: &mut Take<'_>) -> Option<DataPlace> {
    Some(DataPlace {
        segment: take.segment()?,
        position: take.u64()?,
        first_offset: take.i64()?,
        next_offset: take.i64()?,
    })
}

#[cfg(test)]
#[path = "commit_tests.rs"]
mod tests;
