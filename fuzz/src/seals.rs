//! Makes lengths and checksums right in bytes that are otherwise anything, so that a fuzzer gets
//! behind them. Written from the formats' descriptions, not with the code under test.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::{BufMut, Bytes};

use crate::disk::Files;

/// A batch header's bytes, and where its fields stand.
const BATCH_HEADER: usize = 61;
const BATCH_LENGTH: std::ops::Range<usize> = 8..12;
const BATCH_LENGTH_FROM: usize = 12;
const BATCH_MAGIC: usize = 16;
const BATCH_CRC: std::ops::Range<usize> = 17..21;

/// One whole batch: magic, length and checksum. Shorter bytes than a header stay as they are.
pub(crate) fn batch(bytes: &mut [u8]) {
    let len = bytes.len();
    if len < BATCH_HEADER {
        return;
    }
    let length = (len - BATCH_LENGTH_FROM) as i32;
    bytes[BATCH_LENGTH].copy_from_slice(&length.to_be_bytes());
    bytes[BATCH_MAGIC] = 2;
    let crc = crc32c::crc32c(&bytes[BATCH_CRC.end..]);
    bytes[BATCH_CRC].copy_from_slice(&crc.to_be_bytes());
}

/// A run of batches: the checksum of each, by the lengths they have; what no length reaches stays.
pub(crate) fn batches(mut bytes: &mut [u8]) {
    while bytes.len() >= BATCH_HEADER {
        let [l0, l1, l2, l3] = [8, 9, 10, 11].map(|at| bytes[at]);
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        let size = length.saturating_add(BATCH_LENGTH_FROM);
        if size < BATCH_HEADER || size > bytes.len() {
            return;
        }
        let (whole, rest) = bytes.split_at_mut(size);
        batch(whole);
        bytes = rest;
    }
}

/// A file whose last four bytes are the checksum of the rest, little-endian (`millrace.format`).
pub(crate) fn trailing(bytes: &mut [u8]) {
    if let Some((covered, crc)) = bytes.split_last_chunk_mut::<4>() {
        *crc = crc32c::crc32c(covered).to_le_bytes();
    }
}

/// A producer snapshot: magic, version, and the checksum of what follows byte 14, big-endian.
pub(crate) fn producers(bytes: &mut [u8]) {
    if let Some((head, rest)) = bytes.split_first_chunk_mut::<14>() {
        let crc = crc32c::crc32c(rest);
        let mut fields = &mut head[..];
        fields.put_slice(b"MRPRODUC");
        fields.put_u16(1);
        fields.put_u32(crc);
    }
}

/// Both slots of a slot file: length no more than there is, checksum of header and record.
pub(crate) fn slots(bytes: &mut [u8]) {
    for slot in bytes.chunks_mut(4096) {
        if let Some((head, record)) = slot.split_first_chunk_mut::<24>() {
            let claimed = u32::from_le_bytes([head[16], head[17], head[18], head[19]]) as usize;
            let len = claimed.min(record.len());
            head[..8].copy_from_slice(b"MRsl\x01\0\0\0");
            head[16..20].copy_from_slice(&(len as u32).to_le_bytes());
            let crc = crc32c::crc32c_append(crc32c::crc32c(&head[..20]), &record[..len]);
            head[20..].copy_from_slice(&crc.to_le_bytes());
        }
    }
}

/// A ledger of the directory `dir_id`: header, payload length no more than there is, checksums.
pub(crate) fn ledger(bytes: &mut [u8], dir_id: [u8; 16]) {
    let Some((head, payload)) = bytes.split_first_chunk_mut::<48>() else {
        return;
    };
    let claimed = u64::from_le_bytes([
        head[32], head[33], head[34], head[35], head[36], head[37], head[38], head[39],
    ]);
    let len = usize::try_from(claimed).map_or(payload.len(), |len| len.min(payload.len()));
    head[..8].copy_from_slice(b"MRlg\x01\0\0\0");
    head[16..32].copy_from_slice(&dir_id);
    head[32..40].copy_from_slice(&(len as u64).to_le_bytes());
    head[40..44].copy_from_slice(&crc32c::crc32c(&payload[..len]).to_le_bytes());
    let crc = crc32c::crc32c(&head[..44]);
    head[44..].copy_from_slice(&crc.to_le_bytes());
}

/// Bytes of a journal's block, of a commit's header without partitions, of an entry's head.
const BLOCK: usize = 4096;
const COMMIT_HEADER: usize = 52;
const COMMIT_PARTITION: usize = 20;
const ENTRY_HEAD: usize = 20;

/// A journal file of the directory `dir_id`: every checksum of every commit, by the lengths they
/// have.
pub(crate) fn journal(bytes: &mut [u8], dir_id: [u8; 16]) {
    for start in (0..bytes.len()).step_by(BLOCK) {
        if bytes[start..].starts_with(b"MRjc\x01\0") {
            // A commit whose lengths run past the file keeps its wrong checksums.
            let _unsealed = commit(&mut bytes[start..], dir_id);
        }
    }
}

/// Whether a file is one of a journal, by its name.
pub(crate) fn is_journal(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("journal.")
}

/// Where a commit's header names the checksum of the commit before.
const COMMIT_PREVIOUS: std::ops::Range<usize> = 36..40;

/// All journal files of the directory `dir_id`: every checksum of every commit, and what each says
/// of the one before it, across the files.
pub(crate) fn chain(files: &mut Files, dir_id: [u8; 16]) {
    let mut commits = BTreeMap::new();
    for (file, (path, bytes)) in files.iter().enumerate() {
        if !is_journal(path) {
            continue;
        }
        for start in (0..bytes.len()).step_by(BLOCK) {
            if bytes[start..].starts_with(b"MRjc\x01\0") && bytes.len() - start >= COMMIT_HEADER {
                let (generation, number) = (long(bytes, start + 8), long(bytes, start + 16));
                commits.insert((generation, number), (file, start));
            }
        }
    }
    let mut before: Option<((u64, u64), u32)> = None;
    for (id, (file, start)) in commits {
        let mut bytes = files[file].1.to_vec();
        if let Some(((generation, number), crc)) = before
            && id == (generation, number.wrapping_add(1))
        {
            bytes[start..][COMMIT_PREVIOUS].copy_from_slice(&crc.to_le_bytes());
        }
        before = commit(&mut bytes[start..], dir_id).map(|crc| (id, crc));
        files[file].1 = Bytes::from(bytes);
    }
}

/// What [`reshape`] cuts off an entry, at most.
const CUT_MAX: usize = 32;

/// Makes one entry of the commit at or before `place` shorter, or changes the first byte of what it
/// holds: a mark's kind. The commit's lengths stay right.
pub(crate) fn reshape(bytes: &mut [u8], place: usize, amount: u8) {
    let starts = (0..=place / BLOCK).rev().map(|block| block * BLOCK);
    let mut starts = starts.filter(|start| bytes[*start..].starts_with(b"MRjc\x01\0"));
    if let Some(start) = starts.next() {
        // A commit whose lengths run past the file stays as it is.
        let _unchanged = reshape_commit(&mut bytes[start..], place, amount);
    }
}

fn reshape_commit(bytes: &mut [u8], place: usize, amount: u8) -> Option<()> {
    let entries_len = little(bytes, 24)?;
    let count = little(bytes, 28)?;
    let from = little(bytes, 32)?.checked_mul(COMMIT_PARTITION)? + COMMIT_HEADER;
    let which = place % count.max(1);
    let mut at = from;
    for _ in 0..which {
        at = at
            .checked_add(ENTRY_HEAD)?
            .checked_add(little(bytes, at + 8)?)?;
    }
    let len = little(bytes, at + 8)?;
    let payload = at.checked_add(ENTRY_HEAD)?;
    let end = from.checked_add(entries_len)?;
    let behind = payload.checked_add(len).filter(|behind| *behind <= end)?;
    let cut = usize::from(amount) % CUT_MAX;
    if cut == 0 {
        *bytes.get_mut(payload)? = amount >> 3;
        return Some(());
    }
    let cut = cut.min(len);
    // The trailer comes along.
    let until = end.checked_add(16).filter(|until| *until <= bytes.len())?;
    bytes.copy_within(behind..until, behind - cut);
    bytes[at + 8..at + 12].copy_from_slice(&((len - cut) as u32).to_le_bytes());
    bytes[24..28].copy_from_slice(&((entries_len - cut) as u32).to_le_bytes());
    Some(())
}

/// The eight bytes at a place that is there, as a number.
fn long(bytes: &[u8], at: usize) -> u64 {
    let field = bytes[at..].first_chunk().copied();
    u64::from_le_bytes(field.unwrap_or_default())
}

/// Gives the checksum of all.
fn commit(bytes: &mut [u8], dir_id: [u8; 16]) -> Option<u32> {
    let seed = crc32c::crc32c_append(crc32c::crc32c(&dir_id), bytes.get(8..24)?);
    let entries_len = little(bytes, 24)?;
    let count = little(bytes, 28)?;
    let partitions = little(bytes, 32)?;
    let header_len = partitions
        .checked_mul(COMMIT_PARTITION)?
        .checked_add(COMMIT_HEADER)?;
    let (header, rest) = bytes.split_at_mut_checked(header_len)?;
    seal(header, header_len - 4, seed);
    let mut all = crc32c::crc32c_append(seed, header);
    let (mut entries, trailer) = rest.split_at_mut_checked(entries_len)?;
    for _ in 0..count {
        let len = little(entries, 8)?;
        let (head, after) = entries.split_at_mut_checked(ENTRY_HEAD)?;
        let (payload, after) = after.split_at_mut_checked(len)?;
        let crc = crc32c::crc32c_append(seed, payload);
        head[12..16].copy_from_slice(&crc.to_le_bytes());
        seal(head, 16, seed);
        all = crc32c::crc32c_append(all, head);
        entries = after;
    }
    let trailer = trailer.first_chunk_mut::<16>()?;
    trailer[..4].copy_from_slice(b"MRje");
    trailer[4..12].copy_from_slice(&header[16..24]);
    trailer[12..].copy_from_slice(&all.to_le_bytes());
    Some(all)
}

/// Puts the checksum of what stands before `at` there.
fn seal(bytes: &mut [u8], at: usize, seed: u32) {
    let (covered, crc) = bytes.split_at_mut(at);
    let sum = crc32c::crc32c_append(seed, covered);
    crc[..4].copy_from_slice(&sum.to_le_bytes());
}

fn little(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*field) as usize)
}
