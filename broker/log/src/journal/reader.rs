//! Reads what journals of earlier starts hold (R1).
//!
//! What always holds: a generation ends where no block of any of its files has a later number; the
//! last commit counts only whole; whatever is broken before the last is damage and is said.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use millrace_host::{Disk, File, OpenMode};

use crate::error::Error;
use crate::journal::commit::CommitId;
use crate::journal::commit::{self, BLOCK, Header, Opened};
use crate::journal::file;

/// Files are read in pieces of this size.
const CHUNK: u64 = 1 << 20;

/// A commit whose header holds.
#[derive(Debug)]
pub(crate) struct Located {
    file: Arc<dyn File>,
    offset: u64,
    /// What its header says.
    pub(crate) header: Header,
}

impl Located {
    /// Reads the whole commit, a second time where that fails. What can't be read is not torn: it may
    /// be the last commit, whole and acknowledged.
    pub(crate) async fn load(&self) -> Result<Bytes, Error> {
        let len = self.header.total_len();
        if let Ok(bytes) = self.file.read_at(self.offset, len).await {
            return Ok(bytes);
        }
        let again = self.file.read_at(self.offset, len).await;
        again.map_err(Error::io("read the journal", self.file.path()))
    }

    /// Where in its file it begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// `file at byte`, for messages.
    pub(crate) fn place(&self) -> String {
        format!("{} at byte {}", self.file.path().display(), self.offset)
    }

    /// Checks the commit's bytes.
    pub(crate) fn open<'a>(&self, bytes: &'a [u8]) -> Opened<'a> {
        commit::open(&self.header, bytes)
    }
}

/// The commits of one generation by number.
pub(crate) type Generation = BTreeMap<u64, Located>;

/// All journal files of a directory.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Commits after the one asked for, by generation; a generation with files and none is there.
    pub(crate) generations: BTreeMap<u64, Generation>,
    /// Names of all journal files, with their generation.
    pub(crate) names: Vec<(u64, String)>,
}

impl Scan {
    /// The names of journal files that must be there and aren't, where the ledger tells of a run of
    /// generation `run`: both files of a generation have their names durably before a commit enters or
    /// a ledger tells of it, and go only once a later ledger is durable (J1, J4). Only a directory in
    /// which nothing was written yet may lack those of its first.
    pub(crate) fn missing(&self, run: u64) -> Vec<String> {
        let mut generations = BTreeSet::from([run]);
        let with_commits = self.generations.iter();
        let with_commits = with_commits.filter(|(_, of)| !of.is_empty());
        generations.extend(with_commits.map(|(generation, _)| *generation));
        let must = generations.range(run.max(1)..);
        let names = must.flat_map(|generation| [0, 1].map(|index| file::name(*generation, index)));
        let there = |name: &String| self.names.iter().any(|(_, found)| found == name);
        names.filter(|name| !there(name)).collect()
    }
}

/// Finds every commit after `settled_through` in the journal files named.
pub(crate) async fn scan(
    disk: &dyn Disk,
    dir: &Path,
    dir_id: [u8; 16],
    names: &[String],
    settled_through: CommitId,
) -> Result<Scan, Error> {
    let mut scan = Scan::default();
    for name in names {
        let Some((generation, _)) = file::parse_name(name) else {
            continue;
        };
        let path = dir.join(name);
        let file = match disk.open(&path, OpenMode::Read) {
            Ok(file) => file,
            // The process before was letting go of it when it ended: settled, and its ledger, which
            // was read after this name was listed, says so.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io("open the journal", &path)(error)),
        };
        scan.names.push((generation, name.clone()));
        let commits = scan.generations.entry(generation).or_default();
        for (offset, header) in headers(&file, dir_id).await? {
            let id = CommitId {
                generation: header.place.generation,
                number: header.place.number,
            };
            if id.generation == generation && id > settled_through {
                let located = Located {
                    file: Arc::clone(&file),
                    offset,
                    header,
                };
                commits.insert(id.number, located);
            }
        }
    }
    Ok(scan)
}

/// Every commit of one journal file whose header holds, in the file's order.
pub(crate) async fn all(file: &Arc<dyn File>, dir_id: [u8; 16]) -> Result<Vec<Located>, Error> {
    let located = |(offset, header)| Located {
        file: Arc::clone(file),
        offset,
        header,
    };
    Ok(headers(file, dir_id)
        .await?
        .into_iter()
        .map(located)
        .collect())
}

/// Whether any block of the file looks like the start of a commit, true or not.
pub(crate) async fn holds_commits(disk: &dyn Disk, path: &Path) -> Result<bool, Error> {
    let file = disk
        .open(path, OpenMode::Read)
        .map_err(Error::io("open the journal", path))?;
    let len = file.len().map_err(Error::io("measure", path))?;
    let mut at = 0;
    while at < len {
        let piece = CHUNK.min(len - at);
        let bytes = read_piece(&file, at, piece as usize).await?;
        let mut blocks = bytes.chunks(BLOCK);
        if blocks.any(|block| Header::claimed_len(block).is_some()) {
            return Ok(true);
        }
        at += piece;
    }
    Ok(false)
}

/// Every block of the file that begins with a header that holds.
async fn headers(file: &Arc<dyn File>, dir_id: [u8; 16]) -> Result<Vec<(u64, Header)>, Error> {
    let len = file.len().map_err(Error::io("measure", file.path()))?;
    let mut found = Vec::new();
    let mut at = 0;
    while at < len {
        let piece = CHUNK.min(len - at);
        let bytes = read_piece(file, at, piece as usize).await?;
        for start in (0..bytes.len()).step_by(commit::block()) {
            let block = &bytes[start..];
            let Some(claimed) = Header::claimed_len(block) else {
                continue;
            };
            let offset = at + start as u64;
            let header = if claimed <= block.len() {
                Header::decode(dir_id, block)
            } else if claimed as u64 <= len - offset {
                let bytes = read_piece(file, offset, claimed).await?;
                Header::decode(dir_id, &bytes)
            } else {
                None
            };
            // A commit never reaches past the end of its file.
            if let Some(header) = header.filter(|one| one.total_len() as u64 <= len - offset) {
                found.push((offset, header));
            }
        }
        at += piece;
    }
    Ok(found)
}

/// Reads a piece; where that fails, once more block by block. A block that can't be read may hold the
/// last commit: it is no end of the journal.
async fn read_piece(file: &Arc<dyn File>, at: u64, len: usize) -> Result<Vec<u8>, Error> {
    let error = match file.read_at(at, len).await {
        Ok(bytes) => return Ok(bytes.to_vec()),
        Err(error) => error,
    };
    tracing::warn!(path = %file.path().display(), at, %error, "the journal is read once more");
    let mut out = Vec::with_capacity(len);
    for start in (0..len).step_by(BLOCK) {
        let want = BLOCK.min(len - start);
        let block = file.read_at(at + start as u64, want).await;
        out.extend_from_slice(&block.map_err(Error::io("read the journal", file.path()))?);
    }
    Ok(out)
}
