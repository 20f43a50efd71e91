//! The two files of one journal generation, written in turn (J1–J4).
//!
//! What always holds: a file is zeroed over its whole length and synced before a commit enters it;
//! a commit is written only after the sync of the one before returned (the flusher awaits what
//! [`Journal::write`] gives back); a block that holds a durable commit isn't written again before
//! its file was given back by [`Journal::free`].

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_host::{Completion, Disk, File, OpenMode};

use crate::error::Error;
use crate::journal::commit::{self, Header, Place};

/// Zeros are written in pieces of this size.
const ZEROS: usize = 256 * 1024;
/// A file grows in pieces of this size, each synced.
const GROW_PIECE: u64 = 2 << 20;
const PREFIX: &str = "journal.";

/// `journal.<generation>.<0|1>`: no topic partition's directory can have that name.
pub(crate) fn name(generation: u64, index: usize) -> String {
    format!("{PREFIX}{generation:010}.{index}")
}

/// The generation and index of a journal file's name.
pub(crate) fn parse_name(name: &str) -> Option<(u64, usize)> {
    let (generation, index) = name.strip_prefix(PREFIX)?.split_once('.')?;
    if generation.len() < 10 || !generation.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let index = match index {
        "0" => 0,
        "1" => 1,
        _ => return None,
    };
    Some((generation.parse().ok()?, index))
}

/// Makes a file without a commit in the place of one that was never made, or whose content nobody can
/// know any more. The directory is the caller's to sync.
pub(crate) fn make_empty(disk: &dyn Disk, dir: &Path, name: &str) -> Result<(), Error> {
    let path = dir.join(name);
    let made = disk.open(&path, OpenMode::Create);
    made.map(drop).map_err(Error::io("make", &path))
}

/// One of the two.
#[derive(Debug)]
struct Part {
    file: Arc<dyn File>,
    len: u64,
    /// The last flusher round and commit in it; `None` while it holds nothing needed.
    last: Option<(u64, u64)>,
}

/// A commit to write.
#[derive(Debug)]
pub(crate) struct Commit<'a> {
    /// Number, generation and directory are filled in here; `entries_len` too.
    pub(crate) header: &'a mut Header,
    pub(crate) entries: &'a mut [u8],
    /// The flusher's round it belongs to.
    pub(crate) round: u64,
}

/// The journal being written.
#[derive(Debug)]
pub(crate) struct Journal {
    place: Place,
    parts: [Part; 2],
    current: usize,
    offset: u64,
    previous_crc: u32,
    header: Vec<u8>,
    tail: Vec<u8>,
}

impl Journal {
    /// Makes the files of a new generation, zeroed, not yet synced.
    pub(crate) fn create(
        disk: &dyn Disk,
        dir: &Path,
        place: Place,
        len: u64,
    ) -> Result<Self, Error> {
        let part = |index| {
            let path = dir.join(name(place.generation, index));
            let file = disk
                .open(&path, OpenMode::CreateNew)
                .map_err(Error::io("create", &path))?;
            zero(file.as_ref(), 0, len).map_err(|error| {
                Error::access(dir, "make room for the journal in", &path, error)
            })?;
            Ok(Part {
                file,
                len,
                last: None,
            })
        };
        Ok(Self {
            place: Place { number: 0, ..place },
            parts: [part(0)?, part(1)?],
            current: 0,
            offset: 0,
            previous_crc: 0,
            header: Vec::new(),
            tail: Vec::new(),
        })
    }

    /// Both files, for their first sync.
    pub(crate) fn files(&self) -> [Arc<dyn File>; 2] {
        [
            Arc::clone(&self.parts[0].file),
            Arc::clone(&self.parts[1].file),
        ]
    }

    /// The generation.
    pub(crate) fn generation(&self) -> u64 {
        self.place.generation
    }

    /// Number of the last commit written; 0 before the first.
    pub(crate) fn last_number(&self) -> u64 {
        self.place.number
    }

    /// Most bytes one commit may take: a quarter of a file (J6).
    pub(crate) fn commit_len_max(&self) -> usize {
        (self.parts[0].len.min(self.parts[1].len) / 4) as usize
    }

    /// Makes the next `len` bytes writable by turning to the other file where needed. `false` when
    /// that one still holds what is needed.
    pub(crate) fn make_fit(&mut self, len: usize) -> bool {
        if self.offset + len as u64 <= self.parts[self.current].len {
            return true;
        }
        let other = 1 - self.current;
        if self.parts[other].last.is_some() {
            return false;
        }
        self.current = other;
        self.offset = 0;
        true
    }

    /// The file that should be given back by now: the current one is half full and the other still
    /// holds something (S3). Its index and the last round and commit in it.
    pub(crate) fn to_reclaim(&self) -> Option<(usize, u64, u64)> {
        let other = 1 - self.current;
        let (round, number) = self.parts[other].last?;
        (self.offset * 2 >= self.parts[self.current].len).then_some((other, round, number))
    }

    /// Writes the next commit and starts its sync. [`Journal::make_fit`] said yes before.
    pub(crate) fn write(&mut self, commit: Commit<'_>) -> Result<Completion<()>, Error> {
        self.place.number += 1;
        let Commit {
            header,
            entries,
            round,
        } = commit;
        header.place = self.place;
        header.previous_crc = self.previous_crc;
        header.entries_len = entries.len();
        header.encode(&mut self.header);
        self.previous_crc = commit::seal(self.place.seed(), &self.header, entries);
        let written = self.header.len() + entries.len();
        commit::encode_trailer(
            &mut self.tail,
            self.place.number,
            self.previous_crc,
            written,
        );
        let total = written + self.tail.len();
        let part = &mut self.parts[self.current];
        let bufs = [
            IoSlice::new(&self.header),
            IoSlice::new(entries),
            IoSlice::new(&self.tail),
        ];
        let path = part.file.path();
        let taken = part
            .file
            .write_vectored_at(&bufs, self.offset)
            .map_err(Error::io("write the journal", path))?;
        if taken < total {
            return Err(Error::io("write the journal", path)(
                io::ErrorKind::WriteZero.into(),
            ));
        }
        self.offset += total as u64;
        part.last = Some((round, self.place.number));
        Ok(part.file.sync())
    }

    /// The file that is being written.
    pub(crate) fn file(&self) -> Arc<dyn File> {
        Arc::clone(&self.parts[self.current].file)
    }

    /// Where the sync of the last write goes wrong, for the message.
    pub(crate) fn path(&self) -> PathBuf {
        self.parts[self.current].file.path().clone()
    }

    /// A file that holds nothing needed any more, to be grown before it is given back.
    pub(crate) fn reclaimed(&self, index: usize) -> (Arc<dyn File>, u64) {
        (Arc::clone(&self.parts[index].file), self.parts[index].len)
    }

    /// Gives a file back: it may be overwritten, over `len` bytes.
    pub(crate) fn free(&mut self, index: usize, len: u64) {
        self.parts[index].last = None;
        self.parts[index].len = len;
    }
}

/// Writes zeros over `from..to`, taking room first.
fn zero(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    file.allocate(from, to - from)?;
    let zeros = vec![0_u8; ZEROS];
    let mut at = from;
    while at < to {
        let want = (to - at).min(ZEROS as u64) as usize;
        let taken = file.write_vectored_at(&[IoSlice::new(&zeros[..want])], at)?;
        if taken == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        at += taken as u64;
    }
    Ok(())
}

/// Grows a file that holds nothing needed from `from` to `to` bytes, in pieces that are synced one
/// by one, so that commits beside it never wait behind all of it. Gives the length it may be used
/// at: the old one when there was no room.
pub(crate) async fn grow(file: &Arc<dyn File>, from: u64, to: u64) -> Result<u64, Error> {
    let mut at = from;
    while at < to {
        let end = to.min(at + GROW_PIECE);
        if let Err(error) = zero(file.as_ref(), at, end) {
            tracing::warn!(path = %file.path().display(), %error, "the journal stays at its size");
            file.set_len(from)
                .map_err(Error::io("shorten", file.path()))?;
            return Ok(from);
        }
        file.sync().await.map_err(Error::io("sync", file.path()))?;
        at = end;
    }
    Ok(to.max(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j1_names_come_back_and_no_partition_directory_has_one() {
        assert_eq!(parse_name(&name(12, 1)), Some((12, 1)));
        for other in [
            "journal-1-0",
            "journal.1.0",
            "journal.0000000001.2",
            "journal.000000000x.0",
        ] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
