//! Changes files of a directory as an input says: other bytes, or some of them, with right checksums
//! where asked for.
//!
//! What always holds: the other files stay as the broker wrote them, but for what they say of a
//! changed file's checksum where it is made right.

use std::path::Path;

use bytes::Bytes;

use crate::disk::Files;
use crate::input::Input;
use crate::seals;

const SEALED: u8 = 1 << 7;

/// One edit: which file, how, where, the bytes.
pub(crate) fn apply(files: &mut Files, input: &mut Input<'_>) {
    let at = usize::from(input.byte()) % files.len();
    let (how, place) = (input.byte(), usize::from(input.short()));
    let dir_id = directory_id(files);
    let (path, content) = &mut files[at];
    let mut bytes = content.to_vec();
    // Files of many blocks are changed near a block's start as easily as a small file anywhere.
    let place = if how & BLOCKWISE == 0 {
        place
    } else {
        (place >> 8) * BLOCK + (place & 0xff)
    };
    let place = place % (bytes.len() + 1);
    match how % 4 {
        0 => bytes = input.0.to_vec(),
        1 => {
            let len = input.0.len().min(bytes.len() - place);
            bytes[place..place + len].copy_from_slice(&input.0[..len]);
        }
        2 => {
            bytes.truncate(place);
            bytes.extend_from_slice(input.0);
        }
        _ => {
            let rest = bytes.split_off(place);
            bytes.extend_from_slice(input.0);
            bytes.extend_from_slice(&rest);
        }
    }
    if how & SEALED != 0 {
        seal(path, &mut bytes, dir_id);
    }
    *content = Bytes::from(bytes);
}

/// Edits of one list, at most.
const LISTED_MAX: u8 = 6;

/// A list of small edits: their number, then each. Checksums are made right behind the last one, of
/// every file that was edited so.
pub(crate) fn several(files: &mut Files, input: &mut Input<'_>) {
    let dir_id = directory_id(files);
    for _ in 0..input.byte() % (LISTED_MAX + 1) {
        let at = usize::from(input.byte()) % files.len();
        let how = input.byte();
        let before = files[at].1.clone();
        let Some(bytes) = edited(files, at, how, input) else {
            files.remove(at);
            if files.is_empty() {
                return;
            }
            continue;
        };
        files[at].1 = Bytes::from(bytes);
        if how & SEALED == 0 {
            continue;
        }
        if seals::is_journal(&files[at].0) {
            seals::chain(files, dir_id);
        } else {
            let (path, content) = &mut files[at];
            let mut bytes = content.to_vec();
            seal(path, &mut bytes, dir_id);
            *content = Bytes::from(bytes);
            let after = content.clone();
            rename_checksum(files, (&before, &after), dir_id);
        }
    }
}

/// One small edit of a file; `None` when the file goes.
fn edited(files: &Files, at: usize, how: u8, input: &mut Input<'_>) -> Option<Vec<u8>> {
    let (path, content) = &files[at];
    let mut bytes = content.to_vec();
    // Behind what was written there is room, as zeros.
    let used = bytes.iter().rposition(|byte| *byte != 0);
    let used = used.map_or(0, |last| last + 1);
    let place = usize::from(input.short()) % (used + 1);
    let amount = input.byte();
    let len = usize::from(amount).min(bytes.len() - place);
    match how % 9 {
        0 => *bytes.get_mut(place)? ^= 1 << (amount % 8),
        1 => {
            let byte = bytes.get_mut(place)?;
            *byte = byte.wrapping_add(amount);
        }
        2 => bytes.truncate(place),
        3 => bytes[place..place + len].fill(0),
        4 => {
            let from = usize::from(input.short()) % (used + 1);
            let len = len.min(bytes.len() - from);
            bytes.copy_within(from..from + len, place);
        }
        5 => {
            let given = input.take(usize::from(amount % 32));
            bytes.splice(
                place..(place + given.len()).min(content.len()),
                given.to_vec(),
            );
        }
        // Another file of its kind in its place.
        6 => {
            let like = files
                .iter()
                .filter(|other| other.0.extension() == path.extension());
            let like: Vec<_> = like.collect();
            bytes = like[usize::from(amount) % like.len()].1.to_vec();
        }
        // One entry of one commit becomes shorter, or of another kind.
        7 if seals::is_journal(path) => seals::reshape(&mut bytes, place, amount),
        _ => return None,
    }
    Some(bytes)
}

/// Writes a file's new checksum where another file names the old one: producers' and metadata's
/// snapshots count by theirs.
fn rename_checksum(files: &mut Files, (before, after): (&[u8], &[u8]), dir_id: [u8; 16]) {
    let old = crc32c::crc32c(before).to_le_bytes();
    let new = crc32c::crc32c(after).to_le_bytes();
    if old == new {
        return;
    }
    for (path, content) in files.iter_mut() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let names_others = seals::is_journal(path) || name.starts_with("ledger.");
        let places: Vec<usize> = if names_others {
            let windows = content.windows(old.len()).enumerate();
            windows
                .filter(|(_, word)| *word == old)
                .map(|(at, _)| at)
                .collect()
        } else {
            Vec::new()
        };
        if places.is_empty() {
            continue;
        }
        let mut bytes = content.to_vec();
        for at in places {
            bytes[at..at + new.len()].copy_from_slice(&new);
        }
        if name.starts_with("ledger.") {
            seals::ledger(&mut bytes, dir_id);
        }
        *content = Bytes::from(bytes);
    }
    seals::chain(files, dir_id);
}

const BLOCKWISE: u8 = 1 << 6;
const BLOCK: usize = 4096;

/// Makes a file's checksums right, by what its name says it is.
pub(crate) fn seal(path: &Path, bytes: &mut [u8], dir_id: [u8; 16]) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    match (&*name, &*ending) {
        ("millrace.format", _) => seals::trailing(bytes),
        ("quorum-state", _) => seals::slots(bytes),
        ("ledger.0" | "ledger.1", _) => seals::ledger(bytes, dir_id),
        (_, "log" | "checkpoint") => seals::batches(bytes),
        (_, "producers") => seals::producers(bytes),
        _ if seals::is_journal(path) => seals::journal(bytes, dir_id),
        _ => {}
    }
}

/// The id in the directory's format file.
fn directory_id(files: &Files) -> [u8; 16] {
    let format = files
        .iter()
        .find(|(path, _)| path.ends_with("millrace.format"));
    let id = format.and_then(|(_, bytes)| bytes.get(8..)?.first_chunk().copied());
    id.expect("an image has a format file")
}
