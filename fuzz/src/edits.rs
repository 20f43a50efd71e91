//! Changes one file of a directory as an input says: other bytes, or some of them, with right
//! checksums where asked for.
//!
//! What always holds: the other files stay as the broker wrote them.

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
        _ if name.starts_with("journal.") => seals::journal(bytes, dir_id),
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
