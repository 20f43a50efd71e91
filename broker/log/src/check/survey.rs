//! What stands in a log directory, read without changing anything: journals, partitions' files.
//!
//! What always holds: nothing here writes; every batch that is called good was read whole, its CRC
//! and its place in the chain checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_host::{Disk, EntryKind, OpenMode};

use crate::dir::format;
use crate::error::Error;
use crate::journal::commit::CommitId;
use crate::journal::reader::{self, Scan};
use crate::journal::{file as journal_file, mark_form};
use crate::mark::Incarnation;
use crate::partition::verify::{Check, Verified, verify};
use crate::partition_metadata;
use crate::segment::names;
use crate::segment::tail::End;

/// The longest identity file that is read, bytes.
const IDENTITY_LEN_MAX: usize = 256;

/// A directory of a partition.
#[derive(Debug)]
pub(super) struct PartitionFiles {
    pub(super) path: PathBuf,
    pub(super) topic: Arc<str>,
    pub(super) whose: Incarnation,
    /// Base offset to length of its segment files.
    pub(super) segments: BTreeMap<i64, u64>,
    /// The same of cleaned segments that were about to take the place of others (K2).
    pub(super) swaps: BTreeMap<i64, u64>,
    /// Its other files.
    pub(super) others: Vec<String>,
}

/// What one segment file holds.
#[derive(Debug)]
pub(super) struct SegmentContent {
    pub(super) verified: Verified,
    /// Offsets are missing between its batches.
    pub(super) holes: bool,
}

/// All partitions' directories, and the names of those that are no partition's.
pub(super) async fn partitions(
    disk: &dyn Disk,
    dir: &Path,
) -> Result<(Vec<PartitionFiles>, Vec<String>), Error> {
    let (mut found, mut others) = (Vec::new(), Vec::new());
    for entry in disk.list(dir).await.map_err(Error::io("list", dir))? {
        if entry.kind != EntryKind::Dir || entry.name == format::LOST_AND_FOUND {
            continue;
        }
        match partition(disk, dir, &entry.name).await? {
            Some(files) => found.push(files),
            None => others.push(entry.name),
        }
    }
    Ok((found, others))
}

/// One partition's directory; `None` when its name or its identity isn't one of ours.
async fn partition(
    disk: &dyn Disk,
    dir: &Path,
    name: &str,
) -> Result<Option<PartitionFiles>, Error> {
    let path = dir.join(name);
    let parsed = name.rsplit_once('-').and_then(|(topic, number)| {
        let partition: i32 = number.parse().ok()?;
        let again = names::partition_dir(topic, partition).ok()?;
        (again == name).then_some((topic, partition))
    });
    let identity = disk.open(&path.join(partition_metadata::FILE_NAME), OpenMode::Read);
    let (Some((topic, partition)), Ok(identity)) = (parsed, identity) else {
        return Ok(None);
    };
    let text = identity.read_at(0, IDENTITY_LEN_MAX).await;
    let text = text.map_err(Error::io("read", identity.path()))?;
    let text = String::from_utf8_lossy(&text);
    let Ok(topic_id) = partition_metadata::parse(&text) else {
        return Ok(None);
    };
    let (mut segments, mut swaps, mut others) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    let swap = format!("{}{}", names::LOG, names::SWAP);
    for file in disk.list(&path).await.map_err(Error::io("list", &path))? {
        match names::parse(&file.name) {
            Some((base, names::LOG)) => drop(segments.insert(base, file.len)),
            Some((base, suffix)) if suffix == swap => drop(swaps.insert(base, file.len)),
            _ => others.push(file.name),
        }
    }
    Ok(Some(PartitionFiles {
        path,
        topic: topic.into(),
        whose: Incarnation {
            topic_id,
            partition,
        },
        segments,
        swaps,
        others,
    }))
}

/// Reads one segment from its beginning, in the file at `path`. `epoch` is that of the batch before, -1 when unknown. Where
/// it must not have holes, a gap is damage: a flipped base offset looks the same.
pub(super) async fn segment(
    disk: &dyn Disk,
    path: &Path,
    base: i64,
    epoch: i32,
    may_have_holes: bool,
) -> Result<SegmentContent, Error> {
    let file = disk
        .open(path, OpenMode::Read)
        .map_err(Error::io("open", path))?;
    let check = Check {
        base,
        holes: may_have_holes,
        from: End {
            bytes: 0,
            offset: base,
        },
        epoch,
        mark: None,
        write_again: false,
    };
    let (mut next, mut holes) = (base, false);
    let verified = verify(&file, &check, &mut |header| {
        holes |= header.base_offset != next;
        next = header.last_offset().saturating_add(1);
    })
    .await
    .map_err(Error::io("read", path))?;
    Ok(SegmentContent { verified, holes })
}

/// Every commit that is still in the journals, and the names of their files.
pub(super) async fn journals(
    disk: &dyn Disk,
    dir: &Path,
    dir_id: [u8; 16],
    settled_through: CommitId,
) -> Result<Scan, Error> {
    let listed = disk.list(dir).await.map_err(Error::io("list", dir))?;
    let names: Vec<String> = listed
        .into_iter()
        .map(|entry| entry.name)
        .filter(|name| journal_file::parse_name(name).is_some())
        .collect();
    reader::scan(disk, dir, dir_id, &names, settled_through).await
}

/// The directory's format; refuses what isn't one of ours.
pub(super) async fn format(disk: &dyn Disk, dir: &Path) -> Result<format::Format, Error> {
    let path = dir.to_owned();
    let listed = disk.list(dir).await;
    listed.map_err(|error| Error::access(dir, "list", dir, error))?;
    match format::read(disk, dir).await? {
        Some(format::Read::Format(format)) => Ok(format),
        Some(format::Read::Other(found)) => Err(format::refused(disk, dir, found).await),
        Some(format::Read::Bad) => Err(Error::BadFile {
            what: format!(
                "{} is damaged, and without it nothing else can be judged: put it back from a copy \
                 of this directory, it never changes",
                dir.join(format::NAME).display()
            ),
        }),
        None => Err(Error::Foreign {
            path,
            reason: format!(
                "it holds no {}, so it is no log directory of Millrace; name one of those in \
                 log.dirs",
                format::NAME
            ),
        }),
    }
}

/// The mark in an entry's payload, if this version can read it.
pub(super) fn mark(payload: &[u8]) -> Option<crate::mark::Mark> {
    mark_form::decode(payload)
}
