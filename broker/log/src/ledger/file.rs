//! The two ledger files of a directory (L1): either is enough, one is whole at any time.
//!
//! What always holds: the file that is not the newest whole one is written first, since the other may
//! be all there is; the second only after the first is synced; both have room for the
//! next ledger before a partition is added (F4).

use std::io::{self, IoSlice};
use std::path::Path;

use bytes::Bytes;
use millrace_host::sync::Arc;
use millrace_host::sync::atomic::{AtomicU64, Ordering};
use millrace_host::{Disk, File, OpenMode};
use millrace_probe::{Branch, reached};

use crate::error::Error;
use crate::ledger::fold::Ledger;

/// Their names.
pub(crate) const NAMES: [&str; 2] = ["ledger.0", "ledger.1"];
/// A ledger file no larger than this is read; larger is not ours.
const LEN_MAX: u64 = 4 << 30;

/// Both files, open.
#[derive(Debug)]
pub(crate) struct LedgerFiles {
    dir_id: [u8; 16],
    files: [Arc<dyn File>; 2],
    /// Which is written first.
    first: usize,
    sequence: AtomicU64,
}

/// Which ledger is the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Newest {
    sequence: u64,
    /// The file that it was read from.
    index: usize,
}

impl Newest {
    /// There is none.
    pub(crate) const NONE: Self = Self {
        sequence: 0,
        index: 1,
    };
}

impl LedgerFiles {
    /// Opens both, making the missing ones.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        dir_id: [u8; 16],
        newest: Newest,
    ) -> Result<Self, Error> {
        let open = |name: &str| {
            let path = dir.join(name);
            disk.open(&path, OpenMode::Create)
                .map_err(Error::io("open the ledger", &path))
        };
        Ok(Self {
            dir_id,
            files: [open(NAMES[0])?, open(NAMES[1])?],
            first: 1 - newest.index,
            sequence: AtomicU64::new(newest.sequence),
        })
    }

    /// Both files, for a first sync.
    pub(crate) fn files(&self) -> &[Arc<dyn File>; 2] {
        &self.files
    }

    /// Makes room for `len` bytes in both.
    pub(crate) fn allocate(&self, len: u64) -> io::Result<()> {
        for file in &self.files {
            if file.len()? < len {
                file.allocate(0, len)?;
            }
        }
        Ok(())
    }

    /// Writes the first ledger into both without syncing: the directory's format does that.
    pub(crate) fn write_first(&self, ledger: &Ledger) -> Result<(), Error> {
        let bytes = self.next(ledger);
        self.files
            .iter()
            .try_for_each(|file| put(file.as_ref(), &bytes))
    }

    /// The bytes of the next ledger, for [`LedgerFiles::write`].
    pub(crate) fn next(&self, ledger: &Ledger) -> Vec<u8> {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        ledger.encode(self.dir_id, sequence)
    }

    /// Makes what [`LedgerFiles::next`] gave durable in one file, then in the other.
    pub(crate) async fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        for index in [self.first, 1 - self.first] {
            let file = &self.files[index];
            put(file.as_ref(), bytes)?;
            file.sync()
                .await
                .map_err(Error::io("sync the ledger", file.path()))?;
        }
        Ok(())
    }
}

fn put(file: &dyn File, bytes: &[u8]) -> Result<(), Error> {
    let failed = || Error::io("write the ledger", file.path());
    let taken = file
        .write_vectored_at(&[IoSlice::new(bytes)], 0)
        .map_err(failed())?;
    if taken < bytes.len() {
        return Err(failed()(io::ErrorKind::StorageFull.into()));
    }
    Ok(())
}

/// What both files hold.
#[derive(Debug)]
pub(crate) enum Found {
    /// The newest that is whole.
    Ledger(Box<Ledger>, Newest),
    /// Neither can be read (L3): not the same as empty.
    Unreadable,
}

/// Says that neither file can be read, and the way out (L3).
pub(crate) fn unreadable(dir: &Path) -> Error {
    let dir = dir.display();
    Error::Corrupt {
        what: format!(
            "neither {} nor {} in {dir} can be read (to make a new ledger from the partitions' \
             files, run: millrace check --rebuild-ledger {dir})",
            NAMES[0], NAMES[1]
        ),
    }
}

/// Which of the two isn't whole.
pub(crate) async fn torn(
    disk: &dyn Disk,
    dir: &Path,
    dir_id: [u8; 16],
) -> Result<Vec<&'static str>, Error> {
    let mut torn = Vec::new();
    for name in NAMES {
        if read_one(disk, &dir.join(name), dir_id).await?.is_none() {
            torn.push(name);
        }
    }
    Ok(torn)
}

/// Reads both files and gives the newer of those that are whole.
pub(crate) async fn read(disk: &dyn Disk, dir: &Path, dir_id: [u8; 16]) -> Result<Found, Error> {
    let mut best: Option<(Ledger, Newest)> = None;
    let mut broken = 0;
    let mut first = Bytes::new();
    for (index, name) in NAMES.into_iter().enumerate() {
        let path = dir.join(name);
        let bytes = read_bytes(disk, &path).await?;
        if best.is_some() && bytes.as_ref().is_some_and(|bytes| *bytes == first) {
            // As every write of both leaves them: it says the same.
            continue;
        }
        let decoded = bytes.and_then(|bytes| {
            let decoded = decode(&path, dir_id, &bytes);
            first = bytes;
            decoded
        });
        let Some((ledger, sequence)) = decoded else {
            broken += 1;
            continue;
        };
        if best
            .as_ref()
            .is_none_or(|(_, newest)| sequence > newest.sequence)
        {
            best = Some((ledger, Newest { sequence, index }));
        }
    }
    if broken == 1 {
        reached(Branch::LedgerBroken);
    }
    Ok(match best {
        Some((ledger, newest)) => Found::Ledger(Box::new(ledger), newest),
        None => Found::Unreadable,
    })
}

/// One file, if it is there and whole.
async fn read_one(
    disk: &dyn Disk,
    path: &Path,
    dir_id: [u8; 16],
) -> Result<Option<(Ledger, u64)>, Error> {
    let bytes = read_bytes(disk, path).await?;
    Ok(bytes.and_then(|bytes| decode(path, dir_id, &bytes)))
}

fn decode(path: &Path, dir_id: [u8; 16], bytes: &[u8]) -> Option<(Ledger, u64)> {
    let decoded = Ledger::decode(dir_id, bytes);
    if decoded.is_none() {
        tracing::warn!(path = %path.display(), "ledger file is damaged or torn");
    }
    decoded
}

/// The bytes of one file, if it is there and can be read.
async fn read_bytes(disk: &dyn Disk, path: &Path) -> Result<Option<Bytes>, Error> {
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open the ledger", path)(error)),
    };
    let len = file.len().map_err(Error::io("measure", path))?;
    let Some(len) = usize::try_from(len).ok().filter(|_| len <= LEN_MAX) else {
        return Ok(None);
    };
    match file.read_at(0, len).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "ledger file can't be read");
            Ok(None)
        }
    }
}
